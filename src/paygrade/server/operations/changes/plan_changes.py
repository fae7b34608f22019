"""Plan changes: asked for, taken back, and read.

Laws: what is carried out is a quote, on the very state it was made on, or nothing is; the same key asks once; an
account has one change under way at a time; here nothing is asked of a provider, and an account changes only by facts.
"""

import asyncio
import secrets
import time
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import ManualSubscription, Subscription
from paygrade.changes.order import Act
from paygrade.changes.plan_change import UNDER_WAY, ChangeState, PlanChange, Step, acted, asked_for, back, refuse_idle
from paygrade.changes.quote import Quote, changed_subscription, quote
from paygrade.decisions.take import snapshot
from paygrade.providers.port import Previewer
from paygrade.server.operations.accounts.change_trail import resolved, scheduled, subject_of
from paygrade.server.operations.accounts.record import load_account, lock_account, record
from paygrade.server.operations.accounts.transition import follow_transition
from paygrade.server.operations.audit.note import because, note
from paygrade.server.operations.changes.quotes import quote_change
from paygrade.server.operations.paging import cut, read_place
from paygrade.server.state.balances import with_balances
from paygrade.values.errors import Refused, Unavailable
from paygrade.values.states import NOT_LIVE

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction

LOOK_S = 0.05


class ChangeView(Struct, frozen=True):
    """A plan change, and step by step what happened to it."""

    change: PlanChange
    steps: tuple[Step, ...]


class ChangeList(Struct, frozen=True):
    """Plan changes of an account, the latest first. `next` is the `before` of the next page; None: there is none."""

    changes: tuple[PlanChange, ...]
    next: str | None


async def carry_out(
    store: "Store", *, account: str, quote_id: str, key: str | None, reason: str = "", has_provider: bool, at: datetime
) -> PlanChange:
    """Ask for what a quote says, once for each key (None: once for the quote). `reason` goes to the audit log.

    Refused `unknown_account`, `unknown_quote`, `quote_expired`, `quote_used`, `account_changed`, `catalog_changed`,
    `change_refused`, `change_under_way`, `change_scheduled`, `key_conflict`. Raises Unavailable
    `provider_not_configured`.
    """
    key = key or quote_id
    async with store.transaction() as tx:
        held = await lock_account(tx, account)
        known = await tx.plan_changes.of_key(account, key)
        if known is not None:
            return _same(known, known.quote == quote_id)
        made = await tx.quotes.load(account, quote_id)
        if made is None:
            raise Refused("unknown_quote", f"`{account}` has no quote `{quote_id}`; create one first")
        await _refuse_outdated(tx, held, made, at)
        change = asked_for(
            made, id=_id(), key=key, subject=subject_of(held, made.subscription) or "", at=at
        )  # fmt: skip
        change = await _begin(tx, held, change, f"quote {made.id}", reason=reason, has_provider=has_provider, at=at)
        if not change.is_manual:
            return change
        stated = changed_subscription(held, await tx.catalogs.in_force(), made)
        return await _stated(tx, held, change, stated, at)


async def act(
    store: "Store",
    *,
    account: str,
    act: Act,
    subscription: str | None,
    trial_ends_at: datetime | None,
    key: str | None,
    reason: str = "",
    has_provider: bool,
    at: datetime,
) -> PlanChange:
    """Do something to a subscription that changes nothing of what it buys: pause it, resume it, end its trial.

    Refused `unknown_account`, `no_subscription_to_change`, `not_possible_now`, `date_in_the_past`, `change_under_way`,
    `key_conflict`. Raises Unavailable `provider_not_configured`.
    """
    async with store.transaction() as tx:
        held = await lock_account(tx, account)
        known = await tx.plan_changes.of_key(account, key) if key is not None else None
        if known is not None:
            return _same(known, (known.act, known.trial_ends_at) == (act, trial_ends_at))
        its = _one_of(held, subscription)
        refuse_idle(its, act)
        if trial_ends_at is not None and trial_ends_at <= at:
            raise Refused("date_in_the_past", f"{trial_ends_at.isoformat()} is in the past; choose a later time")
        id = _id()
        change = PlanChange(
            account=account,
            id=id,
            key=key or id,
            source="request",
            act=act,
            state="asked",
            subscription=its.id,
            subject=subject_of(held, its.id) or "",
            asked_at=at,
            trial_ends_at=trial_ends_at,
        )
        until = f" until {trial_ends_at:%Y-%m-%d %H:%M} UTC" if trial_ends_at is not None else ""
        change = await _begin(
            tx, held, change, f"{act} {its.id}{until}", reason=reason, has_provider=has_provider, at=at
        )
        if not change.is_manual:
            return change
        return await _stated(tx, held, change, acted(its, act, trial_ends_at=trial_ends_at, at=at), at)


