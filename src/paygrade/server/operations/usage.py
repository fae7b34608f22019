"""Using and holding units: many requests are decided together and saved in one transaction.

Laws: what is answered is saved before; an id has at most one effect, and a denied id stays denied; of requests for
one account, each one sees what those before it did; whoever loses a race is decided anew, with what is true then.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from paygrade.decisions import Decision, decide
from paygrade.entitlements import Snapshot
from paygrade.errors import Refused
from paygrade.entries import Answered, Entry, Held, Reservation, digest
from paygrade.ledger import after, apply, commit, committed_price, exact_price, hold, release, slots, spend
from paygrade.server.operations.answers import Answer, packed, unpacked
from paygrade.server.operations.book import Book, Due, expire_due, open_book

if TYPE_CHECKING:
    from paygrade.postgres.store import Store
    from paygrade.server.snapshots import Snapshots

TTL_MAX_S = 24 * 3600
HOLDS_MAX = 1000
"""How many reservations of one account may be open at a time."""


class Consume(Struct, frozen=True):
    """Use `quantity` units, if that is allowed. `id` makes it count once."""

    account: str
    feature: str
    id: str
    quantity: int = 1
    member: str | None = None
    properties: dict[str, Any] | None = None
    """Any: JSON as it was told."""


class Reserve(Struct, frozen=True):
    """Hold `quantity` units for `ttl_s` seconds, if that is allowed."""

    account: str
    feature: str
    id: str
    quantity: int = 1
    ttl_s: int = 60
    member: str | None = None
    properties: dict[str, Any] | None = None


class Commit(Struct, frozen=True):
    """Use units of a reservation: `quantity` of them, or all; the rest is given back unless it is `keep`-t.

    `id` names this step, so that it counts once; a reservation is committed whole only once, so that needs none.
    """

    account: str
    reservation: str
    quantity: int | None = None
    keep: bool = False
    id: str | None = None
    properties: dict[str, Any] | None = None


class Release(Struct, frozen=True):
    """Give back what a reservation still holds."""

    account: str
    reservation: str


class Extend(Struct, frozen=True):
    """Let a reservation end `ttl_s` seconds from now."""

    account: str
    reservation: str
    ttl_s: int = 60


Asked = Consume | Reserve | Commit | Release | Extend


async def use_together(
    store: "Store", snapshots: "Snapshots", asked: Sequence[Asked], at: datetime
) -> list[Answer | Refused]:
    """Decide and save these requests in one transaction; the answers, in their order."""
    accounts = {account: await snapshots.load(store, account, at) for account in {a.account for a in asked}}
    while True:
        try:
            return await _attempt(store, asked, accounts, at)
        except Due as due:
            await expire_due(store, due.accounts, at)


async def _attempt(
    store: "Store", asked: Sequence[Asked], accounts: dict[str, Snapshot], at: datetime
) -> list[Answer | Refused]:
    async with store.transaction() as tx:
        steps = [(a.account, a.reservation) for a in asked if isinstance(a, Commit | Release | Extend)]
        held = await tx.ledger.reservations(steps, lock=False) if steps else {}
        keys = {key for a in asked for key in _touched(a, accounts[a.account], held, at)}
        ids = [(a.account, id_of(a)) for a in asked]
        book = await open_book(tx, accounts, keys, ids, steps, at)
        answers = [_one(book, a) for a in asked]
        await book.save(tx)
    return answers


def _touched(
    asked: Asked, snapshot: Snapshot, held: dict[tuple[str, str], Reservation], at: datetime
) -> list[tuple[str, str, str]]:
    """The slots a request reads or changes."""
    account = asked.account
    match asked:
        case Consume(feature=feature, member=member) | Reserve(feature=feature, member=member):
            entitlements = entitlements_at(snapshot, at)
            if feature not in entitlements:
                return []
            return [(account, pool, slot) for pool, slot in slots(entitlements, feature, at, member=member)]
        case _:
            reservation = held.get((account, asked.reservation))
            if reservation is None:
                return []
            its = reservation.held
            pairs = [*((pool, slot) for pool, slot, _ in its.paid), *its.counted, *its.priced]
            more = _touched(_rest(asked, reservation), snapshot, held, at) if isinstance(asked, Commit) else []
            return [*((account, pool, slot) for pool, slot in pairs if not slot.startswith("grant:")), *more]


def _rest(asked: Commit, reservation: Reservation) -> Consume:
    """What is used beyond what was held."""
    more = max(0, (asked.quantity or 0) - reservation.held.units)
    return Consume(asked.account, reservation.feature, "", more, reservation.member, asked.properties)


def entitlements_at(snapshot: Snapshot, at: datetime) -> dict[str, Any]:
    """The entitlements in force at `at`. Any: Entitlement."""
    return next((s.entitlements for s in snapshot.segments if at < s.until), {})


def id_of(asked: Asked) -> str:
    """The id under which a request is kept in the ledger."""
    match asked:
        case Consume() | Reserve():
            return asked.id
        case Commit(id=str() as id):
            return id
        case _:
            return f"{asked.reservation}:{type(asked).__name__.lower()}"


def mark_of(asked: Asked) -> int:
    """What was asked, as 64 bits."""
    match asked:
        case Consume():
            return digest("consume", asked.feature, asked.quantity, asked.member, asked.properties)
        case Reserve():
            return digest("reserve", asked.feature, asked.quantity, asked.ttl_s, asked.member, asked.properties)
        case Commit():
            return digest("commit", asked.reservation, asked.quantity, asked.keep, asked.properties)
        case Release() | Extend():
            return digest(type(asked).__name__, asked.reservation)


def _one(book: Book, asked: Asked) -> Answer | Refused:
    known = book.answered.get((asked.account, id_of(asked)))
    if known is not None and not isinstance(asked, Extend):
        return _again(book, asked, known)
    try:
        match asked:
            case Consume():
                return _consume(book, asked)
            case Reserve():
                return _reserve(book, asked)
            case Commit():
                return _commit(book, asked)
            case Release():
                return _release(book, asked)
            case Extend():
                return _extend(book, asked)
    except Refused as refused:
        return refused
