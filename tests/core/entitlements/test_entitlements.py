"""Laws 3, 4 and 6, and the merge table row by row."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.accounts import Account, replay
from paygrade.billing.facts import Block, Fact, Item, ManualSubscription, Override, Phase
from paygrade.catalog.model import Allowance
from paygrade.catalog.offers import Burn, Credit, MeteredFeature, OveragePrice, Rate
from paygrade.decisions.decide import Decision, bound, decide
from paygrade.decisions.following import Views, remember, remembered
from paygrade.decisions.sending import views
from paygrade.decisions.snapshots import entitlements_at
from paygrade.decisions.take import snapshot, snapshot_of, with_segments
from paygrade.entitlements.derive import HORIZON, derive, trace
from paygrade.entitlements.findings import findings
from paygrade.entitlements.model import Entitlement
from paygrade.entitlements.sources import offers
from paygrade.usage.balances import Balance
from paygrade.values.periods import Recurrence, window_at
from paygrade.values.text import QUANTITY_MAX
from support.samples import (
    CATALOG,
    MONTH,
    T0,
    account_with,
    accounts,
    customer_fact,
    instants,
    item,
    operator_fact,
    subscription,
)

DAY = timedelta(days=1)
FEATURES = sorted(offers(CATALOG))


def entitled(account: Account, feature: str, at: datetime = T0) -> Entitlement:
    return derive(account, CATALOG, at).entitlements[feature]


def override(said: Override, number: int = 50) -> Fact:
    return operator_fact(f"override:{said.feature}", said, number)


def without_origin(decision: Decision) -> Decision:
    return replace(bound(decision), as_of=T0, stale=False)


# A trial that ends the subscription leaves nothing of its schedule.
@example(
    account_with(
        replace(
            subscription(item("archive", quantity=0), status="trialing", trial_ends_at=T0, after_trial="canceled"),
            next=(Phase(T0 + timedelta(seconds=1), (item("pro"),)),),
        )
    ),
    T0,
    timedelta(seconds=1),
    "ai_credits",
)
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
    shapes, sent = views([remember(held, (1,) * len(held.shape.pools))])
    read = msgspec.json.decode(msgspec.json.encode(Views(now=at, shapes=shapes, accounts=sent)), type=Views)
    assert remembered(read) == [remember(held, (1,) * len(held.shape.pools))]


@given(accounts, instants)
def test_a_snapshot_of_one_instant_can_be_asked(account: Account, at: datetime) -> None:
    segment = derive(account, CATALOG, at)
    assert decide(snapshot_of("acme", "7.1", at, at, ()), "exports", 1, at).stale
    of_one, whole = (snapshot_of("acme", "7.1", at, until, [segment]) for until in (at, segment.until))
    assert of_one.segments == whole.segments
    assert decide(of_one, "exports", 1, segment.until).stale


@given(accounts, instants)
def test_a_snapshot_gives_back_the_segments_it_was_made_of(account: Account, at: datetime) -> None:
    segments = [derive(account, CATALOG, at)]
    segments.append(derive(account, CATALOG, segments[0].until))
    made = snapshot_of("acme", "7.1", at, segments[-1].until, segments)
    assert made.segments == tuple(segments)
    assert entitlements_at(made, segments[0].until) == segments[1].entitlements
    assert with_segments(made, segments[1:]).segments == (segments[1],)


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


@pytest.mark.parametrize("said", [Override("builds", limit=1000), Override("builds", unlimited=True)])
def test_row_2_an_override_of_units_keeps_how_they_are_used_but_carries_none_over(said: Override) -> None:
    plain = entitled(account_with(subscription()), "builds")
    more = entitled(account_with(subscription(), facts=(override(said),)), "builds")
    assert (plain.rollover, more.rollover) == (20, 0)
    assert more.caps == plain.caps != ()
    kept = ("from_at", "resets_at", "anchor_at", "per_member", "warn", "priority")
    assert [getattr(more, field) for field in kept] == [getattr(plain, field) for field in kept]
    assert (more.limit, more.unlimited) == (said.limit, said.unlimited)


def test_row_2_an_override_has_no_overage_and_added_units_move_where_it_ends() -> None:
    plain = entitled(account_with(subscription(item("scale"))), "api_calls")
    # 5.01 at 0.02 for every 1,000 calls are 250,500 more.
    assert (plain.limit, plain.units_max) == (500_000, 750_500)
    added = entitled(
        account_with(subscription(item("scale")), facts=(override(Override("api_calls", add=7)),)), "api_calls"
    )
    assert (added.limit, added.units_max, added.overage_price) == (500_007, 750_507, plain.overage_price)
    replaced = entitled(
        account_with(subscription(item("scale")), facts=(override(Override("api_calls", limit=7)),)), "api_calls"
    )
    assert (replaced.limit, replaced.units_max, replaced.overage_price) == (7, None, None)


def test_row_2_an_override_of_what_is_held_for_good_has_no_window() -> None:
    account = account_with(facts=(override(Override("builds", limit=50)),))
    held = entitled(account, "builds")
    assert (held.limit, held.from_at, held.resets_at, held.rolling_s) == (50, None, None, None)


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


def test_what_credits_would_pay_is_priced_before_there_are_any() -> None:
    denied = entitled(account_with(), "tokens")
    assert (denied.granted, denied.limit, denied.credit, denied.rate, denied.per) == (
        False,
        None,
        "ai_credits",
        1,
        1000,
    )
    paid = entitled(account_with(subscription()), "tokens")
    assert (paid.property, paid.rates) == (denied.property, denied.rates) == ("model", {"large": Rate(3, 1000)})


def test_the_first_credit_that_is_granted_pays_and_the_first_of_all_would() -> None:
    tokens = CATALOG.features["tokens"]
    assert isinstance(tokens, MeteredFeature)
    dearer = replace(tokens, burns=(Burn("ai_coins", 7, 1), *tokens.burns))
    catalog = replace(
        CATALOG,
        features={**CATALOG.features, "tokens": dearer},
        credits={"ai_coins": Credit("ai_coins"), **CATALOG.credits},
    )
    paid = derive(account_with(subscription()), catalog, T0).entitlements["tokens"]
    assert (paid.granted, paid.credit, paid.rate, paid.property) == (True, "ai_credits", 1, "model")
    unpaid = derive(account_with(), catalog, T0).entitlements["tokens"]
    assert (unpaid.granted, unpaid.credit, unpaid.rate, unpaid.property) == (False, "ai_coins", 7, None)


def test_a_spend_cap_pays_for_no_more_units_than_can_be_counted() -> None:
    scale = CATALOG.plans["scale"]
    calls = replace(scale.terms["api_calls"], overage_price=OveragePrice(1, QUANTITY_MAX, "usd"))
    plans = {**CATALOG.plans, "scale": replace(scale, terms={"api_calls": calls})}
    segment = derive(account_with(subscription(item("scale"))), replace(CATALOG, plans=plans), T0)
    assert segment.entitlements["api_calls"].units_max == QUANTITY_MAX


def test_a_lifetime_is_no_window_of_any_subscription() -> None:
    free = entitled(account_with(), "builds")
    assert (free.limit, free.from_at, free.resets_at) == (10, None, None)


def test_a_rolling_window_has_a_length_and_no_ends() -> None:
    rolling = entitled(account_with(subscription(item("scale"))), "builds")
    assert (rolling.limit, rolling.rolling_s, rolling.from_at, rolling.resets_at) == (500, 86400, None, None)


def test_an_hourly_cap_makes_no_more_segments_than_there_were() -> None:
    account = account_with(subscription())
    held = snapshot(account, CATALOG, T0)
    assert held.segments[0].entitlements["builds"].anchor_at == T0
    assert [segment.until.day for segment in held.segments] == [31, 10, 30]
    assert held.until > T0 + HORIZON


RECURRING = [
    Recurrence("day"),
    MONTH,
    Recurrence("week", calendar=True, zone="Europe/Berlin"),
    Recurrence("custom", 10 * 86400),
]
UNITS = {"free": 1000, "pro": 100_000, "scale": 500_000}


@given(
    st.sampled_from(RECURRING),
    instants,
    st.lists(st.tuples(st.sampled_from(sorted(UNITS)), st.integers(0, 99)), min_size=2, max_size=6),
)
def test_law_4_up_and_down_and_up_in_a_window_never_moves_it_nor_raises_the_total(
    recurrence: Recurrence, anchor: datetime, turns: list[tuple[str, int]]
) -> None:
    plans = {
        key: replace(CATALOG.plans[key], terms={"api_calls": Allowance("api_calls", units, recurrence=recurrence)})
        for key, units in UNITS.items()
    }
    window = window_at(recurrence, anchor, T0)
    assert window.until is not None
    used = 0
    for plan, percent in sorted(turns, key=lambda turn: turn[1]):
        at = window.from_at + (window.until - window.from_at) * percent / 100
        account = account_with(replace(subscription(Item("si_1", plan=plan)), anchor_at=anchor))
        held = snapshot(account, replace(CATALOG, plans=plans), at)
        entitlement = held.segments[0].entitlements["api_calls"]
        assert (entitlement.from_at, entitlement.resets_at) == (window.from_at, window.until)
        counted = replace(held, balances={"api_calls": Balance(used, from_at=window.from_at)})
        used += decide(counted, "api_calls", 0, at).remaining or 0
        assert used <= max(UNITS[plan] for plan, _ in turns)


def test_periods_follow_the_subscription_and_clamp_at_the_months_end() -> None:
    january = datetime(2026, 1, 31, 9, tzinfo=UTC)
    account = account_with(replace(subscription(), anchor_at=january))
    resets = [entitled(account, "api_calls", datetime(2026, m, 15, tzinfo=UTC)).resets_at for m in (2, 3, 4)]
    assert [at and at.date().isoformat() for at in resets] == ["2026-02-28", "2026-03-31", "2026-04-30"]


def test_windows_stand_still_where_nothing_says_since_when() -> None:
    ended = replace(subscription(status="canceled", ended_at=T0), anchor_at=T0 - 3 * DAY)
    stated = operator_fact("subscription:sub_1", ManualSubscription(ended))
    withdrawn = operator_fact("subscription:sub_1", ManualSubscription(None), 51)
    for facts, day in (((stated,), 7), ((stated, withdrawn), 1)):
        account = replay("acme", facts)
        began = [entitled(account, "api_calls", T0 + seconds * timedelta(seconds=1)).from_at for seconds in (0, 1)]
        assert began[0] == began[1]
        assert began[0] is not None
        assert began[0].day == day


def test_what_a_person_should_look_at_is_found() -> None:
    ended = customer_fact(subscription(status="canceled", id="sub_9"), number=1)
    later = customer_fact(
        subscription(item("nothing"), id="sub_1"),
        subscription(status=None, provider_status="napping", id="sub_2"),
        subscription(id="sub_9"),
        number=2,
    )
    account = account_with(facts=(ended, later, override(Override("exports", limit=3))))
    assert sorted(finding.code for finding in findings(account, CATALOG, T0)) == [
        "override_ignored",
        "revived_subscription",
        "unknown_status",
        "unmapped_price",
    ]
