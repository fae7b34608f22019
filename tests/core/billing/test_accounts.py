"""Laws 1 and 2: facts replay in any order, any number of times, to the same account; the fold is only a cache."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.accounts import Account, apply, replay, says_something_new
from paygrade.billing.facts import Customer, Departed, Fact, Member, Override, Profile
from support.samples import T0, account_with, customer_fact, fact_lists, item, operator_fact, subscription


@given(fact_lists(), st.data())
def test_facts_replay_in_any_order_and_number_to_the_same_account(facts: list[Fact], data: st.DataObject) -> None:
    repeated = facts + data.draw(st.lists(st.sampled_from(facts), max_size=4)) if facts else facts
    assert replay("acme", data.draw(st.permutations(repeated))) == replay("acme", facts)


@given(fact_lists())
def test_an_account_survives_being_stored(facts: list[Fact]) -> None:
    account = replay("acme", facts)
    assert msgspec.json.decode(msgspec.json.encode(account), type=Account) == account


@given(fact_lists())
def test_a_fact_applied_again_says_nothing_new(facts: list[Fact]) -> None:
    account = replay("acme", facts)
    for fact in facts:
        assert apply(account, fact) == account
    latest = {fact.subject: fact for fact in facts}
    assert not any(says_something_new(account, fact.subject, fact.body) for fact in latest.values())


def test_an_older_reading_that_arrives_late_changes_nothing() -> None:
    new = customer_fact(subscription(status="active"), number=2)
    old = customer_fact(subscription(status="past_due"), number=1)
    assert replay("acme", [new, old]).subscriptions[0].status == "active"


def test_of_two_facts_of_one_sequence_the_one_recorded_later_counts_in_whatever_order() -> None:
    first = operator_fact("override:exports", Override("exports", value=True), number=2)
    later = replace(operator_fact("override:exports", Override("exports", value=False), number=3), sequence=2)
    assert replay("acme", [first, later]) == replay("acme", [later, first])
    assert replay("acme", [later, first]).overrides["exports"].value is False


def test_an_ended_subscription_never_revives() -> None:
    ended = customer_fact(subscription(status="canceled", ended_at=T0), number=1)
    revived = customer_fact(subscription(status="active"), number=2)
    assert replay("acme", [ended, revived]).subscriptions[0].status == "canceled"


def test_an_unknown_status_keeps_the_last_one_understood() -> None:
    known = customer_fact(subscription(status="past_due"), number=1)
    unknown = customer_fact(subscription(item("scale"), status=None, provider_status="napping"), number=2)
    kept = replay("acme", [known, unknown]).subscriptions[0]
    assert kept.status == "past_due"
    assert kept.items == (item("scale"),)
    assert replay("acme", [unknown]).subscriptions[0].status is None


def test_a_customer_that_moved_away_takes_its_subscriptions_along() -> None:
    departed = operator_fact("stripe:cus_1", Departed("other"))
    account = account_with(subscription(), facts=(departed,))
    assert account.subscriptions == ()
    assert not account.exists


def test_a_withdrawn_override_and_a_removed_member_are_gone() -> None:
    facts = (
        operator_fact("override:exports", Override("exports", value=True), number=2),
        operator_fact("override:exports", Override("exports"), number=3),
        operator_fact("member:ann", Member("ann", "owner"), number=4),
        operator_fact("member:ann", Member("ann", None), number=5),
    )
    account = account_with(facts=facts)
    assert account.overrides == {}
    assert account.members == {}


def test_a_deleted_account_that_pays_again_exists_again() -> None:
    deleted = operator_fact("profile", Profile(T0, deleted=True))
    assert not account_with(facts=(deleted,)).exists
    assert account_with(subscription(), facts=(deleted,)).exists


def test_an_account_is_as_old_as_the_oldest_thing_said_of_it() -> None:
    profile = operator_fact("profile", Profile(T0))
    account = account_with(facts=(profile,))
    assert account.since == account.customers[0].created_at
    assert isinstance(account.statements["stripe:cus_1"].body, Customer)
