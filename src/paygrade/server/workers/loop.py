"""Workers: the loops that go on as long as the server runs.

Laws: the subjects table is the only queue, so a worker holds nothing that could be lost; a loop's top logs what
went wrong and goes on; hearing that a subject was marked only saves waiting for the next look.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import structlog

from paygrade.server.operations.accounts.provider_reports import purge_reports
from paygrade.server.operations.accounts.transition import TO_SETTLE_MAX, follow_due_transitions
from paygrade.server.operations.catalog.migrations import finish_migration, migrate_next, unfinished_migrations
from paygrade.server.operations.changes.quotes import purge_quotes
from paygrade.server.operations.sync.inbox import purge_inbox
from paygrade.server.operations.sync.repair import purge_repair
from paygrade.server.operations.usage.alerts import LOOKS_MAX, look_again
from paygrade.server.process.settings import SWEEP_EVERY
from paygrade.server.workers.plan_changes import Changing, advance_change, claim_changes
from paygrade.server.workers.polls import EventSource, poll_events
from paygrade.server.workers.sweeps import Lister, run_sweep, start_sweep_regularly
from paygrade.server.workers.sync import LEASE_S, Provider, claim_subjects, fail_claim, sync_subject
from paygrade.server.workers.top_ups import Charging, buy_top_up, claim_top_ups
from paygrade.server.workers.usage_reports import Metering, claim_reports, mark_reports, report_window
from paygrade.values.errors import Unavailable

if TYPE_CHECKING:
    from paygrade.changes.plan_change import PlanChange
    from paygrade.postgres.store import Store
    from paygrade.postgres.subjects import Claim
    from paygrade.postgres.top_ups import SavedTopUp
    from paygrade.postgres.usage_reports import SavedReport
    from paygrade.server.process.clock import Clock
    from paygrade.server.state.snapshots import Snapshots

log = structlog.get_logger("paygrade.workers")

FETCHES_MAX = 8
"""How many subjects one process reads at a time; the provider's client keeps the pace."""
LOOK_S = 0.25
"""How often to look for retries, expired leases and dates that have come; marks are heard at once."""
PAUSE_S = 1.0
REPORTS_MAX = 4
"""How many windows one process tells of at a time: reads of subjects share the pace, and go first."""
REPORT_EVERY_S = 5.0
TOP_UPS_MAX = 4
"""How many top-ups one process buys at a time."""
TOP_UP_EVERY_S = 0.5
CHANGES_MAX = 4
"""How many plan changes one process carries out at a time."""
CHANGE_EVERY_S = 0.1
SETTLE_EVERY_S = 0.25
MOVES_MAX = 4
"""How many accounts one process moves from one version to another at a time."""
BROKEN_S = 30.0
PURGE_EVERY_S = 3600.0


class Commands(Metering, Charging, Changing, Protocol):
    """Everything that a provider is told to do."""


class Source(Provider, Lister, EventSource, Protocol):
    """Everything that is asked of a provider."""


async def run_workers(
    store: "Store",
    provider: Source | None,
    clock: "Clock",
    *,
    commands: Commands | None = None,
    webhooks: bool = True,
    sweep_every: timedelta | None = SWEEP_EVERY,
) -> None:
    """Run every worker until cancelled. Without a provider only what needs none.

    `commands` None: the provider is only read. `webhooks`: events are expected to come by themselves. `sweep_every`
    None: nothing is repaired unasked.
    """
    async with asyncio.TaskGroup() as workers:
        workers.create_task(purge_regularly(store, clock))
        workers.create_task(settle_when_due(store, clock))
        workers.create_task(migrate_accounts(store, clock))
        if provider is not None:
            workers.create_task(sync_subjects(store, provider, clock))
            workers.create_task(sweep_when_due(store, provider, clock, every=sweep_every))
            if sweep_every is not None:
                workers.create_task(poll_when_due(store, provider, clock, webhooks=webhooks))
        if commands is not None:
            workers.create_task(report_usage(store, commands, clock))
            workers.create_task(buy_top_ups(store, commands, clock))
            workers.create_task(change_plans(store, commands, clock))


