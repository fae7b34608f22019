"""What is announced of accounts: everything that changes, once, with the fact or on the date that brings it about."""

import asyncio
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paygrade.billing.facts import Block, Item, Member, Override, Subscription
from paygrade.billing.standing import standings
from paygrade.entitlements.sources import view_of
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts import statements
from paygrade.server.operations.accounts.accounts import delete_account, get_account, put_account
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.update_log import account_updates, give_places, list_updates
from paygrade.server.operations.updates.announce import announce_dates
from paygrade.server.operations.updates.ends import announce_ended_windows, announce_expired_grants
from paygrade.server.operations.usage.grants import give, read_balance, void
from paygrade.server.operations.usage.requests import Consume
from paygrade.server.operations.usage.use import use_together
from paygrade.server.state.snapshots import Snapshots
from paygrade.server.workers.claims import take
from paygrade.server.workers.loop import DATES
from paygrade.updates.log import Update
from paygrade.updates.overview import Announced
from paygrade.updates.types import TYPES
from paygrade.usage.balances import Grant
from paygrade.values.errors import Refused
from support.waiting import somebody_waits

pytestmark = pytest.mark.anyio

T0 = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "exports": {"kind": "boolean"},
        "seats": {"kind": "level", "unit": "seat"},
        "calls": {"kind": "metered"},
    },
    "credits": {"coins": {}},
    "plans": {
        "free": {"default": True, "entitlements": {"seats": 5, "calls": {"limit": 10, "every": "month", "warn": [80]}}},
        "pro": {"entitlements": {"exports": True, "seats": 9, "calls": {"limit": 100, "every": "month"}}},
    },
    "policies": {"past_due": [{"for": "7d", "access": "full"}, {"for": "14d", "access": "read"}, {"then": "free"}]},
}


async def publish(store: Store, document: dict[str, Any] = DOCUMENT, at: datetime = T0) -> None:
    await publish_catalog(store, document=document, lines={}, dry_run=False, at=at, by="tests")


async def follow(store: Store, at: datetime) -> None:
    """What workers do by then."""
    while claimed := await take(store, DATES, limit=10, at=at):
        for each in claimed:
            await announce_dates(store, each, at=at)


async def begin(store: Store, account: str = "acme") -> None:
    await publish(store)
    await put_account(store, account=account, name="", links={}, traits={}, at=T0)


async def subscribe(store: Store, at: datetime, version: int, account: str = "acme", **more: Any) -> None:
    its = Subscription("sub_1", more.pop("status", "active"), (Item("i", plan="pro"),), T0, **more)
    await statements.put_subscription(store, account=account, subscription=its, version=version, at=at)


async def told(store: Store, account: str = "acme", after: int = 0) -> tuple[Update, ...]:
    await give_places(store)
    return (await account_updates(store, account=account, after=after, limit=1000)).updates


def brief(updates: Iterable[Update]) -> list[tuple[str, float]]:
    """Types, and when they happened in days."""
    return [(update.type, (update.occurred_at - T0) / DAY) for update in updates]


async def test_dates_are_told_on_their_dates_by_whoever_looks_and_however_late(store: Store) -> None:
    await begin(store)
    await subscribe(store, T0, 1, status="trialing", trial_ends_at=T0 + 10 * DAY, after_trial="past_due",
                    unpaid_since=T0 + 10 * DAY)  # fmt: skip
    override = Override(feature="exports", value=True, expires_at=T0 + 20 * DAY)
    await statements.put_override(store, account="acme", override=override, at=T0)
    planned = Override("calls", limit=9, starts_at=T0 + 8 * DAY, review_at=T0 + 12 * DAY, expires_at=T0 + 40 * DAY)
    await statements.put_override(store, account="acme", override=planned, at=T0)
    begun = await told(store)
    assert [type for type, _ in brief(begun)] == [
        "account.created", "account.plan_changed", "account.plan_changed", "account.state_changed", "trial.started",
        "plan_change.applied", "override.set", "override.scheduled",
    ]  # fmt: skip
    # No server was up for two months.
    await asyncio.gather(*(follow(store, T0 + 60 * DAY) for _ in range(3)))
    later = await told(store, after=begun[-1].sequence)
    assert brief(later) == [
        ("trial.ending", 7),
        ("override.set", 8),
        ("account.state_changed", 10),
        ("trial.ended", 10),
        ("grace.started", 10),
        ("override.review_due", 12),
        ("override.expiring", 13),
        ("account.state_changed", 17),
        ("grace.step", 17),
        ("override.expired", 20),
        ("account.plan_changed", 31),
        ("grace.step", 31),
        ("override.expiring", 33),
        ("override.expired", 40),
    ]
    assert [update.data["state"] for update in later if update.type == "account.state_changed"] == ["grace", "past_due"]
    free, read = later[-4].data, later[8].data
    assert (free["plan_before"], free["plan"], read["step"], read["access"]) == ("pro@1", "free@1", 2, "read")
    await follow(store, T0 + 90 * DAY)
    assert await told(store, after=later[-1].sequence) == ()


