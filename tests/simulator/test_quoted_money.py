"""What the formula says a change costs is what the provider's own preview says, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.accounts import Account, replay
from paygrade.billing.facts import Customer, Fact
from paygrade.catalog.model import AddOn, Catalog, Plan, PlanChangeRule, Price
from paygrade.catalog.parse import parse
from paygrade.changes.cost import Invoice
from paygrade.changes.order import ChangeOrder
from paygrade.changes.quote import Quote, quote
from paygrade.changes.request import ChangeRequest
from paygrade.decisions.take import snapshot
from paygrade.providers.stripe.client import StripeProvider
from paygrade.providers.stripe.orders import StripeOrders
from paygrade.providers.stripe.previews import StripePreviewer
from paygrade.values.errors import Refused

from .conftest import Simulated, Stage


def sold(key: str, amount: int, interval: str, currency: str) -> dict[str, Any]:
    return {"amount": amount, "currency": currency, "interval": interval, "stripe": f"{key}_{interval}"}


def catalog_in(currency: str) -> Catalog:
    """Plans and add-ons with prices that do not divide evenly."""
    plans = {"hobby": 0, "pro": 3333, "scale": 9900}
    prices = {
        key: {"monthly": sold(key, amount, "month", currency), "yearly": sold(key, amount * 10 + 1, "year", currency)}
        for key, amount in plans.items()
    }
    document: dict[str, Any] = {
        "version": 1,
        "features": {"seats": {"kind": "level"}},
        "plans": {
            "free": {"default": True},
            **{k: {"prices": p, "entitlements": {"seats": {"limit": "quantity"}}} for k, p in prices.items()},
        },
        "add_ons": {"audit": {"prices": {"monthly": sold("audit", 777, "month", currency)}}},
    }
    return parse(document)


USD = catalog_in("usd")


class Shop:
    """A simulator where everything of a catalog is sold, and one customer."""

    def __init__(self, simulated: Simulated, catalog: Catalog) -> None:
        self.simulated, self.catalog = simulated, catalog
        self.prices = {price.stripe: self._sell(price) for price in _prices(catalog)}
        self.customer = simulated.customer()
        self.provider = StripeProvider(api_key=simulated.running.key, api_base=simulated.running.url)

    def subscribe(self, *items: tuple[str, int], **terms: Any) -> str:
        wanted = [{"price": self.prices[key], "quantity": quantity} for key, quantity in items]
        bought = self.simulated.subscribe(self.customer, items=wanted, **terms)
        return str(bought.id)

    def account(self) -> Account:
        read = self.provider.fetch(f"stripe:{self.customer}")
        assert isinstance(read, Customer)
        return replay("acme", [Fact(1, f"stripe:{self.customer}", 1, self.now, read)])

    @property
    def now(self) -> datetime:
        return datetime.fromisoformat(self.simulated.control("clock")["now"]).astimezone(UTC)

    def quote(self, wanted: ChangeRequest, rule: PlanChangeRule) -> tuple[Quote, Quote | None]:
        """The quote by the formula, and the same with the provider's sums."""
        catalog = replace(self.catalog, policies=replace(self.catalog.policies, plan_change=(rule,)))
        account = self.account()
        made = quote(account, catalog, snapshot(account, catalog, self.now), wanted, self.now)
        money = StripePreviewer(self.provider.connection).preview(made)
        return made, replace(made, money=money) if money is not None else None

    def _sell(self, price: Price) -> str:
        made: Any = {
            "currency": price.currency,
            "unit_amount": price.amount,
            "recurring": {"interval": price.interval},
            "product_data": {"name": price.stripe},
            "lookup_key": price.stripe,
        }
        return str(self.simulated.client.v1.prices.create(made).id)


def _prices(catalog: Catalog) -> Iterator[Price]:
    everything: list[Plan | AddOn] = [*catalog.plans.values(), *catalog.add_ons.values()]
    for bought in everything:
        yield from bought.prices.values()


def said(invoice: Invoice | None) -> Any:
    """All that an invoice says, but who says it; of a line of nothing nobody can tell which way it goes."""
    if invoice is None:
        return None
    lines = sorted((line for line in invoice.lines if line.amount), key=str)
    return invoice.at, lines, invoice.total, invoice.due


