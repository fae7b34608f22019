"""Top-ups: units bought by themselves, how each purchase stands, and trying one again."""

from typing import Annotated

from litestar import get, post
from litestar.params import FromPath

from paygrade.server.http.context import InContext
from paygrade.server.http.openapi import describe
from paygrade.server.http.parameters import Before, PageSize, choice, read_choice
from paygrade.server.http.routes import examples
from paygrade.server.operations.accounts import top_ups
from paygrade.usage.top_ups import TOP_UP_STATES, TopUpPurchase


@get(
    "/v1/accounts/{account:str}/top-ups",
    opt=describe("billing", top_ups.list_top_ups, example={"top_ups": [examples.TOP_UP]}, scope="billing:read"),
)
async def list_top_ups(
    account: FromPath[str],
    context: InContext,
    in_state: Annotated[str | None, choice("state", TOP_UP_STATES, "Only top-ups in this state.")] = None,
    before: Before = None,
    limit: PageSize = 100,
) -> top_ups.TopUpList:
    state = read_choice(in_state, TOP_UP_STATES, name="state")
    return await top_ups.list_top_ups(context.store, account=account, state=state, before=before, limit=limit)


@post(
    "/v1/accounts/{account:str}/top-ups/{top_up:str}/retry",
    status_code=202,
    opt=describe(
        "billing",
        top_ups.retry_top_up,
        example={**examples.TOP_UP, "state": "asked", "round": 2, "reason": None, "resolved_at": None},
        problems=("provider_not_configured",),
        scope="billing:write",
        second_person="top_ups",
    ),
)
async def retry_top_up(account: FromPath[str], top_up: FromPath[str], context: InContext) -> TopUpPurchase:
    context.require_provider()
    return await top_ups.retry_top_up(context.store, account=account, id=top_up, at=context.clock.now())
