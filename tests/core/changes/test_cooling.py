"""Cooling off: whoever goes back to a plan, and there again, is given nothing anew, wherever the change was made."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from test_quote import DAY, FEB14, FEB28, NOW, account, asked, bought, catalog

from paygrade.billing.accounts import Account, apply
from paygrade.billing.facts import Fact
from paygrade.catalog.model import Catalog
from paygrade.changes.plan_change import PlanChange, cooling_until, coolings
from paygrade.changes.request import ChangeRequest
from paygrade.changes.transition import PlanTransition, transition
from paygrade.decisions.take import snapshot
from paygrade.usage.balances import Balance

HOWS = ("reset", "convert", "prorate")


class Portal:
    """One account that changes its plan at the provider, whenever it likes."""

    def __init__(self, sold: Catalog, plan: str) -> None:
        self.sold, self.at, self.plan, self.used = sold, FEB14 - 10 * DAY, plan, 900
        self.changes: list[PlanChange] = []
        self.leeways: list[Fact] = []

    def account(self, plan: str) -> Account:
        known = account(bought(plan))
        for fact in self.leeways:
            known = apply(known, fact)
        return known

    def go(self, plan: str, *, projects: int = 0, after: timedelta = timedelta(hours=1)) -> PlanTransition:
        self.at += after
        before, now = self.account(self.plan), self.account(plan)
        taken = snapshot(now, self.sold, self.at)
        window = taken.segments[0].entitlements["calls"].from_at
        held = replace(taken, balances={"calls": Balance(self.used, 0, window), "projects": Balance(projects)})
        id = f"chg_{len(self.changes)}"
        cooling = coolings(reversed(self.changes), now)
        found = transition(before, self.at, now, self.sold, held, self.at, change=id, active_at={}, coolings=cooling)
        assert found is not None
        self.used = next((one.used_after for one in found.usage if one.feature == "calls"), self.used)
        for leeway in found.leeways:
            number = 50 + len(self.leeways)
            self.leeways.append(Fact(number, f"leeway:{leeway.feature}", number, self.at, leeway))
        self.changes.append(
            PlanChange(
                account="acme", id=id, key=id, source="billing", act="change", state="applied", subscription="sub_1",
                subject="stripe:cus_1", asked_at=self.at, resolved_at=self.at, settlement=found,
            )
        )  # fmt: skip
        self.plan = plan
        return found


@pytest.mark.parametrize("how", HOWS)
@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 50)), min_size=1, max_size=6))
def test_back_and_forth_within_the_time_nothing_used_is_given_again(how: str, turns: list[tuple[int, int]]) -> None:
    portal = Portal(catalog({**NOW, "usage": how, "cooling_off": "30d"}), "pro")
    portal.go("scale")
    for hours, calls in turns:
        portal.used += calls
        before = portal.used
        found = portal.go("pro" if portal.plan == "scale" else "scale", after=timedelta(hours=hours))
        assert portal.used == before
        assert found.cooling is not None


def test_when_it_has_cooled_off_the_rule_counts_again() -> None:
    portal = Portal(catalog({**NOW, "usage": "reset", "cooling_off": "1d"}), "pro")
    portal.go("scale")
    portal.used = 700
    found = portal.go("pro", after=timedelta(days=2))
    assert (found.cooling, portal.used) == (None, 0)


def test_what_cools_for_the_period_has_cooled_off_once_that_is_over() -> None:
    portal = Portal(catalog({**NOW, "usage": "reset", "cooling_off": "period"}), "pro")
    portal.go("scale")
    (its,) = portal.account("scale").subscriptions
    assert cooling_until(portal.changes[0], its) == FEB28
    renewed = replace(its.items[0], period_from_at=FEB28, period_until=FEB28 + 31 * DAY)
    assert cooling_until(portal.changes[0], replace(its, items=(renewed,))) is None


def test_a_plan_that_was_not_had_is_no_way_back() -> None:
    rules = {"from": "pro", "to": "scale", **NOW, "usage": "reset", "cooling_off": "9d"}, {**NOW, "usage": "reset"}
    portal = Portal(catalog(*rules), "pro")
    portal.go("scale")
    portal.used = 700
    assert portal.go("japan").cooling is None
    portal.used = 700
    assert (portal.go("pro").cooling, portal.used) == ("chg_0", 700)


@pytest.mark.parametrize(("cools", "again"), [({"cooling_off": "9d"}, 0), ({}, 1)])
def test_what_is_left_for_a_while_is_left_once(cools: dict[str, str], again: int) -> None:
    portal = Portal(catalog({**NOW, "over_limit": "grace", "grace": "3d", **cools}), "pro")
    portal.go("scale")
    assert len(portal.go("pro", projects=50).leeways) == 1
    portal.go("scale", projects=50)
    assert portal.go("pro", projects=50, after=timedelta(days=1)).leeways == (), "it still stands"
    portal.go("scale", projects=50)
    assert len(portal.go("pro", projects=50, after=timedelta(days=3)).leeways) == again


def test_a_quote_says_that_nothing_is_handed_out_anew() -> None:
    sold = catalog({**NOW, "usage": "reset", "cooling_off": "9d"})
    portal = Portal(sold, "pro")
    portal.go("scale")
    known = portal.account("scale")
    free: Any = {"at": portal.at + timedelta(hours=1), "calls": 700}
    assert [one.used_after for one in asked(known, ChangeRequest(plan="pro"), sold, **free).usage] == [0]
    made = asked(known, ChangeRequest(plan="pro"), sold, **free, coolings=coolings(portal.changes, known))
    assert made.usage == ()
    assert [caveat.code for caveat in made.warnings] == ["cooling_off"]
