"""Usage events over HTTP, from our own calls, from CloudEvents of all modes, and from those who mean harm."""

import gzip
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openmeter import Client
from openmeter.models import Event

from paygrade.server.operations.events.bodies import BYTES_MAX, ledger_id, parse_events
from paygrade.usage.events import ID_LENGTH_MAX, UsageEvent
from support.server_process import KEY, Api

JSON = {"Content-Type": "application/json"}
REFUSED = ("malformed_json", "events_rejected")
BATCH = {"Content-Type": "application/cloudevents-batch+json"}


def used(api: Api, account: str, feature: str, **query: str) -> int:
    windows = api.ok("GET", f"/v1/accounts/{account}/usage", params={"feature": feature, **query})["windows"]
    return sum(window["used"] for window in windows)


def call(id: str, account: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "account": account, "event": "api_call", **more}


def cloud(id: str, account: str, **more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": id,
        "source": "a-service",
        "type": "completion",
        "subject": account,
        "data": {"tokens": "500", "model": "large"},
        **more,
    }


def now(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).isoformat()


def test_events_are_taken_and_shown_by_the_next_question(api: Api, acme: str) -> None:
    assert api.check(acme, "api_calls")["used"] == 0
    told = api.ok("POST", "/v1/events", json=[call("1", acme), call("2", acme, quantity=4), call("1", acme)])
    assert told == {"accepted": 2, "duplicates": 1, "rejected": []}
    decision = api.check(acme, "api_calls")
    assert (decision["used"], decision["remaining"]) == (5, 995)


def test_each_event_is_refused_by_itself_with_its_reason(api: Api, acme: str) -> None:
    batch = [
        call("1", acme),
        {"account": acme, "event": "api_call"},
        call("3", acme, quantity="4"),
        call("4", acme, colour="red"),
        call("5", acme, time="yesterday"),
        call("6", acme, time="2026-01-01T00:00:00"),
        call("7", "nobody"),
        "rubbish",
        call("", acme),
        call("10", acme, time="9999-12-31T23:59:59-12:00"),
        call("11", acme, properties={"model": "a\0b"}),
        call("12\n", acme),
        call("13", acme, time=now(days=35)),
        call("14", acme),
    ]
    told = api.ok("POST", "/v1/events", json=batch)
    assert told["accepted"] == 2
    reasons = {each["index"]: (each["code"], each["detail"]) for each in told["rejected"]}
    assert sorted(reasons) == list(range(1, 13))
    assert reasons[1] == (
        "invalid_event",
        "/id: is missing: the id makes an event count once, however often it is sent",
    )
    assert reasons[2][1].startswith("/quantity: expected `int")
    assert "colour" in reasons[3][1]
    assert reasons[6][0] == "unknown_account"
    assert reasons[12][0] == "too_old"
    assert {code for code, _ in reasons.values()} == {"invalid_event", "unknown_account", "too_old"}


