"""Snapshots and the catalog, as this process remembers them.

Laws: remembering changes cost, never meaning; nothing is remembered while changes cannot be heard; what was loaded
before a change was heard is not remembered after it; of a balance the newest version told counts, in whatever order
they are heard. What was last known is kept apart, for answers that say they are stale.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import structlog

from paygrade.billing.accounts import Account
from paygrade.catalog.model import NO_CATALOG, Catalog
from paygrade.catalog.offers import OnError
from paygrade.decisions.following import Notification, remember, take
from paygrade.decisions.snapshots import Snapshot, window_of
from paygrade.decisions.take import snapshot
from paygrade.server.process.settings import MEMORY_MB
from paygrade.server.state.balances import with_balances_of_all
from paygrade.server.state.broadcast import Broadcast
from paygrade.server.state.nodes import Nodes
from paygrade.server.state.remembered import RememberedAccounts, newest
from paygrade.server.state.windows import Windows
from paygrade.usage.balances import Balance, slot_of
from paygrade.usage.entries import Key
from paygrade.values.errors import Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

log = structlog.get_logger("paygrade.snapshots")

RECONNECT_S = 0.5
BYTES_MAX = MEMORY_MB * 1_000_000
PATIENCE_S = 0.5
"""How long the database may take for what is known in an older form."""


class Load:
    """A load under way, and what was told of the account meanwhile."""

    def __init__(self) -> None:
        self.told: list[Notification] = []


class Snapshots:
    """The snapshots used last, as many as `bytes_max` can hold. Run `follow` for as long as it is used."""

    def __init__(self, *, bytes_max: int = BYTES_MAX) -> None:
        self.windows = Windows()
        self.nodes = Nodes()
        self.broadcast = Broadcast()
        self._snapshots = RememberedAccounts(bytes_max)
        self._catalog: Catalog | None = None
        self._topped_up: frozenset[str] = frozenset()
        """The pools that are topped up when few units are left, by the catalog in force."""
        self._last = RememberedAccounts(bytes_max)
        """What was remembered when hearing was interrupted, and is not known anew."""
        self._last_catalog: Catalog | None = None
        self._listening = False
        self._deaf_since_s = time.monotonic()
        self._changes = 0
        """Counts what was heard since this process started."""
        self._loading: dict[str, Load] = {}
        """The latest load under way of each account; hearing a change of the account removes it."""

    def peek(self, account: str, at: datetime) -> Snapshot | None:
        """The remembered snapshot if it answers for `at`: the way without waiting."""
        found = self._snapshots.get(account)
        if found is None or not found.as_of <= at < found.until:
            return None
        self._snapshots.use(account)
        return found

    def counted(self, account: str, pool: str, at: datetime) -> tuple[Snapshot, Key, Balance, int] | None:
        """A plain count as it was last told, with the snapshot it is in and its version. None: there may be more to
        it, like a top-up to be asked for when little is left."""
        snapshot = self._snapshots.get(account)
        if snapshot is None or not snapshot.as_of <= at:
            return None
        shape, counts = snapshot.shape, snapshot.counts
        place = shape.pools.get(pool)
        if counts is None or place is None or counts[3 * place + 2] <= 0 or pool in snapshot.balances:
            return None
        if not shape.terms[pool].its.plain or at >= snapshot.dates[shape.until]:  # type: ignore[operator]  # a segment has an end
            return None
        if pool in self._topped_up:
            return None
        self._snapshots.use(account)
        balance = Balance(counts[3 * place], counts[3 * place + 1], window_of(snapshot, pool))
        return snapshot, (account, pool, slot_of(balance.from_at)), balance, counts[3 * place + 2]

    def last_known(self, account: str) -> Snapshot | None:
        """What was known of the account before the database went away; only for answers that say so."""
        return self._snapshots.get(account) or self._last.get(account)

    def last_catalog(self) -> Catalog:
        """The catalog as last known."""
        return self._catalog or self._last_catalog or NO_CATALOG

    async def load_soon(self, store: "Store", account: str, at: datetime) -> Snapshot | None:
        """The same as `load`; None when it takes longer than anybody should wait who may have what was last known."""
        found = self.peek(account, at)
        if found is not None:
            return found
        loading = asyncio.create_task(self.load(store, account, at))
        # It goes on when we do not: a connection in the middle of a statement takes its time to let go.
        loading.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        await asyncio.wait({loading}, timeout=PATIENCE_S if self.last_known(account) is not None else None)
        return loading.result() if loading.done() else None

    async def load(self, store: "Store", account: str, at: datetime) -> Snapshot:
        """The account's snapshot that answers for `at`, which is now; one that is not known for an unknown account."""
        return (await self.load_all(store, [account], at))[account]

    async def read_anew(
        self, store: "Store", accounts: Sequence[str], at: datetime
    ) -> tuple[list[Snapshot], dict[str, OnError]]:
        """These accounts as the database has them, whatever is remembered: news that another process told may not be
        here yet. With them, what features answer while nobody can be asked, where that is not to deny."""
        loaded = await self._load_missing(store, accounts, at)
        offered = (await self.catalog(store)).features
        return loaded, {key: its.on_error for key, its in offered.items() if its.on_error != "deny"}

    def forget(self, account: str) -> None:
        """Read the account anew when it is asked for next: news of it may not be here yet."""
        self._changes += 1
        self._forget(account)
        self.windows.forget(account)
        self.nodes.forget(account)

    async def load_all(self, store: "Store", accounts: Iterable[str], at: datetime) -> dict[str, Snapshot]:
        """The same for many accounts: those that are not remembered are read together."""
        found = {account: self.peek(account, at) for account in accounts}
        known = {account: snapshot for account, snapshot in found.items() if snapshot is not None}
        missing = [account for account in found if account not in known]
        if missing:
            known |= {made.account: made for made in await self._load_missing(store, missing, at)}
        return known

    async def _load_missing(self, store: "Store", accounts: Sequence[str], at: datetime) -> list[Snapshot]:
        catalog = await self.catalog(store)
        tickets = {account: Load() for account in accounts}
        self._loading.update(tickets)
        try:
            loaded = await _make(store, catalog, accounts, at)
            for made in loaded:
                ticket = tickets[made.account]
                if self._loading.get(made.account) is ticket and self._catalog is catalog:
                    self._remember(made)
                    for told in ticket.told:
                        self._count(told)
        finally:
            for account, ticket in tickets.items():
                if self._loading.get(account) is ticket:
                    del self._loading[account]
        return loaded

    async def catalog(self, store: "Store") -> Catalog:
        """The catalog in force; an empty one before the first is published."""
        if self._catalog is not None:
            return self._catalog
        changes = self._changes
        async with store.transaction() as tx:
            catalog = await tx.catalogs.in_force()
        if self._listening and self._changes == changes:
            self._catalog, self._topped_up = catalog, frozenset(catalog.policies.top_ups)
        return catalog

    def remembers(self, catalog: Catalog) -> bool:
        """Whether changes are being heard, so that what is made with this catalog may be remembered."""
        return self._catalog is catalog

    async def follow(self, store: "Store", *, others: Sequence[Callable[[str, str], None]] = ()) -> None:
        """Hear every change until cancelled; what is remembered is dropped whenever hearing is interrupted. `others`
        hear the same."""

        hearers = (self._hear, *others)

        def hear(channel: str, payload: str) -> None:
            for each in hearers:
                each(channel, payload)

        store.hear_own(hear)
        while True:
            try:
                await store.listen(ready=self._ready, hear=hear)
            except Unavailable as error:
                log.warning("listening_interrupted", error=error.detail)
            finally:
                if self._listening:
                    self._deaf_since_s = time.monotonic()
                self._listening = False
                self._forget_all()
                self.broadcast.interrupt()
            await asyncio.sleep(RECONNECT_S)

    def age_s(self) -> float:
        """How old what is decided on may be: for how many seconds nothing was heard of changes; 0 while it is."""
        return 0.0 if self._listening else time.monotonic() - self._deaf_since_s

    def _ready(self) -> None:
        self._forget_all()
        self._listening = True
        self.broadcast.begin_anew()

    def _hear(self, channel: str, payload: str) -> None:
        match channel:
            case "paygrade_account":
                self.forget(payload)
                self.broadcast.tell_account(payload)
            case "paygrade_balance":
                news = _news.decode(payload)
                for told in news:
                    if told.account in self._loading:
                        self._loading[told.account].told.append(told)
                    self._count(told)
                self.broadcast.tell_balances(news)
            case "paygrade_catalog":
                self._forget_all()
                self.broadcast.tell_catalog(int(payload))

    def _count(self, told: Notification) -> None:
        """Take what was told of a balance into the snapshot that is remembered, if it is newer."""
        found = self._snapshots.get(told.account)
        if found is None:
            if not told.slot:
                self._loading.pop(told.account, None)
            return
        if not take(found, told):
            self._forget(told.account)

    def _forget(self, account: str) -> None:
        self._snapshots.forget(account)
        self._loading.pop(account, None)

    def _forget_all(self) -> None:
        self._changes += 1
        self._last = newest(self._last, self._snapshots)
        if self._catalog is not None:
            self._last_catalog = self._catalog
        self._catalog = None
        self._snapshots = RememberedAccounts(self._snapshots.bytes_max)
        self._loading.clear()
        self.windows.forget_all()
        self.nodes.forget_all()

    def _remember(self, made: Snapshot) -> None:
        self._snapshots.keep(made)
        self._last.forget(made.account)


async def _make(store: "Store", catalog: Catalog, accounts: Sequence[str], at: datetime) -> list[Snapshot]:
    async with store.transaction() as tx:
        found = await tx.accounts.find(accounts)
        made = [snapshot(found.get(account) or Account(key=account), catalog, at) for account in accounts]
        return [remember(*pair) for pair in await with_balances_of_all(tx, made, at)]


_news = msgspec.json.Decoder(list[Notification])
