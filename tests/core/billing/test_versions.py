"""Which version counts for whom: pins, keeps and the newest, and what publishing does to those who bought before."""

from datetime import datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.accounts import Account, replay
from paygrade.billing.facts import Customer, Fact, Item, ManualSubscription, Pin, Subscription
from paygrade.billing.versions import pinned
from paygrade.catalog.grandfathering import FOLLOW, Grandfathering, succeed
from paygrade.catalog.model import AddOn, Allowance, Catalog, Grandfathered, Plan, Setting, Switch, Term, find_bought
from paygrade.catalog.offers import ConfigFeature
from paygrade.catalog.parse import parse
from paygrade.entitlements.derive import derive
from paygrade.entitlements.findings import findings
from paygrade.entitlements.sources import versions_had
from support.samples import (
    CATALOG,
    T0,
    account_with,
    accounts,
    customer_fact,
    instants,
    item,
    operator_fact,
    subscription,
)

DAY = timedelta(days=1)
LATER = T0 + 400 * DAY
"""After everything that the facts of the samples tell of."""
KEEP = Grandfathering(keep=True)


def other_term(term: Term, units: int) -> Term:
    """The same line with other numbers: how it counts stays as it is."""
    match term:
        case Switch():
            return replace(term, on=units % 2 == 0)
        case Setting():
            return replace(term, value=units)
        case Allowance():
            return replace(term, units=units)


def edited(base: Catalog, units: dict[str, int], existing: Grandfathering, at: datetime) -> Catalog:
    """The catalog that follows when these plans and add-ons give other numbers."""

    def next_version(sold: Plan | AddOn) -> Plan | AddOn:
        if sold.key not in units:
            return sold
        terms = {key: other_term(term, units[sold.key]) for key, term in sold.terms.items()}
        return replace(sold, version=sold.version + 1, terms=terms)

    wanted = replace(
        base,
        version=base.version + 1,
        plans={key: next_version(plan) for key, plan in base.plans.items()},
        add_ons={key: next_version(add_on) for key, add_on in base.add_ons.items()},
    )
    return succeed(base, wanted, existing, at)


edits = st.dictionaries(st.sampled_from([*CATALOG.plans, *CATALOG.add_ons]), st.integers(0, 9), min_size=1)


def on(account: Account, catalog: Catalog, at: datetime = T0) -> dict[str, str]:
    return {version.key: f"{version.version} {version.why}" for version in versions_had(account, catalog, at)}


@given(accounts, st.lists(edits, min_size=1, max_size=3), instants)
def test_what_is_kept_changes_by_no_push(account: Account, pushes: list[dict[str, int]], at: datetime) -> None:
    catalog = CATALOG
    for number, units in enumerate(pushes):
        catalog = edited(catalog, units, KEEP, LATER + number * DAY)
    held = replace(account, statements={k: s for k, s in account.statements.items() if not isinstance(s.body, Pin)})
    before, after = derive(held, CATALOG, at), derive(held, catalog, at)
    assert after.entitlements == before.entitlements
    assert after.until == before.until


@given(accounts, edits, instants)
def test_who_follows_has_the_newest_version_of_everything(
    account: Account, units: dict[str, int], at: datetime
) -> None:
    wanted = edited(CATALOG, units, FOLLOW, LATER)
    alone = replace(wanted, earlier_plans={}, earlier_add_ons={}, earlier_stripe={})
    free = replace(account, statements={k: s for k, s in account.statements.items() if not isinstance(s.body, Pin)})
    assert derive(free, wanted, at) == derive(free, alone, at)
    assert all(version.why == "newest" for version in versions_had(free, wanted, at))


@given(accounts, edits, instants, st.sampled_from(["pro", "free", "archive"]), st.booleans())
def test_what_was_pinned_and_taken_back_is_as_if_it_had_never_been(
    account: Account, units: dict[str, int], at: datetime, key: str, keep: bool
) -> None:
    catalog = edited(CATALOG, units, Grandfathering(keep=keep), LATER)
    stated = account.pins.get(key)
    moved = pinned(account, Pin(key, 1), at)
    back = pinned(moved, stated or Pin(key, withdrawn=True), at)
    assert derive(back, catalog, at).entitlements == derive(account, catalog, at).entitlements


