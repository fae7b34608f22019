"""The catalog: what is sold. Features, credits, plans, add-ons, prices and policies of one published version.

Laws: a published version never changes; one key names one thing, over plans and add-ons, and over features and
credits. How a document becomes a catalog is the business of `parse.py`.
"""

from datetime import datetime, timedelta
from typing import Literal, get_args

from msgspec import Struct

from paygrade.catalog.offers import PRIORITY, Cap, Carry, Credit, Feature, OveragePrice
from paygrade.values.periods import Every, Recurrence

Interval = Literal["day", "week", "month", "year"]
Overage = Literal["hard", "soft", "debt"]


class Switch(Struct, frozen=True, tag="switch", tag_field="term"):
    """A boolean feature is on, or explicitly off."""

    feature: str
    on: bool


class Setting(Struct, frozen=True, tag="setting", tag_field="term"):
    """A config feature has this value."""

    feature: str
    value: int | str | bool


class Allowance(Struct, frozen=True, tag="allowance", tag_field="term"):
    """Units of a metered feature, a level or a credit.

    `units` None: unlimited. `by_quantity`: `units` for each of the subscription item's quantity, or, with `per`, for
    each unit of that level which the same subscription pays for. `adds`: on top of what the plan allows instead of
    beside it. `recurrence` None: held for good (levels), or counted over the last `rolling_s` seconds where that is
    set. `overage` soft: going over is allowed, for `overage_price` where one is set, and then up to `spend_max` minor
    units in a window; debt: it is allowed, and taken from the next window. `warn`: percentages of the units, ascending.
    `rollover`: units carried to the next window at most, of what is left `rollover_share` percent, and each for
    `rollover_windows` windows (None: for as long as there is room). `per_member`: what one member may use of the units.
    `caps`: limits in other windows, all of which hold. `priority`: the burn order, 0 to 100, lower first.
    """

    feature: str
    units: int | None
    by_quantity: bool = False
    adds: bool = False
    recurrence: Recurrence | None = None
    rolling_s: int | None = None
    overage: Overage = "hard"
    overage_price: OveragePrice | None = None
    spend_max: int | None = None
    warn: tuple[int, ...] = ()
    rollover: int = 0
    per_member: int | None = None
    caps: tuple[Cap, ...] = ()
    priority: int = PRIORITY
    per: str | None = None
    rollover_share: int = 100
    rollover_windows: int | None = None


Term = Switch | Setting | Allowance


Part = Literal["quantity", "flat", "usage"]
"""What a price is paid for: each of the quantity bought; the plan or add-on as such, once; or what is used of it."""
PARTS: tuple[Part, ...] = get_args(Part)


class Tier(Struct, frozen=True, omit_defaults=True):
    """What units cost up to the one of number `up_to` (None: all that are more): `amount` minor units for every `per`,
    and `flat` once."""

    amount: int = 0
    per: int = 1
    up_to: int | None = None
    flat: int = 0


TiersMode = Literal["graduated", "volume"]


class Price(Struct, frozen=True):
    """What a plan or add-on costs for an interval. `stripe` is a price's lookup key or id at the provider.

    Prices of one `part` are alternatives; who buys the plan or add-on buys one of each part, and of usage one for each
    `feature`. Of usage `amount` is what every `per` units of the feature cost, 0 where only the provider knows; with
    `tiers`, that follows from how many there are.
    """

    key: str
    amount: int
    currency: str
    interval: Interval
    interval_count: int = 1
    stripe: str | None = None
    part: Part = "quantity"
    feature: str | None = None
    per: int = 1
    tiers: tuple[Tier, ...] = ()
    tiers_mode: TiersMode = "graduated"

    @property
    def line(self) -> str:
        """Prices of one line are alternatives: those of one part, or of the usage of one feature."""
        return self.part if self.feature is None else f"{self.part} {self.feature}"


class Quantities(Struct, frozen=True, omit_defaults=True):
    """Which quantities of a plan or add-on are sold. `at_most` None: however many anyone likes."""

    at_least: int = 1
    at_most: int | None = None
    step: int = 1

    def has(self, quantity: int) -> bool:
        return self.at_least <= quantity <= (self.at_most or quantity) and quantity % self.step == 0

    def __str__(self) -> str:
        most = f"from {self.at_least} to {self.at_most}" if self.at_most is not None else f"from {self.at_least}"
        return most if self.step == 1 else f"{most}, in steps of {self.step}"


LadderAccess = Literal["full", "read", "none"]
LADDER_ACCESS: tuple[LadderAccess, ...] = get_args(LadderAccess)
"""From wide to narrow: a ladder only ever goes on to the right."""


class Step(Struct, frozen=True):
    """A rung of an access ladder. It lasts until `until` after the anchor (None: for good).

    `access` is what is left of the subscription's own plans. `plan` set (access is "none" then): the subscription
    counts as that plan instead.
    """

    until: timedelta | None
    access: LadderAccess
    plan: str | None = None


