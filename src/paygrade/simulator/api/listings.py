"""Reading requests: objects by id, and lists with the filters Stripe has for each kind."""

from __future__ import annotations

from collections.abc import Callable

from paygrade.simulator import errors, forms
from paygrade.simulator.api.reading import LIST_FIELDS, Test, filters, page
from paygrade.simulator.billing import credit_grants, invoice_items
from paygrade.simulator.checkout import sessions as checkout
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import thin_events as thin
from paygrade.simulator.world import World

Handler = Callable[[World, Json], Json]
HandlerOfOne = Callable[..., Json]  # of the world, one id or two, and the parameters

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


def retrieving(kind: str) -> HandlerOfOne:
    def retrieve(world: World, id: str, params: Json) -> Json:
        forms.check_known(params, frozenset({"expand"}))
        return world.get(kind, id)

    return retrieve


def retrieving_secret(kind: str) -> HandlerOfOne:
    """Retrieve what a browser may read too: by the client secret it was given."""

    def retrieve(world: World, id: str, params: Json) -> Json:
        forms.check_known(params, frozenset({"client_secret", "expand"}))
        return world.get(kind, id)

    return retrieve


def retrieve_account(world: World, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand"}))
    return world.account


def retrieve_account_by_id(world: World, id: str, params: Json) -> Json:
    if id != world.account["id"]:
        raise errors.missing(kind="account", id=id)
    return retrieve_account(world, params)


def listing(
    kind: str,
    path: str,
    names: dict[str, Callable[[Json], object]],
    *,
    owner: str | None = None,
    timeless: bool = False,
) -> Handler:
    """List a kind; `owner` is the filter that has shelves of its own, which spares looking at the rest."""

    def list_kind(world: World, params: Json) -> Json:
        forms.check_known(params, LIST_FIELDS | (set() if timeless else {"created"}) | set(names))
        shelf = f"{kind}/{params[owner]}" if owner and owner in params else kind
        return page(world, shelf, params, url=path, keep=filters(params, names))

    return list_kind


def list_subscriptions(world: World, params: Json) -> Json:
    names = {
        "customer": lambda s: s["customer"],
        "collection_method": lambda s: s["collection_method"],
    }
    forms.check_known(params, LIST_FIELDS | {"created", "status", "price", "plan", "test_clock"} | set(names))
    status = forms.read_choice(params, "status", SUBSCRIPTION_STATUSES)
    price = forms.read_text(params, "price") or forms.read_text(params, "plan")
    plain, timely = filters(params, names), _by_clock(params)

    def keep(subscription: Json) -> bool:
        if not plain(subscription) or not timely(subscription) or not _has_status(subscription, status):
            return False
        return price is None or any(i["price"]["id"] == price for i in subscription["items"]["data"])

    shelf = f"subscription/{params['customer']}" if "customer" in params else "subscription"
    return page(world, shelf, params, url="/v1/subscriptions", keep=keep)


def list_customers(world: World, params: Json) -> Json:
    names = {"email": lambda c: c["email"]}
    forms.check_known(params, LIST_FIELDS | {"created", "test_clock"} | set(names))
    plain, timely = filters(params, names), _by_clock(params)
    return page(world, "customer", params, url="/v1/customers", keep=lambda c: plain(c) and timely(c))


def _by_clock(params: Json) -> Test:
    """Leave out what lives by a test clock, unless that clock or the customer is named (Stripe docs: list)."""
    if "customer" in params and "test_clock" not in params:
        return lambda _thing: True
    clock = forms.read_text(params, "test_clock") or None
    return lambda thing: bool(thing["test_clock"] == clock)


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

    found = page(world, "event", params, url="/v1/events", keep=keep, look=world.events.head)
    return {**found, "data": [world.get_event(head["id"]) for head in found["data"]]}


def retrieve_event(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand"}))
    return world.get_event(id)


def retrieve_thin_event(world: World, id: str, _params: Json) -> Json:
    return thin.full(world.get_event(id))


def list_customer_payment_methods(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, LIST_FIELDS | {"type"})
    world.live_customer(id, param="id")
    keep = _attached(id, params)
    url = f"/v1/customers/{id}/payment_methods"
    return page(world, f"payment_method/{id}", params, url=url, keep=keep)


def list_payment_methods(world: World, params: Json) -> Json:
    forms.check_known(params, LIST_FIELDS | {"type", "customer"})
    id = forms.read_required(params, "customer")
    keep = _attached(id, params)
    return page(world, f"payment_method/{id}", params, url="/v1/payment_methods", keep=keep)


def _attached(customer: str, params: Json) -> Test:
    type = params.get("type")
    return lambda method: method["customer"] == customer and type in (None, method["type"])


def _subscription_of(invoice: Json) -> object:
    return invoice["parent"] and invoice["parent"]["subscription_details"]["subscription"]


PRODUCT_FILTERS: dict[str, Callable[[Json], object]] = {
    "active": lambda p: p["active"],
    "shippable": lambda p: p["shippable"],
    "type": lambda p: p["type"],
    "url": lambda p: p["url"],
}
CONFIGURATION_FILTERS: dict[str, Callable[[Json], object]] = {
    "active": lambda c: c["active"],
    "is_default": lambda c: c["is_default"],
}
INVOICE_FILTERS: dict[str, Callable[[Json], object]] = {
    "customer": lambda i: i["customer"],
    "subscription": _subscription_of,
    "status": lambda i: i["status"],
    "collection_method": lambda i: i["collection_method"],
}


def list_invoices(world: World, params: Json) -> Json:
    owner = "subscription" if "subscription" in params else "customer"
    return listing("invoice", "/v1/invoices", INVOICE_FILTERS, owner=owner)(world, params)


def list_invoice_items(world: World, params: Json) -> Json:
    names: dict[str, Callable[[Json], object]] = {
        "customer": lambda i: i["customer"],
        "invoice": lambda i: i["invoice"],
    }
    forms.check_known(params, LIST_FIELDS | {"created", "pending"} | set(names))
    pending, plain = forms.read_bool(params, "pending"), filters(params, names)

    def keep(item: Json) -> bool:
        return plain(item) and (pending is None or (item["invoice"] is None) == pending)

    shelf = f"invoiceitem/{params['customer']}" if "customer" in params else "invoiceitem"
    listed = page(world, shelf, params, url="/v1/invoiceitems", keep=keep)
    if "customer" in params and not params.keys() & {"starting_after", "ending_before"}:
        # Prorations wait as lines here, and are listed as the invoice items that Stripe makes of them.
        waiting = [invoice_items.of_proration(world, line) for line in world.prorations(params["customer"])]
        listed["data"] = [*(item for item in waiting if keep(item)), *listed["data"]]
    return listed


def list_refunds_of_charge(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, LIST_FIELDS)
    world.get("charge", id)
    return page(world, f"refund/{id}", params, url=f"/v1/charges/{id}/refunds")


def list_refunds(world: World, params: Json) -> Json:
    owner = "charge" if "charge" in params else "payment_intent"
    return listing("refund", "/v1/refunds", OF_A_CHARGE, owner=owner)(world, params)


def list_disputes(world: World, params: Json) -> Json:
    owner = "charge" if "charge" in params else "payment_intent"
    return listing("dispute", "/v1/disputes", OF_A_CHARGE, owner=owner)(world, params)


def list_credit_notes(world: World, params: Json) -> Json:
    names: dict[str, Callable[[Json], object]] = {
        "invoice": lambda n: n["invoice"],
        "customer": lambda n: n["customer"],
    }
    owner = "invoice" if "invoice" in params else "customer"
    return listing("credit_note", "/v1/credit_notes", names, owner=owner)(world, params)


def list_credit_note_lines(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, LIST_FIELDS)
    return dict(world.get("credit_note", id)["lines"])


def list_charges(world: World, params: Json) -> Json:
    names = {"customer": lambda c: c["customer"], "payment_intent": lambda c: c["payment_intent"]}
    return listing("charge", "/v1/charges", names, owner="customer")(world, params)


def list_credit_grants(world: World, params: Json) -> Json:
    names = {"customer": lambda g: g["customer"]}
    return listing(credit_grants.KIND, credit_grants.URL, names, owner="customer", timeless=True)(world, params)


def list_credit_transactions(world: World, params: Json) -> Json:
    names: dict[str, Callable[[Json], object]] = {
        "credit_grant": lambda t: t["credit_grant"],
        "customer": lambda t: world.objects[t["credit_grant"]]["customer"],
    }
    world.live_customer(forms.read_required(params, "customer"))
    url = "/v1/billing/credit_balance_transactions"
    return listing(credit_grants.TRANSACTION, url, names, owner="customer", timeless=True)(world, params)


def list_schedules(world: World, params: Json) -> Json:
    names = {"customer": lambda s: s["customer"]}
    forms.check_known(params, LIST_FIELDS | {"created", "scheduled"} | set(names))
    unstarted, plain = forms.read_bool(params, "scheduled"), filters(params, names)

    def keep(schedule: Json) -> bool:
        return plain(schedule) and (not unstarted or schedule["status"] == "not_started")

    shelf = f"subscription_schedule/{params['customer']}" if "customer" in params else "subscription_schedule"
    return page(world, shelf, params, url="/v1/subscription_schedules", keep=keep)


def list_promotion_codes(world: World, params: Json) -> Json:
    names: dict[str, Callable[[Json], object]] = {
        "active": lambda c: c["active"],
        "code": lambda c: c["code"],
        "coupon": lambda c: c["promotion"]["coupon"],
        "customer": lambda c: c["customer"],
    }
    wanted = {**params, "code": str(params["code"]).upper()} if "code" in params else params
    return listing("promotion_code", "/v1/promotion_codes", names)(world, wanted)


def list_payment_intents(world: World, params: Json) -> Json:
    names = {"customer": lambda i: i["customer"]}
    return listing("payment_intent", "/v1/payment_intents", names, owner="customer")(world, params)


def list_setup_intents(world: World, params: Json) -> Json:
    names: dict[str, Callable[[Json], object]] = {
        "customer": lambda i: i["customer"],
        "payment_method": lambda i: i["payment_method"],
    }
    return listing("setup_intent", "/v1/setup_intents", names, owner="customer")(world, params)


def list_sessions(world: World, params: Json) -> Json:
    names: dict[str, Callable[[Json], object]] = {
        "customer": lambda s: s["customer"],
        "payment_intent": lambda s: s["payment_intent"],
        "payment_link": lambda s: s["payment_link"],
        "status": lambda s: s["status"],
        "subscription": lambda s: s["subscription"],
    }
    forms.check_known(params, LIST_FIELDS | {"created", "customer_details"} | set(names))
    email = forms.read_object(params, "customer_details").get("email")
    plain = filters(params, names)

    def keep(session: Json) -> bool:
        return plain(session) and (email is None or (session["customer_details"] or {}).get("email") == email)

    shelf = f"{checkout.KIND}/{params['customer']}" if "customer" in params else checkout.KIND
    return page(world, shelf, params, url=checkout.URL, keep=keep)


def nothing(path: str) -> Handler:
    """Answer a list the account has nothing for."""

    def list_nothing(_world: World, _params: Json) -> Json:
        if path.startswith("/v2/"):
            return {"data": [], "next_page_url": None, "previous_page_url": None}
        return {"object": "list", "data": [], "has_more": False, "url": path}

    return list_nothing


EMPTY_LISTS = (
    "/v1/accounts",
    "/v1/application_fees",
    "/v1/apple_pay/domains",
    "/v1/billing/alerts",
    "/v1/country_specs",
    "/v1/file_links",
    "/v1/files",
    "/v1/identity/verification_reports",
    "/v1/identity/verification_sessions",
    "/v1/issuing/authorizations",
    "/v1/issuing/cardholders",
    "/v1/issuing/cards",
    "/v1/issuing/disputes",
    "/v1/issuing/transactions",
    "/v1/payment_method_configurations",
    "/v1/payment_method_domains",
    "/v1/payouts",
    "/v1/quotes",
    "/v1/radar/value_lists",
    "/v1/reporting/report_runs",
    "/v1/reviews",
    "/v1/setup_attempts",
    "/v1/shipping_rates",
    "/v1/sigma/scheduled_query_runs",
    "/v1/tax_codes",
    "/v1/terminal/locations",
    "/v1/terminal/readers",
    "/v1/topups",
    "/v1/transfers",
    "/v2/core/accounts",
)


def list_plans(world: World, params: Json) -> Json:
    names: dict[str, Callable[[Json], object]] = {"active": lambda p: p["active"], "product": lambda p: p["product"]}
    forms.check_known(params, LIST_FIELDS | {"created"} | set(names))
    url = "/v1/plans"
    return page(world, "price", params, url=url, keep=filters(params, names), look=world.plans.get)


def list_balance_transactions(world: World, params: Json) -> Json:
    names: dict[str, Callable[[Json], object]] = {
        "currency": lambda t: t["currency"],
        "payout": lambda _t: None,
        "source": lambda t: t["source"],
        "type": lambda t: t["type"],
    }
    return listing("balance_transaction", "/v1/balance_transactions", names)(world, params)


def list_customer_balance(world: World, id: str, params: Json) -> Json:
    names: dict[str, Callable[[Json], object]] = {"invoice": lambda t: t["invoice"]}
    return _list_of_customer(
        world, id, params, kind="customer_balance_transaction", path="balance_transactions", names=names
    )


def list_customer_sources(world: World, id: str, params: Json) -> Json:
    """Answer that a customer has no sources: the older kind of payment methods."""
    forms.check_known(params, LIST_FIELDS | {"object"})
    world.live_customer(id, param="id")
    return {"object": "list", "data": [], "has_more": False, "url": f"/v1/customers/{id}/sources"}


def list_customer_tax_ids(world: World, id: str, params: Json) -> Json:
    return _list_of_customer(world, id, params, kind="tax_id", path="tax_ids", names={})


def _list_of_customer(
    world: World, id: str, params: Json, *, kind: str, path: str, names: dict[str, Callable[[Json], object]]
) -> Json:
    forms.check_known(params, LIST_FIELDS | {"created"} | set(names))
    world.live_customer(id, param="id")
    url = f"/v1/customers/{id}/{path}"
    return page(world, f"{kind}/{id}", params, url=url, keep=filters(params, names))


def list_tax_ids(world: World, params: Json) -> Json:
    forms.check_known(params, LIST_FIELDS | {"owner"})
    owner = forms.read_object(params, "owner")
    customer = owner.get("customer")
    return page(world, "tax_id", params, url="/v1/tax_ids", keep=lambda one: one["customer"] == customer)


def list_product_features(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, LIST_FIELDS)
    world.get("product", id)
    return page(world, f"product_feature/{id}", params, url=f"/v1/products/{id}/features")


TAX_RATE_FILTERS: dict[str, Callable[[Json], object]] = {
    "active": lambda rate: rate["active"],
    "inclusive": lambda rate: rate["inclusive"],
}
FEATURE_FILTERS: dict[str, Callable[[Json], object]] = {
    "archived": lambda feature: not feature["active"],
    "lookup_key": lambda feature: feature["lookup_key"],
}
OF_A_CHARGE: dict[str, Callable[[Json], object]] = {
    "charge": lambda thing: thing["charge"],
    "payment_intent": lambda thing: thing["payment_intent"],
}
