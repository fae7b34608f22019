"""The catalog: what a document means, and what is said about one that means nothing."""

import random
import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygrade.catalog.model import (
    Allowance,
    Catalog,
    CheckoutPolicy,
    PlanChangeRule,
    Quantities,
    Setting,
    Step,
    Switch,
    TopUp,
    find_bought,
)
from paygrade.catalog.offers import Burn, Cap, MeteredFeature, OveragePrice, Rate
from paygrade.catalog.parse import parse
from paygrade.values.errors import Mistake, Refused
from support.catalog_texts import FEATURES, MONTH, SAMPLE, SAMPLE_DOCUMENT, TOP_UP, mistakes, read, with_policies


def test_the_sample_has_every_kind_of_feature_and_term() -> None:
    catalog = read(SAMPLE)
    assert {feature.__struct_config__.tag for feature in catalog.features.values()} == {
        "boolean",
        "config",
        "level",
        "metered",
    }
    assert catalog.features["tokens"] == MeteredFeature(
        "tokens",
        event="completion",
        aggregate="sum",
        value="tokens",
        unit="token",
        burns=(Burn("ai_credits", 1, 1000, property="model", rates={"large": Rate(3, 1000)}),),
    )
    pro = catalog.plans["pro"]
    assert (pro.ref, pro.rank, pro.trial_days, pro.prices["monthly"].amount) == ("pro@1", 1, 14, 9900)
    assert pro.terms["exports"] == Switch("exports", on=True)
    assert pro.terms["retention"] == Setting("retention", 90)
    assert pro.terms["seats"] == Allowance("seats", 1, by_quantity=True)
    assert pro.terms["api_calls"] == Allowance(
        "api_calls",
        100_000,
        recurrence=MONTH,
        overage="soft",
        overage_price=OveragePrice(2, 100, "usd"),
        spend_max=5000,
        warn=(80, 100),
        caps=(Cap(600, rolling_s=60),),
    )
    assert pro.terms["ai_credits"] == Allowance("ai_credits", 5000, recurrence=MONTH, rollover=1000, per_member=2500)
    assert catalog.plans["business"].terms["projects"] == Allowance("projects", None)
    assert catalog.add_ons["extra_calls"].terms["api_calls"] == Allowance(
        "api_calls", 50_000, by_quantity=True, adds=True, recurrence=MONTH
    )
    assert catalog.default_plan is catalog.plans["free"]


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ("{}", "`kind` is missing; add for example `kind: boolean`"),
        ("{ kind: meterd }", "unknown word `meterd`; did you mean `metered`?"),
        ("{ kind: boolean, event: x }", "`event` is for features of kind `level` or `metered`"),
        ("{ kind: level, aggregate: count }", "unknown word `count`; write `sum`, `last` or `max`"),
        ("{ kind: boolean, burns: {} }", "`burns` is for features of kind `metered`"),
        ("{ kind: boolean, unit: x }", "`unit` is for features of kind `config`, `level` or `metered`"),
        ("{ kind: config }", "`type` is missing"),
        ("{ kind: metered, value: x }", "`count` counts events and takes no `value`"),
        ("{ kind: metered, aggregate: sum }", "`value` is missing"),
        ("{ kind: metered, event: '' }", "expected a text, not ``"),
        ("{ kind: metered, burns: { coin: { rate: 1 } } }", "unknown credit `coin`; did you mean `coins`?"),
        ("{ kind: metered, burns: { coins: { rate: 0 } } }", "expected a whole number, at least 1, not `0`"),
        (
            "{ kind: metered, burns: { coins: { rate: 1, by: { rates: { a: { rate: 1 } } } } } }",
            "`property` is missing",
        ),
        ("{ kind: metered, burns: { coins: { rate: 1, by: { property: model } } } }", "`rates` is missing"),
        (
            "{ kind: metered, burns: { coins: { rate: 1, by: { property: model, rates: {} } } } }",
            "name one or remove `by`",
        ),
        (
            "{ kind: metered, burns: { coins: { rate: 1, by: { property: model, rates: { gpt-5.1: 3 } } } } }",
            "expected a mapping, not `3`",
        ),
        (
            "{ kind: metered, burns: { coins: { rate: 1, by: { property: m, rates: { ' ': { rate: 1 } } } } } }",
            "not a name",
        ),
        (
            "{ kind: metered, burns: { coins: { rate: 1, by: { property: m, rates: { a: { per: 9 } } } } } }",
            "`rate` is",
        ),
        ("{ kind: level, stripe: { meter: x } }", "`stripe` is for features of kind `metered`"),
        ("{ kind: metered, stripe: x }", "expected a mapping, not `x`"),
        ("{ kind: metered, stripe: {} }", "`meter` is missing; add for example `meter: it`"),
        ("{ kind: metered, stripe: { meter: x, report: al } }", "unknown word `al`; did you mean `all`?"),
        ("{ kind: boolean, access: wite }", "unknown word `wite`; did you mean `write`?"),
        ("{ kind: boolean, on_error: maybe }", "unknown word `maybe`; write `allow` or `deny`"),
        ("{ kind: boolean, roles: [a, a] }", "a role is named twice"),
        ("{ kind: boolean, roles: owner }", "expected a list, not `owner`"),
        ("{ kind: boolean, seat: [seats] }", "expected the key of a level that counts seats, not"),
        (
            "{ kind: boolean, seat: coins }",
            "unknown level that counts seats `coins`; define it first",
        ),
        ("{ kind: boolean, seat: it }", "`it` counts no seats"),
        ("{ kind: level, unit: seat, seat: it }", "`it` counts seats itself; remove `seat`"),
    ],
)
def test_a_wrong_feature_is_told_what_to_write(feature: str, message: str) -> None:
    (mistake,) = mistakes(f"version: 1\nfeatures:\n  it: {feature}\ncredits: {{ coins: {{}} }}\nplans: {{}}\n")
    assert mistake.startswith("line 3: ")
    assert message in mistake


