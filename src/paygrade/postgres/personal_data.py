"""Everything that is stored of one account, table by table: to be exported whole, and to have erased what is personal.

Law: a table that holds anything of an account is in `SECTIONS`, so that whoever adds one says how it is read and what
an erasure takes from it (`tests/server/operations/test_personal_data.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from paygrade.billing.facts import Fact


class Section(NamedTuple):
    """A table. `key`: the columns, with their types, that tell its rows of one account apart, in their order. `of`
    subject: its rows are those of the account's subjects. `erased`: what an erasure does to it."""

    key: tuple[tuple[str, str], ...]
    erased: str
    of: str = "account"


SECTIONS: dict[str, Section] = {
    "accounts": Section((("account", "text"),), "folded again from the erased facts"),
    "facts": Section((("number", "bigint"),), "names, traits and reasons go; members get other keys"),
    "nodes": Section((("path", "text"),), "folded again from the erased facts"),
    "links": Section((("subject", "text"),), "stays: which customers are the account's"),
    "subscriptions": Section((("id", "text"),), "stays: ids, prices and dates"),
    "subjects": Section((("subject", "text"),), "stays: when which customer was read", "subject"),
    "inbox": Section((("subject", "text"), ("event_id", "text")), "the contents of billing events go", "subject"),
    "drift": Section((("subject", "text"), ("id", "bigint")), "differing names go", "subject"),
    "sightings": Section((("subject", "text"), ("subscription", "text")), "stays: ids", "subject"),
    "invoice_readings": Section((("subject", "text"),), "stays: when whose invoices were read", "subject"),
    "invoice_facts": Section(
        (("subject", "text"), ("invoice", "text"), ("sequence", "bigint")), "stays: ids, amounts and dates", "subject"
    ),
    "ledger": Section((("id", "text"),), "members get other keys; personal properties go"),
    "balances": Section((("pool", "text"), ("slot", "text")), "members get other keys"),
    "grants": Section((("pool", "text"), ("id", "text")), "reasons go"),
    "reservations": Section((("id", "text"),), "members get other keys; personal properties go"),
    "seen_values": Section(
        (("pool", "text"), ("slot", "text"), ("value", "text")), "values become hashes with a salt nobody keeps"
    ),
    "alerts": Section((("pool", "text"), ("slot", "text"), ("percent", "int")), "members get other keys"),
    "reports": Section((("pool", "text"), ("slot", "text")), "stays: what the provider was told of usage"),
    "top_ups": Section((("id", "text"),), "stays: what was bought"),
    "decision_log": Section((("id", "text"),), "deleted"),
    "quotes": Section((("id", "text"),), "deleted"),
    "plan_changes": Section((("id", "text"),), "members get other keys; notes go"),
    "plan_change_steps": Section((("change", "text"), ("number", "int")), "members get other keys"),
    "checkouts": Section((("id", "text"),), "addresses and orders go; what was bought stays"),
    "portal_sessions": Section((("id", "text"),), "deleted"),
    "plan_migration_accounts": Section((("migration", "bigint"),), "reasons go"),
    "approvals": Section((("id", "text"),), "what was asked for and previewed goes, reasons too; it waits no more"),
    "updates": Section((("id", "text"),), "members get other keys; reasons go"),
    "update_sequences": Section((("account", "text"),), "stays: how many updates there were"),
    "announced": Section((("account", "text"),), "begins anew"),
    "webhook_deliveries": Section((("endpoint", "text"), ("position", "bigint")), "what receivers answered goes"),
    "audit": Section((("number", "bigint"),), "sealed fields of the account go; what was done stays"),
    "audit_heads": Section((("account", "text"),), "stays"),
    "audit_unsent": Section((("number", "bigint"), ("stream", "text")), "stays: numbers of records to be sent"),
}
"""By table, in the order they are exported."""
_MINE = sql.SQL("account = %(account)s")
_SUBJECTS = sql.SQL("""subject in (select subject from subjects where account = %(account)s
                                   union select subject from links where account = %(account)s
                                   union select 'account:' || %(account)s)""")


