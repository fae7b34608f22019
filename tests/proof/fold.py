"""The fold: what the ledger alone adds up to, worked out without a line of what keeps the balances.

An entry's draws are all that changes a row; a grant begins with its entry, and is voided by entries.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from fractions import Fraction
from typing import Any, NamedTuple

import psycopg

from proof.sold import BUCKET_S, BY_CREDIT, ROLLING_S

Key = tuple[str, str, str]
"""Account, pool and slot."""


class Line(NamedTuple):
    """A row of the ledger."""

    account: str
    id: str
    kind: str
    feature: str
    quantity: int
    recorded_at: datetime
    denied: str | None
    draws: list[Any]  # Any: `[pool, slot, used, reserved]`, with the exact price behind where there is one


class Folded:
    """Counts by slot, grants by slot, and of what cannot be added up: fractions paid ahead, and rolling buckets."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.counts: dict[Key, list[int]] = defaultdict(lambda: [0, 0])
        self.grants: dict[Key, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        """Units, used, reserved and voided."""
        self.ahead: dict[Key, Fraction] = defaultdict(Fraction)
        self.buckets: dict[Key, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        self.last_at: dict[Key, datetime] = {}
        for line in lines:
            self._take(line)

    def _take(self, line: Line) -> None:
        match line.kind:
            case "grant":
                self.grants[line.account, line.feature, f"grant:{_granted(line.id)}"][0] += line.quantity
            case "void":
                self.grants[line.account, line.feature, f"grant:{_granted(line.id)}"][3] += line.quantity
        paid = 0
        for pool, slot, used, reserved, *_ in line.draws:
            key = (line.account, pool, slot)
            if slot.startswith("grant:"):
                self.grants[key][1] += used
                self.grants[key][2] += reserved
            else:
                self.counts[key][0] += used
                self.counts[key][1] += reserved
            if slot.startswith("rolling "):
                self._roll(key, used, line.recorded_at)
            if pool == BY_CREDIT.get(line.feature):
                paid += used
        exact = [(pool, slot, Fraction(more[0])) for pool, slot, _, _, *more in line.draws if more]
        for pool, slot, price in exact:
            self.ahead[line.account, pool, slot] -= price
        if exact:
            self.ahead[line.account, exact[0][0], exact[0][1]] += paid

    def _roll(self, key: Key, used: int, at: datetime) -> None:
        self.last_at[key] = max(at, self.last_at.get(key, at))
        if used:
            self.buckets[key][int(at.timestamp()) // BUCKET_S * BUCKET_S] += used

    def rolling(self, key: Key) -> dict[int, int]:
        """The buckets that had not left the window when the slot was last changed."""
        since = int(self.last_at[key].timestamp()) - ROLLING_S
        return {second: used for second, used in self.buckets[key].items() if second + BUCKET_S > since}


def read_ledger(connection: psycopg.Connection[Any], accounts: list[str] | None = None) -> list[Line]:
    """The rows of these accounts, or all."""
    some = "" if accounts is None else "where account = any(%s)"
    cursor = connection.execute(
        f"select account, id, kind, feature, quantity, recorded_at, denied, draws from ledger {some}",
        None if accounts is None else (accounts,),
    )
    return [Line(*row) for row in cursor]


def _granted(id: str) -> str:
    """The grant that an entry is about: its id stands behind the kind."""
    return id.split("\t")[1]
