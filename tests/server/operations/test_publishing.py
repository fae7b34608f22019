"""Publishing with a word for those who have what changes, who is on which version, and pins: on real PostgreSQL."""

import json
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest

from paygrade.billing.facts import Pin
from paygrade.catalog.grandfathering import Grandfathering
from paygrade.changes.request import ChangeRequest
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.access import entitlements, explain
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.rebuild import rebuild
from paygrade.server.operations.catalog.publish import current_catalog
from paygrade.server.operations.catalog.versions import delete_pin, put_pin, version_counts, version_holders
from paygrade.server.operations.changes.quotes import quote_change
from paygrade.server.state.snapshots import Snapshots
from support.fake_provider import DOCUMENT, T0
from support.selling import buyer, paygrade, publish, refused, seats, selling
from support.server_process import Api

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
KEEP = Grandfathering(keep=True)


async def test_who_keeps_never_sees_the_new_terms_and_who_buys_later_does(store: Store) -> None:
    await publish(store)
    await buyer(store, "early")
    pushed = await publish(store, selling(9), existing=KEEP, at=T0 + DAY)
    assert [(one.before, one.after, one.why, one.accounts) for one in pushed.existing] == [
        ("pro@1", "pro@1", "kept", 1)
    ]
    assert pushed.impact.affected == 0
    await buyer(store, "late", T0 + 2 * DAY)
    assert await seats(store, "early", T0 + 2 * DAY) == (5, "pro@1")
    assert await seats(store, "late", T0 + 2 * DAY) == (9, "pro@2")
    await rebuild(store, account="early", at=T0)
    assert await seats(store, "early", T0 + 2 * DAY) == (5, "pro@1")


async def test_a_plan_shows_what_becomes_of_each_version_and_is_for_one_word_only(store: Store) -> None:
    await publish(store)
    await buyer(store, "acme")
    at = T0 + DAY
    follow = await publish(store, selling(9), dry_run=True, at=at)
    keep = await publish(store, selling(9), dry_run=True, existing=KEEP, at=at)
    assert [(one.after, one.why) for one in follow.existing] == [("pro@2", "newest")]
    assert (follow.impact.gaining, keep.impact.gaining) == (1, 0)
    assert await refused(publish(store, selling(9), plan_id=follow.plan_id, existing=KEEP, at=at)) == (
        "catalog_plan_outdated"
    )
    later = await publish(store, selling(9), plan_id=keep.plan_id, existing=KEEP, at=at + DAY)
    assert later.published


async def test_a_dated_push_says_what_happens_then_and_does_it_on_the_instant(store: Store) -> None:
    await publish(store)
    await buyer(store, "acme")
    date = T0 + 30 * DAY
    pushed = await publish(store, selling(9), existing=Grandfathering(follow_at=date), at=T0 + DAY)
    assert (pushed.impact.gaining, [one.after for one in pushed.existing]) == (1, ["pro@2"])
    view = await entitlements(store, account="acme", as_of=T0 + 2 * DAY, now=T0 + 2 * DAY)
    assert [(version.ref, version.why, version.until) for version in view.versions] == [("pro@1", "kept", date)]
    assert view.entitlements["seats"].sources[0].until == date
    assert await seats(store, "acme", date - timedelta(seconds=1)) == (5, "pro@1")
    assert await seats(store, "acme", date) == (9, "pro@2")
    assert (
        await refused(publish(store, selling(8), existing=Grandfathering(follow_at=date), at=date))
        == "date_in_the_past"
    )


async def test_a_snapshot_turns_to_the_new_version_without_being_asked(store: Store) -> None:
    await publish(store)
    await buyer(store, "acme")
    date = T0 + 3 * DAY
    await publish(store, selling(9), existing=Grandfathering(follow_at=date), at=T0 + DAY)
    held = await Snapshots().load(store, "acme", T0 + 2 * DAY)
    limits = {segment.from_at: segment.entitlements["seats"].limit for segment in held.segments}
    assert limits[T0 + 2 * DAY] == 5
    assert limits[date] == 9