async def test_a_fact_that_comes_late_is_told_after_the_dates_before_it(store: Store) -> None:
    await begin(store)
    await subscribe(store, T0, 1, ends_at=T0 + 5 * DAY)
    begun = await told(store)
    # No worker has looked since; the statement itself tells what came before it.
    await subscribe(store, T0 + 6 * DAY, 2, ends_at=T0 + 30 * DAY)
    assert brief(await told(store, after=begun[-1].sequence)) == [
        ("account.plan_changed", 5),
        ("account.state_changed", 5),
        ("account.plan_changed", 6),
        ("account.state_changed", 6),
    ]


async def test_every_fact_leaves_an_update_and_what_says_nothing_new_leaves_none(store: Store) -> None:
    await begin(store)
    before = await told(store)
    for _ in range(2):
        await put_account(store, account="acme", name="Acme", links={}, traits={}, at=T0 + DAY)
    await statements.put_member(store, account="acme", member=Member("ann", "admin", seat=True), at=T0 + DAY)
    await statements.delete_member(store, account="acme", member="ann", at=T0 + DAY)
    await statements.put_block(store, account="acme", block=Block("fraud"), at=T0 + DAY)
    await statements.delete_block(store, account="acme", key="fraud", at=T0 + DAY)
    await delete_account(store, account="acme", at=T0 + DAY)
    found = await told(store, after=before[-1].sequence)
    assert [update.type for update in found] == [
        "account.updated", "member.set", "seat.given", "member.removed", "seat.released", "block.set", "block.lifted",
        "account.deleted",
    ]  # fmt: skip
    assert [update.state_version for update in found] == [2, 3, 3, 4, 4, 5, 6, 7]


async def test_what_a_new_catalog_changes_is_told_of_every_account(store: Store) -> None:
    await begin(store)
    await put_account(store, account="beta", name="", links={}, traits={}, at=T0)
    before = await told(store)
    changed = {**DOCUMENT, "plans": {**DOCUMENT["plans"], "free": {"default": True, "entitlements": {"seats": 2}}}}
    await publish(store, changed, T0 + DAY)
    await follow(store, T0 + DAY)
    for account in ("acme", "beta"):
        (update,) = await told(store, account, before[-1].sequence)
        assert (update.type, update.data["plan_before"], update.data["plan"]) == (
            "account.plan_changed", "free@1", "free@2",
        )  # fmt: skip
    everybodys = await list_updates(store, after=None, limit=100, types=["catalog.published"])
    assert [(update.account, update.data["version"]) for update in everybodys.updates] == [(None, 1), (None, 2)]


async def test_a_catalog_that_is_published_while_a_date_is_told_is_not_missed(store: Store, database_url: str) -> None:
    """Whoever tells of a date has read the catalog before: the account is looked at once more."""
    await begin(store)
    async with store.transaction() as tx:
        await tx.announcements.hurry(T0)
    (claimed,) = await take(store, DATES, limit=1, at=T0)
    async with store.transaction() as tx:
        await tx.accounts.lock(["acme"])
        (held,) = await tx.announcements.lock_due(claimed, ["acme"], at=T0)
        publishing = asyncio.create_task(publish(store, {**DOCUMENT, "credits": {}}, T0 + DAY))
        await somebody_waits(database_url)
        await tx.announcements.note([Announced(held.account, held.overview, T0, None)])
    await publishing
    assert [each.account for each in await take(store, DATES, limit=1, at=T0 + DAY)] == ["acme"]


