"""A story of a few accounts in which every type of state update occurs, on real tables, by the operations that are."""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from paygrade.billing.facts import Block, Contract, Item, Member, Override, Returned, Subscription
from paygrade.catalog.model import TopUp
from paygrade.changes.order import Progress
from paygrade.changes.request import ChangeRequest
from paygrade.changes.version_migration import VersionMigration
from paygrade.postgres.store import Store
from paygrade.server.operations import api_keys
from paygrade.server.operations.accounts import statements
from paygrade.server.operations.accounts.accounts import delete_account, put_account
from paygrade.server.operations.accounts.contracts import delete_contract, put_contract
from paygrade.server.operations.catalog.migrations import finish_migrations, migrate_account, start_migration
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.changes.plan_changes import carry_out, take_back
from paygrade.server.operations.changes.quotes import quote_change
from paygrade.server.operations.update_log import give_places
from paygrade.server.operations.updates.announce import announce_dates
from paygrade.server.operations.updates.ends import (
    announce_ended_windows,
    announce_expired_grants,
    announce_expiring_keys,
)
from paygrade.server.operations.usage.grants import give, void
from paygrade.server.operations.usage.requests import Consume
from paygrade.server.operations.usage.use import use_together
from paygrade.server.process.clock import Clock
from paygrade.server.process.scopes import SCOPES
from paygrade.server.state.snapshots import Snapshots
from paygrade.server.workers.claims import take
from paygrade.server.workers.loop import DATES, MOVES
from paygrade.server.workers.plan_changes import CHANGES, note
from paygrade.server.workers.sync import SUBJECTS, sync_subject
from paygrade.server.workers.top_ups import TOP_UPS, buy_top_up
from paygrade.server.workers.webhooks import tell_people
from paygrade.updates.log import Update
from paygrade.usage.balances import Grant
from paygrade.usage.top_ups import Bill, Order
from support.fake_provider import World, customer, pro

T0 = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "exports": {"kind": "boolean"},
        "projects": {"kind": "level"},
        "seats": {"kind": "level", "unit": "seat"},
        "api_calls": {"kind": "metered"},
        "tokens": {"kind": "metered", "burns": {"coins": {"rate": 1, "per": 1}}},
    },
    "credits": {"coins": {}},
    "plans": {
        "free": {
            "default": True,
            "entitlements": {
                "seats": 2,
                "projects": 2,
                "api_calls": {"limit": 10, "every": "month", "warn": [80]},
                "coins": {"grant": 10, "every": "month"},
            },
        },
        "pro": {
            "prices": {"monthly": {"amount": 9900, "currency": "usd", "interval": "month", "stripe": "pro_monthly"}},
            "entitlements": {
                "exports": True,
                "seats": 5,
                "projects": 9,
                "api_calls": {"limit": 1000, "every": "month"},
            },
        },
    },
    "policies": {
        "past_due": [{"for": "7d", "access": "full"}, {"for": "14d", "access": "read"}, {"then": "free"}],
        "plan_change": [
            {"to": "free", "when": "now", "over_limit": "grace", "grace": "7d"},
            {"from": "*", "to": "*", "when": "now"},
        ],
    },
}
TOP_UP = TopUp("coins", below=5, add=100, at_most=3, every="month", amount=2000, currency="usd")


