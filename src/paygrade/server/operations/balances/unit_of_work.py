"""The unit of work: balances that are locked, what is posted on them, and all that follows when it is saved.

Whatever changes balances goes through here: uses, reservations, usage events, statements, grants, what a plan change
carries over. Two quick forms need no locks, since they change plain counts alone: `operations/usage/optimistic.py`
and `save_sums`.

Laws: everything that changes is locked first, in one order: slots by their keys, then grants, then reservations; what
is saved is the sum of what was posted; what reservations held that have expired is given back before anything is
decided; thresholds passed either way, units run low and what other processes must know follow from the counts before
and after, whoever changed them.
"""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from paygrade.catalog.model import NO_CATALOG, Catalog
from paygrade.decisions.decide import Decision, decide
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.decisions.take import snapshot_of
from paygrade.entitlements.model import Entitlement, Segment, carries
from paygrade.server.operations.balances.alerts import Passed, is_present, is_watched, note_alerts
from paygrade.server.state.rollover import carried_into, settled_in, with_carried
from paygrade.server.state.windows import CountingWindow
from paygrade.usage.balances import Balance, Grant, Row, assemble, parse_slot, slot_of
from paygrade.usage.entries import Answered, Change, Entry, Key, Posting, Reservation, Taken, derived, digest
from paygrade.usage.history import post
from paygrade.usage.ledger import Level, release
from paygrade.usage.top_ups import may_ask, top_up_id, window_of
from paygrade.values.errors import Refused, Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction

Made = TypeVar("Made")
Pool = tuple[str, str]
"""Account, and feature or credit."""
Entitlements = Mapping[str, Entitlement]
News = tuple[str | int, ...]
"""What others must know of a balance, or of an account that is to be read anew."""
COUNT_MAX = 2**63 - 1
"""What a row of a balance can hold."""
TRIES_MAX = 5
"""How often the same is tried when others are at the same rows, or took the same id."""


def too_much(pool: str) -> Refused:
    return Refused("too_much_usage", f"`{pool}` would be more than can be counted; check the quantity")


class Due(Exception):  # not an error: something has to be done first
    """Reservations of these accounts have expired and were not given back yet."""

    def __init__(self, accounts: Collection[str]) -> None:
        super().__init__()
        self.accounts = accounts


async def until_saved(store: "Store", attempt: Callable[[], Awaitable[Made]], at: datetime) -> Made:
    """What `attempt` makes of a transaction of its own, tried again after whatever has to be done first, and where
    others were at the same rows or took the same id: by then what it stands for is there to be seen."""
    tries = 0
    while True:
        try:
            return await attempt()
        except Due as due:
            await expire_due(store, due.accounts, at)
        except (Refused, Unavailable) as error:
            tries += 1
            if error.code not in ("contended", "id_taken") or tries == TRIES_MAX:
                raise


def windows_of(account: str, entitlements: Entitlements, pools: Iterable[str]) -> dict[Key, Entitlements]:
    """The windows that these pools of an account count in: what `lock_balances` wants to know of each."""
    found = ((pool, entitlements[pool]) for pool in pools if pool in entitlements)
    return {(account, pool, slot_of(its.from_at)): entitlements for pool, its in found}


