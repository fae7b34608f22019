"""Plan changes carried out where nobody bills but the host: asked for, settled, scheduled, taken back, reverted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from paygrade.billing.facts import Item, Override, Subscription
from paygrade.changes.plan_change import PlanChange
from paygrade.changes.quote import Quote
from paygrade.changes.request import ChangeRequest
from paygrade.decisions.decide import Decision
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.access import check
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.statements import put_override, put_subscription
from paygrade.server.operations.accounts.transition import follow_due_transitions, follow_transition
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.changes.plan_changes import act, carry_out, get_change, list_changes, revert, take_back
from paygrade.server.operations.changes.quotes import quote_change
from paygrade.server.operations.events.ingest import ingest
from paygrade.server.operations.usage.grants import read_ledger, state_usage
from paygrade.server.state.snapshots import Snapshots
from paygrade.usage.events import UsageEvent
from paygrade.values.errors import Refused

pytestmark = pytest.mark.anyio

JAN31, FEB14, FEB28 = (datetime(2026, m, d, 12, tzinfo=UTC) for m, d in ((1, 31), (2, 14), (2, 28)))
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "exports": {"kind": "boolean"},
        "projects": {"kind": "level"},
        "calls": {"kind": "metered"},
        "mails": {"kind": "metered"},
    },
    "plans": {
        "free": {"default": True, "entitlements": {"projects": 2, "calls": {"limit": 100, "every": "month"}}},
        "pro": {
            "entitlements": {
                "exports": True,
                "projects": 10,
                "calls": {"limit": 1000, "every": "month"},
                "mails": {"limit": 50, "every": "month"},
            }
        },
        "scale": {
            "entitlements": {
                "exports": True,
                "projects": "unlimited",
                "calls": {"limit": 5000, "every": "month"},
                "mails": {"limit": 500, "every": "month"},
            }
        },
    },
}
UP: dict[str, Any] = {"direction": "upgrade", "when": "now", "usage": "convert"}
DOWN: dict[str, Any] = {"direction": "downgrade", "when": "now", "over_limit": {"projects": "grace"}, "grace": "14d"}


class Desk:
    """An account that bills by hand, and what a person at its desk can do."""

    def __init__(self, store: Store) -> None:
        self.store, self.at = store, FEB14
        self.first = ""
        """The change that was its first subscription."""

    async def open(self, *rules: dict[str, Any], plan: str = "pro") -> "Desk":
        policies = {"plan_change": [*rules, {"when": "now"}]}
        document = {**DOCUMENT, "policies": policies}
        await publish_catalog(self.store, document=document, lines={}, dry_run=False, at=JAN31, by="ann")
        await put_account(self.store, account="acme", name="", links={}, traits={}, at=JAN31)
        await self.state(plan, version=1, at=JAN31)
        (first,) = (await list_changes(self.store, account="acme", limit=10)).changes
        self.first = first.id
        return self

    async def state(self, plan: str, *, version: int, at: datetime | None = None, **more: Any) -> None:
        """What the host's own billing says."""
        item = Item("main", 1, plan=plan, period_from_at=JAN31, period_until=FEB28)
        stated = Subscription("own", more.pop("status", "active"), (item,), JAN31, **more)
        at = at or self.at
        await put_subscription(self.store, account="acme", subscription=stated, version=version, at=at)

    async def quote(self, **wanted: Any) -> Quote:
        return await quote_change(self.store, None, account="acme", wanted=ChangeRequest(**wanted), at=self.at)

    async def carry_out(self, made: Quote, *, key: str | None = None, id: str = "") -> PlanChange:
        return await carry_out(
            self.store, account="acme", quote_id=id or made.id, key=key, has_provider=False, at=self.at
        )  # fmt: skip

    async def change(self, **wanted: Any) -> PlanChange:
        return await self.carry_out(await self.quote(**wanted))

    async def check(self, feature: str, quantity: int = 1) -> Decision:
        found = Snapshots()
        return await check(self.store, found, account="acme", feature=feature, quantity=quantity, at=self.at)

    async def use(self, feature: str, used: int) -> None:
        id = f"{feature}{used}{self.at.isoformat()}"
        await state_usage(
            self.store, Snapshots(), account="acme", pool=feature, used=used, id=id, reason="", at=self.at
        )  # fmt: skip

    async def steps(self, change: PlanChange) -> list[str]:
        return [step.step for step in (await get_change(self.store, account="acme", id=change.id)).steps]

    async def refused(self, made: Quote, **more: Any) -> str:
        with pytest.raises(Refused) as refused:
            await self.carry_out(made, **more)
        return refused.value.code


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


