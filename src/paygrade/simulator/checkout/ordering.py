"""What the customer may change of a Checkout Session before paying: quantities, and a promotion code.

Law. Once an attempt to pay has begun, the order stays as it is.
"""

from __future__ import annotations

from paygrade.simulator import errors
from paygrade.simulator.checkout import sessions
from paygrade.simulator.checkout.paying import refuse_unless_open
from paygrade.simulator.forms import Json
from paygrade.simulator.state.visits import Checkout
from paygrade.simulator.world import World


def reorder(world: World, session: Json, *, quantities: dict[str, str], code: str = "") -> None:
    """Set quantities (by line item) and a promotion code as the customer typed them, and work out what is due."""
    refuse_unless_open(session)
    checkout = world.checkouts[session["id"]]
    wanted = {item["id"]: _read_quantity(item, quantities.get(item["id"])) for item in checkout.line_items}
    found = checkout.discounts
    if session["allow_promotion_codes"]:
        found = [{"promotion_code": _find(world, code)}] if code else []
    same = all(item["quantity"] == wanted[item["id"]] for item in checkout.line_items)
    if same and found == checkout.discounts:
        return
    if checkout.subscription or checkout.invoice or checkout.intent:
        raise errors.invalid("session", "The order can't change any more: a payment of it has begun.")
    before = {item["id"]: item["quantity"] for item in checkout.line_items}, checkout.discounts
    _set(checkout, wanted, found)
    try:
        sessions.price_up(world, session, checkout)
    except errors.RefusedByStripe:
        _set(checkout, *before)
        sessions.price_up(world, session, checkout)
        raise


def code_of(world: World, checkout: Checkout) -> str:
    """The promotion code that was typed, or nothing."""
    for one in checkout.discounts:
        if code := world.find("promotion_code", one.get("promotion_code")):
            return str(code["code"])
    return ""


def _set(checkout: Checkout, quantities: dict[str, int | None], discounts: list[Json]) -> None:
    checkout.discounts = discounts
    for item in checkout.line_items:
        item["quantity"] = quantities[item["id"]]


def _read_quantity(item: Json, typed: str | None) -> int | None:
    bounds = item["adjustable_quantity"]
    if typed is None or not bounds or not bounds["enabled"]:
        quantity: int | None = item["quantity"]
        return quantity
    if not typed.isdecimal() or len(typed) > 6 or not max(1, bounds["minimum"]) <= int(typed) <= bounds["maximum"]:
        lowest = max(1, bounds["minimum"])
        message = f"Choose a quantity of {item['description']} between {lowest} and {bounds['maximum']}."
        raise errors.invalid("quantity", message)
    return int(typed)


def _find(world: World, code: str) -> str:
    for id in world.shelves.get("promotion_code", []):
        one = world.objects[id]
        if one["active"] and one["code"] == code.upper():
            return str(id)
    raise errors.invalid("code", f"The promotion code `{code[:50]}` is not valid.")
