"""Columns are read by PostgreSQL as they were written."""

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paygrade.postgres import columns

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
odd_texts = st.sampled_from(["", "NULL", "null", "{}", ",", '"', "\\", '\\"', "{a,b}", " a ", "\n", "é☃", "'"])
instants = st.datetimes(timezones=st.just(UTC))
on_one_connection = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(scope="module")
def connection(postgres_url: str) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """Give a connection whose instants are in UTC."""
    with psycopg.connect(postgres_url, options="-c timezone=UTC") as opened:
        yield opened


def read(connection: "psycopg.Connection[tuple[object, ...]]", column: str, kind: str) -> object:
    row = connection.execute(f"select %s::{kind}[]".encode(), (column,)).fetchone()
    return row and row[0]


@on_one_connection
@given(values=st.lists(st.none() | odd_texts | texts))
def test_any_texts_are_read_as_written(
    connection: "psycopg.Connection[tuple[object, ...]]", values: list[str | None]
) -> None:
    assert read(connection, columns.texts(values), "text") == values
    assert read(connection, columns.few(values), "text") == values


@on_one_connection
@given(values=st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_any_numbers_are_read_as_written(
    connection: "psycopg.Connection[tuple[object, ...]]", values: list[int]
) -> None:
    assert read(connection, columns.numbers(values), "bigint") == values


@on_one_connection
@given(values=st.lists(st.none() | instants))
def test_any_instants_are_read_as_written(
    connection: "psycopg.Connection[tuple[object, ...]]", values: list[datetime | None]
) -> None:
    assert read(connection, columns.instants(values), "timestamptz") == values
