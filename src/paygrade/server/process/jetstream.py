"""NATS JetStream: the way to a stream of usage events, its durable consumers, and where dead letters go.

Laws: streams are made only where somebody asks for it; a consumer that would give a message up, and dead letters that
nobody stores, are refused before anything is taken.
JetStream: https://docs.nats.io/nats-concepts/jetstream/consumers
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import nats.errors
import structlog
from msgspec import Struct
from nats.aio.client import Client
from nats.js import JetStreamContext, api
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from paygrade.values.errors import Refused, Unavailable

log = structlog.get_logger("paygrade.nats")

FAILURES = (nats.errors.Error, OSError, TimeoutError)
"""What the library raises where NATS does not answer, or not as it should."""
CONNECT_S, ANSWER_S = 10.0, 5.0
ACK_WAIT_S = 30.0
ACK_PENDING_MAX = 20_000
"""Messages of a consumer that are under way at all its readers together: no more are given out until some are done."""
PARTITIONS_MAX = 64
MESSAGE_BYTES_MAX = 64 * 1024
"""In a stream that is made here: so large a message may be, and as many of them are held at a time as memory allows."""


class Place(Struct, frozen=True, kw_only=True):
    """Where usage events are. `partitions`: those to take; empty: all of the stream, whatever its partitions."""

    stream: str
    subject: str
    consumer: str
    dead_letters: str
    partitions: tuple[int, ...] = ()

    @property
    def consumers(self) -> Mapping[str, str | None]:
        """The durable consumers to take from, with the subjects that each has; None: all."""
        if not self.partitions:
            return {self.consumer: None}
        head = self.subject.removesuffix(".>")
        return {f"{self.consumer}-{number}": f"{head}.{number}.>" for number in self.partitions}


class Source(Struct, frozen=True):
    """A durable consumer as it is."""

    stream: str
    consumer: str
    subject: str
    ack_wait_s: float
    message_bytes_max: int


class Backlog(Struct, frozen=True):
    """What waits in a consumer: how many messages, and since when the first of them is stored; None: nothing waits."""

    messages: int
    since: datetime | None


async def connect(urls: str, *, credentials: Path | None = None) -> Client:
    """A connection to one of these servers, separated by commas; it finds its way to another one by itself. Unavailable
    `nats_unavailable`; Refused `nats_credentials`."""
    last: list[Exception] = []

    async def note_error(error: Exception) -> None:
        last[:] = [error]
        if connection.is_connected:
            log.warning("nats_error", error=str(error) or type(error).__name__)

    async def note_loss() -> None:
        log.warning("nats_disconnected")

    async def note_return() -> None:
        log.info("nats_reconnected", server=connection.connected_url.netloc if connection.connected_url else None)

    connection = Client()
    try:
        async with asyncio.timeout(CONNECT_S):
            await connection.connect(
                [url.strip() for url in urls.split(",")],
                name="paygrade ingest",
                error_cb=note_error,
                disconnected_cb=note_loss,
                reconnected_cb=note_return,
                max_reconnect_attempts=-1,
                reconnect_time_wait=1,
                user_credentials=str(credentials) if credentials is not None else None,
            )
    except (*FAILURES, ValueError) as error:
        with suppress(*FAILURES):
            await connection.close()
        why = next((text for text in map(str, (*last, error)) if text), "it did not answer in time")
        raise Unavailable("nats_unavailable", f"NATS can't be reached: {why}") from None
    return connection


@contextmanager
def failures_as_unavailable() -> Iterator[None]:
    """What NATS raises, as Unavailable `nats_unavailable`."""
    try:
        yield
    except FAILURES as error:
        raise Unavailable("nats_unavailable", f"NATS failed: {str(error) or type(error).__name__}") from error


async def create_streams(js: JetStreamContext, place: Place, *, partitions: int, replicas: int) -> list[str]:
    """Make what is missing of the stream of events and the one of dead letters; gives the names of those made. With
    several partitions, what is published to `….ACCOUNT` is stored as `….PARTITION.ACCOUNT`. Unavailable."""
    head = place.subject.removesuffix(".>")
    split = None
    if partitions > 1:
        number = f"{{{{partition({partitions},1)}}}}"
        split = api.SubjectTransform(src=f"{head}.*", dest=f"{head}.{number}.{{{{wildcard(1)}}}}")
    wanted = [
        api.StreamConfig(
            name=place.stream,
            subjects=[f"{head}.*" if split else place.subject],
            subject_transform=split,
            max_msg_size=MESSAGE_BYTES_MAX,
            num_replicas=replicas,
        ),
        api.StreamConfig(name=f"{place.stream}_DEAD_LETTERS", subjects=[place.dead_letters], num_replicas=replicas),
    ]
    made = []
    for config in wanted:
        assert config.name is not None
        try:
            await js.stream_info(config.name)
        except NotFoundError:
            try:
                await js.add_stream(config)
            except APIError as error:
                raise Refused(
                    "stream_not_created", f"NATS didn't create `{config.name}`: {error.description}"
                ) from None
            made.append(config.name)
    return made


async def sources(js: JetStreamContext, place: Place, *, payload_max: int) -> list[Source]:
    """The consumers to take from, made where they are missing. Refused `unknown_stream`, `dead_letters_not_stored` or
    `consumer_unfit`."""
    try:
        stream = await js.stream_info(place.stream)
    except NotFoundError:
        advice = "create it, or start once with --create"
        raise Refused("unknown_stream", f"there is no stream `{place.stream}`; {advice}") from None
    try:
        await js.find_stream_name_by_subject(place.dead_letters)
    except NotFoundError:
        advice = "add it to a stream's subjects, or start once with --create"
        raise Refused("dead_letters_not_stored", f"no stream stores `{place.dead_letters}`; {advice}") from None
    size = stream.config.max_msg_size or -1
    found = []
    for name, subject in place.consumers.items():
        its = await _consumer(js, place.stream, name, subject)
        found.append(
            Source(
                place.stream, name, its.filter_subject or ">", its.ack_wait or ACK_WAIT_S,
                min(size, payload_max) if size > 0 else payload_max,
            )
        )  # fmt: skip
    return found


async def backlog(js: JetStreamContext, source: Source) -> Backlog:
    """What waits in a consumer now. Raises FAILURES."""
    info = await js.consumer_info(source.stream, source.consumer)
    waiting = (info.num_pending or 0) + (info.num_ack_pending or 0)
    if not waiting or info.ack_floor is None:
        return Backlog(waiting, None)
    try:
        first = await js.get_msg(source.stream, seq=info.ack_floor.stream_seq + 1, subject=source.subject, next=True)
    except NotFoundError:  # somebody took it meanwhile, or the stream's limits did
        return Backlog(waiting, None)
    return Backlog(waiting, first.time)


async def store_dead_letter(js: JetStreamContext, subject: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Publish a dead letter; it is stored when this returns. Unavailable `dead_letter_not_stored`."""
    try:
        await js.publish(subject, body, timeout=ANSWER_S, headers=dict(headers))
    except NoStreamResponseError:
        raise Unavailable("dead_letter_not_stored", f"no stream stores `{subject}`") from None
    except FAILURES as error:
        raise Unavailable("dead_letter_not_stored", str(error) or type(error).__name__) from None


