"""Laws of prorations: a preview is what follows, to the line, and nothing is billed twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from paygrade.simulator.engine import Engine

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
PRICES = ((1000, "month"), (3333, "month"), (2500, "month"), (20_000, "year"), (99, "week"))


class Account:
    """One customer with a card and a price for each kind of change."""

    def __init__(self) -> None:
        self.engine = Engine(1, START)
        self.customer = self.ask("/v1/customers")["id"]
        card = self.ask("/v1/payment_methods/pm_card_visa/attach", customer=self.customer)["id"]
        self.ask(f"/v1/customers/{self.customer}", invoice_settings={"default_payment_method": card})
        self.prices = [
            self.ask(
                "/v1/prices",
                currency="usd",
                unit_amount=str(amount),
                recurring={"interval": interval},
                product_data={"name": "Pro"},
            )["id"]
            for amount, interval in PRICES
        ]

    def ask(self, path: str, **params: Any) -> Any:
        response = self.engine.request("POST", path, params)
        assert response.status == 200, response.body
        return response.body

    def invoices(self, subscription: str) -> list[dict[str, Any]]:
        return self.engine.world.owned("invoice", subscription)

    def billed(self, subscription: str) -> int:
        return sum(invoice["total"] for invoice in self.invoices(subscription))


def lines_of(invoice: dict[str, Any]) -> list[tuple[int, int, int]]:
    return [(line["amount"], line["period"]["start"], line["period"]["end"]) for line in invoice["lines"]["data"]]


CHANGES = st.fixed_dictionaries(
    {
        "price": st.integers(0, len(PRICES) - 1),
        "quantity": st.integers(1, 7),
        "after_s": st.integers(0, 40 * 86_400),
        "behavior": st.sampled_from(["create_prorations", "always_invoice", "none"]),
    }
)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["classic", "flexible"]),
    st.sampled_from([None, 10, 33.3]),
    st.lists(CHANGES, min_size=1, max_size=4),
)
def test_a_preview_is_the_invoice_that_follows(mode: str, percent: float | None, changes: list[dict[str, Any]]) -> None:
    account = Account()
    discounts = {}
    if percent is not None:
        coupon = account.ask("/v1/coupons", percent_off=str(percent), duration="forever")["id"]
        discounts = {"discounts": [{"coupon": coupon}]}
    subscription = account.ask(
        "/v1/subscriptions",
        customer=account.customer,
        items=[{"price": account.prices[0], "quantity": "2"}],
        billing_mode={"type": mode},
        **discounts,
    )
    id, [item] = subscription["id"], [one["id"] for one in subscription["items"]["data"]]
    for change in changes:
        account.engine.advance(timedelta(seconds=change["after_s"]))
        wanted = {
            "items": [{"id": item, "price": account.prices[change["price"]], "quantity": str(change["quantity"])}],
            "proration_behavior": change["behavior"],
            "proration_date": str(int(account.engine.now.timestamp())),
        }
        shown = account.ask("/v1/invoices/create_preview", subscription=id, subscription_details=wanted)
        shown_lines, shown_total = lines_of(shown), shown["total"]
        before = len(account.invoices(id))
        account.ask(f"/v1/subscriptions/{id}", **wanted)
        if len(account.invoices(id)) == before:  # what is billed later comes with the next period
            due = min(one["current_period_end"] for one in account.engine.world.objects[id]["items"]["data"])
            account.engine.advance_to(datetime.fromtimestamp(due, UTC))
        followed = account.invoices(id)[0]
        assert (lines_of(followed), followed["total"]) == (shown_lines, shown_total)


@pytest.mark.parametrize("mode", ["classic", "flexible"])
@settings(max_examples=40, deadline=None)
@example([(1, 0, "create_prorations"), (2, 0, "always_invoice"), (1, 0, "always_invoice")])
@given(
    st.lists(
        st.tuples(
            st.integers(1, 9), st.integers(0, 6 * 86_400), st.sampled_from(["always_invoice", "create_prorations"])
        ),
        min_size=1,
        max_size=4,
    )
)
def test_changes_and_their_way_back_cost_what_was_used(mode: str, steps: list[tuple[int, int, str]]) -> None:
    """Whatever the quantity went through within a period, the sum is each quantity for its time, to the rounding,
    whether a change was invoiced at once or waits for the next invoice."""
    account = Account()
    subscription = account.ask(
        "/v1/subscriptions",
        customer=account.customer,
        items=[{"price": account.prices[1], "quantity": "3"}],
        billing_mode={"type": mode},
    )
    id, item = subscription["id"], subscription["items"]["data"][0]
    start, end = item["current_period_start"], item["current_period_end"]
    used, quantity, at = 0, 3, start
    for wanted, after_s, behavior in steps:
        account.engine.advance(timedelta(seconds=after_s))
        used, at = used + quantity * after_s, at + after_s
        items = [{"id": item["id"], "quantity": str(wanted)}]
        account.ask(f"/v1/subscriptions/{id}", items=items, proration_behavior=behavior)
        quantity = wanted
    used += quantity * (end - at)
    exact = used * PRICES[1][0] / (end - start)
    waiting = sum(line["amount"] for line in account.engine.world.pending_lines.get(id, []))
    assert abs(account.billed(id) + waiting - exact) <= len(steps)


def test_flexible_credits_what_still_waits_for_its_invoice() -> None:
    """Two changes that both wait: the second gives back the first one's plan, not the one before it again."""
    account = Account()
    subscription = account.ask("/v1/subscriptions", customer=account.customer, items=[{"price": account.prices[0]}])
    id, item = subscription["id"], subscription["items"]["data"][0]["id"]
    for price in (account.prices[1], account.prices[2]):
        account.engine.advance(timedelta(days=7))
        account.ask(f"/v1/subscriptions/{id}", items=[{"id": item, "price": price}])
    waiting = account.engine.world.pending_lines[id]
    assert [line["amount"] for line in waiting] == [-750, 2500, -1667, 1250]


