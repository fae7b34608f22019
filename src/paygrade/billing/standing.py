"""How a subscription stands at an instant: its state, the access it gives, and until when.

Laws: `standing_at` is pure in `at`; dates the provider set (trial end, cancellation, another phase) take effect on the
instant, told or not; each step of an access ladder is anchored on the date of the unpaid invoice that began these
arrears, so no step is skipped by a late look; what is left of it is of what was paid for, not of what never was;
what follows from money that went back holds as long as it is gone.
"""

from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Subscription
from paygrade.billing.returned import NOTHING, Outcome, outcome_of
from paygrade.billing.understanding import key_of
from paygrade.catalog.model import Catalog, Ladder, Step
from paygrade.values.periods import soonest
from paygrade.values.states import TERMINAL, State

LadderName = Literal["past_due", "unpaid", "paused"]
"""A status that has a ladder, and the policy that says it."""


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
    step: int | None = None
    """The step of its ladder, from 1 on; None: it is on none."""
    outcome: Outcome = NOTHING
    """What follows from what went back of the payment of its period."""


def standings(account: Account, catalog: Catalog, at: datetime) -> tuple[Standing, ...]:
    """How each subscription of the account stands at `at`."""
    return tuple(standing_at(subscription, catalog, at) for subscription in account.subscriptions)


def standing_at(subscription: Subscription, catalog: Catalog, at: datetime) -> Standing:
    """How one subscription stands at `at`, with the dates it carries enforced on the instant."""
    subscription = in_phase(subscription, at)
    status = subscription.status
    changes_at = tuple(phase.from_at for phase in subscription.next)
    if subscription.begins_at is not None and at < subscription.begins_at:
        until = soonest((subscription.begins_at, *changes_at), at)
        return Standing(subscription, "incomplete", "none", until=until)
    ends_at, trial_ends_at = subscription.ends_at, subscription.trial_ends_at
    if status is None:
        # A word never understood grants nothing; it shows as a finding.
        return Standing(subscription, "incomplete", "none", until=soonest((ends_at, *changes_at), at))
    if status not in TERMINAL and ends_at is not None and at >= ends_at:
        return Standing(subscription, "canceled", "none")
    if status == "trialing" and trial_ends_at is not None and at >= trial_ends_at:
        status = subscription.after_trial
    until = soonest((ends_at, trial_ends_at if status == "trialing" else None, *changes_at), at)
    match status:
        case "trialing" | "active":
            return _paid(Standing(subscription, status, "full", until=until), catalog, at)
        case "incomplete" | "canceled" | "expired":
            return Standing(subscription, status, "none", until=until if status == "incomplete" else None)
        case "past_due" | "unpaid" | "paused":
            if status != "paused" and subscription.paid_items is not None:
                subscription = replace(subscription, items=subscription.paid_items)
            ladder = ladder_of(subscription, status, catalog)
            anchor = subscription.unpaid_since or subscription.anchor_at
            step, step_ends_at = rung(ladder, anchor, at)
            state: State = "grace" if status == "past_due" and step.access == "full" else status
            note = _step_of(ladder, step, step_ends_at)
            until, number = soonest((until, step_ends_at), at), ladder.index(step) + 1
            return Standing(subscription, state, step.access, step.plan, until, note, number)


def _paid(standing: Standing, catalog: Catalog, at: datetime) -> Standing:
    """How it stands by what is left of its payment. One whose access ended for it is unpaid as far as its ladder goes,
    and past due where it can be read: what it had is suspended, and comes back with the money."""
    outcome = outcome_of(standing.subscription.returned, catalog.policies.returned, at)
    if outcome is NOTHING:
        return standing
    if outcome.ended:
        last = ladder_of(standing.subscription, "unpaid", catalog)[-1]
        return replace(standing, state="unpaid", access=last.access, plan=last.plan, note=outcome.note)
    if outcome.read_only:
        standing = replace(standing, state="past_due", access="read")
    return replace(standing, until=soonest((standing.until, outcome.ends_at), at), note=outcome.note, outcome=outcome)


def ladder_of(subscription: Subscription, status: LadderName, catalog: Catalog) -> Ladder:
    """The ladder of the highest plan that the items buy, of those on sale, where it has one of its own, else the
    catalog's."""
    plans = (
        catalog.plans.get(key)
        for item in subscription.items
        if item.quantity > 0 and (key := key_of(catalog, item)) is not None
    )
    highest = max((plan for plan in plans if plan is not None), key=lambda plan: plan.rank, default=None)
    own: Ladder | None = getattr(highest.ladders, status) if highest is not None else None
    ladder: Ladder = own or getattr(catalog.policies, status)
    return ladder


class Rung(Struct, frozen=True):
    """A step of an access ladder with its dates: what it `leaves`, in words, from `from_at` until `until` (None: for
    good)."""

    leaves: str
    access: Literal["full", "read", "none"]
    from_at: datetime
    until: datetime | None


def rungs(standing: Standing, catalog: Catalog) -> tuple[Rung, ...]:
    """The whole ladder that a subscription in arrears or paused is on; empty: it is on none."""
    if standing.step is None:
        return ()
    subscription = standing.subscription
    status = standing.state if standing.state in ("unpaid", "paused") else "past_due"
    ladder = ladder_of(subscription, status, catalog)
    anchor, found = subscription.unpaid_since or subscription.anchor_at, list[Rung]()
    for step in ladder:
        until = None if step.until is None else anchor + step.until
        found.append(Rung(_leaves(step), step.access, (found[-1].until if found else None) or anchor, until))
    return tuple(found)


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
    changed = subscription
    for phase in subscription.next:
        if phase.from_at > at or has_ended(changed, phase.from_at):
            break
        changed = replace(changed, items=phase.items)
        if phase.trial_ends_at is not None and changed.status in ("trialing", "active"):
            changed = replace(changed, status="trialing", trial_ends_at=phase.trial_ends_at)
    if changed is subscription:
        return subscription
    return replace(changed, next=tuple(phase for phase in subscription.next if phase.from_at > at))


def has_ended(subscription: Subscription, at: datetime) -> bool:
    """Whether it is over by `at`: it was ended, was to end, or had a trial whose end it does not outlive."""
    if subscription.status in TERMINAL:
        return True
    ends_at = end_of(subscription)
    return ends_at is not None and at >= ends_at


def end_of(subscription: Subscription) -> datetime | None:
    """When it ended, or will by the dates it carries."""
    dates = [subscription.ended_at or subscription.ends_at]
    if subscription.status == "trialing" and subscription.after_trial in TERMINAL:
        dates.append(subscription.trial_ends_at)
    return min((date for date in dates if date is not None), default=None)


def rung(ladder: Ladder, anchor: datetime, at: datetime) -> tuple[Step, datetime | None]:
    """The step of a ladder in force at `at`, and when it ends."""
    for step in ladder:
        if step.until is None or at < anchor + step.until:
            return step, None if step.until is None else anchor + step.until
    raise AssertionError("a ladder's last step has no end")
