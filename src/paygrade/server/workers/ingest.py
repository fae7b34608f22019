"""Ingest: usage events from a stream of NATS JetStream, through the operation that `POST /v1/events` uses.

Theory of operation. A lane fetches messages from a durable consumer, gives their events to `ingest` as one batch,
stores a dead letter for each that was refused, and acknowledges; only then it fetches more, which is all the
back-pressure there is. Any number of lanes and processes share a consumer. Whatever goes wrong with NATS ends all
lanes, and everything begins anew with a connection of its own.

Laws: no message is acknowledged before what its events change is committed, and the dead letters of those refused are
stored; so one that was acknowledged is lost to nobody, and one that comes again, after a crash in between, changes
nothing, since its events' ids are known. One bad message holds up no other: what fails together is taken apart. Where
the database is away, messages are kept, and NATS is told that they are being worked on; after HOLD_S they go back, for
whoever has a database.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import structlog
from msgspec import Struct
from msgspec.structs import replace

from paygrade.server.operations.events.batch import Rejected
from paygrade.server.operations.events.bodies import Events, parse_message, part_of
from paygrade.server.operations.events.ingest import EVENTS_MAX, Ingested, ingest
from paygrade.server.process.jetstream import (
    FAILURES,
    Place,
    Source,
    backlog,
    connect,
    failures_as_unavailable,
    sources,
    store_dead_letter,
)
from paygrade.server.process.retries import pause_s
from paygrade.usage.events import Refusal
from paygrade.values.errors import Refused, Unavailable

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from paygrade.postgres.store import Store
    from paygrade.server.process.clock import Clock
    from paygrade.server.process.metrics import Metrics
    from paygrade.server.state.snapshots import Snapshots

log = structlog.get_logger("paygrade.ingest")

LANES = 3
"""Batches under way in one process: while one is being saved, the next is fetched and read."""
MESSAGES_MAX = 1000
BYTES_MAX = 128 * 1024 * 1024
"""Of messages that one process holds."""
FETCH_S, GATHER_S = 5.0, 0.25
"""How long to wait for a first message, and for those behind it, which other lanes may get."""
LOOK_S = 5.0
HOLD_S = 60.0
PAUSE_MAX_S = 10.0
BROKEN_MAX = 2
"""Tries of a message that fails in a way nobody foresaw, before it becomes a dead letter."""
TURN = 100
"""Messages read before others in this process have a turn."""
HEADERS_BYTES_MAX = 8 * 1024
"""Of those that are ours in a dead letter: NATS counts headers as part of a message's size."""
DETAIL_MAX = 500
REFUSED_AGAIN_S = 30.0
"""How long a message waits whose dead letter nobody stored."""


class Held(Struct):
    """A message on its way, with what it says. `whole`: it could not be read, so what is refused is all of it."""

    message: "Msg"
    events: Events
    whole: bool = False


class Returned(Exception):
    """Messages go back: there is no database to save what they say."""


