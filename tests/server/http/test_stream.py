"""The stream: what is told to whom, in which order, and how it ends."""

import time
from typing import Any

import msgspec
import pytest

from paygrade.decisions.following import Views, remembered
from paygrade.decisions.snapshots import Snapshot
from paygrade.server.http import streams
from paygrade.server.state import broadcast
from support.server_process import Api, Restartable
from support.streams import followed, override


def seen(views: Any) -> list[Snapshot]:
    """The accounts of an answer. Any: JSON."""
    return remembered(msgspec.json.decode(msgspec.json.encode(views), type=Views))


def test_everyone_is_told_what_changes(api: Api, acme: str) -> None:
    with followed(api) as stream:
        hello, _ = stream.next("hello")
        assert (hello["resumed"], hello["beat_s"]) == ("full", 5.0)
        override(api, acme, value=True)
        news, _ = stream.next("news")
        assert news == {"accounts": [acme]}
        api.ok("POST", "/v1/consume", json={"account": acme, "feature": "api_calls", "quantity": 2, "id": "a"})
        news, _ = stream.next("news")
        while "balances" not in news:
            news, _ = stream.next("news")
        assert [told[:2] + told[3:5] for told in news["balances"]] == [[acme, "api_calls", 2, 0]]


def test_who_resumes_is_told_what_was_missed_before_the_hello(api: Api, acme: str) -> None:
    # The account was made a moment ago, and that may be told still.
    hello, at = {"resumed": "full"}, None
    while hello["resumed"] != "none":
        with followed(api, last=at) as stream:
            hello, at_last = stream.next("hello")
            at = at_last or at
    override(api, acme, value=True)
    with followed(api, last=at) as stream:
        news, at = stream.next("news")
        assert news == {"accounts": [acme]}
        hello, _ = stream.next("hello")
        assert hello["resumed"] == "changes"


@pytest.mark.parametrize("last", ["nobody-7", "", "x", "-", "-1", f"{'9' * 40}-{'9' * 40}"])
def test_who_resumes_from_what_nobody_knows_reads_everything_anew(api: Api, last: str) -> None:
    with followed(api, last=last) as stream:
        hello, _ = stream.next("hello")
        assert hello["resumed"] == "full"


def test_what_is_kept_for_those_who_resume_has_a_bound(api: Api, acme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with followed(api) as stream:
        _, at = stream.next("hello")
        for number in range(broadcast.KEPT_MAX // 100):
            override(api, acme, value=bool(number % 2))
    with followed(api, last=at) as stream:
        hello, _ = stream.next("hello")
        assert hello["resumed"] == "changes"


def test_who_names_accounts_sees_them_and_nothing_else(api: Api, acme: str) -> None:
    other = f"{acme}-other"
    with followed(api, f"?accounts={acme}") as stream:
        stream.next("hello")
        views, _ = stream.next("views")
        assert [each.account for each in seen(views)] == [acme]
        api.ok("PUT", f"/v1/accounts/{other}", json={})
        override(api, acme, value=True)
        news, _ = stream.next("news")
        assert news["accounts"] == [acme]
        reason = "not_in_plan"
        while reason != "override":  # the account itself may have been told before
            views, _ = stream.next("views")
            (its,) = seen(views)
            reason = its.segments[0].entitlements["exports"].reason


def test_a_new_catalog_is_told_with_its_number(api: Api) -> None:
    number = api.ok("GET", "/v1/catalog")["version"]
    document = api.ok("GET", "/v1/catalog")["document"]
    with followed(api) as stream:
        stream.next("hello")
        document["features"]["exports"]["description"] = "changed"
        api.ok("PUT", "/v1/catalog", json=document)
        news, _ = stream.next("news")
        assert news["catalog"] == number + 1


def test_the_time_is_told_again_and_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BEAT_S", 0.05)
    with followed(api) as stream:
        first, second = (stream.next("beat")[0]["now"] for _ in range(2))
        assert second > first


@pytest.mark.parametrize(
    ("query", "code"),
    [("?accounts=", "invalid_key"), (f"?accounts={'a,' * 100}b", "invalid_query"), ("?accounts=%00", "invalid_query")],
)
def test_odd_accounts_are_refused(api: Api, query: str, code: str) -> None:
    assert api.problem(400, "GET", f"/v1/stream{query}")["code"] == code


def test_there_is_room_for_so_many_streams(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "FOLLOWERS_MAX", 0)
    told = api.problem(503, "GET", "/v1/stream")
    assert told["code"] == "too_many_streams"


def test_who_is_too_slow_has_its_stream_ended(api: Api, acme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "WAITING_MAX", -1)
    with followed(api) as stream:
        stream.next("hello")
        override(api, acme, value=True)
        assert [event.name for event in stream.rest()] in ([], ["beat"])


def test_a_server_that_stops_ends_its_streams_at_once(restartable: Restartable) -> None:
    with Api(restartable.url) as api, followed(api) as stream:
        stream.next("hello")
        began_s = time.monotonic()
        restartable.stop()
        assert time.monotonic() - began_s < 10
        stream.rest()


def test_snapshots_are_read_as_they_are_in_the_database(api: Api, acme: str) -> None:
    told = api.ok("POST", "/v1/snapshots", json={"accounts": [acme, "nobody", acme]})
    assert [(each.account, each.known) for each in seen(told)] == [(acme, True), ("nobody", False)]
    assert told["on_error"] == {"api_calls": "allow"}
    assert api.ok("POST", "/v1/snapshots", json={"accounts": []})["accounts"] == []
    many = {"accounts": [f"a{number}" for number in range(201)]}
    assert api.problem(400, "POST", "/v1/snapshots", json=many)["code"] == "invalid_body"