class Story:
    """A store, and what time it is."""

    def __init__(self, store: Store) -> None:
        self.store, self.at, self.snapshots, self.uses = store, T0, Snapshots(), 0

    async def tell(self) -> tuple[Update, ...]:
        """All that happens; gives the updates of it."""
        await announce_ended_windows(self.store, at=self.at)
        await announce_expired_grants(self.store, at=self.at)
        await announce_expiring_keys(self.store, at=self.at)
        await self._publish(DOCUMENT)
        for account in ("acme", "beta"):
            await put_account(self.store, account=account, name="", links={}, traits={}, at=self.at)
        await put_account(self.store, account="acme", name="Acme", links={}, traits={}, at=self.at)
        await self._people()
        await self._operators()
        await self._usage()
        await self._arrears()
        await self._downgrade()
        await self._plan_changes()
        await self._provider()
        await self._catalogs()
        await self._webhooks()
        await self._keys()
        await self._top_ups()
        await self._contracts()
        await delete_account(self.store, account="acme", at=self.at)
        await give_places(self.store)
        async with self.store.transaction() as tx:
            return await tx.updates.after(0, limit=1000)

    async def wait(self, days: int) -> None:
        """Let time pass, and workers do what they do by then."""
        self.at += days * DAY
        while claimed := await take(self.store, DATES, limit=10, at=self.at):
            for each in claimed:
                await announce_dates(self.store, each, at=self.at)
        await announce_ended_windows(self.store, at=self.at)
        await announce_expired_grants(self.store, at=self.at)
        await announce_expiring_keys(self.store, at=self.at)

    async def _publish(self, document: dict[str, Any]) -> None:
        await publish_catalog(self.store, document=document, lines={}, dry_run=False, at=self.at, by="the build")

    async def _webhooks(self) -> None:
        """An endpoint fails, is repaired, and is gone in the end."""
        id, url = "we_5d1f0c3b9a7e4f2d8c6b1a09", "https://example.com/webhooks"
        async with self.store.transaction() as tx:
            await tx.webhook_endpoints.add(
                id, url=url, description="", types=None, accounts=None, secrets=[], at=self.at
            )
            works = await tx.webhook_endpoints.load(id)
            assert works is not None
            fails = replace(works, failing_since=self.at - DAY, warned_at=self.at)
            for before, after in (
                (works, fails),
                (fails, works),
                (works, replace(works, state="disabled", reason="gone")),
            ):
                await tell_people(tx, before, after, self.at)

    async def _keys(self) -> None:
        """A key is rotated, and expires; another one is revoked."""
        made = [
            await api_keys.create(
                self.store, api_keys.KeyRequest(name=name, role="support", expires_at=self.at + 30 * DAY),
                mode="test", granted=frozenset(SCOPES), at=self.at,
            )
            for name in ("help desk", "old help desk")
        ]  # fmt: skip
        await api_keys.rotate(self.store, api_keys.KeyRotation(), id=made[0].id, granted=frozenset(SCOPES), at=self.at)
        await api_keys.revoke(self.store, id=made[1].id, at=self.at)
        for days in (25, 6):
            await self.wait(days)

    async def _top_ups(self) -> None:
        """One is paid and its money goes back; another one comes to nothing."""
        for number in (1, 2):
            async with self.store.transaction() as tx:
                await tx.top_ups.add(
                    TOP_UP, account="gamma", id=f"top_{number}", window_at=self.at, balance=1, at=self.at
                )
            for _ in range(2):
                for claimed in await take(self.store, TOP_UPS, limit=9, at=self.at):
                    await buy_top_up(self.store, Till(), StandingClock(self.at), claimed)
                async with self.store.transaction() as tx:
                    await tx.top_ups.check("cus_1")

    async def _contracts(self) -> None:
        """One begins, is renewed and comes to its end; another one was a mistake."""
        begins, ends_at = self.at + DAY, self.at + 29 * DAY
        year = datetime(2027, 1, 1, tzinfo=UTC)
        for id, terms in (
            ("delta-2026", Contract("pro", begins, 120_000, "usd", ends_at=ends_at)),
            ("delta-2027", Contract("pro", year, 120_000, "usd", ends_at=year.replace(year=2028), renews=True)),
        ):
            await put_account(self.store, account="delta", name="", links={}, traits={}, at=self.at)
            await put_contract(self.store, account="delta", contract=id, terms=terms, at=self.at)
        self.at = year.replace(year=2028) - DAY
        await self.wait(2)
        await delete_contract(self.store, account="delta", contract="delta-2027", at=self.at)

    async def _people(self) -> None:
        member = Member("ann", "admin", seat=True)
        await statements.put_member(self.store, account="acme", member=member, at=self.at)
        await statements.delete_member(self.store, account="acme", member="ann", at=self.at)
        for _ in range(2):
            invited = Member("bo", "editor", seat=True, invited=True)
            await statements.put_member(self.store, account="acme", member=invited, at=self.at)
            await statements.delete_member(self.store, account="acme", member="bo", at=self.at)
        await statements.put_member(self.store, account="acme", member=invited, at=self.at)

    async def _operators(self) -> None:
        planned = Override(feature="exports", value=True, reason="goodwill", starts_at=self.at + DAY)
        await statements.put_override(self.store, account="acme", override=planned, at=self.at)
        override = Override(
            feature="exports",
            value=True,
            reason="goodwill",
            code="outage",
            review_at=self.at + DAY,
            expires_at=self.at + 2 * DAY,
        )
        for _ in range(2):
            await statements.put_override(self.store, account="acme", override=override, at=self.at)
            await statements.delete_override(self.store, account="acme", feature="exports", at=self.at)
            await statements.put_override(self.store, account="acme", override=override, at=self.at)
        block = Block("fraud", "chargeback under review", self.at + 2 * DAY)
        await statements.put_block(self.store, account="acme", block=block, at=self.at)
        await statements.delete_block(self.store, account="acme", key="fraud", at=self.at)
        await statements.put_block(self.store, account="acme", block=block, at=self.at)
        await self.wait(3)

    async def _use(self, account: str, feature: str, units: int) -> None:
        self.uses += 1
        request = Consume(account=account, feature=feature, id=f"use_{self.uses}", quantity=units)
        (answer,) = await use_together(self.store, self.snapshots, [request], self.at)
        assert not isinstance(answer, Exception), answer

    async def _usage(self) -> None:
        for units in (8, 2):
            await self._use("acme", "api_calls", units)
            await self._use("acme", "tokens", units)
        for number, until in (("gr_1", None), ("gr_2", self.at + 2 * DAY)):
            grant = Grant(number, "promotion", 90, self.at, until)
            await give(self.store, self.snapshots, account="acme", pool="coins", grant=grant, reason="", at=self.at)
        await void(self.store, account="acme", pool="coins", id="gr_1", at=self.at)
        await self.wait(40)

    async def _state(self, account: str, plan: str, version: int, status: Any = "active", **more: Any) -> None:
        its = Subscription(f"sub_{account}", status, (Item("main", plan=plan),), self.at, started_at=self.at, **more)
        await statements.put_subscription(self.store, account=account, subscription=its, version=version, at=self.at)

    async def _arrears(self) -> None:
        ends_at = self.at + 10 * DAY
        trial = {"trial_ends_at": ends_at, "after_trial": "past_due", "unpaid_since": ends_at}
        await self._state("acme", "pro", 1, "trialing", **trial)
        await self.wait(30)
        await self._state("acme", "pro", 2)
        await self._state("acme", "pro", 3, "canceled")

    async def _downgrade(self) -> None:
        await self._state("beta", "pro", 1)
        await self._use("beta", "projects", 5)
        await self._state("beta", "free", 2)
        await self.wait(8)

    async def _plan_changes(self) -> None:
        await self._state("beta", "pro", 3)
        wanted = ChangeRequest(plan="free", date=self.at + 3 * DAY)
        made = await quote_change(self.store, None, account="beta", wanted=wanted, at=self.at)
        asked = await carry_out(self.store, account="beta", quote_id=made.id, key="k", has_provider=True, at=self.at)
        await take_back(self.store, account="beta", id=asked.id, at=self.at)

    async def _provider(self) -> None:
        world = World({"stripe:cus_1": customer(pro(), account="gamma")})
        for quantity in (1, 2):
            # That it has changed no billing event has told: a sweep has found it.
            world.answers = {"stripe:cus_1": customer(pro(quantity=quantity), account="gamma")}
            async with self.store.transaction() as tx:
                await tx.subjects.mark(["stripe:cus_1"], swept=True)
            (claim,) = await take(self.store, SUBJECTS, limit=9, at=self.at)
            assert await sync_subject(self.store, world, StandingClock(self.at), claim) == "saved"
        wanted = ChangeRequest(quantities={"pro": 3})
        made = await quote_change(self.store, None, account="gamma", wanted=wanted, at=self.at)
        await carry_out(self.store, account="gamma", quote_id=made.id, key="k", has_provider=True, at=self.at)
        (claimed,) = await take(self.store, CHANGES, limit=9, at=self.at)
        refused = Progress("failed", detail="the card was declined")
        assert await note(self.store, claimed, refused, at=self.at) == "failed"

    async def _catalogs(self) -> None:
        override = Override(feature="exports", value=True)
        await statements.put_override(self.store, account="beta", override=override, at=self.at)
        changed = {**DOCUMENT, "features": {**DOCUMENT["features"], "exports": {"kind": "config", "type": "integer"}}}
        changed["plans"] = {**DOCUMENT["plans"], "pro": {**DOCUMENT["plans"]["pro"], "entitlements": {"seats": 6}}}
        for document in (changed, DOCUMENT):
            await self._publish(document)
            await self.wait(1)
        move = VersionMigration(plan="pro", from_version=None, to_version=2, reason="")
        await start_migration(
            self.store, move=move, accounts=("beta",), dry_run=False, at=self.at, by="the build"
        )  # fmt: skip
        for claimed in await take(self.store, MOVES, limit=9, at=self.at):
            await migrate_account(self.store, claimed, at=self.at)
        await finish_migrations(self.store, at=self.at)


class Till:
    """Charges for the first top-up and gives everything back, and refuses any other one."""

    def advance(self, order: Order) -> Bill:
        if order.id == "top_1":
            return Bill("in_1", "paid")
        return Bill("in_2", "void", declined="Your card was declined.")

    def returned(self, order: Order) -> Returned:
        return Returned(refunded=order.amount)


class StandingClock(Clock):
    """A clock that shows one instant."""

    def __init__(self, at: datetime) -> None:
        super().__init__()
        self._at = at

    def now(self) -> datetime:
        return self._at
