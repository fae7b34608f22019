"""Seats: never more are used than there are, whoever was first stays longest, and what heals heals by itself."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.accounts import Account, apply, replay
from paygrade.billing.facts import Block, Fact, Member, Override
from paygrade.catalog.model import Catalog, OverSeats
from paygrade.catalog.offers import BooleanFeature, LevelFeature
from paygrade.decisions.decide import decide
from paygrade.decisions.snapshots import Snapshot
from paygrade.decisions.take import snapshot
from paygrade.entitlements.derive import derive
from paygrade.entitlements.findings import findings
from paygrade.entitlements.seats import (
    NAMED_MAX,
    SeatLoss,
    Seats,
    chosen,
    losses,
    refuse_more_than_there_are,
    seats_at,
    stated,
    suspended,
    without_seat,
)
from paygrade.values.errors import Refused
from support.samples import CATALOG, T0, accounts, customer_fact, item, operator_fact, subscription

HOUR = timedelta(hours=1)
PEOPLE = ("ann", "bo", "cy", "dee", "eve")
SEATED = replace(CATALOG, features={**CATALOG.features, "editor": BooleanFeature("editor", seat="seats")})

given_at = st.integers(0, 3).map(lambda hours: T0 - 10 * HOUR + hours * HOUR)
"""Few instants, so that many seats are given at the same one."""
often = st.sampled_from([True, True, True, False])
said = st.tuples(st.sampled_from(PEOPLE), given_at, often, st.sampled_from(["owner", "editor", "editor", None]))
activities = st.fixed_dictionaries({}, optional=dict.fromkeys(PEOPLE, given_at))
numbers = st.integers(0, 5)


def member_facts(statements: Iterable[tuple[str, datetime, bool, str | None]]) -> list[Fact]:
    """These statements as they would be recorded, one after the other."""
    account, facts = Account("acme"), []
    for number, (key, at, seat, role) in enumerate(statements, start=10):
        body = stated(account, Member(key, role, seat), at)
        facts.append(Fact(number, f"member:{key}", number, at, body))
        account = apply(account, facts[-1])
    return facts


teams = st.lists(said, min_size=3, max_size=12).map(member_facts)


def acme(facts: Iterable[Fact], seats: int | None = None) -> Account:
    """An account with a subscription for so many seats; None: with the one of the free plan."""
    bought = () if seats is None else (customer_fact(subscription(item("pro", seats))),)
    return replay("acme", (*bought, *facts)) if bought else replay("acme", (customer_fact(), *facts))


def seated(*members: str) -> list[Fact]:
    """They were given a seat in this order."""
    return member_facts((member, T0 - 10 * HOUR + place * HOUR, True, "editor") for place, member in enumerate(members))


def using(view: Snapshot, at: datetime = T0) -> set[str]:
    return {member for member in PEOPLE if decide(view, "editor", 1, at, member=member)}


def refused(account: Account, *members: Member, seats: Seats | None) -> Refused:
    with pytest.raises(Refused) as caught:
        refuse_more_than_there_are(account, members, seats, T0)
    assert caught.value.code == "no_seat_left"
    return caught.value


@given(teams, st.integers(1, 6))
def test_never_more_members_than_there_are_seats_use_one(team: list[Fact], units: int) -> None:
    account = acme(team, units)
    view = snapshot(account, SEATED, T0)
    assert len(using(view)) == min(units, len(account.seated))
    assert using(view) == set(account.seated) - set(suspended(account.seated, Seats("seats", units)))


@given(teams.flatmap(lambda team: st.tuples(st.just(team), st.permutations(team))), st.integers(1, 6))
def test_who_uses_a_seat_does_not_depend_on_the_order_statements_came_in(
    both: tuple[list[Fact], list[Fact]], units: int
) -> None:
    team, shuffled = both
    one, other = acme(team, units), acme([*shuffled, *shuffled], units)
    assert list(one.seated) == list(other.seated)
    assert snapshot(one, SEATED, T0).seats == snapshot(other, SEATED, T0).seats


@given(teams, st.integers(1, 6), st.integers(1, 6))
def test_fewer_seats_and_as_many_again_restore_exactly_what_was(team: list[Fact], units: int, fewer: int) -> None:
    before = acme(team, units)
    down = apply(before, customer_fact(subscription(item("pro", fewer)), number=70))
    back = apply(down, customer_fact(subscription(item("pro", units)), number=71))
    assert using(snapshot(down, SEATED, T0)) <= using(snapshot(before, SEATED, T0)) or fewer > units
    assert using(snapshot(back, SEATED, T0)) == using(snapshot(before, SEATED, T0))


@given(teams, numbers, st.sampled_from(get_args(OverSeats)), activities)
def test_as_many_lose_a_seat_as_are_over_and_nobody_twice(
    team: list[Fact], units: int, word: OverSeats, active_at: dict[str, datetime]
) -> None:
    account, seats = acme(team), Seats("seats", units)
    lost = losses(account, seats, word, active_at, T0)
    assert len({loss.member for loss in lost}) == len(lost) == max(0, len(account.seated) - units)
    assert {loss.member for loss in lost} <= set(account.seated)
    for number, loss in enumerate(lost, start=80):
        if loss.how == "released":
            body = without_seat(account, loss.member, T0)
            assert body.role == account.members[loss.member].role
            account = apply(account, Fact(number, f"member:{loss.member}", number, T0, body))
    again = losses(account, seats, word, active_at, T0)
    assert again == (lost if word in ("suspend", "owner_chooses") else ())


@given(teams, numbers, activities)
def test_whoever_is_released_for_few_seats_is_released_for_fewer(
    team: list[Fact], units: int, active_at: dict[str, datetime]
) -> None:
    account = acme(team)
    for word in ("release_newest", "release_least_active"):
        some = losses(account, Seats("seats", units + 1), word, active_at, T0)
        assert losses(account, Seats("seats", units), word, active_at, T0)[: len(some)] == some


@given(teams, numbers)
def test_the_newest_are_those_who_would_be_suspended(team: list[Fact], units: int) -> None:
    account, seats = acme(team), Seats("seats", units)
    leaving = [loss.member for loss in losses(account, seats, "release_newest", {}, T0)]
    assert tuple(reversed(leaving)) == suspended(account.seated, seats)


@given(teams, numbers, activities)
def test_nobody_released_was_active_later_than_one_who_stays(
    team: list[Fact], units: int, active_at: dict[str, datetime]
) -> None:
    account = acme(team)
    leaving = {loss.member for loss in losses(account, Seats("seats", units), "release_least_active", active_at, T0)}
    order = [(active_at.get(key, T0 - 999 * HOUR), key) for key in account.seated]
    assert all(gone < kept for gone in order for kept in order if gone[1] in leaving and kept[1] not in leaving)


@given(accounts)
def test_the_members_with_a_seat_are_what_is_used_of_seats(account: Account) -> None:
    view = snapshot(account, SEATED, T0)
    if account.exists and account.seated:
        assert decide(view, "seats", 0, T0).used in (None, len(account.seated))
        assert view.balances["seats"].used == len(account.seated)
    else:
        assert view.balances == {}


def test_a_member_stated_anew_keeps_the_place_and_one_given_a_seat_again_is_last() -> None:
    facts = seated("ann", "bo")
    account = acme(facts)
    assert stated(account, Member("ann", "owner", seat=True), T0).seated_at == T0 - 10 * HOUR
    gone = apply(account, Fact(60, "member:ann", 60, T0, without_seat(account, "ann", T0)))
    assert stated(gone, Member("ann", "owner", seat=True), T0).seated_at == T0
    assert stated(account, Member("bo", None, seat=True), T0) == Member("bo", None, seat=True)


def test_a_seat_that_was_stated_without_its_date_counts_from_its_statement() -> None:
    account = acme([operator_fact("member:ann", Member("ann", "owner", seat=True))])
    assert account.seated == {"ann": T0}


def test_a_level_that_comes_and_goes_takes_seats_on_the_second() -> None:
    """The snapshot knows: nobody has to be asked when an override ends."""
    ends_at = T0 + 5 * HOUR
    more = operator_fact("override:seats", Override("seats", add=1, expires_at=ends_at), 60)
    view = snapshot(acme([*seated("ann", "bo"), more], 1), SEATED, T0)
    assert using(view, ends_at - timedelta(seconds=1)) == {"ann", "bo"}
    assert using(view, ends_at) == {"ann"}


@pytest.mark.parametrize(
    ("facts", "units", "closed"),
    [
        ((), 3, None),
        ((operator_fact("override:seats", Override("seats", limit=7)),), 7, None),
        ((operator_fact("override:seats", Override("seats", unlimited=True)),), None, None),
        ((operator_fact("override:seats", Override("seats", value=False)),), 0, "override_denied"),
        ((operator_fact("block:fraud", Block("fraud")),), None, "blocked"),
    ],
)
def test_how_many_seats_there_are_and_whether_any_is_given_away(
    facts: tuple[Fact, ...], units: int | None, closed: Any
) -> None:
    segment = derive(acme(facts, 3), SEATED, T0)
    assert seats_at(segment.entitlements) == Seats("seats", units, closed)


def _with_desks(free: int | None) -> Catalog:
    terms = CATALOG.plans["free"].terms
    desks = {"desks": replace(terms["seats"], feature="desks", units=free)} if free is not None else {}
    plan = replace(CATALOG.plans["free"], terms={**terms, **desks})
    features = {**CATALOG.features, "desks": LevelFeature("desks", unit="seat")}
    return replace(CATALOG, features=features, plans={**CATALOG.plans, "free": plan})


def test_of_several_levels_the_scarcest_that_is_had_decides() -> None:
    """A member takes a seat of each; what the plan does not have is not asked."""
    team = acme(())
    assert seats_at(derive(team, CATALOG, T0).entitlements) == Seats("seats", 1)
    assert seats_at(derive(team, _with_desks(0), T0).entitlements) == Seats("desks", 0)
    assert seats_at(derive(team, _with_desks(4), T0).entitlements) == Seats("seats", 1)
    assert seats_at(derive(team, _with_desks(None), T0).entitlements) == Seats("seats", 1)


def test_a_catalog_without_seats_gives_them_to_everybody() -> None:
    bare = replace(CATALOG, features={"exports": CATALOG.features["exports"]}, plans={}, add_ons={})
    account = acme(seated("ann", "bo"))
    assert seats_at(derive(account, bare, T0).entitlements) is None
    assert (suspended(account.seated, None), losses(account, None, "release_newest", {}, T0)) == ((), ())
    refuse_more_than_there_are(account, [Member("cy", "owner", seat=True)], None, T0)


def test_a_refusal_names_who_has_a_seat_and_what_to_do() -> None:
    account = acme(seated("ann", "bo"))
    told = refused(account, Member("cy", "editor", seat=True), seats=Seats("seats", 2))
    assert told.detail == (
        "`acme` has 2 `seats`, and with `cy` it would need 3; `ann`, `bo` have one now: take one away "
        "(`seat` false), or add more `seats`"
    )
    closed = refused(account, Member("cy", "editor", seat=True), seats=Seats("seats", None, "past_due"))
    assert "at the moment [past_due]; `paygrade explain acme seats` says why" in closed.detail
    many = acme(seated(*(f"m{number:02}" for number in range(NAMED_MAX + 2))))
    assert (
        " and 2 more have one now" in refused(many, Member("cy", "editor", seat=True), seats=Seats("seats", 2)).detail
    )


def test_a_seat_changes_hands_in_one_go_and_who_is_over_may_go_on_with_fewer() -> None:
    account, both = acme(seated("ann", "bo")), Seats("seats", 2)
    refuse_more_than_there_are(account, chosen(account, ["ann", "bo"], T0), both, T0)
    refuse_more_than_there_are(account, [Member("ann", None), Member("cy", "editor", seat=True)], both, T0)
    refuse_more_than_there_are(account, [Member("ann", "admin", seat=True)], Seats("seats", 0), T0)
    refused(account, Member("ann", None), Member("cy", "editor", seat=True), seats=Seats("seats", 0))


def test_choosing_states_everybody_and_refuses_strangers() -> None:
    account = acme([*seated("ann", "bo"), *member_facts([("cy", T0, False, "viewer")])])
    assert [(one.key, one.role, one.seated_at) for one in chosen(account, ["bo", "cy"], T0)] == [
        ("ann", "editor", None),
        ("bo", "editor", T0 - 9 * HOUR),
        ("cy", "viewer", T0),
    ]
    with pytest.raises(Refused, match="has no member `dee`"):
        chosen(account, ["dee"], T0)


def test_a_suspended_seat_is_a_finding_until_there_are_enough() -> None:
    team = seated("ann", "bo", "cy")
    (found,) = findings(acme(team, 1), CATALOG, T0)
    assert (found.code, found.subject) == ("too_few_seats", "seats")
    assert found.detail.startswith(
        "3 members have a seat, 1 allowed: `bo`, `cy` can't use theirs; choose who keeps one"
    )
    assert findings(acme(team, 3), CATALOG, T0) == ()


def test_what_is_lost_says_of_which_level_and_how() -> None:
    account = acme(seated("ann", "bo"))
    assert losses(account, Seats("seats", 1), "owner_chooses", {}, T0) == (SeatLoss("bo", "seats", "suspended"),)
    assert losses(account, Seats("seats", 0), "release_newest", {}, T0) == (
        SeatLoss("bo", "seats", "released"),
        SeatLoss("ann", "seats", "released"),
    )


people = st.sampled_from(["ann", "bo", "cy", "dee"])
steps = st.lists(st.tuples(people, st.booleans(), st.integers(0, 30 * 24)), max_size=12)


@given(steps, st.integers(0, 3), st.integers(0, 60 * 24))
def test_members_and_invitations_never_hold_more_seats_than_there_are_and_no_invitation_outlives_its_end(
    said: list[tuple[str, bool, int]], units: int, late: int
) -> None:
    account, seats, codes = acme([]), Seats("seats", units), list[tuple[str, bool]]()
    for number, (key, invited, hours) in enumerate(sorted(said, key=lambda one: one[2]), 60):
        at = T0 + hours * HOUR
        try:
            body = stated(account, Member(key, "editor", seat=True, invited=invited), at)
            refuse_more_than_there_are(account, [body], seats, at)
        except Refused as refused:
            codes.append((refused.code, invited and key in account.members))
            continue
        account = apply(account, Fact(number, f"member:{key}", number, at, body))
        assert len(account.holding_seats(at)) <= units
    assert set(codes) <= {("already_member", True), ("no_seat_left", False)}
    at = T0 + late * HOUR
    assert all(one.expires_at is not None and one.expires_at > at for one in account.invitations(at).values())
    assert list(account.holding_seats(at))[: len(account.seated)] == list(account.seated)
    assert not account.invitations(at).keys() & account.members.keys()


def test_invitations_lose_their_seat_before_members_by_every_word() -> None:
    account = acme([operator_fact("member:zed", stated(acme([]), Member("zed", "editor", True, invited=True), T0), 60)])
    account = apply(account, Fact(61, "member:ann", 61, T0, Member("ann", "owner", True, T0 + HOUR)))
    for word in ("suspend", "owner_chooses", "release_newest", "release_least_active"):
        (loss,) = losses(account, Seats("seats", 1), word, {"zed": T0}, T0)
        assert loss.member == "zed"
    kept = chosen(account, ["zed"], T0)
    assert [(one.key, one.seat, one.invited) for one in kept] == [("ann", False, False), ("zed", True, True)]
