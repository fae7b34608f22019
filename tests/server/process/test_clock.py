"""The clock, alone and following one that is set by a test."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import httpx2
import msgspec
import pytest
from structlog.testing import capture_logs

from paygrade.server.process import clock as clock_module
from paygrade.server.process.clock import Clock
from paygrade.simulator.http.serve import Running, running
from paygrade.values.errors import Unavailable
from support.fake_provider import T0
from support.waiting import GIVE_UP_S

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
        async with asyncio.timeout(GIVE_UP_S):
            await until_told(clock)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_now(clock: Clock, expected: datetime) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while clock.now() != expected:
            await asyncio.sleep(0.01)


async def until_asked(followed: Followed, *, times: int) -> None:
    while followed.answers < times:
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


async def test_a_clock_that_comes_late_is_followed_once_it_is_there_and_not_warned_of(followed: Followed) -> None:
    clock = Clock(followed.url)
    with capture_logs() as logged:
        task = asyncio.create_task(clock.follow())
        async with asyncio.timeout(GIVE_UP_S):
            await until_asked(followed, times=2)
            followed.told = Told(T0, running=False)
            await until_told(clock)
        assert clock.now() == T0
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert logged == []


async def test_a_clock_that_stays_away_is_warned_of_once_each_time(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_module, "PATIENCE_S", 0.1)
    clock = Clock(followed.url)
    with capture_logs() as logged:
        task = asyncio.create_task(clock.follow())
        async with asyncio.timeout(GIVE_UP_S):
            while not logged:
                await asyncio.sleep(0.01)
            await until_asked(followed, times=followed.answers + 3)
            followed.told = Told(T0, running=False)
            await until_told(clock)
            followed.told = None
            while len(logged) < 2:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [(entry["event"], entry["url"]) for entry in logged] == [
        ("clock_unavailable", f"{followed.url}/_simulator/clock")
    ] * 2
    assert "503" in logged[0]["error"]


async def test_a_followed_clock_that_is_set_back_does_not_take_time_back(followed: Followed) -> None:
    clock = Clock(followed.url)
    followed.told = Told(T0, running=False)
    async with following(clock):
        followed.told = Told(T0 - timedelta(days=1), running=False)
        answers = followed.answers
        async with asyncio.timeout(GIVE_UP_S):
            while followed.answers < answers + 3:
                await asyncio.sleep(0.01)
        assert clock.now() == T0


@pytest.fixture
def simulator() -> Iterator[Running]:
    with running(start=T0) as simulator:
        yield simulator


async def test_whoever_moved_the_simulators_clock_sees_the_new_time_in_every_server(simulator: Running) -> None:
    clocks = [Clock(simulator.url) for _ in range(3)]
    async with AsyncExitStack() as stack:
        for clock in clocks:
            await stack.enter_async_context(following(clock))
        client = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False, verify=False, timeout=60))
        for day in range(1, 21):
            answer = await client.post(f"{simulator.url}/_simulator/clock", json={"advance": "1d"})
            readings = [clock.now() for clock in clocks]
            assert readings == [T0 + timedelta(days=day)] * 3, answer.text


async def test_a_clock_that_starts_to_run_runs_in_every_server(simulator: Running) -> None:
    clock = Clock(simulator.url)
    async with following(clock), httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as client:
        await client.post(f"{simulator.url}/_simulator/clock", json={"running": True})
        first = clock.now()
        await asyncio.sleep(0.01)
        assert T0 <= first < clock.now()


async def test_a_simulator_that_starts_anew_is_followed_again() -> None:
    with running(start=T0) as first:
        clock, port = Clock(first.url), int(first.url.rpartition(":")[2])
        task = asyncio.create_task(clock.follow())
        async with asyncio.timeout(GIVE_UP_S):
            await until_told(clock)
    later = T0 + timedelta(days=9)
    with running(start=later, port=port):
        await until_now(clock, later)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
