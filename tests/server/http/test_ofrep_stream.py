"""OFREP's event stream: when a page is told to evaluate its flags anew."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from paygrade.server.http import streams
from paygrade.server.http.routes import ofrep_stream
from paygrade.server.process.settings import Settings
from paygrade.server.state.snapshots import Snapshots
from paygrade.simulator.http import serve as simulator
from support.databases import migrated_database
from support.server_process import Api, Restartable, serving
from support.streams import Following, followed, override

FLAGS = "/ofrep/v1/evaluate/flags"
PRO = {
    "version": 1,
    "status": "active",
    "items": [{"id": "main", "plan": "pro", "quantity": 3}],
    "anchor_at": "2026-01-31T00:00:00Z",
}
START = datetime.fromisoformat("2026-02-01T00:00:00Z")


class Page:
    """What a web provider does: it keeps all flags of an account, and evaluates them anew when it is told to."""

    def __init__(self, api: Api, account: str, **context: Any) -> None:
        self.api, self._body = api, {"context": {"targetingKey": account, **context}}
        self._etag, self.address, self._flags = "", "", dict[str, Any]()
        assert self.evaluate()

    def flag(self, key: str) -> Any:
        return self._flags[key]

    def evaluate(self, etag: str | None = None) -> bool:
        """Whether anything is new."""
        query = {"flagConfigEtag": etag} if etag is not None else {}
        answer = self.api.post(FLAGS, json=self._body, params=query, headers={"If-None-Match": self._etag})
        if answer.status_code == 304:
            return False
        told = answer.json()
        (stream,) = told["eventStreams"]
        assert (stream["type"], stream["inactivityDelaySec"], set(stream["endpoint"])) == ("sse", 120, {"requestUri"})
        self._etag, self.address = answer.headers["etag"], stream["endpoint"]["requestUri"]
        self._flags = {flag["key"]: flag.get("value") for flag in told["flags"]}
        return True

    @contextmanager
    def following(self, *, last: str | None = None) -> Iterator[Following]:
        """As a browser does: without any header of ours."""
        with Api(self.api.url, key=None) as browser, followed(browser, path=self.address, last=last) as stream:
            yield stream

    def hear(self, stream: Following) -> str | None:
        """Evaluate at the next notice; its id."""
        notice, id = stream.next("message")
        assert notice["type"] == "refetchEvaluation"
        assert isinstance(notice["lastModified"], int)
        self.evaluate(notice["etag"])
        return id


def test_whoever_connects_is_told_at_once_and_then_of_each_change(api: Api, acme: str) -> None:
    page = Page(api, acme)
    # What happens between the answer and the stream is not missed.
    override(api, acme, value=True)
    with page.following() as stream:
        page.hear(stream)
        assert page.flag("exports") is True
        address = page.address
        override(api, acme, value=False)
        page.hear(stream)
        assert page.flag("exports") is False
        api.ok("PUT", f"/v1/accounts/{acme}/subscriptions/main", json=PRO)
        page.hear(stream)
        assert (page.flag("seats.limit"), page.flag("retention")) == (3, 90)
        # A page that is given another address connects anew, so it stays.
        assert page.address == address


def test_a_use_is_told_when_an_answer_flips_or_a_twentieth_is_used(api: Api, acme: str) -> None:
    def use(feature: str, quantity: int, id: str) -> None:
        api.ok("POST", "/v1/consume", json={"account": acme, "feature": feature, "quantity": quantity, "id": id})

    page = Page(api, acme)
    limit, used = page.flag("api_calls.limit"), page.flag("api_calls.used")
    assert (limit % 20, used, page.flag("projects")) == (0, 0, True)
    with page.following() as stream:
        page.hear(stream)
        use("api_calls", limit // 20 - 1, "u1")
        use("projects", 1, "u2")
        page.hear(stream)
        assert (page.flag("projects.used"), page.flag("api_calls.used")) == (1, limit // 20 - 1)
        use("api_calls", 1, "u3")
        page.hear(stream)
        assert page.flag("api_calls.used") == limit // 20
        use("projects", 1, "u4")
        page.hear(stream)
        assert page.flag("projects") is False


def test_uses_between_the_steps_are_not_told(api: Api, acme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ofrep_stream, "PAUSE_S", 0.0)
    api.ok("PUT", f"/v1/accounts/{acme}/subscriptions/main", json=PRO)
    page = Page(api, acme)
    with page.following() as stream:
        page.hear(stream)
        for number in range(5):
            for feature in ("api_calls", "tokens"):
                use = {"account": acme, "feature": feature, "id": f"{feature}{number}"}
                assert api.ok("POST", "/v1/consume", json=use)["consumed"] == 1
        override(api, acme, value=False)
        notice, _ = stream.next("message")
        assert notice["etag"] == api.check(acme, "exports")["version"], "it is that of the override"


def test_who_comes_back_and_missed_nothing_is_told_nothing(api: Api, acme: str) -> None:
    page = Page(api, acme)
    with page.following() as stream:
        last = page.hear(stream)
    other = f"{acme}-other"
    api.ok("PUT", f"/v1/accounts/{other}", json={})
    with page.following(last=last) as stream:
        override(api, other, value=True)
        override(api, acme, value=True)
        page.hear(stream)
        assert page.flag("exports") is True, "the first notice is that of the change"


def test_who_comes_back_and_missed_a_change_is_told_at_once(api: Api, acme: str) -> None:
    page = Page(api, acme)
    with page.following() as stream:
        last = page.hear(stream)
    override(api, acme, value=True)
    with page.following(last=last) as stream:
        page.hear(stream)
        assert page.flag("exports") is True


def test_flags_of_a_member_are_told_by_what_that_member_may(api: Api, acme: str) -> None:
    page = Page(api, acme, member="ann")
    assert page.flag("seats") is not None
    with page.following() as stream:
        page.hear(stream)
        api.ok("PUT", f"/v1/accounts/{acme}/members/ann", json={"role": "admin"})
        page.hear(stream)


def test_the_time_is_told_by_remarks_that_no_reader_takes_for_events(
    api: Api, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BEAT_S", 0.05)
    page = Page(api, acme)
    with Api(api.url, key=None) as browser:
        request = browser.build_request("GET", page.address)
        answer = super(Api, browser).send(request, stream=True)
        read = b""
        for part in answer.iter_raw():
            read += part
            if read.count(b": beat\n\n") > 1:
                break
        answer.close()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert read.count(b"refetchEvaluation") == 1


@pytest.fixture(scope="module")
def timed(postgres_url: str) -> Iterator[tuple[Api, Api]]:
    """A server that follows a clock, and the clock."""
    with (
        simulator.running(start=START) as provider,
        migrated_database(postgres_url) as database_url,
        serving(Settings(clock_url=provider.url), database_url) as api,
        Api(provider.url, key=None) as clock,
    ):
        yield api, clock


def test_an_expiry_is_told_when_its_date_comes(timed: tuple[Api, Api]) -> None:
    api, clock = timed
    api.ok("PUT", "/v1/accounts/acme", json={})
    ends_at = START + timedelta(minutes=20)
    granted = {"value": True, "reason": "trial", "expires_at": ends_at.isoformat()}
    api.ok("PUT", "/v1/accounts/acme/overrides/exports", json=granted)
    page = Page(api, "acme")
    with page.following() as stream, followed(api, "?accounts=acme") as sdk:
        page.hear(stream)
        sdk.next("views")
        clock.ok("POST", "/_simulator/clock", json={"to": (ends_at - timedelta(seconds=1)).isoformat()})
        assert page.flag("exports") is True
        clock.ok("POST", "/_simulator/clock", json={"to": ends_at.isoformat()})
        page.hear(stream)
        assert page.flag("exports") is False
        assert sdk.next("news")[0] == {"accounts": ["acme"]}
        assert sdk.next("views")[0]["accounts"][0][0] == "acme"


def test_an_expiry_is_told_while_time_goes_on_by_itself(api: Api, acme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody waits for a beat.
    monkeypatch.setattr(streams, "BEAT_S", 3600.0)
    ends_at = datetime.now(START.tzinfo) + timedelta(seconds=3)
    granted = {"value": True, "reason": "trial", "expires_at": ends_at.isoformat()}
    api.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json=granted)
    page = Page(api, acme)
    with page.following() as stream:
        page.hear(stream)
        while page.flag("exports"):
            page.hear(stream)


def test_an_address_that_has_ended_is_given_anew_though_no_flag_has_changed(timed: tuple[Api, Api]) -> None:
    api, clock = timed
    api.ok("PUT", "/v1/accounts/later", json={})
    page = Page(api, "later")
    assert not page.evaluate()
    ended = page.address
    with page.following() as stream:
        page.hear(stream)
        clock.ok("POST", "/_simulator/clock", json={"advance": "2h"})
        stream.rest()
    with Api(api.url, key=None) as browser:
        browser.problem(401, "GET", ended)
    assert page.evaluate()
    assert page.address != ended
    with page.following() as stream:
        page.hear(stream)


def test_a_key_that_was_revoked_takes_the_addresses_along(api: Api, acme: str) -> None:
    page = Page(api, acme)
    api.ok("POST", "/v1/tokens/rotate", json={"revoke": True})
    with Api(api.url, key=None) as browser:
        browser.problem(401, "GET", page.address)
    assert page.evaluate()
    with page.following() as stream:
        page.hear(stream)


def test_a_page_goes_on_after_a_restart_with_the_address_it_has(restartable: Restartable) -> None:
    restartable.api.ok("PUT", "/v1/accounts/acme", json={})
    page = Page(restartable.api, "acme")
    with page.following() as stream:
        last = page.hear(stream)
        restartable.stop()
        stream.rest()
    restartable.start()
    override(restartable.api, "acme", value=True)
    page.api = restartable.api
    with page.following(last=last) as stream:
        page.hear(stream)
        assert page.flag("exports") is True


def test_a_notice_is_never_answered_with_older_state(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another process than the one that gave the notice, which has not heard of it yet."""
    with migrated_database(postgres_url) as url, ExitStack() as running:
        with monkeypatch.context() as deafness:
            deafness.setattr(Snapshots, "_hear", lambda *_: None)
            deaf = running.enter_context(serving(Settings(), url))
            Page(deaf, "acme")  # by now it listens
        api = running.enter_context(serving(Settings(), url))
        api.ok("PUT", "/v1/accounts/acme", json={})
        page = Page(deaf, "acme")
        override(api, "acme", value=True)
        page.evaluate()
        assert page.flag("exports") is False
        page.evaluate(api.check("acme", "exports")["version"])
        assert page.flag("exports") is True
