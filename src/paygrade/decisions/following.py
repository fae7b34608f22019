"""Following: what a process that decides by itself is told of accounts, and how it takes it in.

Laws: of a balance the newest version told counts, in whatever order they are heard; what cannot be taken in makes the
account be read anew, so that nothing told is ever lost; who resumes is told all it missed, or to read all it has anew.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct

from paygrade.catalog.offers import OnError
from paygrade.decisions.snapshots import Snapshot
from paygrade.usage.balances import Balance
from paygrade.values.text import on_wire

Versions = dict[str, tuple[str, int]]
"""By pool: the slot of the window, and its version."""


class Notification(Struct, frozen=True, array_like=True, gc=False):
    """What a balance is now; without a slot: read the account anew."""

    account: str
    pool: str = ""
    slot: str = ""
    used: int = 0
    reserved: int = 0
    version: int = 0


class Remembered(Struct):
    """A snapshot, and by pool the slot and version of the window its balance counts in."""

    snapshot: Snapshot
    versions: Versions

    def take(self, told: Notification) -> bool:
        """Take in what was told of a balance, if it is newer. False: the account has to be read anew."""
        if not told.slot or told.pool not in self.versions:
            return False
        slot, version = self.versions[told.pool]
        if told.slot != slot:
            # Late usage of an earlier window changes nothing now; a later window has begun elsewhere.
            return told.slot < slot
        if told.version > version:
            balances, from_at = self.snapshot.balances, self.snapshot.segments[0].entitlements[told.pool].from_at
            balances[told.pool] = counted_balance(balances.get(told.pool), told.used, told.reserved, from_at)
            self.versions[told.pool] = (slot, told.version)
        return True


def counted_balance(balance: Balance | None, used: int, reserved: int, from_at: datetime | None) -> Balance:
    """A balance with the counts that were told of its window."""
    return Balance(on_wire(used), on_wire(reserved), from_at, balance.detail if balance is not None else None)


class Beat(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The server's time. `stands_still`: it does not go on by itself (a simulator's clock)."""

    now: datetime
    stands_still: bool = False


class Hello(Beat, frozen=True, kw_only=True):
    """How a stream begins. `resumed`: `none` and nothing was missed, `changes` and they came before this, or
    `full`: read all that is held anew. A beat comes every `beat_s` seconds."""

    resumed: Literal["full", "changes", "none"]
    beat_s: float


class News(Struct, frozen=True, omit_defaults=True):
    """What changed: accounts to be read anew, balances, the version of the catalog that came into force."""

    accounts: tuple[str, ...] = ()
    balances: tuple[Notification, ...] = ()
    catalog: int | None = None


class Views(Beat, frozen=True, kw_only=True):
    """Accounts as they are now, an unknown one among them as one that is not known, and what features answer while
    nobody can be asked, where that is not `deny`."""

    accounts: tuple[Remembered, ...]
    on_error: Mapping[str, OnError] = {}


def versions_of(version: str) -> tuple[int, int]:
    """A snapshot's version as numbers: the catalog's and the account's."""
    catalog, _, account = version.partition(".")
    return int(catalog), int(account)