async def test_a_change_does_what_its_quote_said_and_has_one_record(desk: Desk) -> None:
    await desk.open(UP)
    made = await desk.quote(plan="scale")
    change = await desk.carry_out(made)
    assert (change.state, change.source, change.quote) == ("applied", "request", made.id)
    assert change.settlement is not None
    assert [(d.feature, d.before, d.after) for d in change.settlement.deltas] == [
        (d.feature, d.before, d.after) for d in made.deltas
    ]
    assert (await desk.check("projects", 1000)).plan == "scale@1"
    listed = await list_changes(desk.store, account="acme", limit=10)
    assert [(one.id, one.source) for one in listed.changes] == [(change.id, "request"), (desk.first, "billing")]
    assert await desk.steps(change) == ["asked", "applied", "rule", *["access"] * len(made.deltas)]


async def test_a_change_is_made_once_however_often_it_is_asked_for(desk: Desk) -> None:
    await desk.open(UP)
    made = await desk.quote(plan="scale")
    first = await desk.carry_out(made, key="k1")
    assert await desk.carry_out(made, key="k1") == first
    assert await desk.refused(made, key="k2") == "quote_used"
    other = await desk.quote(plan="free")
    assert await desk.refused(other, key="k1") == "key_conflict"
    assert len((await list_changes(desk.store, account="acme", limit=10)).changes) == 2


async def test_a_quote_is_only_carried_out_on_what_it_was_made_on(desk: Desk) -> None:
    await desk.open(UP)
    made = await desk.quote(plan="scale")
    assert await desk.refused(made, id="quote_0") == "unknown_quote"
    override = Override("exports", "a favour", value=True)
    await put_override(desk.store, account="acme", override=override, at=desk.at)
    assert await desk.refused(made) == "account_changed"
    made = await desk.quote(plan="scale")
    document = {**DOCUMENT, "features": {**DOCUMENT["features"], "sso": {"kind": "boolean"}}}
    await publish_catalog(desk.store, document=document, lines={}, dry_run=False, at=desk.at, by="ann")
    assert await desk.refused(made) == "catalog_changed"
    made = await desk.quote(plan="scale")
    desk.at += timedelta(hours=1)
    assert await desk.refused(made) == "quote_expired"


async def test_what_is_refused_while_something_is_over_is_refused_when_it_became_so_meanwhile(desk: Desk) -> None:
    await desk.open({"direction": "downgrade", "when": "now", "over_limit": "refuse"})
    made = await desk.quote(plan="free")
    assert made.executable
    await desk.use("projects", 5)
    assert await desk.refused(made) == "change_refused"
    await desk.use("projects", 2)
    assert (await desk.carry_out(made)).state == "applied"


async def test_usage_is_carried_over_as_the_rule_says_once(desk: Desk) -> None:
    await desk.open(UP)
    await desk.use("calls", 500)
    made = await desk.quote(plan="scale")
    assert [(u.feature, u.used_before, u.used_after) for u in made.usage] == [("calls", 500, 2500)]
    await desk.carry_out(made)
    assert (await desk.check("calls")).used == 2500
    entries = (await read_ledger(
        desk.store, Snapshots(), account="acme", pool="calls", before=None, limit=10, at=desk.at
    )).entries  # fmt: skip
    assert [(entry.kind, entry.quantity) for entry in entries] == [("carry_over", 2000), ("set", 500)]


async def test_up_and_down_and_up_again_never_gives_more(desk: Desk) -> None:
    await desk.open()
    await desk.use("calls", 900)
    for plan, left in (("scale", 4100), ("pro", 100), ("scale", 4100), ("free", 0), ("pro", 100)):
        await desk.change(plan=plan) if plan != "free" else await desk.state("free", version=99)
        assert (await desk.check("calls")).remaining == left


async def test_what_is_over_is_left_for_as_long_as_the_rule_says_and_then_ends_by_itself(desk: Desk) -> None:
    await desk.open(DOWN, plan="scale")
    await desk.use("projects", 40)
    change = await desk.change(plan="pro")
    assert change.settlement is not None
    (leeway,) = change.settlement.leeways
    assert (leeway.feature, leeway.limit, leeway.until) == ("projects", None, FEB14 + timedelta(days=14))
    decision = await desk.check("projects")
    assert (decision.allowed, decision.reason, decision.unlimited) == (True, "plan", True)
    assert "over_limit" in await desk.steps(change)
    desk.at = FEB14 + timedelta(days=14)
    decision = await desk.check("projects")
    assert (decision.allowed, decision.limit, decision.used) == (False, 10, 40)