def test_a_backfill_is_asked_for_in_the_query(api: Api, acme: str) -> None:
    old = [call("1", acme, time="2025-02-03T00:00:00Z")]
    assert api.ok("POST", "/v1/events", json=old)["rejected"][0]["code"] == "too_old"
    assert api.ok("POST", "/v1/events?backfill", json=old)["accepted"] == 1
    assert used(api, acme, "api_calls") == 0
    assert used(api, acme, "api_calls", **{"from": "2025-01-01T00:00:00Z"}) == 1


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", {}, 400, "malformed_json"),
        (b"{}", {}, 400, "invalid_body"),
        (b"[1", {}, 400, "malformed_json"),
        (b"\xff", {}, 400, "malformed_json"),
        (b"[" * 5000, {}, 400, "malformed_json"),
        (b"[" + b"{}," * 5000 + b"{}]", {}, 400, "too_many_events"),
        (b"[]", {"Content-Encoding": "br"}, 415, "unsupported_media_type"),
        (b"[]", {"Content-Encoding": "gzip"}, 400, "malformed_json"),
        (gzip.compress(b"[]", mtime=0)[:-4], {"Content-Encoding": "gzip"}, 400, "malformed_json"),
        (gzip.compress(b" " * (BYTES_MAX + 1), mtime=0), {"Content-Encoding": "gzip"}, 413, "body_too_large"),
        (b" " * (BYTES_MAX + 1), {}, 413, "body_too_large"),
    ],
)
def test_a_body_that_is_no_batch_is_a_problem(
    api: Api, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    for path, more in (("/v1/events", JSON), ("/api/v1/events", BATCH)):
        told = api.problem(status, "POST", path, content=body, headers={**more, **headers})
        assert told["code"] == code


def test_large_properties_are_refused_one_by_one(api: Api, acme: str) -> None:
    strange = {"n": 10**40, "f": 1e300, "s": "\u2028\\N\t", "deep": json.loads("[" * 100 + "]" * 100)}
    batch = [call("1", acme, properties={"text": "x" * 20_000}), call("2", acme, properties=strange)]
    told = api.ok("POST", "/v1/events", json=batch)
    assert told["accepted"] == 1
    assert [(each["index"], each["code"]) for each in told["rejected"]] == [(0, "invalid_event")]


def test_a_body_nested_beyond_reading_is_no_json(api: Api, acme: str) -> None:
    deep = b'[{"id": "1", "account": "a", "properties": {"a": %s}}]' % (b"[" * 5000 + b"]" * 5000)
    assert api.problem(400, "POST", "/v1/events", content=deep, headers=JSON)["code"] == "malformed_json"
    event = b'{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "subject": "s", "data": %s}' % deep
    assert api.problem(400, "POST", "/api/v1/events", content=event, headers=JSON)["code"] in REFUSED


def test_a_batch_of_5000_is_taken_gzipped(api: Api, acme: str) -> None:
    batch = json.dumps([call(str(n), acme) for n in range(5000)]).encode()
    headers = {**JSON, "Content-Encoding": "gzip"}
    assert api.ok("POST", "/v1/events", content=gzip.compress(batch, mtime=0), headers=headers)["accepted"] == 5000
    assert api.check(acme, "api_calls")["used"] == 5000


def metered(id: str, account: str, source: str, tokens: object, **more: Any) -> Event:
    data = {"tokens": tokens}
    return Event(id=id, source=source, specversion="1.0", type="completion", subject=account, data=data, **more)


def test_the_openmeter_client_tells_usage_unmodified(api: Api, acme: str) -> None:
    with Client(endpoint=api.url, token=KEY) as client:
        event = metered("1", acme, "a-service", 500)
        client.events.ingest_event(event)
        client.events.ingest_event(event)
        earlier = datetime.now(UTC) - timedelta(minutes=1)
        client.events.ingest_events(
            [metered("2", acme, "a-service", "40"), metered("2", acme, "b-service", 2, time=earlier)]
        )
    assert used(api, acme, "tokens") == 542


def test_the_openmeter_client_hears_of_what_is_refused(api: Api, acme: str) -> None:
    from corehttp.exceptions import HttpResponseError

    with Client(endpoint=api.url, token=KEY) as client, pytest.raises(HttpResponseError) as refusal:
        client.events.ingest_event(Event(id="1", source="s", specversion="1.0", type="nothing", subject=acme))
    assert refusal.value.status_code == 400
    assert "there is no event" in str(refusal.value)


def test_cloudevents_of_every_mode_are_one_event(api: Api, acme: str) -> None:
    event = cloud("1", acme, extension="x", time=now(minutes=1))
    binary = {f"ce-{name}": str(event[name]) for name in ("specversion", "id", "source", "type", "subject", "time")}
    for body, headers in (
        (event, {"Content-Type": "application/cloudevents+json; charset=utf-8"}),
        (event, JSON),
        ([event], JSON),
        ([event, event], BATCH),
        (event["data"], {**JSON, **binary}),
        ({**event, "data": json.dumps(event["data"])}, JSON),
    ):
        answer = api.post("/api/v1/events", content=json.dumps(body), headers=headers)
        assert (answer.status_code, answer.content) == (204, b""), answer.text
    assert used(api, acme, "tokens") == 500


def test_headers_of_a_binary_cloudevent_are_percent_decoded(api: Api) -> None:
    account = f"ä b-{uuid.uuid4().hex[:8]}"
    path = f"/v1/accounts/{quote(account)}"
    api.ok("PUT", path, json={})
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "api_call"}
    answer = api.post(
        "/api/v1/events", headers={**headers, "ce-subject": account.replace(" ", "%20").replace("ä", "%C3%A4")}
    )
    assert answer.status_code == 204, answer.text
    assert api.check(account, "api_calls")["used"] == 1


