"""The tables of plan changes as dicts, and a ledger in which nobody has used anything (`tables.py`)."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from paygrade.plan_changes import UNDER_WAY, PlanChange
from paygrade.postgres.ledger import Taken


class ChangeTables:
    """What a transaction over the tables in memory does with the nouns of plan changes and of usage."""

    _written: defaultdict[str, dict[Any, Any]]

    def _get(self, table: str, key: Any) -> Any:
        raise NotImplementedError

    def _rows(self, table: str) -> list[Any]:
        raise NotImplementedError

    # Plan changes

    def _plan_changes_add(self, change: PlanChange) -> bool:
        if self._get("plan_changes", (change.account, change.id)) is not None:
            return False
        self._written["plan_changes"][change.account, change.id] = change
        return True

    def _plan_changes_save(self, change: PlanChange, **_: float | None) -> None:
        self._written["plan_changes"][change.account, change.id] = change

    def _plan_changes_hurry(self, change: PlanChange) -> None:
        """Nobody waits here before looking again."""

    def _plan_changes_under_way(self, account: str) -> tuple[PlanChange, ...]:
        rows = [row for row in self._rows("plan_changes") if row.account == account and row.state in UNDER_WAY]
        return tuple(sorted(rows, key=lambda row: row.asked_at))

    def _plan_changes_step(self, account: str, change: str, step: str, detail: str, at: datetime) -> None:
        """Nothing that is decided rests on the steps."""

    def _plan_changes_settled_at(self, account: str) -> datetime | None:
        row = self._get("settled", account)
        return row[0] if row else None

    def _plan_changes_settled(self, account: str, at: datetime, *, next_at: datetime | None) -> None:
        before = self._plan_changes_settled_at(account)
        self._written["settled"][account] = (at if before is None else max(before, at), next_at)

    # Usage

    def _ledger_take(self, *_: Any) -> Taken:
        return Taken({}, {}, {}, {})

    def _ledger_load(self, keys: Sequence[Any]) -> dict[Any, Any]:
        return {}

    def _ledger_grants(self, *_: Any, lock: bool) -> dict[Any, Any]:
        return {}

    def _ledger_open_reservations(self, accounts: Sequence[str]) -> list[Any]:
        return []

    def _ledger_active_at(self, account: str, members: Sequence[str]) -> dict[str, datetime]:
        return {}
