"""The decision: may they, now, and why?

Laws: `decide` is pure in its arguments, total and never raises; one or more are allowed iff
`used + reserved + quantity <= limit` in every counter they are in, and none at all whenever the feature is had; every
decision names its reason and its sources, and the instant and version it was made on.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from msgspec import UNSET, Struct, UnsetType, field
from msgspec.structs import replace

from paygrade.catalog.offers import Cap, OnError
from paygrade.decisions.snapshots import HELD, Dates, Snapshot, Terms, balance_of, entitlements_at, sources_of
from paygrade.entitlements.model import Entitlement, Reason, Source, seats_of
from paygrade.usage.balances import (
    Balance,
    Detail,
    Tally,
    cap_slot,
    freed_at,
    in_window,
    member_slot,
    rolled,
    rolling_slot,
)
from paygrade.usage.prices import price, rate_of, set_aside
from paygrade.values.text import on_wire


class Decision(Struct, frozen=True, gc=False):
    """The answer for `quantity` more units of `feature`. Truthy when allowed.

    `limit`, `used`, `reserved` and `remaining` are units of the feature (for a feature paid in credits: what the
    credits buy, rounded down); None where nothing is counted. They are those of the counter that stands in the way:
    `limited_by` names it where that is not the limit itself (`hour`, `rolling 60s`, `member`, `spend_cap`, `budget 5000
    usd day`). `as_of`
    is when the snapshot it rests on was taken; `stale` says that the snapshot's time had run out. `sources` are worked
    out when they are asked for: whoever writes a decision down takes `bound(decision)`.
    """

    allowed: bool
    reason: Reason
    account: str
    feature: str
    quantity: int
    limit: int | None
    used: int | None
    reserved: int | None
    remaining: int | None
    unlimited: bool
    resets_at: datetime | None
    value: bool | int | str | None
    plan: str | None
    origin: tuple[Source, ...] | Terms = field(name="sources")
    as_of: datetime
    version: str
    stale: bool
    limited_by: str | None = None
    snapshot: Snapshot | UnsetType = UNSET
    """Of whose dates and subscriptions `origin` speaks, where it is terms."""

    def __bool__(self) -> bool:
        return self.allowed

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where it comes from, what decides first."""
        if isinstance(self.origin, Terms):
            return sources_of(self.snapshot, self.origin) if self.snapshot is not UNSET else ()
        return self.origin


AnyDecision = TypeVar("AnyDecision", bound=Decision)


def bound(decision: AnyDecision) -> AnyDecision:
    """The same decision on its own, as it is written down."""
    return replace(decision, origin=decision.sources, snapshot=UNSET)


def decide(
    snapshot: Snapshot,
    feature: str,
    quantity: int,
    at: datetime,
    *,
    member: str | None = None,
    properties: Mapping[str, object] | None = None,
    kind: type[Decision] = Decision,
) -> Decision:
    """Whether this account may use `quantity` more units of `feature` at `at`.

    `quantity` 0 asks whether it has the feature at all, however much of it is used. A feature with roles needs a
    `member` who has one of them, and one that takes a seat a `member` who has one. `properties` are those of the usage,
    where its price in credits depends on one. `kind`: what the decision is made as.
    """
    # The hot path of every product that asks: subscripts and comparisons, no call that need not be.
    dates, shape = snapshot.dates, snapshot.shape
    all_terms, stale = shape.terms, False
    try:
        if at >= dates[shape.until]:  # type: ignore[operator]  # a segment has an end
            all_terms, stale = _terms_at(snapshot, at), at >= snapshot.until
        terms = all_terms[feature]
        its = terms.its
        allowed, limit = its.granted, its.limit
        # Nothing is counted of what is had without a limit.
        balance = snapshot.balances.get(feature) if limit is not None or not allowed else None
    except KeyError:
        terms, balance, stale = _UNKNOWN[snapshot.known], None, at >= snapshot.until
        its, allowed, limit = terms.its, False, None
    reason, unlimited, resets_at = its.reason, its.unlimited, dates[terms.resets_at]
    used: int | None = None
    reserved: int | None = None
    remaining: int | None = None
    limited_by: str | None = None
    detail = balance.detail if balance is not None else None
    if not its.plain or (detail is not None and not (allowed and _only_holds(detail, at))):
        allowed, reason, limit, used, reserved, remaining, unlimited, resets_at, limited_by = _decide_in_every_counter(
            snapshot, all_terms, terms, quantity, at, member, properties
        )
    elif limit is not None:
        used, reserved = 0, 0
        # A count of another period says nothing about this one.
        if balance is not None:
            if balance.from_at == dates[terms.from_at]:
                used, reserved = balance.used, balance.reserved
        elif (
            (counts := snapshot.counts) is not None
            and (place := shape.pools.get(feature)) is not None
            and (all_terms is shape.terms or dates[shape.terms[feature].from_at] == dates[terms.from_at])
        ):
            used, reserved = counts[3 * place], counts[3 * place + 1]
        total = used + reserved
        remaining = limit - total if limit > total else 0
        if allowed:
            asked = total + quantity
            if asked > limit and quantity and not its.soft:
                allowed, reason = False, "limit_reached"
            elif its.tiers and asked > its.tiers[0][0]:
                reason = _tier(its, asked)
    if allowed and its.personal:
        allowed, reason = _personally(snapshot, all_terms, its, member, reason)
    # By position, here and nowhere else: by name it takes ten times as long.
    return kind(
        allowed, reason, snapshot.account, feature, quantity, limit, used, reserved, remaining, unlimited, resets_at,
        its.value if allowed else None, its.plan, terms, snapshot.as_of, snapshot.version, stale, limited_by,
        snapshot,
    )  # fmt: skip