def test_some_cloudevents_refused_leave_the_others_taken(api: Api, acme: str) -> None:
    wrong = [
        cloud("2", acme, specversion="0.3"),
        cloud("3", "nobody"),
        {**cloud("4", acme), "subject": None},
        cloud("5", acme, time="noon"),
        cloud("6", acme, data=[1]),
        cloud("7", acme, data="not json"),
        cloud("8", "x" * 300),
        cloud("9", acme, source="\u0000"),
        cloud("10", acme, data=None, data_base64="AAAA"),
        cloud("11", acme, data={"tokens": "\u0000"}),
    ]
    told = api.problem(400, "POST", "/api/v1/events", json=[cloud("1", acme), *wrong], headers=BATCH)
    assert told["code"] == "events_rejected"
    assert [each["pointer"] for each in told["errors"]] == [f"/{n}" for n in range(1, len(wrong) + 1)]
    assert used(api, acme, "tokens") == 500
    told = api.problem(415, "POST", "/api/v1/events", content=b"<event/>", headers={"Content-Type": "text/xml"})
    assert told["code"] == "unsupported_media_type"


def test_usage_is_read_by_window_member_and_property(api: Api, acme: str) -> None:
    chats = [
        {"id": f"c{n}", "account": acme, "event": "completion", "member": ("ann", "bo")[n % 2],
         "properties": {"tokens": 10 * n, "model": model}}
        for n, model in enumerate(["large", "small", "large", 7])
    ]  # fmt: skip
    api.ok("POST", "/v1/events", json=chats)
    api.ok(
        "POST",
        "/v1/events",
        json=[{**chats[2], "id": "c2a", "amends": "c2", "properties": {"tokens": 5, "model": "small"}}],
    )
    api.ok("POST", "/v1/events", json=[call("a", acme, quantity=3)])
    (window,) = api.ok("GET", f"/v1/accounts/{acme}/usage?feature=tokens&group_by=model")["windows"]
    assert (window["used"], window["groups"]) == (45, [{"value": "7", "used": 30}, {"value": "small", "used": 15}])
    (window,) = api.ok("GET", f"/v1/accounts/{acme}/usage?feature=tokens&group_by=member")["windows"]
    assert window["groups"] == [{"value": "bo", "used": 40}, {"value": "ann", "used": 5}]
    everything = api.ok("GET", f"/v1/accounts/{acme}/usage")["windows"]
    assert {each["feature"]: (each["used"], each["limit"]) for each in everything}["api_calls"] == (3, 1000)
    assert api.problem(404, "GET", f"/v1/accounts/{acme}/usage?feature=nothing")["code"] == "unknown_feature"
    assert api.problem(400, "GET", f"/v1/accounts/{acme}/usage?group_by=model")["code"] == "invalid_query"
    assert api.problem(404, "GET", "/v1/accounts/nobody/usage")["code"] == "unknown_account"
    assert api.problem(400, "GET", f"/v1/accounts/{acme}/usage?from=noon")["code"] == "invalid_query"


def test_events_are_counted_in_the_metrics_by_outcome(api: Api, acme: str) -> None:
    api.ok("POST", "/v1/events", json=[call("1", acme), call("1", acme), call("2", "nobody")])
    text = api.get("/metrics").text
    for outcome in ("accepted", "duplicate", "rejected"):
        assert f'paygrade_usage_events_total{{outcome="{outcome}"}}' in text


def test_equal_instants_of_other_offsets_are_one_body() -> None:
    (first,), (second,) = (
        parse_events(json.dumps([call("1", "a", time=time)]).encode())
        for time in ("2026-03-01T00:00:00Z", "2026-03-01T01:00:00+01:00")
    )
    assert isinstance(first, UsageEvent)
    assert first == second
    assert first.time is not None
    assert first.time.tzinfo is UTC


texts = st.text(st.sampled_from("ab/%2F5:"), min_size=1, max_size=6) | st.sampled_from(["x" * 500, "x" * 250])


@given(texts, texts, texts, texts)
def test_no_two_cloudevents_share_an_id(source: str, id: str, other_source: str, other_id: str) -> None:
    same = (source, id) == (other_source, other_id)
    assert (ledger_id(source, id) == ledger_id(other_source, other_id)) is same
    assert len(ledger_id(source, id)) <= ID_LENGTH_MAX
