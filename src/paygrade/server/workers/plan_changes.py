"""Carrying plan changes out at whoever bills: step by step, wherever a process is killed.

Theory of operation. A change that was asked for is claimed and advanced one step at a time: each step first looks how
the subscription stands at the provider, and then does the one thing that comes next. What a step found is saved before
the next one, so a step that was taken and not saved is found by the next look. When the provider says that it is done,
the subject is marked, as by a billing event; the reading that follows is a fact, and that changes the account. Only
then is the change applied.

Laws: the provider is asked only for what is written down; the account changes by facts alone; a change is never taken
for done before a reading that began after it was done.
"""

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.changes.order import Progress
from paygrade.changes.plan_change import PlanChange, order_of
from paygrade.providers.port import Changing
from paygrade.server.operations.accounts.change_trail import resolved, scheduled, subject_of
from paygrade.server.workers.claims import Queue, give_back
from paygrade.values.errors import Refused, Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.plan_changes import ClaimedChange
    from paygrade.postgres.store import Store, Transaction
    from paygrade.server.process.clock import Clock

LEASE_S = 90.0
"""Longer than one step takes, with all that is asked for it."""
WAIT_FIRST_S, WAIT_MAX_S = 2.0, 120.0
"""How often to look whether the customer has paid: first soon, then a tenth of the time it has taken so far. An event
that tells of it is heard at once."""
STEPS_MAX = 16
"""More than any change takes; one that leads in a circle is looked at again later."""
GIVEN_UP = timedelta(hours=22)
"""When a change that was to be made at once is taken back: Stripe forgets after a day which requests were the same, and
an invoice of it that is not paid within 23 hours ends it anyway."""
LATE = timedelta(minutes=2)
"""How long after its time a scheduled change is looked at, if no fact has told of it by then."""


CHANGES: "Queue[ClaimedChange]" = Queue(
    "plan_change", lambda tx: tx.plan_changes, ("account", "id"), LEASE_S, values={"late": LATE}
)

Outcome = Literal["done", "failed", "undone", "pending", "scheduled", "paused", "overtaken"]


async def advance_change(store: "Store", provider: Changing, clock: "Clock", claimed: "ClaimedChange") -> Outcome:
    """Advance a claimed change to its end, or to where it has to wait."""
    for _ in range(STEPS_MAX):
        async with store.transaction() as tx:
            held = await tx.plan_changes.lock(claimed)
            if held is None:
                return "overtaken"
            if _is_given_up(held, clock.now()):
                held = replace(held, undo=True, reason="it was not made or not paid within a day")
                await _step(tx, held, "given_up", held.reason or "", clock.now())
            await tx.plan_changes.save(held, lease_s=LEASE_S)
        try:
            progress = await asyncio.to_thread(provider.advance_change, order_of(held, tries=held.attempts))
        except Refused as refused:
            progress = Progress("failed", held.schedule, held.invoice, None, refused.detail)
        except Unavailable as error:
            return await _pause(store, claimed, error)
        outcome = await note(store, claimed, progress, at=clock.now())
        if outcome is not None:
            return outcome
    return await _pause(store, claimed, Unavailable("provider_answer_invalid", "the change does not finish"))


def _is_given_up(held: PlanChange, at: datetime) -> bool:
    at_once = held.effective_at is None and held.state in ("asked", "pending")
    return at_once and not held.undo and at - held.asked_at >= GIVEN_UP


async def note(store: "Store", claimed: "ClaimedChange", progress: Progress, *, at: datetime) -> Outcome | None:
    """Save how the change stands at the provider; None: it goes on there."""
    async with store.transaction() as tx:
        # Subjects are locked before anything else, everywhere.
        told = progress.state in ("done", "failed", "undone", "scheduled")
        marked = (await tx.subjects.mark([claimed.subject]))[claimed.subject] if told else None
        held = await tx.plan_changes.lock(claimed)
        if held is None:
            return "overtaken"
        now = replace(
            held,
            schedule=progress.schedule or held.schedule,
            invoice=progress.invoice or held.invoice,
            pay_url=progress.pay_url,
            error=None,
            attempts=0,
        )
        if marked is not None:
            await tx.tell("paygrade_subject")
        return await _noted(tx, held, now, progress, marked.fence if marked is not None else 0, at)


