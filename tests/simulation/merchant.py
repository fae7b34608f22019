"""What a shop, its customers and time do at Stripe: one random happening after the other."""

import random
from collections.abc import Callable
from typing import Any

from .loop import VirtualLoop
from .provider import Stripe

ACCOUNTS = ("acme", "beta", "gamma")
CUSTOMERS_MAX = 4
DAY_S = 86_400

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "exports": {"kind": "boolean", "access": "read"},
        "editor": {"kind": "boolean"},
        "retention": {"kind": "config", "type": "integer"},
        "seats": {"kind": "level"},
        "api_calls": {"kind": "metered", "event": "api_call"},
    },
    "plans": {
        "free": {"default": True, "entitlements": {"seats": 1, "api_calls": {"limit": 10, "every": "month"}}},
        "pro": {
            "prices": {
                "monthly": {"amount": 2900, "currency": "usd", "interval": "month", "stripe": "pro_monthly"},
                "yearly": {"amount": 29000, "currency": "usd", "interval": "year", "stripe": "pro_yearly"},
            },
            "entitlements": {
                "exports": True,
                "editor": True,
                "seats": {"limit": "quantity"},
                "retention": 30,
                "api_calls": {"limit": 1000, "every": "month"},
            },
        },
        "scale": {
            "prices": {"monthly": {"amount": 9900, "currency": "usd", "interval": "month", "stripe": "scale_monthly"}},
            "entitlements": {
                "exports": True,
                "editor": True,
                "seats": {"limit": "unlimited"},
                "retention": 365,
                "api_calls": {"limit": 5000, "every": "month"},
            },
        },
    },
    "add_ons": {
        "extra_calls": {
            "prices": {"monthly": {"amount": 500, "currency": "usd", "interval": "month", "stripe": "extra_monthly"}},
            "entitlements": {"api_calls": {"add": 500, "every": "month"}},
        }
    },
    "policies": {
        "past_due": [{"for": "7d", "access": "full"}, {"for": "14d", "access": "read"}, {"then": "free"}],
        "unpaid": [{"then": "free"}],
        "paused": [{"then": "none"}],
    },
}
PRICES = (
    ("pro_monthly", 2900, "month"),
    ("pro_yearly", 29000, "year"),
    ("scale_monthly", 9900, "month"),
    ("extra_monthly", 500, "month"),
    ("unmapped_weekly", 100, "week"),
)
CARDS = (
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_chargeCustomerFail",
    "pm_card_chargeCustomerFail",
    "pm_card_authenticationRequired",
)


