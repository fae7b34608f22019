"""Answers to those who use and hold units, as given and as kept for whoever asks again under the same id.

Law: who asks again gets what was decided the first time: allowed or denied, why, and the counts of that moment.
"""

from datetime import datetime
from typing import Literal

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
    lease: "LeaseChange | None" = None


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


LeaseEnd = Literal["ended", "denied", "reset", "expired", "not_leasable"]


class LeaseView(Struct, frozen=True):
    """A lease as it stands. `held` units are held and can be claimed; `claimed` ones count as used, whether they are or
    not. What is claimed can be used until `resets_at`, when the window ends (None: it does not, or has ended).

    `over`: nothing more can be claimed or held, since the lease was `ended`, the account is `denied` the feature, the
    window was `reset`, its time has `expired`, or the feature is `not_leasable` any more. Units can be given back even
    then.
    """

    id: str
    account: str
    feature: str
    held: int
    claimed: int
    expires_at: datetime
    resets_at: datetime | None
    over: LeaseEnd | None = None


class LeaseChange(Struct, frozen=True):
    """A lease after a step, and how many `units` more it holds and how many were to `claim` by that step."""

    lease: LeaseView
    units: int
    claim: int


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
    lease: LeaseChange | None = None


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(_Packed)


def packed(decision: Decision, reservation: ReservationView | None = None, lease: LeaseChange | None = None) -> bytes:
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
            *(() if lease is None else (lease,)),
        )
    )


class KeptAnswer(Struct, frozen=True):
    """What of an answer as it was kept says where something was asked: what limited it, and its reservation."""

    limited_by: str | None
    reservation: ReservationView | None


def read_kept(kept: bytes) -> KeptAnswer:
    was = _decoder.decode(kept)
    return KeptAnswer(was.limited_by, was.reservation)


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
    return Answer(decision, was.allowed, replayed=True, reservation=was.reservation, lease=was.lease)