@given(accounts, edits, st.integers(1, 60))
def test_who_follows_at_a_date_does_so_on_the_instant(account: Account, units: dict[str, int], days: int) -> None:
    free = replace(account, statements={k: s for k, s in account.statements.items() if not isinstance(s.body, Pin)})
    date = T0 + days * DAY
    kept = edited(CATALOG, units, Grandfathering(follow_at=date), LATER)
    followed = edited(CATALOG, units, FOLLOW, LATER)
    moment = timedelta(microseconds=1)
    before = derive(free, kept, date - moment)
    assert without_ends(before.entitlements) == without_ends(derive(free, CATALOG, date - moment).entitlements)
    assert derive(free, kept, date).entitlements == derive(free, followed, date).entitlements
    if any(version.why == "kept" for version in versions_had(free, kept, date - moment)):
        assert before.until == date


def without_ends(entitlements: object) -> object:
    """Sources end where another version takes their place, which is not what they give."""

    def stripped(value: object) -> object:
        if isinstance(value, dict):
            return {key: stripped(inner) for key, inner in value.items() if key != "until"}
        return [stripped(inner) for inner in value] if isinstance(value, list | tuple) else value

    return stripped(msgspec.to_builtins(entitlements))


def bought(*, created_at: datetime, seen_at: datetime, what: str = "pro", number: int = 1) -> Fact:
    """A reading as of `seen_at` in which a line, made at `created_at`, buys this."""
    line = Item("si_1", price=f"price_{what}", lookup_key={"pro": "pro_monthly"}.get(what),
                product={"scale": "prod_scale"}.get(what), created_at=created_at)  # fmt: skip
    body = Customer("cus_1", T0, (Subscription("sub_1", "active", (line,), T0),))
    return Fact(number, "stripe:cus_1", number, seen_at, body)


PUBLISHED = T0 + 10 * DAY
KEPT = edited(CATALOG, {"pro": 5, "scale": 5}, KEEP, PUBLISHED)


def test_who_bought_before_keeps_and_who_buys_later_gets_the_newest() -> None:
    early = bought(created_at=PUBLISHED - DAY, seen_at=PUBLISHED - DAY)
    late = bought(created_at=PUBLISHED, seen_at=PUBLISHED)
    assert on(replay("acme", [early]), KEPT, PUBLISHED) == {"pro": "3 kept"}
    assert on(replay("acme", [late]), KEPT, PUBLISHED) == {"pro": "4 newest"}


def test_late_news_of_an_early_purchase_keeps_as_well() -> None:
    learned_late = bought(created_at=PUBLISHED - timedelta(seconds=1), seen_at=PUBLISHED + 3 * DAY)
    assert on(replay("acme", [learned_late]), KEPT, PUBLISHED + 3 * DAY) == {"pro": "3 kept"}


def test_a_plan_swapped_in_after_the_push_is_the_newest_on_an_old_line() -> None:
    started = T0 - 100 * DAY
    scale = bought(created_at=started, seen_at=started, what="scale")
    pro = bought(created_at=started, seen_at=PUBLISHED + DAY, number=2)
    account = replay("acme", [pro, scale])
    assert on(account, KEPT, PUBLISHED + DAY) == {"pro": "4 newest"}
    assert on(replay("acme", [scale]), KEPT, PUBLISHED + DAY) == {"scale": "1 kept"}


