"""Snapshots and the catalog, as this process remembers them.

Laws: remembering changes cost, never meaning; nothing is remembered while changes cannot be heard; what was loaded
before a change was heard is not remembered after it.
"""

import asyncio
from collections import OrderedDict
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from paygrade.accounts import Account
from paygrade.catalog import Catalog
from paygrade.entitlements import Snapshot, snapshot
from paygrade.errors import Unavailable
from paygrade.server.operations.catalogs import EMPTY
from paygrade.server.windows import Windows

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

log = structlog.get_logger("paygrade.snapshots")

RECONNECT_S = 0.5


class Snapshots:
    """The snapshots used last, at most `accounts_max` of them. Run `follow` for as long as it is used."""

    def __init__(self, *, accounts_max: int = 50_000) -> None:
        self._accounts_max = accounts_max
        self.windows = Windows()
        self._snapshots: OrderedDict[str, Snapshot] = OrderedDict()
        self._catalog: Catalog | None = None
        self._listening = False
        self._changes = 0
        """Counts what was heard since this process started."""
        self._loading: dict[str, object] = {}
        """The latest load under way of each account; hearing a change of the account removes it."""

    def peek(self, account: str, at: datetime) -> Snapshot | None:
        """The remembered snapshot if it answers for `at`: the way without waiting."""
        found = self._snapshots.get(account)
        if found is None or not found.as_of <= at < found.until:
            return None
        self._snapshots.move_to_end(account)
        return found

    async def load(self, store: "Store", account: str, at: datetime, *, remember: bool = True) -> Snapshot:
        """The account's snapshot that answers for `at`; one that is not known for an unknown account.

        `remember` is for the present only: a snapshot of another time must not answer for it.
        """
        found = self.peek(account, at) if remember else None
        if found is not None:
            return found
        catalog = await self.catalog(store)
        ticket = self._loading[account] = object()
        try:
            async with store.transaction() as tx:
                saved = await tx.accounts.load(account)
            made = snapshot(saved.account if saved else Account(key=account), catalog, at)
            if remember and self._loading.get(account) is ticket and self._catalog is catalog:
                self._remember(made)
        finally:
            if self._loading.get(account) is ticket:
                del self._loading[account]
        return made

    async def catalog(self, store: "Store") -> Catalog:
        """The catalog in force; an empty one before the first is published."""
        if self._catalog is not None:
            return self._catalog
        changes = self._changes
        async with store.transaction() as tx:
            saved = await tx.catalogs.load()
        catalog = saved.catalog if saved else EMPTY
        if self._listening and self._changes == changes:
            self._catalog = catalog
        return catalog

    def remembers(self, catalog: Catalog) -> bool:
        """Whether changes are being heard, so that what is made with this catalog may be remembered."""
        return self._catalog is catalog

    async def follow(self, store: "Store") -> None:
        """Hear every change until cancelled; what is remembered is dropped whenever hearing is interrupted."""
        store.hear_own(self._hear)
        while True:
            try:
                await store.listen(ready=self._ready, hear=self._hear)
            except Unavailable as error:
                log.warning("listening_interrupted", error=error.detail)
            finally:
                self._listening = False
                self._forget_all()
            await asyncio.sleep(RECONNECT_S)

    def _ready(self) -> None:
        self._forget_all()
        self._listening = True

    def _hear(self, channel: str, payload: str) -> None:
        match channel:
            case "paygrade_account":
                self._changes += 1
                self._snapshots.pop(payload, None)
                self._loading.pop(payload, None)
                self.windows.forget(payload)
            case "paygrade_catalog":
                self._forget_all()

    def _forget_all(self) -> None:
        self._changes += 1
        self._catalog = None
        self._snapshots.clear()
        self._loading.clear()
        self.windows.forget_all()

    def _remember(self, made: Snapshot) -> None:
        self._snapshots[made.account] = made
        self._snapshots.move_to_end(made.account)
        if len(self._snapshots) > self._accounts_max:
            self._snapshots.popitem(last=False)
