"""The tables of repair as dicts: sweeps and what they have seen, polls, and drift that is open (`tables.py`)."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from paygrade.billing.drift import Difference, FoundBy
from paygrade.postgres.claims import Candidate
from paygrade.postgres.drift import Fields
from paygrade.postgres.polls import SavedPoll
from paygrade.postgres.sweeps import SavedSweep
from paygrade.values.states import TERMINAL

from .claim_tables import ClaimedRow, ClaimTables, Kind, past

SWEEPS = Kind(
    key=lambda row: (row.saved.id,),
    waiting=((lambda row, _: row.saved.finished_at is None, lambda row: row.saved.id),),
    is_open=lambda row: row.saved.finished_at is None,
)
POLLS = Kind(key=lambda row: (row.saved.provider,), waiting=((lambda row, _: True, lambda row: row.saved.provider),))


class RepairTables(ClaimTables):
    """What a transaction over the tables in memory does with the nouns of repair. There is one provider."""

    def _invoices_mark(self, subjects: Iterable[str]) -> None:
        """Invoices are not simulated: access follows from none."""

    def _invoices_read_longest_ago(self, *, provider: str, before: datetime, limit: int) -> tuple[str, ...]:
        return ()

    # Sweeps

    def _sweeps_start(self, provider: str, *, dry_run: bool, at: datetime) -> bool:
        latest = self._latest()
        if latest is not None and latest.saved.finished_at is None:
            return False
        id = latest.saved.id + 1 if latest else 1
        whole = [row.saved.started_at for row in self._rows("sweeps") if not row.saved.dry_run]
        saved = SavedSweep(id, provider, dry_run, at, None, max(whole, default=None), None, {}, None, None, 0, 0)
        self._written["sweeps"][id] = ClaimedRow(saved)
        return True

    def _sweeps_start_regularly(self, provider: str, *, every: timedelta, at: datetime) -> bool:
        for row in self._rows("sweeps"):
            if row.saved.finished_at is None or (
                not row.saved.dry_run and self._get("touched", row.saved.id) > self._now() - every
            ):
                return False
        return self._sweeps_start(provider, dry_run=False, at=at)

    def _sweeps_hold(self, sweep: SavedSweep) -> bool:
        return self._claims_lock("sweeps", sweep) is not None

    def _sweeps_finish(self, sweep: SavedSweep, *, report: Any, at: datetime) -> None:
        self._claims_save("sweeps", replace(sweep, finished_at=at, report=report, cursor=None, error=None))
        self._written["touched"][sweep.id] = self._now()

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
            if row.dirty > row.synced and past(row.leased_until, self._now()):
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

    def _latest(self) -> ClaimedRow | None:
        return max(self._rows("sweeps"), key=lambda row: row.saved.id, default=None)

    # Polls

    def _polls_candidates(self, *, limit: int, provider: str, at: datetime) -> tuple[Candidate, ...]:
        if self._get("polls", provider) is None:
            self._written["polls"][provider] = ClaimedRow(SavedPoll(None, None, 60, 0, 0, None, provider))
        return self._claims_candidates("polls", limit=limit)

    # Drift that is open: what was healed is not looked at again

    def _drifts_add(self, found: Iterable[tuple[str, str, Difference]], *, found_by: FoundBy, at: datetime) -> Fields:
        keys = {(subject, each.subscription or "", each.field) for subject, _, each in found}
        new = [key for key in sorted(keys) if self._get("drift", key) is None]
        for key in new:
            self._written["drift"][key] = key
        return _fields(new)

    def _drifts_heal(self, subject: str, at: datetime) -> Fields:
        return self._drifts_withdraw(subject)

    def _drifts_withdraw(self, subject: str) -> Fields:
        mine = [key for key in self._rows("drift") if key[0] == subject]
        for key in mine:
            self._written["drift"][key] = None
        return _fields(mine)


def _fields(drift: Iterable[tuple[str, str, str]]) -> Fields:
    """How many there are, by subject; of which account is not kept."""
    return Counter([(subject, "") for subject, _, _ in drift])
