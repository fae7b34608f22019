"""Using and holding units: many requests are decided together and saved in one transaction.

Laws: what is answered is saved before; an id has at most one effect, and a denied id stays denied; of requests for
one account, each one sees what those before it did; whoever loses a race is decided anew, with what is true then.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from msgspec.structs import replace

from paygrade.catalog.model import Catalog
from paygrade.decisions.decide import Decision, decide, decide_to_hold
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.server.operations.accounts.members import taken_by_members
from paygrade.server.operations.accounts.top_ups import ask_top_up
from paygrade.server.operations.usage.answers import Answer, ReservationView, packed, unpacked
from paygrade.server.operations.usage.locked_batch import Book, Due, expire_due, open_book
from paygrade.server.operations.usage.requests import Asked, Commit, Consume, Extend, Release, Reserve, digest_of, id_of
from paygrade.usage.balances import Balance, Detail, slot_of
from paygrade.usage.entries import Answered, Entry, EntryKind, Held, Posting, Reservation, derived
from paygrade.usage.ledger import (
    Spent,
    after,
    apply,
    commit,
    committed_price,
    exact_price,
    hold,
    release,
    slots,
    spend,
)
from paygrade.values.errors import Refused, Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction
    from paygrade.server.state.snapshots import Snapshots

CONTENDED_MAX = 5
"""How often the same is tried when others are at the same rows."""


async def use_together(
    store: "Store", snapshots: "Snapshots", asked: Sequence[Asked], at: datetime
) -> list[Answer | Refused]:
    """Decide and save these requests in one transaction; the answers, in their order."""
    accounts = await snapshots.load_all(store, {a.account for a in asked}, at)
    catalog = await snapshots.catalog(store)
    due: Collection[str] = ()
    contended = 0
    while True:
        try:
            if due:
                await expire_due(store, due, at)
            return await _attempt(store, catalog, asked, accounts, at)
        except Due as found:
            due = found.accounts
        except Unavailable as error:
            contended += 1
            if error.code != "contended" or contended == CONTENDED_MAX:
                raise


async def _attempt(
    store: "Store", catalog: Catalog, asked: Sequence[Asked], accounts: dict[str, Snapshot], at: datetime
) -> list[Answer | Refused]:
    async with store.transaction(pipelined=True) as tx:
        steps = [(a.account, a.reservation) for a in asked if isinstance(a, Commit | Release | Extend)]
        held = await tx.ledger.reservations(steps, lock=False) if steps else {}
        keys = {key for a in asked for key in _touched(a, accounts[a.account], held, at)}
        ids = [(a.account, id_of(a)) for a in asked]
        book = await open_book(tx, accounts, keys, ids, steps, at)
        answers = [_one(book, a) for a in asked]
        await book.save(tx)
        await _ask_top_ups(tx, catalog, book)
    return answers


async def _ask_top_ups(tx: "Transaction", catalog: Catalog, book: Book) -> None:
    for account, credit, left in book.run_down(catalog.policies.top_ups):
        await ask_top_up(tx, catalog, account=account, credit=credit, balance=left, at=book.at)


def _touched(
    asked: Asked, snapshot: Snapshot, held: dict[tuple[str, str], Reservation], at: datetime
) -> list[tuple[str, str, str]]:
    """The slots a request reads or changes, those of grants too."""
    account = asked.account
    match asked:
        case Consume(feature=feature, member=member) | Reserve(feature=feature, member=member):
            entitlements = entitlements_at(snapshot, at)
            if feature not in entitlements:
                return []
            return [(account, pool, slot) for pool, slot in slots(entitlements, feature, at, member=member)]
        case _:
            reservation = held.get((account, asked.reservation))
            if reservation is None:
                return []
            its = reservation.held
            pairs = [*((pool, slot) for pool, slot, _ in its.paid), *its.counted, *its.priced]
            # Whatever was held, the answer says how things stand now.
            now = Consume(account, reservation.feature, "", member=reservation.member)
            return [*((account, pool, slot) for pool, slot in pairs), *_touched(now, snapshot, held, at)]


def _rest(asked: Commit, reservation: Reservation) -> Consume:
    """What is used beyond what was held."""
    more = max(0, (asked.quantity or 0) - reservation.held.units)
    return Consume(asked.account, reservation.feature, "", more, reservation.member, asked.properties)


def _one(book: Book, asked: Asked) -> Answer | Refused:
    known = book.answered.get((asked.account, id_of(asked)))
    # A step that has no id of its own and says something else than before meets a reservation that is resolved.
    named = isinstance(asked, Consume | Reserve) or (isinstance(asked, Commit) and asked.id is not None)
    if known is not None and (named or known.digest == digest_of(asked)):
        return _again(book, asked, known)
    try:
        match asked:
            case Consume():
                return _consume(book, asked)
            case Reserve():
                return _reserve(book, asked)
            case Commit():
                return _commit(book, asked)
            case Release():
                return _release(book, asked)
            case Extend():
                return _extend(book, asked)
    except Refused as refused:
        return refused


def _again(book: Book, asked: Asked, known: Answered) -> Answer | Refused:
    """The answer that was given to this id before."""
    if known.digest != digest_of(asked) or known.answer is None:
        id = id_of(asked)
        return Refused(
            "id_conflict",
            f"the id `{id}` was used before for something else; an id counts once: take another one for another use",
        )
    feature, entitlements = _feature(book, asked), book.entitlements(asked.account)
    sources = entitlements[feature].sources if feature in entitlements else ()
    return unpacked(known.answer, account=asked.account, feature=feature, sources=sources)


def _feature(book: Book, asked: Asked) -> str:
    if isinstance(asked, Consume | Reserve):
        return asked.feature
    return book.reservations[(asked.account, asked.reservation)].feature


def _consume(book: Book, asked: Consume) -> Answer:
    account, at = asked.account, book.at
    decision = decide(
        book.snapshots[account], asked.feature, asked.quantity, at, member=asked.member, properties=asked.properties
    )
    if decision.reason in _UNKNOWN:
        return Answer(decision, took_effect=False)
    _refuse_uncountable(book, account, asked.feature)
    if not decision.allowed:
        book.enter(_entry(book, asked, "consume", asked.feature, asked.quantity, decision))
        return Answer(decision, took_effect=False)
    entitlements, balances = book.entitlements(account), book.balances(account)
    spent = spend(
        entitlements, balances, asked.feature, asked.quantity, at, member=asked.member, properties=asked.properties
    )
    now = after(balances, asked.feature, spent, at)
    shown = _after(book, asked, decision, asked.quantity, now)
    book.enter(_entry(book, asked, "consume", asked.feature, asked.quantity, shown, spent.draws), now)
    return Answer(shown, took_effect=True)


def _reserve(book: Book, asked: Reserve) -> Answer:
    account, at = asked.account, book.at
    decision = decide_to_hold(
        book.snapshots[account], asked.feature, asked.quantity, at, member=asked.member, properties=asked.properties
    )
    if decision.reason in _UNKNOWN:
        return Answer(decision, took_effect=False)
    _refuse_uncountable(book, account, asked.feature)
    if not decision.allowed:
        book.enter(_entry(book, asked, "reserve", asked.feature, asked.quantity, decision))
        return Answer(decision, took_effect=False)
    entitlements, balances = book.entitlements(account), book.balances(account)
    draws, held = hold(
        entitlements, balances, asked.feature, asked.quantity, at, member=asked.member, properties=asked.properties
    )
    expires_at = at + timedelta(seconds=asked.ttl_s)
    reservation = Reservation(
        account, asked.id, asked.feature, asked.member, asked.quantity, 0, "open", held, at, expires_at
    )
    shown = _after(book, asked, decision, asked.quantity, apply(balances, draws, at), held=True)
    book.put(reservation)
    book.enter(_entry(book, asked, "reserve", asked.feature, asked.quantity, shown, draws, reservation))
    return Answer(shown, took_effect=True, reservation=view_of(reservation))


def _commit(book: Book, asked: Commit) -> Answer:
    reservation = _open(book, asked)
    account, at, feature = asked.account, book.at, reservation.feature
    balances = book.balances(account)
    quantity = reservation.held.units if asked.quantity is None else asked.quantity
    inside = min(quantity, reservation.held.units)
    draws, held = _committed(book, reservation, inside, asked.properties)
    now, all_draws = after(balances, feature, draws, at), draws.draws
    state: Literal["open", "committed"] = "open" if asked.keep and held.units else "committed"
    if state == "committed":
        given_back = release(held)
        now, all_draws, held = apply(now, given_back, at), (*all_draws, *given_back), _nothing(held)
    rest = _rest(asked, reservation)
    if rest.quantity:
        now, more = _beyond(book, asked, reservation, rest, now)
        all_draws = (*all_draws, *more)
    changed = replace(reservation, committed=reservation.committed + quantity, state=state, held=held)
    return _resolved(book, asked, "commit", changed, quantity, all_draws, now)


def _beyond(
    book: Book, asked: Commit, reservation: Reservation, rest: Consume, balances: dict[str, Balance]
) -> tuple[dict[str, Balance], tuple[Posting, ...]]:
    """The balances once more is used than was held, decided on those in which what was held is settled."""
    snapshot = replace(book.snapshots[asked.account], balances=balances)
    decision = decide(snapshot, rest.feature, rest.quantity, book.at, member=rest.member, properties=rest.properties)
    if not decision.allowed:
        raise Refused(
            "exceeds_reservation",
            f"`{asked.reservation}` holds {reservation.held.units}, and {rest.quantity} more are not allowed "
            f"[{decision.reason}]; commit what it holds, and tell the rest as a usage event if it was used",
        )
    spent = spend(
        book.entitlements(asked.account), balances, rest.feature, rest.quantity, book.at, member=rest.member,
        properties=rest.properties,
    )  # fmt: skip
    return after(balances, rest.feature, spent, book.at), spent.draws


def _release(book: Book, asked: Release) -> Answer:
    reservation = _open(book, asked)
    draws = release(reservation.held)
    now = apply(book.balances(asked.account), draws, book.at)
    changed = replace(reservation, state="released", held=_nothing(reservation.held))
    return _resolved(book, asked, "release", changed, reservation.held.units, draws, now)


def _extend(book: Book, asked: Extend) -> Answer:
    reservation = _open(book, asked)
    changed = replace(reservation, expires_at=book.at + timedelta(seconds=asked.ttl_s))
    book.put(changed)
    # Nobody names this step, and taking it twice does no harm: it is entered for those who read the ledger.
    id = derived(reservation.id, "extend", uuid4().hex)
    entry = Entry(
        asked.account, id, "extend", reservation.feature, asked.ttl_s, book.at, book.at, digest_of(asked),
        member=reservation.member,
    )  # fmt: skip
    book.enter(entry)
    decision = decide(book.snapshots[asked.account], reservation.feature, 0, book.at, member=reservation.member)
    return Answer(decision, took_effect=True, reservation=view_of(changed))


def _resolved(
    book: Book,
    asked: Commit | Release,
    kind: Any,
    changed: Reservation,
    quantity: int,
    draws: tuple[Any, ...],
    now: dict[str, Any],
) -> Answer:
    """Any: an EntryKind, draws and balances."""
    book.put(changed)
    snapshot = replace(book.snapshots[asked.account], balances=now)
    decision = decide(snapshot, changed.feature, 0, book.at, member=changed.member)
    shown = replace(decision, quantity=quantity)
    entry = _entry(book, asked, kind, changed.feature, quantity, shown, draws, changed)
    book.enter(replace(entry, member=changed.member, denied=None), now)
    return Answer(shown, took_effect=True, reservation=view_of(changed))


def _committed(book: Book, reservation: Reservation, quantity: int, properties: Any) -> tuple[Spent, Held]:
    account, feature, held = reservation.account, reservation.feature, reservation.held
    entitlement = book.entitlements(account).get(feature)
    # What pays is what was held, whatever the feature is paid with by now, and even if it is sold no more.
    credit = entitlement.credit if entitlement is not None and held.by_credit else None
    slot = held.window
    if entitlement is None or credit is None or slot is None or any(pool != credit for pool, _, _ in held.paid):
        share = -(-held.credits * quantity // held.units) if held.units else 0
        draws, held = commit(held, quantity, cost=share, exact=str(share) if held.by_credit else None)
        return Spent(draws), held
    own = book.balances(account).get(feature)
    present = own is None or slot == slot_of(own.from_at)
    if not present:
        own = Balance(0, detail=Detail(ahead=book.ahead((account, feature, slot))))
    cost, ahead = committed_price(entitlement, own, held, quantity, properties)
    exact = str(exact_price(entitlement, quantity, properties))
    draws, held = commit(held, quantity, cost=cost, exact=exact)
    # What is paid ahead stays with the window it was held in; in the present one nothing of it is owed or left.
    return Spent(draws, ahead if present else None), held


def _open(book: Book, asked: Commit | Release | Extend) -> Reservation:
    """The reservation, if it can still be resolved."""
    found = book.reservations.get((asked.account, asked.reservation))
    if found is None:
        raise Refused(
            "unknown_reservation", f"`{asked.account}` has no reservation `{asked.reservation}`; reserve it first"
        )
    if found.state == "expired":
        raise Refused(
            "reservation_expired",
            f"`{asked.reservation}` ran out at {found.expires_at:%Y-%m-%dT%H:%M:%SZ} and holds nothing any more; "
            "tell what was used as a usage event, and extend reservations in time",
        )
    if found.state != "open":
        raise Refused("reservation_resolved", f"`{asked.reservation}` was {found.state} before; it holds nothing")
    return found


def _after(
    book: Book,
    asked: Consume | Reserve,
    decision: Decision,
    quantity: int,
    now: dict[str, Balance],
    *,
    held: bool = False,
) -> Decision:
    """The decision with the counts as they are once it took effect."""
    entitlement, balance = book.entitlements(asked.account)[asked.feature], now.get(asked.feature)
    plain = entitlement.plain and (balance is None or balance.detail is None)
    if plain and decision.limit is not None and decision.used is not None:
        total = decision.used + (decision.reserved or 0) + quantity
        return replace(
            decision,
            used=decision.used + (0 if held else quantity),
            reserved=(decision.reserved or 0) + (quantity if held else 0),
            remaining=max(0, decision.limit - total),
        )
    snapshot = replace(book.snapshots[asked.account], balances=now)
    left = decide(snapshot, asked.feature, 0, book.at, member=asked.member, properties=asked.properties)
    return replace(decision, limit=left.limit, used=left.used, reserved=left.reserved, remaining=left.remaining)


def _entry(
    book: Book,
    asked: Asked,
    kind: EntryKind,
    feature: str,
    quantity: int,
    decision: Decision,
    draws: tuple[Posting, ...] = (),
    reservation: Reservation | None = None,
) -> Entry:
    return Entry(
        asked.account,
        id_of(asked),
        kind,
        feature,
        quantity,
        book.at,
        book.at,
        digest_of(asked),
        draws,
        None if decision.allowed else decision.reason,
        getattr(asked, "member", None),
        getattr(asked, "properties", None),
        packed(decision, view_of(reservation) if reservation is not None else None),
    )


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


def _refuse_uncountable(book: Book, account: str, feature: str) -> None:
    its = book.entitlements(account)[feature]
    if its.kind in ("boolean", "config"):
        raise Refused("not_countable", f"`{feature}` is {its.kind}: there is nothing to use up; `check` answers for it")
    if its.in_seats and book.snapshots[account].seats:
        raise taken_by_members(account, feature)
