"""Entitlements: what an account may use at an instant, from which sources, and until when that holds.

Laws: `derive` is pure in (account, catalog, at); a block outranks an override, an override outranks what is
bought, what is bought outranks the default plan; a segment ends at the first instant at which dates alone change
anything in it, caps aside; the window units count in follows from their recurrence and their subscription's anchor
alone, so a change of plan or an override moves no window.

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

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Leeway, Override
from paygrade.catalog.model import (
    PRIORITY,
    Allowance,
    BooleanFeature,
    Cap,
    Catalog,
    ConfigFeature,
    Credit,
    LevelFeature,
    MeteredFeature,
    OveragePrice,
    Rate,
    Term,
)
from paygrade.catalog.reader import QUANTITY_MAX
from paygrade.entitlements.merge import Allowances, height, leading_of, rank_units, strength, tiers_of
from paygrade.entitlements.sources import (
    Candidate,
    Holding,
    Offer,
    Reason,
    Source,
    View,
    closed_sources,
    gives,
    offers,
    opens,
    source_of,
    view_of,
)
from paygrade.entitlements.windows import anchor_of, counting_window, habit_of, window_of
from paygrade.usage.balances import Balance

Kind = Literal["boolean", "config", "metered", "level", "credit"]


HORIZON = timedelta(days=35)
_NOBODY: dict[str, Any] = {}  # shared by all accounts without members, so that they cost nothing

SEGMENTS_MAX = 64
"""An hourly quota turns 840 times within the horizon; the snapshot then ends after this many turns instead."""


class Entitlement(Struct, frozen=True, omit_defaults=True, gc=False):
    """What may be used of one feature during a segment, before counting.

    `granted` False: denied for `reason`. `limit` None: nothing is counted (boolean, config, unlimited). `soft`:
    going over is allowed. `tiers`: from how many units on another source is what allows them, ascending. `credit`
    set: units cost `rate` credits for every `per` units, or what `rates` says for the value of the usage event's
    `property`, and `limit` counts credits; it is set on a denied feature too, since credits granted later may pay.

    `[from_at, resets_at)` is the window usage counts in, with a limit or without: both None for what is held for good,
    and where the limit counts the last `rolling_s` seconds. `units_max`: where a soft limit ends after all, since it is
    as far as the spend cap pays at `overage_price`; None: nowhere. `per_member`: what one member may use of the limit.
    `caps`: limits in other windows, all of which hold; those that recur are aligned to `anchor_at`, and none of them
    ends a segment. `seat`: the level of which a member needs a seat. `in_seats`: members take these units up.
    `personal`: who asks matters, for one or the other. `rollover`: units carried to the next window. `priority`: where
    these units stand in the burn order. `plain`: one count against one limit, and nothing else to look at.
    """

    feature: str
    kind: Kind
    granted: bool
    reason: Reason
    plan: str | None = None
    value: bool | int | str | None = None
    limit: int | None = None
    unlimited: bool = False
    soft: bool = False
    tiers: tuple[tuple[int, Reason], ...] = ()
    credit: str | None = None
    rate: int = 1
    per: int = 1
    from_at: datetime | None = None
    resets_at: datetime | None = None
    warn: tuple[int, ...] = ()
    roles: tuple[str, ...] = ()
    seat: str | None = None
    in_seats: bool = False
    personal: bool = False
    sources: tuple[Source, ...] = ()
    units_max: int | None = None
    overage_price: OveragePrice | None = None
    per_member: int | None = None
    caps: tuple[Cap, ...] = ()
    anchor_at: datetime | None = None
    rolling_s: int | None = None
    rollover: int = 0
    priority: int = PRIORITY
    property: str | None = None
    rates: dict[str, Rate] | None = None
    plain: bool = True


class Segment(Struct, frozen=True):
    """Entitlements that hold in `[from_at, until)`, by feature or credit key, as far as dates alone can change them."""

    from_at: datetime
    until: datetime
    entitlements: dict[str, Entitlement]


class Snapshot(Struct, frozen=True, omit_defaults=True):
    """One account's entitlements and balances, true in `[as_of, until)`, with every segment in between.

    `version` is `<catalog version>.<account version>`. `known` False: there is no such account.
    """

    account: str
    version: str
    as_of: datetime
    until: datetime
    segments: tuple[Segment, ...]
    balances: dict[str, Balance] = {}
    roles: dict[str, str] = {}
    """Each member's role."""
    seats: dict[str, int] = {}
    """The place of each member with a seat, from 0: whoever's is beyond the number of seats may not use theirs."""
    known: bool = True


