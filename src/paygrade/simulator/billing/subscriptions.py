"""Requests that make, read and end subscriptions; `changes` holds updates, `pauses` holds pause and resume.

Laws. What can be refused is refused before anything is made: with `error_if_incomplete` a card that would
decline leaves no subscription behind. Other subscriptions of a failed first payment wait as `incomplete` for
23 hours.
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import first_periods, invoice_items, invoices, lifecycle, lines, renewals, sums
from paygrade.simulator.forms import Json
from paygrade.simulator.payments import payments, setups
from paygrade.simulator.products import amounts, discounts, prices, tax_rates
from paygrade.simulator.shapes import subscriptions as subscription_shapes
from paygrade.simulator.world import World

PAYMENT_BEHAVIORS = (
    "allow_incomplete",
    "default_incomplete",
    "error_if_incomplete",
    "pending_if_incomplete",
)
PRORATION_BEHAVIORS = ("create_prorations", "always_invoice", "none")
COLLECTION_METHODS = ("charge_automatically", "send_invoice")
ITEM_FIELDS = frozenset({"discounts", "metadata", "plan", "price", "price_data", "quantity", "tax_rates"})

# Accepted and without effect here: they change how money is collected, not what the subscription is.
IGNORED = frozenset({"off_session", "expand"})
SHARED = IGNORED | {
    "add_invoice_items",
    "automatic_tax",
    "default_tax_rates",
    "invoice_settings",
    "payment_settings",
    "cancel_at",
    "cancel_at_period_end",
    "collection_method",
    "days_until_due",
    "default_payment_method",
    "description",
    "discounts",
    "items",
    "metadata",
    "payment_behavior",
    "proration_behavior",
    "trial_end",
    "trial_settings",
    "billing_cycle_anchor",
}
CREATE_FIELDS = SHARED | {
    "backdate_start_date",
    "billing_cycle_anchor_config",
    "billing_mode",
    "currency",
    "customer",
    "trial_from_plan",
    "trial_period_days",
}
CANCEL_FIELDS = frozenset({"cancellation_details", "invoice_now", "prorate", "expand"})


def create(world: World, params: Json, *, schedule: str | None = None) -> Json:
    forms.check_known(params, CREATE_FIELDS)
    customer = world.live_customer(forms.read_required(params, "customer"))
    subscription, billed = prepare(world, customer, params)
    added = invoice_items.read_added(world, customer, subscription, params)
    billed += [*invoice_items.lines_waiting(world, subscription), *invoice_items.lines_of(world, added)]
    subscription["schedule"] = schedule
    behavior = forms.read_choice(params, "payment_behavior", PAYMENT_BEHAVIORS) or "allow_incomplete"
    _refuse_unpayable(world, subscription, customer=customer, billed=billed, behavior=behavior)
    for item in subscription["items"]["data"]:
        prices.keep(world, item["price"])
        world.put(item, subscription["id"])
    world.put(subscription, customer["id"])
    with world.holding(subscription):
        invoice_items.keep(world, added)
        discounts.attach_to_items(world, subscription["items"]["data"])
        discounts.attach(world, subscription, subscription["discounts"])
        _bill_first(world, subscription, billed, behavior=behavior)
        _ask_for_payment_method(world, subscription, customer)
    lifecycle.schedule_renewal(world, subscription)
    if subscription["status"] == "incomplete":
        world.schedule(world.at + renewals.PAYMENT_WINDOW_S, "expire_incomplete", subscription["id"])
    if subscription["status"] == "trialing":
        lifecycle.schedule_trial(world, subscription)
    if subscription["cancel_at"] is not None:
        world.schedule(subscription["cancel_at"], "cancel", subscription["id"])
    world.emit("customer.subscription.created", subscription)
    return subscription


def prepare(world: World, customer: Json, params: Json) -> tuple[Json, list[Json]]:
    """Work out a new subscription and the lines of its first invoice, without making anything."""
    subscription = _read_new(world, customer, params)
    lifecycle.fill(subscription, _read_new_items(world, subscription, params))
    first_periods.place(world, subscription, params)
    set_cancellation(world, subscription, params)
    subscription["discounts"] = discounts.read(world, params, subscription) or []
    return subscription, first_periods.bill(world, subscription, prorate=_read_proration(params) != "none")


def cancel(world: World, id: str, params: Json) -> Json:
    """End a subscription now."""
    forms.check_known(params, CANCEL_FIELDS)
    subscription = world.get("subscription", id)
    if subscription["status"] in lifecycle.ENDED:
        raise errors.missing(kind="subscription", id=id)  # Stripe answers as if it were gone
    prorate, invoice_now = forms.read_bool(params, "prorate"), forms.read_bool(params, "invoice_now")
    set_cancellation_details(subscription, params)
    if prorate:
        items = subscription["items"]["data"]
        credits = [lines.credit_line(world, subscription, item, at=world.at) for item in items]
        world.await_invoice(id, list(filter(None, credits)))
    waiting = world.pending_lines.get(id)
    if invoice_now and waiting:
        del world.pending_lines[id]
        with world.holding(subscription):
            period = (subscription["start_date"], world.at)
            invoice = invoices.draft(world, subscription, waiting, reason="subscription_update", period=period)
            invoices.finalize_and_collect(world, invoice)
    subscription.update(cancel_at=None, cancel_at_period_end=False)
    lifecycle.end(world, subscription, reason="cancellation_requested")
    return subscription


def read_price(world: World, wanted: Json, *, param: str) -> Json:
    """Read the price of an item; one given as `price_data` is made, and kept with the item."""
    if data := forms.read_object(wanted, "price_data"):
        if "price" in wanted:
            raise errors.invalid(f"{param}[price_data]", "Give either `price` or `price_data`.")
        return prices.make_inline(world, data, param=f"{param}[price_data]", recurs=True)
    id = wanted.get("price") or wanted.get("plan")
    if not id:
        raise errors.missing_parameter(f"{param}[price]")
    price = world.get("price", id, param=f"{param}[price]")
    if price["recurring"] is None:
        raise errors.invalid(f"{param}[price]", "The price is one-time; a subscription needs a recurring one.")
    if not price["active"]:
        raise errors.invalid(f"{param}[price]", f"The price `{id}` is inactive; use an active price.")
    return price


def read_quantity(wanted: Json, *, price: Json, param: str) -> int | None:
    quantity = forms.read_int(wanted, "quantity")
    if price["recurring"]["usage_type"] == "metered":
        if quantity is not None:
            raise errors.invalid(f"{param}[quantity]", "A metered price takes no quantity.")
        return None
    if quantity is not None and quantity < 0:
        raise errors.invalid(f"{param}[quantity]", "Invalid integer: the quantity must be at least 0.")
    return 1 if quantity is None else quantity


def read_payment_method(world: World, params: Json, *, customer: str) -> str | None:
    id = forms.read_text(params, "default_payment_method")
    if not id:
        return None
    if world.get("payment_method", id, param="default_payment_method")["customer"] != customer:
        message = "The customer does not have this payment method; attach it to the customer first."
        raise errors.invalid("default_payment_method", message, code="resource_missing")
    return id


def make_item(world: World, *, subscription: str, price: Json, quantity: int | None, wanted: Json) -> Json:
    item = subscription_shapes.subscription_item(
        id=world.new_id("si", length=14),
        at=world.at,
        subscription=subscription,
        price=price,
        plan=world.plans[price["id"]],
        quantity=quantity,
    )
    item["metadata"] = forms.merge_metadata({}, wanted)
    item["tax_rates"] = tax_rates.read(world, wanted, "tax_rates") or []
    return item


def refuse_unlike_items(world: World, items: list[Json], *, currency: str, flexible: bool) -> None:
    """Refuse items that cannot be billed together."""
    priced = [item["price"] for item in items]
    if not items:
        raise errors.missing_parameter("items")
    if len({price["id"] for price in priced}) < len(priced):
        raise errors.invalid("items", "Cannot add multiple subscription items with the same price.")
    for price in priced:
        if not amounts.offers(world, price, currency):
            offered = " and ".join(f"`{one}`" for one in world.price_options[price["id"]])
            message = (
                f"The price specified only supports {offered}. This doesn't match the expected currency: `{currency}`."
            )
            raise errors.invalid("items", message)
    intervals = {(p["recurring"]["interval"], p["recurring"]["interval_count"]) for p in priced}
    if len(intervals) > 1 and not flexible:
        message = "All prices on a subscription must have the same interval, but in flexible billing mode."
        raise errors.invalid("items", message)


def set_cancellation(world: World, subscription: Json, params: Json) -> None:
    """Read `cancel_at` and `cancel_at_period_end`, which means the first item whose period ends.

    (Stripe changelog 2025-07-30: with mixed intervals it "always resolves to the earliest item period end".)
    """
    ends = [item["current_period_end"] for item in subscription["items"]["data"]]
    flag, moment = forms.read_bool(params, "cancel_at_period_end"), forms.read_text(params, "cancel_at")
    if flag and moment:
        raise errors.invalid("cancel_at", "Set either `cancel_at` or `cancel_at_period_end`.")
    if flag:
        _plan_end(world, subscription, min(ends), at_period_end=True)
    elif moment in ("min_period_end", "max_period_end"):
        _plan_end(world, subscription, (min if moment.startswith("min") else max)(ends), at_period_end=False)
    elif moment:
        end = forms.read_int(params, "cancel_at") or 0
        if end <= world.at:
            raise errors.invalid("cancel_at", "`cancel_at` must be in the future.")
        _plan_end(world, subscription, end, at_period_end=False)
    elif moment == "" or (flag is False and subscription["cancel_at_period_end"]):
        subscription.update(cancel_at=None, cancel_at_period_end=False, canceled_at=None)
        subscription["cancellation_details"]["reason"] = None


def set_cancellation_details(subscription: Json, params: Json) -> None:
    wanted = forms.read_object(params, "cancellation_details")
    forms.check_known(wanted, frozenset({"comment", "feedback"}), within="cancellation_details")
    for name, value in wanted.items():
        subscription["cancellation_details"][name] = value or None


def set_trial_settings(subscription: Json, params: Json) -> None:
    wanted = forms.read_object(forms.read_object(params, "trial_settings"), "end_behavior")
    choices = ("cancel", "create_invoice", "pause")
    if behavior := forms.read_choice(wanted, "missing_payment_method", choices):
        subscription["trial_settings"] = subscription_shapes.trial_settings(behavior)


def set_taxes(world: World, subscription: Json, params: Json) -> None:
    """Set the default tax rates and automatic tax, which needs a customer whose place is known."""
    rates = tax_rates.read(world, params, "default_tax_rates")
    if rates is not None:
        subscription["default_tax_rates"] = rates
    automatic = sums.read_automatic(params)
    if automatic:
        sums.refuse_unlocated(world.objects[subscription["customer"]])
        if subscription["default_tax_rates"]:
            message = "`automatic_tax` can't be combined with `default_tax_rates`."
            raise errors.invalid("automatic_tax[enabled]", message)
    if automatic is not None:
        subscription["automatic_tax"].update(enabled=automatic, liability={"type": "self"} if automatic else None)


def set_payment_settings(subscription: Json, params: Json) -> None:
    """Set how invoices are paid and what is on them; what we lack is refused rather than left out in silence."""
    paying = forms.read_object(params, "payment_settings")
    forms.check_known(
        paying, frozenset({"payment_method_types", "save_default_payment_method"}), within="payment_settings"
    )
    saving = forms.read_choice(paying, "save_default_payment_method", ("off", "on_subscription"))
    if saving is not None:
        subscription["payment_settings"]["save_default_payment_method"] = saving
    if "payment_method_types" in paying:
        types = forms.read_list(paying, "payment_method_types")
        if set(types) - {"card", "us_bank_account"}:
            message = "The simulator takes `card` and `us_bank_account` only."
            raise errors.invalid("payment_settings[payment_method_types]", message)
        subscription["payment_settings"]["payment_method_types"] = types or None
    printed = forms.read_object(params, "invoice_settings")
    forms.check_known(printed, frozenset({"description", "footer"}), within="invoice_settings")
    for name in printed:
        subscription["invoice_settings"][name] = forms.read_text(printed, name) or None


def set_collection(subscription: Json, params: Json) -> None:
    method = forms.read_choice(params, "collection_method", COLLECTION_METHODS)
    subscription["collection_method"] = method or subscription["collection_method"]
    days = forms.read_int(params, "days_until_due")
    if subscription["collection_method"] == "send_invoice":
        subscription["days_until_due"] = subscription["days_until_due"] if days is None else days
        if subscription["days_until_due"] is None:
            raise errors.missing_parameter("days_until_due")
    elif days is not None:
        message = "`days_until_due` needs `collection_method=send_invoice`."
        raise errors.invalid("days_until_due", message)
    else:
        subscription["days_until_due"] = None


def _plan_end(world: World, subscription: Json, end: int, *, at_period_end: bool) -> None:
    subscription.update(cancel_at=end, cancel_at_period_end=at_period_end, canceled_at=world.at)
    subscription["cancellation_details"]["reason"] = "cancellation_requested"


def _read_new(world: World, customer: Json, params: Json) -> Json:
    mode = forms.read_object(params, "billing_mode")
    type = forms.read_choice(mode, "type", ("classic", "flexible")) or "flexible"
    subscription = subscription_shapes.subscription(
        id=world.new_id("sub"),
        at=world.at,
        customer=customer["id"],
        test_clock=customer["test_clock"],
        currency=customer["currency"] or "usd",
        billing_mode=subscription_shapes.billing_mode(type=type, at=world.at),
        metadata=forms.merge_metadata({}, params),
        description=forms.read_text(params, "description") or None,
        default_payment_method=read_payment_method(world, params, customer=customer["id"]),
    )
    set_collection(subscription, params)
    set_trial_settings(subscription, params)
    set_payment_settings(subscription, params)
    set_taxes(world, subscription, params)
    return subscription


def _read_new_items(world: World, subscription: Json, params: Json) -> list[Json]:
    items: list[Json] = []
    about: list[tuple[Json, str]] = []
    for index, wanted in enumerate(forms.read_objects(params, "items")):
        param = f"items[{index}]"
        forms.check_known(wanted, ITEM_FIELDS, within=param)
        price = read_price(world, wanted, param=param)
        quantity = read_quantity(wanted, price=price, param=param)
        items.append(make_item(world, subscription=subscription["id"], price=price, quantity=quantity, wanted=wanted))
        about.append((wanted, param))
    subscription["currency"] = currency = _read_currency(world, subscription, items, params)
    refuse_unlike_items(world, items, currency=currency, flexible=subscription["billing_mode"]["type"] == "flexible")
    for item, (wanted, param) in zip(items, about, strict=True):
        set_discounts(world, subscription, item, wanted, param=param)
    return items


def set_discounts(world: World, subscription: Json, item: Json, wanted: Json, *, param: str) -> None:
    """Read the discounts of one item; they are kept when the item is."""
    owner = discounts.owner_of(item, customer=subscription["customer"], currency=subscription["currency"])
    made = discounts.read_of(world, wanted, owner, within=param)
    item["discounts"] = item["discounts"] if made is None else made


def _read_currency(world: World, subscription: Json, items: list[Json], params: Json) -> str:
    """Choose the currency: the one asked for, else the customer's if all prices are offered in it, else the first's."""
    if "currency" in params:
        return forms.read_currency(params)
    own = str(subscription["currency"])
    if not items or all(amounts.offers(world, item["price"], own) for item in items):
        return own
    return str(items[0]["price"]["currency"])


def _ask_for_payment_method(world: World, subscription: Json, customer: Json) -> None:
    """Give a subscription that begins without a payment a setup intent, where a card is missing or wants confirming.

    (Stripe docs: subscriptions: `pending_setup_intent`.)
    """
    invoice = world.find("invoice", subscription["latest_invoice"])
    if subscription["collection_method"] != "charge_automatically" or (invoice is not None and invoice["amount_due"]):
        return
    payer = payments.card_for(world, customer=customer, subscription=subscription)
    if payer is None or world.cards[payer].authenticates:
        intent = setups.make(world, customer=customer["id"])
        subscription["pending_setup_intent"] = intent["id"]


def _refuse_unpayable(world: World, subscription: Json, *, customer: Json, billed: list[Json], behavior: str) -> None:
    automatic = subscription["collection_method"] == "charge_automatically"
    due = sums.total(world, customer, subscription, billed) + customer["balance"]
    if due <= 0 or not automatic or behavior == "default_incomplete":
        return
    payer = payments.card_for(world, customer=customer, subscription=subscription)
    failure = payments.failure_of(world, payer)
    if payer is None:
        raise errors.invalid("customer", payments.NO_CARD_MESSAGE, code="resource_missing")
    if failure is not None and behavior == "error_if_incomplete":
        raise subscription_refused(failure)


def subscription_refused(failure: Json) -> errors.RefusedByStripe:
    code = failure["code"]
    if code == "authentication_required":
        code = "subscription_payment_intent_requires_action"
    return errors.declined(code=code, decline_code=failure["decline_code"], message=failure["message"])


def _bill_first(world: World, subscription: Json, billed: list[Json], *, behavior: str) -> None:
    if subscription["collection_method"] == "send_invoice" and subscription["status"] != "trialing":
        subscription["status"] = "active"
    if not billed:
        subscription["status"] = "active"
        return
    period = (world.at, world.at)
    invoice = invoices.draft(world, subscription, billed, reason="subscription_create", period=period)
    if subscription["collection_method"] == "send_invoice" and invoice["amount_due"] > 0:
        invoices.wait_to_finalize(world, invoice)
    elif behavior == "default_incomplete":
        invoices.finalize(world, invoice)
    else:
        invoices.finalize_and_collect(world, invoice)


def _read_proration(params: Json) -> str:
    return forms.read_choice(params, "proration_behavior", PRORATION_BEHAVIORS) or "create_prorations"