async def lock_balances(
    tx: "Transaction",
    catalog: Catalog,
    keys: Iterable[Key],
    windows: Mapping[Key, Entitlements],
    at: datetime,
    *,
    snapshots: Mapping[str, Snapshot] | None = None,
    ids: Sequence[tuple[str, str]] = (),
    reservations: Sequence[tuple[str, str]] = (),
    granted_since: datetime | None = None,
    in_one_pass: bool = False,
    expire: bool = True,
) -> "UnitOfWork":
    """Lock what is going to change and read what it is.

    `keys`: those of grants say of which pools. `windows`: the entitlements that count in a window, those of what pays
    among them. `ids` and `reservations` by account. `in_one_pass`: what is not there yet is made while locking, for
    many of which some may be new. Raises Due, but for `expire` False.
    """
    touched = set(keys)
    slots, pools = sorted(key for key in touched if not _is_grant(key)), sorted({key[:2] for key in touched})
    if in_one_pass:
        await tx.ledger.make(slots, _spans(windows), lock=True)
    taken = await tx.ledger.take(slots, pools, ids, reservations, granted_since or at)
    if len(taken.kept) < len(slots):
        await tx.ledger.make([key for key in slots if key not in taken.kept], _spans(windows))
        # Whoever made one of them at the same moment has entered something, too: all is read anew.
        taken = await tx.ledger.take(slots, pools, ids, reservations, granted_since or at)
    # What a slot of a window knows of when it is given back, a grant does not: it may hold all of a reservation.
    due = {account for (account, _), its in taken.grants.items() if any(grant.reserved for grant in its)}
    due |= {key[0] for key, slot in taken.kept.items() if slot.expires_at is not None and slot.expires_at <= at}
    if expire and due:
        ends = await tx.ledger.next_ends(due)
        if any(end <= at for end in ends.values()):
            raise Due(due)
        # None is over: what such a slot knows is of one that was extended or resolved.
        taken.kept.update(
            (key, slot._replace(expires_at=ends.get(key[0])))
            for key, slot in taken.kept.items()
            if slot.expires_at is not None and slot.expires_at <= at
        )
    if others := [key for key in windows if key not in touched]:
        taken.kept.update(await tx.ledger.load(others))
    for key, entitlements in windows.items():
        its, found = entitlements[key[1]], taken.kept.get(key)
        if carries(its) and found is not None and settled_in(found.row) is None:
            # What is carried into a window is settled when it is first used.
            taken.kept[key] = found._replace(row=with_carried(found.row, await carried_into(tx, key[0], its, at)))
    return UnitOfWork(catalog, snapshots or {}, windows, taken, at)


