"""Billing sync: how it stands, comparing everything anew, and what was found to differ."""

import re
from typing import Annotated

from litestar import get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from paygrade.server.http.bodies import read_body, read_flag
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Query, Sent, describe
from paygrade.server.http.routes import examples
from paygrade.server.operations.sync import inbox as sync
from paygrade.server.operations.sync import repair
from paygrade.values.errors import Unavailable

PAGE_MAX = 500
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
PageSize = Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)]


@get("/v1/sync/status", opt=describe("Read how billing sync stands", "billing"))
async def sync_status(parts: InContext) -> sync.SyncStatus:
    """How many subjects wait to be read and for how long, which fail and why, how the latest sweep and the events
    poll stand, how many fields differ, and what a person should look at."""
    return await sync.sync_status(parts.store, now=parts.clock.now())


@post(
    "/v1/sync/sweep",
    status_code=202,
    opt=describe(
        "Compare everything with the provider",
        "billing",
        sent=Sent(kind=repair.SweepRequest, example={"dry_run": False}),
        example=examples.STARTED_SWEEP,
        problems=("malformed_json", "invalid_body", "sweep_running", "provider_not_configured"),
    ),
)
async def sweep(request: HttpRequest, parts: InContext) -> repair.StartedSweep:
    """Start comparing every subscription at the provider, and customers it has not met yet, with what is stored, or
    find that it is under way. What differs is recorded as drift and read again. `GET /v1/sync/status` tells how far it
    is. A dry run writes nothing and leaves a report."""
    if not parts.has_provider:
        raise Unavailable("provider_not_configured", "no provider is set here; set PAYGRADE_STRIPE_API_KEY")
    raw = await request.body()
    wanted = read_body(repair.SweepRequest, raw) if raw.strip() else repair.SweepRequest()
    return await repair.start_sweep(parts.store, dry_run=wanted.dry_run, at=parts.clock.now())


@get(
    "/v1/sync/sweeps/{sweep:str}",
    opt=describe("Read a sweep", "billing", example=examples.SWEEP, problems=("unknown_sweep",)),
)
async def get_sweep(sweep: FromPath[str], parts: InContext) -> repair.Sweep:
    """How far a sweep is or what it met, with the report of a dry run."""
    return await repair.load_sweep(parts.store, id=int(sweep) if _NUMBER.fullmatch(sweep) else 0)


@get(
    "/v1/sync/drift",
    opt=describe(
        "List drift",
        "billing",
        query=(
            Query("open", {"type": "boolean", "default": False}, "Only what is not healed yet."),
            Query("before", {"type": "integer"}, "Only rows with a smaller id; `next` of the page before."),
            Query("limit", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 100}, "Page size."),
        ),
        example=examples.DRIFT,
        problems=("invalid_query",),
    ),
)
async def list_drift(
    parts: InContext,
    open: FromQuery[str | None] = None,
    before: FromQuery[int | None] = None,
    limit: PageSize = 100,
) -> repair.DriftList:
    """Fields in which the provider differed from what was stored though no billing event had told, the newest
    first."""
    open_only = open is not None and read_flag(open, name="open")
    return await repair.list_drift(parts.store, open_only=open_only, before=before, limit=limit)
