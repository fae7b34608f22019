"""Signing keys, as this process remembers them.

Laws: what is remembered is read again after `FRESH_S`, and sooner where a token names a key that is not known, though
not more often than every `ASK_S`; with the database away, what was read last goes on counting.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from paygrade.server.process.account_tokens import TTL_MAX, SigningKey, read_private_key
from paygrade.values.errors import Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.signing_keys import SavedSigningKey
    from paygrade.postgres.store import Store

log = structlog.get_logger("paygrade.tokens")

FRESH_S, ASK_S = 60.0, 1.0


class SigningKeys:
    """The keys that sign and verify."""

    def __init__(self) -> None:
        self._keys: tuple[SigningKey, ...] = ()
        self._read_at_s: float | None = None
        """When they were read last, or that was tried; None: never."""

    async def signing(self, store: "Store", at: datetime) -> SigningKey | None:
        """The key that signs now; None: there is none yet."""
        await self._read(store, after_s=FRESH_S if self._keys else 0)
        begun = [key for key in self._keys if key.signs_from <= at]
        return begun[-1] if begun else next(iter(self._keys), None)

    async def named(self, store: "Store", kid: str) -> SigningKey | None:
        """The key of this name; None: there is none."""
        await self._read(store, after_s=FRESH_S)
        found = self._of(kid)
        if found is None:
            # Another process may have made it a moment ago.
            await self._read(store, after_s=ASK_S)
            found = self._of(kid)
        return found

    async def published(self, store: "Store", at: datetime) -> list[SigningKey]:
        """Those that tokens may be signed with that still count, and those that will sign."""
        await self._read(store, after_s=FRESH_S)
        return [key for key in self._keys if key.verifies_until is None or at < key.verifies_until]

    def take(self, saved: "Sequence[SavedSigningKey]") -> None:
        """Remember these, which are all there are, the oldest first."""
        ends = [*[key.signs_from + TTL_MAX for key in saved[1:]], None]
        self._keys = tuple(
            SigningKey(key.kid, read_private_key(key.private_key), key.signs_from, until)
            for key, until in zip(saved, ends, strict=False)
        )
        self._read_at_s = time.monotonic()

    def _of(self, kid: str) -> SigningKey | None:
        return next((key for key in self._keys if key.kid == kid), None)

    async def _read(self, store: "Store", *, after_s: float) -> None:
        """Read them unless that was done less than so many seconds ago. Unavailable where none were ever read."""
        now_s = time.monotonic()
        if self._read_at_s is not None and now_s - self._read_at_s < after_s:
            return
        before, self._read_at_s = self._read_at_s, now_s
        try:
            async with store.transaction() as tx:
                self.take(await tx.signing_keys.load())
        except BaseException as error:
            if before is None:
                self._read_at_s = None
            if before is None or not isinstance(error, Unavailable):
                raise
            log.warning("signing_keys_not_read", error=error.detail)
