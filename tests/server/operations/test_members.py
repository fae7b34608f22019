"""Members and seats through the house: given to nobody that are not there, taken away with their cause, and listed."""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Item, Member, Override, Subscription
from paygrade.catalog.model import OverSeats
from paygrade.changes.request import ChangeRequest
from paygrade.cli.quote_page import page
from paygrade.decisions.take import snapshot
from paygrade.entitlements.seats import SeatLoss
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.access import check, decisions, explain
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.members import (
    MembersView,
    Reconciled,
    choose_seats,
    list_members,
    put_members,
    reconcile_seats,
)
from paygrade.server.operations.accounts.rebuild import rebuild
from paygrade.server.operations.accounts.record import lock_account
from paygrade.server.operations.accounts.statements import delete_member, put_member, put_override, put_subscription
from paygrade.server.operations.accounts.timeline import timeline
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.changes.quotes import quote_change
from paygrade.server.operations.usage.answers import Answer
from paygrade.server.operations.usage.grants import read_balance
from paygrade.server.operations.usage.requests import Consume
from paygrade.server.operations.usage.use import use_together
from paygrade.server.process.settings import Settings
from paygrade.server.state.snapshots import Snapshots
from paygrade.values.errors import Refused
from support.cli_runner import Shell
from support.databases import migrated_database
from support.fake_provider import T0
from support.server_process import KEY, Api, serving

HOUR = timedelta(hours=1)
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "seats": {"kind": "level", "unit": "seat"},
        "editor": {"kind": "boolean", "seat": "seats"},
        "billing": {"kind": "boolean", "roles": ["owner"]},
        "calls": {"kind": "metered"},
    },
    "plans": {
        "free": {"default": True, "entitlements": {"seats": 1, "editor": True,
                                                   "calls": {"limit": 9, "every": "month"}}},
        "pro": {
            "prices": {"monthly": {"amount": 100, "currency": "usd", "interval": "month"}},
            "entitlements": {"seats": {"limit": "quantity"}, "editor": True, "billing": True,
                             "calls": {"limit": 99, "every": "month"}},
        },
    },
    "policies": {"plan_change": [{"when": "now", "seats": "release_least_active"}]},
}  # fmt: skip
"""What is sold: seats, and what takes one or a role."""


@pytest.fixture
async def acme(store: Store) -> Store:
    """A store with one account of three seats."""
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="ann")
    await put_account(store, account="acme", name="Acme", links={}, traits={}, at=T0)
    await put_override(store, account="acme", override=Override("seats", limit=3), at=T0)
    return store


async def seat(store: Store, *members: str) -> None:
    """Give each of them a seat, an hour after the one before."""
    for place, member in enumerate(members):
        body = Member(member, "editor", seat=True)
        await put_member(store, account="acme", member=body, at=T0 + place * HOUR)


async def fewer(store: Store, units: int) -> None:
    await put_override(store, account="acme", override=Override("seats", limit=units), at=T0 + 5 * HOUR)


async def reconciled(store: Store, word: OverSeats) -> Reconciled:
    async with store.transaction() as tx:
        published = await tx.catalogs.load()
        assert published is not None
        return await reconcile_seats(tx, await lock_account(tx, "acme"), published.catalog, word, "pc_1", T0 + 6 * HOUR)


async def uses(store: Store, member: str, *, at: Any) -> None:
    (answer,) = await use_together(store, Snapshots(), [Consume("acme", "calls", uuid.uuid4().hex, 1, member)], at)
    assert isinstance(answer, Answer)
    assert answer.took_effect


async def using(store: Store) -> list[str]:
    found = await list_members(store, account="acme", at=T0 + 9 * HOUR)
    return [one.member for one in found.members if one.seat and not one.suspended]


def shown(view: MembersView) -> list[tuple[str, bool, bool]]:
    return [(one.member, one.seat, one.suspended) for one in view.members]


