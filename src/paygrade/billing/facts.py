"""Facts: whole statements about one subject, as of one instant.

Laws: a fact says everything about its subject, never a change to it; of two facts about one subject the larger
`sequence` is the later truth, whatever order they arrive in; a fact is never edited, but that what
is personal of it can be erased (ADR 25).

A subject is named `stripe:cus_123` for a provider's customer, `override:exports`, `block:fraud`, `member:ann`,
`node:team-a/jane`, `version:pro`, `leeway:projects`, `subscription:sub_1` (manual billing), `contract:acme-2026` or
`profile` for what an operator says, `billing:recurly` for what another billing system states of its customer.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from paygrade.values.states import Status
from paygrade.values.text import QUANTITY_MAX

BillingMode = Literal["classic", "flexible"]
"""What a proration gives back: a share of what the item costs now, or of what was really billed for it."""


class Item(Struct, frozen=True, omit_defaults=True):
    """One line of a subscription: what is bought, and how many.

    `price`, `lookup_key` and `product` are the provider's; `plan` names a plan or add-on of the catalog directly
    (manual billing). `quantity` is 1 where the provider has none (metered prices). `metered`: it is paid by use.
    `created_at` is when the line was made; another price in its place keeps it.
    """

    id: str
    quantity: int = 1
    price: str | None = None
    lookup_key: str | None = None
    product: str | None = None
    plan: str | None = None
    period_from_at: datetime | None = None
    period_until: datetime | None = None
    metered: bool = False
    created_at: datetime | None = None


class Returned(Struct, frozen=True, omit_defaults=True):
    """What went back of a payment, in minor units: `refunded`; `disputed`, as long as that is not decided; `lost` by a
    dispute; `credited` by a credit note without a refund."""

    refunded: int = 0
    disputed: int = 0
    lost: int = 0
    credited: int = 0

    @property
    def total(self) -> int:
        return self.refunded + self.disputed + self.lost + self.credited


class ReturnedOfPeriod(Returned, frozen=True, omit_defaults=True, kw_only=True):
    """The same of what was `paid` for the period of a subscription that ends at `until`."""

    paid: int
    until: datetime | None = None


class Phase(Struct, frozen=True, omit_defaults=True):
    """What is bought from `from_at` on, as planned at the provider. `trial_ends_at`: until then it is a trial."""

    from_at: datetime
    items: tuple[Item, ...]
    trial_ends_at: datetime | None = None


class Subscription(Struct, frozen=True, omit_defaults=True):
    """A subscription as it stood when it was read.

    `status` None: the provider used a word we do not know (it is in `provider_status`); the last known status
    keeps deciding access. `anchor_at` fixes the days its periods turn. `after_trial` is what the provider will
    make of it when the trial ends with what is known now (card or no card). `ends_at` is a cancellation that is
    set but not reached, `ended_at` one that is. `unpaid_since` is the date of the first unpaid invoice since the last
    that was paid (its due date where it has one): the anchor of the access ladder. `schedule` is what changes it by
    itself at the provider, `next` what that will make of it, as far as it is told: phases, the soonest first.
    """

    id: str
    status: Status | None
    items: tuple[Item, ...]
    anchor_at: datetime
    provider_status: str = ""
    trial_ends_at: datetime | None = None
    after_trial: Status = "active"
    ends_at: datetime | None = None
    ended_at: datetime | None = None
    unpaid_since: datetime | None = None
    trial_ran_out: bool = False
    """Paused or canceled because the trial ended without a way to pay."""
    billing_mode: BillingMode = "classic"
    schedule: str | None = None
    next: tuple[Phase, ...] = ()
    started_at: datetime | None = None
    """When it began. None: it was stated without that."""
    begins_at: datetime | None = None
    """Until then it is agreed, and gives nothing. None: it has begun."""
    paid_items: tuple[Item, ...] | None = None
    """Of one in arrears: what was paid for last, where something that nobody paid has taken its place."""
    returned: ReturnedOfPeriod | None = None
    """What went back of what was paid for its period. None: nothing, or the catalog draws no consequence from it."""
    credited: tuple[str, ...] = ()
    """Lines that were removed in its period and whose unused time was credited, by id; empty where the catalog draws no
    consequence from it."""
    attempts: Annotated[int, Meta(ge=0, le=QUANTITY_MAX)] = 0
    """Of one in arrears: how many times the provider has tried to collect what is owed."""
    next_attempt_at: datetime | None = None
    """When it tries again. None: it does not, or nobody knows when."""


class Customer(Struct, frozen=True, omit_defaults=True, tag="customer"):
    """Everything one provider customer buys.

    `account` is the account its metadata names, else that of one of its subscriptions, which is `account_of` then.
    `named_otherwise`: by subscription, an account that its metadata names and that is another one. `clock_at`: what a
    test clock of the provider shows by which it lives; None: it lives in everybody's time.
    """

    id: str
    created_at: datetime
    subscriptions: tuple[Subscription, ...] = ()
    account: str | None = None
    name: str = ""
    deleted: bool = False
    account_of: str | None = None
    named_otherwise: dict[str, str] = {}
    clock_at: datetime | None = None

    @property
    def is_ownerless(self) -> bool:
        """Whether it stands for a subscription that belongs to no customer."""
        return any(subscription.id == self.id for subscription in self.subscriptions)


class Departed(Struct, frozen=True, tag="departed"):
    """This subject belongs to another account from here on."""

    account: str


class Profile(Struct, frozen=True, omit_defaults=True, tag="profile"):
    """What the host application says of the account. `links` maps a provider to its customer ids. `time_zone` is an
    IANA name; empty: it has none of its own any more."""

    created_at: datetime
    name: str = ""
    links: dict[str, tuple[str, ...]] = {}
    traits: dict[str, str | int | bool] = {}
    deleted: bool = False
    time_zone: str | None = None


class Override(Struct, frozen=True, omit_defaults=True, tag="override"):
    """An operator's word on one feature from `starts_at` (None: from now on) until `expires_at`. Exactly one of value,
    limit, unlimited, add, spend_cap is set; none of them set means the override was withdrawn. `spend_cap`: minor units
    that overage may cost. `code`: why, as a word that reports can count by. `review_at`: when somebody is to look
    whether it is still needed."""

    feature: str
    reason: str = ""
    value: bool | int | str | None = None
    limit: int | None = None
    unlimited: bool = False
    add: int | None = None
    expires_at: datetime | None = None
    spend_cap: int | None = None
    code: str = ""
    starts_at: datetime | None = None
    review_at: datetime | None = None

    @property
    def withdrawn(self) -> bool:
        return not self.unlimited and all(said is None for said in (self.value, self.limit, self.add, self.spend_cap))

    def stands(self, at: datetime) -> bool:
        begun = self.starts_at is None or self.starts_at <= at
        return begun and not self.over(at)

    def over(self, at: datetime) -> bool:
        """Whether it counts no longer, and never will."""
        return self.withdrawn or (self.expires_at is not None and self.expires_at <= at)


class Block(Struct, frozen=True, omit_defaults=True, tag="block"):
    """A reason that suspends all access of the account until `expires_at`; `lifted` means it no longer stands."""

    key: str
    reason: str = ""
    expires_at: datetime | None = None
    lifted: bool = False

    def stands(self, at: datetime) -> bool:
        return not self.lifted and (self.expires_at is None or at < self.expires_at)


class Member(Struct, frozen=True, omit_defaults=True, tag="member"):
    """A person in the account. `role` None: no longer a member. `seated_at`: since when they have their seat, whatever
    else has been stated of them meanwhile; None with a seat: since this statement. `invited`: they are asked to become
    one, and hold the seat until `expires_at` (None: for good), or until they do."""

    key: str
    role: str | None
    seat: bool = False
    seated_at: datetime | None = None
    invited: bool = False
    expires_at: datetime | None = None

    def is_invited(self, at: datetime) -> bool:
        return self.invited and self.role is not None and (self.expires_at is None or at < self.expires_at)


Units = Annotated[int, Meta(ge=0, le=QUANTITY_MAX)]
Word = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


class NodeLimit(Struct, frozen=True, omit_defaults=True):
    """How much of a feature or credit may be used in each of its windows: `units` at a node and all below it, `each` at
    every child that has no `units` of its own. `where`: only by uses whose properties have these values."""

    feature: str
    units: Units | None = None
    each: Units | None = None
    where: Annotated[dict[Word, Word], Meta(max_length=8)] = {}


Limits = Annotated[tuple[NodeLimit, ...], Meta(max_length=50)]


class Node(Struct, frozen=True, omit_defaults=True, tag="node"):
    """A place below the account: a team, a person or an agent, named by the way to it (`team-a/jane`). `open`: children
    that nobody stated may use what their parents have left, too. `removed`: it is no place any more."""

    path: str
    limits: Limits = ()
    open: bool = False
    reason: str = ""
    expires_at: datetime | None = None
    removed: bool = False

    def stands(self, at: datetime) -> bool:
        return not self.removed and (self.expires_at is None or at < self.expires_at)


class DowngradeGrace(Struct, frozen=True, omit_defaults=True, tag="leeway"):
    """What a plan change left of a feature for a while: up to `limit` units (None: unlimited) until `until`, where what
    is bought gives less. `change` is the plan change's id."""

    feature: str
    limit: int | None
    until: datetime
    change: str = ""


