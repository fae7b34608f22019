"""Entitlements: what an account may use at an instant, from which sources, and until when that holds.

Laws: `derive` is pure in (account, catalog, at); a block outranks an override, an override outranks what is
bought, what is bought outranks the default plan; a segment ends at the first instant at which dates alone change
anything in it, caps aside; the window units count in follows from their recurrence and their subscription's anchor
alone, so a change of plan or an override moves no window.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.catalog.model import Catalog
from paygrade.catalog.offers import MeteredFeature
from paygrade.entitlements.merge import merge
from paygrade.entitlements.model import Entitlement, Segment, carries
from paygrade.entitlements.sources import Candidate, View, offers, view_of
from paygrade.entitlements.windows import counting_window

HORIZON = timedelta(days=35)


def derive(account: Account, catalog: Catalog, at: datetime) -> Segment:
    """The entitlements of every feature and credit from `at` to the next date that changes them, or the horizon."""
    view = view_of(account, catalog, at)
    entitlements = {key: _windowed(view, merge(view, offer)[0]) for key, offer in offers(catalog).items()}
    for key, feature in catalog.features.items():
        if isinstance(feature, MeteredFeature) and feature.burns:
            entitlements[key] = _by_credit(feature, entitlements)
    entitlements = {key: _marked(entitlement) for key, entitlement in entitlements.items()}
    ends = [e.resets_at for e in entitlements.values() if e.resets_at is not None]
    return Segment(at, min(end for end in (*ends, *view.ends, at + HORIZON) if end > at), entitlements)


def _marked(its: Entitlement) -> Entitlement:
    closely = its.credit or its.caps or carries(its) or its.units_max is not None
    return replace(its, plain=False) if closely or its.per_member is not None or its.rolling_s is not None else its


def trace(account: Account, catalog: Catalog, feature: str, at: datetime) -> tuple[Candidate, ...]:
    """Every source that spoke about this feature, the deciding ones first."""
    offer = offers(catalog).get(feature)
    if offer is None:
        return ()
    order = ("decides", "adds", "outranked", "suspended", "lapsed")
    candidates = list(merge(view_of(account, catalog, at), offer)[1])
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
