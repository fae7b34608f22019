"""A small catalog, and Hypothesis strategies for the facts of one account."""

from datetime import UTC, datetime, timedelta
from typing import get_args

from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.accounts import Account, replay
from paygrade.billing.facts import (
    Block,
    Body,
    Customer,
    Departed,
    DowngradeGrace,
    Fact,
    ForeignBilling,
    Item,
    ManualSubscription,
    Member,
    Node,
    Override,
    Phase,
    Pin,
    Profile,
    ReturnedOfPeriod,
    Subscription,
)
from paygrade.catalog.model import (
    AddOn,
    Allowance,
    Catalog,
    Consequences,
    Plan,
    Policies,
    ReturnedPayment,
    Setting,
    Step,
    Switch,
)
from paygrade.catalog.offers import (
    BooleanFeature,
    Burn,
    Cap,
    ConfigFeature,
    Credit,
    LevelFeature,
    MeteredFeature,
    OveragePrice,
    Rate,
)
from paygrade.values.periods import Recurrence
from paygrade.values.states import Status

T0 = datetime(2026, 3, 10, 12, tzinfo=UTC)
MONTH = Recurrence("month")

CATALOG = Catalog(
    version=7,
    features={
        "exports": BooleanFeature("exports", access="export"),
        "editor": BooleanFeature("editor"),
        "billing_admin": BooleanFeature("billing_admin", access="admin", roles=("owner",)),
        "retention": ConfigFeature("retention", "integer", unit="day", access="read"),
        "seats": LevelFeature("seats", unit="seat"),
        "api_calls": MeteredFeature("api_calls", "api_call"),
        "builds": MeteredFeature("builds", "build"),
        "tokens": MeteredFeature(
            "tokens", "completion", burns=(Burn("ai_credits", 1, 1000, "model", {"large": Rate(3, 1000)}),)
        ),
    },
    credits={"ai_credits": Credit("ai_credits")},
    plans={
        "free": Plan(
            "free",
            1,
            0,
            {
                "api_calls": Allowance("api_calls", 1000, recurrence=MONTH),
                "builds": Allowance("builds", 10, recurrence=Recurrence("lifetime")),
                "seats": Allowance("seats", 1),
                "retention": Setting("retention", 7),
            },
            default=True,
        ),
        "pro": Plan(
            "pro",
            3,
            1,
            {
                "exports": Switch("exports", True),
                "editor": Switch("editor", True),
                "billing_admin": Switch("billing_admin", True),
                "seats": Allowance("seats", 1, by_quantity=True),
                "api_calls": Allowance("api_calls", 100_000, recurrence=MONTH),
                "builds": Allowance(
                    "builds",
                    200,
                    recurrence=Recurrence("month", calendar=True, zone="Europe/Berlin"),
                    warn=(80,),
                    rollover=20,
                    per_member=50,
                    caps=(Cap(10, Recurrence("hour")), Cap(2, rolling_s=60)),
                    priority=20,
                ),
                "ai_credits": Allowance("ai_credits", 5000, recurrence=MONTH),
                "retention": Setting("retention", 90),
            },
        ),
        "scale": Plan(
            "scale",
            1,
            2,
            {
                "exports": Switch("exports", True),
                "editor": Switch("editor", False),
                "builds": Allowance("builds", 500, rolling_s=86400),
                "seats": Allowance("seats", None),
                "api_calls": Allowance(
                    "api_calls",
                    500_000,
                    recurrence=MONTH,
                    overage="soft",
                    overage_price=OveragePrice(2, 1000, "usd"),
                    spend_max=501,
                ),
                "retention": Setting("retention", 365),
            },
        ),
    },
    add_ons={
        "extra_calls": AddOn(
            "extra_calls",
            1,
            {"api_calls": Allowance("api_calls", 50_000, by_quantity=True, adds=True, recurrence=MONTH)},
        ),
        "archive": AddOn("archive", 2, {"retention": Setting("retention", 3650)}),
    },
    policies=Policies(
        past_due=(
            Step(timedelta(days=7), "full"),
            Step(timedelta(days=21), "read"),
            Step(None, "none", "free"),
        ),
        unpaid=(Step(None, "none", "free"),),
        paused=(Step(None, "none"),),
        plan_change=(),
        returned=ReturnedPayment(
            refund=Consequences("end_now", "void_rest"),
            dispute=Consequences("end_at_period_end"),
            dispute_lost=Consequences("end_now"),
            credit_note=Consequences("void_rest", "void_rest"),
        ),
        removed_items="period_end",
    ),
    stripe={"pro_monthly": "pro", "prod_scale": "scale", "price_calls": "extra_calls", "archive_yearly": "archive"},
)

