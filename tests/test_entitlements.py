"""Laws 3, 4 and 6, and the merge table row by row."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygrade.accounts import Account
from paygrade.decisions import Decision, decide
from paygrade.entitlements import Entitlement, Snapshot, derive, snapshot, trace
from paygrade.facts import Block, Fact, Override
from paygrade.findings import findings
from paygrade.sources import offers
from samples import CATALOG, T0, account_with, accounts, customer_fact, instants, item, operator_fact, subscription

DAY = timedelta(days=1)
FEATURES = sorted(offers(CATALOG))


def entitled(account: Account, feature: str, at: datetime = T0) -> Entitlement:
    return derive(account, CATALOG, at).entitlements[feature]


def override(said: Override, number: int = 50) -> Fact:
    return operator_fact(f"override:{said.feature}", said, number)


def without_origin(decision: Decision) -> Decision:
    return msgspec.structs.replace(decision, as_of=T0, stale=False)


@given(accounts, instants, st.timedeltas(timedelta(), timedelta(days=60)), st.sampled_from(FEATURES))
def test_a_snapshot_answers_the_future_as_a_fresh_one_would(
    account: Account, at: datetime, later: timedelta, feature: str
) -> None:
    held = snapshot(account, CATALOG, at)
    then = at + later
    if not account.exists or then >= held.until:
        return
    fresh = decide(snapshot(account, CATALOG, then), feature, 1, then)
    assert without_origin(decide(held, feature, 1, then)) == without_origin(fresh)


@given(accounts, instants)
def test_a_snapshot_knows_its_own_end_and_its_segments_tile_it(account: Account, at: datetime) -> None:
    held = snapshot(account, CATALOG, at)
    assert held.until > at
    ends = [segment.until for segment in held.segments]
    assert [segment.from_at for segment in held.segments[1:]] == ends[:-1]
    assert not decide(held, "api_calls", 1, held.until - timedelta(microseconds=1)).stale
    assert decide(held, "api_calls", 1, held.until).stale


@given(accounts, instants)
def test_derive_is_pure_and_entitles_every_feature_of_the_catalog(account: Account, at: datetime) -> None:
    segment = derive(account, CATALOG, at)
    assert segment == derive(account, CATALOG, at)
    assert sorted(segment.entitlements) == FEATURES


@given(accounts, instants, st.sampled_from(FEATURES))
def test_what_grants_is_named_and_leads_the_trace(account: Account, at: datetime, feature: str) -> None:
    entitlement = derive(account, CATALOG, at).entitlements[feature]
    ranked = trace(account, CATALOG, feature, at)
    if entitlement.granted:
        assert entitlement.sources
        assert ranked[0].verdict == "decides"
        assert ranked[0].source in entitlement.sources


@given(accounts, instants)
def test_a_snapshot_survives_the_wire(account: Account, at: datetime) -> None:
    held = snapshot(account, CATALOG, at)
    assert msgspec.json.decode(msgspec.json.encode(held), type=Snapshot) == held


def test_row_1_a_block_outranks_everything() -> None:
    block = operator_fact("block:fraud", Block("fraud", "chargeback", expires_at=T0 + DAY), 60)
    account = account_with(subscription(), facts=(override(Override("exports", value=True)), block))
    assert entitled(account, "exports").reason == "blocked"
    assert entitled(account, "exports").sources[0].note == "chargeback"
    assert entitled(account, "exports", T0 + DAY).granted


@pytest.mark.parametrize(("said", "limit"), [(Override("api_calls", limit=10), 10), (Override("seats", limit=0), 0)])
def test_row_2_an_override_below_the_plan_takes_effect(said: Override, limit: int) -> None:
    account = account_with(subscription(), facts=(override(said),))
    assert entitled(account, said.feature).limit == limit
    assert entitled(account, said.feature).reason == "override"


def test_row_2_an_override_limit_is_hard_even_where_the_plan_is_soft() -> None:
    scale = account_with(subscription(item("scale")))
    assert entitled(scale, "api_calls").soft
    held = account_with(subscription(item("scale")), facts=(override(Override("api_calls", limit=5)),))
    assert not entitled(held, "api_calls").soft


def test_row_2_an_override_changes_the_units_but_not_the_period() -> None:
    plain = entitled(account_with(subscription()), "api_calls")
    more = entitled(account_with(subscription(), facts=(override(Override("api_calls", limit=1)),)), "api_calls")
    assert (plain.from_at, plain.resets_at) == (more.from_at, more.resets_at)


def test_row_2_an_override_that_says_no_denies_what_the_plan_gives() -> None:
    account = account_with(subscription(), facts=(override(Override("exports", value=False)),))
    assert entitled(account, "exports").reason == "override_denied"


def test_row_2_added_units_ride_on_the_plan_and_stay_suspended_with_it() -> None:
    more = (override(Override("seats", add=5)),)
    assert entitled(account_with(subscription(item("pro", 3)), facts=more), "seats").limit == 8
    paused = account_with(subscription(status="paused"), facts=(override(Override("ai_credits", add=5)),))
    assert entitled(paused, "ai_credits").reason == "paused"
    free = account_with(facts=(override(Override("ai_credits", add=5)),))
    assert entitled(free, "ai_credits").limit == 5


def test_row_3_add_ons_add_their_units_times_their_quantity() -> None:
    account = account_with(subscription(item("pro"), item("extra_calls", 2)))
    entitlement = entitled(account, "api_calls")
    assert entitlement.limit == 200_000
    assert [source.reason for source in entitlement.sources] == ["plan", "add_on"]


def test_row_3_an_add_on_setting_outranks_any_plan() -> None:
    assert entitled(account_with(subscription(item("scale"), item("archive"))), "retention").value == 3650


def test_row_4_the_largest_of_several_plans_counts_and_quantities_sum() -> None:
    account = account_with(
        subscription(item("pro", 3), id="sub_a"),
        subscription(item("pro", 2), id="sub_b"),
    )
    assert entitled(account, "seats").limit == 5
    assert entitled(account, "api_calls").limit == 100_000
    both = account_with(subscription(item("pro", 3), id="sub_a"), subscription(item("scale"), id="sub_b"))
    assert entitled(both, "seats").unlimited
    assert entitled(both, "retention").value == 365


def test_row_5_the_default_plan_is_silent_as_soon_as_a_plan_is_bought() -> None:
    assert entitled(account_with(), "seats").limit == 1
    assert entitled(account_with(), "seats").plan == "free@1"
    assert entitled(account_with(subscription(item("pro", 4))), "seats").limit == 4


def test_several_customers_of_one_account_count_together() -> None:
    second = customer_fact(subscription(item("extra_calls"), id="sub_2"), number=2, customer="cus_2")
    account = account_with(subscription(id="sub_1"), facts=(second,))
    assert entitled(account, "api_calls").limit == 150_000


def test_an_item_of_quantity_0_buys_nothing() -> None:
    assert entitled(account_with(subscription(item("pro", 0))), "editor").reason == "not_in_plan"


@pytest.mark.parametrize(
    ("days", "exports", "editor", "calls"),
    [
        (0, (True, "grace"), (True, "grace"), 100_000),
        (7, (True, "grace"), (False, "past_due"), None),
        (21, (False, "past_due"), (False, "past_due"), 1000),
    ],
)
def test_the_access_ladder_opens_reading_and_export_longer_than_writing(
    days: int, exports: tuple[bool, str], editor: tuple[bool, str], calls: int | None
) -> None:
    account = account_with(subscription(status="past_due", unpaid_since=T0))
    at = T0 + days * DAY
    found = {key: entitled(account, key, at) for key in ("exports", "editor", "api_calls")}
    assert (found["exports"].granted, found["exports"].reason) == exports
    assert (found["editor"].granted, found["editor"].reason) == editor
    assert found["api_calls"].limit == calls


def test_an_ended_subscription_explains_a_denial_until_another_takes_its_place() -> None:
    ended = subscription(status="canceled", ended_at=T0, id="sub_old")
    assert entitled(account_with(ended), "exports").reason == "canceled"
    assert entitled(account_with(ended, subscription(item("scale"), id="sub_new")), "editor").reason == "not_in_plan"


def test_a_trial_that_ran_out_says_so() -> None:
    ended = subscription(status="canceled", ended_at=T0, trial_ran_out=True)
    assert entitled(account_with(ended), "exports").reason == "trial_ended"
    running = subscription(status="trialing", trial_ends_at=T0 + DAY, after_trial="canceled")
    assert entitled(account_with(running), "exports").reason == "trial"
    assert entitled(account_with(running), "exports", T0 + DAY).reason == "trial_ended"


def test_units_paid_in_credits_are_entitled_by_the_credits() -> None:
    entitlement = entitled(account_with(subscription()), "tokens")
    assert (entitlement.reason, entitlement.credit, entitlement.limit) == ("credit", "ai_credits", 5000)
    assert entitled(account_with(), "tokens").reason == "not_in_plan"


def test_periods_follow_the_subscription_and_clamp_at_the_months_end() -> None:
    january = datetime(2026, 1, 31, 9, tzinfo=UTC)
    account = account_with(msgspec.structs.replace(subscription(), anchor_at=january))
    resets = [entitled(account, "api_calls", datetime(2026, m, 15, tzinfo=UTC)).resets_at for m in (2, 3, 4)]
    assert [at and at.date().isoformat() for at in resets] == ["2026-02-28", "2026-03-31", "2026-04-30"]


def test_what_a_person_should_look_at_is_found() -> None:
    ended = customer_fact(subscription(status="canceled", id="sub_9"), number=1)
    later = customer_fact(
        subscription(item("nothing"), id="sub_1"),
        subscription(status=None, provider_status="napping", id="sub_2"),
        subscription(id="sub_9"),
        number=2,
    )
    account = account_with(facts=(ended, later, override(Override("exports", limit=3))))
    assert sorted(finding.code for finding in findings(account, CATALOG)) == [
        "override_ignored",
        "revived_subscription",
        "unknown_status",
        "unmapped_price",
    ]
