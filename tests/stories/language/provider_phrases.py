"""What happens at the provider: each phrase, and the requests to Stripe that make it happen.

Both runners speak through a `Provider`; they differ only in how a request reaches the simulator. Customers and
subscriptions have names in a story and ids at the provider. `acme` as a subscription means the latest of customer
`acme`; `acme/first` the one that was made `as first`.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from paygrade.catalog.model import AddOn, Catalog, Plan, Price
from stories.language.phrases import ItemsSaid, Phrases

Json = dict[str, Any]
"""A JSON object of Stripe's, as received."""

Request = Callable[[str, str, Json], Json]
"""Send (method, path, parameters) to the provider; raises Declined if it says no."""

CARDS = {
    "a good card": "pm_card_visa",
    "a failing card": "pm_card_chargeCustomerFail",
    "a card that asks for confirmation": "pm_card_authenticationRequired",
    "a card whose payments are disputed": "pm_card_createDispute",
}
BILLED: dict[str, Json] = {
    "once it is paid": {"payment_behavior": "pending_if_incomplete", "proration_behavior": "always_invoice"},
    "charged at once": {"proration_behavior": "always_invoice"},
    "with a new cycle": {"billing_cycle_anchor": "now", "proration_behavior": "none"},
}
CLOCKS = "/v1/test_helpers/test_clocks"
CARD_WORDS = "a good card|a failing card|a card whose payments are disputed|no card"

happenings: Phrases[None] = Phrases("provider")
terms: Phrases[Json] = Phrases("customer who subscribes")


class Declined(Exception):
    """The provider refused a request."""


class Provider:
    """The provider as a story sees it: requests, and which name has which id."""

    def __init__(
        self,
        request: Request,
        settle: Callable[[Json], None],
        authenticate: Callable[[str, bool], None],
        catalog: Catalog,
    ) -> None:
        self.request = request
        self.settle = settle
        """Changes what is set in Stripe's dashboard."""
        self.authenticate = authenticate
        """Confirms a payment with the customer's bank, or fails to."""
        self.ids: dict[str, str] = {}
        """The id of each customer."""
        self.bought: dict[str, str] = {}
        """The id of each subscription."""
        self.payment_methods: dict[str, str] = {}
        self.clocks: dict[str, str] = {}
        self._sold = {price.stripe: price for price in _prices(catalog) if price.stripe}
        self._prices: dict[str, str] = {}

    def customer(self, name: str) -> str:
        return _known(self.ids, name, "customer")

    def subscription(self, name: str) -> str:
        return _known(self.bought, name, "subscription")

    def read_subscription(self, name: str) -> Json:
        return self.request("GET", f"/v1/subscriptions/{self.subscription(name)}", {})

    def update(self, subscription: str, **change: Any) -> None:  # Stripe's own parameters
        self.request("POST", f"/v1/subscriptions/{self.subscription(subscription)}", change)

    def price(self, key: str) -> str:
        """The id of a price; prices of the catalog go on sale when they are first asked for."""
        if key not in self._prices:
            if key not in self._sold:
                raise ValueError(f"nothing is sold as `{key}`; sell it first with `provider: sells {key}`")
            price = self._sold[key]
            recurring: Json = {"interval": price.interval, "interval_count": price.interval_count}
            if price.part == "usage":
                recurring["usage_type"] = "metered"
            self.put_on_sale(key, amount=price.amount, currency=price.currency, recurring=recurring)
        return self._prices[key]

    def sell_all(self) -> None:
        """Put everything on sale that the catalog has a price for."""
        for key in self._sold:
            self.price(key)

    def put_on_sale(self, key: str, *, amount: int, currency: str, recurring: Json, product: str | None = None) -> None:
        naming = {"id": product} if product else {}
        made = self.request("POST", "/v1/products", {"name": key, **naming})
        said = {"product": made["id"], "lookup_key": key, "unit_amount": amount, "currency": currency}
        self._prices[key] = self.request("POST", "/v1/prices", {**said, "recurring": recurring})["id"]

    def rename(self, key: str, price: str) -> None:
        """From here on this lookup key is the name of another price."""
        self._prices[key] = price

    def items(self, said: ItemsSaid) -> list[Json]:
        return [{"price": self.price(key), **_quantity(quantity)} for key, quantity in said]


