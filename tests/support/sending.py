"""A server that sends webhooks to a receiver, as tests drive it."""

import asyncio
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import psycopg
from msgspec import Struct

from paygrade.postgres.store import Store
from paygrade.server.process.settings import Settings
from paygrade.updates.log import News
from support.receiver import Receiver
from support.server_process import Api
from support.waiting import eventually

LOOPBACK = Settings(webhook_allow=(ip_network("127.0.0.0/8"),))


class Changed(Struct):
    number: int
    text: str = ""


class House:
    """A server, its database, and a receiver."""

    def __init__(self, api: Api, database_url: str, receiver: Receiver) -> None:
        self.api, self.database_url, self.receiver = api, database_url, receiver

    def endpoint(self, **more: Any) -> Any:
        """One that is sent what `happens`, and nothing else."""
        wanted = {"url": self.receiver.url, "types": ["account.state_changed"], **more}
        return self.api.ok("POST", "/v1/webhook-endpoints", json=wanted)

    def happens(self, *accounts: str | None, type: str = "account.state_changed", text: str = "") -> None:
        """Something happens to these accounts, one after the other."""

        async def announce() -> None:
            at = datetime.now(UTC)
            async with Store(self.database_url) as store, store.transaction() as tx:
                await tx.announce([News(each, type, Changed(n, text), at) for n, each in enumerate(accounts)], at)

        asyncio.run(announce())

    def can_be_read(self) -> None:
        """Wait until what has happened has its place in the log: only then did it happen before what comes now."""

        async def waits() -> bool:
            async with Store(self.database_url) as store, store.transaction() as tx:
                return await tx.updates.are_waiting()

        eventually(lambda: not asyncio.run(waits()))

    def shown(self, endpoint: Any) -> Any:
        return self.api.ok("GET", f"/v1/webhook-endpoints/{endpoint['id']}")

    def change(self, endpoint: Any, **what: Any) -> Any:
        return self.api.ok("PATCH", f"/v1/webhook-endpoints/{endpoint['id']}", json=what)

    def deliveries(self, endpoint: Any, **which: Any) -> list[Any]:
        told = self.api.ok("GET", f"/v1/webhook-endpoints/{endpoint['id']}/deliveries", params=which)
        found: list[Any] = told["deliveries"]
        return found

    def states(self, endpoint: Any, **which: Any) -> list[str]:
        """How its deliveries stand, the oldest first."""
        return [each["state"] for each in reversed(self.deliveries(endpoint, **which))]

    def had(self, endpoint: Any, tries: int) -> None:
        """The first of its deliveries has had so many tries."""
        eventually(lambda: [each["tries"] for each in self.deliveries(endpoint)][-1:] == [tries])

    def disabled(self, endpoint: Any) -> Any:
        """The endpoint, once it is disabled."""
        eventually(lambda: self.shown(endpoint)["state"] == "disabled")
        return self.shown(endpoint)

    def become(self, endpoint: Any, *states: str, **which: Any) -> None:
        eventually(lambda: self.states(endpoint, **which) == list(states) or None)

    def replay(self, endpoint: Any, **what: Any) -> int:
        told = self.api.ok("POST", f"/v1/webhook-endpoints/{endpoint['id']}/replay", json=what)
        replayed: int = told["replayed"]
        return replayed

    def time_passes(self, interval: str, *, failing: bool = True) -> None:
        """Let all that waits be so much older; and, if `failing`, what fails have failed for longer."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute(
                "update webhook_deliveries set due_at = due_at - %(by)s::interval,"
                " first_tried_at = first_tried_at - %(by)s::interval",
                {"by": interval},
            )
            connection.execute(
                "update webhook_endpoints set due_at = due_at - %(by)s::interval, retry_at = null,"
                " failing_since = case when %(failing)s then failing_since - %(by)s::interval else now() end",
                {"by": interval, "failing": failing},
            )
