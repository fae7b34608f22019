"""What follows when what is bought changes: who gains and loses what, what stays counted as used, and what is over.

Laws: what holds before and after is derived from whole accounts by the same merge as everything else; what is used of
a window is never forgotten unless the rule, or a window that begins anew, says so; a quote and what comes of it are
worked out here alike.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Subscription
from paygrade.catalog.model import Catalog, Direction, OverLimit, OverSeats, Plan, PlanChangeRule
from paygrade.catalog.offers import Carry
from paygrade.changes.proration import period_at
from paygrade.decisions.decide import Decision, bound, decide
from paygrade.decisions.diff import effects, for_whoever_may
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.decisions.take import with_segments
from paygrade.entitlements.derive import derive
from paygrade.entitlements.model import Entitlement
from paygrade.entitlements.seats import Seats, losses
from paygrade.entitlements.sources import offers
from paygrade.usage.balances import Balance, in_window
from paygrade.usage.ledger import carried_over
from paygrade.values.periods import soonest


class Matched(Struct, frozen=True):
    """The rule of `policies.plan_change` that decided; `number` counts from 1 in the order of the catalog."""

    number: int
    rule: PlanChangeRule


class Delta(Struct, frozen=True):
    """What changes for one feature when the change takes effect."""

    feature: str
    how: Literal["gains", "loses", "changes"]
    before: str
    after: str
    decision_before: Decision
    decision_after: Decision


class Violation(Struct, frozen=True):
    """What is used or held that the new limit does not cover, and what would happen to it.

    `kind` members: people with a seat, of whom `members` lose theirs as the word `seats` says. `policy` refuse: the
    change is not made before there is room. block_new: what is there stays, and nothing comes on top. grace: as before
    until `until`, then blocked. keep: as before until `until`, the end of the period paid for then.
    """

    feature: str
    kind: Literal["usage", "members"]
    used: int
    limit: int
    policy: OverLimit
    until: datetime | None = None
    seats: OverSeats | None = None
    members: tuple[str, ...] = ()


class CarryOver(Struct, frozen=True):
    """What counts as used after the change, where that is not what was used. `how` new_window: a window begins anew."""

    feature: str
    how: Carry | Literal["new_window"]
    used_before: int
    used_after: int


def match_rule(
    catalog: Catalog, before: Plan | None, after: Plan | None, direction: Direction, *, asked: bool = True
) -> Matched:
    """The first rule of `policies.plan_change` that matches. `asked` False: it has happened already, and cannot be
    refused any more, so rules that would are passed over; where no other is left, nothing is done about it."""
    for number, rule in enumerate(catalog.policies.plan_change, start=1):
        if (
            rule.from_plan in ("*", before.key if before else "*")
            and rule.to_plan in ("*", after.key if after else "*")
            and rule.direction in (None, direction)
            and (asked or rule.when != "refuse")
        ):
            return Matched(number, rule)
    return Matched(0, PlanChangeRule())


class Cooling(Struct, frozen=True):
    """What the rule of a plan change holds back until `until`: to go back, or there again, to one of `plans` hands out
    nothing anew, by whomever. `change` of this `subscription` began it, `changes` are all since then."""

    subscription: str
    change: str
    until: datetime
    plans: frozenset[str]
    changes: frozenset[str]


def cooling_for(
    coolings: Iterable[Cooling], subscriptions: Collection[str], before: Plan | None, after: Plan | None, at: datetime
) -> Cooling | None:
    """What holds a change of these subscriptions between these plans back: of several, the one that began first, since
    the others came of going back and forth. None: nothing."""
    if before is None or after is None or before.key == after.key:
        return None
    found = [one for one in coolings if one.subscription in subscriptions and after.key in one.plans]
    return min((one for one in found if at < one.until), key=lambda one: -len(one.changes), default=None)


def held_back(matched: Matched, cooling: Cooling | None) -> Matched:
    """The rule without what it would hand out: what is used stays used."""
    return matched if cooling is None else replace(matched, rule=replace(matched.rule, usage="keep"))


class Impact(Struct, frozen=True):
    """What follows for access, usage and what is over. `entitled` are the entitlements before and after."""

    deltas: tuple[Delta, ...]
    usage: tuple[CarryOver, ...]
    violations: tuple[Violation, ...]
    entitled: tuple[Mapping[str, Entitlement], Mapping[str, Entitlement]]


def impact_of(
    before: Account,
    after: Account,
    catalog: Catalog,
    snapshot: Snapshot,
    rule: PlanChangeRule,
    changed: tuple[Subscription, ...],
    at: datetime,
    *,
    active_at: Mapping[str, datetime],
) -> Impact:
    """What follows at `at` from `before` becoming `after`; `snapshot` has the balances, `changed` is how what changes
    stands afterwards, and `active_at` when members were last active."""
    old, new = _view(before, catalog, snapshot, at), _view(after, catalog, snapshot, at)
    usage = _carried(old, new, rule, at)
    new = replace(new, balances=_counted(new, usage, at))
    violations = _violations(old, new, before, rule, changed, active_at, at)
    return Impact(_deltas(old, new, catalog, at), usage, violations, (_entitlements(old), _entitlements(new)))


def _view(account: Account, catalog: Catalog, snapshot: Snapshot, at: datetime) -> Snapshot:
    """What the account may use at `at`, with what was used as `snapshot` has it."""
    segment = derive(account, catalog, at)
    return with_segments(replace(snapshot, as_of=at, until=segment.until), [segment])


def _entitlements(view: Snapshot) -> Mapping[str, Entitlement]:
    return entitlements_at(view, view.as_of)


def _deltas(old: Snapshot, new: Snapshot, catalog: Catalog, at: datetime) -> tuple[Delta, ...]:
    # What is used takes nothing from what there is: it shows in the decisions.
    unused = replace(old, balances={}), replace(new, balances={})
    before, after = for_whoever_may(old), for_whoever_may(new)
    return tuple(
        Delta(e.feature, e.how, e.before, e.after, _one_more(before, e.feature, at), _one_more(after, e.feature, at))
        for e in effects(*unused, offers(catalog), at)
    )


def _one_more(view: Snapshot, feature: str, at: datetime) -> Decision:
    return bound(decide(view, feature, 1, at))


def _carried(old: Snapshot, new: Snapshot, rule: PlanChangeRule, at: datetime) -> tuple[CarryOver, ...]:
    """What counts as used otherwise than it was used: by the rule, or since a window begins anew."""
    found, had = [], _entitlements(old)
    for feature, after in _entitlements(new).items():
        before, balance = had.get(feature), new.balances.get(feature)
        if before is None or before.from_at is None or before.credit is not None or after.credit is not None:
            continue
        used = in_window(balance, before.from_at, at).used
        if used and after.from_at != before.from_at and after.granted:
            found.append(CarryOver(feature, "new_window", used, in_window(balance, after.from_at, at).used))
        elif after.from_at != before.from_at or None in (before.limit, after.limit):
            continue
        elif before.limit != after.limit:
            # Of units that nobody has used yet the part for the time that is over is prorated as well.
            more = carried_over(
                used,
                rule.usage,
                units_before=before.limit or 0,
                units_after=after.limit or 0,
                elapsed=_elapsed(before, at),
            )
            found += [CarryOver(feature, rule.usage, used, used + more)] if more else []
    return tuple(found)


def _elapsed(entitlement: Entitlement, at: datetime) -> Fraction:
    """How much of the window is over."""
    if entitlement.from_at is None or entitlement.resets_at is None:
        return Fraction(0)
    second = timedelta(seconds=1)
    whole = (entitlement.resets_at - entitlement.from_at) // second
    return Fraction((at - entitlement.from_at) // second, max(1, whole))


def _counted(view: Snapshot, usage: Iterable[CarryOver], at: datetime) -> dict[str, Balance]:
    """The balances with what counts as used after the change."""
    balances, entitlements = dict(view.balances), _entitlements(view)
    for one in usage:
        from_at = entitlements[one.feature].from_at
        balances[one.feature] = replace(in_window(balances.get(one.feature), from_at, at), used=one.used_after)
    return balances


def _violations(
    old: Snapshot,
    new: Snapshot,
    account: Account,
    rule: PlanChangeRule,
    changed: tuple[Subscription, ...],
    active_at: Mapping[str, datetime],
    at: datetime,
) -> tuple[Violation, ...]:
    """What the new limits do not cover, where they are lower than before."""
    found, had = [], _entitlements(old)
    for feature, after in _entitlements(new).items():
        if after.kind in ("boolean", "config") or after.credit is not None:
            continue
        was, now = decide(old, feature, 0, at), decide(new, feature, 0, at)
        limit = _ceiling(after, now)
        if limit is None or not _is_lower(limit, had.get(feature), was):
            continue
        held = in_window(new.balances.get(feature), after.from_at, at)
        policy = rule.over_limits.get(feature, rule.over_limit or "block_new")
        until = _over_until(policy, rule, changed, at)
        if after.in_seats and (taken := account.holding_seats(at)):
            over = tuple(loss.member for loss in losses(account, Seats(feature, limit), rule.seats, active_at, at))
            if over:
                found.append(Violation(feature, "members", len(taken), limit, policy, until, rule.seats, over))
        elif held.used + held.reserved > limit:
            found.append(Violation(feature, "usage", held.used + held.reserved, limit, policy, until))
    return tuple(found)


def _ceiling(entitlement: Entitlement, decision: Decision) -> int | None:
    """As far as use may go; None: as far as anyone likes."""
    if not decision.allowed and not entitlement.granted and decision.limit is None:
        return 0
    if decision.unlimited or decision.limit is None:
        return None
    if entitlement.soft:
        over = entitlement.units_max
        return None if over is None else decision.limit + over - (entitlement.limit or 0)
    return decision.limit


def _is_lower(limit: int, before: Entitlement | None, was: Decision) -> bool:
    ceiling = _ceiling(before, was) if before is not None else 0
    return ceiling is None or limit < ceiling


def _over_until(
    policy: OverLimit, rule: PlanChangeRule, changed: tuple[Subscription, ...], at: datetime
) -> datetime | None:
    """Until when what is over the limit may go on being used."""
    match policy:
        case "grace":
            return at + (rule.grace or timedelta())
        case "keep":
            ends = [item.period_until for one in changed for item in one.items]
            turns = [period_at(one.anchor_at, ("month", 1), at).until for one in changed]
            return soonest(ends, at) or soonest(turns, at)
        case _:
            return None
