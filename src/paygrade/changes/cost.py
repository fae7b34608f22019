"""What a plan change costs, as far as the catalog's prices tell: the formula put to the items of a subscription.

Laws: an invoice's total is the sum of its lines; what is below zero is owed to the customer and pays the invoices that
follow; what the catalog has no price for costs nothing here. Assumed of what is not known: every item was billed whole
for the period it is in, and there are neither discounts nor taxes nor earlier credit.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.facts import Item, Subscription
from paygrade.catalog.model import PlanChangeRule
from paygrade.changes.positions import Position
from paygrade.changes.proration import (
    Billed,
    Costs,
    Line,
    Paid,
    Terms,
    credit,
    period_at,
    prorate,
    renewal,
    until_then,
)
from paygrade.changes.request import Resolved
from paygrade.values.errors import Refused
from paygrade.values.text import QUANTITY_MAX

MoneySource = Literal["provider", "formula"]


class Invoice(Struct, frozen=True):
    """An invoice to come: `total` is the sum of its lines after discounts, `due` what of it is left to pay then."""

    at: datetime
    lines: tuple[Line, ...]
    total: int
    due: int
    source: MoneySource = "formula"


class CostPreview(Struct, frozen=True):
    """What a change costs, in minor units of `currency` (None: nothing is known of any price).

    `credit` is given back for time paid and not used, `charge` what the change bills beside that, without the renewals.
    `invoice` is the one the change brings about, when it takes effect; `due_now` what of it is to be paid now.
    `next_invoice` is the one at the end of a period that follows; it has the prorations that wait for it.
    """

    source: MoneySource
    currency: str | None
    credit: int
    charge: int
    due_now: int
    invoice: Invoice | None
    next_invoice: Invoice | None


def bill(
    resolved: Resolved, rule: PlanChangeRule, effective_at: datetime, at: datetime, *, at_period_end: bool
) -> tuple[CostPreview, Subscription]:
    """What the change costs when it takes effect at `effective_at`, and the subscription as it stands then."""
    subscription = resolved.subscription
    currency = currency_of(resolved.after) or currency_of(resolved.before)
    before = [until_then(item, subscription.anchor_at, effective_at)
              for item in _billed(resolved.before, subscription, currency, at)]  # fmt: skip
    terms = Terms(
        subscription.billing_mode,
        # At a period's end there is nothing left to prorate.
        "none" if at_period_end else rule.proration,
        subscription.anchor_at,
        reset=rule.anchor == "reset" and not at_period_end,
        idle=is_idle(subscription, effective_at),
    )
    if not resolved.after:
        return _ended(before, terms, currency, effective_at, at), replace(subscription, ends_at=effective_at)
    costs = prorate(before, _billed(resolved.after, subscription, currency, at), terms, effective_at)
    # Whoever makes the change takes the place of what was planned before.
    # A change waits for its payment, so that what it buys is paid for, whatever else is owed.
    items = tuple(_dated(p.item, costs) for p in resolved.after)
    gone = {p.item.id for p in resolved.before} - {item.id for item in items}
    prorated = terms.proration != "none" and not terms.idle
    credited = (*subscription.credited, *sorted(gone)) if prorated else subscription.credited
    changed = replace(
        subscription, items=items, paid_items=None, anchor_at=costs.anchor_at, next=(), credited=tuple(credited)
    )
    invoice = _invoice(effective_at, costs.lines) if costs.at_once and costs.lines else None
    if at_period_end and not costs.at_once:
        costs = replace(costs, items=tuple(_turning(item, effective_at) for item in costs.items))
    waiting = () if costs.at_once else costs.lines
    following = _following(changed, costs, waiting, left=min(0, invoice.total) if invoice else 0)
    if at_period_end:
        # What begins anew then is the renewal, and nothing else is billed.
        return _money(currency, (), None, invoice or following, now=False), changed
    return _money(currency, costs.lines, invoice, following, now=effective_at <= at), changed


def _turning(item: Billed, at: datetime) -> Billed:
    """An item that comes as the period ends whose renewal bills it."""
    return replace(item, from_at=at, until=at) if item.from_at == at else item


def is_idle(subscription: Subscription, at: datetime) -> bool:
    """Whether nothing is billed for a change at `at`: in a trial, or paused."""
    ends_at = subscription.trial_ends_at
    return subscription.status == "paused" or (subscription.status == "trialing" and (ends_at is None or at < ends_at))


def currency_of(positions: Iterable[Position]) -> str | None:
    return next((position.price.currency for position in positions if position.price is not None), None)


def _billed(
    positions: Iterable[Position], subscription: Subscription, currency: str | None, at: datetime
) -> list[Billed]:
    """The items the catalog has a price for, in the periods they are in."""
    found = []
    for position in positions:
        price, item = position.price, position.item
        if price is None or price.currency != currency or item.quantity == 0:
            continue
        every = price.interval, price.interval_count
        period = period_at(subscription.anchor_at, every, at)
        trial_ends_at = subscription.trial_ends_at if is_idle(subscription, at) else None
        from_at = item.period_from_at or (subscription.anchor_at if trial_ends_at else period.from_at)
        until = item.period_until or trial_ends_at or period.until or at
        amount = price.amount * item.quantity
        paid = None if item.metered or is_idle(subscription, at) else Paid(amount, item.quantity, from_at, until)
        found.append(
            Billed(item.id, position.key, price.amount, item.quantity, *every, from_at, until, item.metered, paid)
        )
    return found


def _ended(
    before: list[Billed], terms: Terms, currency: str | None, effective_at: datetime, at: datetime
) -> CostPreview:
    """What is given back when everything ends."""
    prorated = terms.proration != "none" and not terms.idle
    found = [credit(item, terms.mode, effective_at) for item in before] if prorated else []
    lines = tuple(line for line in found if line is not None)
    invoice = _invoice(effective_at, lines) if lines else None
    return _money(currency, lines, invoice, None, now=effective_at <= at)


def _following(changed: Subscription, costs: Costs, waiting: tuple[Line, ...], *, left: int) -> Invoice | None:
    """The next invoice at a period's end, if there will be one."""
    found = renewal(costs.items, costs.anchor_at)
    if (
        found is None
        or changed.status == "paused"
        or (changed.status == "trialing" and changed.after_trial != "active")
    ):
        return None
    at, lines = found
    if changed.ends_at is not None and changed.ends_at <= at:
        return None
    return _invoice(at, (*waiting, *lines), left=left)


