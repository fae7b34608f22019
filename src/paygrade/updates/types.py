"""The types of state updates, and what the data of each says.

Law: a type means one thing for good; its data may get further fields, and loses none.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct

from paygrade.billing.contracts import ContractState
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


class ContractUpdate(Struct, frozen=True):
    """A contract as it stands or stood: what it gives, for how much in each of its periods, and
    the term it is in. `renews`: another term follows it."""

    contract: str
    state: ContractState
    plan: str
    quantity: int
    amount: int
    currency: str
    from_at: datetime
    until: datetime | None
    renews: bool


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


class InvitationUpdate(Struct, frozen=True):
    """Who is invited to become a member, in which role and until when, or was. `expires_at` None: until withdrawn."""

    member: str
    role: str
    expires_at: datetime | None


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


class CreditGrant(Struct, frozen=True):
    """Units of a credit, or of a feature, were granted besides what the plan allows, from then on and until `until`
    (None: for good). `kind`: what for; a `top_up` was bought."""

    credit: str
    grant: str
    kind: str
    units: int
    from_at: datetime
    until: datetime | None


class CreditVoid(Struct, frozen=True):
    """Of a grant of so many units `change` were taken back (below 0: given back). `voided`: what is taken back of it
    by now; what was used stays used."""

    credit: str
    grant: str
    kind: str
    units: int
    change: int
    voided: int


class TopUpUpdate(Struct, frozen=True):
    """Units that were to be bought by themselves for `amount` minor units, and how that stands: why it failed, and of
    the money of one that was paid what went back (`refunded`, also by a dispute), with `taken_back` units."""

    top_up: str
    credit: str
    units: int
    amount: int
    currency: str
    invoice: str | None
    reason: str | None
    refunded: int
    taken_back: int


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


class EndpointUpdate(Struct, frozen=True):
    """A webhook endpoint: since when it has taken nothing, and why it was disabled (`gone`: it answered 410, or
    `failing`); None where it was not."""

    endpoint: str
    url: str
    failing_since: datetime | None
    reason: str | None


class KeyUpdate(Struct, frozen=True):
    """An API key, never its secret. `expires_at` None: never. `earlier_until`: it was rotated, and its earlier secrets
    count until then."""

    key: str
    name: str
    mode: str
    publishable: bool
    expires_at: datetime | None
    earlier_until: datetime | None = None


class UpdateType(Struct, frozen=True):
    """What the data of a type says, and when there is an update of it."""

    data: type[Struct]
    when: str


TYPES: Mapping[str, UpdateType] = {
    "account.created": UpdateType(AccountUpdate, "an account is there that was not, or not any more"),
    "account.updated": UpdateType(AccountUpdate, "something was stated of it that no other type tells"),
    "account.deleted": UpdateType(AccountUpdate, "it is gone, and with it all that was told of it before"),
    "account.plan_changed": UpdateType(PlanUpdate, "it has another plan, version, add-on or quantity of one"),
    "account.state_changed": UpdateType(StateUpdate, "a subscription of it stands otherwise, or there is another one"),
    "trial.started": UpdateType(TrialUpdate, "a trial has begun, or ends at another time than it did"),
    "trial.ending": UpdateType(TrialUpdate, "a trial ends within three days"),
    "trial.ended": UpdateType(TrialUpdate, "a trial is over"),
    "grace.started": UpdateType(GraceUpdate, "a subscription is in arrears"),
    "grace.step": UpdateType(GraceUpdate, "it has come to the next step of the access ladder, or its step has moved"),
    "grace.ended": UpdateType(GraceUpdate, "it is no longer in arrears"),
    "override.set": UpdateType(
        OverrideUpdate, "an override counts: it was set, or the date has come on which it begins"
    ),
    "override.scheduled": UpdateType(OverrideUpdate, "an operator has stated an override that begins later"),
    "override.expiring": UpdateType(OverrideUpdate, "an override ends in a week; at once, if it has less than that"),
    "override.review_due": UpdateType(OverrideUpdate, "the date has come to look whether an override is still needed"),
    "override.removed": UpdateType(OverrideUpdate, "an operator has taken that back"),
    "override.expired": UpdateType(OverrideUpdate, "an override has come to its end"),
    "contract.set": UpdateType(ContractUpdate, "a contract is stated, or something of it has changed"),
    "contract.started": UpdateType(ContractUpdate, "a contract has begun"),
    "contract.ending": UpdateType(ContractUpdate, "a term of a contract ends within 30 days"),
    "contract.renewed": UpdateType(ContractUpdate, "another term of a contract has begun"),
    "contract.ended": UpdateType(ContractUpdate, "a contract has come to its end"),
    "contract.removed": UpdateType(ContractUpdate, "a contract was withdrawn, as if it had never been"),
    "block.set": UpdateType(BlockUpdate, "an operator has blocked the account"),
    "block.lifted": UpdateType(BlockUpdate, "an operator has lifted the block"),
    "block.expired": UpdateType(BlockUpdate, "a block has come to its end"),
    "member.set": UpdateType(MemberUpdate, "somebody is a member, or has another role"),
    "member.removed": UpdateType(MemberUpdate, "somebody is no longer a member"),
    "invitation.sent": UpdateType(InvitationUpdate, "somebody is invited to become a member"),
    "invitation.expired": UpdateType(InvitationUpdate, "an invitation has expired that nobody accepted"),
    "invitation.withdrawn": UpdateType(InvitationUpdate, "an invitation was withdrawn"),
    "seat.given": UpdateType(SeatUpdate, "a member has been given a seat"),
    "seat.released": UpdateType(SeatUpdate, "a member has lost a seat, or given it back"),
    "downgrade_grace.started": UpdateType(DowngradeGraceUpdate, "a plan change leaves something of a feature"),
    "downgrade_grace.ended": UpdateType(DowngradeGraceUpdate, "that is over"),
    "finding.appeared": UpdateType(FindingUpdate, "something needs a person's attention"),
    "finding.gone": UpdateType(FindingUpdate, "it no longer does"),
    "plan_change.scheduled": UpdateType(ChangeUpdate, "a plan change is scheduled"),
    "plan_change.applied": UpdateType(ChangeUpdate, "a plan change has taken effect, whoever made it"),
    "plan_change.canceled": UpdateType(ChangeUpdate, "a plan change was taken back before it took effect"),
    "plan_change.failed": UpdateType(ChangeUpdate, "a plan change came to nothing"),
    "entitlement.limit.warning": UpdateType(LimitUpdate, "usage has passed a threshold of the catalog's `warn`"),
    "entitlement.limit.reached": UpdateType(LimitUpdate, "usage has reached the limit"),
    "entitlement.limit.resolved": UpdateType(LimitUpdate, "there is room again, or the window has ended"),
    "entitlement.window.reset": UpdateType(WindowUpdate, "a window has ended in which something was used"),
    "credit.low": UpdateType(CreditUpdate, "a fifth of the credits is left"),
    "credit.exhausted": UpdateType(CreditUpdate, "no credits are left"),
    "credit.restored": UpdateType(CreditUpdate, "there are credits again, or the window has ended"),
    "credit.granted": UpdateType(CreditGrant, "units were granted, or bought by a top-up"),
    "credit.voided": UpdateType(CreditVoid, "units of a grant were taken back, or given back"),
    "credit.expired": UpdateType(CreditExpiry, "a grant has expired of which something was left"),
    "top_up.bought": UpdateType(TopUpUpdate, "a top-up is paid, and its units are granted"),
    "top_up.failed": UpdateType(TopUpUpdate, "a top-up came to nothing"),
    "top_up.refunded": UpdateType(TopUpUpdate, "money of a top-up went back, or came again after a dispute was won"),
    "sync.drift.detected": UpdateType(DriftUpdate, "a repair has found what no billing event had told"),
    "sync.drift.healed": UpdateType(DriftUpdate, "that has been put right, or an event has explained it"),
    "catalog.published": UpdateType(CatalogUpdate, "a version of the catalog is in force"),
    "migration.started": UpdateType(MigrationUpdate, "accounts are being moved to another version, or back"),
    "migration.finished": UpdateType(MigrationUpdate, "they all are"),
    "webhook_endpoint.failing": UpdateType(EndpointUpdate, "a webhook endpoint has taken nothing for a day"),
    "webhook_endpoint.disabled": UpdateType(EndpointUpdate, "a webhook endpoint answered 410, or failed for 5 days"),
    "webhook_endpoint.recovered": UpdateType(EndpointUpdate, "a webhook endpoint that failed takes webhooks again"),
    "api_key.created": UpdateType(KeyUpdate, "an API key was created"),
    "api_key.rotated": UpdateType(KeyUpdate, "an API key was given another secret"),
    "api_key.revoked": UpdateType(KeyUpdate, "an API key was revoked"),
    "api_key.expiring": UpdateType(KeyUpdate, "an API key expires within a week"),
    "api_key.expired": UpdateType(KeyUpdate, "an API key has expired"),
}
"""Every type."""
