"""Exactly what is left, and each id once, with all servers asked at the same moment."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from proof.fold import Folded, read_ledger
from support.cluster import Cluster, eventually

AT_ONCE = 12

# What the free plan of `proof.sold` leaves a fresh account: of n units each, so many consumes and so many holds.
LEFT = [
    ("calls", 5, {}, 12 // 5, 12 // 5),
    ("capped", 2, {}, 5 // 2, 5 // 2),  # in a minute; 8 in an hour, 20 in a month
    ("shared", 3, {}, 10 // 3, 10 // 3),
    ("shared", 3, {"member": "ann"}, 4 // 3, 4 // 3),
    ("recent", 4, {}, 6 // 4, 6 // 4),
    ("rolled", 4, {}, 6 // 4, 6 // 4),
    ("over", 2, {}, 9 // 2, 9 // 2),
    ("seats", 2, {}, 3 // 2, 3 // 2),
    # 9 credits. What is used is rounded on the running sum, what is held on its own.
    ("tokens", 10, {}, 9 * 7 // 10, 9 // 2),
    ("tokens", 2, {"properties": {"model": "large"}}, 9 * 3 // (2 * 5), 9 // 4),
    ("images", 4, {}, 9 * 3 // (4 * 2), 9 // 3),
]


@pytest.fixture
def account(cluster: Cluster) -> str:
    key = f"fresh-{uuid.uuid4().hex[:12]}"
    cluster.ask("PUT", f"/v1/accounts/{key}", json={})
    return key


@pytest.mark.parametrize(("feature", "units", "more", "uses", "holds"), LEFT)
@pytest.mark.parametrize("verbs", [("consume",), ("reserve",), ("consume", "reserve")], ids="+".join)
def test_of_concurrent_requests_exactly_as_many_succeed_as_there_is_room_for(
    cluster: Cluster,
    account: str,
    verbs: Sequence[str],
    feature: str,
    units: int,
    more: dict[str, Any],
    uses: int,
    holds: int,
) -> None:
    body = {"account": account, "feature": feature, "quantity": units, **more}
    answers = at_once(cluster, [(verbs[n % len(verbs)], {**body, "id": uuid.uuid4().hex}) for n in range(AT_ONCE)])
    found = sum(took(answer) for answer in answers)
    # The two differ only in credits; where both are asked for, it depends on which of them come first.
    assert (holds if "reserve" in verbs else uses) <= found <= (uses if "consume" in verbs else holds)


def test_units_granted_by_themselves_are_part_of_what_is_left(cluster: Cluster, account: str) -> None:
    for number in range(3):
        grant = {"feature": "calls", "units": 2, "id": f"g{number}", "priority": 10 + 40 * number}
        cluster.ask("POST", f"/v1/accounts/{account}/grants", server=number % len(cluster.server_urls), json=grant)
    body = {"account": account, "feature": "calls", "quantity": 5}
    answers = at_once(cluster, [("consume", {**body, "id": uuid.uuid4().hex}) for _ in range(AT_ONCE)])
    assert sum(took(answer) for answer in answers) == (12 + 6) // 5


def test_one_id_asked_of_every_server_at_once_counts_once(cluster: Cluster, account: str) -> None:
    for _ in range(5):
        body = {"account": account, "feature": "calls", "quantity": 1, "id": uuid.uuid4().hex}
        answers = at_once(cluster, [("consume", body)] * AT_ONCE)
        assert Counter((told["consumed"], told["replayed"]) for _, told in answers) == {
            (True, False): 1,
            (True, True): AT_ONCE - 1,
        }
        assert len({told["decision"]["used"] for _, told in answers}) == 1
    assert kept(cluster, account) == 5


def test_one_id_for_two_features_at_once_is_one_of_them_and_a_conflict(cluster: Cluster, account: str) -> None:
    for _ in range(5):
        bodies = [
            {"account": account, "feature": feature, "quantity": 1, "ttl_s": 60}
            for feature in ("calls", "capped", "tokens")
        ]
        id = uuid.uuid4().hex
        asked = [("reserve", {**bodies[n % 3], "id": id}) for n in range(AT_ONCE)]
        answers = at_once(cluster, asked)
        features = {told["decision"]["feature"] for status, told in answers if status == 200}
        assert len(features) == 1
        assert Counter(told.get("code") for _, told in answers) == {
            None: AT_ONCE // 3,
            "id_conflict": AT_ONCE * 2 // 3,
        }
        cluster.ask("POST", f"/v1/reservations/{id}/release", json={"account": account})
    assert kept(cluster, account) == 10  # each with its release


def test_one_id_asked_of_one_server_at_once_counts_once(cluster: Cluster, account: str) -> None:
    body = {"account": account, "feature": "calls", "quantity": 2, "id": uuid.uuid4().hex}
    answers = at_once(cluster, [("consume", body)] * AT_ONCE, server=lambda _: 0)
    assert sum(told["consumed"] and not told["replayed"] for _, told in answers) == 1
    others = at_once(
        cluster,
        [("consume", {**body, "quantity": 1 + n % 2, "id": "other"}) for n in range(AT_ONCE)],
        server=lambda _: 0,
    )
    assert Counter(status for status, _ in others) == {200: AT_ONCE // 2, 409: AT_ONCE // 2}
    assert kept(cluster, account) == 2


def test_usage_events_and_uses_at_the_same_moment_are_all_counted(cluster: Cluster, account: str) -> None:
    for _ in range(10):
        asked: list[tuple[str, Any]] = []
        for _ in range(AT_ONCE // 2):
            asked.append(("consume", {"account": account, "feature": "pings", "id": uuid.uuid4().hex}))
            asked.append(("events", [{"account": account, "event": "ping", "id": uuid.uuid4().hex}] * 2))
        answers = at_once(cluster, asked)
        took_effect = sum(took(answer) for answer in answers[::2])
        assert [(told["accepted"], told["duplicates"]) for _, told in answers[1::2]] == [(1, 1)] * (AT_ONCE // 2)
        with psycopg.connect(cluster.database_url) as connection:
            of = (account,)
            (used,) = connection.execute("select sum(used) from balances where account = %s", of).fetchone() or (0,)
            drawn = Folded(read_ledger(connection, [account])).counts
        assert used == sum(counted for counted, _ in drawn.values())
        assert took_effect == AT_ONCE // 2 or used >= 40


def test_one_batch_of_usage_events_sent_to_every_server_at_once_counts_once(cluster: Cluster, account: str) -> None:
    for _ in range(5):
        one, two = uuid.uuid4().hex, uuid.uuid4().hex
        sending = {"account": account, "event": "sending", "properties": {"size": 5, "sender": "ann"}}
        events = [{**sending, "id": one}, {**sending, "id": two}, {**sending, "id": f"{two}+", "amends": two}]
        answers = at_once(cluster, [("events", events)] * AT_ONCE)
        assert Counter((told["accepted"], told["duplicates"]) for _, told in answers) == {
            (3, 0): 1,
            (0, 3): AT_ONCE - 1,
        }
    used = [cluster.ask("GET", f"/v1/accounts/{account}/balances/{pool}")["used"] for pool in ("sent", "senders")]
    assert used == [5 * 2 * 5, 1]


def test_a_reservation_is_resolved_once_whoever_does_it_first(cluster: Cluster, account: str) -> None:
    for _ in range(5):
        id = uuid.uuid4().hex
        cluster.ask("POST", "/v1/reservations", json={"account": account, "feature": "calls", "quantity": 2, "id": id})
        steps = [(f"reservations/{id}/{verb}", {"account": account}) for verb in ("commit", "release")]
        answers = at_once(cluster, [steps[n % 2] for n in range(AT_ONCE)])
        assert Counter(told.get("code") for _, told in answers) == {
            None: AT_ONCE // 2,
            "reservation_resolved": AT_ONCE // 2,
        }
    assert kept(cluster, account) == 10


def test_a_limit_taken_down_is_not_passed_once_it_is_known(cluster: Cluster, account: str) -> None:
    path = f"/v1/accounts/{account}/overrides/calls"
    cluster.ask("PUT", path, json={"limit": 100, "reason": "goodwill"})
    body = {"account": account, "feature": "calls", "quantity": 7}
    at_once(cluster, [("consume", {**body, "id": uuid.uuid4().hex}) for _ in range(3)])
    cluster.ask("PUT", path, json={"limit": 30, "reason": "as agreed"})
    for number in range(len(cluster.server_urls)):
        eventually_limited(cluster, number, account, 30)
    answers = at_once(cluster, [("consume", {**body, "id": uuid.uuid4().hex}) for _ in range(AT_ONCE)])
    assert sum(took(answer) for answer in answers) == (30 - 21) // 7


Answer = tuple[int, Any]
"""The status and what was told; Any: JSON."""
PATHS = {"consume": "consume", "reserve": "reservations"}


def at_once(
    cluster: Cluster, asked: Sequence[tuple[str, Any]], server: Callable[[int], int] | None = None
) -> list[Answer]:
    """Ask all of it at the same moment, one server after the other, or of the one that `server` says."""
    barrier, servers = threading.Barrier(len(asked)), len(cluster.server_urls)
    headers = {"Authorization": f"Bearer {cluster.admin_key}"}

    def ask(number: int) -> Answer:
        verb, body = asked[number]
        url = cluster.server_urls[number % servers if server is None else server(number)]
        barrier.wait()
        answer = cluster.http.post(f"{url}/v1/{PATHS.get(verb, verb)}", json=body, headers=headers)
        return answer.status_code, answer.json()

    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(ask, range(len(asked))))


def took(answer: Answer) -> bool:
    status, told = answer
    assert status == 200, told
    return bool(told["consumed"] if "consumed" in told else told["reservation"])


def kept(cluster: Cluster, account: str) -> int:
    """How many entries the ledger has of an account."""
    with psycopg.connect(cluster.database_url) as connection:
        return len(read_ledger(connection, [account]))


def eventually_limited(cluster: Cluster, server: int, account: str, limit: int) -> None:
    """Return once a server has heard of a limit: what is saved is told to others afterwards."""
    body = {"account": account, "feature": "calls"}
    eventually(
        f"server {server} to hear of {limit}",
        lambda: cluster.ask("POST", "/v1/check", server=server, json=body)["limit"] != limit,
    )
