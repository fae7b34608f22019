"""check and consume take a short way (ADR 13): whatever is sent, they answer as the routes do."""

import json
import re
from collections.abc import Iterator
from ipaddress import ip_network
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from litestar.types import ASGIApp

from paygrade.server.process.settings import Settings
from support.databases import migrated_database
from support.raw_http import LAST, Answer, send
from support.server_process import KEY, Api, serving

LOOPBACK = (ip_network("127.0.0.0/8"),)
SHOWN = b"Authorization: Bearer " + KEY.encode() + b"\r\n"
numbers = count(1)


class Switch:
    """The application with the short way, or without it: then all that is asked goes through ASGI."""

    def __init__(self, app: Any) -> None:  # Any: an ASGI application that has one
        self._app, self._short_way = app, app.short_way
        self.taken, self.is_on, self.heads = 0, True, app.short_way.heads

    @property
    def short_way(self) -> Any:
        return self if self.is_on else None

    def takes(self, url: bytes, headers: Any) -> Any:
        return self._short_way.takes(url, headers)

    def opens(self, head: Any) -> bool:
        return bool(self._short_way.opens(head))

    def answer(self, head: Any, body: bytes) -> Any:
        found = self._short_way.answer(head, body)
        self.taken += found is not None
        return found

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


class Both:
    """A server asked both ways."""

    def __init__(self, api: Api, switch: Switch) -> None:
        self.api, self.switch, self.compared = api, switch, 0

    def ask(self, account: str, pieces: list[bytes], *, quiet_s: float) -> list[Any]:
        return [told(each, account) for each in send(self.api, pieces, quiet_s=quiet_s, pause_s=0.003)]

    def compare_use(self) -> None:
        """After all of it, as much was used both ways; and the short way was taken at all."""
        assert self.switch.taken > 50
        for known in ("seen", "rare"):
            short, routes = (
                self.api.ok("GET", f"/v1/accounts/{known}_{way}/balances/api_calls")["used"] for way in "sr"
            )
            assert short == routes > 0


KEYS = {"admin": KEY}
"""What an attempt may show, by name."""
MADE: dict[str, dict[str, Any]] = {
    "all": {"role": "admin"},
    "checks": {"scopes": ["decisions:read"], "never_expires": True},
    "uses": {"scopes": ["usage:write"]},
    "reads": {"scopes": ["accounts:read"]},
    "page": {"publishable": True},
    "here": {"role": "admin", "ip_ranges": ["127.0.0.0/8"]},
    "elsewhere": {"role": "admin", "ip_ranges": ["192.0.2.0/24"]},
    "behind": {"role": "admin", "ip_ranges": ["203.0.113.0/24"]},
    "limited": {"role": "admin", "rate_limit": 1_000_000},
    "revoked": {"role": "admin"},
    "rotated": {"role": "admin"},
    "rotated at once": {"role": "admin"},
}


def make_keys(api: Api) -> None:
    made = {name: api.ok("POST", "/v1/keys", json={"name": name, **asked}) for name, asked in MADE.items()}
    KEYS.update({name: each["key"] for name, each in made.items()})
    api.ok("POST", f"/v1/keys/{made['revoked']['id']}/revoke")
    api.ok("POST", f"/v1/keys/{made['rotated']['id']}/rotate", json={})
    api.ok("POST", f"/v1/keys/{made['rotated at once']['id']}/rotate", json={"overlap_s": 0})


@pytest.fixture(scope="module")
def both(postgres_url: str) -> Iterator[Both]:
    made: list[Switch] = []

    def around(app: ASGIApp) -> ASGIApp:
        made.append(Switch(app))
        return made[0]

    with migrated_database(postgres_url) as url, serving(Settings(trusted_proxies=LOOPBACK), url, around=around) as api:
        for account in ("seen_s", "seen_r", "rare_s", "rare_r"):
            api.ok("PUT", f"/v1/accounts/{account}", json={})
            api.check(account, "api_calls")
        make_keys(api)
        both = Both(api, made[0])
        yield both
        if both.compared:
            both.compare_use()


def told(answer: Answer, account: str) -> Any:
    """What of an answer must be the same both ways."""
    if answer.status == 100:
        return 100
    assert "x-request-id" in answer.headers
    assert "date" in answer.headers
    names = ("content-type", "www-authenticate", "allow", "retry-after")
    body = answer.body.decode().replace(answer.headers["x-request-id"], "<id>").replace(account, "<account>")
    return (
        answer.status,
        {name: answer.headers[name] for name in names if name in answer.headers},
        re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<instant>", body),
    )


# What is sent: most of it nearly right, so that it gets far.

