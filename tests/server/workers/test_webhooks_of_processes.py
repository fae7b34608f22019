"""Webhooks by server processes: two share the work, and one that is killed loses nothing."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from support.cluster import free_ports, killed
from support.databases import migrated_database
from support.receiver import Answering, Received, Receiver, receiving
from support.sending import House
from support.server_process import KEY, Api
from support.waiting import eventually
from support.warm_process import Running, warm


@contextmanager
def process(database_url: str) -> Iterator[tuple[Api, Running]]:
    (port,) = free_ports(1)
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PAYGRADE_")},
        "PAYGRADE_DATABASE_URL": database_url,
        "PAYGRADE_ADMIN_KEY": KEY,
        "PAYGRADE_PORT": str(port),
        "PAYGRADE_WEBHOOK_ALLOW": "127.0.0.0/8",
    }
    running = warm().start(["serve"], environ=environ)
    try:
        with Api(f"http://127.0.0.1:{port}") as api:
            eventually(lambda: is_ready(api))
            yield api, running
    finally:
        killed(running)


def is_ready(api: Api) -> bool:
    try:
        return api.get("/readyz").is_success
    except httpx2.TransportError:
        return False


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    def slowly(_: Received, answering: Answering) -> None:
        time.sleep(0.01)
        answering.answer(204)

    with receiving() as made:
        made.behave = slowly
        yield made


def in_order(receiver: Receiver, accounts: list[str], count: int) -> None:
    """Each update arrived at least once, in its order; what arrived again did so with the same id."""
    for account in accounts:
        first = list(dict.fromkeys(each.sequence for each in receiver.of(account)))
        assert first == list(range(1, count + 1))
        assert len({(each.id, each.sequence) for each in receiver.of(account)}) == count


def test_two_servers_share_endpoints_and_a_killed_one_loses_nothing(postgres_url: str, receiver: Receiver) -> None:
    accounts, count = ["acme", "beta", "gamma"], 30
    with (
        migrated_database(postgres_url) as database_url,
        process(database_url) as (first, doomed),
        process(database_url) as (second, _),
    ):
        house = House(first, database_url, receiver)
        endpoints = [house.endpoint(accounts=[account]) for account in accounts]
        house.happens(*accounts * count)
        receiver.got(len(accounts) * count)
        house = House(second, database_url, receiver)
        for endpoint in endpoints:
            house.become(endpoint, *["delivered"] * count)
        in_order(receiver, accounts, count)
        assert len(receiver.arrived) == len(accounts) * count, "each was delivered by one of them"

        house.happens(*accounts * count)
        eventually(lambda: len(receiver.arrived) > len(accounts) * count * 1.3)
        doomed.kill()
        for endpoint in endpoints:
            house.become(endpoint, *["delivered"] * 2 * count)
        in_order(receiver, accounts, 2 * count)
