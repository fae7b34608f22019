"""Ranking: which of several sources of one feature comes first.

Law: an order is total and does not depend on the order in which sources were found.
"""

from collections.abc import Iterable
from math import inf

from paygrade.catalog.model import AddOn, Allowance, Catalog, Plan, Term
from paygrade.entitlements.sources import Holding, Reason, Source, allowed_reason, units_of

Allowances = list[tuple[Allowance, Holding]]


def rank_units(
    allowances: Allowances,
) -> tuple[list[Allowances], Allowances]:
    """The bases, the largest first, and the additions. Quantities, bought one by one, are one base together."""
    added = [pair for pair in allowances if pair[0].adds]
    counted = [pair for pair in allowances if not pair[0].adds and pair[0].by_quantity]
    bases = [[pair] for pair in allowances if not pair[0].adds and not pair[0].by_quantity]
    bases += [counted] if counted else []
    bases.sort(key=lambda base: (-amount_of(base), strength(base[0][1])))
    return bases, added


def leading_of(open_to: Iterable[tuple[Term, Holding]]) -> tuple[Term, Holding] | None:
    """The term whose window all units of a feature count in; None: nothing gives any."""
    bases, added = rank_units([(term, holding) for term, holding in open_to if isinstance(term, Allowance)])
    return next(iter(bases[0] if bases else added), None)


def amount_of(base: list[tuple[Allowance, Holding]]) -> int | float:
    units = [units_of(term, holding) for term, holding in base]
    return sum(unit for unit in units if unit is not None) if None not in units else inf


def strength(holding: Holding) -> int:
    return ("plan", "add_on", "trial", "grace").index(allowed_reason(holding))


def height(holding: Holding, catalog: Catalog) -> tuple[int, int]:
    """Where a config value ranks: any add-on above any plan, and what is declared later above what is earlier."""
    match holding.bought:
        case AddOn(key=key):
            return 1, list(catalog.add_ons).index(key)
        case Plan(rank=rank):
            return 0, rank


def tiers_of(sources: Iterable[Source]) -> tuple[tuple[tuple[int, Reason], ...], int]:
    """From how many units on which source is needed, and how many there are in all."""
    tiers: list[tuple[int, Reason]] = []
    total = 0
    first: Reason | None = None
    for source in sources:
        first = first or source.reason
        if source.reason != (tiers[-1][1] if tiers else first):
            tiers.append((total, source.reason))
        total += source.units or 0
    return tuple(tiers), total
