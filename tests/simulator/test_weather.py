"""Bad weather over requests and notifications: what a client meets, and that the seed decides it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from .conftest import SECRET, Receiver, Simulated, Stage, until


@pytest.fixture
def hooked(stage: Stage, receiver: Receiver) -> Iterator[Simulated]:
    with stage.playing(webhook_urls=[receiver.url], seed=7) as simulated:
        yield simulated


def names(simulated: Simulated) -> list[str]:
    return [str(customer.name) for customer in simulated.client.v1.customers.list().data][::-1]


def outcomes(simulated: Simulated, *, requests: int) -> list[str]:
    """Try to make customers, and give what the official client made of each answer."""
    seen = []
    for n in range(requests):
        try:
            simulated.client.v1.customers.create({"name": f"{n}"})
            seen.append("made")
        except stripe.StripeError as error:
            seen.append(type(error).__name__)
    return seen


def test_a_limited_request_has_no_effect_and_says_when_to_come_back(simulated: Simulated) -> None:
    simulated.control("weather", {"rate_limit": 1})
    with pytest.raises(stripe.RateLimitError) as refused:
        simulated.client.v1.customers.create({})
    assert refused.value.http_status == 429
    body: Any = refused.value.json_body
    assert body["error"]["code"] == "rate_limit"
    headers: Any = refused.value.headers
    assert headers["retry-after"] == "1"
    simulated.control("weather", {})
    assert names(simulated) == []


def test_a_rate_lets_as_many_requests_through_at_once(simulated: Simulated) -> None:
    simulated.control("weather", {"rate_limit_per_s": 3})
    seen = outcomes(simulated, requests=8)
    assert seen[:3] == ["made"] * 3
    assert "RateLimitError" in seen[3:]


def test_a_failed_request_may_have_taken_effect(simulated: Simulated) -> None:
    simulated.control("weather", {"error": 1})
    assert outcomes(simulated, requests=20) == ["APIError"] * 20
    simulated.control("weather", {})
    made = simulated.client.v1.customers.list({"limit": 100}).data
    assert 0 < len(made) < 20


def test_a_request_repeated_with_its_key_after_a_failure_has_one_effect(simulated: Simulated) -> None:
    simulated.control("weather", {"error": 0.5, "timeout": 0.2, "hang_ms": [1, 5]})
    for n in range(10):
        while True:
            try:
                simulated.client.v1.customers.create({"name": f"{n}"}, {"idempotency_key": f"key-{n}"})
                break
            except (stripe.APIError, stripe.APIConnectionError):
                continue
    simulated.control("weather", {})
    assert names(simulated) == [f"{n}" for n in range(10)]


def test_a_timeout_closes_the_connection_and_may_have_taken_effect(simulated: Simulated) -> None:
    simulated.control("weather", {"timeout": 1, "hang_ms": [1, 5]})
    assert outcomes(simulated, requests=12) == ["APIConnectionError"] * 12
    simulated.control("weather", {})
    assert 0 < len(simulated.client.v1.customers.list({"limit": 100}).data) < 12


def test_requests_meet_the_same_mishaps_for_the_same_seed(stage: Stage) -> None:
    def run(seed: int) -> list[str]:
        with stage.playing(seed=seed) as simulated:
            simulated.control("weather", {"error": 0.3, "rate_limit": 0.2, "timeout": 0.2, "hang_ms": [1, 3]})
            return outcomes(simulated, requests=20)

    assert run(5) == run(5)
    assert run(5) != run(6)
    assert {"made", "APIError", "RateLimitError", "APIConnectionError"} <= set(run(5))


def test_a_lagging_read_answers_with_the_state_of_a_while_ago(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.control("weather", {"lag_ms": [3_600_000, 3_600_000]})
    simulated.client.v1.subscriptions.cancel(subscription.id)
    newcomer = simulated.client.v1.customers.create({"name": "newcomer"})
    simulated.client.v1.customers.update(subscription.customer, {"name": "Lady Ada"})
    assert simulated.status(subscription.id) == "active"
    expand = {"expand": ["data.latest_invoice"], "status": "active"}
    listed: Any = simulated.client.v1.subscriptions.list(expand)  # type: ignore[arg-type]
    assert [s.id for s in listed.data] == [subscription.id]
    assert names(simulated) == ["Ada"]
    with pytest.raises(stripe.InvalidRequestError):
        simulated.client.v1.customers.retrieve(newcomer.id)
    simulated.control("weather", {})
    assert simulated.status(subscription.id) == "canceled"
    assert names(simulated) == ["Lady Ada", "newcomer"]


def test_a_short_lag_is_caught_up_with(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.control("weather", {"lag_ms": [20, 40]})
    simulated.client.v1.subscriptions.cancel(subscription.id)
    until(lambda: simulated.status(subscription.id) == "canceled")


def test_two_events_of_two_ids_can_tell_of_one_change(hooked: Simulated, receiver: Receiver) -> None:
    hooked.control("weather", {"twice": 1})
    hooked.client.v1.customers.create({"name": "Ada"})
    until(lambda: len(receiver.received) == 2)
    first, second = receiver.events
    assert first["id"] != second["id"]
    assert {**first, "id": ""} == {**second, "id": ""}
    assert {event.id for event in hooked.events("customer.created")} == {first["id"], second["id"]}


def test_a_late_event_waits_hours_of_the_simulated_clock(hooked: Simulated, receiver: Receiver) -> None:
    hooked.control("weather", {"late": 1})
    hooked.client.v1.customers.create({"name": "late"})
    hooked.control("weather", {})
    hooked.client.v1.customers.create({"name": "in time"})
    until(lambda: len(receiver.received) == 1)
    hooked.advance("30m")
    assert len(receiver.received) == 1
    hooked.advance("12h")
    until(lambda: len(receiver.received) == 2)
    assert [event["data"]["object"]["name"] for event in receiver.events] == ["in time", "late"]


def test_a_flush_sends_late_events_too(hooked: Simulated, receiver: Receiver) -> None:
    hooked.control("weather", {"late": 1})
    hooked.client.v1.customers.create({})
    assert hooked.control("flush", {}) == {"delivered": 1, "failed": 0, "pending": 0}
    assert len(receiver.received) == 1


def test_a_burst_holds_deliveries_back_and_sends_several_at_once(hooked: Simulated, receiver: Receiver) -> None:
    hooked.control("weather", {"burst_s": 3600})
    for _ in range(70):
        hooked.client.v1.customers.create({})
    assert receiver.received == []
    assert hooked.control("flush", {}) == {"delivered": 70, "failed": 0, "pending": 0}
    assert len({event["id"] for event in receiver.events}) == 70


def test_a_thin_notification_is_the_official_librarys_and_leads_to_the_object(
    hooked: Simulated, receiver: Receiver
) -> None:
    hooked.control("weather", {"thin": 1})
    subscription = hooked.subscribe()
    hooked.control("flush", {})
    wanted = "v1.customer.subscription.created"
    until(lambda: any(json.loads(body)["type"] == wanted for body, _ in receiver.received))
    body, signature = next(each for each in receiver.received if json.loads(each[0])["type"] == wanted)
    told: Any = hooked.client.parse_event_notification(body, signature, SECRET, tolerance=10**12)
    assert told.type == wanted
    assert "data" not in json.loads(body)
    assert told.fetch_related_object().id == subscription.id
    event = told.fetch_event()
    assert event.object == "v2.core.event"
    assert event.snapshot_event == told.id == hooked.events("customer.subscription.created")[0].id


def test_one_endpoint_can_be_thin_while_another_is_not(hooked: Simulated, receiver: Receiver) -> None:
    hooked.control("webhooks", {"url": receiver.url + "/thin", "thin": True})
    hooked.client.v1.customers.create({})
    until(lambda: len(receiver.received) == 2)
    assert sorted(event["object"] for event in receiver.events) == ["event", "v2.core.event"]
    assert {event["type"].removeprefix("v1.") for event in receiver.events} == {"customer.created"}
