"""Sending webhooks: who has claimed an endpoint sends what waits for it, many at a time, those of an account in order.

Theory of operation. An endpoint waits when updates are behind its position, or a delivery is due. Whoever claims it
takes turns: a turn saves what came of the last requests, makes deliveries of new updates, and picks what is sent next,
in one transaction. Between two turns requests run in lanes, one lane for each account, dead letters in lanes of their
own. A turn is saved only under the claim, so of two processes that believe they have an endpoint one notices; what was
sent and not saved is sent again, with the same id.

Laws: no update is passed over; of one account and endpoint, the next one in order is sent after the one before it was
delivered or has become a dead letter; an endpoint that takes nothing is sent one request at a time, and delays nobody
else; nothing is switched off without a warning before it, and a word when it happens.
"""

import asyncio
import random
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal

import structlog
from msgspec import Struct, field
from msgspec.structs import replace
from opentelemetry.trace import StatusCode

from paygrade.server.process import tracing
from paygrade.server.process.metrics import Metrics
from paygrade.server.process.outbound import Attempt, Sender, Session
from paygrade.server.process.webhook_signatures import signed_headers
from paygrade.server.workers.claims import PAUSE_S, Queue, repeat
from paygrade.server.workers.looks import Looks
from paygrade.updates.delivery import ASKED_MAX, OFF_AFTER, WARNED_AFTER, DeliveryState, after_failure, body_of, live
from paygrade.updates.log import News, Update
from paygrade.updates.types import EndpointUpdate
from paygrade.values.errors import Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction
    from paygrade.postgres.webhooks import SavedDelivery, SavedEndpoint
    from paygrade.server.process.clock import Clock

log = structlog.get_logger("paygrade.webhooks")

ENDPOINTS_AT_ONCE = 256
"""A dead endpoint takes one of these for as long as its receiver may take to answer."""
REQUESTS_MAX = 256
"""Requests under way in one process."""
WIDTH = 32
"""Requests under way to one endpoint."""
PICKED_MAX = 200
"""Deliveries of an endpoint that are picked and not saved yet."""
PLANNED_MAX = 500
TURNS_MAX = 3
"""Turns at the same moment: webhooks leave the other connections to the database to those who ask something."""
GATHERED_S, TURN_S = 0.05, 0.25
RUN_S = 20.0
"""After so long others may have the endpoint."""
LEASE_S = 60.0
FIRST_PURGE_S, PURGE_S = 60.0, 3600.0
FAILED_IN_A_ROW = 3
"""So many failures without a success end a run; one does where the endpoint took nothing before."""
AGAIN_S = 1.0
"""How long an endpoint is left alone after a run that ended so."""
GONE = 410

ENDPOINTS: "Queue[SavedEndpoint]" = Queue(
    "webhooks_sent", lambda tx: tx.webhook_endpoints, ("id",), LEASE_S, quiet=True
)

Notice = Literal["failing", "disabled", "recovered"]


class Outbox(Struct, frozen=True):
    """What sending needs, the same for all endpoints of a process."""

    store: "Store"
    sender: Sender
    clock: "Clock"
    metrics: Metrics
    requests: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(REQUESTS_MAX))
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(TURNS_MAX))


class Letter(Struct, frozen=True):
    """A delivery that is to be made now."""

    delivery: "SavedDelivery"
    update: Update
    gap: bool
    written_in: str | None = None
    """The span in which the update was written."""


class Turn(Struct, frozen=True):
    """What a turn found. `over`: nothing is left to do now."""

    endpoint: "SavedEndpoint"
    letters: tuple[Letter, ...]
    over: bool


