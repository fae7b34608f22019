"""Workers: the loops that go on as long as the server runs.

Law: hearing that a subject was marked only saves waiting for the next look; nothing rests on being told.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog

from paygrade.providers.port import Commands, EventSource, Lister, Provider, Shop, Source
from paygrade.server.operations.accounts.portal_sessions import purge_portal_sessions
from paygrade.server.operations.accounts.provider_reports import purge_reports
from paygrade.server.operations.accounts.transition import TO_SETTLE_MAX, follow_due_transitions
from paygrade.server.operations.catalog.migrations import finish_migrations, migrate_account
from paygrade.server.operations.changes.checkouts import purge_checkouts
from paygrade.server.operations.changes.quotes import purge_quotes
from paygrade.server.operations.decision_log import purge_decisions
from paygrade.server.operations.idempotency import purge_idempotency_keys
from paygrade.server.operations.sync.inbox import purge_inbox
from paygrade.server.operations.sync.repair import purge_repair
from paygrade.server.operations.update_log import give_places, purge_updates
from paygrade.server.operations.updates.announce import announce_dates
from paygrade.server.operations.updates.ends import (
    announce_ended_windows,
    announce_expired_grants,
    announce_expiring_keys,
)
from paygrade.server.operations.usage.alerts import LOOKS_MAX, look_again
from paygrade.server.process.settings import DECISIONS_DAYS, SWEEP_EVERY, UPDATES_DAYS
from paygrade.server.workers.catalog_checks import check_catalog, checks_of
from paygrade.server.workers.claims import PAUSE_S, Note, Queue, nobody, repeat, work
from paygrade.server.workers.invoices import INVOICES, read_invoices
from paygrade.server.workers.looks import Looks
from paygrade.server.workers.plan_changes import CHANGES, advance_change
from paygrade.server.workers.polls import poll_events, polls_of
from paygrade.server.workers.rereads import REREADS, mark_for_reading
from paygrade.server.workers.sweeps import run_sweep, start_sweep_regularly, sweeps_of
from paygrade.server.workers.sync import SUBJECTS, sync_subject
from paygrade.server.workers.top_ups import TOP_UPS, buy_top_up
from paygrade.server.workers.usage_reports import REPORTS, mark_reports, report_window
from paygrade.values.errors import Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.announced import ClaimedAnnouncement
    from paygrade.postgres.store import Store
    from paygrade.postgres.version_migrations import SavedMove
    from paygrade.server.process.clock import Clock
    from paygrade.server.state.snapshots import Snapshots

log = structlog.get_logger("paygrade.workers")

FETCHES_MAX = 8
"""How many subjects one process reads at a time; the provider's client keeps the pace."""
AT_ONCE = 4
"""How many of anything else it works on at a time: reads of subjects share the pace, and go first."""
INVOICES_AT_ONCE = 2
"""Nobody's access waits for invoices. So they are looked for rarely, too: what happens to a customer often comes in
several events, each of which has them read, and those of a second share one reading."""
DATES_AT_ONCE = 2
"""Each takes along whatever else has come by then."""
LOOK_RARELY_S = 1.0
MARK_REPORTS_S = 5.0
FIRST_PURGE_S, PURGE_S = 60.0, 3600.0
"""Not at once: a server that starts has more urgent things to do."""
UPDATES_KEPT, DECISIONS_KEPT = timedelta(days=UPDATES_DAYS), timedelta(days=DECISIONS_DAYS)

MOVES: "Queue[SavedMove]" = Queue(
    "account_migrated", lambda tx: tx.plan_migrations, ("account", "migration"), 30.0, quiet=True
)
"""Accounts that are to be moved from one version to another, or back."""

DATES: "Queue[ClaimedAnnouncement]" = Queue(
    "dates_announced", lambda tx: tx.announcements, ("account",), 30.0, quiet=True
)
"""Accounts of which a date has come that changes something."""


