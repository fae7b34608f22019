"""Plan changes: what is under way, what is to come by date, what came of the latest, and one with its money."""

from typing import Annotated, Any

from litestar import Response
from litestar.params import FromPath

from paygrade.server.http.console.rendering import link, page, see_other
from paygrade.server.http.console.screens import action, screen
from paygrade.server.http.console.sending import Sending, send
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.parameters import choice, read_choice
from paygrade.server.http.problems import KINDS
from paygrade.server.operations.changes import plan_changes
from paygrade.values.errors import Refused

SHOWN = 100
VIEWS = {
    "under_way": "Under way",
    "to_come": "To come",
    "applied": "Applied lately",
    "failed": "Failed lately",
    "canceled": "Taken back lately",
}


@screen("/plan-changes", scope="plan_changes:read")
async def show_plan_changes(
    request: HttpRequest,
    context: InContext,
    view: Annotated[str | None, choice("view", VIEWS, "Which of them.")] = None,
) -> Response[str]:
    known = read_choice(view, VIEWS, name="view") or "under_way"
    if known == "under_way":
        found = await plan_changes.under_way(context.store, limit=SHOWN)
    elif known == "to_come":
        found = await plan_changes.to_come(context.store, limit=SHOWN)
    else:
        found = await plan_changes.told_lately(context.store, type=f"plan_change.{known}", limit=SHOWN)
    return page(request, "plan_changes.html", changes=found, view=known, views=VIEWS, shown_max=SHOWN)


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
    try:
        await send(request, Sending("DELETE", ("accounts", account, "plan-changes", change), query={"wait_s": "0"}))
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
