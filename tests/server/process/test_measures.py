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
from support.waiting import in_time


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