TARGETS = ["/v1/check", "/v1/consume"]
ODD_TARGETS = [
    "/v1/chec%6b", "/v1%2Fcheck", "/v1/check?a=1", "/v1/check?", "/v1/check/", "//v1/check", "/v1/./check",
    "http://x/v1/check", "/v1/consum%65", "/V1/CHECK", "/v1/check#a", "*", "/v1/consume;a", "/healthz",
]  # fmt: skip
FROM_BEHIND = b"X-Forwarded-For: 203.0.113.7\r\n"
ODD_LINES = [
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n",
    b"Content-Encoding: gzip\r\n", b"Content-Encoding: identity\r\n", b"X-Request-Id: mine\r\n",
    b"X-Request-Id: \xff\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Content-Length: 3\r\n",
    b"content-length:  5 \r\n", SHOWN, b"Authorization: Bearer other\r\n",
    b"AUTHORIZATION: bearer " + KEY.encode() + b"\r\n", b"Authorization:\r\n",
    b"User-Agent: a\x00b\r\n", b"X-Note: a\r\n b\r\n", b"X-Note : a\r\n", b"bad header\r\n", b": a\r\n", b"X-Note: a\n",
    b"Host: y\r\n", b"X-Note: \xc3\xa4\r\n", b"Content-Type: text/plain\r\n", b"Accept: application/xml\r\n",
    b"X-Note: " + b"a" * 40_000 + b"\r\n", b"".join(b"X-%d: a\r\n" % n for n in range(120)), b"Cookie: a=b\r\n",
    FROM_BEHIND, b"X-Forwarded-For: nonsense, , 127.0.0.1\r\n", b"Forwarded: for=203.0.113.7\r\n",
]  # fmt: skip
FIELDS: dict[str, list[Any]] = {
    "quantity": [0, 1, 2, 10**9, -1, 1.0, 1.5, "1", True, None, 2**53, 2**64, 10**30],
    "member": [None, "", "m", "a\u0000b", "x" * 201, 3, "\u202e"],
    "node": [None, "team-a", "team-a/jane", "", "a//b", "a\u0000b", "x" * 201, 3],
    "properties": [None, {}, {"model": "x"}, {"a": 1.5}, {"a": None}, {"a": {}}, {"a\u0000": 1}, [], {"": True}],
    "at": [None, "2026-01-01T00:00:00Z", "2026-01-01", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 3],
    "at_least": [None, "0.0", "0.1", "soon", "", 3],
    "wait_s": [0, 30, 31, -1, 1.5, "1", None],
    "feature": ["api_calls", "exports", "projects", "nothing", "", "a\u0000", "x" * 300, 3, None],
    "account": ["unseen", "", "a/b", "x" * 201, "a\u0000b", "\n", 3, None],
    "id": ["", "x" * 201, "a\u0000", 3, None],
    "acount": ["seen"],
}
ODD_BODIES = [
    b"", b"{", b"[]", b"null", b"\xff", b'{"account": "\xed\xa0\x80"}', b'{"account":"\\ud800","feature":"exports"}',
    b"[" * 5000, b'{"a":' * 5000, b" " * 70_000, b'{"quantity": 1e999}', b'"text"', b'{"account":"a","account":"b"}',
]  # fmt: skip


PLAIN: dict[str, Any] = {
    "target": None, "fields": {}, "raw": None, "lines": [], "method": "POST", "version": "1.1", "key": "admin",
    "off": 0, "cuts": [], "twice": False, "again": False,
}  # fmt: skip
"""An attempt with nothing odd about it."""
ODD: dict[str, st.SearchStrategy[Any]] = {
    "target": st.sampled_from(ODD_TARGETS),
    "fields": st.sampled_from([{name: value} for name, values in FIELDS.items() for value in values]),
    "raw": st.sampled_from(ODD_BODIES),
    "lines": st.lists(st.sampled_from(ODD_LINES), min_size=1, max_size=2),
    "method": st.sampled_from(["GET", "HEAD", "OPTIONS", "PUT", "CONNECT", "post"]),
    "version": st.sampled_from(["1.0", "2.0", "1.2"]),
    "key": st.sampled_from([None, *MADE]),
    "off": st.sampled_from([-3, 3, None]),
    "cuts": st.lists(st.integers(0, 300), min_size=1, max_size=3),
    "twice": st.just(True),
    "again": st.just(True),
}


@st.composite
def attempts(draw: st.DrawFn) -> dict[str, Any]:
    """An attempt of which up to two things are odd."""
    odd = draw(st.lists(st.sampled_from(sorted(ODD)), max_size=2, unique=True))
    return PLAIN | {"target": draw(st.sampled_from(TARGETS))} | {name: draw(ODD[name]) for name in odd}


