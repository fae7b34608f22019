"""Grants by themselves, and counts stated by hand: what an operator or the host application says of balances."""

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from paygrade.decisions.snapshots import Snapshot, balance_of, entitlements_at
from paygrade.entitlements.derive import derive
from paygrade.entitlements.model import Entitlement
from paygrade.server.operations.accounts.members import taken_by_members
from paygrade.server.operations.audit.note import note
from paygrade.server.operations.balances.unit_of_work import UnitOfWork, lock_balances, until_saved, windows_of
from paygrade.updates.log import News
from paygrade.updates.types import CreditGrant, CreditVoid
from paygrade.usage.balances import Grant, GrantKind, Share, in_window, share
from paygrade.usage.entries import Entry, EntryKind, Posting, derived, digest
from paygrade.usage.history import Stretch, burn_down, restate
from paygrade.usage.ledger import asleep, counted, grants_of, slots
from paygrade.values.errors import Refused
from paygrade.values.periods import parse_instant
from paygrade.values.text import on_wire

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction
    from paygrade.server.state.snapshots import Snapshots


class GrantView(Struct, frozen=True):
    """A grant and where its units are. `asleep`: they can't be spent until a plan is paid for."""

    grant: Grant
    share: Share
    asleep: bool = False


class BalanceView(Struct, frozen=True):
    """What an account has of one feature or credit, grant by grant in burn order.

    Of a feature that is paid in credits it says how many units were used, which no limit counts: `credits` is the
    balance they are paid from.
    """

    account: str
    pool: str
    used: int
    reserved: int
    limit: int | None
    resets_at: datetime | None
    grants: tuple[GrantView, ...]
    credits: "BalanceView | None" = None


async def give(
    store: "Store", snapshots: "Snapshots", *, account: str, pool: str, grant: Grant, reason: str, at: datetime
) -> GrantView:
    """Grant units.

    Grant units of a feature or credit besides what the plan allows. The same grant sent again changes nothing. Refused
    `unknown_account`, `unknown_feature`, `not_countable`, `not_grantable`, `paid_in_credits`, `id_conflict`,
    `already_expired`.
    """
    _refuse_ended(grant, at)
    its = entitlements_at(await _known(snapshots, store, account, pool, at), at)[pool]
    if its.in_seats:
        raise Refused(
            "not_grantable",
            f"`{pool}` is held by members and not spent; add more with an override: "
            f"`PUT /v1/accounts/{account}/overrides/{pool}` with `add`",
        )
    given = partial(_given, store, its, account=account, grant=grant, reason=reason, at=at)
    return await until_saved(store, given, at)


async def _given(
    store: "Store", entitlement: Entitlement, *, account: str, grant: Grant, reason: str, at: datetime
) -> GrantView:
    pool, credit = entitlement.feature, entitlement.credit
    mark = digest("grant", pool, grant.kind, grant.units, grant.priority, grant.until, reason)
    async with store.transaction() as tx:
        found = await tx.ledger.answered([(account, derived("grant", grant.id))])
        if found:
            _refuse_other(next(iter(found.values())).digest, mark, grant.id)
            its = (await tx.ledger.grants([(account, pool)], at)).get((account, pool), [])
            grant = next((g for g in its if g.id == grant.id), grant)
            return GrantView(grant, share(grant, at))
        if credit is not None:
            detail = f"`{pool}` is paid in `{credit}`, so units of it would pay for nothing; grant `{credit}` instead"
            raise Refused("paid_in_credits", detail)
        await grant_units(tx, account=account, pool=pool, grant=grant, reason=reason, mark=mark, at=at)
        changes = {"units": grant.units, "kind": grant.kind, "priority": grant.priority, "until": grant.until}
        note(tx, "grant.give", account, targets=_grant(pool, grant.id), changes=changes,
             personal={"reason": reason}, at=at)  # fmt: skip
    return GrantView(grant, share(grant, at))


async def grant_units(
    tx: "Transaction", *, account: str, pool: str, grant: Grant, reason: str, mark: int, at: datetime
) -> None:
    """Add a grant with its entry, and tell it."""
    assert grant.units is not None, "only a window has no end of units"
    await tx.ledger.touch(account, pool)
    work = await _lock_grants(tx, account, pool, at)
    work.grant(account, pool, grant, reason=reason)
    work.enter(Entry(account, derived("grant", grant.id), "grant", pool, grant.units, grant.from_at, at, mark))
    await work.save(tx)
    told = CreditGrant(pool, grant.id, grant.kind, grant.units, grant.from_at, grant.until)
    await tx.announce([News(account, "credit.granted", told, at)], at)


