"""Anchors: what recurring windows of an account are aligned to, and what of it is billed anew.

Laws: a window is what it was given for, whatever moves the anchor while it runs: it goes on to its own end, and only
something billed begins one before that; looking often or seldom leads to the same, since what counts is when periods
began at the provider and never when that was learned; a subscription's windows are its own from the first that was
billed on, and before that those that ran already.

| an anchor moves since | it is billed anew | so |
|---|---|---|
| the cycle is restarted, or a paused subscription resumed | at once | a window begins with the new period |
| a trial moves the billing day, begins or is extended | when the trial ends | what runs goes on until then |
| a cancellation is set for within the period (classic billing) | never | what runs goes on |
| a subscription ends, another plan stands in for it, or an older customer is linked | never | what runs goes on |

Within a time that nobody pays for, a window that something billed would cut short is not begun: the one before it goes
on until then, so that nothing is given for the sake of a few days. One that has begun, when it was not to be cut short,
has begun, whatever is decided later.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account, Foreseen, end_billed_at, period_from
from paygrade.billing.facts import Item, Subscription
from paygrade.billing.standing import end_of
from paygrade.billing.understanding import key_of
from paygrade.catalog.model import AddOn, Catalog, newest
from paygrade.values.periods import ACCOUNT_ZONE, CALENDAR, Period, Recurrence, window_at
from paygrade.values.states import NOT_LIVE, TERMINAL

EVER = datetime.min.replace(tzinfo=UTC)
"""When a subscription began of which nobody said when."""
_MOMENT = timedelta(microseconds=1)
Windows = Callable[[datetime], Period]
"""The window that contains an instant."""


class Beginning(Struct, frozen=True):
    """From `at` on windows are aligned to `anchor_at`, and one begins then, since something is billed.

    `free_from_at`: since when nothing was before that. None: something was.
    """

    at: datetime
    anchor_at: datetime
    free_from_at: datetime | None = None


class Line(Struct, frozen=True):
    """A subscription as far as windows are aligned to it. `ends_at` None: it lives. `foreseen`: when something would be
    billed of it, as its trials had it, in the order in which that was stated."""

    id: str
    starts_at: datetime
    ends_at: datetime | None
    beginnings: tuple[Beginning, ...]
    foreseen: tuple[Foreseen, ...]


class Anchors:
    """What the windows of one account are aligned to, as the facts have it."""

    def __init__(self, account: Account, catalog: Catalog) -> None:
        self._account = account
        self._catalog = catalog
        self._found: dict[tuple[Recurrence, str | None, datetime], Period] = {}

    def window(self, recurrence: Recurrence, subscription: str | None, at: datetime) -> Period:
        """The window at `at` of units that come from this subscription; None: that come from none."""
        if recurrence.calendar or recurrence.every == "lifetime":
            return window_at(self.local(recurrence), CALENDAR, at)
        asked = (recurrence, subscription, at)
        if asked not in self._found:
            self._found[asked] = self._windows(recurrence, self._line(subscription))(at)
        return self._found[asked]

    def local(self, recurrence: Recurrence) -> Recurrence:
        """The same in the zone of the account, where it follows that."""
        if recurrence.zone != ACCOUNT_ZONE:
            return recurrence
        usual = self._catalog.time_zone
        moves = tuple((one.since, one.zone or usual) for one in self._account.zones)
        return replace(recurrence, zone=usual, moves=moves)

    def anchor_at(self, subscription: str | None, at: datetime) -> datetime:
        """What windows are aligned to at `at`."""
        line = self._line(subscription)
        while line is not None:
            begun = [one for one in line.beginnings if one.at <= at]
            if begun:
                return begun[-1].anchor_at
            line = self._before(line)
        return self._first

    def begun_at(self, subscription: str | None) -> datetime:
        """When the first whole window began that was billed; nothing is carried over from before it."""
        line = self._line(subscription)
        if line is None or not line.beginnings:
            return self._first
        return next((one.anchor_at for one in line.beginnings if one.at in (one.anchor_at, EVER)), self._first)

    def ends(self, at: datetime) -> tuple[datetime, ...]:
        """When windows begin off the grid that runs at `at`."""
        return tuple(one.at for line in self._by_id.values() for one in line.beginnings if one.at > at)

    def in_order(self, subscriptions: Iterable[str]) -> list[str]:
        """The one that began first comes first, then the dearer, then by what they consist of; never by what their
        provider called them, unless nothing else tells them apart."""
        found = sorted(subscriptions, key=self._start)
        return found if len(set(map(self._start, found))) == len(found) else sorted(found, key=self._order)

    def _start(self, subscription: str) -> datetime:
        found = self._by_id.get(subscription)
        return found.starts_at if found is not None else CALENDAR

    def _order(self, subscription: str) -> tuple[object, ...]:
        known, start = self._subscriptions.get(subscription), self._start(subscription)
        if known is None:
            return (start, 0, "", subscription)
        items = sorted(
            (item.lookup_key or "", item.product or "", item.plan or "", item.quantity) for item in known.items
        )
        return (start, -self._amount(known), repr(items), known.anchor_at, subscription)

    @cached_property
    def _subscriptions(self) -> dict[str, Subscription]:
        return {one.id: one for one in self._account.subscriptions}

    @cached_property
    def _by_id(self) -> dict[str, Line]:
        here = {id: _line_of(self._account, one) for id, one in self._subscriptions.items()}
        # One that has gone to another account has left its windows here.
        gone = {id: _departed(self._account, id) for id in self._account.anchors if id not in here}
        return {id: line for id, line in {**gone, **here}.items() if line is not None}

    @cached_property
    def _lines(self) -> list[Line]:
        return [self._by_id[id] for id in self.in_order(self._by_id)]

    @cached_property
    def _first(self) -> datetime:
        """What the windows of an account without any subscription are aligned to: its beginning, as first stated."""
        began = self._account.began
        return began.created_at if began is not None else self._account.since or CALENDAR

    def _line(self, subscription: str | None) -> Line | None:
        if subscription is not None:
            return self._by_id.get(subscription)
        return self._without

    @cached_property
    def _without(self) -> Line | None:
        """Whose windows go on where units come from no subscription."""
        return self._leading([line for line in self._lines if self._buys_plan(line)])

    def _before(self, line: Line) -> Line | None:
        """Whose windows ran when this subscription began."""
        earlier = [one for one in self._lines[: self._lines.index(line)] if self._buys_plan(one)]
        alive = [one for one in earlier if one.ends_at is None or one.ends_at > line.starts_at]
        return alive[0] if alive else self._leading(earlier)

    def _leading(self, lines: list[Line]) -> Line | None:
        """Of several the first that lives, else the one that ended last."""
        alive = next((line for line in lines if line.ends_at is None), None)
        return alive or max(lines, key=lambda line: line.ends_at or CALENDAR, default=None)

    def _buys_plan(self, line: Line) -> bool:
        keys = (key_of(self._catalog, one) for one in self._account.purchases.get(line.id, ()))
        return any(key is not None and not isinstance(newest(self._catalog, key), AddOn) for key in keys)

    def _windows(self, recurrence: Recurrence, line: Line | None) -> Windows:
        if line is None:
            return lambda at: window_at(recurrence, self._first, at)
        if not line.beginnings:
            return self._windows(recurrence, self._before(line))

        def at_instant(at: datetime) -> Period:
            begun = [one for one in line.beginnings if one.at <= at]
            following = next((one for one in line.beginnings if one.at > at), None)
            running = _since(recurrence, begun[-1]) if begun else self._windows(recurrence, self._before(line))
            return _until(running, following, line.foreseen, at)

        return at_instant

    def _amount(self, subscription: Subscription) -> Fraction:
        """What it costs a day, as far as the catalog knows."""
        return sum((_daily(self._catalog, item) for item in subscription.items), Fraction(0))


def _daily(catalog: Catalog, item: Item) -> Fraction:
    bought = newest(catalog, key_of(catalog, item) or "")
    prices = bought.prices.values() if bought is not None else ()
    found = [price for price in prices if price.stripe is not None and price.stripe in (item.price, item.lookup_key)]
    days = {"day": 1, "week": 7, "month": 30, "year": 365}
    return sum(
        (Fraction(one.amount * item.quantity, days[one.interval] * one.interval_count) for one in found[:1]),
        Fraction(0),
    )


def _since(recurrence: Recurrence, beginning: Beginning) -> Windows:
    def at_instant(at: datetime) -> Period:
        window = window_at(recurrence, beginning.anchor_at, at)
        return Period(max(window.from_at, beginning.at), window.until)

    return at_instant


def _until(running: Windows, following: Beginning | None, foreseen: tuple[Foreseen, ...], at: datetime) -> Period:
    """The window that runs at `at`, as far as what is billed next leaves it."""
    window = running(at)
    until = window.until
    if following is None or until is None:
        return window
    free_from_at = following.free_from_at
    if until > following.at:
        if free_from_at is not None and _is_left_out(window, following.at, free_from_at, foreseen, at):
            window = running(window.from_at - _MOMENT)
        return Period(window.from_at, following.at)
    if free_from_at is not None and _is_left_out(running(until), following.at, free_from_at, foreseen, at):
        return Period(window.from_at, following.at)
    return window


def _is_left_out(
    window: Period, billed_at: datetime, free_from_at: datetime, foreseen: tuple[Foreseen, ...], at: datetime
) -> bool:
    """Whether by `at` this window is not begun, in a time that nobody pays for: it would be cut short, now, as things
    stood when it would have begun, and by all that was stated since."""
    if window.from_at <= free_from_at:
        return False
    stated = [one for one in foreseen if one.stated_at >= free_from_at]
    then = [one for one in stated if one.stated_at <= window.from_at][-1:] or stated[:1]
    since = [one for one in stated if window.from_at < one.stated_at <= at]
    dates = (billed_at, *(one.billed_at for one in (*then, *since)))
    return all(date is not None and window.until is not None and date < window.until for date in dates)


def _line_of(account: Account, subscription: Subscription) -> Line | None:
    if subscription.status in ("incomplete", "expired"):
        return None
    ends_at = end_of(subscription)
    beginnings = tuple(one for one in _billed(account, subscription) if ends_at is None or one.at < ends_at)
    starts_at = subscription.started_at or _made_at(account, subscription.id)
    if starts_at is None:
        starts_at = beginnings[0].at if beginnings else subscription.anchor_at
        if beginnings and beginnings[0].free_from_at is None:
            beginnings = (replace(beginnings[0], at=EVER), *beginnings[1:])
    if ends_at is None and subscription.status in TERMINAL:
        ends_at = starts_at
    return Line(subscription.id, starts_at, ends_at, beginnings, _foreseen(account, subscription.id))


def _departed(account: Account, id: str) -> Line | None:
    beginnings = _seen(account, id)
    if not beginnings:
        return None
    return Line(id, _made_at(account, id) or beginnings[0].at, beginnings[-1].at, beginnings, _foreseen(account, id))


def _foreseen(account: Account, id: str) -> tuple[Foreseen, ...]:
    found = [one for each in account.anchors.get(id, ()) for one in each.foreseen]
    return tuple(sorted(found, key=lambda one: one.stated_at))


def _free_until(account: Account, id: str, at: datetime) -> list[datetime]:
    """Since when nothing was billed up to this instant, as earlier readings of a trial had it."""
    return [
        one.free_from_at
        for one in account.anchors.get(id, ())
        if one.free_from_at is not None
        and not one.begun
        and any(each.billed_at is not None and each.billed_at > at for each in one.foreseen)
    ] or [at]


def _made_at(account: Account, id: str) -> datetime | None:
    dates = (one.created_at for one in account.purchases.get(id, ()))
    return min((date for date in dates if date is not None), default=None)


def _seen(account: Account, id: str) -> tuple[Beginning, ...]:
    """What was billed, as the readings of this subscription have it."""
    found: dict[datetime, Beginning] = {}
    for one in account.anchors.get(id, ()):
        # A trial that ends before the billing day leads to that day, though a part of a period is billed before it.
        if one.stub_from_at is not None and one.free_from_at is None:
            found.setdefault(one.stub_from_at, Beginning(one.stub_from_at, one.anchor_at))
        if one.begun:
            found[one.anchor_at] = Beginning(one.anchor_at, one.anchor_at, one.free_from_at)
    return tuple(found[at] for at in sorted(found))


def _billed(account: Account, subscription: Subscription) -> tuple[Beginning, ...]:
    """What was billed of it, and what will be as things stand."""
    found = {one.at: one for one in _seen(account, subscription.id)}
    if not account.anchors.get(subscription.id) and subscription.status != "trialing":
        # Read by a release that kept no anchors.
        found[subscription.anchor_at] = Beginning(subscription.anchor_at, subscription.anchor_at)
    anchor_at, from_at = subscription.anchor_at, period_from(subscription)
    at = end_billed_at(subscription) if subscription.status == "trialing" else None
    if at is not None:
        free_from_at = from_at or subscription.started_at or _made_at(account, subscription.id) or anchor_at
        # A billing day that moves within a trial makes nothing of it paid: it is free for as long as it was before.
        free_from_at = min(free_from_at, *_free_until(account, subscription.id, free_from_at))
        found.setdefault(at, Beginning(at, anchor_at, free_from_at))
    elif subscription.status not in (*NOT_LIVE, "paused", "trialing") and from_at is not None and anchor_at > from_at:
        seen = {one.anchor_at: one.free_from_at for one in account.anchors.get(subscription.id, ())}
        found.setdefault(anchor_at, Beginning(anchor_at, anchor_at, seen.get(anchor_at)))
    latest = max(anchor_at, subscription.trial_ends_at or anchor_at)
    return tuple(found[at] for at in sorted(found) if at <= latest)
