"""Leases: units that one process holds as a reservation of its own, and claims before it uses them.

So whoever dies loses at most what it had claimed, which stays counted, and what it held comes back when the lease
expires, as of every reservation.

Laws: every step is decided anew: where the account is denied the feature, the window is over or the time is up, nothing
is claimed, and what the lease held is given back at once; what was claimed and not used can be given back whatever has
become of the lease, in the window it was counted in; a lease ends with its window at the latest.
"""

from datetime import datetime, timedelta
from typing import Literal

from msgspec.structs import replace

from paygrade.decisions.decide import decide
from paygrade.decisions.snapshots import entitlements_at
from paygrade.entitlements.model import Entitlement
from paygrade.server.operations.balances.unit_of_work import UnitOfWork
from paygrade.server.operations.usage.answers import Answer, LeaseChange, LeaseEnd, LeaseView, packed
from paygrade.server.operations.usage.requests import Lease, LeaseStep, digest_of
from paygrade.usage.balances import slot_of
from paygrade.usage.entries import Entry, Held, Posting, Reservation
from paygrade.usage.leases import LeaseMove, move_lease
from paygrade.values.errors import Refused
from paygrade.values.text import on_wire


def take_lease(work: UnitOfWork, asked: Lease) -> Answer:
    """Hold units for one process, and claim some of them at once. Refused `not_leasable`."""
    snapshot, at, account, feature = work.snapshot(asked.account), work.at, asked.account, asked.feature
    had = decide(snapshot, feature, 0, at)
    its = entitlements_at(snapshot, at).get(feature)
    if its is None:
        return Answer(replace(had, quantity=asked.units), took_effect=False)
    why = (
        "is asked for at a node, which has limits of its own; use it with `consume`"
        if asked.node is not None
        else _not_leasable(work, account, its)
    )
    if why is not None:
        raise Refused("not_leasable", f"`{feature}` {why}")
    slot = slot_of(its.from_at)
    move = move_lease(
        work.row((account, feature, slot)), _hard_limit(its), good=had.allowed, units=asked.units, claim=asked.claim
    )
    if not move.units:
        denied = decide(snapshot, feature, asked.units, at)
        work.enter(_entry(work, asked, feature, asked.units, packed(denied), denied=denied.reason))
        return Answer(denied, took_effect=False)
    ends_at = _ends_at(at, asked.ttl_s, its)
    made = Reservation(
        account, asked.id, feature, None, move.units, 0, "open", _held(feature, slot, move.held), at, ends_at
    )
    return _moved(work, asked, made, move, its, over=None, asked_for=asked.units, given=move.units)


def step_lease(work: UnitOfWork, asked: LeaseStep) -> Answer:
    """Give back, hold more of, claim from, extend or end a lease. Refused `unknown_lease`, `exceeds_lease`."""
    account, at = asked.account, work.at
    lease = work.reservations.get((account, asked.lease))
    if lease is None or lease.held.leased is None:
        raise Refused("unknown_lease", f"`{account}` has no lease `{asked.lease}`; take one with `POST /v1/leases`")
    if asked.unused > lease.committed:
        detail = f"`{asked.lease}` has claimed {lease.committed} units, and {asked.unused} are more; give back fewer"
        raise Refused("exceeds_lease", detail)
    snapshot = work.snapshot(account)
    its = entitlements_at(snapshot, at).get(lease.feature)
    over = _over(work, lease, its, at)
    move = move_lease(
        work.row((account, lease.feature, lease.held.leased)),
        _hard_limit(its),
        held=lease.held.units,
        claimed=lease.committed,
        good=over is None,
        unused=asked.unused,
        units=asked.units,
        claim=asked.claim,
        end=asked.end,
    )
    if over is None and asked.ttl_s is not None:
        lease = replace(lease, expires_at=_ends_at(at, asked.ttl_s, its))
    asked_for, given = (asked.claim, move.claim) if asked.claim else (asked.units, move.units)
    over = "ended" if over is None and asked.end else over
    return _moved(work, asked, lease, move, its, over=over, asked_for=asked_for, given=given)


