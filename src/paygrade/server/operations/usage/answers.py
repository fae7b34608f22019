"""Answers to those who use and hold units, as given and as kept for whoever asks again under the same id.

Law: who asks again gets what was decided the first time: allowed or denied, why, and the counts of that moment.
"""

from datetime import datetime

import msgspec
from msgspec import Struct

from paygrade.decisions.decide import Decision
from paygrade.entitlements.model import Reason, Source


class Answer(Struct, frozen=True, gc=False):
    """What became of a request. `took_effect`: units were used, held or given back by it; `replayed`: it was asked
    before, and this is what was answered then."""

    decision: Decision
    took_effect: bool
    replayed: bool = False
    reservation: "ReservationView | None" = None


class ReservationView(Struct, frozen=True):
    """A reservation as it stands. `units` were reserved, `committed` of them used, `held` are still held."""

    id: str
    account: str
    feature: str
    member: str | None
    state: str
    units: int
    committed: int
    held: int
    made_at: datetime
    expires_at: datetime


class _Packed(Struct, frozen=True, array_like=True):
    """A decision without what its account and feature say."""

    allowed: bool
    reason: Reason
    quantity: int
    limit: int | None
    used: int | None
    reserved: int | None
    remaining: int | None
    unlimited: bool
    resets_at: datetime | None
    plan: str | None
    as_of: datetime
    version: str
    limited_by: str | None
    reservation: ReservationView | None


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(_Packed)


def packed(decision: Decision, reservation: ReservationView | None = None) -> bytes:
    """The part of an answer that is kept, read back as `_Packed`: sources are left out, they are the entitlement's."""
    return _encode(
        (
            decision.allowed,
            decision.reason,
            decision.quantity,
            decision.limit,
            decision.used,
            decision.reserved,
            decision.remaining,
            decision.unlimited,
            decision.resets_at,
            decision.plan,
            decision.as_of,
            decision.version,
            decision.limited_by,
            reservation,
        )
    )


def unpacked(kept: bytes, *, account: str, feature: str, sources: tuple[Source, ...]) -> Answer:
    """The answer that was given."""
    was = _decoder.decode(kept)
    decision = Decision(
        was.allowed,
        was.reason,
        account,
        feature,
        was.quantity,
        was.limit,
        was.used,
        was.reserved,
        was.remaining,
        was.unlimited,
        was.resets_at,
        None,
        was.plan,
        sources,
        was.as_of,
        was.version,
        False,
        was.limited_by,
    )
    return Answer(decision, was.allowed, replayed=True, reservation=was.reservation)
