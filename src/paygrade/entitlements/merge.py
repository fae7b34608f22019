"""Merging: what several sources of one feature make together, and which of them comes first.

Law: an order is total and does not depend on the order in which sources were found.

How several sources of one feature merge (the first row that applies decides):

| # | source | boolean | config | units (metered, level, credit) |
|---|---|---|---|---|
| 1 | block | denied | denied | denied |
| 2 | override | its value | its value | `limit` replaces all units; `add` adds to rows 3 and 4 where these grant |
| 3 | add-on | on if any says on | the last one declared | added to row 4, times the item's quantity |
| 4 | plan bought | on if any says on | highest plan declared | the largest; `limit: quantity` sums all quantities |
| 5 | default plan, only where no plan is bought or counts | same | same | same |
| 6 | leeway of a plan change, where rows 3 to 5 give less | | | its units, in place of theirs |

What goes with the units comes from the term that leads row 4, without one from the first of row 3:

| of the units | override `add` | override `limit` or `unlimited` |
|---|---|---|
| window, share per member, caps, warnings, priority | stay | stay: they say how units are used, not how many |
| overage, its price and spend cap; rollover | stay | go: the override says how many units there are, and no more |

An override's `spend_cap` says how far overage goes that has a price, in the place of the term's; all else stays.
"""

from collections.abc import Iterable
from math import inf
from typing import Any

from msgspec.structs import replace

from paygrade.billing.facts import DowngradeGrace, Override
from paygrade.catalog.model import AddOn, Allowance, Catalog, Plan, Term
from paygrade.catalog.offers import BooleanFeature, Cap, ConfigFeature, Credit, LevelFeature, OveragePrice
from paygrade.entitlements.model import Entitlement, Offer, Reason, Source, kind_of
from paygrade.entitlements.sources import (
    Candidate,
    Holding,
    View,
    allowed_reason,
    closed_sources,
    gives,
    opens,
    payer_of,
    source_of,
    units_of,
)
from paygrade.entitlements.windows import usual_window, window_of
from paygrade.values.periods import ACCOUNT_ZONE
from paygrade.values.text import QUANTITY_MAX

Allowances = list[tuple[Allowance, Holding]]


def merge(view: View, offer: Offer) -> tuple[Entitlement, tuple[Candidate, ...]]:
    """Merge everything that speaks about one feature, by the table at the top of this file."""
    offered = [(term, holding) for term, holding in view.terms.get(offer.key, ()) if gives(term)]
    open_to = [pair for pair in offered if opens(pair[1], offer)]
    closed = closed_sources(view, offer, offered)
    merged, candidates = _merge_terms(view, offer, open_to)
    candidates = (*candidates, *closed)
    if merged is None:
        merged = _denied(view, offer, closed)
    leeway = view.leeways.get(offer.key)
    if leeway is not None and not isinstance(offer, BooleanFeature | ConfigFeature):
        merged, candidates = _with_downgrade_grace(
            offer, leeway, merged, candidates, usual=usual_window(view, offer.key, leading_of(open_to))
        )
    override = view.overrides.get(offer.key)
    if override is not None and override_fits(override, offer):
        usual = usual_window(view, offer.key, leading_of(open_to))
        merged, candidates = _with_override(offer, override, merged, candidates, usual=usual)
    if view.block is not None:
        source = Source("block", "blocked", note=view.block.reason or view.block.key, until=view.block.expires_at)
        merged = _entitle(offer, granted=False, reason="blocked", sources=(source,))
        candidates = (Candidate(source, "decides"), *_outranked(candidates))
    return merged, candidates


def override_fits(override: Override, offer: Offer | None) -> bool:
    """Whether this override says something that this feature can be."""
    match offer:
        case None:
            return False
        case BooleanFeature():
            return isinstance(override.value, bool)
        case ConfigFeature(type=kind):
            return type(override.value) is {"integer": int, "string": str, "boolean": bool}[kind]
        case _:
            return override.value is False or override.value is None


def _denied(view: View, offer: Offer, closed: tuple[Candidate, ...]) -> Entitlement:
    if not closed:
        return _entitle(offer, granted=False, reason="not_in_plan" if view.plan else "no_subscription", plan=view.plan)
    source = closed[0].source
    return _entitle(offer, granted=False, reason=source.reason, plan=source.plan, sources=(source,))


def _merge_terms(
    view: View, offer: Offer, open_to: list[tuple[Term, Holding]]
) -> tuple[Entitlement | None, tuple[Candidate, ...]]:
    if not open_to:
        return None, ()
    match offer:
        case BooleanFeature() | ConfigFeature():
            return _merge_values(view, offer, open_to)
        case _:
            allowances = [(term, holding) for term, holding in open_to if isinstance(term, Allowance)]
            return _merge_units(view, offer, allowances)


