"""The ledger: what using, holding and giving back draws, and from which slots.

Laws: every function is pure; burn order is total (priority, expiry, id) and written here alone; a commit takes from
what its reservation holds, so it never goes over a limit; each unit held is committed, released or expired exactly
once; a recurring grant's identity is (account, feature, window), never the plan.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from fractions import Fraction

from msgspec import Struct
from msgspec.structs import replace

from paygrade.catalog.offers import Carry
from paygrade.entitlements.model import Entitlement, carries
from paygrade.usage.balances import (
    NOTHING_MORE,
    Balance,
    Grant,
    Tally,
    burn_order,
    cap_slot,
    carried_slot,
    member_slot,
    rolled,
    rolling_slot,
    slot_of,
)
from paygrade.usage.entries import Held, Posting
from paygrade.usage.prices import exact_price, price, set_aside


def slots(
    entitlements: Mapping[str, Entitlement], feature: str, at: datetime, *, member: str | None = None
) -> tuple[tuple[str, str], ...]:
    """Every (pool, slot) that a use of this feature reads or changes, beside grants; in the order rows are locked."""
    entitlement = entitlements[feature]
    pools = {feature: entitlement}
    if entitlement.credit is not None:
        pools[entitlement.credit] = entitlements[entitlement.credit]
    found = {(pool, slot) for pool, its in pools.items() for slot in _slots(its, entitlement.from_at, at, member)}
    return tuple(sorted(found))


def _slots(entitlement: Entitlement, from_at: datetime | None, at: datetime, member: str | None) -> Iterable[str]:
    yield slot_of(from_at)
    if carries(entitlement):
        yield carried_slot(from_at)
    yield from counters(entitlement, at, member)


def counters(entitlement: Entitlement, at: datetime, member: str | None) -> list[str]:
    """The slots beside the window that count every use: shorter windows and the member's own."""
    found = [
        rolling_slot(cap.rolling_s)
        if cap.recurrence is None and cap.rolling_s is not None
        else cap_slot(cap.recurrence, entitlement.anchor_at or at, at)[0]  # type: ignore[arg-type]  # one of the two
        for cap in entitlement.caps
    ]
    if entitlement.rolling_s is not None:
        found.append(rolling_slot(entitlement.rolling_s))
    if entitlement.per_member is not None and member is not None:
        found.append(member_slot(entitlement.from_at, member))
    return sorted(set(found))


def spend(
    entitlements: Mapping[str, Entitlement],
    balances: Mapping[str, Balance],
    feature: str,
    quantity: int,
    at: datetime,
    *,
    member: str | None = None,
    properties: Mapping[str, object] | None = None,
) -> tuple[Posting, ...]:
    """What using `quantity` units at `at` draws, in burn order; what no grant covers goes over the window's limit.

    `balances` are settled at `at`. Whether it is allowed is the decision's business. Below zero: units come back.
    """
    entitlement = entitlements[feature]
    credit = entitlement.credit
    if credit is None:
        balance = balances.get(feature)
        if entitlement.plain and (balance is None or balance.detail is None):
            return (Posting(feature, slot_of(entitlement.from_at), quantity),)
        draws = _burn(entitlement, feature, balance, quantity, at)
        beside = counters(entitlement, at, member) if not entitlement.plain else []
        return (*draws, *(Posting(feature, slot, quantity) for slot in beside))
    cost = price(entitlement, balances.get(feature), quantity, properties)
    payer = entitlements[credit]
    draws = _burn(payer, credit, balances.get(credit), cost, at)
    exact = str(exact_price(entitlement, quantity, properties))
    counted = [Posting(feature, slot_of(entitlement.from_at), quantity, 0, exact)]
    counted += [Posting(feature, slot, quantity) for slot in counters(entitlement, at, member)]
    counted += [Posting(credit, slot, cost) for slot in counters(payer, at, member)]
    return (*draws, *counted)


def hold(
    entitlements: Mapping[str, Entitlement],
    balances: Mapping[str, Balance],
    feature: str,
    quantity: int,
    at: datetime,
    *,
    member: str | None = None,
    properties: Mapping[str, object] | None = None,
) -> tuple[tuple[Posting, ...], Held]:
    """What holding `quantity` units draws. Credits are held rounded up on their own, so a commit always fits."""
    entitlement = entitlements[feature]
    pool = entitlement.credit or feature
    payer, amount = entitlements[pool], set_aside(entitlement, quantity, properties)
    paid = tuple((d.pool, d.slot, d.used) for d in _burn(payer, pool, balances.get(pool), amount, at))
    counted = [(feature, slot) for slot in counters(entitlement, at, member)]
    priced: list[tuple[str, str]] = []
    if entitlement.credit is not None:
        counted.append((feature, slot_of(entitlement.from_at)))
        priced = [(pool, slot) for slot in counters(payer, at, member)]
    held = Held(quantity, paid, tuple(counted), tuple(priced), properties)
    return _move(held, quantity, amount, used=0, reserved=1), held


def commit(held: Held, quantity: int, *, cost: int, exact: str | None = None) -> tuple[tuple[Posting, ...], Held]:
    """Use `quantity` of the units held, which cost `cost` of what was set aside; what is still held afterwards.

    Takes in burn order, so that what is given back later goes back to where it came from last.
    """
    draws = _move(held, quantity, cost, used=1, reserved=-1)
    if exact is not None:
        own = next(pair for pair in held.counted if pair[1] == held.window)
        draws = tuple(replace(d, exact=exact) if (d.pool, d.slot) == own else d for d in draws)
    left, rest = cost, []
    for pool, slot, units in held.paid:
        taken = min(left, units)
        left -= taken
        if units > taken:
            rest.append((pool, slot, units - taken))
    return draws, replace(held, units=held.units - quantity, paid=tuple(rest))


