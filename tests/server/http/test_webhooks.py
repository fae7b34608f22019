"""Billing events come in: from the simulator, by the official stripe library, and from strangers."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from paygrade.catalog.parse import parse
from paygrade.cli.demo_company import Company
from paygrade.documents.yaml import read_yaml
from paygrade.providers.stripe.signatures import sign
from paygrade.server.process.settings import Settings
from paygrade.simulator.http.serve import Running, running
from support.cli_runner import Shell
from support.databases import migrated_database
from support.raw_http import request, send
from support.server_process import KEY, SAMPLE, Api, serving
from support.waiting import eventually, somebody_waits

CLOSE = b"Connection: close\r\n"
SECRETS = ("whsec_simulator", "whsec_being_rolled_out")


class Billing:
    """A server that follows a simulator, and the shop that acts there."""

    def __init__(self, api: Api, simulator: Running, database_url: str) -> None:
        self.api, self.database_url = api, database_url
        self.simulator = Api(f"{simulator.url}/_simulator", key=None)
        self.shop = Company(url=simulator.url, key=simulator.key)
        document, lines = read_yaml(SAMPLE.read_bytes())
        self.shop.stock(parse(document, lines=lines))

    def settle(self) -> None:
        """Deliver what is due and wait until every subject is read."""
        self.simulator.ok("POST", "/flush")
        eventually(lambda: not self.waits())

    def waits(self) -> bool:
        status = self.api.ok("GET", "/v1/sync/status")
        sweep = status["repair"]["sweep"]
        return bool(status["dirty"]) or (sweep is not None and sweep["finished_at"] is None)


@pytest.fixture(scope="module")
def billing(postgres_url: str) -> Iterator[Billing]:
    with running() as simulator, migrated_database(postgres_url) as database_url:
        settings = Settings(
            stripe_api_key=simulator.key,
            stripe_api_base=simulator.url,
            webhook_secrets=SECRETS,
            clock_url=simulator.url,
            sweep_every=None,
        )
        with serving(settings, database_url) as api:
            found = Billing(api, simulator, database_url)
            found.simulator.ok("POST", "/webhooks", json={"url": f"{api.url}/webhooks/stripe"})
            yield found


def event(id: str = "evt_1", type: str = "customer.subscription.updated", **concerned: Any) -> bytes:
    thing = {"id": "sub_1", "object": "subscription", "customer": "cus_unheard_of", **concerned}
    return msgspec.json.encode(
        {"id": id, "object": "event", "type": type, "created": int(time.time()), "data": {"object": thing}}
    )


def post(billing: Billing, raw: bytes, *, secret: str = SECRETS[0], age_s: int = 0, header: str | None = None) -> Any:
    signed_at = str(int(time.time()) - age_s)
    signature = header if header is not None else f"t={signed_at},v1={sign(raw, secret, signed_at)}"
    with Api(billing.api.url, key=None) as stranger:
        return stranger.post("/webhooks/stripe", content=raw, headers={"Stripe-Signature": signature})


def test_what_is_bought_at_the_provider_may_be_used(billing: Billing) -> None:
    billing.shop.welcome("buyer", "Buyer")
    billing.shop.subscribe("buyer", "pro_monthly", quantity=4)
    decision = billing.api.eventually("buyer", "exports", allowed=True)
    assert decision["reason"] == "plan"
    assert billing.api.check("buyer", "seats", quantity=4)["allowed"]


def test_an_explanation_names_the_billing_events_behind_it(billing: Billing) -> None:
    billing.shop.welcome("curious", "Curious")
    billing.shop.subscribe("curious", "pro_monthly")
    billing.api.eventually("curious", "exports", allowed=True)
    billing.settle()
    told = billing.api.ok("POST", "/v1/accounts/curious/explain", json={"feature": "exports"})
    assert any(cause.startswith("evt_") for fact in told["facts"] for cause in fact["cause"])
    assert [candidate["verdict"] for candidate in told["candidates"]] == ["decides"]


def test_whether_an_event_arrived_and_what_came_of_it_is_listed(billing: Billing, tmp_path: Path) -> None:
    shell = Shell(tmp_path, PAYGRADE_URL=billing.api.url, PAYGRADE_API_KEY=KEY)
    billing.shop.welcome("looked-for", "Looked for")
    billing.shop.subscribe("looked-for", "pro_monthly")
    billing.settle()
    told = billing.api.ok("GET", "/v1/sync/events", params={"account": "looked-for"})["events"]
    assert {each["type"] for each in told} >= {"customer.created", "customer.subscription.created"}
    assert {(each["state"], each["account"], each["error"], each["missed"]) for each in told} == {
        ("handled", "looked-for", None, False)
    }
    subject = f"stripe:{billing.shop.customers['looked-for']}"
    assert {each["subject"] for each in told} == {subject}
    assert all(each["received_at"] <= each["handled_at"] for each in told)
    assert not any("body" in each or "data" in each for each in told)
    assert shell.json("sync", "events", told[0]["id"]) == {"events": [told[0]], "next": None}
    assert told[0]["id"] in shell.run("sync", "events", "--account", "looked-for", "--state", "handled")
    assert "`evt_lost` did not arrive" in shell.run("sync", "events", "evt_lost", code=1)
    # One that concerns nobody; and one of a customer that can't be read.
    post(billing, event("evt_of_a_price", type="price.updated", object="price", customer=None))
    with psycopg.connect(billing.database_url, autocommit=True) as connection:
        connection.execute("insert into subjects (subject, error, attempts) values ('stripe:cus_odd', 'it is odd', 3)")
        connection.execute(
            "insert into inbox (subject, event_id, type, received_at, body) values"
            " ('stripe:cus_odd', 'evt_odd', 'customer.updated', now(), '{}'),"
            " ('stripe:cus_even', 'evt_even', 'customer.updated', now(), '{}')"
        )
    states = {}
    for id in ("evt_of_a_price", "evt_odd", "evt_even"):
        (its,) = billing.api.ok("GET", "/v1/sync/events", params={"id": id})["events"]
        states[id] = its["state"], its["subject"], its["error"], its["attempts"], its["handled_at"]
        listed = billing.api.ok("GET", "/v1/sync/events", params={"state": its["state"]})["events"]
        assert id in [each["id"] for each in listed]
    assert states == {
        "evt_of_a_price": ("ignored", None, None, 0, None),
        "evt_odd": ("failing", "stripe:cus_odd", "it is odd", 3, None),
        "evt_even": ("waiting", "stripe:cus_even", None, 0, None),
    }
    with psycopg.connect(billing.database_url) as connection:
        connection.execute("delete from subjects where subject = 'stripe:cus_odd'")
        connection.execute("delete from inbox where subject in ('stripe:cus_odd', 'stripe:cus_even')")
    for query in ({"state": "odd"}, {"before": "odd"}):
        assert billing.api.problem(400, "GET", "/v1/sync/events", params=query)["code"] == "invalid_query"


def test_doubled_and_reordered_webhooks_end_in_the_same_answer(billing: Billing) -> None:
    billing.shop.welcome("stormy", "Stormy")
    billing.shop.subscribe("stormy", "pro_monthly", quantity=1)
    billing.simulator.ok("POST", "/weather", json={"duplicate": 1.0, "reorder": 1.0, "delay_ms": [0, 50]})
    for price, quantity in (("business_monthly", 2), ("pro_monthly", 9), ("business_monthly", 3), ("pro_monthly", 6)):
        billing.shop.change("stormy", price, quantity=quantity)
    billing.settle()
    billing.simulator.ok("POST", "/weather", json={})
    assert billing.api.check("stormy", "seats", quantity=6)["allowed"]
    assert not billing.api.check("stormy", "seats", quantity=7)["allowed"]
    assert not billing.api.check("stormy", "audit_log")["allowed"]


def test_a_sweep_finds_what_lost_webhooks_did_not_tell(billing: Billing) -> None:
    billing.simulator.ok("POST", "/weather", json={"drop": 1.0})
    billing.shop.welcome("lost", "Lost")
    billing.shop.subscribe("lost", "pro_monthly")
    billing.settle()
    billing.simulator.ok("POST", "/weather", json={})
    assert billing.api.check("lost", "exports")["reason"] == "unknown_account"
    assert billing.api.ok("POST", "/v1/sync/sweep")["started"]
    billing.settle()
    assert billing.api.ok("GET", "/v1/sync/status")["repair"]["sweep"]["counts"]["discovered"] == 1
    assert billing.api.check("lost", "exports")["allowed"]


def test_the_second_delivery_of_an_event_is_no_news(billing: Billing) -> None:
    raw = event("evt_twice")
    assert post(billing, raw).json() == {"new": True}
    assert post(billing, raw).json() == {"new": False}


def test_an_event_is_not_acknowledged_before_it_is_stored(billing: Billing) -> None:
    answers: list[Any] = []
    with psycopg.connect(billing.database_url) as connection:
        connection.execute("lock table inbox in exclusive mode")
        posting = threading.Thread(target=lambda: answers.append(post(billing, event("evt_kept"))))
        posting.start()
        asyncio.run(somebody_waits(billing.database_url))
        assert answers == []
        connection.rollback()
        posting.join(30)
        assert answers[0].status_code == 200
        assert connection.execute("select count(*) from inbox where event_id = 'evt_kept'").fetchone() == (1,)


@pytest.mark.parametrize("header", [None, "", "t=now,v1=abc", "t=1,v1=abc"])
def test_a_body_that_no_signature_covers_is_not_waited_for(billing: Billing, header: str | None) -> None:
    lines = CLOSE if header is None else CLOSE + f"Stripe-Signature: {header}\r\n".encode()
    asked = request("/webhooks/stripe", b" " * 4_000_000, more=lines, key=None)
    (answer,) = send(billing.api, [asked[:2000]])
    assert answer.status == 400


def test_a_body_that_is_too_long_is_no_matter_of_its_signature(billing: Billing) -> None:
    asked = request("/webhooks/stripe", b" " * 9_000_000, more=CLOSE, key=None)
    (answer,) = send(billing.api, [asked[:2000]])
    assert (answer.status, answer.headers["content-type"]) == (413, "application/problem+json")


def test_an_event_with_ids_of_any_length_is_no_outage(billing: Billing) -> None:
    for raw in (event("evt_" + os.urandom(20_000).hex()), event("evt_l", customer="cus_" + os.urandom(20_000).hex())):
        assert post(billing, raw).status_code in (200, 400)


def test_any_of_the_secrets_will_do_while_one_is_rolled(billing: Billing) -> None:
    assert post(billing, event("evt_rolled"), secret=SECRETS[1]).status_code == 200


@pytest.mark.parametrize("type", ["a.type.of.tomorrow", "product.created", "v2.core.anything"])
def test_an_event_of_an_unknown_type_is_kept(billing: Billing, type: str) -> None:
    raw = event(f"evt_{type}", type, object="thing_of_tomorrow", customer=None)
    assert post(billing, raw).json() == {"new": True}


def test_a_live_event_is_as_good_as_a_test_event(billing: Billing) -> None:
    raw = event("evt_live").replace(b'"object":"event"', b'"object":"event","livemode":true')
    assert post(billing, raw).status_code == 200


def test_a_forged_event_is_refused(billing: Billing) -> None:
    answer = post(billing, event("evt_forged"), secret="whsec_of_somebody_else")
    assert (answer.status_code, answer.json()["code"]) == (400, "signature_invalid")


def test_a_body_changed_on_the_way_is_refused(billing: Billing) -> None:
    signed_at = str(int(time.time()))
    header = f"t={signed_at},v1={sign(event('evt_a'), SECRETS[0], signed_at)}"
    assert post(billing, event("evt_b"), header=header).json()["code"] == "signature_invalid"


def test_an_unsigned_event_is_refused(billing: Billing) -> None:
    assert billing.api.problem(400, "POST", "/webhooks/stripe", content=event())["code"] == "signature_missing"
    assert post(billing, event(), header="t=now,v1=abc").json()["code"] == "signature_invalid"


def test_an_event_signed_long_ago_is_refused(billing: Billing) -> None:
    assert post(billing, event("evt_old"), age_s=3600).json()["code"] == "signature_expired"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"{}", b'{"id": 3, "type": [], "object": "event"}'])
def test_a_signed_event_that_is_none_is_refused(billing: Billing, raw: bytes) -> None:
    answer = post(billing, raw)
    assert answer.status_code == 400
    assert answer.json()["code"] in ("malformed_json", "invalid_body", "provider_payload_invalid")


def test_without_a_secret_no_event_is_taken(api: Api) -> None:
    told = api.problem(503, "POST", "/webhooks/stripe", content=event())
    assert told["code"] == "webhooks_not_configured"
    assert "PAYGRADE_STRIPE_WEBHOOK_SECRET" in told["detail"]