Ladder = tuple[Step, ...]
"""Steps in order; the last one has `until` None."""


class Ladders(Struct, frozen=True, omit_defaults=True):
    """The access ladders that a plan has of its own. None: the catalog's count for it, too."""

    past_due: Ladder | None = None
    unpaid: Ladder | None = None
    paused: Ladder | None = None


class Plan(Struct, frozen=True):
    """A plan at one version. `rank` is its place in the document: later is higher. `ladders` are no part of the
    version: those of the plan as it is sold today count for all who have it."""

    key: str
    version: int
    rank: int
    terms: dict[str, Term] = {}
    prices: dict[str, Price] = {}
    default: bool = False
    trial_days: int | None = None
    stripe_product: str | None = None
    description: str = ""
    quantities: Quantities | None = None
    ladders: Ladders = Ladders()

    @property
    def ref(self) -> str:
        return f"{self.key}@{self.version}"


class AddOn(Struct, frozen=True):
    """An add-on at one version: bought beside a plan, counted by its item's quantity."""

    key: str
    version: int
    terms: dict[str, Term] = {}
    prices: dict[str, Price] = {}
    stripe_product: str | None = None
    description: str = ""
    quantities: Quantities | None = None

    @property
    def ref(self) -> str:
        return f"{self.key}@{self.version}"


Direction = Literal["upgrade", "downgrade", "lateral"]
When = Literal["now", "period_end", "refuse"]
Proration = Literal["charge_now", "next_invoice", "none"]
OverLimit = Literal["refuse", "block_new", "grace", "keep"]
OverSeats = Literal["suspend", "owner_chooses", "release_newest", "release_least_active"]
"""What becomes of members with a seat over the new number of seats."""
Anchor = Literal["keep", "reset"]


class PlanChangeRule(Struct, frozen=True, omit_defaults=True):
    """One row of `policies.plan_change`; the first row that matches wins.

    `anchor` reset: billing periods begin anew with the change. `over_limit` says what happens to what is used or held
    over the new limit, `over_limits` what happens to it of single features; None: new use is blocked, as ever.
    `grace` is how long the word of that name lasts. `cooling_off`: for how long after a change by this rule its plan
    cannot be changed back; `cools_for_period`: for the period that is paid for then. `seats` says who loses a seat when
    there are fewer.
    """

    from_plan: str = "*"
    to_plan: str = "*"
    direction: Direction | None = None
    when: When = "now"
    proration: Proration = "none"
    anchor: Anchor = "keep"
    usage: Carry = "keep"
    over_limit: OverLimit | None = None
    over_limits: dict[str, OverLimit] = {}
    grace: timedelta | None = None
    cooling_off: timedelta | None = None
    cools_for_period: bool = False
    seats: OverSeats = "suspend"


Reversal = Literal["take_back", "keep"]
"""What becomes of units that were paid for when the money goes back."""


class TopUp(Struct, frozen=True):
    """Buy `add` credits for `amount` minor units when fewer than `below` are left, `at_most` times in each `every`.

    `refund`, `dispute`: what becomes of them when the payment is refunded, or disputed and not won.
    """

    credit: str
    below: int
    add: int
    at_most: int
    every: Every
    amount: int
    currency: str
    refund: Reversal = "take_back"
    dispute: Reversal = "take_back"


Trials = Literal["once", "always", "never"]


class CheckoutPolicy(Struct, frozen=True):
    """What a checkout may offer: the trial of its plan, `coupons` of the provider (`any_coupon`: whichever there is),
    and whether customers may type a promotion code in. `trial` once: to an account that never had one."""

    trial: Trials = "once"
    coupons: tuple[str, ...] = ()
    any_coupon: bool = False
    promotion_codes: bool = False


class Invitations(Struct, frozen=True):
    """How long an invitation stands (None: until it is withdrawn), and whether a seat is held for it meanwhile."""

    expire_after: timedelta | None = timedelta(days=14)
    hold_seat: bool = True


INVITATIONS = Invitations()
"""What holds where nobody says."""

Consequence = Literal["ignore", "void_rest", "end_at_period_end", "read_only", "end_now"]
"""What becomes of what a payment bought when it goes back, from mild to strict."""


class Consequences(Struct, frozen=True):
    """What follows when the `full` payment goes back, and what when a part of it does."""

    full: Consequence = "ignore"
    partial: Consequence = "ignore"


class ReturnedPayment(Struct, frozen=True):
    """What follows, for a subscription, when the payment of its period is refunded, disputed, lost by a dispute, or
    credited by a credit note. `dispute_lost` None: what follows while it is disputed goes on."""

    refund: Consequences = Consequences()
    dispute: Consequences = Consequences()
    dispute_lost: Consequences | None = None
    credit_note: Consequences = Consequences()