def _invoice(at: datetime, lines: tuple[Line, ...], *, left: int = 0) -> Invoice:
    total = sum(line.amount for line in lines)
    return Invoice(at, lines, total, max(0, total + left))


def _money(
    currency: str | None, lines: tuple[Line, ...], invoice: Invoice | None, following: Invoice | None, *, now: bool
) -> CostPreview:
    told = [invoice for invoice in (invoice, following) if invoice is not None]
    amounts = [line.amount for line in (*lines, *(line for invoice in told for line in invoice.lines))]
    if any(abs(amount) > QUANTITY_MAX for amount in (*amounts, *(invoice.total for invoice in told))):
        detail = f"this would cost more than {QUANTITY_MAX} minor units, the most there can be; check the quantities"
        raise Refused("amount_too_large", detail)
    credits = -sum(line.amount for line in lines if line.kind == "credit")
    charges = sum(line.amount for line in lines if line.kind != "credit")
    due_now = invoice.due if invoice is not None and now else 0
    return CostPreview("formula", currency, credits, charges, due_now, invoice, following)


def _dated(item: Item, costs: Costs) -> Item:
    """The item in the period it is in after the change."""
    billed = next((one for one in costs.items if one.id == item.id), None)
    return item if billed is None else replace(item, period_from_at=billed.from_at, period_until=billed.until)
