"""Webhooks, from the log of state updates to real receivers, good and bad."""

import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from support.databases import migrated_database
from support.receiver import Answering, Received, receiving, takes
from support.sending import LOOPBACK, House
from support.server_process import Api, serving
from support.waiting import eventually


@pytest.fixture(scope="module")
def served(postgres_url: str) -> Iterator[tuple[Api, str]]:
    with migrated_database(postgres_url) as database_url, serving(LOOPBACK, database_url) as api:
        yield api, database_url


@pytest.fixture
def house(served: tuple[Api, str]) -> Iterator[House]:
    """The server, a receiver of this test's own, and no other endpoints."""
    api, database_url = served
    with receiving() as receiver:
        made = House(api, database_url, receiver)
        yield made
        for endpoint in api.ok("GET", "/v1/webhook-endpoints")["endpoints"]:
            api.ok("DELETE", f"/v1/webhook-endpoints/{endpoint['id']}")


def answers(status: int, **headers: str) -> Any:
    def behave(_: Received, answering: Answering) -> None:
        answering.answer(status, b"", **headers)

    return behave


def test_stock_verifier_takes_what_is_sent_and_the_body_says_what_happened(house: House) -> None:
    endpoint = house.endpoint()
    house.happens("acme", "acme", None)
    first, second, none = house.receiver.got(3)
    verifier = Webhook(endpoint["secret"])
    for each in (first, second, none):
        verifier.verify(each.body, each.headers)
        with pytest.raises(WebhookVerificationError):
            verifier.verify(each.body + b" ", each.headers)
    acme = [each for each in (first, second, none) if each.account == "acme"]
    assert [(each.sequence, each.json["data"]["number"]) for each in acme] == [(1, 0), (2, 1)]
    told = acme[0].json
    assert told["id"] == acme[0].id
    assert (told["type"], told["api_version"], told["gap"]) == ("account.state_changed", "v1", False)
    assert told["timestamp"] == told["occurred_at"]
    assert "state_version" in told
    house.become(endpoint, "delivered", "delivered", "delivered")
    assert house.shown(endpoint)["delivered_at"] is not None


