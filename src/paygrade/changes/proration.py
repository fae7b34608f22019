"""Proration: what a change of a subscription's items costs, to the second.

Laws: money is whole minor units of one currency; each line is `± unit × quantity × remaining / whole period`, rounded
on its own to the nearest unit, halves away from zero; there and back costs what time was used, to the rounding; usage
that is metered is never prorated, and in a trial or a pause nothing is. What is computed here is what Stripe documents
(prorations; billing modes; billing cycle); where a provider shows what it will bill, that counts.

When a change takes effect, with what was bought before and after:

| change | billed, classic | billed, flexible |
|---|---|---|
| an item, `none` | nothing | nothing |
| an item, else | credit at the old price, debit at the new | the same; the credit is of what was really billed |
| interval, or free to paid | credit; periods begin anew | credit, debit in the period its anchor gives; at once |
| the same, `none` | periods begin anew | periods begin anew |
| `anchor: reset` | credit unless `none`; periods begin anew | the same |

A period that begins anew is billed whole and at once. All else is billed at once (`charge_now`) or with the next
invoice.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.facts import BillingMode
from paygrade.catalog.model import Interval, Proration
from paygrade.values.periods import Period, add_months

_SECOND = timedelta(seconds=1)


class Paid(Struct, frozen=True):
    """What was last billed for an item, and for which time."""

    amount: int
    quantity: int
    from_at: datetime
    until: datetime


class Billed(Struct, frozen=True):
    """An item as it is billed in the period `[from_at, until)`: `amount` minor units for each of `quantity`.

    `paid` None: it was never billed. `metered`: paid by use, afterwards.
    """

    id: str
    what: str
    amount: int
    quantity: int
    interval: Interval
    interval_count: int
    from_at: datetime
    until: datetime
    metered: bool = False
    paid: Paid | None = None

    @property
    def every(self) -> tuple[Interval, int]:
        return self.interval, self.interval_count


class Line(Struct, frozen=True):
    """One line of an invoice: `amount` minor units for `quantity` of what is sold, over `[from_at, until)`.

    credit: time paid for that is not used (never above zero); debit: time left in a running period; period: a whole
    one.
    """

    kind: Literal["credit", "debit", "period"]
    what: str
    quantity: int
    amount: int
    from_at: datetime
    until: datetime


class Terms(Struct, frozen=True):
    """How a change is billed. `anchor_at` fixes the days periods turn; `idle`: in a trial or paused, nothing is."""

    mode: BillingMode
    proration: Proration
    anchor_at: datetime
    reset: bool = False
    idle: bool = False


class Costs(Struct, frozen=True):
    """What a change costs: `lines`, billed at once or with the next invoice, and the items in their periods then."""

    lines: tuple[Line, ...]
    at_once: bool
    items: tuple[Billed, ...]
    anchor_at: datetime


def prorate(before: Iterable[Billed], after: Iterable[Billed], terms: Terms, at: datetime) -> Costs:
    """What replacing `before` by `after` costs at `at`; an item that stays keeps its id.

    The periods of items in `after` that are new or have another interval are set here, whatever they say.
    """
    old, wanted = {item.id: item for item in before}, tuple(after)
    prorated = terms.proration != "none" and not terms.idle
    moved = not terms.idle and _is_moved(old, wanted)
    if not terms.idle and (terms.reset or (moved and (terms.proration == "none" or terms.mode == "classic"))):
        credits = [credit(item, terms.mode, at) for item in old.values()] if prorated else []
        begun = tuple(replace(item, **_dates(period_at(at, item.every, at))) for item in wanted)
        lines = (*(line for line in credits if line is not None), *whole_periods(begun))
        return Costs(lines, at_once=True, items=begun, anchor_at=at)
    placed = tuple(_placed(item, old, terms, at) for item in wanted)
    at_once = moved or (terms.proration == "charge_now" and prorated)
    lines = _prorations(old, placed, terms.mode, at) if prorated else ()
    return Costs(lines, at_once=at_once, items=placed, anchor_at=terms.anchor_at)


def _is_moved(old: dict[str, Billed], wanted: tuple[Billed, ...]) -> bool:
    """Whether the change is billed at once: another interval, or from free to paid (Stripe docs: billing cycle)."""
    other = any(item.id in old and item.every != old[item.id].every for item in wanted)
    return other or (_cost(old.values()) == 0 and _cost(wanted) > 0)


def _cost(items: Iterable[Billed]) -> int:
    return sum(item.amount * item.quantity for item in items if not item.metered)


def _placed(item: Billed, old: dict[str, Billed], terms: Terms, at: datetime) -> Billed:
    """The item in the period that runs at `at`: its own, or the one that its interval and the anchor give it."""
    known = old.get(item.id)
    if known is not None and known.every == item.every:
        return replace(item, from_at=known.from_at, until=known.until, paid=known.paid)
    if terms.idle and old:
        first = next(iter(old.values()))
        return replace(item, from_at=first.from_at, until=first.until)
    return replace(item, **_dates(period_at(terms.anchor_at, item.every, at)))


def _prorations(
    old: dict[str, Billed], placed: tuple[Billed, ...], mode: BillingMode, at: datetime
) -> tuple[Line, ...]:
    """Credits for what changed or went, then debits for what changed or came."""
    kept = {item.id for item in placed if item.id in old and _same(item, old[item.id])}
    lines = [credit(item, mode, at) for id, item in old.items() if id not in kept]
    lines += [debit(item, at) for item in placed if item.id not in kept]
    return tuple(line for line in lines if line is not None)


def _same(item: Billed, other: Billed) -> bool:
    return (item.what, item.amount, item.every, item.quantity) == (
        other.what, other.amount, other.every, other.quantity
    )  # fmt: skip


def credit(item: Billed, mode: BillingMode, at: datetime) -> Line | None:
    """Give back what is left of the current period; None if there is nothing to give back."""
    paid = Paid(item.amount * item.quantity, item.quantity, item.from_at, item.until)
    if mode == "flexible":
        if item.paid is None:
            return None
        paid = item.paid
    if item.metered or at >= paid.until:
        return None
    amount = share(paid.amount, part=_seconds(at, paid.until), whole=_seconds(paid.from_at, paid.until))
    return Line("credit", item.what, paid.quantity, -amount, at, paid.until)


def debit(item: Billed, at: datetime) -> Line | None:
    """Bill what is left of the current period; None if nothing is."""
    if item.metered or at >= item.until:
        return None
    whole = _seconds(item.from_at, item.until)
    amount = share(item.amount * item.quantity, part=_seconds(at, item.until), whole=whole)
    return Line("debit", item.what, item.quantity, amount, at, item.until)


def whole_periods(items: Iterable[Billed]) -> tuple[Line, ...]:
    """Bill each item for the whole period it is in; what is metered is billed when it is over."""
    return tuple(
        Line("period", item.what, item.quantity, item.amount * item.quantity, item.from_at, item.until)
        for item in items
        if not item.metered
    )


def renewal(items: Iterable[Billed], anchor_at: datetime) -> tuple[datetime, tuple[Line, ...]] | None:
    """When the next period begins, and its lines; None without items."""
    known = tuple(items)
    if not known:
        return None
    at = min(item.until for item in known)
    return at, whole_periods(renewed(item, anchor_at) for item in known if item.until == at)


def renewed(item: Billed, anchor_at: datetime) -> Billed:
    """The item in its next period, which is billed whole."""
    period = period_at(anchor_at, item.every, item.until)
    until = period.until if period.until is not None else item.until
    paid = Paid(item.amount * item.quantity, item.quantity, item.until, until)
    return replace(item, from_at=item.until, until=until, paid=None if item.metered else paid)


def until_then(item: Billed, anchor_at: datetime, at: datetime) -> Billed:
    """The item as it is billed at `at`, if nothing changes before; at a period's end it is still in that period."""
    while item.until < at:
        item = renewed(item, anchor_at)
    return item