class Pin(Struct, frozen=True, omit_defaults=True, tag="pin"):
    """What version of a plan or add-on the account is held to, whatever the catalog keeps or sells.

    `version` None: the newest. From `until` on, `then` counts in its place; without it nothing is said any more, and
    the catalog decides. `withdrawn`: nothing is said at all.
    """

    key: str
    version: int | None = None
    until: datetime | None = None
    then: int | Literal["newest"] | None = None
    reason: str = ""
    withdrawn: bool = False


Currency = Annotated[str, Meta(pattern="^[a-z]{3}$")]
Note = Annotated[str, Meta(max_length=2000)]


class Contract(Struct, frozen=True, omit_defaults=True):
    """What was agreed with a customer who pays by invoices of one's own: what they have, from when on, for how much.

    `amount`: minor units without tax for each `interval_count` intervals, from `starts_at` on. `ends_at`: the end of
    the first term; one that `renews` goes on with another as long, else it is over then. None: it has no end.
    `reference`: the customer's order number. `overdue`: since when invoices are, by id.
    """

    plan: str
    starts_at: datetime
    amount: Annotated[int, Meta(ge=0, le=QUANTITY_MAX)]
    currency: Currency
    quantity: Annotated[int, Meta(ge=1, le=QUANTITY_MAX)] = 1
    add_ons: Annotated[dict[str, Annotated[int, Meta(ge=1, le=QUANTITY_MAX)]], Meta(max_length=50)] = {}
    interval: Literal["month", "year"] = "year"
    interval_count: Annotated[int, Meta(ge=1, le=36)] = 1
    ends_at: datetime | None = None
    renews: bool = False
    reference: Annotated[str, Meta(max_length=200)] = ""
    notes: Note = ""
    reason: Note = ""
    overdue: dict[str, datetime] = {}


