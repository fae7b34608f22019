"""Usage reports: what the provider was told of usage, where that fails or differs, and comparing it anew."""

from typing import Annotated, Any

from litestar import Response

from paygrade.server.http.bodies import read_key
from paygrade.server.http.console.rendering import link, page, see_other
from paygrade.server.http.console.screens import action, read_form, screen
from paygrade.server.http.console.sending import Sending, make_key, send
from paygrade.server.http.console.unbilled import told_report
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.parameters import choice, read_choice, text
from paygrade.server.http.problems import KINDS
from paygrade.server.http.routes.reports import STATES
from paygrade.server.operations.accounts import provider_reports
from paygrade.usage.provider_reports import OpenReport
from paygrade.values.errors import Refused, Unavailable

SHOWN = 50


@screen("/sync/reports", scope="billing:read")
async def show_usage_reports(
    request: HttpRequest,
    context: InContext,
    in_state: Annotated[str | None, choice("state", STATES, "Those that need a person for this.")] = None,
    account: Annotated[str, text("All windows of this account.")] = "",
    after: Annotated[str, text("The `next` of the page before.")] = "",
) -> Response[str]:
    state = read_choice(in_state or None, STATES, name="state")
    return await _reports(request, context, state=state, account=account, after=after)


@action("/sync/reports", scope="billing:sync")
async def reconcile(request: HttpRequest, context: InContext) -> Response[Any]:
    """Compare with the provider, for one account or for all. Any: the page, or the way back to it."""
    form = await read_form(request)
    body = {"account": form["account"]} if form["account"] else {}
    try:
        await send(request, Sending("POST", ("usage", "reconcile"), body, key=form["key"]))
    except (Refused, Unavailable) as error:
        return await _reports(request, context, error=error)
    return see_other(link("sync", "reports", account=form["account"], compared="yes"))


async def _reports(
    request: HttpRequest,
    context: InContext,
    *,
    state: OpenReport | None = None,
    account: str = "",
    after: str = "",
    error: Refused | Unavailable | None = None,
) -> Response[str]:
    at, place = context.clock.now(), after or None
    if account:
        key = read_key(account, pointer="", noun="account")
        found = await provider_reports.list_usage_reports(context.store, account=key, before=place, limit=SHOWN, at=at)
    else:
        found = await provider_reports.list_open_usage_reports(
            context.store, state=state, after=place, limit=SHOWN, at=at
        )
    return page(
        request,
        "usage_reports.html",
        status=KINDS[error.code].status if error is not None else 200,
        reports=[(each, *told_report(each)) for each in found.reports],
        unchecked=found.unchecked,
        next=found.next,
        after=after,
        said={"state": state or "", "account": account},
        states=STATES,
        compared=request.query_params.get("compared", ""),
        has_provider=context.has_provider,
        error=error,
        key=make_key(),
    )