def _only_holds(detail: Detail, at: datetime) -> bool:
    """Whether all there is beside a plain count are units that are held still, which it has counted. Other counters
    beside it say nothing where only one is looked at, and credits paid ahead nothing where none are paid."""
    more = detail.grants or detail.carried_units or detail.carried != _NONE
    return not more and (not detail.holds or at < detail.holds[0].until)


_UNKNOWN = {
    True: Terms(Entitlement("", "boolean", granted=False, reason="unknown_feature"), 0, 0, 0, 0, ()),
    False: Terms(Entitlement("", "boolean", granted=False, reason="unknown_account"), 0, 0, 0, 0, ()),
}
"""What is had of a feature that nobody knows, by whether the account is known."""


def _personally(
    snapshot: Snapshot, all_terms: Mapping[str, Terms], entitlement: Entitlement, member: str | None, reason: Reason
) -> tuple[bool, Reason]:
    """Whether this member may use what the account may; `reason` is why the account may."""
    if entitlement.roles and snapshot.roles.get(member or "") not in entitlement.roles:
        return False, "role_not_permitted"
    if entitlement.seat is not None:
        place, level = snapshot.seats.get(member or ""), all_terms.get(entitlement.seat)
        there_are = seats_of(level.its) if level is not None else 0
        if place is None or place >= (HELD if there_are is None else there_are):
            return False, "no_seat"
    return True, reason


class Room(Struct, frozen=True):
    """How much of one counter there is, and is left. `limit` None: as much as anyone likes."""

    limit: int | None
    used: int
    reserved: int
    resets_at: datetime | None
    name: str | None = None

    @property
    def left(self) -> int:
        return 0 if self.limit is None else max(0, self.limit - self.used - self.reserved)

    def fits(self, quantity: int) -> bool:
        return not quantity or self.limit is None or self.used + self.reserved + quantity <= self.limit


_Counts = tuple[
    bool, Reason, int | None, int | None, int | None, int | None, bool, datetime | None, str | None
]  # fmt: skip
"""Whether and why; limit, used, reserved and remaining; whether that is unlimited, when it resets, what limits it."""


