"""Operations on real PostgreSQL: load, decide, save, tell."""

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from paygrade.billing.facts import Block, Item, Member, Override, Subscription
from paygrade.decisions.decide import Decision
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.access import check, decisions, entitlements, explain
from paygrade.server.operations.accounts.accounts import (
    delete_account,
    get_account,
    list_accounts,
    put_account,
)
from paygrade.server.operations.accounts.rebuild import rebuild
from paygrade.server.operations.accounts.statements import (
    delete_block,
    delete_member,
    delete_override,
    put_block,
    put_member,
    put_override,
    put_subscription,
)
from paygrade.server.operations.accounts.timeline import timeline
from paygrade.server.operations.catalog.publish import (
    CatalogPlan,
    catalog_version,
    catalog_versions,
    current_catalog,
    publish_catalog,
)
from paygrade.server.operations.sync.inbox import receive_event
from paygrade.server.state.snapshots import Snapshots
from paygrade.server.workers.claims import take
from paygrade.server.workers.sync import SUBJECTS, sync_subject
from paygrade.values.errors import Refused
from support.fake_provider import DOCUMENT, T0, Event, SetClock, World, customer, pro

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)


async def publish(store: Store, document: dict[str, Any] = DOCUMENT, **known: Any) -> CatalogPlan:
    # Any: the keywords of publish_catalog that a test cares about.
    given = {"lines": {}, "dry_run": False, "at": T0, "by": "ann", **known}
    return await publish_catalog(store, document=document, **given)


async def state(store: Store, account: str = "acme", **links: tuple[str, ...]) -> None:
    await put_account(store, account=account, name=account.title(), links=links, traits={}, at=T0)


async def bought(store: Store, subscription: Subscription, at: Any = T0) -> None:
    # Any: an instant.
    world = World({"stripe:cus_1": customer(subscription)})
    await receive_event(store, ref=Event(f"evt_{at:%d}"), body=b"{}", at=at)
    for claim in await take(store, SUBJECTS, limit=1, at=at):
        await sync_subject(store, world, SetClock(at), claim)


async def may(store: Store, feature: str, at: Any = T0, account: str = "acme") -> Decision:
    # Any: an instant.
    return await check(store, Snapshots(), account=account, feature=feature, at=at)


async def refused(asked: Awaitable[object]) -> str:
    with pytest.raises(Refused) as refusal:
        await asked
    return refusal.value.code


async def test_before_anything_is_sold_every_feature_is_unknown(store: Store) -> None:
    assert (await may(store, "exports")).reason == "unknown_account"
    await state(store)
    assert (await may(store, "exports")).reason == "unknown_feature"
    assert await refused(current_catalog(store)) == "no_catalog"


async def test_a_subscription_opens_what_its_plan_gives(store: Store) -> None:
    await publish(store)
    await bought(store, pro())
    decided = await may(store, "exports")
    assert (decided.allowed, decided.reason, decided.plan) == (True, "plan", "pro@1")
    every = await decisions(store, Snapshots(), account="acme", at=T0)
    assert {key for key, decision in every.decisions.items() if decision} == {"exports", "seats", "api_calls"}


async def test_what_nobody_knows_is_refused_by_name(store: Store) -> None:
    await publish(store)
    snapshots = Snapshots()
    override, block = Override("exports", value=True), Block("fraud")
    asked: list[Callable[[], Awaitable[object]]] = [
        lambda: decisions(store, snapshots, account="nobody", at=T0),
        lambda: entitlements(store, account="nobody", as_of=T0, now=T0),
        lambda: get_account(store, account="nobody", at=T0),
        lambda: timeline(store, account="nobody"),
        lambda: rebuild(store, account="nobody", at=T0),
        lambda: delete_account(store, account="nobody", at=T0),
        lambda: put_override(store, account="nobody", override=override, at=T0),
        lambda: put_block(store, account="nobody", block=block, at=T0),
        lambda: put_member(store, account="nobody", member=Member("ann", "owner"), at=T0),
        lambda: put_subscription(store, account="nobody", subscription=pro(), version=1, at=T0),
    ]
    for ask in asked:
        assert await refused(ask()) == "unknown_account"
    assert (await list_accounts(store, at=T0)).accounts == ()
    await state(store)
    assert await refused(delete_override(store, account="acme", feature="exports", at=T0)) == "unknown_override"
    assert await refused(delete_block(store, account="acme", key="fraud", at=T0)) == "unknown_block"
    assert await refused(delete_member(store, account="acme", member="ann", at=T0)) == "unknown_member"


