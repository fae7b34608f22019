"""The company of the demo and of `paygrade dev`: what it sells and who buys it, by the official stripe library."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from paygrade.catalog.model import AddOn, Catalog, Plan

GOOD_CARD = "pm_card_visa"
FAILING_CARD = "pm_card_chargeCustomerFail"
CAREFUL_CARD = "pm_card_authenticationRequired"
"""Its bank asks the customer each time."""


class Company:
    """Acts as the company would: through Stripe's own library, without knowing of Paygrade."""

    def __init__(self, *, url: str, key: str) -> None:
        import stripe  # half a second, which only the demo pays

        self._stripe = stripe.StripeClient(key, base_addresses={"api": url}, max_network_retries=1)
        self.prices: dict[str, str] = {}
        """The id of each price, by its lookup key."""
        self.customers: dict[str, str] = {}
        """The id of each customer, by the account it names."""
        self.subscriptions: dict[str, str] = {}

    def look_up(self) -> None:
        """Find the prices that can be bought by a lookup key."""
        listed = self._stripe.v1.prices.list({"active": True, "limit": 100})
        self.prices = {price.lookup_key: price.id for price in listed.auto_paging_iter() if price.lookup_key}

    def listen(self, url: str, types: Sequence[str]) -> str:
        """Have events of these types sent there; gives the secret that signs them."""
        # Any: the library lists every type as a literal.
        wanted: Any = {"url": url, "enabled_events": list(types)}
        secret = self._stripe.v1.webhook_endpoints.create(wanted).secret
        assert secret is not None, "it is shown to whoever makes the endpoint"
        return secret

    def stock(self, catalog: Catalog) -> None:
        """Make a product for each plan and add-on, and a price for each of theirs that is not there yet."""
        everything: list[Plan | AddOn] = [*catalog.plans.values(), *catalog.add_ons.values()]
        for sold in everything:
            new = [
                price for price in sold.prices.values() if price.stripe is not None and price.stripe not in self.prices
            ]
            if not new:
                continue
            product = self._stripe.v1.products.create({"name": sold.key.replace("_", " ").title()})
            for price in new:
                assert price.stripe is not None, "only prices with a name at Stripe are new"
                made = self._stripe.v1.prices.create(
                    {
                        "product": product.id,
                        "currency": price.currency,
                        "unit_amount": price.amount,
                        "lookup_key": price.stripe,
                        "recurring": {"interval": price.interval, "interval_count": price.interval_count},
                    }
                )
                self.prices[price.stripe] = made.id

    def welcome(self, account: str, name: str, *, card: str | None = GOOD_CARD, clock: str | None = None) -> None:
        """Make a customer who names their account in the metadata, with a good card unless told otherwise; `clock` is
        the test clock they live on."""
        params: Any = {
            "name": name,
            "email": f"billing@{account}.example",
            "metadata": {"paygrade_account": account},
        }
        if card is not None:
            params |= {"payment_method": card, "invoice_settings": {"default_payment_method": card}}
        if clock is not None:
            params["test_clock"] = clock
        self.customers[account] = self._stripe.v1.customers.create(params).id

    # Any: each library call has its own type of parameters.
    def subscribe(self, account: str, price: str, *, quantity: int = 1, trial_days: int = 0, **more: Any) -> None:
        """Have the account buy a price, by its lookup key; `more` is what Stripe takes besides."""
        params: Any = {
            "customer": self.customers[account],
            "items": [{"price": self.prices[price], "quantity": quantity}],
            **more,
        }
        if trial_days:
            params["trial_period_days"] = trial_days
        self.subscriptions[account] = self._stripe.v1.subscriptions.create(params).id

    def change(self, account: str, price: str, *, quantity: int = 1) -> None:
        """Move the account's subscription to another price or quantity, as a billing page would."""
        id = self.subscriptions[account]
        item = self._stripe.v1.subscriptions.retrieve(id).items.data[0]
        wanted: Any = {
            "items": [{"id": item.id, "price": self.prices[price], "quantity": quantity}],
            # What is more is paid for now: what nobody has paid for yet is not part of a grace period.
            "proration_behavior": "always_invoice",
        }
        self._stripe.v1.subscriptions.update(id, wanted)

    def use_card(self, account: str, card: str) -> None:
        """Replace the card that pays."""
        customer = self.customers[account]
        attached = self._stripe.v1.payment_methods.attach(card, {"customer": customer})
        self._stripe.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": attached.id}})

    def pay(self, account: str) -> None:
        """Pay every open invoice."""
        open_invoices = self._stripe.v1.invoices.list({"customer": self.customers[account], "status": "open"})
        for invoice in open_invoices.data:
            self._stripe.v1.invoices.pay(invoice.id)

    def add(self, account: str, price: str, *, quantity: int = 1) -> None:
        """Add a price to what the account's subscription has."""
        item: Any = {"subscription": self.subscriptions[account], "price": self.prices[price], "quantity": quantity}
        self._stripe.v1.subscription_items.create(item)

    def sell_by_hand(self, name: str, lookup_key: str, *, amount: int) -> None:
        """Make a monthly price in the dashboard, as somebody does who has not heard of the catalog."""
        made = self._stripe.v1.prices.create(
            {
                "product_data": {"name": name},
                "currency": "usd",
                "unit_amount": amount,
                "recurring": {"interval": "month"},
            }
        )
        self.prices[lookup_key] = made.id

    def cancel_at_period_end(self, account: str) -> None:
        self._stripe.v1.subscriptions.update(self.subscriptions[account], {"cancel_at_period_end": True})

    def open_invoice(self, account: str) -> str:
        """The id of the oldest invoice that is open."""
        found = self._stripe.v1.invoices.list({"customer": self.customers[account], "status": "open"})
        return str(found.data[-1].id)

    def latest_charge(self, account: str) -> str:
        return self._stripe.v1.charges.list({"customer": self.customers[account], "limit": 1}).data[0].id

    def refund(self, account: str, amount: int) -> None:
        """Refund so many minor units of the latest charge."""
        self._stripe.v1.refunds.create({"charge": self.latest_charge(account), "amount": amount})

    def test_clock(self, at: datetime) -> str:
        """Make a test clock, and give its id."""
        return self._stripe.v1.test_helpers.test_clocks.create({"frozen_time": int(at.timestamp())}).id

    def advance_test_clock(self, clock: str, at: datetime) -> None:
        self._stripe.v1.test_helpers.test_clocks.advance(clock, {"frozen_time": int(at.timestamp())})
