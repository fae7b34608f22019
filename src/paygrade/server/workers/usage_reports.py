"""Telling the provider of usage: each unit that is paid for by usage once, whatever fails on the way.

Theory of operation. The ledger tells nobody: every few seconds its latest entries are looked through for windows that
have changed, and these are marked. A worker claims a marked window, works out what the provider should know and, in one
transaction, writes the difference down as pending, with the identifier and the instant it will carry. Only then it is
told, and counted as reported in a second transaction. Whoever finds something pending tells it again under the same
identifier, which the provider counts once. When that is no longer sure, the provider's own sum is asked first.

Laws: nothing is told that was not written down before; an identifier stands for one quantity at one instant for ever;
what is pending is only given up when the provider says that it is not counted; the provider's sum is believed only
when nothing was told for longer than it needs to add up.
"""

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account, replay
from paygrade.catalog.model import Catalog
from paygrade.catalog.offers import MeteredFeature
from paygrade.entitlements.derive import derive
from paygrade.providers.port import Metering
from paygrade.server.operations.sync.repair import announce_drift
from paygrade.server.process.retries import pause_s
from paygrade.server.workers.claims import Queue, give_back
from paygrade.usage.provider_reports import (
    SURE,
    MeterEvent,
    identifier,
    last_instant,
    payer,
    reportable,
    stamp,
    summed_span,
)
from paygrade.values.errors import Refused, Unavailable
from paygrade.values.periods import Period

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction
    from paygrade.postgres.usage_reports import SavedReport
    from paygrade.server.process.clock import Clock

LEASE_S = 60.0
PAUSE_S = 5.0
OVERLAP = timedelta(seconds=20)
"""How far back the ledger is looked through again: an entry shows up when its transaction ends, not when it began."""
SCAN_EVERY = timedelta(days=1)
"""How often every balance is looked at, whatever the ledger said of it."""
REST = timedelta(minutes=1)
"""How often one window is told of at most, while it goes on."""
AGAIN = timedelta(hours=1)
"""How often a window is looked at though nothing was used: its limit or its payer may have changed."""
SETTLED = timedelta(minutes=15)
"""How long the provider may take to add up what it was told. A renewal's invoice is finalized after an hour
(https://docs.stripe.com/billing/invoices/subscription), so what differs at a window's end is healed before that."""
LONG = timedelta(days=7)
"""Windows at least this long are compared with the provider when they end; shorter ones are too many to ask for."""


REPORTS: "Queue[SavedReport]" = Queue("usage_reported", lambda tx: tx.reports, ("account", "pool", "slot"), LEASE_S)

Outcome = Literal["told", "looked", "compared", "healed", "failed", "overtaken"]


class _Ask(Struct, frozen=True):
    """What the provider is to be asked: its own sum of what it was told of a window."""

    customer: str
    meter: str
    span: Period


async def mark_reports(store: "Store", provider: str, *, at: datetime) -> int:
    """Mark the windows that have changed since this was last done; returns how many."""
    async with store.transaction() as tx:
        held = await tx.reports.hold_marking(provider, at=at)
        if held is None:
            return 0
        marked_until, scanned_at, version = held
        catalog = await tx.catalogs.in_force()
        pools = [feature.key for feature in catalog.features.values() if _is_reported(feature)]
        scan = version != catalog.version or at - scanned_at >= SCAN_EVERY
        marked = 0
        if pools:
            marked = await tx.reports.mark(pools, rest=REST, recorded_from=marked_until - OVERLAP, at=at)
            marked += await tx.reports.mark(pools, rest=REST, at=at) if scan else 0
        await tx.reports.note_marking(
            provider, scanned_at=at if scan else scanned_at, catalog=catalog.version, at=max(at, marked_until)
        )
        return marked


async def report_window(store: "Store", provider: Metering, clock: "Clock", claimed: "SavedReport") -> Outcome:
    """Do what a claimed window waits for; a failure is kept and retried later."""
    next_step = await prepare(store, claimed, at=clock.now())
    if not isinstance(next_step, MeterEvent | _Ask):
        return next_step
    try:
        if isinstance(next_step, MeterEvent):
            await asyncio.to_thread(provider.report_usage, next_step)
            return await note_reported(store, claimed, next_step, at=clock.now())
        ask = next_step
        said = await asyncio.to_thread(
            provider.reported_usage,
            customer=ask.customer,
            meter=ask.meter,
            from_at=ask.span.from_at,
            until=ask.span.until or clock.now(),
        )
        return await judge(store, provider.name, claimed, said, at=clock.now())
    except (Refused, Unavailable) as error:
        return await fail(store, claimed, error, at=clock.now())


