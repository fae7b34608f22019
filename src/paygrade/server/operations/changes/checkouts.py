"""Checkouts: hosted pages on which an account buys for the first time, and the portal for whoever has bought.

Theory of operation. A checkout is written down before a provider is asked for it, and claimed by who asks, as all else
is claimed. What was written down is asked for as it was, under its own id, so that who comes after a crash, or at the
same moment, gets the same page. Before an account gets another page, the one before is closed at the provider; what
was bought on it meanwhile is read first.

Laws: an account has one page at a time on which something can be bought, so that nobody buys twice and a trial is
given once; the same request gets the same page as long as it is open; an account changes only by facts.
"""

import asyncio
import hashlib
import secrets
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Subscription
from paygrade.changes.checkout import (
    Checkout,
    CheckoutOrder,
    CheckoutPage,
    CheckoutRequest,
    already_subscribed,
    first_order,
    over,
    page_wanted,
)
from paygrade.providers.port import PortalFlow, Selling
from paygrade.server.operations.accounts.record import load_account
from paygrade.server.operations.audit.note import note
from paygrade.server.operations.sync.lookup import read_within
from paygrade.server.process import tracing
from paygrade.values.errors import Refused, Unavailable
from paygrade.values.states import TERMINAL

if TYPE_CHECKING:
    from paygrade.postgres.checkouts import SavedCheckout
    from paygrade.postgres.store import Store, Transaction
    from paygrade.server.process.clock import Clock

LEASE_S = 90.0
"""Longer than a provider takes to make a page, or to close one."""
WAIT_S, LOOK_S = 20.0, 0.05
"""How long to wait for another request that opens or closes the account's page, and how often to look."""
LEFT = timedelta(minutes=2)
"""A page that ends sooner is not handed out again."""
ASKED_AGAIN_FOR = timedelta(hours=22)
"""For how long a page that was asked for can be asked for again: Stripe forgets after a day which requests were the
same, and by then the page is over."""
READ_WITHIN = timedelta(hours=1)
"""For how long what was bought on a page keeps another one from being opened, though no fact tells of it."""
KEPT = timedelta(days=45)

Todo = Literal["ready", "open", "close", "wait"]


class CheckoutView(Struct, frozen=True):
    """A page on which an account can buy until `expires_at`. Send the customer to `url`; `session` is what to wait for
    with `at_least` once they are back. `trial_days`: the first ones cost nothing."""

    account: str
    checkout: str
    session: str
    url: str
    expires_at: datetime
    plan: str
    trial_days: int | None


class PortalView(Struct, frozen=True):
    """Where a customer sees to their payments, for a short while."""

    account: str
    url: str


class _Asked(Struct, frozen=True):
    account: str
    wanted: CheckoutRequest
    success_url: str
    cancel_url: str


async def start_checkout(
    store: "Store",
    pages: Selling,
    clock: "Clock",
    *,
    account: str,
    wanted: CheckoutRequest,
    success_url: str,
    cancel_url: str,
) -> CheckoutView:
    """Start a checkout.

    A page of the provider where the account buys a plan. The account need not exist yet. The same request gets the same
    page until that expires; another request closes the page before. Refused `already_subscribed` where an account
    changes its plan instead, `unknown_plan`, `unknown_add_on`, `unknown_price`, `ambiguous_price`, `quantity_not_sold`,
    `trial_not_given`, `trial_used`, `coupon_not_allowed`, `provider_refused_page`. Unavailable `contended`,
    `provider_answer_invalid`, `provider_busy`, `provider_rate_limited`, `provider_refused_key`, `provider_unreachable`.
    """
    asked = _Asked(account, wanted, success_url, cancel_url)
    until = time.monotonic() + WAIT_S
    while True:
        todo, held = await _next(store, pages.name, asked, at=clock.now())
        if todo == "open" and held is not None:
            held = await _opened(store, pages, held, clock)
        elif todo == "close" and held is not None:
            await _closed(store, pages, held, clock, seconds=max(0.0, until - time.monotonic()))
            continue
        if held is not None and todo != "wait":
            return _view(held)
        if time.monotonic() >= until:
            raise Unavailable("contended", f"another request is opening a checkout of `{account}`; try again")
        await asyncio.sleep(LOOK_S)


