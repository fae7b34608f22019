"""What is not understood takes nothing from anybody, whatever a name was and wherever it went."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.accounts import Account, replay
from paygrade.billing.facts import Fact, Item, Phase
from paygrade.changes.transition import has_changed
from paygrade.entitlements.derive import derive
from paygrade.entitlements.findings import findings
from support.samples import CATALOG, T0, customer_fact, item, items_of, subscription

UNKNOWN = Item("si_pro", 9, price="price_new", lookup_key="pro_2027", product="prod_new")
NAMELESS = Item("si_pro", 2, price="price_x")


def account_of(*stages: tuple[Item, ...]) -> Account:
    return replay("acme", [customer_fact(subscription(*items), number=n) for n, items in enumerate(stages, 1)])


def units(account: Account, feature: str = "api_calls") -> int | None:
    return derive(account, CATALOG, T0).entitlements[feature].limit


def test_a_price_keeps_the_name_it_was_last_known_by() -> None:
    account = account_of((item("pro", 2),), (NAMELESS,))
    assert account.subscriptions[0].items == (item("pro", 2),)
    assert not has_changed(account_of((item("pro", 2),)), T0, account, CATALOG, T0)
    assert findings(account, CATALOG, T0) == ()


def test_a_line_nobody_can_name_is_what_it_last_bought_and_is_found() -> None:
    account = account_of((item("pro", 2),), (UNKNOWN,))
    assert units(account, "seats") == 2
    (found,) = findings(account, CATALOG, T0)
    assert found.code == "unmapped_price"
    assert "access stays as it was" in found.detail


def test_what_is_understood_again_counts_again() -> None:
    account = account_of((item("pro", 2),), (UNKNOWN,), (replace(item("scale"), id="si_pro"),))
    assert derive(account, CATALOG, T0).entitlements["retention"].value == 365


def test_a_line_that_was_dropped_is_gone_where_all_that_is_left_is_understood() -> None:
    assert units(account_of((item("pro"), item("extra_calls")), (item("pro"),))) == 100_000
    assert units(account_of((item("pro"), item("extra_calls")), (item("extra_calls"),))) == 51_000


def test_what_was_dropped_while_all_was_understood_does_not_come_back_with_the_plan() -> None:
    account = account_of((item("pro"), item("extra_calls")), (item("pro"),), (replace(UNKNOWN, id="si_new"),))
    assert units(account) == 100_000
    account = account_of((item("pro"), item("extra_calls")), (replace(UNKNOWN, id="si_new"),))
    assert units(account) == 150_000


def test_beside_a_plan_that_is_understood_an_unknown_line_brings_nothing_back() -> None:
    account = account_of((item("scale"),), (item("pro"), replace(UNKNOWN, id="si_fee")))
    assert units(account) == 100_000


def test_a_phase_nobody_can_name_is_found_before_it_begins_and_takes_nothing_when_it_does() -> None:
    later = Phase(T0 + timedelta(days=5), (Item("planned:price_new", price="price_new"),))
    account = replay("acme", [customer_fact(replace(subscription(item("pro", 2)), next=(later,)))])
    assert [found.code for found in findings(account, CATALOG, T0)] == ["unmapped_price"]
    assert derive(account, CATALOG, T0 + timedelta(days=6)).entitlements["seats"].limit == 2


@given(
    st.lists(
        items_of.filter(lambda one: one.price != "price_unmapped"), min_size=1, max_size=3, unique_by=lambda i: i.id
    )
)
def test_whatever_loses_its_names_keeps_what_it_gave_and_brings_no_change_about(bought: list[Item]) -> None:
    """Promise 7: a name that was known and is gone takes nothing, in whatever order it is learned."""
    nameless = tuple(replace(one, price="price_of_" + one.id, lookup_key=None, product=None) for one in bought)
    stages = (tuple(bought), nameless)
    facts: list[Fact] = [customer_fact(subscription(*items), number=n) for n, items in enumerate(stages, 1)]
    before, after = replay("acme", facts[:1]), replay("acme", facts)
    assert replay("acme", reversed(facts)) == after
    if any(one.quantity for one in bought):
        assert derive(after, CATALOG, T0).entitlements == derive(before, CATALOG, T0).entitlements
        assert not has_changed(before, T0, after, CATALOG, T0)
