"""The table of what each state leaves of each plan, held to the decisions themselves; and ladders of a plan's own."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import paygrade.cli
from paygrade.billing.accounts import Account, replay
from paygrade.billing.facts import Item, ReturnedOfPeriod, Subscription
from paygrade.billing.standing import rungs, standing_at
from paygrade.catalog.diff import compare, render
from paygrade.catalog.model import (
    Catalog,
    Consequence,
    Consequences,
    Ladder,
    Ladders,
    Plan,
    ReturnedPayment,
    Step,
    Switch,
)
from paygrade.catalog.offers import Credit, MeteredFeature
from paygrade.catalog.parse import parse
from paygrade.decisions.decide import decide
from paygrade.decisions.diff import effects, today
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.decisions.take import snapshot_of
from paygrade.documents.yaml import read_yaml
from paygrade.entitlements.derive import derive
from paygrade.entitlements.ladders import AccessLeft, ladder_table
from paygrade.entitlements.sources import offers
from support.catalog_texts import FEATURES, mistakes, read
from support.samples import CATALOG, T0, account_with, customer_fact, subscription

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
PERIOD = timedelta(days=30)
STORIES = Path(__file__).parents[2] / "stories" / "language" / "catalogs"
SOLD = [
    *sorted((Path(paygrade.cli.__path__[0]) / "sample").glob("*.yaml")),
    *(STORIES / f"{name}.yaml" for name in ("standard", "no_free_plan", "returned", "metered")),
]
LACKS_ROOM = {"limit_reached", "insufficient_credit", "role_not_permitted", "no_seat"}
AMOUNT = {"refund": "refunded", "dispute": "disputed", "dispute_lost": "lost", "credit_note": "credited"}


def stands(plan: str, row: AccessLeft) -> Account:
    """An account that has bought the plan, and stands as a row of its table says."""
    went_back = ReturnedOfPeriod(paid=900, until=T0 + PERIOD, **{AMOUNT[row.returned]: 900}) if row.returned else None
    bought = Subscription(
        "sub_1",
        row.status,
        (Item("si_1", plan=plan, period_from_at=T0, period_until=T0 + PERIOD),),
        T0,
        unpaid_since=T0 if row.status in ("past_due", "unpaid") else None,
        returned=went_back,
    )
    return replay("acme", [customer_fact(bought)])


def instants_of(row: AccessLeft) -> Iterator[timedelta]:
    """The first instant of a row, and the last."""
    begins = PERIOD if row.from_s is None else timedelta(seconds=row.from_s)
    yield begins
    if row.until_s is not None:
        yield timedelta(seconds=row.until_s) - SECOND
    if row.consequence == "end_at_period_end" and row.from_s == 0:
        yield PERIOD - SECOND


def is_given(catalog: Catalog, plan: Plan, row: AccessLeft, key: str) -> bool:
    """Whether a feature is had by the words of the table, and what the plans contain."""
    offer = offers(catalog)[key]
    opened = row.credits if isinstance(offer, Credit) else offer.access in row.open
    beside = catalog.plans[row.counts_as] if row.counts_as is not None else None
    for its, shut in ((plan, not opened), (beside, False)):
        term = its.terms.get(key) if its is not None else None
        if term is not None and not shut and not (isinstance(term, Switch) and not term.on):
            return True
    burns = offer.burns if isinstance(offer, MeteredFeature) else ()
    return any(is_given(catalog, plan, row, burn.credit) for burn in burns)


def hold_to_its_table(catalog: Catalog) -> int:
    """Ask for everything in every row of every plan; how often that was."""
    asked = 0
    for plan in catalog.plans.values():
        rows = ladder_table(catalog, plan).rows
        assert {row.status for row in rows} == set(get_args(Subscription.__annotations__["status"])[0].__args__)
        for row in rows:
            account = stands(plan.key, row)
            for after in instants_of(row):
                segment = derive(account, catalog, T0 + after)
                held = snapshot_of("acme", "1.1", segment.from_at, segment.until, [segment])
                for key in offers(catalog):
                    asked += 1
                    hold_one(held, key, given=is_given(catalog, plan, row, key), where=(plan.key, row, after, key))
    return asked


def hold_one(held: Snapshot, key: str, *, given: bool, where: object) -> None:
    assert entitlements_at(held, held.as_of)[key].granted == given, where
    decided = decide(held, key, 1, held.as_of)
    assert decided.allowed == given or (given and decided.reason in LACKS_ROOM), (where, decided)


@pytest.mark.parametrize("file", SOLD, ids=lambda file: file.stem)
def test_every_decision_in_every_state_is_what_the_table_says(file: Path) -> None:
    document, lines = read_yaml(file.read_text())
    catalog = parse(document, lines=lines)
    assert hold_to_its_table(catalog) > len(catalog.plans) * len(offers(catalog)) * 10


def _steps(lengths: list[int], closes: int, then: str | None) -> Ladder:
    ends = [sum(lengths[: number + 1]) for number in range(len(lengths))]
    dated = (Step(DAY * end, "full" if number < closes else "read") for number, end in enumerate(ends))
    return (*dated, Step(None, "none", then))


def ladders(*plans: str) -> st.SearchStrategy[Ladder]:
    lengths = st.lists(st.integers(1, 20), max_size=3)
    return st.builds(_steps, lengths, st.integers(0, 3), st.sampled_from((None, *plans)))


def paused(*plans: str) -> st.SearchStrategy[Ladder]:
    return st.sampled_from((None, *plans)).map(lambda then: (Step(None, "none", then),))


def own(*plans: str) -> st.SearchStrategy[Ladders]:
    dated = st.none() | ladders(*plans)
    return st.builds(Ladders, past_due=dated, unpaid=dated, paused=st.none() | paused(*plans))


consequences = st.sampled_from(get_args(Consequence)).map(Consequences)
returned = st.builds(
    ReturnedPayment,
    refund=consequences,
    dispute=consequences,
    dispute_lost=st.none() | consequences,
    credit_note=consequences,
)


@settings(max_examples=8)
@given(ladders("free"), ladders("free", "pro"), paused("free"), own(), own("free"), own("free", "pro"), returned)
def test_the_table_holds_for_whatever_ladders_a_catalog_and_its_plans_have(
    past_due: Ladder, unpaid: Ladder, rests: Ladder, free: Ladders, pro: Ladders, scale: Ladders, back: ReturnedPayment
) -> None:
    policies = replace(CATALOG.policies, past_due=past_due, unpaid=unpaid, paused=rests, returned=back)
    of_plans = {"free": free, "pro": pro, "scale": scale}
    plans = {key: replace(plan, ladders=of_plans.get(key, Ladders())) for key, plan in CATALOG.plans.items()}
    hold_to_its_table(replace(CATALOG, policies=policies, plans=plans))


OWN = """\
plans:
  free: { default: true, entitlements: { retention: 7 } }
  pro: { entitlements: { exports: true } }
  team:
    entitlements: { exports: true }
    policies:
      past_due: [{ for: 30d, access: full }, { then: pro }]