async def _noted(
    tx: "Transaction", held: "ClaimedChange", now: "ClaimedChange", progress: Progress, fence: int, at: datetime
) -> Outcome | None:
    if held.state == "applied":
        # A fact told of it before the provider's answer was saved; or it was only to let go of its schedule.
        over = progress.state in ("done", "failed", "undone")
        # Made by somebody else before its date, it is planned still, and would be made once more: that is taken back.
        undo = not over and (held.undo or progress.state == "scheduled")
        kept = replace(held, invoice=now.invoice, undo=undo, done_fence=fence if over else None)
        await tx.plan_changes.save(kept, lease_s=None if over else LEASE_S)
        return "done" if over else None
    match progress.state:
        case "open":
            await tx.plan_changes.save(now, lease_s=LEASE_S)
            if (now.schedule, now.invoice) != (held.schedule, held.invoice):
                await _step(tx, now, "provider", _names(now), at)
            return None
        case "pending" if _is_given_up(now, at):
            # Its time came while the provider was asked: the next step gives it up.
            await tx.plan_changes.save(now, lease_s=LEASE_S)
            return None
        case "pending":
            waited_s = (at - now.asked_at).total_seconds() / 10
            pause_s = min(max(waited_s, WAIT_FIRST_S), WAIT_MAX_S)
            await tx.plan_changes.save(replace(now, state="pending"), retry_s=pause_s)
            if held.state != "pending":
                await _step(tx, now, "pending", progress.detail or f"invoice {now.invoice} must be paid", at)
            return "pending"
        case "scheduled":
            # Where its time is over, whoever bills is behind with it.
            late = now.effective_at is not None and now.effective_at <= at
            planned = replace(now, state="scheduled")
            await tx.plan_changes.save(planned, retry_s=WAIT_MAX_S if late else None)
            if held.state != "scheduled":
                when = f"{now.effective_at:%Y-%m-%d %H:%M} UTC" if now.effective_at is not None else ""
                await scheduled(tx, planned, f"{when} {_names(now)}".strip(), at=at)
            return "scheduled"
        case "done":
            await _step(tx, now, "done", f"confirmed by the provider {_names(now)}".strip(), at)
            account = await _account(tx, now)
            if subject_of(account, now.subscription) is None:
                # The subscription is another account's by now: no reading will tell this one.
                await resolved(tx, now, "applied", account, at=at)
            else:
                await tx.plan_changes.save(replace(now, done_fence=fence, undo=False))
            return "done"
        case "failed" if held.undo and held.state == "scheduled":
            # It could not be taken back, so it stands as it did.
            await tx.plan_changes.save(replace(now, undo=False, reason=progress.detail))
            await _step(tx, now, "not_taken_back", progress.detail or "", at)
            return "failed"
        case "failed":
            await _resolved(tx, now, "failed", progress.detail or "the provider did not make it", at)
            return "failed"
        case "undone" if held.reason is not None:
            await _resolved(tx, now, "failed", held.reason, at)
            return "failed"
        case "undone":
            await _resolved(tx, now, "canceled", progress.detail, at)
            return "undone"


async def _resolved(
    tx: "Transaction", now: PlanChange, state: Literal["failed", "canceled"], reason: str | None, at: datetime
) -> None:
    await resolved(tx, now, state, await _account(tx, now), reason=reason, at=at)


async def _account(tx: "Transaction", change: PlanChange) -> Account:
    return (await tx.accounts.find([change.account]))[change.account]


async def _pause(store: "Store", claimed: "ClaimedChange", error: Unavailable) -> Outcome:
    return "paused" if await give_back(store, CHANGES, claimed, error) else "overtaken"


async def _step(tx: "Transaction", change: PlanChange, step: str, detail: str, at: datetime) -> None:
    await tx.plan_changes.step(change.account, change.id, step, detail, at)


def _names(change: PlanChange) -> str:
    """What it has at the provider."""
    return " ".join(name for name in (change.schedule, change.invoice) if name)
