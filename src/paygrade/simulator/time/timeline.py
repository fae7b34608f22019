"""A clock, and what falls due by it, first things first."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import UTC, datetime

# Same instant, several happenings: an end comes before a renewal, a charge after the invoice it charges.
DUE_ORDER = (
    "expire_checkout",
    "cancel",
    "expire_incomplete",
    "expire_resumption",
    "expire_held_change",
    "resume_collection",
    "end_discount",
    "expire_credits",
    "upcoming",
    "schedule_expiring",
    "phase",
    "trial_will_end",
    "end_trial",
    "renew",
    "finalize",
    "overdue",
    "settle_debit",
    "settle_refund",
    "retry",
    "dispute",
    "warn_of_fraud",
)


@dataclass(slots=True)
class Timeline:
    now: datetime
    _due: list[tuple[int, int, int, str, str]] = field(default_factory=list)
    _known: set[tuple[int, str, str]] = field(default_factory=set)
    _count: int = 0

    def schedule(self, due: int, what: str, id: str) -> None:
        """Note what falls due; what is noted already happens once."""
        if (due, what, id) in self._known:
            return
        self._known.add((due, what, id))
        self._count += 1
        heapq.heappush(self._due, (due, DUE_ORDER.index(what), self._count, what, id))

    @property
    def next_due(self) -> datetime | None:
        return datetime.fromtimestamp(self._due[0][0], UTC) if self._due else None

    def take_due(self) -> tuple[str, str]:
        """Take the first happening from the queue and set the clock to its instant."""
        due, _, _, what, id = heapq.heappop(self._due)
        self._known.discard((due, what, id))
        self.now = max(self.now, datetime.fromtimestamp(due, UTC))
        return what, id
