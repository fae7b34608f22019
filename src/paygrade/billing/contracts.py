"""Contracts: what follows from terms that were agreed with a customer who pays by invoices of one's own.

Laws: a contract's subscription, its state and its terms follow from what was agreed and the instant alone; terms tile
time from its start without gap or overlap, and so do the periods that it is billed for; an amount by the month is what
it comes to over a year, the same for every interval.
"""

from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from typing import Literal

from msgspec import Struct

from paygrade.billing.facts import Contract, Item, Subscription
from paygrade.values.periods import Period, add_months

SUBJECT = "contract:"
"""What the subject of a contract begins with; its subscription has the same name."""
ContractState = Literal["planned", "active", "ended"]
_MONTHS = {"month": 1, "year": 12}


class Term(Struct, frozen=True):
    """How a contract stands at an instant, and the term `[from_at, until)` it is in. `until` None: it has no end."""

    state: ContractState
    from_at: datetime
    until: datetime | None


def subscription_of(id: str, contract: Contract) -> Subscription:
    """The subscription that a contract comes to."""
    bought = {contract.plan: contract.quantity, **contract.add_ons}
    since = min(contract.overdue.values(), default=None)
    return Subscription(
        id=id,
        status="active" if since is None else "past_due",
        items=tuple(Item(id=key, quantity=quantity, plan=key) for key, quantity in bought.items()),
        anchor_at=contract.starts_at,
        started_at=contract.starts_at,
        begins_at=contract.starts_at,
        ends_at=None if contract.renews else contract.ends_at,
        unpaid_since=since,
    )


def term_at(contract: Contract, at: datetime) -> Term:
    """The term at `at`: the first before it begins, the last once it has ended."""
    starts_at, ends_at = contract.starts_at, contract.ends_at
    if ends_at is None or not contract.renews:
        over = ends_at is not None and at >= ends_at
        return Term("ended" if over else _begun(contract, at), starts_at, ends_at)
    term = _period(starts_at, months_between(starts_at, ends_at) or 1, at)
    return Term(_begun(contract, at), term.from_at, term.until)


def turns(contract: Contract, at: datetime) -> Iterator[datetime]:
    """When it begins, and when the term ends that it is in at `at`."""
    yield contract.starts_at
    until = term_at(contract, at).until
    if until is not None:
        yield until


def period_at(contract: Contract, at: datetime) -> Period:
    """The period it is billed for that `at` lies in; the first before it begins."""
    return _period(contract.starts_at, billed_months(contract), at)


def billed_months(contract: Contract) -> int:
    """For how many months an amount is."""
    return _MONTHS[contract.interval] * contract.interval_count


def by_the_month(contract: Contract) -> int:
    """What it comes to by the month, to the nearest minor unit."""
    return int(Fraction(contract.amount, billed_months(contract)) + Fraction(1, 2))


def months_between(from_at: datetime, until: datetime) -> int | None:
    """How many whole months lie between these, by the calendar of UTC; None: no whole number, 1 or more."""
    months = (until.year - from_at.year) * 12 + until.month - from_at.month
    return months if months > 0 and add_months(from_at, months) == until else None


def _begun(contract: Contract, at: datetime) -> ContractState:
    return "active" if at >= contract.starts_at else "planned"


def _period(anchor: datetime, months: int, at: datetime) -> Period:
    turn = max(((at.year - anchor.year) * 12 + at.month - anchor.month) // months, 0)
    while turn > 0 and add_months(anchor, turn * months) > at:
        turn -= 1
    return Period(add_months(anchor, turn * months), add_months(anchor, (turn + 1) * months))
