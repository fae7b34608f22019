"""Discounts: what coupons take off invoices, whole or of one item.

Laws. Discounts of an item come before those of its subscription or invoice; each applies to what the ones before
left, and never below zero. Prorations are not discounted again: their amounts are net of percentages from the start.
A discount of a `once` coupon is used up by its first invoice, one of a `repeating` coupon ends after its months.
(Stripe docs: coupons; stack discounts; billing mode compare: `proration_discounts=included`.)
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.products import coupons
from paygrade.simulator.shapes import discounts as discount_shapes
from paygrade.simulator.time import cycles
from paygrade.simulator.world import World

DISCOUNTS_MAX = 20  # Stripe docs: stack discounts
OWNERS = {
    "subscription": "subscription",
    "subscription_item": "subscription_item",
    "invoiceitem": "invoice_item",
    "invoice": "invoice",
}
"""Kinds that have discounts → the field by which a discount names its owner."""


@dataclass(frozen=True, slots=True)
class Owner:
    """What discounts are read for: one that may not be kept yet."""

    field: str
    id: str
    customer: str
    currency: str
    held: tuple[str, ...] = ()  # the discounts it has


def owner_of(thing: Json, *, customer: str, currency: str) -> Owner:
    held = tuple(one for one in thing["discounts"] if isinstance(one, str))
    return Owner(OWNERS[thing["object"]], thing["id"], customer, currency, held)


def read(world: World, params: Json, subscription: Json) -> list[Json] | None:
    """Read `discounts` of a subscription into discount objects that are not kept yet; None: nothing is said."""
    held = tuple(one for one in subscription["discounts"] if isinstance(one, str))
    owner = Owner("subscription", subscription["id"], subscription["customer"], subscription["currency"], held)
    return read_of(world, params, owner)


def read_of(world: World, params: Json, owner: Owner, *, within: str = "") -> list[Json] | None:
    """Read `discounts` of a subscription, an invoice or an item of either; None: nothing is said about them."""
    if "discounts" not in params:
        return None
    named = f"{within}[discounts]" if within else "discounts"
    wanted = forms.read_objects(params, "discounts")
    if len(wanted) > DISCOUNTS_MAX:
        raise errors.invalid(named, f"You may pass up to {DISCOUNTS_MAX} discounts.")
    return [_read_one(world, one, owner, param=f"{named}[{n}]") for n, one in enumerate(wanted)]


def attach(world: World, owner: Json, made: list[Json]) -> None:
    """Let a subscription, an invoice or an item have exactly these discounts."""
    kept = [discount["id"] for discount in made]
    for id in owner["discounts"]:
        if isinstance(id, str) and id not in kept:
            world.emit("customer.discount.deleted", world.objects[id])
    for discount in made:
        if discount["id"] in world.objects:
            continue
        world.put(discount, owner["id"])
        coupon = world.objects[discount["source"]["coupon"]]
        with world.changing(coupon):
            coupon["times_redeemed"] += 1
            coupon["valid"] = coupon["valid"] and coupon["times_redeemed"] != coupon["max_redemptions"]
        if code := world.find("promotion_code", discount["promotion_code"]):
            with world.changing(code):
                code["times_redeemed"] += 1
        if discount["end"] is not None:
            world.schedule(discount["end"], "end_discount", discount["id"])
        world.emit("customer.discount.created", discount)
    owner["discounts"] = kept


def attach_to_items(world: World, items: list[Json]) -> None:
    """Let items keep the discounts that were read for them."""
    for item in items:
        if any(not isinstance(one, str) for one in item["discounts"]):
            attach(world, item, _resolved(world, item["discounts"]))


def detach(world: World, id: str, params: Json) -> Json:
    """Take the discounts off a subscription, as `DELETE /v1/subscriptions/{id}/discount` does."""
    forms.check_known(params, frozenset({"expand"}))
    subscription = world.get("subscription", id)
    if not subscription["discounts"]:
        raise errors.invalid("id", "No active discount for this subscription.", code="resource_missing")
    gone = world.objects[subscription["discounts"][0]]
    with world.changing(subscription):
        attach(world, subscription, [])
    return {**gone, "deleted": True}


def end_due(world: World, discount: Json) -> None:
    item = world.find("subscription_item", discount["subscription_item"])
    subscription = world.find("subscription", item["subscription"] if item else discount["subscription"])
    if subscription is not None and discount["end"] == world.at:
        _remove(world, subscription, [discount["id"]])


def use_up(world: World, subscription: Json, invoice: Json) -> None:
    """Remove the discounts that were for one invoice only, once it took them."""
    used = {entry["discount"] for entry in invoice["total_discount_amounts"] if entry["amount"] > 0}
    held = [one for owner in _holders(subscription) for one in _resolved(world, owner["discounts"])]
    once = [one["id"] for one in held if one["id"] in used and _coupon(world, one)["duration"] == "once"]
    if once:
        _remove(world, subscription, once)


def running(world: World, owner: Json) -> list[Json]:
    """Give the discounts of its own that count now, also of a subscription or an item that is not kept yet."""
    held = _resolved(world, owner["discounts"])
    return [discount for discount in held if discount["end"] is None or discount["end"] > world.at]


def kept_share(world: World, subscription: Json, item: Json) -> Fraction:
    """Give the part of an item's price that the running percentages leave."""
    share = Fraction(1)
    for discount in [*running(world, item), *running(world, subscription)]:
        coupon = _coupon(world, discount)
        if coupon["percent_off"] is not None and _applies(coupon, item["price"]["product"]):
            share *= 1 - _part_of(coupon)
    return share


