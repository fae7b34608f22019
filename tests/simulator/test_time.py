"""What happens as the clock moves: renewals, retries, and the clock itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paygrade.providers.stripe import translate
from paygrade.simulator.http.serve import running

from .conftest import Simulated, client_of, instant, until


def fail_renewal(simulated: Simulated, **params: Any) -> Any:
    """Give a subscription whose renewal on Feb 28 was charged, and declined, an hour later."""
    subscription = simulated.subscribe(**params)
    simulated.set_card(subscription.customer, "pm_card_chargeCustomerFail")
    simulated.advance_to("2026-02-28T13:00:00Z")
    assert simulated.status(subscription.id) == "past_due"
    return subscription


def test_at_renewal_the_period_moves_an_hour_before_it_is_paid(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.advance_to("2026-02-28T12:00:00Z")
    after = simulated.subscription(subscription.id)
    assert after.status == "active"
    assert after["items"].data[0].current_period_start == instant("2026-02-28T12:00")
    invoice = simulated.latest_invoice(subscription.id)
    assert (invoice.status, invoice.billing_reason) == ("draft", "subscription_cycle")
    assert invoice.automatically_finalizes_at == instant("2026-02-28T13:00")
    assert invoice.lines.data[0].period.end == instant("2026-03-31T12:00")
    simulated.advance("1h")
    assert simulated.latest_invoice(subscription.id).status == "paid"


def test_an_anchor_on_the_31st_is_clamped_and_does_not_drift(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    ends = []
    for _ in range(5):
        [item] = simulated.subscription(subscription.id)["items"].data
        ends.append(item.current_period_end)
        simulated.control("clock", {"to": datetime.fromtimestamp(ends[-1], UTC).isoformat()})
    assert ends == [instant(f"2026-{day}T12:00") for day in ("02-28", "03-31", "04-30", "05-31", "06-30")]


def test_many_periods_pass_in_one_advance_each_at_its_own_instant(simulated: Simulated) -> None:
    simulated.subscribe()
    simulated.advance("52w")
    paid = simulated.events("invoice.paid")
    assert len(paid) == 12
    instants = [event.created for event in paid]
    assert instants == sorted(instants)
    assert instants[1] == instant("2026-02-28T13:00")


def test_a_failed_renewal_is_retried_eight_times_in_two_weeks_then_canceled(simulated: Simulated) -> None:
    subscription = fail_renewal(simulated)
    invoice = simulated.latest_invoice(subscription.id)
    assert (invoice.attempt_count, invoice.attempted, invoice.status) == (1, True, "open")
    assert invoice.next_payment_attempt == instant("2026-03-01T13:00")
    told = translate.subscription(simulated.subscription(subscription.id).to_dict(), [invoice.to_dict()])
    assert (told.attempts, told.next_attempt_at) == (1, datetime(2026, 3, 1, 13, tzinfo=UTC))
    simulated.advance("13d")
    assert simulated.status(subscription.id) == "past_due"
    assert simulated.latest_invoice(subscription.id).attempt_count == 8
    simulated.advance("1d")
    after = simulated.subscription(subscription.id)
    assert (after.status, after.ended_at) == ("canceled", instant("2026-03-14T13:00"))
    assert after.cancellation_details.reason == "payment_failed"
    assert len(simulated.events("invoice.payment_failed")) == 9
    invoice = simulated.latest_invoice(subscription.id)
    assert (invoice.status, invoice.next_payment_attempt, invoice.amount_remaining) == ("open", None, 2500)


def test_a_retry_with_a_new_card_brings_it_back(simulated: Simulated) -> None:
    subscription = fail_renewal(simulated)
    simulated.set_card(subscription.customer, "pm_card_visa")
    assert simulated.status(subscription.id) == "past_due"
    simulated.advance("1d")
    assert simulated.status(subscription.id) == "active"
    assert simulated.client.v1.customers.retrieve(subscription.customer).delinquent is False


def test_paying_the_invoice_brings_it_back_at_once(simulated: Simulated) -> None:
    subscription = fail_renewal(simulated)
    assert simulated.client.v1.customers.retrieve(subscription.customer).delinquent is True
    simulated.set_card(subscription.customer, "pm_card_visa")
    simulated.client.v1.invoices.pay(simulated.latest_invoice(subscription.id).id)
    assert simulated.status(subscription.id) == "active"
    simulated.advance("14d")
    assert simulated.status(subscription.id) == "active"


def test_marking_it_uncollectible_makes_it_active_though_unpaid(simulated: Simulated) -> None:
    subscription = fail_renewal(simulated)
    invoice = simulated.client.v1.invoices.mark_uncollectible(simulated.latest_invoice(subscription.id).id)
    assert (invoice.status, invoice.amount_remaining) == ("uncollectible", 2500)
    assert simulated.status(subscription.id) == "active"


def test_voiding_the_failed_invoice_lets_the_paid_one_before_it_speak(simulated: Simulated) -> None:
    subscription = fail_renewal(simulated)
    simulated.client.v1.invoices.void_invoice(simulated.latest_invoice(subscription.id).id)
    assert simulated.status(subscription.id) == "active"
    assert len(simulated.events("invoice.voided")) == 1


def test_exhausted_retries_can_leave_it_unpaid_with_drafts_until_the_latest_is_paid(
    simulated: Simulated,
) -> None:
    simulated.control("settings", {"after_retries": "unpaid", "retry_days": [3, 5, 7]})
    subscription = fail_renewal(simulated)
    simulated.advance("15d")
    assert simulated.status(subscription.id) == "unpaid"
    simulated.advance_to("2026-04-01T12:00:00Z")
    draft = simulated.latest_invoice(subscription.id)
    assert (draft.status, draft.auto_advance) == ("draft", False)
    simulated.set_card(subscription.customer, "pm_card_visa")
    simulated.client.v1.invoices.pay(draft.id)
    assert simulated.status(subscription.id) == "active"


def test_exhausted_retries_can_leave_it_past_due(simulated: Simulated) -> None:
    simulated.control("settings", {"after_retries": "past_due"})
    subscription = fail_renewal(simulated)
    simulated.advance("20d")
    assert simulated.status(subscription.id) == "past_due"
    assert simulated.latest_invoice(subscription.id).next_payment_attempt is None


def test_settings_refuse_what_they_do_not_know(simulated: Simulated) -> None:
    for wanted in ({"after_retries": "explode"}, {"retry_days": [0]}, {"colour": "red"}):
        status, answer = simulated.try_control("settings", wanted)
        assert status == 400
        assert next(iter(wanted)) in answer["error"]["message"]
    assert simulated.control("settings")["after_retries"] == "cancel"


def test_a_frozen_clock_stands_still_and_only_moves_forward(simulated: Simulated) -> None:
    clock = simulated.control("clock")
    assert (clock["now"], clock["running"], clock["seed"]) == ("2026-01-31T12:00:00Z", False, 1)
    assert simulated.control("clock", {"advance": "1d12h"})["now"] == "2026-02-02T00:00:00Z"
    assert simulated.control("clock", {"to": "2026-02-02T01:00:00+01:00"})["now"] == "2026-02-02T00:00:00Z"
    for wanted in ({"to": "2026-01-01T00:00:00Z"}, {"advance": "-1d"}, {"advance": "soon"}, {"to": "x"}):
        status, answer = simulated.try_control("clock", wanted)
        assert (status, answer["error"]["type"]) == (400, "simulator_error")
    assert simulated.control("clock")["now"] == "2026-02-02T00:00:00Z"


def test_a_running_clock_follows_real_time_from_where_it_was_advanced_to() -> None:
    with running() as served:
        simulated = Simulated(served, client_of(served))
        before = datetime.now(UTC)
        assert simulated.control("clock")["running"] is True
        simulated.advance("3d")
        shown = datetime.fromisoformat(simulated.control("clock")["now"])
        assert before + timedelta(days=3) <= shown <= datetime.now(UTC) + timedelta(days=3)


def test_while_the_clock_runs_what_falls_due_happens_by_itself(simulated: Simulated) -> None:
    subscription = simulated.subscribe(cancel_at=instant("2026-02-10"))
    simulated.advance_to("2026-02-09T23:59:59.900Z")
    simulated.control("clock", {"running": True})
    world = simulated.running.simulator.account.engine.world
    until(lambda: world.objects[subscription.id]["status"] == "canceled")
    assert simulated.subscription(subscription.id).ended_at == instant("2026-02-10")


@pytest.mark.parametrize("interval", ["day", "week", "month", "year"])
def test_every_interval_renews(simulated: Simulated, interval: str) -> None:
    subscription = simulated.subscribe(price=simulated.price(interval=interval, count=2))
    [item] = subscription["items"].data
    end = datetime.fromtimestamp(item.current_period_end, UTC)
    simulated.control("clock", {"to": (end + timedelta(hours=1)).isoformat()})
    [after] = simulated.subscription(subscription.id)["items"].data
    assert after.current_period_start == item.current_period_end
    assert simulated.latest_invoice(subscription.id).status == "paid"


def test_exhausted_retries_can_pause_it_until_it_is_resumed(simulated: Simulated) -> None:
    simulated.control("settings", {"after_retries": "pause"})
    subscription = fail_renewal(simulated)
    simulated.advance("20d")
    paused = simulated.subscription(subscription.id)
    assert (paused.status, paused.status_details.paused.subscription.type) == ("paused", "final_payment_failure")
    assert len(simulated.events("customer.subscription.paused")) == 1
    simulated.set_card(subscription.customer, "pm_card_visa")
    wanted: Any = {"payment_behavior": "resume_on_payment_success"}
    simulated.client.v1.subscriptions.resume(subscription.id, wanted)
    resumed = simulated.subscription(subscription.id)
    assert resumed.status == "active"
    assert "status_details" not in resumed


def test_an_upcoming_invoice_is_announced_a_week_ahead_without_an_id(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    ending = simulated.subscribe(cancel_at_period_end=True)
    simulated.advance_to("2026-02-21T12:00:00Z")
    [event] = simulated.events("invoice.upcoming")
    told = event.data.object.to_dict()
    assert event.created == instant("2026-02-21T12:00")
    assert "id" not in told
    assert (told["total"], told["billing_reason"]) == (2500, "upcoming")
    assert told["parent"]["subscription_details"]["subscription"] == subscription.id != ending.id
    simulated.control("settings", {"upcoming_days": 0})
    simulated.advance("60d")
    assert len(simulated.events("invoice.upcoming")) == 1


def test_a_pending_update_that_nobody_pays_expires_after_23_hours(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.set_card(subscription.customer, "pm_card_chargeCustomerFail")
    item = subscription["items"].data[0].id
    waiting = simulated.update(
        subscription.id,
        items=[{"id": item, "price": simulated.price(9000)}],
        proration_behavior="always_invoice",
        payment_behavior="pending_if_incomplete",
    )
    assert waiting.pending_update.expires_at == instant("2026-02-01T11:00")
    simulated.advance("23h")
    after = simulated.subscription(subscription.id)
    assert (after.status, after.pending_update) == ("active", None)
    assert after["items"].data[0].price.unit_amount == 2500
    assert simulated.latest_invoice(subscription.id).status == "void"
