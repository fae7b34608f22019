"""The header Idempotency-Key, on a real server: a POST is done once, however often it is sent."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx2
import psycopg
import pytest

from paygrade.server.operations.idempotency import KEPT
from paygrade.server.process.settings import Settings
from support.databases import migrated_database
from support.server_process import KEY, Api, serving
from support.waiting import eventually

OWN = {"content-length", "date", "x-request-id", "idempotent-replayed", "connection"}
"""What each answer has of its own."""
ROTATE = "/v1/tokens/rotate"


class Server(Api):
    """A server whose database a test can look into."""

    database_url: str

    def rows(self, query: str) -> list[Any]:
        text: Any = query  # Any: not a literal
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            return connection.execute(text).fetchall()


@pytest.fixture(scope="module")
def server(postgres_url: str) -> Iterator[Server]:
    with (
        migrated_database(postgres_url) as database_url,
        serving(Settings(), database_url) as running,
        Server(running.url) as api,
    ):
        api.database_url = database_url
        yield api


def keyed(key: str | None = None) -> dict[str, str]:
    return {"Idempotency-Key": key or uuid.uuid4().hex}


def signing_keys(server: Server) -> int:
    """How often the signing key was rotated: each time there is one more number."""
    ((number,),) = server.rows("select coalesce(max(number), 0) from signing_keys")
    return int(number)


def same(first: httpx2.Response, second: httpx2.Response) -> None:
    assert second.status_code == first.status_code
    assert second.content == first.content
    kept = [{name: value for name, value in each.headers.items() if name not in OWN} for each in (first, second)]
    assert kept[0] == kept[1]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


def test_a_request_sent_again_is_done_once_and_answered_alike(server: Server) -> None:
    before, key = signing_keys(server), keyed()
    first, second = (server.post(ROTATE, json={"revoke": True}, headers=key) for _ in range(2))
    same(first, second)
    assert signing_keys(server) == before + 1
    server.ok("POST", ROTATE, json={"revoke": True}, headers=keyed())
    server.ok("POST", ROTATE, json={"revoke": True})
    assert signing_keys(server) == before + 3


def test_every_post_that_writes_answers_alike_when_it_is_sent_again(server: Server, operations: Any) -> None:
    """Whatever its example comes to; what is refused stays open, and what only reads has no key."""
    answered = set()
    for method, path, told, send in operations:
        names = [each["name"] for each in told["parameters"] if each["in"] == "header"]
        assert ("Idempotency-Key" in names) == (method == "POST" and path not in READS and bool(told["security"])), path
        if "Idempotency-Key" not in names:
            continue
        key = keyed()
        first, second = send(key), send(key)
        if first.status_code < 300:
            same(first, second)
            answered.add(path)
        else:
            assert "idempotent-replayed" not in second.headers
            assert second.json()["code"] == first.json()["code"], path
    assert {"/v1/consume", "/v1/events", "/v1/leases/steps", "/v1/accounts/{account}/grants"} <= answered
    assert {"/v1/accounts/{account}/rebuild", "/api/v1/events", "/v1/accounts/{account}/tokens", ROTATE} <= answered


def test_what_has_an_id_of_its_own_is_done_once_even_where_its_answer_was_lost(server: Server) -> None:
    """As after a crash between what was done and the saving of the answer: nothing is known of the key."""
    account = f"lost-{uuid.uuid4().hex[:8]}"
    server.ok("PUT", f"/v1/accounts/{account}", json={})
    event = {"account": account, "event": "api_call", "id": "e1", "quantity": 5}
    held = {"account": account, "feature": "api_calls", "quantity": 7}
    asked = [
        ("/v1/consume", {"account": account, "feature": "api_calls", "quantity": 3, "id": "c1"}),
        ("/v1/events", [event]),
        ("/v1/reservations", {**held, "id": "r1"}),
        ("/v1/reservations/r1/commit", {"account": account, "quantity": 6}),
        ("/v1/reservations", {**held, "id": "r2"}),
        ("/v1/reservations/r2/extend", {"account": account, "ttl_s": 600}),
        ("/v1/reservations/r2/release", {"account": account}),
    ]
    for path, body in asked:
        key = keyed()
        first = server.post(path, json=body, headers=key)
        assert first.status_code == 200, first.text
        same(first, server.post(path, json=body, headers=key))
        server.rows(f"delete from idempotency_keys where key = '{key['Idempotency-Key']}' returning 1")
        again = server.post(path, json=body, headers=key)
        assert again.status_code == 200, (path, again.text)
    balance = server.ok("GET", f"/v1/accounts/{account}/balances/api_calls")
    assert (balance["used"], balance["reserved"]) == (3 + 5 + 6, 0)


READS = {
    "/v1/check",
    "/v1/snapshots",
    "/v1/catalog/simulate",
    "/v1/authorize",
    "/v1/accounts/{account}/explain",
    "/ofrep/v1/evaluate/flags",
    "/ofrep/v1/evaluate/flags/{key}",
}


@pytest.fixture(scope="module")
def operations(server: Server) -> list[Any]:
    """All there are, each with what sends its example."""
    from support.openapi import example_of, plain_address

    server.ok("PUT", "/v1/accounts/acme", json={})
    stated = {"version": 1, "status": "active", "items": [{"id": "main", "plan": "pro", "price": "monthly"}]}
    server.ok("PUT", "/v1/accounts/acme/subscriptions/s1", json={**stated, "anchor_at": "2026-01-31T12:00:00Z"})

    def sender(method: str, path: str, told: Any) -> Any:
        content = next(iter(told.get("requestBody", {}).get("content", {"": None})))
        body = example_of(told)

        def send(headers: dict[str, str]) -> httpx2.Response:
            more = {"Content-Type": content} if content else {}
            return server.request(method, plain_address(path, "acme"), json=body, headers=headers | more)

        return send

    paths = server.ok("GET", "/openapi.json")["paths"]
    return [
        (method.upper(), path, told, sender(method.upper(), path, told))
        for path, each in paths.items()
        for method, told in each.items()
    ]


def test_a_key_stands_for_one_request(server: Server) -> None:
    key = keyed()
    server.ok("POST", ROTATE, json={"revoke": False}, headers=key)
    before = signing_keys(server)
    for method, path, more in (
        ("POST", ROTATE, {"json": {"revoke": True}}),
        ("POST", f"{ROTATE}?a=1", {"json": {"revoke": False}}),
        ("POST", "/v1/catalog/migrations", {"json": {"revoke": False}}),
        ("POST", ROTATE, {"content": b'{"revoke":false}', "headers": {**key, "Content-Type": "text/plain"}}),
    ):
        told = server.problem(422, method, path, **{"headers": key, **more})
        assert told["code"] == "idempotency_key_reused"
    assert signing_keys(server) == before


def test_what_is_refused_has_done_nothing_and_lets_its_key_go(server: Server) -> None:
    account, key = f"later-{uuid.uuid4().hex[:8]}", keyed()
    grant = {"feature": "api_calls", "units": 5, "id": "g1"}
    assert server.problem(404, "POST", f"/v1/accounts/{account}/grants", json=grant, headers=key)["code"] == (
        "unknown_account"
    )
    assert server.problem(400, "POST", f"/v1/accounts/{account}/grants", json={}, headers=key)["code"] == "invalid_body"
    server.ok("PUT", f"/v1/accounts/{account}", json={})
    first, second = (server.post(f"/v1/accounts/{account}/grants", json=grant, headers=key) for _ in range(2))
    assert first.status_code == 201
    same(first, second)


def test_a_key_is_of_the_very_one_who_sent_it_and_its_answer_is_sealed(server: Server) -> None:
    key = keyed()
    server.ok("PUT", "/v1/accounts/acme", json={})
    token = server.ok("POST", "/v1/accounts/acme/tokens", json={}, headers=key)["token"]
    ((actor, body),) = server.rows(f"select actor, body from idempotency_keys where key = '{key['Idempotency-Key']}'")
    assert actor == "key:admin"
    assert token.encode() not in bytes(body)
    # The same actor by another secret: what was done is not done again, and not shown either.
    with Api(server.url, key=None) as other:
        told = other.problem(
            409, "POST", "/v1/accounts/acme/tokens", json={}, headers={**key, "Authorization": f"bearer {KEY}"}
        )
    assert told["code"] == "answer_not_kept"


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ä".encode().decode("latin-1"), '""'])
def test_an_odd_key_is_refused_and_nothing_is_done(server: Server, key: str) -> None:
    before = signing_keys(server)
    told = server.problem(
        400, "POST", ROTATE, json={"revoke": True}, headers=[("Idempotency-Key", key.encode("latin-1"))]
    )
    assert told["code"] == "invalid_key"
    twice = [("Idempotency-Key", "one"), ("Idempotency-Key", "two")]
    assert server.problem(400, "POST", ROTATE, json={"revoke": True}, headers=twice)["code"] == "invalid_key"
    assert signing_keys(server) == before


def test_a_key_in_quotes_is_the_same_key(server: Server) -> None:
    key = uuid.uuid4().hex
    first = server.post(ROTATE, json={"revoke": True}, headers=keyed(key))
    same(first, server.post(ROTATE, json={"revoke": True}, headers=keyed(f'"{key}"')))


def test_other_methods_and_what_only_reads_ignore_the_key(server: Server) -> None:
    key = keyed()
    for name in ("One", "Two"):
        server.ok("PUT", "/v1/accounts/renamed", json={"name": name}, headers=key)
    assert server.ok("GET", "/v1/accounts/renamed", headers=key)["name"] == "Two"
    for quantity in (1, 2):
        assert server.check("renamed", "api_calls", quantity=quantity)["quantity"] == quantity
        asked = {"account": "renamed", "feature": "api_calls", "quantity": quantity}
        assert server.ok("POST", "/v1/check", json=asked, headers=key)["quantity"] == quantity
    assert server.rows(f"select 1 from idempotency_keys where key = '{key['Idempotency-Key']}'") == []


@contextmanager
def held(server: Server, table: str) -> Iterator[psycopg.Connection]:
    """Nobody writes this table inside of the block."""
    with psycopg.connect(server.database_url) as connection:
        statement: Any = f"lock table {table} in exclusive mode"  # Any: not a literal
        connection.execute(statement)
        yield connection


def test_a_request_under_way_keeps_its_key_until_it_is_answered(server: Server) -> None:
    before, key, answers = signing_keys(server), keyed(), list[httpx2.Response]()

    def send() -> None:
        headers = {**server.headers, **key}
        answers.append(httpx2.post(server.url + ROTATE, json={"revoke": True}, headers=headers, verify=False))

    with held(server, "signing_keys"):
        first = threading.Thread(target=send)
        first.start()
        eventually(lambda: server.rows(f"select 1 from idempotency_keys where key = '{key['Idempotency-Key']}'"))
        answer = server.post(ROTATE, json={"revoke": True}, headers=key)
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_in_use")
        assert answer.headers["retry-after"] == "1"
        other = server.post(ROTATE, json={"revoke": False}, headers=key)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    first.join()
    same(answers[0], server.post(ROTATE, json={"revoke": True}, headers=key))
    assert signing_keys(server) == before + 1


def test_many_at_once_under_one_key_come_to_one_effect(server: Server) -> None:
    before, key, seen = signing_keys(server), keyed(), list[int]()

    def send() -> None:
        headers, ask = {**server.headers, **key}, partial(httpx2.post, server.url + ROTATE, verify=False)
        while (answer := ask(json={"revoke": True}, headers=headers)).status_code == 409:
            pass
        seen.append(answer.status_code)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [200] * 6
    assert signing_keys(server) == before + 1


def test_after_a_day_the_key_is_free(server: Server) -> None:
    key = keyed()
    server.ok("POST", ROTATE, json={"revoke": True}, headers=key)
    before = signing_keys(server)
    earlier = f"begun_at - interval '{KEPT.total_seconds()} seconds'"
    server.rows(f"update idempotency_keys set begun_at = {earlier} where key = '{key['Idempotency-Key']}' returning 1")
    assert "idempotent-replayed" not in server.post(ROTATE, json={"revoke": False}, headers=key).headers
    assert signing_keys(server) == before + 1


def test_an_answer_too_large_to_keep_says_so_and_is_not_done_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paygrade.server.http.idempotency.BODY_BYTES_MAX", 10)
    key = keyed()
    server.ok("POST", ROTATE, json={"revoke": True}, headers=key)
    before = signing_keys(server)
    told = server.problem(409, "POST", ROTATE, json={"revoke": True}, headers=key)
    assert told["code"] == "answer_not_kept"
    assert "too large" in told["detail"]
    assert signing_keys(server) == before
