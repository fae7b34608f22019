"""Drawing: usage events whose effect depends on what is there, one by one and in the order they were sent.

Laws: everything an event can change is locked before anything is read, in the order of its keys; what an entry says it
changed is what it changed; an event that cannot be taken leaves nothing behind; what is used of a feature never falls
below zero. What burns first is the business of `ledger.py` alone.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from paygrade.catalog.model import Aggregate, Catalog
from paygrade.decisions.decide import Decision, decide
from paygrade.decisions.snapshots import Snapshot
from paygrade.entitlements.model import Entitlement, Segment
from paygrade.server.operations.accounts.top_ups import ask_top_up
from paygrade.server.operations.events.batch import Taken
from paygrade.server.operations.usage.alerts import Passed, note_alerts
from paygrade.server.operations.usage.locked_batch import Due
from paygrade.server.state.rollover import carried_into
from paygrade.server.state.windows import CountingWindow, Target
from paygrade.usage.balances import Grant, Row, SlotDetail, assemble, put, rolling_s, slot_of
from paygrade.usage.entries import Change, Kept, Key, Posting
from paygrade.usage.ledger import slots, spend
from paygrade.usage.meters import Measured, Read, Refusal, Said, Total, fold, take
from paygrade.values.errors import Refused
from paygrade.values.periods import Period, parse_instant

if TYPE_CHECKING:
    from paygrade.postgres.store import Transaction

ADDITIVE = ("count", "sum")
USED_MAX = 2**63 - 1
"""What a balance can hold."""

News = tuple[str | int, ...]
"""What others must know of a balance, or of an account that is to be read anew."""


class Chain(Struct, frozen=True):
    """An event with its amendments, as the last of them says. `own`: what that one drew where units add up."""

    root: str
    time: datetime
    own: tuple[Posting, ...]
    places: tuple[tuple[str, str], ...]
    """Pool and slot of all that it ever touched."""
    read: Read


async def draw_events(
    tx: "Transaction",
    catalog: Catalog,
    careful: Sequence[Taken],
    sums: Mapping[Key, tuple[int, CountingWindow]],
    at: datetime,
) -> list[tuple[Taken, Refusal]]:
    """Draw these events, and add the `sums` of the others: all rows have to be locked in one order.

    Returns which events turned out to be refused, and why. Raises Due.
    """
    chains = await _chains(tx, careful)
    drawing = Drawing(tx, chains, at)
    await drawing.lock(careful, {key: window for key, (_, window) in sums.items()})
    refused = []
    for each in careful:
        refusal = await drawing.draw(each)
        if refusal is not None:
            refused.append((each, refusal))
    for key, (units, _) in sums.items():
        drawing.add(key, units)
    await drawing.save()
    for account, credit, left in drawing.run_down(catalog.policies.top_ups):
        await ask_top_up(tx, catalog, account=account, credit=credit, balance=left, at=at)
    await tx.events.take_back([(each.event.account, each.event.id) for each, _ in refused])
    return refused


def is_watched(its: Entitlement, at: datetime, used: int) -> bool:
    """Whether so much use may be near a threshold of the present window; most is not, and that is all it costs."""
    if not its.limit or not its.granted or used * 100 < min((*its.warn[:1], 100)) * its.limit:
        return False
    return _is_present(its, at)


def _is_present(its: Entitlement, at: datetime) -> bool:
    return its.from_at is None or (its.from_at <= at and (its.resets_at is None or at < its.resets_at))


class Drawing:
    """Balances, grants and chains as they are while one event after the other is drawn."""

    def __init__(self, tx: "Transaction", chains: dict[tuple[str, str], Chain], at: datetime) -> None:
        self._tx = tx
        self._at = at
        self._windows: dict[Key, CountingWindow] = {}
        """Of the rows that are a window's own count."""
        self._chains = chains
        self._kept: dict[Key, Kept] = {}
        self._rows: dict[Key, Row] = {}
        self._grants: dict[tuple[str, str], dict[str, Grant]] = {}
        self._granted = self._grants
        self._seen: set[tuple[Key, str]] = set()
        self._new_values: set[tuple[Key, str]] = set()
        self._drawn: dict[tuple[str, str], tuple[Sequence[Posting], Read | None, str | None]] = {}
        self._spent: set[tuple[str, str]] = set()
        """Account and pool from which something was drawn."""
        self._undo: list[Callable[[], None]] = []
        """How to take back what the event being drawn has done so far."""
        self._closely: set[str] = set()
        """Accounts of which more changed than plain counts."""

    async def lock(self, careful: Sequence[Taken], others: Mapping[Key, CountingWindow]) -> None:
        """Hold all that the events can change, and read it. Raises Due."""
        self._windows = dict(others)
        keys = {**self._amended(), **{key: window.period for key, window in others.items()}}
        pools: set[tuple[str, str]] = set()
        for each in careful:
            for _, target in _pairs(each):
                for pool, its in target.window.entitlements.items():
                    self._windows[each.event.account, pool, slot_of(its.from_at)] = target.window
                    keys[each.event.account, pool, slot_of(its.from_at)] = target.window.period
                for pool, slot in _slots(each, target.window):
                    keys.setdefault((each.event.account, pool, slot), None)
                    pools.add((each.event.account, pool))
        await self._tx.events.hold(keys)
        self._kept = await self._tx.ledger.lock(list(keys), {})
        due = {
            key[0] for key, kept in self._kept.items() if kept.expires_at is not None and kept.expires_at <= self._at
        }
        if due and await self._tx.ledger.expired(due, self._at):
            raise Due(due)
        self._rows = {key: kept.row for key, kept in self._kept.items()}
        pools |= {(account, pool) for account, pool, _ in self._amended()}
        since = min([each.time for each in careful] + [chain.time for chain in self._chains.values()])
        found = await self._tx.ledger.grants(sorted(pools), since, lock=True)
        self._grants = {pool: {grant.id: grant for grant in grants} for pool, grants in found.items()}
        self._granted = {pool: dict(its) for pool, its in self._grants.items()}
        self._seen = await self._tx.events.seen(_values(careful))
        await self._settle_carried(careful)

    def add(self, key: Key, units: int) -> None:
        """Units of events that need no care."""
        row = self._rows[key]
        self._rows[key] = Row(row.used + units, row.reserved, row.detail)

    async def draw(self, each: Taken) -> Refusal | None:
        """Let one event take effect, or say why it cannot."""
        chain, priced, taken_back = None, tuple[Posting, ...](), tuple[Posting, ...]()
        if each.event.amends is not None:
            chain = self._chains.get((each.event.account, each.event.amends))
            if chain is None:
                return Refusal("unknown_id", f"there is no event `{each.event.amends}` of this account to amend")
            priced, taken_back = _taken_back(chain)
        self._undo = []
        self._apply(each, priced)
        self._apply(each, taken_back)
        own = self._spend_sums(each)
        recounted = await self._recount(each, chain)
        others = self._draw_others(each, recounted)
        refusal = self._below_zero(each, recounted)
        if refusal is not None:
            for undo in reversed(self._undo):
                undo()
            return refusal
        await self._see(each, recounted)
        start = len(priced)
        draws = (*priced, *own, *taken_back, *others)
        self._note(each, chain, draws, (start, start + len(own)))
        return None

    async def save(self) -> None:
        """Write balances and grants as they are now, and what is left to write of the entries."""
        await self._write()
        changes = []
        for key, row in self._rows.items():
            kept = self._kept[key]
            if row != kept.row:
                if abs(row.used) > USED_MAX:
                    detail = f"`{key[1]}` would go beyond what can be counted; are these quantities meant?"
                    raise Refused("too_much_usage", detail)
                expires_at = kept.expires_at if row.reserved else None
                changes.append(Change(key, row.used, row.reserved, kept.version + 1, expires_at, row.detail))
        if changes:
            await self._tx.ledger.save(changes)
        spent = [
            (account, pool, grant)
            for (account, pool), its in self._grants.items()
            for id, grant in its.items()
            if grant != self._granted[account, pool][id]
        ]
        if spent:
            await self._tx.ledger.save_grants(spent)
        await note_alerts(self._tx, list(self._passed(changes)), self._at)
        told = [(*change.key, change.used, change.reserved, change.version) for change in changes]
        news: list[News] = [each for each in told if each[0] not in self._closely]
        await self._tx.tell_balances([*news, *((account,) for account in sorted(self._closely))])

    def _passed(self, changes: Iterable[Change]) -> Iterator[Passed]:
        """Limits whose thresholds may lie between what balances were and are."""
        for change in changes:
            account, pool, _ = change.key
            window, before = self._windows.get(change.key), self._kept[change.key].row.used
            if window is None or before == change.used:
                continue
            its = window.entitlements[pool]
            if not is_watched(its, self._at, max(before, change.used)):
                continue
            if its.plain and (account, pool) not in self._grants:
                yield Passed(account, its, its.limit or 0, before, change.used)
            elif its.rolling_s is None:
                decision = self._decided(account, pool, window)
                if decision.limit and decision.used is not None:
                    yield Passed(account, its, decision.limit, decision.used - change.used + before, decision.used)

    def run_down(self, pools: Collection[str]) -> Iterator[tuple[str, str, int]]:
        """Account, pool and units left now, of those of these pools from which something was drawn."""
        for (account, pool, _), window in self._windows.items():
            its = window.entitlements.get(pool)
            if pool not in pools or its is None or not _is_present(its, self._at):
                continue
            if (account, pool) in self._spent:
                left = self._decided(account, pool, window).remaining
                if left is not None:
                    yield account, pool, left

    def _decided(self, account: str, pool: str, window: CountingWindow) -> Decision:
        """What there is in all, with grants and what was carried over, is the decision's business."""
        rows = {slot: row for (whose, what, slot), row in self._rows.items() if (whose, what) == (account, pool)}
        grants = self._grants.get((account, pool), {}).values()
        balance = assemble(rows, window.entitlements[pool].from_at, grants=grants)
        segment = Segment(self._at, self._at + timedelta(days=1), window.entitlements)
        seen = Snapshot(account, "", self._at, segment.until, (segment,), {pool: balance})
        return decide(seen, pool, 0, self._at)

    def _amended(self) -> dict[Key, Period | None]:
        return {
            (account, pool, slot): None
            for (account, _), chain in self._chains.items()
            for pool, slot in chain.places
            if not slot.startswith("grant:")
        }

    async def _settle_carried(self, careful: Sequence[Taken]) -> None:
        """What is carried into a window is settled when it is first used."""
        for each in careful:
            account = each.event.account
            for _, target in _pairs(each):
                for pool, its in target.window.entitlements.items():
                    key = (account, pool, slot_of(its.from_at))
                    row = self._rows.get(key, Row())
                    if its.rollover and (row.detail is None or row.detail.carried is None):
                        carried = await carried_into(self._tx, account, its, self._at)
                        self._rows[key] = replace(row, detail=replace(row.detail or SlotDetail(), carried=carried))

    def _spend_sums(self, each: Taken) -> tuple[Posting, ...]:
        """Draw what adds up; what is paid in credits first, so that its price stands right after what paid it."""
        draws: list[Posting] = []
        for measured, target in sorted(_pairs(each), key=lambda pair: not pair[1].window.is_paid):
            if measured.aggregate in ADDITIVE:
                spent = self._spend(each, target, measured.units)
                draws += spent
                self._apply(each, spent)
        return tuple(draws)

    def _draw_others(self, each: Taken, recounted: "Mapping[Key, Recount]") -> tuple[Posting, ...]:
        """Draw what does not add up: the difference it makes."""
        draws: list[Posting] = []
        targets = {target.key: target for _, target in _pairs(each)}
        totals = {key: recount.total for key, recount in recounted.items()}
        for measured, target in _pairs(each):
            if measured.aggregate not in ADDITIVE and target.key not in totals:
                seen = measured.value is not None and (target.key, measured.value) in self._seen
                before = _total(self._rows[target.key])
                totals[target.key] = take(before, measured, id=each.event.id, time=each.time, seen=seen)
        for key, total in totals.items():
            units = total.used - self._rows[key].used
            paying = targets.get(key)
            if paying is not None and paying.window.is_paid:
                spent = self._spend(each, paying, units)
            else:
                spent = (Posting(key[1], key[2], units),)
            draws += spent
            self._apply(each, spent)
            row = self._rows[key]
            if (row.detail or SlotDetail()).latest != total.latest:
                self._put(key, replace(row, detail=replace(row.detail or SlotDetail(), latest=total.latest)))
        return tuple(draws)

    def _spend(self, each: Taken, target: Target, units: int) -> tuple[Posting, ...]:
        account, feature, its = each.event.account, target.window.feature, target.window.entitlements
        if its[feature].plain and (account, feature) not in self._grants:
            return (Posting(feature, target.window.slot, units),)
        balances = {}
        for pool in its:
            rows = {slot: self._rows[account, pool, slot] for p, slot in _slots(each, target.window) if p == pool}
            grants = self._grants.get((account, pool), {}).values()
            balances[pool] = assemble(rows, its[pool].from_at, grants=grants)
        event = each.event
        return spend(
            its, balances, feature, units, each.time, member=event.member, properties=event.properties or None
        ).draws

    def _apply(self, each: Taken, draws: Iterable[Posting]) -> None:
        account, paid = each.event.account, 0
        for draw in draws:
            if draw.used > 0:
                self._spent.add((account, draw.pool))
            if draw.slot.startswith("grant:"):
                paid += draw.used
                self._count_grant(account, draw)
                continue
            key = (account, draw.pool, draw.slot)
            row = self._rows[key]
            detail = row.detail
            if draw.exact is not None:
                detail = _paid(detail, paid - Fraction(draw.exact))
                paid = 0
            elif " " not in draw.slot or draw.slot.startswith("carried "):
                paid += draw.used
            elif draw.slot.startswith("rolling "):
                buckets = put(detail.buckets if detail else (), draw.used, rolling_s(draw.slot), each.time)
                detail = replace(detail or SlotDetail(), buckets=buckets)
            self._put(key, Row(row.used + draw.used, row.reserved, detail))
            if detail is not None or " " in draw.slot:
                self._closely.add(account)

    def _count_grant(self, account: str, draw: Posting) -> None:
        its, id = self._grants[account, draw.pool], draw.slot.removeprefix("grant:")
        before = its[id]
        its[id] = replace(before, used=before.used + draw.used)
        self._undo.append(lambda: its.__setitem__(id, before))
        self._closely.add(account)

    def _put(self, key: Key, row: Row) -> None:
        before = self._rows[key]
        self._rows[key] = row
        self._undo.append(lambda: self._rows.__setitem__(key, before))

    async def _recount(self, each: Taken, chain: Chain | None) -> "dict[Key, Recount]":
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
            await self._write()  # all that counts by now has to be there to be read
        recounted = {}
        for key, aggregate in aggregates.items():
            since = None if key[2] == "lifetime" else parse_instant(key[2])
            known = await self._tx.events.said(key, since)
            said = [each for root, each in known.items() if root != chain.root]
            said += [_said(each, measured) for measured, target in added if target.key == key]
            recounted[key] = Recount(fold(aggregate, said), aggregate, frozenset(each.value for each in said))
        return recounted

    async def _see(self, each: Taken, recounted: "Mapping[Key, Recount]") -> None:
        for key, recount in recounted.items():
            if recount.aggregate == "unique":
                values = {value for value in recount.values if value is not None}
                self._seen = {pair for pair in self._seen if pair[0] != key} | {(key, value) for value in values}
                await self._tx.events.see_only(key, values)
        for measured, target in _pairs(each):
            if measured.value is not None and (target.key, measured.value) not in self._seen:
                self._seen.add((target.key, measured.value))
                self._new_values.add((target.key, measured.value))

    def _below_zero(self, each: Taken, recounted: "Iterable[Key]") -> Refusal | None:
        account = each.event.account
        keys = {target.key for _, target in _pairs(each)} | set(recounted)
        keys |= {(account, *place) for place in self._places(each) if " " not in place[1]}
        for key in sorted(keys):
            granted = self._grants.get((account, key[1]), {}).values()
            used = self._rows[key].used + sum(grant.used for grant in granted)
            if used < 0:
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
            if place[0] not in priced and not place[1].startswith("grant:")
        ]

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

    async def _write(self) -> None:
        """Write what the entries changed, and the values that were seen for the first time."""
        await self._tx.events.complete(self._drawn)
        self._drawn.clear()
        if self._new_values:
            await self._tx.events.see(self._new_values)
            self._new_values.clear()


class Recount(Struct, frozen=True):
    """A window counted anew."""

    total: Total
    aggregate: Aggregate
    values: frozenset[str | None]


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


def _slots(each: Taken, window: CountingWindow) -> tuple[tuple[str, str], ...]:
    return slots(window.entitlements, window.feature, each.time, member=each.event.member)


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
    while priced and priced < len(draws) and " " in draws[priced].slot:
        priced += 1
    return draws[:priced], draws[priced:]


def _total(row: Row) -> Total:
    return Total(row.used, row.detail.latest if row.detail is not None else None)


def _said(each: Taken, measured: Measured) -> Said:
    return Said(each.event.id, each.time, measured.units, measured.value)


def _paid(detail: SlotDetail | None, more: Fraction) -> SlotDetail | None:
    """The detail after so much more was paid than used."""
    before = detail.ahead if detail is not None and detail.ahead is not None else (0, 1)
    ahead = Fraction(*before) + more
    if not ahead and detail is None:
        return None
    return replace(detail or SlotDetail(), ahead=(ahead.numerator, ahead.denominator) if ahead else None)