class ManualSubscription(Struct, frozen=True, omit_defaults=True, tag="subscription"):
    """A subscription of manual or foreign billing, stated whole. None: it never existed. `contract`: what it follows
    from, where that was agreed."""

    subscription: Subscription | None
    contract: Contract | None = None


class ForeignBilling(Struct, frozen=True, omit_defaults=True, tag="billing"):
    """All that a billing system of another kind sells to the account, as it states it. `fingerprint`: of all that came
    with it."""

    source: str
    subscriptions: tuple[Subscription, ...]
    fingerprint: str = ""


Body = (
    Customer
    | Departed
    | Profile
    | Override
    | Block
    | Member
    | Node
    | DowngradeGrace
    | Pin
    | ManualSubscription
    | ForeignBilling
)


def subscriptions_of(body: Body | None) -> tuple[Subscription, ...]:
    """The subscriptions that a statement is about."""
    match body:
        case Customer(subscriptions=subscriptions) | ForeignBilling(subscriptions=subscriptions):
            return subscriptions
        case ManualSubscription(subscription=Subscription() as subscription):
            return (subscription,)
        case _:
            return ()


def with_subscriptions(body: Body, changed: Callable[[Subscription], Subscription]) -> Body:
    """The same statement with each of its subscriptions changed."""
    match body:
        case Customer(subscriptions=subscriptions) | ForeignBilling(subscriptions=subscriptions):
            return replace(body, subscriptions=tuple(map(changed, subscriptions)))
        case ManualSubscription(subscription=Subscription() as subscription):
            return replace(body, subscription=changed(subscription))
        case _:
            return body


class Fact(Struct, frozen=True, omit_defaults=True):
    """As of `as_of`, `subject` stood as `body` says.

    `number` counts the facts of the account in the order they were saved. `sequence` orders the facts of one
    subject: the fence token taken before the provider was asked, the account's own count for an operator, the
    foreign version for manual billing. `cause` holds the ids of the billing events that led to the reading, or
    who asked for it. `happened_at` is when the first of those events happened that are younger than the reading before;
    `joined_at` since when the subject belongs to this account, where it belonged to another before. None: nobody knows.
    """

    number: int
    subject: str
    sequence: int
    as_of: datetime
    body: Body
    cause: tuple[str, ...] = ()
    happened_at: datetime | None = None
    joined_at: datetime | None = None
