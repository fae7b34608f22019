"""Hosted pages of the provider: where an account buys, and where its customer sees to their payments."""

from typing import Annotated

from litestar import post
from litestar.params import FromPath
from msgspec import Meta, Struct

from paygrade.changes.checkout import CheckoutRequest
from paygrade.providers.port import PortalFlow, Selling
from paygrade.server.http.bodies import invalid, read_body
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.problems import INSTEAD
from paygrade.server.http.routes import examples
from paygrade.server.http.routes.plan_changes import Count
from paygrade.server.operations.changes import checkouts, top_up_pages
from paygrade.server.process.outbound import URL_LENGTH_MAX, check_page
from paygrade.values.errors import Mistake

TOP_UP_ASKED = {
    "credit": "ai_credits",
    "packs": 2,
    "success_url": "https://example.com/credits?session={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://example.com/credits",
}

TOP_UP_PAGE = {
    "account": "acme",
    "top_up": "top_5f0c2b9e8d7a4c3bb1f0a9e8",
    "session": "cs_test_a1",
    "url": "https://checkout.stripe.com/c/pay/cs_test_a1",
    "expires_at": "2026-11-22T09:00:00Z",
    "credit": "ai_credits",
    "units": 10000,
    "amount": 4000,
    "currency": "usd",
}

PageUrl = Annotated[str, Meta(min_length=1, max_length=URL_LENGTH_MAX)]
Currency = Annotated[str, Meta(pattern="^[a-z]{3}$")]


class CheckoutAsked(Struct, frozen=True, kw_only=True):
    """What the account is to buy, and where its customer goes from there.

    `add_ons` and `quantities` say how many: of an add-on, the plan, or a feature that the plan counts by quantity.
    `interval` is a price's key or how often it is paid. `trial`: with the plan's trial, or without; if absent, with it
    where the catalog gives one. `{CHECKOUT_SESSION_ID}` in `success_url` becomes the id of the session.
    """

    plan: str
    success_url: PageUrl
    cancel_url: PageUrl
    add_ons: dict[str, Count] = {}
    quantities: dict[str, Count] = {}
    interval: str | None = None
    currency: Currency | None = None
    coupon: str | None = None
    trial: bool | None = None


class PortalAsked(Struct, frozen=True, kw_only=True):
    """Where the customer goes from there. `flow`: the one thing they come for; `subscription` says of which, where
    there are several."""

    return_url: PageUrl
    flow: PortalFlow | None = None
    subscription: str | None = None


@post(
    "/v1/accounts/{account:str}/checkout",
    status_code=200,
    opt=describe(
        "billing",
        checkouts.start_checkout,
        sent=Sent(examples.CHECKOUT_ASKED, CheckoutAsked),
        example=examples.CHECKOUT,
        problems=("provider_not_configured",),
        repeating="safe",
        scope="billing:checkout",
    ),
)
async def checkout(account: FromPath[str], request: HttpRequest, context: InContext) -> checkouts.CheckoutView:
    asked = read_body(CheckoutAsked, await request.body())
    pages = _pages(context)
    _refuse_addresses(context, success_url=asked.success_url, cancel_url=asked.cancel_url)
    wanted = CheckoutRequest(
        plan=asked.plan,
        add_ons=asked.add_ons,
        quantities=asked.quantities,
        interval=asked.interval,
        currency=asked.currency,
        coupon=asked.coupon,
        trial=asked.trial,
    )
    path = request.scope["path"].removesuffix("/checkout")
    request.scope["state"][INSTEAD] = {"already_subscribed": f"{path}/plan-changes/quote"}
    return await checkouts.start_checkout(
        context.store,
        pages,
        context.clock,
        account=account,
        wanted=wanted,
        success_url=asked.success_url,
        cancel_url=asked.cancel_url,
    )


class TopUpAsked(Struct, frozen=True, kw_only=True):
    """How many packs of a credit the account's customer is to buy, and where they go from there.
    `{CHECKOUT_SESSION_ID}` in `success_url` becomes the id of the session."""

    credit: str
    success_url: PageUrl
    cancel_url: PageUrl
    packs: Annotated[int, Meta(ge=1, le=1000)] = 1


@post(
    "/v1/accounts/{account:str}/top-ups/checkout",
    status_code=200,
    opt=describe(
        "billing",
        top_up_pages.start_top_up,
        sent=Sent(TOP_UP_ASKED, TopUpAsked),
        example=TOP_UP_PAGE,
        problems=("provider_not_configured",),
        scope="billing:checkout",
    ),
)
async def top_up_checkout(
    account: FromPath[str], request: HttpRequest, context: InContext
) -> top_up_pages.TopUpPageView:
    asked = read_body(TopUpAsked, await request.body())
    pages = _pages(context)
    _refuse_addresses(context, success_url=asked.success_url, cancel_url=asked.cancel_url)
    return await top_up_pages.start_top_up(
        context.store,
        pages,
        context.clock,
        account=account,
        credit=asked.credit,
        packs=asked.packs,
        success_url=asked.success_url,
        cancel_url=asked.cancel_url,
    )


@post(
    "/v1/accounts/{account:str}/billing-portal",
    status_code=200,
    opt=describe(
        "billing",
        checkouts.open_portal,
        sent=Sent(examples.PORTAL_ASKED, PortalAsked),
        example=examples.PORTAL,
        problems=("provider_not_configured",),
        repeating="safe",
        scope="billing:checkout",
    ),
)
async def billing_portal(account: FromPath[str], request: HttpRequest, context: InContext) -> checkouts.PortalView:
    asked = read_body(PortalAsked, await request.body())
    pages = _pages(context)
    _refuse_addresses(context, return_url=asked.return_url)
    return await checkouts.open_portal(
        context.store,
        pages,
        context.clock,
        account=account,
        return_url=asked.return_url,
        flow=asked.flow,
        subscription=asked.subscription,
    )


def _pages(context: Context) -> Selling:
    context.require_provider()
    assert context.pages is not None, "whoever has a provider has its pages"
    return context.pages


def _refuse_addresses(context: Context, **urls: str) -> None:
    mistakes = []
    for name, url in urls.items():
        try:
            check_page(url, of_tests=context.keys.mode != "live")
        except ValueError as wrong:
            mistakes.append(Mistake(f"/{name}", str(wrong)))
    if mistakes:
        raise invalid("invalid_body", "the body", mistakes)