@pytest.mark.parametrize(
    ("override", "code"),
    [
        (Override("export", value=True), "unknown_feature"),
        (Override("exports"), "invalid_override"),
        (Override("exports", value=True, starts_at=T0 + 2 * DAY, expires_at=T0 + DAY), "invalid_override"),
        (Override("exports", value=True, starts_at=T0 + 2 * DAY, review_at=T0 + 2 * DAY), "invalid_override"),
        (Override("exports", value=True, code="x" * 65), "invalid_override"),
        (Override("exports", limit=3), "invalid_override"),
        (Override("exports", value="yes"), "invalid_override"),
        (Override("exports", value=True, limit=3), "invalid_override"),
        (Override("retention", value="long"), "invalid_override"),
        (Override("retention", value=True), "invalid_override"),
        (Override("retention", unlimited=True), "invalid_override"),
        (Override("seats", limit=-1), "invalid_override"),
        (Override("seats", add=0), "invalid_override"),
        (Override("seats", spend_cap=100), "invalid_override"),
        (Override("api_calls", spend_cap=100, limit=3), "invalid_override"),
        (Override("exports", spend_cap=100), "invalid_override"),
        (Override("seats", limit=2**53), "invalid_override"),
        (Override("seats", value=True), "invalid_override"),
        (Override("seats", limit=3, expires_at=T0), "already_expired"),
    ],
)
async def test_an_override_that_cannot_work_is_refused(store: Store, override: Override, code: str) -> None:
    await publish(store)
    await state(store)
    assert await refused(put_override(store, account="acme", override=override, at=T0)) == code
    assert (await get_account(store, account="acme", at=T0)).version == 1


async def test_an_override_holds_until_it_expires_or_is_withdrawn(store: Store) -> None:
    await publish(store)
    await state(store)
    override = Override("exports", value=True, reason="pilot", expires_at=T0 + DAY)
    assert (await put_override(store, account="acme", override=override, at=T0)).reason == "override"
    assert not await may(store, "exports", T0 + DAY)
    assert (await delete_override(store, account="acme", feature="exports", at=T0)).reason == "not_in_plan"
    assert not await may(store, "exports")


async def test_an_override_that_begins_later_ends_none_that_counts(store: Store) -> None:
    await publish(store)
    await state(store)
    later = Override("exports", value=True, starts_at=T0 + DAY)
    assert (await put_override(store, account="acme", override=later, at=T0)).reason == "not_in_plan"
    assert (await get_account(store, account="acme", at=T0)).overrides == (later,)
    assert [bool(await may(store, "exports", at)) for at in (T0, T0 + DAY)] == [False, True]
    await put_override(store, account="acme", override=Override("exports", value=True), at=T0)
    assert await refused(put_override(store, account="acme", override=later, at=T0)) == "override_in_force"
    # It began, so it is like any other.
    await put_override(store, account="acme", override=later, at=T0 + DAY)
    assert await may(store, "exports", T0 + DAY)


async def test_saying_the_same_again_is_no_new_fact(store: Store) -> None:
    await publish(store)
    await state(store)
    override = Override("exports", value=True)
    for at in (T0, T0 + DAY):
        await put_override(store, account="acme", override=override, at=at)
    assert len((await timeline(store, account="acme")).facts) == 2


async def test_a_block_suspends_and_lifting_it_restores(store: Store) -> None:
    await publish(store)
    await bought(store, pro())
    await put_block(store, account="acme", block=Block("fraud", "chargeback"), at=T0)
    assert (await may(store, "exports")).reason == "blocked"
    await delete_block(store, account="acme", key="fraud", at=T0)
    assert await may(store, "exports")


async def test_members_come_and_go(store: Store) -> None:
    await state(store)
    stated = await put_member(store, account="acme", member=Member("ann", "owner", seat=True), at=T0)
    assert stated.members == (Member("ann", "owner", seat=True, seated_at=T0),)
    assert (await delete_member(store, account="acme", member="ann", at=T0)).members == ()


async def test_a_manual_subscription_follows_its_version_not_its_arrival(store: Store) -> None:
    await publish(store)
    await state(store)
    manual = Subscription("inv-7", "active", (Item("1", plan="pro"),), T0)
    ended = replace(manual, status="canceled", ended_at=T0)
    await put_subscription(store, account="acme", subscription=manual, version=1, at=T0)
    assert await may(store, "exports")
    await put_subscription(store, account="acme", subscription=ended, version=3, at=T0)
    stale = await put_subscription(store, account="acme", subscription=manual, version=2, at=T0)
    assert stale.subscriptions == (ended,)
    again = await put_subscription(store, account="acme", subscription=ended, version=3, at=T0)
    assert again.version == stale.version
    conflict = put_subscription(store, account="acme", subscription=manual, version=3, at=T0)
    assert await refused(conflict) == "subscription_version_conflict"


async def test_accounts_are_listed_page_by_page(store: Store) -> None:
    for key in ("a", "b", "c"):
        await state(store, key)
    first = await list_accounts(store, limit=2, at=T0)
    assert ([view.account for view in first.accounts], first.next) == (["a", "b"], "b")
    second = await list_accounts(store, limit=2, after="b", at=T0)
    assert ([view.account for view in second.accounts], second.next) == (["c"], None)