class Run:
    """What goes on while one claim lasts."""

    def __init__(self, *, failing: bool) -> None:
        self.until = time.monotonic() + RUN_S
        self.gate = asyncio.Semaphore(1 if failing else WIDTH)
        self.failures_left = 1 if failing else FAILED_IN_A_ROW
        self.asked: timedelta | None = None
        """The receiver asks to be left alone for so long."""
        self.gone = False
        self.results: list[SavedDelivery] = []
        self.lanes: dict[asyncio.Task[None], tuple[Letter, ...]] = {}

    @property
    def ends(self) -> bool:
        """Whether nothing more is begun."""
        return self.gone or self.asked is not None or self.failures_left <= 0 or time.monotonic() >= self.until

    @property
    def picked(self) -> tuple["SavedDelivery", ...]:
        return tuple([letter.delivery for letters in self.lanes.values() for letter in letters])

    def note(self, result: "SavedDelivery", attempt: Attempt) -> None:
        self.results.append(result)
        if attempt.succeeded:
            self.failures_left = FAILED_IN_A_ROW
            return
        self.failures_left -= 1
        self.gone = self.gone or attempt.status == GONE
        if attempt.status in (429, 503) and attempt.retry_after_s is not None:
            self.asked = _asked(attempt)

    def take_results(self) -> tuple["SavedDelivery", ...]:
        taken, self.results = tuple(self.results), []
        return taken


async def send_webhooks(store: "Store", sender: Sender, clock: "Clock", looks: Looks, metrics: Metrics) -> None:
    """Send what waits for endpoints, until cancelled."""
    wake = asyncio.Event()
    outbox = Outbox(store, sender, clock, metrics)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_hear(store, wake))
        tasks.create_task(repeat(partial(_purge, store), look_s=PURGE_S, first_s=FIRST_PURGE_S))
        tasks.create_task(
            looks.work(
                ENDPOINTS, partial(deliver, outbox), at_once=ENDPOINTS_AT_ONCE, wake=wake, note=metrics.note_claim
            )
        )


async def deliver(outbox: Outbox, claimed: "SavedEndpoint") -> str:
    """Send what waits for a claimed endpoint, until nothing is due, it takes nothing, or its time is up."""
    run = Run(failing=claimed.failing_since is not None)
    async with outbox.sender.session() as session:
        try:
            return await _take_turns(outbox, session, claimed, run)
        finally:
            for lane in run.lanes:
                lane.cancel()
            await asyncio.gather(*run.lanes, return_exceptions=True)


async def _take_turns(outbox: Outbox, session: Session, claimed: "SavedEndpoint", run: Run) -> str:
    full = False
    while True:
        async with outbox.turns:
            turn = await take_turn(outbox, claimed, run, backlog=full)
        if turn is None:
            return "overtaken"
        if turn.over:
            return "sent" if turn.endpoint.failing_since is None else "failing"
        full = len(turn.letters) > PICKED_MAX // 2
        _begin(outbox, session, run, turn)
        await _gather(run)


async def take_turn(outbox: Outbox, claimed: "SavedEndpoint", run: Run, *, backlog: bool) -> Turn | None:
    """Save what came of requests and pick what is sent next; None: the endpoint was claimed since, or is gone.

    `backlog`: there is enough to send without making more deliveries."""
    results, at = run.take_results(), datetime.now(UTC)
    async with outbox.store.transaction() as tx:
        locked = await tx.webhook_endpoints.lock(claimed)
        if locked is None:
            return None
        await tx.webhook_deliveries.note(results)
        held = judged(locked, results, at)
        letters: tuple[Letter, ...] = ()
        if held.state == "enabled" and not run.ends:
            if not backlog:
                position = await tx.webhook_deliveries.plan(held, limit=PLANNED_MAX, at=at)
                held = replace(held, position=position)
            letters = await _pick(tx, held, run.picked, at)
        over = not letters and not run.lanes
        # Until it is over something is due: whoever takes the claim of a process that was killed goes on.
        due_at = await tx.webhook_deliveries.next_due_at(held.id) if over else at
        held = replace(held, due_at=due_at, attempts=0)
        pause_s = _pause_s(run) if over and held.state == "enabled" else None
        await tell_people(tx, locked, held, outbox.clock.now())
        await tx.webhook_endpoints.save(held, lease_s=None if over else LEASE_S, retry_s=pause_s)
    _announce(outbox.metrics, locked, held, results)
    return Turn(held, letters, over)


