"""What is had: the values that deriving makes and deciding reads."""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from paygrade.catalog.offers import PRIORITY, Cap, Credit, Feature, OveragePrice, Rate
from paygrade.values.states import State

Reason = Literal[
    "plan",
    "add_on",
    "override",
    "trial",
    "credit",
    "grace",
    "not_in_plan",
    "limit_reached",
    "insufficient_credit",
    "no_subscription",
    "trial_ended",
    "past_due",
    "unpaid",
    "paused",
    "canceled",
    "blocked",
    "no_seat",
    "role_not_permitted",
    "override_denied",
    "unknown_feature",
    "unknown_account",
    "stale",
]


Offer = Feature | Credit
"""What a key of the catalog that can be entitled stands for."""


class Source(Struct, frozen=True, omit_defaults=True):
    """Where an entitlement comes from. `plan` is versioned (`pro@3`); `subscription` is None for the default plan.

    `units` None with `unlimited` False: this kind of source has none. `until` is when the source is known to end.
    """

    kind: Literal["plan", "add_on", "leeway", "override", "block"]
    reason: Reason
    plan: str | None = None
    subscription: str | None = None
    state: State | None = None
    units: int | None = None
    unlimited: bool = False
    value: bool | int | str | None = None
    note: str = ""
    until: datetime | None = None
    spend_cap: int | None = None
    """What it lets overage cost, in minor units, where that is all it says."""


Kind = Literal["boolean", "config", "metered", "level", "credit"]


def kind_of(offer: Offer) -> Kind:
    return offer.__struct_config__.tag  # type: ignore[return-value]  # the tags of Offer are the kinds


class Entitlement(Struct, frozen=True, omit_defaults=True, gc=False):
    """What may be used of one feature during a segment, before counting.

    `granted` False: denied for `reason`. `limit` None: nothing is counted (boolean, config, unlimited). `soft`:
    going over is allowed. `tiers`: from how many units on another source is what allows them, ascending. `credit`
    set: units cost `rate` credits for every `per` units, or what `rates` says for the value of the usage event's
    `property`, and `limit` counts credits; it is set on a denied feature too, since credits granted later may pay.

    `[from_at, resets_at)` is the window usage counts in, with a limit or without: both None for what is held for good,
    and where the limit counts the last `rolling_s` seconds. `units_max`: where a soft limit ends after all, since it is
    as far as the spend cap pays at `overage_price`; None: nowhere. `per_member`: what one member may use of the limit.
    `caps`: limits in other windows, all of which hold; those that recur are aligned to `anchor_at`, and none of them
    ends a segment. `seat`: the level of which a member needs a seat. `in_seats`: members take these units up.
    `personal`: who asks matters, for one or the other. `rollover`: units carried to the next window,
    none of them from before `begun_at`. `priority`: where
    these units stand in the burn order. `rollover_share`: how much of what is left is carried, in percent, and
    `rollover_windows` for how many windows (None: as long as there is room). `owes`: what is used over the limit is
    taken from the next window's units. `plain`: one count against one limit, and nothing else to look at.
    """

    feature: str
    kind: Kind
    granted: bool
    reason: Reason
    plan: str | None = None
    value: bool | int | str | None = None
    limit: int | None = None
    unlimited: bool = False
    soft: bool = False
    tiers: tuple[tuple[int, Reason], ...] = ()
    credit: str | None = None
    rate: int = 1
    per: int = 1
    from_at: datetime | None = None
    resets_at: datetime | None = None
    warn: tuple[int, ...] = ()
    roles: tuple[str, ...] = ()
    seat: str | None = None
    in_seats: bool = False
    personal: bool = False
    sources: tuple[Source, ...] = ()
    units_max: int | None = None
    overage_price: OveragePrice | None = None
    per_member: int | None = None
    caps: tuple[Cap, ...] = ()
    anchor_at: datetime | None = None
    begun_at: datetime | None = None
    rolling_s: int | None = None
    rollover: int = 0
    priority: int = PRIORITY
    property: str | None = None
    rates: dict[str, Rate] | None = None
    plain: bool = True
    rollover_share: int = 100
    rollover_windows: int | None = None
    owes: bool = False


class Segment(Struct, frozen=True):
    """Entitlements that hold in `[from_at, until)`, by feature or credit key, as far as dates alone can change them."""

    from_at: datetime
    until: datetime
    entitlements: dict[str, Entitlement]


_HELD_BACK: frozenset[Reason] = frozenset({"past_due", "unpaid", "paused", "blocked"})
"""What closes a level for a while: it says nothing of how many seats there are, and takes nobody's away."""


def seats_of(its: Entitlement) -> int | None:
    """How many seats of this level there are; None: as many as anyone likes, or nobody can say for the time being."""
    if not its.granted:
        return None if its.reason in _HELD_BACK else 0
    return its.units_max if its.soft else its.limit


def carries(its: Entitlement) -> bool:
    """Whether anything of a window is carried into the next one: units that are left, or that are owed."""
    return bool(its.rollover) or its.owes