def entitlements_at(snapshot: Snapshot, at: datetime) -> Mapping[str, Entitlement]:
    """The entitlements in force at `at`."""
    for segment in snapshot.segments:
        if at < segment.until:
            return segment.entitlements
    return {}


def snapshot(account: Account, catalog: Catalog, at: datetime) -> Snapshot:
    """What holds from `at` on, up to the horizon, assuming nothing but time happens."""
    version = f"{catalog.version}.{account.version}"
    if not account.exists:
        return Snapshot(account.key, version, at, at + HORIZON, (), known=False)
    segments = [derive(account, catalog, at)]
    while segments[-1].until < at + HORIZON and len(segments) < SEGMENTS_MAX:
        segments.append(derive(account, catalog, segments[-1].until))
    until = segments[-1].until
    roles = {key: member.role for key, member in account.members.items() if member.role is not None}
    seats = {member: place for place, member in enumerate(account.seated)}
    taken = {key: Balance(used=len(seats)) for key, its in segments[0].entitlements.items() if its.in_seats and seats}
    return Snapshot(account.key, version, at, until, tuple(segments), taken, roles or _NOBODY, seats or _NOBODY)


def derive(account: Account, catalog: Catalog, at: datetime) -> Segment:
    """The entitlements of every feature and credit from `at` to the next date that changes them, or the horizon."""
    view = view_of(account, catalog, at)
    entitlements = {key: _windowed(view, _settle(view, offer)[0]) for key, offer in offers(catalog).items()}
    for key, feature in catalog.features.items():
        if isinstance(feature, MeteredFeature) and feature.burns:
            entitlements[key] = _by_credit(feature, entitlements)
    entitlements = {key: _marked(entitlement) for key, entitlement in entitlements.items()}
    ends = [e.resets_at for e in entitlements.values() if e.resets_at is not None]
    return Segment(at, min(end for end in (*ends, *view.ends, at + HORIZON) if end > at), entitlements)


def _marked(its: Entitlement) -> Entitlement:
    closely = its.credit or its.caps or its.rollover or its.units_max is not None
    return replace(its, plain=False) if closely or its.per_member is not None or its.rolling_s is not None else its


def trace(account: Account, catalog: Catalog, feature: str, at: datetime) -> tuple[Candidate, ...]:
    """Every source that spoke about this feature, the deciding ones first."""
    offer = offers(catalog).get(feature)
    if offer is None:
        return ()
    order = ("decides", "adds", "outranked", "suspended", "lapsed")
    candidates = list(_settle(view_of(account, catalog, at), offer)[1])
    if isinstance(offer, MeteredFeature):
        for burn in offer.burns:
            candidates.extend(trace(account, catalog, burn.credit, at))
    return tuple(sorted(candidates, key=lambda candidate: order.index(candidate.verdict)))


def _windowed(view: View, its: Entitlement) -> Entitlement:
    """With the window its usage counts in, where it has no limit that says so; a credit that is not had, too: units of
    it that were granted by themselves may pay."""
    unlimited = its.kind == "metered" and its.granted and its.limit is None
    pays = its.kind == "credit" and (its.limit is None or not its.granted)
    if its.from_at is not None or its.rolling_s is not None or not (unlimited or pays):
        return its
    window = counting_window(view, its.feature)
    return its if window.until is None else replace(its, from_at=window.from_at, resets_at=window.until)


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


def _settle(view: View, offer: Offer) -> tuple[Entitlement, tuple[Candidate, ...]]:
    """Merge everything that speaks about one feature, by the table at the top of this file."""
    offered = [(term, holding) for term, holding in view.terms.get(offer.key, ()) if gives(term)]
    open_to = [pair for pair in offered if opens(pair[1], offer)]
    closed = closed_sources(view, offer, offered)
    merged, candidates = _merge(view, offer, open_to)
    candidates = (*candidates, *closed)
    if merged is None:
        merged = _denied(view, offer, closed)
    leeway = view.leeways.get(offer.key)
    if leeway is not None and not isinstance(offer, BooleanFeature | ConfigFeature):
        merged, candidates = _left(
            offer, leeway, merged, candidates, habit=habit_of(view, offer.key, leading_of(open_to))
        )
    override = view.overrides.get(offer.key)
    if override is not None and override_fits(override, offer):
        habit = habit_of(view, offer.key, leading_of(open_to))
        merged, candidates = _overridden(offer, override, merged, candidates, habit=habit)
    if view.block is not None:
        source = Source("block", "blocked", note=view.block.reason or view.block.key, until=view.block.expires_at)
        merged = _entitle(offer, granted=False, reason="blocked", sources=(source,))
        candidates = (Candidate(source, "decides"), *_outranked(candidates))
    return merged, candidates