@pytest.mark.anyio
async def test_the_last_seat_is_given_to_one_of_many_who_ask_at_once(acme: Store) -> None:
    await seat(acme, "ann", "bo")

    async def give(name: str) -> str:
        try:
            await put_member(acme, account="acme", member=Member(name, "editor", seat=True), at=T0)
        except Refused as refused:
            return refused.code
        return "given"

    told = await asyncio.gather(*(give(f"m{number}") for number in range(8)))
    assert sorted(told) == ["given", *["no_seat_left"] * 7]
    assert (await list_members(acme, account="acme", at=T0)).taken == 3


@pytest.mark.anyio
async def test_of_many_members_all_are_stated_or_none(acme: Store) -> None:
    many = [Member(name, "editor", seat=True) for name in ("ann", "bo", "cy", "dee")]
    with pytest.raises(Refused, match="`acme` has 3 `seats`, and with `ann`, `bo`, `cy`, `dee` it would need 4"):
        await put_members(acme, account="acme", members=many, at=T0)
    assert (await list_members(acme, account="acme", at=T0)).members == ()
    stated = await put_members(acme, account="acme", members=many[:3], at=T0)
    assert (stated.level, stated.units, stated.taken) == ("seats", 3, 3)
    # Whoever is not among them stays; one goes, and another one comes in the same go.
    swapped = [Member("cy", "viewer"), Member("dee", "editor", seat=True)]
    assert shown(await put_members(acme, account="acme", members=swapped, at=T0)) == [
        ("ann", True, False),
        ("bo", True, False),
        ("cy", False, False),
        ("dee", True, False),
    ]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("word", "released", "left"),
    [
        ("suspend", (), ["ann"]),
        ("owner_chooses", (), ["ann"]),
        ("release_newest", ("cy", "bo"), ["ann"]),
        ("release_least_active", ("bo", "ann"), ["cy"]),
    ],
)
async def test_what_becomes_of_seats_over_the_number_is_recorded_with_its_cause(
    acme: Store, word: OverSeats, released: tuple[str, ...], left: list[str]
) -> None:
    """bo was never active, ann was before cy."""
    await seat(acme, "ann", "bo", "cy")
    await uses(acme, "ann", at=T0 + 3 * HOUR)
    await uses(acme, "cy", at=T0 + 4 * HOUR)
    await fewer(acme, 1)
    done = await reconciled(acme, word)
    assert [loss.member for loss in done.lost if loss.how == "released"] == list(released)
    assert len(done.lost) == 2
    assert {loss.level for loss in done.lost} == {"seats"}
    caused = [fact for fact in (await timeline(acme, account="acme")).facts if fact.cause == ("pc_1",)]
    assert [fact.body for fact in reversed(caused)] == [Member(name, "editor") for name in released]
    assert all(fact.summary.endswith("is a member with role `editor`, on a seat → without a seat") for fact in caused)
    assert await using(acme) == left
    again = await reconciled(acme, word)
    assert again.lost == (() if released else done.lost)
    assert again.account == done.account


@pytest.mark.anyio
async def test_suspended_seats_heal_and_released_ones_do_not(acme: Store) -> None:
    await seat(acme, "ann", "bo", "cy")
    await fewer(acme, 2)
    assert (await reconciled(acme, "suspend")).lost == (SeatLoss("cy", "seats", "suspended"),)
    assert await using(acme) == ["ann", "bo"]
    await fewer(acme, 1)
    await reconciled(acme, "release_newest")
    await fewer(acme, 3)
    assert await using(acme) == ["ann"]


@pytest.mark.anyio
async def test_enough_seats_or_none_taken_leave_nothing_to_reconcile(acme: Store) -> None:
    nobody = await reconciled(acme, "release_newest")
    assert nobody.lost == ()
    await seat(acme, "ann", "bo", "cy")
    assert (await reconciled(acme, "release_least_active")).lost == ()