def test_a_seat_is_one_of_a_level_that_members_take_up() -> None:
    features = "seats: { kind: level }\n  desks: { kind: level, unit: seat }\n  lamps: { kind: level, unit: lamp }\n"
    known = read(
        f"version: 1\nfeatures:\n  it: {{ kind: config, type: string, seat: desks }}\n  {features}plans: {{}}\n"
    )
    assert known.features["it"].seat == "desks"
    wrong = [
        mistakes(f"version: 1\nfeatures:\n  it: {{ kind: metered, seat: {level} }}\n  {features}plans: {{}}\n")
        for level in ("lamps", "seat")
    ]
    assert wrong[0] == ["line 3: `lamps` counts no seats; name a level with `unit: seat`, or the one called `seats`"]
    assert wrong[1] == ["line 3: unknown level that counts seats `seat`; did you mean `seats`?"]


@pytest.mark.parametrize(
    ("sold", "message"),
    [
        ("plans:\n  none: {}", "a plan can't be called `none`"),
        ("plans:\n  Pro Plan: {}", "`Pro Plan` is not a key; use a-z, 0-9 and `_`"),
        ("plans:\n  a: { default: true }\n  b: { default: true }", "`a` is the default plan already"),
        ("plans:\n  a: { trial: {} }", "`days` is missing"),
        ("plans:\n  a: { stripe: price_1 }", "`price_1` is a price"),
        ("plans:\n  a: { stripe: prod_1 }\n  b: { stripe: prod_1 }", "`prod_1` at Stripe buys `a` already"),
        ("plans: { a: {} }\nadd_ons:\n  a: {}", "`a` is a plan too"),
        ("plans: {}\nadd_ons:\n  a: { default: true }", "only a plan can be the default"),
        ("plans: {}\nadd_ons:\n  a: { trial: { days: 3 } }", "only a plan has a trial"),
        ("plans: [pro]", "expected a mapping"),
        ("plans: {}\ncredits: { it: {} }", "`it` is a credit too"),
        ("plans: { pro: { quantity: { min: 5, max: 4 } } }", "`max` is less than the smallest quantity, 5"),
        ("plans: { pro: { quantity: { min: 3, step: 5 } } }", "no multiple of the step 5; write for example `min: 5`"),
        ("plans: { pro: { quantity: { max: 12, step: 5 } } }", "write for example `max: 10`"),
        ("plans: {}\nadd_ons: { more: { quantity: { min: 0 } } }", "at least 1, not `0`"),
        ("plans: {}\nadd_ons: { more: { quantity: 5 } }", "expected a mapping, not `5`"),
    ],
)
def test_a_wrong_plan_or_add_on_is_told_what_to_write(sold: str, message: str) -> None:
    (mistake,) = mistakes(f"version: 1\nfeatures: {{ it: {{ kind: boolean }} }}\n{sold}\n")
    assert message in mistake


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ("amount: -1, currency: usd, interval: month", "expected a whole number, at least 0, not `-1`"),
        ("amount: 1, currency: USD, interval: month", "three lower-case letters"),
        ("amount: 1, currency: usd, interval: quarter", "unknown word `quarter`"),
        ("amount: 1, currency: usd, interval: month, interval_count: 0", "at least 1, not `0`"),
        ("currency: usd, interval: month", "`amount` is missing; add for example `amount: 9900`"),
    ],
)
def test_a_wrong_price_is_told_what_to_write(price: str, message: str) -> None:
    (mistake,) = mistakes(f"version: 1\nfeatures: {{}}\nplans:\n  pro:\n    prices:\n      monthly: {{ {price} }}\n")
    assert mistake.startswith("line 6: ")
    assert message in mistake


