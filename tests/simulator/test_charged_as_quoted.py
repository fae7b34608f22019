"""What a quote says is due is what is charged, whatever is paid now: a plan in parts, a price of no list, another
currency, a trial, prorations that wait."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.accounts import Account, replay
from paygrade.billing.facts import Customer, Fact
from paygrade.catalog.model import AddOn, Plan, PlanChangeRule
from paygrade.catalog.parse import parse
from paygrade.changes.order import ChangeOrder
from paygrade.changes.quote import Quote, quote
from paygrade.changes.request import ChangeRequest
from paygrade.decisions.take import snapshot
from paygrade.providers.stripe.client import StripeProvider
from paygrade.providers.stripe.orders import StripeOrders
from paygrade.providers.stripe.previews import StripePreviewer
from paygrade.values.errors import Refused

from .conftest import Simulated, Stage


def sold(amount: int, stripe: str, interval: str = "month", **more: Any) -> dict[str, Any]:
    return {"amount": amount, "currency": "usd", "interval": interval, "stripe": stripe, **more}


SEATS = {"seats": {"limit": "quantity"}}
CATALOG = parse(
    {
        "version": 1,
        "features": {"seats": {"kind": "level"}},
        "plans": {
            "free": {"default": True},
            "starter": {
                "stripe": "prod_starter",
                "prices": {
                    "monthly": sold(3333, "starter_m"),
                    "yearly": sold(33331, "starter_y", "year"),
                    "calls": sold(2, "starter_use", part="usage"),
                },
                "entitlements": SEATS,
            },
            "pro": {
                "stripe": "prod_pro",
                "prices": {
                    "monthly": sold(9900, "pro_m"),
                    "yearly": sold(99001, "pro_y", "year"),
                    "platform": sold(777, "pro_flat", part="flat"),
                    "calls": sold(1, "pro_use", part="usage"),
                },
                "entitlements": SEATS,
            },
            "scale": {"stripe": "prod_scale", "prices": {"monthly": sold(20011, "scale_m")}, "entitlements": SEATS},
        },
        "add_ons": {"audit": {"stripe": "prod_audit", "prices": {"monthly": sold(555, "audit_m")}}},
    }
)
UNLISTED: dict[str, tuple[str, str, int]] = {
    "special": ("prod_pro", "usd", 7100),
    "special_eur": ("prod_pro", "eur", 8300),
    "extra": ("prod_starter", "usd", 431),
}
"""Prices that stand under a product of the catalog and in none of its lists."""
BOUGHT = [
    ["starter_m"],
    ["starter_m", "starter_use"],
    ["starter_m", "extra"],
    ["pro_m", "pro_flat", "pro_use"],
    ["pro_m", "audit_m"],
    ["pro_y"],
    ["scale_m"],
    ["special"],
    ["special", "pro_use"],
    ["special_eur"],
]
TRIALS: list[dict[str, Any]] = [
    {},
    {"trial_period_days": 40},
    *({"trial_period_days": 40, "trial_settings": {"end_behavior": {"missing_payment_method": word}}}
      for word in ("cancel", "pause", "create_invoice")),
]  # fmt: skip


class Desk:
    """A simulator where everything of the catalog is sold, and one subscription."""

    def __init__(self, simulated: Simulated) -> None:
        self.simulated = simulated
        self.prices: dict[str, str] = {}
        everything: list[Plan | AddOn] = [*CATALOG.plans.values(), *CATALOG.add_ons.values()]
        for plan in everything:
            if plan.stripe_product is None:
                continue
            self.v1.products.create({"id": plan.stripe_product, "name": plan.key})
            for price in plan.prices.values():
                metered = {"usage_type": "metered"} if price.part == "usage" else {}
                recurring: Any = {"interval": price.interval, **metered}
                self._sell(str(price.stripe), plan.stripe_product, "usd", price.amount, recurring, listed=True)
        for name, (product, currency, amount) in UNLISTED.items():
            self._sell(name, product, currency, amount, {"interval": "month"}, listed=False)
        self.provider = StripeProvider(api_key=simulated.running.key, api_base=simulated.running.url)
        self.customer, self.id = "", ""

    @property
    def v1(self) -> Any:
        return self.simulated.client.v1

    def _sell(
        self, name: str, product: str, currency: str, amount: int, recurring: dict[str, Any], *, listed: bool
    ) -> None:
        naming = {"lookup_key": name} if listed else {}
        made = self.v1.prices.create(
            {"currency": currency, "unit_amount": amount, "product": product, "recurring": recurring, **naming}
        )
        self.prices[name] = str(made.id)

    def subscribe(self, names: list[str], quantity: int, *, card: bool, **terms: Any) -> None:
        self.customer = self.simulated.customer("pm_card_visa" if card else None)
        items: list[dict[str, Any]] = [{"price": self.prices[name]} for name in names]
        items[0]["quantity"] = quantity
        self.id = str(self.simulated.subscribe(self.customer, items=items, **terms).id)

    def account(self) -> Account:
        read = self.provider.fetch(f"stripe:{self.customer}")
        assert isinstance(read, Customer)
        return replay("acme", [Fact(1, f"stripe:{self.customer}", 1, self.now, read)])

    @property
    def now(self) -> datetime:
        return datetime.fromisoformat(self.simulated.control("clock")["now"])

    def quote(self, wanted: ChangeRequest, rule: PlanChangeRule) -> Quote:
        """The quote with the provider's sums, where it shows some."""
        catalog = replace(CATALOG, policies=replace(CATALOG.policies, plan_change=(rule,)))
        account = self.account()
        made = quote(account, catalog, snapshot(account, catalog, self.now), wanted, self.now)
        money = StripePreviewer(self.provider.connection).preview(made)
        return made if money is None else replace(made, money=money)

    def make(self, made: Quote) -> None:
        rule, at_end = made.matched.rule, made.when == "period_end"
        order = ChangeOrder(
            f"pc_{self.id}", "acme", self.id, "change", made.effective_at if at_end else None, made.made_at,
            made.items, "none" if at_end else rule.proration,
            anchor_reset=rule.anchor == "reset" and not at_end, quoted_at=made.made_at,
        )  # fmt: skip
        for _ in range(6):
            progress = StripeOrders(self.provider.connection).advance(order)
            order = replace(order, schedule=progress.schedule or order.schedule)
            if progress.state != "open":
                break
        assert progress.state == ("scheduled" if at_end else "done")

    def invoices(self) -> list[Any]:
        """The newest first."""
        return list(self.v1.invoices.list({"customer": self.customer, "limit": 100}).data)


