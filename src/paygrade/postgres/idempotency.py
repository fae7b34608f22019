"""Rows of idempotency keys: requests that were sent under one, and what was answered.

Laws: of any number of requests under one key of one actor one is under way; what was answered never changes.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from paygrade.postgres.claims import Claims


class KeyedRequest(Struct, frozen=True):
    """A request. `request` is a digest of what it asks for; `status` None: it is under way, or was cut off. `body` is
    sealed; None: the answer was too large to keep."""

    actor: str
    key: str
    request: str
    begun_at: datetime
    status: int | None = None
    headers: dict[str, str] | None = None
    body: bytes | None = None
    attempts: int = 0
    fence: int = 0


class KeyedRequests(Claims[KeyedRequest]):
    """Requests within one transaction."""

    TABLE = "idempotency_keys"
    KEY = ("actor", "key")
    WAITING = (("actor = %(actor)s and key = %(key)s and status is null", "key"),)
    OPEN = "status is null"
    ROW = KeyedRequest
    COLUMNS = KeyedRequest.__struct_fields__
    FIXED = frozenset({"request", "begun_at"})
    JSON = {"headers": dict[str, str] | None}

    async def begin(self, *, actor: str, key: str, request: str, lease_s: float, at: datetime) -> KeyedRequest | None:
        """Enter a request, claimed; None: there is one under this key."""
        begun = await self._select(
            f"""
            insert into idempotency_keys (actor, key, request, begun_at, leased_by, leased_until)
            values (%(actor)s, %(key)s, %(request)s, %(at)s, %(holder)s, clock_timestamp() + %(lease)s)
            on conflict do nothing returning {self._columns()}
            """,
            {
                "actor": actor,
                "key": key,
                "request": request,
                "at": at,
                "holder": self._holder,
                "lease": timedelta(seconds=lease_s),
            },
        )
        return begun[0] if begun else None

    async def load(self, actor: str, key: str) -> KeyedRequest | None:
        return await self._one("actor = %s and key = %s", (actor, key))

    async def forget(self, claimed: KeyedRequest) -> None:
        """Let the key go of a request that has done nothing, unless somebody else has claimed it since."""
        await self._connection.execute(
            f"delete from idempotency_keys where {self._where()} and fence = %(fence)s and {self.OPEN}",
            self._key(claimed),
        )

    async def forget_old(self, actor: str, key: str, *, until: datetime) -> None:
        """Let a key go that was last sent before an instant."""
        await self._connection.execute(
            "delete from idempotency_keys where actor = %s and key = %s and begun_at < %s", (actor, key, until)
        )

    async def purge(self, *, until: datetime) -> int:
        """Forget what began before an instant; returns how many."""
        cursor = await self._connection.execute("delete from idempotency_keys where begun_at < %s", (until,))
        return cursor.rowcount