async def test_an_account_from_before_there_were_updates_begins_as_it_is(store: Store) -> None:
    await begin(store)
    await subscribe(store, T0, 1, ends_at=T0 + 5 * DAY)
    begun = await told(store)
    async with store.transaction() as tx:
        await tx._connection.execute("update announced set overview = null, announced_at = null, due_at = %s", (T0,))
    await follow(store, T0 + DAY)
    await follow(store, T0 + 9 * DAY)
    assert brief(await told(store, after=begun[-1].sequence)) == [
        ("account.plan_changed", 5),
        ("account.state_changed", 5),
    ]


async def consume(store: Store, snapshots: Snapshots, units: int, at: datetime) -> None:
    request = Consume(account="acme", feature="calls", id=uuid.uuid4().hex, quantity=units)
    (answer,) = await use_together(store, snapshots, [request], at)
    assert not isinstance(answer, Exception), answer


async def counts(store: Store) -> dict[str, int]:
    """What this database has done to the tables of updates."""
    async with store.transaction() as tx:
        cursor = await tx._connection.execute(
            "select (select count(*) from updates), (select sum(number) from updates),"
            " (select given from update_log), (select count(*) from update_sequences),"
            " (select sum(xmin::text::bigint) from announced)"
        )
        row = await cursor.fetchone()
        assert row is not None
        return dict(zip(("rows", "numbers", "given", "sequences", "announced"), row, strict=True))


async def test_a_use_leaves_no_update_but_where_it_passes_a_threshold(store: Store) -> None:
    await begin(store)
    snapshots = Snapshots()
    before, last = await counts(store), (await told(store))[-1].sequence
    for _ in range(7):
        await consume(store, snapshots, 1, T0)
    after = await counts(store)
    assert after == {**before, "given": after["given"], "sequences": after["sequences"]}
    await consume(store, snapshots, 1, T0)
    await consume(store, snapshots, 2, T0)
    assert [(u.type, u.data["percent"], u.data["used"]) for u in await told(store, after=last)] == [
        ("entitlement.limit.warning", 80, 8),
        ("entitlement.limit.reached", 100, 10),
    ]


async def test_a_window_that_ends_and_a_grant_that_expires_are_told_once_with_their_alerts(store: Store) -> None:
    await begin(store)
    snapshots = Snapshots()
    await announce_ended_windows(store, at=T0)
    await announce_expired_grants(store, at=T0)
    await consume(store, snapshots, 9, T0)
    grant = Grant("gr_1", "promotion", 50, T0, T0 + 3 * DAY)
    await give(store, snapshots, account="acme", pool="coins", grant=grant, reason="", at=T0)
    last = (await told(store))[-1].sequence
    for days in (2, 40, 41):
        looking = [announce(store, at=T0 + days * DAY) for announce in (announce_ended_windows,) * 3]
        await asyncio.gather(*looking, *(announce_expired_grants(store, at=T0 + days * DAY) for _ in range(3)))
    found = await told(store, after=last)
    assert sorted(brief(found)) == [
        ("credit.expired", 3),
        ("entitlement.limit.resolved", 31),
        ("entitlement.window.reset", 31),
    ]
    data = {update.type: update.data for update in found}
    assert data["entitlement.window.reset"]["used"] == 9
    assert (data["credit.expired"]["grant"], data["credit.expired"]["expired"]) == ("gr_1", 50)


async def test_updates_that_are_gone_are_refused_with_where_to_go_on(store: Store) -> None:
    await begin(store)
    last = (await told(store))[-1]
    async with store.transaction() as tx:
        await tx.updates.purge(kept=DAY, at=T0 + 2 * DAY)
    await put_account(store, account="acme", name="Acme", links={}, traits={}, at=T0 + 2 * DAY)
    await give_places(store)
    with pytest.raises(Refused, match=f"after={last.position}"):
        await list_updates(store, after=0, limit=10)
    with pytest.raises(Refused, match=f"after={last.sequence}"):
        await account_updates(store, account="acme", after=0, limit=10)
    page = await list_updates(store, after=None, limit=10)
    assert [update.type for update in page.updates] == ["account.updated"]
    assert page == await list_updates(store, after=last.position, limit=10)
    assert (page.next, page.end) == (last.position + 1, last.position + 1)
    nothing = await list_updates(store, after=last.position, limit=10, types=["trial.ended"])
    assert (nothing.updates, nothing.next) == ((), page.next)