async def test_the_past_is_explained_by_the_version_of_then(store: Store) -> None:
    await publish(store)
    await buyer(store, "acme")
    await publish(store, selling(9), existing=KEEP, at=T0 + DAY)
    await put_pin(store, account="acme", pin=Pin("pro", 2, reason="asked for it"), at=T0 + 2 * DAY)
    now = T0 + 3 * DAY
    then = await explain(store, account="acme", feature="seats", at=T0 + DAY, now=now)
    assert (then.decision.plan, then.versions[0].why, then.versions[0].since) == ("pro@1", "kept", T0 + DAY)
    today = await explain(store, account="acme", feature="seats", at=now, now=now)
    assert (today.decision.plan, today.versions[0].why, today.versions[0].reason) == ("pro@2", "pinned", "asked for it")
    assert [fact.summary for fact in today.facts if fact.subject == "version:pro"] == ["held to `pro@2` (asked for it)"]


async def test_a_pin_holds_until_it_is_withdrawn_and_nonsense_is_refused(store: Store) -> None:
    await publish(store)
    await buyer(store, "acme")
    await publish(store, selling(9), at=T0 + DAY)
    at = T0 + 2 * DAY
    assert await seats(store, "acme", at) == (9, "pro@2")
    await put_pin(store, account="acme", pin=Pin("pro", 1), at=at)
    assert await seats(store, "acme", at) == (5, "pro@1")
    await publish(store, selling(11), at=at)
    assert await seats(store, "acme", at) == (5, "pro@1")
    await delete_pin(store, account="acme", key="pro", at=at)
    assert await seats(store, "acme", at) == (11, "pro@3")
    for account, pin, code in (
        ("nobody", Pin("pro", 1), "unknown_account"),
        ("acme", Pin("gold", 1), "unknown_plan"),
        ("acme", Pin("pro", 4), "unknown_plan_version"),
        ("acme", Pin("pro", 1, until=at + DAY, then=9), "unknown_plan_version"),
        ("acme", Pin("pro", 1, until=at), "already_expired"),
    ):
        assert await refused(put_pin(store, account=account, pin=pin, at=at)) == code
    assert await refused(delete_pin(store, account="acme", key="pro", at=at)) == "unknown_pin"


async def test_everybody_is_counted_on_the_version_they_have(store: Store) -> None:
    await publish(store)
    for account in ("a", "b", "c"):
        await buyer(store, account)
    await put_account(store, account="free", name="", links={}, traits={}, at=T0)
    await publish(store, selling(9), existing=KEEP, at=T0 + DAY)
    at = T0 + 2 * DAY
    await buyer(store, "d", at)
    await put_pin(store, account="b", pin=Pin("pro", 2), at=at)
    counted = (await version_counts(store, at=at)).versions
    assert {(one.key, one.version, one.why, one.accounts) for one in counted} == {
        ("free", 1, "newest", 1), ("pro", 1, "kept", 2), ("pro", 2, "newest", 1), ("pro", 2, "pinned", 1),
    }  # fmt: skip
    page = await version_holders(store, key="pro", version=1, after="", limit=1, at=at)
    assert ([one.account for one in page.accounts], page.next) == (["a"], "a")
    rest = await version_holders(store, key="pro", version=1, after="a", limit=5, at=at)
    assert ([one.account for one in rest.accounts], rest.next) == (["c"], None)
    assert await refused(version_holders(store, key="gold", version=None, after="", limit=1, at=at)) == "unknown_plan"


async def test_an_earlier_document_is_published_again_as_the_newest_version(store: Store) -> None:
    await publish(store)
    await buyer(store, "acme")
    await publish(store, selling(9), at=T0 + DAY)
    again = await publish(store, DOCUMENT, at=T0 + 2 * DAY)
    assert (again.version, (await current_catalog(store)).plans) == (3, ("free@1", "pro@3"))
    assert await seats(store, "acme", T0 + 3 * DAY) == (5, "pro@3")


