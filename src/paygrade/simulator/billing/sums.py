"""What an invoice comes to: its lines, less discounts, with taxes.

Laws. Each line is taxed on its own, on what discounts left of it. An exclusive tax is added to the total, an
inclusive one is part of it. The rates of an item come before those of its subscription or invoice, and both before
automatic tax, which here is one rate for every recognized address. An exempt customer is taxed nothing, and the
invoice says why. (Stripe docs: tax rates; customer tax status; total_taxes.)
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.products import amounts, discounts
from paygrade.simulator.shapes import taxes as tax_shapes
from paygrade.simulator.world import World

AUTOMATIC_PERCENT = 10
AUTOMATIC_RATE = "txr_simulated_automatic"
UNTAXED = {"exempt": "customer_exempt", "reverse": "reverse_charge"}
NO_LOCATION = (
    "The customer's location isn't recognized. Set a valid customer address in order to automatically calculate tax."
)


def total_up(
    world: World,
    customer: Json,
    payer: Json,
    lines: list[Json],
    active: list[Json],
    credits: dict[str, list[Json]] | None = None,
) -> Json:
    """Write discounts, billing credits and taxes onto lines, and give the sums.

    `payer` is the subscription or invoice they are of, `credits` what each line is spared, by its id.
    """
    sums = discounts.apply(world, lines, active)
    for line in lines:
        for entry in (credits or {}).get(line["id"], []):
            line["pretax_credit_amounts"].append(entry)
            sums["total_pretax_credit_amounts"].append(entry)
            sums["total"] -= entry["amount"]
    automatic = payer["automatic_tax"]["enabled"] and is_located(customer)
    reason = UNTAXED.get(customer["tax_exempt"])
    total_taxes: dict[str, Json] = {}
    included = Fraction(0)
    for line in lines:
        left = line["amount"] - sum(spared["amount"] for spared in line["pretax_credit_amounts"])
        rates = world.line_rates.get(line["id"]) or payer["default_tax_rates"]
        if not rates and automatic:
            rates = [_automatic(world, line)]
        line["taxes"] = [_tax(left, rate, rates, reason=reason) for rate in rates]
        for tax in line["taxes"]:
            _add(total_taxes, tax)
        if reason is None:
            inclusive = _share([rate for rate in rates if rate["inclusive"]])
            included += line["amount"] * inclusive / (1 + inclusive)
    taxes = list(total_taxes.values())
    added = sum(tax["amount"] for tax in taxes if tax["tax_behavior"] == "exclusive")
    total = sums["total"] + added
    return {
        **sums,
        "subtotal_excluding_tax": sums["subtotal"] - amounts.rounded(included),
        "total": total,
        "total_excluding_tax": total - sum(tax["amount"] for tax in taxes),
        "total_taxes": taxes,
    }


def total(world: World, customer: Json, subscription: Json, lines: list[Json]) -> int:
    """Give what these lines come to, and leave them as they are."""
    copies = [dict(line) for line in lines]
    return int(total_up(world, customer, subscription, copies, discounts.running(world, subscription))["total"])


def is_located(customer: Json) -> bool:
    """Tell whether automatic tax knows where a customer is: a country, and within the US a postal code."""
    address = customer["address"] or {}
    return bool(address.get("country")) and (address["country"] != "US" or bool(address.get("postal_code")))


def read_automatic(params: Json) -> bool | None:
    """Read `automatic_tax[enabled]`; None: nothing is said about it."""
    wanted = forms.read_object(params, "automatic_tax")
    forms.check_known(wanted, frozenset({"enabled"}), within="automatic_tax")
    return forms.read_bool(wanted, "enabled")


def automatic_tax(customer: Json, *, enabled: bool) -> Json:
    """Give an invoice's `automatic_tax`."""
    located = is_located(customer)
    return {
        "disabled_reason": None,
        "enabled": enabled,
        "liability": {"type": "self"} if enabled else None,
        "provider": "stripe" if enabled else None,
        "status": None if not enabled else "complete" if located else "requires_location_inputs",
    }


def refuse_unlocated(customer: Json, *, param: str = "automatic_tax[enabled]") -> None:
    if not is_located(customer):
        raise errors.invalid(param, NO_LOCATION, code="customer_tax_location_invalid")


def about_customer(world: World, customer: Json) -> Json:
    """Give what an invoice repeats of its customer's taxes."""
    ids = reversed(world.owned("tax_id", customer["id"]))
    return {
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [{"type": one["type"], "value": one["value"]} for one in ids],
    }


def _automatic(world: World, line: Json) -> Json:
    """Give the one rate of automatic tax, inclusive if the line's price says so."""
    details = line["pricing"].get("price_details", {})
    price = world.find("price", details.get("price"))
    inclusive = price is not None and price["tax_behavior"] == "inclusive"
    id = f"{AUTOMATIC_RATE}_{'inclusive' if inclusive else 'exclusive'}"
    if id not in world.objects:
        rate = tax_shapes.tax_rate(
            id=id, at=world.at, display_name="Tax", percentage=float(AUTOMATIC_PERCENT), inclusive=inclusive
        )
        world.objects[id] = {**rate, "active": False, "effective_percentage": rate["percentage"]}
    return world.objects[id]


def _share(rates: list[Json]) -> Fraction:
    return sum((Fraction(Decimal(str(rate["percentage"]))) / 100 for rate in rates), Fraction(0))


def _tax(left: int, rate: Json, rates: list[Json], *, reason: str | None) -> Json:
    base = Fraction(left) / (1 + _share([one for one in rates if one["inclusive"]]))
    taxed = 0 if reason else amounts.rounded(base * _share([rate]))
    automatic = str(rate["id"]).startswith(AUTOMATIC_RATE)
    return tax_shapes.tax(
        amount=taxed,
        rate=rate,
        inclusive=rate["inclusive"],
        reason=reason or ("standard_rated" if automatic else "not_available"),
        taxable_amount=0 if reason else amounts.rounded(base),
    )


def _add(totals: dict[str, Json], tax: Json) -> None:
    known = totals.setdefault(tax["tax_rate_details"]["tax_rate"], {**tax, "amount": 0, "taxable_amount": 0})
    known["amount"] += tax["amount"]
    known["taxable_amount"] += tax["taxable_amount"]