async def open_portal(
    store: "Store",
    pages: Selling,
    clock: "Clock",
    *,
    account: str,
    return_url: str,
    flow: PortalFlow | None = None,
    subscription: str | None = None,
) -> PortalView:
    """Open the billing portal.

    A page of the provider where the account's customer changes how they pay, sees invoices, cancels or changes plans,
    as the provider is set up. With `flow` they come to do one thing. Refused `unknown_account`, `no_customer`,
    `no_subscription_to_change`, `provider_refused_page`. Unavailable `provider_answer_invalid`, `provider_busy`,
    `provider_rate_limited`, `provider_refused_key`, `provider_unreachable`.
    """
    async with store.transaction() as tx:
        held = (await load_account(tx, account)).account
    customer, its = customer_of(held, subscription, flow)
    with tracing.span("open portal at provider"):
        url = await asyncio.to_thread(
            pages.open_portal, customer=customer, return_url=return_url, flow=flow, subscription=its
        )
    async with store.transaction() as tx:
        note(
            tx, "billing_portal.open", account, targets=[("customer", customer)], changes={"flow": flow}, at=clock.now()
        )
    return PortalView(account, url)


async def purge_checkouts(store: "Store", *, at: datetime) -> int:
    """Forget checkouts on which nothing was bought, 45 days after they were asked for; returns how many."""
    async with store.transaction() as tx:
        return await tx.checkouts.purge(until=at - KEPT)


async def _next(store: "Store", provider: str, asked: _Asked, *, at: datetime) -> "tuple[Todo, SavedCheckout | None]":
    """What comes next, and of which checkout, claimed where something is to be done."""
    async with store.transaction() as tx:
        order = await _order(tx, provider, asked, at)
        request = hashlib.sha256(msgspec.json.encode(page_wanted(order))).hexdigest()
        current = await tx.checkouts.open_one(asked.account)
        if current is None:
            id = f"checkout_{secrets.token_hex(10)}"
            made = Checkout(
                account=asked.account, id=id, request=request, plan=order.plan, trial_days=order.trial_days,
                state="asked", asked_at=at,
            )  # fmt: skip
            begun = await tx.checkouts.begin(made, replace(order, id=id), lease_s=LEASE_S)
            return ("open", begun) if begun is not None else ("wait", None)
        if _is_good(current, request, at):
            return "ready", current
        key = {"account": current.account, "id": current.id}
        found = await tx.checkouts.candidates(limit=1, **key)
        taken = await tx.checkouts.take(found[0], lease_s=LEASE_S, **key) if found else None
        if taken is None:
            return "wait", None
        if _is_good(taken, request, at):
            # Its page came between the look and the claim.
            await tx.checkouts.save(taken)
            return "ready", taken
        return ("open" if taken.request == request and _can_be_asked_again(taken, at) else "close"), taken


def _is_good(held: "SavedCheckout", request: str, at: datetime) -> bool:
    """Whether its page is what is asked for, and there is time to buy on it."""
    is_open = held.url is not None and held.expires_at is not None and held.expires_at > at + LEFT
    return held.request == request and is_open


async def _order(tx: "Transaction", provider: str, asked: _Asked, at: datetime) -> CheckoutOrder:
    saved, catalog = await tx.accounts.load(asked.account), await tx.catalogs.in_force()
    held = saved.account if saved is not None else Account(asked.account)
    known = {subscription.id for subscription in held.subscriptions}
    for bought in await tx.checkouts.completed(asked.account):
        is_new = bought.closed_at is not None and bought.closed_at > at - READ_WITHIN
        if is_new and bought.subscription not in known:
            raise already_subscribed(asked.account, f"`{bought.subscription}`, which is being read")
    had_trial = await tx.checkouts.had_trial(asked.account)
    order = first_order(held, catalog, asked.wanted, held.time(at), had_trial=had_trial)
    if order.customer is None:
        made = await tx.checkouts.customers(asked.account)
        # One that a fact tells of and that is not the account's is gone, or another's.
        unread = [id for id in made if f"{provider}:{id}" not in held.statements]
        order = replace(order, customer=unread[0], named=True) if unread else order
    return replace(order, success_url=asked.success_url, cancel_url=asked.cancel_url)


def _can_be_asked_again(held: "SavedCheckout", at: datetime) -> bool:
    return held.session is None and held.ordered is not None and held.asked_at > at - ASKED_AGAIN_FOR


