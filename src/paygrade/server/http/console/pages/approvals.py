"""Approvals: what waits for a second person, what it would lead to, and what became of the others."""

from typing import Annotated, Any

from litestar import Response
from litestar.params import FromPath

from paygrade.server.http.auth import person_before
from paygrade.server.http.console.rendering import link, page, see_other
from paygrade.server.http.console.screens import action, read_form, screen
from paygrade.server.http.console.sending import Sending, send
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.parameters import choice, read_choice, text
from paygrade.server.http.problems import KINDS
from paygrade.server.http.routes.approvals import STATES
from paygrade.server.operations import approvals
from paygrade.values.errors import Refused, Unavailable

SHOWN = 50
VIEWS = (*STATES, "all")
DECISIONS = ("approve", "decline", "withdraw")


@screen("/approvals", scope="approvals:read")
async def show_approvals(
    request: HttpRequest,
    context: InContext,
    stands: Annotated[str | None, choice("state", VIEWS, "Those that stand like this.")] = None,
    account: Annotated[str, text("Approvals of this account.")] = "",
    before: Annotated[str, text("The `next` of the page before.")] = "",
) -> Response[str]:
    state = read_choice(stands or None, VIEWS, name="state") or "waiting"
    found = await approvals.list_approvals(
        context.store,
        state=state if state != "all" else None,
        account=account or None,
        before=before or None,
        limit=SHOWN,
        at=context.clock.now(),
    )
    said = {"state": state, "account": account}
    return page(
        request, "approvals.html", approvals=found.approvals, next=found.next, before=before, said=said, views=VIEWS
    )


@screen("/approvals/{approval:str}", scope="approvals:read")
async def show_approval(approval: FromPath[str], request: HttpRequest, context: InContext) -> Response[str]:
    return await _one(request, context, approval)


@action("/approvals/{approval:str}", scope="approvals:write")
async def decide(approval: FromPath[str], request: HttpRequest, context: InContext) -> Response[Any]:
    """Approve, decline or withdraw it. Any: the page, or the way back to it."""
    form = await read_form(request)
    try:
        if form["do"] not in DECISIONS:
            raise Refused("invalid_body", "choose what to do: approve, decline or withdraw")
        await send(request, Sending("POST", ("approvals", approval, form["do"]), {"reason": form["reason"]}))
    except (Refused, Unavailable) as error:
        return await _one(request, context, approval, error)
    return see_other(link("approvals", approval))


async def _one(
    request: HttpRequest, context: InContext, id: str, error: Refused | Unavailable | None = None
) -> Response[str]:
    found = await approvals.get_approval(context.store, id=id, at=context.clock.now())
    who = person_before(request)
    return page(
        request,
        "approval.html",
        status=KINDS[error.code].status if error is not None else 200,
        approval=found,
        is_mine=who is not None and found.asked_by["id"] == who.person.id,
        error=error,
    )