def test_another_price_of_the_same_plan_keeps_what_is_kept() -> None:
    prices = {**CATALOG.stripe, "pro_yearly": "pro"}
    catalog = replace(KEPT, stripe=prices)
    monthly = bought(created_at=T0, seen_at=T0)
    yearly = msgspec.convert(
        msgspec.to_builtins(bought(created_at=T0, seen_at=PUBLISHED + DAY, number=2)), Fact, strict=False
    )
    assert isinstance(yearly.body, Customer)
    line = replace(yearly.body.subscriptions[0].items[0], price="price_yearly", lookup_key="pro_yearly")
    body = replace(yearly.body, subscriptions=(replace(yearly.body.subscriptions[0], items=(line,)),))
    assert on(replay("acme", [monthly, replace(yearly, body=body)]), catalog, PUBLISHED + DAY) == {"pro": "3 kept"}


def test_each_push_keeps_for_those_who_bought_under_the_one_before() -> None:
    second = edited(KEPT, {"pro": 6}, KEEP, PUBLISHED + 10 * DAY)
    at = PUBLISHED + 20 * DAY
    for days, expected in ((-1, "3 kept"), (1, "4 kept"), (11, "5 newest")):
        date = PUBLISHED + days * DAY
        assert on(replay("acme", [bought(created_at=date, seen_at=date)]), second, at) == {"pro": expected}


def test_who_keeps_until_a_date_keeps_what_a_later_push_lets_them_keep() -> None:
    dated = edited(CATALOG, {"pro": 5}, Grandfathering(follow_at=PUBLISHED + 30 * DAY), PUBLISHED)
    second = edited(dated, {"pro": 6}, KEEP, PUBLISHED + 10 * DAY)
    account = replay("acme", [bought(created_at=T0, seen_at=T0)])
    assert on(account, second, PUBLISHED + 20 * DAY) == {"pro": "3 kept"}
    assert on(account, second, PUBLISHED + 30 * DAY) == {"pro": "4 kept"}


def test_a_pin_outranks_what_the_catalog_keeps_until_it_is_withdrawn() -> None:
    account = replay("acme", [bought(created_at=T0, seen_at=T0)])
    newest = pinned(account, Pin("pro"), T0)
    assert on(newest, KEPT, PUBLISHED) == {"pro": "4 pinned"}
    assert on(pinned(newest, Pin("pro", withdrawn=True), T0), KEPT, PUBLISHED) == {"pro": "3 kept"}
    dated = pinned(account, Pin("pro", 4, until=PUBLISHED + DAY, then=3), T0)
    assert on(dated, KEPT, PUBLISHED) == {"pro": "4 pinned"}
    assert on(dated, KEPT, PUBLISHED + DAY) == {"pro": "3 pinned"}
    ends = pinned(account, Pin("pro", 4, until=PUBLISHED + DAY), T0)
    assert on(ends, KEPT, PUBLISHED + DAY) == {"pro": "3 kept"}
    turns = pinned(account, Pin("pro", 3, until=PUBLISHED + DAY, then="newest"), T0)
    assert on(turns, KEPT, PUBLISHED + DAY) == {"pro": "4 pinned"}


def test_a_plan_sold_no_more_goes_on_for_those_who_keep_it() -> None:
    gone = replace(CATALOG, plans={k: p for k, p in CATALOG.plans.items() if k != "scale"},
                   stripe={"pro_monthly": "pro"})  # fmt: skip
    kept, followed = (succeed(CATALOG, gone, existing, PUBLISHED) for existing in (KEEP, FOLLOW))
    account = account_with(subscription(item("scale")))
    assert on(account, kept, PUBLISHED) == {"scale": "1 kept"}
    assert derive(account, kept, T0).entitlements == derive(account, CATALOG, T0).entitlements
    assert findings(account, kept, T0) == ()
    assert on(account, followed, PUBLISHED) == {"free": "1 newest"}
    assert [finding.code for finding in findings(account, followed, T0)] == ["unmapped_price"]
    assert on(pinned(account, Pin("scale", 1), T0), followed, PUBLISHED) == {"scale": "1 pinned"}
    assert findings(pinned(account, Pin("scale", 1), T0), followed, T0) == ()