async def test_units_left_by_a_change_are_granted_as_grace(desk: Desk) -> None:
    await desk.open(DOWN)
    await desk.use("projects", 9)
    await desk.state("free", version=2)
    decision = await desk.check("projects")
    assert (decision.allowed, decision.reason, decision.limit, decision.remaining) == (True, "grace", 10, 1)
    assert [source.kind for source in decision.sources] == ["plan", "leeway"]


async def test_a_change_that_billing_made_by_itself_is_settled_by_the_same_rules(desk: Desk) -> None:
    await desk.open(UP)
    await desk.use("calls", 500)
    await desk.state("scale", version=2)
    assert (await desk.check("calls")).used == 2500
    change, _ = (await list_changes(desk.store, account="acme", limit=10)).changes
    assert (change.source, change.state, change.quote) == ("billing", "applied", None)
    assert await desk.steps(change) == ["seen", "applied", "rule", "access", "access", "access", "usage"]
    await desk.state("scale", version=3)
    assert len((await list_changes(desk.store, account="acme", limit=10)).changes) == 2


async def test_an_end_that_is_scheduled_comes_by_itself_and_is_settled_on_its_date(desk: Desk) -> None:
    await desk.open({"direction": "downgrade", "when": "period_end", "over_limit": "grace", "grace": "7d"})
    await desk.use("projects", 6)
    change = await desk.change(plan="free")
    assert (change.state, change.act, change.effective_at) == ("scheduled", "cancel", FEB28)
    assert (await desk.check("exports")).allowed
    assert await follow_due_transitions(desk.store, at=FEB28 - timedelta(seconds=1)) == 0
    desk.at = FEB28
    assert not (await desk.check("exports")).allowed
    assert await follow_due_transitions(desk.store, at=FEB28) == 1
    view = await get_change(desk.store, account="acme", id=change.id)
    assert view.change.state == "applied"
    assert view.change.resolved_at == FEB28
    assert (await desk.check("projects")).limit == 10
    assert await follow_due_transitions(desk.store, at=FEB28 + timedelta(days=9)) == 0


async def test_a_change_at_the_end_of_the_period_is_known_ahead_and_comes_by_itself(desk: Desk) -> None:
    await desk.open({"direction": "downgrade", "when": "period_end", "usage": "convert"}, plan="scale")
    await desk.use("calls", 1000)
    change = await desk.change(plan="pro")
    assert (change.state, change.act, change.effective_at) == ("scheduled", "change", FEB28)
    held = await Snapshots().load(desk.store, "acme", desk.at)
    assert held.segments[0].until == FEB28
    assert [segment.entitlements["projects"].limit for segment in held.segments][:2] == [None, 10]
    desk.at = FEB28
    assert (await desk.check("projects")).plan == "pro@1"
    assert await follow_due_transitions(desk.store, at=FEB28) == 1
    assert (await get_change(desk.store, account="acme", id=change.id)).change.state == "applied"


async def test_what_is_scheduled_can_be_taken_back_and_then_never_comes(desk: Desk) -> None:
    await desk.open({"direction": "downgrade", "when": "period_end"}, plan="scale")
    change = await desk.change(plan="pro")
    await take_back(desk.store, account="acme", id=change.id, at=desk.at)
    desk.at = FEB28
    assert (await desk.check("projects")).unlimited
    assert await follow_due_transitions(desk.store, at=FEB28) == 0


async def test_a_scheduled_end_can_be_taken_back(desk: Desk) -> None:
    await desk.open({"direction": "downgrade", "when": "period_end"})
    change = await desk.change(plan="free")
    made = await desk.quote(plan="scale")
    assert {"pending_cancellation", "another_scheduled"} <= {caveat.code for caveat in made.warnings}
    assert await desk.refused(made) == "change_scheduled"
    taken = await take_back(desk.store, account="acme", id=change.id, at=desk.at)
    assert taken.state == "canceled"
    assert await take_back(desk.store, account="acme", id=change.id, at=desk.at) == taken
    desk.at = FEB28
    assert (await desk.check("exports")).allowed
    assert await desk.steps(change) == ["asked", "scheduled", "taken_back", "canceled"]
    done = await desk.change(plan="scale")
    with pytest.raises(Refused, match="revert"):
        await take_back(desk.store, account="acme", id=done.id, at=desk.at)