def test_ten_mistakes_are_reported_at_once_in_the_order_of_their_lines() -> None:
    found = mistakes(
        """\
version: 2
features:
  exports: { kind: bolean }
  calls:
    kind: metered
    aggregate: sum
credit: {}
plans:
  pro:
    prices:
      monthly:
        amount: "99"
        currency: usd
        interval: month
    entitlements:
      seets: 5
      calls: 1000
add_ons:
  more:
    entitlements:
      calls:
        limit: 5
policies:
  past_due:
    - { for: 7 days, access: full }
    - { then: fre }
"""
    )
    assert [mistake.partition(":")[0] for mistake in found] == [
        "line 1",
        "line 3",
        "line 4",
        "line 7",
        "line 12",
        "line 16",
        "line 17",
        "line 22",
        "line 25",
        "line 26",
    ]


def test_ladder_steps_end_counted_from_the_anchor() -> None:
    ladder = "  past_due: [{ for: 7d, access: full }, { for: 1w12h, access: read }, { then: free }]\n"
    assert read(with_policies(ladder)).policies.past_due == (
        Step(timedelta(days=7), access="full"),
        Step(timedelta(days=14, hours=12), access="read"),
        Step(None, access="none", plan="free"),
    )


def test_policies_left_out_fall_back_to_the_default_plan() -> None:
    policies = read(with_policies("  {}\n")).policies
    free = Step(None, access="none", plan="free")
    assert policies.past_due == (Step(timedelta(days=7), access="full"), free)
    assert policies.unpaid == policies.paused == (free,)
    assert policies.plan_change == (
        PlanChangeRule(direction="upgrade", when="now", proration="charge_now"),
        PlanChangeRule(direction="downgrade", when="period_end", over_limit="block_new"),
        PlanChangeRule(),
    )


def test_policies_left_out_without_a_default_plan_end_in_nothing() -> None:
    policies = read("version: 1\nfeatures: {}\nplans: { pro: {} }\n").policies
    assert policies.unpaid == (Step(None, access="none"),)


def test_a_refused_change_is_a_rule_like_any_other() -> None:
    rules = "  plan_change:\n    - { from: pro, to: free, when: refuse }\n    - { when: now }\n"
    assert read(with_policies(rules)).policies.plan_change == (
        PlanChangeRule(from_plan="pro", to_plan="free", when="refuse"),
        PlanChangeRule(),
    )