def test_a_price_sold_no_more_still_buys_its_plan_unless_another_takes_it() -> None:
    named = {"price": None, "lookup_key": "pro_monthly", "product": None, "plan": None}
    wanted = replace(CATALOG, plans={**CATALOG.plans, "pro": replace(CATALOG.plans["pro"], version=4)})
    after = succeed(CATALOG, replace(wanted, stripe={"pro_2027": "pro"}), FOLLOW, PUBLISHED)
    assert find_bought(after, **named) == after.plans["pro"]
    twice = succeed(after, replace(wanted, stripe={"pro_2028": "pro"}), FOLLOW, PUBLISHED + DAY)
    assert find_bought(twice, **named) == twice.plans["pro"]
    taken = succeed(CATALOG, replace(wanted, stripe={"pro_monthly": "scale"}), FOLLOW, PUBLISHED)
    assert find_bought(taken, **named) == taken.plans["scale"]


def test_what_is_kept_of_a_feature_that_became_another_kind_is_left_out() -> None:
    features = {
        **CATALOG.features,
        "exports": replace(CATALOG.features["seats"], key="exports"),
        "retention": ConfigFeature("retention", type="string"),
    }
    turned = replace(edited(CATALOG, {"pro": 4}, KEEP, PUBLISHED), features=features)
    found = derive(account_with(subscription(item("pro"))), turned, T0).entitlements
    assert not found["exports"].granted
    assert (found["retention"].granted, found["retention"].value) == (False, None)
    assert found["editor"].granted
    assert found["editor"].plan == "pro@3"


def test_the_default_plan_is_kept_by_who_was_there_before() -> None:
    catalog = edited(CATALOG, {"free": 5}, KEEP, PUBLISHED)
    old, new = (replay("acme", [Fact(1, "stripe:cus_1", 1, date, Customer("cus_1", date))]) for date in (T0, PUBLISHED))
    assert on(old, catalog, PUBLISHED) == {"free": "1 kept"}
    assert on(new, catalog, PUBLISHED) == {"free": "2 newest"}


def test_a_subscription_billed_by_hand_was_bought_when_it_was_first_stated() -> None:
    stated = ManualSubscription(Subscription("sub_m", "active", (Item("main", plan="pro@9"),), T0 - 300 * DAY))
    account = replay("acme", [operator_fact("subscription:sub_m", stated)])
    assert on(account, KEPT, PUBLISHED) == {"pro": "3 kept"}
    late = replace(operator_fact("subscription:sub_m", stated), as_of=PUBLISHED)
    assert on(replay("acme", [late]), KEPT, PUBLISHED) == {"pro": "4 newest"}


def test_a_plan_that_is_sold_again_counts_on_from_its_last_version() -> None:
    features = {"seats": {"kind": "level"}}
    sold = {"version": 1, "features": features, "plans": {"pro": {"entitlements": {"seats": 5}}}}
    first = parse(sold)
    second = succeed(first, parse({**sold, "plans": {}}, version=2, previous=first), FOLLOW, T0)
    again = {**sold, "plans": {"pro": {"entitlements": {"seats": 6}}}}
    assert parse(again, version=3, previous=second).plans["pro"].ref == "pro@2"
    third = succeed(second, parse(sold, version=3, previous=second), FOLLOW, T0)
    assert third.plans["pro"].ref == "pro@1"
    assert third.earlier_plans == {}


def test_a_catalog_with_what_it_keeps_survives_being_stored() -> None:
    assert KEPT.keeps == {"pro": (Grandfathered(3, PUBLISHED),), "scale": (Grandfathered(1, PUBLISHED),)}
    assert msgspec.json.decode(msgspec.json.encode(KEPT), type=Catalog) == KEPT


def test_a_purchase_keeps_its_first_date_however_often_it_is_read() -> None:
    readings = [bought(created_at=T0, seen_at=T0 + days * DAY, number=number) for number, days in ((3, 9), (1, 2))]
    (purchase,) = replay("acme", readings).purchases["sub_1"]
    assert purchase.seen_at == T0 + 2 * DAY
    assert customer_fact(subscription()).body != readings[0].body
