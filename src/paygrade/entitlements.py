"""Entitlements: what an account may use at an instant, from which sources, and until when that holds.

Laws: `derive` is pure in (account, catalog, at); a block outranks an override, an override outranks what is
bought, what is bought outranks the default plan; a segment ends at the first instant at which dates alone change
anything in it.

How several sources of one feature merge (the first row that applies decides):

| # | source | boolean | config | units (metered, level, credit) |
|---|---|---|---|---|
| 1 | block | denied | denied | denied |
| 2 | override | its value | its value | `limit` replaces all units; `add` adds to rows 3 and 4 where these grant |
| 3 | add-on | on if any says on | the last one declared | added to row 4, times the item's quantity |
| 4 | plan bought | on if any says on | highest plan declared | the largest; `limit: quantity` sums all quantities |
| 5 | default plan, only where no plan is bought or counts | same | same | same |
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from paygrade.accounts import Account
from paygrade.catalog import (
    AddOn,
    Allowance,
    BooleanFeature,
    Catalog,
    ConfigFeature,
    Credit,
    MeteredFeature,
    Plan,
    Term,
)
from paygrade.facts import Override
from paygrade.periods import Every, Period, period_at
from paygrade.sources import (
    Candidate,
    Holding,
    Offer,
    Reason,
    Source,
    View,
    allowed_reason,
    closed_sources,
    gives,
    offers,
    opens,
    source_of,
    units_of,
    view_of,
)

Kind = Literal["boolean", "config", "metered", "level", "credit"]


HORIZON = timedelta(days=35)


SEGMENTS_MAX = 64
"""An hourly quota turns 840 times within the horizon; the snapshot then ends after this many turns instead."""


class Entitlement(Struct, frozen=True, omit_defaults=True, gc=False):
    """What may be used of one feature during a segment, before counting.

    `granted` False: denied for `reason`. `limit` None: nothing is counted (boolean, config, unlimited). `soft`:
    going over is allowed. `tiers`: from how many units on another source is what allows them, ascending. `credit`
    set: units cost `rate` credits for every `per` units and `limit` counts credits. `[from_at, resets_at)` is the
    period the limit counts in.
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
    sources: tuple[Source, ...] = ()


class Segment(Struct, frozen=True):
    """Entitlements that hold in `[from_at, until)`, by feature or credit key, as far as dates alone can change them."""

    from_at: datetime
    until: datetime
    entitlements: dict[str, Entitlement]


class Balance(Struct, frozen=True):
    """What is used and held of one feature in the period that began at `from_at`."""

    used: int
    reserved: int = 0
    from_at: datetime | None = None


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
    known: bool = True


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
    return Snapshot(account.key, version, at, until, tuple(segments), roles=roles)


def derive(account: Account, catalog: Catalog, at: datetime) -> Segment:
    """The entitlements of every feature and credit from `at` to the next date that changes them, or the horizon."""
    view = view_of(account, catalog, at)
    entitlements = {key: _settle(view, offer)[0] for key, offer in offers(catalog).items()}
    for key, feature in catalog.features.items():
        if isinstance(feature, MeteredFeature) and feature.burns:
            entitlements[key] = _by_credit(feature, entitlements)
    ends = [e.resets_at for e in entitlements.values() if e.resets_at is not None]
    return Segment(at, min(end for end in (*ends, *view.ends, at + HORIZON) if end > at), entitlements)


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


def counting_window(account: Account, catalog: Catalog, key: str, at: datetime) -> Period:
    """The window usage counts in where no entitlement has one: as the catalog sells it, else the month of UTC."""
    offer = offers(catalog)[key]
    habit = _habit(view_of(account, catalog, at), offer)
    return habit or period_at(_CALENDAR, "month", at)


_CALENDAR = datetime(2000, 1, 1, tzinfo=UTC)


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
    override = view.overrides.get(offer.key)
    if override is not None and override_fits(override, offer):
        merged, candidates = _overridden(view, offer, override, merged, candidates)
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
        ranked = sorted(open_to, key=lambda pair: _strength(pair[1]))
    else:
        ranked = sorted(open_to, key=lambda pair: _height(pair[1], view.catalog), reverse=True)
    sources = [source_of(term, holding) for term, holding in ranked]
    best = sources[0]
    merged = _entitle(offer, granted=True, reason=best.reason, plan=best.plan, value=best.value, sources=(best,))
    return merged, (Candidate(best, "decides"), *(Candidate(source, "outranked") for source in sources[1:]))


def _merge_units(
    view: View, offer: Offer, open_to: list[tuple[Allowance, Holding]]
) -> tuple[Entitlement, tuple[Candidate, ...]]:
    """The largest base, plus all additions. Quantities are bought one by one, so together they are one base."""
    added = [pair for pair in open_to if pair[0].adds]
    counted = [pair for pair in open_to if not pair[0].adds and pair[0].by_quantity]
    bases = [[pair] for pair in open_to if not pair[0].adds and not pair[0].by_quantity] + (
        [counted] if counted else []
    )
    bases.sort(key=lambda base: (-_amount(base), _strength(base[0][1])))
    base = bases[0] if bases else []
    leading, leader = (base or added)[0]
    sources = [source_of(term, holding) for term, holding in (*base, *added)]
    candidates = [
        Candidate(source, "decides" if number < max(len(base), 1) else "adds") for number, source in enumerate(sources)
    ]
    candidates += [Candidate(source_of(*pair), "outranked") for other in bases[1:] for pair in other]
    unlimited = any(source.unlimited for source in sources)
    tiers, total = _tiers(sources)
    window = _window(view, leading.every, leader)
    merged = _entitle(
        offer,
        granted=True,
        reason=sources[0].reason,
        plan=sources[0].plan,
        limit=None if unlimited else total,
        unlimited=unlimited,
        soft=any(term.overage == "soft" for term, _ in base),
        tiers=() if unlimited else tiers,
        from_at=window and window.from_at,
        resets_at=window and window.until,
        warn=leading.warn,
        sources=tuple(sources),
    )
    return merged, tuple(candidates)


