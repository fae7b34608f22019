"""Quotes: what a plan change would do, said before it is done.

Laws: a quote names the versions of the account and the catalog it was made on, and expires; while a provider is asked,
no transaction is open; what the provider says of money counts, and a quote says where the sums come from.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Customer
from paygrade.changes.plan_change import PlanChange, cooling_until, coolings, is_reversal
from paygrade.changes.quote import Caveat, Quote, quote
from paygrade.changes.request import ChangeRequest
from paygrade.decisions.take import snapshot
from paygrade.providers.port import Previewer
from paygrade.server.operations.accounts.record import load_account
from paygrade.server.state.balances import with_balances
from paygrade.values.errors import Refused, Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

VALID_FOR = timedelta(hours=1)
KEPT = timedelta(days=45)
_OF_THE_FORMULA = ("price_unknown", "metered_not_counted", "coupon_not_counted")


async def quote_change(
    store: "Store",
    previewer: Previewer | None,
    *,
    account: str,
    wanted: ChangeRequest,
    reverts: str | None = None,
    at: datetime,
) -> Quote:
    """Quote a plan change.

    Preview what the change does to access, usage, members and money, and when. Nothing changes; the quote can be
    accepted for an hour. Refused `unknown_account`, `no_subscription_to_change`,
    `unknown_plan`, `unknown_add_on`, `unknown_price`, `ambiguous_price`, `quantity_not_sold`, `same_as_now`,
    `amount_too_large`, `change_refused`, `cooling_off`, `date_in_the_past`, `provider_refused_change`. `reverts`: the
    change it takes back.
    """
    at = at.replace(microsecond=0)
    async with store.transaction() as tx:
        known, catalog = (await load_account(tx, account)).account, await tx.catalogs.in_force()
        held, _ = await with_balances(tx, snapshot(known, catalog, at), at)
        active_at = await tx.ledger.active_at(account, list(known.seated))
        earlier = await tx.plan_changes.of_plans(account)
        cooling = coolings(earlier, known)
        made = quote(known, catalog, held, wanted, known.time(at), active_at=active_at, coolings=cooling)
        _refuse_cooling(earlier, known, made)
        others = await tx.plan_changes.under_way(account, locked=False)
    made = replace(made, reverts=reverts, warnings=(*made.warnings, *_warnings(others, made)))
    if previewer is not None and _is_at_provider(known, made.subscription):
        made = await _previewed(previewer, made)
    content = msgspec.json.encode(made)
    kept = replace(
        made,
        id=f"quote_{secrets.token_hex(10)}",
        expires_at=at + VALID_FOR,
        digest=hashlib.sha256(content).hexdigest()[:32],
    )
    async with store.transaction() as tx:
        await tx.quotes.save(kept)
    return kept


def _refuse_cooling(earlier: Iterable[PlanChange], account: Account, made: Quote) -> None:
    latest = next((change for change in earlier if change.subscription == made.subscription), None)
    if latest is None or not is_reversal(made, latest):
        return
    subscription = next(s for s in account.subscriptions if s.id == made.subscription)
    until = cooling_until(latest, subscription)
    if until is not None and latest.settlement is not None and made.effective_at < until:
        raise Refused(
            "cooling_off",
            f"`{latest.id}` changed from `{made.plan_after}` at {latest.settlement.at:%Y-%m-%d %H:%M} UTC; the rule "
            f"allows no change back before {until:%Y-%m-%d %H:%M} UTC",
        )


def _warnings(others: Iterable[PlanChange], made: Quote) -> Iterator[Caveat]:
    for change in others:
        if change.state == "scheduled" and change.subscription == made.subscription:
            when = f" for {change.effective_at:%Y-%m-%d %H:%M} UTC" if change.effective_at else ""
            yield Caveat("another_scheduled", f"`{change.id}` is scheduled{when}; cancel it before this one is made")
        elif change.state != "scheduled":
            yield Caveat("another_under_way", f"`{change.id}` is {change.state}; wait until it finishes, or cancel it")


async def get_quote(store: "Store", *, account: str, id: str) -> Quote:
    """Retrieve a quote.

    The quote as it was made, expired or not. Refused `unknown_quote`.
    """
    async with store.transaction() as tx:
        found = await tx.quotes.load(account, id)
    if found is None:
        raise Refused("unknown_quote", f"`{account}` has no quote `{id}`; create one with `POST …/plan-changes/quote`")
    return found


async def purge_quotes(store: "Store", *, at: datetime) -> int:
    """Forget quotes that expired 45 days ago; returns how many."""
    async with store.transaction() as tx:
        return await tx.quotes.purge(until=at - KEPT)


def _is_at_provider(account: Account, subscription: str) -> bool:
    customers = (s.body for s in account.statements.values() if isinstance(s.body, Customer))
    return any(one.id == subscription for customer in customers for one in customer.subscriptions)


async def _previewed(previewer: Previewer, made: Quote) -> Quote:
    """The quote with the provider's sums; with the formula's, and a warning, where the provider does not answer."""
    try:
        money = await asyncio.to_thread(previewer.preview, made)
    except Unavailable as error:
        caveat = Caveat(
            "preview_unavailable", f"the sums are the formula's, as the provider did not say: {error.detail}"
        )
        return replace(made, warnings=(*made.warnings, caveat))
    if money is None:
        return made
    invoices = [invoice for invoice in (money.invoice, money.next_invoice) if invoice is not None]
    if all(invoice.source == "provider" for invoice in invoices):
        warnings = tuple(caveat for caveat in made.warnings if caveat.code not in _OF_THE_FORMULA)
        return replace(made, money=money, warnings=warnings)
    return replace(made, money=money)
