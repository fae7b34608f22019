"""Subscription schedules: phases on the clock."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import Simulated, instant


def schedule(simulated: Simulated, **params: Any) -> Any:
    wanted: Any = params
    return simulated.client.v1.subscription_schedules.create(wanted)


def update(simulated: Simulated, id: str, **params: Any) -> Any:
    wanted: Any = params
    return simulated.client.v1.subscription_schedules.update(id, wanted)


def state(simulated: Simulated, id: str) -> Any:
    return simulated.client.v1.subscription_schedules.retrieve(id)


def prices(simulated: Simulated, subscription: str) -> list[str]:
    return [item.price.id for item in simulated.subscription(subscription)["items"].data]


def test_phases_take_effect_one_after_another_and_then_let_go(simulated: Simulated) -> None:
    cheap, dear = simulated.price(1000), simulated.price(3000)
    made = schedule(
        simulated,
        customer=simulated.customer(),
        start_date="now",
        phases=[
            {"items": [{"price": cheap}], "duration": {"interval": "month", "interval_count": 2}},
            {"items": [{"price": dear, "quantity": 2}], "duration": {"interval": "month"}},
        ],
    )
    assert made.status == "active"
    assert simulated.subscription(made.subscription).schedule == made.id
    simulated.advance_to("2026-03-31T11:59:59Z")
    [item] = simulated.subscription(made.subscription)["items"].data
    assert item.price.id == cheap
    simulated.advance("2h")
    [later] = simulated.subscription(made.subscription)["items"].data
    assert (later.id, later.price.id, later.quantity) == (item.id, dear, 2)
    invoice = simulated.latest_invoice(made.subscription)
    assert (invoice.total, invoice.status) == (6000, "paid")
    assert state(simulated, made.id).current_phase.start_date == instant("2026-03-31T12:00")
    simulated.advance_to("2026-05-05T00:00:00Z")
    over = state(simulated, made.id)
    assert (over.status, over.subscription, over.released_subscription) == ("released", None, made.subscription)
    after = simulated.subscription(made.subscription)
    assert (after.status, after.schedule) == ("active", None)
    for type in ("created", "updated", "expiring", "released"):
        assert simulated.events(f"subscription_schedule.{type}"), type
    assert simulated.events("subscription_schedule.created")[0].data.object.status == "active"


def test_a_downgrade_at_the_period_s_end_is_a_schedule_from_the_subscription(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    made = schedule(simulated, from_subscription=subscription.id)
    [phase] = made.phases
    assert (phase.start_date, phase.end_date) == (instant("2026-01-31T12:00"), instant("2026-02-28T12:00"))
    smaller = simulated.price(500)
    changed = update(
        simulated,
        made.id,
        phases=[
            {
                "items": [{"price": phase["items"][0].price, "quantity": 1}],
                "start_date": phase.start_date,
                "end_date": phase.end_date,
            },
            {"items": [{"price": smaller}], "duration": {"interval": "month"}},
        ],
    )
    assert len(changed.phases) == 2
    assert simulated.subscription(subscription.id)["items"].data[0].price.id != smaller
    assert len(simulated.client.v1.invoices.list({"subscription": subscription.id}).data) == 1
    simulated.advance_to("2026-02-28T13:00:00Z")
    assert prices(simulated, subscription.id) == [smaller]
    invoice = simulated.latest_invoice(subscription.id)
    assert [line.amount for line in invoice.lines.data] == [500]


def test_a_change_of_the_running_phase_takes_effect_now(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    made = schedule(simulated, from_subscription=subscription.id)
    simulated.advance("7d")
    dear = simulated.price(10_000)
    [phase] = made.phases
    again: Any = {"items": [{"price": dear}], "start_date": phase.start_date, "end_date": phase.end_date}
    update(simulated, made.id, phases=[again], proration_behavior="always_invoice")
    assert prices(simulated, subscription.id) == [dear]
    assert simulated.latest_invoice(subscription.id).total == 5625


def test_a_schedule_that_ends_in_cancel_says_so_and_does_it(simulated: Simulated) -> None:
    made = schedule(
        simulated,
        customer=simulated.customer(),
        start_date="now",
        end_behavior="cancel",
        phases=[{"items": [{"price": simulated.price()}], "duration": {"interval": "month", "interval_count": 2}}],
    )
    assert simulated.subscription(made.subscription).cancel_at == instant("2026-03-31T12:00")
    with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
        simulated.update(made.subscription, cancel_at_period_end=True)
    simulated.advance("90d")
    over = simulated.subscription(made.subscription)
    assert (over.status, over.ended_at) == ("canceled", instant("2026-03-31T12:00"))
    assert state(simulated, made.id).status == "completed"
    assert len(simulated.events("subscription_schedule.completed")) == 1


def test_a_schedule_can_begin_later(simulated: Simulated) -> None:
    made = schedule(
        simulated,
        customer=simulated.customer(),
        start_date=instant("2026-02-10"),
        phases=[{"items": [{"price": simulated.price()}], "end_date": instant("2026-04-10"), "trial": True}],
    )
    assert (made.status, made.subscription) == ("not_started", None)
    listed = simulated.client.v1.subscription_schedules.list({"scheduled": True}).data
    assert [one.id for one in listed] == [made.id]
    simulated.advance_to("2026-02-10T00:00:00Z")
    begun = state(simulated, made.id)
    assert begun.status == "active"
    subscription = simulated.subscription(begun.subscription)
    assert (subscription.status, subscription.trial_end) == ("trialing", instant("2026-04-10"))
    assert subscription.start_date == instant("2026-02-10")


def test_releasing_leaves_the_subscription_and_canceling_ends_it(simulated: Simulated) -> None:
    first, second = simulated.subscribe(), simulated.subscribe()
    released = schedule(simulated, from_subscription=first.id)
    canceled = schedule(simulated, from_subscription=second.id)
    simulated.client.v1.subscription_schedules.release(released.id)
    simulated.client.v1.subscription_schedules.cancel(canceled.id)
    assert (simulated.status(first.id), simulated.subscription(first.id).schedule) == ("active", None)
    assert simulated.status(second.id) == "canceled"
    assert state(simulated, canceled.id).status == "canceled"
    for id in (released.id, canceled.id):
        with pytest.raises(stripe.InvalidRequestError, match="You cannot change"):
            simulated.client.v1.subscription_schedules.release(id)
    simulated.advance("90d")
    assert simulated.status(first.id) == "active"


def test_a_schedule_is_aborted_when_dunning_ends_its_subscription(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    made = schedule(simulated, from_subscription=subscription.id)
    price = made.phases[0]["items"][0].price
    same: Any = {"items": [{"price": price}], "duration": {"interval": "year"}}
    update(simulated, made.id, phases=[same])
    simulated.set_card(subscription.customer, "pm_card_chargeCustomerFail")
    simulated.advance("60d")
    assert simulated.status(subscription.id) == "canceled"
    assert state(simulated, made.id).status == "canceled"
    assert len(simulated.events("subscription_schedule.aborted")) == 1


def test_what_makes_no_schedule_is_refused(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    price = simulated.price()
    one: Any = {"items": [{"price": price}], "duration": {"interval": "month"}}
    for wanted in (
        {"from_subscription": subscription.id, "phases": [one]},
        {"customer": subscription.customer},
        {"customer": subscription.customer, "start_date": instant("2025-01-01"), "phases": [one]},
        {
            "customer": subscription.customer,
            "phases": [{"items": [{"price": price}], "end_date": instant("2025-01-01")}],
        },
        {"customer": subscription.customer, "phases": [one, {**one, "start_date": instant("2026-07-01")}]},
    ):
        with pytest.raises(stripe.InvalidRequestError):
            schedule(simulated, **wanted)
    schedule(simulated, from_subscription=subscription.id)
    with pytest.raises(stripe.InvalidRequestError, match="already attached"):
        schedule(simulated, from_subscription=subscription.id)
