"""What is measured of the database, on a real server: what waits, for how long, and that the database is there."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from paygrade.postgres.store import Store
from paygrade.server.operations.measures import measure
from paygrade.server.process.metrics import Metrics
from paygrade.server.process.settings import Settings
from paygrade.server.state.snapshots import Snapshots
from support.databases import migrated_database
from support.server_process import Api, serving
from support.waiting import eventually, in_time


@pytest.fixture
def desk(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Api, str]]:
    monkeypatch.setattr("paygrade.server.operations.measures.FRESH_S", 0)
    with migrated_database(postgres_url) as url, serving(Settings(), url) as api:
        yield api, url


def number(api: Api, name: str, **labels: str) -> float | None:
    for line in api.get("/metrics").text.splitlines():
        if line.startswith((f"{name} ", f"{name}{{")) and all(
            f'{key}="{value}"' in line for key, value in labels.items()
        ):
            return float(line.rsplit(" ", 1)[1])
    return None


def test_what_waits_in_the_database_is_measured(desk: tuple[Api, str]) -> None:
    api, url = desk
    assert number(api, "paygrade_database_up") == 1
    assert number(api, "paygrade_dirty_subjects") == number(api, "paygrade_inbox_unhandled") == 0
    assert number(api, "paygrade_dirty_oldest_seconds") == number(api, "paygrade_inbox_lag_seconds") == 0
    assert number(api, "paygrade_notification_queue_usage") == 0
    assert number(api, "paygrade_updates_lag_seconds") == number(api, "paygrade_webhook_endpoints_failing") == 0
    assert number(api, "paygrade_webhooks_waiting_seconds") == number(api, "paygrade_audit_waiting_seconds") == 0
    with psycopg.connect(url) as connection:
        add: Any = (
            "insert into subjects (subject, dirty, synced, marked_at)"
            " values ('stripe:cus_1', 1, 0, now() - interval '90 s')",
            "insert into inbox (subject, event_id, type, received_at, body)"
            " values ('stripe:cus_1', 'evt_1', 'x', now() - interval '80 s', '')",
        )
        for statement in add:
            connection.execute(statement)
    assert number(api, "paygrade_dirty_subjects") == number(api, "paygrade_inbox_unhandled") == 1
    assert 90 <= (number(api, "paygrade_dirty_oldest_seconds") or 0) < 150
    assert 80 <= (number(api, "paygrade_inbox_lag_seconds") or 0) < 150
    assert number(api, "paygrade_snapshot_age_seconds") == 0


ENDPOINT = """
    insert into webhook_endpoints (id, url, description, secrets, state, created_at, position, missed_until,
                                   leased_by, leased_until, failing_since, reason)
    values (%s, '', '', '[]', %s, now(), 0, 0, 1, now() + interval '1 hour', %s, %s)
"""
"""One that somebody has claimed, so that what waits for it goes on waiting."""


def test_what_is_not_sent_yet_is_measured(desk: tuple[Api, str]) -> None:
    api, url = desk
    api.ok("PUT", "/v1/accounts/acme", json={})
    with psycopg.connect(url) as connection:
        eventually(lambda: connection.execute("select from updates where position is null").fetchone() is None)
        connection.execute(ENDPOINT, ("we_1", "enabled", None, None))
        connection.execute("update webhook_endpoints set position = 1")
        connection.execute("update updates set written_at = written_at - interval '70 s' where position = 2")
        connection.commit()
        assert 70 <= (number(api, "paygrade_webhooks_waiting_seconds") or 0) < 130
        connection.execute("update webhook_endpoints set position = (select readable from update_log)")
        due: Any = (
            "insert into webhook_deliveries (account, endpoint, position, update_id, type, state, due_at)"
            " values ('acme', 'we_1', %s, '', '', %s, now() + %s * interval '1 s')"
        )
        connection.execute(due, (1, "waiting", -200))
        connection.execute(due, (2, "dead_letter", 3600))
        connection.commit()
        assert 200 <= (number(api, "paygrade_webhooks_waiting_seconds") or 0) < 260
        # Whoever fails is counted instead, and so is who was switched off for it.
        connection.execute("update webhook_endpoints set failing_since = now()")
        connection.execute(ENDPOINT, ("we_2", "disabled", None, "gone"))
        connection.execute(ENDPOINT, ("we_3", "disabled", None, "operator"))
        connection.execute(
            "insert into audit_streams (stream, seen_at, leased_by, leased_until)"
            " values ('otlp', now(), 1, now() + interval '1 hour'), ('syslog', now(), 1, now() + interval '1 hour')"
        )
        first: Any = "insert into audit_unsent (account, number, stream) values ('acme', 1, 'syslog')"
        connection.execute(first)
        connection.execute("update audit set occurred_at = occurred_at - interval '30 s' where account = 'acme'")
        connection.commit()
    assert number(api, "paygrade_webhooks_waiting_seconds") == 0
    assert number(api, "paygrade_webhook_endpoints_failing") == 2
    assert 30 <= (number(api, "paygrade_audit_waiting_seconds") or 0) < 90


def test_batches_of_uses_are_counted_by_their_size(desk: tuple[Api, str]) -> None:
    api, _ = desk
    api.ok("PUT", "/v1/accounts/acme", json={})
    for each in range(3):
        api.ok("POST", "/v1/consume", json={"account": "acme", "feature": "api_calls", "quantity": 1, "id": f"c{each}"})
    assert number(api, "paygrade_batch_requests_sum") == number(api, "paygrade_batch_requests_count")
    assert (number(api, "paygrade_batch_requests_count") or 0) >= 3
    assert number(api, "paygrade_batch_requests_bucket", le="1.0") == number(api, "paygrade_batch_requests_count")


@pytest.mark.anyio
async def test_whoever_does_not_hear_of_changes_says_since_when(store: Store) -> None:
    snapshots = Snapshots()
    assert snapshots.age_s() > 0
    hearing = asyncio.create_task(snapshots.follow(store))

    async def hears() -> bool:
        return snapshots.age_s() == 0

    await in_time(hears)
    hearing.cancel()
    await asyncio.gather(hearing, return_exceptions=True)
    assert 0 < snapshots.age_s() < 30


@pytest.mark.anyio
async def test_a_database_that_is_away_is_said_to_be_and_not_measured(store: Store, database_url: str) -> None:
    metrics, away = Metrics(), Store(database_url)  # one that nobody has opened
    await measure(away, metrics, datetime.now(UTC))
    text = (await metrics.render_all()).decode()
    assert "paygrade_database_up 0.0" in text
    assert "paygrade_dirty_subjects" not in text
    # Whoever asks again at once causes nothing.
    await measure(store, metrics, datetime.now(UTC))
    assert metrics.database.numbers is None
