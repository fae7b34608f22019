"""History: the decision log of an account, and what all accounts had at an instant."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any

from litestar import Response, get
from litestar.params import FromPath, QueryParameter

from paygrade.server.http.bodies import read_flag, read_instant
from paygrade.server.http.context import InContext
from paygrade.server.http.openapi import describe
from paygrade.server.http.parameters import After, AsOf, Before, Believed, PageSize, text
from paygrade.server.http.tables import MEDIA_TYPES, NOT_WRITTEN, TableFormat, answer_table
from paygrade.server.operations import decision_log
from paygrade.server.operations.accounts.snapshot_report import SnapshotReport, SnapshotRow, snapshot_report

ACCOUNTS_MAX = 100
AccountsAtOnce = Annotated[int, QueryParameter(ge=1, le=ACCOUNTS_MAX, description="How many accounts a page looks at.")]


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


@get(
    "/v1/accounts/{account:str}/decision-log/{decision:str}/replay",
    opt=describe("decisions", decision_log.replay, scope="decisions:read"),
)
async def replay_decision(
    account: FromPath[str], decision: FromPath[str], context: InContext
) -> decision_log.DecisionReplay:
    return await decision_log.replay(context.store, account=account, id=decision, now=context.clock.now())


@get(
    "/v1/reports/entitlements",
    opt=describe(
        "decisions",
        snapshot_report,
        scope="decisions:read",
        also=MEDIA_TYPES,
        problems=NOT_WRITTEN,
        kind=SnapshotReport,
    ),
)
async def report_entitlements(
    context: InContext,
    at: AsOf = None,
    believed: Believed = None,
    after: After = "",
    limit: AccountsAtOnce = ACCOUNTS_MAX,
    in_format: TableFormat = None,
) -> Response[Any]:  # Any: a page, or a file
    now = context.clock.now()
    ask = partial(
        snapshot_report,
        context.store,
        at=read_instant(at, name="at") or now,
        now=now,
        believed=read_flag(believed, name="believed"),
    )
    return await answer_table(
        ask,
        SnapshotRow,
        after=after,
        limit=limit,
        in_format=in_format,
        file_limit=ACCOUNTS_MAX,
        of_page={"as_of": datetime},
    )
