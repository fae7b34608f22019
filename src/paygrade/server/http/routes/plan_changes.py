"""Plan changes: ask what one would do, have it done, take it back, and read how it went."""

from datetime import datetime
from typing import Annotated

from litestar import delete, get, post
from litestar.params import FromPath, QueryParameter
from msgspec import Meta, Struct
from msgspec.structs import replace

from paygrade.changes.order import Act
from paygrade.changes.plan_change import CHANGE_STATES, PlanChange
from paygrade.changes.quote import Quote
from paygrade.changes.request import ChangeRequest
from paygrade.server.http.bodies import invalid, read_body, read_key
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import Before, PageSize, Reason, choice, read_choice
from paygrade.server.http.routes import examples
from paygrade.server.operations.changes import plan_changes, quotes
from paygrade.values.errors import Mistake
from paygrade.values.periods import parse_instant

WAIT_MAX_S = 30
Wait = Annotated[
    int,
    QueryParameter(ge=0, le=WAIT_MAX_S, description="How long to wait at most until there is nothing more to do here."),
]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]


class QuoteRequest(Struct, frozen=True, kw_only=True):
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


class ChangeAsked(Struct, frozen=True, kw_only=True):
    """A quote to carry out; or, without one, something to do to a subscription that changes nothing of what it buys.

    `act` is `keep_going` (a cancellation is taken back), `pause`, `resume`, `set_trial` (until `trial_ends_at`) or
    `end_trial`; `subscription` says which one, where there are several. `reason` says why, for the audit log.
    """

    quote_id: str | None = None
    act: Act | None = None
    subscription: str | None = None
    trial_ends_at: str | None = None
    reason: str = ""


@post(
    "/v1/accounts/{account:str}/plan-changes/quote",
    status_code=200,
    opt=describe(
        "plan changes",
        quotes.quote_change,
        sent=Sent(examples.QUOTE_REQUEST, QuoteRequest),
        repeating="safe",
        scope="plan_changes:quote",
    ),
)
async def quote_plan_change(account: FromPath[str], request: HttpRequest, context: InContext) -> Quote:
    wanted = _wanted(read_body(QuoteRequest, await request.body()))
    at = context.clock.now()
    return await quotes.quote_change(context.store, context.previewer, account=account, wanted=wanted, at=at)


@get(
    "/v1/accounts/{account:str}/plan-changes/quotes/{quote:str}",
    opt=describe("plan changes", quotes.get_quote, scope="plan_changes:read"),
)
async def get_quote(account: FromPath[str], quote: FromPath[str], context: InContext) -> Quote:
    return await quotes.get_quote(context.store, account=account, id=quote)


@post(
    "/v1/accounts/{account:str}/plan-changes",
    status_code=200,
    opt=describe(
        "plan changes",
        sent=Sent(examples.CHANGE_ASKED, ChangeAsked),
        repeating="safe",
        scope="plan_changes:write",
        second_person="plan_changes",
    ),
)
async def change_plan(account: FromPath[str], request: HttpRequest, context: InContext, wait_s: Wait = 5) -> PlanChange:
    """Change a plan.

    Accept a quote, exactly as it was made. With the same header `Idempotency-Key`, the answer is the same change. The
    `state` shows the progress: `pending` waits for the customer. Refused
    `unknown_account`, `unknown_quote`, `quote_expired`, `quote_used`, `account_changed`, `catalog_changed`,
    `change_refused`, `change_under_way`, `change_scheduled`, `key_conflict`, `no_subscription_to_change`,
    `not_possible_now`, `date_in_the_past`. Unavailable `provider_not_configured`.
    """
    said = read_body(ChangeAsked, await request.body())
    named = request.headers.get("idempotency-key")
    named = read_key(named, pointer="/idempotency-key", noun="key") if named is not None else None
    at = context.clock.now()
    if said.quote_id is not None and said.act is None:
        change = await plan_changes.carry_out(
            context.store,
            account=account,
            quote_id=said.quote_id,
            key=named,
            reason=said.reason,
            has_provider=context.has_provider,
            at=at,
        )
    else:
        change = await plan_changes.act(
            context.store,
            account=account,
            act=_act(said),
            subscription=said.subscription,
            trial_ends_at=_instant(said.trial_ends_at, "/trial_ends_at") if said.trial_ends_at is not None else None,
            key=named,
            reason=said.reason,
            has_provider=context.has_provider,
            at=at,
        )
    return await plan_changes.settled_within(context.store, change, seconds=wait_s)


@get(
    "/v1/accounts/{account:str}/plan-changes",
    opt=describe("plan changes", plan_changes.list_changes, scope="plan_changes:read"),
)
async def list_plan_changes(
    account: FromPath[str],
    context: InContext,
    in_state: Annotated[str | None, choice("state", CHANGE_STATES, "Only plan changes in this state.")] = None,
    before: Before = None,
    limit: PageSize = 100,
) -> plan_changes.ChangeList:
    state = read_choice(in_state, CHANGE_STATES, name="state")
    return await plan_changes.list_changes(context.store, account=account, state=state, before=before, limit=limit)


@get(
    "/v1/accounts/{account:str}/plan-changes/{change:str}",
    opt=describe("plan changes", plan_changes.get_change, scope="plan_changes:read"),
)
async def get_plan_change(account: FromPath[str], change: FromPath[str], context: InContext) -> plan_changes.ChangeView:
    return await plan_changes.get_change(context.store, account=account, id=change)


@delete(
    "/v1/accounts/{account:str}/plan-changes/{change:str}",
    status_code=200,
    opt=describe("plan changes", plan_changes.take_back, scope="plan_changes:write"),
)
async def take_back_plan_change(
    account: FromPath[str], change: FromPath[str], context: InContext, wait_s: Wait = 5, reason: Reason = ""
) -> PlanChange:
    at = context.clock.now()
    undone = await plan_changes.take_back(context.store, account=account, id=change, reason=reason, at=at)
    return await plan_changes.settled_within(context.store, undone, seconds=wait_s)


@post(
    "/v1/accounts/{account:str}/plan-changes/{change:str}/revert",
    status_code=200,
    opt=describe("plan changes", plan_changes.revert, repeating="safe", scope="plan_changes:quote"),
)
async def revert_plan_change(account: FromPath[str], change: FromPath[str], context: InContext) -> Quote:
    at = context.clock.now()
    return await plan_changes.revert(context.store, context.previewer, account=account, id=change, at=at)


def _act(said: ChangeAsked) -> Act:
    if said.act is None or said.quote_id is not None or said.act in ("change", "cancel"):
        mistake = Mistake("", "send either `quote_id` or `act`: keep_going, pause, resume, set_trial or end_trial")
        raise invalid("invalid_body", "the body", [mistake])
    if (said.act == "set_trial") != (said.trial_ends_at is not None):
        mistake = Mistake("/trial_ends_at", "is only allowed with `set_trial`")
        raise invalid("invalid_body", "the body", [mistake])
    return said.act


def _instant(text: str, pointer: str) -> datetime:
    try:
        return parse_instant(text)
    except (ValueError, OverflowError) as error:
        raise invalid("invalid_body", "the body", [Mistake(pointer, f"must be an instant; {error}")]) from None


def _wanted(said: QuoteRequest) -> ChangeRequest:
    wanted = ChangeRequest(
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
                mistake = Mistake("/when", f"must be `now`, `period_end` or an instant; {error}")
                raise invalid("invalid_body", "the body", [mistake]) from None
