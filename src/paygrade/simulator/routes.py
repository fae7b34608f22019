"""Which request does what: one table of method and path, and the reading requests in full."""

from __future__ import annotations

import re
from collections.abc import Callable

from paygrade.simulator import (
    catalog,
    changes,
    customers,
    errors,
    forms,
    invoices,
    items,
    pauses,
    previews,
    subscriptions,
    thin,
)
from paygrade.simulator.forms import Json
from paygrade.simulator.reading import LIST_FIELDS, Test, filters, page
from paygrade.simulator.world import World, copied

Handler = Callable[[World, Json], Json]
HandlerOfOne = Callable[[World, str, Json], Json]

NOT_LISTED_BY_DEFAULT = ("canceled",)
SUBSCRIPTION_STATUSES = (
    "active",
    "all",
    "canceled",
    "ended",
    "incomplete",
    "incomplete_expired",
    "past_due",
    "paused",
    "trialing",
    "unpaid",
)
PAY_FIELDS = frozenset({"payment_method", "paid_out_of_band", "off_session", "forgive", "expand"})


def find(method: str, path: str) -> Handler:
    if handler := OF_A_KIND.get((method, path)):
        return handler
    for wanted, pattern, handler_of_one in OF_ONE:
        if wanted == method and (found := pattern.fullmatch(path)):
            return _bound(handler_of_one, found.group(1))
    raise errors.no_such_url(method, path)


def _bound(handler: HandlerOfOne, id: str) -> Handler:
    return lambda world, params: handler(world, id, params)


def _retrieve(kind: str) -> HandlerOfOne:
    def retrieve(world: World, id: str, params: Json) -> Json:
        forms.check_known(params, frozenset({"expand"}))
        return world.get(kind, id)

    return retrieve


def _list(kind: str, path: str, names: dict[str, Callable[[Json], object]], *, owner: str | None = None) -> Handler:
    """List a kind; `owner` is the filter that has shelves of its own, which spares looking at the rest."""

    def list_kind(world: World, params: Json) -> Json:
        forms.check_known(params, LIST_FIELDS | {"created"} | set(names))
        shelf = f"{kind}/{params[owner]}" if owner and owner in params else kind
        return page(world, shelf, params, url=path, keep=filters(params, names))

    return list_kind


def list_subscriptions(world: World, params: Json) -> Json:
    names = {
        "customer": lambda s: s["customer"],
        "collection_method": lambda s: s["collection_method"],
    }
    forms.check_known(params, LIST_FIELDS | {"created", "status", "price", "plan"} | set(names))
    status = forms.read_choice(params, "status", SUBSCRIPTION_STATUSES)
    price = forms.read_text(params, "price") or forms.read_text(params, "plan")
    plain = filters(params, names)

    def keep(subscription: Json) -> bool:
        if not plain(subscription) or not _has_status(subscription, status):
            return False
        return price is None or any(i["price"]["id"] == price for i in subscription["items"]["data"])

    shelf = f"subscription/{params['customer']}" if "customer" in params else "subscription"
    return page(world, shelf, params, url="/v1/subscriptions", keep=keep)


def _has_status(subscription: Json, status: str | None) -> bool:
    match status:
        case None:
            return subscription["status"] not in NOT_LISTED_BY_DEFAULT
        case "all":
            return True
        case "ended":
            return subscription["status"] in ("canceled", "incomplete_expired")
        case _:
            return bool(subscription["status"] == status)


def list_items(world: World, params: Json) -> Json:
    forms.check_known(params, LIST_FIELDS | {"subscription"})
    subscription = world.get("subscription", forms.read_required(params, "subscription"), param="subscription")
    shelf = f"subscription_item/{subscription['id']}"
    return page(world, shelf, params, url="/v1/subscription_items")


def list_prices(world: World, params: Json) -> Json:
    names = {
        "active": lambda p: p["active"],
        "currency": lambda p: p["currency"],
        "product": lambda p: p["product"],
        "type": lambda p: p["type"],
    }
    forms.check_known(params, LIST_FIELDS | {"created", "lookup_keys", "recurring"} | set(names))
    keys = forms.read_list(params, "lookup_keys") if "lookup_keys" in params else None
    recurring = forms.read_object(params, "recurring")
    plain = filters(params, names)

    def keep(price: Json) -> bool:
        known = price["recurring"] or {}
        return (
            plain(price)
            and (keys is None or price["lookup_key"] in keys)
            and all(known.get(name) == value for name, value in recurring.items())
        )

    return page(world, "price", params, url="/v1/prices", keep=keep)