async def test_a_customer_belongs_to_one_account_only(store: Store) -> None:
    await state(store, "acme", stripe=("cus_1", "cus_2"))
    assert await refused(state(store, "globex", stripe=("cus_2",))) == "link_taken"
    assert await refused(get_account(store, account="globex", at=T0)) == "unknown_account"
    await state(store, "acme", stripe=("cus_1",))
    await state(store, "globex", stripe=("cus_2",))
    assert (await get_account(store, account="globex", at=T0)).links == {"stripe": ("cus_2",)}


async def test_an_account_is_deleted_once_nothing_is_paid_for_it(store: Store) -> None:
    await publish(store)
    await state(store)
    await bought(store, pro())
    assert await refused(delete_account(store, account="acme", at=T0)) == "account_has_live_subscription"
    await bought(store, pro("canceled"), T0 + DAY)
    await delete_account(store, account="acme", at=T0 + DAY)
    assert (await may(store, "seats")).reason == "unknown_account"
    assert await refused(get_account(store, account="acme", at=T0)) == "unknown_account"
    assert (await list_accounts(store, at=T0)).accounts == ()
    assert (await timeline(store, account="acme")).facts[0].summary == "account deleted"
    await state(store)
    assert (await may(store, "seats")).reason == "plan"


async def test_a_past_decision_is_explained_with_what_was_known_then(store: Store) -> None:
    await publish(store)
    await bought(store, pro("unpaid"), T0)
    await bought(store, pro("active"), T0 + 2 * DAY)
    now = T0 + 3 * DAY
    then = await explain(store, account="acme", feature="exports", at=T0 + DAY, now=now)
    today = await explain(store, account="acme", feature="exports", at=now, now=now)
    assert (then.decision.allowed, then.decision.reason) == (False, "unpaid")
    assert (today.decision.allowed, today.decision.reason) == (True, "plan")
    assert [(fact.number, fact.cause) for fact in then.facts] == [(1, ("evt_10",))]
    assert [(fact.number, fact.cause) for fact in today.facts] == [(2, ("evt_12",))]
    before = await explain(store, account="acme", feature="exports", at=T0 - DAY, now=now)
    assert (before.decision.reason, before.catalog_version) == ("unknown_account", 0)


async def test_the_past_is_explained_with_the_catalog_of_then(store: Store) -> None:
    await publish(store)
    await state(store)
    generous = {**DOCUMENT, "plans": {**DOCUMENT["plans"], "free": {"default": True, "entitlements": {"seats": 9}}}}
    await publish(store, generous, at=T0 + DAY)
    now = T0 + 2 * DAY
    for at, limit in ((T0, 1), (T0 + DAY, 9), (now, 9)):
        decision = (await explain(store, account="acme", feature="seats", at=at, now=now)).decision
        assert decision.limit == limit
        assert (await entitlements(store, account="acme", as_of=at, now=now)).entitlements["seats"].limit == limit


async def test_an_explanation_shows_only_what_bears_on_the_question(store: Store) -> None:
    await publish(store)
    await state(store)
    for feature in ("seats", "api_calls"):
        await put_override(store, account="acme", override=Override(feature, limit=3), at=T0)
    await put_member(store, account="acme", member=Member("ann", "owner"), at=T0)
    explained = await explain(store, account="acme", feature="seats", at=T0, now=T0)
    assert [fact.subject for fact in explained.facts] == ["override:seats", "profile"]
    assert explained.candidates[0].source.kind == "override"


async def test_the_future_is_an_ordinary_question(store: Store) -> None:
    await publish(store)
    await bought(store, pro(ends_at=T0 + DAY))
    snapshots = Snapshots()
    later = await check(store, snapshots, account="acme", feature="exports", at=T0 + DAY, now=T0)
    assert (later.allowed, later.reason) == (False, "canceled")
    view = await entitlements(store, account="acme", as_of=T0, now=T0)
    assert (view.until, view.subscriptions[0].state) == (T0 + DAY, "active")


async def test_publishing_the_same_again_publishes_nothing(store: Store) -> None:
    assert (await publish(store)).published
    again = await publish(store)
    assert (again.published, again.version, again.changes) == (False, 1, ())
    assert [version.version for version in (await catalog_versions(store)).versions] == [1]


async def test_a_dry_run_plans_and_publishes_nothing(store: Store) -> None:
    plan = await publish(store, dry_run=True)
    assert (plan.published, plan.base_version, plan.version) == (False, 0, 1)
    assert await refused(current_catalog(store)) == "no_catalog"
    assert (await publish(store, plan_id=plan.plan_id)).published


