"""Plan changes: ask what one would do."""

from typing import Annotated

from litestar import get, post
from litestar.params import FromPath
from msgspec import Meta, Struct
from msgspec.structs import replace

from paygrade.changes import Quote
from paygrade.errors import Mistake
from paygrade.periods import parse_instant
from paygrade.server.bodies import invalid, read_body, read_key
from paygrade.server.openapi import Sent, tell
from paygrade.server.operations import plan_changes
from paygrade.server.parts import Here, HttpRequest
from paygrade.server.routes import examples
from paygrade.wanted import Wanted

Count = Annotated[int, Meta(ge=0, le=1_000_000)]


class ChangeWanted(Struct, frozen=True, kw_only=True):
    """What is to change; what is left out stays as it is.

    `add_ons` and `quantities` say how many there are to be: of an add-on (0: none), of the plan, or of a feature that
    the plan counts by quantity. `interval` is a price's key or how often it is paid. `when` is `now`, `period_end` or
    an instant; without it the catalog's rule says.
    """

    plan: str | None = None
    add_ons: dict[str, Count] = {}
    quantities: dict[str, Count] = {}
    interval: str | None = None
    coupon: str | None = None
    when: str | None = None
    subscription: str | None = None


@post(
    "/v1/accounts/{account:str}/plan-changes/quote",
    status_code=200,
    opt=tell(
        "Quote a plan change",
        "plan changes",
        sent=Sent(kind=ChangeWanted, example=examples.CHANGE_WANTED),
        problems=("malformed_json", "invalid_body", "invalid_key", "unknown_account", "no_subscription_to_change",
                  "unknown_plan", "unknown_add_on", "unknown_price", "ambiguous_price", "quantity_not_sold",
                  "same_as_now", "amount_too_large", "change_refused", "date_in_the_past", "provider_refused_change"),
    ),
)  # fmt: skip
async def quote_plan_change(account: FromPath[str], request: HttpRequest, parts: Here) -> Quote:
    """What the change would do to access, usage, members and money, and when. Nothing is changed; what was said is
    kept under its id and can be carried out for an hour."""
    said = read_body(ChangeWanted, await request.body())
    return await plan_changes.quote_change(
        parts.store,
        parts.previewer,
        account=read_key(account, pointer="", noun="account"),
        wanted=_wanted(said),
        at=parts.clock.now(),
    )


@get(
    "/v1/accounts/{account:str}/plan-changes/quotes/{quote:str}",
    opt=tell("Read a quote", "plan changes", problems=("invalid_key", "unknown_quote")),
)
async def get_quote(account: FromPath[str], quote: FromPath[str], parts: Here) -> Quote:
    """What was said a plan change would do, expired or not."""
    key = read_key(account, pointer="", noun="account")
    return await plan_changes.get_quote(parts.store, account=key, id=quote)


def _wanted(said: ChangeWanted) -> Wanted:
    wanted = Wanted(
        plan=said.plan,
        add_ons=said.add_ons,
        quantities=said.quantities,
        interval=said.interval,
        coupon=said.coupon,
        subscription=said.subscription,
    )
    match said.when:
        case None | "now" | "period_end":
            return replace(wanted, when=said.when)
        case text:
            try:
                return replace(wanted, date=parse_instant(text))
            except (ValueError, OverflowError) as error:
                mistake = Mistake("/when", f"is `now`, `period_end` or an instant; {error}")
                raise invalid("invalid_body", "the body", [mistake]) from None