async def take_back(store: "Store", *, account: str, id: str, reason: str = "", at: datetime) -> PlanChange:
    """Cancel a plan change.

    Cancel a change that is scheduled or waits for a payment; `reason` says why, for the audit log. To undo one that was
    applied, revert it. Refused
    `unknown_account`, `unknown_change`, `change_resolved`.
    """
    async with store.transaction() as tx:
        held = await lock_account(tx, account)
        change = await tx.plan_changes.hold(account, id)
        if change is None:
            raise _unknown(account, id)
        if change.state == "canceled" or change.undo:
            return change
        if change.state not in UNDER_WAY:
            raise Refused(
                "change_resolved",
                f"`{id}` is {change.state}; to undo an applied change, use `POST …/revert`",
            )
        await tx.plan_changes.step(account, id, "taken_back", f"it was {change.state}", at)
        note(tx, "plan_change.cancel", account, targets=_target(id), changes={"state": change.state},
             personal=because(reason), at=at)  # fmt: skip
        if not change.is_manual:
            return await tx.plan_changes.take_back(change)
        subscription = next(s for s in held.subscriptions if s.id == change.subscription)
        return await _stated(tx, held, change, without_schedule(subscription, change), at, state="canceled")


async def revert(
    store: "Store", previewer: Previewer | None, *, account: str, id: str, at: datetime
) -> Quote:  # fmt: skip
    """Quote the way back.

    A quote that undoes an applied change; accepting it links the two changes. Refused
    `unknown_account`, `unknown_change`, `not_revertible`, `cooling_off`, `no_subscription_to_change`, `same_as_now`,
    `change_refused`, `provider_refused_change`.
    """
    async with store.transaction() as tx:
        change = await tx.plan_changes.find(account, id)
        if change is None:
            raise _unknown(account, id)
        if change.reverted_by is not None:
            raise Refused("not_revertible", f"`{id}` was already reverted by `{change.reverted_by}`")
    return await quote_change(store, previewer, account=account, wanted=back(change), reverts=id, at=at)


async def get_change(store: "Store", *, account: str, id: str) -> ChangeView:
    """Retrieve a plan change.

    The change with its quote, what followed, and its steps. Refused `unknown_change`.
    """
    async with store.transaction() as tx:
        change = await tx.plan_changes.find(account, id)
        if change is None:
            raise _unknown(account, id)
        return ChangeView(change, await tx.plan_changes.steps(account, id))


async def list_changes(
    store: "Store", *, account: str, state: ChangeState | None = None, before: str | None = None, limit: int
) -> ChangeList:
    """List an account's plan changes.

    Plan changes, newest first, whoever made them. Refused `unknown_account`, `invalid_query`.
    """
    place = read_place(before, tuple[datetime, str], name="before")
    async with store.reading() as tx:
        await load_account(tx, account, deleted=True)
        found = await tx.plan_changes.of_account(account, state=state, before=place, limit=limit + 1)
    return ChangeList(*cut(found, limit, lambda change: (change.asked_at, change.id)))


async def settled_within(store: "Store", change: PlanChange, *, seconds: float) -> PlanChange:
    """The change as soon as there is nothing more to wait for here, or as it is after so many seconds. What the
    provider was asked for is read back by then."""
    until = time.monotonic() + seconds
    while True:
        async with store.transaction() as tx:
            change = await tx.plan_changes.find(change.account, change.id) or change
            subject = (await tx.subjects.stored([change.subject])).get(change.subject)
        waits = change.state == "asked" or change.undo or (subject is not None and subject.waiting)
        if not waits or time.monotonic() >= until:
            return change
        await asyncio.sleep(LOOK_S)


async def _begin(
    tx: "Transaction",
    held: Account,
    change: PlanChange,
    detail: str,
    *,
    reason: str,
    has_provider: bool,
    at: datetime,
) -> PlanChange:
    """Write down that it is asked for, unless another one is under way."""
    _refuse_stated(change)
    for other in await tx.plan_changes.under_way(held.key):
        if other.state != "scheduled":
            raise Refused(
                "change_under_way",
                f"`{other.id}` of `{held.key}` is {other.state}; wait until it finishes, or cancel it",
            )
        if other.subscription == change.subscription:
            raise Refused(
                "change_scheduled", f"`{other.id}` is scheduled for `{other.subscription}`; cancel it with DELETE first"
            )
    if not change.is_manual and not has_provider:
        raise Unavailable("provider_not_configured", "no provider is configured; set PAYGRADE_STRIPE_API_KEY")
    if not await tx.plan_changes.add(change):
        raise Refused("change_under_way", f"`{held.key}` is being changed right now; try again")
    await tx.plan_changes.step(held.key, change.id, "asked", detail, at)
    asked = {
        name: getattr(change, name)
        for name in ("act", "quote", "subscription", "reverts", "effective_at", "trial_ends_at", "expected")
    }
    note(tx, "plan_change.request", held.key, targets=_target(change.id), changes=asked, personal=because(reason),
         at=at)  # fmt: skip
    return change