@happenings.say(
    "sells <price>[ by <usage:usage>][ for <units> a <interval:day|week|month|year>][ as product <product>]"
)
def sell(
    stripe: Provider,
    price: str,
    usage: str | None = None,
    units: int = 1000,
    interval: str = "month",
    product: str | None = None,
) -> None:
    """Put a price on sale that the catalog does not describe."""
    recurring = {"interval": interval, "usage_type": "metered" if usage else "licensed"}
    stripe.put_on_sale(price, amount=units, currency="usd", recurring=recurring, product=product)


@happenings.say("a new <price> for <units> takes the lookup key over")
def renew_price(stripe: Provider, price: str, units: int) -> None:
    """What Stripe advises for another amount: a new price, under the name of the old one."""
    old = stripe.request("GET", f"/v1/prices/{stripe.price(price)}", {})
    every = {key: old["recurring"][key] for key in ("interval", "interval_count")}
    naming = {"product": old["product"], "lookup_key": price, "transfer_lookup_key": True}
    made = {**naming, "unit_amount": units, "currency": old["currency"], "recurring": every}
    stripe.rename(price, stripe.request("POST", "/v1/prices", made)["id"])


@happenings.say("the price <price> loses its lookup key")
def unname_price(stripe: Provider, price: str) -> None:
    stripe.request("POST", f"/v1/prices/{stripe.price(price)}", {"lookup_key": ""})


@happenings.say("dunning ends in <status:canceled|unpaid|past_due>")
def set_dunning(stripe: Provider, status: str) -> None:
    """Set what becomes of a subscription when all retries have failed."""
    stripe.settle({"after_retries": "cancel" if status == "canceled" else status})


@happenings.say(f"<customer> signs up[ for account <account>] with <card:{CARD_WORDS}>")
def sign_up(stripe: Provider, customer: str, card: str, account: str | None = None) -> None:
    _create(stripe, customer, card, {"paygrade_account": account or customer})


@happenings.say(f"<customer> signs up without an account, with <card:{CARD_WORDS}>")
def sign_up_without_account(stripe: Provider, customer: str, card: str) -> None:
    _create(stripe, customer, card, {})


@happenings.say(f"<customer> signs up on a test clock, with <card:{CARD_WORDS}>, when that shows <at>")
def sign_up_on_a_clock(stripe: Provider, customer: str, card: str, at: datetime) -> None:
    """It lives in the time of a test clock of its own, which stands still until it is advanced."""
    clock = stripe.request("POST", CLOCKS, {"frozen_time": _seconds(at)})["id"]
    stripe.clocks[customer] = clock
    _create(stripe, customer, card, {"paygrade_account": customer}, test_clock=clock)


@happenings.say("the test clock of <customer> is advanced to <at>")
def advance_clock(stripe: Provider, customer: str, at: datetime) -> None:
    place = f"{CLOCKS}/{stripe.clocks[customer]}"
    stripe.request("POST", f"{place}/advance", {"frozen_time": _seconds(at)})
    while stripe.request("GET", place, {})["status"] == "advancing":
        pass  # it arrives after it was looked at twice


def _create(stripe: Provider, customer: str, card: str, metadata: Json, **known: str) -> None:
    made = stripe.request("POST", "/v1/customers", {"name": customer, "metadata": metadata, **known})
    stripe.ids[customer] = made["id"]
    if card in CARDS:
        _use_card(stripe, customer, CARDS[card])


@happenings.say("<subscription> is named for account <account>")
def name_account(stripe: Provider, subscription: str, account: str) -> None:
    """In the metadata of the subscription, as a checkout page does it."""
    stripe.update(subscription, metadata={"paygrade_account": account})


@happenings.say("<customer> moves to account <account>")
def move(stripe: Provider, customer: str, account: str) -> None:
    change = {"metadata": {"paygrade_account": account}}
    stripe.request("POST", f"/v1/customers/{stripe.customer(customer)}", change)


@happenings.say("<customer> is deleted")
def delete(stripe: Provider, customer: str) -> None:
    stripe.request("DELETE", f"/v1/customers/{stripe.customer(customer)}", {})


@happenings.say("<customer>'s card starts failing")
def break_card(stripe: Provider, customer: str) -> None:
    _use_card(stripe, customer, CARDS["a failing card"])


@happenings.say("<customer> puts in <card:a good card|a card that asks for confirmation>")
def put_in_card(stripe: Provider, customer: str, card: str) -> None:
    _use_card(stripe, customer, CARDS[card])


@happenings.say("<customer> takes the card away")
def take_card_away(stripe: Provider, customer: str) -> None:
    stripe.request("POST", f"/v1/payment_methods/{stripe.payment_methods.pop(customer)}/detach", {})