async def test_a_change_that_was_applied_is_reverted_by_a_quote_linked_to_it(desk: Desk) -> None:
    await desk.open(UP)
    change = await desk.change(plan="scale")
    made = await revert(desk.store, None, account="acme", id=change.id, at=desk.at)
    assert (made.reverts, made.plan_after, made.direction) == (change.id, "pro@1", "downgrade")
    other = await desk.carry_out(made)
    assert (other.state, other.reverts) == ("applied", change.id)
    view = await get_change(desk.store, account="acme", id=change.id)
    assert view.change.reverted_by == other.id
    with pytest.raises(Refused, match="was already reverted"):
        await revert(desk.store, None, account="acme", id=change.id, at=desk.at)


async def test_a_rule_that_cools_off_lets_nobody_go_back_before_the_next_period(desk: Desk) -> None:
    await desk.open({**UP, "cooling_off": "period"})
    change = await desk.change(plan="scale")
    with pytest.raises(Refused) as refused:
        await desk.quote(plan="pro")
    assert refused.value.code == "cooling_off"
    assert change.id in refused.value.detail
    assert "2026-02-28" in refused.value.detail
    assert (await desk.quote(plan="pro", when="period_end")).plan_after == "pro@1"
    # Nor after something else was done to the subscription meanwhile.
    for how in ("pause", "resume"):
        await act(
            desk.store, account="acme", act=how, subscription=None, trial_ends_at=None, key=None, has_provider=False,
            at=desk.at,
        )  # fmt: skip
    with pytest.raises(Refused, match=change.id):
        await desk.quote(plan="pro")


@pytest.mark.parametrize(
    ("how", "status", "allowed"),
    [("pause", "active", False), ("resume", "paused", True), ("end_trial", "trialing", True)],
)
async def test_a_subscription_is_paused_resumed_and_let_out_of_its_trial(
    desk: Desk, how: Any, status: str, allowed: bool
) -> None:
    await desk.open()
    await desk.state("pro", version=2, status=status, trial_ends_at=FEB28 if status == "trialing" else None)
    change = await act(
        desk.store, account="acme", act=how, subscription=None, trial_ends_at=None, key="k", has_provider=False,
        at=desk.at,
    )  # fmt: skip
    assert change.state == "applied"
    assert (await desk.check("exports")).allowed is allowed
    with pytest.raises(Refused) as refused:
        await act(
            desk.store, account="acme", act=how, subscription=None, trial_ends_at=None, key="other",
            has_provider=False, at=desk.at,
        )  # fmt: skip
    assert refused.value.code == "not_possible_now"


async def test_a_trial_can_be_begun_and_extended(desk: Desk) -> None:
    await desk.open()
    for until in (FEB28, FEB28 + timedelta(days=7)):
        change = await act(
            desk.store, account="acme", act="set_trial", subscription="own", trial_ends_at=until, key=None,
            has_provider=False, at=desk.at,
        )  # fmt: skip
        assert change.state == "applied"
        assert (await desk.check("exports")).reason == "trial"


async def test_only_a_reading_that_began_after_it_was_done_tells_of_a_change(desk: Desk) -> None:
    await desk.open({"direction": "downgrade", "when": "period_end"})
    change = await desk.change(plan="free")
    for fence, state in ((6, "scheduled"), (7, "scheduled"), (8, "applied")):
        async with desk.store.transaction() as tx:
            (account,) = (await tx.accounts.lock(["acme"])).values()
            held = await tx.plan_changes.hold("acme", change.id)
            assert held is not None
            await tx.plan_changes.save(replace(held, done_fence=7))
            await follow_transition(tx, account, account, at=desk.at, read=(change.subject, fence))
        assert (await get_change(desk.store, account="acme", id=change.id)).change.state == state


async def test_usage_goes_on_where_a_plan_change_prorated_what_nobody_had_used(desk: Desk) -> None:
    await desk.open({"direction": "downgrade", "when": "now", "usage": "prorate"}, plan="scale")
    await desk.change(plan="pro")
    # Half of the month is over: 2,500 of the old units and 500 of the new ones are there, and 1,000 are the limit.
    assert ((await desk.check("calls")).used, (await desk.check("calls")).remaining) == (-2000, 3000)
    events = [
        UsageEvent(id=str(n), account="acme", feature="calls", quantity=quantity)
        for n, quantity in enumerate((3, 5, -9))
    ]
    told = await ingest(desk.store, Snapshots(), events, desk.at)
    assert [(each.index, each.code) for each in told.rejected] == [(2, "below_zero")]
    assert (await desk.check("calls")).remaining == 2992
