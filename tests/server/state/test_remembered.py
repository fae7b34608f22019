"""Accounts in memory: a bound in bytes, whatever accounts look like."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.decisions.following import remember
from paygrade.decisions.snapshots import Snapshot
from paygrade.decisions.take import snapshot
from paygrade.server.state.remembered import SHAPE_FACTOR, RememberedAccounts, newest, weight
from paygrade.usage.balances import Balance, Detail, Tally
from support.samples import CATALOG, T0, account_with, item, subscription

PLANS = {plan: snapshot(account_with(subscription(item(plan))), CATALOG, T0) for plan in ("pro", "archive")}
NAMES = [f"a{number}" for number in range(8)]


def account(name: str, plan: str = "pro", members: int = 0, tallies: int = 0) -> Snapshot:
    detail = Detail(tallies={f"hour {number}": Tally(1) for number in range(tallies)}) if tallies else None
    its = replace(
        PLANS[plan],
        account=name,
        seats={f"m{number}": number for number in range(members)},
        balances={"api_calls": Balance(1, 0, None, detail)},
    )
    return remember(its, (1,) * len(its.shape.pools))


kept = st.builds(account, st.sampled_from(NAMES), st.sampled_from(sorted(PLANS)), st.integers(0, 40), st.integers(0, 9))


@given(st.lists(st.one_of(kept, st.sampled_from(NAMES)), max_size=30), st.integers(0, 200_000))
def test_what_is_remembered_never_weighs_more_than_it_may(steps: list[Snapshot | str], bytes_max: int) -> None:
    known = RememberedAccounts(bytes_max)
    for step in steps:
        if isinstance(step, str):
            known.forget(step)
        else:
            known.keep(step)
        assert 0 <= known.bytes <= bytes_max
        shapes = {one.shape for one in known}
        assert known.bytes == sum(map(weight, known)) + SHAPE_FACTOR * sum(len(shape.written) for shape in shapes)


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    first, second, third = map(account, NAMES[:3])
    known = RememberedAccounts(2 * weight(first) + SHAPE_FACTOR * len(first.shape.written))
    known.keep(first)
    known.keep(second)
    known.use("a0")
    known.keep(third)
    assert [one.account for one in known] == ["a0", "a2"]


@given(st.lists(st.sampled_from(NAMES)), st.lists(st.sampled_from(NAMES)))
def test_of_two_memories_the_newer_counts(old: list[str], new: list[str]) -> None:
    older, newer = RememberedAccounts(10**9), RememberedAccounts(10**9)
    for name in old:
        older.keep(account(name))
    for name in new:
        newer.keep(account(name, "archive"))
    both = newest(older, newer)
    plans = {one.account: one.shape for one in both}
    assert plans == {
        **dict.fromkeys(old, PLANS["pro"].shape),
        **dict.fromkeys(new, PLANS["archive"].shape),
    }