async def _opened(store: "Store", pages: Selling, held: "SavedCheckout", clock: "Clock") -> "SavedCheckout | None":
    """The checkout with its page; None: somebody else has claimed it since."""
    page = await _asked_for(store, pages, held, clock)
    async with store.transaction() as tx:
        # Subjects are locked before anything else, everywhere.
        if held.ordered is not None and not held.ordered.named:
            await tx.subjects.mark([f"{pages.name}:{page.customer}"])
            await tx.tell("paygrade_subject")
        locked = await tx.checkouts.lock(held)
        if locked is None:
            return None
        opened = replace(
            locked, state="open", session=page.session, url=page.url, expires_at=page.expires_at,
            customer=page.customer, attempts=0,
        )  # fmt: skip
        await tx.checkouts.save(opened)
        sold = {} if held.ordered is None else {"coupon": held.ordered.coupon, "items": _sold(held.ordered)}
        note(
            tx, "checkout.open", held.account, targets=[("checkout", held.id)],
            changes={"plan": held.plan, "trial_days": held.trial_days, **sold}, at=clock.now(),
        )  # fmt: skip
        return opened


async def _asked_for(store: "Store", pages: Selling, held: "SavedCheckout", clock: "Clock") -> CheckoutPage:
    """What the provider answers to the order. Refused: then there is nothing to sell; Unavailable: it is in doubt."""
    assert held.ordered is not None, "what was erased is not asked for again"
    order = replace(held.ordered, tries=held.attempts)
    try:
        with tracing.span("open checkout at provider"):
            return await asyncio.to_thread(pages.open_checkout, order)
    except Refused:
        await _over(store, held, "failed", at=clock.now())
        raise
    except Unavailable as error:
        await _let_go(store, held, error)
        raise


async def _closed(store: "Store", pages: Selling, held: "SavedCheckout", clock: "Clock", *, seconds: float) -> None:
    """Close the page of a checkout, and read what was bought there, for at most so many seconds."""
    if held.session is None and not _can_be_asked_again(held, clock.now()):
        # If it was ever made, it is over.
        await _over(store, held, "expired", at=clock.now())
        return
    try:
        session = held.session or (await _asked_for(store, pages, held, clock)).session
    except Refused:
        return
    try:
        with tracing.span("close checkout at provider"):
            page = await asyncio.to_thread(pages.close_checkout, session)
    except Unavailable as error:
        await _let_go(store, held, error)
        raise
    async with store.transaction() as tx:
        subject = f"{pages.name}:{page.customer}"
        marked = await tx.subjects.mark([subject], asked=True) if page.state == "complete" else {}
        locked = await tx.checkouts.lock(held)
        if locked is not None:
            await tx.checkouts.save(over(locked, page, at=clock.now()))
        if marked:
            await tx.tell("paygrade_subject")
    await read_within(store, marked, seconds=seconds)


async def _over(store: "Store", held: "SavedCheckout", state: Literal["expired", "failed"], *, at: datetime) -> None:
    async with store.transaction() as tx:
        locked = await tx.checkouts.lock(held)
        if locked is not None:
            await tx.checkouts.save(replace(locked, state=state, closed_at=at))


async def _let_go(store: "Store", held: "SavedCheckout", error: Unavailable) -> None:
    async with store.transaction() as tx:
        await tx.checkouts.fail(held, error=f"{error.code}: {error.detail}", retry_s=0)


def _sold(order: CheckoutOrder) -> list[dict[str, object]]:
    return [{"key": item.after, "quantity": item.quantity_after, "price": item.interval_after} for item in order.items]


def _view(held: "SavedCheckout") -> CheckoutView:
    assert held.session is not None
    if held.url is None or held.expires_at is None:
        raise Unavailable("provider_answer_invalid", f"the session `{held.session}` was made without an address")
    return CheckoutView(
        held.account, held.id, held.session, held.url, held.expires_at, held.plan, held.trial_days
    )  # fmt: skip


def customer_of(account: Account, named: str | None = None, flow: PortalFlow | None = None) -> tuple[str, str | None]:
    """Whose portal it is, and for the flows of a subscription which one: the customer who pays for something, else the
    latest. Refused `no_customer`, `no_subscription_to_change`."""
    customers = sorted(
        (c for c in account.customers if not c.deleted and not c.is_ownerless), key=lambda c: c.created_at
    )
    if not customers:
        raise Refused("no_customer", f"`{account.key}` has no customer at the provider yet; start a checkout")
    live: list[tuple[str, Subscription]] = [
        (c.id, s) for c in customers for s in c.subscriptions if s.status not in TERMINAL and named in (None, s.id)
    ]
    if flow in ("subscription_cancel", "subscription_update") or named is not None:
        if len(live) != 1:
            which = f"no live subscription `{named}`" if named else "no live subscription"
            listed = ", ".join(f"`{s.id}`" for _, s in live)
            raise Refused(
                "no_subscription_to_change",
                f"`{account.key}` has more than one; name one of {listed}" if live else f"`{account.key}` has {which}",
            )
        return live[0][0], live[0][1].id
    return (live[-1][0] if live else customers[-1].id), None
