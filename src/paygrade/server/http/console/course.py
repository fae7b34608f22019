"""The course of an account's subscriptions: what was, where it stands, and what comes if nobody does anything."""

from collections.abc import Iterator
from datetime import datetime

from msgspec import Struct

from paygrade.billing.facts import Subscription
from paygrade.server.http.console.wording import plural, state_tone, state_words
from paygrade.server.operations.portrait import Portrait, Stance


class Stage(Struct, frozen=True):
    """An instant of a subscription's life, and what it means (`tone`)."""

    at: datetime
    text: str
    tone: str
    to_come: bool


class Step(Struct, frozen=True):
    """A step of the ladder it is on, and how much of it is over, in percent."""

    text: str
    tone: str
    from_at: datetime
    until: datetime | None
    over: float
    is_now: bool
    to_come: bool


class Course(Struct, frozen=True):
    """One subscription: its state, what it buys, its stages, the latest first, and its ladder."""

    subscription: Subscription
    state: str
    note: str
    buys: tuple[str, ...]
    stages: tuple[Stage, ...]
    ladder: tuple[Step, ...]


_LEAVES = {"full": "wait", "read": "wait", "none": "stop"}


def course(found: Portrait, at: datetime) -> tuple[Course, ...]:
    """Of each subscription, those that live first."""
    courses = [_course(stance, at) for stance in found.stances]
    return tuple(sorted(courses, key=lambda each: each.state in ("canceled", "expired")))


def _course(stance: Stance, at: datetime) -> Course:
    standing = stance.standing
    subscription = standing.subscription
    stages = sorted(_stages(subscription, standing.state, at), key=lambda stage: stage.at, reverse=True)
    return Course(
        subscription,
        standing.state,
        standing.note,
        tuple(
            f"{item.plan or item.lookup_key or item.price or item.product or item.id}"
            + (f" × {item.quantity:,}" if item.quantity != 1 else "")
            for item in subscription.items
        ),
        tuple(stages),
        tuple(_ladder(stance, at)),
    )


def _stages(its: Subscription, state: str, at: datetime) -> Iterator[Stage]:
    def stage(when: datetime | None, was: str, will_be: str, tone: str = "") -> Iterator[Stage]:
        if when is not None:
            yield Stage(when, will_be if when > at else was, tone, when > at)

    yield from stage(its.started_at, "Began", "Begins", "ok")
    if its.trial_ends_at is not None:
        follows = state_words(its.after_trial).lower()
        yield from stage(its.trial_ends_at, "Trial ended", f"Trial ends; then {follows}", state_tone(its.after_trial))
    yield from stage(its.unpaid_since, "An invoice was not paid", "An invoice is due", "stop")
    tried = f"Payment is tried again, after {plural(its.attempts, 'attempt')}"
    yield from stage(its.next_attempt_at, "Payment was to be tried again", tried, "wait")
    for phase in its.next:
        bought = ", ".join(item.plan or item.lookup_key or item.price or item.id for item in phase.items)
        yield from stage(phase.from_at, f"Changed to {bought}", f"Changes to {bought}", "act")
    ends_at = its.ended_at or its.ends_at
    yield from stage(ends_at, "Ended", "Ends: it was canceled", "stop")
    renews = [item.period_until for item in its.items if item.period_until is not None and item.period_until > at]
    if renews and ends_at is None and state in ("active", "trialing", "grace", "past_due"):
        yield Stage(min(renews), "Renews", "ok", True)


def _ladder(stance: Stance, at: datetime) -> Iterator[Step]:
    for rung in stance.ladder:
        is_now = rung.from_at <= at and (rung.until is None or at < rung.until)
        over = 0.0
        if rung.until is not None and at > rung.from_at:
            over = min(100.0, 100 * (at - rung.from_at) / (rung.until - rung.from_at))
        yield Step(
            rung.leaves[:1].upper() + rung.leaves[1:],
            _LEAVES[rung.access],
            rung.from_at,
            rung.until,
            round(over, 1),
            is_now,
            rung.from_at > at,
        )