class UnitOfWork:
    """Balances, grants and reservations as they are after what was posted so far."""

    def __init__(
        self,
        catalog: Catalog,
        snapshots: Mapping[str, Snapshot],
        windows: Mapping[Key, Entitlements],
        taken: Taken,
        at: datetime,
    ) -> None:
        self.at = at
        self.answered = taken.answered
        self.reservations = taken.reservations
        self._catalog = catalog
        self._present = {key[:2]: its for key, its in windows.items() if is_present(its[key[1]], at)}
        """The windows that run, by pool."""
        self._kept = taken.kept
        self._grants = {pool: {grant.id: grant for grant in its} for pool, its in taken.grants.items()}
        self._rows: dict[Key, Row] = {key: kept.row for key, kept in taken.kept.items()}
        for (account, pool), grants in taken.grants.items():
            self._rows.update({(account, pool, grant.slot): Row(grant.used, grant.reserved) for grant in grants})
        self._before = dict(self._rows)
        self._granted_before = {pool: dict(its) for pool, its in self._grants.items()}
        self._slots: dict[Pool, list[str]] = defaultdict(list)
        for account, pool, slot in taken.kept:
            # What nodes used is none of what the account can be shown to have, and there may be many.
            if not parse_slot(slot).node:
                self._slots[account, pool].append(slot)
        self._touched: dict[Key, None] = {}
        self._undo: list[tuple[Key, Row, bool]] = []
        self._drawn: Counter[Pool] = Counter()
        """By pool: what was taken from it, less what came back."""
        self._entries: list[Entry] = []
        self._resolved: dict[tuple[str, str], Reservation] = {}
        self._ends: dict[Key, datetime] = {}
        """When something that is held now on a slot ends by itself."""
        self._given: list[tuple[str, str, Grant, str]] = []
        self._stale: dict[str, set[str]] = defaultdict(set)
        """By account: the pools whose balance in its snapshot is not what was posted."""
        for account, pool in (*self._slots, *self._grants):
            self._stale[account].add(pool)
        # One snapshot for each account, whose balances are those of this work.
        self._snapshots = {
            account: replace(snapshot, balances={}, counts=None) for account, snapshot in snapshots.items()
        }

    def row(self, key: Key) -> Row:
        return self._rows.get(key, _NOTHING)

    def has_grants(self, account: str, pool: str) -> bool:
        return (account, pool) in self._grants

    def grants(self, account: str, pool: str) -> list[Grant]:
        """Grants of a pool that are locked, as they are now."""
        return _counted(self._grants.get((account, pool), {}), (account, pool), self._rows)

    def balance(self, account: str, pool: str, from_at: datetime | None) -> Balance:
        """What is used, held and granted of a pool in the window that began at `from_at`."""
        return self._assembled((account, pool), from_at, self._rows, self._grants)

    def snapshot(self, account: str) -> Snapshot:
        """The account with its balances as they are now."""
        snapshot = self._snapshots[account]
        if stale := self._stale.pop(account, None):
            entitlements = entitlements_at(snapshot, self.at)
            for pool in stale:
                its = entitlements.get(pool)
                snapshot.balances[pool] = self.balance(account, pool, its.from_at if its is not None else None)
        return snapshot

    @property
    def touched(self) -> Iterable[Key]:
        """The slots that changed."""
        return self._touched.keys()

    def post(self, account: str, postings: Iterable[Posting], at: datetime) -> None:
        """Let postings take effect; `at` is when what they are about happened."""
        for posting, row in post(postings, at, lambda p: self.row((account, p.pool, p.slot))):
            self.put((account, posting.pool, posting.slot), row)

    def put(self, key: Key, row: Row) -> None:
        """Let a slot be so."""
        before, pool = self.row(key), key[:2]
        if max(abs(row.used), abs(row.reserved)) > COUNT_MAX:
            raise too_much(key[1])
        self._undo.append((key, before, key in self._touched))
        self._rows[key] = row
        self._touched[key] = None
        self._stale[pool[0]].add(pool[1])
        if parse_slot(key[2]).pays:
            self._drawn[pool] += row.used + row.reserved - before.used - before.reserved

    def savepoint(self) -> int:
        """Where `roll_back` may return to."""
        return len(self._undo)

    def row_at(self, savepoint: int, key: Key) -> Row:
        """A slot as it was then."""
        return next((before for changed, before, _ in self._undo[savepoint:] if changed == key), self.row(key))

    def roll_back(self, savepoint: int) -> list[Key]:
        """Take back what was posted since; returns which slots that had changed."""
        undone = self._undo[savepoint:]
        for key, before, was_touched in reversed(undone):
            self.put(key, before)
            if not was_touched:
                del self._touched[key]
        del self._undo[savepoint:]
        return [key for key, _, _ in undone]

    def enter(self, entry: Entry) -> None:
        """Keep an entry whose postings have taken effect."""
        self._entries.append(entry)
        self.answered[entry.account, entry.id] = Answered(entry.digest, entry.kind, entry.denied, entry.answer)

    def resolve(self, reservation: Reservation) -> None:
        """Keep a reservation, new or changed."""
        key = (reservation.account, reservation.id)
        self.reservations[key] = self._resolved[key] = reservation
        if reservation.state == "open":
            for posting in release(reservation.held):
                slot = (reservation.account, posting.pool, posting.slot)
                self._ends[slot] = min(self._ends.get(slot, reservation.expires_at), reservation.expires_at)

    def grant(self, account: str, pool: str, grant: Grant, *, reason: str) -> None:
        """Add a grant that nobody has the id of, as its entry shows."""
        self._given.append((account, pool, grant, reason))
        self._grants.setdefault((account, pool), {})[grant.id] = grant
        self._stale[account].add(pool)

    def void(self, account: str, pool: str, grant: Grant, units: int) -> Grant:
        """Take back so many units of a grant, or (below 0) give back what was taken; returns it as it is then."""
        voided = self._grants[account, pool][grant.id] = replace(grant, voided=grant.voided + units)
        self._touched[account, pool, grant.slot] = None
        self._stale[account].add(pool)
        return voided

    async def save(self, tx: "Transaction") -> None:
        """Write all of it, and let follow what follows from it."""
        slots = [key for key in self._touched if not _is_grant(key)]
        changes = [self._change(key) for key in dict.fromkeys((*slots, *self._due_sooner()))]
        if changes:
            await tx.ledger.save(changes)
        granted = [key for key in self._touched if _is_grant(key)]
        if granted:
            await tx.ledger.save_grants([(*key[:2], self._grant(key)) for key in granted])
        if self._resolved:
            await tx.ledger.save_reservations(list(self._resolved.values()))
        if self._entries:
            await tx.ledger.write(self._entries)
        for account, pool, grant, reason in self._given:
            await tx.ledger.grant(account, pool, grant, reason=reason, at=self.at)
        await note_alerts(tx, self._passed(), self.at)
        for (account, pool), drawn in self._drawn.items():
            if drawn > 0 and pool in self._catalog.policies.top_ups and (account, pool) in self._present:
                left = self._decided((account, pool), self._rows, self._grants).remaining
                if left is not None and not self._present[account, pool][pool].asleep:
                    await ask_top_up(tx, self._catalog, account=account, credit=pool, balance=left, at=self.at)
        await tx.tell_balances(self._news(changes))

    def _change(self, key: Key) -> Change:
        kept, row = self._kept[key], self._rows[key]
        ends = [end for end in (kept.expires_at, self._ends.get(key)) if end is not None]
        expires_at = min(ends) if ends and row.reserved else None
        return Change(key, row.used, row.reserved, kept.version + 1, expires_at, row.detail)

    def _due_sooner(self) -> Iterator[Key]:
        """Slots on which something ends before what they knew of."""
        for key, end in self._ends.items():
            if not _is_grant(key):
                known = self._kept[key].expires_at
                if known is None or end < known:
                    yield key

    def _grant(self, key: Key) -> Grant:
        id, row = parse_slot(key[2]).name, self._rows[key]
        return replace(self._grants[key[:2]][id], used=row.used, reserved=row.reserved)

    def _passed(self) -> Iterator[Passed]:
        """Windows that run and have a limit, of which something was taken or came back."""
        given = {(account, pool) for account, pool, _, _ in self._given}
        for pool in {key[:2] for key in self._touched if parse_slot(key[2]).pays} | given:
            entitlements = self._present.get(pool)
            its = entitlements[pool[1]] if entitlements is not None else None
            if its is None or its.credit is not None or its.rolling_s is not None:
                continue
            key = (*pool, slot_of(its.from_at))
            before, after = self._before.get(key, _NOTHING).used, self.row(key).used
            if its.plain and pool not in self._grants:
                if is_watched(its, self.at, max(before, after)):
                    yield Passed(pool[0], its, (before, its.limit), (after, its.limit))
            elif its.limit:
                yield Passed(
                    pool[0],
                    its,
                    _level(self._decided(pool, self._before, self._granted_before)),
                    _level(self._decided(pool, self._rows, self._grants)),
                )

    def _news(self, changes: Sequence[Change]) -> list[News]:
        """What others must know: plain counts as they are now, of the rest only which account."""
        closely = {account for account, _, _, _ in self._given} | {account for account, _ in self._resolved}
        for key in self._touched:
            details, slot = (self._before.get(key, _NOTHING).detail, self.row(key).detail), parse_slot(key[2])
            if slot.node:
                continue  # nobody remembers those
            if slot.kind != "window" or details != (None, None):
                closely.add(key[0])
        counts = [
            (*change.key, change.used, change.reserved, change.version)
            for change in changes
            if not parse_slot(change.key[2]).node
        ]
        return [each for each in counts if each[0] not in closely] + [(account,) for account in sorted(closely)]

    def _decided(self, pool: Pool, rows: Mapping[Key, Row], grants: Mapping[Pool, Mapping[str, Grant]]) -> Decision:
        """What there is in all of the window that runs: with grants and what was carried over that is the decision's
        business."""
        entitlements = self._present[pool]
        balance = self._assembled(pool, entitlements[pool[1]].from_at, rows, grants)
        segment = Segment(self.at, self.at + timedelta(days=1), dict(entitlements))
        held = snapshot_of(pool[0], "", self.at, segment.until, [segment], {pool[1]: balance})
        return decide(held, pool[1], 0, self.at)

    def _assembled(
        self, pool: Pool, from_at: datetime | None, rows: Mapping[Key, Row], grants: Mapping[Pool, Mapping[str, Grant]]
    ) -> Balance:
        slots = {slot: rows[*pool, slot] for slot in self._slots.get(pool, ())}
        return assemble(slots, from_at, grants=_counted(grants.get(pool, {}), pool, rows))