BOUGHT = {
    "pro": Item("si_pro", lookup_key="pro_monthly", price="price_x"),
    "scale": Item("si_scale", product="prod_scale", price="price_y"),
    "extra_calls": Item("si_calls", price="price_calls"),
    "archive": Item("si_archive", lookup_key="archive_yearly"),
    "nothing": Item("si_unmapped", price="price_unmapped"),
}


def item(what: str, quantity: int = 1) -> Item:
    """An item that buys this plan or add-on of the sample catalog."""
    known = BOUGHT[what]
    return Item(known.id, quantity, known.price, known.lookup_key, known.product)


def subscription(
    *items: Item,
    status: Status | None = "active",
    id: str = "sub_1",
    **known: datetime | str | bool | tuple[Phase, ...] | None,
) -> Subscription:
    return Subscription(id, status, items or (item("pro"),), T0, **known)  # type: ignore[arg-type]


def customer_fact(*subscriptions: Subscription, number: int = 1, customer: str = "cus_1") -> Fact:
    body = Customer(customer, T0 - timedelta(days=30), subscriptions)
    return Fact(number, f"stripe:{customer}", number, T0, body)


def operator_fact(subject: str, body: Body, number: int = 50) -> Fact:
    return Fact(number, subject, number, T0, body)


def account_with(*subscriptions: Subscription, facts: tuple[Fact, ...] = ()) -> Account:
    return replay("acme", (customer_fact(*subscriptions), *facts))


instants = st.integers(-40 * 86400, 120 * 86400).map(lambda s: T0 + timedelta(seconds=s))
maybe_instants = st.none() | instants
items_of = st.builds(
    lambda what, quantity, created_at, paid_until: replace(
        item(what, quantity), created_at=created_at, period_until=paid_until
    ),
    st.sampled_from(sorted(BOUGHT)),
    st.integers(0, 5),
    maybe_instants,
    maybe_instants,
)

money = st.just(0) | st.integers(1, 9900)
returned = st.builds(
    ReturnedOfPeriod,
    refunded=money, disputed=money, lost=money, credited=money, paid=st.integers(0, 9900), until=maybe_instants,
)  # fmt: skip
phases = st.builds(Phase, instants, st.lists(items_of, min_size=1, max_size=2).map(tuple), maybe_instants)


@st.composite
def subscriptions(draw: st.DrawFn, ids: str) -> Subscription:
    status: Status | None = draw(st.sampled_from([*get_args(Status), None]))
    to_come = {phase.from_at: phase for phase in draw(st.lists(phases, max_size=2))}
    return Subscription(
        draw(st.sampled_from([f"sub_{ids}1", f"sub_{ids}2"])),
        status,
        tuple(draw(st.lists(items_of, min_size=1, max_size=3))),
        draw(instants),
        provider_status=status or "napping",
        trial_ends_at=draw(maybe_instants) if status == "trialing" else None,
        after_trial=draw(st.sampled_from(["active", "canceled", "paused"])),
        ends_at=draw(maybe_instants),
        unpaid_since=draw(maybe_instants) if status in ("past_due", "unpaid") else None,
        trial_ran_out=draw(st.booleans()),
        next=tuple(to_come[from_at] for from_at in sorted(to_come)),
        returned=draw(st.none() | returned) if status == "active" else None,
    )


