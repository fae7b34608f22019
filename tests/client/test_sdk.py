"""The SDK beside a real server: what it knows, hears, answers while nobody can be asked, and sends."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

import pytest

from paygrade import Paygrade, PaygradeError
from support.server_process import KEY, Api, Restartable

WAIT_S = 90.0


def until(what: Callable[[], Any]) -> Any:
    """What it comes to, once that is true."""
    give_up_at = time.monotonic() + WAIT_S
    while not (found := what()):
        assert time.monotonic() < give_up_at, what
        time.sleep(0.005)
    return found


@pytest.fixture
def sdk(api: Api) -> Iterator[Paygrade]:
    with Paygrade(api.url, KEY, timeout_s=10) as made:
        yield made


def stand_by(sdk: Paygrade, account: str) -> None:
    """Have the account known, and the stream connected: what was read before that is read once more."""
    sdk.check(account, "exports")
    until(lambda: sdk.status().state == "connected" and not sdk.check(account, "exports").stale)


def test_it_decides_as_the_server_does(api: Api, sdk: Paygrade, acme: str) -> None:
    for feature in ("exports", "api_calls", "projects", "retention", "ai_credits", "tokens", "seats", "nothing"):
        mine, its = sdk.check(acme, feature), api.check(acme, feature)
        said = {name: getattr(mine, name) for name in ("allowed", "reason", "limit", "used", "remaining", "message")}
        assert said == {name: its[name] for name in said}
        assert mine.exact == its["exact"]
    assert set(sdk.decisions(acme)) == set(api.ok("GET", f"/v1/accounts/{acme}/decisions")["decisions"])


def test_an_unknown_account_is_known_as_such_until_it_is_made(api: Api, sdk: Paygrade) -> None:
    key = "made-later"
    assert sdk.check(key, "api_calls").reason == "unknown_account"
    until(lambda: sdk.status().state == "connected")
    api.ok("PUT", f"/v1/accounts/{key}", json={"name": "Later"})
    until(lambda: sdk.check(key, "api_calls").allowed)


@pytest.mark.parametrize("key", ["", "x" * 300, "two\nlines", "\ud800"])
def test_what_cannot_be_an_account_is_unknown_and_takes_nothing_from_others(
    api: Api, sdk: Paygrade, acme: str, key: str
) -> None:
    assert sdk.check(key, "exports").reason == "unknown_account"
    assert not sdk.prefetch([key])
    assert asyncio.run(sdk.acheck(key, "api_calls")).reason == "unknown_account"
    stand_by(sdk, acme)
    found = sdk.check(acme, "api_calls")
    assert (found.allowed, found.stale) == (True, False)


def test_it_hears_what_changes_and_tells_who_listens(api: Api, sdk: Paygrade, acme: str) -> None:
    stand_by(sdk, acme)
    assert not sdk.check(acme, "exports")
    told: list[str] = []
    stop = sdk.on_change(told.append)
    api.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json={"value": True, "reason": "a promise"})
    until(lambda: sdk.check(acme, "exports").allowed)
    until(lambda: acme in told)
    stop()
    api.ok("DELETE", f"/v1/accounts/{acme}/overrides/exports")
    until(lambda: not sdk.check(acme, "exports").allowed)
    assert len(set(told)) == 1


def test_it_hears_counts(api: Api, sdk: Paygrade, acme: str) -> None:
    stand_by(sdk, acme)
    api.ok("POST", "/v1/consume", json={"account": acme, "feature": "api_calls", "quantity": 7, "id": "one"})
    until(lambda: sdk.check(acme, "api_calls").used == 7)
    assert not sdk.check(acme, "api_calls").exact


def test_what_a_write_answered_with_is_there_at_once(api: Api, sdk: Paygrade, acme: str) -> None:
    sdk.check(acme, "exports")
    for value in (True, False) * 5:
        written = api.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json={"value": value, "reason": "a test"})
        assert sdk.check(acme, "exports", at_least=written["version"]).allowed is value
    blocked = api.ok("PUT", f"/v1/accounts/{acme}/blocks/fraud", json={"reason": "a test"})
    assert sdk.check(acme, "api_calls", at_least=blocked["version"]).reason == "blocked"
    with pytest.raises(PaygradeError, match="is not a version"):
        sdk.check(acme, "exports", at_least="soon")


def test_a_loop_is_never_held(sdk: Paygrade, acme: str) -> None:
    async def ask() -> None:
        at_once = sdk.check(acme, "api_calls")
        assert (at_once.allowed, at_once.reason, at_once.stale) == (False, "stale", True)
        assert (await sdk.acheck(acme, "api_calls")).allowed
        assert sdk.check(acme, "api_calls").allowed

    asyncio.run(ask())


def test_it_consumes_exactly(sdk: Paygrade, acme: str) -> None:
    used = sdk.consume(acme, "api_calls", 999)
    assert (used.allowed, used.used, used.exact) == (True, 999, True)
    assert sdk.consume(acme, "api_calls", id="last").allowed
    assert sdk.consume(acme, "api_calls", id="last").allowed
    denied = asyncio.run(sdk.aconsume(acme, "api_calls"))
    assert (denied.allowed, denied.reason) == (False, "limit_reached")
    until(lambda: sdk.check(acme, "api_calls").used == 1000)


def test_what_is_held_is_committed_or_goes_back(api: Api, sdk: Paygrade, acme: str) -> None:
    with sdk.reserve(acme, "api_calls", 900) as held:
        assert held
        assert api.check(acme, "api_calls")["reserved"] == 900
        with sdk.reserve(acme, "api_calls", 200) as more:
            assert not more
            with pytest.raises(PaygradeError, match="nothing is held"):
                more.commit(1)
        held.commit(100)
    assert (api.check(acme, "api_calls")["used"], api.check(acme, "api_calls")["reserved"]) == (100, 0)

    async def fail() -> None:
        async with sdk.reserve(acme, "api_calls", 300):
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(fail())
    assert (api.check(acme, "api_calls")["used"], api.check(acme, "api_calls")["reserved"]) == (100, 0)


def test_what_is_tracked_counts_once(api: Api, sdk: Paygrade, acme: str) -> None:
    for number in range(2500):
        assert sdk.track(acme, "api_calls", id=f"event-{number % 2000}")
    assert sdk.flush()
    assert api.check(acme, "api_calls")["used"] == 2000
    assert sdk.status().buffered == 0


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({}, "say `feature` or `event`"),
        ({"feature": "api_calls", "event": "api_call"}, "and not both"),
        ({"feature": "api_calls", "time": datetime(2026, 1, 1)}, "has no time zone"),  # noqa: DTZ001
        ({"feature": "api_calls", "quantity": 2**60}, "quantity"),
        ({"feature": "api_calls", "properties": {"it": object()}}, "unsupported"),
    ],
)
def test_an_odd_event_is_refused_where_it_is_reported(sdk: Paygrade, told: dict[str, Any], why: str) -> None:
    with pytest.raises(PaygradeError, match=why):
        sdk.track("acme", **told)


def test_without_a_server_it_says_so_at_once() -> None:
    with Paygrade("http://127.0.0.1:9", KEY) as sdk:
        decision = sdk.check("acme", "exports")
        assert decision.message == "acme can't use exports: the server could not be asked about the account yet"
        assert (sdk.status().state, "refused" in sdk.status().detail) == ("interrupted", True)


def test_what_is_closed_keeps_no_connection_open() -> None:
    ended: Queue[str] = Queue()

    class Busy(BaseHTTPRequestHandler):
        """Answers whatever is asked, and keeps the connection open."""

        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(503)
            self.send_header("content-length", "0")
            self.end_headers()

        def finish(self) -> None:
            super().finish()
            if self.command == "POST":  # the stream's connection is refused at once
                ended.put(self.path)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Paygrade(f"http://127.0.0.1:{server.server_port}", KEY) as sdk:
            assert sdk.check("acme", "exports").stale
        assert ended.get(timeout=WAIT_S) == "/v1/snapshots"
        server.shutdown()


def test_without_a_key_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAYGRADE_API_KEY", raising=False)
    with pytest.raises(PaygradeError, match="PAYGRADE_API_KEY"):
        Paygrade()
    with pytest.raises(PaygradeError, match="is not an address"):
        Paygrade("localhost:4710", KEY)


def test_while_the_server_is_gone_the_last_view_answers_and_says_so(restartable: Restartable) -> None:
    restartable.api.ok("PUT", "/v1/accounts/acme", json={"name": "Acme"})
    restartable.api.ok("PUT", "/v1/accounts/acme/overrides/exports", json={"value": True, "reason": "a promise"})
    with Paygrade(restartable.url, KEY, timeout_s=5) as sdk:
        stand_by(sdk, "acme")
        restartable.stop()
        until(lambda: sdk.status().state == "interrupted")
        known = sdk.check("acme", "exports")
        assert (known.allowed, known.stale) == (True, True)
        # Counted features answer by their failure mode: the sample's api_calls says `allow`, tokens says nothing.
        assert (sdk.check("acme", "api_calls").allowed, sdk.check("acme", "tokens").allowed) == (True, False)
        assert sdk.consume("acme", "api_calls", id="while away").stale
        never_seen = sdk.check("other", "exports")
        assert (never_seen.allowed, never_seen.reason) == (False, "stale")
        restartable.start()
        restartable.api.ok("DELETE", "/v1/accounts/acme/overrides/exports")
        until(lambda: sdk.status().state == "connected")
        until(lambda: not sdk.check("acme", "exports").stale)
        until(lambda: not sdk.check("acme", "exports").allowed)
        # What was let through meanwhile is reported, once.
        assert sdk.flush()
        until(lambda: sdk.check("acme", "api_calls").used == 1)


def test_an_expiry_that_is_known_happens_on_time_with_the_server_gone(restartable: Restartable) -> None:
    restartable.api.ok("PUT", "/v1/accounts/acme", json={"name": "Acme"})
    ends_at = datetime.now(UTC) + timedelta(seconds=3)
    body = {"value": True, "reason": "a trial", "expires_at": ends_at.isoformat()}
    restartable.api.ok("PUT", "/v1/accounts/acme/overrides/exports", json=body)
    with Paygrade(restartable.url, KEY, timeout_s=5) as sdk:
        began_at = datetime.now(UTC)
        stand_by(sdk, "acme")
        # How far the two clocks, one machine's, may be told apart: the server's is known by an answer, no better than
        # by how long that one took.
        slack = timedelta(seconds=0.1) + (datetime.now(UTC) - began_at)
        answers: list[tuple[datetime, bool, datetime]] = []

        def ask() -> bool:
            before = datetime.now(UTC)
            answers.append((before, sdk.check("acme", "exports").allowed, datetime.now(UTC)))
            return before > ends_at + slack + timedelta(seconds=0.1)

        ask()
        restartable.stop()
        until(ask)
        assert all(allowed for _, allowed, after in answers if after < ends_at - slack)
        assert not any(allowed for before, allowed, _ in answers if before > ends_at + slack)
