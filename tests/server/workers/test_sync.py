"""Billing sync: whatever happens to events and workers, an account ends as the provider's truth has it."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Customer, Departed, Item, Phase
from paygrade.changes.order import Progress
from paygrade.changes.request import ChangeRequest
from paygrade.postgres.plan_changes import ClaimedChange
from paygrade.postgres.store import Store
from paygrade.postgres.subjects import Claim
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.rebuild import rebuild
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.changes.plan_changes import carry_out, get_change
from paygrade.server.operations.changes.quotes import quote_change
from paygrade.server.operations.sync.inbox import receive_event, sync_status
from paygrade.server.process.clock import Clock
from paygrade.server.workers.claims import take
from paygrade.server.workers.looks import Looks
from paygrade.server.workers.loop import sync_subjects
from paygrade.server.workers.plan_changes import CHANGES, note
from paygrade.server.workers.sync import (
    INCOMPLETE_FOR,
    SUBJECTS,
    Outcome,
    due_at,
    fetch_subject,
    save_reading,
    sync_subject,
)
from paygrade.values.errors import Unavailable
from paygrade.values.states import Status
from support.fake_provider import DOCUMENT, T0, Elsewhere, Event, SetClock, World, customer, pro
from support.waiting import GIVE_UP_S, in_time, let_pass

pytestmark = pytest.mark.anyio

CUS = "stripe:cus_1"
LIVE: tuple[Status, ...] = ("active", "past_due", "unpaid", "paused")


async def receive(
    store: Store, *ids: str, subject: str | None = CUS, type: str = "customer.subscription.updated"
) -> None:
    for id in ids:
        await receive_event(store, ref=Event(id, subject, type), body=b"{}", at=T0)


async def claim(store: Store, *, lease_s: float = 60) -> Claim:
    (found,) = await take(store, SUBJECTS, limit=1, lease_s=lease_s, at=T0)
    return found


async def sync(store: Store, world: World, clock: SetClock | None = None) -> list[Outcome]:
    """Read everything that waits, as a worker would, one by one."""
    clock = clock or SetClock()
    outcomes: list[Outcome] = []
    while claims := await take(store, SUBJECTS, limit=1, at=clock.now()):
        outcomes.append(await sync_subject(store, world, clock, claims[0]))
    return outcomes


async def load(store: Store, account: str) -> Account:
    async with store.transaction() as tx:
        saved = await tx.accounts.load(account)
    assert saved is not None
    return saved.account


async def everything_read(store: Store) -> None:
    async def is_read() -> bool:
        return not (await sync_status(store, "stripe", now=T0)).dirty

    await in_time(is_read)


@asynccontextmanager
async def worker(store: Store, world: World) -> AsyncIterator[None]:
    clock = Clock()
    looks = Looks(store, clock)
    tasks = [asyncio.create_task(doing) for doing in (sync_subjects(store, world, clock, looks), looks.go_on())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_event_becomes_access_with_its_id_as_the_cause(store: Store) -> None:
    world = World({CUS: customer(pro())})
    await receive(store, "evt_1", "evt_2")
    assert await sync(store, world) == ["saved"]
    async with store.transaction() as tx:
        (saved,) = await tx.accounts.facts("acme")
    assert saved.fact.body == customer(pro())
    assert saved.fact.cause == ("evt_1", "evt_2")
    assert (await sync_status(store, "stripe", now=T0)).inbox.unhandled == 0


async def test_law_10_an_event_received_again_changes_nothing(store: Store) -> None:
    world = World({CUS: customer(pro())})
    await receive(store, "evt_1")
    await sync(store, world)
    received = await receive_event(store, ref=Event("evt_1"), body=b"{}", at=T0)
    assert not received.new
    assert await sync(store, world) == []
    assert (await sync_status(store, "stripe", now=T0)).inbox.received == 1


async def test_a_reading_that_says_nothing_new_is_no_fact(store: Store) -> None:
    world = World({CUS: customer(pro())})
    await receive(store, "evt_1")
    await sync(store, world)
    await receive(store, "evt_2")
    assert await sync(store, world) == ["saved"]
    assert (await load(store, "acme")).version == 1


async def asked_for_two(store: Store, world: World) -> ClaimedChange:
    """A change from one to two of what `cus_1` buys, claimed by whoever carries it out."""
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="ann")
    await receive(store, "evt_1")
    await sync(store, world)
    made = await quote_change(store, None, account="acme", wanted=ChangeRequest(quantities={"pro": 2}), at=T0)
    await carry_out(store, account="acme", quote_id=made.id, key=None, has_provider=True, at=T0)
    (claimed,) = await take(store, CHANGES, limit=1, at=T0)
    return claimed


async def test_a_change_that_waits_for_its_payment_is_looked_at_when_something_happened(store: Store) -> None:
    world = World({CUS: customer(pro())})
    claimed = await asked_for_two(store, world)
    assert await note(store, claimed, Progress("pending", invoice="in_1"), at=T0 + timedelta(hours=9)) == "pending"
    assert await take(store, CHANGES, limit=1, at=T0) == ()
    # The invoice was voided: no fact tells of it, as the subscription is what it was.
    await receive(store, "evt_2", type="invoice.voided")
    await sync(store, world)
    (again,) = await take(store, CHANGES, limit=1, at=T0)
    assert (again.id, again.state) == (claimed.id, "pending")


async def test_a_change_whose_time_is_over_when_the_provider_has_answered_is_given_up_at_once(store: Store) -> None:
    world = World({CUS: customer(pro())})
    claimed = await asked_for_two(store, world)
    pending = Progress("pending", invoice="in_1")
    assert await note(store, claimed, pending, at=T0 + timedelta(hours=22)) is None, "another step is taken"
    async with store.transaction() as tx:
        assert await tx.plan_changes.lock(claimed) is not None


async def test_a_change_that_is_heard_of_before_its_answer_keeps_what_the_answer_says(store: Store) -> None:
    world = World({CUS: customer(pro())})
    claimed = await asked_for_two(store, world)
    world.answers[CUS] = customer(pro(quantity=2))
    await receive(store, "evt_2")
    await sync(store, world)
    assert await note(store, claimed, Progress("done", invoice="in_1"), at=T0) == "done"
    view = await get_change(store, account="acme", id=claimed.id)
    assert (view.change.state, view.change.invoice) == ("applied", "in_1")
    assert await take(store, CHANGES, limit=1, at=T0) == ()


async def test_an_event_about_nobody_is_kept_and_handled(store: Store) -> None:
    await receive(store, "evt_price", subject=None, type="price.created")
    assert await sync(store, World()) == []
    inbox = (await sync_status(store, "stripe", now=T0)).inbox
    assert (inbox.received, inbox.unhandled) == (1, 0)


async def test_a_slow_older_reading_never_overwrites_a_newer_one(store: Store) -> None:
    world = World({CUS: customer(pro("trialing"))})
    await receive(store, "evt_1")
    slow = await claim(store, lease_s=0)
    older = await fetch_subject(store, world, slow, at=T0)
    world.answers[CUS] = customer(pro("active"))
    newer = await fetch_subject(store, world, await claim(store), at=T0)
    assert await save_reading(store, newer, at=T0) == "saved"
    assert await save_reading(store, older, at=T0) == "overtaken"
    assert (await load(store, "acme")).subscriptions[0].status == "active"


async def test_an_older_reading_that_arrives_first_is_not_saved_either(store: Store) -> None:
    world = World({CUS: customer(pro("trialing"))})
    await receive(store, "evt_1")
    older = await fetch_subject(store, world, await claim(store, lease_s=0), at=T0)
    world.answers[CUS] = customer(pro("active"))
    newer = await fetch_subject(store, world, await claim(store), at=T0)
    assert await save_reading(store, older, at=T0) == "overtaken"
    assert await save_reading(store, newer, at=T0) == "saved"
    async with store.transaction() as tx:
        assert len(await tx.accounts.facts("acme")) == 1


async def test_a_subject_marked_during_its_reading_is_read_again(store: Store) -> None:
    world = World({CUS: customer(pro("trialing"))})
    await receive(store, "evt_1")
    reading = await fetch_subject(store, world, await claim(store), at=T0)
    world.answers[CUS] = customer(pro("active"))
    await receive(store, "evt_2")
    assert await save_reading(store, reading, at=T0) == "saved"
    status = await sync_status(store, "stripe", now=T0)
    assert (status.dirty, status.inbox.unhandled) == (1, 1)
    assert await sync(store, world) == ["saved"]
    account = await load(store, "acme")
    assert account.subscriptions[0].status == "active"
    async with store.transaction() as tx:
        assert [s.fact.cause for s in await tx.accounts.facts("acme")] == [("evt_2",), ("evt_1",)]


async def test_a_worker_that_dies_loses_nothing(store: Store, database_url: str) -> None:
    world = World({CUS: customer(pro())})
    await receive(store, "evt_1")
    await claim(store, lease_s=60)
    assert await sync(store, world) == [], "its lease still holds"
    async with store.transaction() as tx:
        await tx.subjects.mark([CUS])
    assert await sync(store, world) == [], "nor does another event break it"
    let_pass(database_url, "subjects")
    assert await sync(store, world) == ["saved"]
    assert (await sync_status(store, "stripe", now=T0)).inbox.unhandled == 0


async def test_law_1_shuffled_doubled_and_late_events_end_in_the_same_account(store: Store) -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    world = World()
    moved = threading.Condition()
    happened = 0

    def dawdle(subject: str) -> None:
        """A reading takes a while, so that the truth changes between the answer and its saving."""
        with moved:
            until = min(happened + rng.randrange(4), 40)
            moved.wait_for(lambda: happened >= until, GIVE_UP_S)

    world.before = dawdle
    events = []
    async with worker(store, world), worker(store, world):
        for number in range(40):
            id = f"cus_{number % 4}"
            status = rng.choice(LIVE)
            subscription = pro(status, id=f"sub_{id}", quantity=number)
            world.answers[f"stripe:{id}"] = customer(subscription, id=id, account=None)
            events.append(Event(f"evt_{number}", f"stripe:{id}"))
            with moved:
                happened += 1
                moved.notify_all()
            for event in rng.sample(events, k=min(len(events), 3)):
                await receive_event(store, ref=event, body=b"{}", at=T0)
        for event in rng.sample(events, k=len(events)):
            await receive_event(store, ref=event, body=b"{}", at=T0)
        await everything_read(store)
    for subject, truth in world.answers.items():
        assert isinstance(truth, Customer)
        account = await load(store, truth.id)
        assert account.statements[subject].body == truth, f"seed {seed}"
    assert (await sync_status(store, "stripe", now=T0)).inbox.unhandled == 0


async def test_law_2_a_lost_fold_is_rebuilt_from_the_facts(store: Store) -> None:
    world = World({CUS: customer(pro())})
    await receive(store, "evt_1")
    await sync(store, world)
    world.answers[CUS] = customer(pro("canceled"))
    await receive(store, "evt_2")
    await sync(store, world)
    before = await load(store, "acme")
    async with store.transaction() as tx:
        await tx.accounts.restore(Account(key="acme"))
    assert (await load(store, "acme")).subscriptions == ()
    lost = {difference.name for difference in (await rebuild(store, account="acme", at=T0)).differences}
    folded = {"since", "began", "statements", "latched", "understood", "purchases", "anchors"}
    assert lost == {"version", "name", "known", "subscriptions", *folded}
    assert await load(store, "acme") == before


async def test_without_metadata_or_link_the_customer_is_the_account(store: Store) -> None:
    await receive(store, "evt_1")
    await sync(store, World({CUS: customer(pro(), account=None)}))
    assert (await load(store, "cus_1")).subscriptions == (pro(),)


async def test_a_customer_whose_metadata_changes_moves_to_the_other_account(store: Store) -> None:
    world = World({CUS: customer(pro(), account="acme")})
    await receive(store, "evt_1")
    await sync(store, world)
    world.answers[CUS] = customer(pro(), account="globex")
    await receive(store, "evt_2")
    await sync(store, world)
    left, joined = await load(store, "acme"), await load(store, "globex")
    assert (left.subscriptions, joined.subscriptions) == ((), (pro(),))
    assert left.statements[CUS].body == Departed("globex")
    world.answers[CUS] = customer(pro(), account="acme")
    await receive(store, "evt_3")
    await sync(store, world)
    assert (await load(store, "acme")).subscriptions == (pro(),)
    assert (await load(store, "globex")).subscriptions == ()


async def test_linking_a_customer_moves_it_and_unlinking_moves_it_back(store: Store) -> None:
    world = World({CUS: customer(pro(), account=None)})
    await receive(store, "evt_1")
    await sync(store, world)
    await link(store, "acme", "cus_1")
    await sync(store, world)
    assert (await load(store, "acme")).subscriptions == (pro(),)
    assert (await load(store, "cus_1")).subscriptions == ()
    await link(store, "acme")
    await sync(store, world)
    assert (await load(store, "acme")).subscriptions == ()
    assert (await load(store, "cus_1")).subscriptions == (pro(),)


async def link(store: Store, account: str, *customers: str) -> None:
    await put_account(store, account=account, name="", links={"stripe": customers}, traits={}, at=T0)


async def test_where_link_and_metadata_disagree_the_metadata_wins_visibly(store: Store) -> None:
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="ann")
    await link(store, "acme", "cus_1")
    await sync(store, World({CUS: customer(pro(), account="globex")}))
    assert (await load(store, "globex")).subscriptions == (pro(),)
    assert (await load(store, "acme")).statements[CUS].body == Departed("globex")
    (finding,) = (await sync_status(store, "stripe", now=T0)).findings
    assert (finding.code, finding.account, finding.subject) == ("link_conflict", "acme", CUS)


async def test_a_deleted_customer_stays_with_its_account(store: Store) -> None:
    world = World({CUS: customer(pro(), account="acme")})
    await receive(store, "evt_1")
    await sync(store, world)
    world.answers[CUS] = customer(pro("canceled"), account=None, deleted=True)
    await receive(store, "evt_2")
    await sync(store, world)
    assert (await load(store, "acme")).subscriptions[0].status == "canceled"


async def test_a_customer_nobody_ever_saw_makes_no_account(store: Store) -> None:
    await receive(store, "evt_1", type="customer.deleted")
    assert await sync(store, World({CUS: customer(deleted=True, account=None)})) == ["nothing"]
    async with store.transaction() as tx:
        assert await tx.accounts.load("cus_1") is None


async def test_a_customer_that_was_gone_before_it_was_read_is_known_to_whoever_links_it(store: Store) -> None:
    await link(store, "acme", "cus_1")
    await receive(store, "evt_1", type="customer.deleted")
    assert await sync(store, World({CUS: customer(deleted=True, account=None)})) == ["saved"]
    assert [known.deleted for known in (await load(store, "acme")).customers] == [True]


async def test_an_event_that_names_a_subscription_leads_to_its_customer(store: Store) -> None:
    world = World({"stripe:sub_1": Elsewhere(CUS), CUS: customer(pro())})
    await receive(store, "evt_1", subject="stripe:sub_1")
    assert await sync(store, world) == ["redirected", "saved"]
    async with store.transaction() as tx:
        (saved,) = await tx.accounts.facts("acme")
    assert saved.fact.cause == ("evt_1",)
    assert (await sync_status(store, "stripe", now=T0)).inbox.unhandled == 0
    again = await receive_event(store, ref=Event("evt_1", "stripe:sub_1"), body=b"{}", at=T0)
    assert not again.new


async def test_an_event_about_something_gone_is_handled(store: Store) -> None:
    await receive(store, "evt_1", subject="stripe:in_1", type="invoice.deleted")
    assert await sync(store, World()) == ["nothing"]
    assert (await sync_status(store, "stripe", now=T0)).inbox.unhandled == 0


@pytest.mark.parametrize("subject", [CUS, "stripe:sub_1"])
async def test_what_the_provider_does_not_know_yet_is_asked_for_again(store: Store, subject: str) -> None:
    """Found by the simulation (seeds 74 and 159): an answer from before it existed was taken for the last word."""
    world = World({CUS: customer(deleted=True, account=None)})
    await receive(store, "evt_1", subject=subject, type="customer.subscription.created")
    assert await sync(store, world) == ["doubted"]
    world.answers = {CUS: customer(pro()), "stripe:sub_1": Elsewhere(CUS)}
    await receive(store, "evt_2", subject=subject)
    assert (await sync(store, world))[-1] == "saved"
    assert (await load(store, "acme")).subscriptions == (pro(),)
    assert (await sync_status(store, "stripe", now=T0)).inbox.unhandled == 0


async def test_a_provider_that_fails_is_asked_again_and_shows_until_then(store: Store) -> None:
    world = World({CUS: customer(pro())})

    def fail(subject: str) -> None:
        raise Unavailable("provider_unavailable", "stripe did not answer", retry_after_s=3600)

    world.before = fail
    await receive(store, "evt_1")
    assert await sync(store, world) == ["failed"]
    status = await sync_status(store, "stripe", now=T0)
    (failing,) = status.failing
    assert (failing.subject, failing.attempts, status.inbox.unhandled) == (CUS, 1, 1)
    assert "stripe did not answer" in failing.error
    await receive(store, "evt_2")
    assert await sync(store, world) == [], "an event does not shorten the pause the provider asked for"
    world.before = lambda subject: None
    async with store.transaction() as tx:
        await tx.subjects.mark([CUS], asked=True)
    assert await sync(store, world) == ["saved"], "somebody who waits does"


async def test_after_a_failure_nothing_is_lost(store: Store) -> None:
    world = World({CUS: customer(pro())})
    failures = iter([Unavailable("provider_unavailable", "no"), ValueError("a bug of ours"), None])

    def fail(subject: str) -> None:
        failure = next(failures, None)
        if failure is not None:
            raise failure

    world.before = fail
    async with worker(store, world):
        await receive(store, "evt_1")
        await everything_read(store)
    assert (await load(store, "acme")).subscriptions == (pro(),)
    assert (await sync_status(store, "stripe", now=T0)).failing == ()


async def test_a_subject_that_breaks_does_not_stop_the_others(store: Store) -> None:
    world = World({CUS: customer(pro()), "stripe:cus_2": customer(pro(), id="cus_2", account="globex")})

    def fail(subject: str) -> None:
        if subject == CUS:
            raise ValueError("a bug of ours")

    world.before = fail
    async with worker(store, world):
        await receive(store, "evt_1")
        await receive(store, "evt_2", subject="stripe:cus_2")
        await in_time(lambda: read_but_one(store))
    assert (await load(store, "globex")).subscriptions == (pro(),)


async def read_but_one(store: Store) -> bool:
    return (await sync_status(store, "stripe", now=T0)).inbox.unhandled == 1


async def test_a_reading_that_lags_behind_an_end_is_asked_for_again(store: Store, database_url: str) -> None:
    world = World({CUS: customer(pro("active"))})
    await receive(store, "evt_1", type="customer.subscription.deleted")
    assert await sync(store, world) == ["doubted"], "and not claimed again before its pause is over"
    assert (await load(store, "acme")).subscriptions[0].status == "active"
    world.answers[CUS] = customer(pro("canceled"))
    let_pass(database_url, "subjects")
    assert await sync(store, world) == ["saved"]
    assert (await load(store, "acme")).subscriptions[0].status == "canceled"
    assert (await sync_status(store, "stripe", now=T0)).inbox.unhandled == 0


async def test_a_reading_doubted_three_times_is_believed(store: Store, database_url: str) -> None:
    world = World({CUS: customer(pro("active"))})
    await receive(store, "evt_1", type="customer.subscription.deleted")
    outcomes = []
    for _ in range(4):
        outcomes += await sync(store, world)
        let_pass(database_url, "subjects")
    assert outcomes == ["doubted", "doubted", "doubted", "saved"]
    assert await sync(store, world) == []


async def test_a_subscription_seen_ended_stays_ended_and_shows(store: Store) -> None:
    world = World({CUS: customer(pro("canceled"))})
    await receive(store, "evt_1")
    await sync(store, world)
    world.answers[CUS] = customer(pro("active"))
    await receive(store, "evt_2")
    await sync(store, world)
    assert (await load(store, "acme")).subscriptions[0].status == "canceled"
    assert "revived_subscription" in {finding.code for finding in (await sync_status(store, "stripe", now=T0)).findings}


async def test_an_unmapped_price_shows_in_the_status(store: Store) -> None:
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="ann")
    await receive(store, "evt_1")
    await sync(store, World({CUS: customer(pro(lookup_key="enterprise_yearly"))}))
    (finding,) = (await sync_status(store, "stripe", now=T0)).findings
    assert (finding.code, finding.account) == ("unmapped_price", "acme")


async def test_a_date_that_comes_is_looked_at_without_an_event(store: Store) -> None:
    until = T0 + timedelta(days=30)
    world = World({CUS: customer(pro(until=until))})
    clock = SetClock()
    await receive(store, "evt_1")
    # The subscription began just now: its first invoice is finalized within the hour.
    await sync(store, world, clock)
    clock.at = until - timedelta(hours=1)
    assert await sync(store, world, clock) == ["saved"]
    assert await sync(store, world, clock) == []
    clock.at = until + timedelta(minutes=2)
    world.answers[CUS] = customer(pro("past_due", until=until + timedelta(days=30)))
    assert await sync(store, world, clock) == ["saved"]
    assert (await load(store, "acme")).subscriptions[0].status == "past_due"
    assert await sync(store, world, clock) == []


def test_who_has_not_paid_at_first_is_looked_at_when_that_time_is_over() -> None:
    """Found by the simulation (seed 3924): no event of its own tells that a subscription expired."""
    at = T0 + timedelta(hours=2)
    assert due_at(customer(pro("incomplete")), at) == T0 + INCOMPLETE_FOR + timedelta(minutes=1)
    assert due_at(customer(pro("active")), at) is None


def test_the_next_look_follows_the_next_date_of_a_live_subscription() -> None:
    ends_at = T0 + timedelta(days=3)
    assert due_at(customer(pro("canceled", ends_at=ends_at)), T0 + timedelta(days=1)) is None
    looks = []
    at = T0
    while (due := due_at(customer(pro(ends_at=ends_at)), at)) is not None:
        looks.append(due - ends_at)
        at = due
    assert looks[-2:] == [timedelta(minutes=1), timedelta(minutes=65)]


def test_the_next_look_follows_what_is_planned() -> None:
    planned = replace(pro(), next=(Phase(T0 + timedelta(days=3), (Item("si_1"),)),))
    assert due_at(customer(planned), T0 + timedelta(days=1)) == T0 + timedelta(days=3, minutes=1)


async def test_who_has_an_event_goes_before_who_is_only_swept(store: Store) -> None:
    world = World({f"stripe:cus_{n}": customer(pro(), id=f"cus_{n}", account=None) for n in range(4)})
    await mark_as_a_sweep_does(store, *world.answers)
    await receive(store, "evt_1", subject="stripe:cus_3")
    await mark_as_a_sweep_does(store, *world.answers)
    await sync(store, world)
    assert world.asked == ["stripe:cus_3", "stripe:cus_0", "stripe:cus_1", "stripe:cus_2"]


async def mark_as_a_sweep_does(store: Store, *subjects: str) -> None:
    async with store.transaction() as tx:
        await tx.subjects.mark(subjects, swept=True)


if TYPE_CHECKING:
    from paygrade.providers.port import Provider

    _: Provider = World()
