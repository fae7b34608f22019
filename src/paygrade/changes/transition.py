"""Plan transitions: what follows for usage and limits once facts tell that what is bought has changed, by whomever.

Laws: `transition` is pure in its arguments; a change is what differs between what was bought when it was last looked
and what is bought now, however many facts came in between, so looking often or seldom leads to the same; the rule that
decides is the one a quote would have named; nothing here gives less than what is bought gives.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account, Purchase
from paygrade.billing.facts import DowngradeGrace, Item, Subscription, with_subscriptions
from paygrade.billing.removed import counting_on, removed
from paygrade.billing.standing import in_phase, standings
from paygrade.catalog.model import NO_CATALOG, Catalog, Direction, Plan
from paygrade.changes.impact import (
    CarryOver,
    Cooling,
    Delta,
    Impact,
    Matched,
    Violation,
    cooling_for,
    held_back,
    impact_of,
    match_rule,
)
from paygrade.changes.positions import Position, direction_of, plan_position, position_of, positions
from paygrade.decisions.snapshots import Snapshot
from paygrade.entitlements.model import Entitlement
from paygrade.entitlements.seats import SeatLoss
from paygrade.values.periods import soonest
from paygrade.values.states import NOT_LIVE, TERMINAL


class PlanTransition(Struct, frozen=True):
    """A change of what is bought, and what followed from it.

    `subscriptions` are those that changed. `usage` is what is counted otherwise from now on; `leeways` what is left of
    features for a while; `violations` what is over the new limits; `lost` who lost a seat, or its use.
    """

    at: datetime
    direction: Direction
    plan_before: str | None
    plan_after: str | None
    matched: Matched
    subscriptions: tuple[str, ...]
    deltas: tuple[Delta, ...]
    usage: tuple[CarryOver, ...]
    violations: tuple[Violation, ...]
    leeways: tuple[DowngradeGrace, ...]
    lost: tuple[SeatLoss, ...] = ()
    cooling: str | None = None
    """The plan change whose rule still cools, so that nothing was handed out anew."""


Expected = tuple[tuple[str, int, str | None], ...]
"""What a subscription is to buy: what, how many, and the price's name at the provider where it has one."""
Bought = dict[str, tuple[Position, ...]]
"""By subscription: what it buys while it lives."""


def transition(
    before: Account,
    since: datetime,
    after: Account,
    catalog: Catalog,
    snapshot: Snapshot,
    at: datetime,
    *,
    change: str,
    active_at: Mapping[str, datetime],
    coolings: Iterable[Cooling] = (),
) -> PlanTransition | None:
    """What follows from what changed between `before` as it stood at `since` and `after` at `at`; None: nothing did. Of
    an account that lives by a test clock, as that showed then.

    `snapshot` has the balances at `at`, `active_at` is when members were last active; `change` is the id under which
    it is remembered; `coolings` are those of what changed. Who loses a seat is left to whoever takes it away.
    """
    since, at = before.time(since), after.time(at)
    old, new, changed = _compared(before, since, after, catalog, at)
    if not changed:
        return None
    plan_before, plan_after = _plan(old, catalog), _plan(new, catalog)
    direction = direction_of(plan_before, plan_after, _flat(old, changed), _flat(new, changed))
    cooling = cooling_for(coolings, changed, plan_before, plan_after, at)
    matched = held_back(match_rule(catalog, plan_before, plan_after, direction, asked=False), cooling)
    stood = as_stood(before, since, at)
    now = tuple(s for s in after.subscriptions if s.id in changed)
    what = impact_of(
        replace(stood, version=after.version), after, catalog, snapshot, matched.rule, now, at, active_at=active_at
    )
    return PlanTransition(
        at=at,
        direction=direction,
        plan_before=plan_before.ref if plan_before else None,
        plan_after=plan_after.ref if plan_after else None,
        matched=matched,
        subscriptions=tuple(changed),
        deltas=what.deltas,
        usage=what.usage,
        violations=what.violations,
        leeways=tuple(_leeways(what, change, before, cooling, at)),
        cooling=cooling.change if cooling is not None else None,
    )


