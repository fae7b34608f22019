"""The clock, alone and following one that is set by a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from paygrade.server.process.clock import Clock
from paygrade.values.errors import Unavailable
from support.fake_provider import T0

pytestmark = pytest.mark.anyio


class Told(msgspec.Struct):
    """What the clock that is followed says."""

    now: datetime
    running: bool
    seed: int = 1


class Followed:
    """A clock behind HTTP."""

    def __init__(self) -> None:
        self.told: Told | None = None
        self.url = ""
        self.answers = 0
        self.connections: set[asyncio.Task[None] | None] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(asyncio.current_task())
        # Whoever stops following may leave in the middle of an answer.
        with suppress(ConnectionError):
            while line := await reader.readline():
                if line == b"\r\n":
                    await self.tell(writer)
        writer.close()

    async def tell(self, writer: asyncio.StreamWriter) -> None:
        status = "200 OK" if self.told else "503 Service Unavailable"
        body = msgspec.json.encode(self.told)
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        self.answers += 1


@pytest.fixture
async def followed() -> AsyncIterator[Followed]:
    clock = Followed()
    server = await asyncio.start_server(clock.answer, "127.0.0.1", 0)
    clock.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield clock
    server.close()
    # A connection is over once the one who asks has gone, which every test sees to.
    await asyncio.gather(*(connection for connection in clock.connections if connection))


@asynccontextmanager
async def following(clock: Clock) -> AsyncIterator[None]:
    """Follow until the end of the block, and wait until that is over."""
    task = asyncio.create_task(clock.follow())
    try:
        async with asyncio.timeout(10):
            await until_told(clock)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_now(clock: Clock, expected: datetime) -> None:
    async with asyncio.timeout(10):
        while clock.now() != expected:
            await asyncio.sleep(0.01)


async def until_told(clock: Clock) -> None:
    while True:
        try:
            clock.now()
            return
        except Unavailable:
            await asyncio.sleep(0.01)


def test_alone_it_is_the_systems_clock_and_never_goes_back() -> None:
    clock = Clock()
    before = datetime.now(UTC)
    readings = [clock.now() for _ in range(100)]
    assert readings == sorted(readings)
    assert before <= readings[0]
    assert readings[-1] <= datetime.now(UTC)


async def test_before_a_followed_clock_answers_there_is_no_time(followed: Followed) -> None:
    clock = Clock(followed.url)
    with pytest.raises(Unavailable):
        clock.now()
    followed.told = Told(T0, running=False)
    async with following(clock):
        assert clock.now() == T0


async def test_a_clock_that_stands_moves_when_it_is_moved(followed: Followed) -> None:
    clock = Clock(followed.url)
    followed.told = Told(T0, running=False)
    async with following(clock):
        followed.told = Told(T0 + timedelta(days=3), running=False)
        await until_now(clock, T0 + timedelta(days=3))
        assert clock.now() == clock.now()


async def test_a_clock_that_runs_goes_on_between_answers(followed: Followed) -> None:
    clock = Clock(followed.url)
    followed.told = Told(T0, running=True)
    async with following(clock):
        pass
    first = clock.now()
    await asyncio.sleep(0.01)
    assert T0 <= first < clock.now()


async def test_a_clock_that_comes_late_is_followed_once_it_is_there(followed: Followed) -> None:
    clock = Clock(followed.url)
    task = asyncio.create_task(clock.follow())
    async with asyncio.timeout(10):
        while followed.answers < 2:
            await asyncio.sleep(0.01)
        followed.told = Told(T0, running=False)
        await until_told(clock)
    assert clock.now() == T0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_followed_clock_that_is_set_back_does_not_take_time_back(followed: Followed) -> None:
    clock = Clock(followed.url)
    followed.told = Told(T0, running=False)
    async with following(clock):
        followed.told = Told(T0 - timedelta(days=1), running=False)
        answers = followed.answers
        async with asyncio.timeout(10):
            while followed.answers < answers + 3:
                await asyncio.sleep(0.01)
        assert clock.now() == T0