def test_secret_is_shown_once_and_both_sign_during_a_rotation(house: House) -> None:
    endpoint = house.endpoint()
    assert "secret" not in house.shown(endpoint)
    rotated = house.api.ok("POST", f"/v1/webhook-endpoints/{endpoint['id']}/rotate", json={"overlap_s": 3600})
    assert (rotated["secrets"], house.shown(endpoint)["secrets"]) == (2, 2)
    house.happens("acme")
    (received,) = house.receiver.got(1)
    for secret in (endpoint["secret"], rotated["secret"]):
        Webhook(secret).verify(received.body, received.headers)
    last = house.api.ok("POST", f"/v1/webhook-endpoints/{endpoint['id']}/rotate", json={"overlap_s": 0})
    house.happens("acme")
    _, received = house.receiver.got(2)
    Webhook(last["secret"]).verify(received.body, received.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(rotated["secret"]).verify(received.body, received.headers)


def test_retry_is_signed_with_the_secrets_of_its_time_and_keeps_its_id(house: House) -> None:
    endpoint = house.endpoint()
    house.receiver.behave = answers(500)
    house.happens("acme")
    house.become(endpoint, "waiting")
    house.receiver.got(1)
    rotated = house.api.ok("POST", f"/v1/webhook-endpoints/{endpoint['id']}/rotate", json={})
    house.receiver.behave = takes
    house.time_passes("6 seconds")
    before, after = house.receiver.got(2)
    assert before.id == after.id
    Webhook(rotated["secret"]).verify(after.body, after.headers)
    house.become(endpoint, "delivered")
    assert house.deliveries(endpoint)[0]["tries"] == 2


def test_filters_choose_types_and_accounts(house: House) -> None:
    by_type = house.endpoint(types=["catalog.published"])
    by_account = house.endpoint(types=[], accounts=["beta"])
    house.happens("acme", "beta")
    house.happens(None, type="catalog.published")
    house.become(by_type, "delivered")
    house.become(by_account, "delivered")
    assert house.deliveries(by_type)[0]["type"] == "catalog.published"
    assert house.deliveries(by_account)[0]["account"] == "beta"
    house.change(by_type, types=[])
    house.happens("acme")
    house.become(by_type, "delivered", "delivered")


def test_failing_update_holds_up_its_own_account_alone(house: House) -> None:
    endpoint = house.endpoint()

    def refuses_the_first(received: Received, answering: Answering) -> None:
        answering.answer(500 if (received.account, received.json["data"]["number"]) == ("acme", 0) else 204)

    house.receiver.behave = refuses_the_first
    house.happens("acme", "acme", "beta", "acme", "beta")
    house.become(endpoint, "delivered", "delivered", account="beta")
    house.become(endpoint, "waiting", "waiting", "waiting", account="acme")
    assert len(house.receiver.of("acme")) == 1
    house.receiver.behave = takes
    house.time_passes("6 seconds")
    house.become(endpoint, "delivered", "delivered", "delivered", account="acme")
    assert [each.json["data"]["number"] for each in house.receiver.got(4, "acme")] == [0, 0, 1, 3]
    assert not any(each.json["gap"] for each in house.receiver.arrived)


def test_after_ten_minutes_the_next_one_goes_on_and_says_that_there_is_a_gap(house: House) -> None:
    endpoint = house.endpoint()

    def refuses_the_first(received: Received, answering: Answering) -> None:
        answering.answer(500 if received.sequence == 1 else 204)

    house.receiver.behave = refuses_the_first
    house.happens("gapped", "gapped")
    tries = 1
    for passing in ("6 seconds", "6 minutes", "6 minutes"):
        house.receiver.got(tries, "gapped")
        house.had(endpoint, tries)
        assert house.states(endpoint) == ["waiting", "waiting"]
        house.time_passes(passing)
        tries += 1
    house.become(endpoint, "dead_letter", "delivered")
    *_, last = house.receiver.got(tries + 1, "gapped")
    assert (last.sequence, last.json["gap"]) == (2, True)
    assert [each["gap"] for each in house.deliveries(endpoint)] == [True, False]
    assert house.shown(endpoint)["undelivered"] == 1
    house.receiver.behave = takes
    house.time_passes("3 hours")
    house.become(endpoint, "delivered", "delivered")
    *_, dead = house.receiver.got(tries + 2, "gapped")
    assert (dead.sequence, dead.json["gap"], dead.id) == (1, False, house.receiver.of("gapped")[0].id)
    house.happens("gapped")
    house.become(endpoint, "delivered", "delivered", "delivered")
    assert house.receiver.of("gapped")[-1].json["gap"] is False


def test_given_up_after_ten_tries_and_replayed_by_its_id(house: House) -> None:
    endpoint = house.endpoint()
    house.receiver.behave = answers(500)
    house.happens("acme")
    for tries in range(1, 11):
        house.had(endpoint, tries)
        house.time_passes("27 hours", failing=False)
    house.become(endpoint, "failed")
    (delivery,) = house.deliveries(endpoint)
    assert delivery["next_try_at"] is None
    house.receiver.behave = takes
    assert house.replay(endpoint, id=delivery["id"]) == 1
    house.become(endpoint, "delivered")
    assert house.receiver.arrived[-1].id == house.receiver.arrived[0].id


def test_retry_after_is_honoured_and_pauses_the_endpoint(house: House) -> None:
    endpoint = house.endpoint()
    house.receiver.behave = answers(429, retry_after="600")
    house.happens("acme")
    house.had(endpoint, 1)
    (delivery,) = house.deliveries(endpoint)
    waits = datetime.fromisoformat(delivery["next_try_at"]) - datetime.fromisoformat(delivery["tried_at"])
    assert waits.total_seconds() == 600
    house.happens("beta")
    assert eventually(lambda: paused(house, endpoint)) > 500
    house.receiver.behave = takes
    house.time_passes("11 minutes")
    house.become(endpoint, "delivered", "delivered")


def paused(house: House, endpoint: Any) -> float:
    with psycopg.connect(house.database_url) as connection:
        query = "select coalesce(extract(epoch from retry_at - now()), 0) from webhook_endpoints where id = %s"
        (row,) = connection.execute(query, (endpoint["id"],)).fetchall()
    return float(row[0])


def test_gone_disables_and_enabling_offers_what_was_missed(house: House) -> None:
    endpoint = house.endpoint()
    house.happens("acme")
    house.become(endpoint, "delivered")
    house.receiver.behave = answers(410)
    house.happens("acme")
    shown = house.disabled(endpoint)
    assert (shown["reason"], "410" in shown["warning"]) == ("gone", True)
    house.happens("acme", "acme")
    house.can_be_read()
    house.receiver.behave = takes
    assert (
        house.api.problem(409, "POST", f"/v1/webhook-endpoints/{endpoint['id']}/replay", json={"gap": True})["code"]
        == "endpoint_disabled"
    )
    assert house.change(endpoint, state="enabled")["reason"] is None
    house.become(endpoint, "delivered", "missed", "missed", "missed")
    assert house.shown(endpoint)["undelivered"] == 3
    house.happens("acme")
    house.become(endpoint, "delivered", "missed", "missed", "missed", "delivered")
    assert house.receiver.arrived[-1].json["gap"] is True
    assert house.replay(endpoint, gap=True) == 3
    house.become(endpoint, *["delivered"] * 5)
    assert [each.sequence for each in house.receiver.arrived[-3:]] == sorted(
        each.sequence for each in house.receiver.arrived[-3:]
    )


def test_a_range_is_replayed_in_order_with_the_same_ids(house: House) -> None:
    endpoint = house.endpoint()
    house.happens("range", "range", "range")
    first = house.receiver.got(3, "range")
    house.become(endpoint, *["delivered"] * 3)
    *_, oldest = (each["position"] for each in house.deliveries(endpoint))
    assert house.replay(endpoint, after=oldest) == 2
    again = house.receiver.got(5, "range")[3:]
    assert [each.id for each in again] == [each.id for each in first[1:]]


def test_it_warns_before_it_is_switched_off_and_says_when_it_is(house: House) -> None:
    endpoint = house.endpoint()
    house.receiver.behave = answers(500)
    house.happens("acme")
    house.had(endpoint, 1)
    assert house.shown(endpoint)["warning"] is None
    house.time_passes("26 hours")
    eventually(lambda: house.shown(endpoint)["warning"])
    assert house.shown(endpoint)["state"] == "enabled"
    house.time_passes("5 days")
    shown = house.disabled(endpoint)
    assert shown["reason"] == "failing"
    types = {"types": "webhook_endpoint.failing,webhook_endpoint.disabled", "limit": 500}
    eventually(
        lambda: (
            [
                (each["type"], each["data"]["reason"])
                for each in house.api.ok("GET", "/v1/updates", params=types)["updates"]
                if each["data"]["endpoint"] == endpoint["id"]
            ]
            == [("webhook_endpoint.failing", None), ("webhook_endpoint.disabled", "failing")]
        )
    )
    told = house.api.get("/metrics").text
    assert 'paygrade_webhook_endpoint_notices_total{what="failing"}' in told
    assert 'paygrade_webhook_endpoint_notices_total{what="disabled"}' in told


def test_a_test_answers_what_came_back_and_redirects_are_not_followed(house: House) -> None:
    endpoint = house.endpoint()
    test = f"/v1/webhook-endpoints/{endpoint['id']}/test"
    told = house.api.ok("POST", test)
    assert (told["delivered"], told["status"], told["error"]) == (True, 204, None)
    (received,) = house.receiver.arrived
    assert Webhook(endpoint["secret"]).verify(received.body, received.headers)
    house.receiver.behave = answers(302, location=house.receiver.url)
    told = house.api.ok("POST", test)
    assert (told["delivered"], told["status"]) == (False, 302)
    assert len(house.receiver.arrived) == 2

    def says(_: Received, answering: Answering) -> None:
        answering.answer(200, b"\0 " + b"x" * 1_000_000)

    house.receiver.behave = says
    told = house.api.ok("POST", test)
    assert (told["delivered"], len(told["answer"])) == (True, 2000)


def test_what_closes_early_or_says_nonsense_is_a_failure_that_says_so(house: House) -> None:
    endpoint = house.endpoint()
    test = f"/v1/webhook-endpoints/{endpoint['id']}/test"

    def closes(_: Received, answering: Answering) -> None:
        answering.close_connection = True

    def babbles(_: Received, answering: Answering) -> None:
        answering.wfile.write(b"what?\r\n\r\n")
        answering.close_connection = True

    for behave in (closes, babbles):
        house.receiver.behave = behave
        told = house.api.ok("POST", test)
        assert (told["delivered"], told["status"]) == (False, None)
        assert "HTTP" in told["error"]


def test_a_dripping_answer_counts_by_its_status_and_ends_soon(house: House) -> None:
    endpoint = house.endpoint()
    stop = threading.Event()

    def drips(_: Received, answering: Answering) -> None:
        answering.send_response(200)
        answering.send_header("content-length", "1000000")
        answering.end_headers()
        while not stop.wait(0.05):
            answering.wfile.write(b".")
            answering.wfile.flush()

    house.receiver.behave = drips
    told = house.api.ok("POST", f"/v1/webhook-endpoints/{endpoint['id']}/test")
    stop.set()
    assert (told["delivered"], told["took_ms"] < 5000) == (True, True)


def test_too_much_data_is_left_out_and_said_so(house: House) -> None:
    house.endpoint()
    house.happens("acme", text="x" * 30_000)
    (received,) = house.receiver.got(1)
    assert (received.json["data_omitted"], received.json["data"]) == (True, {})


def test_a_dead_receiver_does_not_delay_another(house: House) -> None:
    release = threading.Event()
    with receiving() as dead:

        def hangs(_: Received, answering: Answering) -> None:
            release.wait(10)

        dead.behave = hangs
        house.endpoint(url=dead.url)
        endpoint = house.endpoint()
        house.happens(*(f"acme{n}" for n in range(40)))
        house.receiver.got(40)
        house.become(endpoint, *["delivered"] * 40)
        assert dead.arrived
        release.set()


def test_removed_endpoint_is_forgotten(house: House) -> None:
    endpoint = house.endpoint()
    house.happens("acme")
    house.become(endpoint, "delivered")
    house.api.ok("DELETE", f"/v1/webhook-endpoints/{endpoint['id']}")
    house.api.problem(404, "GET", f"/v1/webhook-endpoints/{endpoint['id']}")
    with psycopg.connect(house.database_url) as connection:
        query = "select count(*) from webhook_deliveries where endpoint = %s"
        assert connection.execute(query, (endpoint["id"],)).fetchone() == (0,)
