"""Test clocks: customers in a time of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from paygrade.simulator.http import account

from .conftest import Receiver, Simulated, Stage, instant, until

LAST_YEAR = instant("2025-03-31T08:00")


@pytest.fixture
def hooked(stage: Stage, receiver: Receiver) -> Iterator[Simulated]:
    with stage.playing(webhook_urls=[receiver.url], seed=7) as simulated:
        yield simulated


def make_clock(simulated: Simulated) -> str:
    return simulated.client.v1.test_helpers.test_clocks.create({"frozen_time": LAST_YEAR, "name": "spring"}).id


def customer_of(simulated: Simulated, clock: str, card: str = "pm_card_visa") -> str:
    customer = simulated.client.v1.customers.create({"test_clock": clock})
    simulated.set_card(customer.id, card)
    return customer.id


def advance(simulated: Simulated, clock: str, to: str) -> list[str]:
    """Advance as Stripe's docs say: until the clock is ready. Gives the statuses seen."""
    clocks = simulated.client.v1.test_helpers.test_clocks
    seen = [clocks.advance(clock, {"frozen_time": instant(to)}).status]
    while seen[-1] != "ready":
        seen.append(clocks.retrieve(clock).status)
        assert len(seen) < 20
    return seen


def test_a_customer_of_a_clock_lives_in_its_time(simulated: Simulated) -> None:
    clock = make_clock(simulated)
    customer = customer_of(simulated, clock)
    subscription = simulated.subscribe(customer=customer, expand=["latest_invoice"])
    assert subscription.created == subscription.latest_invoice.created == LAST_YEAR
    assert subscription.test_clock == subscription.latest_invoice.test_clock == clock
    assert subscription["items"].data[0].current_period_end == instant("2025-04-30T08:00")


def test_advancing_takes_a_while_and_then_renewals_have_happened(simulated: Simulated) -> None:
    clock = make_clock(simulated)
    subscription = simulated.subscribe(customer=customer_of(simulated, clock))
    elsewhere = simulated.subscribe()
    assert advance(simulated, clock, "2025-05-31T10:00") == ["advancing", "advancing", "ready"]
    [item] = simulated.subscription(subscription.id)["items"].data
    assert (item.current_period_start, item.current_period_end) == (
        instant("2025-05-31T08:00"),
        instant("2025-06-30T08:00"),
    )
    assert simulated.latest_invoice(subscription.id).status == "paid"
    invoices = simulated.client.v1.invoices.list({"subscription": subscription.id}).data
    assert [invoice.created for invoice in invoices] == [
        instant("2025-05-31T08:00"),
        instant("2025-04-30T08:00"),
        LAST_YEAR,
    ]
    assert simulated.subscription(elsewhere.id) == elsewhere
    assert simulated.client.v1.test_helpers.test_clocks.retrieve(clock).frozen_time == instant("2025-05-31T10:00")


def test_the_account_s_own_time_leaves_clocks_alone(simulated: Simulated) -> None:
    clock = make_clock(simulated)
    subscription = simulated.subscribe(customer=customer_of(simulated, clock))
    simulated.advance("90d")
    assert simulated.subscription(subscription.id) == subscription


def test_dunning_follows_the_clock(simulated: Simulated) -> None:
    clock = make_clock(simulated)
    customer = customer_of(simulated, clock)
    subscription = simulated.subscribe(customer=customer)
    simulated.set_card(customer, "pm_card_chargeCustomerFail")
    advance(simulated, clock, "2025-04-30T10:00")
    assert simulated.status(subscription.id) == "past_due"
    advance(simulated, clock, "2025-05-20T10:00")
    canceled = simulated.subscription(subscription.id)
    assert canceled.status == "canceled"
    assert canceled.ended_at == instant("2025-05-14T09:00")


def test_nothing_changes_while_a_clock_advances(simulated: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "CLOCK_ADVANCE_S", 3600.0)
    clock = make_clock(simulated)
    subscription = simulated.subscribe(customer=customer_of(simulated, clock))
    simulated.client.v1.test_helpers.test_clocks.advance(clock, {"frozen_time": instant("2025-05-31")})
    assert simulated.subscription(subscription.id) == subscription
    for change in (
        lambda: simulated.update(subscription.id, metadata={"a": "b"}),
        lambda: simulated.client.v1.test_helpers.test_clocks.advance(clock, {"frozen_time": instant("2025-07-01")}),
    ):
        with pytest.raises(stripe.StripeError, match="advancement underway"):
            change()


def test_a_clock_arrives_also_when_nobody_looks(hooked: Simulated, receiver: Receiver) -> None:
    clock = make_clock(hooked)
    hooked.client.v1.test_helpers.test_clocks.advance(clock, {"frozen_time": instant("2025-05-31")})
    until(lambda: "test_helpers.test_clock.ready" in receiver.types)
    assert receiver.types[:2] == ["test_helpers.test_clock.created", "test_helpers.test_clock.advancing"]


def test_lists_leave_clocks_out_unless_they_are_named(simulated: Simulated) -> None:
    clock = make_clock(simulated)
    customer = customer_of(simulated, clock)
    inside, outside = simulated.subscribe(customer=customer), simulated.subscribe()

    def listed(**params: Any) -> list[str]:
        wanted: Any = {"status": "all", **params}
        return [s.id for s in simulated.client.v1.subscriptions.list(wanted).data]

    assert listed() == [outside.id]
    assert listed(test_clock=clock) == listed(customer=customer) == [inside.id]
    assert [c.id for c in simulated.client.v1.customers.list().data] == [outside.customer]
    assert [c.id for c in simulated.client.v1.customers.list({"test_clock": clock}).data] == [customer]
    assert [c.id for c in simulated.client.v1.test_helpers.test_clocks.list().data] == [clock]


def test_a_deleted_clock_takes_its_customers_along(simulated: Simulated) -> None:
    clock = make_clock(simulated)
    subscription = simulated.subscribe(customer=customer_of(simulated, clock))
    assert simulated.client.v1.test_helpers.test_clocks.delete(clock).deleted is True
    assert simulated.status(subscription.id) == "canceled"
    assert simulated.client.v1.customers.retrieve(subscription.customer).deleted is True
    with pytest.raises(stripe.InvalidRequestError):
        simulated.client.v1.test_helpers.test_clocks.retrieve(clock)


def test_a_clock_only_moves_forward(simulated: Simulated) -> None:
    clock = make_clock(simulated)
    with pytest.raises(stripe.InvalidRequestError, match="must be after"):
        simulated.client.v1.test_helpers.test_clocks.advance(clock, {"frozen_time": LAST_YEAR})
