"""In-order ingest: usage events whose effect depends on what is there, one by one and in the order of their times.

Laws: everything an event can change is locked before anything is read, in the order of its keys; what an entry says it
changed is what it changed; an event that cannot be taken leaves nothing behind; what is used of a feature never falls
below zero. What burns first is the business of `ledger.py` alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from paygrade.catalog.model import Catalog
from paygrade.catalog.offers import Aggregate
from paygrade.entitlements.model import Entitlement
from paygrade.server.operations.balances.unit_of_work import UnitOfWork, lock_balances, windows_of
from paygrade.server.operations.events.batch import ADDITIVE, Taken
from paygrade.server.state.windows import CountingWindow, Target
from paygrade.usage.balances import Row, SlotDetail, parse_slot
from paygrade.usage.entries import Key, Posting
from paygrade.usage.events import Refusal
from paygrade.usage.ledger import slots, spend
from paygrade.usage.meters import Measured, Read, Said, Total, fold, take
from paygrade.usage.nodes import Way, spend_at, way
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.store import Transaction


NO_SUMS: Mapping[Key, tuple[int, CountingWindow]] = {}


class Chain(Struct, frozen=True):
    """An event with its amendments, as the last of them says. `own`: what that one drew where units add up."""

    root: str
    time: datetime
    own: tuple[Posting, ...]
    places: tuple[tuple[str, str], ...]
    """Pool and slot of all that it ever touched."""
    read: Read


NO_CHAINS: Mapping[tuple[str, str], Chain] = {}


async def post_in_order(
    tx: "Transaction",
    catalog: Catalog,
    careful: Sequence[Taken],
    sums: Mapping[Key, tuple[int, CountingWindow]],
    at: datetime,
) -> list[tuple[Taken, Refusal]]:
    """Let these events take effect, and add the `sums` of the others: all rows have to be locked in one order.

    Returns which events turned out to be refused, and why. Raises Due.
    """
    chains = await _chains(tx, careful)
    keys, windows = places_of(careful, sums, chains)
    since = min([each.time for each in careful] + [chain.time for chain in chains.values()])
    work = await lock_balances(tx, catalog, keys | windows.keys(), windows, at, granted_since=since, in_one_pass=True)
    ingest = InOrder(tx, work, chains, await tx.events.seen(_values(careful)))
    refused = []
    for each in careful:
        refusal = await ingest.take(each)
        if refusal is not None:
            refused.append((each, refusal))
    for (account, pool, slot), (units, _) in sums.items():
        work.post(account, (Posting(pool, slot, units),), at)
    await ingest.write()
    await work.save(tx)
    await tx.events.take_back([(each.event.account, each.event.id) for each, _ in refused])
    return refused


def places_of(
    careful: Sequence[Taken],
    sums: Mapping[Key, tuple[int, CountingWindow]] = NO_SUMS,
    chains: Mapping[tuple[str, str], Chain] = NO_CHAINS,
) -> tuple[set[Key], dict[Key, Mapping[str, Entitlement]]]:
    """All slots that the events can change, and the windows these are of."""
    windows: dict[Key, Mapping[str, Entitlement]] = {key: window.entitlements for key, (_, window) in sums.items()}
    keys = {(account, *place) for (account, _), chain in chains.items() for place in chain.places}
    for each in careful:
        account = each.event.account
        for target in each.plan.targets:
            its = target.window.entitlements
            windows |= windows_of(account, its, its)
            feature = target.window.feature
            keys |= {(account, *slot) for slot in slots(its, feature, each.time, member=each.event.member)}
            keys |= {(account, one.pool, one.slot) for one in _way(each, target)}
    return keys, windows


class Recount(Struct, frozen=True):
    """A window counted anew."""

    total: Total
    aggregate: Aggregate
    values: frozenset[str | None]


class Counted(Struct, frozen=True):
    """What an event drew, `own` from where to where of it is what it says it adds up itself."""

    draws: tuple[Posting, ...]
    own: tuple[int, int]


NO_RECOUNTS: Mapping[Key, Recount] = {}


class Counting:
    """Balances as they are while one event after the other takes effect. `seen`: what `unique` meters saw before."""

    def __init__(self, work: UnitOfWork, seen: set[tuple[Key, str]], chains: dict[tuple[str, str], Chain]) -> None:
        self._work = work
        self._seen = seen
        self._chains = chains

    def count(
        self, each: Taken, chain: Chain | None = None, recounted: Mapping[Key, Recount] = NO_RECOUNTS
    ) -> Counted | Refusal:
        """Let one event take effect in the place of its chain, or say why it cannot. `recounted`: the windows that do
        not add up, as they come to be."""
        priced, taken_back = _taken_back(chain) if chain is not None else ((), ())
        savepoint = self._work.savepoint()
        try:
            self._post(each, (*priced, *taken_back))
            own = self._spend_sums(each)
            others = self._post_others(each, recounted)
            refusal = self._below_zero(each, recounted, savepoint)
        except Refused as refused:  # more than can be counted
            refusal = Refusal(refused.code, refused.detail)
        if refusal is not None:
            self._work.roll_back(savepoint)
            return refusal
        start = len(priced)
        return Counted((*priced, *own, *taken_back, *others), (start, start + len(own)))

    def see(self, each: Taken) -> set[tuple[Key, str]]:
        """Take in what `unique` meters see; returns what they had not seen before."""
        pairs = {(target.key, measured.value) for measured, target in _pairs(each) if measured.value is not None}
        new = pairs - self._seen
        self._seen |= new
        return new

    def _spend_sums(self, each: Taken) -> tuple[Posting, ...]:
        """Draw what adds up; what is paid in credits first, so that its price stands right after what paid it."""
        draws: list[Posting] = []
        for measured, target in sorted(_pairs(each), key=lambda pair: not pair[1].window.is_paid):
            if measured.aggregate in ADDITIVE:
                spent = self._spend(each, target, measured.units)
                spent = spend_at(_way(each, target), spent, target.window.feature, measured.units)
                draws += spent
                self._post(each, spent)
        return tuple(draws)

    def _post_others(self, each: Taken, recounted: Mapping[Key, Recount]) -> tuple[Posting, ...]:
        """Draw what does not add up: the difference it makes."""
        draws: list[Posting] = []
        targets = {target.key: target for _, target in _pairs(each)}
        totals = {key: recount.total for key, recount in recounted.items()}
        for measured, target in _pairs(each):
            if measured.aggregate not in ADDITIVE and target.key not in totals:
                seen = measured.value is not None and (target.key, measured.value) in self._seen
                before = _total(self._work.row(target.key))
                totals[target.key] = take(before, measured, id=each.event.id, time=each.time, seen=seen)
        for key, total in totals.items():
            units = total.used - self._work.row(key).used
            paying = targets.get(key)
            if paying is not None and paying.window.is_paid:
                spent = self._spend(each, paying, units)
            else:
                spent = (Posting(key[1], key[2], units),)
            draws += spent
            self._post(each, spent)
            row = self._work.row(key)
            if (row.detail or SlotDetail()).latest != total.latest:
                self._work.put(key, replace(row, detail=replace(row.detail or SlotDetail(), latest=total.latest)))
        return tuple(draws)

    def _spend(self, each: Taken, target: Target, units: int) -> tuple[Posting, ...]:
        event, feature, its = each.event, target.window.feature, target.window.entitlements
        if its[feature].plain and not self._work.has_grants(event.account, feature):
            return (Posting(feature, target.window.slot, units),)
        balances = {pool: self._work.balance(event.account, pool, its[pool].from_at) for pool in its}
        return spend(its, balances, feature, units, each.time, member=event.member, properties=event.properties or None)

    def _post(self, each: Taken, postings: Iterable[Posting]) -> None:
        self._work.post(each.event.account, postings, each.time)

    def _below_zero(self, each: Taken, recounted: Iterable[Key], savepoint: int) -> Refusal | None:
        """Whether more is taken back than was used. What a plan change prorated may be below zero without it."""
        account = each.event.account
        keys = {target.key for _, target in _pairs(each)} | set(recounted)
        keys |= {(account, *place) for place in self._places(each) if parse_slot(place[1]).kind in ("window", "node")}
        keys |= {
            (account, one.pool, one.slot)
            for _, target in _pairs(each)
            for one in _way(each, target)
            if one.pool == target.window.feature
        }
        for key in sorted(keys):
            granted, before = self._work.grants(account, key[1]), self._work.row_at(savepoint, key).used
            used = self._work.row(key).used
            if not parse_slot(key[2]).node:
                used += sum(grant.used for grant in granted)
            if used < 0 and self._work.row(key).used < before:
                window = "" if key[2] == "lifetime" else f" of the window from `{key[2]}`"
                detail = f"that would leave {used} units of `{key[1]}`{window} used; take back no more than was counted"
                return Refusal("below_zero", detail)
        return None

    def _places(self, each: Taken) -> Iterable[tuple[str, str]]:
        """Where the chain counted units of features: what pays for them may come back beyond its window."""
        chain = self._chains.get((each.event.account, each.event.amends or ""))
        priced = {target.window.entitlements[target.window.feature].credit for _, target in _pairs(each)}
        return [
            place
            for place in (chain.places if chain else ())
            if place[0] not in priced and parse_slot(place[1]).kind != "grant"
        ]


class InOrder(Counting):
    """The same with amendments, and what is written of it."""

    def __init__(
        self, tx: "Transaction", work: UnitOfWork, chains: dict[tuple[str, str], Chain], seen: set[tuple[Key, str]]
    ) -> None:
        super().__init__(work, seen, chains)
        self._tx = tx
        self._sent: dict[tuple[str, str], int] = {}
        """The places of those that have had their turn, among what was sent."""
        self._new_values: set[tuple[Key, str]] = set()
        self._drawn: dict[tuple[str, str], tuple[Sequence[Posting], Read | None, str | None]] = {}

    async def take(self, each: Taken) -> Refusal | None:
        """Let one event take effect, or say why it cannot."""
        chain = None
        self._sent[each.event.account, each.event.id] = each.index
        if each.event.amends is not None:
            amended = (each.event.account, each.event.amends)
            chain = self._chains.get(amended)
            if chain is None or self._sent.get(amended, -1) > each.index:
                return Refusal("unknown_id", f"this account has no event `{each.event.amends}` to amend")
        recounted = await self._recount(each, chain)
        found = self.count(each, chain, recounted)
        if isinstance(found, Refusal):
            return found
        await self._see(each, recounted)
        self._note(each, chain, found.draws, found.own)
        return None

    async def _recount(self, each: Taken, chain: Chain | None) -> dict[Key, Recount]:
        """What the windows that do not add up come to with this event in the place of its chain."""
        if chain is None:
            return {}
        account = each.event.account
        aggregates: dict[Key, Aggregate] = {
            (account, *place): chain.read.reads[place[0]][0] for place in chain.places if place[0] in chain.read.reads
        }
        added = [(measured, target) for measured, target in _pairs(each) if measured.aggregate not in ADDITIVE]
        aggregates |= {target.key: measured.aggregate for measured, target in added}
        if aggregates:
            await self.write()  # all that counts by now has to be there to be read
        recounted = {}
        for key, aggregate in aggregates.items():
            since = parse_slot(key[2]).at
            known = await self._tx.events.said(key, since)
            said = [each for root, each in known.items() if root != chain.root]
            said += [_said(each, measured) for measured, target in added if target.key == key]
            recounted[key] = Recount(fold(aggregate, said), aggregate, frozenset(each.value for each in said))
        return recounted

    async def _see(self, each: Taken, recounted: Mapping[Key, Recount]) -> None:
        for key, recount in recounted.items():
            if recount.aggregate == "unique":
                values = {value for value in recount.values if value is not None}
                self._seen = {pair for pair in self._seen if pair[0] != key} | {(key, value) for value in values}
                await self._tx.events.see_only(key, values)
        self._new_values |= self.see(each)

    def _note(self, each: Taken, chain: Chain | None, draws: tuple[Posting, ...], own: tuple[int, int]) -> None:
        reads: dict[str, tuple[Aggregate, int | str]] = {
            measured.feature: (measured.aggregate, measured.units if measured.value is None else measured.value)
            for measured, _ in _pairs(each)
            if measured.aggregate not in ADDITIVE
        }
        read = Read(reads, own, chain.read.generation + 1 if chain else 0)
        event = each.event
        now = Chain(chain.root if chain else event.id, each.time, draws[slice(*own)], _all_places(draws, chain), read)
        key = (event.account, event.id)
        for amended in [at for at, other in self._chains.items() if other is chain] if chain else ():
            self._chains[amended] = now
        self._chains[key] = now
        self._drawn[key] = (draws, read if reads or chain else None, now.root if chain else None)

    async def write(self) -> None:
        """Write what the entries changed, and the values that were seen for the first time."""
        await self._tx.events.complete(self._drawn)
        self._drawn.clear()
        if self._new_values:
            await self._tx.events.see(self._new_values)
            self._new_values.clear()


async def _chains(tx: "Transaction", careful: Sequence[Taken]) -> dict[tuple[str, str], Chain]:
    """The chains these events amend, by account and the id of any event of them. Those of this batch come as drawn."""
    own = {(each.event.account, each.event.id) for each in careful}
    asked = {(each.event.account, each.event.amends) for each in careful if each.event.amends is not None}
    latest: dict[tuple[str, str], Chain] = {}
    roots: dict[tuple[str, str], tuple[str, str]] = {}
    for entry in await tx.events.chains(asked - own) if asked - own else ():
        if (entry.account, entry.id) in own:
            continue
        root = roots[entry.account, entry.id] = (entry.account, entry.root)
        known = latest.get(root)
        start, end = entry.read.own or (0, len(entry.draws))
        chain = Chain(entry.root, entry.time, entry.draws[start:end], _all_places(entry.draws, known), entry.read)
        if known is not None and known.read.generation > entry.read.generation:
            chain = replace(known, places=chain.places)
        latest[root] = chain
    return {key: latest[root] for key, root in roots.items()}


def _way(each: Taken, target: Target) -> Way:
    its = target.window.entitlements
    return way(its, target.window.feature, each.nodes, each.event.properties) if each.nodes else ()


def _pairs(each: Taken) -> list[tuple[Measured, Target]]:
    return list(zip(each.measures, each.plan.targets, strict=True))


def _values(careful: Iterable[Taken]) -> set[tuple[Key, str]]:
    pairs = [pair for each in careful for pair in _pairs(each)]
    return {(target.key, measured.value) for measured, target in pairs if measured.value is not None}


def _all_places(draws: Iterable[Posting], chain: Chain | None) -> tuple[tuple[str, str], ...]:
    before = chain.places if chain else ()
    return tuple(dict.fromkeys((*before, *((draw.pool, draw.slot) for draw in draws))))


def _taken_back(chain: Chain) -> tuple[tuple[Posting, ...], tuple[Posting, ...]]:
    """What takes back all that a chain says by now: what was paid in credits, and the rest. In between goes what the
    event says instead, so that prices stand right after what paid them."""
    draws = tuple(
        Posting(draw.pool, draw.slot, -draw.used, 0, None if draw.exact is None else str(-Fraction(draw.exact)))
        for draw in chain.own
    )
    priced = max((at + 1 for at, draw in enumerate(draws) if draw.exact is not None), default=0)
    while priced and priced < len(draws) and not parse_slot(draws[priced].slot).pays:
        priced += 1
    return draws[:priced], draws[priced:]


def _total(row: Row) -> Total:
    return Total(row.used, row.detail.latest if row.detail is not None else None)


def _said(each: Taken, measured: Measured) -> Said:
    return Said(each.event.id, each.time, measured.units, measured.value)