async def test_a_quote_keeps_the_version_and_buys_the_newest(store: Store) -> None:
    await publish(store)
    await buyer(store, "acme")
    dearer = selling(9)
    dearer["plans"]["pro"]["prices"]["monthly"]["amount"] = 19900
    await publish(store, dearer, existing=KEEP, at=T0 + DAY)
    at = T0 + 2 * DAY
    made = await quote_change(store, None, account="acme", wanted=ChangeRequest(quantities={"pro": 2}), at=at)
    assert (made.plan_before, made.plan_after) == ("pro@1", "pro@1")
    assert made.money.next_invoice is not None
    assert made.money.next_invoice.lines[-1].amount == 2 * 9900


def test_the_word_for_those_who_have_it_is_checked_over_http(api: Api) -> None:
    document = api.ok("GET", "/v1/catalog")["document"]
    for query in ("existing=all", "existing=keep&at=2030-01-01T00:00:00Z", "at=soon"):
        assert api.problem(400, "PUT", f"/v1/catalog?dry_run&{query}", json=document)["code"] == "invalid_query"
    told = api.problem(400, "PUT", "/v1/catalog?dry_run&at=2001-01-01T00:00:00Z", json=document)
    assert told["code"] == "date_in_the_past"
    assert api.problem(404, "GET", "/v1/catalog/versions/soon")["code"] == "unknown_catalog_version"
    assert api.ok("GET", "/v1/catalog/versions/1")["version"] == 1


def test_a_pin_is_stated_read_and_withdrawn_over_http(api: Api, acme: str) -> None:
    where = f"/v1/accounts/{acme}/versions/free"
    assert api.ok("PUT", where, json={"version": 1, "reason": "why not"})["versions"][0]["why"] == "pinned"
    assert api.problem(400, "PUT", where, json={"version": 1, "then": 1})["code"] == "invalid_body"
    assert api.problem(400, "PUT", where, json={"withdrawn": True})["code"] == "invalid_body"
    assert api.ok("DELETE", where)["versions"][0]["why"] == "newest"
    assert api.problem(404, "DELETE", where)["code"] == "unknown_pin"


def test_the_command_line_plans_pushes_rolls_back_and_tells_who(api: Api, acme: str, tmp_path: Any) -> None:
    # Any: pytest's path.
    file = tmp_path / "paygrade.json"
    document = deepcopy(api.ok("GET", "/v1/catalog")["document"])
    first = api.ok("GET", "/v1/catalog")["version"]
    document["plans"]["free"]["entitlements"]["seats"] = 17
    file.write_text(json.dumps(document))
    planned = paygrade(api, "catalog", "plan", str(file), "--existing", "keep")
    assert "free@1\tfree@1\tkept" in planned
    (command,) = [line for line in planned.splitlines() if line.startswith("publish exactly this")]
    words = command.partition("paygrade ")[2].split()
    assert words[-2:] == ["--existing", "keep"]
    assert "published version" in paygrade(api, *words)
    assert api.check(acme, "seats")["plan"] == "free@1"
    assert "free@1\tkept" in paygrade(api, "catalog", "who", "free")
    assert "bought before" in paygrade(api, "explain", acme, "seats")
    assert "free@2 (pinned)" in paygrade(api, "accounts", "pin", acme, "free", "--version", "2")
    assert "free@1 (kept)" in paygrade(api, "accounts", "pin", acme, "free", "--withdraw")
    shown = paygrade(api, "catalog", "rollback", str(first))
    (command,) = [line for line in shown.splitlines() if line.startswith("publish exactly this")]
    assert "published version" in paygrade(api, *command.partition("paygrade ")[2].split())
    assert api.ok("GET", "/v1/catalog")["version"] == first + 2
    assert "kept versions never change" in paygrade(api, "catalog", "push", "--file", str(file), "--existing", "keep",
                                                    "--at", "2030-01-01", code=2)  # fmt: skip
