"""Replay: what was asked of one account's units and reported of them, played again under a catalog.

Laws: it decides and counts by what decides and counts in the server, on balances of its own, and writes nothing; what
was allowed is allowed again under the catalog that allowed it; who uses does not change: each use is asked again as it
was asked, the denied ones too, whatever became of the ones before.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Node
from paygrade.billing.nodes import on_the_way
from paygrade.catalog.model import Catalog
from paygrade.decisions.decide import decide
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.decisions.take import snapshot
from paygrade.entitlements.model import Entitlement, Reason, carries
from paygrade.server.operations.balances.unit_of_work import UnitOfWork, windows_of
from paygrade.server.operations.events.batch import ADDITIVE, Taken
from paygrade.server.operations.events.in_order import Counting, places_of
from paygrade.server.operations.usage.answers import KeptAnswer, read_kept
from paygrade.server.operations.usage.history import cost_of
from paygrade.server.operations.usage.requests import Asked, Commit, Consume, Extend, Release, Reserve
from paygrade.server.operations.usage.use import answer_one, touched_by, windows_for
from paygrade.server.state.nodes import AccountNodes, Ways
from paygrade.server.state.rollover import carrying, settled_in, with_carried
from paygrade.server.state.windows import AccountWindows
from paygrade.usage.balances import Balance, Grant, Row, parse_slot, slot_of
from paygrade.usage.entries import Entry, Kept, Key, Posting, Reservation
from paygrade.usage.entries import Taken as Locked
from paygrade.usage.events import Refusal, UsageEvent
from paygrade.usage.history import post, restate
from paygrade.usage.ledger import release, slots, spend
from paygrade.usage.meters import Measured, Meters, measure, meters_of
from paygrade.usage.rollover import Carried
from paygrade.values.errors import Refused


class Played(NamedTuple):
    """What became of units of a feature that were asked for or reported.

    used: they count. denied: they don't. over: they were reported, so they count, and would not have been allowed.
    """

    feature: str
    units: int
    how: Literal["used", "denied", "over"]
    reason: Reason | None = None


class _Spent(NamedTuple):
    """A window that something was used in: what was used before, and what it was last counted by."""

    before: int
    its: Entitlement
    account: Account
    at: datetime


class _Plain(NamedTuple):
    """Where a feature is one count against one limit, in `[since, until)`."""

    its: Entitlement
    key: Key
    since: datetime
    until: datetime


class Replay:
    """One account under one catalog, with its balances as they come to be.

    `quick`: what is one count against one limit is decided on that count alone, as the server does on what it
    remembers. It comes to the same and takes a tenth of the time.
    """

    def __init__(self, key: str, catalog: Catalog, *, quick: bool = True) -> None:
        self.catalog = catalog
        self._quick = quick
        self.meters = meters_of(catalog)
        self._rows: dict[Key, Row] = {}
        self._grants: dict[str, dict[str, Grant]] = {}
        self._reservations: dict[tuple[str, str], Reservation] = {}
        self._seen: set[tuple[Key, str]] = set()
        self._spent: dict[tuple[str, str], _Spent] = {}
        self._credits: dict[str, int] = {}
        self._counts_cost = False
        self.follow(Account(key=key), {})

    def follow(self, account: Account, nodes: Mapping[str, Node]) -> None:
        """From here on this is known of the account."""
        self.account = account
        self._windows = AccountWindows(account, self.catalog)
        self._nodes = AccountNodes(account.key, dict(nodes))
        self._held: Snapshot | None = None
        self._plain: dict[str, _Plain | None] = {}

    def begin(self) -> None:
        """From here on it counts what use costs, and which credits it takes."""
        self._counts_cost = True
        self._credits = {pool: self._used(pool) for pool in self.catalog.credits}

    def give(self, pool: str, grant: Grant) -> None:
        self._grants.setdefault(pool, {})[grant.id] = grant

    def play(self, entry: Entry, event: UsageEvent | None) -> Iterator[Played]:
        """Let what was asked for happen again, at the instant it was. `event`: what was reported, where it was."""
        at, feature, quantity = entry.recorded_at, entry.feature, entry.quantity
        self._expire(at)
        match entry.kind:
            case "event" if event is not None:
                yield from self._count(entry, event)
            case "consume" | "reserve" | "lease" if entry.denied is not None or entry.kind == "consume":
                # Who was denied units to hold would have used them, as far as anybody knows.
                yield self._use(entry, quantity)
            case "reserve":
                yield from self._reserve(entry)
            case "lease" if quantity > 0:
                yield self._use(entry, quantity)
            case "lease" if quantity < 0:
                self._post(feature, max(quantity, -self._row(feature, at).used), at)
            case "commit" | "release":
                yield from self._resolve(entry)
            case "extend":
                self._ask(Extend(entry.account, entry.id.split("\t")[0], quantity), at)
            case "set":
                self._state(feature, quantity, at)
            case "carry_over":
                self._post(feature, quantity, at)
            case "void":
                self._void(feature, entry.id.split("\t")[1], quantity)

    def costs(self) -> dict[str, dict[str, int]]:
        """What the use since `begin` costs, by feature and currency, in minor units."""
        found: dict[str, dict[str, int]] = {}
        for (feature, slot), (before, its, account, at) in self._spent.items():
            used = self._rows.get((account.key, feature, slot), _NOTHING).used
            now, then = (cost_of(account, self.catalog, its, units, at) for units in (used, before))
            if now is not None and then is not None:
                own = found.setdefault(feature, {})
                own[now.currency] = own.get(now.currency, 0) + now.amount - then.amount
        return found

    def credits(self) -> dict[str, int]:
        """How many units of each credit were spent since `begin`."""
        return {pool: self._used(pool) - before for pool, before in self._credits.items()}

    def beyond(self, at: datetime) -> dict[str, int]:
        """What is held of each level beyond its limit: seats, projects."""
        held, found = self._snapshot(at), {}
        for feature, its in entitlements_at(held, at).items():
            if its.kind == "level":
                taken = held.balances.get(feature)
                used = taken.used if taken is not None else self._row(feature, at).used
                limit = (its.units_max if its.soft else its.limit) if its.granted else 0
                found[feature] = max(0, used - limit) if limit is not None else 0
        return found

    def _use(self, entry: Entry, quantity: int) -> Played:
        kept, at = _kept(entry), entry.recorded_at
        node = _node(entry, kept)
        plain = self._plainly(entry.feature, at) if node is None and entry.kind == "consume" else None
        if plain is not None:
            reason, denied = self._decide_plainly(plain, quantity, at, member=entry.member)
            if not denied:
                self._add(plain, quantity, at)
            return Played(entry.feature, quantity, "denied" if denied else "used", reason)
        asked = Consume(
            entry.account, entry.feature, entry.id, quantity, entry.member, _properties(entry), node
        )  # fmt: skip
        return self._answered(self._ask(asked, at), entry.feature, quantity)

    def _reserve(self, entry: Entry) -> Iterator[Played]:
        kept = _kept(entry)
        ends_at = kept.reservation.expires_at if kept is not None and kept.reservation is not None else None
        ttl_s = int((ends_at - entry.recorded_at).total_seconds()) if ends_at is not None else 60
        asked = Reserve(
            entry.account, entry.feature, entry.id, entry.quantity, ttl_s, entry.member, _properties(entry),
            _node(entry, kept),
        )  # fmt: skip
        found = self._answered(self._ask(asked, entry.recorded_at), entry.feature, entry.quantity)
        if found.how == "denied":
            yield found

    def _resolve(self, entry: Entry) -> Iterator[Played]:
        kept = _kept(entry)
        if kept is None or kept.reservation is None:
            return
        account, id, at = entry.account, kept.reservation.id, entry.recorded_at
        if (account, id) not in self._reservations:
            return  # it was denied
        if entry.kind == "release":
            self._ask(Release(account, id), at)
            return
        asked = Commit(account, id, entry.quantity, kept.reservation.state == "open", entry.id, _properties(entry))
        answer, quantity = self._ask(asked, at), entry.quantity
        if isinstance(answer, Refused) and answer.code == "exceeds_reservation":
            # More than it held is not allowed any more: what it held is used, and the rest denied.
            held = self._reservations[account, id].held.units
            yield Played(entry.feature, quantity - held, "denied", "limit_reached")
            answer, quantity = self._ask(replace(asked, quantity=held), at), held
        if not isinstance(answer, Refused):
            yield Played(entry.feature, quantity, "used")

    def _answered(self, answer: object, feature: str, quantity: int) -> Played:
        if isinstance(answer, Refused):
            return Played(feature, quantity, "denied", "unknown_feature")
        decision = answer.decision  # type: ignore[attr-defined]  # an answer
        return Played(feature, quantity, "used" if decision.allowed else "denied", decision.reason)

    def _ask(self, asked: Asked, at: datetime) -> object:
        """Decide as the server does, and keep what it did."""
        key, held, ways = self.account.key, self._snapshot(at), Ways({self.account.key: self._nodes}, at)
        keys = set(touched_by(asked, held, self._reservations, ways, at))
        windows = windows_for({key: held}, keys, at)
        work = self._work(held, keys, windows, at)
        self._note_windows(windows, at)
        answer = answer_one(work, ways, asked)
        self._keep(work)
        return answer

    def _count(self, entry: Entry, event: UsageEvent) -> Iterator[Played]:
        """Count a usage event in the window it happened in, as it is counted when it is reported."""
        measures = measure(self.meters, event)
        if isinstance(measures, Refusal) or not self.account.exists:
            return
        time = entry.time
        plain = self._plainly(measures[0].feature, time) if len(measures) == 1 and _node(entry, None) is None else None
        if plain is not None and measures[0].aggregate in ADDITIVE and measures[0].units > 0:
            units = measures[0].units
            why, over = self._decide_plainly(plain, units, time, member=event.member)
            self._add(plain, units, time)
            yield Played(plain.its.feature, units, "over" if over else "used", why if over else None)
            return
        taken = Taken(0, event, time, 0, measures, self._windows.plan(event, measures, time), None, self._way(entry))
        keys, windows = places_of([taken])
        work = self._work(self._snapshot(time), keys | windows.keys(), windows, time)
        self._note_windows(windows, time)
        before = {target.key: work.row(target.key).used for target in taken.plan.targets}
        would = [self._would(work, measured, event, time) for measured in measures]
        counting = Counting(work, self._seen, {})
        if isinstance(counting.count(taken), Refusal):
            return
        counting.see(taken)
        self._keep(work)
        for measured, target, reason in zip(measures, taken.plan.targets, would, strict=True):
            units, its = measured.units, target.window.entitlements[measured.feature]
            if measured.aggregate not in ADDITIVE:
                after = work.row(target.key).used
                units = after - before[target.key]
                over = not its.granted or (not its.soft and its.limit is not None and after > its.limit and units > 0)
                reason = (its.reason if not its.granted else "limit_reached") if over else None
            yield Played(measured.feature, units, "used" if reason is None else "over", reason)

    def _plainly(self, feature: str, at: datetime) -> _Plain | None:
        """The one count of a feature; None: there is more to look at than that."""
        held = self._snapshot(at)
        known = self._plain.get(feature)
        if known is None or not known.since <= at < known.until:
            known = self._plain[feature] = self._plain_of(held, feature, at) if self._quick else None
        if known is None or self._grants.get(feature) or self._rows.get(known.key, _NOTHING).detail is not None:
            return None
        return known

    def _plain_of(self, held: Snapshot, feature: str, at: datetime) -> _Plain | None:
        its = entitlements_at(held, at).get(feature)
        if its is None or not its.plain or not its.granted or its.kind != "metered":
            return None
        segment = next((each for each in held.segments if each.from_at <= at < each.until), None)
        if segment is None:
            return None
        return _Plain(its, (self.account.key, feature, slot_of(its.from_at)), segment.from_at, segment.until)

    def _decide_plainly(self, plain: _Plain, quantity: int, at: datetime, *, member: str | None) -> tuple[Reason, bool]:
        """Why, and whether it is denied."""
        feature, row = plain.its.feature, self._rows.get(plain.key, _NOTHING)
        counted = {feature: Balance(row.used, row.reserved, plain.its.from_at)}
        decision = decide(replace(self._snapshot(at), balances=counted), feature, quantity, at, member=member)
        return decision.reason, not decision.allowed

    def _add(self, plain: _Plain, units: int, at: datetime) -> None:
        self._note_windows({plain.key: {plain.its.feature: plain.its}}, at)
        self._enter(spend({plain.its.feature: plain.its}, {}, plain.its.feature, units, at), at)

    def _would(self, work: UnitOfWork, measured: Measured, event: UsageEvent, at: datetime) -> Reason | None:
        """Why these units would have been denied; None: they would not."""
        if measured.aggregate not in ADDITIVE or measured.units <= 0:
            return None
        decision = decide(
            work.snapshot(self.account.key), measured.feature, measured.units, at,
            member=event.member, properties=event.properties or None,
        )  # fmt: skip
        return None if decision.allowed else decision.reason

    def _way(self, entry: Entry) -> tuple[Node, ...]:
        node = _node(entry, None)
        if node is None:
            return ()
        try:
            return on_the_way(entry.account, node, self._nodes.nodes, entry.recorded_at, ended=True)
        except Refused:
            return ()

    def _state(self, feature: str, used: int, at: datetime) -> None:
        its = entitlements_at(self._snapshot(at), at)
        if feature not in its or its[feature].credit is not None or its[feature].kind in ("boolean", "config"):
            return
        key = self.account.key
        keys = {(key, *slot) for slot in slots(its, feature, at)}
        work = self._work(self._snapshot(at), keys, windows_of(key, its, [feature]), at)
        work.post(key, restate(its[feature], work.balance(key, feature, its[feature].from_at), used, at), at)
        self._keep(work)

    def _void(self, pool: str, id: str, units: int) -> None:
        grant = self._grants.get(pool, {}).get(id)
        if grant is None or grant.units is None:
            return
        # What was used of it under another catalog is not there to be taken back.
        row = self._rows.get((self.account.key, pool, grant.slot), _NOTHING)
        self.give(pool, replace(grant, voided=max(0, min(grant.voided + units, grant.units - row.used))))

    def _post(self, feature: str, units: int, at: datetime) -> None:
        its = entitlements_at(self._snapshot(at), at).get(feature)
        if its is not None and units:
            self._enter((Posting(feature, slot_of(its.from_at), units),), at)

    def _expire(self, at: datetime) -> None:
        for key, reservation in list(self._reservations.items()):
            if reservation.expires_at <= at:
                self._enter(release(reservation.held), at)
                del self._reservations[key]

    def _enter(self, postings: Iterable[Posting], at: datetime) -> None:
        key = self.account.key
        for posting, row in post(postings, at, lambda p: self._rows.get((key, p.pool, p.slot), _NOTHING)):
            self._rows[key, posting.pool, posting.slot] = row

    def _work(
        self, held: Snapshot, keys: Iterable[Key], windows: Mapping[Key, Mapping[str, Entitlement]], at: datetime
    ) -> UnitOfWork:
        """What the server would lock and load."""
        key, kept = self.account.key, {}
        for each in {*keys, *windows}:
            if parse_slot(each[2]).kind != "grant":
                row = self._rows.get(each, _NOTHING)
                its = windows[each][each[1]] if each in windows else None
                if its is not None and carries(its) and settled_in(row) is None:
                    row = with_carried(row, self._carried(its))
                kept[each] = Kept(row, 0, None)
        pools = {pool for _, pool, _ in (*keys, *windows)}
        grants = {(key, pool): [self._counted(pool, grant) for grant in self._grants[pool].values()]
                  for pool in pools if self._grants.get(pool)}  # fmt: skip
        return UnitOfWork(self.catalog, {key: held}, windows, Locked(kept, grants, dict(self._reservations), {}), at)

    def _keep(self, work: UnitOfWork) -> None:
        for key in work.touched:
            self._rows[key] = work.row(key)
        self._reservations = {key: its for key, its in work.reservations.items() if its.state == "open"}

    def _carried(self, its: Entitlement) -> Carried:
        asking = carrying(self.account, self.catalog, its)
        try:
            wanted = next(asking)
            while True:
                wanted = asking.send([self._rows.get(key, _NOTHING) for key in wanted])
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]  # what a generator returns is not in the type of its end

    def _counted(self, pool: str, grant: Grant) -> Grant:
        row = self._rows.get((self.account.key, pool, grant.slot), _NOTHING)
        return replace(grant, used=row.used, reserved=row.reserved)

    def _note_windows(self, windows: Mapping[Key, Mapping[str, Entitlement]], at: datetime) -> None:
        for (key, pool, slot), entitlements in windows.items() if self._counts_cost else ():
            if entitlements[pool].credit is not None:
                continue
            known = self._spent.get((pool, slot))
            before = known.before if known is not None else self._rows.get((key, pool, slot), _NOTHING).used
            self._spent[pool, slot] = _Spent(before, entitlements[pool], self.account, at)

    def _snapshot(self, at: datetime) -> Snapshot:
        held = self._held
        if held is None or not held.as_of <= at < held.until:
            held = self._held = snapshot(self.account, self.catalog, at)
            self._plain = {}
        return held

    def _row(self, feature: str, at: datetime) -> Row:
        its = entitlements_at(self._snapshot(at), at).get(feature)
        return _NOTHING if its is None else self._rows.get((self.account.key, feature, slot_of(its.from_at)), _NOTHING)

    def _used(self, pool: str) -> int:
        return sum(row.used for (_, its, slot), row in self._rows.items() if its == pool and parse_slot(slot).pays)


def event_of(entry: Entry, meters: Meters) -> UsageEvent | None:
    """The event that was reported; `meters` are those of the catalog in force. An entry keeps what a single meter read
    of it as its quantity: where the meter would read the same without one, none was said."""
    if entry.kind != "event":
        return None
    named = entry.feature in meters.features
    event = UsageEvent(
        id=entry.id, account=entry.account, feature=entry.feature if named else None,
        event=None if named else entry.feature, time=entry.time, member=entry.member,
        properties=dict(entry.properties or {}),
    )  # fmt: skip
    read = measure(meters, event)
    units = 1 if isinstance(read, Refusal) or len(read) != 1 else read[0].units
    said = isinstance(read, Refusal) or units != entry.quantity
    return replace(event, quantity=entry.quantity) if said else event


def _kept(entry: Entry) -> KeptAnswer | None:
    return read_kept(entry.answer) if entry.answer is not None else None


def _node(entry: Entry, kept: KeptAnswer | None) -> str | None:
    """Where below the account it was used: the deepest node it was counted at; of what was denied, the one that
    denied it."""
    if kept is not None and kept.limited_by is not None and kept.limited_by.startswith("node "):
        return kept.limited_by[5:].partition("?")[0]
    names = [parse_slot(posting.slot).node.partition("?")[0] for posting in entry.draws]
    return max(names, key=len, default="") or None


def _properties(entry: Entry) -> dict[str, str | int | bool] | None:
    return dict(entry.properties) if entry.properties is not None else None


_NOTHING = Row()