def list_invoice_payments(world: World, params: Json) -> Json:
    names = {"invoice": lambda p: p["invoice"], "status": lambda p: p["status"]}
    forms.check_known(params, LIST_FIELDS | {"created", "payment"} | set(names))
    intent = forms.read_object(params, "payment").get("payment_intent")
    plain = filters(params, names)

    def keep(payment: Json) -> bool:
        return plain(payment) and (intent is None or payment["payment"]["payment_intent"] == intent)

    owner = params.get("invoice") or intent
    shelf = f"invoice_payment/{owner}" if owner else "invoice_payment"
    return page(world, shelf, params, url="/v1/invoice_payments", keep=keep)


def list_invoice_lines(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, LIST_FIELDS)
    return dict(world.get("invoice", id)["lines"])


def list_events(world: World, params: Json) -> Json:
    forms.check_known(params, LIST_FIELDS | {"created", "type", "types", "delivery_success"})
    types = forms.read_list(params, "types")
    one = forms.read_text(params, "type")
    succeeded = forms.read_bool(params, "delivery_success")
    plain = filters(params, {})
    prefix = one.removesuffix("*") if one and one.endswith("*") else None

    def keep(event: Json) -> bool:
        type = event["type"]
        return (
            (not types or type in types)
            and (one is None or type == one or (prefix is not None and type.startswith(prefix)))
            and (succeeded is None or (event["pending_webhooks"] == 0) == succeeded)
            and plain(event)
        )

    return page(world, "event", params, url="/v1/events", keep=keep)


def retrieve_thin_event(world: World, id: str, _params: Json) -> Json:
    return thin.full(copied(world.get("event", id)))


def list_customer_payment_methods(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, LIST_FIELDS | {"type"})
    subscriptions.live_customer(world, id)
    keep = _attached(id, params)
    url = f"/v1/customers/{id}/payment_methods"
    return page(world, f"payment_method/{id}", params, url=url, keep=keep)


def list_payment_methods(world: World, params: Json) -> Json:
    forms.check_known(params, LIST_FIELDS | {"type", "customer"})
    id = forms.read_required(params, "customer")
    keep = _attached(id, params)
    return page(world, f"payment_method/{id}", params, url="/v1/payment_methods", keep=keep)


def _attached(customer: str, params: Json) -> Test:
    type = params.get("type", "card")
    return lambda method: method["customer"] == customer and method["type"] == type


def pay_invoice(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, PAY_FIELDS)
    invoice = world.get("invoice", id)
    subscriptions.live_customer(world, invoice["customer"])
    named = forms.read_text(params, "payment_method")
    if named and world.get("payment_method", named, param="payment_method")["customer"] != invoice["customer"]:
        message = "The payment method is not attached to this invoice's customer."
        raise errors.invalid("payment_method", message, code="resource_missing")
    out_of_band = bool(forms.read_bool(params, "paid_out_of_band"))
    invoices.pay(world, invoice, payment_method=named, out_of_band=out_of_band)
    return invoice


def finalize_invoice(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"auto_advance", "expand"}))
    invoice = world.get("invoice", id)
    subscriptions.live_customer(world, invoice["customer"])
    if invoice["status"] != "draft":
        raise errors.invalid("invoice", "Only draft invoices can be finalized.", code="invoice_not_editable")
    if forms.read_bool(params, "auto_advance") is True:
        invoice["auto_advance"] = True
        invoices.finalize_and_collect(world, invoice)
    else:
        invoices.finalize(world, invoice)
    return invoice


