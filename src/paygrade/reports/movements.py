"""Movements of monthly recurring revenue: what is new, what grew and shrank, what was lost and what came back.

Laws: what was there before and its movements come to what is there after, month by month; it follows from facts,
catalog and instants, as a plan change's positions do, so facts in any order say the same.

What counts: the catalog's price of each position of a subscription that is paid, before discounts and tax, by the
month, or the amount of its contract; nothing of trials, pauses and what is paid by use. A subscription in arrears
counts as long as its access ladder leaves it anything.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from fractions import Fraction

from msgspec import Struct

from paygrade.billing.accounts import Account, apply
from paygrade.billing.contracts import by_the_month
from paygrade.billing.facts import Fact, subscriptions_of
from paygrade.billing.standing import standings
from paygrade.catalog.model import Catalog, Price
from paygrade.changes.positions import Position, positions
from paygrade.reports.revenue import months

_A_MONTH = {"day": Fraction(365, 12), "week": Fraction(365, 84), "month": Fraction(1), "year": Fraction(1, 12)}
"""How many of an interval are in a month."""
_PAYING = frozenset({"active", "grace", "past_due"})


class MonthOfMovements(Struct, frozen=True):
    """How recurring revenue moved in a month, in one currency, in minor units a month. `contraction` and `churn` are
    below zero; `before` and all the movements come to `after`."""

    month: str
    currency: str
    before: int
    new: int
    expansion: int
    contraction: int
    churn: int
    reactivation: int
    after: int


def recurring(account: Account, catalog: Catalog, at: datetime) -> dict[str, int]:
    """What an account pays by the month at `at`, by currency."""
    found: dict[str, int] = {}
    contracts = account.contracts
    for standing in standings(account, catalog, account.time(at)):
        its = standing.subscription
        begun = its.started_at is None or its.started_at <= at
        if not begun or standing.state not in _PAYING or standing.access == "none":
            continue
        if (contract := contracts.get(its.id)) is not None:
            found[contract.currency] = found.get(contract.currency, 0) + by_the_month(contract)
            continue
        for position in positions(account, its, catalog, at):
            price = position.price
            if price is not None and price.part != "usage":
                found[price.currency] = found.get(price.currency, 0) + _by_the_month(position, price)
    return {currency: amount for currency, amount in found.items() if amount}


def movements(
    key: str, facts: Iterable[Fact], catalog: Catalog, *, from_at: date, until: date
) -> tuple[MonthOfMovements, ...]:
    """The months `[from_at, until)` in which something moved, or is there; by month and currency. What a subject was
    before its first fact is not known: its subscriptions count as that says from when they began."""
    known = _by_the_time(facts)
    if not known:
        return ()
    begun = min(from_at, known[0][0].replace(day=1))
    account, taken, seen, found = Account(key=key), 0, set[str](), list[MonthOfMovements]()
    before = dict[str, int]()
    for begin, end in months(begun, until):
        while taken < len(known) and known[taken][0] < end:
            account, taken = apply(account, known[taken][1]), taken + 1
        after = recurring(account, catalog, datetime.combine(end, time(), UTC))
        if begin >= from_at:
            found += [
                _movement(f"{begin:%Y-%m}", currency, before.get(currency, 0), after.get(currency, 0),
                          again=currency in seen)
                for currency in sorted({*before, *after})
            ]  # fmt: skip
        seen.update(after)
        before = after
    return tuple(found)


def _by_the_time(facts: Iterable[Fact]) -> list[tuple[date, Fact]]:
    """Facts with the days from which they count, in their order."""
    found: list[tuple[date, Fact]] = []
    met = set[str]()
    for fact in sorted(facts, key=lambda each: (each.as_of, each.number)):
        at = fact.as_of
        if fact.subject not in met:
            stated = subscriptions_of(fact.body)
            at = min((its.started_at for its in stated if its.started_at is not None), default=at)
        met.add(fact.subject)
        found.append((min(at, fact.as_of).astimezone(UTC).date(), fact))
    return sorted(found, key=lambda each: (each[0], each[1].as_of, each[1].number))


def _movement(month: str, currency: str, before: int, after: int, *, again: bool) -> MonthOfMovements:
    more, less = max(after - before, 0), min(after - before, 0)
    begins, ends = not before, not after
    return MonthOfMovements(
        month, currency, before,
        new=more if begins and not again else 0,
        expansion=0 if begins else more,
        contraction=0 if ends else less,
        churn=less if ends else 0,
        reactivation=more if begins and again else 0,
        after=after,
    )  # fmt: skip


def _by_the_month(position: Position, price: Price) -> int:
    quantity = position.item.quantity if price.part == "quantity" else 1
    exact = price.amount * quantity * _A_MONTH[price.interval] / price.interval_count
    return int(exact + Fraction(1, 2))


def of_all(rows: Sequence[MonthOfMovements]) -> tuple[MonthOfMovements, ...]:
    """The movements of many accounts together, by month and currency."""
    names = MonthOfMovements.__struct_fields__[2:]
    found: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        its = found.setdefault((row.month, row.currency), [0] * len(names))
        for n, name in enumerate(names):
            its[n] += getattr(row, name)
    return tuple(MonthOfMovements(*key, *its) for key, its in sorted(found.items()))
