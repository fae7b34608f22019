"""Usage on the pure core: the ledger of one account, kept as its entries.

Nothing is counted as it goes along: every balance is folded from all entries anew, and what a reservation held falls
away by its date. The server counts in rows, in batches, and gives back what has expired: both
have to come to the same.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar, assert_never

from msgspec.structs import replace

from paygrade.decisions.decide import Decision, bound, decide, decide_to_hold
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.entitlements.model import Entitlement, carries
from paygrade.server.operations.usage.answers import Answer
from paygrade.server.operations.usage.grants import BalanceView, GrantView, view_balance
from paygrade.server.operations.usage.requests import Commit, Consume, Extend, Release, Reserve
from paygrade.server.operations.usage.use import view_of
from paygrade.usage.balances import (
    NOTHING_MORE,
    Balance,
    Detail,
    Grant,
    Hold,
    Row,
    SlotDetail,
    assemble,
    carried_slot,
    expire_holds,
    share,
    slot_of,
)
from paygrade.usage.entries import Held, Posting, Reservation
from paygrade.usage.history import Drawn, fold, restate
from paygrade.usage.ledger import commit, committed_price, counters, hold, release, spend
from paygrade.usage.meters import Measured, Said
from paygrade.usage.meters import fold as of_window
from paygrade.usage.prices import exact_price
from paygrade.usage.rollover import NOTHING, Carried, carried_on, takes_rollover
from paygrade.values.errors import Refused
from stories.language.operator_phrases import NOT_YET
from stories.language.product_phrases import Count, Give, Report, Reported, Request, Told, Void

Made = TypeVar("Made", Answer, GrantView, BalanceView)
Entitlements = Mapping[str, Entitlement]
MOMENT = timedelta(microseconds=1)
"""The least that time can be told apart by."""


class Ledger:
    """What was asked of one account's units, and what came of it. `before` derives its entitlements at an instant."""

    def __init__(self, before: Callable[[datetime], Entitlements]) -> None:
        self._before = before
        self._entries: list[Drawn] = []
        self._folded: dict[tuple[str, str], Row] = {}
        """What the entries come to."""
        self._grants: dict[tuple[str, str], Grant] = {}
        self._reservations: dict[str, Reservation] = {}
        self._answered: dict[str, tuple[Request, Told]] = {}
        self._carried: dict[tuple[str, str], Carried] = {}
        """Units carried into each window that was used, as they were when it first was."""
        self._told: dict[tuple[str, str], list[Said]] = {}
        """What was reported of each window whose units do not add up."""
        self.active_at: dict[str, datetime] = {}
        """When each member last used or asked for units."""

    def with_balances(self, snapshot: Snapshot, at: datetime) -> Snapshot:
        """The snapshot with what is used, held and granted at `at`."""
        counted = self._balances(entitlements_at(snapshot, at), at)
        taken = {key: balance for key, balance in snapshot.balances.items() if _taken_by_members(snapshot, key, at)}
        return replace(snapshot, balances=counted | taken)

    def ask(self, request: Request, snapshot: Snapshot, at: datetime) -> Told:
        """Answer a request, and enter what it draws. Raises Refused."""
        snapshot = self.with_balances(snapshot, at)
        match request:
            case Consume() | Reserve():
                return self._again(request.id, request, snapshot) or self._use(request, snapshot, at)
            case Commit(reservation=id, id=step):
                return self._again(step or f"{id}:commit", request, snapshot) or self._commit(request, snapshot, at)
            case Release(reservation=id):
                return self._again(f"{id}:release", request, snapshot) or self._release(request, snapshot, at)
            case Extend():
                return self._extend(request, snapshot, at)
            case Give() | Void() | Count():
                return self._state(request, snapshot, at)
            case Report():
                raise AssertionError("what is reported is measured first")
            case _:
                assert_never(request)

    def report(self, request: Report, measured: Iterable[Measured], snapshot: Snapshot, at: datetime) -> Told:
        """Count a usage event when it happened. Raises Refused."""
        known = self._answered.get(request.id)
        if known is not None and known[0] != request:
            raise Refused("id_conflict", request.id)
        if known is not None:
            return Reported(0, 1)
        time = request.time or at
        its, then = entitlements_at(snapshot, at), self._before(time)
        for each in measured:
            window = slot_of(then[each.feature].from_at)
            if each.aggregate in ("count", "sum"):
                spent = spend(then, self._balances(then, time), each.feature, each.units, time, member=request.member)
                self._enter(spent, its, time)
                continue
            # All that was ever reported of the window, folded anew: no order of arrival counts.
            told = self._told.setdefault((each.feature, window), [])
            told.append(Said(request.id, time, each.units, each.value))
            units = of_window(each.aggregate, told).used
            used = self._rows(each.feature).get(window, Row()).used
            self._enter((Posting(each.feature, window, units - used),), its, time)
        self._answered[request.id] = (request, Reported(1, 0))
        return Reported(1, 0)

    def carry_over(self, pool: str, slot: str, units: int, snapshot: Snapshot, at: datetime) -> None:
        """Count so many more, or fewer, as used in this window from now on."""
        self._enter((Posting(pool, slot, units),), entitlements_at(snapshot, at), at)

    def _again(self, id: str, request: Request, snapshot: Snapshot) -> Answer | None:
        """What was answered before: as it was, but for the sources, which are those of today."""
        if id not in self._answered:
            return None
        asked, told = self._answered[id]
        if isinstance(request, Commit) and request.id is None and asked != request:
            return None
        if asked != request or not isinstance(told, Answer):
            raise Refused("id_conflict", id)
        its = entitlements_at(snapshot, snapshot.as_of).get(told.decision.feature)
        decision = replace(bound(told.decision), value=None, origin=its.sources if its else ())
        return replace(told, decision=decision, replayed=True)

    def _use(self, request: Consume | Reserve, snapshot: Snapshot, at: datetime) -> Answer:
        its, feature, quantity = entitlements_at(snapshot, at), request.feature, request.quantity
        decide_it = decide if isinstance(request, Consume) else decide_to_hold
        decision = decide_it(snapshot, feature, quantity, at, member=request.member, properties=request.properties)
        if decision.reason in ("unknown_account", "unknown_feature"):
            return Answer(decision, took_effect=False)
        _refuse_uncountable(its, feature)
        _refuse_what_members_take(snapshot, feature, at)
        if not decision.allowed:
            return self._answer(request.id, request, Answer(decision, took_effect=False))
        how = {"member": request.member, "properties": request.properties}
        if request.member is not None:
            self.active_at[request.member] = at
        if isinstance(request, Consume):
            spent = spend(its, snapshot.balances, feature, quantity, at, **how)  # type: ignore[arg-type]  # both of them
            self._enter(spent, its, at)
            answer = Answer(_counted(decision, request, self.with_balances(snapshot, at), at), took_effect=True)
            return self._answer(request.id, request, answer)
        draws, held = hold(its, snapshot.balances, feature, quantity, at, **how)  # type: ignore[arg-type]  # as above
        until = at + timedelta(seconds=request.ttl_s)
        made = Reservation(
            request.account, request.id, feature, request.member, quantity, 0, "open", held, at, until
        )  # fmt: skip
        self._enter(draws, its, at)
        self._reservations[request.id] = made
        shown = _counted(decision, request, self.with_balances(snapshot, at), at)
        return self._answer(request.id, request, Answer(shown, took_effect=True, reservation=view_of(made)))

    def _commit(self, request: Commit, snapshot: Snapshot, at: datetime) -> Answer:
        held = self._open(request.reservation, at)
        its, feature, units = entitlements_at(snapshot, at), held.feature, held.held.units
        quantity = units if request.quantity is None else request.quantity
        more, how = max(0, quantity - units), {"member": held.member, "properties": _properties(held, request)}
        row = self._rows(feature).get(held.held.window or "", Row())
        ahead = row.detail.ahead if row.detail is not None and row.detail.ahead is not None else (0, 1)
        own = Balance(0, detail=Detail(ahead=ahead))
        draws, left = _committed(its[feature], own, held, min(quantity, units), request)
        before = list(self._entries)
        self._enter(draws, its, at)
        changed = replace(held, committed=held.committed + quantity, held=left)
        if not (request.keep and left.units):
            self._enter(release(left), its, at)
            changed = replace(changed, state="committed", held=replace(left, units=0, paid=()))
        if more:
            # Decided on what is left once what was held is paid for, a fraction paid ahead among it.
            self._reservations[held.id] = changed
            now = self.with_balances(snapshot, at)
            if not decide(now, feature, more, at, **how):  # type: ignore[arg-type]  # as above
                self._reservations[held.id], self._entries = held, before
                self._folded = fold(before)
                raise Refused("exceeds_reservation", held.id)
            self._enter(spend(its, now.balances, feature, more, at, **how), its, at)  # type: ignore[arg-type]
        return self._step(request.id or f"{held.id}:commit", request, changed, quantity, snapshot, at)

    def _release(self, request: Release, snapshot: Snapshot, at: datetime) -> Answer:
        held = self._open(request.reservation, at)
        self._enter(release(held.held), entitlements_at(snapshot, at), at)
        changed = replace(held, state="released", held=replace(held.held, units=0, paid=()))
        return self._step(f"{held.id}:release", request, changed, held.held.units, snapshot, at)

    def _extend(self, request: Extend, snapshot: Snapshot, at: datetime) -> Answer:
        held = self._open(request.reservation, at)
        changed = replace(held, expires_at=at + timedelta(seconds=request.ttl_s))
        self._reservations[held.id] = changed
        decision = decide(self.with_balances(snapshot, at), held.feature, 0, at, member=held.member)
        return Answer(decision, took_effect=True, reservation=view_of(changed))

    def _step(
        self, id: str, request: Request, changed: Reservation, quantity: int, snapshot: Snapshot, at: datetime
    ) -> Answer:
        """Keep a reservation that was resolved; the answer says how things stand now."""
        self._reservations[changed.id] = changed
        decision = decide(self.with_balances(snapshot, at), changed.feature, 0, at, member=changed.member)
        answer = Answer(replace(decision, quantity=quantity), took_effect=True, reservation=view_of(changed))
        return self._answer(id, request, answer)

    def _open(self, id: str, at: datetime) -> Reservation:
        found = self._reservations.get(id)
        if found is None:
            raise Refused("unknown_reservation", id)
        if found.state != "open":
            raise Refused("reservation_resolved", id)
        if found.expires_at <= at:
            raise Refused("reservation_expired", id)
        return found

    def _state(self, request: Give | Void | Count, snapshot: Snapshot, at: datetime) -> Told:
        its, pool = entitlements_at(snapshot, at), request.pool
        if not isinstance(request, Void):
            _refuse_unknown(snapshot, its, pool)
        match request:
            case Give() if its[pool].in_seats:
                raise Refused("not_grantable", pool)
            case Give(grant=grant):
                id = f"grant:{grant.id}"
                if id in self._answered:
                    if self._answered[id][0] != request:
                        raise Refused("id_conflict", id)
                    return _granted(self._spent(pool, grant.id, at), at)
                if its[pool].credit is not None:
                    raise Refused("paid_in_credits", pool)
                made = replace(grant, from_at=at) if grant.from_at == NOT_YET else grant
                if made.until is not None and made.until <= max(at, made.from_at):
                    raise Refused("already_expired", id)
                self._grants[pool, grant.id] = made
                return self._answer(id, request, _granted(made, at))
            case Void(id=id):
                known = self._grants.get((pool, id))
                if known is None or (known.until is not None and known.until <= at):
                    raise Refused("unknown_grant", id)
                left = self._spent(pool, id, at).left
                self._grants[pool, id] = replace(known, voided=known.voided + left)
                return _granted(self._spent(pool, id, at), at)
            case Count(used=used, id=id):
                _refuse_what_members_take(snapshot, pool, at)
                if id in self._answered and self._answered[id][0] != request:
                    raise Refused("id_conflict", id)
                if id not in self._answered:
                    self._enter(restate(its[pool], snapshot.balances[pool], used, at), its, at)
                told = self._view(pool, self.with_balances(snapshot, at), at)
                return self._answer(id, request, told)
            case _:
                assert_never(request)

    def _view(self, pool: str, snapshot: Snapshot, at: datetime) -> BalanceView:
        return view_balance(snapshot, pool, at)

    def _answer(self, id: str, request: Request, told: Made) -> Made:
        self._answered[id] = (request, told)
        return told

    def _enter(self, draws: tuple[Posting, ...], its: Entitlements, at: datetime) -> None:
        for draw in draws:
            entitlement = its.get(draw.pool)
            if entitlement is not None and carries(entitlement) and draw.slot == slot_of(entitlement.from_at):
                self._carried.setdefault((draw.pool, draw.slot), self._carried_into(entitlement, at))
        self._entries.append(Drawn(at, draws))
        self._folded = fold(self._entries)

    def _balances(self, its: Entitlements, at: datetime) -> dict[str, Balance]:
        return {
            pool: self._balance(entitlement, at)
            for pool, entitlement in its.items()
            if entitlement.kind not in ("boolean", "config")
        }

    def _balance(self, its: Entitlement, at: datetime) -> Balance:
        """What counts at `at` of one pool, in the window it counts in."""
        window, pool = slot_of(its.from_at), its.feature
        found = self._rows(pool)
        beside = {carried_slot(its.from_at), *counters(its, at, None)}
        rows = {slot: row for slot, row in found.items() if slot in beside or slot.startswith(window)}
        if carries(its):
            row, into = rows.get(window, Row()), self._carried_into(its, at)
            detail = replace(row.detail or SlotDetail(), carried=into.units, lots=into.lots)
            rows[window] = replace(row, detail=detail)
        grants = [_spent(grant, found) for (its_pool, _), grant in self._grants.items() if its_pool == pool]
        return expire_holds(assemble(rows, its.from_at, grants=grants, holds=self._holds(pool)), at)

    def _rows(self, pool: str) -> dict[str, Row]:
        return {slot: row for (its_pool, slot), row in self._folded.items() if its_pool == pool}

    def _holds(self, pool: str) -> list[Hold]:
        return [
            Hold(held.expires_at, draw.slot, -draw.reserved)
            for held in self._reservations.values()
            if held.state == "open"
            for draw in release(held.held)
            if draw.pool == pool
        ]

    def _spent(self, pool: str, id: str, at: datetime) -> Grant:
        held = sum(hold.units for hold in self._holds(pool) if hold.until <= at and hold.slot == f"grant:{id}")
        grant = _spent(self._grants[pool, id], self._rows(pool))
        return replace(grant, reserved=grant.reserved - held)

    def _carried_into(self, its: Entitlement, at: datetime) -> Carried:
        """What the window before left over, of its own units and of those carried into it; never from before the
        subscription's first window."""
        settled = self._carried.get((its.feature, slot_of(its.from_at)))
        if settled is not None:
            return settled
        if not takes_rollover(its) or its.from_at is None:
            return NOTHING
        before = self._before(its.from_at - MOMENT).get(its.feature)
        if before is None or not before.granted or before.limit is None or before.from_at is None:
            return NOTHING
        held = self._balance(before, at)
        taken = (held.detail or NOTHING_MORE).carried
        return carried_on(
            before,
            its,
            used=held.used + held.reserved,
            taken=taken.used + taken.reserved,
            into=self._carried_into(before, at),
        )