class Folded:
    """What one knows of an account who has its updates and nothing else."""

    def __init__(self) -> None:
        self.exists = False
        self.plan: str | None = None
        self.state: str | None = None
        self.states: dict[str, str] = {}
        self.overrides: dict[str, Any] = {}
        self.scheduled: dict[str, Any] = {}
        self.blocks: dict[str, Any] = {}
        self.members: dict[str, str] = {}
        self.seated: set[str] = set()
        self.grants: dict[str, int] = {}
        """How much is left of each; nothing is used here."""

    def take(self, update: Update) -> None:
        """Each says something that was not so before."""
        data = update.data
        match update.type:
            case "account.created" | "account.deleted":
                assert self.exists is (update.type == "account.deleted")
                grants = self.grants
                self.__init__()  # type: ignore[misc]  # nothing of it is left, but for its ledger
                self.grants, self.exists = grants, update.type == "account.created"
            case "account.plan_changed":
                assert self.plan == data["plan_before"] != data["plan"]
                self.plan = data["plan"]
            case "account.state_changed":
                assert self.state == data["state_before"]
                assert self.states != data["subscriptions"]
                self.state, self.states = data["state"], data["subscriptions"]
            case "override.set":
                assert self.overrides.get(data["override"]["feature"]) != data["override"]
                self.overrides[data["override"]["feature"]] = data["override"]
                self.scheduled.pop(data["override"]["feature"], None)
            case "override.scheduled":
                assert data["override"]["feature"] not in self.overrides
                assert self.scheduled.get(data["override"]["feature"]) != data["override"]
                self.scheduled[data["override"]["feature"]] = data["override"]
            case "override.expiring" | "override.review_due":
                assert self.overrides[data["override"]["feature"]] == data["override"]
            case "override.removed" if data["override"]["feature"] in self.scheduled:
                assert self.scheduled.pop(data["override"]["feature"]) == data["override"]
            case "override.removed" | "override.expired":
                assert self.overrides.pop(data["override"]["feature"]) == data["override"]
            case "block.set":
                assert self.blocks.get(data["block"]["key"]) != data["block"]
                self.blocks[data["block"]["key"]] = data["block"]
            case "block.lifted" | "block.expired":
                assert self.blocks.pop(data["block"]["key"]) == data["block"]
            case "member.set":
                assert self.members.get(data["member"]) != data["role"]
                self.members[data["member"]] = data["role"]
            case "member.removed":
                del self.members[data["member"]]
            case "seat.given":
                assert data["member"] not in self.seated
                self.seated.add(data["member"])
            case "seat.released":
                self.seated.remove(data["member"])
            case "credit.granted":
                assert data["grant"] not in self.grants
                self.grants[data["grant"]] = data["units"]
            case "credit.voided":
                self.grants[data["grant"]] -= data["change"]
                assert data["voided"] == data["units"] - self.grants[data["grant"]]
            case "credit.expired":
                assert self.grants.pop(data["grant"]) == data["expired"]


DAYS = st.integers(1, 40)
OPERATIONS = st.one_of(
    st.tuples(st.just("wait"), DAYS, st.booleans()),
    st.tuples(
        st.just("override"), st.sampled_from(["exports", "calls"]), st.none() | DAYS, st.none() | DAYS, st.none() | DAYS
    ),
    st.tuples(st.just("withdraw"), st.sampled_from(["exports", "calls"])),
    st.tuples(st.just("block"), st.none() | DAYS),
    st.tuples(st.just("lift")),
    st.tuples(st.just("member"), st.sampled_from("abc"), st.sampled_from(["admin", "reader"]), st.booleans()),
    st.tuples(st.just("leave"), st.sampled_from("abc")),
    st.tuples(
        st.just("subscribe"),
        st.sampled_from(["active", "trialing", "past_due", "canceled"]),
        st.none() | DAYS,
        st.none() | DAYS,
    ),
    st.tuples(st.just("publish"), st.integers(1, 3)),
    st.tuples(st.just("grant"), st.integers(1, 90), st.none() | DAYS),
    st.tuples(st.just("void"), st.integers(0, 25)),
    st.tuples(st.just("delete")),
    st.tuples(st.just("create")),
)


