"""Requests: what is asked of the ledger, by whoever sends it; under which id it is kept, and what marks it as the same.

Law: a request sent again is the same request only if it says the same in every field.
"""

from functools import lru_cache
from typing import Annotated

from msgspec import Meta, Struct

from paygrade.usage.entries import derived, digest
from paygrade.values.text import QUANTITY_MAX

TTL_MAX_S = 24 * 3600
Units = Annotated[int, Meta(ge=0, le=QUANTITY_MAX)]
Some = Annotated[int, Meta(ge=1, le=QUANTITY_MAX)]
Seconds = Annotated[int, Meta(ge=1, le=TTL_MAX_S)]
Properties = dict[str, str | int | bool]


class Consume(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Use `quantity` units, if that is allowed. `id` makes it count once. `node`: where below the account."""

    account: str
    feature: str
    id: str
    quantity: Units = 1
    member: str | None = None
    properties: Properties | None = None
    node: str | None = None


class Reserve(Struct, frozen=True):
    """Hold `quantity` units for `ttl_s` seconds, if that is allowed. `node`: where below the account."""

    account: str
    feature: str
    id: str
    quantity: Some = 1
    ttl_s: Seconds = 60
    member: str | None = None
    properties: Properties | None = None
    node: str | None = None


class Commit(Struct, frozen=True):
    """Use units of a reservation: `quantity` of them, or all; the rest is given back unless it is `keep`-t.

    `id` names this step, so that it counts once; a reservation is committed whole only once, so that needs none. It is
    priced with the properties it was reserved with, unless others are stated.
    """

    account: str
    reservation: str
    quantity: Units | None = None
    keep: bool = False
    id: str | None = None
    properties: Properties | None = None


class Release(Struct, frozen=True):
    """Give back what a reservation still holds."""

    account: str
    reservation: str


class Extend(Struct, frozen=True):
    """Let a reservation end `ttl_s` seconds from now."""

    account: str
    reservation: str
    ttl_s: Seconds = 60


class Lease(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold up to `units` units for one process, which claims them before it uses them: up to `claim` of them at once.

    `id` names the lease and makes this count once. It lasts `ttl_s` seconds, and no longer than the window. Of a `node`
    no units can be leased.
    """

    account: str
    feature: str
    id: str
    units: Some
    claim: Units = 0
    ttl_s: Seconds = 60
    node: str | None = None


class LeaseStep(Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a lease; `id` makes it count once. In this order: `unused` of the units claimed were not used and go
    back, up to `units` more are held, up to `claim` of what is held are claimed, and with `end` the rest is given back.
    With `ttl_s` the lease lasts so many seconds from now.
    """

    account: str
    lease: str
    id: str
    claim: Units = 0
    unused: Units = 0
    units: Units = 0
    ttl_s: Seconds | None = None
    end: bool = False


Asked = Consume | Reserve | Commit | Release | Extend | Lease | LeaseStep


def id_of(asked: Asked) -> str:
    """The id under which a request is kept in the ledger."""
    match asked:
        case Consume() | Reserve() | Lease() | LeaseStep():
            return asked.id
        case Commit(id=str() as id):
            return id
        case _:
            return derived(asked.reservation, type(asked).__name__.lower())


def reservation_of(asked: Asked) -> str | None:
    """The id of the reservation or lease that a request is a step of; None: it is none."""
    match asked:
        case Commit() | Release() | Extend():
            return asked.reservation
        case LeaseStep():
            return asked.lease
        case _:
            return None


def digest_of(asked: Asked) -> int:
    """What was asked, as 64 bits."""
    match asked:
        case Consume(properties=None, node=None):
            return _mark(asked.feature, asked.quantity, asked.member)
        case Consume():
            at_node = () if asked.node is None else (asked.node,)
            return digest("consume", asked.feature, asked.quantity, asked.member, asked.properties, *at_node)
        case Reserve():
            said = (asked.quantity, asked.ttl_s, asked.member, asked.properties)
            return digest("reserve", asked.feature, *said, *(() if asked.node is None else (asked.node,)))
        case Commit():
            return digest("commit", asked.reservation, asked.quantity, asked.keep, asked.properties)
        case Release() | Extend():
            return digest(type(asked).__name__, asked.reservation)
        case Lease():
            return digest("lease", asked.feature, asked.units, asked.claim, asked.ttl_s)
        case LeaseStep():
            step = (asked.claim, asked.unused, asked.units, asked.ttl_s, asked.end)
            return digest("lease step", asked.lease, *step)


@lru_cache(maxsize=1024)
def _mark(feature: str, quantity: int, member: str | None) -> int:
    """The mark of a use without properties: most of what is asked is asked again and again."""
    return digest("consume", feature, quantity, member, None)