async def sync_subjects(
    store: "Store", provider: Provider, clock: "Clock", *, lease_s: float = LEASE_S, fetches_max: int = FETCHES_MAX
) -> None:
    """Read subjects that wait, several at a time, until cancelled."""
    wake = asyncio.Event()
    running: set[asyncio.Task[None]] = set()
    hearing = asyncio.create_task(_hear(store, wake))
    try:
        while True:
            wake.clear()
            for claim in await _claims(store, clock, limit=fetches_max - len(running), lease_s=lease_s):
                task = asyncio.create_task(_sync(store, provider, clock, claim))
                running.add(task)
                task.add_done_callback(_dismiss(running, wake))
            with suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), LOOK_S)
    finally:
        for task in (hearing, *running):
            task.cancel()
        await asyncio.gather(hearing, *running, return_exceptions=True)


async def sweep_when_due(store: "Store", provider: Lister, clock: "Clock", *, every: timedelta | None) -> None:
    """Begin a sweep when it is time and go on with any that is unfinished, until cancelled."""

    async def look() -> None:
        if every is not None:
            await start_sweep_regularly(store, every=every, at=clock.now())
        outcome = await run_sweep(store, provider, clock)
        if outcome != "nothing":
            log.info("swept", outcome=outcome)

    await _repeat(look, pause_s=LOOK_S)


async def poll_when_due(store: "Store", provider: EventSource, clock: "Clock", *, webhooks: bool) -> None:
    """Poll for events that webhooks lost, until cancelled."""

    async def look() -> None:
        outcome = await poll_events(store, provider, clock, webhooks=webhooks)
        if outcome != "nothing":
            log.info("polled", outcome=outcome)

    await _repeat(look, pause_s=PAUSE_S)


async def report_usage(store: "Store", provider: Metering, clock: "Clock") -> None:
    """Tell the provider of usage it does not know yet, until cancelled."""

    async def look() -> None:
        await mark_reports(store, at=clock.now())
        while claims := await claim_reports(store, limit=REPORTS_MAX, at=clock.now()):
            await asyncio.gather(*(_report(store, provider, clock, claim) for claim in claims))

    await _repeat(look, pause_s=REPORT_EVERY_S)


async def buy_top_ups(store: "Store", provider: Charging, clock: "Clock") -> None:
    """Buy the units that were asked for, until cancelled."""

    async def look() -> None:
        while claims := await claim_top_ups(store, limit=TOP_UPS_MAX):
            await asyncio.gather(*(_buy(store, provider, clock, claim) for claim in claims))

    await _repeat(look, pause_s=TOP_UP_EVERY_S)


async def change_plans(store: "Store", provider: Changing, clock: "Clock") -> None:
    """Carry out the plan changes that were asked for, until cancelled."""

    async def look() -> None:
        while claims := await claim_changes(store, limit=CHANGES_MAX, at=clock.now()):
            await asyncio.gather(*(_change(store, provider, clock, claim) for claim in claims))

    await _repeat(look, pause_s=CHANGE_EVERY_S)


async def settle_when_due(store: "Store", clock: "Clock") -> None:
    """Settle accounts whose dates have changed what they buy, until cancelled."""

    async def look() -> None:
        while await follow_due_transitions(store, at=clock.now()) == TO_SETTLE_MAX:
            pass

    await _repeat(look, pause_s=SETTLE_EVERY_S)


async def _change(store: "Store", provider: Changing, clock: "Clock", claim: "PlanChange") -> None:
    try:
        outcome = await advance_change(store, provider, clock, claim)
        log.info("plan_change", account=claim.account, change=claim.id, outcome=outcome)
    except Unavailable as error:
        # The database went away: whoever claims it next looks how far it came.
        log.warning("plan_change_not_saved", account=claim.account, change=claim.id, error=error.detail)
    except Exception:  # the top of a loop: one change must not stop the others
        log.exception("plan_change_broken", account=claim.account, change=claim.id)


async def migrate_accounts(store: "Store", clock: "Clock") -> None:
    """Move the accounts of migrations to their version, or back, until cancelled."""

    async def look() -> None:
        for migration in await unfinished_migrations(store):
            while any(
                await asyncio.gather(*(migrate_next(store, migration, at=clock.now()) for _ in range(MOVES_MAX)))
            ):
                pass
            if await finish_migration(store, migration, at=clock.now()):
                log.info("migrated", migration=migration.id, plan=migration.move.plan, direction=migration.direction)

    await _repeat(look, pause_s=LOOK_S)


