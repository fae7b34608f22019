"""What a decision says: every reason has its words, and the words follow from the decision."""

from datetime import datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json, structs

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Override
from paygrade.decisions.decide import Decision, bound, decide
from paygrade.decisions.message import DecisionView, message, shown
from paygrade.decisions.take import snapshot
from paygrade.entitlements.model import Reason
from paygrade.entitlements.sources import offers
from paygrade.usage.balances import Balance
from support.samples import CATALOG, T0, account_with, accounts, instants, item, operator_fact, subscription

SEATS = decide(snapshot(account_with(subscription(item("pro", 7))), CATALOG, T0), "seats", 8, T0)


@given(accounts, instants, st.sampled_from([*offers(CATALOG), "teleport"]), st.integers(0, 10**12))
def test_every_decision_is_one_sentence_about_this_account_and_feature(
    account: Account, at: datetime, feature: str, quantity: int
) -> None:
    decision = decide(snapshot(account, CATALOG, at), feature, quantity, at)
    said = message(decision)
    assert said.startswith(f"acme can{'' if decision.allowed else chr(39) + 't'} use ")
    assert feature in said
    assert "\n" not in said
    assert "{" not in said


@pytest.mark.parametrize("reason", get_args(Reason))
def test_every_reason_has_its_words(reason: Reason) -> None:
    words = message(structs.replace(SEATS, reason=reason)).partition(": ")[2]
    assert len(words) > 10


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "acme can't use 8 seats: 7 of 7 are in use"),
        ({"used": 5, "reserved": 1}, "acme can't use 8 seats: 6 of 7 are in use"),
        ({"quantity": 1}, "acme can't use seats: 7 of 7 are in use"),
        ({"limited_by": "hour"}, "acme can't use 8 seats: 7 of 7 are used this hour"),
        ({"limited_by": "5400s"}, "acme can't use 8 seats: 7 of 7 are used in this window of 5400s"),
        ({"limited_by": "rolling 60s"}, "acme can't use 8 seats: 7 of 7 were used in the last 60s"),
        ({"limited_by": "member"}, "acme can't use 8 seats: the member has used 7 of 7"),
        ({"limited_by": "spend_cap"}, "acme can't use 8 seats: the spend cap allows 7, and 7 are in use"),
        ({"reason": "insufficient_credit"}, "acme can't use 8 seats: not enough credits are left"),
        ({"reason": "insufficient_credit", "remaining": 3}, "acme can't use 8 seats: the credits left cover only 3"),
        ({"reason": "not_in_plan"}, "acme can't use 8 seats: pro@3 doesn't include it"),
        ({"reason": "plan", "allowed": True, "quantity": 0}, "acme can use seats: pro@3 includes it"),
    ],
)
def test_a_decision_says_who_what_and_why(changed: dict[str, object], words: str) -> None:
    assert message(structs.replace(SEATS, **{"used": 7, "reserved": 0, "remaining": 0, **changed})) == words


def test_a_full_team_reads_as_support_would_say_it() -> None:
    held = structs.replace(
        snapshot(account_with(subscription(item("pro", 7))), CATALOG, T0), balances={"seats": Balance(7)}
    )
    assert message(decide(held, "seats", 8, T0)) == "acme can't use 8 seats: 7 of 7 are in use"


def test_a_view_is_the_decision_with_its_words() -> None:
    seen = shown(SEATS, counted=True)
    assert json.decode(json.encode(seen), type=Decision) == bound(SEATS)
    assert json.decode(json.encode(seen), type=DecisionView) == seen
    assert seen.message == message(SEATS)
    assert bool(seen) is bool(SEATS)


def test_counts_are_exact_where_they_were_counted_for_the_answer() -> None:
    override = operator_fact("override:api_calls", Override("api_calls", limit=None, unlimited=True))
    uncounted = decide(snapshot(account_with(subscription(), facts=(override,)), CATALOG, T0), "api_calls", 1, T0)
    assert [shown(SEATS, counted=counted).exact for counted in (True, False)] == [True, False]
    assert [shown(uncounted, counted=counted).exact for counted in (True, False)] == [True, True]
    assert not shown(structs.replace(SEATS, stale=True), counted=True).exact
