"""Buying top-ups: one charge and one grant for each, wherever a process is killed.

Theory of operation. A top-up that was asked for is claimed, and its purchase advanced one step at a time. Each step
first looks how the invoice stands at the provider and then does the one thing that comes next: draft it, put the
amount on it, finalize it, pay it. What a step found is saved before the next one. So a step that was taken and not
saved is seen by the next look, and one that is taken twice has an idempotency key of the top-up's to be the same. An
invoice is paid once, whoever asks; the units are granted in the transaction that notes it as paid.

On a page the customer pays, and nothing is done here but to look: when an event tells of the page, when somebody who
comes back waits for it, and once an hour. A page on which nothing was bought in time is forgotten.

A purchase that was paid is looked at again when something happened to a payment of its customer: of what went back of
its money the units are taken back that are left, as the policy says, and are given again when a dispute is won.

Laws: the provider is asked only for an order that is written down; units are granted if and only if an invoice was
paid, once for each top-up; a top-up that comes to nothing leaves no invoice behind that could still be paid.
"""

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.providers.port import Charging
from paygrade.server.operations.usage.grants import grant_units, take_back
from paygrade.server.workers.claims import Queue, give_back
from paygrade.updates.log import News
from paygrade.updates.types import TopUpUpdate
from paygrade.usage.balances import Grant
from paygrade.usage.entries import digest
from paygrade.usage.provider_reports import payer
from paygrade.usage.top_ups import Bill, Order, to_take_back
from paygrade.values.errors import Refused, Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction
    from paygrade.postgres.top_ups import SavedTopUp
    from paygrade.server.process.clock import Clock

LEASE_S = 90.0
"""Longer than one step takes, with all that is asked for it."""
WAIT_S = 60.0
"""How often to look whether a payment that takes a while has arrived."""
LOOK_AT_PAGE_S = 3600.0
"""The same for a page that waits for its customer, if nobody tells of it before."""
GIVEN_UP = timedelta(days=1)
"""Units are wanted now: what could not be charged for within a day is not charged for any more."""
STEPS_MAX = 12
"""More than any purchase takes; an invoice that leads in a circle is looked at again later."""


TOP_UPS: "Queue[SavedTopUp]" = Queue("top_up", lambda tx: tx.top_ups, ("account", "credit", "id"), LEASE_S)

Outcome = Literal["paid", "failed", "waits", "paused", "overtaken", "checked", "abandoned"]


async def buy_top_up(store: "Store", provider: Charging, clock: "Clock", claimed: "SavedTopUp") -> Outcome:
    """Advance a claimed top-up to its end, or to where it has to wait; one that was paid is looked at again."""
    if claimed.state == "paid":
        return await check_returned(store, provider, claimed, at=clock.now())
    for _ in range(STEPS_MAX):
        order = await prepare(store, claimed, at=clock.now())
        if not isinstance(order, Order):
            return order
        try:
            bill = await asyncio.to_thread(provider.advance, order)
        except Refused as refused:
            bill = Bill(order.invoice, "open" if order.invoice else "draft", declined=refused.detail)
        except Unavailable as error:
            return await _pause(store, claimed, error)
        outcome = await note(store, claimed, bill, at=clock.now())
        if outcome is not None:
            return outcome
    return await _pause(store, claimed, Unavailable("provider_answer_invalid", "its invoice does not finish"))


async def prepare(store: "Store", claimed: "SavedTopUp", *, at: datetime) -> Order | Outcome:
    """Write down who is to pay, before anybody is asked to."""
    async with store.transaction() as tx:
        held = await tx.top_ups.lock(claimed)
        if held is None:
            return "overtaken"
        if held.customer is None:
            customer = await _payer(tx, held, at)
            if customer is None:
                failed = replace(held, state="failed", reason="no_customer", resolved_at=at)
                await tx.top_ups.save(failed)
                await _tell(tx, "failed", failed, at)
                return "failed"
            held = replace(held, customer=customer)
        if held.session is None and held.reason is None and at - held.round_at >= GIVEN_UP:
            held = replace(held, reason="not_charged_in_time")
        await tx.top_ups.save(held, lease_s=LEASE_S)
    assert held.customer is not None
    return _order(held)


