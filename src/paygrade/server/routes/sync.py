"""Billing sync: how it stands, and reading everything anew."""

import asyncio

from litestar import get, post

from paygrade.server.openapi import tell
from paygrade.server.operations import sync
from paygrade.server.parts import Here


@get("/v1/sync/status", opt=tell("Read how billing sync stands", "billing"))
async def sync_status(parts: Here) -> sync.SyncStatus:
    """How many subjects wait to be read and for how long, which fail and why, and what a person should look at."""
    return await sync.sync_status(parts.store, now=parts.clock.now())


@post(
    "/v1/sync/sweep",
    status_code=202,
    opt=tell("Read everything anew", "billing", example={"subjects": 1200, "discovered": 3}),
)
async def sweep(parts: Here) -> sync.Marked:
    """Mark every subject for reading, those too that only the provider knows; workers go through them at the
    provider's pace. Repairs what lost billing events left behind."""
    subjects = await asyncio.to_thread(list, parts.discover()) if parts.discover is not None else []
    discovered = await sync.mark_discovered(parts.store, subjects=subjects)
    return sync.Marked(subjects=await sync.mark_all_dirty(parts.store), discovered=discovered)
