"""Sources: who speaks about a feature of an account at an instant, and with what right.

Laws: what is bought counts in the version that holds for the account; a plan bought silences the default plan; a
subscription out of standing gives what its ladder step leaves and explains what it withholds; an ended one explains a
denial only until something has taken its place.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.anchors import Anchors
from paygrade.billing.facts import Block, DowngradeGrace, Item, Override
from paygrade.billing.removed import counting_on
from paygrade.billing.returned import NOTHING
from paygrade.billing.returned import units_of as voided_of
from paygrade.billing.standing import Standing, standings
from paygrade.billing.understanding import understood
from paygrade.billing.versions import Counted, Version, counted, quantity_of, unbought
from paygrade.catalog.model import AddOn, Allowance, Catalog, Plan, Setting, Switch, Term, find_bought
from paygrade.catalog.offers import Credit
from paygrade.entitlements.model import Offer, Reason, Source
from paygrade.values.states import NOT_LIVE
from paygrade.values.text import QUANTITY_MAX


class Candidate(Struct, frozen=True):
    """A source that was looked at, and what became of it."""

    source: Source
    verdict: Literal["decides", "adds", "outranked", "suspended", "lapsed"]


class Holding(Struct, frozen=True):
    """A plan or add-on the account has, by whichever way; `standing` None for the default plan."""

    bought: Plan | AddOn
    version: Version
    quantity: int
    standing: Standing | None
    place: int = 0
    """Among what the account has, by when it began."""
    stands_in: bool = False
    """It is what a subscription counts as instead of its own plan."""
    level: str | None = None
    """What `quantity` counts, where that is not what was bought of it: units of this level."""
    removed_until: datetime | None = None
    """Until when a part of it counts that was removed from its subscription; None: nothing was."""


class View(Struct, frozen=True):
    """All that settling one feature needs to know of the account at an instant."""

    terms: dict[str, list[tuple[Term, Holding]]]
    lapsed: dict[str, list[tuple[Term, Holding]]]
    leeways: dict[str, DowngradeGrace]
    overrides: dict[str, Override]
    block: Block | None
    catalog: Catalog
    anchors: Anchors
    at: datetime
    plan: str | None
    pays: bool
    """Whether a plan is paid for."""
    ends: tuple[datetime, ...]


def view_of(account: Account, catalog: Catalog, at: datetime) -> View:
    anchors = Anchors(account, catalog)
    stands = _in_order(standings(account, catalog, at), anchors)
    granting = _granting(account, catalog, stands, at)
    bought_live = any(isinstance(h.bought, Plan) and h.standing is not None and not h.stands_in for h in granting)
    lapsed = [
        holding
        for s in stands
        # An ended subscription explains a denial only as long as nothing has taken its place.
        if s.access != "full" and not (bought_live and s.state in NOT_LIVE)
        for holding in _own(account, s, catalog, at)
    ]
    dated: tuple[Override | Block, ...] = (*account.overrides.values(), *account.blocks.values())
    # A leeway makes up for what a plan change took, and for nothing that a missing payment or a pause did.
    suspended = any(s.access != "full" and s.state not in NOT_LIVE for s in stands)
    leeways = {key: leeway for key, leeway in account.leeways.items() if at < leeway.until and not suspended}
    ends = [s.until for s in stands if s.until] + [d.expires_at for d in dated if d.expires_at and d.expires_at > at]
    ends += [o.starts_at for o in account.overrides.values() if o.starts_at and o.starts_at > at and not o.over(at)]
    ends += [leeway.until for leeway in leeways.values()]
    ends += [until for one in account.invitations(at).values() if (until := one.expires_at) is not None]
    ends += anchors.ends(at)
    dates = [date for holding in (*granting, *lapsed) for date in (holding.version.until, holding.removed_until)]
    ends += [date for date in dates if date is not None]
    standing_blocks = [block for block in account.blocks.values() if block.stands(at)]
    return View(
        terms=_by_feature(granting),
        lapsed=_by_feature(lapsed),
        leeways=leeways,
        overrides={key: o for key, o in account.overrides.items() if o.stands(at)},
        block=standing_blocks[0] if standing_blocks else None,
        catalog=catalog,
        anchors=anchors,
        at=at,
        plan=next((holding.bought.ref for holding in granting if isinstance(holding.bought, Plan)), None),
        pays=bought_live,
        ends=tuple(ends),
    )


def holdings(account: Account, catalog: Catalog, at: datetime) -> tuple[Holding, ...]:
    """What gives something at `at`, in the order in which it counts."""
    stands = _in_order(standings(account, catalog, at), Anchors(account, catalog))
    return tuple(_granting(account, catalog, stands, at))


def versions_had(account: Account, catalog: Catalog, at: datetime) -> tuple[Version, ...]:
    """The versions of all that the account has: what it pays for, and the plans that count without being bought."""
    stands = standings(account, catalog, at)
    had = [h for s in stands if s.state not in NOT_LIVE for h in _own(account, s, catalog, at)]
    had += _granting(account, catalog, stands, at)
    found = {holding.version.ref: holding.version for holding in had}
    return tuple(found[ref] for ref in sorted(found))


def _in_order(stands: tuple[Standing, ...], anchors: Anchors) -> tuple[Standing, ...]:
    """What began first comes first."""
    if len(stands) < 2:
        return stands
    places = {id: place for place, id in enumerate(anchors.in_order({s.subscription.id for s in stands}))}
    return tuple(sorted(stands, key=lambda standing: places[standing.subscription.id]))


def _granting(account: Account, catalog: Catalog, stands: Iterable[Standing], at: datetime) -> list[Holding]:
    """What gives something at the moment; the default plan where no plan does."""
    granting = [h for place, s in enumerate(stands) for h in _granted(account, s, catalog, at, place)]
    default = catalog.default_plan
    if default is not None and not any(isinstance(holding.bought, Plan) for holding in granting):
        plan = unbought(account, catalog, default.key, at)
        granting.append(Holding(plan.bought, plan.version, 1, None))
    return granting


def _granted(account: Account, standing: Standing, catalog: Catalog, at: datetime, place: int) -> list[Holding]:
    """What this subscription gives at the moment: its own plans, the plan that stands in for them, or nothing."""
    own = _own(account, standing, catalog, at, place)
    if standing.plan is None:
        return own if standing.access != "none" else []
    plan = unbought(account, catalog, standing.plan, at)
    quantity = sum(holding.quantity for holding in own if isinstance(holding.bought, Plan))
    return [Holding(plan.bought, plan.version, max(quantity, 1), standing, place, stands_in=True)]


def _own(account: Account, standing: Standing, catalog: Catalog, at: datetime, place: int = 0) -> list[Holding]:
    """What the items buy. Several of one plan or add-on are parts of it, and buy it once."""
    id = standing.subscription.id
    found: dict[str, tuple[Counted, list[Item]]] = {}
    present = understood(account, catalog, id, standing.subscription.items)
    removed = counting_on(account, catalog, standing, present, at)
    for item in (*present, *removed):
        one = counted(account, catalog, id, item, at)
        if one is not None:
            found.setdefault(one.bought.key, (one, []))[1].append(item)
    return [
        Holding(
            one.bought,
            one.version,
            quantity_of(one.bought, items, catalog),
            standing,
            place,
            removed_until=min((its.period_until for its in removed if its in items and its.period_until), default=None),
        )
        for one, items in found.values()
        # An item whose quantity was set to 0 buys nothing.
        if any(item.quantity > 0 for item in items)
    ]


def bought_by(catalog: Catalog, item: Item) -> Plan | AddOn | None:
    return find_bought(catalog, price=item.price, lookup_key=item.lookup_key, product=item.product, plan=item.plan)


def _by_feature(holdings: Sequence[Holding]) -> dict[str, list[tuple[Term, Holding]]]:
    terms: dict[str, list[tuple[Term, Holding]]] = {}
    for holding in holdings:
        for key, term in holding.bought.terms.items():
            level = term.per if isinstance(term, Allowance) else None
            counted_by = holding if level is None else _counted_by(level, holding, holdings)
            terms.setdefault(key, []).append((term, counted_by))
    return terms


def _counted_by(level: str, holding: Holding, holdings: Iterable[Holding]) -> Holding:
    """The same with the units of a level as its quantity: those of its own, and of add-ons of the same subscription.
    A level that is no more, in a version that is kept, leaves what was bought."""
    if level not in holding.bought.terms:
        return holding
    beside = [one for one in holdings if isinstance(one.bought, AddOn) and payer_of(one) == payer_of(holding)]
    terms = [(one.bought.terms.get(level), one) for one in (holding, *beside)]
    units = [units_of(term, one) or 0 for term, one in terms if isinstance(term, Allowance)]
    return replace(holding, quantity=sum(units), level=level)


def payer_of(holding: Holding | None) -> str | None:
    """The subscription that units come from; None: from none."""
    standing = holding.standing if holding is not None else None
    return standing.subscription.id if standing is not None else None


def offers(catalog: Catalog) -> dict[str, Offer]:
    return {**catalog.features, **catalog.credits}


def source_of(term: Term, holding: Holding) -> Source:
    standing = holding.standing
    units, unlimited, value = None, False, None
    match term:
        case Allowance():
            units, unlimited = units_of(term, holding), term.units is None
        case Setting():
            value = term.value
        case Switch():
            value = term.on
    return Source(
        "plan" if isinstance(holding.bought, Plan) else "add_on",
        allowed_reason(holding),
        plan=holding.bought.ref,
        subscription=standing.subscription.id if standing else None,
        state=standing.state if standing else None,
        units=units,
        unlimited=unlimited,
        value=value,
        note=_note(term, holding),
        until=_until(holding),
    )


def _note(term: Term, holding: Holding) -> str:
    """What there is to say of it: why it has so many units, how its subscription stands."""
    note = holding.standing.note if holding.standing is not None else ""
    if holding.removed_until is not None:
        removed = (
            f"removed at the provider, and counts until {holding.removed_until:%Y-%m-%d %H:%M} UTC, as it was paid"
        )
        note = f"{note}; {removed}" if note else removed
    if not isinstance(term, Allowance) or term.adds or term.units is None or (term.units == 1 and term.per is None):
        return note
    if not term.by_quantity:
        return note
    each = f"{term.units} for each of {holding.quantity} {f'`{holding.level}`' if holding.level else 'bought'}"
    return f"{each}; {note}" if note else each


def _until(holding: Holding) -> datetime | None:
    """When dates change it: those of its subscription, or of what holds it to a version."""
    stands_until = holding.standing.until if holding.standing is not None else None
    dates = (stands_until, holding.version.until, holding.removed_until)
    return min((date for date in dates if date is not None), default=None)


def allowed_reason(holding: Holding) -> Reason:
    standing = holding.standing
    if standing is None or holding.stands_in:
        return "plan"
    if standing.state == "trialing":
        return "trial"
    if standing.state != "active":
        return "grace"
    return "plan" if isinstance(holding.bought, Plan) else "add_on"


def closed_sources(view: View, offer: Offer, offered: list[tuple[Term, Holding]]) -> tuple[Candidate, ...]:
    """What would give this feature but for the standing of its subscription, the most curable first."""
    shut = [pair for pair in offered if not opens(pair[1], offer)]
    shut += [pair for pair in view.lapsed.get(offer.key, ()) if gives(pair[0]) and not opens(pair[1], offer)]
    found: dict[tuple[str, str | None, str | None], Candidate] = {}
    for term, holding in shut:
        standing = holding.standing
        if standing is None:
            continue
        source = replace(source_of(term, holding), reason=_denied_reason(standing))
        verdict: Literal["lapsed", "suspended"] = "lapsed" if standing.state in NOT_LIVE else "suspended"
        found[(source.kind, source.plan, source.subscription)] = Candidate(source, verdict)
    return tuple(sorted(found.values(), key=lambda candidate: _CLOSED_ORDER.index(candidate.source.reason)))


def _denied_reason(standing: Standing) -> Reason:
    subscription = standing.subscription
    match standing.state:
        case "past_due" | "unpaid":
            return standing.state
        case "paused" | "canceled":
            ended_by_date = subscription.status == "trialing" and (
                subscription.ends_at is None or subscription.ends_at == subscription.trial_ends_at
            )
            return "trial_ended" if subscription.trial_ran_out or ended_by_date else standing.state
        case _:
            return "no_subscription"


_CLOSED_ORDER: tuple[Reason, ...] = ("past_due", "unpaid", "paused", "trial_ended", "canceled", "no_subscription")


def opens(holding: Holding, offer: Offer) -> bool:
    """Whether the standing of what was bought lets this feature through. Read access also allows export."""
    standing = holding.standing
    if standing is None or holding.stands_in or standing.access == "full":
        return True
    if standing.access == "none" or standing.plan is not None or isinstance(offer, Credit):
        return False
    return offer.access in ("read", "export")


def gives(term: Term) -> bool:
    return not isinstance(term, Switch) or term.on


def units_of(term: Allowance, holding: Holding) -> int | None:
    """How many units a term gives; None: as many as anyone likes. Of absurd quantities, as many as can be told."""
    if term.units is None:
        return None
    units = min(term.units * holding.quantity, QUANTITY_MAX) if term.by_quantity else term.units
    outcome = holding.standing.outcome if holding.standing is not None else NOTHING
    return units - voided_of(units, outcome.voided, paid=outcome.paid) if outcome.voided and _renews(term) else units


def _renews(term: Allowance) -> bool:
    """Whether its units are given for each window: what is held, or given once for good, came of no one payment."""
    return term.rolling_s is not None or (term.recurrence is not None and term.recurrence.every != "lifetime")
