"""Billing sync: how it stands, comparing everything anew, and what was found to differ."""

import re
from typing import Annotated, get_args

from litestar import get, post
from litestar.params import FromPath

from paygrade.server.http.bodies import read_body, read_flag
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import Before, PageSize, choice, flag, number, read_choice, text
from paygrade.server.http.routes import examples
from paygrade.server.operations.sync import events, repair
from paygrade.server.operations.sync import inbox as sync

EVENT_STATES: tuple[events.EventState, ...] = get_args(events.EventState)
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_EVENTS = {
    "events": [
        {
            "id": "evt_1P2x",
            "type": "customer.subscription.updated",
            "subject": "stripe:cus_P1",
            "account": "acme",
            "object_id": "sub_1",
            "created_at": "2026-11-21T09:00:01Z",
            "received_at": "2026-11-21T09:00:02Z",
            "missed": False,
            "state": "handled",
            "handled_at": "2026-11-21T09:00:03Z",
            "error": None,
            "attempts": 0,
            "retry_at": None,
        }
    ],
    "next": None,
}


@get("/v1/sync/status", opt=describe("billing", sync.sync_status, scope="billing:read"))
async def sync_status(context: InContext) -> sync.SyncStatus:
    return await sync.sync_status(context.store, context.provider, now=context.clock.now())


@post(
    "/v1/sync/sweep",
    status_code=202,
    opt=describe(
        "billing",
        repair.start_sweep,
        sent=Sent({"dry_run": False}, repair.SweepRequest),
        example=examples.STARTED_SWEEP,
        problems=("provider_not_configured",),
        scope="billing:sync",
    ),
)
async def sweep(request: HttpRequest, context: InContext) -> repair.StartedSweep:
    context.require_provider()
    wanted = read_body(repair.SweepRequest, (await request.body()).strip() or b"{}")
    return await repair.start_sweep(context.store, context.provider, dry_run=wanted.dry_run, at=context.clock.now())


@get(
    "/v1/sync/sweeps/{sweep:str}",
    opt=describe("billing", repair.load_sweep, example=examples.SWEEP, scope="billing:read"),
)
async def get_sweep(sweep: FromPath[str], context: InContext) -> repair.Sweep:
    return await repair.load_sweep(context.store, id=int(sweep) if _NUMBER.fullmatch(sweep) else 0)


@get("/v1/sync/drift", opt=describe("billing", repair.list_drift, example=examples.DRIFT, scope="billing:read"))
async def list_drift(
    context: InContext,
    open: Annotated[str | None, flag("Only differences that remain.")] = None,
    before: Annotated[int | None, number("Only rows with a smaller id; `next` of the page before.")] = None,
    limit: PageSize = 100,
) -> repair.DriftList:
    open_only = open is not None and read_flag(open, name="open")
    return await repair.list_drift(context.store, open_only=open_only, before=before, limit=limit)


@get("/v1/sync/events", opt=describe("billing", events.list_events, example=_EVENTS, scope="billing:read"))
async def list_events(
    context: InContext,
    id: Annotated[str | None, text("The event of this id, such as `evt_1P2x`.")] = None,
    in_state: Annotated[str | None, choice("state", EVENT_STATES, "Only events in this state.")] = None,
    account: Annotated[str | None, text("Only events about customers of this account.")] = None,
    subject: Annotated[str | None, text("Only events about this subject, such as `stripe:cus_P1`.")] = None,
    before: Before = None,
    limit: PageSize = 100,
) -> events.BillingEventList:
    state = read_choice(in_state, EVENT_STATES, name="state")
    return await events.list_events(
        context.store, id=id, state=state, account=account, subject=subject, before=before, limit=limit
    )
