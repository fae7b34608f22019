"""Rows of webhook endpoints, which are claimed, and of their deliveries.

Laws: who works on an endpoint has claimed it, and saves what came of deliveries with the endpoint's row locked; others
change single columns of it and leave the claim alone; an update has one delivery for each endpoint, made in the
transaction that moves the endpoint's position past it.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.postgres.claims import Claims
from paygrade.updates.delivery import DeliveryState, WebhookSecret

_READABLE = "(select readable from update_log)"
_OF_ENDPOINT = """
    (%(types)s::text[] is null or type = any(%(types)s))
    and (%(accounts)s::text[] is null or account = any(%(accounts)s))
"""


class SavedEndpoint(Struct, frozen=True, kw_only=True):
    """An endpoint as saved. `types` and `accounts` None: all."""

    id: str
    url: str
    description: str
    types: tuple[str, ...] | None
    accounts: tuple[str, ...] | None
    secrets: tuple[WebhookSecret, ...]
    state: Literal["enabled", "disabled"]
    reason: str | None
    created_at: datetime
    position: int
    missed_until: int
    delivered_at: datetime | None
    failing_since: datetime | None
    warned_at: datetime | None
    due_at: datetime | None
    attempts: int
    fence: int


class SavedDelivery(Struct, frozen=True, kw_only=True):
    """A delivery as saved. `due_at` None: it is not tried by itself."""

    account: str
    endpoint: str
    position: int
    update_id: str
    type: str
    state: DeliveryState
    tries: int
    first_tried_at: datetime | None
    tried_at: datetime | None
    due_at: datetime | None
    gap: bool
    status: int | None
    took_ms: int | None
    error: str | None
    answer: str


class WebhookEndpoints(Claims[SavedEndpoint]):
    """Webhook endpoints within one transaction."""

    TABLE = "webhook_endpoints"
    KEY = ("id",)
    WAITING = (
        (f"state = 'enabled' and (due_at <= clock_timestamp() or position < {_READABLE})", "due_at nulls last, id"),
    )
    ROW = SavedEndpoint
    COLUMNS = SavedEndpoint.__struct_fields__
    FIXED = frozenset({"created_at", "url", "description", "types", "accounts", "secrets"})
    """Whoever works on an endpoint changes none of these."""
    JSON: ClassVar[Mapping[str, Any]] = {"secrets": tuple[WebhookSecret, ...]}

    async def add(
        self,
        id: str,
        *,
        url: str,
        description: str,
        types: Collection[str] | None,
        accounts: Collection[str] | None,
        secrets: Sequence[WebhookSecret],
        at: datetime,
    ) -> None:
        """Enter one that is sent what happens from now on."""
        await self._connection.execute(
            f"""
            insert into webhook_endpoints
                (id, url, description, types, accounts, secrets, state, created_at, position, missed_until)
            values (%s, %s, %s, %s, %s, %s, 'enabled', %s, {_READABLE}, 0)
            """,
            (id, url, description, _list(types), _list(accounts), _json(secrets), at),
        )

    async def count(self) -> int:
        cursor = await self._connection.execute("select count(*) from webhook_endpoints")
        row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    async def load(self, id: str, *, lock: bool = False) -> SavedEndpoint | None:
        return await self._one(f"id = %s{' for update' if lock else ''}", (id,))

    async def page(self, *, after: str, limit: int) -> tuple[SavedEndpoint, ...]:
        return await self._many("id > %s order by id limit %s", (after, limit))

    async def change(self, id: str, **columns: object) -> None:
        """Set columns of one that is locked."""
        values = {
            name: _json(value) if name == "secrets" else _list(value) if name in ("types", "accounts") else value
            for name, value in columns.items()
        }
        await self._connection.execute(
            f"update webhook_endpoints set {', '.join(f'{name} = %({name})s' for name in values)} where id = %(id)s",
            {**values, "id": id},
        )

    async def wake(self, id: str) -> None:
        """Have it looked at: some of its deliveries are due."""
        await self._connection.execute(
            "update webhook_endpoints set due_at = clock_timestamp(), retry_at = null where id = %s", (id,)
        )

    async def enable(self, id: str) -> None:
        """Have it sent what happens from now on, and nothing of what happened before."""
        await self._connection.execute(
            f"""
            update webhook_endpoints set state = 'enabled', reason = null, failing_since = null, warned_at = null,
                   missed_until = {_READABLE}, due_at = null, retry_at = null
            where id = %s
            """,
            (id,),
        )

    async def delete(self, id: str) -> bool:
        cursor = await self._connection.execute("delete from webhook_endpoints where id = %s", (id,))
        return cursor.rowcount == 1


class WebhookDeliveries:
    """Deliveries within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def plan(self, endpoint: SavedEndpoint, *, limit: int, at: datetime) -> int:
        """Make deliveries of the updates behind an endpoint's position, at most of so many updates; the position up to
        which they are made."""
        cursor = await self._connection.execute(f"select least(%s::bigint, {_READABLE})", (endpoint.position + limit,))
        row = await cursor.fetchone()
        assert row is not None
        upto = max(int(row[0]), endpoint.position)
        if endpoint.position < endpoint.missed_until:
            upto = min(upto, endpoint.missed_until)
            await self._make(endpoint, after=endpoint.position, upto=upto, due_at=None, again=False)
        elif upto > endpoint.position:
            await self._make(endpoint, after=endpoint.position, upto=upto, due_at=at, again=False)
        return upto

    async def replay(self, endpoint: SavedEndpoint, *, after: int, upto: int, at: datetime) -> int:
        """Have the updates of `(after, upto]` delivered, whether they were before or not; how many."""
        return await self._make(endpoint, after=after, upto=upto, due_at=at, again=True)

    async def replay_one(self, endpoint: SavedEndpoint, update_id: str, *, at: datetime) -> bool:
        """Have one update delivered; False: there is no such update any more."""
        cursor = await self._connection.execute(
            "select position from updates where id = %s and position <= (select readable from update_log)", (update_id,)
        )
        row = await cursor.fetchone()
        if row is None:
            return False
        everything = msgspec.structs.replace(endpoint, types=None, accounts=None)
        return await self._make(everything, after=row[0] - 1, upto=row[0], due_at=at, again=True) == 1

    async def replay_gap(self, endpoint: str, *, at: datetime) -> int:
        """Have all that were not delivered sent again; how many."""
        cursor = await self._connection.execute(
            """
            update webhook_deliveries set state = 'waiting', tries = 0, first_tried_at = null, due_at = %s
            where endpoint = %s and state in ('dead_letter', 'failed', 'missed')
            """,
            (at, endpoint),
        )
        return cursor.rowcount

    async def miss(self, endpoint: str) -> None:
        """What waits, or would be tried again, was missed: it is not sent by itself any more."""
        await self._connection.execute(
            """
            update webhook_deliveries set state = 'missed', due_at = null
            where endpoint = %s and state in ('waiting', 'dead_letter')
            """,
            (endpoint,),
        )

    async def due(self, endpoint: str, *, busy: Collection[str], limit: int, at: datetime) -> tuple[SavedDelivery, ...]:
        """Those that are due, by position; none of accounts that are `busy`. Those that wait behind one of their
        account that waits for its next try are put off until then."""
        found = await self._select(
            """
            endpoint = %(endpoint)s and due_at <= %(at)s and account <> all(%(busy)s)
            order by position limit %(limit)s
            """,
            {"endpoint": endpoint, "at": at, "busy": list(busy), "limit": limit},
        )
        held = await self._held(endpoint, {row.account for row in found}, at)
        if held:
            await self._connection.execute(
                """
                update webhook_deliveries d set due_at = k.until
                from unnest(%s::text[], %s::timestamptz[]) k (account, until)
                where d.account = k.account and d.endpoint = %s and d.state = 'waiting' and d.due_at <= %s
                """,
                (list(held), list(held.values()), endpoint, at),
            )
        return tuple([row for row in found if row.state == "dead_letter" or row.account not in held])

    async def undelivered(self, endpoint: str, accounts: Collection[str]) -> dict[str, int]:
        """The first position of each of these accounts that was not delivered and holds nobody up."""
        cursor = await self._connection.execute(
            """
            select account, min(position) from webhook_deliveries
            where endpoint = %s and account = any(%s) and state in ('dead_letter', 'failed', 'missed') group by account
            """,
            (endpoint, list(accounts)),
        )
        return {account: position async for account, position in cursor}

    async def note(self, rows: Sequence[SavedDelivery]) -> None:
        """Save what came of these."""
        if not rows:
            return
        columns = (
            "state", "tries", "first_tried_at", "tried_at", "due_at", "gap", "status", "took_ms", "error", "answer",
        )  # fmt: skip
        kinds = ("text", "integer", "timestamptz", "timestamptz", "timestamptz", "boolean", "integer", "integer",
                 "text", "text")  # fmt: skip
        keys = ("account", "endpoint", "position")
        await self._connection.execute(
            f"""
            update webhook_deliveries d set {", ".join(f"{name} = k.{name}" for name in columns)}
            from unnest(%s::text[], %s::text[], %s::bigint[], {", ".join(f"%s::{kind}[]" for kind in kinds)})
                 k ({", ".join((*keys, *columns))})
            where d.account = k.account and d.endpoint = k.endpoint and d.position = k.position
            """,
            [[getattr(row, name) for row in rows] for name in (*keys, *columns)],
        )

    async def next_due_at(self, endpoint: str) -> datetime | None:
        cursor = await self._connection.execute(
            "select min(due_at) from webhook_deliveries where endpoint = %s and due_at is not null", (endpoint,)
        )
        row = await cursor.fetchone()
        return row[0] if row else None

    async def open(self, endpoint: str, *, at_most: int) -> tuple[int, int]:
        """How many wait, and how many were not delivered; no more than `at_most` are counted."""
        counts = []
        for states in (["waiting"], ["dead_letter", "failed", "missed"]):
            cursor = await self._connection.execute(
                """
                select count(*) from (
                    select from webhook_deliveries where endpoint = %s and state = any(%s) limit %s) counted
                """,
                (endpoint, states, at_most),
            )
            row = await cursor.fetchone()
            assert row is not None
            counts.append(int(row[0]))
        return counts[0], counts[1]

    async def page(
        self, endpoint: str, *, state: DeliveryState | None, account: str | None, before: int | None, limit: int
    ) -> tuple[SavedDelivery, ...]:
        """The latest first."""
        return await self._select(
            """
            endpoint = %(endpoint)s and (%(before)s::bigint is null or position < %(before)s)
            and (%(state)s::text is null or state = %(state)s) and (%(account)s::text is null or account = %(account)s)
            order by position desc limit %(limit)s
            """,
            {"endpoint": endpoint, "state": state, "account": account, "before": before, "limit": limit},
        )

    async def delete(self, endpoint: str) -> None:
        await self._connection.execute("delete from webhook_deliveries where endpoint = %s", (endpoint,))

    async def purge(self) -> int:
        """Forget deliveries of updates that are gone; how many."""
        cursor = await self._connection.execute(
            "delete from webhook_deliveries where position <= (select purged from update_log)"
        )
        return cursor.rowcount

    async def _make(
        self, endpoint: SavedEndpoint, *, after: int, upto: int, due_at: datetime | None, again: bool
    ) -> int:
        """`due_at` None: they were missed. `again`: those that are there are sent once more."""
        once_more = "update set state = 'waiting', tries = 0, first_tried_at = null, due_at = excluded.due_at"
        cursor = await self._connection.execute(
            f"""
            insert into webhook_deliveries (account, endpoint, position, update_id, type, state, due_at)
            select account, %(endpoint)s, position, id, type, %(state)s, %(due_at)s from updates
            where position > %(after)s and position <= %(upto)s and {_OF_ENDPOINT}
            on conflict (account, endpoint, position) do {once_more if again else "nothing"}
            """,
            {
                "endpoint": endpoint.id,
                "state": "missed" if due_at is None else "waiting",
                "due_at": due_at,
                "after": after,
                "upto": upto,
                "types": _list(endpoint.types),
                "accounts": _list(endpoint.accounts),
            },
        )
        return cursor.rowcount

    async def _held(self, endpoint: str, accounts: Collection[str], at: datetime) -> dict[str, datetime]:
        """Until when these accounts are held up by one that waits for its next try."""
        cursor = await self._connection.execute(
            """
            select account, max(due_at) from webhook_deliveries
            where endpoint = %s and account = any(%s) and state = 'waiting' and tries > 0 and due_at > %s
            group by account
            """,
            (endpoint, list(accounts), at),
        )
        return {account: until async for account, until in cursor}

    async def _select(self, which: str, values: Mapping[str, object]) -> tuple[SavedDelivery, ...]:
        names = SavedDelivery.__struct_fields__
        cursor = await self._connection.execute(
            f"select {', '.join(names)} from webhook_deliveries where {which}", values
        )
        return tuple([SavedDelivery(**dict(zip(names, row, strict=True))) async for row in cursor])


def _list(values: Any) -> list[str] | None:
    """Any: a collection of texts, or None."""
    return None if values is None else list(values)


def _json(secrets: Any) -> str:
    """Any: secrets."""
    return msgspec.json.encode(secrets).decode()