def has_changed(before: Account, since: datetime, after: Account, catalog: Catalog, at: datetime) -> bool:
    """Whether there is something to settle."""
    return bool(_compared(before, before.time(since), after, catalog, after.time(at))[2])


def may_have_changed(before: Account, since: datetime, after: Account, at: datetime) -> bool:
    """Whether there could be something to settle, whatever is sold: whether all that `bought` reads is as it was.

    That is the lines, such as buy none now included, what each line ever bought, which speaks where a catalog names
    nothing of the line, and which removed ones are paid for still.
    """
    return _lines(before, before.time(since)) != _lines(after, after.time(at))


def _lines(account: Account, at: datetime) -> dict[str, tuple[object, ...]]:
    lives = [s.subscription for s in standings(account, NO_CATALOG, at) if s.state not in NOT_LIVE]
    return {
        one.id: (
            _named(one.items),
            _ever(account.purchases.get(one.id, ())),
            [gone.item for gone in removed(account, one, one.items, at)],
            one.credited,
        )
        for one in lives
    }


def _named(items: Iterable[Item]) -> list[tuple[object, ...]]:
    return sorted(((i.id, i.quantity, i.price, i.lookup_key, i.product, i.plan) for i in items), key=repr)


def _ever(purchases: tuple[Purchase, ...]) -> set[tuple[object, ...]]:
    """What lines bought, and in which order: every statement moves the numbers of those that it names, and no more."""
    order = sorted({one.sequence for one in purchases})
    return {
        (one.item, one.price, one.lookup_key, one.product, one.plan, one.quantity, order.index(one.sequence))
        for one in purchases
    }


def _differing(old: "Bought", new: "Bought") -> list[str]:
    return [id for id in sorted({*old, *new}) if _said(old.get(id, ())) != _said(new.get(id, ()))]


def _compared(
    before: Account, since: datetime, after: Account, catalog: Catalog, at: datetime
) -> tuple[Bought, Bought, list[str]]:
    """What was bought and what is, and the subscriptions that differ: by what they consist of, else by what was removed
    from them and counts no more."""
    old, new = bought(before, catalog, since), bought(after, catalog, at)
    changed = _differing(old, new)
    if changed or catalog.policies.removed_items == "now":
        return old, new, changed
    old, new = bought(before, catalog, since, removed_too=True), bought(after, catalog, at, removed_too=True)
    return old, new, _differing(old, new)


def bought(account: Account, catalog: Catalog, at: datetime, *, removed_too: bool = False) -> Bought:
    """What the account buys at `at`, by each subscription that lives; `removed_too`: with what counts on of it."""
    found = {}
    for standing in standings(account, catalog, at):
        if standing.state in NOT_LIVE:
            continue
        one = standing.subscription
        its = positions(account, one, catalog, at)
        if removed_too:
            gone = counting_on(account, catalog, standing, [p.item for p in its], at)
            its = (*its, *(position_of(account, catalog, one.id, item, at) for item in gone))
        found[one.id] = tuple(p for p in its if p.item.quantity > 0)
    return {id: its for id, its in found.items() if its}


def is_billed(expected: Expected, subscription: str, account: Account, catalog: Catalog, at: datetime) -> bool:
    """Whether a subscription is billed for what a change was to bring about at `at`, by the account's own time; not
    whether it gives that, for grace gives what was last paid for."""
    if subscription not in bought(account, catalog, at):
        return is_as_expected(expected, ())
    one = next(in_phase(its, at) for its in account.subscriptions if its.id == subscription)
    return is_as_expected(expected, [p for p in positions(account, one, catalog, at) if p.item.quantity > 0])


def is_as_expected(expected: Expected, found: Iterable[Position]) -> bool:
    """Whether this is what a change was to bring about. A name of a price that one side does not know says nothing."""
    wanted, there = sorted(expected, key=repr), list(found)
    if len(wanted) != len(there):
        return False
    for key, quantity, price in wanted:
        fits = [p for p in there if (p.key, p.item.quantity) == (key, quantity) and _is_price(p, price)]
        if not fits:
            return False
        there.remove(fits[0])
    return True