def _merge_values(
    view: View, offer: Offer, open_to: list[tuple[Term, Holding]]
) -> tuple[Entitlement, tuple[Candidate, ...]]:
    if isinstance(offer, BooleanFeature):
        ranked = sorted(open_to, key=lambda pair: strength(pair[1]))
    else:
        ranked = sorted(open_to, key=lambda pair: height(pair[1], view.catalog), reverse=True)
    sources = [source_of(term, holding) for term, holding in ranked]
    best = sources[0]
    merged = _entitle(offer, granted=True, reason=best.reason, plan=best.plan, value=best.value, sources=(best,))
    return merged, (Candidate(best, "decides"), *(Candidate(source, "outranked") for source in sources[1:]))


def _merge_units(view: View, offer: Offer, open_to: Allowances) -> tuple[Entitlement, tuple[Candidate, ...]]:
    """The largest base, plus all additions."""
    bases, added = rank_units(open_to)
    base = bases[0] if bases else []
    leading, leader = (base or added)[0]
    counting = _counting(bases) if bases else leader
    sources = [source_of(term, holding) for term, holding in (*base, *added)]
    candidates = [
        Candidate(source, "decides" if number < max(len(base), 1) else "adds") for number, source in enumerate(sources)
    ]
    candidates += [Candidate(source_of(*pair), "outranked") for other in bases[1:] for pair in other]
    unlimited = any(source.unlimited for source in sources)
    tiers, total = tiers_of(sources)
    merged = _entitle(
        offer,
        granted=True,
        reason=sources[0].reason,
        plan=sources[0].plan,
        limit=None if unlimited else total,
        unlimited=unlimited,
        tiers=() if unlimited else tiers,
        sources=tuple(sources),
        warn=leading.warn,
        rollover=leading.rollover,
        rollover_share=leading.rollover_share,
        rollover_windows=leading.rollover_windows,
        per_member=leading.per_member,
        caps=_local(view, leading.caps),
        **_aligned(view, leading, counting),
        priority=leading.priority,
        **window_of(view, leading, counting),
        **_overage([term for term, _ in base], limit=None if unlimited else total),
    )
    return merged, tuple(candidates)


def _counting(bases: list[Allowances]) -> Holding:
    """Whose window all of it counts in: of those that give the most alike, the subscription that began first, however
    it stands. `bases` are never empty, and each has its holdings in the order in which they began."""
    leading, first = bases[0][0]
    if len(bases) == len(bases[0]) == 1:
        return first
    alike = [base for base in bases if amount_of(base) == amount_of(bases[0])]
    found = [holding for base in alike for term, holding in base if _counts_alike(term, leading)]
    return min(found, key=lambda holding: holding.place)


def _counts_alike(term: Allowance, other: Allowance) -> bool:
    return (term.recurrence, term.rolling_s) == (other.recurrence, other.rolling_s)


def _local(view: View, caps: tuple[Cap, ...]) -> tuple[Cap, ...]:
    """The caps, in the account's own zone where they follow it."""
    if not any(cap.recurrence and cap.recurrence.zone == ACCOUNT_ZONE for cap in caps):
        return caps
    return tuple(replace(cap, recurrence=cap.recurrence and view.anchors.local(cap.recurrence)) for cap in caps)


def _aligned(view: View, leading: Allowance, leader: Holding) -> dict[str, Any]:
    """What shorter windows are aligned to and since when units are carried over, where there is either."""
    found: dict[str, Any] = {}
    if any(cap.recurrence for cap in leading.caps):
        found["anchor_at"] = view.anchors.anchor_at(payer_of(leader), view.at)
    if leading.rollover or leading.overage == "debt":
        found["begun_at"] = view.anchors.begun_at(payer_of(leader))
    return found


def _overage(base: list[Allowance], *, limit: int | None) -> dict[str, Any]:
    """How far over the limit going is allowed, and for what: as the first term says that allows it."""
    soft = next((term for term in base if term.overage != "hard"), None)
    if soft is None:
        return {}
    if soft.overage == "debt":
        return {"soft": True, "owes": True}
    price = soft.overage_price
    return {"soft": True, "overage_price": price, "units_max": _units_max(limit, price, soft.spend_max)}


