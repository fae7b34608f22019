"""Settling: what follows from a change of what is bought is written down with the fact that tells of it.

Laws: a change is settled once, in the transaction that learns of it, or when the date comes that brings it about; what
was asked for and what comes back are one change and have one record; a change that nobody asked for here has one, too.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.catalog.model import Catalog
from paygrade.changes.impact import CarryOver
from paygrade.changes.plan_change import PlanChange, coolings, is_doubted
from paygrade.changes.transition import (
    PlanTransition,
    has_changed,
    is_billed,
    may_have_changed,
    next_turn,
    transition,
)
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.decisions.take import snapshot
from paygrade.server.operations.accounts.change_trail import resolved, seen, subject_of
from paygrade.server.operations.accounts.members import reconcile_seats
from paygrade.server.operations.accounts.record import record
from paygrade.server.operations.balances.unit_of_work import lock_balances, windows_of
from paygrade.server.state.balances import with_balances
from paygrade.usage.balances import slot_of
from paygrade.usage.entries import Entry, Posting, derived, digest

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction

TO_SETTLE_MAX = 100


async def follow_transition(
    tx: "Transaction", before: Account, after: Account, *, at: datetime, read: tuple[str, int] | None = None
) -> Account:
    """Settle what has changed of what `after` buys since it was last looked, when `before` was known.

    Both are the account that `tx` has locked. `read` is the subject whose reading told, and its fence, where there was
    one. Returns the account with the facts this added.
    """
    since = await tx.plan_changes.settled_at(after.key)
    await tx.plan_changes.settled(after.key, at, next_at=next_turn(after, at))
    open_changes = await tx.plan_changes.under_way(after.key)
    settled: PlanChange | None = None
    # An account that was not known before begins as it is: it has not changed.
    known = since is not None or before.version > 0
    # Most readings say nothing new of what is bought, and need no catalog to know it.
    if known and may_have_changed(before, since or at, after, at):
        catalog = await tx.catalogs.in_force()
        after, settled = await _settled(tx, before, since or at, after, catalog, open_changes, at)
    for change in open_changes:
        if settled is not None and settled.id == change.id:
            continue
        if _has_told(change, after, read):
            await resolved(tx, change, "applied", after, at=at)
        elif change.state == "pending" and read is not None and read[0] == change.subject:
            # Something happened to the customer: perhaps that the payment came to nothing, which no fact tells.
            await tx.plan_changes.hurry(change)
        elif read is not None and any(
            s.id == change.subscription and is_doubted(change, s) for s in after.subscriptions
        ):
            # Only the provider knows: what has a doubt is looked at there.
            await tx.plan_changes.save(replace(change, error="nothing plans it any more; the provider is asked"))
    return after


def _has_told(change: PlanChange, account: Account, read: tuple[str, int] | None) -> bool:
    """Whether this reading began after the provider said that the change is done. Of a subscription that has gone to
    another account no reading will ever tell this one."""
    if change.done_fence is None:
        return False
    if subject_of(account, change.subscription) is None:
        return True
    return read is not None and read[0] == change.subject and read[1] > change.done_fence


async def follow_due_transitions(store: "Store", *, at: datetime) -> int:
    """Settle accounts whose dates have changed what they buy; returns how many."""
    async with store.transaction() as tx:
        accounts = await tx.plan_changes.to_settle(limit=TO_SETTLE_MAX, at=at)
    for key in accounts:
        async with store.transaction() as tx:
            for account in (await tx.accounts.lock([key])).values():
                await follow_transition(tx, account, account, at=at)
    return len(accounts)


async def _settled(
    tx: "Transaction",
    before: Account,
    since: datetime,
    after: Account,
    catalog: Catalog,
    open_changes: tuple[PlanChange, ...],
    at: datetime,
) -> tuple[Account, PlanChange | None]:
    if not has_changed(before, since, after, catalog, at):
        return after, None
    held = await _held(tx, after, catalog, at)
    id = _id(after, at)
    active_at = await tx.ledger.active_at(after.key, list(after.seated)) if after.seated else {}
    cooling = coolings(await tx.plan_changes.of_plans(after.key), after)
    found = transition(before, since, after, catalog, held, at, change=id, active_at=active_at, coolings=cooling)
    if found is None:
        return after, None
    change = _asked(open_changes, found, after, catalog, at)
    if change is not None:
        found = replace(found, leeways=tuple(replace(leeway, change=change.id) for leeway in found.leeways))
    else:
        change = await seen(tx, id, after, found)
    await _carry(tx, catalog, held, found.usage, change.id, at)
    for leeway in found.leeways:
        after = await record(
            tx, after, subject=f"leeway:{leeway.feature}", body=leeway, cause=[change.id], at=at
        )  # fmt: skip
    seated = await reconcile_seats(tx, after, catalog, found.matched.rule.seats, change.id, at)
    found = replace(found, lost=seated.lost)
    await resolved(tx, change, "applied", seated.account, settlement=found, at=at)
    return seated.account, change


def _id(account: Account, at: datetime) -> str:
    """The id of a change that was seen: an account changes at most once by one fact, or at one instant."""
    text = f"{account.key}\t{account.version}\t{at.isoformat()}"
    return f"chg_{hashlib.sha256(text.encode()).hexdigest()[:20]}"


async def _held(tx: "Transaction", account: Account, catalog: Catalog, at: datetime) -> Snapshot:
    """The account with its balances, which stay as they are until the end of the transaction."""
    now = snapshot(account, catalog, at)
    if any(rule.usage != "keep" for rule in catalog.policies.plan_change):
        windows = [(key, slot_of(its.from_at)) for key, its in entitlements_at(now, at).items() if its.from_at]
        await tx.ledger.take([(account.key, *window) for window in windows], [], [], [], at)
    return (await with_balances(tx, now, at))[0]


async def _carry(
    tx: "Transaction", catalog: Catalog, held: Snapshot, usage: Sequence[CarryOver], change: str, at: datetime
) -> None:
    """Count from now on what the rule says, in the windows that run."""
    account, entitlements = held.account, entitlements_at(held, at)
    more = {
        carried.feature: carried.used_after - carried.used_before
        for carried in usage
        if carried.how != "new_window" and carried.used_after != carried.used_before
    }
    windows = windows_of(account, entitlements, more)
    if not windows:
        return
    work = await lock_balances(tx, catalog, windows, windows, at, expire=False)
    for _, feature, slot in windows:
        postings = (Posting(feature, slot, more[feature]),)
        id, its_digest = derived("carry_over", change, feature), digest("carry_over", change, feature, more[feature])
        work.post(account, postings, at)
        work.enter(Entry(account, id, "carry_over", feature, more[feature], at, at, its_digest, postings))
    await work.save(tx)


def _asked(
    open_changes: tuple[PlanChange, ...], found: PlanTransition, after: Account, catalog: Catalog, at: datetime
) -> PlanChange | None:
    """The change that was asked for and has come about now."""
    for change in open_changes:
        changed, expected = change.subscription in found.subscriptions, change.expected
        if (
            changed
            and expected is not None
            and is_billed(expected, change.subscription, after, catalog, after.time(at))
        ):
            return change
    return None
