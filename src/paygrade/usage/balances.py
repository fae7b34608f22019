"""Balances: what is used, held and granted of one feature or credit, as counted in its slots.

A *slot* is one counter of a *pool* (a feature or credit of one account): the window that began at an instant, the
units carried into it, a shorter window, a member, or a grant. Names of slots are part of what is stored:

| slot | what it counts |
|---|---|
| `2026-11-01T00:00:00Z` | the window that begins then; `lifetime` where nothing ever resets |
| `carried 2026-11-01T00:00:00Z` | units carried into that window |
| `2026-11-01T00:00:00Z member:ann` | what one member used in that window |
| `2026-11-01T00:00:00Z node:team-a/jane` | what was used at a node and below it in that window |
| `… node:team-a?model=gpt-5` | the same of uses whose properties have these values |
| `hour 2026-11-01T13:00:00Z`, `36000s …` | a shorter window with a limit of its own |
| `rolling 3600s`, `rolling 3600s node:…` | the last so many seconds |
| `grant:gr_1` | units granted by themselves |

What sleeps is available and cannot be spent: it wakes with a paid plan, and expires like anything else.

Laws: granted = available + reserved + consumed + expired + voided for every grant at every instant, where a grant is
never worth less than what was already taken of it; what a reservation held counts until the instant it expires at,
told or not; a rolling window never counts less than what was used within it.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from paygrade.values.periods import Recurrence, parse_instant, window_at
from paygrade.values.text import on_wire

GrantKind = Literal["window", "carried", "purchase", "top_up", "promotion", "trial", "adjustment"]
SlotKind = Literal["window", "carried", "member", "node", "cap", "rolling", "grant"]
BOUGHT: frozenset[GrantKind] = frozenset({"purchase", "top_up"})
LIFETIME = "lifetime"
BUCKETS = 60
"""Into how many buckets a rolling window is cut; the oldest one counts whole."""
NOWHERE: Mapping[str, str] = {}
_NODE = " node:"
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Slot(Struct, frozen=True):
    """A slot as its stored name says.

    `name`: whose share it is (`member`), which grant, or how long the window is (`cap`: `hour`, `3600s`; `rolling`:
    `3600s`). `at`: when the window begins that it counts in; None: nothing there begins anew. `node`: which one it
    counts for, with the values of properties it counts alone (`node`, `rolling`).
    """

    kind: SlotKind
    name: str = ""
    at: datetime | None = None
    node: str = ""

    @property
    def pays(self) -> bool:
        """Whether units come from it; the others only count beside."""
        return self.kind in ("window", "carried", "grant")

    @property
    def length_s(self) -> int:
        """How long a rolling window is."""
        return int(self.name[:-1])


@lru_cache(maxsize=16384)
def parse_slot(stored: str) -> Slot:
    """What a slot counts, by its stored name. Asked of the same few again and again."""
    if stored.startswith("grant:"):
        return Slot("grant", stored[6:])
    head, _, rest = stored.partition(" ")
    match head:
        case "rolling":
            length, _, node = rest.partition(_NODE)
            return Slot("rolling", length, node=node)
        case "carried":
            return Slot("carried", at=_begin(rest))
    if not rest:
        return Slot("window", at=_begin(head))
    if rest.startswith("member:"):
        return Slot("member", rest[7:], _begin(head))
    if rest.startswith("node:"):
        return Slot("node", at=_begin(head), node=rest[5:])
    return Slot("cap", head, _begin(rest))


def _begin(stored: str) -> datetime | None:
    return None if stored == LIFETIME else parse_instant(stored)


class Grant(Struct, frozen=True, omit_defaults=True):
    """Units spendable in `[from_at, until)`; `until` None: they never expire. Lower `priority` burns first.

    `units` None: as many as anyone likes, which only a window has.
    """

    id: str
    kind: GrantKind
    units: int | None
    from_at: datetime
    until: datetime | None = None
    priority: int = 50
    used: int = 0
    reserved: int = 0
    voided: int = 0

    @property
    def slot(self) -> str:
        return f"grant:{self.id}"

    @property
    def left(self) -> int:
        """What is neither used, held nor voided."""
        return max(0, self._units - self.used - self.reserved - self.voided)

    @property
    def spent(self) -> bool:
        """Whether there is nothing left of it, and nothing held that could come back."""
        return not self.reserved and self.used + self.voided >= self._units

    @property
    def granted(self) -> int:
        return max(self._units, self.used + self.reserved + self.voided)

    @property
    def _units(self) -> int:
        return _ENDLESS if self.units is None else self.units

    def spendable(self, at: datetime, *, asleep: bool) -> bool:
        """Whether it can be used; `asleep`: what was bought cannot for the time being."""
        return self.stands(at) and not (asleep and self.kind in BOUGHT)

    def stands(self, at: datetime) -> bool:
        return self.from_at <= at and (self.until is None or at < self.until)


class Share(Struct, frozen=True):
    """Where the units of a grant are at an instant. `granted` is the sum of the others; both None: there is no end of
    them."""

    granted: int | None
    available: int | None
    reserved: int
    consumed: int
    expired: int
    voided: int


def share(grant: Grant, at: datetime) -> Share:
    """Split a grant into what is available, held, consumed, expired and voided at `at`."""
    if grant.units is None:
        return Share(None, None, grant.reserved, grant.used, 0, grant.voided)
    ended = grant.until is not None and at >= grant.until
    available, expired = (0, grant.left) if ended else (grant.left, 0)
    return Share(grant.granted, available, grant.reserved, grant.used, expired, grant.voided)


def burn_order(grant: Grant) -> tuple[int, datetime, str]:
    """What is spent first: the lower priority, then what expires sooner, then the smaller id."""
    return grant.priority, grant.until or _NEVER, grant.id


class Hold(Struct, frozen=True):
    """Units of a slot that a reservation holds until an instant."""

    until: datetime
    slot: str
    units: int


class Tally(Struct, frozen=True, omit_defaults=True):
    """A counter beside the window: of a shorter window, a member, or the last so many seconds.

    `buckets` are those of a rolling window: the second each begins at, and what was used in it.
    """

    used: int = 0
    reserved: int = 0
    buckets: tuple[tuple[int, int], ...] = ()


class Detail(Struct, frozen=True, omit_defaults=True):
    """What a balance has beyond a plain count.

    `carried`: what is used of units carried into the window, `carried_units` how many there are, below zero those that
    are owed. `ahead`: what has been paid for a fraction of a credit not used yet, as numerator and denominator; below
    zero it is owed. `holds` are in the order they end.
    """

    grants: tuple[Grant, ...] = ()
    holds: tuple[Hold, ...] = ()
    tallies: dict[str, Tally] = {}
    carried: Tally = Tally()
    carried_units: int = 0
    ahead: tuple[int, int] = (0, 1)


NOTHING_MORE = Detail()


class Balance(Struct, frozen=True, gc=False):
    """What is used and held of one feature or credit in the window that began at `from_at` (None: for good), as far as
    it can be shown: the rows may have more.

    `detail` None: a plain count.
    """

    used: int
    reserved: int = 0
    from_at: datetime | None = None
    detail: Detail | None = None


class Row(Struct, frozen=True, gc=False):
    """One slot as it is kept."""

    used: int = 0
    reserved: int = 0
    detail: "SlotDetail | None" = None


class SlotDetail(Struct, frozen=True, omit_defaults=True):
    """What of a slot cannot be added up.

    `ahead` as in `Detail`; `buckets` as in `Tally`; `carried` units into a window, settled when it was first used, of
    them `lots` by the window they are from, the latest first, where they are carried for a number of windows;
    `latest` is when the value of a `last` meter was measured, and by which usage event.
    """

    ahead: tuple[int, int] | None = None
    buckets: tuple[tuple[int, int], ...] = ()
    carried: int | None = None
    latest: tuple[datetime, str] | None = None
    lots: tuple[int, ...] = ()


def assemble(
    rows: Mapping[str, Row], from_at: datetime | None, *, grants: Iterable[Grant] = (), holds: Iterable[Hold] = ()
) -> Balance:
    """The balance of one pool from its slots, for the window that began at `from_at`."""
    window, granted, held = slot_of(from_at), tuple(grants), tuple(sorted(holds, key=lambda hold: hold.until))
    kept = rows.get(window) or Row()
    if len(rows) <= 1 and not granted and not held and kept.detail is None:
        return Balance(on_wire(kept.used), on_wire(kept.reserved), from_at)
    carried = rows.get(carried_slot(from_at)) or Row()
    slot_detail = kept.detail or SlotDetail()
    tallies = {
        slot: Tally(row.used, row.reserved, row.detail.buckets if row.detail else ())
        for slot, row in rows.items()
        if not parse_slot(slot).pays
    }
    detail = Detail(
        granted,
        held,
        tallies,
        Tally(carried.used, carried.reserved),
        slot_detail.carried or 0,
        slot_detail.ahead or (0, 1),
    )
    return Balance(on_wire(kept.used), on_wire(kept.reserved), from_at, None if detail == NOTHING_MORE else detail)


def in_window(balance: Balance | None, from_at: datetime | None, at: datetime) -> Balance:
    """What counts at `at` in the window that began at `from_at`: of an earlier window only the grants are left."""
    if balance is None:
        return Balance(0, from_at=from_at)
    if balance.from_at == from_at:
        return expire_holds(balance, at)
    if balance.detail is None:
        return Balance(0, from_at=from_at)
    kept = replace(expire_holds(balance, at).detail or NOTHING_MORE, carried=NOTHING_MORE.carried, carried_units=0)
    return Balance(0, 0, from_at, kept)


def expire_holds(balance: Balance, at: datetime) -> Balance:
    """The balance without what reservations held that have expired by `at`."""
    detail = balance.detail
    if detail is None or not detail.holds or detail.holds[0].until > at:
        return balance
    ended = [hold for hold in detail.holds if hold.until <= at]
    settled = replace(balance, detail=replace(detail, holds=detail.holds[len(ended) :]))
    for hold in ended:
        settled = _let_go(settled, hold.slot, hold.units)
    return settled


def _let_go(balance: Balance, stored: str, units: int) -> Balance:
    """The balance with so many units of one slot held no more."""
    slot, detail = parse_slot(stored), balance.detail or NOTHING_MORE
    if stored == slot_of(balance.from_at):
        return replace(balance, reserved=balance.reserved - units)
    match slot.kind:
        case "window" | "carried" if slot.at != balance.from_at:
            return balance
        case "grant":
            grants = tuple(
                replace(grant, reserved=grant.reserved - units) if grant.id == slot.name else grant
                for grant in detail.grants
            )
            return replace(balance, detail=replace(detail, grants=grants))
        case "carried":
            carried = replace(detail.carried, reserved=detail.carried.reserved - units)
            return replace(balance, detail=replace(detail, carried=carried))
        case _:
            tally = detail.tallies.get(stored, Tally())
            tallies = {**detail.tallies, stored: replace(tally, reserved=tally.reserved - units)}
            return replace(balance, detail=replace(detail, tallies=tallies))


def put(buckets: tuple[tuple[int, int], ...], used: int, length_s: int, at: datetime) -> tuple[tuple[int, int], ...]:
    """Add to the bucket `at` falls in, and let go of those that have left the window. Below zero, what comes back is
    taken for the oldest that still counts: so it is gone when that would be, and is not missed once more then."""
    width, second = max(1, length_s // BUCKETS), int(at.timestamp())
    kept = {begins: units for begins, units in buckets if begins + width > second - length_s}
    if used > 0:
        latest = second // width * width
        kept[latest] = kept.get(latest, 0) + used
    for begins in sorted(kept) if used < 0 else ():
        back = min(-used, max(0, kept[begins]))
        kept[begins] -= back
        used += back
    return tuple(sorted((begins, units) for begins, units in kept.items() if units))


def rolled(tally: Tally, length_s: int, at: datetime) -> int:
    """What was used in the last `length_s` seconds, the oldest bucket whole."""
    width = max(1, length_s // BUCKETS)
    begins = int(at.timestamp()) - length_s
    return sum(units for second, units in tally.buckets if second + width > begins)


def freed_at(tally: Tally, length_s: int) -> datetime | None:
    """When the oldest bucket leaves the window."""
    if not tally.buckets:
        return None
    return datetime.fromtimestamp(tally.buckets[0][0] + max(1, length_s // BUCKETS) + length_s, UTC)


@lru_cache(maxsize=4096)
def slot_of(from_at: datetime | None) -> str:
    """The slot of the window that begins then."""
    return LIFETIME if from_at is None else f"{from_at.isoformat().removesuffix('+00:00')}Z"


def carried_slot(from_at: datetime | None) -> str:
    return f"carried {slot_of(from_at)}"


def member_slot(from_at: datetime | None, member: str) -> str:
    return f"{slot_of(from_at)} member:{member}"


def node_slot(window: str, node: str, where: Mapping[str, str] = NOWHERE) -> str:
    """The slot of a node in a window, or in one that rolls; `where`: of uses with these properties alone."""
    named = "&".join(f"{_quoted(key)}={_quoted(where[key])}" for key in sorted(where))
    return f"{window}{_NODE}{node}?{named}" if where else f"{window}{_NODE}{node}"


def _quoted(text: str) -> str:
    """Percent-encoded (RFC 3986, 2.1)."""
    return "".join(chr(byte) if chr(byte) in _UNRESERVED else f"%{byte:02X}" for byte in text.encode())


def rolling_slot(length_s: int) -> str:
    return f"rolling {length_s}s"


def cap_slot(recurrence: Recurrence, anchor_at: datetime, at: datetime) -> tuple[str, datetime | None]:
    """The slot of a shorter window at `at`, and when it ends."""
    window = window_at(recurrence, anchor_at, at)
    name = f"{recurrence.length_s}s" if recurrence.every == "custom" else recurrence.every
    return f"{name} {slot_of(window.from_at)}", window.until


_ENDLESS = 2**64
"""More units than anybody can count."""
_NEVER = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)
