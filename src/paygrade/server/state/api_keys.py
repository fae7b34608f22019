"""API keys, as this process remembers them: all that count.

Laws: a key that was made counts at once, whichever process made it, and one that was revoked counts nowhere within a
second, or `FRESH_S` where the database tells nothing; with the database away, what was read last goes on counting; one
that cannot be a key is refused without asking the database, and however many ask with one that is not known, it is read
once in `ASK_S`. A key that is shown is looked up by its SHA-256: nothing is compared letter by letter.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from paygrade.server.process.acting import Actor
from paygrade.server.process.api_keys import Mode, digest, is_well_formed
from paygrade.server.process.scopes import ALL, Scope, opened_by
from paygrade.values.errors import Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.api_keys import SavedApiKey, SavedSecret
    from paygrade.postgres.store import Store
    from paygrade.server.process.clock import Clock

log = structlog.get_logger("paygrade.keys")

KEYS_MAX = 1_000
"""Keys that may count at a time: every process remembers them all."""
UNKNOWN_MAX = 10_000
FRESH_S, ASK_S = 5.0, 0.2
SAID_FOR = timedelta(days=30)
"""How long a key that has expired is told so, rather than that it is not valid."""
NOTE_EVERY = timedelta(minutes=1)
_BEARER = b"Bearer "


class Bucket:
    """How many requests a key still has in this process: so many a minute, and at most that many at once."""

    def __init__(self, rate_limit: int) -> None:
        self.rate_limit = rate_limit
        self._left, self._at_s = float(rate_limit), time.monotonic()

    def take(self) -> tuple[bool, int, int]:
        """Whether there is one for this request, how many are left, and in how many seconds the next one (or, where
        there was one, all of them) will be there."""
        now_s, a_second = time.monotonic(), self.rate_limit / 60
        self._left = min(self._left + (now_s - self._at_s) * a_second, self.rate_limit)
        self._at_s = now_s
        if self._left < 1:
            return False, 0, _whole((1 - self._left) / a_second)
        self._left -= 1
        return True, int(self._left), _whole((self.rate_limit - self._left) / a_second)


class KnownKey(Struct, frozen=True, kw_only=True):
    """A key as it is asked with: one of its secrets, and what it opens until it ends. `of_this_mode`: it is not of a
    test deployment where this is a live one, or the other way round."""

    id: str
    actor: Actor
    digest: bytes
    publishable: bool = False
    mode: Mode | None = None
    of_this_mode: bool = True
    scopes: frozenset[Scope]
    ends_at: datetime | None = None
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    bucket: Bucket | None = None

    @property
    def is_plain(self) -> bool:
        """Whether what it opens depends on nothing but its scopes and its end."""
        return self.of_this_mode and not self.publishable and not self.networks and self.bucket is None

    def allows(self, address: str | None) -> bool:
        """Whether it counts from this network address."""
        if not self.networks:
            return True
        try:
            found = ip_address(address or "")
        except ValueError:
            return False
        if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self.networks)


class ApiKeys:
    """The keys that count, and that of the environment. `mode` None: this deployment is neither live nor of tests."""

    def __init__(self, admin_key: str | None = None, mode: Mode | None = None) -> None:
        self.mode = mode
        self._admin: dict[bytes, KnownKey] = {}
        if admin_key is not None:
            actor, found = Actor("key", "admin", "the server's admin key"), digest(admin_key)
            self._admin[found] = KnownKey(id="admin", actor=actor, digest=found, scopes=ALL)
        self._known = dict(self._admin)
        self._shown: dict[bytes, KnownKey] = {}
        """Plain keys by the header they were shown in: none but those that count, so there are never more of them."""
        self._buckets: dict[str, Bucket] = {}
        self._unknown: OrderedDict[bytes, None] = OrderedDict()
        """What was shown and is no key: nobody ever makes one that was shown before, or lets one count again."""
        self._used: set[str] = set()
        self._noted: dict[str, datetime] = {}
        self._reading: asyncio.Task[None] | None = None
        """A read that has not begun yet: whoever asks now may wait for it."""
        self._began_s: float | None = None
        self._changes = 0
        self._told: OrderedDict[str, int] = OrderedDict()
        """When a key or a person changed last, by what was counted then."""

    def opens(self, header: bytes, scope: Scope, now: Callable[[], datetime]) -> bool:
        """Whether a plain key that is remembered stands in this header and opens this: the way without waiting."""
        # A dict compares texts whole where a keyed hash (SipHash) of them agrees, so time tells nothing of a key.
        known = self._shown.get(header) or self._recognized(header)
        if known is None or scope not in known.scopes:
            return False
        if known.ends_at is not None:
            try:
                if now() >= known.ends_at:
                    return False
            except Unavailable:
                return False
        self._used.add(known.id)
        return True

    async def find(self, store: "Store", text: str, now: Callable[[], datetime]) -> KnownKey | None:
        """The key that this text is; None: there is none. Unavailable where the database cannot say."""
        found = self._known.get(its := digest(text))
        if found is None and its not in self._unknown and is_well_formed(text):
            await self._read_again(store, now)
            found = self._known.get(its)
            if found is None:
                self._remember_unknown(its)
        if found is not None:
            self._used.add(found.id)
        return found

    def still(self, key: KnownKey, at: datetime) -> bool:
        """Whether a key that was found before counts still."""
        found = self._known.get(key.digest)
        return found is not None and (found.ends_at is None or at < found.ends_at)

    def last_change(self, id: str) -> int:
        """Grows with each change of this key or person that is heard."""
        return self._told.get(id, 0)

    def hear(self, channel: str, payload: str) -> None:
        """Hear what a transaction has told: a key that was changed is read again when it is shown next."""
        if channel == "paygrade_key":
            self._changes += 1
            self._told[payload] = self._changes
            if len(self._told) > 2 * KEYS_MAX:
                self._told.popitem(last=False)
            self._take({its: key for its, key in self._known.items() if key.id != payload})

    async def follow(self, store: "Store", clock: "Clock") -> None:
        """Read them again, and write down which were used, every few seconds until cancelled."""
        await clock.first()
        while True:
            try:
                await self._read(store, clock.now)
                await self._note_use(store, clock.now())
            except Unavailable as error:
                log.warning("keys_not_read", error=error.detail)
            await asyncio.sleep(FRESH_S)

    def _recognized(self, header: bytes) -> KnownKey | None:
        if not header.startswith(_BEARER):
            return None
        found = self._known.get(digest(header[len(_BEARER) :]))
        if found is None or not found.is_plain:
            return None
        self._shown[header] = found
        return found

    def _remember_unknown(self, its: bytes) -> None:
        self._unknown[its] = None
        if len(self._unknown) > UNKNOWN_MAX:
            self._unknown.popitem(last=False)

    async def _read_again(self, store: "Store", now: Callable[[], datetime]) -> None:
        """Wait for a read that begins after this: it is one for all who wait."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_soon(store, now))
            self._reading.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        await asyncio.shield(self._reading)

    async def _read_soon(self, store: "Store", now: Callable[[], datetime]) -> None:
        if self._began_s is not None:
            await asyncio.sleep(self._began_s + ASK_S - time.monotonic())
        self._reading, self._began_s = None, time.monotonic()
        await self._read(store, now)

    async def _read(self, store: "Store", now: Callable[[], datetime]) -> None:
        while True:
            changes = self._changes
            async with store.transaction() as tx:
                saved = await tx.api_keys.live(since=now() - SAID_FOR, limit=2 * KEYS_MAX)
            if changes == self._changes:
                break
        buckets = {key.id: self._bucket(key.id, key.rate_limit) for key in saved if key.rate_limit is not None}
        self._buckets = buckets
        self._noted = {key.id: key.last_used_at for key in saved if key.last_used_at is not None}
        known = [self._made(key, secret) for key in saved for secret in key.secrets]
        self._take(self._admin | {key.digest: key for key in known})

    def _take(self, known: dict[bytes, KnownKey]) -> None:
        self._known, self._shown = known, {}

    def _bucket(self, id: str, rate_limit: int) -> Bucket:
        found = self._buckets.get(id)
        return found if found is not None and found.rate_limit == rate_limit else Bucket(rate_limit)

    def _made(self, key: "SavedApiKey", secret: "SavedSecret") -> KnownKey:
        ends = [end for end in (key.expires_at, secret.ends_at) if end is not None]
        mode: Mode = "live" if key.mode == "live" else "test"
        return KnownKey(
            id=key.id,
            actor=Actor("key", key.id, key.name),
            digest=bytes.fromhex(secret.hash),
            publishable=key.publishable,
            mode=mode,
            of_this_mode=self.mode in (None, mode),
            scopes=opened_by(key.scopes, key.role),
            ends_at=min(ends, default=None),
            networks=tuple([ip_network(text) for text in key.ip_ranges]),
            bucket=self._buckets.get(key.id),
        )

    async def _note_use(self, store: "Store", at: datetime) -> None:
        used, self._used = self._used, set()
        due = [id for id in used if id != "admin" and (id not in self._noted or at - self._noted[id] >= NOTE_EVERY)]
        # Who was used a moment ago, as far as is written down, is written down later.
        self._used |= used - set(due) - {"admin"}
        if due:
            async with store.transaction() as tx:
                await tx.api_keys.note_use(due, at)
            self._noted |= dict.fromkeys(due, at)


def _whole(seconds: float) -> int:
    return int(seconds) + 1
