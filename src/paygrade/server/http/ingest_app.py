"""The application of a process that takes usage events from a stream: it answers for itself alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from litestar import Litestar
from litestar.di import Provide
from litestar.types import ASGIApp, Scope

from paygrade.server.http.announcements import announce_record, announcer
from paygrade.server.http.context import Vitals, context_of
from paygrade.server.http.lifespan import Application, Work, beside, missing
from paygrade.server.http.problems import HANDLERS
from paygrade.server.http.routes import health
from paygrade.server.process.clock import Clock
from paygrade.server.process.metrics import Metrics
from paygrade.server.state.snapshots import Snapshots

if TYPE_CHECKING:
    from paygrade.postgres.store import Store


def create_ingest_app(
    *,
    store: "Store",
    clock: Clock,
    snapshots: Snapshots,
    metrics: Metrics,
    schema_pending: Callable[[], Awaitable[Sequence[str]]],
    lacking: Callable[[], tuple[str, ...]],
    take: Work,
) -> ASGIApp:
    """`/healthz`, `/readyz` and `/metrics` of the process, while `take` takes events. `lacking`: what keeps it from
    that now, in words."""
    store.hear_own(announcer(metrics))
    store.read_own(announce_record)
    metrics.snapshot_age.set_function(snapshots.age_s)
    tasks: dict[str, asyncio.Task[None]] = {}

    async def ready() -> tuple[str, ...]:
        return (*lacking(), *await missing(clock, schema_pending, tasks))

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        works = (("clock", clock.follow), ("snapshots", lambda: snapshots.follow(store)), ("ingest", take))
        async with store, beside(tasks, works):
            yield

    return Application(Vitals(store, clock, metrics, ready), running, _routes())


def _routes() -> Litestar:
    return Litestar(
        route_handlers=[health.healthz, health.readyz, health.metrics],
        dependencies={"context": Provide(_context, sync_to_thread=False)},
        exception_handlers=HANDLERS,
        openapi_config=None,
        logging_config=None,
    )


def _context(scope: Scope) -> Vitals:
    return context_of(scope)
