"""Outcomes: what of a decision is kept, and what of two of them differs.

Law: nothing differs between a decision and itself; what tells when and of what it was made is no difference.
"""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from paygrade.decisions.decide import Decision
from paygrade.entitlements.model import Reason

Via = Literal["check", "consume", "reserve", "authorize", "ofrep"]
"""How a decision was asked for."""


class DecisionOutcome(Struct, frozen=True, omit_defaults=True):
    """What a decision said, as a decision has these fields."""

    allowed: bool
    reason: Reason
    version: str
    plan: str | None = None
    value: bool | int | str | None = None
    limit: int | None = None
    used: int | None = None
    reserved: int | None = None
    remaining: int | None = None
    unlimited: bool = False
    limited_by: str | None = None
    stale: bool = False


class LoggedDecision(Struct, frozen=True):
    """A decision as it was answered at `at`: what was asked, and what it said. `node`: where below the account."""

    id: str
    account: str
    at: datetime
    feature: str
    quantity: int
    member: str | None
    node: str | None
    properties: dict[str, str | int | bool] | None
    via: Via
    outcome: DecisionOutcome


def id_at(at: datetime) -> str:
    """What the ids of decisions made at this instant begin with: ids are in the order of their instants."""
    return f"dec_{int(at.timestamp() * 1_000_000):014x}"


def outcome_of(decision: Decision) -> DecisionOutcome:
    return DecisionOutcome(**{name: getattr(decision, name) for name in DecisionOutcome.__struct_fields__})


def differences(before: DecisionOutcome, after: DecisionOutcome) -> tuple[str, ...]:
    """The fields in which they differ. A version counts what was learned, so it is none of them."""
    names = (name for name in DecisionOutcome.__struct_fields__ if name != "version")
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))
