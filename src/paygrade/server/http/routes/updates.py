"""State updates: the log of what has changed, read from a position on."""

from typing import Annotated

from litestar import get
from litestar.params import FromPath

from paygrade.server.http.bodies import invalid, read_instant, read_key
from paygrade.server.http.context import InContext
from paygrade.server.http.openapi import describe
from paygrade.server.http.parameters import PageSize, instant, number, text
from paygrade.server.http.routes import examples
from paygrade.server.operations import update_log
from paygrade.updates.types import TYPES
from paygrade.values.errors import Mistake


@get("/v1/updates", opt=describe("updates", update_log.list_updates, example=examples.UPDATES, scope="updates:read"))
async def list_updates(
    context: InContext,
    after: Annotated[int | None, number("Updates behind this position; `next` of the page before.")] = None,
    types: Annotated[str | None, text("Only these types, separated by commas.")] = None,
    account: Annotated[str | None, text("Only updates of this account.")] = None,
    from_at: Annotated[str | None, instant("Only what occurred from this instant on.", name="from")] = None,
    until: Annotated[str | None, instant("Only what occurred before this instant.")] = None,
    limit: PageSize = 100,
) -> update_log.UpdateList:
    named = None if account is None else read_key(account, pointer="", noun="account")
    return await update_log.list_updates(
        context.store,
        after=after,
        limit=limit,
        types=_types(types),
        account=named,
        occurred_from=read_instant(from_at, name="from"),
        occurred_until=read_instant(until, name="until"),
    )


@get(
    "/v1/accounts/{account:str}/updates",
    opt=describe("updates", update_log.account_updates, example=examples.UPDATES, scope="updates:read"),
)
async def list_account_updates(
    account: FromPath[str],
    context: InContext,
    after: Annotated[int | None, number("Updates behind this sequence; `next` of the page before.")] = None,
    limit: PageSize = 100,
) -> update_log.UpdateList:
    return await update_log.account_updates(context.store, account=account, after=after, limit=limit)


def _types(named: str | None) -> frozenset[str] | None:
    """The types that are asked for; Refused `invalid_query` where there is no such type."""
    if named is None:
        return None
    types = frozenset(filter(None, (each.strip() for each in named.split(","))))
    unknown = sorted(types - TYPES.keys())
    if unknown or not types:
        what = f"there is no type `{unknown[0][:100]}`" if unknown else "`types` names none"
        raise invalid("invalid_query", "the query", [Mistake("", f"{what}; the types are {', '.join(TYPES)}")])
    return types