async def run_workers(
    store: "Store",
    provider: Source | None,
    clock: "Clock",
    looks: Looks,
    *,
    commands: Commands | None = None,
    shop: Shop | None = None,
    webhooks: bool = True,
    sweep_every: timedelta | None = SWEEP_EVERY,
    updates_kept: timedelta = UPDATES_KEPT,
    decisions_kept: timedelta = DECISIONS_KEPT,
    note: Note = nobody,
) -> None:
    """Run every worker until cancelled. Without a provider only what needs none.

    `commands` None: the provider is only read. `shop` None: what it sells is not compared. `webhooks`: events are
    expected to come by themselves. `sweep_every` None: nothing is repaired or compared unasked. `updates_kept`: for how
    long state updates can be read; `decisions_kept`: logged decisions. `note` is told what came of each piece of work.
    """
    async with asyncio.TaskGroup() as workers:
        purge = partial(_purge, store, clock, updates_kept, decisions_kept)
        workers.create_task(repeat(purge, look_s=PURGE_S, first_s=FIRST_PURGE_S))
        workers.create_task(order_updates(store, looks))
        workers.create_task(follow_dates(store, clock, looks, note=note))
        workers.create_task(follow_ends(store, clock, looks))
        workers.create_task(follow_transitions(store, clock, looks))
        workers.create_task(migrate_accounts(store, clock, looks, note=note))
        if provider is not None:
            workers.create_task(sync_subjects(store, provider, clock, looks, note=note))
            read = partial(read_invoices, store, provider, clock)
            workers.create_task(
                work(store, clock, INVOICES, read, at_once=INVOICES_AT_ONCE, look_s=LOOK_RARELY_S, note=note)
            )
            workers.create_task(looks.work(REREADS, partial(mark_for_reading, store, clock), note=note))
            workers.create_task(sweep(store, provider, clock, looks, every=sweep_every, note=note))
            if sweep_every is not None:
                workers.create_task(poll(store, provider, clock, webhooks=webhooks, note=note))
        if shop is not None and sweep_every is not None:
            compare = partial(check_catalog, store, shop, clock)
            workers.create_task(work(store, clock, checks_of(shop.name), compare, look_s=LOOK_RARELY_S, note=note))
        if commands is not None:
            mark = partial(_mark_reports, store, commands.name, clock)
            report, buy, change = (
                partial(do, store, commands, clock) for do in (report_window, buy_top_up, advance_change)
            )
            workers.create_task(repeat(mark, look_s=MARK_REPORTS_S))
            workers.create_task(looks.work(REPORTS, report, at_once=AT_ONCE, note=note))
            workers.create_task(looks.work(TOP_UPS, buy, at_once=AT_ONCE, note=note))
            workers.create_task(looks.work(CHANGES, change, at_once=AT_ONCE, note=note))


async def sync_subjects(
    store: "Store", provider: Provider, clock: "Clock", looks: Looks, *, note: Note = nobody
) -> None:
    """Read subjects that wait, until cancelled."""
    wake = asyncio.Event()
    do = partial(sync_subject, store, provider, clock)
    async with asyncio.TaskGroup() as both:
        both.create_task(_hear(store, "paygrade_subject", wake))
        both.create_task(looks.work(SUBJECTS, do, at_once=FETCHES_MAX, wake=wake, note=note))


async def sweep(
    store: "Store",
    provider: Lister,
    clock: "Clock",
    looks: Looks,
    *,
    every: timedelta | None,
    note: Note = nobody,
) -> None:
    """Begin a sweep when it is time, and go on with any that is unfinished, until cancelled."""
    async with asyncio.TaskGroup() as both:
        if every is not None:
            begin = partial(_begin_sweep, store, provider.name, clock, every)
            both.create_task(repeat(begin, look_s=LOOK_RARELY_S))
        both.create_task(looks.work(sweeps_of(provider.name), partial(run_sweep, store, provider, clock), note=note))


async def poll(store: "Store", provider: EventSource, clock: "Clock", *, webhooks: bool, note: Note = nobody) -> None:
    """Poll for events that webhooks lost, until cancelled."""
    do = partial(poll_events, store, provider, clock, webhooks=webhooks)
    await work(store, clock, polls_of(provider.name), do, look_s=LOOK_RARELY_S, note=note)


