"""Members and their seats: who is one, who has one, and who loses theirs when there are fewer.

Laws: a seat that is not there is given to nobody, whoever asks at the same moment; of many members stated at once all
are taken or none; a seat that is taken away says what it was taken for.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account, says_something_new
from paygrade.billing.facts import Member
from paygrade.catalog.model import Catalog, OverSeats
from paygrade.entitlements.derive import derive
from paygrade.entitlements.seats import (
    SeatLoss,
    Seats,
    chosen,
    losses,
    refuse_more_than_there_are,
    seats_at,
    stated,
    suspended,
    without_seat,
)
from paygrade.server.operations.accounts.record import load_account, lock_account, record
from paygrade.server.operations.audit.note import note
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction


TICK = timedelta(microseconds=1)
"""The least that two instants differ by."""


class MemberView(Struct, frozen=True):
    """A member as it stands. `suspended`: there are too few seats, and this one is not among the first.

    `since` is when the seat was given, `active_at` when the member last used something. `invited`: no member yet; the
    invitation stands until `expires_at`, or until it is withdrawn.
    """

    member: str
    role: str
    seat: bool
    since: datetime | None
    suspended: bool
    active_at: datetime | None
    invited: bool = False
    expires_at: datetime | None = None


class MembersView(Struct, frozen=True):
    """The members by key, and the seats they take up: `taken` of `units` of `level`. `level` None: the catalog counts
    no seats; `units` None: as many as anyone likes, or nobody can say for the time being."""

    account: str
    level: str | None
    units: int | None
    taken: int
    members: tuple[MemberView, ...]


class Reconciled(Struct, frozen=True):
    """An account whose members have no more seats than there are, and who lost what by that."""

    account: Account
    lost: tuple[SeatLoss, ...]


async def list_members(store: "Store", *, account: str, at: datetime) -> MembersView:
    """List members.

    The members with their role, their seat and since when, whether it is suspended, and their last activity. Refused
    `unknown_account`.
    """
    async with store.reading() as tx:
        return await _view(tx, (await load_account(tx, account)).account, at)


async def put_members(store: "Store", *, account: str, members: Sequence[Member], at: datetime) -> MembersView:
    """Add or update many members.

    Replace many members at once, all or none; others stay as they are. If a member would get a seat that is not free,
    nothing changes. Refused `unknown_account`, `no_seat_left`, `already_member`.
    """
    async with store.transaction() as tx:
        return await _view(tx, await state_members(tx, await lock_account(tx, account), members, at), at)


async def choose_seats(store: "Store", *, account: str, members: Sequence[str], at: datetime) -> MembersView:
    """Choose who has a seat.

    Give these members a seat, and take it from all others. Members who already have one keep their rank, new ones come
    after them. Refused `unknown_account`, `unknown_member`, `no_seat_left`.
    """
    async with store.transaction() as tx:
        held = await lock_account(tx, account)
        said = chosen(held, members, held.time(at))
        refuse_more_than_there_are(held, said, await _seats(tx, held, at), held.time(at))
        return await _view(tx, await _record(tx, held, said, at), at)


async def rank_seats(store: "Store", *, account: str, first: Sequence[str], at: datetime) -> MembersView:
    """Let these keep their seats before all others when there are fewer; nobody loses theirs by that.

    The others rank as if they had got their seats now, or just after the last of these. Refused `unknown_account`,
    `unknown_member`.
    """
    async with store.transaction() as tx:
        held = await lock_account(tx, account)
        now = held.time(at)
        seated, people = held.holding_seats(now), {**held.members, **held.invitations(now)}
        for member in first:
            if member not in seated:
                raise Refused(
                    "unknown_member", f"`{account}` has no member `{member}` with a seat; give them one first"
                )
        # At one instant the smaller key would come first.
        after = max([now, *(seated[member] + TICK for member in first)])
        later = [replace(people[key], seated_at=after) for key in seated if key not in first]
        if later:
            note(tx, "seats.rank", account, changes={"first": len(first), "later": len(later)},
                 personal={"first": list(first)}, at=at)  # fmt: skip
        for one in later:
            held = await record(tx, held, subject=f"member:{one.key}", body=one, at=at)
        return await _view(tx, held, at)


async def state_members(tx: "Transaction", account: Account, members: Iterable[Member], at: datetime) -> Account:
    """Record what is said of members of an account that `tx` has locked. Refused `no_seat_left`, `already_member`."""
    policy = (await tx.catalogs.in_force()).policies.invitations
    said = [stated(account, member, account.time(at), policy) for member in members]
    if any(member.seat for member in said):
        refuse_more_than_there_are(account, said, await _seats(tx, account, at), account.time(at))
    return await _record(tx, account, said, at)


async def _record(tx: "Transaction", account: Account, said: Sequence[Member], at: datetime) -> Account:
    note_members(tx, "member.set", account, said, at)
    for member in said:
        account = await record(tx, account, subject=f"member:{member.key}", body=member, at=at)
    return account


def note_members(tx: "Transaction", action: str, account: Account, members: Sequence[Member], at: datetime) -> None:
    """Note what is said of members that differs from what was said before: who they are is personal."""
    people = {**account.members, **account.invitations(account.time(at))}
    changed = {
        member.key: [_said(people.get(member.key)), _said(member)]
        for member in members
        if says_something_new(account, f"member:{member.key}", member)
    }
    if changed:
        note(tx, action, account.key, changes={"members": len(changed)}, personal={"members": changed}, at=at)


def _said(member: Member | None) -> dict[str, object] | None:
    if member is None or member.role is None:
        return None
    return {"role": member.role, "seat": member.seat, **({"invited": True} if member.invited else {})}


async def reconcile_seats(
    tx: "Transaction", account: Account, catalog: Catalog, word: OverSeats, cause: str, at: datetime
) -> Reconciled:
    """Let no more members have a seat than there are at `at`, as `word` of a plan-change rule says.

    `tx` has the account locked. `cause` is the id of the plan change: the facts of those released carry it. Where seats
    are suspended nothing is recorded, since they heal by themselves. Doing it again takes nothing more away.
    """
    now = account.time(at)
    if not account.holding_seats(now):
        return Reconciled(account, ())
    active_at = await tx.ledger.active_at(account.key, list(account.seated)) if word == "release_least_active" else {}
    lost = losses(account, seats_at(derive(account, catalog, now).entitlements), word, active_at, now)
    for loss in lost:
        if loss.how == "released":
            body = without_seat(account, loss.member, now)
            account = await record(tx, account, subject=f"member:{body.key}", body=body, cause=(cause,), at=at)
    return Reconciled(account, lost)


def taken_by_members(account: str, feature: str) -> Refused:
    return Refused(
        "taken_by_members",
        f"members of `{account}` have its `{feature}`, so a number can't be reported; give and take seats with "
        f"`PUT /v1/accounts/{account}/members/{{member}}`",
    )


async def _seats(tx: "Transaction", account: Account, at: datetime) -> Seats | None:
    return seats_at(derive(account, await tx.catalogs.in_force(), account.time(at)).entitlements)


async def _view(tx: "Transaction", account: Account, at: datetime) -> MembersView:
    now = account.time(at)
    seats, seated = await _seats(tx, account, at), account.holding_seats(now)
    over, people = suspended(seated, seats), {**account.members, **account.invitations(now)}
    active_at = await tx.ledger.active_at(account.key, list(account.members))
    return MembersView(
        account=account.key,
        level=seats.level if seats is not None else None,
        units=seats.units if seats is not None else None,
        taken=len(seated),
        members=tuple(
            MemberView(
                key,
                one.role or "",
                one.seat,
                seated.get(key),
                key in over,
                active_at.get(key),
                one.invited,
                one.expires_at,
            )
            for key, one in sorted(people.items())
        ),
    )
