"""Access beside money: who may use what nobody pays for, and who has paid for what they may not use.

Laws: it follows from the account, the catalog, the invoices and the instant; each row says since when and why; what is
paid for time to come and credited for it again is no payment; what is paid by use needs no payment ahead.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Block, Customer, Override, Subscription, subscriptions_of
from paygrade.billing.invoices import Invoice
from paygrade.billing.standing import Standing, standing_at
from paygrade.catalog.model import Catalog, find_bought
from paygrade.reports.revenue import LineSoFar, lines_before

LeakKind = Literal["access_without_payment", "payment_without_access"]
LeakCause = Literal[
    "trial", "arrears", "open_invoice", "written_off", "went_back", "free", "not_billed", "stated", "override",
    "ended", "suspended", "paused", "incomplete", "blocked", "not_in_catalog", "unknown_subscription",
]  # fmt: skip


class Leak(Struct, frozen=True):
    """A difference between what an account may do and what it pays, `since` when, and why.

    `amount`, in minor units without tax: what is owed or went back, or what is paid for time to come. None: it has no
    invoice, so nobody has said. `subscription` None: it is of none.
    """

    kind: LeakKind
    cause: LeakCause
    subscription: str | None
    feature: str | None
    amount: int | None
    currency: str | None
    since: datetime | None


def leaks(account: Account, catalog: Catalog, invoices: Sequence[Invoice], at: datetime) -> tuple[Leak, ...]:
    """What differs at `at`, subscription by subscription, and then by overrides."""
    found: list[Leak] = []
    known = {its.id: its for its in account.subscriptions}
    stated = {
        its.id
        for statement in account.statements.values()
        if not isinstance(statement.body, Customer)
        for its in subscriptions_of(statement.body)
    }
    running = _running(invoices, at)
    for id, its in sorted(known.items()):
        standing = standing_at(its, catalog, at)
        if standing.access != "none" and _is_sold(standing.subscription, catalog):
            found += _unpaid(standing, id in stated, running.get(id, ()), invoices, at)
    for id, lines in sorted(running.items()):
        found += _unused(account, catalog, known.get(id), id, lines, at)
    return (*found, *_overridden(account, at))


_Running = tuple[Invoice, LineSoFar]


def _running(invoices: Iterable[Invoice], at: datetime) -> Mapping[str, Sequence[_Running]]:
    """Lines that were paid ahead for a time that `at` is in, by subscription."""
    found: dict[str, list[_Running]] = {}
    for invoice in invoices:
        for each in lines_before(invoice, at.date()):
            line = each.line
            if line.subscription is not None and not line.used and line.from_at <= at < line.until:
                found.setdefault(line.subscription, []).append((invoice, each))
    return found


def _is_sold(subscription: Subscription, catalog: Catalog) -> bool:
    """Whether it gives anything."""
    return any(
        find_bought(catalog, price=item.price, lookup_key=item.lookup_key, product=item.product, plan=item.plan)
        for item in subscription.items
    )


def _unpaid(
    standing: Standing, stated: bool, running: Sequence[_Running], invoices: Sequence[Invoice], at: datetime
) -> Iterator[Leak]:
    its = standing.subscription
    began = its.started_at or its.anchor_at

    def leak(cause: LeakCause, since: datetime | None, owed: Iterable[tuple[int, str]] = ()) -> Leak:
        amounts = list(owed)
        total = sum(amount for amount, _ in amounts) if amounts else None
        currency = amounts[0][1] if amounts else None
        return Leak("access_without_payment", cause, its.id, None, total, currency, since)

    own = [invoice for invoice in invoices if any(line.subscription == its.id for line in invoice.lines)]
    unpaid = [invoice for invoice in own if invoice.status == "open" and invoice.remaining > 0]
    owed = [(_without_tax(invoice, invoice.remaining), invoice.currency) for invoice in unpaid]
    if standing.state in ("past_due", "grace", "unpaid", "paused"):
        yield leak("arrears", its.unpaid_since or min((one.created_at for one in unpaid), default=None), owed)
    elif stated and not own:
        yield leak("stated", began)
    elif standing.state == "trialing":
        yield leak("trial", began)
    elif sum(each.line.amount - each.refunded for _, each in running) > 0 or all(item.metered for item in its.items):
        return
    elif unpaid:
        yield leak("open_invoice", min(one.created_at for one in unpaid), owed)
    elif back := [(each.refunded, one.currency) for one, each in running if each.refunded]:
        yield leak("went_back", max(one.went_back[-1].at for one, each in running if each.refunded), back)
    elif running:
        yield leak("free", min(each.line.from_at for _, each in running), [(0, running[0][0].currency)])
    elif lost := [one for one in own if one.status in ("uncollectible", "void") and _is_for(one, its.id, at)]:
        yield leak("written_off", min(one.created_at for one in lost), [(one.net, one.currency) for one in lost])
    else:
        ends = [line.until for one in own for line in one.lines if line.subscription == its.id and line.until <= at]
        yield leak("not_billed", max(ends, default=began))


def _unused(
    account: Account, catalog: Catalog, its: Subscription | None, id: str, running: Sequence[_Running], at: datetime
) -> Iterator[Leak]:
    left, invoice = sum(each.left for _, each in running), running[0][0]
    if left <= 0:
        return
    begun = min(each.line.from_at for _, each in running)
    cause, since = _why_unused(account, catalog, its, begun, at)
    if cause is not None:
        yield Leak("payment_without_access", cause, id, None, left, invoice.currency, since)


def _why_unused(
    account: Account, catalog: Catalog, its: Subscription | None, begun: datetime, at: datetime
) -> tuple[LeakCause | None, datetime]:
    """Why nothing that was paid for can be used, and since when; None: it can."""
    blocks = [
        statement.as_of
        for statement in account.statements.values()
        if isinstance(statement.body, Block) and statement.body.stands(at)
    ]
    if blocks:
        return "blocked", min(blocks)
    if its is None:
        return "unknown_subscription", begun
    standing = standing_at(its, catalog, at)
    match standing.state:
        case _ if standing.access != "none":
            return (None if _is_sold(standing.subscription, catalog) else "not_in_catalog"), begun
        case "canceled" | "expired":
            return "ended", its.ended_at or its.ends_at or begun
        case "paused":
            return "paused", begun
        case "incomplete":
            return "incomplete", begun
        case _:
            return "suspended", its.unpaid_since or begun


def _overridden(account: Account, at: datetime) -> Iterator[Leak]:
    """What an operator gives that nobody pays for."""
    for _, statement in sorted(account.statements.items()):
        body = statement.body
        if isinstance(body, Override) and body.stands(at) and _gives(body):
            yield Leak(
                "access_without_payment",
                "override",
                None,
                body.feature,
                None,
                None,
                max(statement.as_of, body.starts_at or statement.as_of),
            )


def _gives(override: Override) -> bool:
    return override.unlimited or override.value not in (None, False) or bool(override.limit) or bool(override.add)


def _is_for(invoice: Invoice, subscription: str, at: datetime) -> bool:
    return any(line.subscription == subscription and line.from_at <= at < line.until for line in invoice.lines)


def _without_tax(invoice: Invoice, amount: int) -> int:
    return amount * invoice.net // invoice.total if invoice.total > 0 else amount
