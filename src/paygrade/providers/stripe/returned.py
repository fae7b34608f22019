"""What went back of payments at Stripe: refunds and disputes of their charges, credit notes of their invoices.

Laws: what counts is what was paid for the period that a subscription is in; money that a credit note gave back by a
refund counts once, as refunded; an inquiry takes none, and a dispute that is won has given it back.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from paygrade.billing.accounts import period_from
from paygrade.billing.facts import Customer, Returned, ReturnedOfPeriod, Subscription
from paygrade.providers.stripe.arrears import is_proration, item_of, subscription_of
from paygrade.providers.stripe.fields import Json, Payload
from paygrade.values.states import NOT_LIVE

Pages = Callable[..., Iterable[Json]]
"""Every object of the list at a path, with Stripe's own parameters."""
_UNDECIDED = frozenset({"needs_response", "under_review"})
"""Statuses of a dispute under which the money is with the bank, beside `lost`. An inquiry takes none, a dispute that is
won gives it back, and what a status means that is not known yet, nobody can say
(https://docs.stripe.com/disputes/how-disputes-work)."""


def of_charge(charge: Payload, disputes: Sequence[Payload]) -> Returned:
    """What went back of one charge."""
    amounts = {"disputed": 0, "lost": 0}
    for dispute in disputes:
        status = dispute.text("status")
        if status in _UNDECIDED or status == "lost":
            amounts["lost" if status == "lost" else "disputed"] += dispute.integer("amount") or 0
    return Returned(charge.integer("amount_refunded") or 0, **amounts)


def with_returned(customer: Customer, pages: Pages, owner: Mapping[str, str]) -> Customer:
    """The customer, each subscription with what went back of what was paid for its running period.

    `owner` is the parameter that names whose the lists are.
    """
    since = {its.id: int(begun.timestamp()) for its in customer.subscriptions
             if its.status == "active" and (begun := period_from(its)) is not None}  # fmt: skip
    if not since:
        return customer
    created = {"gte": min(since.values())}
    listed = pages("/v1/invoices", **owner, status="paid", created=created, expand=["data.payments"])
    paid: dict[str, list[Payload]] = defaultdict(list)
    for entry in listed:
        invoice = Payload(entry, "invoice")
        its = subscription_of(invoice)
        if its in since and (invoice.integer("created") or 0) >= since[its] and (invoice.integer("amount_paid") or 0):
            paid[its].append(invoice)
    if not paid:
        return customer
    charges = _Charges(pages, owner, created)
    found = {id: _of_period(invoices, pages, charges) for id, invoices in paid.items()}
    return replace(customer, subscriptions=tuple(_with(its, found.get(its.id)) for its in customer.subscriptions))


def with_credited(customer: Customer, pages: Pages, owner: Mapping[str, str]) -> Customer:
    """The customer, each subscription with the lines that were removed in its period and credited for the time left.

    Stripe credits what is removed by a line below zero, which waits for the next invoice or has one of its own; beside
    that of a line that goes on stands one above zero (https://docs.stripe.com/billing/subscriptions/prorations).
    """
    since = {its.id: begun for its in customer.subscriptions
             if its.status not in NOT_LIVE and (begun := period_from(its)) is not None}  # fmt: skip
    if not since:
        return customer
    created = {"gte": int(min(since.values()).timestamp())}
    waiting = [Payload(entry, "invoiceitem") for entry in pages("/v1/invoiceitems", **owner, pending=True)]
    billed = [
        line
        for entry in pages("/v1/invoices", **owner, created=created)
        if (invoice := Payload(entry, "invoice")).text("status") != "void"
        for line in invoice.listed("lines")
    ]
    credits: dict[tuple[str, datetime | None], bool] = {}
    for line in (*waiting, *billed):
        id = item_of(line)
        if id is not None and is_proration(line):
            of = id, line.child("period").instant("start")
            credits[of] = credits.get(of, True) and (line.integer("amount") or 0) < 0
    found = {id for (id, _), below in credits.items() if below}
    return replace(customer, subscriptions=tuple(_crediting(its, found) for its in customer.subscriptions))


def _crediting(its: Subscription, credited: Collection[str]) -> Subscription:
    gone = sorted(set(credited) - {item.id for item in its.items})
    return replace(its, credited=tuple(gone))


def _with(its: Subscription, found: ReturnedOfPeriod | None) -> Subscription:
    if found is None or not found.total:
        return its
    until = min((item.period_until for item in its.items if item.period_until is not None), default=None)
    return replace(its, returned=replace(found, until=until))


class _Charges:
    """The charges of one customer, by the payment they belong to."""

    def __init__(self, pages: Pages, owner: Mapping[str, str], created: Mapping[str, int]) -> None:
        self._pages = pages
        # Charges can be listed by customer, and not by an account that stands for one.
        self._known: dict[str, list[Payload]] | None = None
        if "customer" in owner:
            self._known = defaultdict(list)
            for charge in self._listed(customer=owner["customer"], created=created):
                self._known[charge.id_of("payment_intent") or ""].append(charge)

    def returned(self, payment_intent: str) -> list[Returned]:
        """What went back of each charge of a payment."""
        charges = self._listed(payment_intent=payment_intent) if self._known is None else self._known[payment_intent]
        return [of_charge(charge, self._disputes(charge)) for charge in charges]

    def _listed(self, **by: object) -> list[Payload]:
        return [Payload(entry, "charge") for entry in self._pages("/v1/charges", **by)]

    def _disputes(self, charge: Payload) -> list[Payload]:
        if not charge.flag("disputed"):
            return []
        listed = self._pages("/v1/disputes", charge=charge.required_text("id"))
        return [Payload(entry, "dispute") for entry in listed]


def _of_period(invoices: Sequence[Payload], pages: Pages, charges: _Charges) -> ReturnedOfPeriod:
    intents = {
        intent
        for invoice in invoices
        for payment in invoice.listed("payments")
        if (intent := payment.child("payment").id_of("payment_intent")) is not None
    }
    went = [returned for intent in sorted(intents) for returned in charges.returned(intent)]
    return ReturnedOfPeriod(
        refunded=sum(each.refunded for each in went),
        disputed=sum(each.disputed for each in went),
        lost=sum(each.lost for each in went),
        credited=sum(_credited(invoice, pages) for invoice in invoices),
        paid=sum(invoice.integer("amount_paid") or 0 for invoice in invoices),
    )


def _credited(invoice: Payload, pages: Pages) -> int:
    """What credit notes gave back of a paid invoice to the customer's balance or outside of Stripe."""
    if not invoice.integer("post_payment_credit_notes_amount"):
        return 0
    notes = [Payload(entry, "credit_note") for entry in pages("/v1/credit_notes", invoice=invoice.required_text("id"))]
    return sum(
        (note.integer("post_payment_amount") or 0)
        - sum(refund.integer("amount_refunded") or 0 for refund in note.listed("refunds"))
        for note in notes
        if note.text("status") == "issued"
    )
