"""The connection of one process to the server: what is known, kept current by two threads of its own.

One follows the stream; the other reads accounts that are asked for and sends what is buffered. Both are started by the
first call that needs them, in whichever process that is.

Laws: there is one stream a process; a fault takes nothing away that is known; no thread, connection, lock or event of a
parent is used in its fork; whatever waits has a bound, also at exit.
"""

import logging
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from math import inf
from time import monotonic, time
from typing import Literal, TypeVar
from uuid import uuid4

import msgspec
from msgspec import Struct

from paygrade.client.backoff import Backoff
from paygrade.client.chores import Chore
from paygrade.client.clock import SILENCES, ServerClock
from paygrade.client.cold_start import ColdStart, SnapshotFile
from paygrade.client.errors import PaygradeError
from paygrade.client.events import Event, EventReader
from paygrade.client.leases import AGAIN_S, LOOK_S, TTL_S, Block, Counts, Key, Leased, LeaseResult, Leases
from paygrade.client.memory import Memory
from paygrade.client.outbox import Waiting
from paygrade.client.process_hooks import at_exit, in_forks, lacks_threads
from paygrade.client.sending import Ingested, Sender
from paygrade.client.transport import Stream, Transport, Unreachable
from paygrade.decisions.following import Beat, Hello, News, Views
from paygrade.values.text import is_chosen_key

T = TypeVar("T")
READ_MAX, STEPS_MAX = 200, 1_000
READ_S, EXIT_S, JOIN_S = 5.0, 3.0, 0.5
STARTED_S = 1.0

log = logging.getLogger("paygrade")
State = Literal["connected", "interrupted", "off"]


class Status(Struct, frozen=True):
    """How things stand. `connected`: changes are heard as they happen; `interrupted`: nothing was heard for `age`
    seconds; `off`: nothing was asked yet, or it is closed. `since` is in seconds of `time.time()`.

    `buffered` events are not sent yet, for `dropped` there was no room, `rejected` the server did not take.
    """

    state: State
    since: float
    age: float
    accounts: int
    buffered: int
    dropped: int
    rejected: int
    detail: str = ""
    file: SnapshotFile = SnapshotFile()


class _Results(Struct):
    results: list[LeaseResult]


