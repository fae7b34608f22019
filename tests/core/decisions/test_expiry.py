"""When a decision ends by itself."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Override
from paygrade.catalog.offers import Cap
from paygrade.decisions.decide import decide
from paygrade.decisions.expiry import holds_until
from paygrade.decisions.snapshots import Snapshot
from paygrade.decisions.take import snapshot, snapshot_of
from paygrade.entitlements.model import Entitlement, Segment
from paygrade.entitlements.sources import offers
from paygrade.usage.balances import Balance, Detail, Grant, Hold, Tally, cap_slot, slot_of
from paygrade.values.periods import Recurrence
from support.samples import CATALOG, T0, account_with, accounts, instants, operator_fact

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
keys = st.sampled_from([*offers(CATALOG), "no_such_feature"])
counts = st.integers(0, 2000)


@st.composite
def details(draw: st.DrawFn, at: datetime, window: datetime | None) -> Detail:
    """What a balance may have that ends: grants, units held, a rolling window's buckets."""
    soon = st.timedeltas(timedelta(hours=-2), timedelta(days=40)).map(lambda later: at + later)
    units = draw(st.integers(1, 50))
    begins, ends, held = draw(soon), draw(soon | st.none()), draw(soon)
    grants = (Grant("g", "purchase", units, begins, ends),) if ends is None or begins < ends else ()
    buckets = draw(st.lists(st.integers(0, 3600), max_size=4, unique=True).map(sorted))
    rolling = tuple((int(at.timestamp()) - ago, 5) for ago in reversed(buckets))
    tallies = {"rolling 3600s": Tally(5 * len(rolling), 0, rolling)}
    return Detail(grants, (Hold(held, slot_of(window), draw(st.integers(0, 5))),), tallies)


@st.composite
def held(draw: st.DrawFn) -> tuple[Snapshot, str, datetime]:
    """A snapshot with balances of all kinds, and what is asked of it."""
    account: Account = draw(accounts)
    at, feature = draw(instants), draw(keys)
    found = snapshot(account, CATALOG, at)
    its = found.segments[0].entitlements.get(feature) if found.segments else None
    if its is None:
        return found, feature, at
    pool = its.credit or feature
    window = found.segments[0].entitlements[pool].from_at
    detail = draw(details(at, window))
    reserved = sum(hold.units for hold in detail.holds)
    balance = Balance(draw(counts), reserved, window, draw(st.sampled_from([None, detail])))
    return replace(found, balances={pool: balance}), feature, at


@given(held(), st.integers(0, 999))
def test_until_its_end_a_decision_reads_the_same_and_from_then_on_it_does_not(
    asked: tuple[Snapshot, str, datetime], thousandths: int
) -> None:
    found, feature, at = asked
    until = holds_until(found, feature, at)
    assert at < until <= found.until
    now = decide(found, feature, 1, at)
    assert decide(found, feature, 1, at + (until - at) * thousandths / 1000) == now
    assert decide(found, feature, 1, until - timedelta(microseconds=1)) == now
    assert until == found.until or decide(found, feature, 1, until) != now


def test_what_an_override_allows_for_three_days_ends_then() -> None:
    ends = Override("editor", value=True, expires_at=T0 + 3 * DAY)
    found = snapshot(account_with(facts=(operator_fact("override:editor", ends),)), CATALOG, T0)
    assert holds_until(found, "editor", T0) == T0 + 3 * DAY
    assert holds_until(found, "exports", T0) == found.until > T0 + 3 * DAY


SECOND = int(T0.timestamp())
BESIDE: list[tuple[dict[str, Any], int, Detail, timedelta]] = [
    ({}, 0, Detail((Grant("gr", "promotion", 10, T0 - DAY, T0 + DAY),)), DAY),
    ({}, 0, Detail((Grant("gr", "promotion", 10, T0 + DAY),)), DAY),
    ({}, 5, Detail(holds=(Hold(T0 + 2 * MINUTE, "lifetime", 5),)), 2 * MINUTE),
    ({"caps": (Cap(1, Recurrence("hour")),)}, 0, Detail(tallies={cap_slot(Recurrence("hour"), T0, T0)[0]: Tally(1)}),
     timedelta(hours=1)),
    ({"rolling_s": 60}, 0, Detail(tallies={"rolling 60s": Tally(3, 0, ((SECOND - 90, 1), (SECOND - 20, 2)))}),
     timedelta(seconds=41)),
]  # fmt: skip
"""What beside its entitlement a decision rests on, how many units are held, and when that changes."""


@pytest.mark.parametrize(("fields", "reserved", "detail", "later"), BESIDE)
def test_grants_holds_and_shorter_windows_end_it_too(
    fields: dict[str, Any], reserved: int, detail: Detail, later: timedelta
) -> None:
    its = Entitlement("api_calls", "metered", True, "plan", limit=100, plain=False, anchor_at=T0, **fields)
    segment = Segment(T0, T0 + 30 * DAY, {"api_calls": its})
    balances = {"api_calls": Balance(0, reserved, None, detail)}
    found = snapshot_of("acme", "1.1", T0, T0 + 30 * DAY, [segment], balances)
    assert holds_until(found, "api_calls", T0) == T0 + later