def agree(made: Quote, shown: Quote | None) -> None:
    assert shown is not None
    ours, theirs = made.money, shown.money
    assert (ours.source, theirs.source) == ("formula", "provider")
    assert said(theirs.invoice) == said(ours.invoice)
    assert said(theirs.next_invoice) == said(ours.next_invoice)
    assert (theirs.currency, theirs.credit, theirs.charge, theirs.due_now) == (
        ours.currency, ours.credit, ours.charge, ours.due_now
    )  # fmt: skip


CHARGE_NOW, NEXT_INVOICE, FREE = (PlanChangeRule(proration=p) for p in ("charge_now", "next_invoice", "none"))
CASES: dict[str, tuple[ChangeRequest, PlanChangeRule]] = {
    "an upgrade, charged now": (ChangeRequest(plan="scale"), CHARGE_NOW),
    "an upgrade, with the next invoice": (ChangeRequest(plan="scale"), NEXT_INVOICE),
    "an upgrade, not prorated": (ChangeRequest(plan="scale"), FREE),
    "an upgrade whose periods begin anew": (
        ChangeRequest(plan="scale"),
        PlanChangeRule(proration="charge_now", anchor="reset"),
    ),
    "the same, not prorated": (ChangeRequest(plan="scale"), PlanChangeRule(anchor="reset")),
    "a downgrade now, for a credit": (ChangeRequest(plan="hobby"), CHARGE_NOW),
    "a downgrade at the period's end": (ChangeRequest(plan="hobby"), PlanChangeRule(when="period_end")),
    "an upgrade at the period's end": (
        ChangeRequest(plan="scale", quantities={"seats": 9}),
        PlanChangeRule(when="period_end"),
    ),
    "more seats": (ChangeRequest(quantities={"seats": 7}), CHARGE_NOW),
    "fewer seats": (ChangeRequest(quantities={"seats": 1}), NEXT_INVOICE),
    "an add-on more": (ChangeRequest(add_ons={"audit": 2}), CHARGE_NOW),
    "plan, seats and add-on": (ChangeRequest(plan="scale", quantities={"seats": 5}, add_ons={"audit": 1}), CHARGE_NOW),
    "from a month to a year": (ChangeRequest(interval="yearly"), CHARGE_NOW),
    "from a month to a year, not prorated": (ChangeRequest(interval="yearly"), FREE),
    "another plan by the year": (ChangeRequest(plan="scale", interval="year"), NEXT_INVOICE),
}


@pytest.mark.parametrize("mode", ["classic", "flexible"])
@pytest.mark.parametrize("case", CASES)
def test_the_formula_says_what_the_preview_says(simulated: Simulated, case: str, mode: str) -> None:
    shop = Shop(simulated, USD)
    shop.subscribe(("pro_month", 3), billing_mode={"type": mode})
    simulated.advance("9d7h1s")
    agree(*shop.quote(*CASES[case]))


@pytest.mark.parametrize("mode", ["classic", "flexible"])
@pytest.mark.parametrize("case", ["more seats", "from a month to a year", "a downgrade now, for a credit"])
def test_in_a_trial_both_say_that_nothing_is_billed_before_its_end(simulated: Simulated, case: str, mode: str) -> None:
    shop = Shop(simulated, USD)
    shop.subscribe(("pro_month", 3), billing_mode={"type": mode}, trial_period_days=14)
    simulated.advance("3d")
    made, shown = shop.quote(*CASES[case])
    agree(made, shown)
    assert (made.money.due_now, made.money.invoice) == (0, None)
    assert made.money.next_invoice is not None
    assert made.money.next_invoice.at == datetime(2026, 2, 14, 12, tzinfo=UTC)


def test_of_a_paused_subscription_no_invoice_is_shown_that_will_not_come(simulated: Simulated) -> None:
    shop = Shop(simulated, USD)
    id = shop.subscribe(("pro_month", 3))
    simulated.client.v1.subscriptions.pause(id)
    made, shown = shop.quote(*CASES["an upgrade, charged now"])
    assert shown is None
    assert (made.money.due_now, made.money.invoice, made.money.next_invoice) == (0, None, None)


