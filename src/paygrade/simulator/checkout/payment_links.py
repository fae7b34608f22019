"""Payment links: an address that opens a new Checkout Session for whoever follows it.

Laws. A link sells what its sessions would: what a session refuses, the link refuses when it is made. An inactive
link opens nothing, and a link with a limit is inactive once so many of its sessions are complete. Sessions that are
open already go on. (Stripe docs: payment links; limit the number of payments.)
"""

from __future__ import annotations

from typing import Any

from paygrade.simulator import errors, forms
from paygrade.simulator.checkout import line_items, sessions
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import payment_links as shapes
from paygrade.simulator.state.visits import PaymentLink
from paygrade.simulator.world import World

KIND = "payment_link"
URL = "/v1/payment_links"
LINE_ITEMS_MAX = 20  # Stripe docs: create a payment link
MESSAGE_MAX = 500
DEFAULT_MESSAGE = "This link is no longer active."

# What a link passes on to its sessions as it came.
PASSED_ON = frozenset(
    {
        "allow_promotion_codes",
        "automatic_tax",
        "billing_address_collection",
        "consent_collection",
        "currency",
        "custom_fields",
        "custom_text",
        "invoice_creation",
        "metadata",
        "name_collection",
        "payment_intent_data",
        "payment_method_collection",
        "payment_method_types",
        "phone_number_collection",
        "submit_type",
        "subscription_data",
        "tax_id_collection",
    }
)
CHANGED = (PASSED_ON - {"currency"}) | {
    "active",
    "after_completion",
    "customer_creation",
    "expand",
    "inactive_message",
    "line_items",
    "restrictions",
}
TAKEN = (CHANGED - {"active"}) | {"currency"}
LINE_FIELDS = frozenset({"adjustable_quantity", "price", "price_data", "quantity"})
CHANGED_LINE_FIELDS = frozenset({"adjustable_quantity", "id", "quantity"})
# What somebody may add to a link's address (Stripe docs: track a payment link).
PREFILLED = {"client_reference_id": "client_reference_id", "prefilled_email": "customer_email"}


def create(world: World, params: Json) -> Json:
    forms.check_known(params, TAKEN)
    wanted = forms.read_objects(params, "line_items")
    if len(wanted) > LINE_ITEMS_MAX:
        raise errors.invalid("line_items", f"You may pass up to {LINE_ITEMS_MAX} line items.")
    for n, one in enumerate(wanted):
        forms.check_known(one, LINE_FIELDS, within=f"line_items[{n}]")
    sells = _mode(world, wanted)
    items, _rates = line_items.read(world, params, mode=sells)
    # An inline price is made with the link, and every session sells that one.
    sold = [{**one, "price": item["price"]["id"]} for one, item in zip(wanted, items, strict=True)]
    sold = [{name: value for name, value in one.items() if name != "price_data"} for one in sold]
    kept = {name: params[name] for name in TAKEN & set(params) if name != "expand"}
    id = world.new_id("plink")
    link = shapes.payment_link(id=id, url=f"{world.base_url}/b/{id}", sells=sells)
    _show(world, link, PaymentLink(mode=sells, wanted={**kept, "line_items": sold}, line_items=items))
    world.emit("payment_link.created", world.put(link))
    return link


def update(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, CHANGED)
    link, kept = world.get(KIND, id), world.payment_links[id]
    wanted = {**kept.wanted, **{name: params[name] for name in CHANGED & set(params) if name != "expand"}}
    if "metadata" in params:
        wanted["metadata"] = forms.merge_metadata(link["metadata"], params)
    items = kept.line_items
    wanted["line_items"], items = _changed_lines(kept, params)
    with world.changing(link):
        _show(world, link, PaymentLink(mode=kept.mode, wanted=wanted, line_items=items))
        active = forms.read_bool(params, "active")
        link["active"] = link["active"] if active is None else active
    return link


def retrieve_line_items(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"limit", "starting_after", "ending_before", "expand"}))
    world.get(KIND, id)
    return line_items_of(world, id)


def line_items_of(world: World, id: str) -> Json:
    """All line items of a link: at most 20, on one page."""
    data = world.payment_links[id].line_items
    return {"object": "list", "data": data, "has_more": False, "url": f"{URL}/{id}/line_items"}


def open_session(world: World, link: Json, told: dict[str, str] | None = None) -> Json:
    """Begin a Checkout Session for somebody who follows the link, with what its address was given."""
    if not link["active"]:
        raise errors.invalid("payment_link", link["inactive_message"] or DEFAULT_MESSAGE)
    wanted = _session_params(world, world.payment_links[link["id"]])
    for name, value in (told or {}).items():
        if name in PREFILLED and value:
            wanted[PREFILLED[name]] = value
    session = sessions.create(world, wanted)
    session["payment_link"] = link["id"]
    if link["after_completion"]["type"] == "hosted_confirmation":
        session["success_url"] = None
    world.list_under(session, link["id"])
    return session


def note_completed(world: World, session: Json) -> None:
    """Count a session that is complete, and close the link when it was the last one it may have."""
    link = world.find(KIND, session["payment_link"])
    if link is None or link["restrictions"] is None:
        return
    with world.changing(link):
        completed = link["restrictions"]["completed_sessions"]
        completed["count"] += 1
        if completed["count"] >= completed["limit"]:
            link["active"] = False


def thanks(world: World, session: Json) -> str | None:
    """Give what the page says after a purchase, where the link has words of its own for it."""
    link = world.find(KIND, session["payment_link"])
    confirmation: Json = (link or {}).get("after_completion", {}).get("hosted_confirmation") or {}
    words = confirmation.get("custom_message")
    return words and str(words)