@pytest.mark.anyio
async def test_the_account_rebuilt_from_its_facts_has_the_same_seats(acme: Store) -> None:
    await seat(acme, "cy", "ann", "bo")
    await put_member(acme, account="acme", member=Member("cy", "owner", seat=True), at=T0 + 4 * HOUR)
    await delete_member(acme, account="acme", member="ann", at=T0 + 4 * HOUR)
    before = await _stored(acme)
    assert (await rebuild(acme, account="acme", at=T0)).differences == ()
    assert (await _stored(acme)).seated == before.seated
    assert list(before.seated) == ["cy", "bo"]


async def _stored(store: Store) -> Account:
    async with store.transaction() as tx:
        saved = await tx.accounts.load("acme")
    assert saved is not None
    return saved.account


@pytest.mark.anyio
async def test_a_member_is_listed_with_place_and_last_activity(acme: Store) -> None:
    await seat(acme, "ann", "bo")
    await put_member(acme, account="acme", member=Member("cy", "viewer"), at=T0)
    await uses(acme, "bo", at=T0 + 2 * HOUR)
    await uses(acme, "bo", at=T0 + 3 * HOUR)
    await fewer(acme, 1)
    found = {one.member: one for one in (await list_members(acme, account="acme", at=T0 + 5 * HOUR)).members}
    assert (found["ann"].since, found["ann"].active_at, found["ann"].suspended) == (T0, None, False)
    assert (found["bo"].since, found["bo"].active_at, found["bo"].suspended) == (T0 + HOUR, T0 + 3 * HOUR, True)
    assert (found["cy"].role, found["cy"].seat, found["cy"].since, found["cy"].suspended) == (
        "viewer",
        False,
        None,
        False,
    )
    with pytest.raises(Refused, match="there is no account `nobody`"):
        await list_members(acme, account="nobody", at=T0)


@pytest.mark.anyio
async def test_every_question_honours_the_member_and_says_what_to_look_at(acme: Store) -> None:
    await seat(acme, "ann", "bo")
    await fewer(acme, 1)
    at = T0 + 6 * HOUR
    asked = {
        name: await check(acme, Snapshots(), account="acme", feature="editor", member=name, at=at) for name in "ab"
    }
    assert {decision.reason for decision in asked.values()} == {"no_seat"}
    by_ann = await decisions(acme, Snapshots(), account="acme", member="ann", at=at)
    by_bo = await decisions(acme, Snapshots(), account="acme", member="bo", at=at)
    by_all = await decisions(acme, Snapshots(), account="acme", at=at)
    assert [one.decisions["editor"].reason for one in (by_ann, by_bo, by_all)] == ["plan", "no_seat", "no_seat"]
    told = await explain(acme, account="acme", feature="editor", member="bo", at=at, now=at)
    assert (told.decision.reason, [finding.code for finding in told.findings]) == ("no_seat", ["too_few_seats"])
    assert [fact.subject for fact in told.facts] == ["override:seats", "member:bo", "profile"]
    before = await explain(acme, account="acme", feature="editor", member="bo", at=T0 + 4 * HOUR, now=at)
    assert (before.decision.reason, before.findings) == ("plan", ())


@pytest.mark.anyio
async def test_members_are_what_the_balance_of_seats_shows_now_and_then(acme: Store) -> None:
    await use_together(acme, Snapshots(), [Consume("acme", "seats", "s1", 2)], T0)
    await put_member(acme, account="acme", member=Member("ann", "owner", seat=True), at=T0 + HOUR)
    at = T0 + 2 * HOUR
    assert (await read_balance(acme, Snapshots(), account="acme", pool="seats", at=at)).used == 1
    then = await explain(acme, account="acme", feature="seats", at=T0 + HOUR / 2, now=at)
    since = await explain(acme, account="acme", feature="seats", at=T0 + HOUR * 3 / 2, now=at)
    now = await explain(acme, account="acme", feature="seats", at=at, now=at)
    assert (then.decision.used, since.decision.used, now.decision.used) == (2, 1, 1)


