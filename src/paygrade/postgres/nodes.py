"""Rows of nodes: the latest word on each place below an account.

Law: they can be dropped and folded anew from the account's facts.
"""

from collections.abc import Iterable, Sequence

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.billing.facts import Node
from paygrade.billing.nodes import StatedNode
from paygrade.postgres import columns

_node = msgspec.json.Decoder(Node)


class Nodes:
    """Nodes within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def find(self, paths: Iterable[tuple[str, str]]) -> dict[str, dict[str, StatedNode]]:
        """By account and path, those of these (account, path) that were ever stated."""
        cursor = await self._connection.execute(
            """
            select n.account, n.path, n.sequence, n.number, n.body::text from nodes n
            join unnest(%s::text[], %s::text[]) k (account, path) on n.account = k.account and n.path = k.path
            """,
            columns.keys(sorted(set(paths)), 2),
        )
        found: dict[str, dict[str, StatedNode]] = {}
        for account, path, sequence, number, body in await cursor.fetchall():
            found.setdefault(account, {})[path] = StatedNode(sequence, number, _node.decode(body))
        return found

    async def page(self, account: str, *, below: str | None, after: str, limit: int) -> list[StatedNode]:
        """Those that were not removed, by path, of all or below one, after this path."""
        cursor = await self._connection.execute(
            """
            select sequence, number, body::text from nodes
            where account = %(account)s and path > %(after)s and not removed
              and (%(below)s::text is null or path >= %(below)s || '/' and path < %(below)s || '0')
            order by path limit %(limit)s
            """,
            {"account": account, "after": after, "below": below, "limit": limit},
        )
        return [StatedNode(sequence, number, _node.decode(body)) async for sequence, number, body in cursor]

    async def put(self, account: str, stated: Sequence[StatedNode]) -> None:
        """Let the latest word on these be so, unless a later one is known. The account is locked."""
        await self._connection.execute(
            """
            insert into nodes as n (account, path, sequence, number, body, removed)
            select %s, p, s, m, b::json, r
            from unnest(%s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::boolean[]) k (p, s, m, b, r)
            on conflict (account, path) do update
            set sequence = excluded.sequence, number = excluded.number, body = excluded.body, removed = excluded.removed
            where (n.sequence, n.number) < (excluded.sequence, excluded.number)
            """,
            (
                account,
                columns.texts([one.node.path for one in stated]),
                columns.numbers([one.sequence for one in stated]),
                columns.numbers([one.number for one in stated]),
                columns.texts([msgspec.json.encode(one.node).decode() for one in stated]),
                columns.texts([str(one.node.removed) for one in stated]),
            ),
        )

    async def kept(self, account: str) -> dict[str, StatedNode]:
        """All of an account's, by path."""
        cursor = await self._connection.execute(
            "select path, sequence, number, body::text from nodes where account = %s order by path", (account,)
        )
        return {path: StatedNode(seq, number, _node.decode(body)) async for path, seq, number, body in cursor}

    async def restore(self, account: str, stated: Sequence[StatedNode]) -> None:
        """Put back what is folded from the facts."""
        await self._connection.execute("delete from nodes where account = %s", (account,))
        if stated:
            await self.put(account, stated)
