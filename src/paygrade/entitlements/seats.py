"""Seats: how many there are, who of the members uses one, and who loses theirs when there are fewer.

Laws: never more members than there are seats use one, in whatever order their statements came in; the order is total:
whoever was given a seat first keeps it longest, at one instant the smaller key; suspending writes nothing, so that with
as many seats as before everything is as before; releasing takes as many as are over, and taking again takes nothing;
invitations go before members.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from math import inf
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Member
from paygrade.catalog.model import INVITATIONS, Invitations, OverSeats
from paygrade.entitlements.model import Entitlement, Reason, seats_of
from paygrade.values.errors import Refused

_NEVER = datetime.min.replace(tzinfo=UTC)
NAMED_MAX = 10


class Seats(Struct, frozen=True):
    """The seats of an account: those of `level`, the scarcest of the levels that count seats and that it has.

    `units` None: as many as anyone likes. `closed` set: nobody is given one for the time being, for this reason.
    """

    level: str
    units: int | None
    closed: Reason | None = None


class SeatLoss(Struct, frozen=True):
    """What a member lost: the seat itself (`released`), or its use for as long as there are too few (`suspended`)."""

    member: str
    level: str
    how: Literal["released", "suspended"]


def seats_at(entitlements: Mapping[str, Entitlement]) -> Seats | None:
    """The seats of these entitlements; None: the catalog counts none, and everybody may have one.

    A member with a seat takes one of each level that counts seats, so the scarcest that the account has decides.
    """
    levels = [its for its in entitlements.values() if its.in_seats]
    if not levels:
        return None
    had = [its for its in levels if its.granted] or levels
    scarcest = min(had, key=lambda its: inf if (units := seats_of(its)) is None else units)
    return Seats(scarcest.feature, seats_of(scarcest), None if scarcest.granted else scarcest.reason)


def suspended(seated: Iterable[str], seats: Seats | None) -> tuple[str, ...]:
    """Those who may not use their seat, as there are too few; `seated` as the account has them."""
    return () if seats is None or seats.units is None else tuple(seated)[seats.units :]


def losses(
    account: Account, seats: Seats | None, word: OverSeats, active_at: Mapping[str, datetime], at: datetime
) -> tuple[SeatLoss, ...]:
    """Who loses what, by the word of a plan-change rule, in the order it is taken away.

    `active_at`: when each member was last active. Whoever is invited goes first, then whoever never was active; ties
    go by key.
    """
    invited, seated = account.invitations(at), list(account.holding_seats(at))
    over = suspended(seated, seats)
    if seats is None or not over:
        return ()
    match word:
        case "suspend" | "owner_chooses":
            return tuple(SeatLoss(member, seats.level, "suspended") for member in over)
        case "release_newest":
            leaving = list(reversed(over))
        case "release_least_active":
            leaving = sorted(seated, key=lambda one: (one not in invited, active_at.get(one, _NEVER), one))[: len(over)]
    return tuple(SeatLoss(member, seats.level, "released") for member in leaving)


def without_seat(account: Account, member: str, at: datetime) -> Member:
    """What there is to state of a member, or of whoever is invited, whose seat is taken away."""
    people = {**account.members, **account.invitations(at)}
    return replace(people[member], seat=False, seated_at=None)


def stated(account: Account, member: Member, at: datetime, policy: Invitations = INVITATIONS) -> Member:
    """What there is to state of a member: with a seat, since when. Who has one keeps its place; who accepts an
    invitation comes after all members. Of an invitation: until when it stands. Refused `already_member`."""
    if member.role is None:
        return replace(member, seated_at=None, invited=False, expires_at=None)
    if not member.invited:
        return replace(member, seated_at=account.seated.get(member.key, at) if member.seat else None, expires_at=None)
    if member.key in account.members:
        raise Refused(
            "already_member", f"`{member.key}` is a member of `{account.key}` already; leave out `invited` to change it"
        )
    seat, until = member.seat and policy.hold_seat, None if policy.expire_after is None else at + policy.expire_after
    seated_at = account.holding_seats(at).get(member.key, at) if seat else None
    return replace(member, seat=seat, seated_at=seated_at, expires_at=until)


def chosen(account: Account, keeping: Collection[str], at: datetime) -> tuple[Member, ...]:
    """What there is to state so that these have a seat and nobody else, invited or not. Refused `unknown_member`."""
    members, invited = account.members, account.invitations(at)
    for key in keeping:
        if key not in members and key not in invited:
            raise Refused("unknown_member", f"`{account.key}` has no member `{key}`; add the member first")
    since = account.holding_seats(at)
    said = [stated(account, replace(one, seat=one.key in keeping), at) for one in members.values()]
    for key, one in invited.items():
        kept = key in keeping
        said.append(replace(one, seat=kept, seated_at=since.get(key, at) if kept else None))
    return tuple(said)


def refuse_more_than_there_are(account: Account, members: Iterable[Member], seats: Seats | None, at: datetime) -> None:
    """Refused `no_seat_left` where these statements give somebody a seat that is not there.

    Who is over already stays so: that alone refuses nothing. An invitation that is over holds none.
    """
    before, invited = account.holding_seats(at), account.invitations(at)
    held = before.keys() - (invited.keys() & set(suspended(before, seats)))
    after, given = dict.fromkeys(before), []
    for member in members:
        after.pop(member.key, None)
        if member.seat:
            after[member.key] = None
            given += [member.key] if member.key not in held else []
    if seats is None or not given:
        return
    if seats.closed is not None:
        raise Refused(
            "no_seat_left",
            f"`{account.key}` has no access to its `{seats.level}` at the moment [{seats.closed}]; "
            f"`paygrade explain {account.key} {seats.level}` says why",
        )
    if seats.units is not None and len(after) > seats.units:
        raise Refused(
            "no_seat_left",
            f"`{account.key}` has {seats.units} `{seats.level}`, and with {named(given)} it would need "
            f"{len(after)}; {_held(before)}: take one away (`seat` false), or add more `{seats.level}`",
        )


def _held(seated: Collection[str]) -> str:
    return f"{named(seated)} {'has' if len(seated) == 1 else 'have'} one now" if seated else "nobody has one now"


def named(members: Collection[str]) -> str:
    """The first of them by name."""
    shown = [f"`{member}`" for member in list(members)[:NAMED_MAX]]
    more = len(members) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
