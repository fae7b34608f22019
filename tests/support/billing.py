"""A company that bills for usage: its accounts at the simulator with a meter, and its ledger in a database."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from paygrade.catalog.model import TopUp
from paygrade.catalog.offers import Report
from paygrade.catalog.parse import parse
from paygrade.cli.demo_company import Company
from paygrade.documents.yaml import read_yaml
from paygrade.postgres.store import Store
from paygrade.providers.port import Metering
from paygrade.providers.stripe.client import StripeProvider
from paygrade.providers.stripe.idempotent_writes import StripeCommands
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.usage.answers import Answer
from paygrade.server.operations.usage.grants import state_usage
from paygrade.server.operations.usage.requests import Consume
from paygrade.server.operations.usage.use import use_together
from paygrade.server.process.clock import Clock
from paygrade.server.process.settings import Settings
from paygrade.server.state.snapshots import Snapshots
from paygrade.server.workers.claims import take
from paygrade.server.workers.sync import SUBJECTS, sync_subject
from paygrade.server.workers.usage_reports import REPORTS, Outcome, mark_reports, report_window
from paygrade.simulator.http.serve import Running, running
from support.server_process import SAMPLE, Api
from support.waiting import GIVE_UP_S, let_pass

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
METER = "api_calls_used"
LIMIT = 100_000
"""Calls that `pro` includes in a month; going over is allowed."""


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
        self.shop = Company(url=served.url, key=served.key)
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

    async def sell(self, store: Store, *, report: Report = "overage", top_up: TopUp | None = None) -> None:
        """Publish the sample catalog, with calls reported to the meter and credits topped up."""
        features = self.document["features"]
        calls = {**features["api_calls"], "stripe": {"meter": METER, "report": report}}
        pro = self.document["plans"]["pro"]
        terms = {**pro["entitlements"], "api_calls": {"limit": LIMIT, "every": "month", "overage": "soft"}}
        plans = {**self.document["plans"], "pro": {**pro, "entitlements": terms}}
        document = {**self.document, "features": {**features, "api_calls": calls}, "plans": plans}
        if top_up is not None:
            price = {"amount": top_up.amount, "currency": top_up.currency}
            policy: Any = {
                "refund": top_up.refund,
                "dispute": top_up.dispute,
                "below": top_up.below,
                "add": top_up.add,
                "at_most": top_up.at_most,
                "every": top_up.every,
            }
            policies = {**document.get("policies", {}), "top_up": {top_up.credit: {**policy, "price": price}}}
            document = {**document, "policies": policies}
        await publish_catalog(store, document=document, lines={}, dry_run=False, at=self.at, by="ann")

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
        while claims := await take(store, SUBJECTS, limit=10, at=self.at):
            for claim in claims:
                assert await sync_subject(store, self.provider, self, claim) in ("saved", "nothing")

    async def use(self, store: Store, account: str, quantity: int, *, feature: str = "api_calls") -> None:
        """Use units, as the product does."""
        self._used += 1
        asked = Consume(account, feature, f"use {self._used}", quantity)
        (answer,) = await use_together(store, Snapshots(), [asked], self.at)
        assert isinstance(answer, Answer)
        assert answer.decision.allowed, answer

    async def correct(self, store: Store, account: str, used: int) -> None:
        """State how many calls the account has used in its window."""
        self._used += 1
        await state_usage(
            store, Snapshots(), account=account, pool="api_calls", used=used, id=f"use {self._used}",
            reason="a correction", at=self.at,
        )  # fmt: skip

    async def report(self, store: Store, *, commands: Metering | None = None) -> list[Outcome]:
        """Mark what has changed and do all that waits, as the worker would."""
        await mark_reports(store, "stripe", at=self.at)
        outcomes: list[Outcome] = []
        while claims := await take(store, REPORTS, limit=1, at=self.at):
            outcomes += [await report_window(store, commands or self.commands, self, claim) for claim in claims]
        return outcomes

    async def report_patiently(self, store: Store) -> None:
        """Go on until nothing is pending, whatever fails."""
        async with asyncio.timeout(GIVE_UP_S):
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
        let_pass(self._database_url, table)


@contextmanager
def billing(database_url: str) -> Iterator[Billing]:
    with running(start=START) as served:
        yield Billing(served, database_url)
