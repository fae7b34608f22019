"""The past on real PostgreSQL: what was true then by what is known now, and what was believed."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from paygrade.billing.facts import Override, Subscription
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.access import check, decisions, entitlements, explain
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.snapshot_report import SnapshotRow, snapshot_report
from paygrade.server.operations.accounts.statements import put_override
from paygrade.server.operations.accounts.timeline import timeline
from paygrade.server.operations.accounts.versions import Cause, versions
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.events.ingest import ingest
from paygrade.server.operations.sync.inbox import receive_event
from paygrade.server.state.snapshots import Snapshots
from paygrade.server.workers.claims import take
from paygrade.server.workers.sync import SUBJECTS, sync_subject
from paygrade.usage.events import UsageEvent
from support.fake_provider import DOCUMENT, T0, Event, SetClock, World, customer, pro

pytestmark = pytest.mark.anyio

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
async def sold(store: Store) -> Store:
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0 - DAY, by="ann")
    return store


async def told(store: Store, *subscriptions: Subscription, happened_at: datetime, at: datetime) -> None:
    """A billing event of `happened_at` that comes at `at`, and what the provider says then."""
    world, ref = World({"stripe:cus_1": customer(*subscriptions)}), Event(f"evt_{at:%d%H}", created_at=happened_at)
    await receive_event(store, ref=ref, body=b"{}", at=at)
    for claim in await take(store, SUBJECTS, limit=1, at=at):
        await sync_subject(store, world, SetClock(at), claim)


async def every_way(store: Store, feature: str, at: datetime, now: datetime, *, believed: bool) -> tuple[bool, Any]:
    """Whether access is allowed and by which plan, asked in each way there is; they agree. Any: a plan or None."""
    snapshots = Snapshots()
    its: dict[str, Any] = {"account": "acme", "now": now, "believed": believed}
    checked = await check(store, snapshots, feature=feature, at=at, **its)
    explained = (await explain(store, feature=feature, at=at, **its)).decision
    listed = (await decisions(store, snapshots, at=at, **its)).decisions[feature]
    had = (await entitlements(store, as_of=at, **its)).entitlements[feature]
    assert checked == explained == listed
    assert checked.allowed == had.granted
    return checked.allowed, checked.plan


async def test_a_webhook_two_days_late_was_true_then_and_believed_once_it_came(sold: Store) -> None:
    await told(sold, happened_at=T0, at=T0)
    upgraded, came = T0 + 4 * DAY, T0 + 6 * DAY
    await told(sold, pro(), happened_at=upgraded, at=came)
    await told(sold, pro(ends_at=T0 + 20 * DAY), happened_at=T0 + 8 * DAY, at=T0 + 8 * DAY)
    now = T0 + 30 * DAY
    for at, true, believed in (
        (upgraded - HOUR, False, False),
        (upgraded, True, False),
        (came - HOUR, True, False),
        (came, True, True),
        (T0 + 19 * DAY, True, True),
        (T0 + 20 * DAY, False, False),
    ):
        assert (await every_way(sold, "exports", at, now, believed=False))[0] is true, at
        assert (await every_way(sold, "exports", at, now, believed=True))[0] is believed, at
    # Nothing learned later changes what was believed, and now is now.
    earlier = await entitlements(sold, account="acme", as_of=upgraded, now=came, believed=True)
    assert earlier == await entitlements(sold, account="acme", as_of=upgraded, now=now, believed=True)
    assert (await explain(sold, account="acme", feature="exports", at=upgraded, now=now)).known_at == now
    shown = await timeline(sold, account="acme", as_of=upgraded)
    assert [fact.happened_at for fact in shown.facts] == [upgraded, T0]
    assert len((await timeline(sold, account="acme", as_of=upgraded, believed=True)).facts) == 1
    its: dict[str, Any] = {"account": "acme", "now": now}
    for by_belief, began in ((False, upgraded), (True, came)):
        first = await versions(sold, limit=1, believed=by_belief, **its)
        rest = await versions(sold, before=first.next, believed=by_belief, **its)
        ended, bought, created = (*first.versions, *rest.versions)
        assert (ended.from_at, ended.until, ended.cause) == (T0 + 20 * DAY, None, Cause("date", ()))
        assert (bought.from_at, bought.until, bought.cause.by) == (began, ended.from_at, "billing")
        assert (created.from_at, created.until, rest.next) == (T0, began, None)
        assert bought.cause.facts[0].cause == (f"evt_{came:%d%H}",)
        assert {(one.feature, one.how) for one in bought.delta} >= {("exports", "gained"), ("seats", "changed")}
        seats = next(one for one in ended.delta if one.feature == "seats")
        assert (seats.before and seats.before.limit, seats.after and seats.after.limit) == (5, 1)


async def test_the_snapshot_report_says_of_all_accounts_what_each_had(sold: Store) -> None:
    for account in ("acme", "bolt", "cord"):
        await put_account(sold, account=account, name=account.title(), links={}, traits={}, at=T0)
    await put_override(sold, account="bolt", override=Override("api_calls", limit=10), at=T0 + DAY)
    event = UsageEvent(id="1", account="bolt", event="api_call", time=T0 + 2 * DAY, quantity=4)
    await ingest(sold, Snapshots(), [event], T0 + 2 * DAY)
    await put_account(sold, account="dime", name="", links={}, traits={}, at=T0 + 4 * DAY)
    now = T0 + 5 * DAY
    for at, limit, used in ((T0 + HOUR, None, None), (T0 + 3 * DAY, 10, 4), (now, 10, 4)):
        rows, after = list[SnapshotRow](), ""
        while True:
            page = await snapshot_report(sold, at=at, now=now, believed=False, after=after, limit=2)
            rows += page.rows
            if page.next is None:
                break
            after = page.next
        there = ["acme", "bolt", "cord", *(["dime"] if at >= T0 + 4 * DAY else [])]
        assert [(row.account, row.feature) for row in rows] == [
            (account, feature) for account in there for feature in sorted(DOCUMENT["features"])
        ]
        calls = next(row for row in rows if (row.account, row.feature) == ("bolt", "api_calls"))
        assert (calls.limit, calls.used, calls.name) == (limit, used, "Bolt")
        had = await entitlements(sold, account="bolt", as_of=at, now=now)
        assert {row.feature: row.granted for row in rows if row.account == "bolt"} == {
            key: its.granted for key, its in had.entitlements.items()
        }


async def test_usage_that_was_reported_late_was_used_then_and_counted_since(sold: Store) -> None:
    await put_account(sold, account="acme", name="", links={}, traits={}, at=T0)
    await put_override(sold, account="acme", override=Override("api_calls", limit=10), at=T0)
    used, came = T0 + HOUR, T0 + DAY
    event = UsageEvent(id="1", account="acme", event="api_call", time=used, quantity=4)
    assert (await ingest(sold, Snapshots(), [event], came)).accepted == 1
    now, asked = T0 + 2 * DAY, dict[str, Any](account="acme", feature="api_calls")
    for at, true, believed in ((used - HOUR, 0, 0), (used, 4, 0), (came, 4, 4)):
        for by_belief, count in ((False, true), (True, believed)):
            told = await check(sold, Snapshots(), at=at, now=now, believed=by_belief, **asked)
            assert told.used == count, (at, by_belief)