def judged(held: "SavedEndpoint", results: Sequence["SavedDelivery"], at: datetime) -> "SavedEndpoint":
    """An endpoint after these results: whether it fails, people have to be told, or it is switched off."""
    if not results:
        return held
    if any(each.status == GONE for each in results):
        return replace(held, state="disabled", reason="gone", failing_since=held.failing_since or at)
    if any(each.state == "delivered" for each in results):
        return replace(held, delivered_at=at, failing_since=None, warned_at=None)
    since = held.failing_since or at
    if at - since >= OFF_AFTER and held.warned_at is not None:
        return replace(held, state="disabled", reason="failing", failing_since=since)
    warned_at = at if at - since >= WARNED_AFTER else None
    return replace(held, failing_since=since, warned_at=held.warned_at or warned_at)


def outcome(letter: Letter, attempt: Attempt, at: datetime) -> "SavedDelivery":
    """A delivery after a try."""
    before = letter.delivery
    tries, first_tried_at = before.tries + 1, before.first_tried_at or at
    state: DeliveryState = "delivered"
    due_at = None
    if not attempt.succeeded:
        state, due_at = after_failure(
            before.state,
            tries=tries,
            first_tried_at=first_tried_at,
            asked=_asked(attempt),
            spread=random.uniform(-1, 1),
            at=at,
        )
    error = attempt.error
    if error is None and not attempt.succeeded:
        error = f"the receiver answered {attempt.status}; only 2xx counts"
    return replace(
        before,
        state=state,
        tries=tries,
        first_tried_at=first_tried_at,
        tried_at=at,
        due_at=due_at,
        gap=letter.gap,
        status=attempt.status,
        took_ms=attempt.took_ms,
        error=error,
        answer=attempt.answer,
    )


async def _pick(
    tx: "Transaction", held: "SavedEndpoint", picked: Sequence["SavedDelivery"], at: datetime
) -> tuple[Letter, ...]:
    """What is due and not under way."""
    busy = {each.account for each in picked if each.state == "waiting"}
    under_way = {(each.account, each.position) for each in picked}
    room = PICKED_MAX - len(picked)
    if room <= 0:
        return ()
    due = await tx.webhook_deliveries.due(held.id, busy=busy, limit=room + len(picked), at=at)
    due = tuple([each for each in due if (each.account, each.position) not in under_way])
    if not due:
        return ()
    updates = await tx.updates.at([each.position for each in due])
    spans = await tx.updates.traceparents([*updates]) if tracing.is_on() else {}
    gaps = await tx.webhook_deliveries.undelivered(held.id, {each.account for each in due})
    gone = [each for each in due if each.position not in updates]
    await tx.webhook_deliveries.note([_no_longer_kept(each) for each in gone])
    return tuple(
        [
            Letter(each, updates[place], gap=gaps.get(each.account, place) < place, written_in=spans.get(place))
            for each in due
            if (place := each.position) in updates
        ]
    )


def _no_longer_kept(delivery: "SavedDelivery") -> "SavedDelivery":
    return replace(delivery, state="failed", due_at=None, error="the update is no longer kept")


def _begin(outbox: Outbox, session: Session, run: Run, turn: Turn) -> None:
    """Send these in lanes: those of one account one after the other, dead letters each by itself."""
    by_account: dict[str, list[Letter]] = {}
    lanes: list[list[Letter]] = []
    for letter in turn.letters:
        if letter.delivery.state == "dead_letter":
            lanes.append([letter])
        else:
            by_account.setdefault(letter.delivery.account, []).append(letter)
    for letters in (*by_account.values(), *lanes):
        task = asyncio.create_task(_send(outbox, session, run, turn.endpoint, letters))
        run.lanes[task] = tuple(letters)


async def _gather(run: Run) -> None:
    """Wait for something to save."""
    await asyncio.wait(run.lanes, timeout=TURN_S, return_when=asyncio.FIRST_COMPLETED)
    if run.lanes and not all(lane.done() for lane in run.lanes):
        await asyncio.sleep(GATHERED_S)
    for lane in [lane for lane in run.lanes if lane.done()]:
        del run.lanes[lane]
        lane.result()