def _committed(
    its: Entitlement, own: Balance, reservation: Reservation, units: int, request: Commit
) -> tuple[tuple[Posting, ...], Held]:
    """What pays is what was held, whatever the feature is paid with by now."""
    held = reservation.held
    credit = its.credit if held.by_credit else None
    if credit is None or any(pool != credit for pool, _, _ in held.paid):
        share = -(-held.credits * units // held.units) if held.units else 0
        return commit(held, units, cost=share, exact=str(share) if held.by_credit else None)
    properties = _properties(reservation, request)
    cost = committed_price(its, own, held, units, properties)
    return commit(held, units, cost=cost, exact=str(exact_price(its, units, properties)))


def _properties(reservation: Reservation, request: Commit) -> Mapping[str, object] | None:
    """What decides the price: as it was reserved, unless the commit says otherwise."""
    return reservation.held.properties if request.properties is None else request.properties


def _counted(decision: Decision, request: Consume | Reserve, now: Snapshot, at: datetime) -> Decision:
    """The decision with the counts as they are once it took effect."""
    left = decide(now, request.feature, 0, at, member=request.member, properties=request.properties)
    return replace(decision, limit=left.limit, used=left.used, reserved=left.reserved, remaining=left.remaining)


def _spent(grant: Grant, rows: Mapping[str, Row]) -> Grant:
    row = rows.get(grant.slot, Row())
    return replace(grant, used=row.used, reserved=row.reserved)


def _granted(grant: Grant, at: datetime) -> GrantView:
    return GrantView(grant, share(grant, at))


def _refuse_unknown(snapshot: Snapshot, its: Entitlements, pool: str) -> None:
    if not snapshot.known:
        raise Refused("unknown_account", snapshot.account)
    if pool not in its:
        raise Refused("unknown_feature", pool)
    _refuse_uncountable(its, pool)


def _taken_by_members(snapshot: Snapshot, pool: str, at: datetime) -> bool:
    return bool(snapshot.seats) and entitlements_at(snapshot, at)[pool].in_seats


def _refuse_what_members_take(snapshot: Snapshot, pool: str, at: datetime) -> None:
    if _taken_by_members(snapshot, pool, at):
        raise Refused("taken_by_members", pool)


def _refuse_uncountable(its: Entitlements, pool: str) -> None:
    if its[pool].kind in ("boolean", "config"):
        raise Refused("not_countable", pool)
