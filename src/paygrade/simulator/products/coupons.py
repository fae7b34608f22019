"""Coupons and the promotion codes that lead to them."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import discounts as discount_shapes
from paygrade.simulator.world import World

DURATIONS = ("forever", "once", "repeating")
COUPON_FIELDS = frozenset(
    [
        "amount_off",
        "applies_to",
        "currency",
        "duration",
        "duration_in_months",
        "expand",
        "id",
        "max_redemptions",
        "metadata",
        "name",
        "percent_off",
        "redeem_by",
    ]
)
CODE_FIELDS = frozenset(
    {"active", "code", "customer", "expand", "expires_at", "max_redemptions", "metadata", "promotion", "restrictions"}
)
RESTRICTIONS = ("first_time_transaction", "minimum_amount", "minimum_amount_currency")


def create_coupon(world: World, params: Json) -> Json:
    forms.check_known(params, COUPON_FIELDS)
    id = forms.read_text(params, "id") or world.new_id("c", length=8)[2:]
    if id in world.objects:
        raise errors.invalid("id", f"Coupon already exists: {id}", code="resource_already_exists")
    amount, percent = forms.read_int(params, "amount_off"), _read_percent(params)
    if (amount is None) == (percent is None):
        raise errors.invalid("percent_off", "Give either `percent_off` or `amount_off`.")
    duration = forms.read_choice(params, "duration", DURATIONS) or "once"
    months = forms.read_int(params, "duration_in_months")
    if (duration == "repeating") != (months is not None):
        raise errors.invalid("duration_in_months", "`duration_in_months` goes with `duration=repeating`.")
    coupon = discount_shapes.coupon(
        id=id,
        at=world.at,
        amount_off=amount,
        percent_off=percent,
        currency=forms.read_currency(params) if amount is not None else None,
        duration=duration,
        duration_in_months=months,
        max_redemptions=forms.read_int(params, "max_redemptions"),
        redeem_by=forms.read_int(params, "redeem_by"),
        name=forms.read_text(params, "name") or None,
        metadata=forms.merge_metadata({}, params),
    )
    if products := forms.read_list(forms.read_object(params, "applies_to"), "products"):
        coupon["applies_to"] = {"products": products}
    world.emit("coupon.created", world.put(coupon))
    return coupon


def update_coupon(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"metadata", "name", "expand"}))
    coupon = world.get("coupon", id)
    with world.changing(coupon):
        coupon["metadata"] = forms.merge_metadata(coupon["metadata"], params)
        coupon["name"] = forms.read_text(params, "name") or coupon["name"]
    return coupon


def delete_coupon(world: World, id: str, params: Json) -> Json:
    """Delete a coupon: nobody redeems it any more, and discounts made from it stay."""
    forms.check_known(params, frozenset({"expand"}))
    coupon = world.get("coupon", id)
    coupon.update(valid=False, deleted=True)
    world.emit("coupon.deleted", coupon)
    return {"id": id, "object": "coupon", "deleted": True}


def create_code(world: World, params: Json) -> Json:
    forms.check_known(params, CODE_FIELDS)
    promotion = forms.read_object(params, "promotion")
    coupon = world.get("coupon", forms.read_required(promotion, "coupon"), param="promotion[coupon]")
    code = (forms.read_text(params, "code") or world.new_id("c", length=8)[2:]).upper()
    if any(other["active"] and other["code"] == code for other in _codes(world)):
        raise errors.invalid("code", "An active promotion code with that code already exists.")
    made = discount_shapes.promotion_code(
        id=world.new_id("promo"),
        at=world.at,
        coupon=coupon["id"],
        code=code,
        active=forms.read_bool(params, "active") is not False,
        customer=forms.read_text(params, "customer") or None,
        expires_at=forms.read_int(params, "expires_at"),
        max_redemptions=forms.read_int(params, "max_redemptions"),
        metadata=forms.merge_metadata({}, params),
        restrictions=_read_restrictions(params),
    )
    world.emit("promotion_code.created", world.put(made))
    return made


def _read_restrictions(params: Json) -> Json:
    wanted = forms.read_object(params, "restrictions")
    forms.check_known(wanted, frozenset(RESTRICTIONS), within="restrictions")
    least = forms.read_int(wanted, "minimum_amount")
    if (least is None) == ("minimum_amount_currency" in wanted):
        raise errors.invalid("restrictions", "`minimum_amount` and `minimum_amount_currency` go together.")
    return {
        "first_time_transaction": bool(forms.read_bool(wanted, "first_time_transaction")),
        "minimum_amount": least,
        "minimum_amount_currency": None if least is None else forms.read_currency(wanted, "minimum_amount_currency"),
    }


def update_code(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"active", "metadata", "expand"}))
    made = world.get("promotion_code", id)
    active = forms.read_bool(params, "active")
    with world.changing(made):
        made["active"] = made["active"] if active is None else active
        made["metadata"] = forms.merge_metadata(made["metadata"], params)
    return made


def redeem(world: World, id: str, *, customer: str, param: str) -> Json:
    """Give the coupon behind a promotion code that this customer may use."""
    code = world.get("promotion_code", id, param=param)
    spent = code["max_redemptions"] is not None and code["times_redeemed"] >= code["max_redemptions"]
    expired = code["expires_at"] is not None and code["expires_at"] <= world.at
    if not code["active"] or spent or expired or code["customer"] not in (None, customer):
        raise errors.invalid(param, "This promotion code cannot be redeemed.", code="promotion_code_invalid")
    if code["restrictions"]["first_time_transaction"] and _has_paid(world, customer):
        message = "This promotion code cannot be redeemed because the associated customer has prior transactions."
        raise errors.invalid(param, message, code="promotion_code_invalid")
    return world.get("coupon", code["promotion"]["coupon"])


def _has_paid(world: World, customer: str) -> bool:
    """Whether the customer has had a transaction: an invoice of something paid, or a payment of its own."""
    if any(invoice["status"] == "paid" and invoice["total"] > 0 for invoice in world.owned("invoice", customer)):
        return True
    return any(intent["status"] == "succeeded" for intent in world.owned("payment_intent", customer))


def check_redeemable(world: World, coupon: Json, *, currency: str, param: str) -> None:
    spent = coupon["max_redemptions"] is not None and coupon["times_redeemed"] >= coupon["max_redemptions"]
    expired = coupon["redeem_by"] is not None and coupon["redeem_by"] <= world.at
    if not coupon["valid"] or spent or expired:
        raise errors.invalid(param, f"Coupon expired: {coupon['id']}", code="coupon_expired")
    if coupon["currency"] not in (None, currency):
        message = f"The coupon is in {coupon['currency']}, the subscription in {currency}."
        raise errors.invalid(param, message)


def _codes(world: World) -> list[Json]:
    return [world.objects[id] for id in world.shelves.get("promotion_code", [])]


def _read_percent(params: Json) -> float | None:
    text = forms.read_text(params, "percent_off")
    if not text:
        return None
    try:
        percent = Decimal(text)
    except InvalidOperation:
        raise errors.invalid("percent_off", f"Invalid decimal: {text}") from None
    if not 0 < percent <= 100:
        raise errors.invalid("percent_off", "`percent_off` must be greater than 0 and at most 100.")
    return float(percent)