@st.composite
def customers(draw: st.DrawFn, name: str) -> Customer:
    found = {s.id: s for s in draw(st.lists(subscriptions(name), max_size=2))}
    return Customer(f"cus_{name}", draw(instants), tuple(found.values()))


overrides = st.one_of(
    st.builds(
        Override,
        st.sampled_from(["exports", "editor"]),
        value=st.none() | st.booleans(),
        expires_at=maybe_instants,
        starts_at=maybe_instants,
    ),
    st.builds(
        Override,
        st.sampled_from(["api_calls", "builds", "seats", "ai_credits"]),
        limit=st.none() | st.integers(0, 10**6),
        expires_at=maybe_instants,
    ),
    st.builds(
        Override,
        st.sampled_from(["api_calls", "builds", "seats"]),
        add=st.integers(1, 10**6),
        expires_at=maybe_instants,
    ),
    st.builds(
        Override,
        st.sampled_from(["api_calls", "builds"]),
        spend_cap=st.integers(0, 10**6),
        expires_at=maybe_instants,
    ),
    st.builds(
        Override, st.just("retention"), value=st.integers(0, 9999), expires_at=maybe_instants, starts_at=maybe_instants
    ),
    st.builds(Override, st.sampled_from(["api_calls", "builds"]), unlimited=st.just(True), expires_at=maybe_instants),
)
blocks = st.builds(
    Block, st.sampled_from(["fraud", "admin"]), st.just("chargeback"), maybe_instants, lifted=st.booleans()
)
leeways = st.builds(
    DowngradeGrace,
    st.sampled_from(["api_calls", "builds", "seats"]),
    st.none() | st.integers(0, 500_000),
    instants,
    st.just("chg_1"),
)
pins = st.builds(
    Pin,
    st.sampled_from(["pro", "free", "archive"]),
    st.none() | st.integers(1, 3),
    maybe_instants,
    st.none() | st.just("newest") | st.integers(1, 3),
    withdrawn=st.booleans(),
)
members = st.builds(
    Member, st.sampled_from(["ann", "bo", "cy"]), st.none() | st.sampled_from(["owner", "editor"]), st.booleans()
)


def _subject(body: Body) -> str:
    match body:
        case Customer(id=id):
            return f"stripe:{id}"
        case Departed():
            return "stripe:cus_a"
        case Override(feature=feature):
            return f"override:{feature}"
        case DowngradeGrace(feature=feature):
            return f"leeway:{feature}"
        case Block(key=key):
            return f"block:{key}"
        case Node(path=path):
            return f"node:{path}"
        case Member(key=key):
            return f"member:{key}"
        case Pin(key=key):
            return f"version:{key}"
        case Profile():
            return "profile"
        case ManualSubscription(subscription=stated):
            return f"subscription:{stated.id if stated else 'sub_manual1'}"
        case ForeignBilling(source=source):
            return f"billing:{source}"


bodies: st.SearchStrategy[Body] = st.one_of(
    customers("a"),
    customers("a"),
    customers("b"),
    st.just(Departed("other")),
    overrides,
    blocks,
    members,
    leeways,
    pins,
    st.builds(
        Profile, instants, st.just("Acme"), time_zone=st.sampled_from([None, "", "Asia/Kolkata", "America/New_York"])
    ),
    st.builds(
        lambda stated, begins_at: ManualSubscription(replace(stated, begins_at=begins_at)),
        subscriptions("manual"),
        maybe_instants,
    ),
    st.builds(lambda its: ForeignBilling("recurly", its.subscriptions), customers("recurly")),
)


@st.composite
def fact_lists(draw: st.DrawFn) -> list[Fact]:
    """Facts of one account as they were saved: numbered, each subject's sequence growing."""
    said = draw(st.lists(bodies, max_size=8))
    return [Fact(n, _subject(body), n * 3, T0 + timedelta(minutes=n), body) for n, body in enumerate(said, start=1)]


accounts = fact_lists().map(lambda facts: replay("acme", facts))
