"""What a customer of Stripe was billed and paid, translated into invoices.

Laws: the lines of an invoice sum up to its total without tax, whatever Stripe adds beside them; a refund is counted
once, with the invoice that its charge paid; of a credit note only what was not refunded counts, as the refund does; an
inquiry takes no money, and a dispute that is won has given it back.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from paygrade.billing.invoices import Invoice, InvoiceLine, InvoiceStatus, WentBack
from paygrade.providers.stripe.arrears import is_proration, item_of, subscription_of
from paygrade.providers.stripe.fields import Payload
from paygrade.providers.stripe.returned import Pages

_STATUSES: Mapping[str | None, InvoiceStatus] = {
    "open": "open",
    "paid": "paid",
    "void": "void",
    "uncollectible": "uncollectible",
}
_TAKEN = frozenset({"needs_response", "under_review", "lost"})
"""Statuses of a dispute under which the money is gone, where Stripe names no movement of it."""
_NOT_REFUNDED = frozenset({"failed", "canceled"})
"""Statuses of a refund with which the money stayed (https://docs.stripe.com/api/refunds/object#refund_object-status)."""


def invoices_of(pages: Pages, owner: Mapping[str, str]) -> tuple[Invoice, ...]:
    """All invoices of a customer. Costs one request for a page of invoices and one for a page of charges, and one for
    each charge that was refunded or disputed and each invoice that was credited.

    `owner` is the parameter that names whose the lists are. Refused `provider_payload_invalid`.
    """
    listed = [Payload(entry, "invoice") for entry in pages("/v1/invoices", **owner, expand=["data.payments"])]
    listed = [invoice for invoice in listed if invoice.text("status") in _STATUSES]
    back = _went_back(pages, owner, listed)
    return tuple(_invoice(invoice, pages, back.get(invoice.required_text("id"), [])) for invoice in listed)


def _invoice(source: Payload, pages: Pages, back: Sequence[WentBack]) -> Invoice:
    id = source.required_text("id")
    created_at = _required_instant(source, "created")
    total = source.integer("total") or 0
    tax = sum(each.integer("amount") or 0 for each in source.listed("total_taxes"))
    changed = source.child("status_transitions")
    lines = tuple(_line(line, created_at) for line in _all_lines(source, pages))
    beside = total - tax - sum(line.amount for line in lines)
    if beside:
        # Shipping, or an invoice of a version that has its discounts elsewhere.
        lines += (InvoiceLine(f"{id}:beside", beside, created_at, created_at),)
    paid = source.text("status") == "paid"
    return Invoice(
        id=id,
        status=_STATUSES[source.text("status")],
        currency=source.required_text("currency"),
        created_at=created_at,
        total=total,
        tax=tax,
        remaining=source.integer("amount_remaining") or 0,
        paid_at=(changed.instant("paid_at") or changed.instant("finalized_at") or created_at) if paid else None,
        due_at=source.instant("due_date"),
        lines=lines,
        went_back=tuple(sorted(back, key=lambda one: (one.at, one.id))),
    )


def _all_lines(source: Payload, pages: Pages) -> Sequence[Payload]:
    if not source.child("lines").flag("has_more"):
        return source.listed("lines")
    listed = pages(f"/v1/invoices/{source.required_text('id')}/lines")
    return [Payload(entry, "invoice.lines.data[]") for entry in listed]


def _line(source: Payload, created_at: datetime) -> InvoiceLine:
    period, priced = source.child("period"), source.child("pricing").child("price_details")
    from_at = period.instant("start") or created_at
    until = max(from_at, period.instant("end") or from_at)
    spared = source.listed("pretax_credit_amounts") or source.listed("discount_amounts")
    included = (tax for tax in source.listed("taxes") if tax.text("tax_behavior") == "inclusive")
    amount = source.integer("amount") or 0
    item, proration = item_of(source), is_proration(source) or _item_details(source).flag("proration")
    return InvoiceLine(
        id=source.required_text("id"),
        amount=amount - sum(each.integer("amount") or 0 for each in (*spared, *included)),
        from_at=from_at,
        until=until,
        # What is paid ahead is billed when its period begins, and what was used when it is over
        # (https://docs.stripe.com/billing/subscriptions/usage-based/how-it-works).
        used=item is not None and not proration and from_at < until <= created_at,
        proration=proration,
        quantity=source.integer("quantity"),
        price=priced.id_of("price"),
        product=priced.id_of("product"),
        item=item,
        subscription=subscription_of(source) or _subscription(source),
    )


def _item_details(line: Payload) -> Payload:
    """What a line that comes from an invoice item says of it."""
    return line.child("parent").child("invoice_item_details")


def _subscription(line: Payload) -> str | None:
    details = line.child("parent").child("subscription_item_details")
    return details.id_of("subscription") or _item_details(line).id_of("subscription")


def _went_back(pages: Pages, owner: Mapping[str, str], invoices: Sequence[Payload]) -> dict[str, list[WentBack]]:
    """What went back of each invoice, by its id."""
    found: dict[str, list[WentBack]] = {}
    paid_by: dict[str, str] = {}
    for invoice in sorted(invoices, key=lambda each: (each.integer("created") or 0, each.text("id") or "")):
        for payment in invoice.listed("payments"):
            intent = payment.child("payment").id_of("payment_intent")
            if intent is not None:
                paid_by.setdefault(intent, invoice.required_text("id"))
    for charge in _charges(pages, owner, paid_by):
        of = paid_by.get(charge.id_of("payment_intent") or "")
        if of is not None:
            found.setdefault(of, []).extend(_of_charge(charge, pages))
    for invoice in filter(_is_credited, invoices):
        of = invoice.required_text("id")
        for entry in pages("/v1/credit_notes", invoice=of):
            found.setdefault(of, []).extend(_of_note(Payload(entry, "credit_note")))
    return found


def _charges(pages: Pages, owner: Mapping[str, str], paid_by: Mapping[str, str]) -> Iterator[Payload]:
    # Charges can be listed by customer, and not by an account that stands for one.
    asked = [owner] if "customer" in owner else [{"payment_intent": intent} for intent in sorted(paid_by)]
    for by in asked if paid_by else ():
        for entry in pages("/v1/charges", **by):
            yield Payload(entry, "charge")


def _of_charge(charge: Payload, pages: Pages) -> Iterator[WentBack]:
    id = charge.required_text("id")
    if charge.integer("amount_refunded"):
        for entry in pages("/v1/refunds", charge=id):
            refund = Payload(entry, "refund")
            if refund.text("status") not in _NOT_REFUNDED:
                at = _required_instant(refund, "created")
                yield WentBack(refund.required_text("id"), "refund", refund.integer("amount") or 0, at)
    if charge.flag("disputed") or charge.has("dispute"):
        for entry in pages("/v1/disputes", charge=id):
            yield from _of_dispute(Payload(entry, "dispute"))


def _of_dispute(dispute: Payload) -> Iterator[WentBack]:
    """What a dispute took, and what it gave back, each when the money moved. Movements are in the currency of the
    balance, so the amount is the dispute's."""
    id, amount = dispute.required_text("id"), dispute.integer("amount") or 0
    moved = [each for each in dispute.listed("balance_transactions") if each.integer("amount")]
    for each in moved:
        took = (each.integer("amount") or 0) < 0
        name = f"{id}:{'withdrawn' if took else 'reinstated'}"
        yield WentBack(name, "dispute", amount if took else -amount, _required_instant(each, "created"))
    if not moved and dispute.text("status") in _TAKEN:
        yield WentBack(f"{id}:withdrawn", "dispute", amount, _required_instant(dispute, "created"))


def _of_note(note: Payload) -> Iterator[WentBack]:
    refunded = sum(each.integer("amount_refunded") or 0 for each in note.listed("refunds"))
    credited = (note.integer("amount") or 0) - refunded
    if note.text("status") == "issued" and credited:
        at = note.instant("effective_at") or _required_instant(note, "created")
        yield WentBack(note.required_text("id"), "credit_note", credited, at)


def _is_credited(invoice: Payload) -> bool:
    return bool(
        invoice.integer("post_payment_credit_notes_amount") or invoice.integer("pre_payment_credit_notes_amount")
    )


def _required_instant(source: Payload, key: str) -> datetime:
    found = source.instant(key)
    return source.refuse(key, "an instant") if found is None else found