def _use_card(stripe: Provider, customer: str, card: str) -> None:
    id = stripe.customer(customer)
    method = stripe.request("POST", f"/v1/payment_methods/{card}/attach", {"customer": id})["id"]
    stripe.payment_methods[customer] = method
    default = {"invoice_settings": {"default_payment_method": method}}
    stripe.request("POST", f"/v1/customers/{id}", default)


@happenings.say("<customer> subscribes to <items>[ as <name>][, <terms>]")
def subscribe(
    stripe: Provider, customer: str, items: ItemsSaid, name: str | None = None, terms: tuple[str, ...] = ()
) -> None:
    """Make a subscription, on the terms listed below it."""
    wanted: Json = {"customer": stripe.customer(customer), "items": stripe.items(items)}
    for term in terms:
        wanted |= read_term(term)
    id = stripe.request("POST", "/v1/subscriptions", wanted)["id"]
    stripe.bought[customer] = id
    if name is not None:
        stripe.bought[f"{customer}/{name}"] = id


def read_term(term: str) -> Json:
    return terms.read(term)()


@terms.say("<days> days of trial")
def trial_days(days: timedelta) -> Json:
    return {"trial_period_days": days.days}


@terms.say("trial until <until>")
def trial_until(until: datetime) -> Json:
    return {"trial_end": _seconds(until)}


@terms.say("<outcome:canceled|paused|invoiced> if there is no card then")
def end_of_trial(outcome: str) -> Json:
    behavior = {"canceled": "cancel", "paused": "pause", "invoiced": "create_invoice"}[outcome]
    return {"trial_settings": {"end_behavior": {"missing_payment_method": behavior}}}


@terms.say("by invoice due in <days> days")
def by_invoice(days: timedelta) -> Json:
    return {"collection_method": "send_invoice", "days_until_due": days.days}


@terms.say("paying later")
def paying_later() -> Json:
    return {"payment_behavior": "default_incomplete"}


@terms.say("billed from <at>")
def billed_from(at: datetime) -> Json:
    return {"billing_cycle_anchor": _seconds(at)}


@terms.say("billed the classic way")
def classic() -> Json:
    """Billing mode `classic`; new subscriptions are `flexible` since 2025-09-30.clover."""
    return {"billing_mode": {"type": "classic"}}


@terms.say("ending <at>")
def ending(at: datetime) -> Json:
    return {"cancel_at": _seconds(at)}


@happenings.say(f"<subscription> changes <old> to <items>[, <billed:{'|'.join(BILLED)}>]")
def change_item(stripe: Provider, subscription: str, old: str, items: ItemsSaid, billed: str | None = None) -> None:
    """Swap the price or quantity of an item; the item keeps its id."""
    held = _item_sold_as(stripe, subscription, old)
    change = [{"id": held["id"], **item} for item in stripe.items(items)]
    stripe.update(subscription, items=change, **(BILLED[billed] if billed is not None else {}))


@happenings.say("<subscription> will be on <items> from <at>[, trial until <until>][ and ends <end>]")
def plan_phase(
    stripe: Provider,
    subscription: str,
    items: ItemsSaid,
    at: datetime,
    until: datetime | None = None,
    end: datetime | None = None,
) -> None:
    """Put a phase behind those that are planned, with a schedule of the subscription's if there is none yet."""
    schedule = _schedule(stripe, subscription)
    trial = {"trial_end": _seconds(until)} if until else {}
    last = {"end_date": _seconds(end)} if end else {"duration": {"interval": "month"}}
    phases = [_as_sent(phase) for phase in schedule["phases"]]
    phases[-1]["end_date"] = _seconds(at)
    phases.append({"start_date": _seconds(at), "items": stripe.items(items), **trial, **last})
    change = {"phases": phases, "end_behavior": "cancel" if end else "release"}
    stripe.request("POST", f"/v1/subscription_schedules/{schedule['id']}", change)


@happenings.say("<subscription>'s schedule is released")
def release(stripe: Provider, subscription: str) -> None:
    schedule = stripe.read_subscription(subscription)["schedule"]
    stripe.request("POST", f"/v1/subscription_schedules/{schedule}/release", {})


def _schedule(stripe: Provider, subscription: str) -> Json:
    known = stripe.read_subscription(subscription)["schedule"]
    if known is not None:
        return stripe.request("GET", f"/v1/subscription_schedules/{known}", {})
    return stripe.request(
        "POST", "/v1/subscription_schedules", {"from_subscription": stripe.subscription(subscription)}
    )


