"""The quote of a plan change: what it would do to access, usage, members and money, stated before it is done.

Laws: `quote` is pure in (account, catalog, snapshot, wanted, at), and changes nothing; what would hold afterwards is
derived from the account as it would stand by the same fold and the same merge as everything else; the first rule that
matches decides; what is used of a window is never forgotten unless the rule, or a window that begins anew, says so.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from paygrade.accounts import Account, apply
from paygrade.balances import Balance
from paygrade.bills import Money, bill, currency_of
from paygrade.catalog import Carry, Catalog, Direction, OverLimit, OverSeats, PlanChangeRule
from paygrade.decisions import Decision, decide
from paygrade.effects import effects, for_whoever_may
from paygrade.entitlements import Entitlement, Snapshot, derive
from paygrade.errors import Refused
from paygrade.facts import Customer, Fact, ManualSubscription, Subscription
from paygrade.ledger import carried_over, in_window
from paygrade.proration import period_at
from paygrade.seats import Seats, losses
from paygrade.sources import offers
from paygrade.wanted import Position, Resolved, Wanted, resolve


class Matched(Struct, frozen=True):
    """The rule of `policies.plan_change` that decided; `number` counts from 1 in the order of the catalog."""

    number: int
    rule: PlanChangeRule


class ItemChange(Struct, frozen=True):
    """What becomes of one item of the subscription: what it buys, how many, and the price's name at the provider.

    `id` is the provider's; an item that is new has none yet. None: not bought, or no price that the catalog knows.
    """

    how: Literal["added", "changed", "removed", "kept"]
    id: str | None
    before: str | None
    after: str | None
    quantity_before: int
    quantity_after: int
    price_before: str | None
    price_after: str | None


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


class Carried(Struct, frozen=True):
    """What counts as used after the change, where that is not what was used. `how` new_window: a window begins anew."""

    feature: str
    how: Carry | Literal["new_window"]
    used_before: int
    used_after: int


class TrialEffect(Struct, frozen=True):
    """What becomes of the trial: it goes on until `ends_at`, is over by then, or ends with the subscription."""

    effect: Literal["goes_on", "is_over", "ends"]
    ends_at: datetime


class Caveat(Struct, frozen=True):
    """Something to know before the change is made. `code` is stable."""

    code: Literal[
        "pending_cancellation",
        "payment_overdue",
        "not_active",
        "scheduled_elsewhere",
        "price_unknown",
        "currency_mismatch",
        "several_subscriptions",
        "other_than_policy",
        "coupon_not_counted",
        "metered_not_counted",
        "preview_unavailable",
    ]
    detail: str


class Quote(Struct, frozen=True):
    """What a plan change would do. `id`, `expires_at` and `digest` are set when it is kept.

    `executable` False: the rule refuses the change while a violation stands. `ends`: the subscription would end.
    `account_version` and `catalog_version` are those it was made on.
    """

    account: str
    account_version: int
    catalog_version: int
    made_at: datetime
    subscription: str
    wanted: Wanted
    direction: Direction
    plan_before: str | None
    plan_after: str | None
    matched: Matched
    when: Literal["now", "period_end", "date"]
    effective_at: datetime
    ends: bool
    items: tuple[ItemChange, ...]
    deltas: tuple[Delta, ...]
    violations: tuple[Violation, ...]
    executable: bool
    usage: tuple[Carried, ...]
    trial: TrialEffect | None
    money: Money
    warnings: tuple[Caveat, ...]
    id: str = ""
    expires_at: datetime | None = None
    digest: str = ""


def quote(
    account: Account,
    catalog: Catalog,
    snapshot: Snapshot,
    wanted: Wanted,
    at: datetime,
    *,
    active_at: Mapping[str, datetime] = MappingProxyType({}),
) -> Quote:
    """What this change would do, asked at `at`; `snapshot` is the account's at `at`, with its balances, and `active_at`
    is when its members were last active.

    Money is what the formula gives. Refused as `resolve` refuses, or `change_refused`, `date_in_the_past`.
    """
    at = at.replace(microsecond=0)
    resolved = resolve(account, catalog, wanted, at)
    matched = match(catalog, resolved)
    when, effective_at = _effective(resolved, matched.rule, wanted, at)
    money, changed = bill(resolved, matched.rule, effective_at, at, at_period_end=when == "period_end")
    after = changed_account(account, changed, effective_at)
    old = _view(account, catalog, snapshot, effective_at)
    new = _view(after, catalog, snapshot, effective_at)
    usage = _carried(old, new, matched.rule, effective_at)
    new = replace(new, balances=_counted(new, usage, effective_at))
    violations = _violations(old, new, account, matched.rule, changed, active_at, effective_at)
    return Quote(
        account=account.key,
        account_version=account.version,
        catalog_version=catalog.version,
        made_at=at,
        subscription=resolved.subscription.id,
        wanted=wanted,
        direction=resolved.direction,
        plan_before=resolved.plan_before.ref if resolved.plan_before else None,
        plan_after=resolved.plan_after.ref if resolved.plan_after else None,
        matched=matched,
        when=when,
        effective_at=effective_at,
        ends=not resolved.after,
        items=_items(resolved),
        deltas=_deltas(old, new, catalog, effective_at),
        violations=violations,
        executable=not any(violation.policy == "refuse" for violation in violations),
        usage=usage,
        trial=_trial(resolved, effective_at),
        money=money,
        warnings=tuple(_warnings(resolved, matched.rule, wanted, when, effective_at)),
    )


def match(catalog: Catalog, resolved: Resolved) -> Matched:
    """The first rule that matches. Refused `change_refused` where it says so."""
    before = resolved.plan_before.key if resolved.plan_before else "*"
    after = resolved.plan_after.key if resolved.plan_after else "*"
    for number, rule in enumerate(catalog.policies.plan_change, start=1):
        if (
            rule.from_plan in ("*", before)
            and rule.to_plan in ("*", after)
            and rule.direction in (None, resolved.direction)
        ):
            if rule.when == "refuse":
                raise Refused(
                    "change_refused", f"rule {number} of `plan_change` refuses to go from `{before}` to `{after}`"
                )
            return Matched(number, rule)
    raise Refused("change_refused", f"no rule of `plan_change` allows to go from `{before}` to `{after}`")


def changed_account(account: Account, subscription: Subscription, at: datetime) -> Account:
    """The account as it would stand if its provider, or its operator, stated this of the subscription."""
    for subject, statement in account.statements.items():
        match statement.body:
            case Customer(subscriptions=known) if any(one.id == subscription.id for one in known):
                others = tuple(subscription if one.id == subscription.id else one for one in known)
                body: Customer | ManualSubscription = replace(statement.body, subscriptions=others)
            case ManualSubscription(subscription=Subscription(id=id)) if id == subscription.id:
                body = ManualSubscription(subscription)
            case _:
                continue
        return apply(account, Fact(account.version + 1, subject, statement.sequence + 1, at, body))
    raise AssertionError("a subscription stands in a statement")


def _effective(
    resolved: Resolved, rule: PlanChangeRule, wanted: Wanted, at: datetime
) -> tuple[Literal["now", "period_end", "date"], datetime]:
    """When the change takes effect: as asked, else as the rule says."""
    if wanted.date is not None:
        date = wanted.date.replace(microsecond=0)
        if date < at:
            raise Refused("date_in_the_past", f"{wanted.date.isoformat()} is over; name a time that is still to come")
        return "date", date
    when = wanted.when or ("period_end" if rule.when == "period_end" else "now")
    return when, at if when == "now" else period_end(resolved.subscription, resolved.before, resolved.after, at)


def period_end(
    subscription: Subscription, before: tuple[Position, ...], after: tuple[Position, ...], at: datetime
) -> datetime:
    """The end of the period that is paid for: of the trial, or of whatever item changes and is paid for longest."""
    trial_ends_at = subscription.trial_ends_at
    if subscription.status == "trialing" and trial_ends_at is not None and trial_ends_at > at:
        return trial_ends_at
    changing = [position for position in before if position not in after] or before
    return max((_until(position, subscription, at) for position in changing), default=at)


def _until(position: Position, subscription: Subscription, at: datetime) -> datetime:
    until = position.item.period_until
    if until is not None and until > at:
        return until
    every = (position.price.interval, position.price.interval_count) if position.price else ("month", 1)
    return period_at(subscription.anchor_at, every, at).until or at


def _view(account: Account, catalog: Catalog, snapshot: Snapshot, at: datetime) -> Snapshot:
    """What the account may use at `at`, with what was used as `snapshot` has it."""
    segment = derive(account, catalog, at)
    return replace(snapshot, as_of=at, until=segment.until, segments=(segment,))


def _entitlements(view: Snapshot) -> Mapping[str, Entitlement]:
    return view.segments[0].entitlements


def _items(resolved: Resolved) -> tuple[ItemChange, ...]:
    old = {position.item.id: position for position in resolved.before}
    new = {position.item.id: position for position in resolved.after}
    found = []
    for id in {**old, **new}:
        before, after = old.get(id), new.get(id)
        how: Literal["added", "changed", "removed", "kept"] = "kept" if before == after else "changed"
        if before is None or after is None:
            how = "added" if before is None else "removed"
        found.append(
            ItemChange(
                how,
                id if before is not None else None,
                before.key if before is not None else None,
                after.key if after is not None else None,
                before.item.quantity if before is not None else 0,
                after.item.quantity if after is not None else 0,
                before.price.stripe if before is not None and before.price is not None else None,
                after.price.stripe if after is not None and after.price is not None else None,
            )
        )
    return tuple(found)


def _deltas(old: Snapshot, new: Snapshot, catalog: Catalog, at: datetime) -> tuple[Delta, ...]:
    # What is used takes nothing from what there is: it shows in the decisions.
    unused = replace(old, balances={}), replace(new, balances={})
    before, after = for_whoever_may(old), for_whoever_may(new)
    return tuple(
        Delta(e.feature, e.how, e.before, e.after, decide(before, e.feature, 1, at), decide(after, e.feature, 1, at))
        for e in effects(*unused, offers(catalog), at)
    )


def _carried(old: Snapshot, new: Snapshot, rule: PlanChangeRule, at: datetime) -> tuple[Carried, ...]:
    """What counts as used otherwise than it was used: by the rule, or since a window begins anew."""
    found = []
    for feature, after in _entitlements(new).items():
        before, balance = _entitlements(old).get(feature), new.balances.get(feature)
        if before is None or balance is None or before.from_at is None or balance.from_at != before.from_at:
            continue
        if before.credit is not None or after.credit is not None:
            continue
        used = in_window(balance, before.from_at, at).used
        if used and after.from_at != before.from_at and after.granted:
            found.append(Carried(feature, "new_window", used, in_window(balance, after.from_at, at).used))
        elif used and before.limit != after.limit and None not in (before.limit, after.limit):
            more = carried_over(
                used,
                rule.usage,
                units_before=before.limit or 0,
                units_after=after.limit or 0,
                elapsed=_elapsed(before, at),
            )
            found += [Carried(feature, rule.usage, used, used + more)] if more else []
    return tuple(found)


def _elapsed(entitlement: Entitlement, at: datetime) -> Fraction:
    """How much of the window is over."""
    if entitlement.from_at is None or entitlement.resets_at is None:
        return Fraction(0)
    second = timedelta(seconds=1)
    whole = (entitlement.resets_at - entitlement.from_at) // second
    return Fraction((at - entitlement.from_at) // second, max(1, whole))


def _counted(view: Snapshot, usage: Iterable[Carried], at: datetime) -> dict[str, Balance]:
    """The balances with what counts as used after the change."""
    balances = dict(view.balances)
    for one in usage:
        from_at = _entitlements(view)[one.feature].from_at
        balances[one.feature] = replace(in_window(balances[one.feature], from_at, at), used=one.used_after)
    return balances


def _violations(
    old: Snapshot,
    new: Snapshot,
    account: Account,
    rule: PlanChangeRule,
    changed: Subscription,
    active_at: Mapping[str, datetime],
    at: datetime,
) -> tuple[Violation, ...]:
    """What the new limits do not cover, where they are lower than before."""
    found = []
    for feature, after in _entitlements(new).items():
        if after.kind in ("boolean", "config") or after.credit is not None:
            continue
        was, now = decide(old, feature, 0, at), decide(new, feature, 0, at)
        limit = _ceiling(after, now)
        if limit is None or not _is_lower(limit, _entitlements(old).get(feature), was):
            continue
        held = in_window(new.balances.get(feature), after.from_at, at)
        policy = rule.over_limits.get(feature, rule.over_limit or "block_new")
        until = _over_until(policy, rule, changed, at)
        if after.in_seats and account.seated:
            over = tuple(loss.member for loss in losses(account, Seats(feature, limit), rule.seats, active_at))
            if over:
                found.append(Violation(feature, "members", len(account.seated), limit, policy, until, rule.seats, over))
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


def _over_until(policy: OverLimit, rule: PlanChangeRule, changed: Subscription, at: datetime) -> datetime | None:
    """Until when what is over the limit may go on being used."""
    match policy:
        case "grace":
            return at + (rule.grace or timedelta())
        case "keep":
            ends = [
                item.period_until for item in changed.items if item.period_until is not None and item.period_until > at
            ]
            return min(ends, default=None) or period_at(changed.anchor_at, ("month", 1), at).until
        case _:
            return None


def _trial(resolved: Resolved, effective_at: datetime) -> TrialEffect | None:
    subscription = resolved.subscription
    ends_at = subscription.trial_ends_at
    if subscription.status != "trialing" or ends_at is None:
        return None
    if effective_at >= ends_at:
        return TrialEffect("is_over", ends_at)
    return TrialEffect("goes_on", ends_at) if resolved.after else TrialEffect("ends", effective_at)


def _warnings(
    resolved: Resolved, rule: PlanChangeRule, wanted: Wanted, when: str, effective_at: datetime
) -> Iterable[Caveat]:
    subscription, state = resolved.subscription, resolved.standing.state
    if subscription.ends_at is not None:
        over = " before the change" if subscription.ends_at <= effective_at else ""
        yield Caveat(
            "pending_cancellation", f"`{subscription.id}` is canceled and ends {subscription.ends_at:%Y-%m-%d}{over}"
        )
    if state in ("grace", "past_due", "unpaid"):
        yield Caveat("payment_overdue", f"`{subscription.id}` is {subscription.status}; what is owed stays owed")
    elif state == "paused":
        yield Caveat("not_active", f"`{subscription.id}` is paused; nothing is billed before it is resumed")
    if subscription.schedule is not None:
        yield Caveat(
            "scheduled_elsewhere", f"`{subscription.schedule}` changes `{subscription.id}` by itself at the provider"
        )
    if resolved.several:
        yield Caveat(
            "several_subscriptions", f"there are others beside `{subscription.id}`; name one as `subscription`"
        )
    if when != ("period_end" if rule.when == "period_end" else "now"):
        yield Caveat("other_than_policy", f"the catalog's rule says `{rule.when}`")
    yield from _warnings_of_prices(resolved)
    if wanted.coupon is not None:
        yield Caveat("coupon_not_counted", f"the formula does not know what `{wanted.coupon}` takes off")


def _warnings_of_prices(resolved: Resolved) -> Iterable[Caveat]:
    both = (*resolved.before, *resolved.after)
    for key in dict.fromkeys(p.key for p in both if p.price is None and p.item.quantity):
        yield Caveat("price_unknown", f"the catalog knows no price for `{key}`; it is not in the sums")
    for key in dict.fromkeys(p.key for p in resolved.after if p.item.metered):
        yield Caveat("metered_not_counted", f"`{key}` is paid by use, which is not in the sums")
    old, new = currency_of(resolved.before), currency_of(resolved.after)
    if old is not None and new is not None and {p.price.currency for p in both if p.price} != {old}:
        yield Caveat("currency_mismatch", f"this is paid in `{old}`; a subscription is billed in one currency")
