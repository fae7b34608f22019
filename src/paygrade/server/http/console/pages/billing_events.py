"""Billing events: did this one arrive, and what came of it."""

from typing import Annotated

from litestar import Response

from paygrade.server.http.bodies import read_key
from paygrade.server.http.console.rendering import page
from paygrade.server.http.console.screens import screen
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.parameters import choice, read_choice, text
from paygrade.server.http.routes.sync import EVENT_STATES
from paygrade.server.operations.sync import events

SHOWN = 50


@screen("/sync/events", scope="billing:read")
async def show_billing_events(
    request: HttpRequest,
    context: InContext,
    id: Annotated[str, text("The event of this id.")] = "",
    in_state: Annotated[str | None, choice("state", EVENT_STATES, "Only events in this state.")] = None,
    account: Annotated[str, text("Only events about customers of this account.")] = "",
    customer: Annotated[str, text("Only events about this customer, such as `cus_P1`.")] = "",
    before: Annotated[str, text("The `next` of the page before.")] = "",
) -> Response[str]:
    state = read_choice(in_state or None, EVENT_STATES, name="state")
    id, customer = id.strip(), customer.strip()
    found = await events.list_events(
        context.store,
        id=id or None,
        state=state,
        account=read_key(account, pointer="", noun="account") if account else None,
        subject=f"{context.provider}:{customer}" if customer else None,
        before=before or None,
        limit=SHOWN,
    )
    return page(
        request,
        "billing_events.html",
        events=found.events,
        next=found.next,
        before=before,
        said={"id": id, "state": state or "", "account": account, "customer": customer},
        states=EVENT_STATES,
        provider=context.provider,
    )