async def _send(
    outbox: Outbox, session: Session, run: Run, endpoint: "SavedEndpoint", letters: Sequence[Letter]
) -> None:
    """Send these one after the other, as long as they are taken."""
    for letter in letters:
        async with run.gate, outbox.requests:
            if run.ends:
                return
            attempt = await send_one(session, endpoint, letter)
        at = datetime.now(UTC)
        run.note(outcome(letter, attempt, at), attempt)
        if not attempt.succeeded:
            return
        lag = outbox.metrics.webhook_lag.labels(tries="one" if letter.delivery.tries == 0 else "more")
        lag.observe(max((at - letter.update.occurred_at).total_seconds(), 0))


async def send_one(session: Session, endpoint: "SavedEndpoint", letter: Letter) -> Attempt:
    """One request: what is sent and signed is made now."""
    update = letter.update
    with tracing.span(
        "send webhook",
        "sent",
        led_by=[letter.written_in] if letter.written_in is not None else (),
        endpoint=endpoint.id,
        update=update.id,
        type=update.type,
        account=update.account or "",
        version=update.state_version or 0,
        attempt=letter.delivery.tries + 1,
    ) as span:
        attempt = await _post(session, endpoint, letter)
        if attempt.status is not None:
            span.set_attribute("http.response.status_code", attempt.status)
        if not attempt.succeeded:
            span.set_status(StatusCode.ERROR)
        return attempt


async def _post(session: Session, endpoint: "SavedEndpoint", letter: Letter) -> Attempt:
    body, at = body_of(letter.update, gap=letter.gap), datetime.now(UTC)
    secrets = [each.secret for each in live(endpoint.secrets, at)]
    headers = signed_headers(body, id=letter.update.id, sent_at=int(at.timestamp()), secrets=secrets)
    return await session.post(endpoint.url, {**headers, **tracing.headers()}, body)


def _asked(attempt: Attempt) -> timedelta | None:
    if attempt.status not in (429, 503) or attempt.retry_after_s is None:
        return None
    return timedelta(seconds=max(attempt.retry_after_s, 1))


def _pause_s(run: Run) -> float | None:
    """How long to leave an endpoint alone."""
    if run.asked is not None:
        return min(run.asked, ASKED_MAX).total_seconds()
    return AGAIN_S if run.failures_left <= 0 else None


def _announce(
    metrics: Metrics, before: "SavedEndpoint", after: "SavedEndpoint", results: Collection["SavedDelivery"]
) -> None:
    """Tell what was saved, in the metrics and, of what people should know, in the log."""
    for each in results:
        metrics.webhook_tries.labels(outcome="retried" if each.state == "waiting" else each.state).inc()
    notice = _notice(before, after)
    if notice is None:
        return
    metrics.webhook_endpoints.labels(what=notice).inc()
    note = log.info if notice == "recovered" else log.warning
    note(
        f"webhook_endpoint_{notice}",
        endpoint=after.id,
        failing_since=str(after.failing_since or before.failing_since),
        reason=after.reason,
    )


async def tell_people(tx: "Transaction", before: "SavedEndpoint", after: "SavedEndpoint", at: datetime) -> None:
    """Write down what people should know of an endpoint: others hear of it by the log."""
    notice = _notice(before, after)
    if notice is not None:
        said = EndpointUpdate(after.id, after.url, after.failing_since, after.reason)
        await tx.announce([News(None, f"webhook_endpoint.{notice}", said, at)], at)


def _notice(before: "SavedEndpoint", after: "SavedEndpoint") -> Notice | None:
    if after.state == "disabled" and before.state == "enabled":
        return "disabled"
    if after.warned_at is not None and before.warned_at is None:
        return "failing"
    return "recovered" if before.warned_at is not None and after.warned_at is None else None


async def _purge(store: "Store") -> None:
    async with store.transaction() as tx:
        await tx.webhook_deliveries.purge()


async def _hear(store: "Store", wake: asyncio.Event) -> None:
    """Look at once when there is more to read."""

    def hear(channel: str, payload: str) -> None:
        if channel == "paygrade_update" and payload:
            wake.set()

    while True:
        with suppress(Unavailable):
            await store.listen(ready=wake.set, hear=hear)
        await asyncio.sleep(PAUSE_S)