@pytest.mark.anyio
async def test_a_quote_names_who_would_lose_a_seat(acme: Store) -> None:
    bought = Subscription("s1", "active", (Item("main", 3, price="monthly", plan="pro"),), T0)
    await put_subscription(acme, account="acme", subscription=bought, version=1, at=T0)
    await put_override(acme, account="acme", override=Override("seats", add=1), at=T0)
    await seat(acme, "ann", "bo", "cy")
    await uses(acme, "ann", at=T0 + 3 * HOUR)
    made = await quote_change(
        acme, None, account="acme", wanted=ChangeRequest(quantities={"seats": 1}), at=T0 + 4 * HOUR
    )
    (violation,) = made.violations
    assert (violation.kind, violation.used, violation.limit) == ("members", 3, 2)
    assert (violation.seats, violation.members) == ("release_least_active", ("bo",))
    (row,) = [text for head, text, _ in page(msgspec.to_builtins(made)) if head == "over the limit"]
    assert row == "seats: 3 members with a seat, 2 allowed: bo lose theirs (the least active)"
    assert snapshot(await _stored(acme), (await _catalog(acme)), T0).seats == {"ann": 0, "bo": 1, "cy": 2}


async def _catalog(store: Store) -> Any:
    async with store.transaction() as tx:
        published = await tx.catalogs.load()
    assert published is not None
    return published.catalog


@pytest.mark.anyio
async def test_choosing_keeps_places_and_takes_the_others(acme: Store) -> None:
    await seat(acme, "ann", "bo", "cy")
    await fewer(acme, 2)
    at = T0 + 6 * HOUR
    kept = await choose_seats(acme, account="acme", members=["cy", "bo"], at=at)
    assert shown(kept) == [("ann", False, False), ("bo", True, False), ("cy", True, False)]
    assert {one.member: one.since for one in kept.members}["cy"] == T0 + 2 * HOUR
    version = (await _stored(acme)).version
    await choose_seats(acme, account="acme", members=["bo", "cy"], at=at)
    assert (await _stored(acme)).version == version


# Over HTTP


@pytest.fixture(scope="module")
def team(postgres_url: str) -> Iterator[Api]:
    with migrated_database(postgres_url) as database_url, serving(Settings(), database_url, catalog=False) as api:
        api.ok("PUT", "/v1/catalog", json=DOCUMENT)
        yield api


@pytest.fixture
def owner(team: Api) -> str:
    """An account with two seats."""
    key = f"team-{uuid.uuid4().hex[:12]}"
    team.ok("PUT", f"/v1/accounts/{key}", json={})
    team.ok("PUT", f"/v1/accounts/{key}/overrides/seats", json={"limit": 2})
    return key


def test_members_are_stated_listed_and_refused_over_http(team: Api, owner: str) -> None:
    where = f"/v1/accounts/{owner}/members"
    said = [{"member": "ann", "role": "owner", "seat": True}, {"member": "bo", "role": "editor", "seat": True}]
    assert team.ok("PUT", where, json=said)["taken"] == 2
    assert team.ok("GET", where)["members"][0]["member"] == "ann"
    told = team.problem(409, "PUT", f"{where}/cy", json={"role": "editor", "seat": True})
    assert told["code"] == "no_seat_left"
    assert team.check(owner, "editor", member="bo")["allowed"]
    assert team.ok("GET", f"/v1/accounts/{owner}/decisions?member=bo")["decisions"]["editor"]["allowed"]
    assert team.ok("PUT", f"/v1/accounts/{owner}/seats", json={"members": ["ann"]})["taken"] == 1
    assert team.check(owner, "editor", member="bo")["reason"] == "no_seat"
    assert (
        team.problem(404, "PUT", f"/v1/accounts/{owner}/seats", json={"members": ["dee"]})["code"] == "unknown_member"
    )


