"""A checkout: what an account that pays for nothing yet wants to buy, and what a hosted page is to sell for it.

Laws: what is sold is what the catalog sells, at the prices it names at the provider; an account whose subscription
lives changes its plan instead; a trial and a coupon are given as the catalog's policy says, whoever asks.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Subscription
from paygrade.billing.standing import standings
from paygrade.catalog.model import Catalog, CheckoutPolicy, Plan
from paygrade.changes.positions import Position
from paygrade.changes.quote import ItemChange
from paygrade.changes.request import ChangeRequest, first_bought
from paygrade.values.errors import Refused
from paygrade.values.states import NOT_LIVE, TERMINAL
from paygrade.values.text import one_of

CheckoutState = Literal["asked", "open", "complete", "expired", "failed"]
"""`asked`: the provider is being asked for a page. `open`: it waits for the customer. The others are ends: the customer
has bought, it is too late to, or the provider would have none of it."""


class CheckoutRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a checkout asks for. `interval` is a price's key or how often it is paid, `currency` chooses among prices.
    `trial` None: a trial if the policy gives one."""

    plan: str
    add_ons: dict[str, int] = {}
    quantities: dict[str, int] = {}
    interval: str | None = None
    currency: str | None = None
    coupon: str | None = None
    trial: bool | None = None


class CheckoutOrder(Struct, frozen=True, omit_defaults=True):
    """The page a provider is asked for. `id` names it there; `customer` None: one is to be made for the account;
    `named`: the customer names the account already. `tries` counts failures in a row."""

    id: str
    account: str
    name: str
    customer: str | None
    named: bool
    plan: str
    items: tuple[ItemChange, ...]
    trial_days: int | None
    coupon: str | None
    promotion_codes: bool
    success_url: str
    cancel_url: str
    tries: int = 0


class Checkout(Struct, frozen=True, kw_only=True):
    """A page on which an account buys, as it is known here. `request` is a digest of what it sells and of where it
    leads; `subscription` and `closed_at` say what was bought and when that was found, or that nothing was."""

    account: str
    id: str
    request: str
    plan: str
    trial_days: int | None
    state: CheckoutState
    asked_at: datetime
    expires_at: datetime | None = None
    closed_at: datetime | None = None
    session: str | None = None
    customer: str | None = None
    subscription: str | None = None
    url: str | None = None


class CheckoutPage(Struct, frozen=True, omit_defaults=True):
    """A page at the provider. `subscription`: what was bought there."""

    session: str
    state: CheckoutState
    customer: str | None
    url: str | None = None
    expires_at: datetime | None = None
    subscription: str | None = None


def first_order(
    account: Account, catalog: Catalog, request: CheckoutRequest, at: datetime, *, had_trial: bool
) -> CheckoutOrder:
    """The page to ask for, as yet without an id and addresses. `had_trial`: something beside the account's facts knows
    of a trial.

    Refused `already_subscribed`, `unknown_plan`, `unknown_add_on`, `unknown_price`, `ambiguous_price`,
    `quantity_not_sold`, `trial_not_given`, `trial_used` and `coupon_not_allowed`.
    """
    _refuse_subscribed(account, catalog, at)
    wanted = ChangeRequest(
        plan=request.plan, add_ons=request.add_ons, quantities=request.quantities, interval=request.interval
    )
    plan, positions = first_bought(account, catalog, wanted, request.currency, at)
    policy = catalog.policies.checkout
    _refuse_coupon(request.coupon, policy)
    customers = (c for c in account.customers if not c.deleted and not c.is_ownerless)
    customer = max(customers, key=lambda c: c.created_at, default=None)
    return CheckoutOrder(
        id="",
        account=account.key,
        name=account.name,
        customer=customer.id if customer is not None else None,
        named=customer is not None and customer.account == account.key and customer.account_of is None,
        plan=plan.ref,
        items=tuple(_item(position) for position in positions),
        trial_days=_trial_days(plan, policy, request.trial, had_trial=had_trial or _had_trial(account.subscriptions)),
        coupon=request.coupon,
        promotion_codes=policy.promotion_codes and request.coupon is None,
        success_url="",
        cancel_url="",
    )


def page_wanted(order: CheckoutOrder) -> CheckoutOrder:
    """What tells one page from another: who pays for it comes to be known meanwhile."""
    return replace(order, id="", name="", customer=None, named=False, tries=0)


_Checkout = TypeVar("_Checkout", bound=Checkout)


def over(held: _Checkout, page: CheckoutPage, *, at: datetime) -> _Checkout:
    """A checkout once its page says that it is over."""
    return replace(
        held, state=page.state, session=page.session, customer=page.customer or held.customer, url=None,
        subscription=page.subscription, closed_at=at,
    )  # fmt: skip


def already_subscribed(account: str, which: str) -> Refused:
    return Refused(
        "already_subscribed",
        f"`{account}` already has {which}; to change what it buys, quote a plan change, and to have it paid, open the "
        "billing portal",
    )


def _refuse_subscribed(account: Account, catalog: Catalog, at: datetime) -> None:
    for standing in standings(account, catalog, at):
        subscription = standing.subscription
        # What we do not understand may live, and somebody would pay twice.
        unread = subscription.status is None and standing.state not in TERMINAL
        if standing.state not in NOT_LIVE or unread:
            raise already_subscribed(account.key, f"`{subscription.id}` ({standing.state})")


def _refuse_coupon(coupon: str | None, policy: CheckoutPolicy) -> None:
    if coupon is None or policy.any_coupon or coupon in policy.coupons:
        return
    known = f"; the catalog allows {one_of(policy.coupons)}" if policy.coupons else "; the catalog allows none"
    raise Refused(
        "coupon_not_allowed",
        f"a checkout can't have the coupon `{coupon}`{known}: list it in `policies.checkout.coupons`",
    )


def _trial_days(plan: Plan, policy: CheckoutPolicy, wanted: bool | None, *, had_trial: bool) -> int | None:
    if wanted is False:
        return None
    refusal = None
    if plan.trial_days is None:
        refusal = Refused("trial_not_given", f"`{plan.key}` has no trial; add `trial: {{ days: 14 }}` to the plan")
    elif policy.trial == "never":
        refusal = Refused(
            "trial_not_given", "the catalog gives no trials at checkout; change `policies.checkout.trial`"
        )
    elif policy.trial == "once" and had_trial:
        refusal = Refused("trial_used", "the account has had its trial; leave out `trial`, so that it pays at once")
    if refusal is None:
        return plan.trial_days
    if wanted:
        raise refusal
    return None


def _had_trial(subscriptions: Iterable[Subscription]) -> bool:
    return any(s.trial_ends_at is not None or s.trial_ran_out for s in subscriptions)


def _item(position: Position) -> ItemChange:
    price = position.price
    if price is None:
        raise Refused("unknown_price", f"`{position.key}` has no price that fits; add one to the catalog")
    if price.stripe is None:
        why = f"the price `{price.key}` of `{position.key}` has no name at the provider; add `stripe` to it"
        raise Refused("unknown_price", why)
    return ItemChange(
        "added", None, None, position.key, 0, position.item.quantity, None, price.stripe, None, price.key, position.part
    )
