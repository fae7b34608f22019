"""The fixture that gives a test a Stripe account of its own."""

from __future__ import annotations

from typing import Any

import stripe


def test_a_test_asks_for_a_stripe_account_of_its_own(stripe_simulator: Any) -> None:
    client = stripe.StripeClient(stripe_simulator.key, base_addresses={"api": stripe_simulator.url})
    price = client.v1.prices.create(
        {"currency": "usd", "unit_amount": 900, "recurring": {"interval": "month"}, "product_data": {"name": "Pro"}}
    )
    customer = client.v1.customers.create({})
    wanted: Any = {"customer": customer.id, "items": [{"price": price.id}], "trial_period_days": 7}
    subscription = client.v1.subscriptions.create(wanted)
    stripe_simulator.advance("8d")
    stripe_simulator.flush()
    assert subscription.status == "trialing"
    assert client.v1.subscriptions.retrieve(subscription.id).status == "past_due"