"""
TEAM = Item("si_team", plan="team")


def late(*items: Item) -> Subscription:
    return replace(subscription(*items, status="past_due"), unpaid_since=T0)


def test_the_highest_plan_of_a_subscription_says_how_its_arrears_go_on() -> None:
    catalog = read(FEATURES + OWN)
    for items, lasts in (((TEAM,), 30), ((Item("si_pro", plan="pro"), TEAM), 30), ((Item("si_pro", plan="pro"),), 7)):
        standing = standing_at(late(*items), catalog, T0)
        assert (standing.state, standing.until) == ("grace", T0 + DAY * lasts)
        assert [rung.until for rung in rungs(standing, catalog)] == [T0 + DAY * lasts, None]
    # What was not bought says nothing; what is left out of a plan's own is the catalog's.
    assert standing_at(late(Item("si_pro", plan="pro"), replace(TEAM, quantity=0)), catalog, T0).until == T0 + DAY * 7
    assert standing_at(late(TEAM), catalog, T0 + DAY * 30).plan == "pro"
    assert standing_at(replace(late(TEAM), status="unpaid"), catalog, T0).plan == "free"
    # In arrears for a dearer plan, it is the plan that was paid for last whose ladder counts.
    not_paid = replace(late(TEAM), paid_items=(Item("si_team", plan="pro"),))
    assert standing_at(not_paid, catalog, T0).until == T0 + DAY * 7


def test_a_plans_own_ladder_is_no_part_of_its_version_and_is_told_as_a_difference() -> None:
    before = read(FEATURES + OWN)
    after = read(FEATURES + OWN.replace("30d", "10d"), version=2, previous=before)
    assert after.plans["team"].ref == "team@1"
    (change,) = compare(before, after)
    assert change.pointer == "/plans/team/policies/past_due"
    assert parse(render(after), previous=before, version=2) == after
    # Who is in arrears today is told to lose what the change takes.
    gone = read(FEATURES + OWN.replace("30d", "10d").replace("then: pro", "then: none"), version=2, previous=before)
    at, acme = T0 + DAY * 20, account_with(late(TEAM))
    assert effects(today(acme, before, at), today(acme, after, at), ["exports"], at) == [], "`pro` has them, too"
    (lost,) = effects(today(acme, before, at), today(acme, gone, at), ["exports"], at)
    assert lost.how == "loses"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("past_due: [{ then: team }]", "`team` can't end as `team`; write `then` with a plan further up, or `none`"),
        ("past_due: [{ then: max }]", "`team` can't end as `max`"),
        ("paused: [{ then: max }]", "`team` can't end as `max`"),
        ("past_due: [{ then: tem }]", "unknown plan `tem`; did you mean `team`?"),
        ("past_due: [{ for: 7d, access: read }]", "the last step must say which access is left"),
        ("plan_change: []", "`plan_change` is the same for all plans; move it to the catalog's `policies`"),
        ("past_du: []", "did you mean `past_due`?"),
        (f"past_due: [{'{ for: 1d, access: full }, ' * 50}{{ then: free }}]", "a ladder has at most 50 steps"),
    ],
)
def test_a_wrong_ladder_of_a_plan_is_named_with_what_to_write(wrong: str, message: str) -> None:
    text = OWN.replace("past_due: [{ for: 30d, access: full }, { then: pro }]", wrong) + "  max: {}\n"
    (mistake,) = mistakes(FEATURES + text)
    assert message in mistake


def test_a_table_of_a_sold_plan_reads_like_its_policies() -> None:
    rows = ladder_table(CATALOG, CATALOG.plans["pro"]).rows
    told = [(row.state, row.from_s, row.until_s, row.open, row.counts_as) for row in rows if row.status == "past_due"]
    full, reads, day = ("read", "write", "export", "admin"), ("read", "export"), 86400
    assert told == [
        ("grace", 0, 7 * day, full, None),
        ("past_due", 7 * day, 21 * day, reads, None),
        ("past_due", 21 * day, None, (), "free"),
    ]
    at_end = [row for row in rows if row.returned == "dispute"]
    assert [(row.state, row.from_s, row.until_s) for row in at_end] == [("active", 0, None), ("unpaid", None, None)]
