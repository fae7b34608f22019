"""Billing sync: how it stands, and reading everything anew."""

from litestar import get, post
from msgspec import Struct

from paygrade.server.openapi import tell
from paygrade.server.operations import sync
from paygrade.server.parts import Here


class Sweep(Struct, frozen=True):
    """How many subjects were marked for reading."""

    marked: int


@get("/v1/sync/status", opt=tell("Read how billing sync stands", "billing"))
async def sync_status(parts: Here) -> sync.SyncStatus:
    """How many subjects wait to be read and for how long, which fail and why, and what a person should look at."""
    return await sync.sync_status(parts.store, now=parts.clock.now())


@post(
    "/v1/sync/sweep",
    status_code=202,
    opt=tell("Read everything anew", "billing", example={"marked": 1200}),
)
async def sweep(parts: Here) -> Sweep:
    """Mark every subject for reading; workers go through them at the provider's pace. Repairs what lost billing
    events left behind."""
    return Sweep(marked=await sync.mark_all_dirty(parts.store))