def void_invoice(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand"}))
    invoice = world.get("invoice", id)
    invoices.void(world, invoice)
    return invoice


def mark_invoice_uncollectible(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand"}))
    invoice = world.get("invoice", id)
    invoices.mark_uncollectible(world, invoice)
    return invoice


def _subscription_of(invoice: Json) -> object:
    return invoice["parent"]["subscription_details"]["subscription"]


PRODUCT_FILTERS: dict[str, Callable[[Json], object]] = {"active": lambda p: p["active"]}
CUSTOMER_FILTERS: dict[str, Callable[[Json], object]] = {"email": lambda c: c["email"]}
INVOICE_FILTERS: dict[str, Callable[[Json], object]] = {
    "customer": lambda i: i["customer"],
    "subscription": _subscription_of,
    "status": lambda i: i["status"],
    "collection_method": lambda i: i["collection_method"],
}


def _list_invoices(world: World, params: Json) -> Json:
    owner = "subscription" if "subscription" in params else "customer"
    return _list("invoice", "/v1/invoices", INVOICE_FILTERS, owner=owner)(world, params)


OF_A_KIND: dict[tuple[str, str], Handler] = {
    ("GET", "/v1/customers"): _list("customer", "/v1/customers", CUSTOMER_FILTERS),
    ("POST", "/v1/customers"): customers.create_customer,
    ("GET", "/v1/payment_methods"): list_payment_methods,
    ("POST", "/v1/payment_methods"): customers.create_payment_method,
    ("GET", "/v1/products"): _list("product", "/v1/products", PRODUCT_FILTERS),
    ("POST", "/v1/products"): catalog.create_product,
    ("GET", "/v1/prices"): list_prices,
    ("POST", "/v1/prices"): catalog.create_price,
    ("GET", "/v1/subscriptions"): list_subscriptions,
    ("POST", "/v1/subscriptions"): subscriptions.create,
    ("GET", "/v1/subscription_items"): list_items,
    ("POST", "/v1/subscription_items"): items.create,
    ("POST", "/v1/invoices/create_preview"): previews.create_preview,
    ("GET", "/v1/invoices"): _list_invoices,
    ("GET", "/v1/invoice_payments"): list_invoice_payments,
    ("GET", "/v1/events"): list_events,
}
_ONE: list[tuple[str, str, HandlerOfOne]] = [
    ("GET", "/v1/customers/{id}", _retrieve("customer")),
    ("POST", "/v1/customers/{id}", customers.update_customer),
    ("DELETE", "/v1/customers/{id}", customers.delete_customer),
    ("GET", "/v1/customers/{id}/payment_methods", list_customer_payment_methods),
    ("GET", "/v1/payment_methods/{id}", _retrieve("payment_method")),
    ("POST", "/v1/payment_methods/{id}/attach", customers.attach_payment_method),
    ("POST", "/v1/payment_methods/{id}/detach", customers.detach_payment_method),
    ("GET", "/v1/products/{id}", _retrieve("product")),
    ("POST", "/v1/products/{id}", catalog.update_product),
    ("GET", "/v1/prices/{id}", _retrieve("price")),
    ("POST", "/v1/prices/{id}", catalog.update_price),
    ("GET", "/v1/subscriptions/{id}", _retrieve("subscription")),
    ("POST", "/v1/subscriptions/{id}", changes.update),
    ("DELETE", "/v1/subscriptions/{id}", subscriptions.cancel),
    ("POST", "/v1/subscriptions/{id}/pause", pauses.pause),
    ("POST", "/v1/subscriptions/{id}/resume", pauses.resume),
    ("GET", "/v1/subscription_items/{id}", _retrieve("subscription_item")),
    ("POST", "/v1/subscription_items/{id}", items.update),
    ("DELETE", "/v1/subscription_items/{id}", items.delete),
    ("GET", "/v1/invoices/{id}", _retrieve("invoice")),
    ("GET", "/v1/invoices/{id}/lines", list_invoice_lines),
    ("POST", "/v1/invoices/{id}/finalize", finalize_invoice),
    ("POST", "/v1/invoices/{id}/pay", pay_invoice),
    ("POST", "/v1/invoices/{id}/void", void_invoice),
    ("POST", "/v1/invoices/{id}/mark_uncollectible", mark_invoice_uncollectible),
    ("GET", "/v1/invoice_payments/{id}", _retrieve("invoice_payment")),
    ("GET", "/v1/payment_intents/{id}", _retrieve("payment_intent")),
    ("GET", "/v1/charges/{id}", _retrieve("charge")),
    ("GET", "/v1/balance_transactions/{id}", _retrieve("balance_transaction")),
    ("GET", "/v1/events/{id}", _retrieve("event")),
    ("GET", "/v2/core/events/{id}", retrieve_thin_event),
]
OF_ONE = [(method, re.compile(path.replace("{id}", "([^/]+)")), handler) for method, path, handler in _ONE]