def _order(held: "SavedTopUp") -> Order:
    return Order(
        id=held.id,
        round=held.round,
        account=held.account,
        customer=held.customer or "",
        description=f"{held.units} {held.credit}",
        amount=held.amount,
        currency=held.currency,
        since=held.round_at,
        invoice=held.invoice,
        declined=held.reason is not None,
        tries=held.attempts,
        session=held.session,
    )


async def check_returned(store: "Store", provider: Charging, claimed: "SavedTopUp", *, at: datetime) -> Outcome:
    """Look what went back of the money of a purchase, and take units back or give them again."""
    try:
        returned = await asyncio.to_thread(provider.returned, _order(claimed))
    except Unavailable as error:
        return await _pause(store, claimed, error)
    async with store.transaction() as tx:
        held = await tx.top_ups.lock(claimed)
        if held is None:
            return "overtaken"
        policy = (await tx.catalogs.in_force()).policies.top_ups.get(held.credit)
        taken = await take_back(
            tx,
            account=held.account,
            pool=held.credit,
            id=held.id,
            units=to_take_back(held, returned, policy),
            taken=held.taken_back,
            number=claimed.fence,
            at=at,
        )
        checked = replace(held, to_check=False, reversed=returned.total, taken_back=taken, error=None, attempts=0)
        await tx.top_ups.save(checked)
        if (returned.total, taken) != (held.reversed, held.taken_back):
            await _tell(tx, "refunded", checked, at)
    return "checked"


async def note(store: "Store", claimed: "SavedTopUp", bill: Bill, *, at: datetime) -> Outcome | None:
    """Save how the purchase stands; None: it goes on. Units are granted with the word that it is paid."""
    async with store.transaction() as tx:
        held = await tx.top_ups.lock(claimed)
        if held is None:
            return "overtaken"
        noted = replace(held, invoice=bill.invoice or held.invoice, error=None, attempts=0)
        match bill.status:
            case "paid":
                paid = replace(noted, state="paid", reason=None, resolved_at=at)
                await tx.top_ups.save(paid)
                await _grant(tx, noted, at)
                await _tell(tx, "bought", paid, at)
                return "paid"
            case "gone" if held.session is not None and bill.declined is None:
                await tx.top_ups.abandon(held)
                return "abandoned"
            case "void" | "gone":
                reason = noted.reason or bill.declined or "the invoice was voided"
                failed = replace(noted, state="failed", reason=reason, resolved_at=at)
                await tx.top_ups.save(failed)
                await _tell(tx, "failed", failed, at)
                return "failed"
            case "draft" | "open":
                if bill.waits:
                    await tx.top_ups.save(noted, retry_s=WAIT_S if held.session is None else LOOK_AT_PAGE_S)
                    return "waits"
                await tx.top_ups.save(replace(noted, reason=noted.reason or bill.declined), lease_s=LEASE_S)
                return None


async def _pause(store: "Store", claimed: "SavedTopUp", error: Unavailable) -> Outcome:
    return "paused" if await give_back(store, TOP_UPS, claimed, error) else "overtaken"


async def _payer(tx: "Transaction", held: "SavedTopUp", at: datetime) -> str | None:
    saved = await tx.accounts.load(held.account)
    account = saved.account if saved else Account(key=held.account)
    return payer(account, await tx.catalogs.in_force(), at)


async def _grant(tx: "Transaction", paid: "SavedTopUp", at: datetime) -> None:
    grant = Grant(paid.id, "top_up", paid.units, from_at=at)
    mark = digest("top_up", paid.id, paid.round)
    await grant_units(
        tx, account=paid.account, pool=paid.credit, grant=grant, reason=f"invoice {paid.invoice}", mark=mark, at=at
    )


async def _tell(
    tx: "Transaction", what: Literal["bought", "failed", "refunded"], its: "SavedTopUp", at: datetime
) -> None:
    told = TopUpUpdate(
        its.id, its.credit, its.units, its.amount, its.currency, its.invoice, its.reason, its.reversed, its.taken_back
    )
    await tx.announce([News(its.account, f"top_up.{what}", told, at)], at)
