"""The sweep: everything the provider has compared with everything stored, a page at a time.

Theory of operation. The provider lists every subscription there is, ended ones too, in its own order and with its
customer expanded; then its customers, down to those the sweep before this one has listed. A page is compared
field by field with what is stored of its customers, read in one statement.
Where nothing differs nothing happens. Where something does, the subject is marked and the fenced path reads it: a
listing is never applied, as it has no fence. What was never told of at the end and is live here is marked as well,
and so are a few who are on no page because they bought nothing, those read longest ago.

Laws: a page's marks, its drift and the cursor behind it are saved together, so a sweep that was killed goes on
where it was; a subject that waits is left alone: whatever differs is on its way; one that is being read is read
again, as its reading may be the older of the two; subscriptions are never left out by date or status.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from paygrade.billing.drift import Difference, compare_listed
from paygrade.billing.facts import Customer
from paygrade.providers.port import ListedCustomer, ListedPage, Lister
from paygrade.server.operations.sync.repair import RepairNotice, SweepCounts, announce_drift, note_sweep, tell_repair
from paygrade.server.workers.claims import Queue, give_back
from paygrade.server.workers.import_report import Gathered, report_of
from paygrade.values.errors import Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction
    from paygrade.postgres.subjects import KnownSubject
    from paygrade.postgres.sweeps import SavedSweep
    from paygrade.server.process.clock import Clock

LEASE_S = 60.0
"""Longer than one page takes with all that is asked for it."""
REPORT_LEASE_S = 600.0
"""Longer than deriving everybody's access before and after takes."""
OVERLAP = timedelta(hours=1)
"""How long after the time it carries a customer may show in the list, and clocks may differ."""
UNLISTED_MAX = 50
"""How many of those who bought nothing are read again by one sweep, at two requests each."""
INVOICES_AGE = timedelta(days=7)
"""Whose invoices were read longer ago than that, some of them are read again by each sweep."""
PATIENCE_S = 3.0
"""How long an event may take from the provider to us before a difference is read again without it."""


SweepOutcome = Literal["finished", "paused", "overtaken"]


def sweeps_of(provider: str) -> "Queue[SavedSweep]":
    """The unfinished sweep of a provider, if there is one."""
    return Queue("swept", lambda tx: tx.sweeps, ("id",), LEASE_S, values={"provider": provider})


async def start_sweep_regularly(store: "Store", provider: str, *, every: timedelta, at: datetime) -> bool:
    """Begin a sweep if it is time for one."""
    async with store.transaction() as tx:
        started = await tx.sweeps.start_regularly(provider, every=every, at=at)
        if started:
            note_sweep(tx, at=at)
        return started


async def run_sweep(
    store: "Store", provider: Lister, clock: "Clock", sweep: "SavedSweep", *, patience_s: float = PATIENCE_S
) -> SweepOutcome:
    """Go on with a sweep that was claimed, up to its end or a failure of the provider."""
    going = _Sweeping(store, provider, clock, patience_s=patience_s)
    try:
        return await (going.rehearse(sweep) if sweep.dry_run else going.run(sweep))
    except Unavailable as error:
        return "paused" if await give_back(store, sweeps_of(provider.name), sweep, error) else "overtaken"