def _as_sent(phase: Json) -> Json:
    """A phase as it was read, in the parameters that leave it as it is."""
    items = [{"price": item["price"], **_quantity(item["quantity"])} for item in phase["items"]]
    trial = {"trial_end": phase["trial_end"]} if phase["trial_end"] else {}
    return {"start_date": phase["start_date"], "end_date": phase["end_date"], "items": items, **trial}


@happenings.say("<subscription> adds <items>[, charged at <once:once>]")
def add_items(stripe: Provider, subscription: str, items: ItemsSaid, once: str | None = None) -> None:
    stripe.update(subscription, items=stripe.items(items), **(BILLED["charged at once"] if once else {}))


@happenings.say("<subscription> drops <price>[, <how:not prorated>]")
def drop_item(stripe: Provider, subscription: str, price: str, how: str | None = None) -> None:
    held = _item_sold_as(stripe, subscription, price)
    billed = {"proration_behavior": "none"} if how else {}
    stripe.update(subscription, items=[{"id": held["id"], "deleted": True}], **billed)


@happenings.say("<subscription> cancels <when:now|at period end>")
def cancel(stripe: Provider, subscription: str, when: str) -> None:
    if when == "now":
        stripe.request("DELETE", f"/v1/subscriptions/{stripe.subscription(subscription)}", {})
    else:
        stripe.update(subscription, cancel_at_period_end=True)


@happenings.say("<subscription> cancels as of <at>")
def cancel_at(stripe: Provider, subscription: str, at: datetime) -> None:
    """What the customer portal does in flexible billing mode: `cancel_at`, and `cancel_at_period_end` stays false."""
    stripe.update(subscription, cancel_at=_seconds(at))


@happenings.say("<subscription> takes the cancellation back")
def keep(stripe: Provider, subscription: str) -> None:
    flagged = stripe.read_subscription(subscription)["cancel_at_period_end"]
    change: Json = {"cancel_at_period_end": False} if flagged else {"cancel_at": ""}
    stripe.update(subscription, **change)


@happenings.say("<subscription> moves its billing day to <until>")
def move_billing_day(stripe: Provider, subscription: str, until: datetime) -> None:
    """As Stripe's documentation does it: with a trial until then, and nothing prorated."""
    stripe.update(subscription, trial_end=_seconds(until), proration_behavior="none")


@happenings.say("<subscription> begins its billing cycle anew[, <prorated:prorated>]")
def restart_cycle(stripe: Provider, subscription: str, prorated: str | None = None) -> None:
    behavior = "create_prorations" if prorated else "none"
    stripe.update(subscription, billing_cycle_anchor="now", proration_behavior=behavior)


@happenings.say("<subscription> extends the trial until <until>")
def extend_trial(stripe: Provider, subscription: str, until: datetime) -> None:
    stripe.update(subscription, trial_end=_seconds(until), proration_behavior="none")


@happenings.say("<subscription> ends the trial now")
def end_trial(stripe: Provider, subscription: str) -> None:
    stripe.update(subscription, trial_end="now")


@happenings.say("<subscription> stops collecting, <behavior:keeping drafts|voiding invoices|writing invoices off>")
def pause_collection(stripe: Provider, subscription: str, behavior: str) -> None:
    """`pause_collection`: the status stays what it is."""
    meant = {
        "keeping drafts": "keep_as_draft",
        "voiding invoices": "void",
        "writing invoices off": "mark_uncollectible",
    }
    stripe.update(subscription, pause_collection={"behavior": meant[behavior]})


@happenings.say("<subscription> collects again")
def resume_collection(stripe: Provider, subscription: str) -> None:
    stripe.update(subscription, pause_collection="")


@happenings.say("<subscription> pauses")
def pause(stripe: Provider, subscription: str) -> None:
    stripe.request("POST", f"/v1/subscriptions/{stripe.subscription(subscription)}/pause", {})


@happenings.say("<subscription> resumes")
def resume(stripe: Provider, subscription: str) -> None:
    """Resume once the resumption's invoice is paid, which is tried at once."""
    wanted = {"payment_behavior": "resume_on_payment_success"}
    stripe.request("POST", f"/v1/subscriptions/{stripe.subscription(subscription)}/resume", wanted)


@happenings.say("<subscription> pays its <which:latest|oldest> invoice[ by bank <transfer:transfer>]")
def pay(stripe: Provider, subscription: str, which: str, transfer: str | None = None) -> None:
    invoice = _invoice(stripe, subscription, which)
    stripe.request("POST", f"/v1/invoices/{invoice}/pay", {"paid_out_of_band": True} if transfer else {})