async def prepare(store: "Store", claimed: "SavedReport", *, at: datetime) -> MeterEvent | _Ask | Outcome:
    """Write down what is to be told of the window, if anything, before anybody is told."""
    async with store.transaction() as tx:
        held = await tx.reports.lock(claimed)
        if held is None:
            return "overtaken"
        window = Period(held.from_at, held.until)
        if held.pending is not None:
            assert held.pending_at is not None
            waits = at - held.pending_at
            if waits < SURE:
                return _event(held)
            if waits >= SURE + SETTLED:
                return _ask(held, window, at)
            # Telling it again might count twice, and the provider may not have added up the latest attempt.
            await tx.reports.save(held, retry_s=PAUSE_S)
            return "looked"
        if held.check_at is not None and held.check_at <= at and held.customer is not None:
            return _ask(held, window, at)
        looked = await _look(tx, held, window, at)
        await tx.reports.save(looked, lease_s=LEASE_S if looked.pending is not None else None)
    return _event(looked) if looked.pending is not None else "looked"


async def note_reported(store: "Store", claimed: "SavedReport", event: MeterEvent, *, at: datetime) -> Outcome:
    """Count what was told as reported, unless somebody has done so."""
    async with store.transaction() as tx:
        held = await tx.reports.lock(claimed)
        if held is None or held.identifier != event.identifier or held.pending is None:
            return "overtaken"
        await tx.reports.save(_told(held, at))
    return "told"


async def judge(store: "Store", provider: str, claimed: "SavedReport", said: int, *, at: datetime) -> Outcome:
    """Compare the provider's sum with what it was told, and tell again what is missing in it.

    A sum that is too large is only shown: something else tells this meter of the customer, and a person has to look.
    """
    async with store.transaction() as tx:
        held = await tx.reports.lock(claimed)
        if held is None:
            return "overtaken"
        held = replace(held, error=None, attempts=0)
        if held.pending is not None:
            await tx.reports.save(_resolved(held, said, at))
            return "compared"
        doubted_at = None if said == held.told else _doubted_at(held, said) or at
        check_at = at + SETTLED if doubted_at is not None else None
        if held.until is not None and at < held.until:
            check_at = check_at or _check_at(held, at)
        check_at = _next_check(held, claimed, check_at)
        judged = replace(held, said=said, checked_at=at, check_at=check_at, doubted_at=doubted_at)
        if doubted_at is None or at - doubted_at < SETTLED:
            await tx.reports.save(judged)
            return "compared"
        if said > held.told:
            check_at = _next_check(held, claimed, None)
            await tx.reports.save(replace(judged, check_at=check_at, reason="more_at_provider"))
            return "compared"
        subject, field = f"{provider}:{held.customer}", f"usage of {held.pool} from {held.slot}"
        await tx.reports.note_mismatch(held, subject=subject, field=field, provider=said, at=at)
        await announce_drift(tx, "healed", {(subject, held.account): 1}, found_by="reconcile", at=at)
        await tx.reports.save(replace(judged, reported=held.reported + said - held.told, told=said, look_at=at))
    return "healed"


async def fail(store: "Store", claimed: "SavedReport", error: Refused | Unavailable, *, at: datetime) -> Outcome:
    """Keep what went wrong. What the provider refused when it was told first is not pending any more."""
    if isinstance(error, Unavailable):
        return "failed" if await give_back(store, REPORTS, claimed, error) else "overtaken"
    async with store.transaction() as tx:
        held = await tx.reports.lock(claimed)
        if held is None:
            return "overtaken"
        failed = replace(held, error=f"{error.code}: {error.detail}", attempts=held.attempts + 1)
        if claimed.pending is None and held.pending is not None:
            failed = replace(
                failed, pending=None, identifier=None, pending_at=None, stamped_at=None, look_at=at + AGAIN
            )
        elif held.pending is None:
            failed = replace(failed, check_at=_next_check(held, claimed, None))
        await tx.reports.save(failed, retry_s=pause_s(held.attempts, error))
    return "failed"


def _next_check(held: "SavedReport", claimed: "SavedReport", date: datetime | None) -> datetime | None:
    """When it is compared next: at `date`, unless somebody has asked since: an older answer is none to them."""
    return held.check_at if held.asks != claimed.asks else date


