"""One seeded run: a shop, Stripe, the network, servers, workers, an operator and the database, for some weeks.

Laws: everything that happens is drawn from one `random.Random(seed)` and happens in one thread on the loop's clock;
the same seed gives the same run, to the last statement, in any process; what runs between the network and the
database is our own code, unchanged.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from datetime import datetime
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from paygrade.catalog.parse import parse
from paygrade.postgres.store import Store
from paygrade.postgres.subjects import Claim
from paygrade.providers.stripe.events import refs
from paygrade.server.operations.sync.inbox import receive_event
from paygrade.server.operations.sync.repair import Sweep, load_sweep
from paygrade.server.process import retries
from paygrade.server.process.clock import Clock
from paygrade.server.workers.claims import give_back, take
from paygrade.server.workers.polls import poll_events, polls_of
from paygrade.server.workers.sweeps import run_sweep, start_sweep_regularly, sweeps_of
from paygrade.server.workers.sync import SUBJECTS, sync_subject
from paygrade.values.errors import Unavailable
from simulation.merchant import DAY_S, DOCUMENT, Shop
from simulation.subscribers import Owners

from .changing import Changing
from .hostile import Backend, Database
from .loop import VirtualLoop
from .operator import Operator, succeeded
from .provider import EngineProvider, Event, Network, Stripe, concerned
from .tables import Tables
from .weather import drawn_weather, has_owners

T = TypeVar("T")

CATALOG = parse(DOCUMENT, lines={}, version=1)
WORKERS = 3
LOOK_FIRST_S, LOOK_MAX_S, LOOK_RARER = 1.0, DAY_S, 10
HEARING = 0.4
"""How often a worker hears that there is something to be read; else it finds out when it looks."""
DRAINED_WITHIN_S = 40 * DAY_S


class LoopClock(Clock):
    """The loop's time, as the one source of time of every process."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def now(self) -> datetime:
        return self._loop.now()


