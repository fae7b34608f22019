"""What is measured of the database when somebody reads the metrics.

Law: whoever reads them often causes no more of it: what was measured counts for `FRESH_S`.
"""

import time
from datetime import datetime
from typing import TYPE_CHECKING

from paygrade.server.process.metrics import DatabaseNumbers, Metrics
from paygrade.values.errors import Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

FRESH_S = 5.0


async def measure(store: "Store", metrics: Metrics, at: datetime) -> None:
    """Measure the database, unless that was done a moment ago."""
    now_s = time.monotonic()
    if now_s - metrics.database.taken_at_s < FRESH_S:
        return
    metrics.database.taken_at_s = now_s
    try:
        async with store.transaction() as tx:
            found = await tx.measures.take()
    except Unavailable:
        metrics.database.numbers = None
        return
    metrics.database.numbers = DatabaseNumbers(
        dirty=found.dirty,
        dirty_s=found.dirty_s or 0.0,
        unhandled=found.unhandled,
        inbox_lag_s=_since(found.unhandled_since, at),
        drift=found.drift,
        differences=found.differences,
        queue=found.queue,
        updates_lag_s=_since(found.unplaced_since, at),
        webhooks_lag_s=max(0.0, found.overdue_s or 0.0, _since(found.unplanned_since, at)),
        failing=found.failing,
        audit_lag_s=_since(found.unsent_since, at),
    )


def _since(then: datetime | None, at: datetime) -> float:
    return max(0.0, (at - then).total_seconds()) if then is not None else 0.0
