"""Webhooks: signed, prompt, retried, and under every weather."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from .conftest import SECRET, Receiver, Simulated, Stage, until


@pytest.fixture
def hooked(stage: Stage, receiver: Receiver) -> Iterator[Simulated]:
    """A simulator that delivers to the receiver."""
    with stage.playing(webhook_urls=[receiver.url], seed=7) as simulated:
        yield simulated


def verified(simulated: Simulated, body: bytes, signature: str, *, tolerance: int = 300) -> Any:
    """Verify as the official client does, on the simulator's clock."""
    now = int(simulated.running.simulator.account.engine.now.timestamp())
    moment = int(signature.split(",")[0].removeprefix("t="))
    assert abs(now - moment) <= tolerance
    # The library compares with this machine's clock, which is not the simulator's.
    return stripe.Webhook.construct_event(body, signature, SECRET, tolerance=10**12)


def test_events_arrive_signed_in_order_and_whole(hooked: Simulated, receiver: Receiver) -> None:
    hooked.advance("40d")
    subscription = hooked.subscribe()
    listed = [event.id for event in hooked.client.v1.events.list({"limit": 100}).data][::-1]
    until(lambda: len(receiver.received) == len(listed))
    events = [verified(hooked, body, signature) for body, signature in receiver.received]
    assert [event.id for event in events] == listed
    assert events[-1].type == "customer.subscription.created"
    assert events[-1].data.object.id == subscription.id
    assert events[-1].api_version == stripe.api_version
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(receiver.received[0][0] + b" ", receiver.received[0][1], SECRET)


def test_a_request_does_not_wait_for_its_webhook(receiver: Receiver, hooked: Simulated) -> None:
    receiver.open.clear()
    hooked.client.v1.customers.create({})
    assert receiver.received == []
    receiver.open.set()
    until(lambda: receiver.types == ["customer.created"])


def test_an_unreachable_endpoint_is_retried_and_does_not_hold_up_the_others(
    receiver: Receiver, hooked: Simulated
) -> None:
    hooked.control("webhooks", {"url": "http://127.0.0.1:9/nobody"})
    hooked.client.v1.customers.create({})
    until(lambda: receiver.types == ["customer.created"])
    until(lambda: hooked.control("deliveries")["deliveries"][0]["answer"] == "ConnectError")
    [event] = hooked.client.v1.events.list().data
    assert event.pending_webhooks == 1


def test_a_webhook_can_be_added_later_and_several_get_everything(hooked: Simulated, receiver: Receiver) -> None:
    second = receiver.url.replace("/stripe", "/other")
    assert hooked.control("webhooks", {"url": second}) == {"urls": [receiver.url, second]}
    hooked.client.v1.customers.create({})
    until(lambda: receiver.types == ["customer.created"] * 2)
    [event] = hooked.client.v1.events.list().data
    until(lambda: hooked.client.v1.events.retrieve(event.id).pending_webhooks == 0)
    status, _ = hooked.try_control("webhooks", {"url": "nonsense"})
    assert status == 400


def test_a_refused_event_is_tried_again_with_a_new_signature(hooked: Simulated, receiver: Receiver) -> None:
    receiver.answers = [500, 503]
    hooked.client.v1.customers.create({})
    until(lambda: hooked.control("deliveries")["deliveries"][0]["attempts"] == 1)
    [event] = hooked.client.v1.events.list({"delivery_success": False}).data
    hooked.advance("1d")
    assert hooked.control("flush", {}) == {"delivered": 0, "failed": 1, "pending": 1}
    # A machine that is busy may let an attempt run out of time; it is made again as well.
    until(lambda: hooked.control("flush", {})["pending"] == 0)
    [delivery] = hooked.control("deliveries")["deliveries"]
    assert (delivery["status"], delivery["event"]) == ("delivered", event.id)
    assert delivery["attempts"] >= 3
    verified(hooked, *receiver.received[0])
    assert hooked.client.v1.events.list({"delivery_success": False}).data == []


def test_a_refused_event_is_tried_again_by_itself(hooked: Simulated, receiver: Receiver) -> None:
    receiver.answers = [500]
    hooked.client.v1.customers.create({})
    until(lambda: receiver.types == ["customer.created"])