@happenings.say("<subscription> tries to pay its <which:latest|oldest> invoice and is declined")
def fail_to_pay(stripe: Provider, subscription: str, which: str) -> None:
    try:
        pay(stripe, subscription, which)
    except Declined:
        return
    raise AssertionError(f"`{subscription}` was not declined, but paid")


@happenings.say("<subscription> <how:confirms|fails to confirm> the payment")
def confirm(stripe: Provider, subscription: str, how: str) -> None:
    """What the customer's bank asks for (3-D Secure), of the payment of the newest invoice that is open."""
    asked = {"subscription": stripe.subscription(subscription), "status": "open"}
    invoices = stripe.request("GET", "/v1/invoices", asked)["data"]
    assert invoices, f"`{subscription}` has no open invoice, so there is no payment to confirm"
    [payment] = stripe.request("GET", "/v1/invoice_payments", {"invoice": invoices[0]["id"]})["data"]
    stripe.authenticate(str(payment["payment"]["payment_intent"]), how == "confirms")


@happenings.say("<subscription>'s <which:latest|oldest> invoice is <what:voided|written off>")
def settle_invoice(stripe: Provider, subscription: str, which: str, what: str) -> None:
    action = {"voided": "void", "written off": "mark_uncollectible"}[what]
    stripe.request("POST", f"/v1/invoices/{_invoice(stripe, subscription, which)}/{action}", {})


@happenings.say("<subscription>'s payment is refunded[, <units> of it]")
def refund(stripe: Provider, subscription: str, units: int | None = None) -> None:
    wanted: Json = {"charge": _charge(stripe, subscription), **({} if units is None else {"amount": units})}
    stripe.request("POST", "/v1/refunds", wanted)


@happenings.say("<subscription>'s payment is credited to the balance, <units> of it")
def credit(stripe: Provider, subscription: str, units: int) -> None:
    invoice = _invoice(stripe, subscription, "latest")
    stripe.request("POST", "/v1/credit_notes", {"invoice": invoice, "amount": units, "credit_amount": units})


@happenings.say("<subscription>'s dispute is <how:won|lost>")
def decide_dispute(stripe: Provider, subscription: str, how: str) -> None:
    """By the evidence that decides a dispute in Stripe's tests."""
    charge = _charge(stripe, subscription)
    [dispute] = stripe.request("GET", "/v1/disputes", {"charge": charge})["data"]
    evidence = {"uncategorized_text": "winning_evidence" if how == "won" else "losing_evidence"}
    stripe.request("POST", f"/v1/disputes/{dispute['id']}", {"evidence": evidence, "submit": True})


def _charge(stripe: Provider, subscription: str) -> str:
    """The charge that paid its latest invoice."""
    invoice = _invoice(stripe, subscription, "latest")
    [payment] = stripe.request("GET", "/v1/invoice_payments", {"invoice": invoice})["data"]
    intent = stripe.request("GET", f"/v1/payment_intents/{payment['payment']['payment_intent']}", {})
    return str(intent["latest_charge"])


def _invoice(stripe: Provider, subscription: str, which: str) -> str:
    """The latest of its invoices, or the oldest that is open."""
    if which == "latest":
        return str(stripe.read_subscription(subscription)["latest_invoice"])
    asked = {"subscription": stripe.subscription(subscription), "status": "open"}
    newest_first = stripe.request("GET", "/v1/invoices", asked)["data"]
    if not newest_first:
        raise AssertionError(f"`{subscription}` has no open invoice")
    return str(newest_first[-1]["id"])


def _item_sold_as(stripe: Provider, subscription: str, price: str) -> Json:
    items: list[Json] = stripe.read_subscription(subscription)["items"]["data"]
    for item in items:
        if item["price"]["lookup_key"] == price:
            return item
    held = ", ".join(str(item["price"]["lookup_key"]) for item in items)
    raise AssertionError(f"`{subscription}` has no item sold as `{price}`, but {held}")


def _prices(catalog: Catalog) -> list[Price]:
    sold: list[Plan | AddOn] = [*catalog.plans.values(), *catalog.add_ons.values()]
    return [price for bought in sold for price in bought.prices.values()]


def _quantity(quantity: int | None) -> Json:
    return {} if quantity is None else {"quantity": quantity}


def _known(ids: dict[str, str], name: str, noun: str) -> str:
    if name not in ids:
        raise AssertionError(f"there is no {noun} `{name}` yet; so far: {', '.join(ids) or 'none'}")
    return ids[name]


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