async def perform(store: Store, account: str, operation: tuple[Any, ...], number: int, at: datetime) -> None:
    """Do it, or be refused."""

    def then(days: int | None) -> datetime | None:
        return None if days is None else at + days * DAY

    match operation:
        case "override", feature, days, start, review:
            value = {"value": True} if feature == "exports" else {"limit": number}
            override = Override(feature, expires_at=then(days), starts_at=then(start), review_at=then(review), **value)
            await statements.put_override(store, account=account, override=override, at=at)
        case "withdraw", feature:
            await statements.delete_override(store, account=account, feature=feature, at=at)
        case "block", days:
            await statements.put_block(store, account=account, block=Block("fraud", expires_at=then(days)), at=at)
        case ("lift",):
            await statements.delete_block(store, account=account, key="fraud", at=at)
        case "member", key, role, seat:
            await statements.put_member(store, account=account, member=Member(key, role, seat=seat), at=at)
        case "leave", key:
            await statements.delete_member(store, account=account, member=key, at=at)
        case "subscribe", status, trial, end:
            dates = {"trial_ends_at": then(trial), "ends_at": then(end), "unpaid_since": at - DAY}
            await subscribe(store, at, number + 1, account, status=status, **dates)
        case "publish", seats:
            free = {"default": True, "entitlements": {"seats": seats}}
            await publish(store, {**DOCUMENT, "plans": {**DOCUMENT["plans"], "free": free}}, at)
        case "grant", units, days:
            grant = Grant(f"{account} {number}", "promotion", units, at, then(days))
            await give(store, Snapshots(), account=account, pool="coins", grant=grant, reason="", at=at)
        case "void", earlier:
            await void(store, account=account, pool="coins", id=f"{account} {earlier}", at=at)
        case ("delete",):
            await delete_account(store, account=account, at=at)
        case ("create",):
            await put_account(store, account=account, name="", links={}, traits={}, at=at)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(operations=st.lists(OPERATIONS, min_size=5, max_size=25))
def test_whoever_folds_the_updates_of_an_account_knows_it(database_url: str, operations: list[tuple[Any, ...]]) -> None:
    async def story() -> None:
        async with Store(database_url) as store:
            account, at = uuid.uuid4().hex, datetime.now(UTC).replace(microsecond=0)
            await publish(store, at=at)
            await put_account(store, account=account, name="", links={}, traits={}, at=at)
            async with store.transaction() as tx:
                # Another story went on into the future.
                await tx._connection.execute("delete from announced_ends")
            await announce_expired_grants(store, at=at)
            for number, operation in enumerate(operations):
                if operation[0] == "wait":
                    at += operation[1] * DAY
                    if operation[2]:
                        await follow(store, at)
                        await announce_expired_grants(store, at=at)
                    continue
                try:
                    await perform(store, account, operation, number, at)
                except Refused:
                    continue
            await follow(store, at)
            await announce_expired_grants(store, at=at)
            await compare(store, account, at)

    asyncio.run(story())


async def compare(store: Store, account: str, at: datetime) -> None:
    """Hold what the updates say against what the account says."""
    folded, found = Folded(), await told(store, account)
    for update in found:
        folded.take(update)
    assert [update.sequence for update in found] == list(range(1, len(found) + 1))
    assert {update.type for update in found} <= TYPES.keys()
    async with store.transaction() as tx:
        saved, catalog = await tx.accounts.load(account), await tx.catalogs.in_force()
    assert saved is not None
    assert folded.exists is saved.account.exists
    # Every fact has left one at least.
    assert {u.state_version for u in found} >= set(range(1, saved.account.version + 1))
    if not folded.exists:
        return
    its = await get_account(store, account=account, at=at)
    assert folded.plan == view_of(saved.account, catalog, at).plan
    assert folded.states == {one.subscription.id: one.state for one in standings(saved.account, catalog, at)}
    assert sorted([*folded.overrides, *folded.scheduled]) == sorted(one.feature for one in its.overrides)
    assert sorted(folded.blocks) == sorted(one.key for one in its.blocks)
    assert folded.members == {one.key: one.role for one in its.members}
    assert folded.seated == {one.key for one in its.members if one.seat}
    coins = await read_balance(store, Snapshots(), account=account, pool="coins", at=at)
    left = {one.grant.id: one.share.available for one in coins.grants if one.share.available}
    assert {id: units for id, units in folded.grants.items() if units} == left
