"""The quote of a plan change: what it would do to access, usage, members and money, stated before it is done.

Laws: `quote` is pure in (account, catalog, snapshot, request, at) and changes nothing; what would hold afterwards is
derived from the account as it would stand by the same fold and the same merge as everything else; the first rule that
matches decides; what is used of a window is never forgotten unless the rule, or a window that begins anew, says so.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from math import inf
from types import MappingProxyType
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account, apply
from paygrade.billing.facts import Fact, Phase, Subscription, subscriptions_of, with_subscriptions
from paygrade.catalog.model import Catalog, Direction, Part, PlanChangeRule
from paygrade.catalog.prices import price_said
from paygrade.changes.cost import CostPreview, bill, currency_of
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
from paygrade.changes.positions import Position
from paygrade.changes.proration import period_at
from paygrade.changes.request import ChangeRequest, Resolved, resolve
from paygrade.decisions.snapshots import Snapshot
from paygrade.entitlements.model import Entitlement
from paygrade.usage.rollover import takes_rollover
from paygrade.values.errors import Refused
from paygrade.values.text import QUANTITY_MAX


class ItemChange(Struct, frozen=True):
    """What becomes of one item of the subscription: what it buys, how many, and the price's name at the provider.

    `id` is the provider's; an item that is new has none yet. `interval` is the price's key. None: not bought, or no
    price that the catalog knows. `part`: what it is paid for; what is paid by use has no quantity at the provider.
    """

    how: Literal["added", "changed", "removed", "kept"]
    id: str | None
    before: str | None
    after: str | None
    quantity_before: int
    quantity_after: int
    price_before: str | None
    price_after: str | None
    interval_before: str | None = None
    interval_after: str | None = None
    part: Part = "quantity"


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
        "no_payment_method",
        "scheduled_elsewhere",
        "price_unknown",
        "currency_mismatch",
        "several_subscriptions",
        "other_than_policy",
        "coupon_not_counted",
        "metered_not_counted",
        "preview_unavailable",
        "cooling_off",
        "rollover_lost",
        "another_scheduled",
        "another_under_way",
    ]
    detail: str


class Quote(Struct, frozen=True):
    """What a plan change would do. `id`, `expires_at` and `digest` are set when it is kept.

    `executable` False: the rule refuses the change while a violation stands. `ends`: the subscription would end.
    `account_version` and `catalog_version` are those it was made on. `reverts`: the plan change it takes back.
    """

    account: str
    account_version: int
    catalog_version: int
    made_at: datetime
    subscription: str
    wanted: ChangeRequest
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
    usage: tuple[CarryOver, ...]
    trial: TrialEffect | None
    money: CostPreview
    warnings: tuple[Caveat, ...]
    reverts: str | None = None
    id: str = ""
    expires_at: datetime | None = None
    digest: str = ""


def quote(
    account: Account,
    catalog: Catalog,
    snapshot: Snapshot,
    request: ChangeRequest,
    at: datetime,
    *,
    active_at: Mapping[str, datetime] = MappingProxyType({}),
    coolings: Iterable[Cooling] = (),
) -> Quote:
    """What this change would do, asked at `at`; `snapshot` is the account's at `at`, with its balances, and `active_at`
    is when its members were last active; `coolings` are those of what was changed before.

    Money is what the formula gives. Refused as `resolve` refuses, or `change_refused`, `date_in_the_past`.
    """
    at = at.replace(microsecond=0)
    resolved = resolve(account, catalog, request, at)
    matched = match_rule(catalog, resolved.plan_before, resolved.plan_after, resolved.direction)
    if matched.rule.when == "refuse":
        raise Refused("change_refused", _refusal(resolved, matched))
    when, effective_at = _effective(resolved, matched.rule, request, at)
    its = resolved.subscription.id
    cooling = cooling_for(coolings, (its,), resolved.plan_before, resolved.plan_after, effective_at)
    matched = held_back(matched, cooling)
    money, changed = bill(resolved, matched.rule, effective_at, at, at_period_end=when == "period_end")
    after = changed_account(account, changed, effective_at)
    what = impact_of(account, after, catalog, snapshot, matched.rule, (changed,), effective_at, active_at=active_at)
    return Quote(
        account=account.key,
        account_version=account.version,
        catalog_version=catalog.version,
        made_at=at,
        subscription=resolved.subscription.id,
        wanted=request,
        direction=resolved.direction,
        plan_before=resolved.plan_before.ref if resolved.plan_before else None,
        plan_after=resolved.plan_after.ref if resolved.plan_after else None,
        matched=matched,
        when=when,
        effective_at=effective_at,
        ends=not resolved.after,
        items=_items(resolved),
        deltas=what.deltas,
        violations=what.violations,
        executable=not any(violation.policy == "refuse" for violation in what.violations),
        usage=what.usage,
        trial=_trial(resolved, effective_at),
        money=money,
        warnings=(
            *_warnings(resolved, matched.rule, request, when, effective_at),
            *_warnings_of_cooling(cooling),
            *_warnings_of_rollover(what, effective_at),
        ),
    )


def _refusal(resolved: Resolved, matched: Matched) -> str:
    before = resolved.plan_before.key if resolved.plan_before else "*"
    after = resolved.plan_after.key if resolved.plan_after else "*"
    return f"rule {matched.number} of `plan_change` refuses a change from `{before}` to `{after}`"


def changed_account(account: Account, subscription: Subscription, at: datetime) -> Account:
    """The account as it would stand if its provider, or its operator, stated this of the subscription."""
    for subject, statement in account.statements.items():
        if all(one.id != subscription.id for one in subscriptions_of(statement.body)):
            continue
        body = with_subscriptions(statement.body, lambda one: subscription if one.id == subscription.id else one)
        return apply(account, Fact(account.version + 1, subject, statement.sequence + 1, at, body))
    raise AssertionError("a subscription stands in a statement")


def changed_subscription(account: Account, catalog: Catalog, made: Quote) -> Subscription:
    """The subscription as it is to be stated where nobody bills it, when a quote of it is carried out."""
    resolved = resolve(account, catalog, made.wanted, made.made_at)
    at_period_end = made.when == "period_end"
    _, changed = bill(resolved, made.matched.rule, made.effective_at, made.made_at, at_period_end=at_period_end)
    if made.when == "now" or made.ends:
        return changed
    return replace(resolved.subscription, next=(Phase(made.effective_at, changed.items),))


def _effective(
    resolved: Resolved, rule: PlanChangeRule, request: ChangeRequest, at: datetime
) -> tuple[Literal["now", "period_end", "date"], datetime]:
    """When the change takes effect: as asked, else as the rule says."""
    if request.date is not None:
        date = request.date.replace(microsecond=0)
        if date < at:
            raise Refused("date_in_the_past", f"{request.date.isoformat()} is in the past; choose a later time")
        return "date", date
    when = request.when or ("period_end" if rule.when == "period_end" else "now")
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
                before.price.key if before is not None and before.price is not None else None,
                after.price.key if after is not None and after.price is not None else None,
                (after or before).part,  # type: ignore[union-attr]  # one of them is there
            )
        )
    return tuple(found)


def _trial(resolved: Resolved, effective_at: datetime) -> TrialEffect | None:
    subscription = resolved.subscription
    ends_at = subscription.trial_ends_at
    if subscription.status != "trialing" or ends_at is None:
        return None
    if effective_at >= ends_at:
        return TrialEffect("is_over", ends_at)
    return TrialEffect("goes_on", ends_at) if resolved.after else TrialEffect("ends", effective_at)


def _warnings(
    resolved: Resolved, rule: PlanChangeRule, request: ChangeRequest, when: str, effective_at: datetime
) -> Iterable[Caveat]:
    subscription, state = resolved.subscription, resolved.standing.state
    if subscription.ends_at is not None:
        over = " before the change" if subscription.ends_at <= effective_at else ""
        yield Caveat(
            "pending_cancellation", f"`{subscription.id}` is set to cancel on {subscription.ends_at:%Y-%m-%d}{over}"
        )
    if state in ("grace", "past_due", "unpaid"):
        yield Caveat("payment_overdue", f"`{subscription.id}` is {subscription.status}; its open invoices stay open")
    elif state == "paused":
        yield Caveat("not_active", f"`{subscription.id}` is paused; nothing is billed until it is resumed")
    if subscription.status == "trialing" and subscription.after_trial != "active" and resolved.after:
        yield Caveat(
            "no_payment_method",
            f"`{subscription.id}` has no payment method: it becomes {subscription.after_trial} when its trial ends",
        )
    if subscription.schedule is not None:
        yield Caveat(
            "scheduled_elsewhere", f"`{subscription.schedule}` will change `{subscription.id}` at the provider"
        )
    if resolved.several:
        yield Caveat(
            "several_subscriptions", f"there are others besides `{subscription.id}`; choose one with `subscription`"
        )
    if when != ("period_end" if rule.when == "period_end" else "now"):
        yield Caveat("other_than_policy", f"the catalog's rule says `{rule.when}`")
    yield from _warnings_of_prices(resolved)
    if request.coupon is not None:
        yield Caveat("coupon_not_counted", f"the formula doesn't include the coupon `{request.coupon}`")


def _warnings_of_cooling(cooling: Cooling | None) -> Iterable[Caveat]:
    if cooling is not None:
        yield Caveat(
            "cooling_off",
            f"the cooling-off of `{cooling.change}` ends at {cooling.until:%Y-%m-%d %H:%M} UTC: used units stay used",
        )


def _warnings_of_rollover(what: Impact, at: datetime) -> Iterable[Caveat]:
    """Where units that nobody used would have been carried into the next window, and will not be. Into a window that
    begins with the change, since it is paid for, they are; not into another subscription's, which runs already."""
    before, after = what.entitled
    for feature, old in before.items():
        new = after.get(feature)
        if not old.granted or not old.rollover or (new is not None and new.unlimited):
            continue
        carries = new if new is not None and new.granted and new.credit is None and new.rollover else None
        if carries is None or any(less < more for less, more in zip(_carried(carries), _carried(old), strict=True)):
            then = f"{_how_much(carries)} will be" if carries else "none will be"
            detail = f"{_how_much(old)} unused units of `{feature}` are carried over now; {then} after the change"
            yield Caveat("rollover_lost", detail)
        elif new is not None and new.from_at != old.from_at and not (new.from_at == at and takes_rollover(new)):
            detail = f"unused units of `{feature}` are not carried into the window that counts after the change"
            yield Caveat("rollover_lost", detail)


