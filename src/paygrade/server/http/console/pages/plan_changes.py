"""Plan changes: by how they stand, whose and when; what is to come as a calendar; and one with its money."""

import re
from calendar import Calendar
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from litestar import Response
from litestar.params import FromPath

from paygrade.changes.plan_change import PlanChange
from paygrade.server.http.bodies import invalid, read_key
from paygrade.server.http.console.rendering import link, page, see_other
from paygrade.server.http.console.screens import action, read_form, read_moment, screen
from paygrade.server.http.console.sending import Sending, send
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.parameters import choice, read_choice, text
from paygrade.server.http.problems import KINDS
from paygrade.server.operations.changes import plan_changes
from paygrade.server.operations.changes.all_changes import STANDINGS, search_changes, when
from paygrade.values.errors import Mistake, Refused

SHOWN, MONTH_MAX = 50, 500
"""Changes on a page, and of a month in the calendar."""
VIEWS = {"under_way": "Under way", "to_come": "To come", "applied": "Applied", "failed": "Failed",
         "canceled": "Taken back"}  # fmt: skip
_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])", re.ASCII)


@screen("/plan-changes", scope="plan_changes:read")
async def show_plan_changes(
    request: HttpRequest,
    context: InContext,
    view: Annotated[str | None, choice("view", VIEWS, "How they stand.")] = None,
    account: Annotated[str, text("Only those of this account.")] = "",
    begin: Annotated[str, text("From this instant on.")] = "",
    until: Annotated[str, text("Before this instant.")] = "",
    before: Annotated[str, text("The `next` of the page before.")] = "",
) -> Response[str]:
    known = read_choice(view or None, STANDINGS, name="view") or "under_way"
    found = await search_changes(
        context.store,
        standing=known,
        account=read_key(account, pointer="", noun="account") if account else None,
        from_at=read_moment(begin, name="begin"),
        until=read_moment(until, name="until"),
        place=before or None,
        limit=SHOWN,
    )
    said = {"view": known, "account": account, "begin": begin, "until": until}
    return page(
        request, "plan_changes.html", changes=[(each, when(each)) for each in found.changes], next=found.next,
        before=before, said=said, views=VIEWS,
    )  # fmt: skip


@screen("/plan-changes/calendar", scope="plan_changes:read")
async def show_calendar(
    request: HttpRequest,
    context: InContext,
    month: Annotated[str, text("Such as `2026-12`; the present one if empty.")] = "",
) -> Response[str]:
    """What is scheduled, day by day, in UTC."""
    first = _month(month, context.clock.now())
    following = (first + timedelta(days=31)).replace(day=1)
    found = await search_changes(
        context.store, standing="to_come", from_at=_instant(first), until=_instant(following), limit=MONTH_MAX
    )
    by_day: dict[date, list[PlanChange]] = {}
    for each in found.changes:
        by_day.setdefault(when(each).astimezone(UTC).date(), []).append(each)
    return page(
        request,
        "plan_calendar.html",
        first=first,
        weeks=Calendar().monthdatescalendar(first.year, first.month),
        by_day=by_day,
        count=len(found.changes),
        more=found.next is not None,
        earlier=(first - timedelta(days=1)).strftime("%Y-%m"),
        later=following.strftime("%Y-%m"),
        a_day=timedelta(days=1),
        today=context.clock.now().astimezone(UTC).date(),
    )


@screen("/plan-changes/{account:str}/{change:str}", scope="plan_changes:read")
async def show_plan_change(
    account: FromPath[str], change: FromPath[str], request: HttpRequest, context: InContext
) -> Response[str]:
    return await _one(request, context, account, change)


@action("/plan-changes/{account:str}/{change:str}", scope="plan_changes:write")
async def take_back(
    account: FromPath[str], change: FromPath[str], request: HttpRequest, context: InContext
) -> Response[Any]:
    """Take a change back that is scheduled or waits. Any: the page, or the way back to it."""
    form = await read_form(request)
    try:
        query = {"wait_s": "0", "reason": form.reason()}
        await send(request, Sending("DELETE", ("accounts", account, "plan-changes", change), query=query))
    except Refused as error:
        return await _one(request, context, account, change, error)
    return see_other(link("plan-changes", account, change))


async def _one(
    request: HttpRequest, context: InContext, account: str, change: str, error: Refused | None = None
) -> Response[str]:
    found = await plan_changes.get_change(context.store, account=account, id=change)
    return page(
        request,
        "plan_change.html",
        status=KINDS[error.code].status if error is not None else 200,
        change=found.change,
        quote=found.change.quoted,
        steps=found.steps,
        error=error,
    )


def _month(said: str, now: datetime) -> date:
    """The first day of it. Refused `invalid_query`."""
    if not said:
        return now.astimezone(UTC).date().replace(day=1)
    found = _MONTH.fullmatch(said)
    if found is None:
        mistake = Mistake("", f"`month` must be one of this century such as `2026-12`, not `{said[:40]}`")
        raise invalid("invalid_query", "the query", [mistake])
    return date(int(found[1]), int(found[2]), 1)


def _instant(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
