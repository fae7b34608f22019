"""Prices: what usage costs that is paid in credits.

Law: it is rounded on the running sum, so that splitting or batching usage never changes the total.
"""

from collections.abc import Mapping
from fractions import Fraction

from paygrade.entitlements.model import Entitlement
from paygrade.usage.balances import Balance
from paygrade.values.text import as_text


def rate_of(entitlement: Entitlement, properties: Mapping[str, object] | None) -> tuple[int, int]:
    """How many credits how many units cost, for usage with these properties."""
    if entitlement.rates and properties and entitlement.property is not None:
        text = as_text(properties.get(entitlement.property))
        rate = entitlement.rates.get(text) if text is not None else None
        if rate is not None:
            return rate.rate, rate.per
    return entitlement.rate, entitlement.per


def exact_price(entitlement: Entitlement, quantity: int, properties: Mapping[str, object] | None) -> Fraction:
    rate, per = rate_of(entitlement, properties)
    return Fraction(quantity * rate, per)


def price(entitlement: Entitlement, own: Balance | None, quantity: int, properties: Mapping[str, object] | None) -> int:
    """What `quantity` more units cost in whole credits, less what is paid ahead. None at all cost nothing, whatever is
    owed."""
    rate, per = rate_of(entitlement, properties)
    ahead, den = own.detail.ahead if own is not None and own.detail is not None else (0, 1)
    return -(-(quantity * rate * den - ahead * per) // (per * den)) if quantity else 0


def set_aside(entitlement: Entitlement, quantity: int, properties: Mapping[str, object] | None) -> int:
    """How many units of what pays are held for `quantity` units: credits rounded up on their own."""
    if entitlement.credit is None:
        return quantity
    rate, per = rate_of(entitlement, properties)
    return -(-quantity * rate // per)
