"""Drawing: usage events whose effect depends on what is there, one by one and in the order they were sent.

Laws: everything an event can change is locked before anything is read, in the order of its keys; what an entry says it
changed is what it changed; an event that cannot be taken leaves nothing behind; units never fall below zero.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from paygrade.catalog import Aggregate
from paygrade.meters import Draw, Key, Read, Reading, Refusal, Said, Tally, fold, take
from paygrade.periods import Period, parse_instant
from paygrade.server.operations.batches import Taken
from paygrade.server.windows import Target

if TYPE_CHECKING:
    from paygrade.postgres.events import Changed
    from paygrade.postgres.store import Transaction

ADDITIVE = ("count", "sum")


class Chain:
    """An event and its amendments: what they changed together, and what the last of them reads."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.total: Counter[tuple[str, str]] = Counter()
        """Units by pool and slot."""
        self.read = Read()

    def add(self, draws: Iterable[Draw], read: Read) -> None:
        for pool, slot, used, _ in draws:
            self.total[(pool, slot)] += used
        if read.generation >= self.read.generation:
            self.read = read


async def draw_events(
    tx: "Transaction", careful: Sequence[Taken], sums: Mapping[Key, tuple[int, Period | None]]
) -> "tuple[list[Changed], list[tuple[Taken, Refusal]]]":
    """Draw these events, and add the `sums` of the others: all rows have to be locked in one order.

    Returns the balances changed, and which events turned out to be refused.
    """
    chains = await _chains(tx, careful)
    periods = {target.key: target.window.period for each in careful for target in each.plan.targets}
    amended = {(account, pool, slot): None for (account, _), chain in chains.items() for pool, slot in chain.total}
    locked = await tx.events.lock({**amended, **periods, **{key: period for key, (_, period) in sums.items()}})
    drawing = Drawing(tx, locked, chains, await tx.events.seen(_values(careful)))
    refused = []
    for each in careful:
        refusal = await drawing.draw(each)
        if refusal is not None:
            refused.append((each, refusal))
    for key, (units, _) in sums.items():
        drawing.tallies[key] = Tally(locked[key].used + units)
    await drawing.write()
    await tx.events.take_back([(each.event.account, each.event.id) for each, _ in refused])
    return await tx.events.put(drawing.changed()), refused