def _decide_in_every_counter(
    snapshot: Snapshot,
    all_terms: Mapping[str, Terms],
    terms: Terms,
    quantity: int,
    at: datetime,
    member: str | None,
    properties: Mapping[str, object] | None,
) -> _Counts:
    """What is decided where more than one counter has a say: grants, credits, shorter windows, members."""
    dates, entitlement = snapshot.dates, terms.its
    feature, credit = entitlement.feature, entitlement.credit
    paid_by = terms if credit is None else all_terms.get(credit, terms)
    payer = paid_by.its
    balance = in_window(balance_of(snapshot, feature), dates[terms.from_at], at)
    paying = balance if credit is None else in_window(balance_of(snapshot, credit), dates[paid_by.from_at], at)
    amount = quantity if credit is None else price(entitlement, balance, quantity, properties)
    allowed, reason = _granted(entitlement, payer, paying, at)
    own, beside = _rooms(paid_by, dates, paying, at)
    room = ceiling = _together(own, beside)
    if payer.soft:
        over = payer.units_max
        ceiling = replace(room, limit=None if over is None else over + (beside.limit or 0), name="spend_cap")
    # Nothing is counted of what is not had at all, whatever is still held of it.
    shown, priced = (room if allowed else Room(None, 0, 0, dates[terms.resets_at])), True
    if allowed:
        counted = [(ceiling, amount, True), *((r, amount, True) for r in _beside(paid_by, dates, paying, at, member))]
        if credit is not None:
            counted += [(r, quantity, False) for r in _beside(terms, dates, balance, at, member)]
        tight = next((found for found in counted if not found[0].fits(found[1])), None)
        if tight is not None:
            shown, _, priced = tight
            allowed, reason = False, "limit_reached" if credit is None or shown.name else "insufficient_credit"
        elif credit is None:
            reason = _paid_by(payer, own, beside, quantity, reason)
    unlimited = room.limit is None and entitlement.granted and entitlement.unlimited
    counts = in_units(entitlement, balance, shown, properties, priced=priced)
    return allowed, reason, *counts, unlimited, shown.resets_at, shown.name


def decide_to_hold(
    snapshot: Snapshot,
    feature: str,
    quantity: int,
    at: datetime,
    *,
    member: str | None = None,
    properties: Mapping[str, object] | None = None,
) -> Decision:
    """The same for units to be held, whose price is rounded up on its own: a fraction that is paid for already may be
    used by somebody else until they are committed."""
    decision = decide(snapshot, feature, quantity, at, member=member, properties=properties)
    entitlement = entitlements_at(snapshot, at).get(feature)
    if not decision.allowed or entitlement is None or entitlement.credit is None:
        return decision
    amount = set_aside(entitlement, quantity, properties)
    if decide(snapshot, entitlement.credit, amount, at).allowed:
        return decision
    return replace(decision, allowed=False, reason="insufficient_credit", value=None)


OPENED_BY_GRANTS: frozenset[Reason] = frozenset({"not_in_plan", "no_subscription", "canceled", "trial_ended"})
"""What units granted by themselves can make up for: nothing that suspends what was paid for."""


def _granted(entitlement: Entitlement, payer: Entitlement, paying: Balance, at: datetime) -> tuple[bool, Reason]:
    if entitlement.granted:
        return True, entitlement.reason
    grants = paying.detail.grants if paying.detail is not None else ()
    opens = entitlement.reason in OPENED_BY_GRANTS
    if opens and any(grant.spendable(at, asleep=payer.asleep) and grant.granted > grant.voided for grant in grants):
        return True, "credit"
    return False, entitlement.reason


def _rooms(terms: Terms, dates: Dates, paying: Balance, at: datetime) -> tuple[Room, Room]:
    """What the window has, and what units carried into it and grants have beside it."""
    payer, detail = terms.its, paying.detail
    if payer.rolling_s is not None:
        name = rolling_slot(payer.rolling_s)
        tally = detail.tallies.get(name, _NONE) if detail is not None else _NONE
        used, reserved = rolled(tally, payer.rolling_s, at), tally.reserved
        resets_at = freed_at(tally, payer.rolling_s)
    else:
        used, reserved, resets_at = paying.used, paying.reserved, dates[terms.resets_at]
    limit = payer.limit if payer.granted else 0
    if limit is not None and detail is not None and detail.carried_units < 0:
        limit = max(0, limit + detail.carried_units)
    own = Room(limit, used, reserved, resets_at)
    if detail is None or own.limit is None:
        return own, Room(0, 0, 0, None)
    carried = detail.carried
    # What was given before this window and is spent is over; where nothing begins anew, it is part of what is held.
    begun_at = dates[terms.from_at] if payer.rolling_s is None else at - timedelta(seconds=payer.rolling_s)
    extra = [
        grant
        for grant in detail.grants
        if grant.spendable(at, asleep=payer.asleep)
        and not (grant.spent and begun_at is not None and grant.from_at < begun_at)
    ]
    return own, Room(
        sum(grant.granted - grant.voided for grant in extra)
        + max(detail.carried_units, carried.used + carried.reserved),
        carried.used + sum(grant.used for grant in extra),
        carried.reserved + sum(grant.reserved for grant in extra),
        None,
    )


