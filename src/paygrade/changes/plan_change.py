"""Plan changes: what was asked for, how far it has come, and what is to be asked of whoever bills.

Laws: a change is resolved once (applied, failed or canceled) and stays so; what it is to bring about is fixed when it
is asked for; taking it back is the way back of what was asked, never another change.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Subscription
from paygrade.changes.impact import Cooling
from paygrade.changes.order import Act, ChangeOrder
from paygrade.changes.quote import Quote
from paygrade.changes.request import ChangeRequest
from paygrade.changes.transition import Expected, PlanTransition
from paygrade.values.errors import Refused

ChangeState = Literal["asked", "pending", "scheduled", "applied", "failed", "canceled"]
CHANGE_STATES: tuple[ChangeState, ...] = get_args(ChangeState)
UNDER_WAY: frozenset[ChangeState] = frozenset({"asked", "pending", "scheduled"})


class PlanChange(Struct, frozen=True, kw_only=True):
    """A change of what an account buys, from when it was asked for, or was seen, to what came of it.

    `state` asked: it is being brought about. pending: it waits for the customer's payment, at `pay_url` where they
    confirm it. scheduled: it comes by itself at `effective_at`. applied, failed and canceled are for good. `source`
    billing: it was made at the provider, or by whoever states subscriptions. `undo`: it is being taken back. `expected`
    is what the subscription is to buy. `done_fence`: the provider says that it is done, and the first reading of the
    subject beyond this fence tells so.
    """

    account: str
    id: str
    key: str
    source: Literal["request", "billing"]
    act: Act
    state: ChangeState
    subscription: str
    subject: str
    asked_at: datetime
    quote: str | None = None
    undo: bool = False
    effective_at: datetime | None = None
    resolved_at: datetime | None = None
    quoted: Quote | None = None
    settlement: PlanTransition | None = None
    expected: Expected | None = None
    trial_ends_at: datetime | None = None
    reverts: str | None = None
    reverted_by: str | None = None
    invoice: str | None = None
    schedule: str | None = None
    pay_url: str | None = None
    reason: str | None = None
    error: str | None = None
    done_fence: int | None = None

    @property
    def is_manual(self) -> bool:
        """Whether nobody bills it but whoever states the subscription."""
        return self.subject.startswith("subscription:")


class Step(Struct, frozen=True):
    """One thing that happened to a plan change. `step` is a stable word."""

    number: int
    at: datetime
    step: str
    detail: str


def asked_for(quote: Quote, *, id: str, key: str, subject: str, at: datetime) -> PlanChange:
    """The change that carries out a quote."""
    return PlanChange(
        account=quote.account,
        id=id,
        key=key,
        source="request",
        act="cancel" if quote.ends else "change",
        state="asked",
        subscription=quote.subscription,
        subject=subject,
        asked_at=at,
        quote=quote.id,
        effective_at=None if quote.when == "now" else quote.effective_at,
        quoted=quote,
        expected=tuple(
            (item.after, item.quantity_after, item.price_after)
            for item in quote.items
            if item.after is not None and item.quantity_after > 0
        ),
        reverts=quote.reverts,
    )


def order_of(change: PlanChange, *, tries: int) -> ChangeOrder:
    """What the provider is asked to bring about, after it failed so often in a row."""
    order = ChangeOrder(
        id=change.id,
        account=change.account,
        subscription=change.subscription,
        act=change.act,
        effective_at=change.effective_at,
        trial_ends_at=change.trial_ends_at,
        since=change.asked_at,
        schedule=change.schedule,
        invoice=change.invoice,
        undo=change.undo,
        tries=tries,
    )
    if change.quoted is None:
        return order
    rule = change.quoted.matched.rule
    return replace(
        order,
        items=change.quoted.items,
        # At a period's end there is nothing left to prorate, and periods begin anew by themselves.
        proration="none" if change.quoted.when == "period_end" else rule.proration,
        anchor_reset=rule.anchor == "reset" and change.quoted.when != "period_end",
        coupon=change.quoted.wanted.coupon,
        quoted_at=change.quoted.made_at,
    )


def is_doubted(change: PlanChange, subscription: Subscription) -> bool:
    """Whether nothing plans any more what was scheduled, with the subscription as it was read: whoever bills may have
    taken it back, or the reading is older than the schedule."""
    if change.state != "scheduled" or change.is_manual or change.undo:
        return False
    if change.act == "cancel":
        return subscription.ends_at is None
    return subscription.schedule != change.schedule


def back(change: PlanChange) -> ChangeRequest:
    """What to ask for to have it as it was before. Refused `not_revertible`."""
    quote = change.quoted
    if change.state != "applied" or quote is None or quote.ends:
        why = "ended the subscription" if quote is not None and quote.ends else f"is {change.state}"
        raise Refused("not_revertible", f"`{change.id}` {why}; quote a new change instead")
    plan_key = quote.plan_before.partition("@")[0] if quote.plan_before else None
    plan_after = quote.plan_after.partition("@")[0] if quote.plan_after else None
    changed = [item for item in quote.items if item.how != "kept"]
    add_ons: dict[str, int] = {}
    quantities: dict[str, int] = {}
    for key in dict.fromkeys(key for item in changed for key in (item.before, item.after) if key is not None):
        had = [item for item in quote.items if item.before == key]
        counted = [item.quantity_before for item in had if item.part == "quantity"]
        if key == plan_key and counted:
            quantities[key] = sum(counted)
        elif key not in (plan_key, plan_after):
            add_ons[key] = sum(counted) if counted else int(bool(had))
    intervals = (item.interval_before for item in changed if item.before == plan_key and item.part == "quantity"
                 and item.interval_before != item.interval_after)  # fmt: skip
    interval = next(intervals, None)
    return ChangeRequest(
        plan=plan_key if quote.plan_before != quote.plan_after else None,
        add_ons=add_ons,
        quantities=quantities,
        interval=interval,
        subscription=change.subscription,
    )


def acted(subscription: Subscription, act: Act, *, trial_ends_at: datetime | None, at: datetime) -> Subscription:
    """A subscription of manual billing after this was done to it. Refused `not_possible_now`."""
    match act, subscription.status:
        case "keep_going", _ if subscription.ends_at is not None:
            return replace(subscription, ends_at=None)
        case "pause", "active" | "past_due":
            return replace(subscription, status="paused")
        case "resume", "paused":
            return replace(subscription, status="active")
        case "set_trial", "active" | "trialing" if trial_ends_at is not None:
            return replace(subscription, status="trialing", trial_ends_at=trial_ends_at)
        case "end_trial", "trialing":
            return replace(subscription, status="active", trial_ends_at=at)
    raise Refused("not_possible_now", impossible(act, subscription))


def refuse_idle(subscription: Subscription, act: Act) -> None:
    """Refused `not_possible_now` where there is nothing to do, or nothing to do it to."""
    possible = {
        "keep_going": subscription.ends_at is not None,
        "pause": subscription.status in ("active", "past_due"),
        "resume": subscription.status == "paused",
        "set_trial": subscription.status in ("active", "trialing"),
        "end_trial": subscription.status == "trialing",
    }
    if not possible.get(act, True):
        raise Refused("not_possible_now", impossible(act, subscription))


def impossible(act: Act, subscription: Subscription) -> str:
    needs = {
        "keep_going": "has no cancellation to remove",
        "pause": "can't be paused",
        "resume": "can't be resumed",
        "set_trial": "can't have a trial",
        "end_trial": "has no trial to end",
    }
    return f"`{subscription.id}` is {subscription.status} and {needs.get(act, 'cannot be changed like this')}"


def is_reversal(quote: Quote, latest: PlanChange) -> bool:
    """Whether a change would take the plan back to what it was before the latest one."""
    before = latest.settlement.plan_before if latest.settlement is not None else None
    after = latest.settlement.plan_after if latest.settlement is not None else None
    return before is not None and before != after and _key(quote.plan_after) == _key(before)


def cooling_until(latest: PlanChange, subscription: Subscription) -> datetime | None:
    """Until when the rule of the latest change keeps it from being taken back, in the account's time; None: it does
    not."""
    if latest.settlement is None:
        return None
    rule, applied_at = latest.settlement.matched.rule, latest.settlement.at
    if rule.cooling_off is not None:
        return applied_at + rule.cooling_off
    if not rule.cools_for_period:
        return None
    running = [
        item.period_until
        for item in subscription.items
        if item.period_until is not None and (item.period_from_at or applied_at) <= applied_at
    ]
    return max(running, default=None)


def coolings(latest: Iterable[PlanChange], account: Account) -> tuple[Cooling, ...]:
    """What the rules of these changes hold back. They went to another plan and were applied, the latest first; of each
    subscription the plans that it had since then are those to go back to."""
    found: list[Cooling] = []
    live = {subscription.id: subscription for subscription in account.subscriptions}
    plans: dict[str, frozenset[str]] = {}
    since: dict[str, frozenset[str]] = {}
    for change in latest:
        subscription, settlement = live.get(change.subscription), change.settlement
        if subscription is None or settlement is None:
            continue
        keys = {key for key in (_key(settlement.plan_before), _key(settlement.plan_after)) if key is not None}
        plans[change.subscription] = plans.get(change.subscription, frozenset()) | keys
        since[change.subscription] = since.get(change.subscription, frozenset()) | {change.id}
        until = cooling_until(change, subscription)
        if until is not None:
            its = change.subscription
            found.append(Cooling(its, change.id, until, plans[its], since[its]))
    return tuple(found)


def _key(ref: str | None) -> str | None:
    return ref.partition("@")[0] if ref else None