def _carried(its: Entitlement) -> tuple[float, ...]:
    return its.rollover, its.rollover_share, its.rollover_windows or inf


def _how_much(its: Entitlement) -> str:
    """How many of the units left are carried over, as it stands before "of the units"."""
    most = f"up to {its.rollover}" if its.rollover < QUANTITY_MAX else ""
    share = f"{its.rollover_share}% of the" if its.rollover_share < 100 else ""
    lives = f"for {its.rollover_windows} windows" if its.rollover_windows else ""
    return ", ".join(filter(None, (lives, most, share))) or "all"


def _warnings_of_prices(resolved: Resolved) -> Iterable[Caveat]:
    both = (*resolved.before, *resolved.after)
    for key in dict.fromkeys(p.key for p in both if p.price is None and p.item.quantity):
        yield Caveat("price_unknown", f"the catalog has no price for `{key}`; the amounts don't include it")
    for key in dict.fromkeys(p.key for p in resolved.after if p.item.metered):
        prices = [p.price for p in resolved.after if p.key == key and p.price is not None and p.price.feature]
        said = f": {' and '.join(map(price_said, prices))}" if prices else ""
        yield Caveat("metered_not_counted", f"`{key}` is billed by usage, which the amounts don't include{said}")
    old, new = currency_of(resolved.before), currency_of(resolved.after)
    if old is not None and new is not None and {p.price.currency for p in both if p.price} != {old}:
        yield Caveat("currency_mismatch", f"this is billed in `{old}`, and a subscription has one currency")
