"""Top-ups that a customer buys: a hosted page that sells packs of a credit, as the catalog prices them.

Laws: a page is handed out only once it is written down, so what is paid there is granted, whoever stops meanwhile; what
it sells and for how much is the catalog's; what was bought is asked of the provider, never taken from who comes back.
"""

import asyncio
import secrets
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.billing.accounts import Account
from paygrade.catalog.model import Catalog, TopUp
from paygrade.providers.port import Selling
from paygrade.server.operations.audit.note import note
from paygrade.server.process import tracing
from paygrade.usage.top_ups import PackOrder
from paygrade.values.errors import Refused, Unavailable
from paygrade.values.text import one_of

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction
    from paygrade.server.process.clock import Clock

LOOK_S = 3600.0
"""When a page is looked at that nothing was heard of."""
OPEN_MAX = 20
"""How many pages of one account may wait at once."""


class TopUpPageView(Struct, frozen=True):
    """A page on which an account can buy `units` of a credit for `amount` minor units, until `expires_at`. Send the
    customer to `url`; `session` is what to wait for with `at_least` once they are back."""

    account: str
    top_up: str
    session: str
    url: str
    expires_at: datetime
    credit: str
    units: int
    amount: int
    currency: str


async def start_top_up(
    store: "Store",
    pages: Selling,
    clock: "Clock",
    *,
    account: str,
    credit: str,
    packs: int,
    success_url: str,
    cancel_url: str,
) -> TopUpPageView:
    """Sell a top-up.

    A page of the provider where the account's customer buys packs of a credit: as many units and for as much as the
    catalog's `policies.top_up` says of the credit. The units are granted once they are paid. Refused
    `unknown_feature`, `unknown_price`, `top_up_open`, `provider_refused_page`. Unavailable
    `provider_answer_invalid`, `provider_busy`, `provider_rate_limited`, `provider_refused_key`, `provider_unreachable`.
    """
    async with store.transaction() as tx:
        policy = _sold(await tx.catalogs.in_force(), credit)
        if await tx.top_ups.pages_open(account) >= OPEN_MAX:
            raise Refused("top_up_open", f"`{account}` has {OPEN_MAX} pages open; use one of them, or wait a day")
        customer, name, named = await _buyer(tx, pages.name, account)
    order = PackOrder(
        id=f"top_{secrets.token_hex(12)}", account=account, name=name, customer=customer, named=named, credit=credit,
        units=policy.add, amount=policy.amount, currency=policy.currency, packs=packs, success_url=success_url,
        cancel_url=cancel_url,
    )  # fmt: skip
    with tracing.span("open top-up at provider"):
        page = await asyncio.to_thread(pages.open_top_up, order)
    if page.url is None or page.expires_at is None:
        raise Unavailable("provider_answer_invalid", f"the session `{page.session}` was made without an address")
    async with store.transaction() as tx:
        # Subjects are locked before anything else, everywhere.
        if not named:
            await tx.subjects.mark([f"{pages.name}:{page.customer}"])
            await tx.tell("paygrade_subject")
        await tx.top_ups.add_page(order, page, look_s=LOOK_S, at=clock.now())
        changes = {"credit": credit, "units": policy.add * packs, "amount": policy.amount * packs}
        note(
            tx, "top_up.open", account, targets=[("top_up", order.id)],
            changes={**changes, "currency": policy.currency}, at=clock.now(),
        )  # fmt: skip
    return TopUpPageView(
        account, order.id, page.session, page.url, page.expires_at, credit, policy.add * packs, policy.amount * packs,
        policy.currency,
    )  # fmt: skip


def _sold(catalog: Catalog, credit: str) -> TopUp:
    policy = catalog.policies.top_ups.get(credit)
    if policy is not None:
        return policy
    if credit not in catalog.features and credit not in catalog.credits:
        raise Refused("unknown_feature", f"the catalog has no credit `{credit}`")
    sold = f"; it tops up {one_of(tuple(catalog.policies.top_ups))}" if catalog.policies.top_ups else ""
    raise Refused("unknown_price", f"the catalog sells no packs of `{credit}`{sold}: add it to `policies.top_up`")


async def _buyer(tx: "Transaction", provider: str, account: str) -> tuple[str | None, str, bool]:
    """The customer who buys, if there is one, how the account is called, and whether the customer names the account."""
    saved = await tx.accounts.load(account)
    held = saved.account if saved is not None else Account(account)
    customers = (c for c in held.customers if not c.deleted and not c.is_ownerless)
    customer = max(customers, key=lambda c: c.created_at, default=None)
    if customer is not None:
        return customer.id, held.name, customer.account == account and customer.account_of is None
    made = await tx.top_ups.customers(account) + await tx.checkouts.customers(account)
    # One that a fact tells of and that is not the account's is gone, or another's.
    unread = [id for id in made if f"{provider}:{id}" not in held.statements]
    return (unread[0] if unread else None), held.name, bool(unread)
