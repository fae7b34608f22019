"""The load: a shop whose customers change all the time, and an operator who does not give up until answered."""

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2
import stripe

from chaos.stack import ADMIN_KEY, House
from paygrade.simulator.http.app import DEFAULT_KEY
from support.cluster import eventually

CHANGES_PER_S, STATEMENTS_PER_S = 20.0, 5.0
PLANS = ("team", "company")
CARDS = ("pm_card_visa", "pm_card_visa", "pm_card_chargeCustomerFail")


class Shop:
    """Customers at the provider, one for each account, and what happens to them."""

    def __init__(self, house: House, *, customers: int) -> None:
        self._rng = random.Random(house.rng.random())
        self._stripe = stripe.StripeClient(DEFAULT_KEY, base_addresses={"api": house.simulator_url})
        product = self._send("post", "/v1/products", name="Shop")["id"]
        self._prices = [
            self._send(
                "post", "/v1/prices", product=product, currency="usd", unit_amount=900, lookup_key=plan,
                recurring={"interval": "month"},
            )["id"]
            for plan in PLANS
        ]  # fmt: skip
        self.changes = 0
        self.customers: dict[str, str] = {}
        self._items: dict[str, tuple[str, str]] = {}
        for number in range(customers):
            account = f"acme-{number}"
            self.customers[account] = self._send("post", "/v1/customers", metadata={"paygrade_account": account})["id"]
            self._pay_with(account, "pm_card_visa")
            self._subscribe(account)

    def change(self) -> None:
        """Let something happen to somebody."""
        self.changes += 1
        account = self._rng.choice(list(self.customers))
        if account not in self._items:
            self._subscribe(account)
            return
        subscription, item = self._items[account]
        try:
            match self._rng.randrange(10):
                case 0:
                    self._send("delete", f"/v1/subscriptions/{subscription}")
                    del self._items[account]
                case 1:
                    self._send(
                        "post", f"/v1/subscriptions/{subscription}", cancel_at_period_end=self._rng.random() < 0.5
                    )
                case 2:
                    self._pay_with(account, self._rng.choice(CARDS))
                case 3:
                    price = self._rng.choice(self._prices)
                    self._send("post", f"/v1/subscription_items/{item}", price=price, proration_behavior="none")
                case _:
                    quantity = self._rng.randint(1, 50)
                    self._send("post", f"/v1/subscription_items/{item}", quantity=quantity, proration_behavior="none")
        except stripe.InvalidRequestError:
            # It ended by itself: its term was over, or nobody paid.
            self._items.pop(account, None)

    def _subscribe(self, account: str) -> None:
        chosen = {"price": self._rng.choice(self._prices), "quantity": self._rng.randint(1, 50)}
        made = self._send("post", "/v1/subscriptions", customer=self.customers[account], items=[chosen])
        self._items[account] = made["id"], made["items"]["data"][0]["id"]

    def _pay_with(self, account: str, card: str) -> None:
        customer = self.customers[account]
        method = self._send("post", f"/v1/payment_methods/{card}/attach", customer=customer)["id"]
        self._send("post", f"/v1/customers/{customer}", invoice_settings={"default_payment_method": method})

    def _send(self, method: str, path: str, **params: Any) -> Any:
        return self._stripe.raw_request(method, path, **params).data


class Operator:
    """States overrides, each again and again until a server answers with a 2xx."""

    def __init__(self, house: House, *, accounts: list[str]) -> None:
        self._rng = random.Random(house.rng.random())
        self._servers = itertools.cycle(house.server_urls)
        self._accounts = accounts
        self._numbers = itertools.count(1)
        self._http = httpx2.Client(
            headers={"Authorization": f"Bearer {ADMIN_KEY}"}, trust_env=False, timeout=30, verify=False
        )
        self.acknowledged: list[tuple[str, int]] = []
        """Account and limit, in the order they were answered; no two have the same limit."""

    def state(self) -> None:
        account, limit = self._rng.choice(self._accounts), next(self._numbers) + 1000
        eventually("an answer to the operator", lambda: not self._stated(account, limit))

    def _stated(self, account: str, limit: int) -> bool:
        url = f"{next(self._servers)}/v1/accounts/{account}/overrides/seats"
        try:
            answer = self._http.put(url, json={"limit": limit, "reason": f"the {limit}th word"})
        except httpx2.HTTPError:
            return False
        if answer.is_success:
            self.acknowledged.append((account, limit))
        return answer.is_success


@contextmanager
def going_on(shop: Shop, operator: Operator) -> Iterator[None]:
    """Both at work until the end of the block. What goes wrong in one of them goes wrong here."""
    stopping = threading.Event()

    def repeat(what: Callable[[], None], per_s: float) -> None:
        while not stopping.wait(1 / per_s):
            what()

    with ThreadPoolExecutor(2) as pool:
        working = [
            pool.submit(repeat, shop.change, CHANGES_PER_S),
            pool.submit(repeat, operator.state, STATEMENTS_PER_S),
        ]
        try:
            yield
        finally:
            stopping.set()
    for each in working:
        each.result()