class PersonalData(NamedTuple):
    """One account's rows in all tables, within one transaction."""

    connection: AsyncConnection[TupleRow]
    account: str

    async def page(self, table: str, *, after: Sequence[Any] | None, limit: int) -> list[tuple[str, list[Any]]]:
        """Rows of a table as JSON with their keys, after this key. Any: what keys consist of."""
        section = SECTIONS[table]
        columns = [sql.Identifier(name) for name, _ in section.key]
        place: sql.Composable = sql.SQL("true")
        if after is not None:
            typed = [sql.SQL(f"%(k{n})s::{kind}") for n, (_, kind) in enumerate(section.key)]
            place = sql.SQL("({}) > ({})").format(sql.SQL(", ").join(columns), sql.SQL(", ").join(typed))
        query = sql.SQL("select row_to_json(t)::text, json_build_array({keys}) from {table} t where {mine} and {place} "
                        "order by {order} limit %(limit)s").format(
            keys=sql.SQL(", ").join(columns), table=sql.Identifier(table), mine=self._mine(section), place=place,
            order=sql.SQL(", ").join(columns),
        )  # fmt: skip
        values = {f"k{n}": value for n, value in enumerate(after or ())}
        cursor = await self.connection.execute(query, {**values, "account": self.account, "limit": limit})
        return [(row, key) async for row, key in cursor]

    async def members(self) -> set[str]:
        """Every key of a member that stands anywhere."""
        cursor = await self.connection.execute(
            """
            select substr(subject, 8) from facts where account = %(account)s and subject like 'member:%%'
            union select member from ledger where account = %(account)s and member is not null
            union select member from reservations where account = %(account)s and member is not null
            union select split_part(slot, ' member:', 2) from balances
                  where account = %(account)s and slot like '%% member:%%'
            """,
            {"account": self.account},
        )
        return {member async for (member,) in cursor}

    @staticmethod
    def sections() -> dict[str, tuple[str, ...]]:
        """The tables in their order, and the types of their keys."""
        return {name: tuple(kind for _, kind in section.key) for name, section in SECTIONS.items()}

    async def lock_subjects(self) -> None:
        """Hold the account's customers: their readings come before or after."""
        query = sql.SQL("select 1 from subjects where ") + _SUBJECTS + sql.SQL(" order by subject for update")
        await self.connection.execute(query, {"account": self.account})

    async def lock_balances(self) -> None:
        """Hold what counts, in the order in which everybody else does."""
        for table, order in (("balances", "pool, slot"), ("grants", "pool, id"), ("reservations", "id")):
            await self.connection.execute(
                f"select 1 from {table} where account = %s order by {order} for update", (self.account,)
            )

    async def rewrite_facts(self, facts: Sequence[Fact]) -> None:
        """Put these in the place of the facts with their numbers: only an erasure does that (ADR 25)."""
        async with self.connection.cursor() as cursor:
            await cursor.executemany(
                "update facts set subject = %s, body = %s where account = %s and number = %s",
                [
                    (fact.subject, msgspec.json.encode(fact.body).decode(), self.account, fact.number)
                    for fact in facts
                ],
            )  # fmt: skip

    async def rename_members(self, names: Mapping[str, str]) -> None:
        """Have these members stand under other keys in the ledger and in what counts."""
        for member, name in names.items():
            values = {"account": self.account, "member": member, "name": name, **_texts(member, name)}
            await self.connection.execute(
                """
                update ledger set member = %(name)s,
                    draws = replace(draws::text, %(slot)s, %(new_slot)s)::json,
                    answer = replace(answer::text, %(field)s, %(new_field)s)::json
                where account = %(account)s and member = %(member)s
                """,
                values,
            )
            await self.connection.execute(
                "update reservations set member = %(name)s where account = %(account)s and member = %(member)s", values
            )
            for table in ("balances", "alerts", "seen_values"):
                await self.connection.execute(
                    f"""
                    update {table} set slot = left(slot, length(slot) - length(%(member)s)) || %(name)s
                    where account = %(account)s and slot like '%% member:%%'
                      and split_part(slot, ' member:', 2) = %(member)s
                    """,
                    values,
                )

    async def json_of(self, table: str, columns: Sequence[str]) -> list[tuple[list[Any], list[Any]]]:
        """These JSON columns of each row, with its key. Any: JSON."""
        section = SECTIONS[table]
        query = sql.SQL("select json_build_array({keys}), json_build_array({columns})::text from {table} where {mine}")
        cursor = await self.connection.execute(
            query.format(
                keys=sql.SQL(", ").join(sql.Identifier(name) for name, _ in section.key),
                columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
                table=sql.Identifier(table),
                mine=self._mine(section),
            ),
            {"account": self.account},
        )
        return [(key, msgspec.json.decode(text)) async for key, text in cursor]

    async def put_json(self, table: str, columns: Sequence[str], rows: Sequence[tuple[list[Any], list[Any]]]) -> None:
        """Put other JSON into them. Any: JSON."""
        section = SECTIONS[table]
        query = sql.SQL("update {table} set {set} where account = %s and {key}").format(
            table=sql.Identifier(table),
            set=sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in columns),
            key=sql.SQL(" and ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name, _ in section.key),
        )
        async with self.connection.cursor() as cursor:
            await cursor.executemany(
                query,
                [
                    (
                        *(None if its is None else msgspec.json.encode(its).decode() for its in values),
                        self.account,
                        *key,
                    )
                    for key, values in rows
                ],
            )

    async def erase_texts(self, names: Mapping[str, str], properties: Sequence[str], salt: bytes) -> None:
        """Erase what stands in columns of its own: properties of usage, reasons, bodies of events, differing names."""
        values = {"account": self.account, "properties": list(properties), "salt": salt}
        for statement in (
            """
            update ledger set properties = (properties::jsonb - %(properties)s::text[])::json
            where account = %(account)s and properties is not null and properties::jsonb ?| %(properties)s::text[]
            """,
            "update grants set reason = '' where account = %(account)s and reason <> ''",
            """
            update seen_values set value = encode(sha256(%(salt)s || convert_to(value, 'UTF8')), 'hex')
            where account = %(account)s
            """,
            """
            update approvals set body = '', headers = '{}', query = '', preview = null, reason = '',
                asked_by = (asked_by::jsonb - 'name' || '{"name": ""}')::json,
                state = case state when 'waiting' then 'withdrawn' else state end
            where account = %(account)s
            """,
            "delete from quotes where account = %(account)s",
            "delete from decision_log where account = %(account)s",
            "delete from portal_sessions where account = %(account)s",
            "update checkouts set ordered = null, url = null where account = %(account)s",
            "update announced set overview = null where account = %(account)s",
            "update webhook_deliveries set answer = '' where account = %(account)s and answer <> ''",
            """
            update plan_migration_accounts set before = (before::jsonb - 'reason')::json
            where account = %(account)s and before is not null
            """,
        ):
            await self.connection.execute(statement, values)
        for query in ("update inbox set body = '{}' where ",
                      "update drift set stored = null, provider = null where field = 'name' and "):  # fmt: skip
            await self.connection.execute(sql.SQL(query) + _SUBJECTS, values)
        for member, name in names.items():
            await self.connection.execute(
                "update plan_change_steps set detail = replace(detail, %s, %s) where account = %s and step = 'seat'",
                (f"`{member}`", f"`{name}`", self.account),
            )

    def _mine(self, section: Section) -> sql.Composable:
        return _MINE if section.of == "account" else _SUBJECTS


def _texts(member: str, name: str) -> dict[str, str]:
    """How a member's key ends the name of a slot in JSON, and stands in a field of its own."""
    key, new = (msgspec.json.encode(each).decode()[1:] for each in (member, name))
    return {
        "slot": f" member:{key}",
        "new_slot": f" member:{new}",
        "field": f'"member":"{key}',
        "new_field": f'"member":"{new}',
    }