def test_a_rule_says_what_becomes_of_usage_and_of_what_is_over_the_limit() -> None:
    words = "over_limit: { '*': block_new, seats: refuse, calls: grace }, grace: 14d"
    rules = f"  plan_change: [{{ when: now, proration: charge_now, anchor: reset, usage: convert, {words} }}]\n"
    assert read(with_policies(rules)).policies.plan_change == (
        PlanChangeRule(
            proration="charge_now",
            anchor="reset",
            usage="convert",
            over_limit="block_new",
            over_limits={"calls": "grace", "seats": "refuse"},
            grace=timedelta(days=14),
        ),
    )


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("past_due: []", "the last step must say which access is left"),
        ("past_due: [{ for: 7d, access: full }]", "the last step must say which access is left"),
        ("past_due: [{ then: none }, { then: free }]", "`then` lasts for good; make it the last step"),
        ("past_due: [{ then: fre }]", "unknown plan `fre`; did you mean `free`?"),
        ("past_due: [{ for: 3d, access: full, then: free }]", "`then` lasts for good; remove `for`"),
        ("past_due: [{ for: 0d, access: full }, { then: none }]", "a step must last longer than 0"),
        ("past_due: [{ for: 7, access: full }, { then: none }]", "expected a duration such as `7d` or `12h`, not `7`"),
        ("past_due: [{ for: 9999w, access: full }, { then: none }]", "a ladder lasts at most 3650d"),
        (f"past_due: [{{ for: {'999999w' * 200}, access: full }}, {{ then: none }}]", "a ladder lasts at most 3650d"),
        ("past_due: [{ for: 7d }, { then: none }]", "`access` is missing"),
        (
            "past_due: [{ for: 7d, access: read }, { for: 7d, access: full }, { then: none }]",
            "after `read` it can't give `full` again",
        ),
        ("past_due: [{ for: 7d, access: read }, { for: 7d, access: ful }, { then: none }]", "did you mean `full`?"),
        ("paused: [{ for: 7d, access: full }, { then: none }]", "Stripe gives a pause no date to count from"),
        ("plan_change: []", "the last rule must match every change"),
        ("plan_change: [{ direction: upgrade, when: now }]", "the last rule must match every change"),
        ("plan_change: [{ when: now }, { from: pro, when: now }]", "rule 1 comes first"),
        ("plan_change: [{ from: pro, when: now }, { from: pro, to: free, when: now }, { when: now }]", "rule 1"),
        ("plan_change: [{ from: prp, when: now }, { when: now }]", "unknown plan `prp`; did you mean `pro`?"),
        ("plan_change: [{ from: '*', to: '*' }]", "`when` is missing"),
        ("plan_change: [{ when: refuse, proration: none }]", "a change that is refused has no `proration`"),
        ("plan_change: [{ when: refuse, usage: reset }]", "a change that is refused has no `usage`"),
        ("plan_change: [{ when: now, over_limit: grace }]", "`grace` is missing; add for example `grace: 14d`"),
        ("plan_change: [{ when: now, over_limit: keep, grace: 3d }]", "nothing here has grace"),
        ("plan_change: [{ when: now, over_limit: { calls: grace }, grace: 0d }]", "must last longer than 0"),
        ("plan_change: [{ when: now, over_limit: { cals: keep } }]", "counted `cals`; did you mean `calls`?"),
        (
            "plan_change: [{ when: now, over_limit: { exports: keep } }]",
            "counted `exports`; write `seats`, `calls` or `coins`",
        ),
        ("plan_change: [{ when: now, over_limit: { '*': kep } }]", "unknown word `kep`; did you mean `keep`?"),
        ("plan_change: [{ when: now, anchor: now }]", "unknown word `now`; write `keep` or `reset`"),
        ("plan_change: [{ when: now, usage: halve }]", "unknown word `halve`"),
        ("plan_change: [{ when: now, seats: keep }]", "unknown word `keep`; write `suspend`, `owner_chooses`,"),
        ("plan_change: [{ when: refuse, seats: suspend }]", "a change that is refused has no `seats`"),
        ("plan_chnge: []", "did you mean `plan_change`?"),
        ("removed_items: never", "unknown word `never`; write `now` or `period_end`"),
        ("invitations: { expire_after: 0d }", "must last longer than 0"),
        ("invitations: { expire_after: 7 }", "expected a duration such as `7d` or `12h`"),
        ("invitations: { hold_seats: true }", "did you mean `hold_seat`?"),
        ("returned_payment: { refund: stop }", "unknown word `stop`; write `ignore`, `void_rest`,"),
        ("returned_payment: { refund: { ful: end_now } }", "did you mean `full`?"),
        ("returned_payment: { dispute: { partial: void_all } }", "unknown word `void_all`"),
        ("returned_payment: { refunds: ignore }", "did you mean `refund`?"),
        ("top_up: { coin: {} }", "unknown credit `coin`; did you mean `coins`?"),
        ("top_up: { coins: {} }", "`below` is missing; add for example `below: 500`"),
        (
            f"top_up: {{ coins: {{ {TOP_UP.partition(', price')[0]} }} }}",
            "`price` is missing; add for example `price: { amount: 2000, currency: usd }`",
        ),
        (f"top_up: {{ coins: {{ {TOP_UP.replace('below: 500', 'below: 0')} }} }}", "at least 1, not `0`"),
        (f"top_up: {{ coins: {{ {TOP_UP.replace('month', 'hour')} }} }}", "unknown word `hour`; write `day`"),
        (f"top_up: {{ coins: {{ {TOP_UP.replace('amount: 2000', 'amount: 0')} }} }}", "at least 1, not `0`"),
        (f"top_up: {{ coins: {{ {TOP_UP.replace('usd', 'dollar')} }} }}", "three lower-case letters"),
        ("checkout: { trial: twice }", "unknown word `twice`; write `once`, `always` or `never`"),
        ("checkout: { coupons: all }", "unknown word `all`; write `any` or `none`"),
        ("checkout: { coupons: [''] }", "the id of a coupon at Stripe"),
        ("checkout: { coupon: any }", "did you mean `coupons`?"),
    ],
)
def test_a_wrong_policy_is_told_what_to_write(policy: str, message: str) -> None:
    assert message in mistakes(with_policies(f"  {policy}\n"))[0]