async def _consumer(js: JetStreamContext, stream: str, name: str, subject: str | None) -> api.ConsumerConfig:
    try:
        its: api.ConsumerConfig = (await js.consumer_info(stream, name)).config
    except NotFoundError:
        wanted = api.ConsumerConfig(
            durable_name=name,
            filter_subject=subject,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_S,
            max_deliver=-1,
            max_ack_pending=ACK_PENDING_MAX,
        )
        try:
            its = (await js.add_consumer(stream, wanted)).config
        except APIError as error:
            raise Refused("consumer_unfit", f"NATS didn't create `{name}`: {error.description}") from None
    wrong = _unfit(its, subject)
    if wrong:
        raise Refused("consumer_unfit", f"the consumer `{name}` {wrong}; name another one with --consumer")
    return its


def _unfit(its: api.ConsumerConfig, subject: str | None) -> str | None:
    """Why a consumer that somebody else made can't be used."""
    filters: Sequence[str] = its.filter_subjects or ([its.filter_subject] if its.filter_subject else [])
    if its.ack_policy != api.AckPolicy.EXPLICIT:
        return "doesn't wait for each message's acknowledgement"
    if its.deliver_subject:
        return "pushes its messages"
    if its.max_deliver is not None and its.max_deliver > 0:
        return f"gives a message up after {its.max_deliver} deliveries"
    if subject is not None and list(filters) != [subject]:
        return f"has other subjects than `{subject}`"
    return None