class Process:
    """Tasks that live and die together; `loops` of them go on until then."""

    def __init__(self, loops: int = 0) -> None:
        self.loops = loops
        self.tasks: dict[asyncio.Task[Any], None] = {}

    def start(self, doing: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(doing)
        self.tasks[task] = None
        task.add_done_callback(self.tasks.pop)
        return task

    @property
    def reads(self) -> bool:
        return len(self.tasks) > self.loops

    def kill(self) -> None:
        for task in self.tasks:
            task.cancel()


class Arrival(Struct, frozen=True):
    """A delivery that was answered 2xx."""

    subject: str | None
    event_id: str


Applied = Callable[[Event], Awaitable[None]]
"""A wrong rule of sync: what it does with an event that has arrived."""


class Run:
    """A world under way. `play` it, then look at what came of it."""

    def __init__(self, seed: int, backend_on: Callable[[Callable[[], datetime]], Backend] | None = None) -> None:
        self.seed = seed
        self.draw = random.Random(seed)
        # Whatever else runs in this process draws from elsewhere.
        self._context = copy_context()
        self._context.run(retries.DRAWN.set, random.Random(seed))
        self.weather = drawn_weather(self.draw)
        # Without sockets, signals and pipes, which mypy misses.
        self.loop = VirtualLoop(self.draw, thread_s=lambda: self.provider.thread_s())  # type: ignore[abstract]
        self.clock = LoopClock(self.loop)
        self.trace: list[str] = []
        self.stripe = Stripe(self.loop, seed)
        self.provider = EngineProvider(self.stripe, self.loop, self.draw, self.weather.network)
        self.provider.page_size = self.weather.page_size
        backend = backend_on(self.loop.now) if backend_on else Tables(CATALOG, self.loop.now)
        self.database = Database(backend, self.draw, self.loop.now, self.weather.crashes)
        self.store = cast(Store, self.database)
        self.shop = Shop(self.stripe, self.loop, self.draw, self.note)
        self.arrivals: list[Arrival] = []
        self.bodies: dict[str, bytes] = {}
        self.operator = Operator(self)
        self.server = Process()
        self.lost: set[str] = set()
        """The customers of whom an event was lost."""
        self.broken: list[str] = []
        """Exceptions that nothing in our code expects."""
        self.applied: Applied | None = None
        self.probe: Callable[[], None] = lambda: None
        self.hasty = False
        """Everything happens within a minute or so."""
        self.cleared = False
        """Nothing gets lost, late or broken any more."""
        self.changing = Changing(self) if has_owners(seed) else None
        self.owners = Owners(self, self.changing) if self.changing is not None else None
        self._on_the_way: set[asyncio.Task[None]] = set()
        self._held_back: list[Event] = []
        self._workers: list[Process] = []
        self._wakes: list[asyncio.Event] = []
        self._repairs: list[asyncio.Event] = []
        self._moved = asyncio.Event()

    def note(self, what: str) -> None:
        self.trace.append(f"{self.loop.now():%m-%d %H:%M:%S.%f}"[:-3] + f"  {what}")

    def play(self, happenings: int) -> None:
        """Let it happen, let the weather clear, and let everything that is on its way arrive and be read."""
        self._let(self._play(happenings))

    def sweep(self) -> None:
        """Sweep in the weather of before, but that nothing gets lost, until it is through; and read everything."""
        self._let(self._sweep())

    def sweep_again(self) -> Sweep:
        """Sweep while nothing happens, nor time passes for Stripe; and read everything."""
        return self._let(self._sweep_again())

    def receive_again(self) -> None:
        """Deliver every event that ever arrived once more, and read whatever would have to be read."""
        self._let(self._receive_again())

    def close(self) -> None:
        """End whatever still runs."""
        self.cleared = True
        for process in (self.server, *self._workers):
            process.kill()
        self._context.run(self.loop.finish)

    def _let(self, happen: Coroutine[Any, Any, T]) -> T:
        return self._context.run(self.loop.run_until_complete, happen)

    async def _play(self, happenings: int) -> None:
        self.stripe.sent = self._send
        self.database.hear = self._hear
        time_passes = asyncio.create_task(self._let_stripe_act())
        if self.applied is None:
            self._wakes = [asyncio.Event() for _ in range(WORKERS)]
            self._repairs = [asyncio.Event() for _ in range(2 * WORKERS)]
            self._workers = [self._start_worker(number) for number in range(WORKERS)]
            await self._poll_to_the_end()
        operator = asyncio.create_task(self.operator.operate(happenings))
        for _ in range(happenings):
            self.shop.happen()
            self._moved.set()
            if self.owners is not None and self.applied is None:
                self.owners.happen()
            if self.draw.random() < self.weather.disaster:
                await self._strike()
            pause_s = self.pause_s()
            for _ in range(5 if pause_s > DAY_S else 1):
                await asyncio.sleep(pause_s / 5 if pause_s > DAY_S else pause_s)
                self.probe()
        self.calm()
        self._release()
        await operator
        if self.owners is not None:
            await self.owners.finish()
        if self.applied is None:
            if self.weather.swept_at_once:
                await self._ask_for_a_sweep()
            await self._poll_to_the_end()
        await self._drain()
        time_passes.cancel()

    def calm(self) -> None:
        self.note("the weather clears")
        self.cleared = True
        self.database.calm()
        self.database.up = True
        self.provider.network = Network()

    def pause_s(self) -> float:
        """Most of it happens at once; then nothing for weeks."""
        if self.hasty:
            return self.draw.choice((0.0, 0.5, 5.0)) * self.draw.random()
        least, most = self.draw.choices(
            ((0, 0), (0, 1), (1, 30), (30, 600), (3600, 8 * 3600), (DAY_S, 6 * DAY_S), (25 * DAY_S, 40 * DAY_S)),
            (40, 18, 18, 8, 5, 6, 5),
        )[0]
        return least + (most - least) * self.draw.random()

    async def _let_stripe_act(self) -> None:
        while True:
            due_s = self.stripe.due_s()
            self._moved.clear()
            wait_s = None if due_s is None else max(0.0, due_s - self.loop.time())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), wait_s)
            self.stripe.catch_up()

    # The network

    def _send(self, events: list[Event]) -> None:
        for event in events:
            self._held_back.append(event)
            if event["type"].startswith("customer."):
                self.note(f"Stripe: {event['type']} {event['data']['object'].get('status', '')} {event['id']}")
        if self.cleared or self.draw.random() >= self.weather.burst:
            self._release()

    def _release(self) -> None:
        """Let what was held back go all at once."""
        events, self._held_back = self._held_back, []
        for event in events:
            copies = [event]
            if self.draw.random() < self.weather.doubled:
                copies.append({**event, "id": f"{event['id']}_b"})
            for copy in copies:
                if not self.cleared and self.draw.random() < self.weather.loss:
                    self.lost.add(concerned(copy) or "")
                    self.note(f"network: {copy['id']} is lost")
                    continue
                times = 2 if self.draw.random() < self.weather.duplicate else 1
                wire = _thinned(copy) if self.draw.random() < self.weather.thin else copy
                for _ in range(times):
                    task = asyncio.get_running_loop().create_task(self._deliver(wire, copy))
                    self._on_the_way.add(task)
                    task.add_done_callback(self._on_the_way.discard)

    def _delay_s(self) -> float:
        late = self.draw.random() < self.weather.late
        ranges = ((10, 300), (300, 7200), (7200, 3 * DAY_S)) if late else ((0, 0), (0, 1), (1, 10))
        least, most = self.draw.choice(ranges)
        return least + (most - least) * self.draw.random()

    async def _deliver(self, wire: Event, event: Event) -> None:
        """Deliver until it is acknowledged."""
        body = msgspec.json.encode(wire)
        ref = refs(msgspec.json.decode(body))
        await asyncio.sleep(self._delay_s())
        retry_s = 1.0
        while not await self._received(ref, body):
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, 3600.0)
        self.arrivals.append(Arrival(ref.subject, ref.id))
        self.bodies[ref.id] = body
        if self.applied is not None:
            await self.applied(event)

    async def _received(self, ref: Any, body: bytes) -> bool:
        """Whether the server answered 2xx."""
        request = self.server.start(receive_event(self.store, ref=ref, body=body, at=self.clock.now()))
        return await succeeded(request)

    # Processes

    def _start_worker(self, number: int) -> Process:
        process = Process(loops=3)
        process.start(self._work(process, number))
        process.start(self._repair(self._sweep_if_due, self._repairs[number]))
        process.start(self._repair(self._poll_if_due, self._repairs[WORKERS + number]))
        if self.changing is not None:
            self.changing.start(process)
        return process

    async def _work(self, process: Process, number: int) -> None:
        """What `workers.claims.work` does with subjects, looking ever more rarely while there is nothing to be read."""
        look_s = LOOK_FIRST_S
        while True:
            wake = self._wakes[number]
            wake.clear()
            claims: tuple[Claim, ...] = ()
            with suppress(Unavailable):
                claims = await take(self.store, SUBJECTS, limit=self.weather.limit, at=self.clock.now())
            for claim in claims:
                process.start(self._read(claim, wake))
            look_s = LOOK_FIRST_S if claims else min(look_s * LOOK_RARER, LOOK_MAX_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), look_s)

    async def _read(self, claim: Claim, wake: asyncio.Event) -> None:
        try:
            outcome = await sync_subject(self.store, self.provider, self.clock, claim)
        except Exception as error:  # noqa: BLE001  # as the top of the worker's loop does
            outcome = "failed"
            if not isinstance(error, Unavailable):
                self.broken.append(f"{claim.subject}: {error!r}")
            with suppress(Unavailable):
                await give_back(self.store, SUBJECTS, claim, error)
        self.note(f"worker: {claim.subject} fence {claim.fence}: {outcome}")
        wake.set()

    async def _repair(self, look: Callable[[], Awaitable[str]], wake: asyncio.Event) -> None:
        """What the workers `sweep` and `poll` do, looking ever more rarely unless something failed."""
        look_s = LOOK_FIRST_S
        while True:
            wake.clear()
            try:
                outcome = await look()
            except Unavailable:
                outcome = "interrupted"
            except Exception as error:  # noqa: BLE001  # as the top of the worker's loop does
                self.broken.append(f"repair: {error!r}")
                outcome = "nothing"
            if outcome != "nothing":
                self.note(f"repair: {outcome}")
            failed = outcome not in ("nothing", "finished", "polled")
            look_s = LOOK_FIRST_S if failed else min(look_s * LOOK_RARER, self.weather.looks_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), look_s)
                look_s = LOOK_FIRST_S

    async def _sweep_if_due(self) -> str:
        every = self.weather.sweep_every
        if every is not None and await start_sweep_regularly(self.store, "stripe", every=every, at=self.clock.now()):
            self.note("repair: a sweep begins")
        for claimed in await take(self.store, sweeps_of("stripe"), limit=1, at=self.clock.now()):
            return await run_sweep(self.store, self.provider, self.clock, claimed)
        return "nothing"

    async def _poll_if_due(self) -> str:
        if not self.weather.polls:
            return "nothing"
        for claimed in await take(self.store, polls_of("stripe"), limit=1, at=self.clock.now()):
            return await poll_events(self.store, self.provider, self.clock, claimed, webhooks=True)
        return "nothing"

    async def _poll_to_the_end(self) -> None:
        """Until a poll that began after now is through."""
        while self.weather.polls:
            with suppress(Unavailable):
                if await self._poll_if_due() == "polled":
                    return
            await asyncio.sleep(60)

    async def _ask_for_a_sweep(self) -> int:
        self.note("operator: a sweep, please")
        return await self.operator.ask_for_a_sweep()

    def have_a_look(self) -> None:
        for wake in self._repairs:
            wake.set()

    def _hear(self) -> None:
        for wake in self._wakes:
            if self.draw.random() < HEARING:
                wake.set()

    async def _strike(self) -> None:
        what = self.draw.randrange(4 if self.applied is None else 2)
        self.note(f"disaster: {('the database restarts', 'a server dies', 'a worker dies', 'all workers die')[what]}")
        match what:
            case 0:
                self.database.crash()
                await asyncio.sleep(self.draw.choice((0.1, 3.0, 30.0)))
                self.database.up = True
            case 1:
                self.server.kill()
            case 2:
                self._replace_worker(self.draw.randrange(WORKERS))
            case 3:
                for number in range(WORKERS):
                    self._replace_worker(number)

    def _replace_worker(self, number: int) -> None:
        self._workers[number].kill()
        self._workers[number] = self._start_worker(number)

    # The end

    async def _drain(self) -> None:
        """Until everything has arrived and nothing waits to be read."""
        deadline_s = self.loop.time() + DRAINED_WITHIN_S
        while True:
            self.stripe.catch_up()
            dump = self.database.backend.dump()
            waiting = self.applied is None and any(row.dirty > row.synced for row in dump.subjects.values())
            reading = any(process.reads for process in self._workers)
            changing = self.applied is None and self.changing is not None and self.changing.waits(dump)
            if not (self._on_the_way or waiting or reading or dump.sweeping or changing):
                return
            if changing and self.changing is not None:
                self.changing.have_a_look()
            if dump.sweeping:
                self.have_a_look()
            assert self.loop.time() < deadline_s, "does not come to rest"
            await asyncio.sleep(self.draw.choice((1, 60, 3600)) if not self._on_the_way else 3600)

    async def _sweep(self) -> None:
        time_passes = asyncio.create_task(self._let_stripe_act())
        self.database.crashes = self.weather.crashes
        self.provider.network = replace(self.weather.network, lag_s=0.0)
        await self._ask_for_a_sweep()
        while self.draw.random() < min(0.8, 3 * self.weather.disaster):
            await asyncio.sleep(self.draw.choice((0.0, 0.5, 5.0, 60.0)) * self.draw.random())
            await self._strike()
        self.calm()
        await self._drain()
        time_passes.cancel()

    async def _sweep_again(self) -> Sweep:
        id = await self._ask_for_a_sweep()
        await self._drain()
        return await load_sweep(self.store, id=id)

    async def _receive_again(self) -> None:
        for arrival in list(self.arrivals):
            body = self.bodies[arrival.event_id]
            ref = refs(msgspec.json.decode(body))
            await receive_event(self.store, ref=ref, body=body, at=self.clock.now())


def _thinned(event: Event) -> Event:
    """The same event as API v2 would tell it (docs.stripe.com/event-destinations#thin-events)."""
    thing = event["data"]["object"]
    # An upcoming invoice does not exist yet, so no thin event could lead to it.
    if thing["object"] not in ("customer", "subscription", "invoice") or "id" not in thing:
        return event
    created = datetime.fromtimestamp(event["created"]).astimezone()
    return {
        "id": event["id"],
        "object": "v2.core.event",
        "type": f"v1.{event['type']}",
        "created": created.isoformat(),
        "related_object": {"id": thing["id"], "type": thing["object"]},
    }