def test_a_top_up_says_when_how_much_and_how_often() -> None:
    policies = read(with_policies(f"  top_up: {{ coins: {{ {TOP_UP} }} }}\n")).policies
    assert policies.top_ups == {"coins": TopUp("coins", 500, 5000, 3, "month", 2000, "usd")}
    assert read(with_policies("  {}\n")).policies.top_ups == {}


def test_a_plan_says_in_which_quantities_it_is_sold() -> None:
    sold = read(f"{FEATURES}plans: {{ pro: {{ quantity: {{ max: 20, step: 5 }} }} }}").plans["pro"].quantities
    assert sold == Quantities(5, 20, 5)
    assert [n for n in range(30) if sold.has(n)] == [5, 10, 15, 20]
    assert [str(sold), str(Quantities(3))] == ["from 5 to 20, in steps of 5", "from 3"]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("{}", CheckoutPolicy("once", (), False, False)),
        ("{ trial: never, coupons: any }", CheckoutPolicy("never", (), True, False)),
        (
            "{ trial: always, coupons: [a, b, a], promotion_codes: true }",
            CheckoutPolicy("always", ("a", "b"), False, True),
        ),
        ("{ coupons: [] }", CheckoutPolicy()),
    ],
)
def test_what_a_checkout_may_offer_is_a_policy(said: str, meant: CheckoutPolicy) -> None:
    assert read(with_policies(f"  checkout: {said}\n")).policies.checkout == meant
    assert read(with_policies("  {}\n")).policies.checkout == CheckoutPolicy()


def test_usage_is_reported_to_the_meter_a_feature_names() -> None:
    feature = "it: { kind: metered, stripe: { meter: requests, report: all } }"
    (found,) = read(f"version: 1\nfeatures: {{ {feature} }}\nplans: {{}}\n").features.values()
    assert found == MeteredFeature("it", event="it", stripe_meter="requests", report="all")


