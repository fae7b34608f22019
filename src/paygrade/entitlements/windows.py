"""Counting: the window that usage of a feature counts in, whether or not a term says so.

Laws: windows follow from a recurrence and what was billed when, so a change of plan or an override moves none; what one
term counts in, all ways of using the feature count in.
"""

from collections.abc import Iterator
from typing import Any

from paygrade.catalog.model import AddOn, Allowance, Plan, Term
from paygrade.entitlements.sources import Holding, View, payer_of
from paygrade.values.periods import Period, Recurrence, window_at


def window_of(view: View, term: Allowance, holding: Holding | None) -> dict[str, Any]:
    """Where the units of this term count, as an entitlement's own fields (Any).

    What is held for good has no dates: they would be a subscription's, and the next one would begin to count anew.
    """
    if term.rolling_s is not None:
        return {"rolling_s": term.rolling_s}
    if term.recurrence is None or term.recurrence.every == "lifetime":
        return {}
    window = view.anchors.window(term.recurrence, payer_of(holding), view.at)
    return {"from_at": window.from_at, "resets_at": window.until}


def usual_window(view: View, key: str, leading: tuple[Term, Holding] | None) -> dict[str, Any]:
    """Where units of this feature count that no term grants: as those the account has, else as the first ones sold."""
    term, holding = leading or (None, None)
    if isinstance(term, Allowance) and (term.recurrence or term.rolling_s):
        return window_of(view, term, holding)
    return next((window_of(view, term, None) for term in _sold(view, key)), {})


def counting_window(view: View, key: str) -> Period:
    """The window usage counts in where no entitlement has one: as it is sold first, else the calendar month of UTC.
    `until` None: nothing resets it."""
    for term in _sold(view, key):
        return view.anchors.window(term.recurrence or Recurrence("lifetime"), None, view.at)
    return window_at(Recurrence("month", calendar=True), view.at, view.at)


def _sold(view: View, key: str) -> Iterator[Allowance]:
    """The terms by which units of this feature are sold for a window, in the order of the document."""
    sold: tuple[Plan | AddOn, ...] = (*view.catalog.plans.values(), *view.catalog.add_ons.values())
    for bought in sold:
        term = bought.terms.get(key)
        if isinstance(term, Allowance) and (term.recurrence or term.rolling_s):
            yield term
