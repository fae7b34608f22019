"""Billing meters and the prices they back."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import Simulated, instant


def meter(simulated: Simulated, formula: Any = "sum") -> str:
    return simulated.client.v1.billing.meters.create(
        {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": formula}}
    ).id


def metered_price(simulated: Simulated, meter: str, amount: int = 5) -> str:
    recurring: Any = {"interval": "month", "usage_type": "metered", "meter": meter}
    product: Any = {"name": "Calls"}
    return simulated.client.v1.prices.create(
        {"currency": "usd", "unit_amount": amount, "recurring": recurring, "product_data": product}
    ).id


def use(simulated: Simulated, customer: str, value: int, **params: Any) -> Any:
    payload = {"stripe_customer_id": customer, "value": str(value)}
    wanted: Any = {"event_name": "calls", "payload": payload, **params}
    return simulated.client.v1.billing.meter_events.create(wanted)


def test_usage_is_billed_at_the_end_of_its_period(simulated: Simulated) -> None:
    price = metered_price(simulated, meter(simulated))
    subscription = simulated.subscribe(price=price)
    assert simulated.latest_invoice(subscription.id).total == 0
    use(simulated, subscription.customer, 40)
    simulated.advance("10d")
    use(simulated, subscription.customer, 60)
    use(simulated, simulated.customer(), 1000)
    preview = simulated.client.v1.invoices.create_preview({"subscription": subscription.id})
    assert preview.total == 500
    simulated.advance_to("2026-02-28T12:00:00Z")
    use(simulated, subscription.customer, 7)
    simulated.advance("1h")
    invoice = simulated.latest_invoice(subscription.id)
    [line] = invoice.lines.data
    assert (line.quantity, line.amount, invoice.status) == (100, 500, "paid")
    assert (line.period.start, line.period.end) == (instant("2026-01-31T12:00"), instant("2026-02-28T12:00"))
    simulated.advance_to("2026-03-31T13:00:00Z")
    assert simulated.latest_invoice(subscription.id).total == 35


def test_an_identifier_counts_once_within_a_day(simulated: Simulated) -> None:
    id, customer = meter(simulated), simulated.customer()
    use(simulated, customer, 3, identifier="once")
    with pytest.raises(stripe.InvalidRequestError, match="already exists with identifier once"):
        use(simulated, customer, 3, identifier="once")
    simulated.advance("1d")
    use(simulated, customer, 4, identifier="once")
    assert summed(simulated, id, customer) == [7]


def summed(simulated: Simulated, meter: str, customer: str, **params: Any) -> list[float]:
    wanted: Any = {
        "customer": customer,
        "start_time": instant("2026-01-31"),
        "end_time": instant("2026-02-28"),
        **params,
    }
    return [row.aggregated_value for row in simulated.client.v1.billing.meters.event_summaries.list(meter, wanted).data]


@pytest.mark.parametrize(("formula", "value"), [("sum", 12), ("count", 3), ("last", 4)])
def test_a_meter_aggregates_as_it_was_told_to(simulated: Simulated, formula: str, value: int) -> None:
    id, customer = meter(simulated, formula), simulated.customer()
    for amount in (3, 5, 4):
        use(simulated, customer, amount)
        simulated.advance("1h")
    assert summed(simulated, id, customer) == [value]


def test_summaries_come_by_day_newest_first(simulated: Simulated) -> None:
    id, customer = meter(simulated), simulated.customer()
    use(simulated, customer, 1)
    simulated.advance("2d")
    use(simulated, customer, 2)
    assert summed(simulated, id, customer, value_grouping_window="day") == [2, 1]


def test_an_event_can_be_taken_back_within_a_day(simulated: Simulated) -> None:
    id, customer = meter(simulated), simulated.customer()
    use(simulated, customer, 9, identifier="wrong")
    use(simulated, customer, 1)
    cancel: Any = {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "wrong"}}
    assert simulated.client.v1.billing.meter_event_adjustments.create(cancel).status == "complete"
    assert summed(simulated, id, customer) == [1]


def test_usage_may_be_told_late_but_not_years_late(simulated: Simulated) -> None:
    id, customer = meter(simulated), simulated.customer()
    simulated.advance("5d")
    use(simulated, customer, 2, timestamp=instant("2026-02-01"))
    for wrong in (instant("2025-11-01"), instant("2026-03-01")):
        with pytest.raises(stripe.InvalidRequestError, match="35 calendar days"):
            use(simulated, customer, 2, timestamp=wrong)
    assert summed(simulated, id, customer) == [2]


def test_the_last_usage_is_billed_when_the_subscription_ends(simulated: Simulated) -> None:
    subscription = simulated.subscribe(price=metered_price(simulated, meter(simulated)), cancel_at_period_end=True)
    use(simulated, subscription.customer, 10)
    simulated.advance_to("2026-02-28T13:00:00Z")
    over = simulated.subscription(subscription.id)
    assert over.status == "canceled"
    invoice = simulated.latest_invoice(subscription.id)
    assert (invoice.total, invoice.status) == (50, "paid")


def test_an_inactive_meter_takes_no_events(simulated: Simulated) -> None:
    id = meter(simulated)
    with pytest.raises(stripe.InvalidRequestError, match="exists already"):
        meter(simulated)
    assert simulated.client.v1.billing.meters.deactivate(id).status == "inactive"
    with pytest.raises(stripe.InvalidRequestError, match="No active meter"):
        use(simulated, simulated.customer(), 1)
    assert simulated.client.v1.billing.meters.reactivate(id).status == "active"
    assert [m.id for m in simulated.client.v1.billing.meters.list({"status": "active"}).data] == [id]