def period_at(anchor_at: datetime, every: tuple[Interval, int], at: datetime) -> Period:
    """The billing period that contains `at`, counted from the anchor: a month's last days clamp and do not drift."""
    turns = _turns_guess(anchor_at, every, at)
    while _turn(anchor_at, every, turns) > at:
        turns -= 1
    while _turn(anchor_at, every, turns + 1) <= at:
        turns += 1
    return Period(_turn(anchor_at, every, turns), _turn(anchor_at, every, turns + 1))


_MONTHS: dict[Interval, int] = {"month": 1, "year": 12}
_DAYS: dict[Interval, int] = {"day": 1, "week": 7}


def _turns_guess(anchor_at: datetime, every: tuple[Interval, int], at: datetime) -> int:
    interval, count = every
    if interval in _DAYS:
        return (at - anchor_at).days // (_DAYS[interval] * count)
    return ((at.year - anchor_at.year) * 12 + at.month - anchor_at.month) // (_MONTHS[interval] * count)


def _turn(anchor_at: datetime, every: tuple[Interval, int], turns: int) -> datetime:
    interval, count = every
    if interval in _DAYS:
        return anchor_at + timedelta(days=turns * count * _DAYS[interval])
    return add_months(anchor_at, turns * count * _MONTHS[interval])


def share(amount: int, *, part: int, whole: int) -> int:
    """`amount × part / whole` in whole minor units, halves away from zero."""
    shared = (2 * abs(amount) * part + whole) // (2 * whole)
    return shared if amount >= 0 else -shared


def _seconds(from_at: datetime, until: datetime) -> int:
    return (until - from_at) // _SECOND


def _dates(period: Period) -> dict[str, datetime]:
    """The period as Billed's own fields."""
    assert period.until is not None, "a billing period has an end"
    return {"from_at": period.from_at, "until": period.until}