async def migrate_accounts(store: "Store", clock: "Clock", looks: Looks, *, note: Note = nobody) -> None:
    """Move the accounts of migrations to their version, or back, until cancelled."""

    async def move(claimed: "SavedMove") -> str:
        return await migrate_account(store, claimed, at=clock.now())

    async def finish() -> None:
        for migration in await finish_migrations(store, at=clock.now()):
            log.info("migrated", migration=migration.id, plan=migration.move.plan, direction=migration.direction)

    async with asyncio.TaskGroup() as both:
        both.create_task(looks.work(MOVES, move, at_once=AT_ONCE, note=note))
        both.create_task(looks.repeat("migrations", lambda tx: tx.plan_migrations.waits(), finish))


async def look_regularly(store: "Store", snapshots: "Snapshots", clock: "Clock") -> None:
    """Resolve alerts that have ended by themselves, until cancelled."""
    await clock.first()

    async def look() -> None:
        while await look_again(store, snapshots, clock.now()) == LOOKS_MAX:
            pass

    await repeat(look, look_s=LOOK_RARELY_S)


async def follow_dates(store: "Store", clock: "Clock", looks: Looks, *, note: Note = nobody) -> None:
    """Announce what dates bring about, until cancelled."""

    async def announce(claimed: "ClaimedAnnouncement") -> str:
        return await announce_dates(store, claimed, at=clock.now())

    await looks.work(DATES, announce, at_once=DATES_AT_ONCE, note=note)


async def follow_ends(store: "Store", clock: "Clock", looks: Looks) -> None:
    """Announce what ends by itself, until cancelled."""
    await looks.repeat("ends", lambda tx: tx.announced_ends.waits(), partial(announce_ends, store, clock))


async def follow_transitions(store: "Store", clock: "Clock", looks: Looks) -> None:
    """Follow accounts whose dates have changed what they buy, until cancelled."""

    async def follow() -> None:
        while await follow_due_transitions(store, at=clock.now()) == TO_SETTLE_MAX:
            pass

    await looks.repeat("transitions", lambda tx: tx.plan_changes.settling_waits(), follow)


async def announce_ends(store: "Store", clock: "Clock") -> None:
    """Announce what has ended by itself by now."""
    await announce_ended_windows(store, at=clock.now())
    await announce_expired_grants(store, at=clock.now())
    await announce_expiring_keys(store, at=clock.now())


async def order_updates(store: "Store", looks: Looks) -> None:
    """Give state updates their places as soon as they are saved, until cancelled."""
    wake = asyncio.Event()
    async with asyncio.TaskGroup() as both:
        both.create_task(_hear(store, "paygrade_update", wake))
        both.create_task(looks.repeat("updates", lambda tx: tx.updates.waits(), partial(give_places, store), wake=wake))


async def _begin_sweep(store: "Store", provider: str, clock: "Clock", every: timedelta) -> None:
    await start_sweep_regularly(store, provider, every=every, at=clock.now())


async def _mark_reports(store: "Store", provider: str, clock: "Clock") -> None:
    await mark_reports(store, provider, at=clock.now())


async def _purge(store: "Store", clock: "Clock", updates_kept: timedelta, decisions_kept: timedelta) -> None:
    """Keep what is kept for a while only from growing without end."""
    for purge in (
        purge_inbox, purge_repair, purge_quotes, purge_checkouts, purge_reports, purge_idempotency_keys,
        purge_portal_sessions,
    ):  # fmt: skip
        await purge(store, at=clock.now())
    await purge_updates(store, kept=updates_kept, at=clock.now())
    await purge_decisions(store, kept=decisions_kept, at=clock.now())


async def _hear(store: "Store", channel: str, wake: asyncio.Event) -> None:
    def hear(told: str, _: str) -> None:
        if told == channel:
            wake.set()

    while True:
        with suppress(Unavailable):
            await store.listen(ready=wake.set, hear=hear)
        await asyncio.sleep(PAUSE_S)