def test_a_meter_at_stripe_counts_one_feature() -> None:
    features = "{ a: { kind: metered, stripe: { meter: m } }, b: { kind: metered, stripe: { meter: m } } }"
    (mistake,) = mistakes(f"version: 1\nfeatures: {features}\nplans: {{}}\n")
    assert "`m` at Stripe counts `a` already; give each feature a meter of its own" in mistake


def test_a_plan_keeps_its_version_until_what_it_gives_or_costs_changes() -> None:
    first = read(SAMPLE)
    reordered = SAMPLE.replace("    default: true\n", "").replace("  pro:\n", "  starter: { default: true }\n  pro:\n")
    second = read(reordered.replace("{ then: free }", "{ then: starter }"), version=2, previous=first)
    assert {plan.ref for plan in second.plans.values()} == {"free@1", "starter@1", "pro@1", "business@1"}
    cheaper = SAMPLE.replace("amount: 9900,", "amount: 8900,").replace("add: 50000", "add: 60000")
    third = read(cheaper, version=3, previous=second)
    assert {plan.ref for plan in third.plans.values()} == {"free@1", "pro@2", "business@1"}
    assert {add_on.ref for add_on in third.add_ons.values()} == {"extra_calls@2", "audit@1"}
    assert read(SAMPLE, version=4, previous=third).plans["pro"].ref == "pro@3"


def test_what_was_bought_is_found_by_plan_then_price_then_lookup_key_then_product() -> None:
    catalog = read(SAMPLE)

    def bought(
        *, price: str | None = None, lookup_key: str | None = None, product: str | None = None, plan: str | None = None
    ) -> str | None:
        found = find_bought(catalog, price=price, lookup_key=lookup_key, product=product, plan=plan)
        return found.ref if found else None

    assert bought(plan="free", lookup_key="pro_monthly") == "free@1"
    assert bought(plan="extra_calls") == "extra_calls@1"
    assert bought(plan="pro@3") == "pro@1"
    assert bought(price="price_1", lookup_key="pro_yearly", product="prod_business") == "pro@1"
    assert bought(price="business_monthly", lookup_key="pro_yearly") == "business@1"
    assert bought(price="price_1", product="prod_audit") == "audit@1"
    assert bought(plan="gone", price="pro_monthly") == "pro@1"
    assert bought(plan="gone") is bought(price="price_1") is bought() is None


def test_only_the_first_hundred_mistakes_are_named_and_cost_a_search_for_similar_names() -> None:
    features: dict[str, object] = {f"feature_{number}": {"kind": "metered"} for number in range(1000)}
    terms = {f"faeture_{number}": {"limit": 1, "every": "day"} for number in range(3000)}
    document = {"version": 1, "features": features, "plans": {"pro": {"entitlements": terms}}}
    with pytest.raises(Refused) as caught:
        parse(document)
    assert "3000 mistakes" in caught.value.detail
    assert len(caught.value.mistakes) == 100
    assert all("did you mean" in mistake.message for mistake in caught.value.mistakes)


WORDS = sorted(set(re.findall(r"[a-z_]+", SAMPLE)))
KEYS = st.sampled_from(WORDS) | st.text(max_size=5)
JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=30,
)


@given(st.dictionaries(st.sampled_from([*SAMPLE_DOCUMENT, "other"]), JSON_LIKE) | JSON_LIKE)
def test_any_document_is_parsed_or_refused(document: object) -> None:
    def outcome() -> Catalog | tuple[Mistake, ...]:
        try:
            return parse(document)
        except Refused as refusal:
            return refusal.mistakes

    assert outcome()
    assert outcome() == outcome()


@given(st.randoms(use_true_random=False))
def test_the_order_of_keys_has_no_meaning_but_for_plans(shuffle: random.Random) -> None:
    assert parse(_shuffled(SAMPLE_DOCUMENT, shuffle)) == parse(SAMPLE_DOCUMENT)


def _shuffled(value: Any, shuffle: random.Random, *, keep: bool = False) -> Any:
    if not isinstance(value, dict):
        return value
    keys = list(value)
    if not keep:
        shuffle.shuffle(keys)
    return {key: _shuffled(value[key], shuffle, keep=key == "plans") for key in keys}