def _units_max(limit: int | None, price: OveragePrice | None, spend_cap: int | None) -> int | None:
    """How many units there are where so much may be spent over the limit; None: as many as anyone likes."""
    if limit is None or price is None or spend_cap is None:
        return None
    return min(limit + spend_cap * price.per // price.amount, QUANTITY_MAX)


def _with_override(
    offer: Offer,
    override: Override,
    merged: Entitlement,
    candidates: tuple[Candidate, ...],
    *,
    usual: dict[str, Any],
) -> tuple[Entitlement, tuple[Candidate, ...]]:
    """What the override makes of what was merged; `usual` is the window its units count in."""
    source = Source(
        "override",
        "override_denied" if override.value is False else "override",
        units=override.limit if override.add is None else override.add,
        unlimited=override.unlimited,
        value=override.value,
        note=override.reason,
        until=override.expires_at,
        spend_cap=override.spend_cap,
    )
    if override.spend_cap is not None:
        return _capped(source, merged, candidates)
    if override.add is not None:
        return _added(offer, source, merged, candidates, usual=usual)
    replaced = _entitle(
        offer,
        granted=source.reason == "override",
        reason=source.reason,
        plan=merged.plan,
        value=override.value,
        limit=override.limit,
        unlimited=override.unlimited,
        warn=merged.warn,
        # Caps and a member's share protect; more units are no reason to give that up.
        per_member=merged.per_member,
        caps=merged.caps,
        anchor_at=merged.anchor_at,
        begun_at=merged.begun_at,
        priority=merged.priority,
        sources=(source,),
        **usual,
    )
    return replaced, (Candidate(source, "decides"), *_outranked(candidates))


def _capped(
    source: Source, merged: Entitlement, candidates: tuple[Candidate, ...]
) -> tuple[Entitlement, tuple[Candidate, ...]]:
    """Another spend cap on the overage there is; where there is none, nothing."""
    if not merged.granted or merged.overage_price is None or merged.limit is None:
        return merged, (*candidates, Candidate(source, "outranked" if merged.granted else "suspended"))
    units_max = _units_max(merged.limit, merged.overage_price, source.spend_cap)
    capped = replace(merged, units_max=units_max, sources=(*merged.sources, source))
    return capped, (*candidates, Candidate(source, "adds"))


def _added(
    offer: Offer, source: Source, merged: Entitlement, candidates: tuple[Candidate, ...], *, usual: dict[str, Any]
) -> tuple[Entitlement, tuple[Candidate, ...]]:
    """Units on top: of what is there; alone where nothing is sold; not at all where access is suspended."""
    if merged.unlimited or (not merged.granted and merged.reason not in ("not_in_plan", "no_subscription")):
        return merged, (*candidates, Candidate(source, "outranked" if merged.unlimited else "suspended"))
    if merged.granted:
        sources = (*merged.sources, source)
        tiers, total = tiers_of(sources)
        units_max = None if merged.units_max is None else merged.units_max + (source.units or 0)
        more = replace(merged, limit=total, units_max=units_max, tiers=tiers, sources=sources)
        return more, (*candidates, Candidate(source, "adds"))
    alone = _entitle(offer, granted=True, reason="override", limit=source.units, sources=(source,), **usual)
    return alone, (Candidate(source, "decides"), *candidates)


def _with_downgrade_grace(
    offer: Offer,
    leeway: DowngradeGrace,
    merged: Entitlement,
    candidates: tuple[Candidate, ...],
    *,
    usual: dict[str, Any],
) -> tuple[Entitlement, tuple[Candidate, ...]]:
    """What a plan change left for a while: as many units as before, where what is bought gives less."""
    own = merged.limit or 0 if merged.granted else 0
    more = None if leeway.limit is None else leeway.limit - own
    source = Source("leeway", "grace", units=more, unlimited=more is None, note=leeway.change, until=leeway.until)
    if merged.unlimited or (more is not None and more <= 0):
        return merged, (*candidates, Candidate(source, "outranked"))
    if not merged.granted and merged.reason not in LEFT_BY:
        return merged, (*candidates, Candidate(source, "suspended"))
    if not merged.granted:
        merged = _entitle(offer, granted=True, reason="grace", plan=merged.plan, limit=0, **usual)
    sources = (*merged.sources, source)
    tiers, total = tiers_of(sources)
    units_max = None if merged.units_max is None or more is None else merged.units_max + more
    left = replace(
        merged,
        limit=None if more is None else total,
        unlimited=more is None,
        units_max=units_max,
        tiers=() if more is None else tiers,
        sources=sources,
    )
    return left, (*candidates, Candidate(source, "adds"))


LEFT_BY: frozenset[Reason] = frozenset({"not_in_plan", "no_subscription", "canceled", "trial_ended"})
"""What a plan change may have brought about; nothing that suspends what is paid for."""


def _entitle(offer: Offer, *, granted: bool, reason: Reason, **known: Any) -> Entitlement:
    """An entitlement with what the catalog says of the feature; `known` are Entitlement's own fields."""
    if not isinstance(offer, Credit) and (offer.roles or offer.seat):
        known |= {"roles": offer.roles, "seat": offer.seat, "personal": True}
    in_seats = isinstance(offer, LevelFeature) and offer.counts_seats
    return Entitlement(offer.key, kind_of(offer), granted, reason, in_seats=in_seats, **known)


def _outranked(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    return tuple(Candidate(c.source, "outranked") if c.verdict in ("decides", "adds") else c for c in candidates)


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
    if not bases:
        return next(iter(added), None)
    return bases[0][0][0], _counting(bases)


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
