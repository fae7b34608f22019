"""The simulator keeps a great many subscriptions in little memory."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime

from paygrade.simulator.engine import Engine

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
SUBSCRIPTIONS = 100
BYTES_MAX = 1_000_000_000 // 20_000  # 20,000 subscriptions in a gigabyte


def test_twenty_thousand_subscriptions_fit_into_a_gigabyte() -> None:
    engine = Engine(1, START)
    price = engine.request(
        "POST",
        "/v1/prices",
        {
            "currency": "usd",
            "unit_amount": "900",
            "recurring": {"interval": "month"},
            "product_data": {"name": "Pro"},
        },
    ).body["id"]
    card = "pm_card_visa"
    tracemalloc.start()
    try:
        for _ in range(SUBSCRIPTIONS):
            wanted = {"payment_method": card, "invoice_settings": {"default_payment_method": card}}
            customer = engine.request("POST", "/v1/customers", wanted).body["id"]
            engine.request("POST", "/v1/subscriptions", {"customer": customer, "items": [{"price": price}]})
        engine.world.fresh_events.clear()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(engine.world.shelves["event"]) > 10 * SUBSCRIPTIONS
    assert taken / SUBSCRIPTIONS < BYTES_MAX
