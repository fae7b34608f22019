"""What another catalog changes for an account: how many units there are, and how they may be used."""

from typing import Any

import pytest
from msgspec.structs import replace

from paygrade.catalog.model import Allowance, Catalog
from paygrade.catalog.offers import Cap, MeteredFeature, OveragePrice, Rate
from paygrade.decisions.diff import Effect, effects, today
from support.samples import CATALOG, MONTH, T0, account_with, subscription

ACCOUNT = account_with(subscription())


def with_calls(allowance: Allowance) -> Catalog:
    pro = CATALOG.plans["pro"]
    return replace(CATALOG, plans={**CATALOG.plans, "pro": replace(pro, terms={**pro.terms, "api_calls": allowance})})


def between(before: Catalog, after: Catalog) -> list[Effect]:
    return effects(today(ACCOUNT, before, T0), today(ACCOUNT, after, T0), CATALOG.features, T0)


CALLS = Allowance("api_calls", 1000, recurrence=MONTH)
PRICED = replace(CALLS, overage="soft", overage_price=OveragePrice(1, 10, "usd"), spend_max=100)


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (CALLS, replace(CALLS, caps=(Cap(10, rolling_s=60),)), "caps"),
        (CALLS, replace(CALLS, per_member=10), "shares of members"),
        (CALLS, replace(CALLS, rollover=10), "rollover"),
        (CALLS, replace(CALLS, overage="soft"), "overage"),
        (PRICED, replace(PRICED, spend_max=200), "overage"),
        (PRICED, replace(PRICED, overage_price=OveragePrice(1, 10, "eur")), "overage"),
        (CALLS, replace(CALLS, recurrence=None, rolling_s=86400), "rolling window"),
        (CALLS, replace(CALLS, per_member=10, rollover=10), "shares of members, rollover"),
    ],
)
def test_the_same_units_used_in_another_way_are_a_change(before: Allowance, after: Allowance, what: str) -> None:
    (effect,) = between(with_calls(before), with_calls(after))
    assert effect == Effect("acme", "api_calls", "changes", "1000", f"1000 with other {what}")


def test_more_units_are_a_gain_whatever_else_changes() -> None:
    (effect,) = between(with_calls(PRICED), with_calls(replace(PRICED, units=2000, rollover=5)))
    assert effect == Effect("acme", "api_calls", "gains", "1000", "2000 with other rollover")


def test_another_price_for_some_of_the_usage_is_a_change() -> None:
    tokens = CATALOG.features["tokens"]
    assert isinstance(tokens, MeteredFeature)
    (burn,) = tokens.burns
    dearer = replace(tokens, burns=(replace(burn, rates={"large": Rate(4, 1000)}),))
    (effect,) = between(CATALOG, replace(CATALOG, features={**CATALOG.features, "tokens": dearer}))
    assert (effect.feature, effect.how, effect.after) == ("tokens", "changes", f"{effect.before} with other rates")


def test_what_takes_a_role_or_a_seat_is_gained_by_the_account_all_the_same() -> None:
    none, some = (replace(CATALOG.plans["pro"], terms=terms) for terms in ({}, CATALOG.plans["pro"].terms))
    editor = replace(CATALOG.features["editor"], seat="seats")
    sold = [
        replace(CATALOG, features={**CATALOG.features, "editor": editor}, plans={"pro": plan}) for plan in (none, some)
    ]
    gained = {effect.feature: effect.after for effect in between(*sold) if effect.how == "gains"}
    assert (gained["billing_admin"], gained["editor"]) == ("yes", "yes")


@pytest.mark.parametrize(
    ("now", "what"),
    [({"seat": "seats"}, "need of a seat"), ({"roles": ("owner",), "seat": "seats"}, "roles, need of a seat")],
)
def test_a_role_or_a_seat_that_is_needed_from_now_on_is_a_change(now: dict[str, Any], what: str) -> None:
    editor = replace(CATALOG.features["editor"], **now)
    (effect,) = between(CATALOG, replace(CATALOG, features={**CATALOG.features, "editor": editor}))
    assert effect == Effect("acme", "editor", "changes", "yes", f"yes with other {what}")


def test_the_same_catalog_has_no_effect() -> None:
    assert between(CATALOG, CATALOG) == []
