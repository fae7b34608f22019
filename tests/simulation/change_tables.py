"""The tables of plan changes and quotes as dicts, and a ledger in which nobody has used anything (`tables.py`)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import convert
from msgspec.structs import replace

from paygrade.changes.plan_change import UNDER_WAY, PlanChange
from paygrade.changes.quote import Quote
from paygrade.postgres.plan_changes import ClaimedChange
from paygrade.usage.entries import Taken

from .claim_tables import ClaimedRow, ClaimTables, Kind


def _waits(row: ClaimedRow, values: Mapping[str, Any]) -> bool:
    change: PlanChange = row.saved
    unresolved = change.state in UNDER_WAY or (change.state == "applied" and change.schedule is not None)
    due = change.effective_at is not None and change.effective_at + values["late"] <= values["at"]
    return (
        change.done_fence is None
        and unresolved
        and (change.state != "scheduled" or change.undo or change.error is not None or due)
        and not change.is_manual
    )


CHANGES = Kind(
    key=lambda row: (row.saved.account, row.saved.id),
    waiting=((_waits, lambda row: row.saved.asked_at),),
    is_open=lambda row: row.saved.state not in ("failed", "canceled") and row.saved.done_fence is None,
)


class NotUnique(Exception):
    """A row that the database refuses to have twice."""


class ChangeTables(ClaimTables):
    """What a transaction over the tables in memory does with the nouns of plan changes and of usage."""

    # Plan changes

    def _plan_changes_add(self, change: PlanChange) -> bool:
        mine = self._of(change.account)
        if any(change.key == other.key or _clash(change, other) for other in mine):
            return False
        if change.quote is not None and any(change.quote == other.quote for other in mine):
            return False
        row = ClaimedRow(convert(change, ClaimedChange, from_attributes=True))
        self._written["plan_changes"][change.account, change.id] = row
        return True

    def _plan_changes_save(
        self, change: PlanChange, *, lease_s: float | None = None, retry_s: float | None = None
    ) -> None:
        if any(other.id != change.id and _clash(change, other) for other in self._of(change.account)):
            raise NotUnique(f"{change.account}: two changes that are {change.state}")
        before: ClaimedChange = self._get("plan_changes", (change.account, change.id)).saved
        fields = {name: getattr(change, name) for name in change.__struct_fields__ if name not in ("key", "quote")}
        kept = replace(before, **fields)
        self._claims_save("plan_changes", kept, lease_s=lease_s, retry_s=retry_s)

    def _plan_changes_take_back(self, change: PlanChange) -> PlanChange:
        row: ClaimedRow = self._get("plan_changes", (change.account, change.id))
        undone: PlanChange = replace(row.saved, undo=True, done_fence=None, attempts=0, error=None)
        self._written["plan_changes"][change.account, change.id] = ClaimedRow(undone, row.leased_until)
        return undone

    def _plan_changes_hurry(self, change: PlanChange) -> None:
        row: ClaimedRow = self._get("plan_changes", (change.account, change.id))
        self._written["plan_changes"][change.account, change.id] = replace(row, retry_at=None)

    def _plan_changes_find(self, account: str, id: str) -> PlanChange | None:
        row: ClaimedRow | None = self._get("plan_changes", (account, id))
        return row.saved if row is not None else None

    def _plan_changes_hold(self, account: str, id: str) -> PlanChange | None:
        return self._plan_changes_find(account, id)

    def _plan_changes_of_key(self, account: str, key: str) -> PlanChange | None:
        return next((change for change in self._of(account) if change.key == key), None)

    def _plan_changes_of_quote(self, account: str, quote: str) -> PlanChange | None:
        return next((change for change in self._of(account) if change.quote == quote), None)

    def _plan_changes_under_way(self, account: str, *, locked: bool = True) -> tuple[PlanChange, ...]:
        rows = [change for change in self._of(account) if change.state in UNDER_WAY]
        return tuple(sorted(rows, key=lambda change: change.asked_at))

    def _plan_changes_of_plans(self, account: str) -> tuple[PlanChange, ...]:
        def went(change: PlanChange) -> bool:
            its = change.settlement
            plans = (its.plan_before, its.plan_after) if its is not None else (None, None)
            before, after = ((ref or "").partition("@")[0] for ref in plans)
            return before != after

        found = [change for change in self._of(account) if change.state == "applied" and went(change)]
        return tuple(sorted(found, key=lambda change: (change.resolved_at, change.asked_at), reverse=True))

    def _plan_changes_note_reverted(self, account: str, id: str, *, by: str) -> None:
        row: ClaimedRow = self._get("plan_changes", (account, id))
        self._written["plan_changes"][account, id] = replace(row, saved=replace(row.saved, reverted_by=by))

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
        return [row.saved for row in self._rows("plan_changes") if row.saved.account == account]

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