def test_classic_credits_the_current_price_and_flexible_what_was_debited() -> None:
    """A price changed without prorations was never paid: classic gives it back all the same."""
    credits = {}
    for mode in ("classic", "flexible"):
        account = Account()
        subscription = account.ask(
            "/v1/subscriptions",
            customer=account.customer,
            items=[{"price": account.prices[0]}],
            billing_mode={"type": mode},
        )
        id, item = subscription["id"], subscription["items"]["data"][0]["id"]
        dear = {"id": item, "price": account.prices[2]}
        account.ask(f"/v1/subscriptions/{id}", items=[dear], proration_behavior="none")
        account.engine.advance(timedelta(days=14))
        back = {"id": item, "price": account.prices[0]}
        account.ask(f"/v1/subscriptions/{id}", items=[back], proration_behavior="always_invoice")
        credits[mode] = account.invoices(id)[0]["lines"]["data"][0]["amount"]
    assert credits == {"classic": -1250, "flexible": -500}


def test_flexible_keeps_the_anchor_from_month_to_year_and_classic_moves_it() -> None:
    anchors = {}
    for mode in ("classic", "flexible"):
        account = Account()
        subscription = account.ask(
            "/v1/subscriptions",
            customer=account.customer,
            items=[{"price": account.prices[0]}],
            billing_mode={"type": mode},
        )
        account.engine.advance(timedelta(days=14))
        item = subscription["items"]["data"][0]["id"]
        yearly = {"id": item, "price": account.prices[3]}
        changed = account.ask(f"/v1/subscriptions/{subscription['id']}", items=[yearly])
        anchors[mode] = changed["billing_cycle_anchor"] - int(START.timestamp())
    assert anchors == {"classic": 14 * 86_400, "flexible": 0}
