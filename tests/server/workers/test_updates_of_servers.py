"""State updates of servers that are real processes: some are killed while they write, and several watch one date."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from support.cluster import killed
from support.databases import migrated_database
from support.server_process import KEY, Api
from support.stack import House
from support.stack import house as empty_house
from support.two_servers import Server, servers
from support.waiting import eventually
from support.warm_process import warm


class Writer(threading.Thread):
    """Overrides one feature again and again, by a server that may die, and notes what was acknowledged."""

    def __init__(self, server: Server, account: str) -> None:
        super().__init__()
        self._server, self._account = server, account
        self.acknowledged: list[int] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        with Api(self._server.api.url) as api, suppress(httpx2.TransportError):
            limit = 0
            while not self.stopped.is_set():
                limit += 1
                path = f"/v1/accounts/{self._account}/overrides/api_calls"
                if api.put(path, json={"limit": limit}).is_success:
                    self.acknowledged.append(limit)


def updates(api: Api, account: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.ok("GET", f"/v1/updates?account={account}&limit=500")["updates"]
    return found


def test_servers_that_are_killed_lose_no_update_and_tell_none_twice(postgres_url: str) -> None:
    with migrated_database(postgres_url) as database_url, servers(database_url) as (first, second):
        accounts = ["acme", "beta", "gamma", "delta"]
        for account in accounts:
            first.api.ok("PUT", f"/v1/accounts/{account}", json={})
        writers = [
            Writer(server, account) for server, account in zip([first, first, second, second], accounts, strict=True)
        ]
        for writer in writers:
            writer.start()
        eventually(lambda: all(len(writer.acknowledged) >= 15 for writer in writers))
        first.kill()
        for writer in writers:
            writer.stopped.set()
            writer.join()
        # Both servers watch this date; one of them is gone.
        ends_at = datetime.now(UTC) + timedelta(seconds=3)
        expiring = {"value": True, "expires_at": ends_at.isoformat()}
        second.api.ok("PUT", "/v1/accounts/acme/overrides/exports", json=expiring)
        eventually(lambda: [u for u in updates(second.api, "acme") if u["type"] == "override.expired"])
        for writer, account in zip(writers, accounts, strict=True):
            found = updates(second.api, account)
            assert [update["sequence"] for update in found] == list(range(1, len(found) + 1))
            version = second.api.ok("GET", f"/v1/accounts/{account}")["version"]
            assert {update["state_version"] for update in found} == set(range(1, version + 1))
            told = [u["data"]["override"].get("limit") for u in found if u["type"] == "override.set"]
            limits = [limit for limit in told if limit is not None]
            # The last one may have been saved and not acknowledged.
            assert limits[: len(writer.acknowledged)] == writer.acknowledged
            assert len(limits) - len(writer.acknowledged) in (0, 1)
        (expired,) = [u for u in updates(second.api, "acme") if u["type"] == "override.expired"]
        assert datetime.fromisoformat(expired["occurred_at"]) == ends_at
        page = second.api.ok("GET", "/v1/updates?limit=500")
        positions = [update["position"] for update in page["updates"]]
        assert positions == list(range(1, len(positions) + 1))


@pytest.fixture(scope="module")
def house(postgres_url: str) -> Iterator[House]:
    with empty_house(postgres_url) as made:
        yield made


def types_of(house: House, account: str) -> list[str]:
    return [update["type"] for update in updates(house.api, account)]


def test_what_happens_by_date_is_told_without_any_event_from_outside(house: House) -> None:
    house.shop.welcome("acme", "Acme")
    house.shop.subscribe("acme", "pro_monthly", trial_days=10)
    eventually(lambda: "trial.started" in types_of(house, "acme"))
    started = next(update for update in updates(house.api, "acme") if update["type"] == "trial.started")
    ends_at = datetime.fromisoformat(started["data"]["ends_at"])
    # Nothing is heard of the provider any more.
    house.control("weather", {"drop": 1.0})
    house.control("clock", {"advance": "8d"})
    eventually(lambda: "trial.ending" in types_of(house, "acme"))
    house.control("clock", {"advance": "3d"})
    eventually(lambda: "trial.ended" in types_of(house, "acme"))
    house.control("weather", {})
    found = {u["type"]: datetime.fromisoformat(u["occurred_at"]) for u in updates(house.api, "acme")}
    assert found["trial.ending"] == ends_at - timedelta(days=3)
    assert found["trial.ended"] == ends_at
    assert types_of(house, "acme").count("trial.ended") == 1


def test_updates_are_listed_and_followed_by_command(house: House) -> None:
    house.api.ok("PUT", "/v1/accounts/own", json={})
    eventually(lambda: len(updates(house.api, "own")) == 2)
    shown = house.paygrade("updates", "list", "--account", "own", "--type", "account.created")
    (header, line) = shown.splitlines()
    assert header.split("\t") == ["position", "time", "account", "sequence", "what", "data"]
    assert line.split("\t")[2:5] == ["own", "1", "account.created"]
    environ = {"PATH": "", "PAYGRADE_URL": house.api.url, "PAYGRADE_API_KEY": KEY}
    arguments = ["updates", "follow", "--account", "own", "--after", "0", "--json"]
    reading, writing = os.pipe()
    with open(reading) as said:
        following = warm().start(arguments, environ=environ, stdout=writing)
        os.close(writing)
        try:
            assert '"account.created"' in said.readline()
            house.api.ok("PUT", "/v1/accounts/own/blocks/fraud", json={})
            assert '"account.plan_changed"' in said.readline()
            assert '"block.set"' in said.readline()
        finally:
            killed(following)


@pytest.mark.parametrize("query", ["types=nonsense", "types=", "types=,", "after=-1", "after=x", "limit=0", "account="])
def test_what_is_no_query_is_refused(house: House, query: str) -> None:
    assert house.api.get(f"/v1/updates?{query}").status_code == 400


def test_unknown_types_and_accounts_are_named(house: House) -> None:
    assert "nonsense" in house.api.problem(400, "GET", "/v1/updates?types=trial.ended,nonsense")["detail"]
    assert house.api.problem(404, "GET", "/v1/accounts/nobody/updates")["code"] == "unknown_account"
    assert house.api.ok("GET", "/v1/updates?account=nobody")["updates"] == []
