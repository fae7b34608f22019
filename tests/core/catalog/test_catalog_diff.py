"""Catalogs written back as documents, and compared."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import paygrade.cli
from paygrade.catalog.diff import Change, compare, render
from paygrade.catalog.model import Catalog
from paygrade.catalog.parse import parse
from paygrade.documents.yaml import read_yaml

SAMPLE = (Path(paygrade.cli.__path__[0]) / "sample" / "paygrade.yaml").read_text()


BUYS = "below: 500, add: 5000, at_most: 3, every: month, price: { amount: 2000, currency: usd }"


def read(text: str, previous: Catalog | None = None) -> Catalog:
    return parse(read_yaml(text)[0], previous=previous)


def test_the_sample_written_back_is_the_same_catalog() -> None:
    catalog = read(SAMPLE)
    assert parse(render(catalog)) == catalog


def test_a_document_says_nothing_that_goes_without_saying() -> None:
    document: Any = render(read("version: 1\nfeatures: { on: { kind: boolean } }\nplans: { pro: {} }\n"))
    assert document["features"] == {"on": {"kind": "boolean"}}
    assert document["plans"] == {"pro": {}}
    assert "add_ons" not in document


EVERY = st.sampled_from(
    [
        *("hour", "day", "week", "month", "quarter", "year", "10d", "36h"),
        {"period": "month", "align": "calendar", "zone": "Europe/Berlin"},
        {"period": "hour", "align": "calendar"},
        {"period": "week", "zone": "Asia/Kolkata"},
    ]
)
UNITS = st.integers(0, 2**53 - 1)
POSITIVE = st.integers(1, 2**53 - 1)
WARN = st.sets(st.integers(1, 1000), max_size=3).map(sorted)
OVERAGE = st.sampled_from(["hard", "soft"])
LIMIT = UNITS | st.just("quantity")
PAID = st.fixed_dictionaries(
    {
        "price": st.fixed_dictionaries(
            {"amount": POSITIVE, "currency": st.sampled_from(["usd", "eur"])}, optional={"per": POSITIVE}
        )
    },
    optional={"spend_cap": POSITIVE},
)
CAPS = st.lists(
    st.fixed_dictionaries({"limit": POSITIVE, "rolling": st.sampled_from(["1m", "90s", "33d"])})
    | st.fixed_dictionaries(
        {"limit": POSITIVE, "every": st.sampled_from(["3h", {"period": "day", "align": "calendar"}])}
    ),
    max_size=3,
    unique_by=lambda cap: str(cap.get("rolling", cap.get("every"))),
)
USE = {"per_member": POSITIVE, "caps": CAPS, "priority": st.integers(0, 100)}
TERMS = st.fixed_dictionaries(
    {},
    optional={
        "on": st.booleans(),
        "days": st.integers(-(2**53) + 1, 2**53 - 1),
        "seats": UNITS
        | st.just("unlimited")
        | st.fixed_dictionaries({"limit": LIMIT}, optional={"overage": OVERAGE, "warn": WARN}),
        "calls": st.just("unlimited")
        | st.fixed_dictionaries({"limit": st.just("unlimited")}, optional={"every": EVERY, "caps": CAPS})
        | st.fixed_dictionaries(
            {"limit": LIMIT, "every": st.just("lifetime")}, optional={"overage": OVERAGE | PAID, **USE}
        )
        | st.fixed_dictionaries(
            {"limit": LIMIT, "rolling": st.sampled_from(["2m", "34d"])},
            optional={"overage": OVERAGE, "warn": WARN, **USE},
        )
        | st.fixed_dictionaries(
            {"limit": LIMIT, "every": EVERY},
            optional={"overage": OVERAGE | PAID, "warn": WARN, "rollover": UNITS, **USE},
        ),
        "coins": st.fixed_dictionaries({"grant": UNITS, "every": st.just("lifetime")}, optional=USE)
        | st.fixed_dictionaries({"grant": UNITS, "every": EVERY}, optional={"rollover": UNITS, **USE}),
    },
)
RATE = st.fixed_dictionaries({"rate": POSITIVE}, optional={"per": POSITIVE})
BURN = st.fixed_dictionaries(
    {"rate": POSITIVE},
    optional={
        "per": POSITIVE,
        "by": st.fixed_dictionaries(
            {
                "property": st.sampled_from(["model", "region"]),
                "rates": st.dictionaries(st.sampled_from(["large", "gpt 5.1", "Ä"]), RATE, min_size=1),
            }
        ),
    },
)
METER = st.fixed_dictionaries(
    {"meter": st.sampled_from(["a", "b"])}, optional={"report": st.sampled_from(["all", "overage"])}
)
CALLS = st.fixed_dictionaries(
    {"kind": st.just("metered"), "aggregate": st.just("max"), "value": st.just("size")},
    optional={"burns": st.fixed_dictionaries({"coins": BURN}), "stripe": METER},
)
TOP_UP = st.fixed_dictionaries(
    {
        "below": POSITIVE,
        "add": POSITIVE,
        "at_most": POSITIVE,
        "every": st.sampled_from(["day", "year"]),
        "price": st.fixed_dictionaries({"amount": POSITIVE, "currency": st.just("usd")}),
    }
)
ADDITIONS = st.fixed_dictionaries(
    {}, optional={"on": st.just(True), "seats": st.fixed_dictionaries({"add": st.just("quantity") | st.integers(1, 9)})}
)
STEPS = st.lists(st.sampled_from(["7d", "90s", "1w2d", "36h", "1d1h1m1s", "61m"]), max_size=3).map(
    lambda durations: [{"for": duration, "access": "read"} for duration in durations] + [{"then": "pro"}]
)
CONSEQUENCE = st.sampled_from(["ignore", "void_rest", "end_at_period_end", "end_now"])
CONSEQUENCES = CONSEQUENCE | st.fixed_dictionaries({}, optional={"full": CONSEQUENCE, "partial": CONSEQUENCE})
RETURNED = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("refund", "dispute", "dispute_lost", "credit_note"), CONSEQUENCES)
)
INVITATIONS = st.fixed_dictionaries(
    {}, optional={"expire_after": st.sampled_from(["never", "7d", "14d"]), "hold_seat": st.booleans()}
)
OVER_LIMIT = st.sampled_from(["refuse", "block_new", "keep"])
RULES = st.fixed_dictionaries(
    {"when": st.sampled_from(["now", "period_end"])},
    optional={
        "proration": st.sampled_from(["charge_now", "next_invoice", "none"]),
        "anchor": st.sampled_from(["keep", "reset"]),
        "usage": st.sampled_from(["keep", "prorate", "reset", "convert"]),
        "cooling_off": st.sampled_from(["period", "14d"]),
        "seats": st.sampled_from(["suspend", "owner_chooses", "release_newest", "release_least_active"]),
        "over_limit": OVER_LIMIT
        | st.fixed_dictionaries({}, optional={"*": OVER_LIMIT, "seats": OVER_LIMIT, "calls": OVER_LIMIT}),
    },
).flatmap(lambda rule: st.just([rule]) | st.just([{**rule, "over_limit": {"coins": "grace"}, "grace": "36h"}]))
DOCUMENTS = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "features": st.fixed_dictionaries(
            {
                "on": st.sampled_from([{}, {"seat": "seats"}]).map(
                    lambda more: {"kind": "boolean", "roles": ["owner"], "access": "admin", **more}
                ),
                "days": st.just({"kind": "config", "type": "integer", "description": "How long."}),
                "seats": st.just({"kind": "level", "unit": "seat", "on_error": "allow"})
                | st.fixed_dictionaries(
                    {"kind": st.just("level"), "unit": st.just("seat")},
                    optional={
                        "event": st.just("held"),
                        "value": st.just("size"),
                        "aggregate": st.sampled_from(["sum", "last", "max"]),
                    },
                ),
                "calls": CALLS,
            }
        ),
        "credits": st.sampled_from([{"coins": {"unit": "coin"}}, {"coins": {"without_plan": "sleep"}}]),
        "plans": st.fixed_dictionaries({"pro": st.fixed_dictionaries({"entitlements": TERMS})}),
        "add_ons": st.fixed_dictionaries({"more": st.fixed_dictionaries({"entitlements": ADDITIONS})}),
        "policies": st.fixed_dictionaries(
            {"past_due": STEPS},
            optional={
                "top_up": st.fixed_dictionaries({}, optional={"coins": TOP_UP}),
                "plan_change": RULES,
                "returned_payment": RETURNED,
                "invitations": INVITATIONS,
                "removed_items": st.sampled_from(["now", "period_end"]),
                "checkout": st.fixed_dictionaries(
                    {},
                    optional={
                        "trial": st.sampled_from(["once", "never"]),
                        "coupons": st.sampled_from(["any", "none", ["launch", "spring"]]),
                        "promotion_codes": st.booleans(),
                    },
                ),
            },
        ),
    }
)


@given(DOCUMENTS)
def test_a_catalog_written_back_is_the_same_catalog(document: dict[str, object]) -> None:
    catalog = parse(document)
    assert parse(render(catalog)) == catalog


@given(DOCUMENTS, DOCUMENTS)
def test_catalogs_without_differences_are_equal(one: dict[str, object], other: dict[str, object]) -> None:
    first, second = parse(one), parse(other)
    assert (compare(first, second) == ()) == (first == second)


def test_each_difference_is_named_by_its_place() -> None:
    old = read(SAMPLE)
    edited = (
        SAMPLE.replace("amount: 9900,", "amount: 8900,")
        .replace("projects: 2\n", "projects: 3\n")
        .replace("      audit_log: true\n", "", 1)
        .replace("trial: { days: 14 }", "trial: { days: 30 }")
        .replace("seats: { kind: level, unit: seat }", "seats: { kind: level, unit: user }")
        .replace("- { for: 14d, access: read }", "- { for: 7d, access: read }")
        .replace("add_ons: ", "  team: { entitlements: { exports: true } }\n\nadd_ons: ")
    )
    assert compare(old, read(edited, previous=old)) == (
        Change("/features/seats", "{ kind: level, unit: seat }", "{ kind: level, unit: user }"),
        Change("/plans", "in ascending order: free, pro, business", "in ascending order: free, pro, business, team"),
        Change("/plans/free", "free@1 { default: true }", "free@2 { default: true }"),
        Change("/plans/free/entitlements/projects", "2", "3"),
        Change(
            "/plans/pro",
            "pro@1 { trial: { days: 14 }, stripe: prod_pro }",
            "pro@2 { trial: { days: 30 }, stripe: prod_pro }",
        ),
        Change(
            "/plans/pro/prices/monthly",
            "{ amount: 9900, currency: usd, interval: month, stripe: pro_monthly }",
            "{ amount: 8900, currency: usd, interval: month, stripe: pro_monthly }",
        ),
        Change("/plans/business", "business@1 { stripe: prod_business }", "business@2 { stripe: prod_business }"),
        Change("/plans/team", None, "team@1"),
        Change("/plans/team/entitlements/exports", None, "true"),
        Change(
            "/policies/past_due",
            "[{ for: 7d, access: full }, { for: 14d, access: read }, { then: free }]",
            "[{ for: 7d, access: full }, { for: 7d, access: read }, { then: free }]",
        ),
        Change("/plans/business/entitlements/audit_log", "true", None),
    )


def test_the_words_of_metering_are_differences_like_any_other() -> None:
    old = read(SAMPLE)
    edited = (
        SAMPLE.replace("large: { rate: 3,", "large: { rate: 4,")
        .replace("event: api_call ", "stripe: { meter: calls, report: all }\n    event: api_call ")
        .replace("limit: 600, rolling: 1m", "limit: 900, every: { period: hour, align: calendar }")
        .replace("policies:\n", f"policies:\n  top_up: {{ ai_credits: {{ {BUYS} }} }}\n")
    )
    differences = compare(old, read(edited, previous=old))
    assert [(change.pointer, change.after) for change in differences] == [
        (
            "/features/api_calls",
            "{ kind: metered, event: api_call, unit: call, stripe: { meter: calls, report: all }, on_error: allow }",
        ),
        (
            "/features/tokens",
            "{ kind: metered, event: completion, aggregate: sum, value: tokens, unit: token, burns: { ai_credits: "
            "{ rate: 1, per: 1000, by: { property: model, rates: { large: { rate: 4, per: 1000 } } } } } }",
        ),
        ("/plans/pro", "pro@2 { trial: { days: 14 }, stripe: prod_pro }"),
        (
            "/plans/pro/entitlements/api_calls",
            "{ limit: 100000, every: month, overage: { price: { amount: 2, per: 100, currency: usd }, spend_cap: 5000 }"
            ", warn: [80, 100], caps: [{ limit: 900, every: { period: hour, align: calendar } }] }",
        ),
        ("/policies/top_up/ai_credits", f"{{ {BUYS} }}"),
    ]


def test_a_difference_reads_as_a_line() -> None:
    old = read("version: 1\nfeatures: { on: { kind: boolean }, off: { kind: boolean } }\nplans: {}\n")
    new = read("version: 1\nfeatures: { on: { kind: level }, new: { kind: boolean } }\nplans: {}\n")
    assert [str(change) for change in compare(old, new)] == [
        "changed /features/on: { kind: boolean } -> { kind: level }",
        "added /features/new: { kind: boolean }",
        "removed /features/off: { kind: boolean }",
    ]


def test_the_policy_of_removed_items_is_a_line_of_a_difference() -> None:
    old = read(SAMPLE)
    edited = SAMPLE.replace("policies:\n", "policies:\n  removed_items: period_end\n", 1)
    (change,) = compare(old, read(edited, previous=old))
    assert (change.pointer, change.before, change.after) == ("/policies/removed_items", None, "period_end")


def test_against_nothing_everything_is_added() -> None:
    changes = compare(None, read(SAMPLE))
    assert {change.action for change in changes} == {"added"}
    assert "/plans/pro/entitlements/seats" in [change.pointer for change in changes]