def _moved(
    work: UnitOfWork,
    asked: Lease | LeaseStep,
    lease: Reservation,
    move: LeaseMove,
    its: Entitlement | None,
    *,
    over: LeaseEnd | None,
    asked_for: int,
    given: int,
) -> Answer:
    """Let a step take effect."""
    account, feature, slot, at = lease.account, lease.feature, lease.held.leased or "", work.at
    postings = (Posting(feature, slot, move.used, move.reserved),) if move.used or move.reserved else ()
    work.post(account, postings, at)
    changed = replace(
        lease, committed=move.claimed, state=_state(lease, move, over), held=_held(feature, slot, move.held)
    )
    work.resolve(changed)
    had = decide(work.snapshot(account), feature, 0, at)
    # Of what was given it is decided that it may be; of what was not, it is said whether anybody may have it.
    decision = (
        replace(had, quantity=given)
        if given or not asked_for
        else decide(work.snapshot(account), feature, asked_for, at)
    )
    resets_at = its.resets_at if its is not None and slot_of(its.from_at) == slot else None
    view = LeaseView(
        lease.id, account, feature, on_wire(move.held), on_wire(move.claimed), lease.expires_at, resets_at, over
    )
    change = LeaseChange(view, move.units, move.claim)
    work.enter(_entry(work, asked, feature, move.used, packed(decision, lease=change), postings))
    return Answer(decision, took_effect=True, lease=change)


def _over(work: UnitOfWork, lease: Reservation, its: Entitlement | None, at: datetime) -> LeaseEnd | None:
    """Why nothing more can be held or claimed."""
    if lease.state == "released":
        return "ended"
    if its is None or not decide(work.snapshot(lease.account), lease.feature, 0, at).allowed:
        return "denied"
    if slot_of(its.from_at) != lease.held.leased:
        return "reset"
    if lease.state == "expired" or lease.expires_at <= at:
        return "expired"
    return None if _not_leasable(work, lease.account, its) is None else "not_leasable"


def _not_leasable(work: UnitOfWork, account: str, its: Entitlement) -> str | None:
    """What stands in the way of holding units of this for a process, which knows one count and one limit; None: it can
    be leased."""
    if its.kind not in ("metered", "level"):
        return f"is of the kind {its.kind}: only metered features and levels are leased"
    if its.credit is not None:
        return "is paid in credits; use it with `consume`"
    if any(grant.left and grant.stands(work.at) for grant in work.grants(account, its.feature)):
        return "has units granted beside its limit; use it with `consume` until they are spent"
    if its.granted and its.limit is None:
        return "has no limit that units could be held of; report what is used as usage events, or use `consume`"
    if not its.plain:
        return "has more limits than one; use it with `consume`"
    if its.personal or its.in_seats:
        return "depends on the member who uses it; use it with `consume`"
    return None


def _hard_limit(its: Entitlement | None) -> int | None:
    return None if its is None or its.soft else its.limit


def _ends_at(at: datetime, ttl_s: int, its: Entitlement | None) -> datetime:
    """When a lease ends that lasts so long from now: with its window at the latest."""
    ends_at = at + timedelta(seconds=ttl_s)
    resets_at = its.resets_at if its is not None else None
    # What a test clock shows may lie before everybody's time.
    return min(ends_at, resets_at) if resets_at is not None and resets_at > at else ends_at


def _held(feature: str, slot: str, units: int) -> Held:
    return Held(units, ((feature, slot, units),) if units else (), leased=slot)


def _state(
    lease: Reservation, move: LeaseMove, over: LeaseEnd | None
) -> Literal["open", "committed", "released", "expired"]:
    """One that holds nothing is not open, so that none stays behind whose time is never up; it may hold more again."""
    if over is None:
        return "open" if move.held else "committed"
    return "expired" if over == "expired" or lease.state == "expired" else "released"


def _entry(
    work: UnitOfWork,
    asked: Lease | LeaseStep,
    feature: str,
    quantity: int,
    answer: bytes,
    postings: tuple[Posting, ...] = (),
    *,
    denied: str | None = None,
) -> Entry:
    return Entry(
        asked.account, asked.id, "lease", feature, quantity, work.at, work.at, digest_of(asked), postings, denied,
        answer=answer,
    )  # fmt: skip
