"""Ranking: which of several sources of one feature comes first, and in which window the units of a term count.

Laws: an order is total and does not depend on the order in which sources were found; the window follows from the term's
recurrence and its subscription's anchor alone.
"""

from collections.abc import Iterable
from datetime import datetime
from math import inf
from typing import Any

from paygrade.catalog import AddOn, Allowance, Catalog, Plan, Term
from paygrade.periods import window_at
from paygrade.sources import Holding, Offer, Reason, Source, View, allowed_reason, units_of

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


def window_of(view: View, term: Allowance, holding: Holding | None) -> dict[str, Any]:
    """Where the units of this term count, as Entitlement's own fields.

    What is held for good has no dates: they would be a subscription's, and the next one would begin to count anew.
    """
    if term.rolling_s is not None:
        return {"rolling_s": term.rolling_s}
    if term.recurrence is None or term.recurrence.every == "lifetime":
        return {}
    window = window_at(term.recurrence, anchor_of(view, holding), view.at)
    return {"from_at": window.from_at, "resets_at": window.until}


def anchor_of(view: View, holding: Holding | None) -> datetime:
    """What windows are aligned to: the subscription their units come from, else the account's own anchor."""
    standing = holding.standing if holding is not None else None
    return standing.subscription.anchor_at if standing else view.anchor_at


def habit_of(view: View, offer: Offer, open_to: Iterable[tuple[Term, Holding]] = ()) -> dict[str, Any]:
    """Where units of this feature count that no term grants: as those the account has, else as the first ones sold."""
    bases, added = rank_units([(term, holding) for term, holding in open_to if isinstance(term, Allowance)])
    leading: list[tuple[Term | None, Holding | None]] = [*(bases[0] if bases else added)[:1]]
    sold: tuple[Plan | AddOn, ...] = (*view.catalog.plans.values(), *view.catalog.add_ons.values())
    for term, holding in (*leading, *((bought.terms.get(offer.key), None) for bought in sold)):
        if isinstance(term, Allowance) and (term.recurrence or term.rolling_s):
            return window_of(view, term, holding)
    return {}
