"""Audit chains on real PostgreSQL: whatever is done to a row, the chain tells; an erasure leaves it whole."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from psycopg import AsyncConnection, sql
from psycopg.types.json import Jsonb

from paygrade.billing.audit_chain import (
    ENVIRONMENT,
    ERASE,
    AuditEntry,
    AuditFault,
    AuditFilter,
    AuditHead,
    ChainCheck,
    canonical,
    chained,
    content_hash,
)
from paygrade.postgres.audit import Audit
from paygrade.postgres.store import Store, Transaction
from paygrade.server.operations.audit.note import note
from paygrade.server.process.acting import Acting, Actor, acting_as
from support.databases import migrated_database
from support.fake_provider import T0

RECORDS = 5
ANN = Acting(Actor("person", "ann@beta.example", "Ann"), "10.0.0.7", "req_1")
MEMBER = Acting(Actor("account_token", "acme", "bo"), "192.0.2.9", "req_2")

pytestmark = pytest.mark.anyio


def note_some(tx: Transaction, account: str, who: Acting = ANN, *, number: int = 0) -> None:
    with acting_as(who):
        note(
            tx,
            "override.set",
            account,
            targets=[("override", "exports")],
            changes={"limit": [number, number + 1]},
            personal={"reason": f"asked by {number}"},
            at=T0 + timedelta(minutes=number),
        )


async def fill(store: Store) -> None:
    for number in range(RECORDS):
        async with store.transaction() as tx:
            note_some(tx, "acme", MEMBER if number == 1 else ANN, number=number)
            note_some(tx, ENVIRONMENT, number=number)


async def first_fault(audit: Audit, account: str = "acme", kept: AuditHead | None = None) -> AuditFault | None:
    check = ChainCheck(account, kept)
    found = await audit.chains(account, 0, only=True, limit=100)
    for record in found[0].records if found else ():
        if (fault := check.take(record)) is not None:
            return fault
    return check.end(found[0].head if found else None)


@pytest.fixture(scope="module")
def filled(postgres_url: str) -> Iterator[str]:
    with migrated_database(postgres_url) as url:

        async def make() -> None:
            async with Store(url) as store:
                await fill(store)

        asyncio.run(make())
        yield url


@pytest.fixture
async def connection(filled: str) -> AsyncIterator[AsyncConnection[Any]]:
    """Give a connection whose changes are taken back."""
    async with await AsyncConnection.connect(filled, options="-c timezone=UTC") as opened:
        yield opened
        await opened.rollback()


class Tampering:
    """Does things to a filled database, asks what a verification says then, and takes them back."""

    def __init__(self, url: str, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._connection = runner.run(AsyncConnection.connect(url, options="-c timezone=UTC"))

    def after(self, *statements: tuple[Any, tuple[Any, ...]]) -> AuditFault | None:
        """What is found after these. Any: SQL and its values."""
        return self._runner.run(self._after(statements))

    def one(self, statement: Any, *values: Any) -> Any:
        """The one value that a query has. Any: SQL, and what it makes."""
        return self._runner.run(self._one(statement, values))

    def close(self) -> None:
        self._runner.run(self._connection.close())

    async def _after(self, statements: Any) -> AuditFault | None:
        try:
            for statement, values in statements:
                await self._connection.execute(statement, values)
            return await first_fault(Audit(self._connection))
        finally:
            await self._connection.rollback()

    async def _one(self, statement: Any, values: Any) -> Any:
        row = await (await self._connection.execute(statement, values)).fetchone()
        assert row is not None
        return row[0]


@pytest.fixture(scope="module")
def tampering(filled: str) -> Iterator[Tampering]:
    with asyncio.Runner() as runner:
        made = Tampering(filled, runner)
        yield made
        made.close()


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=70)
NAMES = st.sampled_from(["actor", "id", "a", "b"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "account": TEXTS.map(lambda text: f"other {text}"),
    "number": st.integers(1, 2**63 - 1),
    "version": st.integers(-(2**31), 2**31 - 1),
    "action": TEXTS | st.just(ERASE),
    "occurred_at": st.sampled_from(["infinity", "-infinity", "9999-12-31", "0001-01-01", "2026-01-01 00:00:00.000001"]),
    "request": TEXTS | st.none(),
    "address": TEXTS | st.none(),
    "previous": TEXTS,
    "hash": TEXTS,
    **dict.fromkeys(("targets", "changes", "erasable", "commitments", "salts"), JSON.map(Jsonb)),
    **dict.fromkeys(("actor", "personal"), st.none() | JSON.map(Jsonb)),
}


COLUMNS = "select json_object_agg(column_name, data_type) from information_schema.columns where table_name = 'audit'"


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(column=st.sampled_from(sorted(VALUES)), number=st.integers(1, RECORDS), data=st.data())
def test_any_edit_of_any_column_of_any_row_is_found(
    tampering: Tampering, column: str, number: int, data: st.DataObject
) -> None:
    columns = tampering.one(COLUMNS)
    assert set(columns) == set(VALUES)
    name, kind, value = sql.Identifier(column), sql.SQL(columns[column]), data.draw(VALUES[column])
    where = sql.SQL("from audit where account = 'acme' and number = {}").format(number)
    differs = tampering.one(sql.SQL("select {} is distinct from %s::{} ").format(name, kind) + where, value)
    if differs and not (column == "number" and value <= RECORDS):
        edit = sql.SQL("update audit set {} = %s::{} where account = 'acme' and number = {}")
        assert tampering.after((edit.format(name, kind, number), (value,))) is not None


@pytest.mark.parametrize("number", range(1, RECORDS + 1))
def test_a_record_that_is_missing_is_found_and_named(tampering: Tampering, number: int) -> None:
    fault = tampering.after(("delete from audit where account = 'acme' and number = %s", (number,)))
    assert fault is not None
    assert fault.number == number
    assert "missing" in fault.detail


@given(order=st.permutations(range(1, RECORDS + 1)))
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
def test_records_in_another_order_are_found(tampering: Tampering, order: list[int]) -> None:
    away = "update audit set number = number + 100 where account = 'acme'"
    back = "update audit set number = %s where account = 'acme' and number = %s"
    fault = tampering.after((away, ()), *((back, (new, 100 + old)) for old, new in enumerate(order, start=1)))
    assert (fault is None) == (order == sorted(order))


def test_a_record_that_was_put_in_is_found(tampering: Tampering) -> None:
    columns = "version, action, occurred_at, request, targets, changes, actor, address, personal, erasable, commitments"
    copy = f"""
        insert into audit (account, number, {columns}, salts, previous, hash)
        select account, number + 1, {columns}, salts, hash, hash from audit
        where account = 'acme' and number = {RECORDS}
    """
    assert tampering.after((copy, ())) is not None
    with pytest.raises(psycopg.errors.CheckViolation):
        tampering.after(("update audit set number = 0 where account = 'acme' and number = 1", ()))


@pytest.mark.parametrize("edit", ["number = number - 1", "number = number + 1", "hash = repeat('0', 64)"])
def test_an_edited_head_is_found(tampering: Tampering, edit: str) -> None:
    assert tampering.after((f"update audit_heads set {edit} where account = 'acme'", ())) is not None
    assert tampering.after(("delete from audit_heads where account = 'acme'", ())) is not None


def test_a_chain_of_which_nothing_but_the_head_is_left_is_found(tampering: Tampering) -> None:
    fault = tampering.after(("delete from audit where account = 'acme'", ()))
    assert fault is not None
    assert fault.number == 1


async def test_a_chain_cut_off_with_its_head_is_found_by_a_head_kept_elsewhere(connection: Any) -> None:
    audit = Audit(connection)
    kept = await audit.head("acme")
    assert kept is not None
    assert await first_fault(audit, kept=kept) is None
    await connection.execute("delete from audit where account = 'acme' and number > 3")
    cut = "update audit_heads h set number = 3, hash = a.hash from audit a where (a.account, a.number) = ('acme', 3)"
    await connection.execute(f"{cut} and h.account = 'acme'")
    assert await first_fault(audit) is None, "within the database nothing tells of it"
    fault = await first_fault(audit, kept=kept)
    assert fault is not None
    assert fault.number == 4


async def test_a_chain_written_anew_is_found_by_a_head_kept_elsewhere(connection: Any) -> None:
    audit = Audit(connection)
    kept = await audit.head("acme")
    (chain,) = await audit.chains("acme", 0, only=True, limit=100)
    await connection.execute("delete from audit where account = 'acme'")
    await connection.execute("delete from audit_heads where account = 'acme'")
    fields = AuditEntry.__struct_fields__
    kept_on = [record for record in chain.records if record.number != 2]
    await audit.add([AuditEntry(**{name: getattr(record, name) for name in fields}) for record in kept_on])
    assert await first_fault(audit) is None, "within the database nothing tells of it"
    assert await first_fault(audit, kept=kept) is not None


async def test_a_record_that_was_edited_with_its_hash_is_found_by_the_one_after_it(connection: Any) -> None:
    audit = Audit(connection)
    (chain,) = await audit.chains("acme", 0, only=True, limit=100)
    second = replace(chain.records[1], changes={"limit": [0, 10**6]})
    hash = content_hash(second)
    await connection.execute(
        "update audit set changes = %s, hash = %s where account = 'acme' and number = 2", (Jsonb(second.changes), hash)
    )
    fault = await first_fault(audit)
    assert fault is not None
    assert fault.number == 3


async def test_no_erasure_takes_the_name_of_who_did_it(connection: Any) -> None:
    audit = Audit(connection)
    await erased(audit)
    edit = "update audit set actor = null, salts = salts - 'actor' where account = 'acme' and number = 3"
    await connection.execute(edit)
    fault = await first_fault(audit)
    assert fault is not None
    assert fault.number == 3


async def test_erasing_leaves_the_chain_whole_and_the_staff_named(connection: Any) -> None:
    audit = Audit(connection)
    assert await erased(audit) == RECORDS
    assert await first_fault(audit) is None
    records = await audit.of_account("acme", AuditFilter(), before=None, limit=10)
    assert [record.number for record in records if record.personal is not None] == [RECORDS + 1]
    by_member = next(record for record in records if record.number == 2)
    assert (by_member.actor, by_member.address) == (None, None)
    assert {record.actor["id"] for record in records if record.actor} == {ANN.actor.id}
    assert records[-1].targets == [{"kind": "override", "id": "exports"}]
    assert await first_fault(audit, ENVIRONMENT) is None


async def test_personal_data_that_is_gone_without_an_erasure_is_found(connection: Any) -> None:
    audit = Audit(connection)
    await audit.erase("acme")
    fault = await first_fault(audit)
    assert fault is not None
    assert fault.number == 1
    assert "no later record tells of an erasure" in fault.detail


async def test_what_came_after_an_erasure_needs_another_one(connection: Any) -> None:
    audit = Audit(connection)
    later = await some_entry(audit)
    await erased(audit)
    await audit.add([later])
    assert await first_fault(audit) is None
    await audit.erase("acme")
    fault = await first_fault(audit)
    assert fault is not None
    assert fault.number == RECORDS + 1, "the first of what the second one took"


async def some_entry(audit: Audit, **fields: Any) -> AuditEntry:
    """One like the last record. Any: fields of an entry."""
    (record,) = await audit.of_account("acme", AuditFilter(), before=None, limit=1)
    return AuditEntry(**{**{name: getattr(record, name) for name in AuditEntry.__struct_fields__}, **fields})


async def erased(audit: Audit) -> int:
    """Erase as the operation does: what tells of it is added last."""
    entry = await some_entry(audit, action=ERASE)
    of = await audit.erase("acme")
    await audit.add([entry])
    return of


async def test_transactions_at_the_same_moment_make_one_chain_each(store: Store) -> None:
    async def one(number: int) -> None:
        async with store.transaction() as tx:
            for account in (ENVIRONMENT, "b", "a") if number % 2 else ("a", "b", ENVIRONMENT):
                note_some(tx, account, number=number)

    await asyncio.gather(*(one(number) for number in range(20)))
    async with store.transaction() as tx:
        for account in (ENVIRONMENT, "a", "b"):
            assert await first_fault(tx.audit, account) is None
            head = await tx.audit.head(account)
            assert head is not None
            assert head.number == 20


async def test_what_is_rolled_back_is_not_noted(store: Store) -> None:
    read: list[object] = []
    store.read_own(read.append)
    with suppress(LookupError):
        async with store.transaction() as tx:
            note_some(tx, "acme")
            raise LookupError
    async with store.transaction() as tx:
        assert await tx.audit.chains("", 0, only=False, limit=10) == ()
        note_some(tx, "acme")
    assert len(read) == 1


async def test_chains_are_read_page_by_page_with_their_heads(connection: Any) -> None:
    audit = Audit(connection)
    await connection.execute("insert into audit_heads values ('empty', 3, 'x'), ('~', 1, 'y')")
    seen: dict[str, list[int]] = {}
    place = ("", 0)
    for _ in range(20):
        page = await audit.chains(*place, only=False, limit=3)
        for chain in page:
            seen.setdefault(chain.account, []).extend(record.number for record in chain.records)
            assert chain.head is not None
        records = [record for chain in page for record in chain.records]
        if len(records) < 3:
            break
        place = records[-1].account, records[-1].number
    every = list(range(1, RECORDS + 1))
    assert seen == {"": every, "acme": every, "empty": [], "~": []}


JSON_TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON_TEXTS)
def test_json_is_written_in_one_way_whatever_way_it_is_read(value: Any) -> None:
    written = canonical(value)
    assert canonical(json.loads(json.dumps(value, indent=2))) == written
    assert json.loads(written) == value


def test_a_record_is_bound_to_its_place() -> None:
    entries: list[Any] = []

    class Noting:
        note = staticmethod(entries.append)

    note(Noting(), "key.create", personal={"name": "ci"}, at=T0)  # type: ignore[arg-type]  # all that it asks of one
    first = chained(entries[0], 1, "0" * 64)
    assert first == chained(entries[0], 1, "0" * 64)
    assert len({first.hash, chained(entries[0], 2, "0" * 64).hash, chained(entries[0], 1, first.hash).hash}) == 3
