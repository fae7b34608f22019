"""The past: how an account stood at an instant, by what was known then, or by what is known now.

Laws: what was *believed* follows from the facts recorded by that instant alone, so nothing learned later changes it;
what was *true* follows from every fact, each counted since when what it says held, as far as its dates and its billing
events tell, else since it was read; a change that a reading shows lies after the reading before it; once every fact was
read, both are the account as it is.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account, apply
from paygrade.billing.facts import (
    Body,
    Customer,
    Departed,
    Fact,
    ForeignBilling,
    ManualSubscription,
    Subscription,
    subscriptions_of,
)
from paygrade.values.states import TERMINAL

_EVER = datetime.min.replace(tzinfo=UTC)


class Learned(Struct, frozen=True):
    """A fact, and when it was recorded."""

    fact: Fact
    recorded_at: datetime


class Holding(Struct, frozen=True):
    """What holds of a subject since an instant. `whole`: this is the fact; else it is what had begun of it by then, as
    the next reading of the subject shows."""

    since: datetime
    fact: Fact
    whole: bool = True


class Moment(Struct, frozen=True):
    """An account from an instant on, by these facts that began to hold on it."""

    since: datetime
    account: Account
    facts: tuple[Fact, ...]


def account_at(key: str, facts: Iterable[Learned], at: datetime, *, believed: bool) -> Account:
    """The account as it stood at `at`, from its facts in any order."""
    fold = _Fold(key)
    for its in holdings(facts, believed=believed):
        if its.since > at:
            break
        fold.take(its)
    return fold.account()


def moments(key: str, facts: Iterable[Learned], *, believed: bool) -> Iterator[Moment]:
    """The account from each instant on at which something of what was stated began to hold, the earliest first."""
    fold, waiting = _Fold(key), list[Holding]()
    for its in holdings(facts, believed=believed):
        if waiting and waiting[-1].since != its.since:
            yield Moment(waiting[-1].since, fold.account(), tuple(one.fact for one in waiting))
            waiting = []
        fold.take(its)
        waiting.append(its)
    if waiting:
        yield Moment(waiting[-1].since, fold.account(), tuple(one.fact for one in waiting))


def holdings(facts: Iterable[Learned], *, believed: bool) -> list[Holding]:
    """What began to hold and when, the earliest first."""
    ordered = sorted(facts, key=lambda one: one.fact.number)
    if believed:
        return [Holding(one.recorded_at, one.fact) for one in ordered]
    found, before = list[Holding](), dict[str, Fact]()
    for fact in sorted((one.fact for one in ordered), key=lambda one: (one.sequence, one.number)):
        found += _begun(fact, before.get(fact.subject))
        found.append(Holding(fact.as_of, fact))
        before[fact.subject] = fact
    return sorted(found, key=lambda one: (one.since, one.fact.number, one.whole))


class _Fold:
    """Facts taken in one after the other, and over them what had begun of those that are still to come."""

    def __init__(self, key: str) -> None:
        self._whole, self._begun = Account(key=key), dict[str, Fact]()

    def take(self, its: Holding) -> None:
        subject = its.fact.subject
        if not its.whole:
            self._begun[subject] = its.fact
            return
        self._whole = apply(self._whole, its.fact)
        if subject in self._begun and self._begun[subject].number == its.fact.number:
            del self._begun[subject]

    def account(self) -> Account:
        account = self._whole
        for subject in sorted(self._begun):
            account = apply(account, self._begun[subject])
        return account


def _begun(fact: Fact, before: Fact | None) -> Iterator[Holding]:
    """What of a fact held before it was read, the earliest first."""
    after = _read_before(fact, before)
    match fact.body:
        case Customer(clock_at=datetime()):
            return  # its dates are a test clock's, its reading everybody's
        case Departed() | Customer(deleted=True):
            if fact.happened_at is not None and after < fact.happened_at < fact.as_of:
                yield Holding(fact.happened_at, fact, whole=False)
        case Customer() | ManualSubscription() | ForeignBilling():
            yield from _subscriptions_begun(fact, before.body if before is not None else None, after)


def _read_before(fact: Fact, before: Fact | None) -> datetime:
    """The instant after which what the fact changes must have happened."""
    return max(before.as_of if before is not None else _EVER, fact.joined_at or _EVER)


def _subscriptions_begun(fact: Fact, before: Body | None, after: datetime) -> Iterator[Holding]:
    known, stated = _by_id(before), _by_id(fact.body)
    changed = {id: one for id, one in stated.items() if known.get(id) != one}
    since = {id: _since(one, known.get(id), fact, after, first=before is None) for id, one in changed.items()}
    instants = set(since.values())
    if isinstance(fact.body, Customer) and not isinstance(before, Customer):
        instants.add(max(fact.body.created_at, after))
    for instant in sorted(instants):
        if instant >= fact.as_of:
            break
        begun = {id: one for id, one in stated.items() if id not in since or since[id] <= instant}
        yield Holding(instant, replace(fact, body=_with(fact.body, {**known, **begun})), whole=False)


def _since(now: Subscription, before: Subscription | None, fact: Fact, after: datetime, *, first: bool) -> datetime:
    """Since when a subscription stood as it was read: by the first of its own dates that is new, else by the billing
    events behind the reading, else since it was read."""
    dates = [date for date in _dates(now, before) if date is not None]
    if before is None and (first or fact.joined_at is not None):
        # Nothing of it was read here before: it was so all the time since its dates say so.
        dates = [max(date, after) for date in dates]
        return min((date for date in dates if date <= fact.as_of), default=fact.as_of)
    if now.status not in TERMINAL:
        dates += [fact.happened_at] if fact.happened_at is not None else []
    elif not dates and fact.happened_at is not None:
        dates = [fact.happened_at]
    return min((date for date in dates if after < date <= fact.as_of), default=fact.as_of)


def _dates(now: Subscription, before: Subscription | None) -> list[datetime | None]:
    if now.status in TERMINAL:
        return [now.ended_at]
    if before is None:
        return [now.started_at or min((item.created_at for item in now.items if item.created_at), default=None)]
    if now.unpaid_since is not None and now.unpaid_since != before.unpaid_since:
        return [now.unpaid_since]
    lines, periods = {item.id for item in before.items}, {item.period_from_at for item in before.items}
    began = [item.created_at for item in now.items if item.id not in lines]
    return [*began, *(item.period_from_at for item in now.items if item.period_from_at not in periods)]


def _by_id(body: Body | None) -> dict[str, Subscription]:
    return {subscription.id: subscription for subscription in subscriptions_of(body)}


def _with(body: Body, subscriptions: dict[str, Subscription]) -> Body:
    """The same statement with these subscriptions in place of its own."""
    if isinstance(body, Customer | ForeignBilling):
        return replace(body, subscriptions=tuple(subscriptions.values()))
    contract = body.contract if isinstance(body, ManualSubscription) else None
    return ManualSubscription(next(iter(subscriptions.values()), None), contract)
