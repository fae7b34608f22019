"""Repair: whatever webhooks lost is found, written down as drift and healed, with few requests."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from paygrade.billing.drift import Drift
from paygrade.billing.facts import Customer
from paygrade.catalog.parse import parse
from paygrade.cli.demo_company import Company
from paygrade.documents.yaml import read_yaml
from paygrade.postgres.store import Store
from paygrade.providers.port import EventSource, Lister
from paygrade.providers.stripe.client import StripeProvider
from paygrade.providers.stripe.events import refs
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.sync.inbox import receive_event, sync_status
from paygrade.server.operations.sync.repair import Sweep, list_drift, load_sweep, start_sweep
from paygrade.server.process.clock import Clock
from paygrade.server.workers.claims import take
from paygrade.server.workers.polls import EVERY_MAX_S, EVERY_MIN_S, poll_events, polls_of
from paygrade.server.workers.sweeps import PATIENCE_S, UNLISTED_MAX, run_sweep, start_sweep_regularly, sweeps_of
from paygrade.server.workers.sync import SUBJECTS, fetch_subject, save_reading, sync_subject
from paygrade.simulator.http.serve import Running, running
from paygrade.values.errors import Refused
from support.fake_provider import Event, World, customer
from support.large_account import LeanStripe
from support.server_process import SAMPLE, Api
from support.waiting import in_time, let_pass, somebody_waits

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("long_pauses")]

START = datetime(2026, 3, 10, 12, tzinfo=UTC)


class Provided(Clock):
    """The simulator with a shop in it, the provider that reads it, and its clock."""

    def __init__(self, served: Running) -> None:
        super().__init__()
        self.at = START
        self.provider = StripeProvider(api_key=served.key, api_base=served.url)
        self.control = Api(f"{served.url}/_simulator", key=None)
        self.shop = Company(url=served.url, key=served.key)
        self.stripe = self.shop._stripe
        document, lines = read_yaml(SAMPLE.read_bytes())
        self.document: Any = document
        self.shop.stock(parse(document, lines=lines))

    def now(self) -> datetime:
        return self.at

    def advance(self, duration: timedelta) -> None:
        self.control.ok("POST", "/clock", json={"advance": f"{duration // timedelta(minutes=1)}m"})
        self.at += duration

    def buyer(self, account: str, price: str = "pro_monthly", **more: Any) -> str:
        """A customer with a subscription; gives the subject."""
        self.shop.welcome(account, account.title())
        self.shop.subscribe(account, price, **more)
        return f"stripe:{self.shop.customers[account]}"

    def events(self) -> list[dict[str, Any]]:
        """Every event so far, the oldest first, as plain objects."""
        listed = self.stripe.v1.events.list({"limit": 100})
        return [event.to_dict() for event in listed.auto_paging_iter()][::-1]


@pytest.fixture
def provided() -> Iterator[Provided]:
    with running(start=START) as served:
        yield Provided(served)


async def heal(store: Store, provided: Provided) -> list[str]:
    """Read everything that waits, as workers would; gives the subjects."""
    read = []
    while claims := await take(store, SUBJECTS, limit=10, at=START):
        for claim in claims:
            assert await sync_subject(store, provided.provider, provided, claim) in ("saved", "nothing", "redirected")
            read.append(claim.subject)
    return read


async def sweep(store: Store, provider: StripeProvider, clock: Clock, *, dry_run: bool = False) -> Sweep:
    started = await start_sweep(store, "stripe", dry_run=dry_run, at=clock.now())
    assert await go_on(store, provider, clock, patience_s=0) == "finished"
    return await load_sweep(store, id=started.sweep.id)


async def go_on(store: Store, provider: Lister, clock: Clock, *, patience_s: float = PATIENCE_S) -> str:
    """Go on with the sweep that is under way, as a worker would; `nothing`: there is none that is to be had."""
    for claimed in await take(store, sweeps_of("stripe"), limit=1, at=clock.now()):
        return await run_sweep(store, provider, clock, claimed, patience_s=patience_s)
    return "nothing"


async def everything_known(store: Store, provided: Provided) -> None:
    await sweep(store, provided.provider, provided)
    await heal(store, provided)


async def drift(store: Store, *, open_only: bool = False) -> tuple[Drift, ...]:
    return (await list_drift(store, open_only=open_only, before=None, limit=500)).drift


async def stored(store: Store, subject: str) -> Customer:
    async with store.transaction() as tx:
        said = (await tx.subjects.stored([subject]))[subject].said
    assert isinstance(said, Customer)
    return said


# Sweeps


async def test_a_first_sweep_discovers_everybody_and_finds_no_drift(store: Store, provided: Provided) -> None:
    subjects = {provided.buyer(name) for name in ("acme", "globex", "initech")}
    first = await sweep(store, provided.provider, provided)
    assert (first.counts.discovered, first.counts.subscriptions, first.counts.customers) == (3, 3, 3)
    assert set(await heal(store, provided)) == subjects
    second = await sweep(store, provided.provider, provided)
    assert (second.counts.different, second.counts.doubtful, second.counts.discovered) == (0, 0, 0)
    assert await heal(store, provided) == []
    assert await drift(store) == ()


Loss = Callable[[Provided], object]


def cancel(provided: Provided) -> None:
    provided.stripe.v1.subscriptions.cancel(provided.shop.subscriptions["acme"])


def more_seats(provided: Provided) -> None:
    provided.shop.change("acme", "pro_monthly", quantity=4)


def another_plan(provided: Provided) -> None:
    provided.shop.change("acme", "business_monthly")


def a_second_subscription(provided: Provided) -> None:
    provided.shop.subscribe("acme", "business_monthly")


def another_account(provided: Provided) -> None:
    customer = provided.shop.customers["acme"]
    provided.stripe.v1.customers.update(customer, {"metadata": {"paygrade_account": "acme-eu"}})


def a_cancellation_at_the_end(provided: Provided) -> None:
    provided.stripe.v1.subscriptions.update(provided.shop.subscriptions["acme"], {"cancel_at_period_end": True})


def a_failed_renewal(provided: Provided) -> None:
    provided.shop.use_card("acme", "pm_card_chargeCustomerFail")
    provided.control.ok("POST", "/clock", json={"advance": "32d"})


def a_deleted_customer(provided: Provided) -> None:
    provided.stripe.v1.customers.delete(provided.shop.customers["acme"])


LOSSES: dict[Loss, set[str]] = {
    cancel: {"status", "ended_at"},
    more_seats: {"quantity"},
    another_plan: {"price", "lookup_key", "product"},
    a_second_subscription: {"subscription"},
    another_account: {"account"},
    a_cancellation_at_the_end: {"ends_at"},
    a_failed_renewal: {"status", "period_from_at", "period_until", "unpaid_since"},
    a_deleted_customer: {"account", "name", "deleted", "status", "ended_at"},
}


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
async def test_a_sweep_heals_whatever_was_lost_and_writes_down_what_differed(
    store: Store, provided: Provided, lose: Loss
) -> None:
    subject = provided.buyer("acme")
    await everything_known(store, provided)
    await asyncio.to_thread(lose, provided)
    swept = await sweep(store, provided.provider, provided)
    assert swept.counts.different == 1
    assert {row.healed_at for row in await drift(store)} == {None}
    assert await heal(store, provided) == [subject]
    rows = await drift(store)
    assert {row.field.rpartition(".")[2] for row in rows} == LOSSES[lose]
    assert {(row.subject, row.account, row.found_by, row.healed_at) for row in rows} == {
        (subject, "acme", "sweep", provided.at)
    }
    assert await stored(store, subject) == provided.provider.fetch(subject)
    assert (await sweep(store, provided.provider, provided)).counts.different == 0


async def test_drift_says_what_was_stored_and_what_the_provider_says(store: Store, provided: Provided) -> None:
    subject = provided.buyer("acme")
    await everything_known(store, provided)
    item = (await stored(store, subject)).subscriptions[0].items[0].id
    provided.shop.change("acme", "pro_monthly", quantity=4)
    await sweep(store, provided.provider, provided)
    (row,) = await drift(store, open_only=True)
    assert (row.subscription, row.field, row.stored, row.provider) == (
        provided.shop.subscriptions["acme"],
        f"{item}.quantity",
        "1",
        "4",
    )
    await heal(store, provided)
    assert await drift(store, open_only=True) == ()
    status = (await sync_status(store, "stripe", now=provided.at)).repair
    assert (status.drift.open, status.drift.found_within_a_day) == (0, 1)


async def test_what_waits_to_be_read_is_no_drift(store: Store, provided: Provided) -> None:
    subject = provided.buyer("acme")
    await everything_known(store, provided)
    provided.shop.change("acme", "pro_monthly", quantity=4)
    async with store.transaction() as tx:
        await tx.subjects.mark([subject])
    assert (await sweep(store, provided.provider, provided)).counts.different == 0
    await heal(store, provided)
    assert await drift(store) == ()


async def test_who_is_being_read_while_a_page_is_compared_is_read_again(store: Store, provided: Provided) -> None:
    """The reading may have begun before the change that the page shows, and no event may ever tell of it."""
    subject = provided.buyer("acme")
    await everything_known(store, provided)
    async with store.transaction() as tx:
        await tx.subjects.mark([subject])
    (claim,) = await take(store, SUBJECTS, limit=1, at=START)
    reading = await fetch_subject(store, provided.provider, claim, at=START)
    provided.shop.change("acme", "pro_monthly", quantity=4)
    assert (await sweep(store, provided.provider, provided)).counts.different == 0
    assert await save_reading(store, reading, at=START) == "saved"
    assert await heal(store, provided) == [subject]
    assert await stored(store, subject) == provided.provider.fetch(subject)


async def test_a_sweep_waits_for_subjects_in_the_order_of_their_names(
    store: Store, database_url: str, provided: Provided
) -> None:
    first, last = sorted((provided.buyer("acme"), provided.buyer("globex")))
    await everything_known(store, provided)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "delete from accounts where account in (select account from subjects where subject = %s)", (first,)
        )
    provided.shop.change("acme", "pro_monthly", quantity=4)
    provided.shop.change("globex", "pro_monthly", quantity=4)
    async with store.transaction() as tx:
        await tx.subjects.mark([first])
        sweeping = asyncio.create_task(sweep(store, provided.provider, provided))
        await somebody_waits(database_url)
        # Who had locked this one already would wait for us, and we for them.
        await tx.subjects.mark([last])
    counts = (await sweeping).counts
    assert (counts.different, counts.doubtful) == (0, 2), "the last one was marked meanwhile"


async def test_an_event_that_was_on_its_way_takes_the_drift_back(store: Store, provided: Provided) -> None:
    subject = provided.buyer("acme")
    await everything_known(store, provided)
    provided.shop.change("acme", "pro_monthly", quantity=4)
    await start_sweep(store, "stripe", dry_run=False, at=provided.at)
    assert await go_on(store, provided.provider, provided, patience_s=3600) == "finished"
    assert len(await drift(store, open_only=True)) == 1
    assert await heal(store, provided) == [], "an event may still come"
    event = provided.events()[-1]
    await receive_event(store, ref=refs(event), body=b"{}", at=provided.at)
    assert await heal(store, provided) == [subject]
    assert await drift(store) == ()


async def test_arrears_are_read_since_a_listing_does_not_say_since_when(store: Store, provided: Provided) -> None:
    subject = provided.buyer("acme")
    provided.shop.use_card("acme", "pm_card_chargeCustomerFail")
    provided.advance(timedelta(days=32))
    await everything_known(store, provided)
    swept = await sweep(store, provided.provider, provided)
    assert (swept.counts.different, swept.counts.doubtful) == (0, 1)
    assert await heal(store, provided) == [subject]
    assert await drift(store) == ()


async def test_a_sweep_finds_who_bought_nothing_once_and_reads_them_again(store: Store, provided: Provided) -> None:
    provided.shop.welcome("acme", "Acme")
    subject = f"stripe:{provided.shop.customers['acme']}"
    assert (await sweep(store, provided.provider, provided)).counts.discovered == 1
    assert await heal(store, provided) == [subject]
    provided.advance(timedelta(days=1))
    provided.stripe.v1.customers.update(subject.removeprefix("stripe:"), {"metadata": {"paygrade_account": "acme-eu"}})
    provided.shop.welcome("globex", "Globex")
    newcomer = f"stripe:{provided.shop.customers['globex']}"
    swept = await sweep(store, provided.provider, provided)
    assert (swept.counts.discovered, swept.counts.customers) == (1, 0)
    assert set(await heal(store, provided)) == {subject, newcomer}
    assert (await stored(store, subject)).account == "acme-eu"
    assert {(row.field, row.stored, row.provider) for row in await drift(store)} == {("account", "acme", "acme-eu")}


async def test_a_sweep_reads_a_few_who_bought_nothing_those_read_longest_ago(store: Store, provided: Provided) -> None:
    for number in range(UNLISTED_MAX + 10):
        provided.shop.welcome(f"free-{number}", "Free")
    await everything_known(store, provided)
    everybody = set(map("stripe:{}".format, provided.shop.customers.values()))
    provided.advance(timedelta(days=1))
    await sweep(store, provided.provider, provided)
    first = set(await heal(store, provided))
    provided.advance(timedelta(days=1))
    await sweep(store, provided.provider, provided)
    assert len(first) == UNLISTED_MAX
    assert everybody - first <= set(await heal(store, provided))


async def test_who_was_deleted_before_anybody_heard_of_them_is_not_discovered(store: Store, provided: Provided) -> None:
    """Found by the simulation (seeds 232 and 277): each sweep had them read again, for ever."""
    provided.buyer("acme")
    a_deleted_customer(provided)
    swept = await sweep(store, provided.provider, provided)
    assert (swept.counts.subscriptions, swept.counts.discovered) == (1, 0)


async def test_one_sweep_at_a_time_and_the_next_a_day_later(store: Store, provided: Provided) -> None:
    day = timedelta(days=1)
    assert await start_sweep_regularly(store, "stripe", every=day, at=START)
    assert not await start_sweep_regularly(store, "stripe", every=day, at=START)
    assert not (await start_sweep(store, "stripe", dry_run=False, at=START)).started
    with pytest.raises(Refused) as refused:
        await start_sweep(store, "stripe", dry_run=True, at=START)
    assert refused.value.code == "sweep_running"
    assert await go_on(store, provided.provider, provided) == "finished"
    assert not await start_sweep_regularly(store, "stripe", every=day, at=START)
    assert await start_sweep_regularly(store, "stripe", every=timedelta(0), at=START)


# A large account


@pytest.fixture
def lean() -> Iterator[LeanStripe]:
    account = LeanStripe(2_500)
    with account.serving():
        yield account


def reader(lean: LeanStripe) -> StripeProvider:
    return StripeProvider(api_key="sk_test_lean", api_base=lean.url)


class Standing(Clock):
    def now(self) -> datetime:
        return START


async def test_2500_subscriptions_are_compared_with_25_requests_and_one_for_new_customers(
    store: Store, database_url: str, lean: LeanStripe
) -> None:
    lean.fill(database_url)
    lean.quantities = {7: 3, 1200: 5, 2499: 9}
    swept = await sweep(store, reader(lean), Standing())
    assert len(lean.asked) == 26
    assert (swept.counts.requests, swept.counts.subscriptions, swept.counts.customers) == (26, 2_500, 2_500)
    assert (swept.counts.different, swept.counts.discovered, swept.counts.missing) == (3, 0, 0)
    assert {(row.account, row.stored, row.provider) for row in await drift(store)} == {
        ("acct_0000007", "1", "3"),
        ("acct_0001200", "1", "5"),
        ("acct_0002499", "1", "9"),
    }


async def test_a_live_subscription_the_list_leaves_out_is_asked_for(
    store: Store, database_url: str, lean: LeanStripe
) -> None:
    lean.fill(database_url)
    lean.hidden = {42}
    assert (await sweep(store, reader(lean), Standing())).counts.missing == 1
    (claim,) = await take(store, SUBJECTS, limit=10, at=START)
    assert await sync_subject(store, reader(lean), Standing(), claim) == "saved"
    assert await drift(store) == ()


async def test_a_rate_limit_is_waited_out_and_the_sweep_goes_on_where_it_was(
    store: Store, database_url: str, lean: LeanStripe
) -> None:
    lean.fill(database_url)
    started = await start_sweep(store, "stripe", dry_run=False, at=START)
    lean.refusals = 2
    assert await go_on(store, reader(lean), Standing()) == "paused"
    told = await load_sweep(store, id=started.sweep.id)
    assert told.error is not None
    assert told.error.startswith("provider_rate_limited")
    assert await go_on(store, reader(lean), Standing()) == "nothing", "it pauses for as long as it was asked to"
    while (outcome := await go_on(store, reader(lean), Standing())) != "finished":
        assert outcome in ("paused", "nothing")
        let_pass(database_url, "sweeps")
    assert (await load_sweep(store, id=started.sweep.id)).counts.subscriptions == 2_500


async def test_a_sweep_reads_again_who_was_once_said_not_to_exist(store: Store) -> None:
    """Found by the simulation: a subject that was looked at and left without an account."""
    lean = LeanStripe(3)
    with lean.serving():
        await receive_event(store, ref=Event("evt_1", "stripe:cus_0000002", "customer.deleted"), body=b"{}", at=START)
        (claim,) = await take(store, SUBJECTS, limit=10, at=START)
        gone = World({claim.subject: customer(deleted=True, account=None)})
        assert await sync_subject(store, gone, Standing(), claim) == "nothing"
        assert (await sweep(store, reader(lean), Standing())).counts.discovered == 3
        for claim in await take(store, SUBJECTS, limit=10, at=START):
            assert await sync_subject(store, reader(lean), Standing(), claim) == "saved"
        assert await stored(store, "stripe:cus_0000002") == lean.customer(2)


SWEEPING = """
import asyncio, sys
from paygrade.postgres.store import Store
from paygrade.providers.stripe.client import StripeProvider
from paygrade.server.process.clock import Clock
from paygrade.server.workers.claims import take
from paygrade.server.workers.sweeps import run_sweep, sweeps_of

