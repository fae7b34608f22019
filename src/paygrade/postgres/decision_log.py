"""Rows of the decision log: decisions as they were answered.

Law: a row never changes, but that it is deleted after a while, or by an erasure.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.decisions.outcome import DecisionOutcome, LoggedDecision
from paygrade.postgres import columns

_outcomes = msgspec.json.Decoder(DecisionOutcome)
_properties: msgspec.json.Decoder[dict[str, str | int | bool]] = msgspec.json.Decoder(dict[str, str | int | bool])
_COLUMNS = "id, account, at, feature, quantity, member, node, properties::text, via, outcome::text"


class DecisionRows:
    """Logged decisions within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def add(self, rows: Sequence[LoggedDecision]) -> None:
        await self._connection.execute(
            """
            insert into decision_log (account, id, at, feature, quantity, member, node, properties, via, outcome)
            select account, id, at, feature, quantity, member, node, properties::json, via, outcome::json
            from unnest(%s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::bigint[], %s::text[], %s::text[],
                        %s::text[], %s::text[], %s::text[])
                 k (account, id, at, feature, quantity, member, node, properties, via, outcome)
            on conflict do nothing
            """,
            (
                columns.few([row.account for row in rows]),
                columns.texts([row.id for row in rows]),
                columns.instants([row.at for row in rows]),
                columns.few([row.feature for row in rows]),
                columns.numbers([row.quantity for row in rows]),
                columns.few([row.member for row in rows]),
                columns.few([row.node for row in rows]),
                columns.texts([_text(row.properties) for row in rows]),
                columns.few([row.via for row in rows]),
                columns.texts([_text(row.outcome) for row in rows]),
            ),
        )

    async def page(
        self, account: str, *, feature: str | None, before: str | None, limit: int
    ) -> tuple[LoggedDecision, ...]:
        """The latest first; with `before`, those with a smaller id."""
        of_feature = "and feature = %(feature)s" if feature is not None else ""
        cursor = await self._connection.execute(
            f"""
            select {_COLUMNS} from decision_log
            where account = %(account)s {of_feature} and (%(before)s::text is null or id < %(before)s)
            order by id desc limit %(limit)s
            """,
            {"account": account, "feature": feature, "before": before, "limit": limit},
        )
        return tuple([_logged(row) async for row in cursor])

    async def latest(
        self, *, since: datetime | None = None, before: tuple[datetime, str] | None = None, limit: int
    ) -> tuple[LoggedDecision, ...]:
        """Of all accounts, the latest first: those made after `since`, with `before` those that come after it in this
        order."""
        # Each its own statement: a plan for all of them could not begin in the middle of the index.
        after = "at > %(since)s" if since is not None else "true"
        at, id = before if before is not None else (None, None)
        then = "(at, id) < (%(at)s, %(id)s)" if before is not None else "true"
        cursor = await self._connection.execute(
            f"""
            select {_COLUMNS} from decision_log where {after} and {then}
            order by at desc, id desc limit %(limit)s
            """,
            {"since": since, "at": at, "id": id, "limit": limit},
        )
        return tuple([_logged(row) async for row in cursor])

    async def find(self, account: str, id: str) -> LoggedDecision | None:
        cursor = await self._connection.execute(
            f"select {_COLUMNS} from decision_log where account = %s and id = %s", (account, id)
        )
        row = await cursor.fetchone()
        return _logged(row) if row else None

    async def purge(self, *, until: datetime) -> int:
        """Forget decisions made before an instant; returns how many."""
        cursor = await self._connection.execute("delete from decision_log where at < %s", (until,))
        return cursor.rowcount


def _text(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _logged(row: TupleRow) -> LoggedDecision:
    id, account, at, feature, quantity, member, node, properties, via, outcome = row
    its = _properties.decode(properties) if properties is not None else None
    return LoggedDecision(id, account, at, feature, quantity, member, node, its, via, _outcomes.decode(outcome))
