"""Group commit: concurrent requests to use and hold units are decided together and saved in one transaction.

Laws: nobody is answered before what they were told is saved; the next batch forms, and is decided, while those before
are saved, and none waits for a timer; no account is in two batches at once, so its requests are decided in the order
they came; a batch that fails tells everyone in it, and the next one starts from what is stored.

There are two lanes. Uses of plain counts that are remembered go together in a *quick* batch, of which two are under
way at most; what takes more than that (credits, holds, denials, accounts not remembered, counts that have changed) is
decided on *locked* rows, one batch at a time.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from paygrade.server.operations.usage.answers import Answer
from paygrade.server.operations.usage.optimistic import OptimisticCount, decide_optimistically, save_optimistically
from paygrade.server.operations.usage.requests import Asked
from paygrade.server.operations.usage.use import use_together
from paygrade.values.errors import Refused, Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.store import Store
    from paygrade.server.process.clock import Clock
    from paygrade.server.state.snapshots import Snapshots

log = structlog.get_logger("paygrade.usage")

BATCH_MAX = 256
"""More at once costs hardly less for each, and lets everyone else in this process wait."""
SECOND_MIN = 16
"""So many requests are worth a second quick batch; fewer go when the first is back."""
LOCKED_AFTER_RACE = 4
"""After a race for a count, so many batches lock it: where one was, others are."""
CONTENDED_MAX = 10_000
Waiting = tuple[Asked, "asyncio.Future[Answer]"]


class Batch(Struct, eq=False):
    """Requests under way together, of these accounts; `counts`: what those come to that are decided already."""

    requests: list[Waiting]
    accounts: set[str]
    counts: Sequence[OptimisticCount] = ()


class Lane:
    """Requests that are decided in one way: those that wait for a batch, and the batches under way."""

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []
        self.in_flight: list[Batch] = []


class GroupCommit:
    """Takes requests from any number of tasks of one event loop. `run` answers them, for as long as it runs."""

    def __init__(
        self,
        store: "Store",
        snapshots: "Snapshots",
        clock: "Clock",
        *,
        note_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`note_batch` is told how many requests each batch has."""
        self._store, self._snapshots, self._clock, self._note_batch = store, snapshots, clock, note_batch
        self._quick, self._locked = Lane(), Lane()
        self._contended: dict[str, int] = {}
        """Accounts for a count of which a race was lost, and how many batches more lock it."""
        self._wake = asyncio.Event()
        self._running = False

    async def ask(self, asked: Asked) -> Answer:
        """The answer, once it is saved. Raises Refused or Unavailable."""
        return await self.begin(asked)

    def begin(self, asked: Asked) -> "asyncio.Future[Answer]":
        """The same, for those who do not wait: done once it is saved. Raises Unavailable."""
        if not self._running:
            raise Unavailable("not_ready", "the server is starting or stopping; try again")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._quick.waiting.append((asked, future))
        self._wake.set()
        return future

    async def run(self) -> None:
        """Answer until cancelled."""
        lanes = (self._next_quick, self._save_quick), (self._next_locked, self._save_locked)
        self._running = True
        try:
            async with asyncio.TaskGroup() as saving:
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    for next_batch, save in lanes:
                        if batch := next_batch():
                            self._note_batch(len(batch.requests))
                            saving.create_task(save(batch))
                            self._wake.set()  # what is left may make another, once this one is on its way
                            await asyncio.sleep(0)
        finally:
            self._running = False
            gone = Unavailable("not_ready", "the server is stopping; retry with the same id")
            for lane in (self._quick, self._locked):
                _tell(lane.waiting, gone)
                lane.waiting.clear()
                lane.in_flight.clear()

    def _next_quick(self) -> Batch | None:
        """The next batch of uses that can be decided on what is remembered, decided; the others wait to be decided on
        locked rows, in their order."""
        lane = self._quick
        at_once = 2 if len(lane.waiting) >= SECOND_MIN else 1
        if not lane.waiting or len(lane.in_flight) >= at_once:
            return None
        taken = self._take()
        try:
            decided = decide_optimistically(self._snapshots, [asked for asked, _ in taken], self._clock.now())
        except Exception:  # whatever it was that one of them asked: on locked rows, they are taken apart
            log.exception("batch_not_decided", requests=len(taken))
            self._locked.waiting += taken
            return None
        accounts = {count.key[0] for count in decided.counts}
        left = [taken[place] for place in decided.left]
        self._locked.waiting += [each for each in left if each[0].account not in accounts]
        lane.waiting = [each for each in left if each[0].account in accounts] + lane.waiting
        if not decided.counts:
            return None
        batch = Batch(taken, accounts, decided.counts)
        lane.in_flight.append(batch)
        return batch

    def _take(self) -> list[Waiting]:
        """Take what a quick batch may decide: half of all, so that the other half is decided while it is saved; but
        all that waits of one account, since nothing of that can be decided meanwhile."""
        lane = self._quick
        saving = sum(len(batch.requests) for batch in lane.in_flight)
        room = min(BATCH_MAX, max(SECOND_MIN, (len(lane.waiting) + saving + 1) // 2))
        busy = {account for each in (lane, self._locked) for batch in each.in_flight for account in batch.accounts}
        locked = {asked.account for asked, _ in self._locked.waiting}
        taken: list[Waiting] = []
        accounts: set[str] = set()
        stay: list[Waiting] = []
        for each in lane.waiting:
            account = each[0].account
            if account in busy:
                stay.append(each)
            elif account in locked or account in self._contended:
                self._locked.waiting.append(each)
            elif len(taken) < room or (account in accounts and len(taken) < BATCH_MAX):
                taken.append(each)
                accounts.add(account)
            else:
                stay.append(each)
        lane.waiting = stay
        return taken

    def _next_locked(self) -> Batch | None:
        lane = self._locked
        if not lane.waiting or lane.in_flight:
            return None
        requests, lane.waiting = lane.waiting[:BATCH_MAX], lane.waiting[BATCH_MAX:]
        batch = Batch(requests, {asked.account for asked, _ in requests})
        lane.in_flight.append(batch)
        return batch

    async def _save_quick(self, batch: Batch) -> None:
        asked = [batch.requests[place] for count in batch.counts for place, _ in count.answers]
        try:
            raced = await save_optimistically(self._store, batch.counts)
        except Unavailable as error:
            if error.code == "contended":
                self._locked.waiting += asked
            else:
                _tell(asked, error)
        except Refused:  # an id was there before
            self._locked.waiting += asked
        except Exception:  # as above
            log.exception("batch_not_saved", requests=len(asked))
            self._locked.waiting += asked
        except BaseException as error:
            _tell(asked, _broken(error))
            raise
        else:
            for count in batch.counts:
                if count.key in raced:
                    self._lock_next(count.key[0], [batch.requests[place] for place, _ in count.answers])
                else:
                    for place, answer in count.answers:
                        _answer(batch.requests[place][1], answer)
        finally:
            self._end(self._quick, batch)

    def _lock_next(self, account: str, asked: Sequence[Waiting]) -> None:
        self._locked.waiting += asked
        if len(self._contended) >= CONTENDED_MAX:
            self._contended.clear()
        self._contended[account] = LOCKED_AFTER_RACE

    async def _save_locked(self, batch: Batch) -> None:
        # Who went away has asked all the same: the id was sent, so it is decided.
        try:
            answers = await use_together(
                self._store, self._snapshots, [asked for asked, _ in batch.requests], self._clock.now()
            )
            for (_, future), answer in zip(batch.requests, answers, strict=True):
                _answer(future, answer)
        except Unavailable as error:
            _tell(batch.requests, error)
        except Exception:  # whatever it was that one of them asked, it must not be the ruin of the others
            log.warning("batch_taken_apart", requests=len(batch.requests), exc_info=True)
            await self._save_apart(batch.requests)
        except BaseException as error:
            _tell(batch.requests, _broken(error))
            raise
        finally:
            self._end(self._locked, batch)
            for account in batch.accounts & self._contended.keys():
                self._contended[account] -= 1
                if not self._contended[account]:
                    del self._contended[account]

    async def _save_apart(self, requests: Sequence[Waiting]) -> None:
        for place, (asked, future) in enumerate(requests):
            try:
                (answer,) = await use_together(self._store, self._snapshots, [asked], self._clock.now())
                _answer(future, answer)
            except Refused as refused:
                _answer(future, refused)
            except Unavailable as error:
                # Those before are saved, and so they are answered.
                _tell(requests[place:], error)
                return
            except Exception:  # as above
                log.exception("request_broken", account=asked.account)
                _answer(future, Refused("internal", "this request could not be saved; the log says why"))
            except BaseException as error:
                _tell(requests[place:], _broken(error))
                raise

    def _end(self, lane: Lane, batch: Batch) -> None:
        if batch in lane.in_flight:
            lane.in_flight.remove(batch)
        self._wake.set()


def _tell(batch: Iterable[Waiting], lost: Unavailable) -> None:
    for _, future in batch:
        _answer(future, lost)


def _answer(future: "asyncio.Future[Answer]", answer: Answer | Refused | Unavailable) -> None:
    if future.done():
        return
    if isinstance(answer, Answer):
        future.set_result(answer)
    else:
        future.set_exception(answer)


def _broken(error: BaseException) -> Unavailable:
    return Unavailable("not_ready", f"this request was not saved ({type(error).__name__}); retry with the same id")
