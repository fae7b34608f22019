"""Quotes of plan changes, told as cases of support: what is asked, what is said, and what would become of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.accounts import Account, apply, replay
from paygrade.billing.facts import (
    Body,
    Customer,
    Fact,
    Item,
    ManualSubscription,
    Member,
    Override,
    Phase,
    Subscription,
)
from paygrade.catalog.grandfathering import Grandfathering, succeed
from paygrade.catalog.model import Catalog
from paygrade.catalog.parse import parse
from paygrade.changes.impact import Cooling, Violation
from paygrade.changes.quote import Quote, quote
from paygrade.changes.request import ChangeRequest
from paygrade.decisions.take import snapshot
from paygrade.entitlements.derive import derive
from paygrade.usage.balances import Balance
from paygrade.values.errors import Refused

JAN31, FEB28 = datetime(2026, 1, 31, 12, tzinfo=UTC), datetime(2026, 2, 28, 12, tzinfo=UTC)
"""The period that runs; 28 days."""
FEB14, MAR31 = datetime(2026, 2, 14, 12, tzinfo=UTC), datetime(2026, 3, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def price(key: str, amount: int, interval: str = "month", currency: str = "usd") -> dict[str, Any]:
    return {"amount": amount, "currency": currency, "interval": interval, "stripe": f"{key}_{interval}"}


def monthly_and_yearly(key: str, amount: int) -> dict[str, Any]:
    return {"monthly": price(key, amount), "yearly": price(key, amount * 10, "year")}


DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "exports": {"kind": "boolean"},
        "sso": {"kind": "boolean"},
        "retention": {"kind": "config", "type": "integer"},
        "seats": {"kind": "level", "unit": "seat"},
        "projects": {"kind": "level"},
        "calls": {"kind": "metered"},
        "tokens": {"kind": "metered", "event": "completion", "burns": {"coins": {"rate": 1}}},
    },
    "credits": {"coins": {}},
    "plans": {
        "free": {
            "default": True,
            "entitlements": {"seats": 1, "projects": 2, "calls": {"limit": 100, "every": "month"}},
        },
        "pro": {
            "prices": monthly_and_yearly("pro", 2800),
            "entitlements": {
                "exports": True,
                "retention": 90,
                "seats": {"limit": "quantity"},
                "projects": 10,
                "calls": {"limit": 1000, "every": "month"},
                "coins": {"grant": 500, "every": "month"},
            },
        },
        "scale": {
            "prices": monthly_and_yearly("scale", 8400),
            "entitlements": {
                "exports": True,
                "sso": True,
                "retention": 365,
                "seats": {"limit": "quantity"},
                "projects": "unlimited",
                "calls": {"limit": 5000, "every": "month"},
                "coins": {"grant": 5000, "every": "month"},
            },
        },
        "japan": {
            "prices": {"monthly": price("japan", 980, currency="jpy")},
            "entitlements": {"exports": True, "seats": {"limit": "quantity"}},
        },
        "legacy": {"prices": {"a": price("legacy_a", 100), "b": price("legacy_b", 200)}},
        "world": {"prices": {"dollars": price("dollars", 100), "euros": price("euros", 100, currency="eur")}},
        "internal": {},
    },
    "add_ons": {
        "more_calls": {
            "prices": {"monthly": price("more_calls", 1400)},
            "entitlements": {"calls": {"add": 500, "every": "month"}},
        }
    },
}


def catalog(*rules: dict[str, Any]) -> Catalog:
    """The catalog with these rules, or with the usual ones."""
    rest = [] if any(not {"from", "to", "direction"} & set(rule) for rule in rules) else [{"when": "now"}]
    policies = {"plan_change": [*rules, *rest]} if rules else {}
    return parse({**DOCUMENT, "policies": policies})


USUAL = catalog()
NOW: dict[str, Any] = {"when": "now", "proration": "charge_now"}


def bought(key: str, quantity: int = 1, *, interval: str = "month", id: str | None = None) -> Item:
    until = FEB28 if interval == "month" else JAN31.replace(year=2027)
    return Item(id or f"si_{key}", quantity, f"price_{key}", f"{key}_{interval}", None, None, JAN31, until)


def account(*items: Item, facts: tuple[Body, ...] = (), **known: Any) -> Account:
    subscription = Subscription("sub_1", known.pop("status", "active"), items or (bought("pro", 3),), JAN31, **known)
    bodies: list[tuple[str, Body]] = [("stripe:cus_1", Customer("cus_1", JAN31, (subscription,)))]
    bodies += [(f"{type(body).__name__.lower()}:{number}", body) for number, body in enumerate(facts)]
    stated = [Fact(n, subject, n, JAN31, body) for n, (subject, body) in enumerate(bodies, start=1)]
    return replay("acme", stated)


def asked(
    known: Account,
    wanted: ChangeRequest,
    sold: Catalog = USUAL,
    *,
    at: datetime = FEB14,
    calls: int = 0,
    levels: dict[str, int] | None = None,
    coolings: tuple[Cooling, ...] = (),
) -> Quote:
    """The quote, with so many calls used in the window that runs, and so much held of each level."""
    seen = snapshot(known, sold, at)
    window = seen.segments[0].entitlements["calls"].from_at
    balances = {"calls": Balance(calls, 0, window), **{k: Balance(n) for k, n in (levels or {}).items()}}
    return quote(known, sold, replace(seen, balances=balances), wanted, at, coolings=coolings)


def deltas(made: Quote) -> dict[str, tuple[str, str, str]]:
    return {delta.feature: (delta.how, delta.before, delta.after) for delta in made.deltas}


def sums(made: Quote) -> tuple[int, int, int]:
    return made.money.credit, made.money.charge, made.money.due_now


def warnings(made: Quote) -> list[str]:
    return [caveat.code for caveat in made.warnings]


# Upgrades


def test_an_upgrade_in_mid_period_gives_more_at_once_and_charges_the_difference() -> None:
    made = asked(account(), ChangeRequest(plan="scale"), calls=900)
    assert (made.direction, made.plan_before, made.plan_after) == ("upgrade", "pro@1", "scale@1")
    assert (made.matched.number, made.matched.rule.direction) == (1, "upgrade")
    assert (made.when, made.effective_at, made.ends, made.executable) == ("now", FEB14, False, True)
    assert deltas(made) == {
        "sso": ("gains", "no (not_in_plan)", "yes"),
        "retention": ("changes", "90", "365"),
        "projects": ("gains", "10", "unlimited"),
        "calls": ("gains", "1000", "5000"),
        "tokens": ("gains", "500", "5000"),
        "coins": ("gains", "500", "5000"),
    }
    calls = next(delta for delta in made.deltas if delta.feature == "calls")
    assert (calls.decision_before.remaining, calls.decision_after.remaining) == (100, 4100)
    assert sums(made) == (3 * 1400, 3 * 4200, 3 * 2800)
    assert made.money.next_invoice is not None
    assert (made.money.next_invoice.at, made.money.next_invoice.due) == (FEB28, 3 * 8400)
    assert [(item.how, item.id, item.before, item.after) for item in made.items] == [
        ("changed", "si_pro", "pro", "scale")
    ]
    assert (made.violations, made.usage, made.warnings, made.trial) == ((), (), (), None)


def test_who_goes_back_to_what_they_bought_before_a_push_gets_the_version_they_kept() -> None:
    """As `versions.py` counts it once it is bought again: a quote says what will hold (ADR 10)."""
    document = {**DOCUMENT, "plans": {**DOCUMENT["plans"]}, "add_ons": {**DOCUMENT["add_ons"]}}
    document["plans"]["pro"] = {**DOCUMENT["plans"]["pro"], "entitlements": {"projects": 7}}
    document["add_ons"]["more_calls"] = {**DOCUMENT["add_ons"]["more_calls"], "entitlements": {"seats": {"add": 1}}}
    sold = succeed(USUAL, parse(document, version=2, previous=USUAL), Grandfathering(keep=True), JAN31 + DAY)
    known = account(bought("pro", id="si_1"), bought("more_calls"))
    customer = known.customers[0]
    (subscription,) = customer.subscriptions
    only = replace(subscription, items=(bought("scale", id="si_1"),))
    known = apply(known, Fact(2, "stripe:cus_1", 2, JAN31 + 2 * DAY, replace(customer, subscriptions=(only,))))
    made = asked(known, ChangeRequest(plan="pro", add_ons={"more_calls": 1}), sold)
    assert made.plan_after == "pro@1"
    assert deltas(made)["projects"] == ("loses", "unlimited", "10")
    assert deltas(made)["calls"] == ("loses", "5000", "1500")
    other = account(bought("scale", id="si_1"))
    assert asked(other, ChangeRequest(plan="pro"), sold).plan_after == "pro@2"


def test_an_override_that_stands_above_what_is_bought_is_no_gain() -> None:
    known = account(facts=(Override("sso", value=True), Override("calls", limit=7)))
    made = asked(known, ChangeRequest(plan="scale"), calls=9)
    assert {"sso", "calls"}.isdisjoint(deltas(made))
    assert made.violations == ()


def test_the_account_is_only_looked_at() -> None:
    known = account()
    before = derive(known, USUAL, FEB14)
    asked(known, ChangeRequest(plan="scale"))
    assert (known.version, derive(known, USUAL, FEB14)) == (1, before)


# Downgrades, and what is over the limit

OVER = {"calls": 700, "levels": {"projects": 9, "seats": 3}}


@pytest.mark.parametrize(
    ("words", "policy", "until", "executable"),
    [
        ({}, "block_new", None, True),
        ({"over_limit": "block_new"}, "block_new", None, True),
        ({"over_limit": "refuse"}, "refuse", None, False),
        ({"over_limit": "grace", "grace": "14d"}, "grace", FEB28 + 14 * DAY, True),
        ({"over_limit": "keep"}, "keep", FEB28 + 31 * DAY, True),
        ({"over_limit": {"projects": "keep", "*": "refuse"}}, "keep", FEB28 + 31 * DAY, True),
    ],
)
def test_a_downgrade_at_the_period_s_end_says_what_becomes_of_what_is_over(
    words: dict[str, Any], policy: Any, until: datetime | None, executable: bool
) -> None:
    """Projects stay over the month; calls are counted anew in the next one."""
    sold = catalog({"direction": "downgrade", "when": "period_end", **words})
    made = asked(
        account(bought("scale", 3)), ChangeRequest(plan="pro"), sold, calls=2000, levels={"projects": 12, "seats": 3}
    )
    assert (made.direction, made.when, made.effective_at) == ("downgrade", "period_end", FEB28)
    assert made.violations == (Violation("projects", "usage", 12, 10, policy, until),)
    assert made.executable is executable
    assert sums(made) == (0, 0, 0)
    assert made.money.next_invoice is not None
    assert (made.money.next_invoice.at, made.money.next_invoice.total) == (FEB28, 3 * 2800)
    assert deltas(made)["sso"] == ("loses", "yes", "no (not_in_plan)")
    assert deltas(made)["projects"] == ("loses", "unlimited", "10")
    projects = next(delta for delta in made.deltas if delta.feature == "projects")
    assert (projects.decision_after.allowed, projects.decision_after.reason) == (False, "limit_reached")


def test_a_downgrade_now_is_over_in_this_month_s_calls_too() -> None:
    sold = catalog({"direction": "downgrade", **NOW, "over_limit": {"calls": "refuse"}})
    made = asked(account(bought("scale")), ChangeRequest(plan="pro"), sold, calls=2000, levels={"projects": 12})
    assert made.violations == (
        Violation("projects", "usage", 12, 10, "block_new"),
        Violation("calls", "usage", 2000, 1000, "refuse"),
    )
    assert not made.executable
    assert sums(made) == (4200, 1400, 0)
    assert made.money.invoice is not None
    assert (made.money.invoice.total, made.money.invoice.due) == (-2800, 0)
    assert made.money.next_invoice is not None
    assert (made.money.next_invoice.total, made.money.next_invoice.due) == (2800, 0)


def test_members_with_a_seat_are_counted_against_the_new_seats() -> None:
    people = [Member(name, "editor", seat=True) for name in ("ann", "bo", "cy")]
    known = account(facts=(*people, Member("dee", "viewer")))
    made = asked(known, ChangeRequest(quantities={"seats": 2}), levels={"seats": 3})
    assert made.direction == "downgrade"
    assert made.violations == (Violation("seats", "members", 3, 2, "block_new", seats="suspend", members=("cy",)),)


def test_going_to_the_free_plan_ends_the_subscription_with_its_add_ons() -> None:
    made = asked(account(bought("pro"), bought("more_calls")), ChangeRequest(plan="free"), levels={"projects": 5})
    assert (made.ends, made.effective_at, made.money.next_invoice) == (True, FEB28, None)
    assert [item.how for item in made.items] == ["removed", "removed"]
    assert deltas(made)["calls"] == ("loses", "1500", "100")
    assert made.violations == (Violation("projects", "usage", 5, 2, "block_new"),)


# Quantities, add-ons, intervals


def test_more_seats_are_an_upgrade_and_charged_for_the_time_left() -> None:
    made = asked(account(), ChangeRequest(quantities={"seats": 5}))
    assert (made.direction, deltas(made)) == ("upgrade", {"seats": ("gains", "3", "5")})
    assert sums(made) == (3 * 1400, 5 * 1400, 2 * 1400)


def test_the_plan_s_own_key_counts_what_its_seats_count() -> None:
    by_plan, by_seats = (asked(account(), ChangeRequest(quantities={key: 5})) for key in ("pro", "seats"))
    assert replace(by_plan, wanted=by_seats.wanted) == by_seats


def test_an_add_on_comes_on_top_and_goes_again() -> None:
    made = asked(account(), ChangeRequest(add_ons={"more_calls": 2}))
    assert (made.direction, deltas(made)) == ("upgrade", {"calls": ("gains", "1000", "2000")})
    assert sums(made) == (0, 1400, 1400)
    added = made.items[1]
    assert (added.how, added.id, added.after, added.price_after) == ("added", None, "more_calls", "more_calls_month")
    gone = asked(
        account(bought("pro", 3), bought("more_calls", 2)), ChangeRequest(add_ons={"more_calls": 0}), calls=1700
    )
    assert (gone.direction, gone.when, gone.items[1].how) == ("downgrade", "period_end", "removed")
    assert gone.violations == ()


def test_more_of_one_thing_and_less_of_another_is_neither_up_nor_down() -> None:
    made = asked(account(), ChangeRequest(quantities={"seats": 2}, add_ons={"more_calls": 1}))
    assert (made.direction, made.matched.number, made.when) == ("lateral", 3, "now")
    assert sums(made) == (0, 0, 0)


@pytest.mark.parametrize(("mode", "anchor_kept"), [("flexible", True), ("classic", False)])
def test_from_a_month_to_a_year_is_an_upgrade_in_either_billing_mode(mode: Any, anchor_kept: bool) -> None:
    """Classic billing begins anew, and with it the month that calls are counted in; flexible keeps its days."""
    made = asked(account(billing_mode=mode), ChangeRequest(interval="yearly"), calls=900)
    assert made.direction == "upgrade"
    assert made.money.credit == 3 * 1400
    assert (made.money.charge == 3 * 28_000) is not anchor_kept
    assert [(one.feature, one.how, one.used_after) for one in made.usage] == (
        [] if anchor_kept else [("calls", "new_window", 0)]
    )
    assert made.money.next_invoice is not None
    assert made.money.next_invoice.at == (JAN31 if anchor_kept else FEB14).replace(year=2027)


def test_from_a_year_to_a_month_waits_for_the_year_s_end() -> None:
    made = asked(account(bought("pro", 3, interval="year")), ChangeRequest(interval="month"))
    assert (made.direction, made.effective_at) == ("downgrade", JAN31.replace(year=2027))
    assert made.money.next_invoice is not None
    assert (made.money.next_invoice.at, made.money.next_invoice.total) == (JAN31.replace(year=2027), 3 * 2800)


def test_another_plan_keeps_the_interval_unless_another_is_asked_for() -> None:
    yearly = account(bought("pro", interval="year"))
    assert asked(yearly, ChangeRequest(plan="scale")).items[0].price_after == "scale_year"
    assert asked(yearly, ChangeRequest(plan="scale", interval="monthly")).items[0].price_after == "scale_month"


@pytest.mark.parametrize("mode", ["classic", "flexible"])
def test_a_year_that_begins_where_the_month_ends_is_billed_whole_then(mode: Any) -> None:
    made = asked(account(billing_mode=mode), ChangeRequest(interval="yearly", when="period_end"))
    assert (sums(made), made.money.invoice) == ((0, 0, 0), None)
    assert made.money.next_invoice is not None
    assert [(line.amount, line.from_at, line.until) for line in made.money.next_invoice.lines] == [
        (3 * 28_000, FEB28, FEB28.replace(year=2027))
    ]


# What is used counts on


@pytest.mark.parametrize(("usage", "after"), [("keep", 900), ("reset", 0), ("convert", 4500), ("prorate", 2900)])
def test_a_rule_says_what_of_the_usage_counts_after_the_change(usage: str, after: int) -> None:
    """Prorated: half of the window is over, so 500 old units and 2500 new ones are there, and 5000 are shown."""
    made = asked(account(), ChangeRequest(plan="scale"), catalog({**NOW, "usage": usage}), calls=900)
    said = [(one.feature, one.how, one.used_before, one.used_after) for one in made.usage if one.feature == "calls"]
    assert said == ([] if usage == "keep" else [("calls", usage, 900, after)])
    calls = next(delta for delta in made.deltas if delta.feature == "calls")
    assert (calls.decision_before.used, calls.decision_after.used) == (900, after)


@pytest.mark.parametrize(("usage", "after"), [("keep", 0), ("reset", 0), ("convert", 0), ("prorate", 2000)])
def test_units_that_nobody_has_used_yet_are_prorated_as_well(usage: str, after: int) -> None:
    """As above: 3000 of the 5000 units are there for this window, whether some were used before or not."""
    made = asked(account(), ChangeRequest(plan="scale"), catalog({**NOW, "usage": usage}), calls=0)
    calls = next(delta for delta in made.deltas if delta.feature == "calls")
    assert (calls.decision_after.used, calls.decision_after.remaining) == (after, 5000 - after)


def test_usage_that_is_converted_is_not_over_the_limit() -> None:
    sold = catalog({**NOW, "usage": "convert"})
    made = asked(account(bought("scale")), ChangeRequest(plan="pro"), sold, calls=4000)
    assert [(one.used_before, one.used_after) for one in made.usage] == [(4000, 800)]
    assert made.violations == ()


# Trials, arrears, dates


def test_in_a_trial_access_changes_at_once_and_money_when_it_ends() -> None:
    trial = replace(bought("pro", 3), period_until=FEB28)
    made = asked(account(trial, status="trialing", trial_ends_at=FEB28), ChangeRequest(plan="scale"))
    assert made.trial is not None
    assert (made.trial.effect, made.trial.ends_at) == ("goes_on", FEB28)
    assert sums(made) == (0, 0, 0)
    assert made.money.next_invoice is not None
    assert (made.money.next_invoice.at, made.money.next_invoice.due) == (FEB28, 3 * 8400)
    assert next(d.decision_after.reason for d in made.deltas if d.feature == "sso") == "trial"


def test_a_downgrade_in_a_trial_waits_for_its_end() -> None:
    made = asked(
        account(bought("scale"), status="trialing", trial_ends_at=FEB28, after_trial="canceled"),
        ChangeRequest(plan="pro"),
    )
    assert made.trial is not None
    assert (made.effective_at, made.trial.effect, made.money.next_invoice) == (FEB28, "is_over", None)


def test_a_trial_that_is_given_up_ends_with_the_subscription() -> None:
    made = asked(account(status="trialing", trial_ends_at=FEB28), ChangeRequest(plan="free", when="now"))
    assert made.trial is not None
    assert (made.trial.effect, made.trial.ends_at, warnings(made)) == ("ends", FEB14, ["other_than_policy"])


def test_in_arrears_the_ladder_goes_on_and_a_warning_says_so() -> None:
    known = account(status="past_due", unpaid_since=FEB14 - DAY)
    made = asked(known, ChangeRequest(plan="scale"))
    assert warnings(made) == ["payment_overdue"]
    assert next(d.decision_after.reason for d in made.deltas if d.feature == "sso") == "grace"
    later = asked(known, ChangeRequest(plan="scale"), at=FEB14 + 8 * DAY)
    assert "sso" not in deltas(later)


def test_on_the_last_day_of_february_the_month_ends_and_returns_to_the_31st() -> None:
    made = asked(account(), ChangeRequest(plan="scale", when="period_end"), at=FEB28 - timedelta(seconds=1))
    assert made.effective_at == FEB28
    assert made.money.next_invoice is not None
    assert {line.until for line in made.money.next_invoice.lines} == {MAR31}
    late = asked(account(), ChangeRequest(plan="scale"), at=FEB28 - timedelta(seconds=1))
    assert sums(late) == (0, 0, 0)


def test_a_date_to_come_is_billed_then_and_nothing_is_due_now() -> None:
    made = asked(account(), ChangeRequest(plan="scale", date=FEB14 + 7 * DAY))
    assert (made.when, made.effective_at, warnings(made)) == ("date", FEB14 + 7 * DAY, ["other_than_policy"])
    assert sums(made) == (3 * 700, 3 * 2100, 0)
    assert made.money.invoice is not None
    assert (made.money.invoice.at, made.money.invoice.due) == (FEB14 + 7 * DAY, 3 * 1400)
    beyond = asked(account(), ChangeRequest(plan="scale", date=FEB28 + 14 * DAY))
    assert beyond.money.invoice is not None
    assert {line.until for line in beyond.money.invoice.lines} == {MAR31}


def test_a_currency_without_minor_units_is_counted_in_whole_ones() -> None:
    sold = catalog(NOW)
    made = asked(account(bought("japan")), ChangeRequest(quantities={"seats": 3}), sold, at=FEB14 + 5 * DAY)
    assert (made.money.currency, sums(made)) == ("jpy", (315, 945, 630))


def test_of_two_prices_the_one_in_the_present_currency_is_meant() -> None:
    made = asked(account(), ChangeRequest(plan="world"))
    assert (made.items[0].price_after, made.money.currency, warnings(made)) == ("dollars_month", "usd", [])


def test_another_currency_is_warned_of() -> None:
    made = asked(account(), ChangeRequest(plan="japan"))
    assert warnings(made) == ["currency_mismatch"]
    assert made.money.currency == "jpy"


def test_whatever_else_is_going_on_is_warned_of() -> None:
    known = account(bought("pro"), bought("unheard_of"), ends_at=FEB28, schedule="sub_sched_1")
    calls = Item("si_calls", 1, "price_calls", "more_calls_month", metered=True)
    made = asked(known, ChangeRequest(plan="scale", coupon="half"))
    assert warnings(made) == ["pending_cancellation", "scheduled_elsewhere", "price_unknown", "coupon_not_counted"]
    assert made.money.next_invoice is None
    assert warnings(asked(account(bought("pro"), calls), ChangeRequest(plan="scale"))) == ["metered_not_counted"]
    assert warnings(asked(account(status="paused"), ChangeRequest(plan="scale"))) == ["not_active"]


def test_a_change_takes_the_place_of_what_was_planned() -> None:
    known = account(bought("scale", 3), schedule="sub_sched_1", next=(Phase(FEB28, (bought("pro", 2),)),))
    made = asked(known, ChangeRequest(quantities={"seats": 4}, date=FEB28 + timedelta(days=1)))
    assert warnings(made)[0] == "scheduled_elsewhere"
    assert deltas(made)["seats"] == ("gains", "2", "4")


def test_of_several_subscriptions_the_highest_plan_s_is_meant_unless_one_is_named() -> None:
    other = Subscription("sub_2", "active", (bought("scale"),), JAN31)
    known = apply(account(), Fact(9, "stripe:cus_2", 9, JAN31, Customer("cus_2", JAN31, (other,))))
    made = asked(known, ChangeRequest(quantities={"seats": 5}))
    assert (made.subscription, warnings(made)) == ("sub_2", ["several_subscriptions"])
    named = asked(known, ChangeRequest(quantities={"seats": 5}, subscription="sub_1"))
    assert (named.subscription, warnings(named)) == ("sub_1", [])


def test_a_subscription_billed_by_hand_is_quoted_by_the_same_formula() -> None:
    stated = Subscription("own", "active", (Item("main", 3, "monthly", plan="pro"),), JAN31)
    known = replay("acme", [Fact(1, "subscription:own", 1, JAN31, ManualSubscription(stated))])
    made = asked(known, ChangeRequest(plan="scale", quantities={"seats": 4}))
    assert sums(made) == (3 * 1400, 4 * 4200, 4 * 4200 - 3 * 1400)
    assert deltas(made)["seats"] == ("gains", "3", "4")
    assert asked(known, ChangeRequest(plan="internal")).plan_after == "internal@1"


# Refused


@pytest.mark.parametrize(
    ("wanted", "code", "message"),
    [
        (ChangeRequest(plan="proo"), "unknown_plan", "there is no plan `proo`; the catalog has `free`, `pro`"),
        (
            ChangeRequest(add_ons={"calls": 1}),
            "unknown_add_on",
            "there is no add-on `calls`; the catalog has `more_calls`",
        ),
        (ChangeRequest(interval="weekly"), "unknown_price", "its prices are `monthly` or `yearly`"),
        (ChangeRequest(plan="legacy"), "ambiguous_price", "choose an interval: `a` or `b`"),
        (ChangeRequest(plan="internal"), "unknown_price", "has no price; add one in the catalog"),
        (ChangeRequest(plan="free", add_ons={"more_calls": 1}), "unknown_price", "the subscription would be canceled"),
        (ChangeRequest(quantities={"projects": 5}), "quantity_not_sold", "`pro` does not sell `projects` by quantity"),
        (ChangeRequest(quantities={"pro": 0}), "quantity_not_sold", "to cancel it, choose another plan"),
        (ChangeRequest(), "same_as_now", "`acme` already has this"),
        (ChangeRequest(plan="pro", interval="month", quantities={"seats": 3}), "same_as_now", "nothing to change"),
        (
            ChangeRequest(plan="scale", subscription="sub_9"),
            "no_subscription_to_change",
            "no live subscription `sub_9`",
        ),
        (ChangeRequest(plan="scale", date=FEB14 - DAY), "date_in_the_past", "choose a later time"),
        (
            ChangeRequest(plan="japan"),
            "change_refused",
            "rule 1 of `plan_change` refuses a change from `pro` to `japan`",
        ),
    ],
)
def test_what_cannot_be_meant_or_may_not_be_is_refused(wanted: ChangeRequest, code: str, message: str) -> None:
    with pytest.raises(Refused) as refused:
        asked(account(), wanted, catalog({"from": "pro", "to": "japan", "when": "refuse"}))
    assert refused.value.code == code
    assert message in refused.value.detail


@pytest.mark.parametrize("status", ["canceled", "expired", "incomplete"])
def test_an_account_without_a_live_subscription_has_none_to_change(status: Any) -> None:
    with pytest.raises(Refused) as refused:
        asked(account(status=status), ChangeRequest(plan="scale"))
    assert refused.value.code == "no_subscription_to_change"


def test_the_first_rule_that_matches_wins() -> None:
    sold = catalog(
        {"to": "scale", "direction": "upgrade", "when": "period_end"},
        {"from": "pro", "to": "scale", **NOW},
        {"from": "pro", **NOW},
    )
    assert asked(account(), ChangeRequest(plan="scale"), sold).matched.number == 1
    assert asked(account(), ChangeRequest(plan="japan"), sold).matched.number == 3
    assert asked(account(bought("scale")), ChangeRequest(plan="japan"), sold).matched.number == 4


# Laws

WANTED = st.builds(
    ChangeRequest,
    plan=st.none() | st.sampled_from(["free", "pro", "scale", "japan"]),
    add_ons=st.just({}) | st.fixed_dictionaries({"more_calls": st.integers(0, 3)}),
    quantities=st.just({}) | st.fixed_dictionaries({"seats": st.integers(1, 9)}),
    interval=st.none() | st.sampled_from(["monthly", "yearly", "year"]),
    when=st.none() | st.sampled_from(["now", "period_end"]),
)
BOUGHT = st.tuples(st.sampled_from(["pro", "scale"]), st.integers(1, 9), st.sampled_from(["month", "year"]))
STATUSES = st.sampled_from(["active", "past_due", "paused"])


@given(
    WANTED,
    BOUGHT,
    STATUSES,
    st.sampled_from(["classic", "flexible"]),
    st.integers(0, 27 * 86_400),
    st.integers(0, 9999),
)
def test_what_a_quote_says_of_access_is_what_holds_once_the_provider_states_it(
    wanted: ChangeRequest, item: tuple[str, int, str], status: Any, mode: Any, after_s: int, calls: int
) -> None:
    at = JAN31 + timedelta(seconds=after_s)
    known = account(bought(item[0], item[1], interval=item[2]), status=status, billing_mode=mode)
    try:
        made = asked(known, wanted, at=at, calls=calls)
    except Refused:
        return
    before, after = (derive(one, USUAL, made.effective_at).entitlements for one in (known, _stated(known, made)))
    assert {delta.feature for delta in made.deltas} <= {key for key in after if after[key] != before[key]}
    for delta in made.deltas:
        assert delta.decision_after.plan == after[delta.feature].plan
        assert delta.decision_before.plan == before[delta.feature].plan
    assert asked(known, wanted, at=at, calls=calls) == made
    assert made.money.credit >= 0
    assert made.money.due_now >= 0


def _stated(known: Account, made: Quote) -> Account:
    """The account once its provider has the new items, stated as a reading would."""
    customer = known.customers[0]
    (old,) = customer.subscriptions
    items = tuple(
        bought(one.after, one.quantity_after, interval=str(one.price_after).rpartition("_")[2])
        for one in made.items
        if one.after is not None
    )
    items = old.items if made.ends else items
    moved = made.money.next_invoice is not None and _begins_anew(made)
    new = replace(old, items=items, anchor_at=made.effective_at if moved else old.anchor_at)
    new = replace(new, ends_at=made.effective_at) if made.ends else new
    return apply(known, Fact(99, "stripe:cus_1", 99, made.effective_at, replace(customer, subscriptions=(new,))))


def _begins_anew(made: Quote) -> bool:
    first = made.money.invoice or made.money.next_invoice
    lines = first.lines if first is not None else ()
    return any(line.kind == "period" and line.from_at == made.effective_at for line in lines)