def _together(own: Room, beside: Room) -> Room:
    """Nothing is worth less than what was already taken of it: over-use of one does not eat the others."""
    if own.limit is None or not beside.limit:
        return own
    limit = max(own.limit, own.used + own.reserved) + beside.limit
    return Room(limit, own.used + beside.used, own.reserved + beside.reserved, own.resets_at)


def _beside(terms: Terms, dates: Dates, balance: Balance, at: datetime, member: str | None) -> list[Room]:
    """The counters beside the limit: shorter windows and the member's own share."""
    entitlement = terms.its
    tallies = balance.detail.tallies if balance.detail is not None else {}
    found = []
    for cap in entitlement.caps:
        if cap.recurrence is None:
            slot, length_s = rolling_slot(cap.rolling_s or 0), cap.rolling_s or 0
            tally = tallies.get(slot, _NONE)
            freed, name = freed_at(tally, length_s), _name_of(cap, slot)
            found.append(Room(cap.units, rolled(tally, length_s, at), tally.reserved, freed, name))
        else:
            slot, until = cap_slot(cap.recurrence, dates[terms.anchor_at] or at, at)
            tally = tallies.get(slot, _NONE)
            name = _name_of(cap, slot.partition(" ")[0])
            found.append(Room(cap.units, tally.used, tally.reserved, until, name))
    if entitlement.per_member is not None and member is not None:
        tally = tallies.get(member_slot(dates[terms.from_at], member), _NONE)
        found.append(Room(entitlement.per_member, tally.used, tally.reserved, dates[terms.resets_at], "member"))
    return found


def _name_of(cap: Cap, window: str) -> str:
    return window if cap.budget is None else f"budget {cap.budget.amount} {cap.budget.currency} {window}"


def _paid_by(payer: Entitlement, own: Room, beside: Room, quantity: int, reason: Reason) -> Reason:
    """What allows the last of these units: a tier of the plan's, or units granted by themselves."""
    if own.limit is not None and 0 < quantity - own.left <= beside.left:
        return "credit"
    return _tier(payer, own.used + own.reserved + quantity) if payer.tiers and reason != "credit" else reason


def in_units(
    entitlement: Entitlement, balance: Balance, shown: Room, properties: Mapping[str, object] | None, *, priced: bool
) -> tuple[int | None, int | None, int | None, int | None]:
    """Limit, used, reserved and remaining in units of the feature."""
    if shown.limit is None:
        return None, None, None, None
    if entitlement.credit is None or not priced:
        return on_wire(shown.limit), on_wire(shown.used), on_wire(shown.reserved), on_wire(shown.left)
    rate, per = rate_of(entitlement, properties)
    ahead, den = balance.detail.ahead if balance.detail is not None else (0, 1)
    used, reserved = shown.used * per // rate, shown.reserved * per // rate
    left = max(0, (shown.left * den + ahead) * per // (rate * den))
    return on_wire(used + reserved + left), on_wire(used), on_wire(reserved), on_wire(left)


_NONE = Tally()


def decide_unsure(
    snapshot: Snapshot,
    feature: str,
    quantity: int,
    at: datetime,
    *,
    on_error: OnError,
    member: str | None = None,
    properties: Mapping[str, object] | None = None,
    kind: type[Decision] = Decision,
) -> Decision:
    """The answer while balances cannot be read: as ever for what is not counted, as `on_error` says for the rest."""
    decision = decide(snapshot, feature, quantity, at, member=member, properties=properties, kind=kind)
    if decision.limit is None:
        return replace(decision, stale=True)
    asked_nothing = decide(snapshot, feature, 0, at, member=member, properties=properties)
    if not asked_nothing.allowed:
        # Counts aside it is denied, to this member: whatever is known of them, that stays.
        return replace(decision, allowed=False, reason=asked_nothing.reason, stale=True)
    if on_error == "deny":
        return replace(decision, allowed=False, reason="stale", stale=True)
    return replace(decision, allowed=True, reason=asked_nothing.reason, stale=True)


def _terms_at(snapshot: Snapshot, at: datetime) -> dict[str, Terms]:
    """Those of the segment `at` falls in; of the last one when time has run past them all."""
    spans = snapshot.shape.spans
    for span in spans:
        if at < snapshot.dates[span.until]:  # type: ignore[operator]  # a segment has an end
            return span.terms
    return spans[-1].terms if spans else {}


def _tier(entitlement: Entitlement, total: int) -> Reason:
    reason = entitlement.reason
    for threshold, beyond in entitlement.tiers:
        if total > threshold:
            reason = beyond
    return reason