class Drawing:
    """Balances and chains as they are while one event after the other is drawn."""

    def __init__(
        self,
        tx: "Transaction",
        locked: Mapping[Key, Tally],
        chains: dict[tuple[str, str], Chain],
        seen: set[tuple[Key, str]],
    ) -> None:
        self._tx = tx
        self._locked = locked
        self._chains = chains
        self._seen = seen
        self._new_values: set[tuple[Key, str]] = set()
        self._drawn: dict[tuple[str, str], tuple[list[Draw], Read | None, str | None]] = {}
        self.tallies: dict[Key, Tally] = dict(locked)

    def changed(self) -> dict[Key, Tally]:
        return {key: tally for key, tally in self.tallies.items() if tally != self._locked[key]}

    async def draw(self, each: Taken) -> Refusal | None:
        """Let one event take effect, or say why it cannot."""
        event = each.event
        if event.amends is not None:
            return await self._amend(each)
        after: dict[Key, Tally] = {}
        draws: list[Draw] = []
        for reading, target in _pairs(each):
            before = after.get(target.key, self.tallies[target.key])
            seen = reading.value is not None and (target.key, reading.value) in self._seen
            tally = take(before, reading, id=event.id, time=each.time, seen=seen)
            after[target.key] = tally
            draws.append((target.window.pool, target.window.slot, tally.used - before.used, 0))
        refusal = _below_zero(after)
        if refusal is not None:
            return refusal
        self.tallies |= after
        for reading, target in _pairs(each):
            if reading.value is not None and (target.key, reading.value) not in self._seen:
                self._seen.add((target.key, reading.value))
                self._new_values.add((target.key, reading.value))
        self._note(each, Chain(event.id), draws, generation=0)
        return None

    async def write(self) -> None:
        """Write what the entries changed and the values that were seen for the first time."""
        await self._tx.events.complete(self._drawn)
        self._drawn.clear()
        if self._new_values:
            await self._tx.events.see(self._new_values)
            self._new_values.clear()

    async def _amend(self, each: Taken) -> Refusal | None:
        """Take back what the chain said and say what the event says."""
        account = each.event.account
        chain = self._chains.get((account, each.event.amends or ""))
        if chain is None:
            return Refusal("unknown_id", f"there is no event `{each.event.amends}` of this account to amend")
        delta = Counter({place: -used for place, used in chain.total.items() if place[0] not in chain.read.reads})
        for reading, target in _pairs(each):
            if reading.aggregate in ADDITIVE:
                delta[target.key[1:]] += reading.units
        after = {(account, *place): Tally(self.tallies[(account, *place)].used + used) for place, used in delta.items()}
        recounted = await self._recount(each, chain)
        after |= {key: tally for key, (tally, _) in recounted.items()}
        refusal = _below_zero(after)
        if refusal is not None:
            return refusal
        draws = [(key[1], key[2], tally.used - self.tallies[key].used, 0) for key, tally in sorted(after.items())]
        self.tallies |= after
        for key, (_, values) in recounted.items():
            if values is not None:
                self._seen = {pair for pair in self._seen if pair[0] != key} | {(key, value) for value in values}
                await self._tx.events.see_only(key, values)
        self._note(each, chain, draws, generation=chain.read.generation + 1)
        return None

    async def _recount(self, each: Taken, chain: Chain) -> dict[Key, tuple[Tally, set[str] | None]]:
        """What the windows that do not add up come to with this event in the place of its chain; of those that count
        different values, the values too."""
        account = each.event.account
        aggregates = {
            (account, *place): chain.read.reads[place[0]][0] for place in chain.total if place[0] in chain.read.reads
        }
        added = [(reading, target) for reading, target in _pairs(each) if reading.aggregate not in ADDITIVE]
        aggregates |= {target.key: reading.aggregate for reading, target in added}
        if not aggregates:
            return {}
        await self.write()  # all that counts by now has to be there to be read
        recounted: dict[Key, tuple[Tally, set[str] | None]] = {}
        for key, aggregate in aggregates.items():
            slot = key[2]
            known = await self._tx.events.said(key, None if slot == "lifetime" else parse_instant(slot))
            said = [each for root, each in known.items() if root != chain.root]
            said += [
                Said(each.event.id, each.time, reading.units, reading.value)
                for reading, target in added
                if target.key == key
            ]
            values = {each.value for each in said if each.value is not None} if aggregate == "unique" else None
            recounted[key] = fold(aggregate, said), values
        return recounted

    def _note(self, each: Taken, chain: Chain, draws: list[Draw], *, generation: int) -> None:
        reads: dict[str, tuple[Aggregate, int | str]] = {
            reading.feature: (reading.aggregate, reading.units if reading.value is None else reading.value)
            for reading in each.readings
            if reading.aggregate not in ADDITIVE
        }
        read = Read(reads, generation)
        chain.add(draws, read)
        key = (each.event.account, each.event.id)
        self._chains[key] = chain
        root = chain.root if each.event.amends is not None else None
        self._drawn[key] = (draws, read if reads or generation else None, root)


async def _chains(tx: "Transaction", careful: Sequence[Taken]) -> dict[tuple[str, str], Chain]:
    """The chains these events amend, by account and the id of any event of them. Those of this batch come as drawn."""
    own = {(each.event.account, each.event.id) for each in careful}
    asked = {(each.event.account, each.event.amends) for each in careful if each.event.amends is not None}
    roots: dict[tuple[str, str], Chain] = {}
    chains: dict[tuple[str, str], Chain] = {}
    if asked - own:
        for entry in await tx.events.chains(asked - own):
            if (entry.account, entry.id) not in own:
                chain = roots.setdefault((entry.account, entry.root), Chain(entry.root))
                chain.add(entry.draws, entry.read)
                chains[(entry.account, entry.id)] = chain
    return chains


def _pairs(each: Taken) -> list[tuple[Reading, Target]]:
    return list(zip(each.readings, each.plan.targets, strict=True))


def _values(careful: Iterable[Taken]) -> set[tuple[Key, str]]:
    return {
        (target.key, reading.value) for each in careful for reading, target in _pairs(each) if reading.value is not None
    }


def _below_zero(after: Mapping[Key, Tally]) -> Refusal | None:
    for (_, pool, slot), tally in after.items():
        if tally.used < 0:
            window = "" if slot == "lifetime" else f" of the window from `{slot}`"
            detail = f"that would leave {tally.used} units of `{pool}`{window} used; correct what was counted, no more"
            return Refusal("below_zero", detail)
    return None
