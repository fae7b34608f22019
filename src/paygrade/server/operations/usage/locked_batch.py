"""The book: the balances that requests decided together work on, and what becomes of each.

Laws: everything that is changed is locked first, in one order; what a book saves is the sum of its entries' draws; a
reservation whose time is up is given back before anything is decided.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING

from msgspec.structs import replace

from paygrade.decisions.decide import decide
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.entitlements.model import Entitlement
from paygrade.server.operations.usage.alerts import Passed, note_alerts
from paygrade.server.state.rollover import carried_into
from paygrade.usage.balances import Balance, Grant, Row, SlotDetail, assemble, slot_of
from paygrade.usage.entries import Answered, Change, Entry, Kept, Key, Reservation, derived, digest
from paygrade.usage.history import Drawn, fold
from paygrade.usage.ledger import apply, release

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction


class Due(Exception):  # not an error: something has to be done first
    """Reservations of these accounts have run out and were not given back yet."""

    def __init__(self, accounts: Collection[str]) -> None:
        super().__init__()
        self.accounts = accounts


class Book:
    """Balances by account and pool, as they are after what was entered so far."""

    def __init__(
        self,
        snapshots: Mapping[str, Snapshot],
        pools: Iterable[tuple[str, str]],
        kept: Mapping[Key, Kept],
        grants: Mapping[tuple[str, str], list[Grant]],
        answered: dict[tuple[str, str], Answered],
        reservations: dict[tuple[str, str], Reservation],
        at: datetime,
    ) -> None:
        self.at = at
        self.answered = answered
        self.reservations = reservations
        self.entries: list[Entry] = []
        self._kept = kept
        self._grants = grants
        self._deltas: dict[Key, list[int]] = {}
        self._granted: dict[tuple[str, str, str], list[int]] = {}
        self._changed_reservations: dict[tuple[str, str], Reservation] = {}
        self._expires: dict[Key, datetime] = {}
        self._priced: set[Key] = set()
        """Windows of features that credits paid for."""
        self._entitlements = {account: entitlements_at(snapshot, at) for account, snapshot in snapshots.items()}
        balances = _assembled(self._entitlements, pools, kept, grants)
        # One snapshot for each account, whose balances are those of the book.
        self.snapshots = {
            account: replace(snapshot, balances=balances.setdefault(account, {}))
            for account, snapshot in snapshots.items()
        }

    def entitlements(self, account: str) -> Mapping[str, Entitlement]:
        return self._entitlements[account]

    def balances(self, account: str) -> dict[str, Balance]:
        return self.snapshots[account].balances

    def enter(self, entry: Entry, balances: Mapping[str, Balance] | None = None) -> None:
        """Take an entry with its draws; `balances` are those after it, where they were worked out already."""
        account = entry.account
        self.entries.append(entry)
        self.answered[(account, entry.id)] = _answered(entry)
        for draw in entry.draws:
            if draw.slot.startswith("grant:"):
                delta = self._granted.setdefault((account, draw.pool, draw.slot[6:]), [0, 0])
            else:
                delta = self._deltas.setdefault((account, draw.pool, draw.slot), [0, 0])
            if draw.exact is not None:
                self._priced.add((account, draw.pool, draw.slot))
            delta[0] += draw.used
            delta[1] += draw.reserved
        if entry.draws:
            now = self.balances(account)
            now.update(apply(now, entry.draws, self.at) if balances is None else balances)

    def put(self, reservation: Reservation) -> None:
        """Take a reservation, new or changed."""
        key = (reservation.account, reservation.id)
        self.reservations[key] = self._changed_reservations[key] = reservation
        if reservation.state == "open":
            for draw in release(reservation.held):
                slot = (reservation.account, draw.pool, draw.slot)
                self._expires[slot] = min(self._expires.get(slot, reservation.expires_at), reservation.expires_at)

    def ahead(self, key: Key) -> tuple[int, int]:
        """How far what credits paid in any window of a feature is ahead of what was used, by all entered so far."""
        account, pool, slot = key
        row = self._kept[key].row
        drawn = fold(Drawn(e.time, e.draws) for e in self.entries if e.account == account).get((pool, slot), Row())
        known = (detail.ahead or (0, 1) for detail in (row.detail, drawn.detail) if detail is not None)
        total = sum((Fraction(*ahead) for ahead in known), Fraction(0))
        return total.numerator, total.denominator

    def run_down(self, pools: Collection[str]) -> Iterator[tuple[str, str, int]]:
        """Account, pool and units left, of those of these pools from which something was drawn."""
        drawn = [key[:2] for key, delta in (*self._deltas.items(), *self._granted.items()) if sum(delta) > 0]
        for account, pool in dict.fromkeys(drawn):
            if pool in pools:
                left = decide(self.snapshots[account], pool, 0, self.at).remaining
                if left is not None:
                    yield account, pool, left

    async def save(self, tx: "Transaction") -> None:
        """Write all that was entered, and tell it."""
        if not self.entries and not self._changed_reservations:
            return
        changed = dict.fromkeys((*self._deltas, *self._due_sooner()))
        changes = [self._change(key, self._deltas.get(key, [0, 0])) for key in changed]
        if changes:
            await tx.ledger.save(changes)
        if self._granted:
            await tx.ledger.save_grants([self._grant(*key, delta) for key, delta in self._granted.items()])
        if self._changed_reservations:
            await tx.ledger.save_reservations(list(self._changed_reservations.values()))
        if self.entries:
            await tx.ledger.write(self.entries)
        await note_alerts(tx, list(self._passed(changes)), self.at)
        await tx.tell_balances(self._news(changes))

    def _due_sooner(self) -> list[Key]:
        """Slots on which something ends before what they knew of."""
        found = []
        for key, end in self._expires.items():
            known = self._kept[key].expires_at if key in self._kept else end
            if known is None or end < known:
                found.append(key)
        return found

    def _change(self, key: Key, delta: list[int]) -> Change:
        kept = self._kept[key]
        row = kept.row
        ends = [end for end in (kept.expires_at, self._expires.get(key)) if end is not None]
        reserved = row.reserved + delta[1]
        return Change(
            key,
            row.used + delta[0],
            reserved,
            kept.version + 1,
            min(ends) if ends and reserved else None,
            self._detail(key, row),
        )

    def _detail(self, key: Key, row: Row) -> SlotDetail | None:
        account, pool, slot = key
        balance = self.balances(account).get(pool)
        if key in self._priced and (balance is None or slot != slot_of(balance.from_at)):
            # Something that was held when another window was the present one.
            ahead = self.ahead(key)
            before = row.detail or SlotDetail()
            detail = replace(before, ahead=None if ahead == (0, 1) else ahead)
            return None if detail == SlotDetail() else detail
        if balance is None or balance.detail is None:
            return row.detail
        detail = row.detail or SlotDetail()
        if slot == slot_of(balance.from_at):
            ahead = balance.detail.ahead
            carried = balance.detail.carried_units
            detail = replace(detail, ahead=None if ahead == (0, 1) else ahead, carried=carried or detail.carried)
        elif slot.startswith("rolling ") and slot in balance.detail.tallies:
            detail = replace(detail, buckets=balance.detail.tallies[slot].buckets)
        return None if detail == SlotDetail() else detail

    def _passed(self, changes: Sequence[Change]) -> Iterator[Passed]:
        """Counts of windows with a limit that have changed."""
        for change in changes:
            account, pool, slot = change.key
            its = self.entitlements(account).get(pool)
            before = self._kept[change.key].row.used
            if its is None or not its.limit or slot != slot_of(its.from_at) or before == change.used:
                continue
            balance = self.balances(account).get(pool)
            if balance is None or balance.detail is None:
                yield Passed(account, its, its.limit, before, change.used)
            elif its.rolling_s is None:
                decision = decide(self.snapshots[account], pool, 0, self.at)
                if decision.limit and decision.used is not None:
                    yield Passed(account, its, decision.limit, decision.used - change.used + before, decision.used)

    def _grant(self, account: str, pool: str, id: str, delta: list[int]) -> tuple[str, str, Grant]:
        grant = next(g for g in self._grants[(account, pool)] if g.id == id)
        changed = replace(grant, used=grant.used + delta[0], reserved=grant.reserved + delta[1])
        return account, pool, changed

    def _news(self, changes: Sequence[Change]) -> list[tuple[str, str, str, int, int, int] | tuple[str]]:
        """What others must know: plain counts as they are now, of the rest only which account."""
        news: list[tuple[str, str, str, int, int, int] | tuple[str]] = []
        closely = {key[0] for key in self._granted} | {account for account, _ in self._changed_reservations}
        for change in changes:
            account, pool, slot = change.key
            balance = self.balances(account).get(pool)
            if balance is None or balance.detail is not None or slot != slot_of(balance.from_at):
                closely.add(account)
            else:
                news.append((account, pool, slot, change.used, change.reserved, change.version))
        return [told for told in news if told[0] not in closely] + [(account,) for account in sorted(closely)]


async def open_book(
    tx: "Transaction",
    snapshots: Mapping[str, Snapshot],
    keys: Iterable[Key],
    ids: Sequence[tuple[str, str]],
    reservations: Sequence[tuple[str, str]],
    at: datetime,
) -> Book:
    """Lock what is going to change and read what it is; the slots of grants say of which pools. Raises Due."""
    touched = set(keys)
    wanted, pools = sorted(key for key in touched if not _of_grant(key)), {key[:2] for key in touched}
    taken = await tx.ledger.take(wanted, sorted(pools), ids, reservations, at)
    if len(taken.kept) < len(wanted):
        await tx.ledger.make([key for key in wanted if key not in taken.kept], _spans(snapshots, at))
        # Whoever made one of them at the same moment has entered something, too: all is read anew.
        taken = await tx.ledger.take(wanted, sorted(pools), ids, reservations, at)
    # What a slot of a window knows of when it is given back, a grant does not: it may hold all of a reservation.
    due = {account for (account, _), its in taken.grants.items() if any(grant.reserved for grant in its)}
    due |= {key[0] for key, slot in taken.kept.items() if slot.expires_at is not None and slot.expires_at <= at}
    if due and await tx.ledger.expired(due, at):
        raise Due(due)
    kept = await _with_carried(tx, snapshots, taken.kept, at)
    return Book(snapshots, pools, kept, taken.grants, taken.answered, taken.reservations, at)


async def expire_due(store: "Store", accounts: Collection[str], at: datetime) -> None:
    """Give back what reservations of these accounts held whose time is up."""
    async with store.transaction() as tx:
        ids = await tx.ledger.expired(accounts, at)
        found = await tx.ledger.reservations(ids, lock=False)
        keys = {(r.account, draw.pool, draw.slot) for r in found.values() for draw in release(r.held)}
        pools = {key[:2] for key in keys}
        kept = await tx.ledger.lock(sorted(key for key in keys if not _of_grant(key)), {})
        grants = await tx.ledger.grants(sorted(pools), at, lock=True)
        held = await tx.ledger.reservations(ids, lock=True)
        empty = {account: Snapshot(account, "", at, at, ()) for account, _ in ids}
        book = Book(empty, pools, kept, grants, {}, held, at)
        for reservation in held.values():
            if reservation.state == "open" and reservation.expires_at <= at:
                draws = release(reservation.held)
                id = derived(reservation.id, "expire")
                book.enter(
                    Entry(
                        reservation.account,
                        id,
                        "expire",
                        reservation.feature,
                        reservation.held.units,
                        reservation.expires_at,
                        at,
                        digest("expire", reservation.id),
                        draws,
                        member=reservation.member,
                    )
                )
                nothing = replace(reservation.held, units=0, paid=())
                book.put(replace(reservation, state="expired", held=nothing))
        await book.save(tx)


def _of_grant(key: Key) -> bool:
    return key[2].startswith("grant:")


def _assembled(
    entitlements: Mapping[str, Mapping[str, Entitlement]],
    pools: Iterable[tuple[str, str]],
    kept: Mapping[Key, Kept],
    grants: Mapping[tuple[str, str], list[Grant]],
) -> dict[str, dict[str, Balance]]:
    rows: dict[tuple[str, str], dict[str, Row]] = {}
    for (account, pool, slot), found in kept.items():
        rows.setdefault((account, pool), {})[slot] = found.row
    balances: dict[str, dict[str, Balance]] = {}
    for account, pool in pools:
        entitlement = entitlements[account].get(pool)
        from_at = entitlement.from_at if entitlement is not None else None
        made = assemble(rows.get((account, pool), {}), from_at, grants=grants.get((account, pool), ()))
        balances.setdefault(account, {})[pool] = made
    return balances


def _spans(snapshots: Mapping[str, Snapshot], at: datetime) -> dict[Key, tuple[datetime | None, datetime | None]]:
    """When the windows of these accounts begin and end."""
    spans: dict[Key, tuple[datetime | None, datetime | None]] = {}
    for account, snapshot in snapshots.items():
        for pool, its in entitlements_at(snapshot, at).items():
            if its.from_at is not None:
                spans[(account, pool, slot_of(its.from_at))] = (its.from_at, its.resets_at)
    return spans


async def _with_carried(
    tx: "Transaction", snapshots: Mapping[str, Snapshot], kept: dict[Key, Kept], at: datetime
) -> dict[Key, Kept]:
    """Settle what is carried into windows that are used for the first time."""
    for key, found in kept.items():
        account, pool, slot = key
        its = entitlements_at(snapshots[account], at).get(pool)
        if its is None or not its.rollover or slot != slot_of(its.from_at):
            continue
        if found.row.detail is None or found.row.detail.carried is None:
            carried = await carried_into(tx, account, its, at)
            detail = replace(found.row.detail or SlotDetail(), carried=carried)
            kept[key] = found._replace(row=replace(found.row, detail=detail))
    return kept


def _answered(entry: Entry) -> Answered:
    return Answered(entry.digest, entry.kind, entry.denied, entry.answer)
