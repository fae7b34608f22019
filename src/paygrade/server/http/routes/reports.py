"""Usage reports: what the provider was told of usage, and comparing it with what the provider says."""

from typing import Annotated

from litestar import get, post
from litestar.params import FromPath, QueryParameter

from paygrade.server.http.bodies import read_body, read_key
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Query, Sent, describe
from paygrade.server.http.routes import examples
from paygrade.server.operations.accounts import provider_reports as reports
from paygrade.values.errors import Unavailable

PAGE_MAX = 500
PageSize = Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)]
_LIMIT = Query("limit", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 100}, "At most so many.")


@get(
    "/v1/accounts/{account:str}/usage/reports",
    opt=describe(
        "List an account's usage reports",
        "billing",
        query=(_LIMIT,),
        example=examples.USAGE_REPORTS,
        problems=("invalid_key", "invalid_query", "unknown_account"),
    ),
)
async def list_usage_reports(account: FromPath[str], parts: InContext, limit: PageSize = 100) -> reports.UsageReports:
    """What the provider was told of the account's usage, by window, the latest first."""
    key = read_key(account, pointer="", noun="account")
    return await reports.list_usage_reports(parts.store, account=key, limit=limit, at=parts.clock.now())


@get(
    "/v1/usage/reports",
    opt=describe(
        "List usage reports to look at",
        "billing",
        query=(_LIMIT,),
        example=examples.USAGE_REPORTS,
        problems=("invalid_query",),
    ),
)
async def list_open_usage_reports(parts: InContext, limit: PageSize = 100) -> reports.UsageReports:
    """Windows of all accounts whose usage could not be told, is not told, or differs from what the provider says."""
    return await reports.list_open_usage_reports(parts.store, limit=limit, at=parts.clock.now())


@post(
    "/v1/usage/reconcile",
    status_code=202,
    opt=describe(
        "Compare usage with the provider",
        "billing",
        sent=Sent(kind=reports.ReconcileRequest, example={"account": "acme"}),
        example={"reports": [], "unchecked": 3},
        problems=("malformed_json", "invalid_body", "invalid_key", "unknown_account", "provider_not_configured"),
    ),
)
async def reconcile(request: HttpRequest, parts: InContext) -> reports.UsageReports:
    """Have what was told compared with the provider's own sums, of one account or of all. `unchecked` of the lists
    tells how many windows still wait for it. What is missing at the provider for longer than it needs to add up is
    told again by itself."""
    if not parts.has_provider:
        raise Unavailable("provider_not_configured", "no provider is set here; set PAYGRADE_STRIPE_API_KEY")
    raw = await request.body()
    wanted = read_body(reports.ReconcileRequest, raw) if raw.strip() else reports.ReconcileRequest()
    account = None if wanted.account is None else read_key(wanted.account, pointer="/account", noun="account")
    return await reports.reconcile(parts.store, account=account, at=parts.clock.now())