def written(attempt: Any, account: str, number: int) -> list[bytes]:
    """The packets of an attempt. Any: as drawn."""
    fields = {"account": "seen", "feature": "api_calls", "quantity": 1}
    fields |= {"id": f"id_{number}"} if attempt["target"] == "/v1/consume" else {}
    raw = attempt["raw"]
    if raw is None:
        raw = json.dumps(fields | attempt["fields"]).replace('"seen"', f'"{account}"').encode()
    head = f"{attempt['method']} {attempt['target']} HTTP/{attempt['version']}\r\nHost: x\r\n".encode()
    head += (b"Authorization: Bearer %b\r\n" % KEYS[attempt["key"]].encode() if attempt["key"] else b"") + b"".join(
        attempt["lines"]
    )
    if b"Transfer-Encoding: chunked\r\n" in attempt["lines"]:
        raw = (b"%x\r\n%b\r\n" % (len(raw), raw) if raw else b"") + b"0\r\nAuthorization: Bearer other\r\n\r\n"
    elif attempt["off"] is not None:
        head += b"Content-Length: %d\r\n" % max(0, len(raw) + attempt["off"])
    one = head + b"\r\n" + raw
    whole = one * (2 if attempt["twice"] else 1) + LAST
    pieces = [whole[start:end] for start, end in pairwise([0, *sorted(attempt["cuts"]), len(whole)]) if start < end]
    return [one, *pieces] if attempt["again"] else pieces


BOTH = (True, False)
"""Whether the short way is on."""


def asked(both: Both, attempt: Any, known: str, number: int, *, is_on: bool, quiet_s: float) -> Any:
    """What comes back of an attempt, by an account that is used in one way alone. Any: answers."""
    both.switch.is_on = is_on
    account = f"{known}_{'s' if is_on else 'r'}"
    return both.ask(account, written(attempt, account, number), quiet_s=quiet_s)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(attempt=attempts(), known=st.sampled_from(["seen", "rare"]))
@example(PLAIN | {"target": "/v1/check", "twice": True}, "seen")
@example(PLAIN | {"target": "/v1/consume", "twice": True}, "seen")
@example(PLAIN | {"target": "/v1/check", "again": True, "cuts": [200]}, "seen")
@example(PLAIN | {"target": "/v1/consume", "again": True}, "seen")
@example(PLAIN | {"target": "/v1/check", "key": "checks", "twice": True}, "seen")
@example(PLAIN | {"target": "/v1/consume", "key": "checks", "twice": True}, "seen")
@example(PLAIN | {"target": "/v1/check", "key": "page", "twice": True}, "seen")
@example(PLAIN | {"target": "/v1/check", "key": "behind", "lines": [FROM_BEHIND], "twice": True}, "seen")
@example(PLAIN | {"target": "/v1/consume", "key": "behind", "lines": [FROM_BEHIND], "twice": True}, "seen")
@example(PLAIN | {"target": "/v1/consume", "key": "here", "lines": [FROM_BEHIND], "twice": True}, "seen")
@example(PLAIN | {"target": "/v1/check", "key": "all", "lines": [FROM_BEHIND], "twice": True}, "seen")
def test_both_ways_answer_alike(both: Both, attempt: Any, known: str) -> None:
    number = next(numbers)
    # Where the length is wrong, nothing may ever come back: one waits for silence.
    lies = attempt["off"] not in (0, None) or any(b"ength: " in each for each in attempt["lines"])
    short, routed = (asked(both, attempt, known, number, is_on=is_on, quiet_s=0.2 if lies else 5.0) for is_on in BOTH)
    if lies and short != routed:  # on a busy machine, an answer may take as long as one waits for silence
        number = next(numbers)
        short, routed = (asked(both, attempt, known, number, is_on=is_on, quiet_s=5.0) for is_on in BOTH)
    assert short == routed
    both.compared += 1


@pytest.mark.parametrize("name", ["admin", "all", "checks", "rotated"])
def test_a_key_takes_the_short_way_as_soon_as_it_is_known(both: Both, name: str) -> None:
    both.switch.is_on = True
    attempt = PLAIN | {"target": "/v1/check", "key": name}
    both.ask("seen_s", written(attempt, "seen_s", 0), quiet_s=5.0)
    before = both.switch.taken
    assert both.ask("seen_s", written(attempt, "seen_s", 0), quiet_s=5.0)[0][0] == 200
    assert both.switch.taken == before + 1


@pytest.mark.parametrize(
    "name", ["page", "here", "limited", "elsewhere", "behind", "revoked", "rotated at once", "uses"]
)
def test_the_short_way_leaves_to_the_routes_whatever_else_has_a_say(both: Both, name: str) -> None:
    both.switch.is_on = True
    before = both.switch.taken
    attempt = PLAIN | {"target": "/v1/check", "key": name}
    for _ in range(2):
        both.ask("seen_s", written(attempt, "seen_s", 0), quiet_s=5.0)
    assert both.switch.taken == before
