"""Budgets: caps that are said in money, and how many units they are.

Laws: a budget is never more than it says: it is as many whole units as it pays for at the catalog's price of one; where
some units cost nothing, or the price follows from how many there are, no number of units is a budget, and it is a
mistake.
"""

from collections.abc import Mapping
from fractions import Fraction

from msgspec.structs import replace

from paygrade.catalog.model import Allowance, Plan
from paygrade.catalog.offers import Budget, Cap, Credit, Feature, OveragePrice
from paygrade.catalog.reader import Node
from paygrade.values.text import QUANTITY_MAX


def with_budgets(plan: Plan, node: Node, known: Mapping[str, Feature | Credit | None]) -> Plan:
    """The plan with its budgets in units. `node` is the plan's place, `known` all that is sold."""
    terms = {}
    for key, term in plan.terms.items():
        if isinstance(term, Allowance) and any(cap.budget for cap in term.caps):
            place = node.at("entitlements", key, "caps")
            caps = [_priced(cap, plan, term, place, known) if cap.budget else cap for cap in term.caps]
            term = replace(term, caps=in_order(caps))
        terms[key] = term
    return replace(plan, terms=terms)


def in_order(caps: list[Cap] | tuple[Cap, ...]) -> tuple[Cap, ...]:
    """The smallest comes first; no other order has a meaning."""
    return tuple(sorted(caps, key=lambda cap: (cap.units, str(cap))))


def _priced(cap: Cap, plan: Plan, term: Allowance, node: Node, known: Mapping[str, Feature | Credit | None]) -> Cap:
    budget = cap.budget
    assert budget is not None, "asked of budgets alone"
    price, why = _price_of_a_unit(budget, plan, term, known.get(term.feature))
    if price is None:
        node.wrong(why)
        return cap
    units = min(budget.amount * price.per // price.amount, QUANTITY_MAX)
    if not units:
        node.wrong(f"a budget of {budget.amount} {budget.currency} pays for no unit of `{term.feature}`; write more")
    return replace(cap, units=max(units, 1))


def _price_of_a_unit(
    budget: Budget, plan: Plan, term: Allowance, offer: Feature | Credit | None
) -> tuple[OveragePrice | None, str]:
    """What a unit costs in the budget's currency; None: why no one can say."""
    if isinstance(offer, Credit):
        if offer.price is not None and offer.price.currency == budget.currency:
            return offer.price, ""
        example = f"{{ amount: 1, per: 10, currency: {budget.currency} }}"
        return (
            None,
            f"nothing says what `{term.feature}` is worth in {budget.currency}; add `price: {example}` to the credit",
        )
    if term.units:
        free = f"the first {term.units} units of `{term.feature}` cost nothing"
        return None, f"{free}, so a budget can't be told in units; write `limit: unlimited`, or use a `spend_cap`"
    over = term.overage_price
    if term.units == 0 and over is not None and over.currency == budget.currency:
        return over, ""
    its = [price for price in plan.prices.values() if price.feature == term.feature]
    its = [price for price in its if price.currency == budget.currency]
    if any(price.tiers for price in its):
        return None, f"the price of `{term.feature}` has tiers, so a unit has no price of its own; remove the budget"
    # Paid by the month or by the year: the dearest, so that a budget holds for everybody.
    dear = max(
        (price for price in its if price.amount), key=lambda price: Fraction(price.amount, price.per), default=None
    )
    if dear is not None:
        return OveragePrice(dear.amount, dear.per, dear.currency), ""
    example = f"{{ part: usage, feature: {term.feature}, amount: 2, per: 100, currency: {budget.currency} }}"
    return None, f"nothing says what `{term.feature}` costs in {budget.currency}; add a price such as `{example}`"
