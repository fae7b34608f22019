"""A company that bills for usage: its accounts at the simulator with a meter, and its ledger in a database."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
from msgspec.structs import replace

from paygrade.catalog import Catalog, MeteredFeature, Policies, Report, TopUp
from paygrade.catalog_document import parse
from paygrade.entitlements import derive
from paygrade.postgres.store import Store
from paygrade.providers.stripe.client import StripeProvider
from paygrade.providers.stripe.commands import StripeCommands
from paygrade.server.clock import Clock
from paygrade.server.demo_shop import Shop
from paygrade.server.documents import read_yaml
from paygrade.server.operations.catalogs import publish_catalog
from paygrade.server.operations.sync import mark_discovered
from paygrade.server.reports import Metering, Outcome, claim_reports, mark_reports, report_window
from paygrade.server.settings import Settings
from paygrade.server.sync import claim_subjects, sync_subject
from paygrade.simulator.serve import Running, running
from serving import SAMPLE, Api

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
METER = "api_calls_used"
LIMIT = 100_000
"""Calls that the sample's `pro` includes in a month; going over is allowed."""


class Billing(Clock):
    """The simulator with a shop and a meter in it, those who read and write it, and its clock."""

    def __init__(self, served: Running, database_url: str) -> None:
        super().__init__()
        self.at = START
        self.settings = Settings(
            stripe_api_key=served.key, stripe_api_base=served.url, clock_url=served.url, sweep_every=None
        )
        self.provider = StripeProvider(api_key=served.key, api_base=served.url, timeout_s=5)
        self.commands = StripeCommands(self.provider.connection)
        self.control = Api(f"{served.url}/_simulator", key=None)
        self.shop = Shop(url=served.url, key=served.key)
        self.stripe = self.shop._stripe
        document, lines = read_yaml(SAMPLE.read_bytes())
        self.document: Any = document
        self.shop.stock(parse(document, lines=lines))
        self.meter = self.stripe.v1.billing.meters.create(
            {"display_name": "Calls", "event_name": METER, "default_aggregation": {"formula": "sum"}}
        ).id
        self._database_url = database_url
        self._used = 0

    def now(self) -> datetime:
        return self.at

    def advance(self, duration: timedelta) -> None:
        self.at += duration
        self.control.ok("POST", "/clock", json={"to": self.at.isoformat()})

    def weather(self, **wanted: Any) -> None:
        self.control.ok("POST", "/weather", json=wanted)

    async def sell(self, store: Store, *, report: Report = "overage", top_up: TopUp | None = None) -> Catalog:
        """Publish the sample catalog, with calls reported to the meter and credits topped up."""
        await publish_catalog(store, document=self.document, lines={}, dry_run=False, at=self.at, by="ann")
        async with store.transaction() as tx:
            saved = await tx.catalogs.load()
            assert saved is not None
            calls = saved.catalog.features["api_calls"]
            assert isinstance(calls, MeteredFeature)
            features = {**saved.catalog.features, "api_calls": replace(calls, stripe_meter=METER, report=report)}
            top_ups = {top_up.credit: top_up} if top_up else {}
            policies: Policies = replace(saved.catalog.policies, top_ups=top_ups)
            catalog = replace(saved.catalog, version=saved.catalog.version + 1, features=features, policies=policies)
            await tx.catalogs.save(catalog, document=self.document, digest=str(catalog.version), by="ann", at=self.at)
        return catalog

    async def buyer(self, store: Store, account: str, price: str = "pro_monthly") -> str:
        """An account whose customer has a subscription; gives the customer."""
        self.shop.welcome(account, account.title())
        self.shop.subscribe(account, price)
        await self.read(store, account)
        return self.shop.customers[account]

    async def read(self, store: Store, account: str) -> None:
        """Have the account's customer read, as an event would."""
        subject = f"stripe:{self.shop.customers[account]}"
        async with store.transaction() as tx:
            await tx.subjects.mark([subject])
        await mark_discovered(store, subjects=[subject])
        while claims := await claim_subjects(store, limit=10, at=self.at):
            for claim in claims:
                assert await sync_subject(store, self.provider, self, claim) in ("saved", "nothing")

    async def use(
        self, store: Store, account: str, quantity: int, *, feature: str = "api_calls", at: datetime | None = None
    ) -> None:
        """Enter usage of a window into the ledger, as happened at `at` and told now."""
        time = at or self.at
        async with store.transaction() as tx:
            saved, published = await tx.accounts.load(account), await tx.catalogs.load()
        assert saved is not None
        assert published is not None
        entitlement = derive(saved.account, published.catalog, time).entitlements[feature]
        assert entitlement.from_at is not None
        slot = f"{entitlement.from_at.isoformat().removesuffix('+00:00')}Z"
        self._used += 1
        with psycopg.connect(self._database_url) as connection:
            connection.execute(
                """
                insert into ledger (account, id, kind, feature, quantity, time, recorded_at, digest, draws)
                values (%s, %s, 'event', %s, %s, %s, %s, 0, %s)
                """,
                (account, f"use {self._used}", feature, quantity, time, self.at,
                 msgspec.json.encode([[feature, slot, quantity, 0]]).decode()),
            )  # fmt: skip
            connection.execute(
                """
                insert into balances as old (account, pool, slot, used, version, from_at, until)
                values (%s, %s, %s, %s, 1, %s, %s)
                on conflict (account, pool, slot) do update
                set used = old.used + excluded.used, version = old.version + 1
                """,
                (account, feature, slot, quantity, entitlement.from_at, entitlement.resets_at),
            )

    async def report(self, store: Store, *, commands: Metering | None = None) -> list[Outcome]:
        """Mark what has changed and do all that waits, as the worker would."""
        await mark_reports(store, at=self.at)
        outcomes: list[Outcome] = []
        while claims := await claim_reports(store, limit=1, at=self.at):
            outcomes += [await report_window(store, commands or self.commands, self, claim) for claim in claims]
        return outcomes

    async def report_patiently(self, store: Store) -> None:
        """Go on until nothing is pending, whatever fails."""
        async with asyncio.timeout(30):
            while True:
                await self.report(store)
                if not self.rows("select 1 from reports where pending is not null or error is not null"):
                    return
                self.let_pass("reports")

    def summed(self, account: str) -> int:
        """What the provider's meter was told of the account's customer, over a year around now."""
        day = int(timedelta(days=1).total_seconds())
        around = int(self.at.timestamp()) // day * day
        listed = self.stripe.v1.billing.meters.event_summaries.list(
            self.meter,
            {
                "customer": self.shop.customers[account],
                "start_time": around - 180 * day,
                "end_time": around + 180 * day,
            },
        )
        return int(sum(row.aggregated_value for row in listed.data))

    def rows(self, query: Any, *values: Any) -> list[Any]:
        with psycopg.connect(self._database_url) as connection:
            return connection.execute(query, values).fetchall()

    def let_pass(self, table: str) -> None:
        """Let every lease and pause of a table be over, as time does."""
        with psycopg.connect(self._database_url) as connection:
            query: Any = f"update {table} set leased_until = null, retry_at = null"
            connection.execute(query)


@contextmanager
def billing(database_url: str) -> Iterator[Billing]:
    with running(start=START) as served:
        yield Billing(served, database_url)
