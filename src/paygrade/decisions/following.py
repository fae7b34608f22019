"""Following: what a process that decides by itself is told of accounts, and how it takes it in.

Laws: of a balance the newest version told counts, in whatever order they are heard; what cannot be taken in makes the
account be read anew, so that nothing told is ever lost; who resumes is told all it missed, or to read all it has anew.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from msgspec import Raw, Struct, ValidationError

from paygrade.catalog.offers import OnError
from paygrade.decisions.snapshots import NOBODY, Dates, Names, Shape, Snapshot, shape_of
from paygrade.usage.balances import Balance, slot_of
from paygrade.values.text import on_wire


class Notification(Struct, frozen=True, array_like=True, gc=False):
    """What a balance is now; without a slot: read the account anew."""

    account: str
    pool: str = ""
    slot: str = ""
    used: int = 0
    reserved: int = 0
    version: int = 0


class Remembered(Struct, gc=False):
    """A snapshot, and the versions of the windows that run, by the place of their pool (`Shape.pools`); -1 where a
    balance is none of the ledger's. Versions begin with 1."""

    snapshot: Snapshot
    versions: tuple[int, ...]

    def take(self, told: Notification) -> bool:
        """Take in what was told of a balance, if it is newer. False: the account has to be read anew."""
        place = self.snapshot.shape.pools.get(told.pool)
        if not told.slot or place is None or self.versions[place] < 0:
            return False
        from_at, version = self.window(told.pool), self.versions[place]
        slot = slot_of(from_at)
        if told.slot != slot:
            # Late usage of an earlier window changes nothing now; a later window has begun elsewhere.
            return told.slot < slot
        if told.version > version:
            balances = self.snapshot.balances
            balances[told.pool] = counted_balance(balances.get(told.pool), told.used, told.reserved, from_at)
            self.versions = (*self.versions[:place], told.version, *self.versions[place + 1 :])
        return True

    def window(self, pool: str) -> datetime | None:
        """When the window began that usage of this pool counts in; None: it never begins anew."""
        its = self.snapshot
        return its.dates[its.shape.terms[pool].from_at]


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
    catalog: int
    """The number of the catalog in force, as far as this server knows."""


class News(Struct, frozen=True, omit_defaults=True):
    """What changed: accounts to be read anew, balances, the version of the catalog that came into force."""

    accounts: tuple[str, ...] = ()
    balances: tuple[Notification, ...] = ()
    catalog: int | None = None


class View(Struct, frozen=True, array_like=True, gc=False):
    """One account as it is sent: its snapshot, of whose shape there is only the place among those sent with it.

    `counts` are balances that are plain, in the windows that run: what is used and what is held; `balances` the rest.
    """

    account: str
    version: str
    until: datetime | None
    """None: as long as its segments last."""
    shape: int
    dates: Dates
    names: Names
    versions: tuple[int, ...]
    counts: dict[str, tuple[int, int]] = {}
    balances: dict[str, Balance] = {}
    roles: dict[str, str] = {}
    seats: dict[str, int] = {}
    known: bool = True


class Views(Beat, frozen=True, kw_only=True):
    """Accounts as they are now, an unknown one among them as one that is not known, and what features answer while
    nobody can be asked, where that is not `deny`."""

    shapes: tuple[Raw, ...]
    accounts: tuple[View, ...]
    on_error: Mapping[str, OnError] = {}


def remembered(sent: Views) -> list[Remembered]:
    """The accounts that were sent, for what they have alike to be kept once. ValidationError if their parts do not
    belong together."""
    try:
        shapes = [shape_of(bytes(written)) for written in sent.shapes]
        alike: dict[Any, Any] = {}  # Any: dates and versions
        return [_remembered(its, shapes[its.shape], alike) for its in sent.accounts]
    except (LookupError, ValueError) as error:
        raise ValidationError(f"the accounts sent do not fit their shapes: {error!r}") from error


def _remembered(its: View, shape: Shape, alike: dict[Any, Any]) -> Remembered:  # Any: as above
    balances, version = its.balances, alike.setdefault(its.version, its.version)
    as_of, ends_at = (alike.setdefault(date, date) for date in its.dates[1:3])
    dates = (None, as_of, ends_at, *its.dates[3:])
    for pool, (used, reserved) in its.counts.items():
        balances[pool] = Balance(used, reserved, dates[shape.terms[pool].from_at])
    snapshot = Snapshot(
        its.account, version, as_of, its.until or ends_at, shape, dates, its.names, balances,  # type: ignore[arg-type]  # as_of and ends_at are dates
        its.roles or NOBODY, its.seats or NOBODY, its.known,
    )  # fmt: skip
    return Remembered(snapshot, its.versions)


def versions_of(version: str) -> tuple[int, int]:
    """A snapshot's version as numbers: the catalog's and the account's."""
    catalog, _, account = version.partition(".")
    return int(catalog), int(account)
