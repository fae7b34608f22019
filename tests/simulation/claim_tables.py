"""Claims over dicts: what `postgres/claims.py` does with the rows of every table that is claimed (`tables.py`)."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from paygrade.postgres.claims import Candidate


class ClaimedRow(Struct, frozen=True):
    """A row as its noun knows it, with its lease and its pause."""

    saved: Any
    leased_until: datetime | None = None
    retry_at: datetime | None = None

    @property
    def fence(self) -> int:
        return int(self.saved.fence)


Waits = Callable[[Any, Mapping[str, Any]], bool]


class Kind(Struct, frozen=True):
    """A table that is claimed: the conditions under which a row waits, each with its order, and what is open of it."""

    key: Callable[[Any], tuple[Any, ...]]
    waiting: tuple[tuple[Waits, Callable[[Any], Any]], ...]
    is_open: Callable[[Any], bool] = lambda row: True


class ClaimTables:
    """What a transaction over the tables in memory does with rows that are claimed."""

    _now: Callable[[], datetime]
    _written: defaultdict[str, dict[Any, Any]]
    _kinds: Mapping[str, Kind]

    def _get(self, table: str, key: Any) -> Any:
        raise NotImplementedError

    def _rows(self, table: str) -> list[Any]:
        raise NotImplementedError

    def _claims_candidates(self, table: str, *, limit: int, **values: Any) -> tuple[Candidate, ...]:
        kind, now, found = self._kinds[table], self._now(), list[Candidate]()
        for condition, (waits, order) in enumerate(kind.waiting):
            rows = [row for row in self._rows(table) if past(row.leased_until, now) and past(row.retry_at, now)]
            rows = sorted((row for row in rows if waits(row, values)), key=order)[: limit - len(found)]
            found += [Candidate(kind.key(row), row.fence, row.leased_until, condition) for row in rows]
        return tuple(found)

    def _claims_take(self, table: str, candidate: Candidate, *, lease_s: float, **values: Any) -> Any:
        row = self._get(table, plain(candidate.key))
        waits, _ = self._kinds[table].waiting[candidate.condition]
        if row is None or (row.fence, row.leased_until) != (candidate.fence, candidate.leased_until):
            return None
        if not waits(row, values):
            return None
        until, fence = self._in(lease_s), row.fence + 1
        if isinstance(row, ClaimedRow):
            row = replace(row, saved=replace(row.saved, fence=fence), leased_until=until)
        else:
            row = replace(row, fence=fence, leased_until=until)
        self._written[table][plain(candidate.key)] = row
        return row.saved if isinstance(row, ClaimedRow) else row

    def _claims_lock(self, table: str, claimed: Any) -> Any:
        row = self._claims_held(table, claimed)
        return row.saved if row is not None else None

    def _claims_save(
        self, table: str, saved: Any, *, lease_s: float | None = None, retry_s: float | None = None
    ) -> None:
        key = plain(self._kinds[table].key(ClaimedRow(saved)))
        saved = replace(saved, fence=self._get(table, key).fence)
        self._written[table][key] = ClaimedRow(saved, self._in(lease_s), self._in(retry_s))

    def _claims_keep(self, table: str, claimed: Any, *, lease_s: float) -> bool:
        row = self._claims_held(table, claimed)
        if row is not None:
            self._claims_save(table, row.saved, lease_s=lease_s)
        return row is not None

    def _claims_fail(self, table: str, claimed: Any, *, error: str, retry_s: float) -> bool:
        row = self._claims_held(table, claimed)
        if row is None or row.leased_until is None:
            return False
        failed = replace(row.saved, error=error, attempts=row.saved.attempts + 1)
        self._claims_save(table, failed, retry_s=retry_s)
        return True

    def _claims_held(self, table: str, claimed: Any) -> ClaimedRow | None:
        """The row, unless it was claimed since or is not open any more."""
        kind = self._kinds[table]
        row: ClaimedRow | None = self._get(table, plain(kind.key(ClaimedRow(claimed))))
        return row if row is not None and row.fence == claimed.fence and kind.is_open(row) else None

    def _in(self, seconds: float | None) -> datetime | None:
        return None if seconds is None else self._now() + timedelta(seconds=seconds)


def plain(key: tuple[Any, ...]) -> Any:
    """Keys of one column stand for themselves."""
    return key[0] if len(key) == 1 else key


def past(date: datetime | None, now: datetime) -> bool:
    return date is None or date <= now
