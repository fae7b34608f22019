"""Connections: what a client may send, how long it may take, and in which order it is answered."""

import asyncio
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest

from paygrade.server.http import protocol
from paygrade.server.http.protocol import HEAD_BYTES_MAX, HEADERS_MAX
from paygrade.server.process.settings import Settings
from support.databases import migrated_database
from support.raw_http import LAST, Answer, parse, request, send
from support.server_process import Api, serving
from support.waiting import eventually, somebody_waits

EXPORTS = b'{"account":"acme","feature":"exports"}'


@pytest.fixture(scope="module")
def api(postgres_url: str) -> Iterator[Api]:
    """A server with an account it remembers."""
    with migrated_database(postgres_url) as database_url, serving(Settings(), database_url) as running:
        running.ok("PUT", "/v1/accounts/acme", json={})
        running.check("acme", "exports")
        yield running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients have little time."""
    for name in ("HEAD_S", "REQUEST_S", "LOOK_S"):
        monkeypatch.setattr(protocol, name, 0.1)


def open_to(api: Api) -> socket.socket:
    host, _, port = api.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def use(id: str) -> bytes:
    return b'{"account":"acme","feature":"api_calls","id":"%b"}' % id.encode()


def codes(answers: list[Answer]) -> list[int]:
    return [each.status for each in answers]


@pytest.mark.parametrize("path", ["/v1/check", "/v1/accounts/acme/explain"])
@pytest.mark.parametrize("wish", ["h2c", "websocket", "TLS/1.3"])
def test_a_wish_to_upgrade_changes_nothing(api: Api, path: str, wish: str) -> None:
    body = EXPORTS if path == "/v1/check" else b'{"feature":"exports"}'
    lines = f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {wish}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n".encode()
    asked = request(path, body, more=lines)
    assert codes(send(api, [asked, LAST])) == [200, 200]
    assert codes(send(api, [asked[:-10], asked[-10:], LAST], pause_s=0.02)) == [200, 200]


def test_what_is_inside_of_a_body_is_no_request(api: Api) -> None:
    inner = request("/v1/consume", use("inner"))
    asked = request("/v1/check", inner, more=b"Connection: Upgrade\r\nUpgrade: h2c\r\n")
    assert codes(send(api, [asked, LAST], pause_s=0.02)) == [400, 200]
    assert api.ok("GET", "/v1/accounts/acme/balances/api_calls")["used"] == 0


def test_a_connection_to_elsewhere_is_not_made(api: Api) -> None:
    (answer,) = send(api, [b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n"])
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\n" + b"X: a\r\n" * (HEADERS_MAX + 1) + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nX: " + b"a" * HEAD_BYTES_MAX + b"\r\n\r\n",
        b"GET /" + b"a" * HEAD_BYTES_MAX + b" HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * (1 << 20),
        b"GET /healthz HTTP/1.1\r\nX: " + b"a" * (1 << 20),
        b"POST /v1/check HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * (1 << 20),
        b"POST /v1/check HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * (1 << 20),
    ],
)
def test_a_head_without_an_end_is_refused(api: Api, head: bytes) -> None:
    # What is sent after a body has its answer already: nobody showed a key.
    statuses = codes(send(api, [head[start : start + 4096] for start in range(0, len(head), 4096)]))
    assert statuses in ([431], [401])


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"hello\r\n\r\n", b"\x00" * 50])
def test_what_is_not_http_is_a_problem(api: Api, garbage: bytes) -> None:
    (answer,) = send(api, [garbage])
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"].encode() in answer.body


def test_requests_that_come_together_are_answered_in_their_order(api: Api) -> None:
    asked = [
        request("/v1/consume", use("first")),
        request("/v1/check", EXPORTS),
        request("/v1/consume", use("second")),
        b"GET /v1/nothing HTTP/1.1\r\n\r\n",
        request("/v1/check", EXPORTS),
    ]
    answers = send(api, [b"".join(asked) + LAST])
    assert codes(answers) == [200, 200, 200, 404, 200, 200]
    assert [b'"consumed"' in each.body for each in answers] == [True, False, True, False, False, False]


def test_what_is_asked_before_garbage_is_answered_first(api: Api) -> None:
    answers = send(api, [request("/v1/consume", use("before")) + b"garbage\r\n\r\n"])
    assert codes(answers)[:1] == [200]
    assert b'"consumed":true' in answers[0].body


def test_a_request_that_is_cut_off_is_none(api: Api) -> None:
    before = api.ok("GET", "/v1/accounts/acme/balances/api_calls")["used"]
    for asked in (request("/v1/consume", use("cut")), request("/v1/consume", use("cut"), more=b"X-Request-Id: a\r\n")):
        with open_to(api) as connection:
            connection.sendall(asked[:-1])
            time.sleep(0.05)
    assert api.ok("GET", "/v1/accounts/acme/balances/api_calls")["used"] == before


def test_a_head_in_many_pieces_is_read(api: Api) -> None:
    asked = request("/v1/check", EXPORTS)
    assert codes(send(api, [bytes([byte]) for byte in asked] + [LAST])) == [200, 200]


@pytest.mark.parametrize(
    "begun", [b"GET /healthz HTT", request("/v1/check", EXPORTS)[:-3], request("/v1/accounts", EXPORTS)[:-3]]
)
def test_who_sends_too_slowly_is_told_and_left(api: Api, impatient: None, begun: bytes) -> None:
    statuses = codes(send(api, [begun]))
    assert statuses in ([408], [405])


def test_a_connection_on_which_nothing_comes_is_closed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol.Connection, "timeout_keep_alive", 0.2, raising=False)
    with open_to(api) as connection:
        assert connection.recv(1) == b""


def test_an_answer_before_the_end_of_a_request_leaves_the_connection_usable(api: Api) -> None:
    asked = request("/v1/accounts/acme/explain", b" " * 100_000, key=None)
    assert codes(send(api, [asked[:300], asked[300:50_000], asked[50_000:], LAST], pause_s=0.05)) == [401, 200]


def test_a_body_over_the_limit_is_refused_by_its_length(api: Api) -> None:
    asked = request("/v1/consume", b" " * (5 << 20))
    assert codes(send(api, [asked]))[:1] == [413]


def test_an_answer_says_when_the_connection_ends(api: Api) -> None:
    (answer,) = send(api, [request("/v1/check", EXPORTS, more=b"Connection: close\r\n")])
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("more", [b"", b"X-Request-Id: mine\r\n"])  # the short way and the usual one
def test_who_waits_for_an_answer_is_told_when_the_server_stops(postgres_url: str, more: bytes) -> None:
    with migrated_database(postgres_url) as database_url, psycopg.connect(database_url) as held:
        with serving(Settings(), database_url, patience_s=1) as api:
            api.ok("PUT", "/v1/accounts/acme", json={})
            waiting, idle = open_to(api), open_to(api)
            held.execute("lock table ledger in exclusive mode")
            waiting.sendall(request("/v1/consume", use("waits"), more=more))
            asyncio.run(somebody_waits(database_url))
        # It has ended, and nobody was let pass meanwhile.
        held.rollback()
    with waiting, idle:
        (answer,) = parse(read_all(waiting))
        assert read_all(idle) == b""
    assert (answer.status, answer.headers["connection"]) == (503, "close")
    assert b'"code":"not_ready"' in answer.body


@pytest.mark.parametrize("more", [b"", b"X-Request-Id: mine\r\n"])  # the short way and the usual one
def test_a_server_that_ends_answers_who_asks_on_an_open_connection_and_says_that_it_closes(
    postgres_url: str, more: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LEAVE_S", 8.0)
    with migrated_database(postgres_url) as database_url, ExitStack() as running, ThreadPoolExecutor(1) as thread:
        api = running.enter_context(serving(Settings(), database_url))
        api.ok("PUT", "/v1/accounts/acme", json={})
        with open_to(api) as kept:
            kept.sendall(request("/v1/check", EXPORTS, more=more))
            assert b"200 OK" in kept.recv(65536)
            ending = thread.submit(running.close)
            eventually(lambda: is_refused(api))
            kept.sendall(request("/v1/check", EXPORTS, more=more))
            (answer,) = parse(read_all(kept))
        ending.result()
    assert (answer.status, answer.headers["connection"]) == (200, "close")


def is_refused(api: Api) -> bool:
    try:
        open_to(api).close()
    except ConnectionRefusedError:
        return True
    return False


def read_all(connection: socket.socket) -> bytes:
    told = b""
    while part := connection.recv(65536):
        told += part
    return told
