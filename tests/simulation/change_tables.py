"""The tables of plan changes and quotes as dicts, and a ledger in which nobody has used anything (`tables.py`)."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from paygrade.changes.plan_change import UNDER_WAY, PlanChange
from paygrade.changes.quote import Quote
from paygrade.postgres.ledger import Taken

Named = tuple[str, str]
"""Account and id."""


class ChangeRow(Struct, frozen=True):
    change: PlanChange
    leased_until: datetime | None = None
    retry_at: datetime | None = None


class NotUnique(Exception):
    """A row that the database refuses to have twice."""


class ChangeTables:
    """What a transaction over the tables in memory does with the nouns of plan changes and of usage."""

    _now: Callable[[], datetime]
    _written: defaultdict[str, dict[Any, Any]]

    def _get(self, table: str, key: Any) -> Any:
        raise NotImplementedError

    def _rows(self, table: str) -> list[Any]:
        raise NotImplementedError

    # Plan changes

    def _plan_changes_add(self, change: PlanChange) -> bool:
        mine = self._of(change.account)
        if any(change.key == other.key or _clash(change, other) for other in mine):
            return False
        if change.quote is not None and any(change.quote == other.quote for other in mine):
            return False
        self._written["plan_changes"][change.account, change.id] = ChangeRow(change)
        return True

    def _plan_changes_save(
        self, change: PlanChange, *, lease_s: float | None = None, retry_s: float | None = None
    ) -> None:
        row: ChangeRow = self._get("plan_changes", (change.account, change.id))
        if any(other.id != change.id and _clash(change, other) for other in self._of(change.account)):
            raise NotUnique(f"{change.account}: two changes that are {change.state}")
        kept = replace(change, key=row.change.key, quote=row.change.quote, fence=row.change.fence)
        self._written["plan_changes"][change.account, change.id] = ChangeRow(kept, self._in(lease_s), self._in(retry_s))

    def _plan_changes_take_back(self, change: PlanChange) -> PlanChange:
        row: ChangeRow = self._get("plan_changes", (change.account, change.id))
        undone = replace(row.change, undo=True, done_fence=None, attempts=0, error=None)
        self._written["plan_changes"][change.account, change.id] = ChangeRow(undone, row.leased_until)
        return undone

    def _plan_changes_hurry(self, change: PlanChange) -> None:
        row: ChangeRow = self._get("plan_changes", (change.account, change.id))
        self._written["plan_changes"][change.account, change.id] = replace(row, retry_at=None)

    def _plan_changes_find(self, account: str, id: str) -> PlanChange | None:
        row: ChangeRow | None = self._get("plan_changes", (account, id))
        return row.change if row is not None else None

    def _plan_changes_hold(self, account: str, id: str) -> PlanChange | None:
        return self._plan_changes_find(account, id)

    def _plan_changes_of_key(self, account: str, key: str) -> PlanChange | None:
        return next((change for change in self._of(account) if change.key == key), None)

    def _plan_changes_of_quote(self, account: str, quote: str) -> PlanChange | None:
        return next((change for change in self._of(account) if change.quote == quote), None)

    def _plan_changes_under_way(self, account: str, *, locked: bool = True) -> tuple[PlanChange, ...]:
        rows = [change for change in self._of(account) if change.state in UNDER_WAY]
        return tuple(sorted(rows, key=lambda change: change.asked_at))

    def _plan_changes_latest_of_plan(self, account: str, subscription: str) -> PlanChange | None:
        def went(change: PlanChange) -> bool:
            its = change.settlement
            plans = (its.plan_before, its.plan_after) if its is not None else (None, None)
            before, after = ((ref or "").partition("@")[0] for ref in plans)
            return before != after

        found = [c for c in self._of(account) if (c.subscription, c.state) == (subscription, "applied") and went(c)]
        return max(found, key=lambda change: (change.resolved_at, change.asked_at), default=None)

    def _plan_changes_claim(
        self, *, limit: int, lease_s: float, late: timedelta, at: datetime, locked: Collection[Named]
    ) -> tuple[PlanChange, ...]:
        now = self._now()

        def waits(row: ChangeRow) -> bool:
            change = row.change
            unresolved = change.state in UNDER_WAY or (change.state == "applied" and change.schedule is not None)
            due = change.effective_at is not None and change.effective_at + late <= at
            return (
                change.done_fence is None
                and unresolved
                and (change.state != "scheduled" or change.undo or due)
                and not change.is_manual
                and (row.leased_until is None or row.leased_until <= now)
                and (row.retry_at is None or row.retry_at <= now)
                and (change.account, change.id) not in locked
            )

        chosen = sorted(filter(waits, self._rows("plan_changes")), key=lambda row: row.change.asked_at)[:limit]
        claimed = [replace(row.change, fence=row.change.fence + 1) for row in chosen]
        for row, change in zip(chosen, claimed, strict=True):
            held = ChangeRow(change, self._in(lease_s), row.retry_at)
            self._written["plan_changes"][change.account, change.id] = held
        return tuple(claimed)

    def _plan_changes_lock(self, claimed: PlanChange) -> PlanChange | None:
        held = self._plan_changes_find(claimed.account, claimed.id)
        if held is None or held.fence != claimed.fence or held.done_fence is not None:
            return None
        return held if held.state not in ("failed", "canceled") else None

    def _plan_changes_note_reverted(self, account: str, id: str, *, by: str) -> None:
        row: ChangeRow = self._get("plan_changes", (account, id))
        self._written["plan_changes"][account, id] = replace(row, change=replace(row.change, reverted_by=by))

    def _plan_changes_step(self, account: str, change: str, step: str, detail: str, at: datetime) -> None:
        """Nothing that is decided rests on the steps."""

    def _plan_changes_settled_at(self, account: str) -> datetime | None:
        row = self._get("settled", account)
        return row[1] if row else None

    def _plan_changes_settled(self, account: str, at: datetime, *, next_at: datetime | None) -> None:
        before = self._plan_changes_settled_at(account)
        self._written["settled"][account] = (account, at if before is None else max(before, at), next_at)

    def _plan_changes_to_settle(self, *, limit: int, at: datetime) -> tuple[str, ...]:
        due = [(next_at, account) for account, _, next_at in self._rows("settled") if next_at and next_at <= at]
        return tuple(account for _, account in sorted(due)[:limit])

    def _of(self, account: str) -> list[PlanChange]:
        return [row.change for row in self._rows("plan_changes") if row.change.account == account]

    def _in(self, seconds: float | None) -> datetime | None:
        return None if seconds is None else self._now() + timedelta(seconds=seconds)

    # Quotes

    def _quotes_save(self, quote: Quote) -> None:
        self._written["quotes"][quote.account, quote.id] = quote

    def _quotes_load(self, account: str, id: str) -> Quote | None:
        found: Quote | None = self._get("quotes", (account, id))
        return found

    # Usage

    def _ledger_take(self, *_: Any) -> Taken:
        return Taken({}, {}, {}, {})

    def _ledger_load(self, keys: Sequence[Any]) -> dict[Any, Any]:
        return {}

    def _ledger_member_slots(self, account: str, slots: Iterable[Any]) -> dict[Any, Any]:
        return {}

    def _ledger_grants(self, *_: Any) -> dict[Any, Any]:
        return {}

    def _ledger_open_reservations(self, accounts: Sequence[str]) -> list[Any]:
        return []

    def _ledger_active_at(self, account: str, members: Sequence[str]) -> dict[str, datetime]:
        return {}


def _clash(one: PlanChange, other: PlanChange) -> bool:
    """Whether the database would not have both: two that are being made, or two that are scheduled of one thing."""
    making = ("asked", "pending")
    if one.state in making and other.state in making:
        return True
    return one.state == other.state == "scheduled" and one.subscription == other.subscription
