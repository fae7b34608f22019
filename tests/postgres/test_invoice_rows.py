"""Whose invoices there are, page by page, on real PostgreSQL."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from paygrade.postgres.invoices import BILLED
from paygrade.postgres.store import Store

READ, STATED = range(0, 3000, 2), range(0, 3000, 3)
"""The accounts whose invoices a provider tells, and those whose invoices are stated; a sixth has both."""


@pytest.fixture
def filled(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        many = connection.cursor()
        many.executemany(
            "insert into subjects (subject, account) values (%s, %s)",
            [(f"stripe:cus_{number:04}", f"a{number:04}") for number in range(3000)],
        )
        subjects = [*(f"stripe:cus_{number:04}" for number in READ), *(f"account:a{number:04}" for number in STATED)]
        many.executemany(
            "insert into invoice_facts values (%s, %s, 1, now(), now(), '{}')",
            [(subject, invoice) for subject in subjects for invoice in ("in_1", "in_2")],
        )
        connection.execute("analyze")
        yield connection


@pytest.mark.anyio
async def test_all_who_were_billed_are_there_once_in_their_order(store: Store, filled: psycopg.Connection) -> None:
    found, after = list[str](), ""
    async with store.transaction() as tx:
        while page := await tx.invoices.accounts(after=after, limit=700):
            found += page
            after = page[-1]
    assert found == [f"a{number:04}" for number in range(3000) if number in READ or number in STATED]


@pytest.mark.parametrize("after", ["", "a1500", "a2990"])
def test_a_page_of_them_reads_no_more_than_itself(filled: psycopg.Connection, after: str) -> None:
    explained = f"explain (analyze, timing off, format json) {BILLED}"
    ((said,),) = filled.execute(explained, {"after": after, "limit": 10}).fetchall()
    assert rows_read(said[0]["Plan"]) < 200


def rows_read(node: dict[str, Any]) -> int:
    """How many rows came out of the tables and indexes below. Any: a plan, as PostgreSQL says it."""
    own = node["Actual Rows"] * node["Actual Loops"] if "Relation Name" in node else 0
    return int(own) + sum(map(rows_read, node.get("Plans", ())))
