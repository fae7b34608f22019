"""Random requests and random time: whatever happens, subscriptions obey Stripe's rules."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paygrade.simulator.engine import Engine

START = datetime(2026, 1, 31, 12, tzinfo=UTC)

# Stripe docs: subscription statuses. Anything may be canceled or stay.
TRANSITIONS: dict[str, set[str]] = {
    "incomplete": {"active", "incomplete_expired"},
    "trialing": {"active", "past_due", "paused"},
    "active": {"past_due", "paused", "trialing", "unpaid"},
    "past_due": {"active", "unpaid", "paused", "trialing"},
    "unpaid": {"active", "trialing", "past_due"},
    "paused": {"active", "past_due", "trialing"},
    "incomplete_expired": set(),
    "canceled": set(),
}
CARDS = ("pm_card_visa", "pm_card_visa", "pm_card_chargeCustomerFail", "pm_card_authenticationRequired")


class Storm:
    """One engine under random requests, and what its subscriptions were seen to do."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.engine = Engine(seed, START)
        self.engine.change_settings(
            {"after_retries": self.draw.choice(["cancel", "unpaid", "past_due", "pause"]), "retry_days": [1, 3]}
        )
        self.seen: dict[str, dict[str, Any]] = {}
        self.prices = [
            self.ask(
                "/v1/prices",
                currency="usd",
                unit_amount=str(amount),
                recurring={"interval": interval, "usage_type": usage},
                product_data={"name": "Pro"},
            )["id"]
            for amount, interval, usage in (
                (0, "month", "licensed"),
                (900, "month", "licensed"),
                (2900, "month", "licensed"),
                (9000, "year", "licensed"),
                (100, "week", "licensed"),
                (5, "month", "metered"),
            )
        ]
        self.customers = [self.ask("/v1/customers")["id"] for _ in range(3)]
        self.coupons = [
            self.ask("/v1/coupons", percent_off=str(percent), duration=duration)["id"]
            for percent, duration in ((100, "once"), (33.3, "forever"))
        ]
        self.schedules: list[str] = []

    def ask(self, path: str, *, method: str = "POST", **params: Any) -> Any:
        response = self.engine.request(method, path, params)
        assert response.status in (200, 400, 402, 404), response
        return response.body if response.status == 200 else None

    def step(self) -> None:
        subscriptions = list(self.seen)
        doings = [self.pass_time, self.pass_time, self.give_card, self.subscribe]
        if subscriptions:
            doings += [self.change, self.change, self.settle, self.end, self.schedule, self.give_back]
        self.draw.choice(doings)()
        self.look()

    def pass_time(self) -> None:
        hours = self.draw.choice([1, 5, 24, 24 * 7, 24 * 31, 24 * 90])
        self.engine.advance(timedelta(hours=hours, seconds=self.draw.randrange(3600)))

    def give_card(self) -> None:
        customer = self.draw.choice(self.customers)
        card = self.ask(f"/v1/payment_methods/{self.draw.choice(CARDS)}/attach", customer=customer)
        default = {"default_payment_method": card["id"]}
        self.ask(f"/v1/customers/{customer}", invoice_settings=default)

    def subscribe(self) -> None:
        at = int(self.engine.now.timestamp())
        extra: dict[str, Any] = self.draw.choice(
            [
                {},
                {"trial_period_days": "10"},
                {"collection_method": "send_invoice", "days_until_due": "5"},
                {"payment_behavior": "default_incomplete"},
                {"billing_mode": {"type": "classic"}},
                {"billing_cycle_anchor": str(at + 86_400 * 5)},
                {
                    "trial_period_days": "3",
                    "trial_settings": {"end_behavior": {"missing_payment_method": "pause"}},
                },
            ]
        )
        items = [{"price": price} for price in self.draw.sample(self.prices, self.draw.choice([1, 1, 2]))]
        self.ask("/v1/subscriptions", customer=self.draw.choice(self.customers), items=items, **extra)

    def change(self) -> None:
        id = self.draw.choice(list(self.seen))
        at = int(self.engine.now.timestamp())
        item = {"id": self.seen[id]["items"]["data"][0]["id"]}
        change: dict[str, Any] = self.draw.choice(
            [
                {"items": [{**item, "price": self.draw.choice(self.prices)}]},
                {"items": [{**item, "quantity": str(self.draw.randrange(5))}]},
                {"items": [{"price": self.draw.choice(self.prices)}]},
                {"items": [{**item, "deleted": "true"}]},
                {"cancel_at_period_end": self.draw.choice(["true", "false"])},
                {"cancel_at": self.draw.choice(["", str(at + 86_400 * 9)])},
                {"trial_end": self.draw.choice(["now", str(at + 86_400 * 6)])},
                {"billing_cycle_anchor": {"type": "now"}},
                {"pause_collection": self.draw.choice(["", {"behavior": "void"}])},
                {"discounts": self.draw.choice(["", [{"coupon": self.draw.choice(self.coupons)}]])},
            ]
        )
        behavior = self.draw.choice(["allow_incomplete", "pending_if_incomplete", "error_if_incomplete"])
        proration = self.draw.choice(["create_prorations", "always_invoice", "none"])
        self.ask(f"/v1/subscriptions/{id}", payment_behavior=behavior, proration_behavior=proration, **change)

    def settle(self) -> None:
        invoice = self.seen[self.draw.choice(list(self.seen))]["latest_invoice"]
        if invoice is not None:
            what = self.draw.choice(["pay", "pay", "void", "mark_uncollectible", "finalize"])
            self.ask(f"/v1/invoices/{invoice}/{what}")

    def schedule(self) -> None:
        if not self.schedules or self.draw.random() < 0.5:
            made = self.ask("/v1/subscription_schedules", from_subscription=self.draw.choice(list(self.seen)))
            self.schedules += [made["id"]] if made else []
            return
        id = self.draw.choice(self.schedules)
        what = self.draw.choice(["", "", "/release", "/cancel"])
        if what:
            self.ask(f"/v1/subscription_schedules/{id}{what}")
            return
        phases = [
            {"items": [{"price": self.draw.choice(self.prices[:5])}], "duration": {"interval": interval}}
            for interval in self.draw.choices(["week", "month"], k=3)
        ]
        end = self.draw.choice(["release", "cancel"])
        self.ask(f"/v1/subscription_schedules/{id}", phases=phases, end_behavior=end)

    def give_back(self) -> None:
        charges = self.ask("/v1/charges", method="GET")["data"]
        if charges:
            self.ask("/v1/refunds", charge=self.draw.choice(charges)["id"], amount="10")
        invoice = self.seen[self.draw.choice(list(self.seen))]["latest_invoice"]
        self.ask("/v1/credit_notes", invoice=invoice or "", amount="10")

    def end(self) -> None:
        id = self.draw.choice(list(self.seen))
        what = self.draw.choice(["pause", "resume", "resume", "cancel"])
        if what == "cancel":
            self.ask(f"/v1/subscriptions/{id}", method="DELETE")
        else:
            self.ask(f"/v1/subscriptions/{id}/{what}")

    def look(self) -> None:
        """Hold every event against the rules."""
        for event in self.engine.take_events():
            thing = event["data"]["object"]
            if thing["object"] == "subscription":
                self.check(thing, self.seen.get(thing["id"]))
                self.seen[thing["id"]] = thing
            if thing["object"] == "invoice":
                assert thing["amount_remaining"] == thing["amount_due"] - thing["amount_paid"]
                off = sum(taken["amount"] for taken in thing["total_discount_amounts"])
                assert thing["total"] == sum(line["amount"] for line in thing["lines"]["data"]) - off
                assert thing["amount_due"] >= 0

    def check(self, now: dict[str, Any], before: dict[str, Any] | None) -> None:
        status = now["status"]
        assert (status in ("canceled", "incomplete_expired")) == (now["ended_at"] is not None)
        assert (status == "paused") == ("status_details" in now)
        for item in now["items"]["data"]:
            assert item["current_period_start"] < item["current_period_end"]
        if before is not None and status != before["status"]:
            allowed = TRANSITIONS[before["status"]]
            assert status in allowed or (status == "canceled" and before["ended_at"] is None)


@pytest.mark.parametrize("seed", range(6))
def test_no_storm_makes_a_subscription_break_the_rules(seed: int) -> None:
    storm = Storm(seed)
    for _ in range(60):
        storm.step()
    for id, last_seen in storm.seen.items():
        assert storm.ask(f"/v1/subscriptions/{id}", method="GET") == last_seen, "a change went without its event"
