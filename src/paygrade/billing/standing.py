"""How a subscription stands at an instant: its state, the access it gives, and until when.

Laws: `standing_at` is pure in `at`; dates the provider set (trial end, cancellation, another phase) take effect on the
instant, told or not; each step of an access ladder is anchored on the date of the unpaid invoice that began these
arrears, so no step is skipped by a late look; what is left of it is of what was paid for, not of what never was.
"""

from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Subscription
from paygrade.catalog.model import Catalog, Ladder, Step
from paygrade.values.periods import soonest
from paygrade.values.states import TERMINAL, State


class Standing(Struct, frozen=True):
    """How a subscription stands at an instant. `plan` set: it counts as that plan. `until`: when dates change it.

    `subscription` has the items of the phase it is in by then, and under `next` those that are still to come. `note`
    says which step of a ladder it is on, and what comes next.
    """

    subscription: Subscription
    state: State
    access: Literal["full", "read", "none"]
    plan: str | None = None
    until: datetime | None = None
    note: str = ""


def standings(account: Account, catalog: Catalog, at: datetime) -> tuple[Standing, ...]:
    """How each subscription of the account stands at `at`."""
    return tuple(standing_at(subscription, catalog, at) for subscription in account.subscriptions)


def standing_at(subscription: Subscription, catalog: Catalog, at: datetime) -> Standing:
    """How one subscription stands at `at`, with the dates it carries enforced on the instant."""
    subscription = in_phase(subscription, at)
    status = subscription.status
    ends_at, trial_ends_at = subscription.ends_at, subscription.trial_ends_at
    if status is None:
        # A word never understood grants nothing; it shows as a finding.
        return Standing(subscription, "incomplete", "none")
    if status not in TERMINAL and ends_at is not None and at >= ends_at:
        return Standing(subscription, "canceled", "none")
    if status == "trialing" and trial_ends_at is not None and at >= trial_ends_at:
        status = subscription.after_trial
    changes_at = (phase.from_at for phase in subscription.next)
    until = soonest((ends_at, trial_ends_at if status == "trialing" else None, *changes_at), at)
    match status:
        case "trialing" | "active":
            return Standing(subscription, status, "full", until=until)
        case "incomplete" | "canceled" | "expired":
            return Standing(subscription, status, "none", until=until if status == "incomplete" else None)
        case "past_due" | "unpaid" | "paused":
            policies = catalog.policies
            ladder = {"past_due": policies.past_due, "unpaid": policies.unpaid, "paused": policies.paused}[status]
            if status != "paused" and subscription.paid_items is not None:
                subscription = replace(subscription, items=subscription.paid_items)
            anchor = subscription.unpaid_since or subscription.anchor_at
            step, step_ends_at = rung(ladder, anchor, at)
            state: State = "grace" if status == "past_due" and step.access == "full" else status
            note = _step_of(ladder, step, step_ends_at)
            return Standing(subscription, state, step.access, step.plan, soonest((until, step_ends_at), at), note)


def _step_of(ladder: Ladder, step: Step, ends_at: datetime | None) -> str:
    """Which step it is, until when, and what comes next, as a person reads it."""
    number = ladder.index(step) + 1
    here = f"step {number} of {len(ladder)}: {_leaves(step)}"
    if ends_at is None:
        return here
    return f"{here} until {ends_at:%Y-%m-%d %H:%M} UTC, then {_leaves(ladder[number])}"


def _leaves(step: Step) -> str:
    if step.plan is not None:
        return f"the plan {step.plan}"
    return {"full": "full access", "read": "read and export only", "none": "no access"}[step.access]


def in_phase(subscription: Subscription, at: datetime) -> Subscription:
    """The subscription as its schedule will have made it by `at`. One that has ended has no schedule any more."""
    ends_at = subscription.ends_at
    until = at if ends_at is None or at < ends_at else ends_at - _MOMENT
    begun = [phase for phase in subscription.next if phase.from_at <= until]
    if subscription.status in TERMINAL or not begun:
        return subscription
    to_come = tuple(phase for phase in subscription.next if phase.from_at > at)
    changed = replace(subscription, items=begun[-1].items, next=to_come)
    trials = [phase.trial_ends_at for phase in begun if phase.trial_ends_at is not None]
    if not trials or subscription.status not in ("trialing", "active"):
        return changed
    return replace(changed, status="trialing", trial_ends_at=trials[-1])


_MOMENT = timedelta(microseconds=1)


def rung(ladder: Ladder, anchor: datetime, at: datetime) -> tuple[Step, datetime | None]:
    """The step of a ladder in force at `at`, and when it ends."""
    for step in ladder:
        if step.until is None or at < anchor + step.until:
            return step, None if step.until is None else anchor + step.until
    raise AssertionError("a ladder's last step has no end")
