"""Group commit: concurrent requests to use and hold units are decided together and saved in one transaction.

Laws: nobody is answered before what they were told is saved; the next batch forms while the one before is saved, and
none waits for a timer; a batch that fails tells everyone in it, and the next one starts from what is stored.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from paygrade.errors import Refused, Unavailable
from paygrade.server.operations.answers import Answer
from paygrade.server.operations.requests import Asked
from paygrade.server.operations.usage import Unsure, use_remembered, use_together

if TYPE_CHECKING:
    from paygrade.postgres.store import Store
    from paygrade.server.clock import Clock
    from paygrade.server.snapshots import Snapshots

log = structlog.get_logger("paygrade.usage")

BATCH_MAX = 1000
RACES_MAX = 3
BATCHES_UNSURE = 16
Waiting = tuple[Asked, "asyncio.Future[Answer]"]


class GroupCommit:
    """Takes requests from any number of tasks of one event loop. `run` answers them, for as long as it runs."""

    def __init__(self, store: "Store", snapshots: "Snapshots", clock: "Clock") -> None:
        self._store, self._snapshots, self._clock = store, snapshots, clock
        self._waiting: list[Waiting] = []
        self._wake = asyncio.Event()
        self._running = False
        self._unsure = 0
        """For how many batches more nothing is decided on what is remembered."""

    async def ask(self, asked: Asked) -> Answer:
        """The answer, once it is saved. Raises Refused or Unavailable."""
        if not self._running:
            raise Unavailable("not_ready", "the server is starting or stopping; ask again")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        self._wake.set()
        return await future

    async def run(self) -> None:
        """Answer until cancelled."""
        self._running = True
        try:
            while True:
                await self._wake.wait()
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                if not self._waiting:
                    self._wake.clear()
                await self._settle(batch)
        finally:
            self._running = False
            gone = Unavailable("not_ready", "the server is stopping; ask again under the same id")
            for _, future in self._waiting:
                _fail(future, gone)
            self._waiting.clear()

    async def _settle(self, batch: Sequence[Waiting]) -> None:
        # Who went away has asked all the same: the id was sent, so it is decided.
        try:
            answers = await self._decided([asked for asked, _ in batch])
        except BaseException as error:
            lost = error if isinstance(error, Unavailable) else _broken(error)
            for _, future in batch:
                _fail(future, lost)
            if not isinstance(error, Exception):
                raise
            if not isinstance(error, Unavailable):
                log.exception("batch_broken", requests=len(batch))
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Refused | Unavailable):
                _fail(future, answer)
            elif not future.done():
                future.set_result(answer)

    async def _decided(self, asked: Sequence[Asked]) -> Sequence[Answer | Refused | Unavailable]:
        try:
            at = self._clock.now()
            return await self._remembered(asked, at) or await use_together(self._store, self._snapshots, asked, at)
        except Unavailable:
            raise
        except Exception as error:  # whatever it was that one of them asked, it must not be the ruin of the others
            if len(asked) == 1 and not _raced(error):
                raise
            log.warning("batch_taken_apart", requests=len(asked), error=str(error))
        answers: list[Answer | Refused | Unavailable] = []
        for one in asked:
            try:
                answers += await self._decided_alone(one)
            except Unavailable as lost:
                # Those before are saved, and so they are answered.
                return [*answers, *[lost] * (len(asked) - len(answers))]
        return answers

    async def _remembered(self, asked: Sequence[Asked], at: datetime) -> Sequence[Answer | Refused] | None:
        """The answers, if what is remembered settles them. Where it lately did not, it is not tried."""
        if self._unsure:
            self._unsure -= 1
            return None
        try:
            return await use_remembered(self._store, self._snapshots, asked, at)
        except Unsure:
            self._unsure = BATCHES_UNSURE
            return None

    async def _decided_alone(self, asked: Asked) -> list[Answer | Refused]:
        for _ in range(RACES_MAX):
            try:
                return await use_together(self._store, self._snapshots, [asked], self._clock.now())
            except Unavailable:
                raise
            except Exception as error:  # as above
                if not _raced(error):
                    log.exception("request_broken", account=asked.account)
                    return [Refused("internal", "this request could not be saved; the log says why")]
                # Another process took the same id for another pool, which only the store can see. It is there by now.
        return [Refused("id_taken", "other requests take one id after the other of these; ask again")]


def _raced(error: Exception) -> bool:
    return isinstance(error, Refused) and error.code == "id_taken"


def _fail(future: "asyncio.Future[Answer]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _broken(error: BaseException) -> Unavailable:
    return Unavailable("not_ready", f"this request was not saved ({type(error).__name__}); ask again under the same id")
