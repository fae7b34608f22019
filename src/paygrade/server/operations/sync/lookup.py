"""Live lookup: for whoever cannot wait for a webhook, and for whoever must see at least what they know of.

Laws: what is read is read by the fenced fetch and nothing else; a wait ends; what did not come about in time is said,
never made up; who comes back from a checkout is not believed, but what the provider says of it is read.
"""

import asyncio
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Customer
from paygrade.changes.checkout import CheckoutPage, over
from paygrade.providers.port import Selling
from paygrade.server.operations.accounts.access import EntitlementsView, entitlements
from paygrade.server.operations.accounts.record import load_account
from paygrade.values.errors import Refused, Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.checkouts import SavedCheckout
    from paygrade.postgres.store import Store
    from paygrade.postgres.subjects import MarkedSubject
    from paygrade.server.process.clock import Clock
    from paygrade.server.state.snapshots import Snapshots

WAIT_MAX_S = 30
LOOK_S = 0.05
"""How often to look whether what others do is done."""
PEEK_S = 0.01
"""The same for what is in memory."""
ASK_FIRST_S = 0.25
"""How long to wait before a provider is asked the same again, twice as long each time."""
VERSION = re.compile(r"([0-9]{1,15})\.([0-9]{1,15})")

Version = tuple[int, int]
"""Of the catalog and of the account. A later view has neither of them smaller."""


class RefreshedView(EntitlementsView, frozen=True, kw_only=True):
    """What an account may use, as the provider just stated it.

    `stale`: it did not state everything within the time to wait, so this is what was known before; `error` is what went
    wrong, if something did.
    """

    stale: bool
    error: str | None


async def refresh(store: "Store", provider: str, clock: "Clock", *, account: str, wait_s: float) -> RefreshedView:
    """Refresh an account.

    Read the account's customers from the provider now, without waiting for a webhook, and answer the entitlements as
    soon as that is saved. With `stale`, the provider did not answer in time: it is asked again, and this is what was
    known before. Refused `unknown_account`.
    """
    async with store.transaction() as tx:
        # Whoever has just bought for the first time may be known by their checkout alone.
        made = await tx.checkouts.customers(account) + await tx.top_ups.customers(account)
        buying = {f"{provider}:{customer}" for customer in made}
        saved = await tx.accounts.load(account) if buying else await load_account(tx, account)
        subjects = buying | (_customers(saved.account, provider) if saved is not None else set())
        marked = await tx.subjects.mark(subjects, asked=True) if subjects else {}
        if marked:
            await tx.tell("paygrade_subject")
    unread, error = await read_within(store, marked, seconds=wait_s)
    now = clock.now()
    view = await entitlements(store, account=account, as_of=now, now=now)
    fields = {name: getattr(view, name) for name in view.__struct_fields__}
    return RefreshedView(**fields, stale=unread, error=error)


async def read_within(store: "Store", marked: "dict[str, MarkedSubject]", *, seconds: float) -> tuple[bool, str | None]:
    """Wait until readings that began after these marks are saved; whether some are not, and what went wrong."""
    until = time.monotonic() + seconds
    while marked:
        async with store.transaction() as tx:
            stored = await tx.subjects.stored(marked)
        unread = [known for subject, known in stored.items() if known.synced < marked[subject].dirty]
        if not unread:
            break
        if time.monotonic() >= until:
            return True, next((known.error for known in unread if known.error is not None), None)
        await asyncio.sleep(LOOK_S)
    return False, None


async def see_at_least(
    store: "Store",
    snapshots: "Snapshots",
    clock: "Clock",
    pages: Selling | None = None,
    *,
    account: str,
    at_least: str,
    wait_s: float,
) -> None:
    """Wait until what this process knows of the account is at least of this version, has taken in this billing event,
    or what was bought in this session of a checkout. Refused `not_yet`."""
    until = time.monotonic() + wait_s
    stated = VERSION.fullmatch(at_least)
    version = (int(stated[1]), int(stated[2])) if stated else None
    if version is None and pages is not None:
        version = await _version_with_checkout(store, pages, clock, account, at_least, until=until)
        if version is None and await _has_topped_up(store, account, at_least, until=until):
            snapshots.forget(account)
            return
    while True:
        if version is None:
            version = await _version_with(store, account, at_least)
        if version is not None:
            found = await snapshots.load(store, account, clock.now())
            if all(have >= need for have, need in zip(_numbers(found.version), version, strict=True)):
                return
        if time.monotonic() >= until:
            what = f"version `{at_least}`" if stated else f"billing event `{at_least}`"
            raise Refused("not_yet", f"{what} of `{account}` is not here yet after {wait_s:g} seconds; ask again")
        await asyncio.sleep(PEEK_S if version is not None else LOOK_S)