CASES = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["classic", "flexible"]),
        "bought": st.sampled_from(BOUGHT),
        "quantity": st.integers(2, 9),
        "trial": st.just({}) | st.sampled_from(TRIALS),
        "waits": st.booleans(),
        "after_s": st.integers(3600, 27 * 86_400),
        "rule": st.builds(
            PlanChangeRule,
            when=st.sampled_from(["now", "now", "period_end"]),
            proration=st.sampled_from(["charge_now", "charge_now", "next_invoice", "none"]),
            anchor=st.sampled_from(["keep", "keep", "reset"]),
        ),
        "wanted": st.builds(
            ChangeRequest,
            plan=st.none() | st.sampled_from(["starter", "pro", "scale"]),
            # Never the quantity there is: something changes, whatever else is asked for.
            quantities=st.fixed_dictionaries({"seats": st.sampled_from([1, 11, 12])}),
            add_ons=st.just({}) | st.fixed_dictionaries({"audit": st.integers(0, 2)}),
            interval=st.none() | st.none() | st.sampled_from(["month", "year"]),
        ),
    }
)


def check(simulated: Simulated, case: dict[str, Any]) -> None:
    desk = Desk(simulated)
    card = "trial_settings" not in case["trial"]
    desk.subscribe(case["bought"], case["quantity"], card=card, billing_mode={"type": case["mode"]}, **case["trial"])
    days, rest_s = divmod(case["after_s"], 86_400)
    if case["waits"]:
        item = simulated.subscription(desk.id)["items"].data[0]
        simulated.advance("30m")
        simulated.update(desk.id, items=[{"id": item.id, "quantity": case["quantity"] + 1}])
    simulated.advance(f"{days}d{rest_s}s")
    try:
        made = desk.quote(case["wanted"], case["rule"])
    except Refused:
        return
    before = {invoice.id for invoice in desk.invoices()}
    try:
        desk.make(made)
    except Refused as refused:
        # Without a way to pay nothing is bought, as the quote warned.
        if card or refused.code != "provider_refused_change":
            raise
        return
    billed = [invoice for invoice in desk.invoices() if invoice.id not in before]
    assert sum(invoice.amount_due for invoice in billed) == made.money.due_now
    assert made.money.due_now == (made.money.invoice.due if made.money.invoice and made.when == "now" else 0)
    following = made.money.next_invoice
    if following is None or following.source != "provider":
        return
    before |= {invoice.id for invoice in billed}
    simulated.advance_to((following.at + timedelta(hours=2)).isoformat())
    [renewed] = [invoice for invoice in desk.invoices() if invoice.id not in before]
    assert (renewed.currency, renewed.total, renewed.amount_due) == (
        made.money.currency,
        following.total,
        following.due,
    )


@settings(max_examples=60, deadline=None)
@given(case=CASES)
def test_what_is_due_by_the_quote_is_charged_and_so_is_the_next_invoice(stage: Stage, case: dict[str, Any]) -> None:
    with stage.playing() as simulated:
        check(simulated, case)


FEWER = ChangeRequest(quantities={"seats": 1})
MORE = ChangeRequest(quantities={"seats": 4})


@pytest.mark.parametrize("bought", [["special"], ["special_eur"], ["pro_m", "pro_flat", "pro_use"]])
@pytest.mark.parametrize("wanted", [FEWER, MORE])
@pytest.mark.parametrize("proration", ["charge_now", "next_invoice", "none"])
def test_the_renewal_s_preview_is_not_what_is_due_now(
    simulated: Simulated, bought: list[str], wanted: ChangeRequest, proration: Any
) -> None:
    desk = Desk(simulated)
    desk.subscribe(bought, 3, card=True)
    simulated.advance("9d")
    made = desk.quote(wanted, PlanChangeRule(proration=proration))
    assert made.money.source == "provider"
    assert made.money.next_invoice is not None
    assert made.money.next_invoice.source == "provider"
    assert made.money.currency == ("eur" if "special_eur" in bought else "usd")
    if proration != "charge_now":
        assert (made.money.due_now, made.money.invoice) == (0, None)
    elif wanted == MORE:
        assert 0 < made.money.due_now < made.money.next_invoice.due


@pytest.mark.parametrize("bought", [["special"], ["special_eur"], ["starter_m", "starter_use"]])
@pytest.mark.parametrize("word", ["cancel", "pause"])
def test_no_renewal_is_told_of_a_trial_that_ends_without_a_way_to_pay(
    simulated: Simulated, bought: list[str], word: str
) -> None:
    desk = Desk(simulated)
    ends = {"end_behavior": {"missing_payment_method": word}}
    desk.subscribe(bought, 3, card=False, trial_period_days=14, trial_settings=ends)
    made = desk.quote(FEWER, PlanChangeRule(proration="none"))
    assert (made.money.due_now, made.money.invoice, made.money.next_invoice) == (0, None, None)
    assert "no_payment_method" in [caveat.code for caveat in made.warnings]
