"""The ledger's laws: what is drawn adds up, burn order is total, rounding never depends on how usage is cut."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from paygrade.catalog.offers import Carry, Rate
from paygrade.decisions.decide import decide
from paygrade.decisions.snapshots import Snapshot
from paygrade.decisions.take import snapshot_of
from paygrade.entitlements.model import Entitlement, Segment
from paygrade.usage.balances import (
    BOUGHT,
    Balance,
    Detail,
    Grant,
    Hold,
    Row,
    Slot,
    SlotDetail,
    Tally,
    assemble,
    burn_order,
    carried_slot,
    expire_holds,
    member_slot,
    parse_slot,
    put,
    rolled,
    rolling_slot,
    share,
    slot_of,
)
from paygrade.usage.entries import Held, Posting
from paygrade.usage.history import Drawn, burn_down, fold, post
from paygrade.usage.ledger import (
    Edge,
    asleep,
    carried_over,
    commit,
    committed_price,
    edges,
    grants_of,
    hold,
    release,
    spend,
)
from paygrade.usage.prices import exact_price, rate_of

T0 = datetime(2026, 11, 1, tzinfo=UTC)
T1 = datetime(2026, 12, 1, tzinfo=UTC)
AT = T0 + timedelta(days=3)
SLOT = "2026-11-01T00:00:00Z"
instants = st.integers(-40 * 86400, 40 * 86400).map(lambda seconds: T0 + timedelta(seconds=seconds))


def calls(limit: int | None = 100, **more: Any) -> Entitlement:
    its = Entitlement("calls", "metered", True, "plan", limit=limit, from_at=T0, resets_at=T1, unlimited=limit is None)
    return replace(its, **more)


def credits(limit: int = 50) -> dict[str, Entitlement]:
    pool = Entitlement("credits", "credit", True, "plan", limit=limit, from_at=T0, resets_at=T1)
    tokens = Entitlement(
        "tokens", "metered", True, "credit", limit=limit, credit="credits", rate=1, per=3, from_at=T0, resets_at=T1,
        property="model", rates={"large": Rate(5, 7)}, plain=False,
    )  # fmt: skip
    return {"credits": pool, "tokens": tokens}


class Counted:
    """Rows that postings are made on, and the balances they come to."""

    def __init__(self, its: dict[str, Entitlement], rows: dict[tuple[str, str], Row] | None = None) -> None:
        self.its, self.rows, self.grants = its, dict(rows or {}), list[Grant]()

    def post(self, postings: tuple[Posting, ...], at: datetime = AT) -> None:
        for posting, row in post(postings, at, lambda p: self.rows.get((p.pool, p.slot), Row())):
            self.rows[posting.pool, posting.slot] = row

    @property
    def balances(self) -> dict[str, Balance]:
        return {
            pool: assemble(
                {slot: row for (of, slot), row in self.rows.items() if of == pool},
                its.from_at,
                grants=[self.spent(grant) for grant in self.grants],
            )
            for pool, its in self.its.items()
        }

    def spent(self, grant: Grant) -> Grant:
        row = next((row for (_, slot), row in self.rows.items() if slot == grant.slot), Row())
        return replace(grant, used=row.used, reserved=row.reserved)


def snapshot(entitlements: dict[str, Entitlement], balances: dict[str, Balance]) -> Snapshot:
    return snapshot_of("acme", "1.1", T0, T1, [Segment(T0, T1, entitlements)], balances)


@st.composite
def grants(draw: st.DrawFn) -> Grant:
    begins = draw(instants)
    units = draw(st.integers(0, 60))
    used = draw(st.integers(0, units))
    reserved = draw(st.integers(0, units - used))
    return Grant(
        id=draw(st.text("abc", min_size=1, max_size=3)),
        kind=draw(st.sampled_from(["purchase", "top_up", "promotion"])),
        units=units,
        from_at=begins,
        until=draw(st.none() | st.just(begins + timedelta(days=draw(st.integers(0, 60))))),
        priority=draw(st.integers(0, 3)),
        used=used,
        reserved=reserved,
        voided=draw(st.integers(0, units - used - reserved)),
    )


@given(grants(), instants)
def test_a_grant_is_available_reserved_consumed_expired_and_voided_and_nothing_else(grant: Grant, at: datetime) -> None:
    found = share(grant, at)
    assert found.available is not None
    assert found.granted == found.available + found.reserved + found.consumed + found.expired + found.voided
    assert min(found.available, found.expired) == 0


def test_a_rolling_window_that_has_room_again_is_spent_before_a_grant_of_lower_rank() -> None:
    its = {"calls": calls(6, from_at=None, resets_at=None, rolling_s=60, plain=False)}
    counted = Counted(its, {("calls", "lifetime"): Row(100)})
    counted.grants = [Grant("g", "purchase", 10, T0, priority=90)]
    assert spend(its, counted.balances, "calls", 6, AT)[0] == Posting("calls", "lifetime", 6)
    counted.post(spend(its, counted.balances, "calls", 6, AT))
    assert spend(its, counted.balances, "calls", 6, AT)[0] == Posting("calls", "grant:g", 6)
    later = AT + timedelta(minutes=2)
    assert spend(its, counted.balances, "calls", 6, later)[0] == Posting("calls", "lifetime", 6)


@given(st.lists(grants(), unique_by=lambda grant: grant.id), instants)
def test_burn_order_is_total_by_priority_then_expiry_then_id(found: list[Grant], at: datetime) -> None:
    ordered = grants_of(calls(), Balance(0, from_at=T0, detail=Detail(grants=tuple(found))), at)
    assert ordered == grants_of(calls(), Balance(0, from_at=T0, detail=Detail(grants=tuple(reversed(found)))), at)
    for one, other in pairwise(ordered):
        assert burn_order(one) < burn_order(other)


@given(
    st.lists(grants(), unique_by=lambda grant: grant.id),
    st.integers(0, 80),
    st.integers(0, 40),
    st.integers(1, 400),
    st.booleans(),
)
def test_what_is_allowed_is_drawn_from_units_that_are_there(
    found: list[Grant], used: int, reserved: int, quantity: int, sleeps: bool
) -> None:
    its = {"calls": calls(40, asleep=sleeps)}
    balances = {"calls": Balance(used, reserved, T0, Detail(grants=tuple(found)))}
    decision = decide(snapshot(its, balances), "calls", quantity, AT)
    room = sum(grant.left for grant in grants_of(its["calls"], balances["calls"], AT))
    assert decision.remaining == room
    assert decision.limit is not None
    assert decision.used is not None
    assert decision.reserved is not None
    assert decision.allowed == (quantity <= room) == (decision.used + decision.reserved + quantity <= decision.limit)
    draws = spend(its, balances, "calls", quantity, AT)
    assert sum(draw.used for draw in draws) == quantity
    if decision.allowed:
        left = {
            (g.id if g.kind == "window" else g.slot): g.left for g in grants_of(its["calls"], balances["calls"], AT)
        }
        assert all(draw.used <= left[draw.slot] for draw in draws)


@given(st.lists(grants(), unique_by=lambda grant: grant.id), instants)
def test_what_sleeps_is_bought_and_available_and_wakes_as_it_was(found: list[Grant], at: datetime) -> None:
    balance = Balance(0, from_at=T0, detail=Detail(grants=tuple(found)))
    awake, sleeping = (grants_of(calls(asleep=sleeps), balance, at) for sleeps in (False, True))
    slept = asleep(calls(asleep=True), balance, at)
    assert asleep(calls(), balance, at) == []
    assert sorted((*sleeping, *slept), key=burn_order) == awake
    assert all(grant.kind in BOUGHT and share(grant, at).available == grant.left for grant in slept)
    assert not any(grant.kind in BOUGHT for grant in sleeping)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.sampled_from([None, "large", "unheard of"])), min_size=1, max_size=30),
    st.data(),
)
def test_a_price_in_credits_does_not_depend_on_how_usage_is_cut(
    uses: list[tuple[int, str | None]], data: st.DataObject
) -> None:
    its = credits()
    exact = sum((Fraction(n * 5, 7) if model == "large" else Fraction(n, 3) for n, model in uses), Fraction(0))
    pieces = []
    for quantity, model in uses:
        cut = data.draw(st.integers(0, quantity))
        pieces += [(cut, model), (quantity - cut, model)]
    for way in (uses, pieces, list(reversed(uses))):
        counted, entries = Counted(its), []
        for quantity, model in way:
            how = {"model": model} if model else None
            spent = spend(its, counted.balances, "tokens", quantity, AT, properties=how)
            counted.post(spent)
            entries.append(Drawn(AT, spent))
        assert counted.balances["credits"].used == ceil(exact)
        assert fold(entries) == counted.rows
        ahead = counted.balances["tokens"].detail or Detail()
        assert Fraction(*ahead.ahead) == ceil(exact) - exact


@given(st.lists(st.integers(0, 40), max_size=6), st.integers(1, 90), st.integers(0, 2), st.integers(1, 6))
def test_commits_of_a_reservation_never_take_more_than_it_holds(
    pieces: list[int], quantity: int, ahead: int, den: int
) -> None:
    its, paid = credits(1000), Fraction(ahead % den, den)
    detail = SlotDetail(ahead=(paid.numerator, paid.denominator)) if paid else None
    counted = Counted(its, {("tokens", SLOT): Row(detail=detail)})
    draws, held = hold(its, counted.balances, "tokens", quantity, AT)
    set_aside = held.credits
    counted.post(draws)
    assert counted.balances["credits"].reserved == set_aside
    for piece in pieces:
        if piece > held.units:
            continue
        cost = committed_price(its["tokens"], counted.balances["tokens"], held, piece, None)
        draws, held = commit(held, piece, cost=cost, exact=str(exact_price(its["tokens"], piece, None)))
        counted.post(draws)
    counted.post(release(held))
    assert counted.balances["credits"].reserved == 0
    assert counted.balances["tokens"].reserved == 0
    assert 0 <= counted.balances["credits"].used <= set_aside
    # What is paid is what it costs, less what was paid ahead before and more what is now.
    left = counted.balances["tokens"].detail or Detail()
    price = exact_price(its["tokens"], counted.balances["tokens"].used, None)
    assert counted.balances["credits"].used == price - paid + Fraction(*left.ahead)


@given(st.integers(0, 100), st.integers(1, 50), st.integers(1, 50))
def test_what_a_reservation_held_is_free_again_on_the_instant_it_expires(used: int, units: int, seconds: int) -> None:
    until = AT + timedelta(seconds=seconds)
    balance = Balance(used, units, T0, Detail(holds=(Hold(until, SLOT, units),)))
    assert expire_holds(balance, until - timedelta(microseconds=1)).reserved == units
    assert expire_holds(balance, until).reserved == 0
    its = {"calls": calls(used + units)}
    assert not decide(snapshot(its, {"calls": balance}), "calls", 1, AT).allowed
    assert decide(snapshot(its, {"calls": balance}), "calls", units, until).allowed


@given(st.lists(st.tuples(st.integers(0, 7200), st.integers(1, 9)), max_size=40), st.sampled_from([60, 61, 3600]))
def test_a_rolling_window_never_counts_less_than_was_used_in_it(uses: list[tuple[int, int]], length_s: int) -> None:
    tally = Tally()
    seen: list[tuple[int, int]] = []
    for second, units in sorted(uses):
        at = T0 + timedelta(seconds=second)
        tally = replace(tally, buckets=put(tally.buckets, units, length_s, at))
        seen.append((second, units))
        assert rolled(tally, length_s, at) >= sum(n for s, n in seen if s > second - length_s)


@given(
    st.lists(st.tuples(st.integers(0, 7200), st.integers(1, 9), st.booleans()), max_size=40),
    st.sampled_from([60, 61, 3600]),
    st.data(),
)
def test_what_is_taken_back_of_a_rolling_window_is_not_taken_back_once_more_when_it_leaves(
    steps: list[tuple[int, int, bool]], length_s: int, data: st.DataObject
) -> None:
    tally, seen = Tally(), list[list[int]]()
    for second, units, takes_back in sorted(steps):
        at, before = T0 + timedelta(seconds=second), rolled(tally, length_s, T0 + timedelta(seconds=second))
        lately = [use for use in seen if use[0] > second - length_s]
        if takes_back and lately:
            use = data.draw(st.sampled_from(lately))
            units, use[1] = use[1], 0
            tally = replace(tally, buckets=put(tally.buckets, -units, length_s, at))
            assert rolled(tally, length_s, at) == max(0, before - units)
        else:
            tally = replace(tally, buckets=put(tally.buckets, units, length_s, at))
            seen.append([second, units])
        assert rolled(tally, length_s, at) >= sum(n for s, n in seen if s > second - length_s)


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000), st.fractions(0, 1))
def test_carrying_over_a_plan_change_stays_between_nothing_and_what_was_used(
    used: int, before: int, after_units: int, elapsed: Fraction
) -> None:
    assert carried_over(used, "keep", units_before=before, units_after=after_units) == 0
    assert used + carried_over(used, "reset", units_before=before, units_after=after_units) == 0
    converted = used + carried_over(used, "convert", units_before=before, units_after=after_units)
    share = Fraction(used * after_units, before) if before else Fraction(0)
    assert abs(converted - share) < 1
    prorated = carried_over(used, "prorate", units_before=before, units_after=after_units, elapsed=elapsed)
    # What can be used in all of this window: the old units for the part that is over, the new ones for the rest.
    assert abs(after_units - prorated - (before * elapsed + after_units * (1 - elapsed))) < 1


@given(
    st.sampled_from(["keep", "convert", "prorate"]),
    st.integers(0, 1000),
    st.integers(1, 1000),
    st.integers(1, 1000),
    st.lists(st.fractions(0, 1), min_size=3, max_size=3).map(sorted),
)
def test_up_and_down_and_up_again_never_leaves_more_than_up_once(
    how: Carry, used: int, low: int, more: int, elapsed: list[Fraction]
) -> None:
    high = low + more
    once = used + carried_over(used, how, units_before=low, units_after=high, elapsed=elapsed[0])
    counted = used
    for (before, after_units), part in zip([(low, high), (high, low), (low, high)], elapsed, strict=True):
        counted += carried_over(counted, how, units_before=before, units_after=after_units, elapsed=part)
    assert high - counted <= high - once


def test_a_threshold_is_passed_upwards_and_downwards_once() -> None:
    assert [edge.percent for edge in edges((80,), (79, 100), (100, 100))] == [80, 100]
    assert edges((80,), (80, 100), (99, 100)) == ()
    assert edges((80,), (100, 100), (50, 100)) == (Edge(80, resolved=True), Edge(100, resolved=True))
    assert edges((80,), (0, None), (100, None)) == ()
    assert edges((80,), (90, 100), (90, 200)) == (Edge(80, resolved=True),), "a higher limit lifts it"


def test_a_balance_burns_down_in_stretches_of_one_slot() -> None:
    day = timedelta(days=1)
    entries = [
        (AT, Posting("calls", SLOT, 5)),
        (AT + day, Posting("calls", SLOT, 5)),
        (AT + 2 * day, Posting("calls", "grant:g", 2)),
    ]
    assert [(s.slot, s.units, s.until - s.from_at) for s in burn_down(entries)] == [
        (SLOT, 10, day),
        ("grant:g", 2, timedelta()),
    ]


SLOTS = {
    SLOT: Slot("window", at=T0),
    "lifetime": Slot("window"),
    f"carried {SLOT}": Slot("carried", at=T0),
    f"{SLOT} member:ann or bob": Slot("member", "ann or bob", T0),
    "lifetime member:ann": Slot("member", "ann"),
    "hour 2026-11-01T13:00:00Z": Slot("cap", "hour", T0 + timedelta(hours=13)),
    "36000s 2026-11-01T00:00:00Z": Slot("cap", "36000s", T0),
    "rolling 60s": Slot("rolling", "60s"),
    "grant:rolling 60s": Slot("grant", "rolling 60s"),
}


@pytest.mark.parametrize(("stored", "slot"), SLOTS.items())
def test_a_slot_is_what_its_stored_name_says(stored: str, slot: Slot) -> None:
    assert parse_slot(stored) == slot
    match slot.kind:
        case "window":
            assert slot_of(slot.at) == stored
        case "carried":
            assert carried_slot(slot.at) == stored
        case "member":
            assert member_slot(slot.at, slot.name) == stored
        case "rolling":
            assert rolling_slot(slot.length_s) == stored
        case "grant":
            assert Grant(slot.name, "purchase", 1, T0).slot == stored


@pytest.mark.parametrize("slot", [*SLOTS, "2026-10-01T00:00:00Z", "carried 2026-10-01T00:00:00Z"])
def test_what_a_hold_lets_go_of_is_its_own_slot_alone(slot: str) -> None:
    grant, other = Grant("rolling 60s", "purchase", 9, T0, reserved=3), Tally(7, 7)
    tallies = {"other": other} | {each: Tally(2, 3) for each, its in SLOTS.items() if not its.pays}
    whole = Detail((grant,), (), tallies, Tally(4, 3))
    holding = Balance(1, 3, T0, replace(whole, holds=(Hold(AT, slot, 3),)))
    ended = expire_holds(holding, AT)
    assert ended.detail is not None
    detail = ended.detail
    reserved = {SLOT: ended.reserved, f"carried {SLOT}": detail.carried.reserved, grant.slot: detail.grants[0].reserved}
    reserved |= {each: tally.reserved for each, tally in detail.tallies.items()}
    assert reserved.pop("other") == 7
    assert reserved == {each: 0 if each == slot else 3 for each in reserved}
    assert (ended.used, detail.carried.used, detail.holds) == (1, 4, ())


class Pool(RuleBasedStateMachine):
    """One pool under every verb: never over the limit, and every balance the sum of its draws."""

    @initialize(limit=st.integers(0, 40))
    def begin(self, limit: int) -> None:
        self.its = {"calls": calls(limit)}
        self.counted = Counted(self.its)
        self.drawn: dict[tuple[str, str], list[int]] = {}
        self.open: list[Held] = []
        self.granted = 0
        self.allowed = 0

    @property
    def balances(self) -> dict[str, Balance]:
        return self.counted.balances

    def draw(self, draws: tuple[Posting, ...]) -> None:
        self.counted.post(draws)
        for draw in draws:
            sums = self.drawn.setdefault((draw.pool, draw.slot), [0, 0])
            sums[0] += draw.used
            sums[1] += draw.reserved

    @rule(quantity=st.integers(1, 9))
    def consume(self, quantity: int) -> None:
        if decide(snapshot(self.its, self.balances), "calls", quantity, AT):
            self.draw(spend(self.its, self.balances, "calls", quantity, AT))
            self.allowed += quantity

    @rule(quantity=st.integers(1, 9))
    def reserve(self, quantity: int) -> None:
        if decide(snapshot(self.its, self.balances), "calls", quantity, AT):
            draws, held = hold(self.its, self.balances, "calls", quantity, AT)
            self.draw(draws)
            self.open.append(held)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def resolve(self, data: st.DataObject) -> None:
        held = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        quantity = data.draw(st.integers(0, held.units))
        draws, rest = commit(held, quantity, cost=quantity)
        self.draw(draws)
        self.allowed += quantity
        if data.draw(st.booleans()):
            self.draw(release(rest))
        elif rest.units:
            self.open.append(rest)

    @rule(units=st.integers(1, 20), priority=st.integers(0, 100))
    def grant(self, units: int, priority: int) -> None:
        self.counted.grants.append(Grant(f"g{self.granted}", "purchase", units, T0, None, priority))
        self.granted += 1

    @invariant()
    def nothing_is_over_its_limit(self) -> None:
        if not hasattr(self, "counted"):
            return
        balance = self.balances["calls"]
        assert balance.used + balance.reserved <= (self.its["calls"].limit or 0)
        for grant in balance.detail.grants if balance.detail else ():
            assert grant.used + grant.reserved <= (grant.units or 0)
            assert min(grant.used, grant.reserved) >= 0

    @invariant()
    def balances_are_the_sums_of_their_draws(self) -> None:
        if not hasattr(self, "counted"):
            return
        balance = self.balances["calls"]
        found = {("calls", SLOT): [balance.used, balance.reserved]}
        for grant in balance.detail.grants if balance.detail else ():
            found["calls", grant.slot] = [grant.used, grant.reserved]
        assert {key: sums for key, sums in found.items() if sums != [0, 0]} == {
            key: sums for key, sums in self.drawn.items() if sums != [0, 0]
        }
        assert sum(sums[0] for sums in self.drawn.values()) == self.allowed


TestPool = Pool.TestCase


@pytest.mark.parametrize(
    ("value", "rate"),
    [("large", (5, 7)), (True, (2, 1)), ("true", (2, 1)), (4, (3, 1)), (4.0, (3, 1)), (False, (1, 3)), (None, (1, 3))],
)
def test_a_price_by_a_property_is_found_as_json_writes_the_value(value: object, rate: tuple[int, int]) -> None:
    rates = {"large": Rate(5, 7), "true": Rate(2), "4": Rate(3), "None": Rate(9), "True": Rate(9)}
    tokens = replace(credits()["tokens"], rates=rates)
    assert rate_of(tokens, {"model": value}) == rate
