"""Top-ups: when units of a credit are bought by themselves, what is bought on a page, and how a purchase stands.

Laws: `may_ask` is pure; a credit has at most one open top-up; of those asked for in one window of the policy, no more
than `at_most` are paid or open, and none is asked for after one has failed or its money went back; what is taken back
of a purchase follows from what went back of its money alone, and never more than is left.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Literal, get_args

from msgspec import Struct

from paygrade.billing.facts import Returned
from paygrade.billing.returned import units_of
from paygrade.catalog.model import TopUp
from paygrade.values.periods import Period, Recurrence, window_at

TopUpState = Literal["asked", "open", "paid", "failed"]
"""`asked`: it is being bought. `open`: its page waits for the customer. A failed one may be asked for again by an
operator."""
TOP_UP_STATES: tuple[TopUpState, ...] = get_args(TopUpState)
BillStatus = Literal["draft", "open", "paid", "void", "gone"]


class TopUpPurchase(Struct, frozen=True):
    """A purchase of `units` of a credit for `amount` minor units, asked for when `balance` were left.

    `asked`: it is being bought, and `error` says why that takes long. `failed`: for `reason`, in the provider's words
    or one of `no_customer` (nobody with a live subscription pays) and `not_charged_in_time`. `round` counts how often
    it was tried; `invoice` is the latest. Of the money of a paid one `reversed` minor units went back, refunded or
    disputed, and `taken_back` units with it. `session` names the page it was bought on; None: it was charged.
    """

    id: str
    account: str
    credit: str
    units: int
    amount: int
    currency: str
    state: TopUpState
    balance: int
    round: int
    customer: str | None
    invoice: str | None
    reason: str | None
    error: str | None
    asked_at: datetime
    resolved_at: datetime | None
    reversed: int
    taken_back: int
    session: str | None


class Order(Struct, frozen=True):
    """What is to be bought of a provider, and how far it has come.

    `round` grows when an operator asks again: each one has an invoice of its own. `invoice` None: none is known yet.
    `declined`: it came to nothing, and what is left of it has to be cleared away. `session`: it is bought on that page,
    where the customer pays. `tries` counts failures in a row.
    """

    id: str
    round: int
    account: str
    customer: str
    description: str
    amount: int
    currency: str
    since: datetime
    invoice: str | None = None
    declined: bool = False
    tries: int = 0
    session: str | None = None

    @property
    def key(self) -> str:
        """What names this order's invoice at the provider."""
        return f"{self.id}.{self.round}"


class PackOrder(Struct, frozen=True, kw_only=True):
    """The page a provider is asked for: `packs` of `units` each, for `amount` minor units each. `id` names the top-up;
    `customer` None: one is to be made for the account; `named`: the customer names the account already."""

    id: str
    account: str
    name: str
    customer: str | None
    named: bool
    credit: str
    units: int
    amount: int
    currency: str
    packs: int
    success_url: str
    cancel_url: str
    tries: int = 0


class Bill(Struct, frozen=True):
    """The invoice of an order, as it stands at the provider. `gone`: there is none.

    `declined`: why it was not paid, in the provider's words. `waits`: it is being paid, and that takes a while.
    """

    invoice: str | None
    status: BillStatus
    declined: str | None = None
    waits: bool = False


def to_take_back(paid: TopUpPurchase, returned: Returned, policy: TopUp | None) -> int:
    """How many units the money that went back has paid for, as far as the policy takes them back. Without a policy
    any more: all."""
    counted = returned.refunded if policy is None or policy.refund == "take_back" else 0
    counted += returned.disputed + returned.lost if policy is None or policy.dispute == "take_back" else 0
    return units_of(paid.units, counted, paid=paid.amount)


def window_of(policy: TopUp, at: datetime) -> Period:
    """The window in which the policy's `at_most` counts: the calendar's, in UTC."""
    return window_at(Recurrence(policy.every, calendar=True), at, at)


def may_ask(policy: TopUp, balance: int, earlier: Iterable[TopUpState | Literal["reversed"]]) -> bool:
    """Whether to buy, with `balance` units left, after those `earlier` ones of the same window; `reversed` are those
    whose money went back."""
    states = list(earlier)
    if balance >= policy.below or not {"asked", "failed", "reversed"}.isdisjoint(states):
        return False
    return len(states) < policy.at_most


def top_up_id(account: str, credit: str, window: Period, number: int) -> str:
    """The id of the top-up that comes after `number` others of the window: two who ask at once ask for the same."""
    parts = (account, credit, window.from_at.isoformat(), str(number))
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return f"top_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
