"""The tables of repair as dicts: sweeps and what they have seen, polls, and drift that is open (`tables.py`)."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.drift import Difference, FoundBy
from paygrade.postgres.polls import SavedPoll
from paygrade.postgres.sweeps import SavedSweep
from paygrade.values.states import TERMINAL


class SweepRow(Struct, frozen=True):
    saved: SavedSweep
    touched_at: datetime
    leased_until: datetime | None = None
    retry_at: datetime | None = None


class PollRow(Struct, frozen=True):
    saved: SavedPoll
    leased_until: datetime | None = None
    next_at: datetime | None = None


class RepairTables:
    """What a transaction over the tables in memory does with the nouns of repair. There is one provider."""

    _now: Callable[[], datetime]
    _written: defaultdict[str, dict[Any, Any]]

    def _get(self, table: str, key: Any) -> Any:
        raise NotImplementedError

    def _rows(self, table: str) -> list[Any]:
        raise NotImplementedError

    # Sweeps

    def _sweeps_start(self, provider: str, *, dry_run: bool, at: datetime) -> bool:
        latest = self._latest()
        if latest is not None and latest.saved.finished_at is None:
            return False
        id = latest.saved.id + 1 if latest else 1
        whole = [row.saved.started_at for row in self._rows("sweeps") if not row.saved.dry_run]
        saved = SavedSweep(id, dry_run, at, None, max(whole, default=None), None, {}, None, None, 0, 0)
        self._written["sweeps"][id] = SweepRow(saved, self._now())
        return True

    def _sweeps_start_regularly(self, provider: str, *, every: timedelta, at: datetime) -> bool:
        for row in self._rows("sweeps"):
            if row.saved.finished_at is None or (not row.saved.dry_run and row.touched_at > self._now() - every):
                return False
        return self._sweeps_start(provider, dry_run=False, at=at)

    def _sweeps_claim(self, provider: str, *, lease_s: float) -> SavedSweep | None:
        row, now = self._latest(), self._now()
        if row is None or row.saved.finished_at is not None or not (_past(row.leased_until, now)):
            return None
        if not _past(row.retry_at, now):
            return None
        saved = replace(row.saved, fence=row.saved.fence + 1)
        self._written["sweeps"][saved.id] = replace(row, saved=saved, leased_until=now + timedelta(seconds=lease_s))
        return saved

    def _sweeps_hold(self, sweep: SavedSweep) -> bool:
        return self._held(sweep) is not None

    def _sweeps_advance(self, sweep: SavedSweep, *, lease_s: float) -> None:
        row, now = self._held(sweep), self._now()
        if row is not None:
            saved = replace(row.saved, cursor=sweep.cursor, counts=sweep.counts, attempts=0, error=None)
            lease = now + timedelta(seconds=lease_s)
            self._written["sweeps"][sweep.id] = replace(row, saved=saved, touched_at=now, leased_until=lease)

    def _sweeps_finish(self, sweep: SavedSweep, *, report: Any, at: datetime) -> None:
        row = self._held(sweep)
        if row is not None:
            saved = replace(row.saved, finished_at=at, counts=sweep.counts, report=report, cursor=None, error=None)
            self._written["sweeps"][sweep.id] = SweepRow(saved, self._now(), None, row.retry_at)

    def _sweeps_fail(self, sweep: SavedSweep, *, error: str, retry_s: float) -> None:
        row = self._held(sweep)
        if row is not None:
            saved = replace(row.saved, error=error, attempts=row.saved.attempts + 1)
            retry_at = self._now() + timedelta(seconds=retry_s)
            self._written["sweeps"][sweep.id] = SweepRow(saved, row.touched_at, None, retry_at)

    def _sweeps_latest(self, provider: str) -> SavedSweep | None:
        row = self._latest()
        return row.saved if row else None

    def _sweeps_load(self, id: int) -> SavedSweep | None:
        row = self._get("sweeps", id)
        return row.saved if row else None

    def _sweeps_see(self, subscriptions: Iterable[tuple[str, str]]) -> None:
        for key in subscriptions:
            self._written["sightings"][key] = key

    def _sweeps_seen(self) -> tuple[int, int]:
        seen = self._rows("sightings")
        return len({subject for subject, _ in seen}), len(seen)

    def _sweeps_forget_seen(self) -> None:
        for key in self._rows("sightings"):
            self._written["sightings"][key] = None

    def _sweeps_unseen(self, *, provider: str, since: datetime) -> tuple[str, ...]:
        found = set()
        for id, subject, status in self._rows("subscriptions"):
            row = self._get("subjects", subject)
            if status in TERMINAL or row is None or self._get("sightings", (subject, id)):
                continue
            if row.dirty > row.synced and _past(row.leased_until, self._now()):
                continue
            if row.read_at is None or row.read_at <= since:
                found.add(subject)
        return tuple(sorted(found))

    def _sweeps_unlisted(self, *, provider: str, since: datetime, limit: int) -> tuple[str, ...]:
        bought = {subject for _, subject, _ in self._rows("subscriptions")}
        rows = [row for row in self._rows("subjects") if row.account is not None and row.subject not in bought]
        old = [row for row in rows if row.read_at is None or row.read_at <= since]
        old.sort(key=lambda row: (row.read_at is not None, row.read_at, row.subject))
        return tuple(row.subject for row in old[:limit])

    def _latest(self) -> SweepRow | None:
        return max(self._rows("sweeps"), key=lambda row: row.saved.id, default=None)

    def _held(self, sweep: SavedSweep) -> SweepRow | None:
        row: SweepRow | None = self._get("sweeps", sweep.id)
        return row if row is not None and row.saved.fence == sweep.fence and row.saved.finished_at is None else None

    # Polls

    def _polls_claim(self, provider: str, *, lease_s: float) -> SavedPoll | None:
        row, now = self._poll(), self._now()
        if not _past(row.leased_until, now) or not _past(row.next_at, now):
            return None
        self._written["polls"]["stripe"] = replace(row, leased_until=now + timedelta(seconds=lease_s))
        return row.saved

    def _polls_hold(self, provider: str, *, lease_s: float) -> None:
        leased_until = self._now() + timedelta(seconds=lease_s)
        self._written["polls"]["stripe"] = replace(self._poll(), leased_until=leased_until)

    def _polls_finish(self, provider: str, poll: SavedPoll) -> None:
        before = self._poll().saved.watermark
        watermark = max(filter(None, (before, poll.watermark)), default=None)
        saved = replace(poll, watermark=watermark, error=None)
        self._written["polls"]["stripe"] = PollRow(saved, None, self._now() + timedelta(seconds=poll.every_s))

    def _polls_fail(self, provider: str, *, error: str, retry_s: float) -> None:
        saved = replace(self._poll().saved, error=error)
        self._written["polls"]["stripe"] = PollRow(saved, None, self._now() + timedelta(seconds=retry_s))

    def _poll(self) -> PollRow:
        return self._get("polls", "stripe") or PollRow(SavedPoll(None, None, 60, 0, 0, None))

    # Drift that is open: what was healed is not looked at again

    def _drifts_add(self, found: Iterable[tuple[str, str, Difference]], *, found_by: FoundBy, at: datetime) -> int:
        keys = {(subject, each.subscription or "", each.field) for subject, _, each in found}
        new = [key for key in sorted(keys) if self._get("drift", key) is None]
        for key in new:
            self._written["drift"][key] = key
        return len(new)

    def _drifts_heal(self, subject: str, at: datetime) -> int:
        return self._drifts_withdraw(subject)

    def _drifts_withdraw(self, subject: str) -> int:
        mine = [key for key in self._rows("drift") if key[0] == subject]
        for key in mine:
            self._written["drift"][key] = None
        return len(mine)


def _past(date: datetime | None, now: datetime) -> bool:
    return date is None or date <= now
