"""Items that were removed from a subscription: what they count for, until when, in whatever order it was read."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.accounts import Account, replay
from paygrade.billing.facts import Customer, Fact, Item, Subscription
from paygrade.catalog.model import Consequences, ReturnedPayment
from paygrade.entitlements.derive import derive
from paygrade.values.states import Status
from support.samples import CATALOG, T0, item

DAY = timedelta(days=1)
ENDS_AT = T0 + 30 * DAY
KEEPING = replace(CATALOG, policies=replace(CATALOG.policies, removed_items="period_end", returned=ReturnedPayment()))
CREDITS_END = replace(
    KEEPING,
    policies=replace(KEEPING.policies, returned=ReturnedPayment(credit_note=Consequences("end_now", "end_now"))),
)
PRO = replace(item("pro"), period_from_at=T0, period_until=ENDS_AT)
CALLS = 50_000
"""What one `extra_calls` adds to the 100,000 of the plan."""


def calls(quantity: int, id: str = "si_calls", until: datetime | None = ENDS_AT) -> Item:
    return replace(item("extra_calls", quantity), id=id, period_from_at=T0, period_until=until)


def reading(number: int, *items: Item, status: Status = "active", credited: tuple[str, ...] = ()) -> Fact:
    """What was read on this day of the period."""
    its = Subscription("sub_1", status, items, T0, credited=credited)
    return Fact(number, "stripe:cus_1", number, T0 + number * DAY, Customer("cus_1", T0, (its,)))


def limit(account: Account, at: datetime = T0 + 20 * DAY, catalog: object = KEEPING) -> int | None:
    return derive(account, catalog, at).entitlements["api_calls"].limit  # type: ignore[arg-type]  # a catalog


lines = st.lists(
    st.builds(
        calls,
        st.integers(0, 4),
        st.sampled_from(["si_1", "si_2", "si_3"]),
        st.sampled_from([T0 + 12 * DAY, ENDS_AT, None]),
    ),
    max_size=3,
    unique_by=lambda i: i.id,
)
histories = st.lists(st.tuples(lines, st.booleans()), min_size=1, max_size=6).map(
    lambda said: [
        reading(number, *((PRO, *its) if plan or not its else its)) for number, (its, plan) in enumerate(said, 1)
    ]
)


@given(histories, st.data())
def test_readings_in_any_order_and_number_count_the_same(history: list[Fact], data: st.DataObject) -> None:
    again = data.draw(st.permutations([*history, *data.draw(st.lists(st.sampled_from(history), max_size=3))]))
    at = data.draw(st.integers(1, 40).map(lambda days: T0 + days * DAY))
    assert derive(replay("acme", again), KEEPING, at) == derive(replay("acme", history), KEEPING, at)


@given(histories)
def test_no_more_counts_than_was_ever_bought_at_once_of_each_line_and_no_less_than_is_bought(
    history: list[Fact],
) -> None:
    account = replay("acme", history)
    plain, kept = (limit(account, catalog=catalog) or 0 for catalog in (CATALOG, KEEPING))
    said = [its for fact in history if isinstance(fact.body, Customer) for its in fact.body.subscriptions[0].items]
    ids = ("si_1", "si_2", "si_3")
    most = sum(max((one.quantity for one in said if one.id == id), default=0) for id in ids)
    assert plain <= kept <= 100_000 + most * CALLS
    assert limit(account, ENDS_AT) == limit(account, ENDS_AT, CATALOG)


@pytest.mark.parametrize(
    ("history", "bought"),
    [
        ([reading(1, PRO, calls(2)), reading(2, PRO)], 2),
        ([reading(1, PRO, calls(2)), reading(2, PRO), reading(3, PRO, calls(1, "si_new"))], 2),
        ([reading(1, PRO, calls(2)), reading(2, PRO), reading(3, PRO, calls(3, "si_new"))], 3),
        ([reading(1, PRO, calls(2)), reading(2, PRO), reading(3, PRO, calls(3, "si_new")), reading(4, PRO)], 3),
        ([reading(1, PRO, calls(2), calls(1, "si_2")), reading(2, PRO, calls(1, "si_2"))], 3),
        # Less of the same line is no item removed.
        ([reading(1, PRO, calls(2)), reading(2, PRO, calls(1))], 1),
        ([reading(1, PRO, calls(2)), reading(2, PRO, calls(0))], 0),
        # What nobody paid ahead for.
        ([reading(1, PRO, calls(2), status="trialing"), reading(2, PRO)], 0),
        ([reading(1, PRO, calls(2, until=None)), reading(2, PRO)], 0),
    ],
)
def test_what_was_removed_counts_once_and_only_where_it_was_paid_for(history: list[Fact], bought: int) -> None:
    assert limit(replay("acme", history)) == 100_000 + bought * CALLS
    assert limit(replay("acme", history), ENDS_AT) == limit(replay("acme", history), ENDS_AT, CATALOG)


def test_what_was_credited_ends_only_where_a_credit_note_would_end_access() -> None:
    account = replay("acme", [reading(1, PRO, calls(2)), reading(2, PRO, credited=("si_calls",))])
    assert limit(account) == 100_000 + 2 * CALLS
    assert limit(account, catalog=CREDITS_END) == 100_000
    other = replay("acme", [reading(1, PRO, calls(2)), reading(2, PRO, credited=("si_other",))])
    assert limit(other, catalog=CREDITS_END) == 100_000 + 2 * CALLS


def test_a_plan_counts_on_until_another_takes_its_place_or_the_subscription_ends() -> None:
    scale = replace(item("scale"), period_from_at=T0, period_until=ENDS_AT)
    gone = replay("acme", [reading(1, PRO, calls(1)), reading(2, calls(1))])
    assert limit(gone) == 100_000 + CALLS
    swapped = replay("acme", [reading(1, PRO), reading(2, scale)])
    assert [s.plan for s in derive(swapped, KEEPING, T0 + 3 * DAY).entitlements["api_calls"].sources] == ["scale@1"]
    ended = replay("acme", [reading(1, PRO, calls(1)), reading(2, PRO), reading(3, PRO, status="canceled")])
    assert limit(ended) == 1000