async def save_sums(tx: "Transaction", sums: Mapping[Key, tuple[int, CountingWindow]], at: datetime) -> None:
    """The quick form for units that do nothing but add up to plain counts: one statement, and nothing is read first."""
    news = await tx.events.add_up({key: (units, window.period) for key, (units, window) in sums.items()})
    await note_alerts(tx, _passed_by(sums, news, at), at)
    await tx.tell_balances(news)


def _passed_by(
    sums: Mapping[Key, tuple[int, CountingWindow]], news: Iterable[tuple[str, str, str, int, int, int]], at: datetime
) -> Iterator[Passed]:
    for account, pool, slot, used, _, _ in news:
        units, window = sums[account, pool, slot]
        # Most use is near no threshold, and that is all it costs.
        if used >= window.watched_from and is_watched(its := window.entitlements[pool], at, used):
            yield Passed(account, its, (used - units, its.limit), (used, its.limit))


async def ask_top_up(
    tx: "Transaction", catalog: Catalog, *, account: str, credit: str, balance: int, at: datetime
) -> bool:
    """Ask for a top-up if the catalog's policy says so, now that `balance` units of the credit are left to use.

    False: there is no policy, enough is left, one is open, one has failed in this window, or it had its share. Costs
    nothing but a comparison while enough is left, and writes one row at most; nothing is charged here.
    """
    policy = catalog.policies.top_ups.get(credit)
    if policy is None or balance >= policy.below:
        return False
    window = window_of(policy, at)
    earlier = await tx.top_ups.states(account, credit, window_at=window.from_at)
    if not may_ask(policy, balance, earlier):
        return False
    id = top_up_id(account, credit, window, len(earlier))
    return await tx.top_ups.add(policy, account=account, id=id, window_at=window.from_at, balance=balance, at=at)


