"""History: the versions of what an account had, each with what it changed and what brought that about.

Laws: the deltas up to an instant, put together, are what was had then; a version begins where something differs and
nowhere else (windows that turn change nothing that is had); it follows from facts, catalogs and dates alone, so it is
read, and stored nowhere (ADR 40).
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Customer, Departed, Fact, ManualSubscription
from paygrade.billing.past import Moment
from paygrade.catalog.model import NO_CATALOG, Catalog
from paygrade.entitlements.derive import derive
from paygrade.entitlements.model import Reason
from paygrade.entitlements.sources import view_of
from paygrade.values.periods import soonest

DATES_MAX = 200
"""How many dates are followed between two facts. What comes of any further ones shows with the next fact."""
INSTANT = timedelta(microseconds=1)

By = Literal["billing", "operator", "plan_change", "migration", "catalog", "date"]


class Had(Struct, frozen=True, omit_defaults=True):
    """What was had of one feature, before counting. `limit` None: nothing was counted, or it was `unlimited`."""

    granted: bool
    reason: Reason
    plan: str | None = None
    value: bool | int | str | None = None
    limit: int | None = None
    unlimited: bool = False


class EntitlementDelta(Struct, frozen=True):
    """What a version changes of one feature. `before` or `after` None: it was not known then."""

    feature: str
    how: Literal["gained", "lost", "changed"]
    before: Had | None
    after: Had | None


class Boundary(Struct, frozen=True):
    """An instant from which other facts hold, or another version of the catalog; `published`: that began with it."""

    since: datetime
    account: Account
    catalog: int
    facts: tuple[Fact, ...] = ()
    published: bool = False


class Change(Struct, frozen=True):
    """Where what was had became something else, and by what: facts that began to hold, a catalog, or else a date."""

    at: datetime
    by: By
    facts: tuple[Fact, ...]
    catalog_version: int
    deltas: tuple[EntitlementDelta, ...]


def had_at(account: Account, catalog: Catalog, at: datetime) -> dict[str, Had]:
    """What the account had of each feature and credit."""
    if not account.exists:
        return {}
    return {
        key: Had(its.granted, its.reason, its.plan, its.value, its.limit, its.unlimited)
        for key, its in derive(account, catalog, account.time(at)).entitlements.items()
    }


def changes_after(
    boundary: Boundary, before: Boundary | None, catalogs: Mapping[int, Catalog], *, until: datetime
) -> list[Change]:
    """What changed in `[boundary.since, until)`, the earliest first. `before` is the boundary it took the place of."""
    account, catalog, at = boundary.account, catalogs[boundary.catalog], boundary.since
    had = had_at(before.account, catalogs[before.catalog], at - INSTANT) if before is not None else {}
    found = list[Change]()
    for instant in (at, *_dates(account, catalog, at, until)):
        has = had_at(account, catalog, instant)
        deltas = tuple(deltas_of(had, has))
        if deltas:
            facts = boundary.facts if instant == at else ()
            by = _by(facts) if facts else "catalog" if instant == at and boundary.published else "date"
            found.append(Change(instant, by, facts, catalog.version, deltas))
        had = has
    return found


def deltas_of(before: Mapping[str, Had], after: Mapping[str, Had]) -> Iterator[EntitlementDelta]:
    """Each feature of which something else is had."""
    for feature in sorted({*before, *after}):
        had, has = before.get(feature), after.get(feature)
        if had == has:
            continue
        was, now = had is not None and had.granted, has is not None and has.granted
        yield EntitlementDelta(feature, "changed" if was == now else "gained" if now else "lost", had, has)


def boundaries(found: Iterable[Moment], published: Iterable[tuple[datetime, int]], key: str) -> Iterator[Boundary]:
    """Where facts or catalogs change, the earliest first. `published`: when which version was, in that order."""
    account, catalog, waiting = Account(key=key), NO_CATALOG.version, [*published][::-1]
    for moment in found:
        while waiting and waiting[-1][0] < moment.since:
            at, catalog = waiting.pop()
            yield Boundary(at, account, catalog, published=True)
        anew = bool(waiting) and waiting[-1][0] == moment.since
        while waiting and waiting[-1][0] == moment.since:
            _, catalog = waiting.pop()
        account = moment.account
        yield Boundary(moment.since, account, catalog, moment.facts, published=anew)
    for at, catalog in reversed(waiting):
        yield Boundary(at, account, catalog, published=True)


def _dates(account: Account, catalog: Catalog, since: datetime, until: datetime) -> Iterator[datetime]:
    """The dates that may change what is had, in `(since, until)`; a test clock stands still until it is read again."""
    if account.clock_at is not None or not account.exists:
        return
    date = soonest(view_of(account, catalog, since).ends, since)
    for _ in range(DATES_MAX):
        if date is None or date >= until:
            return
        yield date
        date = soonest(view_of(account, catalog, date).ends, date)


def _by(facts: Iterable[Fact]) -> By:
    """Whose word brought it about; of several, the provider's."""
    words = {_word(fact) for fact in facts}
    order: tuple[By, ...] = ("plan_change", "migration", "billing", "operator")
    return next(word for word in order if word in words)


def _word(fact: Fact) -> By:
    if any(cause.startswith("chg_") for cause in fact.cause):
        return "plan_change"
    if any(cause.startswith("migration ") for cause in fact.cause):
        return "migration"
    return "billing" if isinstance(fact.body, Customer | Departed | ManualSubscription) else "operator"