def _denied(view: View, offer: Offer, closed: tuple[Candidate, ...]) -> Entitlement:
    if not closed:
        return _entitle(offer, granted=False, reason="not_in_plan" if view.plan else "no_subscription", plan=view.plan)
    source = closed[0].source
    return _entitle(offer, granted=False, reason=source.reason, plan=source.plan, sources=(source,))


def _merge(
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
        per_member=leading.per_member,
        caps=leading.caps,
        anchor_at=anchor_of(view, leader) if leading.rollover or any(cap.recurrence for cap in leading.caps) else None,
        priority=leading.priority,
        **window_of(view, leading, leader),
        **_overage([term for term, _ in base], limit=None if unlimited else total),
    )
    return merged, tuple(candidates)


def _overage(base: list[Allowance], *, limit: int | None) -> dict[str, Any]:
    """How far over the limit going is allowed, and for what: as the first term says that allows it."""
    soft = next((term for term in base if term.overage == "soft"), None)
    if soft is None:
        return {}
    price = soft.overage_price
    return {"soft": True, "overage_price": price, "units_max": _units_max(limit, price, soft.spend_max)}


def _units_max(limit: int | None, price: OveragePrice | None, spend_cap: int | None) -> int | None:
    """How many units there are where so much may be spent over the limit; None: as many as anyone likes."""
    if limit is None or price is None or spend_cap is None:
        return None
    return min(limit + spend_cap * price.per // price.amount, QUANTITY_MAX)


def _overridden(
    offer: Offer,
    override: Override,
    merged: Entitlement,
    candidates: tuple[Candidate, ...],
    *,
    habit: dict[str, Any],
) -> tuple[Entitlement, tuple[Candidate, ...]]:
    """What the override makes of what was merged; `habit` is the window its units count in."""
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
        return _added(offer, source, merged, candidates, habit=habit)
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
        priority=merged.priority,
        sources=(source,),
        **habit,
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
    offer: Offer, source: Source, merged: Entitlement, candidates: tuple[Candidate, ...], *, habit: dict[str, Any]
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
    alone = _entitle(offer, granted=True, reason="override", limit=source.units, sources=(source,), **habit)
    return alone, (Candidate(source, "decides"), *candidates)


def _left(
    offer: Offer,
    leeway: Leeway,
    merged: Entitlement,
    candidates: tuple[Candidate, ...],
    *,
    habit: dict[str, Any],
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
        merged = _entitle(offer, granted=True, reason="grace", plan=merged.plan, limit=0, **habit)
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


def _by_credit(feature: MeteredFeature, entitlements: dict[str, Entitlement]) -> Entitlement:
    """A feature without units of its own is paid in credits."""
    own = entitlements[feature.key]
    if own.granted or own.reason in ("blocked", "override_denied"):
        return own
    pools = [(burn, entitlements[burn.credit]) for burn in feature.burns]
    burn, pool = next((pair for pair in pools if pair[1].granted), pools[0])
    own = replace(
        own, credit=burn.credit, rate=burn.rate, per=burn.per, property=burn.property, rates=burn.rates or None
    )
    if not pool.granted:
        return replace(own, reason=pool.reason, from_at=pool.from_at, resets_at=pool.resets_at)
    return replace(
        own,
        granted=True,
        reason="credit",
        plan=pool.plan,
        limit=pool.limit,
        unlimited=pool.unlimited,
        from_at=pool.from_at,
        resets_at=pool.resets_at,
        sources=pool.sources,
    )


def _entitle(offer: Offer, *, granted: bool, reason: Reason, **known: Any) -> Entitlement:
    """An entitlement with what the catalog says of the feature; `known` are Entitlement's own fields."""
    kind: Kind = offer.__struct_config__.tag  # type: ignore[assignment]  # the tags of Offer are the kinds
    if not isinstance(offer, Credit) and (offer.roles or offer.seat):
        known |= {"roles": offer.roles, "seat": offer.seat, "personal": True}
    in_seats = isinstance(offer, LevelFeature) and offer.counts_seats
    return Entitlement(offer.key, kind, granted, reason, in_seats=in_seats, **known)


def _outranked(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    return tuple(Candidate(c.source, "outranked") if c.verdict in ("decides", "adds") else c for c in candidates)
