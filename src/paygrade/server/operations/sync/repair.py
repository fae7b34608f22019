"""Repair, as seen from outside: sweeps are asked for, and what they, the poll and the readings found goes out.

Laws: drift is a difference of which no billing event told, so what an event on its way explains is taken back; every
drift is told once when it is found and once when it is healed, after that is saved.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from paygrade.billing.audit_chain import ENVIRONMENT
from paygrade.billing.drift import Drift, Poll, compare
from paygrade.billing.facts import Body, Customer
from paygrade.server.operations.audit.note import note
from paygrade.updates.log import News
from paygrade.updates.types import DriftUpdate
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction
    from paygrade.postgres.subjects import Claim
    from paygrade.postgres.sweeps import SavedSweep

RECENT = timedelta(days=1)
KEPT = timedelta(days=45)


class SweepCounts(Struct, frozen=True):
    """What a sweep did: requests, and what it met. `customers` are those who bought something. Subjects that differ are
    drift; those in doubt could not be told from the listing alone; both are read again, as are those discovered and
    those that miss a live subscription."""

    requests: int = 0
    subscriptions: int = 0
    customers: int = 0
    different: int = 0
    doubtful: int = 0
    discovered: int = 0
    missing: int = 0


class Sweep(Struct, frozen=True):
    """A comparison of everything at the provider with what is stored. `finished_at` None: it is under way.

    `error`: why it pauses; it goes on by itself. `report` is what a dry run found, and only it writes nothing.
    """

    id: int
    dry_run: bool
    started_at: datetime
    finished_at: datetime | None
    counts: SweepCounts
    error: str | None
    report: dict[str, Any] | None = None


class SweepRequest(Struct, frozen=True):
    """What is asked for. `dry_run`: only a report, nothing is written."""

    dry_run: bool = False


class StartedSweep(Struct, frozen=True):
    """The sweep under way; `started` False: it was before."""

    started: bool
    sweep: Sweep


class DriftCount(Struct, frozen=True):
    """How many fields differ still, and how many were found within a day."""

    open: int
    found_within_a_day: int


class RepairStatus(Struct, frozen=True):
    """How repair stands. None: there was no sweep or poll yet. `subscriptions`: how many a sweep expects."""

    subscriptions: int
    sweep: Sweep | None
    poll: Poll | None
    drift: DriftCount


class DriftList(Struct, frozen=True):
    """Drift, the newest first. `next` None: there is no more."""

    drift: tuple[Drift, ...]
    next: int | None


class RepairNotice(Struct, frozen=True):
    """What is told of repair, to every process."""

    what: Literal["drift_detected", "drift_healed", "drift_explained", "sweep_started", "sweep_finished"]
    subjects: tuple[str, ...] = ()
    fields: int = 0
    found_by: str | None = None


async def start_sweep(store: "Store", provider: str, *, dry_run: bool, at: datetime) -> StartedSweep:
    """Compare everything with the provider.

    Start a sweep, or find the one that is running: it compares every subscription at the provider, and customers that
    are not stored yet, with what is stored. What differs is recorded as drift and read again. `GET /v1/sync/status`
    shows the progress. A dry run changes nothing and leaves a report. Refused `sweep_running` when the one under way is
    of the other kind.
    """
    async with store.transaction() as tx:
        started = await tx.sweeps.start(provider, dry_run=dry_run, at=at)
        found = await tx.sweeps.latest(provider)
        assert found is not None
        if started:
            await tell_repair(tx, RepairNotice("sweep_started"))
            note_sweep(tx, dry_run=dry_run, at=at)
    if found.dry_run != dry_run:
        kind = "a dry run" if found.dry_run else "a sweep"
        raise Refused("sweep_running", f"{kind} has been running since {found.started_at:%Y-%m-%d %H:%M}; "
                      "try again when `GET /v1/sync/status` says it has finished")  # fmt: skip
    return StartedSweep(started, view(found))


def note_sweep(tx: "Transaction", *, dry_run: bool = False, at: datetime) -> None:
    """Note that a sweep begins, unless it writes nothing."""
    if not dry_run:
        note(tx, "sweep.start", at=at)


async def load_sweep(store: "Store", *, id: int) -> Sweep:
    """Retrieve a sweep.

    The progress or the result of a sweep, with the report of a dry run. Refused `unknown_sweep`.
    """
    async with store.transaction() as tx:
        found = await tx.sweeps.load(id)
    if found is None:
        raise Refused("unknown_sweep", f"there is no sweep `{id}`; `GET /v1/sync/status` shows the latest")
    return view(found, report=True)


async def repair_status(tx: "Transaction", provider: str, at: datetime, *, roughly: bool = False) -> RepairStatus:
    """With `roughly`, many subscriptions are counted about."""
    sweep = await tx.sweeps.latest(provider)
    return RepairStatus(
        subscriptions=await (
            tx.accounts.about_subscriptions(provider) if roughly else tx.accounts.count_subscriptions(provider)
        ),
        sweep=view(sweep) if sweep else None,
        poll=await tx.polls.load(provider),
        drift=DriftCount(*await tx.drifts.count(since=at - RECENT)),
    )


async def list_drift(store: "Store", *, open_only: bool, before: int | None, limit: int) -> DriftList:
    """List drift.

    Fields that differed at the provider although no billing event had reported it, newest first.
    """
    async with store.reading() as tx:
        page = await tx.drifts.page(open_only=open_only, before=before, limit=limit + 1)
    return DriftList(page[:limit], page[limit - 1].id if len(page) > limit else None)


async def note_reading(
    tx: "Transaction",
    held: "Claim",
    claim: "Claim",
    *,
    account: str = "",
    stored: Body | None = None,
    said: Customer | None = None,
    at: datetime,
) -> None:
    """Write down what a reading says of drift: found by it, healed by it, or none after all."""
    if any(not event.polled for event in claim.events):
        if held.drifted:
            await announce_drift(tx, "explained", await tx.drifts.withdraw(claim.subject), at=at)
        return
    found: Mapping[tuple[str, str], int] = {}
    if (claim.swept or claim.events) and isinstance(stored, Customer) and said is not None:
        found_by: Literal["sweep", "poll"] = "poll" if claim.events else "sweep"
        differences = [(claim.subject, account, each) for each in compare(stored, said)]
        found = await tx.drifts.add(differences, found_by=found_by, at=at)
        await announce_drift(tx, "detected", found, found_by=found_by, at=at)
    if (found or held.drifted) and (healed := await tx.drifts.heal(claim.subject, at)):
        await announce_drift(tx, "healed", healed, at=at)
        note(
            tx,
            "drift.heal",
            account or held.account or ENVIRONMENT,
            targets=[("customer", claim.subject)],
            changes={"fields": healed.total()},
            at=at,
        )


async def purge_repair(store: "Store", *, at: datetime) -> None:
    """Forget finished sweeps and healed drift older than 45 days."""
    async with store.transaction() as tx:
        await tx.sweeps.purge(kept=KEPT)
        await tx.drifts.purge(kept=KEPT, at=at)


async def announce_drift(
    tx: "Transaction",
    what: Literal["detected", "healed", "explained"],
    fields: Mapping[tuple[str, str], int],
    *,
    found_by: str | None = None,
    at: datetime,
) -> None:
    """Announce drift of so many fields, by subject and account. What is explained was none, and counts as healed."""
    if not fields:
        return
    subjects = tuple(subject for subject, _ in fields)
    await tell_repair(tx, RepairNotice(f"drift_{what}", subjects, sum(fields.values()), found_by))  # type: ignore[arg-type]  # each of these is one of those
    type = "sync.drift.detected" if what == "detected" else "sync.drift.healed"
    await tx.announce(
        [
            News(account or None, type, DriftUpdate(subject, n, found_by), at)
            for (subject, account), n in fields.items()
        ],
        at,
    )


async def tell_repair(tx: "Transaction", told: RepairNotice) -> None:
    await tx.tell("paygrade_repair", msgspec.json.encode(told).decode())


def view(saved: "SavedSweep", *, report: bool = False) -> Sweep:
    return Sweep(
        id=saved.id,
        dry_run=saved.dry_run,
        started_at=saved.started_at,
        finished_at=saved.finished_at,
        counts=msgspec.convert(saved.counts, SweepCounts),
        error=saved.error,
        report=saved.report if report else None,
    )