def release(held: Held) -> tuple[Posting, ...]:
    """Give back all that is still held."""
    return _move(held, held.units, held.credits, used=0, reserved=-1)


def _move(held: Held, units: int, amount: int, *, used: int, reserved: int) -> tuple[Posting, ...]:
    """`units` of the feature, and `amount` of what pays for them, times the signs given."""
    draws, left = [], amount
    for pool, slot, there in held.paid:
        taken = min(left, there)
        left -= taken
        if taken:
            draws.append(Posting(pool, slot, taken * used, taken * reserved))
    draws += [Posting(pool, slot, units * used, units * reserved) for pool, slot in held.counted]
    draws += [Posting(pool, slot, amount * used, amount * reserved) for pool, slot in held.priced]
    return tuple(d for d in draws if d.used or d.reserved)


def counted(entitlement: Entitlement, balance: Balance, at: datetime) -> tuple[int, int]:
    """What counts as used and as held in the window at `at`."""
    if entitlement.rolling_s is None:
        return balance.used, balance.reserved
    # Of a rolling window that is what was used lately, not all that ever was.
    tallies = (balance.detail or NOTHING_MORE).tallies
    tally = tallies.get(rolling_slot(entitlement.rolling_s), Tally())
    return rolled(tally, entitlement.rolling_s, at), tally.reserved


def grants_of(entitlement: Entitlement, balance: Balance, at: datetime) -> list[Grant]:
    """What can be spent at `at` of a feature or credit, in burn order: window, carried units, grants of their own.

    An unlimited window has all there is.
    """
    found: list[Grant] = []
    used, reserved = counted(entitlement, balance, at)
    detail, from_at = balance.detail or NOTHING_MORE, balance.from_at or at
    if entitlement.granted:
        units, until, priority = entitlement.limit, entitlement.resets_at, entitlement.priority
        if units is not None and detail.carried_units < 0:
            units = max(0, units + detail.carried_units)
        found.append(Grant(slot_of(balance.from_at), "window", units, from_at, until, priority, max(0, used), reserved))
        if detail.carried_units > 0:
            slot, carried = carried_slot(balance.from_at), detail.carried
            found.append(
                Grant(slot, "carried", detail.carried_units, from_at, until, priority, carried.used, carried.reserved)
            )
    found += [grant for grant in detail.grants if grant.spendable(at)]
    if entitlement.rollover_windows is None:
        return sorted(found, key=burn_order)
    # Units that are carried further expire later than those that are carried already.
    return sorted(found, key=lambda grant: (*burn_order(grant)[:2], grant.kind == "window", grant.id))


def _burn(entitlement: Entitlement, pool: str, balance: Balance | None, amount: int, at: datetime) -> list[Posting]:
    window = slot_of(entitlement.from_at)
    # Units that come back go where over-use is counted, too: the window.
    if amount <= 0 or balance is None or balance.detail is None:
        return [Posting(pool, window, amount)]
    drawn: dict[str, int] = {}
    left = amount
    for grant in grants_of(entitlement, balance, at):
        taken = min(left, grant.left)
        if taken:
            drawn[grant.id if grant.kind in ("window", "carried") else grant.slot] = taken
            left -= taken
    if left:
        drawn[window] = drawn.get(window, 0) + left
    return [Posting(pool, slot, taken) for slot, taken in drawn.items()]


def committed_price(
    entitlement: Entitlement,
    own: Balance | None,
    held: Held,
    quantity: int,
    properties: Mapping[str, object] | None,
) -> int:
    """The same for units that were held: never more than was set aside; what is missing is owed by the next use."""
    return max(0, min(price(entitlement, own, quantity, properties), held.credits))


def carried_over(used: int, how: Carry, *, units_before: int, units_after: int, elapsed: Fraction = Fraction(0)) -> int:
    """What is to be added to what is used of a window when its units change from `units_before` to `units_after`.

    keep: nothing. reset: the customer starts anew. convert: the same share of the new units is used. prorate: of the
    old units the part `elapsed` of the window counts, of the new ones the rest. Rounded so that changing there and back
    never leaves less used than before: what grows is rounded down, what shrinks up.
    """
    match how:
        case "keep":
            return 0
        case "reset":
            return -used
        case "convert":
            if not units_before:
                return -used
            share = used * units_after
            return (share // units_before if units_after > units_before else -(-share // units_before)) - used
        case "prorate":
            return int(elapsed * (units_after - units_before))


class Edge(Struct, frozen=True):
    """A threshold that was passed: `percent` of the limit, upwards or (resolved) downwards."""

    percent: int
    resolved: bool = False


Level = tuple[int, int | None]
"""What is used, and the limit it counts against; None: there is none."""


def edges(warn: Iterable[int], before: Level, after: Level) -> tuple[Edge, ...]:
    """Which of these percentages of the limit, and 100, are passed after and not before, or the other way round."""
    found = []
    for percent in sorted({*warn, 100}):
        stood, stands = (bool(limit) and used * 100 >= percent * (limit or 0) for used, limit in (before, after))
        if stood != stands:
            found.append(Edge(percent, resolved=stood))
    return tuple(found)