async def _version_with_checkout(
    store: "Store", pages: Selling, clock: "Clock", account: str, session: str, *, until: float
) -> Version | None:
    """A version of the account with what it bought in this session; None: no checkout of the account has it.

    The provider is asked for the session, and then for its customer. Refused `not_yet`, where nothing was bought in
    time, or nothing can be any more.
    """
    pause_s = ASK_FIRST_S
    while True:
        async with store.transaction() as tx:
            held = await tx.checkouts.of_session(account, session)
            saved = await tx.accounts.load(account)
        if held is None:
            return None
        if saved is not None and held.subscription in {s.id for s in saved.account.subscriptions}:
            return 0, saved.account.version
        if held.state != "complete":
            page = await _found(pages, session)
            if page is None:
                pass  # the provider is away: ask again
            elif page.state == "expired":
                raise Refused("not_yet", f"nothing was bought in `{session}`, and it has expired; start another")
            elif page.state == "complete":
                await _note_bought(store, held, page, at=clock.now())
                continue
        else:
            async with store.transaction() as tx:
                marked = await tx.subjects.mark([f"{pages.name}:{held.customer}"], asked=True)
                await tx.tell("paygrade_subject")
            unread, _ = await read_within(store, marked, seconds=max(0.0, until - time.monotonic()))
            if not unread and await _has(store, account, held.subscription):
                continue
        if time.monotonic() + pause_s >= until:
            raise Refused("not_yet", f"what is bought in `{session}` is not here yet; ask again")
        await asyncio.sleep(pause_s)
        pause_s *= 2


async def _has_topped_up(store: "Store", account: str, session: str, *, until: float) -> bool:
    """Wait until the units that were bought on this page are granted; False: no top-up of the account has it. Refused
    `not_yet`, where nothing was bought in time."""
    pause_s = LOOK_S
    while True:
        async with store.transaction() as tx:
            held = await tx.top_ups.of_session(account, session)
            if held is None or held.state == "paid":
                return held is not None
            if held.customer is not None:
                await tx.top_ups.look_now(held.customer)
        if held.state == "failed" or time.monotonic() + pause_s >= until:
            why = f"failed: {held.reason}" if held.state == "failed" else "is not here yet; ask again"
            raise Refused("not_yet", f"what is bought in `{session}` {why}")
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, 1.0)


async def _found(pages: Selling, session: str) -> CheckoutPage | None:
    """The page of a session; None: the provider does not say."""
    try:
        return await asyncio.to_thread(pages.find_checkout, session)
    except Unavailable:
        return None


async def _note_bought(store: "Store", held: "SavedCheckout", page: CheckoutPage, *, at: datetime) -> None:
    """Keep that something was bought, whoever may be at work on the checkout: what is complete stays so."""
    async with store.transaction() as tx:
        await tx.checkouts.complete(over(held, page, at=at))


async def _has(store: "Store", account: str, subscription: str | None) -> bool:
    async with store.transaction() as tx:
        saved = await tx.accounts.load(account)
    return saved is not None and any(s.id == subscription for s in saved.account.subscriptions)


async def _version_with(store: "Store", account: str, event_id: str) -> Version | None:
    """A version of the account that has taken in this event; None: there is none yet."""
    async with store.transaction() as tx:
        saved = await tx.accounts.load(account)
        if saved is None or not await tx.inbox.is_handled(_subjects(saved.account), event_id):
            return None
        # Read after the event was seen handled, which is saved together with what it led to.
        saved = await tx.accounts.load(account)
    return (0, saved.account.version) if saved is not None else None


def _numbers(version: str) -> Version:
    catalog, _, account = version.partition(".")
    return int(catalog), int(account)


def _customers(account: Account, provider: str) -> set[str]:
    """The subjects that the provider is asked about."""
    return {subject for subject in _subjects(account) if subject.startswith(f"{provider}:")}


def _subjects(account: Account) -> set[str]:
    """All that billing events of the account may be about: its customers, read or linked and not read yet."""
    read = {subject for subject, told in account.statements.items() if isinstance(told.body, Customer)}
    links = account.profile.links if account.profile is not None else {}
    return read | {f"{provider}:{id}" for provider, ids in links.items() for id in ids}
