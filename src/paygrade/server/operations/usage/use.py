"""Using and holding units: many requests are decided together and saved in one transaction.

Laws: what is answered is saved before; an id has at most one effect, and a denied id stays denied; of requests for
one account, each one sees what those before it did; whoever loses a race is decided anew, with what is true then.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from msgspec.structs import replace

from paygrade.decisions.decide import Decision, decide, decide_to_hold
from paygrade.decisions.nodes import RowOf, decide_at
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.entitlements.model import Entitlement
from paygrade.server.operations.accounts.members import taken_by_members
from paygrade.server.operations.balances.unit_of_work import UnitOfWork, lock_balances, until_saved, windows_of
from paygrade.server.operations.usage.answers import Answer, ReservationView, packed, unpacked
from paygrade.server.operations.usage.leases import step_lease, take_lease
from paygrade.server.operations.usage.requests import (
    Asked,
    Commit,
    Consume,
    Extend,
    Lease,
    LeaseStep,
    Release,
    Reserve,
    digest_of,
    id_of,
    reservation_of,
)
from paygrade.server.state.nodes import Ways
from paygrade.usage.balances import LIFETIME, parse_slot
from paygrade.usage.entries import Answered, Entry, EntryKind, Held, Key, Posting, Reservation, derived
from paygrade.usage.ledger import commit, committed_price, hold, release, slots, spend
from paygrade.usage.nodes import hold_at, spend_at
from paygrade.usage.prices import exact_price
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.store import Store
    from paygrade.server.state.snapshots import Snapshots


async def use_together(
    store: "Store", snapshots: "Snapshots", asked: Sequence[Asked], at: datetime
) -> list[Answer | Refused]:
    """Decide and save these requests in one transaction; the answers, in their order."""
    accounts = await snapshots.load_all(store, {a.account for a in asked}, at)
    catalog = await snapshots.catalog(store)
    steps = [(a.account, step) for a in asked if (step := reservation_of(a)) is not None]
    ids = [(a.account, id_of(a)) for a in asked]

    async def attempt() -> list[Answer | Refused]:
        async with store.transaction(pipelined=True) as tx:
            held = await tx.ledger.reservations(steps) if steps else {}
            wanted = [(a.account, _node_of(a, held)) for a in asked]
            ways = await snapshots.nodes.ways(tx, wanted, at, remember=snapshots.remembers(catalog))
            keys = {key for a in asked for key in touched_by(a, accounts[a.account], held, ways, at)}
            work = await lock_balances(
                tx, catalog, keys, windows_for(accounts, keys, at), at, snapshots=accounts, ids=ids, reservations=steps
            )
            answers = [answer_one(work, ways, a) for a in asked]
            await work.save(tx)
        return answers

    return await until_saved(store, attempt, at)


def windows_for(
    accounts: Mapping[str, Snapshot], keys: Iterable[Key], at: datetime
) -> dict[Key, Mapping[str, Entitlement]]:
    """The windows that run, of the pools that these slots belong to."""
    entitlements = {account: entitlements_at(snapshot, at) for account, snapshot in accounts.items()}
    found: dict[Key, Mapping[str, Entitlement]] = {}
    for account, pool in {key[:2] for key in keys}:
        found |= windows_of(account, entitlements[account], (pool,))
    return found


def _node_of(asked: Asked, held: Mapping[tuple[str, str], Reservation]) -> str | None:
    """The node a request names, or its reservation did."""
    if isinstance(asked, Consume | Reserve):
        return asked.node
    reservation = held.get((asked.account, reservation_of(asked) or ""))
    return reservation.held.node if reservation is not None else None


def touched_by(
    asked: Asked, snapshot: Snapshot, held: dict[tuple[str, str], Reservation], ways: Ways, at: datetime
) -> list[Key]:
    """The slots a request reads or changes, those of grants too."""
    account = asked.account
    match asked:
        case Consume(feature=feature, member=member) | Reserve(feature=feature, member=member):
            entitlements = entitlements_at(snapshot, at)
            if feature not in entitlements:
                return []
            found = [(account, pool, slot) for pool, slot in slots(entitlements, feature, at, member=member)]
            if asked.node is not None:
                found += _at_nodes(ways, snapshot, account, feature, asked.node, asked.properties, at)
            return found
        case Lease():
            return touched_by(Consume(account, asked.feature, asked.id), snapshot, held, ways, at)
        case _:
            reservation = held.get((account, reservation_of(asked) or ""))
            if reservation is None:
                return []
            its = reservation.held
            pairs = [*((pool, slot) for pool, slot, _ in its.paid), *its.counted, *its.priced]
            if its.leased is not None:
                pairs.append((reservation.feature, its.leased))
            # Whatever was held, the answer says how things stand now.
            now = Consume(account, reservation.feature, "", member=reservation.member)
            touched = [*((account, pool, slot) for pool, slot in pairs), *touched_by(now, snapshot, held, ways, at)]
            if its.node is not None and isinstance(asked, Commit):
                # More than is held may be committed.
                said = its.properties if asked.properties is None else asked.properties
                touched += _at_nodes(ways, snapshot, account, reservation.feature, its.node, said, at)
            return touched


def _at_nodes(
    ways: Ways,
    snapshot: Snapshot,
    account: str,
    feature: str,
    node: str,
    properties: Mapping[str, Any] | None,
    at: datetime,
) -> list[Key]:
    """The slots of nodes that a use reads or changes. Any: JSON as it was told."""
    try:
        way = ways.find(entitlements_at(snapshot, at), account, feature, node, properties)
    except Refused:  # in its turn, it is refused
        return []
    return [(account, one.pool, one.slot) for one in way]


def answer_one(work: UnitOfWork, ways: Ways, asked: Asked) -> Answer | Refused:
    """Decide on one request, and let it take effect in this work."""
    known = work.answered.get((asked.account, id_of(asked)))
    # A step that has no id of its own and says something else than before meets a reservation that is resolved.
    named = not isinstance(asked, Commit | Release | Extend) or (isinstance(asked, Commit) and asked.id is not None)
    if known is not None and (named or known.digest == digest_of(asked)):
        return _again(work, asked, known)
    savepoint = work.savepoint()
    try:
        match asked:
            case Consume() | Reserve():
                return _use(work, ways, asked)
            case Commit():
                return _commit(work, ways, asked)
            case Release():
                return _release(work, asked)
            case Extend():
                return _extend(work, asked)
            case Lease():
                return take_lease(work, asked)
            case LeaseStep():
                return step_lease(work, asked)
    except Refused as refused:
        work.roll_back(savepoint)
        return refused


def _again(work: UnitOfWork, asked: Asked, known: Answered) -> Answer | Refused:
    """The answer that was given to this id before."""
    if known.digest != digest_of(asked) or known.answer is None:
        id = id_of(asked)
        return Refused(
            "id_conflict",
            f"the id `{id}` was used for something else; use another id for another use",
        )
    if isinstance(asked, Consume | Reserve | Lease):
        feature = asked.feature
    else:
        feature = work.reservations[asked.account, reservation_of(asked) or ""].feature
    its = entitlements_at(work.snapshot(asked.account), work.at).get(feature)
    return unpacked(known.answer, account=asked.account, feature=feature, sources=its.sources if its else ())


def _use(work: UnitOfWork, ways: Ways, asked: Consume | Reserve) -> Answer:
    """Use units, or hold them."""
    snapshot, at, feature, quantity = work.snapshot(asked.account), work.at, asked.feature, asked.quantity
    member, properties = asked.member, asked.properties
    decide_it = decide if isinstance(asked, Consume) else decide_to_hold
    decision = decide_it(snapshot, feature, quantity, at, member=member, properties=properties)
    if decision.reason in _UNKNOWN:
        return Answer(decision, took_effect=False)
    _refuse_uncountable(snapshot, feature, at)
    its, balances, view = entitlements_at(snapshot, at), snapshot.balances, None
    way = ways.find(its, asked.account, feature, asked.node, properties)
    if way:
        to_hold = isinstance(asked, Reserve)
        row_of = _rows(work, asked.account)
        decision = decide_at(decision, snapshot, way, row_of, at, to_hold=to_hold, properties=properties)
    kind: EntryKind = "consume" if isinstance(asked, Consume) else "reserve"
    entry = partial(_entry, work, asked, kind, feature, quantity, member=member)
    if not decision.allowed:
        work.enter(entry(decision, denied=decision.reason))
        return Answer(decision, took_effect=False)
    if isinstance(asked, Consume):
        postings = spend(its, balances, feature, quantity, at, member=member, properties=properties)
        postings = spend_at(way, postings, feature, quantity)
    else:
        postings, held = hold(its, balances, feature, quantity, at, member=member, properties=properties)
        if asked.node is not None:
            postings, held = hold_at(way, postings, held, feature, node=asked.node)
        ends_at = at + timedelta(seconds=asked.ttl_s)
        made = Reservation(asked.account, asked.id, feature, member, quantity, 0, "open", held, at, ends_at)
        work.resolve(made)
        view = view_of(made)
    work.post(asked.account, postings, at)
    # The counts as they are once it took effect.
    left = decide(work.snapshot(asked.account), feature, 0, at, member=member, properties=properties)
    shown = replace(decision, limit=left.limit, used=left.used, reserved=left.reserved, remaining=left.remaining)
    work.enter(entry(shown, postings, view))
    return Answer(shown, took_effect=True, reservation=view)


def _commit(work: UnitOfWork, ways: Ways, asked: Commit) -> Answer:
    reservation = _open(work, asked)
    units, account = reservation.held.units, asked.account
    # It is priced as it was reserved, unless other properties are stated.
    properties = reservation.held.properties if asked.properties is None else asked.properties
    quantity = units if asked.quantity is None else asked.quantity
    postings, held = _committed(work, reservation, min(quantity, units), properties)
    state: Literal["open", "committed"] = "open" if asked.keep and held.units else "committed"
    if state == "committed":
        postings, held = (*postings, *release(held)), _nothing(held)
    work.post(account, postings, work.at)
    if quantity > units:
        more = _beyond(work, ways, reservation, quantity - units, properties)
        work.post(account, more, work.at)
        postings = (*postings, *more)
    changed = replace(reservation, committed=reservation.committed + quantity, state=state, held=held)
    return _resolved(work, asked, "commit", changed, quantity, postings, properties)


def _beyond(
    work: UnitOfWork, ways: Ways, reservation: Reservation, more: int, properties: Mapping[str, Any] | None
) -> tuple[Posting, ...]:
    """What using more than was held draws, decided on balances in which what was held is settled."""
    account, at, feature, member = reservation.account, work.at, reservation.feature, reservation.member
    snapshot = work.snapshot(account)
    decision = decide(snapshot, feature, more, at, member=member, properties=properties)
    its = entitlements_at(snapshot, at)
    way = ways.find(its, account, feature, reservation.held.node, properties)
    decision = decide_at(decision, snapshot, way, _rows(work, account), at, properties=properties)
    if not decision.allowed:
        raise Refused(
            "exceeds_reservation",
            f"`{reservation.id}` holds {reservation.held.units}, and {more} more are not allowed "
            f"[{decision.reason}]; commit what it holds, and report the rest as a usage event if it was used",
        )
    spent = spend(its, snapshot.balances, feature, more, at, member=member, properties=properties)
    return spend_at(way, spent, feature, more)


def _rows(work: UnitOfWork, account: str) -> RowOf:
    """The counters of nodes, as they are in this work."""
    return lambda one: work.row((account, one.pool, one.slot))


def _release(work: UnitOfWork, asked: Release) -> Answer:
    reservation = _open(work, asked)
    postings = release(reservation.held)
    work.post(asked.account, postings, work.at)
    changed = replace(reservation, state="released", held=_nothing(reservation.held))
    return _resolved(work, asked, "release", changed, reservation.held.units, postings)


def _extend(work: UnitOfWork, asked: Extend) -> Answer:
    reservation, at = _open(work, asked), work.at
    changed = replace(reservation, expires_at=at + timedelta(seconds=asked.ttl_s))
    work.resolve(changed)
    decision = decide(work.snapshot(asked.account), reservation.feature, 0, at, member=reservation.member)
    # Nobody names this step, and taking it twice does no harm: it is entered for those who read the ledger.
    entry = _entry(work, asked, "extend", reservation.feature, asked.ttl_s, decision, member=reservation.member)
    work.enter(replace(entry, id=derived(reservation.id, "extend", uuid4().hex), answer=None))
    return Answer(decision, took_effect=True, reservation=view_of(changed))


def _resolved(
    work: UnitOfWork,
    asked: Commit | Release,
    kind: EntryKind,
    changed: Reservation,
    quantity: int,
    postings: tuple[Posting, ...],
    properties: Mapping[str, Any] | None = None,
) -> Answer:
    """Any: JSON as it was told."""
    work.resolve(changed)
    decision = decide(work.snapshot(asked.account), changed.feature, 0, work.at, member=changed.member)
    shown, view = replace(decision, quantity=quantity), view_of(changed)
    entry = _entry(work, asked, kind, changed.feature, quantity, shown, postings, view, member=changed.member)
    work.enter(replace(entry, properties=properties))
    return Answer(shown, took_effect=True, reservation=view)


def _committed(
    work: UnitOfWork, reservation: Reservation, quantity: int, properties: Mapping[str, Any] | None
) -> tuple[tuple[Posting, ...], Held]:
    """What using units that are held draws, and what is held afterwards. Any: JSON as it was told."""
    account, feature, held = reservation.account, reservation.feature, reservation.held
    entitlement = entitlements_at(work.snapshot(account), work.at).get(feature)
    # What pays is what was held, whatever the feature is paid with by now, and even if it is sold no more.
    credit = entitlement.credit if entitlement is not None and held.by_credit else None
    if entitlement is None or credit is None or any(pool != credit for pool, _, _ in held.paid):
        share = -(-held.credits * quantity // held.units) if held.units else 0
        return commit(held, quantity, cost=share, exact=str(share) if held.by_credit else None)
    # What is paid ahead stays with the window it was held in.
    own = work.balance(account, feature, parse_slot(held.window or LIFETIME).at)
    cost = committed_price(entitlement, own, held, quantity, properties)
    return commit(held, quantity, cost=cost, exact=str(exact_price(entitlement, quantity, properties)))


def _open(work: UnitOfWork, asked: Commit | Release | Extend) -> Reservation:
    """The reservation, if it can still be resolved."""
    found = work.reservations.get((asked.account, asked.reservation))
    if found is None:
        raise Refused(
            "unknown_reservation", f"`{asked.account}` has no reservation `{asked.reservation}`; reserve it first"
        )
    if found.held.leased is not None:
        detail = f"`{asked.reservation}` is a lease; `POST /v1/leases/steps` claims, extends and ends it"
        raise Refused("unknown_reservation", detail)
    if found.state == "expired":
        raise Refused(
            "reservation_expired",
            f"`{asked.reservation}` expired at {found.expires_at:%Y-%m-%dT%H:%M:%SZ} and holds nothing any more; "
            "report the usage as a usage event, and extend reservations before they expire",
        )
    if found.state != "open":
        raise Refused("reservation_resolved", f"`{asked.reservation}` is already {found.state} and holds nothing")
    return found


def _entry(
    work: UnitOfWork,
    asked: Asked,
    kind: EntryKind,
    feature: str,
    quantity: int,
    decision: Decision,
    postings: tuple[Posting, ...] = (),
    view: ReservationView | None = None,
    *,
    member: str | None,
    denied: str | None = None,
) -> Entry:
    return Entry(
        asked.account, id_of(asked), kind, feature, quantity, work.at, work.at, digest_of(asked), postings, denied,
        member, getattr(asked, "properties", None), packed(decision, view),
    )  # fmt: skip


def view_of(reservation: Reservation) -> ReservationView:
    """A reservation as it is shown."""
    return ReservationView(
        reservation.id,
        reservation.account,
        reservation.feature,
        reservation.member,
        reservation.state,
        reservation.units,
        reservation.committed,
        reservation.held.units if reservation.state == "open" else 0,
        reservation.made_at,
        reservation.expires_at,
    )


def _nothing(held: Held) -> Held:
    return replace(held, units=0, paid=())


_UNKNOWN = frozenset({"unknown_account", "unknown_feature"})


def _refuse_uncountable(snapshot: Snapshot, feature: str, at: datetime) -> None:
    its = entitlements_at(snapshot, at)[feature]
    if its.kind in ("boolean", "config"):
        raise Refused("not_countable", f"`{feature}` is {its.kind} and is not counted; use `check`")
    if its.in_seats and snapshot.seats:
        raise taken_by_members(snapshot.account, feature)