class Connection:
    """`known` are the accounts by key. What is known holds without a further look while the wall clock is in
    `[low, high)`."""

    def __init__(self, transport: Transport, memory: Memory, make_outbox: Callable[[], Waiting]) -> None:
        self.memory, self.known = memory, memory.accounts
        self.chores: list[Chore] = []
        self.cold: ColdStart | None = None
        self._transport, self._make_outbox = transport, make_outbox
        self._listeners: list[Callable[[str], None]] = []
        self._state_listeners: list[Callable[[State], None]] = []
        self.closed = False
        self._begin()
        in_forks(weakref.WeakMethod(self._forget_parent))

    def _begin(self) -> None:
        """What no process shares with another."""
        self._pid = os.getpid()
        self.clock = ServerClock()
        self.low, self.high = inf, -inf
        self.leases = Leases()
        self.reading_fails = False
        """Whether the last time an account was to be read, nobody answered."""
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._stepping = threading.Lock()
        self._waiting: dict[str, list[Future[None]]] = {}
        self._threads: list[threading.Thread] = []
        self._stream: Stream | None = None
        self._last_id: str | None = None
        self._state: tuple[State, float, str] = ("off", time(), "")
        self._closing = threading.Event()
        self._look_at_s = inf
        self._came_back = False
        self.sender = Sender(self._make_outbox(), self._send_events, self._changed, self._closing)

    def _forget_parent(self) -> None:
        """This is a fork, maybe about to become another program: nothing is closed, joined or waited for."""
        if self._pid == os.getpid():
            return  # told twice, and at work already
        clock = self.clock
        self.sender.outbox.forget()
        self._begin()
        # What time it is holds here as well, and how old what is known has become.
        self.clock = clock
        clock.lose()
        self._transport.forget()
        self.memory.forget_reading(time())

    # For callers

    def start(self) -> None:
        """Have the threads run."""
        if self._threads or self.closed:
            return
        with self._lock:
            if self._threads or self.closed:
                return
            at_exit(weakref.WeakMethod(self.close))
            started = threading.Event()
            self._threads = [
                threading.Thread(target=self._follow_on, args=(started,), name="paygrade-stream", daemon=True),
                threading.Thread(target=self._work_on, name="paygrade-work", daemon=True),
            ]
            for thread in self._threads:
                thread.start()
        if lacks_threads() or not started.wait(STARTED_S):
            log.error("threads do not run in this process (uWSGI needs --enable-threads): nothing is kept current")

    def ask(self, account: str) -> "Future[None]":
        """Have the account read anew, after this call. What is given back is done when it was, successfully or not."""
        self.start()
        future: Future[None] = Future()
        with self._changed:
            # What cannot be an account is not asked about: the server would refuse those asked about with it, too.
            if self.closed or not is_chosen_key(account):
                future.set_result(None)
                return future
            self.memory.want(account)
            self._waiting.setdefault(account, []).append(future)
            self._changed.notify_all()
        return future

    def ask_soon(self, account: str) -> None:
        """The same, for those who do not wait."""
        self.start()
        if account not in self.memory.to_read and is_chosen_key(account):
            with self._changed:
                self.memory.want(account, anew=False)
                self._changed.notify_all()

    def post(self, path: str, body: object, kind: type[T], *, timeout_s: float, again: bool = True) -> T:
        """Ask the server. Sent once more where it may not have arrived (`again`), so the body has an id that makes it
        count once. Unreachable; PaygradeError."""
        self.start()
        try:
            return self._transport.post(path, body, kind, timeout_s=timeout_s)
        except Unreachable:
            if self.reading_fails or not again:
                raise
            return self._transport.post(path, body, kind, timeout_s=timeout_s)

    def use(self, key: Key, quantity: int, at: datetime, now_s: float) -> Block | None:
        """Use units that this process has leased: the block they were in. None: there is none, or too little in it."""
        with self._lock:
            block = self.leases.blocks.get(key)
            return block if block is not None and block.use(quantity, at, now_s) else None

    def lease(self, key: Key, units: int, claim: int, *, timeout_s: float) -> bool:
        """Ask for units to be leased; whether there are some now. Unreachable."""
        account, feature = key
        body = {
            "account": account,
            "feature": feature,
            "id": uuid4().hex,
            "units": units,
            "claim": claim,
            "ttl_s": TTL_S,
        }
        counts = Counts()
        try:
            told = self.post("/v1/leases", body, Leased, timeout_s=timeout_s)
            view, counts, again_s = told.lease, told.decision, AGAIN_S
        except PaygradeError:
            # What cannot be leased today is hardly leased in a minute.
            view, again_s = None, float(TTL_S)
        with self._changed:
            self._count(account, feature, counts)
            self.leases.begin(key, view, time(), again_s=again_s)
            if view is not None and self._look_at_s == inf:
                self._look_at_s = monotonic() + LOOK_S
                self._changed.notify_all()
        return view is not None

    def step_leases(self, *, timeout_s: float, closing: bool = False, only: Key | None = None) -> None:
        """Claim more of what is used, and give back what is not: one call for all leases, or for one that ends.
        Unreachable."""
        with self._stepping:
            with self._lock:
                now_s = time()
                if only is not None and (block := self.leases.blocks.get(only)) is not None:
                    block.ends = True
                steps = self.leases.look(self.clock.now(now_s), now_s, closing=closing)[:STEPS_MAX]
            if steps:
                told = self._transport.post("/v1/leases/steps", {"steps": steps}, _Results, timeout_s=timeout_s)
                with self._lock:
                    keys = {block.id: key for key, block in self.leases.blocks.items()}
                    for step, result in zip(steps, told.results, strict=True):
                        if step.lease in keys:
                            self._count(*keys[step.lease], result.decision)
                    self.leases.took(steps, told.results, time())

    def count(self, account: str, feature: str, counts: Counts) -> None:
        """Take in what the server answered to a use of ours, before the news of it come."""
        with self._lock:
            self._count(account, feature, counts)

    def _count(self, account: str, feature: str, counts: Counts | None) -> None:
        if counts is not None:
            self.memory.count(account, feature, counts.used, counts.reserved, self.clock.now(time()))

    def put(self, event: bytes) -> bool:
        """Have a usage event sent, in JSON; False: there is no room."""
        self.start()
        return self.sender.put(event)

    def end_file(self, now_s: float) -> None:
        """Forget what is from a snapshot file that has ended."""
        if self.cold is not None and self.cold.is_over(now_s):
            with self._changed:
                self.cold.end()

    def listen(self, listener: Callable[[str], None]) -> Callable[[], None]:
        return _listen(self._listeners, listener)

    def listen_to_state(self, listener: Callable[[State], None]) -> Callable[[], None]:
        self.start()
        return _listen(self._state_listeners, listener)

    def status(self) -> Status:
        state, since, detail = self._state
        now_s, outbox = time(), self.sender.outbox
        self.end_file(now_s)
        file = self.cold.file if self.cold is not None else SnapshotFile()
        if state == "connected" and not self.clock.low <= now_s < self.clock.high:
            state, detail = "interrupted", "nothing was heard for too long"
        age = 0.0 if state == "connected" else self.clock.age(now_s)
        return Status(state, since, age, len(self.known), len(outbox), outbox.dropped, outbox.rejected, detail, file)

    def close(self, timeout_s: float = EXIT_S) -> None:
        """Send what is buffered and end the threads. What is known stays, and is stale from now on."""
        if self.closed:
            return
        self.closed = True
        until_s = monotonic() + timeout_s
        if self.leases.blocks:
            try:
                self.step_leases(timeout_s=timeout_s / 2, closing=True)
            except (Unreachable, PaygradeError) as error:
                log.warning("what was leased and not used comes back by itself, or stays counted: %s", error)
        self.sender.flush(until_s - monotonic())
        for chore in self.chores:
            if chore.at_end:
                chore.do(inf)
        self._closing.set()
        with self._changed:
            self._resolve(self._all_waiting())
            self._changed.notify_all()
        if self._stream is not None:
            self._stream.end()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(JOIN_S)
        self.sender.outbox.close()
        # A server that ends would wait for whoever keeps a connection.
        self._transport.close()
        self._lose("off", "closed")

    # The stream

    def _follow_on(self, started: threading.Event) -> None:
        started.set()
        backoff = Backoff()
        while not self._closing.is_set():
            asked_s, detail = None, "the stream ended"
            try:
                with self._transport.stream("/v1/stream", self._resuming(), silence_s=self._silence_s()) as stream:
                    self._stream = stream
                    self._read(stream, backoff)
            except Unreachable as error:
                asked_s, detail = error.retry_after_s, str(error)
            except PaygradeError as error:
                detail = error.detail
            except (msgspec.MsgspecError, ValueError) as error:
                self._last_id, detail = None, f"the stream cannot be read: {error}"
            self._stream = None
            if self._closing.is_set():
                return
            if self._lose("interrupted", detail):
                _tell(self._state_listeners, self._state[0])
            self._closing.wait(backoff.wait_s(asked_s))

    def _read(self, stream: Stream, backoff: Backoff) -> None:
        reader = EventReader()
        for part in stream.parts():
            for event in reader.read(part):
                self._hear(event, backoff)
                if event.name == "hello":
                    _tell(self._state_listeners, self._state[0])
            if self._closing.is_set():
                return

    def _hear(self, event: Event, backoff: Backoff) -> None:
        now_s = time()
        with self._changed:
            connected = self._state[0] == "connected"
            if connected and not self.clock.low <= now_s < self.clock.high:
                # This process slept, or its clock jumped: what is read now was sent long ago.
                raise Unreachable("nothing was heard for too long")
            match event.name:
                case "hello":
                    hello = _hello.decode(event.data)
                    self.clock.beat_s = max(0.1, hello.beat_s)
                    if hello.resumed == "full":
                        self.memory.want_all(now_s, hello.catalog)
                    self.clock.hear(hello, now_s)
                    self._state = ("connected", now_s, "")
                    backoff.succeeded()
                    self._came_back = True
                    self._changed.notify_all()
                case "news":
                    # What was missed comes before the hello that says that all of it is here.
                    self.memory.hear(_news.decode(event.data), now_s, late=not connected)
                    if connected:
                        self.clock.hear_something(now_s)
                case "beat" if connected:
                    self.clock.hear(_beat.decode(event.data), now_s)
                case _:
                    return  # of a newer server
            if event.id is not None:
                self._last_id = event.id
            self._look()
            if self.memory.to_read:
                self._changed.notify_all()

    def _look(self) -> None:
        """Whether all that is known holds without a further look."""
        if self.memory.unsure:
            self.low, self.high = inf, -inf
        else:
            self.low, self.high = self.clock.low, self.clock.high

    def _lose(self, state: State, detail: str) -> bool:
        """Nothing is heard from now on; whether that is news."""
        with self._changed:
            before, since_s, _ = self._state
            if before == "connected" and state != "off":
                log.warning("%s: %s", state, detail)
            self._state = (state, since_s if before == state else time(), detail)
            self.clock.lose()
            self._look()
        return before != state

    def _resuming(self) -> dict[str, str]:
        headers = {"accept": "text/event-stream"}
        return headers if self._last_id is None else {**headers, "last-event-id": self._last_id}

    def _silence_s(self) -> float:
        return SILENCES * self.clock.beat_s

    # Reading and sending

    def _work_on(self) -> None:
        reading, sending, leasing, wait_s = Backoff(), Backoff(), Backoff(), 0.0
        while not self._closing.is_set():
            with self._changed:
                due_s = min(self.sender.due_s, self._look_at_s, *(its.due_s for its in self.chores)) - monotonic()
                if wait_s > 0:
                    # A failure is waited out, whatever else is asked for meanwhile: it would fail as well, until the
                    # server is heard again.
                    self._changed.wait_for(lambda: self._closing.is_set() or self._came_back, wait_s)
                elif not self.memory.to_read and due_s > 0:
                    self._changed.wait(None if due_s == inf else due_s)
                self._came_back = False
                asked = self.memory.begin(READ_MAX)
                # Who asks from now on wants to know more than this reading will tell.
                waiting = [future for account in asked for future in self._waiting.pop(account, ())]
                now_s = monotonic()
                sends, looks = self.sender.due_s <= now_s, self._look_at_s <= now_s
            if self._closing.is_set():
                return
            wait_s = 0.0
            if asked:
                wait_s = self._read_accounts(asked, waiting, reading)
            if looks:
                wait_s = max(wait_s, self._look_after_leases(leasing))
            if sends:
                wait_s = max(wait_s, self._send(sending))
            for chore in self.chores:
                chore.do(monotonic())

    def _read_accounts(self, asked: list[str], waiting: "list[Future[None]]", backoff: Backoff) -> float:
        """Read these; for how long to wait before the next."""
        try:
            views = self._transport.post("/v1/snapshots", {"accounts": asked}, Views, timeout_s=READ_S)
            with self._changed:
                if self._state[0] == "off":
                    self.clock.hear(views, time())
                    self.clock.lose()
                changed = self.memory.take(asked, views)
                self.reading_fails = False
                self._look()
                self._resolve(waiting)
        except (Unreachable, PaygradeError, msgspec.ValidationError) as error:
            with self._changed:
                self.reading_fails = True
                if self._state[0] == "off":
                    self._state = ("interrupted", time(), str(error))
                self.memory.give_up(asked, time())
                self._look()
                # Everyone is answered by what is known: nobody waits to learn the same again.
                self._resolve([*waiting, *self._all_waiting()])
            return backoff.wait_s(error.retry_after_s if isinstance(error, Unreachable) else None)
        backoff.succeeded()
        for account in changed:
            _tell(self._listeners, account)
        return 0.0

    def _all_waiting(self) -> "list[Future[None]]":
        found = [future for futures in self._waiting.values() for future in futures]
        self._waiting.clear()
        return found

    def _resolve(self, futures: "list[Future[None]]") -> None:
        for future in futures:
            # Whoever asked may have given up, which cancels it.
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    def _look_after_leases(self, backoff: Backoff) -> float:
        """Claim more and give back; for how long to wait before the next try."""
        try:
            self.step_leases(timeout_s=READ_S)
        except (Unreachable, PaygradeError) as error:
            log.warning("leases wait to be told to the server: %s", error)
            return backoff.wait_s(error.retry_after_s if isinstance(error, Unreachable) else None)
        backoff.succeeded()
        with self._lock:
            self._look_at_s = monotonic() + LOOK_S if self.leases.blocks else inf
        return 0.0

    def _send(self, backoff: Backoff) -> float:
        """Send one batch; for how long to wait before the next try."""
        try:
            self.sender.send()
        except (Unreachable, PaygradeError) as error:
            return backoff.wait_s(error.retry_after_s if isinstance(error, Unreachable) else None)
        backoff.succeeded()
        return 0.0

    def _send_events(self, body: bytes, timeout_s: float) -> Ingested:
        return self._transport.send("/v1/events", body, Ingested, timeout_s=timeout_s)


_hello, _news, _beat = msgspec.json.Decoder(Hello), msgspec.json.Decoder(News), msgspec.json.Decoder(Beat)


def _listen(listeners: list[Callable[[T], None]], listener: Callable[[T], None]) -> Callable[[], None]:
    listeners.append(listener)
    return lambda: listeners.remove(listener) if listener in listeners else None


def _tell(listeners: list[Callable[[T], None]], told: T) -> None:
    for listener in tuple(listeners):
        try:
            listener(told)
        except Exception:  # whatever a listener does, the others are called, and this thread goes on
            log.exception("a listener failed for `%s`", told)