RemovedItems = Literal["now", "period_end"]
"""When an item stops counting that is removed at the provider in a period it was paid for."""


class Policies(Struct, frozen=True):
    """What happens when payment fails or goes back, when plans change, when items are removed, when credits (`top_ups`,
    by credit) run low, and to invitations; and what a checkout may offer."""

    past_due: Ladder
    unpaid: Ladder
    paused: Ladder
    plan_change: tuple[PlanChangeRule, ...]
    top_ups: dict[str, TopUp] = {}
    checkout: CheckoutPolicy = CheckoutPolicy()
    returned: ReturnedPayment = ReturnedPayment()
    invitations: Invitations = INVITATIONS
    removed_items: RemovedItems = "now"


class Grandfathered(Struct, frozen=True, omit_defaults=True):
    """Who bought a plan or add-on before `before_at` keeps this version of it until `until` (None: for good)."""

    version: int
    before_at: datetime
    until: datetime | None = None


class Catalog(Struct, frozen=True, omit_defaults=True):
    """One version of everything sold, and what is kept of what was sold before.

    Every mapping keeps the order of the document. A plan's `version` grows when what it gives or costs changes,
    not with the catalog's. `stripe` maps a price id, a price's lookup key or a product id
    to the plan or add-on it buys (one namespace: keys are unique over plans and add-ons).

    The `earlier_` ones are every version that was sold before, by `pro@3`, and what the provider called them where that
    means nothing else today. `keeps` says, for a plan or add-on that was changed, who keeps which version; the first
    that applies decides, and without one the newest version counts.
    """

    version: int
    features: dict[str, Feature]
    credits: dict[str, Credit]
    plans: dict[str, Plan]
    add_ons: dict[str, AddOn]
    policies: Policies
    stripe: dict[str, str]
    earlier_plans: dict[str, Plan] = {}
    earlier_add_ons: dict[str, AddOn] = {}
    earlier_stripe: dict[str, str] = {}
    keeps: dict[str, tuple[Grandfathered, ...]] = {}
    time_zone: str = "UTC"
    """Of accounts that state none."""

    @property
    def default_plan(self) -> Plan | None:
        return next((plan for plan in self.plans.values() if plan.default), None)


def newest(catalog: Catalog, key: str) -> Plan | AddOn | None:
    """The plan or add-on as it is sold today; None: it is not."""
    return catalog.plans.get(key) or catalog.add_ons.get(key)


def earlier(catalog: Catalog, ref: str) -> Plan | AddOn | None:
    """What was sold before as `pro@3`."""
    return catalog.earlier_plans.get(ref) or catalog.earlier_add_ons.get(ref)


def versions_of(catalog: Catalog, key: str) -> dict[int, Plan | AddOn]:
    """Every version of a plan or add-on that can be held to, the newest last."""
    before: tuple[Plan | AddOn, ...] = (*catalog.earlier_plans.values(), *catalog.earlier_add_ons.values())
    found = {sold.version: sold for sold in before if sold.key == key}
    present = newest(catalog, key)
    return dict(sorted((found if present is None else {**found, present.version: present}).items()))


def find_key(
    catalog: Catalog, *, price: str | None, lookup_key: str | None, product: str | None, plan: str | None
) -> str | None:
    """Find which plan or add-on an item of a subscription buys, of whatever version.

    The first of these that the catalog knows decides: the plan's or add-on's key (`pro`; `pro@3` is read as `pro`),
    the provider's price id, the price's lookup key, the product; then what these bought before, where they buy nothing
    else today.
    """
    key = (plan or "").partition("@")[0]
    if key and (newest(catalog, key) is not None or versions_of(catalog, key)):
        return key
    refs = [ref for ref in (price, lookup_key, product) if ref]
    for known in (catalog.stripe, catalog.earlier_stripe):
        for ref in refs:
            if ref in known:
                return known[ref]
    return None


def find_bought(
    catalog: Catalog, *, price: str | None, lookup_key: str | None, product: str | None, plan: str | None
) -> Plan | AddOn | None:
    """Find what an item of a subscription buys, as it is sold today, or was at last where its buyers keep it.

    None when the catalog does not know it. Which version counts for whom, `versions.py` says.
    """
    key = find_key(catalog, price=price, lookup_key=lookup_key, product=product, plan=plan)
    if key is None:
        return None
    found = newest(catalog, key)
    if found is None and key in catalog.keeps:
        return list(versions_of(catalog, key).values())[-1]
    return found


_NOTHING = (Step(until=None, access="none"),)


NO_CATALOG = Catalog(
    version=0,
    features={},
    credits={},
    plans={},
    add_ons={},
    policies=Policies(past_due=_NOTHING, unpaid=_NOTHING, paused=_NOTHING, plan_change=()),
    stripe={},
)
"""What is in force before the first catalog is published: nothing is sold."""
