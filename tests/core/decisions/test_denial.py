"""Denials over HTTP: every reason to deny has a status, and who may come back is told when."""

from datetime import datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json, structs

from paygrade.billing.accounts import Account
from paygrade.decisions.decide import Decision, decide
from paygrade.decisions.denial import CODES, STATUSES, denial, rate_limit
from paygrade.decisions.message import message
from paygrade.decisions.take import snapshot
from paygrade.entitlements.model import Reason
from paygrade.entitlements.sources import offers
from support.samples import CATALOG, T0, account_with, accounts, instants, item, subscription

ALLOWING = {"plan", "add_on", "override", "trial", "credit", "grace"}
CALLS = structs.replace(
    decide(snapshot(account_with(subscription(item("pro", 7))), CATALOG, T0), "api_calls", 1, T0),
    allowed=False, reason="limit_reached", quantity=3, limit=100, used=98, reserved=0, remaining=2,
    resets_at=T0 + timedelta(seconds=90.5), limited_by=None,
)  # fmt: skip
STATUS: dict[Reason, int] = {
    "not_in_plan": 402,
    "no_subscription": 402,
    "trial_ended": 402,
    "canceled": 402,
    "past_due": 402,
    "unpaid": 402,
    "limit_reached": 402,
    "insufficient_credit": 402,
    "paused": 403,
    "blocked": 403,
    "no_seat": 403,
    "role_not_permitted": 403,
    "override_denied": 403,
    "unknown_feature": 403,
    "unknown_account": 403,
    "stale": 503,
}


def test_every_reason_allows_or_has_one_status() -> None:
    assert set(get_args(Reason)) == ALLOWING | set(STATUS)
    assert {reason: STATUSES[code][0] for reason, code in CODES.items()} == STATUS


@pytest.mark.parametrize("reason", get_args(Reason))
def test_a_denial_is_a_problem_and_what_is_allowed_is_none(reason: Reason) -> None:
    decision = structs.replace(CALLS, reason=reason, allowed=reason in ALLOWING, resets_at=None)
    found = denial(decision, T0)
    if reason in ALLOWING:
        assert found is None
        return
    assert found is not None
    assert (found.status, found.type) == (STATUS[reason], f"/problems/{found.code}")
    assert found.message == found.detail == message(decision)
    assert "Retry-After" not in rate_limit(decision, T0)


@pytest.mark.parametrize("reason", ["limit_reached", "insufficient_credit"])
def test_who_only_has_to_wait_is_told_how_long(reason: Reason) -> None:
    decision = structs.replace(CALLS, reason=reason)
    found = denial(decision, T0)
    assert found is not None
    assert (found.status, found.code) == (429, "over_limit")
    assert rate_limit(decision, T0) == {
        "RateLimit-Policy": '"api_calls";q=100',
        "RateLimit": '"api_calls";r=2;t=91',
        "Retry-After": "91",
    }


@pytest.mark.parametrize(
    "changed",
    [{"quantity": 101}, {"limit": 0}, {"resets_at": T0}, {"resets_at": T0 - timedelta(days=1)}, {"resets_at": None}],
)
def test_where_waiting_would_not_help_another_plan_does(changed: dict[str, object]) -> None:
    decision = structs.replace(CALLS, **changed)
    found = denial(decision, T0)
    assert found is not None
    assert found.status == 402
    assert "Retry-After" not in rate_limit(decision, T0)


def test_the_window_of_a_rolling_limit_is_part_of_its_policy() -> None:
    fields = rate_limit(structs.replace(CALLS, limited_by="rolling 60s"), T0)
    assert fields["RateLimit-Policy"] == '"api_calls:rolling 60s";q=100;w=60'
    assert fields["RateLimit"].startswith('"api_calls:rolling 60s";r=2;')


def test_numbers_fit_a_structured_field() -> None:
    fields = rate_limit(structs.replace(CALLS, limit=2**53 - 1, remaining=2**53 - 1), T0)
    assert f"q={10**15 - 1}" in fields["RateLimit-Policy"]
    assert f"r={10**15 - 1};" in fields["RateLimit"]


@given(accounts, instants, st.sampled_from([*offers(CATALOG), "teleport"]), st.integers(0, 10**12))
def test_whatever_is_decided_has_an_answer_over_http(
    account: Account, at: datetime, feature: str, quantity: int
) -> None:
    decision: Decision = decide(snapshot(account, CATALOG, at), feature, quantity, at)
    found, fields = denial(decision, at), rate_limit(decision, at)
    assert (found is None) == decision.allowed
    assert found is None or json.decode(json.encode(found))["status"] in (402, 403, 429, 503)
    assert ("Retry-After" in fields) == (found is not None and found.status == 429)
    assert all(value.isascii() and value.isprintable() for value in fields.values())
