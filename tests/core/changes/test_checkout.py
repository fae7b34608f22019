"""What a checkout sells: the catalog's prices, its trial once, its coupons alone, and nothing to who has a plan."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paygrade.billing.accounts import Account, apply
from paygrade.billing.facts import Customer, Fact, Item, Subscription
from paygrade.catalog.parse import parse
from paygrade.changes.checkout import CheckoutOrder, CheckoutRequest, first_order
from paygrade.values.errors import Refused

AT = datetime(2026, 11, 30, tzinfo=UTC)


def price(interval: str = "month", currency: str = "usd", **more: Any) -> dict[str, Any]:
    made = {"amount": 900, "currency": currency, "interval": interval, "stripe": f"x_{interval}_{currency}", **more}
    return {key: value for key, value in made.items() if value is not None}


def catalog(**checkout: Any) -> Any:
    return parse(
        {
            "version": 1,
            "features": {"seats": {"kind": "level"}},
            "plans": {
                "free": {"default": True},
                "pro": {
                    "trial": {"days": 14},
                    "prices": {"monthly": price(), "yearly": price("year"), "monthly_eur": price(currency="eur"),
                               "base": price(stripe="base", part="flat"), "unnamed": price("week", stripe=None)},
                    "entitlements": {"seats": {"limit": "quantity"}},
                },
                "team": {"prices": {"monthly": price(stripe="team")}},
            },
            "add_ons": {"more": {"prices": {"monthly": price(stripe="more")}, "entitlements": {"seats": {"add": 5}}}},
            **({"policies": {"checkout": checkout}} if checkout else {}),
        }
    )  # fmt: skip


def account(*statuses: str | None, trialed: bool = False, **customer: Any) -> Account:
    subscriptions = tuple(
        Subscription(
            f"sub_{n}", status, (Item("si_1", plan="pro"),), AT - timedelta(days=90),  # type: ignore[arg-type]
            trial_ends_at=AT - timedelta(days=60) if trialed else None,
            ended_at=AT - timedelta(days=1) if status in ("canceled", "expired") else None,
        )
        for n, status in enumerate(statuses)
    )  # fmt: skip
    body = Customer("cus_1", AT - timedelta(days=100), subscriptions, **customer)
    return apply(Account("acme"), Fact(1, "stripe:cus_1", 1, AT, body))


def order(held: Account | None = None, /, *, policy: Any = None, had_trial: bool = False, **said: Any) -> CheckoutOrder:
    wanted = CheckoutRequest(**{"plan": "pro", "interval": "monthly", "currency": "usd", **said})
    return first_order(held or Account("acme"), catalog(**policy or {}), wanted, AT, had_trial=had_trial)


def refused(*held: Account, **said: Any) -> str:
    with pytest.raises(Refused) as told:
        order(*held, **said)
    return told.value.code


def test_it_sells_what_the_catalog_sells_at_the_prices_it_names() -> None:
    made = order(quantities={"seats": 7}, add_ons={"more": 2})
    assert [(i.after, i.quantity_after, i.price_after, i.part) for i in made.items] == [
        ("pro", 7, "x_month_usd", "quantity"), ("pro", 1, "base", "flat"), ("more", 2, "more", "quantity")
    ]  # fmt: skip
    assert (made.plan, made.customer, made.trial_days) == ("pro@1", None, 14)


@pytest.mark.parametrize("status", ["active", "trialing", "past_due", "unpaid", "paused", None])
def test_who_has_a_subscription_changes_it_instead(status: str | None) -> None:
    assert refused(account(status)) == "already_subscribed"


@pytest.mark.parametrize("status", ["canceled", "expired", "incomplete"])
def test_who_has_none_any_more_or_never_paid_can_buy_and_pays_as_the_customer_they_are(status: str) -> None:
    assert (order(account(status)).customer, order(account(status)).named) == ("cus_1", False)
    assert order(account(status, account="acme")).named is True
    assert order(account(status, deleted=True)).customer is None


def test_a_trial_is_given_as_the_policy_says() -> None:
    ended = account("canceled", trialed=True)
    assert order(trial=True).trial_days == order().trial_days == 14
    assert order(trial=False).trial_days is None
    for trialed in ({"had_trial": True}, {}):
        held = () if trialed else (ended,)
        assert order(*held, **trialed).trial_days is None
        assert refused(*held, trial=True, **trialed) == "trial_used"
        assert order(*held, trial=True, policy={"trial": "always"}, **trialed).trial_days == 14
    assert order(policy={"trial": "never"}).trial_days is None
    assert refused(trial=True, policy={"trial": "never"}) == "trial_not_given"
    assert refused(plan="team", trial=True) == "trial_not_given"


def test_coupons_are_those_the_policy_lists() -> None:
    assert refused(coupon="launch") == "coupon_not_allowed"
    assert refused(coupon="other", policy={"coupons": ["launch"]}) == "coupon_not_allowed"
    assert order(coupon="launch", policy={"coupons": ["launch"]}).coupon == "launch"
    assert order(coupon="whichever", policy={"coupons": "any"}).coupon == "whichever"
    # Stripe takes a coupon or lets customers enter a code, not both.
    codes = {"coupons": "any", "promotion_codes": True}
    assert (order(policy=codes).promotion_codes, order(coupon="x", policy=codes).promotion_codes) == (True, False)


def test_what_has_no_price_that_fits_is_refused() -> None:
    assert refused(plan="free") == refused(currency="gbp") == refused(interval="unnamed") == "unknown_price"
    assert refused(currency="eur", add_ons={"more": 1}) == "unknown_price"
    assert refused(currency=None, interval="month") == "ambiguous_price"
    assert refused(plan="gold") == "unknown_plan"
