"""Rows of requests that need a second person.

Law: one that is resolved stays as it is; the same request waits once.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow


class SavedApproval(Struct, frozen=True, kw_only=True):
    """One. Any: JSON."""

    account: str
    id: str
    kind: str
    state: str
    scope: str
    digest: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    preview: Any
    asked_by: dict[str, str]
    asked_by_person: str
    resolved_by: dict[str, str] | None = None
    account_version: int
    catalog_version: int
    reason: str = ""
    asked_at: datetime
    expires_at: datetime
    resolved_at: datetime | None = None


_NAMES = SavedApproval.__struct_fields__
_JSON = frozenset({"headers", "preview", "asked_by", "resolved_by"})
_COLUMNS = ", ".join(_NAMES)


class Approvals:
    """Approvals within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def add(self, **said: Any) -> SavedApproval:
        """Enter one; or give the one that waits for the same request. Any: the fields of a SavedApproval."""
        approval = SavedApproval(**said)
        await self._connection.execute(
            "update approvals set state = 'expired' where account = %s and digest = %s and state = 'waiting' "
            "and expires_at <= %s",
            (approval.account, approval.digest, approval.asked_at),
        )
        query: Any = (  # Any: not a literal
            f"insert into approvals ({_COLUMNS}) values ({', '.join(['%s'] * len(_NAMES))}) "
            "on conflict (account, digest) where state = 'waiting' do nothing"
        )
        await self._connection.execute(query, [_written(name, getattr(approval, name)) for name in _NAMES])
        found = await self._load(
            "where account = %s and digest = %s and state = 'waiting'", approval.account, approval.digest
        )
        return found[0]

    async def find(self, id: str) -> SavedApproval | None:
        found = await self._load("where id = %s", id)
        return found[0] if found else None

    async def lock(self, account: str, id: str) -> SavedApproval | None:
        found = await self._load("where account = %s and id = %s for update", account, id)
        return found[0] if found else None

    async def page(
        self, *, state: str | None, account: str | None, before: tuple[datetime, str] | None, at: datetime, limit: int
    ) -> tuple[SavedApproval, ...]:
        """The latest first. One whose time is over is `expired`, whatever its row says."""
        asked_at, id = before or (None, None)
        return await self._load(
            """
            where (%(account)s::text is null or account = %(account)s)
              and (%(state)s::text is null
                   or %(state)s = case when state = 'waiting' and expires_at <= %(at)s then 'expired' else state end)
              and (%(asked_at)s::timestamptz is null or (asked_at, id) < (%(asked_at)s, %(id)s))
            order by asked_at desc, id desc limit %(limit)s
            """,
            named={"state": state, "account": account, "asked_at": asked_at, "id": id, "at": at, "limit": limit},
        )

    async def waiting(self, *, at: datetime, limit: int) -> tuple[SavedApproval, ...]:
        """Those that wait, whose time is over soonest first."""
        return await self._load("where state = 'waiting' and expires_at > %s order by expires_at limit %s", at, limit)

    async def resolve(self, approval: SavedApproval) -> None:
        """Write how it ended."""
        await self._connection.execute(
            "update approvals set state = %s, resolved_by = %s, resolved_at = %s, reason = %s "
            "where account = %s and id = %s",
            (approval.state, _written("resolved_by", approval.resolved_by), approval.resolved_at, approval.reason,
             approval.account, approval.id),
        )  # fmt: skip

    async def _load(
        self, which: str, *arguments: object, named: dict[str, object] | None = None
    ) -> tuple[SavedApproval, ...]:
        query: Any = f"select {_COLUMNS} from approvals {which}"  # Any: not a literal
        cursor = await self._connection.execute(query, named if named is not None else arguments)
        return tuple([_read(row) async for row in cursor])


def _written(name: str, value: Any) -> Any:
    """Any: of every type."""
    return msgspec.json.encode(value).decode() if name in _JSON and value is not None else value


def _read(row: Sequence[Any]) -> SavedApproval:
    values: dict[str, Any] = {  # Any: of every type
        name: value.astimezone(UTC) if isinstance(value, datetime) else value
        for name, value in zip(_NAMES, row, strict=True)
    }
    return SavedApproval(**values)
