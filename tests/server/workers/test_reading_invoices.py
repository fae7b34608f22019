"""Invoices are read after their customers, under fences of their own, and whatever happens to that, access stays."""

import asyncio
import threading
from datetime import timedelta

import psycopg
import pytest

from paygrade.billing.invoices import Invoice, InvoiceLine, WentBack
from paygrade.postgres.store import Store
from paygrade.server.workers.claims import take
from paygrade.server.workers.invoices import INVOICES, read_invoices
from paygrade.server.workers.sweeps import INVOICES_AGE
from paygrade.server.workers.sync import SUBJECTS, sync_subject
from paygrade.values.errors import Unavailable
from support.fake_provider import T0, SetClock, World, customer, pro

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("long_pauses")]
CUSTOMER = "stripe:cus_1"


def bill(id: str = "in_1", *went_back: WentBack) -> Invoice:
    line = InvoiceLine("il_1", 9900, T0, T0 + timedelta(days=31))
    return Invoice(id, "paid", "usd", T0, 9900, paid_at=T0, lines=(line,), went_back=went_back)


REFUND = WentBack("re_1", "refund", 9900, T0)


class Read:
    """A provider, what is stored of it, and its clock."""

    def __init__(self, store: Store) -> None:
        self.store, self.clock = store, SetClock(T0)
        self.world = World({CUSTOMER: customer(pro())})
        self.world.billed[CUSTOMER] = (bill(), bill("in_2"))

    async def customer(self) -> None:
        async with self.store.transaction() as tx:
            await tx.subjects.mark([CUSTOMER])
        (claim,) = await take(self.store, SUBJECTS, limit=1, at=T0)
        assert await sync_subject(self.store, self.world, self.clock, claim) == "saved"

    async def invoices(self) -> list[str]:
        claims = await take(self.store, INVOICES, limit=5, at=T0)
        return [await read_invoices(self.store, self.world, self.clock, claim) for claim in claims]

    async def known(self) -> dict[str, Invoice]:
        async with self.store.transaction() as tx:
            found = await tx.invoices.of_accounts(await tx.invoices.accounts(after="", limit=10))
        return {f"{account} {one.id}": one for account, its in found.items() for one in its}

    def facts(self) -> list[tuple[str, int]]:
        with psycopg.connect(self.store._database_url) as connection:
            return connection.execute("select invoice, sequence from invoice_facts order by 2, 1").fetchall()


@pytest.fixture
def read(store: Store) -> Read:
    return Read(store)


async def test_whoever_was_read_has_their_invoices_read_and_only_news_become_facts(read: Read) -> None:
    assert await read.invoices() == []
    await read.customer()
    assert await read.invoices() == ["saved"]
    assert await read.invoices() == []
    assert await read.known() == {"acme in_1": bill(), "acme in_2": bill("in_2")}
    await read.customer()
    assert await read.invoices() == ["saved"]
    assert read.facts() == [("in_1", 1), ("in_2", 1)]
    read.world.billed[CUSTOMER] = (bill("in_1", REFUND), bill("in_2"))
    await read.customer()
    assert await read.invoices() == ["saved"]
    assert read.facts() == [("in_1", 1), ("in_2", 1), ("in_1", 3)]
    assert (await read.known())["acme in_1"] == bill("in_1", REFUND)


async def test_of_two_readings_the_one_that_was_asked_for_later_counts_and_marks_in_between_stay(read: Read) -> None:
    await read.customer()
    (slow,) = await take(read.store, INVOICES, limit=1, lease_s=0, at=T0)
    began, go_on = threading.Event(), threading.Event()

    def wait(asked: str) -> None:
        began.set()
        go_on.wait(10)

    read.world.before = wait
    overtaken = asyncio.create_task(read_invoices(read.store, read.world, read.clock, slow))
    await asyncio.to_thread(began.wait, 10)
    read.world.before = lambda asked: None
    read.world.billed[CUSTOMER] = (bill("in_1", REFUND),)
    (later,) = await take(read.store, INVOICES, limit=1, lease_s=60, at=T0)
    await read.customer()  # marks them again while they are read
    assert await read_invoices(read.store, read.world, read.clock, later) == "saved"
    go_on.set()
    assert await overtaken == "overtaken"
    assert await read.known() == {"acme in_1": bill("in_1", REFUND)}
    assert await read.invoices() == ["saved"]
    assert await read.invoices() == []


async def test_invoices_that_cannot_be_read_keep_access_from_nobody_and_show(read: Read) -> None:
    def broken(asked: str) -> None:
        if asked.startswith("invoices"):
            raise Unavailable("provider_refused_key", "the key may not read invoices")

    read.world.before = broken
    await read.customer()
    assert await read.invoices() == ["failed"]
    async with read.store.transaction() as tx:
        assert await tx.invoices.unread() == (1, 1)
        saved = await tx.accounts.load("acme")
    assert saved is not None
    assert saved.account.subscriptions == (pro(),)


async def test_those_read_longest_ago_are_found_again(read: Read) -> None:
    await read.customer()
    await read.invoices()
    async with read.store.transaction() as tx:
        soon, late = T0 + INVOICES_AGE - timedelta(days=1), T0 + timedelta(seconds=1)
        assert await tx.invoices.read_longest_ago(provider="stripe", before=T0, limit=5) == ()
        assert await tx.invoices.read_longest_ago(provider="paddle", before=soon, limit=5) == ()
        assert await tx.invoices.read_longest_ago(provider="stripe", before=late, limit=5) == (CUSTOMER,)
