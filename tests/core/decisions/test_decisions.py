"""Law 7: a decision is total and never raises; one more is allowed iff used + reserved + n <= limit."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.accounts import Account, replay
from paygrade.billing.facts import Member, Override
from paygrade.catalog.offers import Cap, OnError
from paygrade.decisions.decide import Decision, bound, decide, decide_unsure
from paygrade.decisions.following import remember
from paygrade.decisions.snapshots import Snapshot, balances_of, window_of
from paygrade.decisions.take import snapshot, snapshot_of
from paygrade.entitlements.model import Entitlement, Segment
from paygrade.entitlements.sources import offers
from paygrade.usage.balances import Balance, Detail, Grant, Hold, Tally, cap_slot, member_slot
from paygrade.values.periods import Recurrence
from support.samples import (
    CATALOG,
    T0,
    account_with,
    accounts,
    instants,
    item,
    operator_fact,
    subscription,
)

ALLOWED = {"plan", "add_on", "override", "trial", "credit", "grace"}
keys = st.sampled_from([*offers(CATALOG), "no_such_feature", ""])
units = st.integers(0, 10**12)


def with_balance(account: Account, feature: str, used: int, reserved: int = 0, *, at: datetime = T0) -> Decision:
    held = snapshot(account, CATALOG, at)
    entitlement = held.segments[0].entitlements[feature]
    balance = Balance(used, reserved, entitlement.from_at)
    held = msgspec.structs.replace(held, balances={entitlement.credit or feature: balance})
    return decide(held, feature, 1, at)


@given(accounts, instants, instants, keys, st.integers(-(10**20), 10**20), st.none() | st.text(max_size=3))
def test_a_decision_is_total_and_never_raises(
    account: Account, taken_at: datetime, at: datetime, feature: str, quantity: int, member: str | None
) -> None:
    decision = decide(snapshot(account, CATALOG, taken_at), feature, quantity, at, member=member)
    assert decision.allowed == (decision.reason in ALLOWED)
    assert bool(decision) == decision.allowed
    assert decision.account == "acme"
    written = bound(decision)
    assert msgspec.json.decode(msgspec.json.encode(written), type=Decision) == written
    assert written.sources == decision.sources


holds = st.lists(st.builds(Hold, instants, st.just("2026-03-10T12:00:00Z"), st.integers(1, 50)), max_size=3)
beside = st.sampled_from(
    [
        Detail(),
        Detail(),
        Detail(ahead=(1, 2)),
        Detail(carried_units=5),
        Detail(carried=Tally(3)),
        Detail(tallies={"hour 2026-03-10T12:00:00Z": Tally(1)}),
        Detail(grants=(Grant("g", "promotion", 7, T0),)),
    ]
)


@settings(max_examples=500)
@given(
    st.sampled_from([None, 0, 90, 100, 10**12]), st.integers(0, 120), st.integers(0, 200), holds, beside, instants,
    st.integers(0, 20), st.sampled_from([True, True, True, False]),
)  # fmt: skip
def test_what_is_held_alone_is_decided_by_the_short_way_as_by_the_long_one(
    limit: int | None,
    used: int,
    reserved: int,
    held: list[Hold],
    more: Detail,
    at: datetime,
    quantity: int,
    granted: bool,
) -> None:
    detail = replace(more, holds=tuple(sorted(held, key=lambda hold: hold.until)))
    until = T0 + timedelta(days=120)
    its = Entitlement("calls", "metered", granted=granted, reason="plan" if granted else "unpaid", limit=limit,
                      unlimited=granted and limit is None, from_at=T0, resets_at=until)  # fmt: skip
    balance = Balance(used, reserved, T0, detail)

    def decided(one: Entitlement) -> Decision:
        taken = snapshot_of("acme", "1.1", T0, until, [Segment(T0, until, {"calls": one})], {"calls": balance})
        return replace(bound(decide(taken, "calls", quantity, at)), origin=())

    assert decided(its) == decided(replace(its, plain=False))


@given(
    accounts,
    instants,
    st.dictionaries(
        keys, st.builds(lambda *of: of, st.integers(0, 50), st.integers(0, 50), holds, st.none() | beside), max_size=6
    ),
    st.data(),
)
def test_counts_that_are_kept_as_numbers_alone_decide_as_balances_do(
    account: Account, at: datetime, counted: dict[str, tuple[int, int, list[Hold], Detail | None]], data: st.DataObject
) -> None:
    taken = snapshot(account, CATALOG, at)
    balances = {
        pool: Balance(
            used,
            reserved,
            data.draw(st.sampled_from([window_of(taken, pool), window_of(taken, pool), T0, None])),
            replace(detail, holds=tuple(sorted(held, key=lambda hold: hold.until))) if detail else None,
        )
        for pool, (used, reserved, held, detail) in counted.items()
        if pool in taken.shape.pools
    }
    whole = replace(taken, balances=balances | taken.balances)
    versions = [-1 if pool in taken.balances else data.draw(st.integers(0, 5)) for pool in whole.shape.pools]
    kept = remember(whole, versions)
    assert {pool: its for pool, its in balances_of(kept).items() if its != Balance(0, 0, its.from_at)} == {
        pool: its for pool, its in whole.balances.items() if its != Balance(0, 0, its.from_at)
    }
    feature, then = data.draw(keys), data.draw(instants)
    for quantity in (0, 1, data.draw(units)):
        one, other = (decide(each, feature, quantity, then) for each in (whole, kept))
        assert bound(one) == bound(other)


@given(units, units, units, st.integers(1, 10**12))
def test_one_more_is_allowed_iff_it_fits(limit: int, used: int, reserved: int, quantity: int) -> None:
    account = account_with(facts=(operator_fact("override:seats", Override("seats", limit=limit)),))
    held = msgspec.structs.replace(snapshot(account, CATALOG, T0), balances={"seats": Balance(used, reserved)})
    decision = decide(held, "seats", quantity, T0)
    assert decision.allowed == (used + reserved + quantity <= limit)
    assert decision.remaining == max(limit - used - reserved, 0)
    assert decision.reason == ("override" if decision.allowed else "limit_reached")


COUNTERS: dict[str, tuple[dict[str, Any], Callable[[int, int, int], Detail]]] = {
    # What the entitlement says, and what of `limit` is used and held in the counter that has a say.
    "the hour": (
        {"caps": (Cap(0, Recurrence("hour")),)},
        lambda _, used, held: Detail(tallies={cap_slot(Recurrence("hour"), T0, T0)[0]: Tally(used, held)}),
    ),
    "the last minute": (
        {"caps": (Cap(0, rolling_s=60),)},
        lambda _, used, held: Detail(tallies={"rolling 60s": Tally(used, held, ((int(T0.timestamp()), used),))}),
    ),
    "a window that rolls": (
        {"rolling_s": 60, "from_at": None, "resets_at": None},
        lambda _, used, held: Detail(tallies={"rolling 60s": Tally(used, held, ((int(T0.timestamp()), used),))}),
    ),
    "the member's share": (
        {"per_member": 0},
        lambda _, used, held: Detail(tallies={member_slot(T0, "ann"): Tally(used, held)}),
    ),
    "a grant": (
        {},
        lambda limit, used, held: Detail(grants=(Grant("g", "purchase", limit, T0, used=used, reserved=held),)),
    ),
    "what was carried over": (
        {"rollover": 1},
        lambda limit, used, held: Detail(carried=Tally(used, held), carried_units=limit),
    ),
}


def in_counter(counter: str, limit: int, used: int, held: int) -> Snapshot:
    """Calls of which this counter has `limit`, and no other stands in the way."""
    said, detail = COUNTERS[counter]
    beside = counter in ("a grant", "what was carried over")
    its = Entitlement(
        "calls", "metered", True, "plan", limit=0 if beside else limit, from_at=T0, plain=False, anchor_at=T0
    )
    its = replace(its, **{key: value for key, value in said.items() if key not in ("caps", "per_member")})
    if "caps" in said:
        its = replace(its, limit=10**14, caps=tuple(replace(cap, units=limit) for cap in said["caps"]))
    if "per_member" in said:
        its = replace(its, limit=10**14, per_member=limit)
    balance = Balance(0, 0, its.from_at, detail(limit, used, held))
    until = T0 + timedelta(days=1)
    return snapshot_of("acme", "1.1", T0, until, [Segment(T0, until, {"calls": its})], {"calls": balance})


@given(units, units, st.integers(1, 10**12), st.sampled_from([-1, 0, 1]))
def test_the_last_unit_is_allowed_and_one_more_is_not(used: int, reserved: int, quantity: int, over: int) -> None:
    limit = used + reserved + quantity - over
    account = account_with(facts=(operator_fact("override:seats", Override("seats", limit=limit)),))
    held = replace(snapshot(account, CATALOG, T0), balances={"seats": Balance(used, reserved)})
    assert decide(held, "seats", quantity, T0).allowed == (over <= 0)


@pytest.mark.parametrize("counter", COUNTERS)
@given(units, units, st.integers(1, 10**12), st.sampled_from([-1, 0, 1]))
def test_so_it_is_in_every_counter(counter: str, used: int, reserved: int, quantity: int, over: int) -> None:
    held = in_counter(counter, used + reserved + quantity - over, used, reserved)
    decision = decide(held, "calls", quantity, T0, member="ann")
    assert decision.allowed == (over <= 0), decision
    assert decision.allowed or decision.reason == "limit_reached"


@given(st.integers(0, 6_000_000))
def test_a_feature_paid_in_credits_is_allowed_iff_the_credits_cover_it(tokens: int) -> None:
    decision = decide(snapshot(account_with(subscription()), CATALOG, T0), "tokens", tokens, T0)
    assert decision.allowed == (tokens <= 5_000_000)
    assert decision.reason == ("credit" if decision.allowed else "insufficient_credit")
    assert decision.remaining == 5_000_000


def test_the_source_whose_units_make_it_fit_is_the_reason() -> None:
    more = operator_fact("override:api_calls", Override("api_calls", add=10))
    account = account_with(subscription(item("pro"), item("extra_calls")), facts=(more,))
    assert with_balance(account, "api_calls", 99_999).reason == "plan"
    assert with_balance(account, "api_calls", 100_000).reason == "add_on"
    assert with_balance(account, "api_calls", 149_999).reason == "add_on"
    assert with_balance(account, "api_calls", 150_000).reason == "override"
    assert with_balance(account, "api_calls", 150_010).reason == "limit_reached"


def test_usage_of_a_past_period_does_not_deny_in_this_one() -> None:
    account = account_with(subscription())
    stale_balance = {"api_calls": Balance(100_000, 0, T0 - timedelta(days=31))}
    held = msgspec.structs.replace(snapshot(account, CATALOG, T0), balances=stale_balance)
    assert decide(held, "api_calls", 1, T0).used == 0


def test_soft_limits_let_usage_go_over() -> None:
    account = account_with(subscription(item("scale")))
    over = with_balance(account, "api_calls", 600_000)
    assert (over.allowed, over.remaining, over.limit) == (True, 0, 500_000)


def test_unlimited_units_have_no_count() -> None:
    decision = decide(snapshot(account_with(subscription(item("scale"))), CATALOG, T0), "seats", 10**9, T0)
    assert (decision.allowed, decision.unlimited, decision.limit, decision.remaining) == (True, True, None, None)


@pytest.mark.parametrize(
    ("member", "reason"), [("ann", "plan"), ("bo", "role_not_permitted"), (None, "role_not_permitted")]
)
def test_a_feature_with_roles_asks_who_it_is(member: str | None, reason: str) -> None:
    facts = (
        operator_fact("member:ann", Member("ann", "owner"), 51),
        operator_fact("member:bo", Member("bo", "editor"), 52),
    )
    held = snapshot(account_with(subscription(), facts=facts), CATALOG, T0)
    assert decide(held, "billing_admin", 1, T0, member=member).reason == reason


@pytest.mark.parametrize("used", [0, 10])
def test_while_counts_cannot_be_read_only_what_they_decide_is_left_to_the_failure_mode(used: int) -> None:
    its = Entitlement("calls", "metered", True, "plan", limit=10, from_at=T0, roles=("owner",), personal=True)
    until = T0 + timedelta(days=1)
    held = snapshot_of("acme", "1.1", T0, until, [Segment(T0, until, {"calls": its})], {"calls": Balance(used, 0, T0)},
                       roles={"ann": "owner", "bo": "viewer"})  # fmt: skip
    modes: tuple[tuple[OnError, tuple[bool, str, bool]], ...]
    modes = ("allow", (True, "plan", True)), ("deny", (False, "stale", True))
    for on_error, said in modes:
        told = [decide_unsure(held, "calls", 1, T0, on_error=on_error, member=member) for member in ("ann", "bo")]
        assert [(one.allowed, one.reason, one.stale) for one in told] == [said, (False, "role_not_permitted", True)]


def test_what_is_not_known_is_denied_by_name() -> None:
    assert decide(snapshot(account_with(), CATALOG, T0), "teleport", 1, T0).reason == "unknown_feature"
    assert decide(snapshot(replay("nobody", ()), CATALOG, T0), "exports", 1, T0).reason == "unknown_account"


def test_what_is_still_counted_of_a_feature_that_is_gone_makes_it_no_less_unknown() -> None:
    counted = {"teleport": Balance(5, 2, detail=Detail(carried_units=7))}
    for account in (account_with(), replay("nobody", ())):
        decision = decide(msgspec.structs.replace(snapshot(account, CATALOG, T0), balances=counted), "teleport", 1, T0)
        assert (decision.allowed, decision.limit, decision.used) == (False, None, None)


def test_a_decision_says_on_which_version_and_instant_it_rests() -> None:
    decision = decide(snapshot(account_with(subscription()), CATALOG, T0), "retention", 1, T0)
    assert (decision.version, decision.as_of, decision.value) == ("7.1", T0, 90)