async def void(store: "Store", *, account: str, pool: str, id: str, at: datetime) -> GrantView:
    """Void a grant.

    Take back what is left of a grant; used units stay used. Refused `unknown_grant`. Doing it again changes
    nothing.
    """
    async with store.transaction() as tx:
        work = await _lock_grants(tx, account, pool, at)
        grant = next((g for g in work.grants(account, pool) if g.id == id), None)
        if grant is None:
            raise Refused("unknown_grant", f"`{account}` has no grant `{id}` of `{pool}` with units left")
        left = grant.left
        if left:
            grant = work.void(account, pool, grant, left)
            mark = digest("void", pool, id)
            work.enter(Entry(account, derived("void", id, grant.voided), "void", pool, left, at, at, mark))
            note(tx, "grant.void", account, targets=_grant(pool, id), changes={"units": left}, at=at)
            await _tell_void(tx, account, pool, grant, left, at)
        await work.save(tx)
    return GrantView(grant, share(grant, at))


async def take_back(
    tx: "Transaction", *, account: str, pool: str, id: str, units: int, taken: int, number: int, at: datetime
) -> int:
    """Have `units` of a grant taken back, where `taken` are by now, as far as they are not used; returns how many are.

    What is held of it is not lost to whoever holds it, and is gone when they give it back. `number` tells one taking
    back of a grant from another.
    """
    work = await _lock_grants(tx, account, pool, at)
    grant = next((g for g in work.grants(account, pool) if g.id == id), None)
    if grant is None or grant.units is None:
        return taken
    wanted = max(0, min(units, grant.units - grant.used - (grant.voided - taken)))
    if wanted != taken:
        voided = work.void(account, pool, grant, wanted - taken)
        await _tell_void(tx, account, pool, voided, wanted - taken, at)
        mark, its_id = digest("reversed", pool, id, number), derived("void", id, "reversed", number)
        work.enter(Entry(account, its_id, "void", pool, wanted - taken, at, at, mark))
    await work.save(tx)
    return wanted


async def _tell_void(tx: "Transaction", account: str, pool: str, voided: Grant, change: int, at: datetime) -> None:
    assert voided.units is not None, "only a window has no end of units"
    told = CreditVoid(pool, voided.id, voided.kind, voided.units, change, voided.voided)
    await tx.announce([News(account, "credit.voided", told, at)], at)


async def _lock_grants(tx: "Transaction", account: str, pool: str, at: datetime) -> UnitOfWork:
    """The grants of a pool, and the window beside them. What has expired of holds on them is still in their counts."""
    saved, catalog = await tx.accounts.load(account), await tx.catalogs.in_force()
    its = derive(saved.account, catalog, saved.account.time(at)).entitlements if saved else {}
    windows = windows_of(account, its, [pool])
    return await lock_balances(tx, catalog, [(account, pool, "grant:")], windows, at, expire=False)


async def state_usage(
    store: "Store", snapshots: "Snapshots", *, account: str, pool: str, used: int, id: str, reason: str, at: datetime
) -> BalanceView:
    """Set usage.

    Set how much is used in the current window, for example how many seats are taken. The difference is entered in the
    ledger. Refused `unknown_account`, `unknown_feature`, `not_countable`, `taken_by_members`, `id_conflict`.
    """
    snapshot = await _known(snapshots, store, account, pool, at)
    entitlements, catalog = entitlements_at(snapshot, at), await snapshots.catalog(store)
    if entitlements[pool].in_seats and snapshot.seats:
        raise taken_by_members(account, pool)
    keys = [(account, *pair) for pair in slots(entitlements, pool, at)]
    windows = windows_of(account, entitlements, {key[1] for key in keys})
    its, mark = entitlements[pool], digest("set", pool, used, reason)

    async def stated() -> BalanceView:
        async with store.transaction() as tx:
            work = await lock_balances(
                tx, catalog, keys, windows, at, snapshots={account: snapshot}, ids=[(account, id)]
            )
            known = work.answered.get((account, id))
            if known is not None:
                _refuse_other(known.digest, mark, id)
            else:
                balance = in_window(work.balance(account, pool, its.from_at), its.from_at, at)
                postings = restate(its, balance, used, at)
                work.post(account, postings, at)
                work.enter(Entry(account, id, "set", pool, used, at, at, mark, postings))
                note(tx, "usage.set", account, targets=[("feature", pool)], changes={"used": [balance.used, used]},
                     personal={"reason": reason, "id": id}, at=at)  # fmt: skip
                await work.save(tx)
            return view_balance(work.snapshot(account), pool, at)

    return await until_saved(store, stated, at)


