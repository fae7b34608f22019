"""What one process knows of accounts: taken in from what it read and what it is told. No socket, no clock, no lock.

Laws: a fault never takes away what is known; what was told while an account was being read, or answered to a use of
it, is not lost; an answer that is older than what was told is asked for again; what is known has a bound.
"""

from collections.abc import Collection
from datetime import datetime

from msgspec import Struct, field

from paygrade.catalog.offers import OnError
from paygrade.decisions.following import (
    News,
    Notification,
    Views,
    count,
    remembered,
    take,
    versions_of,
)
from paygrade.decisions.snapshots import Snapshot, balance_of, window_of


class _Reading(Struct):
    """An account being read: what was told of it and answered to uses of it meanwhile, and whether it has to be read
    once more."""

    told: list[Notification]
    answered: dict[str, tuple[int, int, datetime]] = field(default_factory=dict)
    again: bool = False


class Memory:
    """The accounts known, at most `accounts_max`: those known longest are forgotten first."""

    def __init__(self, accounts_max: int) -> None:
        self._accounts_max = accounts_max
        self.accounts: dict[str, Snapshot] = {}
        self.on_error: dict[str, OnError] = {}
        self.to_read: dict[str, None] = {}
        """Accounts to be read, in the order they were asked for."""
        self.unsure: dict[str, float] = {}
        """Accounts of which it is not known what was missed, and since when, in seconds of the wall clock."""
        self._reading: dict[str, _Reading] = {}
        self._catalog = 0

    def want(self, account: str, *, anew: bool = True) -> None:
        """Have it read. Unless `anew`, a reading that is under way will do."""
        if anew or account not in self._reading:
            self._read_again(account)

    def want_all(self, now_s: float, catalog: int = 0) -> None:
        """Have everything read anew: it is not known what was missed, but that this catalog is in force."""
        self._catalog = max(self._catalog, catalog)
        for account in self.accounts:
            self._read_again(account)
            self.unsure.setdefault(account, now_s)
        for reading in self._reading.values():
            reading.again = True

    def hear(self, news: News, now_s: float, *, late: bool = False) -> None:
        """Take in what changed. What is `late` was missed when it happened: what it is about is unsure until it was
        read, while of what changes right now the last view counts for the moment that takes."""
        for account in news.accounts:
            if account in self.accounts or account in self._reading:
                self._read_again(account)
                if late and account in self.accounts:
                    self.unsure.setdefault(account, now_s)
        for told in news.balances:
            reading = self._reading.get(told.account)
            if reading is not None:
                reading.told.append(told)
            found = self.accounts.get(told.account)
            if found is not None and not take(found, told):
                self._read_again(told.account)
        if news.catalog is not None:
            self.want_all(now_s, news.catalog)

    def begin(self, at_most: int) -> list[str]:
        """The accounts to be read now; `take` or `give_up` ends it."""
        some = list(self.to_read)[:at_most]
        for account in some:
            del self.to_read[account]
            self._reading[account] = _Reading([])
        return some

    def take(self, asked: Collection[str], views: Views) -> list[str]:
        """Take in what was read; the accounts that are different now. ValidationError, and nothing is taken in, where
        it cannot be read."""
        read, changed = remembered(views), []
        self.on_error = dict(views.on_error)
        for made in read:
            account = made.account
            reading = self._reading.pop(account, None) or _Reading([])
            known = self.accounts.get(account)
            # Another process may have read what was published a moment ago not yet.
            is_old = versions_of(made.version)[0] < self._catalog
            missed = [told for told in reading.told if not take(made, told)]
            if missed or reading.again or is_old:
                self.to_read[account] = None
            if known is None or known.version != made.version:
                changed.append(account)
            if account not in self.to_read:
                self.unsure.pop(account, None)
            self._keep(account, made)
            for pool, answer in reading.answered.items():
                self._count(account, pool, *answer)
        for account in asked:
            if self._reading.pop(account, None) is not None:
                self.to_read[account] = None
        return changed

    def give_up(self, asked: Collection[str], now_s: float) -> None:
        """They could not be read: they are asked for again with the next."""
        for account in asked:
            if self._reading.pop(account, None) is not None:
                self.to_read[account] = None
            if account in self.accounts:
                self.unsure.setdefault(account, now_s)

    def restore(self, views: Views, since_s: float) -> None:
        """Take in what was read elsewhere and is unsure since then, as far as there is room."""
        self.on_error = {**views.on_error, **self.on_error}
        for made in remembered(views):
            account = made.account
            if account not in self.accounts and len(self.accounts) < self._accounts_max:
                self._keep(account, made)
                self.unsure[account] = since_s

    def forget_restored(self, since_s: float) -> int:
        """Forget what is still only known as it was then; how many accounts that were."""
        still = [account for account, unsure_s in self.unsure.items() if unsure_s == since_s]
        for account in still:
            del self.unsure[account]
            self.accounts.pop(account, None)
        return len(still)

    def forget_reading(self, now_s: float) -> None:
        """Whoever was reading is gone, with all that was told meanwhile."""
        self._reading.clear()
        self.want_all(now_s)

    def count(self, account: str, pool: str, used: int | None, reserved: int | None, at: datetime) -> None:
        """Take in what the server answered to a use of ours, before the news of it come."""
        if used is None:
            return
        answer = used, reserved or 0, at
        reading = self._reading.get(account)
        if reading is not None:  # what is read may be from before it
            reading.answered[pool] = max(answer, reading.answered.get(pool, answer))
        self._count(account, pool, *answer)

    def _count(self, account: str, pool: str, used: int, reserved: int, at: datetime) -> None:
        its = self.accounts.get(account)
        place = its.shape.pools.get(pool) if its is not None else None
        if its is None or place is None or its.counts is None or its.counts[3 * place + 2] < 0:
            return
        known, from_at, shape = balance_of(its, pool), window_of(its, pool), its.shape
        is_news = known is None or known.from_at != from_at or known.used < used
        if is_news and shape.terms[pool].its.plain and at < its.dates[shape.until]:  # type: ignore[operator]  # a segment has an end
            count(its, pool, used, reserved)

    def _read_again(self, account: str) -> None:
        reading = self._reading.get(account)
        if reading is not None:
            reading.again = True
        else:
            self.to_read[account] = None

    def _keep(self, account: str, made: Snapshot) -> None:
        if account not in self.accounts and len(self.accounts) >= self._accounts_max:
            forgotten = next(iter(self.accounts))
            del self.accounts[forgotten]
            self.unsure.pop(forgotten, None)
            self.to_read.pop(forgotten, None)
        self.accounts[account] = made
