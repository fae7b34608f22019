"""The versions of what an account had are what it had."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.past import Learned, account_at, moments
from paygrade.catalog.model import NO_CATALOG
from paygrade.entitlements.history import Change, Had, boundaries, changes_after, had_at
from support.samples import CATALOG, T0, fact_lists, instants

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
END = T0 + 365 * DAY
GENEROUS = replace(
    CATALOG,
    version=8,
    plans={**CATALOG.plans, "free": replace(CATALOG.plans["free"], version=2, terms=CATALOG.plans["pro"].terms)},
)
PUBLISHED = ((T0 - 20 * DAY, CATALOG.version), (T0 + 9 * DAY, GENEROUS.version))
CATALOGS = {one.version: one for one in (NO_CATALOG, CATALOG, GENEROUS)}


@st.composite
def years(draw: st.DrawFn) -> list[Learned]:
    """Facts over a year, some told of by events and recorded late."""
    found, at = list[Learned](), T0 - 30 * DAY
    for fact in draw(fact_lists()):
        happened_at = at + draw(st.integers(0, 30)) * DAY
        at = happened_at + draw(st.integers(0, 40)) * HOUR
        known = {"happened_at": happened_at} if draw(st.booleans()) else {}
        found.append(Learned(replace(fact, as_of=at, **known), at + draw(st.integers(0, 1)) * HOUR))
    return found


def changes_of(year: list[Learned], *, believed: bool) -> list[Change]:
    found = list(boundaries(moments("acme", year, believed=believed), PUBLISHED, "acme"))
    return [
        change
        for n, boundary in enumerate(found)
        for change in changes_after(
            boundary, found[n - 1] if n else None, CATALOGS, until=found[n + 1].since if n + 1 < len(found) else END
        )
    ]


def in_force(at: datetime) -> int:
    return max([version for since, version in PUBLISHED if since <= at], default=0)


@given(years(), st.booleans(), st.lists(instants, max_size=5))
def test_the_changes_up_to_an_instant_are_what_was_had_then(
    year: list[Learned], believed: bool, instants: list[datetime]
) -> None:
    changes = changes_of(year, believed=believed)
    assert [change.at for change in changes] == sorted({change.at for change in changes})
    around = [change.at + off for change in changes for off in (-HOUR, timedelta(microseconds=-1), timedelta(), HOUR)]
    for at in sorted({*around, *instants, T0 + 300 * DAY}):
        told = dict[str, Had]()
        for delta in (delta for change in changes if change.at <= at for delta in change.deltas):
            assert told.pop(delta.feature, None) == delta.before
            told |= {} if delta.after is None else {delta.feature: delta.after}
        assert told == had_at(account_at("acme", year, at, believed=believed), CATALOGS[in_force(at)], at), at


@given(years(), st.booleans())
def test_each_change_says_whose_word_brought_it_about(year: list[Learned], believed: bool) -> None:
    for change in changes_of(year, believed=believed):
        published = change.at in {since for since, _ in PUBLISHED}
        assert (change.by == "catalog") == (published and not change.facts)
        assert (change.by == "date") == (not published and not change.facts)
        assert change.deltas