class Ingest:
    """Takes usage events from one place. Run `go_on` for as long as it is used."""

    def __init__(
        self,
        store: "Store",
        snapshots: "Snapshots",
        clock: "Clock",
        metrics: "Metrics",
        place: Place,
        *,
        urls: str,
        credentials: Path | None = None,
    ) -> None:
        self.store, self.snapshots, self.clock, self.metrics, self.place = store, snapshots, clock, metrics, place
        self.turns = asyncio.Semaphore(LANES)
        self._urls, self._credentials = urls, credentials
        self._connection: Client | None = None

    def missing(self) -> tuple[str, ...]:
        """What keeps it from taking events now, in words."""
        is_connected = self._connection is not None and self._connection.is_connected
        return () if is_connected else ("NATS does not answer",)

    async def go_on(self) -> NoReturn:
        """Take events until cancelled. What goes wrong with NATS is logged, and everything begins anew."""
        await self.clock.first()
        failures = 0
        while True:
            began_s = time.monotonic()
            wrong: list[Unavailable | Refused] = []
            try:
                await self._take_all()
            except* (Unavailable, Refused) as group:
                wrong.extend(_leaves(group))
            failures = 0 if time.monotonic() - began_s > PAUSE_MAX_S else failures + 1
            log.warning("ingest_interrupted", error=wrong[0].detail)
            await asyncio.sleep(min(pause_s(failures, wrong[0]), PAUSE_MAX_S))

    async def _take_all(self) -> NoReturn:
        """Take events through one connection. Raises Unavailable or Refused, perhaps several of them."""
        connection = await connect(self._urls, credentials=self._credentials)
        try:
            js = connection.jetstream(timeout=LOOK_S)
            with failures_as_unavailable():
                found = await sources(js, self.place, payload_max=connection.max_payload)
            each = max(1, LANES // len(found))
            self._connection = connection
            async with asyncio.TaskGroup() as group:
                for source in found:
                    batch = max(1, min(MESSAGES_MAX, BYTES_MAX // (source.message_bytes_max * each * len(found))))
                    log.info("ingest_started", stream=source.stream, consumer=source.consumer, batch=batch)
                    for _ in range(each):
                        group.create_task(Lane(self, js, source, batch, connection.max_payload).go_on())
                group.create_task(self._look(js, found))
            raise AssertionError("lanes go on until something goes wrong")
        finally:
            self._connection = None
            with suppress(*FAILURES):
                # What was given back is sent before the connection ends.
                await connection.flush(1)
            with suppress(*FAILURES):
                await connection.close()

    async def _look(self, js: "JetStreamContext", found: Sequence[Source]) -> NoReturn:
        """Measure what waits, again and again."""
        while True:
            for source in found:
                with suppress(*FAILURES):
                    its = await backlog(js, source)
                    # By the system's clock, which NATS goes by, whatever clock we follow.
                    age_s = (datetime.now(UTC) - its.since).total_seconds() if its.since is not None else 0.0
                    self.metrics.ingest.note_backlog(source.consumer, its.messages, max(age_s, 0.0))
            await asyncio.sleep(LOOK_S)


class Lane:
    """Takes batches from one consumer, one after the other; each holds at most `batch` messages."""

    def __init__(self, ingest: Ingest, js: "JetStreamContext", source: Source, batch: int, payload_max: int) -> None:
        self._all, self._js, self._source, self._batch = ingest, js, source, batch
        self._payload_max = payload_max
        self._open: dict[str, Held] = {}
        """The messages it holds, by where their acknowledgement goes."""

    async def go_on(self) -> NoReturn:
        """Take batches until cancelled. Unavailable where NATS is."""
        with failures_as_unavailable():
            asked = await self._js.pull_subscribe_bind(self._source.consumer, self._source.stream)
            while True:
                messages = await self._fetch(asked)
                try:
                    await self._take(messages)
                except Returned:
                    await self._until_saving_works()

    async def _fetch(self, asked: "JetStreamContext.PullSubscription") -> list["Msg"]:
        """What there is, at most a batch. Who asks for many at once may wait in vain for those that another lane got,
        so that is asked for only once one is here and says that there are more."""
        with suppress(TimeoutError):
            messages = await asked.fetch(1, timeout=FETCH_S)
            behind = messages[0].metadata.num_pending + asked.pending_msgs
            if more := min(behind, self._batch - 1):
                with suppress(TimeoutError):
                    messages += await asked.fetch(more, timeout=GATHER_S)
            return messages
        return []

    async def _take(self, messages: Sequence["Msg"]) -> None:
        """Save what these messages say, and acknowledge each. Returned: some are given back."""
        try:
            async with self._in_progress():
                for start in range(0, len(messages), TURN):
                    for message in messages[start : start + TURN]:
                        self._open[message.reply] = _read(message)
                    await asyncio.sleep(0)
                for group in _groups(self._open.values()):
                    await self._save(group)
        finally:
            # Whoever is quicker takes them: nobody has to wait until we are missed.
            for held in self._open.values():
                with suppress(*FAILURES):
                    await held.message.nak()
            self._all.metrics.ingest.note("returned", len(self._open))
            self._open.clear()

    @asynccontextmanager
    async def _in_progress(self) -> AsyncIterator[None]:
        """Tell NATS that the messages held are being worked on, as long as they are."""

        async def tell() -> None:
            while True:
                await asyncio.sleep(self._source.ack_wait_s / 3)
                for held in list(self._open.values()):
                    with suppress(*FAILURES):
                        await held.message.in_progress()

        telling = asyncio.create_task(tell())
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _save(self, group: Sequence[Held]) -> None:
        """Save what a group says, for as long as it takes, and settle it. What fails together is taken apart."""
        began_s, tries, broken = time.monotonic(), 0, 0
        while True:
            error: Exception
            try:
                told = await self._ingest(group)
            except Unavailable as unavailable:
                error = unavailable
            except Refused as refused:
                if refused.code != "id_taken":  # else others were at the same ids until we had enough of it
                    return await self._apart(group, Refusal(refused.code, refused.detail))
                error = refused
            except FAILURES:
                raise
            except Exception as unforeseen:  # the top of a loop: one message must not stop the others
                log.exception("ingest_broken", messages=len(group))
                broken, error = broken + 1, unforeseen
                if len(group) > 1 or broken == BROKEN_MAX:
                    why = f"it fails with {type(unforeseen).__name__}; see `ingest_broken` in the log"
                    return await self._apart(group, Refusal("internal_error", why))
            else:
                return await self._settle(group, told.rejected)
            log.warning("ingest_waits", messages=len(group), error=str(error))
            if time.monotonic() - began_s > HOLD_S:
                raise Returned
            await asyncio.sleep(min(pause_s(tries, error), PAUSE_MAX_S))
            tries += 1

    async def _ingest(self, group: Sequence[Held]) -> Ingested:
        its = self._all
        async with its.turns:
            at = its.clock.now()
            events = [event for held in group for event in held.events]
            received = None
            if not its.clock.follows:
                # Events wait in the stream: one without a time happened when the stream took it, not when we do.
                received = [min(held.message.metadata.timestamp, at) for held in group for _ in held.events]
            told = await ingest(its.store, its.snapshots, events, at, received=received)
        its.metrics.note_events(told.accepted, told.duplicates, len(told.rejected))
        return told

    async def _apart(self, group: Sequence[Held], refusal: Refusal) -> None:
        """Save each by itself; one that is by itself already is refused."""
        if len(group) > 1:
            for held in group:
                await self._save([held])
            return
        self._all.metrics.note_events(0, 0, len(group[0].events))
        group[0].events, group[0].whole = [refusal], True
        await self._settle(group, [Rejected(0, refusal.code, refusal.detail)])

    async def _settle(self, group: Sequence[Held], rejected: Sequence[Rejected]) -> None:
        """Acknowledge a group whose events are committed, those with refused ones once their dead letters are stored.
        `rejected`: by their place among the events of the group."""
        refused = _by_message(group, rejected)
        for place, held in enumerate(group):
            if place not in refused:
                await self._acknowledge(held, "acknowledged")
        for count, (place, its) in enumerate(refused.items()):
            try:
                for each in its:
                    await self._bury(group[place], each)
            except Unavailable as error:
                log.warning("dead_letter_not_stored", error=error.detail, messages=len(refused) - count)
                for left in list(refused)[count:]:
                    await self._return_later(group[left])
                return
            await self._acknowledge(group[place], "dead_letter")

    async def _bury(self, held: Held, rejected: Rejected) -> None:
        body, headers = _dead_letter(held, rejected)
        size = len(body) + sum(len(name) + len(value) + 4 for name, value in headers.items())
        if size + HEADERS_BYTES_MAX > self._payload_max:
            # NATS would take no message so long; the stream has it, by the sequence.
            body, headers = b"", {name: value for name, value in headers.items() if name.startswith(_OURS)}
        await store_dead_letter(self._js, self._all.place.dead_letters, body, headers)
        log.debug("dead_letter", code=rejected.code, detail=rejected.detail, subject=held.message.subject)

    async def _acknowledge(self, held: Held, outcome: str) -> None:
        await held.message.ack()
        del self._open[held.message.reply]
        self._all.metrics.ingest.note(outcome, 1)

    async def _return_later(self, held: Held) -> None:
        await held.message.nak(delay=REFUSED_AGAIN_S)
        del self._open[held.message.reply]
        self._all.metrics.ingest.note("returned", 1)

    async def _until_saving_works(self) -> None:
        """Wait for the database. Who has none takes no messages from those who have one."""
        tries = 0
        while True:
            try:
                async with self._all.store.transaction(looking=True) as tx:
                    await tx.catalogs.load()
                return
            except Unavailable as error:
                await asyncio.sleep(min(pause_s(tries, error), PAUSE_MAX_S))
                tries += 1


_OURS = ("Paygrade-", "Nats-")


def _read(message: "Msg") -> Held:
    try:
        return Held(message, parse_message(message.data, message.headers or {}))
    except Refused as refused:
        return Held(message, [Refusal(refused.code, refused.detail)], whole=True)


def _groups(held: Iterable[Held]) -> list[list[Held]]:
    """Messages whose events make one batch each; one that says more than that stands by itself."""
    groups: list[list[Held]] = []
    room = 0
    for each in held:
        if len(each.events) > room:
            groups.append([])
            room = EVENTS_MAX
        groups[-1].append(each)
        room -= len(each.events)
    return groups


def _by_message(group: Sequence[Held], rejected: Sequence[Rejected]) -> dict[int, list[Rejected]]:
    """What was refused of each message, by its place in the group; each by its place in the message."""
    found: dict[int, list[Rejected]] = {}
    place, first = 0, 0
    for each in rejected:
        while each.index >= first + len(group[place].events):
            first += len(group[place].events)
            place += 1
        found.setdefault(place, []).append(replace(each, index=each.index - first))
    return found


def _dead_letter(held: Held, rejected: Rejected) -> tuple[bytes, dict[str, str]]:
    """What was refused as it came, and headers that say where it stood and why."""
    message, its = held.message, held.message.metadata
    body = message.data if held.whole else part_of(message.data, rejected.index)
    kept = {} if body != message.data else {
        name: value for name, value in (message.headers or {}).items() if not name.lower().startswith(_NOT_KEPT)
    }  # fmt: skip
    return body, {
        **kept,
        "Nats-Msg-Id": f"{its.stream}:{its.sequence.stream}:{rejected.index}",
        "Paygrade-Code": rejected.code,
        "Paygrade-Detail": _plain(rejected.detail),
        "Paygrade-Stream": its.stream,
        "Paygrade-Sequence": str(its.sequence.stream),
        "Paygrade-Subject": _plain(message.subject),
    }


_NOT_KEPT = ("nats-", "paygrade-")
"""Headers that told NATS what to do with the message, and what an earlier dead letter said."""


def _plain(text: str) -> str:
    """Text for a header, which holds one line of ASCII."""
    return text[:DETAIL_MAX].encode("unicode_escape").decode()


def _leaves(group: BaseExceptionGroup[Unavailable | Refused]) -> Iterator[Unavailable | Refused]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
