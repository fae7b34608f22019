"""The broadcast: what changes of accounts and balances, numbered, for all who follow this process.

Laws: what is told was taken in here before, so whoever asks after hearing of a change finds it; a follower is told
everything that concerns it, or its stream ends and it begins anew; who resumes is told all it missed, if that is still
kept, or to read everything anew; nothing waits for a slow follower.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Collection, Iterable
from typing import Literal

import msgspec
from msgspec import Struct

from paygrade.decisions.following import News, Notification
from paygrade.values.errors import Unavailable

GATHER_S = 0.005
"""How long counts are gathered, so that a busy account is one piece of news, not hundreds. Changes go out at once."""
KEPT_MAX, WAITING_MAX = 5_000, 2_000
"""Pieces of news kept for those who resume, and waiting for one follower."""
FOLLOWERS_MAX, PAGES_MAX = 2_000, 100
"""Streams in all, and of pages of one account: nobody who holds a token may take the room of all."""
BUSY_S = 5
"""When to come back, to those for whom there is no room."""

Resumed = Literal["full", "changes", "none"]
_encode = msgspec.json.Encoder().encode


class _Piece(Struct, frozen=True):
    number: int
    id: str
    news: News
    whole: bytes
    """As everyone is sent it who follows all accounts."""


class Follower:
    """One who follows: `accounts`, or all (None). `is_of_page`: by an account token."""

    def __init__(self, accounts: Collection[str] | None, *, is_of_page: bool = False) -> None:
        self.page = tuple(accounts or ()) if is_of_page else None
        self._accounts = frozenset(accounts) if accounts is not None else None
        self._waiting: deque[tuple[bytes, tuple[str, ...]]] = deque()
        self._ended = False
        self._woken = asyncio.Event()

    async def next(self, patience_s: float) -> tuple[bytes, tuple[str, ...]] | None:
        """The next event, and which accounts changed by it; None: nothing within this time. Raises EOFError where
        the stream ends."""
        if not self._waiting and not self._ended:
            self._woken.clear()
            # The event stays set however the wait ends, so nothing is lost with a wait that is given up.
            waiting = asyncio.ensure_future(self._woken.wait())
            try:
                await asyncio.wait({waiting}, timeout=patience_s)
            finally:
                waiting.cancel()
        if self._waiting:
            return self._waiting.popleft()
        if self._ended:
            raise EOFError
        return None

    def missed(self) -> list[bytes]:
        """What is waiting now, all at once."""
        found = [body for body, _ in self._waiting]
        self._waiting.clear()
        return found

    def take(self, piece: _Piece) -> None:
        news = piece.news if self._accounts is None else _of(self._accounts, piece.news)
        if news is None or self._ended:
            return
        body = piece.whole if news is piece.news else event("news", _encode(news), id=piece.id)
        changed = tuple(self._accounts or ()) if news.catalog is not None else news.accounts
        self._waiting.append((body, changed))
        if len(self._waiting) > WAITING_MAX:
            # It begins anew, which costs less than all of this.
            self._waiting.clear()
            self._ended = True
        self._woken.set()

    def wake(self) -> None:
        self._waiting.append((b"", ()))
        self._woken.set()

    def end(self) -> None:
        self._ended = True
        self._woken.set()


class Broadcast:
    """What is told, and who follows it."""

    def __init__(self) -> None:
        self._epoch = secrets.token_hex(6)
        self._number = 0
        self._kept: deque[_Piece] = deque(maxlen=KEPT_MAX)
        self._followers: set[Follower] = set()
        self._accounts: dict[str, None] = {}
        self._balances: dict[tuple[str, str, str], Notification] = {}
        self._is_gathering = self._hears = self._stopped = False

    def follow(
        self, accounts: Collection[str] | None, last: str | None, *, is_of_page: bool = False
    ) -> tuple[Follower, Resumed]:
        """Follow from now on, after the event `last`. Unavailable `too_many_streams`, `not_ready`."""
        if self._stopped:
            raise Unavailable("not_ready", "this server is stopping; connect again", retry_after_s=1)
        if not self._hears:
            raise Unavailable("database_unavailable", "the database does not tell what changes; connect again later")
        if len(self._followers) >= FOLLOWERS_MAX:
            raise Unavailable("too_many_streams", f"{FOLLOWERS_MAX} streams are open here; connect again later",
                              retry_after_s=BUSY_S)  # fmt: skip
        follower = Follower(accounts, is_of_page=is_of_page)
        if is_of_page and sum(each.page == follower.page for each in self._followers) >= PAGES_MAX:
            raise Unavailable("too_many_streams", f"{PAGES_MAX} pages of this account follow here; connect again later",
                              retry_after_s=BUSY_S)  # fmt: skip
        self._flush()
        missed = self._since(last)
        for piece in missed or ():
            follower.take(piece)
        self._followers.add(follower)
        return follower, "full" if missed is None else "changes" if missed else "none"

    def position(self) -> str:
        """The event told last: whoever has it has all that came before."""
        return f"{self._epoch}-{self._number}"

    def leave(self, follower: Follower) -> None:
        self._followers.discard(follower)

    @property
    def hears(self) -> bool:
        """Whether it can be followed now."""
        return self._hears

    @property
    def followers(self) -> int:
        return len(self._followers)

    def tell_account(self, account: str) -> None:
        self._accounts[account] = None
        self._gather(0)

    def tell_balances(self, told: Iterable[Notification]) -> None:
        for its in told:
            if not its.slot:
                self._accounts[its.account] = None
                continue
            key = (its.account, its.pool, its.slot)
            known = self._balances.get(key)
            if known is None or known.version < its.version:
                self._balances[key] = its
        self._gather(GATHER_S)

    def tell_catalog(self, version: int) -> None:
        self._flush()
        self._tell(News(catalog=version))

    def tell_time(self) -> None:
        """The clock was moved: everyone is told the time at once."""
        for follower in self._followers:
            follower.wake()

    def begin_anew(self) -> None:
        """From now on everything is heard. What was told meanwhile was not: nobody can resume what was before."""
        self._epoch, self._number = secrets.token_hex(6), 0
        self._kept.clear()
        self._hears = True

    def interrupt(self) -> None:
        """Nothing is heard any more: every stream ends, since who follows it would take old views for new ones."""
        self._hears = False
        self._accounts, self._balances = {}, {}
        for follower in self._followers:
            follower.end()
        self._followers.clear()

    def stop(self) -> None:
        """End every stream: the process ends."""
        self._stopped = True
        self.interrupt()

    def _since(self, last: str | None) -> list[_Piece] | None:
        """What was told after this event; None: that is not known any more."""
        epoch, _, number = (last or "").partition("-")
        if epoch != self._epoch or not number.isascii() or not number.isdecimal() or len(number) > 18:
            return None
        after = int(number)
        first = self._kept[0].number if self._kept else self._number + 1
        if not first - 1 <= after <= self._number:
            return None
        return [piece for piece in self._kept if piece.number > after]

    def _gather(self, wait_s: float) -> None:
        if wait_s == 0:
            # With whatever else this turn of the loop brings.
            asyncio.get_running_loop().call_soon(self._flush)
        elif not self._is_gathering:
            self._is_gathering = True
            asyncio.get_running_loop().call_later(wait_s, self._flush)

    def _flush(self) -> None:
        self._is_gathering = False
        if not self._accounts and not self._balances:
            return
        told = tuple(its for its in self._balances.values() if its.account not in self._accounts)
        news = News(accounts=tuple(self._accounts), balances=told)
        self._accounts, self._balances = {}, {}
        self._tell(news)

    def _tell(self, news: News) -> None:
        self._number += 1
        id = self.position()
        piece = _Piece(self._number, id, news, event("news", _encode(news), id=id))
        self._kept.append(piece)
        for follower in self._followers:
            follower.take(piece)


def event(name: str, data: bytes, *, id: str | None = None) -> bytes:
    """One server-sent event; `data` is one line of JSON."""
    head = f"event: {name}\n" if id is None else f"id: {id}\nevent: {name}\n"
    return head.encode() + b"data: " + data + b"\n\n"


def _of(accounts: frozenset[str], news: News) -> News | None:
    """What concerns these accounts; None: nothing."""
    changed = tuple(account for account in news.accounts if account in accounts)
    counted = tuple(told for told in news.balances if told.account in accounts)
    if not changed and not counted and news.catalog is None:
        return None
    return News(changed, counted, news.catalog)