@pytest.mark.parametrize(
    ("body", "code", "pointers"),
    [
        ("[", "malformed_json", None),
        ("", "malformed_json", None),
        ("{}", "invalid_body", [""]),
        ("[1]", "invalid_body", [""]),
        ('[{"member": "ann"}]', "invalid_body", ["/0/role"]),
        ('[{"member": "ann", "role": ""}]', "invalid_body", ["/0/role"]),
        ('[{"member": "ann", "role": "x"}, {"member": "ann", "role": "y"}]', "invalid_body", ["/1/member"]),
        ('[{"member": "ann", "role": "x", "seat": 1}]', "invalid_body", ["/0/seat"]),
        ('[{"member": "ann", "role": "x", "seated_at": "2026-01-01T00:00:00Z"}]', "invalid_body", ["/0/seated_at"]),
        ('[{"member": "", "role": "x"}]', "invalid_key", [""]),
    ],
)
def test_a_body_of_members_that_cannot_be_read_says_where(
    team: Api, owner: str, body: str, code: str, pointers: list[str] | None
) -> None:
    told = team.problem(400, "PUT", f"/v1/accounts/{owner}/members", content=body)
    assert told["code"] == code
    if pointers is not None:
        assert [mistake["pointer"] for mistake in told["errors"]] == pointers


def test_since_when_a_member_has_a_seat_is_ours_to_say(team: Api, owner: str) -> None:
    body = {"role": "owner", "seat": True, "seated_at": "2020-01-01T00:00:00Z"}
    told = team.problem(400, "PUT", f"/v1/accounts/{owner}/members/ann", json=body)
    assert [mistake["pointer"] for mistake in told["errors"]] == ["/seated_at"]


def test_what_the_ledger_tells_of_seats_never_hides_the_members(team: Api, owner: str) -> None:
    """A reservation made before there were members is given back after they were counted."""
    body = {"account": owner, "feature": "seats", "id": "invited"}
    assert team.ok("POST", "/v1/reservations", json=body)["decision"]["reserved"] == 1
    team.ok("PUT", f"/v1/accounts/{owner}/members/ann", json={"role": "owner", "seat": True})
    assert team.check(owner, "seats")["used"] == 1
    team.ok("POST", "/v1/reservations/invited/release", json={"account": owner})
    assert [team.check(owner, "seats")[name] for name in ("used", "reserved", "remaining")] == [1, 0, 1]
    team.ok("POST", "/v1/events", json=[{"id": "told", "account": owner, "feature": "seats", "quantity": 2}])
    assert [team.check(owner, "seats")[name] for name in ("used", "reserved", "remaining")] == [1, 0, 1]
    refused = team.problem(409, "PUT", f"/v1/accounts/{owner}/usage/seats", json={"used": 2, "id": "recount"})
    assert refused["code"] == "taken_by_members"
    grant = {"feature": "seats", "units": 2, "id": "gift"}
    assert team.problem(409, "POST", f"/v1/accounts/{owner}/grants", json=grant)["code"] == "not_grantable"


def test_the_command_line_lists_members_and_chooses_who_has_a_seat(team: Api, owner: str, tmp_path: Path) -> None:
    shell = Shell(tmp_path, PAYGRADE_URL=team.url, PAYGRADE_API_KEY=KEY)
    for name in ("ann", "bo"):
        shell.run("accounts", "member", owner, name, "--role", "owner", "--seat")
    assert "no_seat_left" in shell.run("accounts", "member", owner, "cy", "--role", "owner", "--seat", code=1)
    team.ok("PUT", f"/v1/accounts/{owner}/overrides/seats", json={"limit": 1})
    lines = shell.run("accounts", "members", owner).splitlines()
    assert lines[0] == f"{owner}: 2 of 1 seats taken, 1 suspended"
    assert [line.split("\t")[:3] for line in lines[2:]] == [["ann", "owner", "yes"], ["bo", "owner", "suspended"]]
    assert shell.run("accounts", "seats", owner, "bo").splitlines()[0] == f"{owner}: 1 of 1 seats taken"
    assert shell.json("accounts", "seats", owner, "--nobody")["taken"] == 0
    assert "--nobody" in shell.run("accounts", "seats", owner, code=2)
    assert "only members with a seat can" in shell.run("check", owner, "editor", "--member", "bo", code=1)