async def expire_due(store: "Store", accounts: Collection[str], at: datetime) -> None:
    """Give back what reservations of these accounts held that have expired."""
    async with store.transaction() as tx:
        ids = await tx.ledger.expired(accounts, at)
        found = await tx.ledger.reservations(ids)
        keys = {(r.account, posting.pool, posting.slot) for r in found.values() for posting in release(r.held)}
        work = await lock_balances(tx, NO_CATALOG, keys, {}, at, reservations=ids, expire=False)
        for reservation in list(work.reservations.values()):
            if reservation.state == "open" and reservation.expires_at <= at:
                given_back = release(reservation.held)
                work.post(reservation.account, given_back, at)
                work.enter(
                    Entry(
                        reservation.account, derived(reservation.id, "expire"), "expire", reservation.feature,
                        reservation.held.units, reservation.expires_at, at, digest("expire", reservation.id),
                        given_back, member=reservation.member,
                    )
                )  # fmt: skip
                work.resolve(replace(reservation, state="expired", held=replace(reservation.held, units=0, paid=())))
        await work.save(tx)


_NOTHING = Row()


def _is_grant(key: Key) -> bool:
    return parse_slot(key[2]).kind == "grant"


def _counted(grants: Mapping[str, Grant], pool: Pool, rows: Mapping[Key, Row]) -> list[Grant]:
    """Grants with what was posted on them."""
    found = ((grant, rows.get((*pool, grant.slot), _NOTHING)) for grant in grants.values())
    return [replace(grant, used=row.used, reserved=row.reserved) for grant, row in found]


def _level(decision: Decision) -> Level:
    return decision.used or 0, decision.limit


def _spans(windows: Mapping[Key, Entitlements]) -> dict[Key, tuple[datetime | None, datetime | None]]:
    """When these windows begin and end; what is held for good does neither."""
    spans = {}
    for key, entitlements in windows.items():
        its = entitlements[key[1]]
        spans[key] = (its.from_at, its.resets_at if its.from_at is not None else None)
    return spans
