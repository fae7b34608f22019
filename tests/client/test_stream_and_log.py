"""The stream and the log of state updates tell one thing: whoever follows the one knows what the other tells.

Two real servers, one of which is killed; an SDK whose stream goes on at the other one, and one that had followed that
from the beginning; writes of all kinds, by either server.
"""

import os
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from paygrade import Paygrade
from paygrade.decisions.following import versions_of
from paygrade.documents.catalog_file import read_catalog
from support.databases import migrated_database
from support.server_process import KEY, SAMPLE, Api
from support.streams import followed
from support.two_servers import servers
from support.waiting import eventually

SEED = int(os.environ.get("SEED", "30"))
WRITES = 100
ACCOUNTS = [f"acct-{number}" for number in range(12)]
FEATURES = ("exports", "audit_log", "seats", "api_calls")
LASTS = timedelta(seconds=2)
"""For how long what ends by date lasts."""


class Relay(threading.Thread):
    """One address, behind which is now this server, now that one."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def run(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    near.close()
                    continue
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(65536):
                sink.sendall(part)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.close()


class Listener(threading.Thread):
    """Follows the stream of a server and keeps what it told."""

    def __init__(self, api: Api) -> None:
        super().__init__(daemon=True)
        self._api, self.begun = Api(api.url), threading.Event()
        self.accounts: set[str] = set()
        self.catalogs: set[int] = set()

    def run(self) -> None:
        with suppress(Exception), followed(self._api, "?accounts=all") as stream:
            stream.next("hello")
            self.begun.set()
            while True:
                news, _ = stream.next("news")
                self.accounts.update(news.get("accounts", ()))
                self.catalogs.update([news["catalog"]] if "catalog" in news else [])


class Writes:
    """Writes of all kinds, drawn one after the other."""

    def __init__(self) -> None:
        self._random, self._number = random.Random(SEED), 0
        self._document: Any = read_catalog(SAMPLE)[0]

    def write(self, api: Api) -> None:
        self._number += 1
        account, path = self._random.choice(ACCOUNTS), "/v1/accounts/"
        until = (datetime.now(UTC) + LASTS).isoformat()
        kinds = ["override", "brief", "withdraw", "block", "lift", "member", "leave", "subscribe", "grant", "name"]
        kind = {0: "catalog", 25: "migrate"}.get(self._number % 40) or self._random.choice(kinds)
        match kind:
            case "override":
                limit = {"limit": self._random.randrange(1, 90)}
                api.ok("PUT", f"{path}{account}/overrides/api_calls", json=limit)
            case "brief":
                api.ok("PUT", f"{path}{account}/overrides/exports", json={"value": True, "expires_at": until})
            case "withdraw":
                api.request("DELETE", f"{path}{account}/overrides/api_calls")
            case "block":
                api.ok("PUT", f"{path}{account}/blocks/review", json={"reason": "x", "expires_at": until})
            case "lift":
                api.request("DELETE", f"{path}{account}/blocks/review")
            case "member":
                api.ok("PUT", f"{path}{account}/members/ann", json={"role": "admin"})
            case "leave":
                api.request("DELETE", f"{path}{account}/members/ann")
            case "subscribe":
                items = [{"id": "main", "plan": self._random.choice(["pro", "business"]), "quantity": 1}]
                started = {"started_at": "2026-01-01T00:00:00Z", "anchor_at": "2026-01-01T00:00:00Z"}
                state = {"status": "active", "items": items, "version": self._number, **started}
                api.ok("PUT", f"{path}{account}/subscriptions/manual", json=state)
            case "grant":
                grant = {"id": f"gr_{self._number}", "units": 5, "kind": "promotion", "feature": "ai_credits"}
                api.ok("POST", f"{path}{account}/grants", json=grant)
            case "name":
                api.ok("PUT", f"{path}{account}", json={"name": f"Name {self._number}"})
            case "catalog":
                self._document["features"][f"extra_{self._number}"] = {"kind": "boolean"}
                plan = self._document["plans"]["pro"]
                plan["entitlements"] = {**plan["entitlements"], f"extra_{self._number}": True}
                api.ok("PUT", "/v1/catalog", json=self._document)
            case "migrate":
                api.ok("POST", "/v1/catalog/migrations", json={"plan": "pro", "reason": "a test"})


@contextmanager
def sdk_at(url: str) -> Iterator[Paygrade]:
    with Paygrade(url, KEY, timeout_s=20) as sdk:
        assert sdk.prefetch(ACCOUNTS, timeout_s=60)
        eventually(lambda: sdk.status().state == "connected")
        yield sdk


def last_told(api: Api) -> tuple[dict[str, int], int]:
    """What the log says: the latest version of each account, and the latest catalog."""
    accounts, catalog, after = dict[str, int](), 0, 0
    while True:
        page = api.ok("GET", f"/v1/updates?after={after}&limit=500")
        for update in page["updates"]:
            if update["account"] is not None:
                accounts[update["account"]] = max(accounts.get(update["account"], 0), update["state_version"] or 0)
            elif update["type"] == "catalog.published":
                catalog = update["data"]["version"]
        if page["next"] == page["end"]:
            return accounts, catalog
        after = page["next"]


def test_who_follows_the_stream_has_all_that_the_log_tells_wherever_it_follows(postgres_url: str) -> None:
    with migrated_database(postgres_url) as database_url, servers(database_url) as (first, second):
        for account in ACCOUNTS:
            first.api.ok("PUT", f"/v1/accounts/{account}", json={})
        relay, listener, writes = Relay(first.port), Listener(second.api), Writes()
        relay.start()
        listener.start()
        assert listener.begun.wait(30)
        before, _ = last_told(second.api)
        with sdk_at(relay.url) as moving, sdk_at(second.api.url) as standing:
            for number in range(WRITES):
                if number == WRITES // 2:
                    relay.target = second.port
                    first.kill()
                writes.write(second.api if number % 2 or number >= WRITES // 2 else first.api)
            told, catalog = last_told(second.api)
            assert len([account for account in told if told[account] > before.get(account, 0)]) > len(ACCOUNTS) // 2
            assert catalog > 1, "the catalog was published meanwhile"

            def lacks(sdk: Paygrade) -> dict[str, Any]:
                """Accounts of which it has an older view than the log tells."""
                told, catalog = last_told(second.api)
                known = {account: sdk.snapshot(account) for account in ACCOUNTS}
                has = {account: versions_of(its.version) if its else (0, 0) for account, its in known.items()}
                return {account: has[account] for account in ACCOUNTS if has[account] < (catalog, told[account])}

            for sdk in (moving, standing):
                eventually(lambda sdk=sdk: sdk.status().state == "connected" and not lacks(sdk))  # type: ignore[misc]  # of this one

                def as_the_server_decides(sdk: Paygrade = sdk) -> bool:
                    return all(
                        (mine.allowed, mine.limit, mine.stale) == (there["allowed"], there["limit"], False)
                        for account in ACCOUNTS
                        for feature in FEATURES
                        for mine, there in [(sdk.check(account, feature), second.api.check(account, feature))]
                    )

                eventually(as_the_server_decides)
        changed = {account for account, version in told.items() if version > before.get(account, 0)}
        eventually(lambda: changed <= listener.accounts and catalog in listener.catalogs)
        relay.close()


def test_a_position_of_the_log_is_no_place_in_the_stream(api: Api) -> None:
    """Each server numbers what it tells by itself: who comes back elsewhere reads everything anew."""
    with followed(api, "?accounts=all", last="812") as stream:
        hello, _ = stream.next("hello")
    assert hello["resumed"] == "full"
