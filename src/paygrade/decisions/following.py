"""Following: what a process that decides by itself is told of accounts, and how it takes it in.

Laws: of a balance the newest version told counts, in whatever order they are heard; what cannot be taken in makes the
account be read anew, so that nothing told is ever lost; who resumes is told all it missed, or to read all it has anew.
"""

from array import array
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Raw, Struct, ValidationError
from msgspec.structs import replace

from paygrade.catalog.offers import OnError
from paygrade.decisions.snapshots import NOBODY, Dates, Names, Shape, Snapshot, shape_of, window_of
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


def remember(snapshot: Snapshot, versions: Sequence[int]) -> Snapshot:
    """The snapshot as it is remembered, with the versions of the windows that run, by the place of their pool
    (`Shape.pools`); -1 where a balance is none of the ledger's. Versions begin with 1."""
    rest, counts = {}, array("q", bytes(24 * len(versions)))
    counts[2::3] = array("q", versions)
    for pool, balance in snapshot.balances.items():
        place = snapshot.shape.pools.get(pool)
        plain = balance.detail is None and place is not None and versions[place] >= 0
        if plain and balance.from_at == window_of(snapshot, pool):
            assert place is not None
            counts[3 * place], counts[3 * place + 1] = balance.used, balance.reserved
        else:
            rest[pool] = balance
    return replace(snapshot, balances=rest or NOBODY, counts=counts)


def take(snapshot: Snapshot, told: Notification) -> bool:
    """Take in what was told of a balance of a remembered account, if it is newer. False: it has to be read anew."""
    place, counts = snapshot.shape.pools.get(told.pool), snapshot.counts
    if not told.slot or place is None or counts is None or counts[3 * place + 2] < 0:
        return False
    from_at = window_of(snapshot, told.pool)
    slot = slot_of(from_at)
    if told.slot != slot:
        # Late usage of an earlier window changes nothing now; a later window has begun elsewhere.
        return told.slot < slot
    if told.version > counts[3 * place + 2]:
        counts[3 * place + 2] = told.version
        count(snapshot, told.pool, told.used, told.reserved)
    return True


def count(snapshot: Snapshot, pool: str, used: int, reserved: int) -> None:
    """Let so much be used and held in the window that runs, of a pool that is counted there."""
    place, counts, known = snapshot.shape.pools[pool], snapshot.counts, snapshot.balances.get(pool)
    assert counts is not None
    used, reserved = on_wire(used), on_wire(reserved)
    if known is not None:
        snapshot.balances[pool] = Balance(used, reserved, window_of(snapshot, pool), known.detail)
    else:
        counts[3 * place], counts[3 * place + 1] = used, reserved


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
    """One account as it is sent: its snapshot, of whose shape there is only the place among those sent with it."""

    account: str
    version: str
    until: datetime | None
    """None: as long as its segments last."""
    shape: int
    dates: Dates
    names: Names
    counts: tuple[int, ...]
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


def remembered(sent: Views) -> list[Snapshot]:
    """The accounts that were sent, for what they have alike to be kept once. ValidationError if their parts do not
    belong together."""
    try:
        shapes = [shape_of(bytes(written)) for written in sent.shapes]
        alike: dict[Any, Any] = {}  # Any: dates and versions
        return [_remembered(its, shapes[its.shape], alike) for its in sent.accounts]
    except (LookupError, ValueError, ArithmeticError) as error:
        raise ValidationError(f"the accounts sent do not fit their shapes: {error!r}") from error


def _remembered(its: View, shape: Shape, alike: dict[Any, Any]) -> Snapshot:  # Any: as above
    version, counts = alike.setdefault(its.version, its.version), array("q", its.counts)
    if len(counts) != 3 * len(shape.pools):
        raise ValueError(f"{len(counts)} numbers for {len(shape.pools)} counts")
    as_of, ends_at = (alike.setdefault(date, date) for date in its.dates[1:3])
    dates = (None, as_of, ends_at, *its.dates[3:])
    return Snapshot(
        its.account, version, as_of, its.until or ends_at, shape, dates, its.names, its.balances or NOBODY,  # type: ignore[arg-type]  # as_of and ends_at are dates
        its.roles or NOBODY, its.seats or NOBODY, its.known, counts,
    )  # fmt: skip


def versions_of(version: str) -> tuple[int, int]:
    """A snapshot's version as numbers: the catalog's and the account's."""
    catalog, _, account = version.partition(".")
    return int(catalog), int(account)
