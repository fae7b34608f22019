"""Group commit: concurrent requests to use and hold units are decided together and saved in one transaction.

Laws: nobody is answered before what they were told is saved; the next batch forms, and is decided, while those before
are saved, and none waits for a timer; no account is in two batches at once, so its requests are decided in the order
they came; a batch that fails tells everyone in it, and the next one starts from what is stored.

Plain uses of counts that are remembered go together in a *quick* batch, of which two are under way at most; what takes
more than that (credits, holds, denials, accounts not remembered, counts that have changed) goes together in another.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import structlog

from paygrade.server.operations.usage.answers import Answer
from paygrade.server.operations.usage.optimistic import Plain, decide_plain, save_plain
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
CLOSELY = 4
"""After a race for a count, so many batches decide on it closely: where one was, others are."""
CONTENDED_MAX = 10_000
RACES_MAX = 3
Waiting = tuple[Asked, "asyncio.Future[Answer]"]


class GroupCommit:
    """Takes requests from any number of tasks of one event loop. `run` answers them, for as long as it runs."""

    def __init__(self, store: "Store", snapshots: "Snapshots", clock: "Clock") -> None:
        self._store, self._snapshots, self._clock = store, snapshots, clock
        self._waiting: list[Waiting] = []
        self._closely: list[Waiting] = []
        """What waits for the batch that is decided on locked rows."""
        self._busy: set[str] = set()
        """Accounts in a batch under way."""
        self._contended: dict[str, int] = {}
        """Accounts for a count of which a race was lost, and how many batches more decide on them closely."""
        self._quick = 0
        self._saving = 0
        """Quick batches under way, and how many requests are in them."""
        self._locking = False
        self._wake = asyncio.Event()
        self._running = False

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
            async with asyncio.TaskGroup() as batches:
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    for batch in self._batches():
                        batches.create_task(batch)
                        self._wake.set()  # what is left may make another, once this one is on its way
                        await asyncio.sleep(0)
        finally:
            self._running = False
            gone = Unavailable("not_ready", "the server is stopping; ask again under the same id")
            _tell((*self._waiting, *self._closely), gone)
            self._waiting.clear()
            self._closely.clear()
            self._busy.clear()

    def _batches(self) -> Iterator[Coroutine[None, None, None]]:
        """The batches that can start now, decided as far as that goes without waiting."""
        if self._waiting and (self._quick == 0 or (self._quick == 1 and len(self._waiting) >= SECOND_MIN)):
            batch = self._next()
            plain = self._decide(batch)
            if plain:
                accounts = {each.key[0] for each in plain}
                self._busy |= accounts
                yield self._save_quickly(batch, plain, accounts)
        if self._closely and not self._locking:
            batch, self._closely = self._closely[:BATCH_MAX], self._closely[BATCH_MAX:]
            accounts = {asked.account for asked, _ in batch}
            self._locking = True
            self._busy |= accounts
            yield self._save_closely(batch, accounts)

    def _next(self) -> list[Waiting]:
        """Take what a quick batch may decide: half of all, so that the other half is decided while it is saved; but
        all that waits of one account, since nothing of that can be decided meanwhile."""
        room = min(BATCH_MAX, max(SECOND_MIN, (len(self._waiting) + self._saving + 1) // 2))
        closely = {asked.account for asked, _ in self._closely}
        batch: list[Waiting] = []
        accounts: set[str] = set()
        stay: list[Waiting] = []
        for each in self._waiting:
            account = each[0].account
            if account in self._busy:
                stay.append(each)
            elif account in closely or account in self._contended:
                self._closely.append(each)
            elif len(batch) < room or (account in accounts and len(batch) < BATCH_MAX):
                batch.append(each)
                accounts.add(account)
            else:
                stay.append(each)
        self._waiting = stay
        return batch

    def _decide(self, batch: Sequence[Waiting]) -> list[Plain]:
        """What plain uses come to; the others wait to be decided closely, in their order."""
        try:
            decided = decide_plain(self._snapshots, [asked for asked, _ in batch], self._clock.now())
        except Exception:  # whatever it was that one of them asked: decided closely, they are taken apart
            log.exception("batch_not_decided", requests=len(batch))
            self._closely += batch
            return []
        first = {each.key[0] for each in decided.plain}
        left = [batch[place] for place in decided.left]
        self._closely += [each for each in left if each[0].account not in first]
        self._waiting = [each for each in left if each[0].account in first] + self._waiting
        return decided.plain

    async def _save_quickly(self, batch: Sequence[Waiting], plain: Sequence[Plain], accounts: set[str]) -> None:
        asked = [batch[place] for each in plain for place, _ in each.answers]
        self._quick += 1
        self._saving += len(asked)
        try:
            raced = await save_plain(self._store, plain)
        except Unavailable as error:
            if error.code == "contended":
                self._closely += asked
            else:
                _tell(asked, error)
        except Refused:  # an id was there before
            self._closely += asked
        except Exception:  # as above
            log.exception("batch_not_saved", requests=len(asked))
            self._closely += asked
        except BaseException as error:
            _tell(asked, _broken(error))
            raise
        else:
            for each in plain:
                if each.key in raced:
                    self._decide_closely(each.key[0], [batch[place] for place, _ in each.answers])
                else:
                    for place, answer in each.answers:
                        _answer(batch[place][1], answer)
        finally:
            self._quick -= 1
            self._saving -= len(asked)
            self._busy -= accounts
            self._wake.set()

    def _decide_closely(self, account: str, asked: Sequence[Waiting]) -> None:
        self._closely += asked
        if len(self._contended) >= CONTENDED_MAX:
            self._contended.clear()
        self._contended[account] = CLOSELY

    async def _save_closely(self, batch: Sequence[Waiting], accounts: set[str]) -> None:
        # Who went away has asked all the same: the id was sent, so it is decided.
        try:
            answers = await self._decided([asked for asked, _ in batch])
        except Unavailable as error:
            _tell(batch, error)
        except Exception as error:
            log.exception("batch_broken", requests=len(batch))
            _tell(batch, _broken(error))
        except BaseException as error:
            _tell(batch, _broken(error))
            raise
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                _answer(future, answer)
        finally:
            self._locking = False
            self._busy -= accounts
            for account in accounts & self._contended.keys():
                self._contended[account] -= 1
                if not self._contended[account]:
                    del self._contended[account]
            self._wake.set()

    async def _decided(self, asked: Sequence[Asked]) -> Sequence[Answer | Refused | Unavailable]:
        try:
            return await use_together(self._store, self._snapshots, asked, self._clock.now())
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
    return Unavailable("not_ready", f"this request was not saved ({type(error).__name__}); ask again under the same id")
