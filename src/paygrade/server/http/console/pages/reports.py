"""Reports: what was earned by month, and access beside money, an account after the other."""

from typing import Annotated

from litestar import Response

from paygrade.reports.movements import of_all as of_all_movements
from paygrade.reports.revenue import of_all
from paygrade.server.http.console.rendering import page
from paygrade.server.http.console.screens import screen
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.parameters import text
from paygrade.server.operations import money_reports as reports

SHOWN = 100
"""Accounts of a page."""

_From = Annotated[str, text("The first month.")]
_Until = Annotated[str, text("The first month that is not in it.")]
_After = Annotated[str, text("The `next` of the page before.")]


@screen("/reports", scope="reports:read")
async def show_revenue(
    request: HttpRequest, context: InContext, begin: _From = "", until: _Until = "", after: _After = ""
) -> Response[str]:
    months = reports.read_months(begin or None, until or None, context.clock.now())
    found = await reports.report_revenue(context.store, months=months, after=after, limit=SHOWN)
    return page(
        request,
        "reports.html",
        months=of_all(found.rows),
        rows=found.rows,
        span=dict(zip(("begin", "until"), months.names, strict=True)),
        unread=found.unread,
        next=found.next,
        after=after,
    )


@screen("/reports/recurring", scope="reports:read")
async def show_recurring(
    request: HttpRequest, context: InContext, begin: _From = "", until: _Until = "", after: _After = ""
) -> Response[str]:
    months = reports.read_months(begin or None, until or None, context.clock.now())
    found = await reports.report_movements(context.store, months=months, after=after, limit=SHOWN)
    return page(
        request,
        "reports_recurring.html",
        months=of_all_movements(found.rows),
        span=dict(zip(("begin", "until"), months.names, strict=True)),
        next=found.next,
        after=after,
    )


@screen("/reports/leakage", scope="reports:read")
async def show_leakage(request: HttpRequest, context: InContext, after: _After = "") -> Response[str]:
    found = await reports.report_leakage(context.store, after=after, limit=SHOWN, at=context.clock.now())
    return page(request, "reports_leakage.html", rows=found.rows, unread=found.unread, next=found.next, after=after)
