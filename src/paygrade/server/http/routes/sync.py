"""Billing sync: how it stands, comparing everything anew, and what was found to differ."""

import re
from typing import Annotated

from litestar import get, post
from litestar.params import FromPath

from paygrade.server.http.bodies import read_body, read_flag
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import PageSize, flag, number
from paygrade.server.http.routes import examples
from paygrade.server.operations.sync import inbox as sync
from paygrade.server.operations.sync import repair

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


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