class _Sweeping:
    """One process's turn at a sweep."""

    def __init__(self, store: "Store", provider: Lister, clock: "Clock", *, patience_s: float) -> None:
        self._store = store
        self._provider = provider
        self._clock = clock
        self._patience_s = patience_s
        self._asked_at = clock.now()

    async def run(self, sweep: "SavedSweep") -> SweepOutcome:
        since = sweep.before_at - OVERLAP if sweep.before_at is not None else None
        asked = self._ask(sweep.cursor, since)
        try:
            while True:
                page, asked_at = await asked, self._asked_at
                if page is None:
                    # What it should go on after was deleted there: the list is read from its beginning.
                    sweep = replace(sweep, cursor=None, counts={**sweep.counts, "subscriptions": 0, "customers": 0})
                    asked = self._ask(None, since)
                    continue
                if page.after is not None:
                    # The provider answers while this page is compared.
                    asked = self._ask(page.after, since)
                async with self._store.transaction() as tx:
                    if not await tx.sweeps.hold(sweep):
                        return "overtaken"
                    if sweep.cursor is None:
                        await tx.sweeps.forget_seen()
                    met = await self._compare(tx, page.customers, asked_at)
                    sweep = replace(
                        sweep,
                        cursor=page.after or sweep.cursor,
                        counts=_sum(sweep.counts, met),
                        error=None,
                        attempts=0,
                    )
                    if page.after is None:
                        return await self._finish(tx, sweep)
                    await tx.sweeps.save(sweep, lease_s=LEASE_S)
        finally:
            asked.cancel()

    def _ask(self, after: str | None, since: datetime | None) -> "asyncio.Task[ListedPage | None]":
        self._asked_at = self._clock.now()
        return asyncio.create_task(asyncio.to_thread(self._provider.list_page, after, since=since))

    async def rehearse(self, sweep: "SavedSweep") -> SweepOutcome:
        """Gather everything and report what a sweep would do. Nothing but the sweep's own row is written."""
        gathered, cursor, counts = Gathered(), None, dict[str, int]()
        while True:
            page = await asyncio.to_thread(self._provider.list_page, cursor, since=None, arrears=True)
            if page is None:
                gathered, cursor, counts = Gathered(), None, {}
                continue
            for listed in page.customers:
                gathered.add(listed)
            counts = _sum(counts, _met(page.customers))
            # No cursor is saved: whoever takes over has nothing of what was gathered here.
            cursor, sweep = page.after, replace(sweep, cursor=None, counts=counts, error=None, attempts=0)
            async with self._store.transaction() as tx:
                if not await tx.sweeps.hold(sweep):
                    return "overtaken"
                await tx.sweeps.save(sweep, lease_s=LEASE_S if cursor else REPORT_LEASE_S)
            if cursor is None:
                break
        report = await report_of(self._store, gathered, self._clock.now())
        sweep = replace(sweep, counts={**counts, "customers": report.customers})
        async with self._store.transaction() as tx:
            if not await tx.sweeps.hold(sweep):
                return "overtaken"
            await tx.sweeps.finish(sweep, report=report, at=self._clock.now())
            await tell_repair(tx, RepairNotice("sweep_finished"))
        return "finished"

    async def _finish(self, tx: "Transaction", sweep: "SavedSweep") -> SweepOutcome:
        missing = await tx.sweeps.unseen(provider=self._provider.name, since=sweep.started_at)
        unlisted = await tx.sweeps.unlisted(provider=self._provider.name, since=sweep.started_at, limit=UNLISTED_MAX)
        await tx.subjects.mark([*missing, *unlisted], swept=True)
        provider, before = self._provider.name, sweep.started_at - INVOICES_AGE
        billed = await tx.invoices.read_longest_ago(provider=provider, before=before, limit=UNLISTED_MAX)
        await tx.invoices.mark(billed)
        customers, _ = await tx.sweeps.seen()
        await tx.sweeps.forget_seen()
        counts = _sum(sweep.counts, SweepCounts(doubtful=len(unlisted), missing=len(missing)))
        sweep = replace(sweep, counts={**counts, "customers": customers})
        await tx.sweeps.finish(sweep, report=None, at=self._clock.now())
        await tx.tell("paygrade_subject")
        await tell_repair(tx, RepairNotice("sweep_finished"))
        return "finished"

    async def _compare(self, tx: "Transaction", listed: Sequence[ListedCustomer], asked_at: datetime) -> SweepCounts:
        """Mark what differs, with its drift, and what cannot be told from here."""
        await tx.sweeps.see((each.subject, id) for each in listed for id in each.subscriptions)
        stored = await tx.subjects.stored(each.subject for each in listed)
        verdicts = {each.subject: _judge(stored.get(each.subject), each, asked_at) for each in listed}
        again = [subject for subject, verdict in verdicts.items() if verdict in _READ_AGAIN]
        differing = [each for each in listed if verdicts[each.subject] == "different"]
        if again:
            # All in one statement, so that rows are locked in one order.
            patient = [each.subject for each in differing]
            marked = await tx.subjects.mark(again, swept=True, patient=patient, patience_s=self._patience_s)
            await tx.tell("paygrade_subject")
            # Where a reading was claimed or saved meanwhile, what was compared is the past.
            differing = [each for each in differing if stored[each.subject].stood_still(marked[each.subject])]
        if differing:
            await self._record(tx, stored, differing, asked_at)
        discovered = sum(verdict == "unknown" for verdict in verdicts.values())
        doubtful = len(again) - discovered - len(differing)
        return replace(_met(listed), different=len(differing), doubtful=doubtful, discovered=discovered)

    async def _record(
        self, tx: "Transaction", stored: dict[str, "KnownSubject"], differing: Sequence[ListedCustomer], at: datetime
    ) -> None:
        """Write down what differs."""
        found = [
            (each.subject, stored[each.subject].account or "", difference)
            for each in differing
            for difference in _differences(stored[each.subject], each)
        ]
        fields = await tx.drifts.add(found, found_by="sweep", at=at)
        await announce_drift(tx, "detected", fields, found_by="sweep", at=at)


Verdict = Literal["same", "different", "doubtful", "unknown", "waiting"]
_READ_AGAIN = frozenset({"different", "doubtful", "unknown"})


def _judge(known: "KnownSubject | None", listed: ListedCustomer, asked_at: datetime) -> Verdict:
    """How what a page says, asked for at `asked_at`, compares with what is stored."""
    if known is None:
        return _judge_unknown(listed)
    if known.claimed:
        # Its reading may have begun before what the page knows, and then nothing would come after it.
        return "doubtful"
    if known.waiting:
        return "waiting"
    if known.account is None:
        return _judge_unknown(listed)
    if listed.customer is None or not isinstance(known.said, Customer):
        return "doubtful"
    if _differences(known, listed):
        # What is stored may be the newer of the two.
        return "doubtful" if known.read_at is not None and known.read_at > asked_at else "different"
    return "same" if listed.whole else "doubtful"


def _judge_unknown(listed: ListedCustomer) -> Verdict:
    """Who was deleted before anybody here heard of them is nobody's, and stays on the list for ever."""
    return "same" if listed.customer is not None and listed.customer.deleted else "unknown"


def _differences(known: "KnownSubject", listed: ListedCustomer) -> tuple[Difference, ...]:
    assert isinstance(known.said, Customer)
    assert listed.customer is not None
    return compare_listed(known.said, listed.customer)


def _met(listed: Sequence[ListedCustomer]) -> SweepCounts:
    bought = [len(each.subscriptions) for each in listed if each.subscriptions]
    return SweepCounts(requests=1, subscriptions=sum(bought), customers=len(bought))


def _sum(counts: dict[str, int], met: SweepCounts) -> dict[str, int]:
    more = msgspec.structs.asdict(met)
    return {name: counts.get(name, 0) + more[name] for name in more}