def _overridden(
    view: View, offer: Offer, override: Override, merged: Entitlement, candidates: tuple[Candidate, ...]
) -> tuple[Entitlement, tuple[Candidate, ...]]:
    source = Source(
        "override",
        "override_denied" if override.value is False and not isinstance(offer, ConfigFeature) else "override",
        units=override.limit if override.add is None else override.add,
        unlimited=override.unlimited,
        value=override.value,
        note=override.reason,
        until=override.expires_at,
    )
    if override.add is not None:
        return _added(view, offer, source, merged, candidates)
    # An override changes the units, not the period they count in.
    window = Period(merged.from_at, merged.resets_at) if merged.from_at else _habit(view, offer)
    replaced = _entitle(
        offer,
        granted=source.reason == "override",
        reason=source.reason,
        plan=merged.plan,
        value=override.value,
        limit=override.limit,
        unlimited=override.unlimited,
        from_at=window and window.from_at,
        resets_at=window and window.until,
        warn=merged.warn,
        sources=(source,),
    )
    return replaced, (Candidate(source, "decides"), *_outranked(candidates))


def _added(
    view: View, offer: Offer, source: Source, merged: Entitlement, candidates: tuple[Candidate, ...]
) -> tuple[Entitlement, tuple[Candidate, ...]]:
    """Units on top: of what is there; alone where nothing is sold; not at all where access is suspended."""
    if merged.unlimited or (not merged.granted and merged.reason not in ("not_in_plan", "no_subscription")):
        return merged, (*candidates, Candidate(source, "outranked" if merged.unlimited else "suspended"))
    if merged.granted:
        sources = (*merged.sources, source)
        tiers, total = _tiers(sources)
        return replace(merged, limit=total, tiers=tiers, sources=sources), (*candidates, Candidate(source, "adds"))
    window = _habit(view, offer)
    alone = _entitle(
        offer,
        granted=True,
        reason="override",
        limit=source.units,
        from_at=window and window.from_at,
        resets_at=window and window.until,
        sources=(source,),
    )
    return alone, (Candidate(source, "decides"), *candidates)


def _by_credit(feature: MeteredFeature, entitlements: dict[str, Entitlement]) -> Entitlement:
    """A feature without units of its own is paid in credits."""
    own = entitlements[feature.key]
    if own.granted or own.reason in ("blocked", "override_denied"):
        return own
    pools = [(burn, entitlements[burn.credit]) for burn in feature.burns]
    for burn, pool in pools:
        if pool.granted:
            return replace(
                own,
                granted=True,
                reason="credit",
                plan=pool.plan,
                limit=pool.limit,
                unlimited=pool.unlimited,
                credit=burn.credit,
                rate=burn.rate,
                per=burn.per,
                from_at=pool.from_at,
                resets_at=pool.resets_at,
                sources=pool.sources,
            )
    return replace(own, reason=pools[0][1].reason)


def _entitle(offer: Offer, *, granted: bool, reason: Reason, **known: Any) -> Entitlement:
    """An entitlement with what the catalog says of the feature; `known` are Entitlement's own fields."""
    kind: Kind = offer.__struct_config__.tag  # type: ignore[assignment]  # the tags of Offer are the kinds
    roles = () if isinstance(offer, Credit) else offer.roles
    return Entitlement(offer.key, kind, granted, reason, roles=roles, **known)


def _amount(base: list[tuple[Allowance, Holding]]) -> int | float:
    units = [units_of(term, holding) for term, holding in base]
    return sum(unit for unit in units if unit is not None) if None not in units else inf


def _strength(holding: Holding) -> int:
    return ("plan", "add_on", "trial", "grace").index(allowed_reason(holding))


def _height(holding: Holding, catalog: Catalog) -> tuple[int, int]:
    """Where a config value ranks: any add-on above any plan, and what is declared later above what is earlier."""
    match holding.bought:
        case AddOn(key=key):
            return 1, list(catalog.add_ons).index(key)
        case Plan(rank=rank):
            return 0, rank


def _tiers(sources: Iterable[Source]) -> tuple[tuple[tuple[int, Reason], ...], int]:
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


def _window(view: View, every: Every | None, holding: Holding | None) -> Period | None:
    """The period units count in: aligned to the subscription they come from, else to the account's own anchor."""
    if every is None:
        return None
    standing = holding.standing if holding is not None else None
    return period_at(standing.subscription.anchor_at if standing else view.anchor_at, every, view.at)


def _habit(view: View, offer: Offer) -> Period | None:
    """The period the catalog counts this feature in, where nothing the account has says so."""
    sold: tuple[Plan | AddOn, ...] = (*view.catalog.plans.values(), *view.catalog.add_ons.values())
    terms = (bought.terms.get(offer.key) for bought in sold)
    return _window(view, next((t.every for t in terms if isinstance(t, Allowance) and t.every), None), None)


def _outranked(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    return tuple(Candidate(c.source, "outranked") if c.verdict in ("decides", "adds") else c for c in candidates)
