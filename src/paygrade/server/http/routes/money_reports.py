"""Reports of money: pages of JSON, or one CSV file of everything."""

from functools import partial
from typing import Annotated, Any

from litestar import Response, get
from litestar.params import QueryParameter

from paygrade.server.http.context import InContext
from paygrade.server.http.openapi import describe
from paygrade.server.http.parameters import After, PageSize, text
from paygrade.server.http.tables import MEDIA_TYPES, NOT_WRITTEN, TableFormat, answer_table
from paygrade.server.operations import money_reports as reports

_Limit = Annotated[int, QueryParameter(ge=1, le=reports.ACCOUNTS_MAX, description="Accounts of a page.")]
_FROM = QueryParameter(name="from", description="The first month, `2026-01`. Without it: the January of the last.")
_Until = Annotated[str | None, text("The first month that is not in it. Without it: the next month.")]


_UNREAD = {"waiting": 0, "failing": 0}
_REVENUE = {
    "from_month": "2026-01",
    "until_month": "2026-03",
    "rows": [
        {
            "account": "acme",
            "month": "2026-01",
            "currency": "usd",
            "paid": 9900,
            "refunded": 0,
            "recognized": 5429,
            "usage": 0,
            "deferred": 4471,
        }
    ],
    "unread": _UNREAD,
    "next": None,
}
_LEAKAGE = {
    "as_of": "2026-03-10T12:00:00Z",
    "rows": [
        {
            "account": "acme",
            "kind": "access_without_payment",
            "cause": "arrears",
            "subscription": "sub_1",
            "feature": None,
            "amount": 9900,
            "currency": "usd",
            "since": "2026-03-01T10:00:00Z",
        }
    ],
    "unread": _UNREAD,
    "next": None,
}


_USAGE = {
    "from_month": "2026-01",
    "until_month": "2026-03",
    "rows": [
        {
            "account": "acme",
            "month": "2026-01",
            "currency": "usd",
            "invoice": "in_1",
            "subscription": "sub_1",
            "price": "price_calls",
            "product": "prod_calls",
            "from_at": "2026-01-01T00:00:00Z",
            "until": "2026-02-01T00:00:00Z",
            "quantity": 1200,
            "recognized": 600,
        }
    ],
    "unread": _UNREAD,
    "next": None,
}
_MRR = {
    "from_month": "2026-01",
    "until_month": "2026-03",
    "rows": [
        {
            "account": "acme",
            "month": "2026-01",
            "currency": "usd",
            "before": 2900,
            "new": 0,
            "expansion": 7000,
            "contraction": 0,
            "churn": 0,
            "reactivation": 0,
            "after": 9900,
        }
    ],
    "next": None,
}
_CREDITS = {
    "as_of": "2026-03-10T12:00:00Z",
    "rows": [
        {
            "account": "acme",
            "pool": "ai_credits",
            "grant": "top_1",
            "kind": "top_up",
            "from_at": "2026-01-01T00:00:00Z",
            "until": "2027-01-01T00:00:00Z",
            "units": 1000,
            "used": 400,
            "reserved": 0,
            "voided": 0,
            "expired": 0,
            "available": 600,
            "currency": "usd",
            "price": 1000,
            "earned": 400,
            "breakage": 0,
            "voided_price": 0,
            "deferred": 600,
        }
    ],
    "next": None,
}


@get(
    "/v1/reports/revenue",
    opt=describe("reports", reports.report_revenue, example=_REVENUE, scope="reports:read",
                 also=MEDIA_TYPES, problems=NOT_WRITTEN, kind=reports.RevenueReport),
)  # fmt: skip
async def revenue_report(
    context: InContext,
    from_month: Annotated[str | None, _FROM] = None,
    until: _Until = None,
    after: After = "",
    limit: _Limit = 100,
    in_format: TableFormat = None,
) -> Response[Any]:  # Any: a page, or a file
    months = reports.read_months(from_month, until, context.clock.now())
    ask = partial(reports.report_revenue, context.store, months=months)
    return await answer_table(
        ask, reports.RevenueRow, after=after, limit=limit, in_format=in_format, file_limit=reports.ACCOUNTS_MAX
    )


@get(
    "/v1/reports/leakage",
    opt=describe("reports", reports.report_leakage, example=_LEAKAGE, scope="reports:read",
                 also=MEDIA_TYPES, problems=NOT_WRITTEN, kind=reports.LeakageReport),
)  # fmt: skip
async def leakage_report(
    context: InContext, after: After = "", limit: _Limit = 100, in_format: TableFormat = None
) -> Response[Any]:  # Any: as above
    ask = partial(reports.report_leakage, context.store, at=context.clock.now())
    return await answer_table(
        ask, reports.LeakageRow, after=after, limit=limit, in_format=in_format, file_limit=reports.ACCOUNTS_MAX
    )


@get(
    "/v1/reports/usage",
    opt=describe("reports", reports.report_usage, example=_USAGE, scope="reports:read",
                 also=MEDIA_TYPES, problems=NOT_WRITTEN, kind=reports.UsageRevenueReport),
)  # fmt: skip
async def usage_report(
    context: InContext,
    from_month: Annotated[str | None, _FROM] = None,
    until: _Until = None,
    after: After = "",
    limit: _Limit = 100,
    in_format: TableFormat = None,
) -> Response[Any]:  # Any: as above
    months = reports.read_months(from_month, until, context.clock.now())
    ask = partial(reports.report_usage, context.store, months=months)
    return await answer_table(
        ask, reports.UsageRevenueRow, after=after, limit=limit, in_format=in_format, file_limit=reports.ACCOUNTS_MAX
    )


@get(
    "/v1/reports/mrr",
    opt=describe("reports", reports.report_movements, example=_MRR, scope="reports:read",
                 also=MEDIA_TYPES, problems=NOT_WRITTEN, kind=reports.MovementReport),
)  # fmt: skip
async def mrr_report(
    context: InContext,
    from_month: Annotated[str | None, _FROM] = None,
    until: _Until = None,
    after: After = "",
    limit: _Limit = 100,
    in_format: TableFormat = None,
) -> Response[Any]:  # Any: as above
    months = reports.read_months(from_month, until, context.clock.now())
    ask = partial(reports.report_movements, context.store, months=months)
    return await answer_table(
        ask, reports.MovementRow, after=after, limit=limit, in_format=in_format, file_limit=reports.ACCOUNTS_MAX
    )


@get(
    "/v1/reports/credits",
    opt=describe("reports", reports.report_credits, example=_CREDITS, scope="reports:read",
                 also=MEDIA_TYPES, problems=NOT_WRITTEN, kind=reports.CreditReport),
)  # fmt: skip
async def credits_report(
    context: InContext,
    after: Annotated[str, text("The `next` of the page before.")] = "",
    limit: PageSize = 100,
    in_format: TableFormat = None,
) -> Response[Any]:  # Any: as above
    ask = partial(reports.report_credits, context.store, at=context.clock.now())
    return await answer_table(
        ask, reports.GrantRow, after=after, limit=limit, in_format=in_format, file_limit=reports.ACCOUNTS_MAX
    )