def _refuse_stated(change: PlanChange) -> None:
    """What follows from a contract, or is billed by a system that only tells of it, is changed there."""
    kind, _, id = change.subject.partition(":")
    if kind == "contract":
        raise Refused("not_possible_now", f"`{change.subscription}` is a contract; state its new terms with "
                      f"`PUT /v1/accounts/{change.account}/contracts/{id}`")  # fmt: skip
    if kind == "billing":
        raise Refused("not_possible_now", f"`{change.subscription}` is billed by `{id}`; change it there")


async def _refuse_outdated(tx: "Transaction", held: Account, made: Quote, at: datetime) -> None:
    used = await tx.plan_changes.of_quote(held.key, made.id)
    if used is not None:
        raise Refused("quote_used", f"`{made.id}` was used for `{used.id}`; create another quote")
    if made.expires_at is not None and made.expires_at <= at:
        raise Refused("quote_expired", f"`{made.id}` expired at {made.expires_at:%H:%M} UTC; create another quote")
    if made.account_version != held.version:
        raise Refused(
            "account_changed",
            f"`{held.key}` has changed since `{made.id}` was made (version {made.account_version}, now "
            f"{held.version}); create another quote",
        )
    catalog = await tx.catalogs.in_force()
    if made.catalog_version != catalog.version:
        raise Refused("catalog_changed", f"the catalog has changed since `{made.id}` was made; create another quote")
    if made.when != "now" and made.effective_at <= held.time(at):
        raise Refused("quote_expired", f"`{made.id}` was for {made.effective_at:%Y-%m-%d %H:%M} UTC, which is past")
    counted, _ = await with_balances(tx, snapshot(held, catalog, at), at)
    active_at = await tx.ledger.active_at(held.key, list(held.seated))
    now = quote(held, catalog, counted, made.wanted, held.time(at), active_at=active_at)
    if not now.executable:
        over = ", ".join(f"`{v.feature}` ({v.used}, {v.limit} allowed)" for v in now.violations if v.policy == "refuse")
        raise Refused("change_refused", f"the rule refuses the change while something is over the new limits: {over}")


async def _stated(
    tx: "Transaction",
    held: Account,
    change: PlanChange,
    subscription: Subscription,
    at: datetime,
    *,
    state: str = "applied",
) -> PlanChange:
    """State a subscription that nobody bills, as it is after the change."""
    statement = held.statements[change.subject]
    after = await record(
        tx,
        held,
        subject=change.subject,
        body=ManualSubscription(subscription),
        sequence=statement.sequence + 1,
        cause=[change.id],
        at=at,
    )
    after = await follow_transition(tx, held, after, at=at)
    now = await tx.plan_changes.hold(held.key, change.id)
    assert now is not None
    if now.state not in UNDER_WAY:
        return now
    if state == "canceled":
        return await resolved(tx, now, "canceled", after, at=at)
    if change.effective_at is None:
        return await resolved(tx, now, "applied", after, at=at)
    planned = replace(now, state="scheduled")
    await tx.plan_changes.save(planned)
    await scheduled(tx, planned, f"{change.effective_at:%Y-%m-%d %H:%M} UTC", at=at)
    return planned


def without_schedule(subscription: Subscription, change: PlanChange) -> Subscription:
    """A subscription of manual billing without what a change has scheduled."""
    return replace(subscription, ends_at=None) if change.act == "cancel" else replace(subscription, next=())


def _one_of(held: Account, named: str | None) -> Subscription:
    """The subscription that is meant: the one named, else the only one that lives."""
    live = [s for s in held.subscriptions if s.status not in NOT_LIVE]
    found = [s for s in live if named in (None, s.id)]
    if not found:
        which = f"no live subscription `{named}`" if named else "no live subscription"
        raise Refused("no_subscription_to_change", f"`{held.key}` has {which}")
    if len(found) > 1:
        listed = ", ".join(f"`{s.id}`" for s in found)
        raise Refused("no_subscription_to_change", f"`{held.key}` has more than one; name one of {listed}")
    return found[0]


def _target(id: str) -> list[tuple[str, str]]:
    return [("plan_change", id)]


def _same(known: PlanChange, is_same: bool) -> PlanChange:
    if not is_same:
        raise Refused("key_conflict", f"this key was used for another request before (`{known.id}`); take another one")
    return known


def _unknown(account: str, id: str) -> Refused:
    return Refused(
        "unknown_change", f"`{account}` has no plan change `{id}`; list its plan changes to see which there are"
    )


def _id() -> str:
    return f"chg_{secrets.token_hex(10)}"
