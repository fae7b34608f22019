"""The catalog check: what the provider sells is held against the catalog in force, every hour where all is well.

Laws: what differs becomes a finding once, and is told as gone once it is mended, whoever mended it; what could not be
read changes nothing; one process checks at a time, and what is saved was read under the latest claim.
"""

import asyncio
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from paygrade.catalog.provider_check import differences, has_meters, whether_bought
from paygrade.providers.port import Shop
from paygrade.server.operations.updates.finding_notices import tell_findings
from paygrade.server.workers.claims import Queue, give_back
from paygrade.updates.log import News
from paygrade.updates.types import FindingUpdate
from paygrade.values.errors import Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.catalog_checks import SavedCatalogCheck
    from paygrade.postgres.store import Store
    from paygrade.server.process.clock import Clock

EVERY_S, AGAIN_S = 3600.0, 300.0
"""How long it rests where nothing differs, and where something does, or nothing is sold yet."""
LEASE_S = 600.0
"""Longer than a reading of a large account takes at the pace that requests are sent."""
FOUND_MAX = 200
"""So many differences are told. Who has more has another account's key, or another catalog."""
CODE = "catalog_differs"

CheckOutcome = Literal["same", "differs", "nothing_sold", "paused", "overtaken"]


def checks_of(provider: str) -> "Queue[SavedCatalogCheck]":
    """The one check of a provider, which waits for its time."""
    return Queue("catalog_checked", lambda tx: tx.catalog_checks, ("provider",), LEASE_S, values={"provider": provider})


async def check_catalog(store: "Store", shop: Shop, clock: "Clock", claimed: "SavedCatalogCheck") -> CheckOutcome:
    """Compare once, and tell of what has come up and what has gone."""
    async with store.transaction() as tx:
        catalog = await tx.catalogs.in_force()
    found: tuple[FindingUpdate, ...] = ()
    if catalog.version:
        try:
            names, ask = tuple(catalog.stripe), whether_bought(catalog)
            there = await asyncio.to_thread(shop.read_catalog, names, ask, meters=has_meters(catalog))
        except Unavailable as error:
            return "paused" if await give_back(store, checks_of(shop.name), claimed, error) else "overtaken"
        differing = differences(catalog, there)[:FOUND_MAX]
        found = tuple(FindingUpdate(CODE, each.subject, each.message) for each in differing)
    at = clock.now()
    async with store.transaction() as tx:
        before = await tx.catalog_checks.lock(claimed)
        if before is None:
            return "overtaken"
        news = _news(before.found, found)
        told = [News(None, type, data, at) for type, data in news]
        await tx.announce(told, at)
        await tell_findings(tx, told)
        saved = replace(before, checked_at=at, found=found, attempts=0, error=None)
        await tx.catalog_checks.save(saved, retry_s=EVERY_S if catalog.version and not found else AGAIN_S)
    return "differs" if found else "same" if catalog.version else "nothing_sold"


def _news(before: tuple[FindingUpdate, ...], now: tuple[FindingUpdate, ...]) -> list[tuple[str, FindingUpdate]]:
    """What of it is to be told. One whose words changed is another one: what it was is gone."""
    gone = [("finding.gone", each) for each in before if each not in now]
    return [*gone, *(("finding.appeared", each) for each in now if each not in before)]