@pytest.mark.parametrize("mode", ["classic", "flexible"])
def test_from_a_year_to_a_month_and_from_free_to_paid(simulated: Simulated, mode: str) -> None:
    shop = Shop(simulated, USD)
    shop.subscribe(("scale_year", 2), billing_mode={"type": mode})
    simulated.advance("100d")
    agree(*shop.quote(ChangeRequest(interval="monthly"), CHARGE_NOW))
    agree(*shop.quote(ChangeRequest(interval="month"), PlanChangeRule()))
    shop.customer = simulated.customer()
    shop.subscribe(("hobby_month", 2), billing_mode={"type": mode})
    simulated.advance("5d")
    for rule in (CHARGE_NOW, NEXT_INVOICE, FREE):
        agree(*shop.quote(ChangeRequest(plan="pro"), rule))


def test_a_currency_without_minor_units_agrees_to_the_unit(simulated: Simulated) -> None:
    shop = Shop(simulated, catalog_in("jpy"))
    shop.subscribe(("pro_month", 3))
    simulated.advance("11d5h")
    made, shown = shop.quote(*CASES["plan, seats and add-on"])
    agree(made, shown)
    assert made.money.currency == "jpy"


def test_around_the_end_of_february_days_count_as_they_are(simulated: Simulated) -> None:
    shop = Shop(simulated, USD)
    shop.subscribe(("pro_month", 1))
    for instant, until in (
        ("2026-02-28T11:59:59Z", datetime(2026, 2, 28, 12, tzinfo=UTC)),
        ("2026-02-28T12:00:00Z", datetime(2026, 3, 31, 12, tzinfo=UTC)),
        ("2026-03-31T11:00:00Z", datetime(2026, 3, 31, 12, tzinfo=UTC)),
    ):
        simulated.advance_to(instant)
        made, shown = shop.quote(*CASES["an upgrade, charged now"])
        agree(made, shown)
        assert made.money.invoice is not None
        assert {line.until for line in made.money.invoice.lines} == {until}


@pytest.mark.parametrize("proration", ["charge_now", "none"])
def test_an_end_now_gives_back_what_the_preview_gives_back(simulated: Simulated, proration: Any) -> None:
    shop = Shop(simulated, USD)
    shop.subscribe(("pro_month", 3), ("audit_month", 1))
    simulated.advance("7d")
    made, shown = shop.quote(ChangeRequest(plan="free"), PlanChangeRule(proration=proration))
    assert made.ends
    assert made.money.next_invoice is None
    if proration == "none":
        assert (shown, made.money.credit) == (None, 0)
    else:
        agree(made, shown)
        assert made.money.credit == 8082  # three quarters of 9999, 7499, and of 777, 583


def test_what_waits_from_an_earlier_change_is_the_provider_s_to_know(simulated: Simulated) -> None:
    """A proration that waits for the next invoice is billed with the change."""
    shop = Shop(simulated, USD)
    id = shop.subscribe(("pro_month", 1), billing_mode={"type": "classic"})
    simulated.advance("7d")
    item = simulated.subscription(id)["items"].data[0].id
    simulated.update(id, items=[{"id": item, "quantity": 2}])
    simulated.advance("7d")
    made, shown = shop.quote(*CASES["an upgrade, charged now"])
    assert shown is not None
    assert made.money.invoice is not None
    assert shown.money.invoice is not None
    assert [line.amount for line in made.money.invoice.lines] == [-3333, 9900]
    assert [line.amount for line in shown.money.invoice.lines] == [-2500, 5000, -3333, 9900]
    assert (shown.money.credit, shown.money.charge, shown.money.due_now) == (3333, 9900, 9067)
    assert shown.money.next_invoice is not None
    assert [line.amount for line in shown.money.next_invoice.lines] == [19_800]


def test_discounts_and_coupons_are_the_provider_s_to_know(simulated: Simulated) -> None:
    shop = Shop(simulated, USD)
    coupon = simulated.client.v1.coupons.create({"percent_off": 50, "duration": "forever"}).id
    shop.subscribe(("pro_month", 1))
    made, shown = shop.quote(ChangeRequest(plan="scale", coupon=coupon), PlanChangeRule(when="period_end"))
    assert shown is not None
    assert made.money.next_invoice is not None
    assert shown.money.next_invoice is not None
    assert (made.money.next_invoice.due, shown.money.next_invoice.due) == (9900, 4950)
    assert [caveat.code for caveat in made.warnings] == ["coupon_not_counted"]


