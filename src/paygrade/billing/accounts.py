"""An account: everything known of one customer, folded from its facts.

Laws: facts replay in any order, any number of times, to the same account (each part of the fold keeps the
statement with the largest sequence, so it is a join); a subscription that was once seen terminal stays terminal;
a status we do not understand keeps the last one we did; what was once bought stays known with its first date.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.facts import (
    Block,
    Body,
    Contract,
    Customer,
    DowngradeGrace,
    Fact,
    ForeignBilling,
    Item,
    ManualSubscription,
    Member,
    Node,
    Override,
    Pin,
    Profile,
    Subscription,
    subscriptions_of,
)
from paygrade.values.states import NOT_LIVE, TERMINAL


class Statement(Struct, frozen=True, omit_defaults=True):
    """The latest word on one subject."""

    sequence: int
    number: int
    as_of: datetime
    body: Body


class Sighting(Struct, frozen=True):
    """A subscription as one statement had it."""

    sequence: int
    subscription: Subscription


class Purchase(Struct, frozen=True, array_like=True, gc=False):
    """What a line of a subscription bought, ever. `seen_at` is as of when that was first stated, `created_at` when
    the line was made; `sequence` is of the last statement that said so, as of `last_at`, and `quantity` how many it
    bought then. `paid_until`: the end of the last period that was paid ahead for it; None: none was, as far as is
    known."""

    item: str
    price: str | None
    lookup_key: str | None
    product: str | None
    plan: str | None
    seen_at: datetime
    created_at: datetime | None
    sequence: int = 0
    quantity: int = 1
    last_at: datetime | None = None
    paid_until: datetime | None = None


ZONES_MAX = 50
"""Time zones that are remembered of an account: far more than anybody lives in within a year."""


class Foreseen(Struct, frozen=True, array_like=True, gc=False):
    """When the end of a trial would be billed, as it was stated at `stated_at`. None: it would not be."""

    stated_at: datetime
    billed_at: datetime | None


class Anchored(Struct, frozen=True, array_like=True, gc=False):
    """What was stated of a subscription while it had this anchor.

    `begun`: a period that begins with the anchor, or on its days after it, was billed. `stub_from_at`: when a period
    began that was billed up to the anchor; `free_from_at`: since when nothing is billed up to it (a trial), and
    `foreseen` when something would be, as of when that was stated.
    """

    anchor_at: datetime
    begun: bool = False
    stub_from_at: datetime | None = None
    free_from_at: datetime | None = None
    foreseen: tuple[Foreseen, ...] = ()


class Began(Struct, frozen=True, array_like=True, gc=False):
    """The date of creation that was stated first, as of `seen_at`."""

    seen_at: datetime
    created_at: datetime


class Zoned(Struct, frozen=True, array_like=True, gc=False):
    """Which time zone was stated as of `since`, by which fact; empty: none any more."""

    since: datetime
    number: int
    zone: str


class Account(Struct, frozen=True, omit_defaults=True):
    """The fold of an account's facts.

    `version` is the number of its newest fact. `statements` holds the latest word on each subject; `latched` the
    terminal sighting of each ended subscription; `understood` the latest sighting of each subscription whose
    status we knew. `since` is the earliest creation date stated, `began` the one stated first: it anchors what no
    subscription does, and an older customer linked later moves nothing. `purchases` holds what each subscription ever
    bought, `anchors` what its periods were aligned to, both by its id. `zones` are the latest time zones stated.
    """

    key: str
    version: int = 0
    since: datetime | None = None
    statements: dict[str, Statement] = {}
    latched: dict[str, Sighting] = {}
    understood: dict[str, Sighting] = {}
    purchases: dict[str, tuple[Purchase, ...]] = {}
    began: Began | None = None
    anchors: dict[str, tuple[Anchored, ...]] = {}
    zones: tuple[Zoned, ...] = ()

    @property
    def exists(self) -> bool:
        """Whether the account is one of ours: stated by the host or linked to a provider's customer.

        A deleted account that pays again exists again: who pays is not told "unknown".
        """
        profile = self.profile
        if profile is not None and not profile.deleted:
            return True
        if profile is None:
            return any(
                isinstance(s.body, Customer | ManualSubscription | ForeignBilling) for s in self.statements.values()
            )
        return bool(self.live(self.statements["profile"].as_of))

    def live(self, at: datetime) -> tuple[Subscription, ...]:
        """The subscriptions that have not ended by `at`, be it by a date that they carry."""
        running = (one for one in self.subscriptions if one.status not in TERMINAL)
        return tuple(one for one in running if one.ends_at is None or one.ends_at > at)

    @property
    def profile(self) -> Profile | None:
        statement = self.statements.get("profile")
        return statement.body if statement and isinstance(statement.body, Profile) else None

    @property
    def name(self) -> str:
        """What the host calls the account, else what the provider calls its customer."""
        if self.profile is not None and self.profile.name:
            return self.profile.name
        return next((customer.name for customer in self.customers if customer.name), "")

    @property
    def customers(self) -> tuple[Customer, ...]:
        return tuple(s.body for s in self._ordered() if isinstance(s.body, Customer))

    @property
    def clock_at(self) -> datetime | None:
        """What the test clock shows by which a customer of it lives; None: it lives in everybody's time."""
        shown = (customer.clock_at for customer in self.customers if not customer.deleted)
        return max((instant for instant in shown if instant is not None), default=None)

    def time(self, at: datetime) -> datetime:
        """What time it is for this account when it is `at` for everybody else. A test clock stands still until its
        next reading tells that it was advanced (https://docs.stripe.com/billing/testing/test-clocks)."""
        return self.clock_at or at

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Every subscription as it counts: latched when ended, on its last understood status otherwise, and its prices
        by the names they were last known by."""
        found: list[Subscription] = []
        for statement in self._ordered():
            # What an operator or another system states is corrected by what they state next, and by nothing else.
            stated = subscriptions_of(statement.body)
            found.extend(map(self._counts, stated) if isinstance(statement.body, Customer) else stated)
        return tuple(found)

    @property
    def contracts(self) -> dict[str, Contract]:
        """What was agreed by contract, by the subscription that follows from it."""
        bodies = (s.body for s in self._ordered())
        return {
            b.subscription.id: b.contract
            for b in bodies
            if isinstance(b, ManualSubscription) and b.subscription is not None and b.contract is not None
        }

    @property
    def overrides(self) -> dict[str, Override]:
        bodies = (s.body for s in self._ordered())
        return {b.feature: b for b in bodies if isinstance(b, Override) and not b.withdrawn}

    @property
    def blocks(self) -> dict[str, Block]:
        bodies = (s.body for s in self._ordered())
        return {b.key: b for b in bodies if isinstance(b, Block) and not b.lifted}

    @property
    def leeways(self) -> dict[str, DowngradeGrace]:
        """What plan changes left for a while, ended or not."""
        bodies = (s.body for s in self._ordered())
        return {b.feature: b for b in bodies if isinstance(b, DowngradeGrace)}

    @property
    def members(self) -> dict[str, Member]:
        bodies = (s.body for s in self._ordered())
        return {b.key: b for b in bodies if isinstance(b, Member) and b.role is not None and not b.invited}

    def invitations(self, at: datetime) -> dict[str, Member]:
        """Who is asked to become a member, and has not yet."""
        bodies = (s.body for s in self._ordered())
        return {b.key: b for b in bodies if isinstance(b, Member) and b.is_invited(at)}

    @property
    def pins(self) -> dict[str, Pin]:
        bodies = (s.body for s in self._ordered())
        return {b.key: b for b in bodies if isinstance(b, Pin) and not b.withdrawn}

    @property
    def seated(self) -> dict[str, datetime]:
        """The members with a seat and since when, whoever was given theirs first comes first; at one instant by key."""
        return self._since(lambda one: not one.invited)

    def holding_seats(self, at: datetime) -> dict[str, datetime]:
        """Whose seats are taken, and since when: the members with one, and then whoever is invited and holds one."""
        return {**self.seated, **self._since(lambda one: one.is_invited(at))}

    def _since(self, counts: Callable[[Member], bool]) -> dict[str, datetime]:
        since = {
            b.key: b.seated_at or s.as_of
            for s in self._ordered()
            if isinstance(b := s.body, Member) and b.role is not None and b.seat and counts(b)
        }
        return dict(sorted(since.items(), key=lambda pair: (pair[1], pair[0])))

    def _ordered(self) -> list[Statement]:
        return [self.statements[subject] for subject in sorted(self.statements)]

    def _counts(self, subscription: Subscription) -> Subscription:
        latched = self.latched.get(subscription.id)
        if latched is not None:
            return self.named(latched.subscription)
        if subscription.status is None and (known := self.understood.get(subscription.id)) is not None:
            subscription = replace(subscription, status=known.subscription.status)
        return self.named(subscription)

    def named(self, subscription: Subscription) -> Subscription:
        """With the names its prices had before: a lookup key that another price has taken over says what is sold from
        then on, and nothing of those who bought before (https://docs.stripe.com/products-prices/manage-prices)."""
        items = tuple(map(self._item, subscription.items))
        paid = None if subscription.paid_items is None else tuple(map(self._item, subscription.paid_items))
        later = tuple(replace(phase, items=tuple(map(self._item, phase.items))) for phase in subscription.next)
        if (items, paid, later) == (subscription.items, subscription.paid_items, subscription.next):
            return subscription
        return replace(subscription, items=items, paid_items=paid, next=later)

    def _item(self, item: Item) -> Item:
        if item.price is None or (item.lookup_key is not None and item.product is not None):
            return item
        known = [one for its in self.purchases.values() for one in its if one.price == item.price]
        lookup_key = item.lookup_key or _latest((one.sequence, one.lookup_key) for one in known)
        product = item.product or _latest((one.sequence, one.product) for one in known)
        if lookup_key == item.lookup_key and product == item.product:
            return item
        return replace(item, lookup_key=lookup_key, product=product)


def replay(key: str, facts: Iterable[Fact]) -> Account:
    """Fold facts of one account, in any order."""
    account = Account(key=key)
    for fact in facts:
        account = apply(account, fact)
    return account


def apply(account: Account, fact: Fact) -> Account:
    """Take one more fact into the account. A fact older than what is known changes nothing but the latches. Of nodes
    there may be thousands: an account only counts their facts (ADR 41)."""
    if isinstance(fact.body, Node):
        return replace(account, version=max(account.version, fact.number))
    stated = account.statements.get(fact.subject)
    statements = account.statements
    if stated is None or (fact.sequence, fact.number) > (stated.sequence, stated.number):
        statement = Statement(fact.sequence, fact.number, fact.as_of, fact.body)
        statements = {**statements, fact.subject: statement}
    return Account(
        key=account.key,
        version=max(account.version, fact.number),
        since=_earliest(account.since, fact.body),
        statements=statements,
        latched=_sighted(account.latched, fact, terminal=True),
        understood=_sighted(account.understood, fact, terminal=False),
        purchases=_purchased(account.purchases, fact),
        began=_began(account.began, fact),
        anchors=_anchored(account.anchors, fact),
        zones=_zoned(account.zones, fact),
    )


def says_something_new(account: Account, subject: str, body: Body) -> bool:
    """Whether this statement differs from what the account already holds of the subject."""
    stated = account.statements.get(subject)
    return stated is None or stated.body != body


def _earliest(since: datetime | None, body: Body) -> datetime | None:
    match body:
        case Customer(deleted=False, created_at=created_at) | Profile(created_at=created_at):
            return created_at if since is None else min(since, created_at)
        case _:
            return since


def _began(began: Began | None, fact: Fact) -> Began | None:
    match fact.body:
        case Customer(deleted=False, created_at=created_at) | Profile(created_at=created_at):
            stated = Began(fact.as_of, created_at)
            return stated if began is None else min(stated, began, key=lambda one: (one.seen_at, one.created_at))
        case _:
            return began


def _zoned(zones: tuple[Zoned, ...], fact: Fact) -> tuple[Zoned, ...]:
    """The latest zones that were stated, in the order of when."""
    if not isinstance(fact.body, Profile) or fact.body.time_zone is None:
        return zones
    stated = {*zones, Zoned(fact.as_of, fact.number, fact.body.time_zone)}
    return tuple(sorted(stated, key=lambda one: (one.since, one.number)))[-ZONES_MAX:]


def _anchored(anchors: dict[str, tuple[Anchored, ...]], fact: Fact) -> dict[str, tuple[Anchored, ...]]:
    """Which anchors a subscription has had, and what was billed under each: of all that was stated, in whatever order,
    the first."""
    changed: dict[str, tuple[Anchored, ...]] = {}
    # What is billed by a test clock is told by what that shows.
    as_of = (fact.body.clock_at if isinstance(fact.body, Customer) else None) or fact.as_of
    for subscription in subscriptions_of(fact.body):
        stated = _anchor_of(subscription, as_of)
        before = anchors.get(subscription.id, ())
        known = {one.anchor_at: one for one in before}
        if stated is None or known.get(stated.anchor_at) == stated:
            continue
        other = known.get(stated.anchor_at, stated)
        known[stated.anchor_at] = Anchored(
            stated.anchor_at,
            stated.begun or other.begun,
            min(filter(None, (stated.stub_from_at, other.stub_from_at)), default=None),
            min(filter(None, (stated.free_from_at, other.free_from_at)), default=None),
            tuple(sorted({*stated.foreseen, *other.foreseen}, key=lambda one: (one.stated_at, repr(one.billed_at)))),
        )
        after = tuple(known[anchor_at] for anchor_at in sorted(known))
        if after != before:
            changed[subscription.id] = after
    return {**anchors, **changed} if changed else anchors


def _anchor_of(subscription: Subscription, as_of: datetime) -> Anchored | None:
    """What this statement says of its anchor; None: nothing is billed, or it is not known."""
    anchor_at, from_at, unpaid_since = subscription.anchor_at, period_from(subscription), subscription.unpaid_since
    match subscription.status:
        case "trialing":
            foreseen = (Foreseen(as_of, end_billed_at(subscription)),)
            return Anchored(anchor_at, free_from_at=from_at or subscription.started_at, foreseen=foreseen)
        case "past_due" | "unpaid" if from_at == anchor_at and unpaid_since is not None and unpaid_since <= from_at:
            # A cycle begun by an invoice that nobody paid; a renewal is charged an hour after its period began.
            return None
        case "active" | "past_due" | "unpaid" if from_at is None or from_at >= anchor_at:
            return Anchored(anchor_at, begun=True)
        case "active" | "past_due" | "unpaid":
            return Anchored(anchor_at, stub_from_at=from_at)
        case _:
            return None


def end_billed_at(subscription: Subscription) -> datetime | None:
    """When the end of the trial that it is in will be billed, as things stand; None: it will not be."""
    if subscription.after_trial in (*NOT_LIVE, "paused"):
        return None
    billed_at = max(subscription.anchor_at, subscription.trial_ends_at or subscription.anchor_at)
    return billed_at if subscription.ends_at is None or billed_at < subscription.ends_at else None


def period_from(subscription: Subscription) -> datetime | None:
    """When the period began that it is in, as it was read."""
    return min((item.period_from_at for item in subscription.items if item.period_from_at is not None), default=None)


def _sighted(sightings: dict[str, Sighting], fact: Fact, *, terminal: bool) -> dict[str, Sighting]:
    # Only a provider's subscriptions latch: an operator may correct what an operator stated.
    if not isinstance(fact.body, Customer):
        return sightings
    changed = {
        subscription.id: Sighting(fact.sequence, subscription)
        for subscription in fact.body.subscriptions
        if (subscription.status in TERMINAL if terminal else subscription.status is not None)
        and not (subscription.id in sightings and sightings[subscription.id].sequence >= fact.sequence)
    }
    return {**sightings, **changed} if changed else sightings


def _purchased(purchases: dict[str, tuple[Purchase, ...]], fact: Fact) -> dict[str, tuple[Purchase, ...]]:
    """The first date of each line and what it bought, and the last statement of it: the smallest and the largest of
    all that were stated, in whatever order."""
    changed: dict[str, tuple[Purchase, ...]] = {}
    for subscription in subscriptions_of(fact.body):
        before = purchases.get(subscription.id, ())
        known = {_bought(one): one for one in before}
        for item in subscription.items:
            # What is paid by use is paid for no time to come, and neither is a trial.
            paid_until = item.period_until if subscription.status == "active" and not item.metered else None
            said = fact.sequence, item.quantity, fact.as_of, paid_until
            one = Purchase(*_named(item), fact.as_of, item.created_at, *said)
            other = known.get(_bought(one), one)
            last = max(one, other, key=lambda each: (each.sequence, each.quantity, each is one))
            known[_bought(one)] = replace(
                one,
                seen_at=min(one.seen_at, other.seen_at),
                created_at=min(filter(None, (one.created_at, other.created_at)), default=None),
                sequence=last.sequence,
                quantity=last.quantity,
                last_at=last.last_at,
                paid_until=max(filter(None, (one.paid_until, other.paid_until)), default=None),
            )
        after = tuple(known[name] for name in sorted(known, key=repr))
        if after != before:
            changed[subscription.id] = after
    return {**purchases, **changed} if changed else purchases


def _latest(said: Iterable[tuple[int, str | None]]) -> str | None:
    """The name that was stated last."""
    return max(((sequence, name) for sequence, name in said if name is not None), default=(0, None))[1]


_Named = tuple[str, str | None, str | None, str | None, str | None]


def _named(item: Item) -> _Named:
    return item.id, item.price, item.lookup_key, item.product, item.plan


def _bought(one: Purchase) -> _Named:
    return one.item, one.price, one.lookup_key, one.product, one.plan
