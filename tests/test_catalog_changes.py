"""Catalogs written back as documents, and compared."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import paygrade.server
from paygrade.catalog import Catalog
from paygrade.catalog_changes import Change, compare, render
from paygrade.catalog_document import parse
from paygrade.server.documents import read_yaml

SAMPLE = (Path(paygrade.server.__path__[0]) / "sample" / "paygrade.yaml").read_text()


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


EVERY = st.sampled_from(["hour", "day", "week", "month", "quarter", "year", "lifetime"])
UNITS = st.integers(0, 2**53 - 1)
WARN = st.sets(st.integers(1, 1000), max_size=3).map(sorted)
OVERAGE = st.sampled_from(["hard", "soft"])
LIMIT = UNITS | st.just("quantity")
TERMS = st.fixed_dictionaries(
    {},
    optional={
        "on": st.booleans(),
        "days": st.integers(-(2**53) + 1, 2**53 - 1),
        "seats": UNITS
        | st.just("unlimited")
        | st.fixed_dictionaries({"limit": LIMIT}, optional={"overage": OVERAGE, "warn": WARN}),
        "calls": st.just("unlimited")
        | st.fixed_dictionaries({"limit": st.just("unlimited")}, optional={"every": EVERY})
        | st.fixed_dictionaries({"limit": LIMIT, "every": EVERY}, optional={"overage": OVERAGE, "warn": WARN}),
        "coins": st.fixed_dictionaries({"grant": UNITS, "every": EVERY}, optional={"rollover": UNITS}),
    },
)
ADDITIONS = st.fixed_dictionaries(
    {}, optional={"on": st.just(True), "seats": st.fixed_dictionaries({"add": st.just("quantity") | st.integers(1, 9)})}
)
STEPS = st.lists(st.sampled_from(["7d", "90s", "1w2d", "36h", "1d1h1m1s", "61m"]), max_size=3).map(
    lambda durations: [{"for": duration, "access": "read"} for duration in durations] + [{"then": "pro"}]
)
DOCUMENTS = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "features": st.just(
            {
                "on": {"kind": "boolean", "roles": ["owner"], "access": "admin"},
                "days": {"kind": "config", "type": "integer", "description": "How long."},
                "seats": {"kind": "level", "unit": "seat", "on_error": "allow"},
                "calls": {"kind": "metered", "aggregate": "max", "value": "size", "burns": {"coins": {"rate": 2}}},
            }
        ),
        "credits": st.just({"coins": {"unit": "coin"}}),
        "plans": st.fixed_dictionaries({"pro": st.fixed_dictionaries({"entitlements": TERMS})}),
        "add_ons": st.fixed_dictionaries({"more": st.fixed_dictionaries({"entitlements": ADDITIONS})}),
        "policies": st.fixed_dictionaries({"past_due": STEPS}),
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


def test_a_difference_reads_as_a_line() -> None:
    old = read("version: 1\nfeatures: { on: { kind: boolean }, off: { kind: boolean } }\nplans: {}\n")
    new = read("version: 1\nfeatures: { on: { kind: level }, new: { kind: boolean } }\nplans: {}\n")
    assert [str(change) for change in compare(old, new)] == [
        "changed /features/on: { kind: boolean } -> { kind: level }",
        "added /features/new: { kind: boolean }",
        "removed /features/off: { kind: boolean }",
    ]


def test_against_nothing_everything_is_added() -> None:
    changes = compare(None, read(SAMPLE))
    assert {change.action for change in changes} == {"added"}
    assert "/plans/pro/entitlements/seats" in [change.pointer for change in changes]
