"""What one window leaves to the next: shares, a number of windows, and what is owed."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.catalog.diff import render
from paygrade.decisions.decide import decide
from paygrade.decisions.take import snapshot_of
from paygrade.entitlements.model import Entitlement, Segment
from paygrade.usage.balances import Balance, Detail, Tally
from paygrade.usage.ledger import grants_of, spend
from paygrade.usage.rollover import NOTHING, Carried, carried_on, takes_rollover
from paygrade.values.text import QUANTITY_MAX
from support.catalog_texts import read, with_plan

T0 = datetime(2026, 3, 1, tzinfo=UTC)
MONTH = timedelta(days=30)


def entitled(limit: int, number: int = 1, **known: object) -> Entitlement:
    begins = T0 + number * MONTH
    dates = {"from_at": begins, "resets_at": begins + MONTH, "begun_at": T0}
    return replace(Entitlement("calls", "metered", True, "plan", limit=limit, plain=False), **dates, **known)


def balance(its: Entitlement, into: Carried, used: int = 0, taken: int = 0) -> Balance:
    return Balance(used, 0, its.from_at, Detail(carried=Tally(taken), carried_units=into.units))


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 120)), min_size=1, max_size=12),
    st.booleans(),
    st.sampled_from([0, 1, 7, 60, QUANTITY_MAX]),
    st.sampled_from([1, 33, 50, 100]),
    st.sampled_from([None, 1, 2, 3]),
)
def test_over_any_windows_no_more_is_used_than_was_given_and_is_owed(
    windows: list[tuple[int, int]], owes: bool, rollover: int, share: int, lives: int | None
) -> None:
    """Each window is given a limit; of what is asked for in it, one by one, `decide` allows what it allows."""
    into, before, used_in_all, given_in_all = NOTHING, None, 0, 0
    for number, (limit, asked) in enumerate(windows, start=1):
        its = entitled(limit, number, owes=owes, soft=owes, rollover=rollover, rollover_share=share)
        its = replace(its, rollover_windows=lives)
        at = its.from_at or T0
        if before is not None:
            into = carried_on(before[0], its, used=before[1], taken=before[2], into=into)
        known = balance(its, into)
        decision = decide(_snapshot(its, known), "calls", asked, at)
        used = taken = 0
        if asked and decision.allowed:
            for posting in spend({"calls": its}, {"calls": known}, "calls", asked, at):
                if posting.slot.startswith("carried"):
                    taken += posting.used
                else:
                    used += posting.used
            assert used + taken == asked
        elif asked:
            assert asked > max(0, limit + into.units)
        used_in_all, given_in_all = used_in_all + used + taken, given_in_all + limit
        owed = -min(0, limit + min(into.units, 0) - used)
        assert used_in_all <= given_in_all + owed
        assert into.units <= max(rollover, 0)
        if not owes:
            assert into.units >= 0
            assert sum(into.lots) in (0, into.units)
            assert len(into.lots) <= (lives or 0)
        before = (its, used, taken)


def _snapshot(its: Entitlement, known: Balance):  # type: ignore[no-untyped-def]  # a snapshot of one feature
    at = its.from_at or T0
    return snapshot_of("acme", "1.1", at, at + MONTH, (Segment(at, at + MONTH, {"calls": its}),), {"calls": known})


def test_units_carried_for_two_windows_are_gone_after_them_and_the_oldest_goes_first() -> None:
    its = entitled(100, rollover=QUANTITY_MAX, rollover_windows=2)
    first = carried_on(its, its, used=40, taken=0, into=NOTHING)
    assert first == Carried(60, (60,))
    second = carried_on(its, its, used=90, taken=0, into=first)
    assert second == Carried(70, (10, 60))
    third = carried_on(its, its, used=100, taken=65, into=second)
    assert third == Carried(5, (0, 5))
    assert carried_on(its, its, used=100, taken=0, into=second) == Carried(10, (0, 10))
    assert carried_on(its, its, used=100, taken=0, into=third) == NOTHING
    # They are used before the window's own, which are carried further.
    assert [grant.kind for grant in grants_of(its, balance(its, second), T0 + MONTH)] == ["carried", "window"]
    plain = replace(its, rollover_windows=None)
    assert [grant.kind for grant in grants_of(plain, balance(plain, second), T0 + MONTH)] == ["window", "carried"]


def test_a_share_is_of_all_that_is_left_and_rounded_down() -> None:
    its = entitled(100, rollover=QUANTITY_MAX, rollover_share=50)
    assert carried_on(its, its, used=29, taken=0, into=NOTHING).units == 35
    assert carried_on(its, its, used=100, taken=10, into=Carried(35)).units == 12
    assert carried_on(its, replace(its, rollover=20), used=0, taken=0, into=NOTHING).units == 20


def test_what_is_owed_is_taken_from_the_next_windows_units_first() -> None:
    its = entitled(100, owes=True, soft=True)
    owed = carried_on(its, its, used=130, taken=0, into=NOTHING)
    assert owed == Carried(-30)
    decision = decide(_snapshot(its, balance(its, owed, used=20)), "calls", 1, T0 + MONTH)
    assert (decision.allowed, decision.limit, decision.used, decision.remaining) == (True, 70, 20, 50)
    assert carried_on(its, its, used=20, taken=0, into=Carried(-250)).units == -170
    # Who goes to a plan that knows no debt owes nothing any more; nothing is owed from before the first window.
    assert carried_on(its, replace(its, owes=False), used=130, taken=0, into=NOTHING) == NOTHING
    assert not takes_rollover(replace(its, from_at=T0))
    assert takes_rollover(its)


def test_a_rollover_is_written_back_as_it_was_said() -> None:
    for said in (
        5,
        "50%",
        {"windows": 3},
        {"share": "50%", "at_most": 9},
        {"share": "50%", "at_most": 9, "windows": 1},
    ):
        text = str(said).replace("'", "")
        catalog = read(with_plan(f"coins: {{ grant: 9, every: month, rollover: {text} }}"))
        written = render(catalog)["plans"]
        assert written == {"pro": {"entitlements": {"coins": {"grant": 9, "every": "month", "rollover": said}}}}