async def read_balance(store: "Store", snapshots: "Snapshots", *, account: str, pool: str, at: datetime) -> BalanceView:
    """Retrieve a balance.

    What is used, held and left of a feature or credit, grant by grant in the order they are spent. Refused
    `unknown_account`, `unknown_feature`, `not_countable`.
    """
    return view_balance(await _known(snapshots, store, account, pool, at), pool, at)


class EntryView(Struct, frozen=True):
    """One line of the ledger as far as it concerns a pool. `denied`: why it was, and then it drew nothing."""

    id: str
    kind: EntryKind
    feature: str
    quantity: int
    member: str | None
    denied: str | None
    time: datetime
    recorded_at: datetime
    draws: tuple[Posting, ...]


class LedgerPage(Struct, frozen=True):
    """Entries of a pool, the newest first, and how they burned it down, the oldest first.

    `next` is the `before` of the next page; None: this is the last one.
    """

    account: str
    pool: str
    entries: tuple[EntryView, ...]
    burn_down: tuple[Stretch, ...]
    next: str | None


async def read_ledger(
    store: "Store", snapshots: "Snapshots", *, account: str, pool: str, before: str | None, limit: int, at: datetime
) -> LedgerPage:
    """List ledger entries.

    The entries behind a balance with what each posted, newest first, denials included; and how they burned the balance
    down. Refused `unknown_account`, `unknown_feature`, `not_countable`, `invalid_query`.
    """
    await _known(snapshots, store, account, pool, at)
    async with store.reading() as tx:
        found = await tx.ledger.entries(account, pool, before=_place(before), limit=limit + 1)
    shown = [_view_entry(entry, pool) for entry in found[:limit]]
    drawn = [(entry.recorded_at, draw) for entry in reversed(shown) for draw in entry.draws]
    last = shown[-1] if len(found) > limit else None
    following = f"{last.recorded_at.isoformat()} {last.id}" if last is not None else None
    return LedgerPage(account, pool, tuple(shown), burn_down(drawn), following)


def _view_entry(entry: Entry, pool: str) -> EntryView:
    draws = tuple(replace(draw, used=on_wire(draw.used)) for draw in entry.draws if draw.pool == pool)
    return EntryView(
        entry.id,
        entry.kind,
        entry.feature,
        entry.quantity,
        entry.member,
        entry.denied,
        entry.time,
        entry.recorded_at,
        draws,
    )


def _place(before: str | None) -> tuple[datetime, str] | None:
    if before is None:
        return None
    text, _, id = before.partition(" ")
    try:
        return parse_instant(text), id
    except ValueError as error:
        raise Refused("invalid_query", f"`before` must be the `next` of an earlier page: {error}") from None


def view_balance(snapshot: Snapshot, pool: str, at: datetime) -> BalanceView:
    """The balance of one pool, as a snapshot carries it."""
    its = entitlements_at(snapshot, at)[pool]
    balance = in_window(balance_of(snapshot, pool), its.from_at, at)
    if its.credit is not None:
        credits = view_balance(snapshot, its.credit, at)
        return BalanceView(snapshot.account, pool, balance.used, balance.reserved, None, its.resets_at, (), credits)
    grants = tuple(GrantView(grant, share(grant, at)) for grant in grants_of(its, balance, at))
    grants += tuple(GrantView(grant, share(grant, at), asleep=True) for grant in asleep(its, balance, at))
    used, reserved = counted(its, balance, at)
    return BalanceView(snapshot.account, pool, used, reserved, its.limit, its.resets_at, grants)


async def _known(snapshots: "Snapshots", store: "Store", account: str, pool: str, at: datetime) -> Snapshot:
    found = await snapshots.load(store, account, at)
    if not found.known:
        raise Refused("unknown_account", f"there is no account `{account}`; create it first")
    its = entitlements_at(found, at).get(pool)
    if its is None:
        raise Refused("unknown_feature", f"the catalog has no feature or credit `{pool}`")
    if its.kind in ("boolean", "config"):
        raise Refused("not_countable", f"`{pool}` is {its.kind} and is not counted")
    return found


def _refuse_ended(grant: Grant, at: datetime) -> None:
    if grant.until is not None and grant.until <= max(at, grant.from_at):
        raise Refused("already_expired", f"this grant would end at {grant.until.isoformat()}, before it begins")


def _grant(pool: str, id: str) -> list[tuple[str, str]]:
    return [("feature", pool), ("grant", id)]


def _refuse_other(known: int, mark: int, id: str) -> None:
    if known != mark:
        raise Refused("id_conflict", f"the id `{id}` was used for something else; use another one")


GRANT_KINDS: tuple[GrantKind, ...] = ("purchase", "promotion", "trial", "adjustment")
"""What may be granted by hand; the others come by themselves."""
