"""What the invoices of a subscription in arrears say: since when it is, and what was paid for last.

Laws: these arrears begin with the first invoice that is open and later than the last that was paid, so an old one that
the owner let rest begins none; an invoice that is void or written off owes nothing any more; what is billed and not
paid gives nothing, and who asked for less has less.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from paygrade.billing.facts import Item
from paygrade.providers.stripe.fields import Json, Payload

_SETTLED = frozenset({"paid", "void", "uncollectible", "deleted"})


class Arrears:
    """The invoices of one subscription: those that are open since the last that was paid, and that one."""

    def __init__(self, subscription: Payload, invoices: Sequence[Json]) -> None:
        own = subscription.required_text("id")
        listed = [Payload(entry, f"invoices[{index}]") for index, entry in enumerate(invoices)]
        # One that was paid between two requests is what the later one says.
        its = {invoice.text("id"): invoice for invoice in listed if subscription_of(invoice) == own}.values()
        paid = [invoice for invoice in its if invoice.text("status") == "paid"]
        self._paid = max(paid, key=_made_at, default=None)
        since = _made_at(self._paid) if self._paid is not None else 0
        self._open = sorted((i for i in its if _is_open(i) and _made_at(i) >= since), key=_made_at)
        latest = subscription.expanded("latest_invoice")
        if not self._open and latest is not None and not _is_settled(latest):
            self._open = [latest]

    def unpaid_since(self, items: tuple[Item, ...]) -> datetime | None:
        """The date of the invoice that began these arrears; else when the period began."""
        known = [date for date in map(_invoice_at, self._open) if date is not None]
        return min(known or [item.period_from_at for item in items if item.period_from_at is not None], default=None)

    def next_attempt(self) -> tuple[int, datetime | None]:
        """How many times the invoice that is tried next was tried, and when that is (None: none is tried again); where
        none is, of the newest that is open."""
        tried = [(invoice.instant("next_payment_attempt"), invoice.integer("attempt_count") or 0)
                 for invoice in self._open]  # fmt: skip
        to_come = min((pair for pair in tried if pair[0] is not None), default=None)
        at, attempts = to_come or (tried[-1] if tried else (None, 0))
        return attempts, at

    def paid_items(self, items: tuple[Item, ...]) -> tuple[Item, ...] | None:
        """What was paid for last, where an open invoice is of a change to something dearer; None: these items."""
        lines = [(invoice, line) for invoice in self._open for line in invoice.listed("lines")]
        found = []
        for item in items:
            own = [(invoice, line) for invoice, line in lines if item_of(line) == item.id]
            found += [before] if (before := self._before(item, own)) is not None else []
        return None if tuple(found) == items else tuple(found)

    def _before(self, item: Item, lines: list[tuple[Payload, Payload]]) -> Item | None:
        """The item as it was before what nobody paid; None: it was not there."""
        changes = [line for _, line in lines if is_proration(line)]
        if changes:
            if sum(line.integer("amount") or 0 for line in changes) <= 0:
                return item
            credited = [line for line in changes if (line.integer("amount") or 0) < 0]
            if credited:
                return _as_billed(item, min(credited, key=lambda line: line.child("period").instant("start") or _NEVER))
            begun = min(line.child("period").integer("start") or 0 for line in changes)
            made_at = item.created_at
            return None if made_at is not None and made_at.timestamp() >= begun else item
        if any(invoice.text("billing_reason") == "subscription_update" for invoice, _ in lines):
            return self._paid_before(item)
        return item

    def _paid_before(self, item: Item) -> Item | None:
        """Of what a cycle that nobody paid began with: what the last invoice that was paid has in its place."""
        lines = self._paid.listed("lines") if self._paid is not None else ()
        billed = [line for line in lines if item_of(line) == item.id and (line.integer("amount") or 0) > 0]
        return _as_billed(item, billed[-1]) if billed else item


_NEVER = datetime.max.replace(tzinfo=UTC)


def _as_billed(item: Item, line: Payload) -> Item:
    """The item at the price and in the quantity of this line."""
    details = line.child("pricing").child("price_details")
    expanded, old = details.expanded("price"), line.expanded("price")
    price = details.id_of("price") or line.id_of("price") or line.id_of("plan")
    quantity = line.integer("quantity")
    quantity = item.quantity if quantity is None else quantity
    if price is None or price == item.price:
        return replace(item, quantity=quantity)
    named = expanded or old
    return replace(
        item,
        quantity=quantity,
        price=price,
        lookup_key=(named.text("lookup_key") or None) if named is not None else None,
        product=details.text("product") or (named.id_of("product") if named is not None else None),
        plan=None,
    )


def item_of(line: Payload) -> str | None:
    """The subscription item that a line, or an invoice item, is about."""
    parent = line.child("parent")
    details = "subscription_item_details", "subscription_details"
    named = (parent.child(each).text("subscription_item") for each in details)
    return next(filter(None, named), None) or line.text("subscription_item")


def is_proration(line: Payload) -> bool:
    return line.child("parent").child("subscription_item_details").flag("proration") or line.flag("proration")


def _made_at(invoice: Payload) -> int:
    return invoice.integer("created") or invoice.integer("date") or 0


def subscription_of(invoice: Payload) -> str | None:
    details = invoice.child("parent").child("subscription_details")
    return details.id_of("subscription") or invoice.id_of("subscription")


def _invoice_at(invoice: Payload) -> datetime | None:
    finalized_at = invoice.child("status_transitions").instant("finalized_at") or invoice.instant("finalized_at")
    return invoice.instant("due_date") or finalized_at or invoice.instant("created") or invoice.instant("date")


def _is_open(invoice: Payload) -> bool:
    return invoice.text("status") == "open" if invoice.has("status") else not _is_settled(invoice)


def _is_settled(invoice: Payload) -> bool:
    # `paid`, `closed` and `forgiven` are what versions before 2018-11-08 have in place of a status.
    if invoice.has("status"):
        return invoice.text("status") in _SETTLED
    return invoice.flag("paid") or invoice.flag("closed") or invoice.flag("forgiven")