def apply(world: World, lines: list[Json], active: list[Json]) -> Json:
    """Write onto lines what each discount takes off, theirs and then the whole invoice's, and give its sums."""
    left = {line["id"]: line["amount"] for line in lines}
    of_lines = {}
    for line in lines:
        own = _resolved(world, line["discounts"])
        of_lines.update({one["id"]: one for one in own})
        line.update(discounts=[one["id"] for one in own], discount_amounts=[], pretax_credit_amounts=[])
    totals = []
    for discount in [*of_lines.values(), *active]:
        coupon = _coupon(world, discount)
        open_lines = [
            line
            for line in lines
            if line["discountable"]
            and (discount["id"] not in of_lines or discount["id"] in line["discounts"])
            and left[line["id"]] > 0
            and _applies(coupon, line["pricing"].get("price_details", {}).get("product"))
        ]
        base = sum(left[line["id"]] for line in open_lines)
        off = _rounded(base * _part_of(coupon)) if coupon["amount_off"] is None else min(coupon["amount_off"], base)
        for line, part in zip(open_lines, _spread(off, [left[line["id"]] for line in open_lines]), strict=True):
            left[line["id"]] -= part
            line["discount_amounts"].append({"amount": part, "discount": discount["id"]})
            line["pretax_credit_amounts"].append(_pretax(part, discount))
        totals.append({"amount": off, "discount": discount["id"]})
    subtotal, total = sum(line["amount"] for line in lines), sum(left.values())
    return {
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "total": total,
        "total_excluding_tax": total,
        "total_discount_amounts": totals,
        "total_pretax_credit_amounts": [{**one, "type": "discount"} for one in totals],
        "discounts": [discount["id"] for discount in active],
    }


def _pretax(amount: int, discount: Json) -> Json:
    """What lowers a line before taxes are computed: here discounts only (Stripe docs: `pretax_credit_amounts`)."""
    return {"amount": amount, "discount": discount["id"], "type": "discount"}


def _holders(subscription: Json) -> list[Json]:
    return [subscription, *subscription["items"]["data"]]


def _resolved(world: World, discounts: list[Any]) -> list[Json]:
    """Give discounts that stand as ids, or as themselves where they are not kept yet."""
    ids = [one if isinstance(one, str) else one["id"] for one in discounts]
    return [world.objects.get(id, one) for id, one in zip(ids, discounts, strict=True)]


def _remove(world: World, subscription: Json, ids: list[str]) -> None:
    held = {one for owner in _holders(subscription) for one in owner["discounts"]}
    with world.changing(subscription):
        for owner in _holders(subscription):
            owner["discounts"] = [id for id in owner["discounts"] if id not in ids]
    for id in ids:
        if id in held:
            world.emit("customer.discount.deleted", world.objects[id])


def _read_one(world: World, wanted: Json, owner: Owner, *, param: str) -> Json:
    forms.check_known(wanted, frozenset({"coupon", "discount", "promotion_code"}), within=param)
    if len(wanted) != 1:
        raise errors.invalid(param, "Give one of `coupon`, `discount` and `promotion_code`.")
    if id := forms.read_text(wanted, "discount"):
        if id not in owner.held:
            raise errors.missing(kind="discount", id=id, param=f"{param}[discount]")
        return world.objects[id]
    code = forms.read_text(wanted, "promotion_code")
    if code:
        coupon = coupons.redeem(world, code, customer=owner.customer, param=f"{param}[promotion_code]")
    else:
        coupon = world.get("coupon", forms.read_required(wanted, "coupon"), param=f"{param}[coupon]")
    coupons.check_redeemable(world, coupon, currency=owner.currency, param=f"{param}[coupon]")
    months = coupon["duration_in_months"]
    return discount_shapes.discount(
        id=world.new_id("di"),
        at=world.at,
        coupon=coupon["id"],
        customer=owner.customer,
        promotion_code=code or None,
        end=months and cycles.boundary_after(world.at, interval="month", count=months, after=world.at),
        **{owner.field: owner.id},
    )


def _coupon(world: World, discount: Json) -> Json:
    return world.objects[discount["source"]["coupon"]]


def _applies(coupon: Json, product: str | None) -> bool:
    return "applies_to" not in coupon or product in coupon["applies_to"]["products"]


def _part_of(coupon: Json) -> Fraction:
    return Fraction(Decimal(str(coupon["percent_off"]))) / 100


def _rounded(amount: Fraction) -> int:
    """Round to whole minor units, halves up."""
    return int(amount + Fraction(1, 2))


def _spread(amount: int, weights: list[int]) -> list[int]:
    """Share an amount out by weight, to the unit: what rounding leaves goes to the first."""
    whole = sum(weights)
    parts = [amount * weight // whole for weight in weights] if whole else []
    for index in range(amount - sum(parts)):
        parts[index] += 1
    return parts