def _is_price(position: Position, name: str | None) -> bool:
    known = position.price.stripe if position.price is not None else None
    return name is None or known is None or known == name


def next_turn(account: Account, at: datetime) -> datetime | None:
    """The next instant at which what is bought changes by itself; None by a test clock, whose readings tell."""
    if account.clock_at is not None:
        return None
    dates: list[datetime | None] = []
    for subscription in account.subscriptions:
        if subscription.status not in TERMINAL:
            dates += [subscription.begins_at, subscription.ends_at, subscription.trial_ends_at]
            dates += [phase.from_at for phase in subscription.next]
            dates += [gone.paid_until for gone in removed(account, subscription, subscription.items, at)]
    return soonest(dates, at)


def as_stood(account: Account, since: datetime, at: datetime) -> Account:
    """The account as if nothing that its dates brought about between `since` and `at` had come about."""

    def frozen(subscription: Subscription) -> Subscription:
        subscription = in_phase(subscription, since)
        to_come = tuple(phase for phase in subscription.next if phase.from_at > at)
        ends_at, trial_ends_at = subscription.ends_at, subscription.trial_ends_at
        if ends_at is not None and since < ends_at <= at:
            ends_at = None
        if trial_ends_at is not None and since < trial_ends_at <= at and subscription.after_trial in NOT_LIVE:
            subscription = replace(subscription, after_trial="active")
        begins_at = subscription.begins_at
        if begins_at is not None and since < begins_at <= at:
            begins_at = at + timedelta(days=1)
        return replace(subscription, begins_at=begins_at, ends_at=ends_at, next=to_come)

    statements = {}
    for subject, statement in account.statements.items():
        statements[subject] = replace(statement, body=with_subscriptions(statement.body, frozen))
    paid = {id: tuple(_paid_beyond(one, since, at) for one in its) for id, its in account.purchases.items()}
    return replace(account, statements=statements, purchases=paid)


def _paid_beyond(one: Purchase, since: datetime, at: datetime) -> Purchase:
    """The same as if it were paid for longer, where it was until between the two."""
    if one.paid_until is None or not since < one.paid_until <= at:
        return one
    return replace(one, paid_until=at + timedelta(days=1))


def _said(found: Iterable[Position]) -> list[tuple[object, ...]]:
    """What counts of what is bought: what, how many and for which price, whatever names its provider has for them."""
    return sorted(map(_names, found), key=repr)


def _names(p: Position) -> tuple[object, ...]:
    return p.key, p.item.quantity, (p.price.key if p.price else p.item.price) or "", p.item.plan or ""


def _flat(found: Bought, ids: Iterable[str]) -> tuple[Position, ...]:
    return tuple(position for id in ids for position in found.get(id, ()))


def _plan(found: Bought, catalog: Catalog) -> Plan | None:
    """The plan that counts: the highest that is bought, else the default."""
    own = plan_position(position for its in found.values() for position in its)
    return own.bought if own is not None and isinstance(own.bought, Plan) else catalog.default_plan


def _leeways(
    what: Impact, change: str, before: Account, cooling: Cooling | None, at: datetime
) -> Iterator[DowngradeGrace]:
    """What is left for a while of what is over, as the rule says; while something cools, no longer than was said."""
    for violation in what.violations:
        its, until = what.entitled[0].get(violation.feature), violation.until
        if violation.policy not in ("grace", "keep") or until is None or its is None:
            continue
        earlier = before.leeways.get(violation.feature)
        if cooling is not None and earlier is not None and earlier.change in cooling.changes:
            until = min(until, earlier.until)
        if until > at:
            yield DowngradeGrace(violation.feature, _as_before(its), until, change)


def _as_before(its: Entitlement) -> int | None:
    if its.soft:
        return its.units_max
    return its.limit