class Shop:
    """Asks Stripe for things, and remembers which accounts its customers' metadata ever named."""

    def __init__(self, stripe: Stripe, loop: VirtualLoop, draw: random.Random, note: Callable[[str], None]) -> None:
        self._stripe, self._loop, self._draw, self._note = stripe, loop, draw, note
        self.hurried_ends = 0
        """How much more often than usual a subscription is ended at once."""
        self.named: dict[str, list[str]] = {}
        self._prices = {
            key: stripe.ask(
                "/v1/prices",
                currency="usd",
                unit_amount=str(amount),
                recurring={"interval": interval},
                product_data={"name": key},
                lookup_key=key,
            )["id"]
            for key, amount, interval in PRICES
        }
        stripe.engine.change_settings(
            {"after_retries": draw.choice(("cancel", "unpaid", "past_due")), "retry_days": [1, 3]}
        )

    def happen(self) -> None:
        """Something happens, or Stripe refuses it."""
        doings: list[Callable[[], str]] = []
        customers = self._customers()
        subscriptions = self._subscriptions()
        if len(customers) < CUSTOMERS_MAX:
            doings += [self.join] * (1 if customers else 9)
        if customers:
            doings += [self.subscribe] * (6 if not subscriptions else 2)
            doings += [self.pay_with, self.rename, self.move]
            if self._draw.random() < 0.15:
                doings += [self.leave]
        if subscriptions:
            doings += [self.change] * 4 + [self.plan_end] * 2 + [self.settle] * 2 + [self.pause, self.end, self.retry]
            doings += [self.plan_phases]
            doings += [self.end] * self.hurried_ends
        self._note(self._draw.choice(doings)())

    def join(self) -> str:
        account = self._draw.choice((*ACCOUNTS, None, None))
        card = self._draw.choice((*CARDS, None))
        customer = self._stripe.ask("/v1/customers", metadata=_metadata(account), name=f"Customer {account}")["id"]
        self.named[customer] = [account] if account else []
        if card:
            self._attach(customer, card)
        return f"{customer} joins as {account} with {card}"

    @property
    def sold(self) -> frozenset[str]:
        """The ids of everything that can be bought, unmapped prices too."""
        return frozenset(self._prices.values())

    def subscribe(self) -> str:
        customer = self._draw.choice(self._customers())
        wanted = self._draw.sample(list(self._prices), self._draw.choice((1, 1, 1, 2)))
        extra: dict[str, Any] = self._draw.choice(
            (
                {},
                {},
                {"trial_period_days": "14"},
                {"trial_period_days": "1", "trial_settings": _end_behavior(self._draw.choice(("pause", "cancel")))},
                {"collection_method": "send_invoice", "days_until_due": "3"},
                {"payment_behavior": "default_incomplete"},
                {"cancel_at_period_end": "true"},
            )
        )
        items = [{"price": self._prices[key], "quantity": str(self._draw.randrange(1, 5))} for key in wanted]
        made = self._stripe.ask("/v1/subscriptions", customer=customer, items=items, **extra)
        return f"{customer} buys {wanted} {extra}: {_of(made)}"

    def change(self) -> str:
        subscription = self._draw.choice(self._subscriptions())
        item = subscription["items"]["data"][0]["id"]
        key = self._draw.choice(list(self._prices))
        change: dict[str, Any] = self._draw.choice(
            (
                {"items": [{"id": item, "price": self._prices[key]}]},
                {"items": [{"id": item, "price": self._prices[key]}]},
                {"items": [{"id": item, "quantity": str(self._draw.randrange(1, 9))}]},
                {"items": [{"price": self._prices[key]}]},
                {"items": [{"id": item, "deleted": "true"}]},
                {"trial_end": self._draw.choice(("now", str(self._at() + 5 * DAY_S)))},
                {"pause_collection": self._draw.choice(("", {"behavior": "void"}))},
            )
        )
        behavior = self._draw.choice(("allow_incomplete", "pending_if_incomplete", "error_if_incomplete"))
        proration = self._draw.choice(("create_prorations", "always_invoice", "none"))
        path = f"/v1/subscriptions/{subscription['id']}"
        made = self._stripe.ask(path, payment_behavior=behavior, proration_behavior=proration, **change)
        return f"{subscription['id']} changes {change} {behavior}: {_of(made)}"

    def plan_end(self) -> str:
        subscription = self._draw.choice(self._subscriptions())
        change = self._draw.choice(
            (
                {"cancel_at_period_end": "true"},
                {"cancel_at_period_end": "false"},
                {"cancel_at": ""},
                {"cancel_at": str(self._at() + self._draw.choice((30, 3600, 9 * DAY_S)))},
            )
        )
        made = self._stripe.ask(f"/v1/subscriptions/{subscription['id']}", **change)
        return f"{subscription['id']} plans its end {change}: {_of(made)}"

    def plan_phases(self) -> str:
        """A schedule is put over a subscription, given other phases, or let go."""
        subscription = self._draw.choice(self._subscriptions())
        path, id = "/v1/subscription_schedules", subscription["schedule"]
        if id is None:
            made = self._stripe.ask(path, from_subscription=subscription["id"])
            id = made["id"] if made is not None else None
        if id is None or self._draw.random() < 0.2:
            self._stripe.ask(f"{path}/{id}/release")
            return f"schedule {id} of {_of(subscription)} is let go"
        first = self._stripe.engine.world.objects[id]["phases"][0]
        begins = self._at() + self._draw.choice((30, 3600, 9 * DAY_S))
        later = {
            "price": self._prices[self._draw.choice(list(self._prices))],
            "quantity": str(self._draw.randrange(1, 9)),
        }
        present = {"start_date": first["start_date"], "end_date": begins, "items": _named(first["items"])}
        planned = [present, {"items": [later], "duration": {"interval": "month"}}]
        made = self._stripe.ask(f"{path}/{id}", phases=planned, end_behavior=self._draw.choice(("release", "cancel")))
        return f"schedule {id} of {_of(subscription)}: {later} at {begins}: {made and made['status']}"

    def settle(self) -> str:
        subscription = self._draw.choice(self._subscriptions())
        invoice = subscription["latest_invoice"]
        what = self._draw.choice(("pay", "pay", "pay", "void", "mark_uncollectible", "finalize"))
        if invoice is not None:
            self._stripe.ask(f"/v1/invoices/{invoice}/{what}")
        return f"{what} of {invoice} for {_of(subscription)}"

    def retry(self) -> str:
        """A customer whose card failed takes one that works, and pays."""
        customer = self._draw.choice(self._subscriptions())["customer"]
        self._attach(customer, "pm_card_visa")
        for invoice in [one for one in self._stripe.truth(customer)[2] if one["status"] == "open"]:
            self._stripe.ask(f"/v1/invoices/{invoice['id']}/pay")
        return f"{customer} pays what is open"

    def pause(self) -> str:
        subscription = self._draw.choice(self._subscriptions())
        what = "resume" if subscription["status"] == "paused" else "pause"
        self._stripe.ask(f"/v1/subscriptions/{subscription['id']}/{what}")
        return f"{what}: {_of(subscription)}"

    def end(self) -> str:
        subscription = self._draw.choice(self._subscriptions())
        self._stripe.ask(f"/v1/subscriptions/{subscription['id']}", method="DELETE")
        return f"cancel now: {_of(subscription)}"

    def pay_with(self) -> str:
        customer, card = self._draw.choice(self._customers()), self._draw.choice(CARDS)
        self._attach(customer, card)
        return f"{customer} pays with {card}"

    def rename(self) -> str:
        customer = self._draw.choice(self._customers())
        self._stripe.ask(f"/v1/customers/{customer}", name=f"Name {self._draw.randrange(100)}")
        return f"{customer} gets another name"

    def move(self) -> str:
        customer, account = self._draw.choice(self._customers()), self._draw.choice((*ACCOUNTS, None))
        self._stripe.ask(f"/v1/customers/{customer}", metadata=_metadata(account) or {"paygrade_account": ""})
        if account:
            self.named[customer].append(account)
        return f"{customer} now names {account}"

    def leave(self) -> str:
        customer = self._draw.choice(self._customers())
        self._stripe.ask(f"/v1/customers/{customer}", method="DELETE")
        return f"{customer} is deleted"

    def _customers(self) -> list[str]:
        objects = self._stripe.engine.world.objects
        return [id for id in self.named if not objects[id].get("deleted")]

    def _subscriptions(self) -> list[dict[str, Any]]:
        world = self._stripe.engine.world
        found = [world.objects[id] for id in world.shelves.get("subscription", [])]
        live = [thing for thing in found if thing["ended_at"] is None]
        # Now and then somebody tries with one that has ended.
        return live if live and self._draw.random() < 0.95 else found

    def _attach(self, customer: str, card: str) -> None:
        method = self._stripe.ask(f"/v1/payment_methods/{card}/attach", customer=customer)
        if method is not None:
            default = {"default_payment_method": method["id"]}
            self._stripe.ask(f"/v1/customers/{customer}", invoice_settings=default)

    def _at(self) -> int:
        return int(self._loop.now().timestamp())


def _metadata(account: str | None) -> dict[str, str]:
    return {"paygrade_account": account} if account else {}


def _named(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    quantities = ({} if item["quantity"] is None else {"quantity": str(item["quantity"])} for item in items)
    return [{"price": item["price"], **quantity} for item, quantity in zip(items, quantities, strict=True)]


def _end_behavior(behavior: str) -> dict[str, Any]:
    return {"end_behavior": {"missing_payment_method": behavior}}


def _of(subscription: dict[str, Any] | None) -> str:
    return "refused" if subscription is None else f"{subscription['id']} {subscription['status']}"
