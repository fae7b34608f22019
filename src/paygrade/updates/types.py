"""The types of state updates, and what the data of each says.

Law: a type means one thing for good; its data may get further fields, and loses none.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct

from paygrade.billing.facts import Block, Override
from paygrade.values.states import State


class AccountUpdate(Struct, frozen=True):
    """The account is there, is gone, or something was stated of it that no other type tells. `subject` is what the
    statement is about: `profile`, a provider's customer, a version."""

    subject: str


class PlanUpdate(Struct, frozen=True):
    """What the account has: the plan that counts, with its version, and add-ons with their quantities."""

    plan_before: str | None
    plan: str | None
    add_ons_before: dict[str, int]
    add_ons: dict[str, int]


class StateUpdate(Struct, frozen=True):
    """How the account stands: as its best subscription does (None: it has none), and how each stands."""

    state_before: State | None
    state: State | None
    subscriptions: dict[str, State]


class TrialUpdate(Struct, frozen=True):
    """A trial that ends within three days, or has ended. `state` is how the subscription stands now."""

    subscription: str
    ends_at: datetime | None
    state: State | None


class GraceUpdate(Struct, frozen=True):
    """A subscription in arrears: the step of its access ladder, what access that leaves (as `plan`, where it counts as
    that), and when the next one begins. Ended: `step` is None, and `state` is how it stands now."""

    subscription: str
    state: State | None
    step: int | None = None
    access: Literal["full", "read", "none"] | None = None
    plan: str | None = None
    until: datetime | None = None


class OverrideUpdate(Struct, frozen=True):
    """An operator's word on one feature, as it stands or stood."""

    override: Override


class BlockUpdate(Struct, frozen=True):
    """A reason that suspends all access, or did."""

    block: Block


class MemberUpdate(Struct, frozen=True):
    """A person in the account. `role` None: no longer a member."""

    member: str
    role: str | None


class SeatUpdate(Struct, frozen=True):
    """Who was given a seat, or has none any more."""

    member: str


class DowngradeGraceUpdate(Struct, frozen=True):
    """What a plan change left of a feature for a while: up to `limit` units (None: unlimited) until `until`."""

    feature: str
    limit: int | None
    until: datetime
    change: str


class FindingUpdate(Struct, frozen=True):
    """What a person should look at, since no rule can mend it."""

    code: str
    subject: str
    detail: str


class LimitUpdate(Struct, frozen=True):
    """Usage of a feature's window passed so many percent of its limit, or no longer does."""

    feature: str
    percent: int
    used: int
    limit: int


class CreditUpdate(Struct, frozen=True):
    """So many percent of the credits there are have been used, or no longer have."""

    credit: str
    percent: int
    used: int
    units: int


class CreditExpiry(Struct, frozen=True):
    """A grant of so many units of a credit, or of a feature, has expired with `expired` of them left."""

    credit: str
    grant: str
    kind: str
    units: int
    expired: int


class WindowUpdate(Struct, frozen=True):
    """A window has ended in which so many units had been used by then; the next one begins with none used."""

    feature: str
    used: int
    from_at: datetime
    until: datetime


class ChangeUpdate(Struct, frozen=True):
    """A plan change: what it does, when it takes effect (None: at once), what came of it and, where it failed, why."""

    change: str
    act: str
    source: str
    plan_before: str | None
    plan_after: str | None
    effective_at: datetime | None
    reason: str | None


class DriftUpdate(Struct, frozen=True):
    """So many fields of a subject differed at the provider although no billing event had told of it, or no longer
    do. `found_by`: a sweep or a poll; None: it is healed."""

    subject: str
    fields: int
    found_by: str | None


class CatalogUpdate(Struct, frozen=True):
    """A version of the catalog is in force."""

    version: int
    published_by: str


class MigrationUpdate(Struct, frozen=True):
    """Accounts are moved from one version of a plan to another, or back. None: from any, to the newest."""

    migration: int
    plan: str
    from_version: int | None
    to_version: int | None
    direction: Literal["forward", "back"]


TYPES: Mapping[str, type[Struct]] = {
    "account.created": AccountUpdate,
    "account.updated": AccountUpdate,
    "account.deleted": AccountUpdate,
    "account.plan_changed": PlanUpdate,
    "account.state_changed": StateUpdate,
    "block.set": BlockUpdate,
    "block.lifted": BlockUpdate,
    "block.expired": BlockUpdate,
    "catalog.published": CatalogUpdate,
    "credit.low": CreditUpdate,
    "credit.exhausted": CreditUpdate,
    "credit.restored": CreditUpdate,
    "credit.expired": CreditExpiry,
    "downgrade_grace.started": DowngradeGraceUpdate,
    "downgrade_grace.ended": DowngradeGraceUpdate,
    "entitlement.limit.warning": LimitUpdate,
    "entitlement.limit.reached": LimitUpdate,
    "entitlement.limit.resolved": LimitUpdate,
    "entitlement.window.reset": WindowUpdate,
    "finding.appeared": FindingUpdate,
    "finding.gone": FindingUpdate,
    "grace.started": GraceUpdate,
    "grace.step": GraceUpdate,
    "grace.ended": GraceUpdate,
    "member.set": MemberUpdate,
    "member.removed": MemberUpdate,
    "migration.started": MigrationUpdate,
    "migration.finished": MigrationUpdate,
    "override.set": OverrideUpdate,
    "override.removed": OverrideUpdate,
    "override.expired": OverrideUpdate,
    "plan_change.scheduled": ChangeUpdate,
    "plan_change.applied": ChangeUpdate,
    "plan_change.canceled": ChangeUpdate,
    "plan_change.failed": ChangeUpdate,
    "seat.given": SeatUpdate,
    "seat.released": SeatUpdate,
    "sync.drift.detected": DriftUpdate,
    "sync.drift.healed": DriftUpdate,
    "trial.started": TrialUpdate,
    "trial.ending": TrialUpdate,
    "trial.ended": TrialUpdate,
}
"""Every type, with what its data says."""
