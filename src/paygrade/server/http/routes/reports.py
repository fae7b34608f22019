"""Usage reports: what the provider was told of usage, and comparing it with what the provider says."""

from typing import Annotated, get_args

from litestar import get, post
from litestar.params import FromPath

from paygrade.server.http.bodies import read_body, read_key
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import Before, PageSize, choice, read_choice, text
from paygrade.server.http.routes import examples
from paygrade.server.operations.accounts import provider_reports as reports
from paygrade.usage.provider_reports import OpenReport

STATES: tuple[OpenReport, ...] = get_args(OpenReport)


@get(
    "/v1/accounts/{account:str}/usage/reports",
    opt=describe("billing", reports.list_usage_reports, example=examples.USAGE_REPORTS, scope="billing:read"),
)
async def list_usage_reports(
    account: FromPath[str], context: InContext, before: Before = None, limit: PageSize = 100
) -> reports.UsageReports:
    at = context.clock.now()
    return await reports.list_usage_reports(context.store, account=account, before=before, limit=limit, at=at)


@get(
    "/v1/usage/reports",
    opt=describe("billing", reports.list_open_usage_reports, scope="billing:read", example=examples.USAGE_REPORTS),
)
async def list_open_usage_reports(
    context: InContext,
    in_state: Annotated[str | None, choice("state", STATES, "Only those that need attention for this.")] = None,
    after: Annotated[str | None, text("The `next` of the page before.")] = None,
    limit: PageSize = 100,
) -> reports.UsageReports:
    chosen, at = read_choice(in_state, STATES, name="state"), context.clock.now()
    return await reports.list_open_usage_reports(context.store, state=chosen, after=after, limit=limit, at=at)


@post(
    "/v1/usage/reconcile",
    status_code=202,
    opt=describe(
        "billing",
        reports.reconcile,
        sent=Sent({"account": "acme"}, reports.ReconcileRequest),
        example={"reports": [], "unchecked": 3},
        problems=("invalid_key", "provider_not_configured"),
        scope="billing:sync",
    ),
)
async def reconcile(request: HttpRequest, context: InContext) -> reports.UsageReports:
    context.require_provider()
    wanted = read_body(reports.ReconcileRequest, (await request.body()).strip() or b"{}")
    account = None if wanted.account is None else read_key(wanted.account, pointer="/account", noun="account")
    return await reports.reconcile(context.store, account=account, at=context.clock.now())