def test_a_dropped_event_never_arrives_and_only_the_list_knows(hooked: Simulated, receiver: Receiver) -> None:
    hooked.control("weather", {"drop": 1})
    lost = hooked.client.v1.customers.create({})
    hooked.control("weather", {})
    hooked.client.v1.customers.create({})
    assert hooked.control("flush", {})["pending"] == 0
    until(lambda: len(receiver.received) == 1)
    [event] = hooked.client.v1.events.list({"delivery_success": False}).data
    assert event.data.object["id"] == lost.id
    assert [d["status"] for d in hooked.control("deliveries")["deliveries"]] == ["delivered", "dropped"]


def test_a_duplicated_event_arrives_twice_with_one_id(hooked: Simulated, receiver: Receiver) -> None:
    hooked.control("weather", {"duplicate": 1})
    hooked.client.v1.customers.create({})
    until(lambda: len(receiver.received) == 2)
    assert len({event["id"] for event in receiver.events}) == 1


def test_a_delayed_event_waits_until_it_is_flushed(hooked: Simulated, receiver: Receiver) -> None:
    hooked.control("weather", {"delay_ms": [3_600_000, 7_200_000]})
    for _ in range(3):
        hooked.client.v1.customers.create({})
    assert receiver.received == []
    assert hooked.control("flush", {}) == {"delivered": 3, "failed": 0, "pending": 0}
    assert len(receiver.received) == 3


def arrivals(stage: Stage, receiver: Receiver, weather: dict[str, Any], *, seed: int) -> list[str]:
    receiver.received.clear()
    with stage.playing(webhook_urls=[receiver.url], seed=seed) as simulated:
        simulated.control("weather", weather)
        for n in range(20):
            simulated.client.v1.customers.create({"name": f"customer {n}"})
        while simulated.control("flush", {})["pending"]:
            pass
    return [event["data"]["object"]["name"] for event in receiver.events]


def test_weather_is_the_same_for_the_same_seed(stage: Stage, receiver: Receiver) -> None:
    storm = {"delay_ms": [100_000, 200_000], "duplicate": 0.3, "drop": 0.3, "reorder": 0.3}
    first = arrivals(stage, receiver, storm, seed=3)
    assert arrivals(stage, receiver, storm, seed=3) == first
    assert arrivals(stage, receiver, storm, seed=4) != first
    assert len(set(first)) < 20
    assert len(first) > len(set(first))


def test_reordered_events_overtake_each_other_and_none_is_lost(stage: Stage, receiver: Receiver) -> None:
    names = arrivals(stage, receiver, {"reorder": 0.5}, seed=1)
    in_order = [f"customer {n}" for n in range(20)]
    assert sorted(names) == sorted(in_order)
    assert names != in_order


@pytest.mark.parametrize(
    "weather",
    [{"fog": 1}, {"drop": 1.5}, {"drop": "often"}, {"delay_ms": [5, 1]}, {"delay_ms": 5}, {"lag_ms": [2, 1]}],
)
def test_impossible_weather_is_refused_and_leaves_the_old(hooked: Simulated, weather: dict[str, Any]) -> None:
    before = hooked.control("weather", {"drop": 0.25})
    status, answer = hooked.try_control("weather", weather)
    assert status == 400
    assert next(iter(weather)) in answer["error"]["message"]
    assert hooked.control("weather") == before
    assert before["drop"] == 0.25
    assert not any(value and value != [0, 0] for name, value in before.items() if name not in ("drop", "hang_ms"))


def test_the_page_for_people_escapes_what_it_shows(hooked: Simulated) -> None:
    hooked.client.v1.customers.create({"name": "<script>alert(1)</script>"})
    hooked.subscribe()
    with urllib.request.urlopen(hooked.running.url + "/") as answer:
        page = answer.read().decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>" not in page
    assert "sub_" in page


def test_a_control_nobody_knows_lists_those_there_are(hooked: Simulated) -> None:
    status, answer = hooked.try_control("teapot")
    assert status == 404
    assert "/_simulator/clock" in answer["error"]["message"]


def test_a_body_delivered_is_the_event_as_listed_then(hooked: Simulated, receiver: Receiver) -> None:
    customer = hooked.client.v1.customers.create({"name": "Ada"})
    until(lambda: len(receiver.received) == 1)
    hooked.client.v1.customers.update(customer.id, {"name": "Lady Ada"})
    assert json.loads(receiver.received[0][0])["data"]["object"]["name"] == "Ada"
    [event] = hooked.events("customer.created")
    assert event.data.object["name"] == "Ada"