async def _look(tx: "Transaction", held: "SavedReport", window: Period, at: datetime) -> "SavedReport":
    """The row as it stands after looking at the window: with something pending where the provider has to be told."""
    used, version = await tx.reports.balance(held)
    account, catalog = await _known(tx, held.account, window, at)
    feature = catalog.features.get(held.pool)
    looked = replace(
        held,
        used=used,
        version=version,
        reason=None,
        error=None,
        attempts=0,
        looked_at=at,
        look_at=window.until if window.until is not None and at < window.until else None,
    )
    if not isinstance(feature, MeteredFeature) or feature.stripe_meter is None:
        return replace(looked, look_at=None)
    moment = last_instant(window, at)
    wanted = reportable(feature, used, derive(account, catalog, moment).entitlements[feature.key])
    if (wanted is None or wanted or held.reported) and looked.look_at is not None and feature.report == "overage":
        looked = replace(looked, look_at=min(at + AGAIN, looked.look_at))
    if wanted is None or wanted == held.reported:
        return replace(looked, reason="not_sold" if wanted is None else None)
    customer = payer(account, catalog, moment)
    if customer is None:
        return replace(looked, reason="no_customer")
    stamped_at = stamp(window, at)
    if stamped_at is None:
        return replace(looked, reason="too_late", look_at=None)
    if (customer, feature.stripe_meter) != (held.customer, held.meter):
        looked = replace(looked, customer=customer, meter=feature.stripe_meter, told=0, said=None, doubted_at=None)
    number, pending = held.number + 1, wanted - held.reported
    name = identifier(held.account, held.pool, held.slot, number=number, reported=held.reported, pending=pending)
    return replace(looked, number=number, pending=pending, identifier=name, stamped_at=stamped_at, pending_at=at)


async def _known(tx: "Transaction", account: str, window: Period, at: datetime) -> tuple[Account, Catalog]:
    """The account and the catalog that count for the window: as known at its end where that has passed.

    What was bought afterwards, or ended with the window, must not change what was used in it. An account whose customer
    became known later counts as it is known now.
    """
    saved, catalog = await tx.accounts.load(account), await tx.catalogs.in_force()
    now = saved.account if saved else Account(key=account)
    moment = last_instant(window, at)
    if moment == at:
        return now, catalog
    facts = await tx.accounts.facts(account, recorded_until=moment)
    then = replay(account, (each.fact for each in facts))
    published = await tx.catalogs.load(published_until=moment)
    known = then if payer(then, published.catalog if published else catalog, moment) is not None else now
    return known, published.catalog if published else catalog


def _told(held: "SavedReport", at: datetime) -> "SavedReport":
    pending = held.pending or 0
    return replace(
        held,
        reported=held.reported + pending,
        told=held.told + pending,
        pending=None,
        identifier=None,
        pending_at=None,
        stamped_at=None,
        sent_at=at,
        said=None,
        doubted_at=None,
        error=None,
        attempts=0,
        check_at=_check_at(held, at),
    )


def _check_at(held: "SavedReport", at: datetime) -> datetime | None:
    """When to compare by itself: a while after the window's end, or after what was told since."""
    if held.until is None or held.until - held.from_at < LONG:
        return None
    return max(held.until, at) + SETTLED


def _doubted_at(held: "SavedReport", said: int) -> datetime | None:
    """Since when the provider has said this, with nothing told in between; None: it says so for the first time."""
    doubted_at = held.doubted_at if held.said == said else None
    moved = doubted_at is not None and held.sent_at is not None and held.sent_at > doubted_at
    return None if moved else doubted_at


def _resolved(held: "SavedReport", said: int, at: datetime) -> "SavedReport":
    """What was in doubt, settled by the provider's sum: it is counted, or it is not and will be told anew."""
    pending, moved = held.pending or 0, said - held.told
    if (moved >= pending) if pending > 0 else (moved <= pending):
        return _told(held, at)
    return replace(held, pending=None, identifier=None, pending_at=None, stamped_at=None, look_at=at)


def _is_reported(feature: object) -> bool:
    return isinstance(feature, MeteredFeature) and feature.stripe_meter is not None


def _event(held: "SavedReport") -> MeterEvent:
    assert held.identifier is not None
    assert held.meter is not None
    assert held.customer is not None
    assert held.pending is not None
    assert held.stamped_at is not None
    return MeterEvent(held.identifier, held.meter, held.customer, held.pending, held.stamped_at)


def _ask(held: "SavedReport", window: Period, at: datetime) -> _Ask:
    assert held.meter is not None
    assert held.customer is not None
    return _Ask(held.customer, held.meter, summed_span(window, at))
