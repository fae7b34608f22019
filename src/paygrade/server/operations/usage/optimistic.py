"""Optimistic uses: of plain counts, decided on what is remembered and saved in one statement.

It is the quick form of the unit of work, which decides on locked rows; a use from which more would follow (an alert, a
top-up) is left to that.

Laws: a use is saved if the count it was decided on is still as it was, with everything else decided on that count, or
not at all; what is saved and answered is what deciding on locked rows would save and answer; a denial is for good, so
none rests on what is remembered. Of one account, whatever comes after something that is left over is left over, too.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from paygrade.decisions.decide import decide
from paygrade.decisions.snapshots import Snapshot
from paygrade.server.operations.usage.answers import Answer, packed
from paygrade.server.operations.usage.requests import Asked, Consume, digest_of
from paygrade.usage.balances import Balance
from paygrade.usage.entries import Entry, Key, Posting
from paygrade.usage.ledger import edges
from paygrade.values.text import QUANTITY_MAX

if TYPE_CHECKING:
    from paygrade.postgres.store import Store
    from paygrade.server.state.snapshots import Snapshots


class OptimisticCount(Struct):
    """A count as it is remembered, with its version, and what was decided on it; `balance` is the one after that, and
    `warn` at which percentages of the limit an alert is due."""

    snapshot: Snapshot
    key: Key
    version: int
    balance: Balance
    warn: tuple[int, ...]
    entries: list[Entry]
    answers: list[tuple[int, Answer]]
    """With the place of the request among those asked."""


class Decided(Struct):
    """What came of some requests: `counts` may be saved; `left`, by their places, take more than what is remembered."""

    counts: list[OptimisticCount]
    left: list[int]


def decide_optimistically(snapshots: "Snapshots", asked: Sequence[Asked], at: datetime) -> Decided:
    """Decide what can be decided on what is remembered. Nothing waits, and nothing is saved yet."""
    counts: dict[tuple[str, str], OptimisticCount] = {}
    ids: set[tuple[str, str]] = set()
    behind: set[str] = set()
    left: list[int] = []
    for place, one in enumerate(asked):
        # What counts at nodes counts in more places than one.
        id = (one.account, one.id) if type(one) is Consume and one.node is None else None
        if id is not None and one.account not in behind and id not in ids:
            assert isinstance(one, Consume)
            key = (one.account, one.feature)
            found = counts.get(key) or _remembered(snapshots, one, at)
            if found is not None and _use(found, one, place, at):
                counts[key] = found
                ids.add(id)
                continue
        left.append(place)
        behind.add(one.account)
    return Decided(list(counts.values()), left)


async def save_optimistically(store: "Store", counts: Sequence[OptimisticCount]) -> set[Key]:
    """Save these counts with what was decided on them, and tell what they are now: one round trip, one statement.

    Returns those that are no longer as they were remembered, of which nothing is saved. Refused `id_taken` if an id
    was there before: then nothing at all is saved.
    """
    ordered = sorted(counts, key=_key)
    rows = [(*each.key, each.balance.used, each.balance.reserved, each.version + 1) for each in ordered]
    async with store.transaction(single=True) as tx:
        entries = [entry for each in ordered for entry in each.entries]
        return await tx.enter_counts(rows, entries)


def _key(count: OptimisticCount) -> Key:
    return count.key


def _remembered(snapshots: "Snapshots", asked: Consume, at: datetime) -> OptimisticCount | None:
    found = snapshots.counted(asked.account, asked.feature, at)
    if found is None:
        return None
    snapshot, key, balance, version = found
    return OptimisticCount(snapshot, key, version, balance, snapshot.shape.terms[asked.feature].its.warn, [], [])


def _use(count: OptimisticCount, asked: Consume, place: int, at: datetime) -> bool:
    """Let one use take effect; False: it has to be decided on locked rows, and nothing is changed."""
    feature, quantity, balance = asked.feature, asked.quantity, count.balance
    if len(count.entries) == 1:
        # What is remembered says what is saved, so what is decided here goes into a snapshot of its own.
        count.snapshot = replace(count.snapshot, balances={feature: balance})
    elif count.entries:
        count.snapshot.balances[feature] = balance
    snapshot = count.snapshot
    decision = decide(snapshot, feature, quantity, at, member=asked.member, properties=asked.properties)
    used, limit, warn = balance.used + quantity, decision.limit, count.warn
    if not decision.allowed or used >= QUANTITY_MAX:  # what is remembered is no larger, whatever is kept
        return False
    if limit is not None:
        if used * 100 >= (min(warn) if warn else 100) * limit and edges(warn, (balance.used, limit), (used, limit)):
            return False
        decision = replace(decision, used=used, remaining=max(0, limit - used - balance.reserved))
    # It is plain, so this is all that `spend` would draw.
    draws = (Posting(feature, count.key[2], quantity),)
    count.entries.append(
        Entry(
            asked.account, asked.id, "consume", feature, quantity, at, at, digest_of(asked), draws, None, asked.member,
            asked.properties, packed(decision),
        )
    )  # fmt: skip
    count.answers.append((place, Answer(decision, took_effect=True)))
    count.balance = Balance(used, balance.reserved, balance.from_at)
    return True
