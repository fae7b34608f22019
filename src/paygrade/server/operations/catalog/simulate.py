"""What if: recorded use and facts through a draft of the catalog, beside the same through the one in force.

Laws: it changes nothing; the catalog in force beside itself differs in nothing; an account is played by itself, so
pages make no difference.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.facts import Node
from paygrade.billing.nodes import fold_nodes
from paygrade.billing.past import Learned, moments
from paygrade.catalog.grandfathering import FOLLOW, Grandfathering, succeed
from paygrade.catalog.model import NO_CATALOG, Catalog
from paygrade.catalog.parse import parse
from paygrade.decisions.diff import Effect, effects, today
from paygrade.entitlements.model import Reason
from paygrade.entitlements.sources import offers
from paygrade.reports.movements import recurring
from paygrade.server.operations.accounts.record import unknown_account
from paygrade.server.operations.catalog.replay import Played, Replay, event_of
from paygrade.usage.entries import Entry
from paygrade.values.errors import Location, Refused
from paygrade.values.text import on_wire

if TYPE_CHECKING:
    from paygrade.postgres.recorded_use import Place, RecordedGrant
    from paygrade.postgres.store import Store

SPAN = timedelta(days=90)
SPAN_MAX = timedelta(days=400)
ACCOUNTS_MAX = 100
"""Accounts of a page."""
PLAYED_MAX = 10_000
"""Entries of a page: it ends with the account that has it reach them."""
ENTRIES_MAX = 50_000
"""Entries of one account: of more than those, it begins with the latest."""
_MOMENT = timedelta(microseconds=1)
READ = 2_000
"""Entries that are read at once."""
AT_ONCE = 8
"""Entries that are played before others in this process go on: a few milliseconds at most."""

What = Literal["loses", "denied", "over", "too_many", "pays", "gains", "allowed", "saves", "spends", "changes"]
WHATS: tuple[What, ...] = get_args(What)
"""From bad news to good."""


class SimulatedRow(Struct, frozen=True, kw_only=True):
    """What a draft would have made of one feature of one account, `before` saying the same of the catalog in force.

    `what` names the differences, separated by spaces. loses, gains, changes: what it `had` at the end and would have
    (`has`). denied, allowed: more or fewer requests for units would have been denied; `denied_units` is how many units
    they asked for, `first_denied_at` the first of them and `reason` why. over: more units were reported (`over_units`)
    than would have been allowed. too_many: so many units of a level are held that don't fit. pays, saves: `cost` is
    another, in minor units of `currency`: what use since the beginning costs beside what is included, and where
    `feature` is None, what the subscriptions cost by the month at the end. spends: other units of a credit would have
    been spent. `from_at`: the account has so much use that only what was recorded after this was played.
    """

    account: str
    feature: str | None
    what: str
    had: str | None = None
    has: str | None = None
    used_before: int = 0
    used: int = 0
    denied_before: int = 0
    denied: int = 0
    denied_units_before: int = 0
    denied_units: int = 0
    first_denied_at: datetime | None = None
    reason: Reason | None = None
    over_units_before: int = 0
    over_units: int = 0
    too_many_before: int = 0
    too_many: int = 0
    currency: str | None = None
    cost_before: int = 0
    cost: int = 0
    from_at: datetime | None = None


class Simulation(Struct, frozen=True):
    """A page of a simulation over `[since, until)`: of `accounts` looked at and `entries` played, the rows of those
    for whom something differs. `next` is the `after` of the next page; None: this is the last. A page may have no
    rows."""

    since: datetime
    until: datetime
    base_version: int
    accounts: int
    entries: int
    rows: tuple[SimulatedRow, ...]
    next: str | None


class Span(Struct, frozen=True):
    """What is looked at: `[since, until)`."""

    since: datetime
    until: datetime


def read_span(since: datetime | timedelta | None, until: datetime | None, at: datetime) -> Span:
    """Without an end it is now, with what was recorded at this instant; a beginning may be said as how long before the
    end, 90 days if it is not said. Refused `invalid_query`."""
    now = at + _MOMENT
    until = until or now
    try:
        since = until - (SPAN if since is None else since) if not isinstance(since, datetime) else since
        fits = timedelta() < until - since <= SPAN_MAX and until <= now
    except OverflowError:
        fits = False
    if not fits or not isinstance(since, datetime):
        raise Refused("invalid_query", f"`since` must be before `until`, at most {SPAN_MAX.days} days, and `until` not "
                      "in the future")  # fmt: skip
    return Span(since, until)


async def draft_of(
    store: "Store",
    *,
    document: dict[str, Any],
    lines: Mapping[str, Location],
    existing: Grandfathering = FOLLOW,
    at: datetime,
) -> tuple[Catalog, Catalog]:
    """The catalog in force and the draft that would follow it. Refused `catalog_invalid`."""
    async with store.reading() as tx:
        saved = await tx.catalogs.load()
    base = saved.catalog if saved is not None else NO_CATALOG
    wanted = parse(document, lines=lines, version=base.version + 1, previous=saved.catalog if saved else None)
    return base, succeed(base, wanted, existing, at)


async def simulate_catalog(
    store: "Store",
    *,
    catalogs: tuple[Catalog, Catalog],
    span: Span,
    what: What | None = None,
    account: str | None = None,
    after: str = "",
    limit: int = ACCOUNTS_MAX,
) -> Simulation:
    """Simulate a draft of the catalog.

    What the draft would have meant for recorded use and facts, beside the catalog in force: who would have been denied,
    gained or lost something, and paid for use. Changes nothing. A page of accounts at a time; with `account` all that
    this one used. Refused `catalog_invalid`, `unknown_account`, `invalid_query`.
    """
    async with store.reading() as tx:
        if account is None:
            keys = await tx.accounts.keys(after=after, limit=limit + 1)
        elif await tx.accounts.load(account) is not None:
            keys = (account,)
        else:
            raise unknown_account(account)
    rows, played, looked = list[SimulatedRow](), 0, 0
    for key in keys[:limit]:
        if played >= PLAYED_MAX:
            break
        found, entries = await _of_account(store, key, catalogs, span, everything=account is not None)
        rows += [row for row in found if what is None or what in row.what.split()]
        played, looked = played + entries, looked + 1
    more = looked < len(keys)
    return Simulation(
        span.since, span.until, catalogs[0].version, looked, played, tuple(rows), keys[looked - 1] if more else None
    )


class _Tally:
    """What was played of one feature."""

    def __init__(self) -> None:
        self.used = self.denied = self.denied_units = self.over_units = 0
        self.first: tuple[datetime, Reason | None] | None = None

    def take(self, one: Played, at: datetime) -> None:
        if one.how == "denied":
            self.denied, self.denied_units = self.denied + 1, self.denied_units + one.units
            self.first = self.first or (at, one.reason)
            return
        self.used += one.units
        if one.how == "over":
            self.over_units += one.units
            self.first = self.first or (at, one.reason)


class _Side:
    """An account under one of the two catalogs."""

    def __init__(self, key: str, catalog: Catalog) -> None:
        self.replay = Replay(key, catalog)
        self.tallies: dict[str, _Tally] = {}

    def tally(self, feature: str) -> _Tally:
        return self.tallies.setdefault(feature, _Tally())


async def _of_account(
    store: "Store", key: str, catalogs: tuple[Catalog, Catalog], span: Span, *, everything: bool
) -> tuple[list[SimulatedRow], int]:
    async with store.reading() as tx:
        facts = await tx.accounts.facts(key, recorded_until=span.until)
        grants = await tx.recorded_use.grants(key)
        from_at = await tx.recorded_use.begins_at(key, until=span.until, entries_max=ENTRIES_MAX)
    sides = tuple(_Side(key, catalog) for catalog in catalogs)
    course = _Course(key, facts, grants, sides)
    begun, played, place = False, 0, None
    while True:
        entries, place = await _read(store, key, since=from_at, until=span.until, after=place)
        for entry in entries:
            if not begun and entry.recorded_at >= span.since:
                begun = course.begin(span.since)
            course.play(entry, tallied=begun)
            played += 1
            if played % AT_ONCE == 0:
                await asyncio.sleep(0)
        if len(entries) < READ:
            break
    if not begun:
        course.begin(span.since)
    course.advance(span.until)
    return _rows(key, sides, span, from_at, everything=everything), played


async def _read(
    store: "Store", key: str, *, since: datetime | None, until: datetime, after: "Place | None"
) -> tuple[list[Entry], "Place | None"]:
    async with store.reading() as tx:
        found = await tx.recorded_use.entries(key, since=since, until=until, after=after, limit=READ)
    return [one.entry for one in found], found[-1].place if found else after


class _Course:
    """What became known of an account and was granted to it, and what was used between, in the order of time."""

    def __init__(
        self, key: str, facts: Sequence[Learned], grants: "Iterable[RecordedGrant]", sides: Sequence[_Side]
    ) -> None:
        ordered = sorted(facts, key=lambda one: (one.recorded_at, one.fact.number))
        self._moments = list(moments(key, ordered, believed=True))[::-1]
        self._stated = [one.fact for one in ordered if isinstance(one.fact.body, Node)]
        self._grants = [*grants][::-1]
        self._sides = sides
        self._meters = sides[0].replay.meters

    def begin(self, since: datetime) -> bool:
        self.advance(since)
        for side in self._sides:
            side.replay.begin()
        return True

    def advance(self, at: datetime) -> None:
        """Let all be known that was by `at`."""
        latest = None
        while self._moments and self._moments[-1].since <= at:
            latest = self._moments.pop()
        if latest is not None:
            known = [fact for fact in self._stated if fact.number <= latest.account.version]
            nodes = {path: one.node for path, one in fold_nodes(known).items()}
            for side in self._sides:
                side.replay.follow(latest.account, nodes)
        while self._grants and self._grants[-1].recorded_at <= at:
            one = self._grants.pop()
            for side in self._sides:
                side.replay.give(one.pool, one.grant)

    def play(self, entry: Entry, *, tallied: bool) -> None:
        self.advance(entry.recorded_at)
        event = event_of(entry, self._meters)
        for side in self._sides:
            for one in side.replay.play(entry, event):
                if tallied:
                    side.tally(one.feature).take(one, entry.recorded_at)


def _rows(
    key: str, sides: Sequence[_Side], span: Span, from_at: datetime | None, *, everything: bool
) -> list[SimulatedRow]:
    before, after = sides
    account, base, wanted = after.replay.account, before.replay.catalog, after.replay.catalog
    features = {**offers(base), **offers(wanted)}
    at = account.time(span.until)
    had = {one.feature: one for one in effects(today(account, base, at), today(account, wanted, at), features, at)}
    found = []
    for feature in features:
        row = _row(key, feature, sides, had.get(feature), span, from_at)
        found += [one for one in _priced(row, feature, sides) if one.what or (everything and _says_something(one))]
    found += _subscriptions(key, sides, span, from_at)
    return found


def _row(
    key: str, feature: str, sides: Sequence[_Side], effect: Effect | None, span: Span, from_at: datetime | None
) -> SimulatedRow:
    was, now = (side.tally(feature) for side in sides)
    levels = [side.replay.beyond(span.until).get(feature, 0) for side in sides]
    spent = [side.replay.credits().get(feature) for side in sides]
    used = [on_wire(one.used if units is None else units) for one, units in zip((was, now), spent, strict=True)]
    first = now.first or (None, None)
    row = SimulatedRow(
        account=key, feature=feature, what="", had=effect.before if effect is not None else None,
        has=effect.after if effect is not None else None, used_before=used[0], used=used[1],
        denied_before=was.denied, denied=now.denied, denied_units_before=on_wire(was.denied_units),
        denied_units=on_wire(now.denied_units), first_denied_at=first[0], reason=first[1],
        over_units_before=on_wire(was.over_units), over_units=on_wire(now.over_units),
        too_many_before=levels[0], too_many=levels[1], from_at=from_at,
    )  # fmt: skip
    is_credit = any(units is not None for units in spent)
    whats = [*([effect.how] if effect is not None else []), *_differences(row, is_credit=is_credit)]
    return replace(row, what=_in_order(whats))


def _differences(row: SimulatedRow, *, is_credit: bool) -> Iterator[What]:
    denied, denied_before = (row.denied, row.denied_units), (row.denied_before, row.denied_units_before)
    if denied != denied_before:
        yield "denied" if denied > denied_before else "allowed"
    if row.over_units > row.over_units_before:
        yield "over"
    if row.too_many > row.too_many_before:
        yield "too_many"
    if is_credit and row.used != row.used_before:
        yield "spends"


def _in_order(whats: Iterable[str]) -> str:
    return " ".join(sorted(whats, key=lambda what: WHATS.index(what)))


def _priced(row: SimulatedRow, feature: str, sides: Sequence[_Side]) -> Iterator[SimulatedRow]:
    """The row with what use costs; one more for each further currency, where the two have different ones."""
    was, now = (Counter(side.replay.costs().get(feature, {})) for side in sides)
    currencies = sorted({*was, *now}, key=lambda currency: (currency not in now, currency))
    if not currencies:
        yield row
    for place, currency in enumerate(currencies):
        bare = row if not place else SimulatedRow(account=row.account, feature=feature, what="", from_at=row.from_at)
        yield _costing(bare, currency, was[currency], now[currency])


def _subscriptions(key: str, sides: Sequence[_Side], span: Span, from_at: datetime | None) -> Iterator[SimulatedRow]:
    """What the subscriptions cost by the month at the end, where that differs."""
    was, now = (recurring(side.replay.account, side.replay.catalog, span.until) for side in sides)
    for currency in sorted({*was, *now}):
        bare = SimulatedRow(account=key, feature=None, what="", from_at=from_at)
        row = _costing(bare, currency, was.get(currency, 0), now.get(currency, 0))
        if row.what:
            yield row


def _costing(row: SimulatedRow, currency: str, before: int, after: int) -> SimulatedRow:
    more = ["pays"] if after > before else ["saves"] if after < before else []
    return replace(
        row, currency=currency, cost_before=on_wire(before), cost=on_wire(after),
        what=_in_order([*row.what.split(), *more]),
    )  # fmt: skip


def _says_something(row: SimulatedRow) -> bool:
    return bool(row.used or row.used_before or row.denied or row.denied_before or row.too_many or row.cost)