def _mode(world: World, wanted: list[Json]) -> str:
    """A link subscribes as soon as one of its prices recurs."""
    for one in wanted:
        price = world.find("price", one.get("price"))
        if "recurring" in forms.read_object(one, "price_data") or (price and price["recurring"]):
            return "subscription"
    return "payment"


def _session_params(world: World, link: PaymentLink) -> Json:
    wanted = {name: value for name, value in link.wanted.items() if name in PASSED_ON}
    if link.mode == "payment" and "customer_creation" in link.wanted:
        wanted["customer_creation"] = link.wanted["customer_creation"]
    after = forms.read_object(forms.read_object(link.wanted, "after_completion"), "redirect")
    back = forms.read_text(after, "url") or world.base_url
    return {**wanted, "mode": link.mode, "line_items": link.wanted["line_items"], "success_url": back}


def _changed_lines(kept: PaymentLink, params: Json) -> tuple[list[Json], list[Json]]:
    """Give what is sold, as it is asked for and as it is shown, with the changed quantities."""
    asked = {item["id"]: dict(one) for item, one in zip(kept.line_items, kept.wanted["line_items"], strict=True)}
    for n, one in enumerate(forms.read_objects(params, "line_items")):
        forms.check_known(one, CHANGED_LINE_FIELDS, within=f"line_items[{n}]")
        id = forms.read_required(one, "id")
        if id not in asked:
            raise errors.missing(kind="item", id=id, param=f"line_items[{n}][id]")
        asked[id].update({name: value for name, value in one.items() if name != "id"})
    return list(asked.values()), kept.line_items


def _show(world: World, link: Json, made: PaymentLink) -> None:
    """Write onto a link what its sessions will be, which refuses what they could not be."""
    wanted = made.wanted
    after = _read_after(wanted)
    restrictions = _read_restrictions(link, wanted)
    message = forms.read_text(wanted, "inactive_message") or None
    if message and len(message) > MESSAGE_MAX:
        raise errors.invalid("inactive_message", f"`inactive_message` can be at most {MESSAGE_MAX} characters long.")
    creation = forms.read_choice(wanted, "customer_creation", ("always", "if_required"))
    session, visit = sessions.prepare(world, _session_params(world, made))
    for item, fresh in zip(made.line_items, visit.line_items, strict=True):
        item.update({name: value for name, value in fresh.items() if name != "id"})
    world.payment_links[link["id"]] = made
    link.update(
        after_completion=after,
        restrictions=restrictions,
        inactive_message=message,
        customer_creation=creation or link["customer_creation"],
        currency=session["currency"],
        metadata=session["metadata"],
        custom_fields=session["custom_fields"],
        allow_promotion_codes=bool(session["allow_promotion_codes"]),
        automatic_tax={name: session["automatic_tax"][name] for name in ("enabled", "liability")},
        payment_method_collection=session["payment_method_collection"],
        payment_method_types=forms.read_list(wanted, "payment_method_types") or None,
    )
    _show_plainly(link, wanted, session)


def _show_plainly(link: Json, wanted: Json, session: Json) -> None:
    for name in ("billing_address_collection", "consent_collection", "name_collection", "submit_type"):
        if name in wanted:
            link[name] = session[name]
    for name in ("custom_text", "phone_number_collection", "tax_id_collection"):
        if name in wanted:
            link[name] = {**link[name], **(session[name] or {})}
    if link["subscription_data"] is not None:
        link["subscription_data"] = shapes.subscription_data(forms.read_object(wanted, "subscription_data"))
    else:
        link["invoice_creation"] = session["invoice_creation"]
        told = forms.read_object(wanted, "payment_intent_data")
        link["payment_intent_data"] = _intent_data(told) if told else None


def _intent_data(told: Json) -> Json:
    names = ("capture_method", "description", "setup_future_usage", "statement_descriptor")
    shown: dict[str, Any] = {name: told.get(name) or None for name in names}
    return {
        **shown,
        "metadata": dict(told.get("metadata") or {}),
        "statement_descriptor_suffix": None,
        "transfer_group": None,
    }


def _read_after(wanted: Json) -> Json:
    after = forms.read_object(wanted, "after_completion")
    forms.check_known(after, frozenset({"hosted_confirmation", "redirect", "type"}), within="after_completion")
    kind = forms.read_choice(after, "type", ("hosted_confirmation", "redirect"), within="after_completion")
    if kind == "redirect":
        url = forms.read_object(after, "redirect").get("url")
        if not url:
            raise errors.missing_parameter("after_completion[redirect][url]")
        if not str(url).startswith(("http://", "https://")):
            message = "Not a valid URL. URLs must begin with `http://` or `https://`."
            raise errors.invalid("after_completion[redirect][url]", message, code="url_invalid")
        return {"redirect": {"url": url}, "type": "redirect"}
    words = forms.read_text(forms.read_object(after, "hosted_confirmation"), "custom_message") or None
    return {"hosted_confirmation": {"custom_message": words}, "type": "hosted_confirmation"}


def _read_restrictions(link: Json, wanted: Json) -> Json | None:
    if not wanted.get("restrictions"):
        return None
    told = forms.read_object(forms.read_object(wanted, "restrictions"), "completed_sessions")
    limit = forms.read_int(told, "limit")
    if limit is None or limit < 1:
        raise errors.invalid("restrictions[completed_sessions][limit]", "The limit is a positive integer.")
    counted = (link["restrictions"] or {"completed_sessions": {"count": 0}})["completed_sessions"]["count"]
    return {"completed_sessions": {"count": counted, "limit": limit}}
