"""The decision log of an account."""

from typing import Annotated

from litestar import get, post
from litestar.params import FromPath

from paygrade.server.http.context import InContext
from paygrade.server.http.openapi import describe
from paygrade.server.http.parameters import Before, PageSize, text
from paygrade.server.operations import decision_log


@get(
    "/v1/accounts/{account:str}/decision-log",
    opt=describe("decisions", decision_log.list_logged, scope="decisions:read"),
)
async def list_logged_decisions(
    account: FromPath[str],
    context: InContext,
    feature: Annotated[str | None, text("Only decisions on this feature.")] = None,
    before: Before = None,
    limit: PageSize = 100,
) -> decision_log.LoggedDecisions:
    return await decision_log.list_logged(context.store, account=account, feature=feature, before=before, limit=limit)


@post(
    "/v1/accounts/{account:str}/decision-log/{decision:str}/replay",
    status_code=200,
    opt=describe("decisions", decision_log.replay, repeating="reads", scope="decisions:read"),
)
async def replay_decision(account: FromPath[str], decision: FromPath[str], context: InContext) -> decision_log.Replay:
    return await decision_log.replay(context.store, account=account, id=decision, now=context.clock.now())