def test_a_coupon_is_counted_beside_the_discounts_there_are(simulated: Simulated) -> None:
    shop = Shop(simulated, USD)
    held, coupon = (simulated.client.v1.coupons.create({"percent_off": 50, "duration": "forever"}).id for _ in range(2))
    shop.subscribe(("pro_month", 1), discounts=[{"coupon": held}])
    _, shown = shop.quote(ChangeRequest(plan="scale", coupon=coupon), PlanChangeRule(when="period_end"))
    assert shown is not None
    assert shown.money.next_invoice is not None
    assert shown.money.next_invoice.due == 9900 // 4


@pytest.mark.parametrize("mode", ["classic", "flexible"])
@pytest.mark.parametrize("case", [name for name, (_, rule) in CASES.items() if rule.when == "now"])
def test_what_the_provider_said_is_due_is_what_making_the_change_costs(
    simulated: Simulated, case: str, mode: str
) -> None:
    shop = Shop(simulated, USD)
    id = shop.subscribe(("pro_month", 3), billing_mode={"type": mode})
    simulated.advance("9d7h1s")
    before = simulated.subscription(id).latest_invoice
    made, shown = shop.quote(*CASES[case])
    assert shown is not None
    rule = made.matched.rule
    order = ChangeOrder(
        "pc_1", "acme", id, "change", None, made.made_at, made.items, rule.proration,
        anchor_reset=rule.anchor == "reset", quoted_at=made.made_at,
    )  # fmt: skip
    assert StripeOrders(shop.provider.connection).advance(order).state == "done"
    invoice = simulated.latest_invoice(id)
    assert (0 if invoice.id == before else invoice.amount_due) == shown.money.due_now


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (ChangeRequest(plan="scale", coupon="half"), "No such coupon: 'half'"),
        (ChangeRequest(plan="lost"), "no active price with the lookup key `lost_monthly`"),
    ],
)
def test_what_the_provider_would_not_do_is_refused_with_its_words(
    simulated: Simulated, wanted: ChangeRequest, message: str
) -> None:
    shop = Shop(simulated, USD)
    shop.subscribe(("pro_month", 1))
    lost = replace(
        USD.plans["scale"],
        key="lost",
        prices={"monthly": replace(USD.plans["pro"].prices["monthly"], stripe="lost_monthly")},
    )
    shop.catalog = replace(USD, plans={**USD.plans, "lost": lost})
    with pytest.raises(Refused) as refused:
        shop.quote(wanted, FREE)
    assert refused.value.code == "provider_refused_change"
    assert message in refused.value.detail


CHANGES = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["classic", "flexible"]),
        "bought": st.sampled_from(["hobby_month", "pro_month", "pro_year", "scale_month"]),
        "quantity": st.integers(10, 19),
        "after_s": st.integers(0, 70 * 86_400),
        "rule": st.builds(
            PlanChangeRule,
            when=st.sampled_from(["now", "period_end"]),
            proration=st.sampled_from(["charge_now", "next_invoice", "none"]),
            anchor=st.sampled_from(["keep", "reset"]),
        ),
        "wanted": st.builds(
            ChangeRequest,
            plan=st.none() | st.sampled_from(["hobby", "pro", "scale"]),
            # Never the quantity there is: something changes, whatever else is asked for.
            quantities=st.fixed_dictionaries({"seats": st.integers(1, 9)}),
            interval=st.none() | st.sampled_from(["monthly", "yearly"]),
        ),
    }
)


@settings(max_examples=60, deadline=None)
@given(case=CHANGES)
def test_any_change_costs_what_the_preview_says(stage: Stage, case: dict[str, Any]) -> None:
    with stage.playing() as simulated:
        shop = Shop(simulated, USD)
        shop.subscribe((case["bought"], case["quantity"]), billing_mode={"type": case["mode"]})
        days, rest_s = divmod(case["after_s"], 86_400)
        simulated.advance(f"{days}d{rest_s}s")
        made, shown = shop.quote(case["wanted"], case["rule"])
        if shown is None:
            # Another interval, or the first that costs something, from a period's end on: the formula's alone.
            assert made.when == "period_end"
        else:
            agree(made, shown)