async def test_a_plan_holds_only_while_the_world_is_as_it_was(store: Store) -> None:
    await publish(store)
    await state(store)
    wanted = {**DOCUMENT, "plans": {**DOCUMENT["plans"], "free": {"default": True, "entitlements": {"seats": 0}}}}
    plan = await publish(store, wanted, dry_run=True)
    assert (plan.impact.accounts, plan.impact.losing, plan.impact.gaining) == (1, 1, 0)
    (effect,) = plan.impact.sample
    assert (effect.account, effect.feature, effect.before, effect.after) == ("acme", "seats", "1", "0")
    assert await refused(publish(store, DOCUMENT, plan_id=plan.plan_id)) == "catalog_plan_outdated"
    await state(store, "globex")
    assert await refused(publish(store, wanted, plan_id=plan.plan_id)) == "catalog_plan_outdated"
    plan = await publish(store, wanted, dry_run=True)
    assert (await publish(store, wanted, plan_id=plan.plan_id)).version == 2
    assert (await catalog_version(store, version=1)).plans == ("free@1", "pro@1")
    assert (await current_catalog(store)).plans == ("free@2", "pro@1")
    assert await refused(catalog_version(store, version=3)) == "unknown_catalog_version"


async def test_of_two_catalogs_published_at_once_both_get_a_version(store: Store) -> None:
    other = {**DOCUMENT, "plans": {"free": {"default": True, "entitlements": {"seats": 2}}}}
    plans = await asyncio.gather(publish(store), publish(store, other))
    assert sorted(plan.version for plan in plans) == [1, 2]


async def test_a_catalog_with_mistakes_lists_them_all(store: Store) -> None:
    wrong = {"version": 1, "features": {"x": {"kind": "odd"}}, "plans": {"p": {"entitlements": {"y": True}}}}
    with pytest.raises(Refused) as refusal:
        await publish(store, wrong)
    assert refusal.value.code == "catalog_invalid"
    assert len(refusal.value.mistakes) >= 2


def put_overrides(database_url: str, features: tuple[str, ...]) -> None:
    """What one process does to the account while another does the same to other features."""

    async def put() -> None:
        async with Store(database_url) as store:
            for number in range(1, 16):
                for feature in features:
                    override = Override(feature, limit=number)
                    await put_override(store, account="acme", override=override, at=T0)

    asyncio.run(put())


async def test_two_processes_stating_things_at_once_lose_nothing(store: Store, database_url: str) -> None:
    await publish(store)
    await state(store)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in [pool.submit(put_overrides, database_url, (feature,)) for feature in ("seats", "api_calls")]:
            await asyncio.wrap_future(done)
    facts = (await timeline(store, account="acme", limit=100)).facts
    assert [fact.number for fact in facts] == list(range(31, 0, -1))
    view = await get_account(store, account="acme", at=T0)
    assert {override.feature: override.limit for override in view.overrides} == {"seats": 15, "api_calls": 15}
    assert view.version == 31
    assert (await rebuild(store, account="acme", at=T0)).differences == ()
    assert await get_account(store, account="acme", at=T0) == view


async def test_a_manual_subscription_needs_a_status_we_know(store: Store) -> None:
    await state(store)
    stated = put_subscription(store, account="acme", subscription=pro(None), version=1, at=T0)
    assert await refused(stated) == "invalid_subscription"


async def test_what_has_ended_is_no_longer_shown_as_standing(store: Store) -> None:
    await publish(store)
    await state(store)
    ends = T0 + timedelta(days=1)
    await put_override(store, account="acme", override=Override("seats", limit=5, expires_at=ends), at=T0)
    await put_block(store, account="acme", block=Block("fraud", expires_at=ends), at=T0)
    for at, standing in ((ends - timedelta(seconds=1), (["seats"], ["fraud"])), (ends, ([], []))):
        listed = (await list_accounts(store, at=at)).accounts[0]
        for view in (listed, await get_account(store, account="acme", at=at)):
            assert ([o.feature for o in view.overrides], [b.key for b in view.blocks]) == standing
    told = [fact.summary for fact in (await timeline(store, account="acme")).facts]
    assert told[0].startswith("block `fraud` until")


async def test_the_timeline_says_from_what_to_what_an_override_changed(store: Store) -> None:
    await publish(store)
    await state(store)
    for override in (Override("seats", limit=5), Override("seats", limit=8, reason="pilot"), Override("seats", add=2)):
        await put_override(store, account="acme", override=override, at=T0)
    await delete_override(store, account="acme", feature="seats", at=T0)
    told = [fact.summary for fact in (await timeline(store, account="acme")).facts][:4]
    assert told == [
        "override of `seats` withdrawn: was 2 more",
        "override of `seats`: limit 8 → 2 more",
        "override of `seats`: limit 5 → limit 8 (pilot)",
        "override of `seats`: limit 5",
    ]
