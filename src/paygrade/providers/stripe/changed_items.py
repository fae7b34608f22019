"""The items of a plan change as Stripe takes them: for a preview of it, for the change itself, for a phase to come.

Laws: what does not change is not named; a price is named by its id, whatever the catalog calls it; what the catalog
names no price for is refused.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from paygrade.catalog.model import Proration
from paygrade.changes.quote import ItemChange
from paygrade.providers.stripe.connection import StripeConnection
from paygrade.providers.stripe.fields import Json, Payload
from paygrade.values.errors import Refused

BEHAVIORS: dict[Proration, str] = {
    "charge_now": "always_invoice",
    "next_invoice": "create_prorations",
    "none": "none",
}

LOOKUP_KEYS_MAX = 10
"""So many one request may name (https://docs.stripe.com/api/prices/list)."""


def change_refused(message: str) -> Refused:
    return Refused("provider_refused_change", f"Stripe refuses this change: {message}")


def changed_items(connection: StripeConnection, items: Iterable[ItemChange]) -> list[Json]:
    """The items that change, as an update of a subscription names them."""
    changing = [item for item in items if item.how != "kept"]
    ids = price_ids(connection, changing)
    return [_item(item, ids) for item in changing]


def price_ids(connection: StripeConnection, items: Iterable[ItemChange]) -> Mapping[str, str]:
    """The id of each price that is new and named by its lookup key; one request for ten of them."""
    named = [item.price_after for item in items if has_other_price(item)]
    keys = sorted({name for name in named if name is not None and not name.startswith("price_")})
    if not keys:
        return {}
    found: dict[str, str] = {}
    for begins in range(0, len(keys), LOOKUP_KEYS_MAX):
        few = keys[begins : begins + LOOKUP_KEYS_MAX]
        listed = Payload(connection.get("/v1/prices", lookup_keys=few, active=True, limit=100), "prices")
        found |= {price.text("lookup_key") or "": price.required_text("id") for price in listed.listed("data")}
    for key in keys:
        if key not in found:
            raise change_refused(f"there is no active price with the lookup key `{key}`")
    return found


def price_id(item: ItemChange, ids: Mapping[str, str]) -> str:
    """The id of the price an item has after the change; `ids` are those of `price_ids`."""
    if item.price_after is None:
        raise change_refused(f"the catalog has no Stripe price for `{item.after}`")
    return ids.get(item.price_after, item.price_after)


def with_coupon(source: Payload, coupon: str) -> list[Json]:
    """The discounts of a subscription, which stay, and a coupon beside them."""
    held = source.fields.get("discounts")
    ids = [one if isinstance(one, str) else one.get("id") for one in held] if isinstance(held, list) else []
    return [*({"discount": id} for id in ids if isinstance(id, str)), {"coupon": coupon}]


def has_other_price(item: ItemChange) -> bool:
    return item.how in ("added", "changed") and (item.before, item.price_before) != (item.after, item.price_after)


def _item(item: ItemChange, ids: Mapping[str, str]) -> Json:
    """One item of the change as Stripe takes it. With another price it says how many, too: of what says nothing Stripe
    may make one (https://docs.stripe.com/api/subscription_items/update#update_subscription_item-price)."""
    if item.how == "removed":
        return {"id": item.id, "deleted": True}
    said: dict[str, Any] = {} if item.id is None else {"id": item.id}
    if has_other_price(item):
        said["price"] = price_id(item, ids)
    return {**said, **quantity_after(item)}


def quantity_after(item: ItemChange) -> dict[str, int]:
    """How many of an item there are to be, where that is said; a metered price has no quantity."""
    changes = item.quantity_after != item.quantity_before or has_other_price(item)
    return {"quantity": item.quantity_after} if changes and item.part != "usage" else {}