async def main():
    provider = StripeProvider(api_key="sk_test_lean", api_base=sys.argv[2])
    async with Store(sys.argv[1]) as store:
        ready = asyncio.Event()
        listening = asyncio.create_task(store.listen(ready=ready.set, hear=lambda channel, payload: None))
        await ready.wait()
        (claimed,) = await take(store, sweeps_of("stripe"), limit=1, at=Clock().now())
        await run_sweep(store, provider, Clock(), claimed)

asyncio.run(main())
"""


async def test_a_sweep_that_was_killed_goes_on_where_it_was(store: Store, database_url: str, lean: LeanStripe) -> None:
    lean.fill(database_url)
    lean.quantities = {1: 3, 2_500: 3}
    asked, go_on_asking = threading.Event(), threading.Event()

    def hold(number: int) -> None:
        if number == 6:
            asked.set()
            go_on_asking.wait(30)

    lean.before = hold
    started = await start_sweep(store, "stripe", dry_run=False, at=START)
    process = subprocess.Popen([sys.executable, "-c", SWEEPING, database_url, lean.url])
    assert await asyncio.to_thread(asked.wait, 30)
    assert await go_on(store, reader(lean), Standing()) == "nothing", "its process lives"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    go_on_asking.set()
    compared = (await load_sweep(store, id=started.sweep.id)).counts.subscriptions
    assert 0 < compared < 2_500

    async def go_on_instead() -> str | None:
        outcome = await go_on(store, reader(lean), Standing(), patience_s=0)
        return None if outcome == "nothing" else outcome

    assert await in_time(go_on_instead) == "finished"
    swept = await load_sweep(store, id=started.sweep.id)
    assert (swept.counts.subscriptions, swept.counts.customers, swept.counts.different) == (2_500, 2_500, 2)
    assert len(lean.asked) <= 28, "only what was asked for and not compared is asked for again"
    assert swept.counts.missing == 0


# The events poll


async def test_a_lost_event_is_found_by_the_poll_and_healed(store: Store, provided: Provided) -> None:
    subject = provided.buyer("acme")
    await everything_known(store, provided)
    assert await poll(store, provided) == "polled"
    await heal(store, provided)
    provided.advance(timedelta(minutes=5))
    provided.shop.change("acme", "pro_monthly", quantity=4)
    provided.advance(timedelta(minutes=5))
    let_it_be_time(store)
    assert await poll(store, provided) == "polled"
    status = (await sync_status(store, "stripe", now=provided.at)).repair.poll
    assert status is not None
    assert (status.missed > 0, status.every_s) == (True, EVERY_MIN_S)
    assert await heal(store, provided) == [subject]
    assert await stored(store, subject) == provided.provider.fetch(subject)
    (row,) = await drift(store)
    assert (row.found_by, row.stored, row.provider) == ("poll", "1", "4")
    assert row.healed_at is not None


async def test_an_event_that_came_by_webhook_marks_nothing_when_it_is_polled(store: Store, provided: Provided) -> None:
    provided.buyer("acme")
    for event in provided.events():
        await receive_event(store, ref=refs(event), body=b"{}", at=provided.at)
    await heal(store, provided)
    provided.advance(timedelta(minutes=5))
    assert await poll(store, provided) == "polled"
    status = await sync_status(store, "stripe", now=provided.at)
    assert status.dirty == 0
    assert status.repair.poll is not None
    assert (status.repair.poll.missed, status.repair.poll.seen > 0) == (0, True)


async def test_an_event_that_shows_late_in_the_list_is_found_by_the_overlap(store: Store, provided: Provided) -> None:
    subject = provided.buyer("acme")
    late = provided.events()
    assert await poll(store, provided) == "polled"
    status = (await sync_status(store, "stripe", now=provided.at)).repair.poll
    assert status is not None
    assert status.watermark is not None
    assert status.watermark <= provided.at
    with psycopg.connect(store._database_url) as connection:
        connection.execute("delete from inbox")  # as if the list had not had them yet
    provided.advance(timedelta(minutes=5))
    let_it_be_time(store)
    assert await poll(store, provided) == "polled"
    assert (await sync_status(store, "stripe", now=provided.at)).inbox.received > 0
    assert late
    assert subject in await heal(store, provided)


async def test_a_young_event_is_kept_and_not_counted_as_missed(store: Store, provided: Provided) -> None:
    provided.buyer("acme")
    assert await poll(store, provided) == "polled"
    status = await sync_status(store, "stripe", now=provided.at)
    assert status.inbox.received > 0
    assert status.repair.poll is not None
    assert (status.repair.poll.seen, status.repair.poll.missed) == (0, 0)


async def test_the_poll_rests_longer_while_webhooks_are_healthy(store: Store, provided: Provided) -> None:
    pauses = []
    for _ in range(6):
        assert await poll(store, provided) == "polled"
        assert await poll(store, provided) == "nothing", "it is not time yet"
        status = (await sync_status(store, "stripe", now=provided.at)).repair.poll
        assert status is not None
        pauses.append(status.every_s)
        let_it_be_time(store)
    assert pauses == [120, 240, 480, 960, 1800, EVERY_MAX_S]


async def test_without_webhooks_the_poll_comes_every_minute_and_finds_no_drift(
    store: Store, provided: Provided
) -> None:
    await poll(store, provided, webhooks=False)
    subject = provided.buyer("acme")
    provided.advance(timedelta(minutes=5))
    let_it_be_time(store)
    await poll(store, provided, webhooks=False)
    assert await heal(store, provided) == [subject]
    status = (await sync_status(store, "stripe", now=provided.at)).repair
    assert status.poll is not None
    assert (status.poll.every_s, status.poll.missed) == (EVERY_MIN_S, 0)
    assert await drift(store) == ()


async def test_after_more_than_the_list_of_events_holds_a_sweep_begins(store: Store, provided: Provided) -> None:
    assert await poll(store, provided) == "polled"
    provided.at += timedelta(days=31)
    let_it_be_time(store)
    assert await poll(store, provided) == "polled"
    assert not (await start_sweep(store, "stripe", dry_run=False, at=START)).started, "it is under way"


async def test_a_poll_that_fails_leaves_its_watermark(store: Store, provided: Provided) -> None:
    provided.buyer("acme")
    await poll(store, provided)
    before = (await sync_status(store, "stripe", now=provided.at)).repair.poll
    provided.advance(timedelta(hours=1))
    let_it_be_time(store)
    nowhere = StripeProvider(api_key="sk_test_simulator", api_base="http://127.0.0.1:9")
    assert await poll(store, provided, nowhere) == "paused"
    after = (await sync_status(store, "stripe", now=provided.at)).repair.poll
    assert before is not None
    assert after is not None
    assert (after.watermark, after.polled_at) == (before.watermark, before.polled_at)
    assert after.error is not None


async def poll(store: Store, provided: Provided, source: EventSource | None = None, *, webhooks: bool = True) -> str:
    """Poll, as a worker would; `nothing`: it is not time."""
    for claimed in await take(store, polls_of("stripe"), limit=1, at=provided.now()):
        return await poll_events(store, source or provided.provider, provided, claimed, webhooks=webhooks)
    return "nothing"


def let_it_be_time(store: Store) -> None:
    let_pass(store._database_url, "polls")


# The dry run


async def test_a_dry_run_writes_nothing_and_reports_exactly(
    store: Store, database_url: str, provided: Provided
) -> None:
    plans = {key: plan for key, plan in provided.document["plans"].items() if key != "business"}
    catalog = {**provided.document, "plans": plans}
    await publish_catalog(store, document=catalog, lines={}, dry_run=False, at=START, by="ann")
    provided.buyer("acme")
    await everything_known(store, provided)
    cancel(provided)
    provided.buyer("globex")
    provided.buyer("initech", "business_monthly")
    twin = provided.shop.customers["globex"]
    provided.buyer("globex")
    before = dump(database_url)
    swept = await sweep(store, provided.provider, provided, dry_run=True)
    assert dump(database_url) == before
    report = swept.report
    assert report is not None
    assert (report["customers"], report["accounts"], report["new_accounts"]) == (4, 3, 2)
    assert report["subscriptions"] == {"active": 3, "canceled": 1}
    assert report["matched"] == {"metadata": 4, "link": 0, "known": 0, "customer_id": 0}
    (unmapped,) = report["unmapped_prices"]
    assert (unmapped["lookup_key"], unmapped["subscriptions"]) == ("business_monthly", 1)
    assert unmapped["sample"] == [provided.shop.subscriptions["initech"]]
    assert {(each["by"], each["name"], frozenset(each["customers"])) for each in report["duplicates"]} == {
        ("account", "globex", frozenset({f"stripe:{twin}", f"stripe:{provided.shop.customers['globex']}"})),
        (
            "email",
            "billing@globex.example",
            frozenset({f"stripe:{twin}", f"stripe:{provided.shop.customers['globex']}"}),
        ),
    }
    assert report["losing"] == 1
    lost = {each["feature"] for each in report["effects"] if (each["account"], each["how"]) == ("acme", "loses")}
    assert "exports" in lost
    assert "exports" in {each["feature"] for each in report["effects"] if each["account"] == "globex"}


def dump(database_url: str) -> dict[str, list[str]]:
    """Every row of every table but the sweeps', as text."""
    with psycopg.connect(database_url) as connection:
        names = connection.execute(
            "select tablename from pg_tables where schemaname = 'public' and tablename <> 'sweeps'"
        ).fetchall()
        return {
            name: sorted(row[0] for row in connection.execute(f'select t::text from "{name}" t').fetchall())
            for (name,) in names
        }