async def _buy(store: "Store", provider: Charging, clock: "Clock", claim: "SavedTopUp") -> None:
    try:
        outcome = await buy_top_up(store, provider, clock, claim)
        log.info("top_up", account=claim.account, credit=claim.credit, top_up=claim.id, outcome=outcome)
    except Unavailable as error:
        # The database went away: whoever claims it next looks how far it came.
        log.warning("top_up_not_saved", account=claim.account, top_up=claim.id, error=error.detail)
    except Exception:  # the top of a loop: one top-up must not stop the others
        log.exception("top_up_broken", account=claim.account, top_up=claim.id)


async def _report(store: "Store", provider: Metering, clock: "Clock", claim: "SavedReport") -> None:
    try:
        outcome = await report_window(store, provider, clock, claim)
        log.info("usage_reported", account=claim.account, feature=claim.pool, window=claim.slot, outcome=outcome)
    except Unavailable as error:
        # The database went away: what is pending stays so, and is told again under the same identifier.
        log.warning("usage_not_saved", account=claim.account, feature=claim.pool, error=error.detail)
    except Exception:  # the top of a loop: one window must not stop the others
        log.exception("usage_broken", account=claim.account, feature=claim.pool, window=claim.slot)


async def _repeat(look: Callable[[], Awaitable[None]], *, pause_s: float) -> None:
    while True:
        try:
            await look()
        except Unavailable as error:
            log.warning("background_look_interrupted", error=error.detail)
            await asyncio.sleep(PAUSE_S)
        except Exception:  # the top of a loop: what is broken is logged, and tried again without haste
            log.exception("background_look_broken")
            await asyncio.sleep(BROKEN_S)
        await asyncio.sleep(pause_s)


async def purge_regularly(store: "Store", clock: "Clock") -> None:
    """Keep what is kept for a while only from growing without end, until cancelled."""
    while True:
        try:
            await purge_inbox(store, at=clock.now())
            await purge_repair(store, at=clock.now())
            await purge_quotes(store, at=clock.now())
            await purge_reports(store, at=clock.now())
        except Unavailable as error:
            log.warning("purge_failed", error=error.detail)
        await asyncio.sleep(PURGE_EVERY_S)


async def look_regularly(store: "Store", snapshots: "Snapshots", clock: "Clock") -> None:
    """Resolve alerts that have ended by themselves, until cancelled."""

    async def look() -> None:
        while await look_again(store, snapshots, clock.now()) == LOOKS_MAX:
            pass

    await _repeat(look, pause_s=PAUSE_S)


async def _claims(store: "Store", clock: "Clock", *, limit: int, lease_s: float) -> tuple["Claim", ...]:
    if limit == 0:
        return ()
    try:
        return await claim_subjects(store, limit=limit, lease_s=lease_s, at=clock.now())
    except Unavailable as error:
        log.warning("claim_failed", error=error.detail)
        await asyncio.sleep(PAUSE_S)
        return ()


async def _sync(store: "Store", provider: Provider, clock: "Clock", claim: "Claim") -> None:
    try:
        outcome = await sync_subject(store, provider, clock, claim)
        log.info("subject_read", subject=claim.subject, outcome=outcome, events=len(claim.events))
    except Unavailable as error:
        # The database went away: the lease runs out and the subject, still dirty, is claimed again.
        log.warning("subject_not_saved", subject=claim.subject, error=error.detail)
    except Exception as error:  # the top of a loop: one subject must not stop the others
        log.exception("subject_broken", subject=claim.subject)
        with suppress(Unavailable):
            await fail_claim(store, claim, error)


async def _hear(store: "Store", wake: asyncio.Event) -> None:
    def hear(channel: str, _: str) -> None:
        if channel == "paygrade_subject":
            wake.set()

    while True:
        with suppress(Unavailable):
            await store.listen(ready=wake.set, hear=hear)
        await asyncio.sleep(PAUSE_S)


def _dismiss(running: set[asyncio.Task[None]], wake: asyncio.Event) -> Callable[[asyncio.Task[None]], None]:
    """When a reading is done there is room for another, perhaps of the same subject."""

    def dismiss(task: asyncio.Task[None]) -> None:
        running.discard(task)
        wake.set()

    return dismiss
