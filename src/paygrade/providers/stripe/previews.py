"""What Stripe says a plan change will cost: its preview of the invoices, in our words.

Laws: nothing is made or changed at Stripe; what is asked for is the change of the quote, item by item, as of the
instant of the quote; what is shown as due now is charged now, so an invoice that Stripe would only make at a period's
end is never taken for the change's own, whether or not the catalog knows its prices; what Stripe cannot show of a
change is left to the formula, and each invoice says which it is. (Stripe docs: create a preview invoice; prorations.)
"""

from datetime import datetime, timedelta
from typing import Any

from paygrade.changes.cost import CostPreview, Invoice
from paygrade.changes.proration import Line
from paygrade.changes.quote import Quote
from paygrade.providers.stripe.changed_items import BEHAVIORS, change_refused, changed_items, with_coupon
from paygrade.providers.stripe.connection import Gone, NotTaken, StripeConnection, not_understood
from paygrade.providers.stripe.fields import Json, Payload
from paygrade.values.errors import Refused, Unavailable

_ANSWERED_WITHIN = timedelta(minutes=2)
"""How much later than the quote Stripe may date an invoice that it would make at once: requests take a while, and
clocks differ."""


class StripePreviewer:
    """Asks one Stripe account, at the pace of everything else that is asked of it. Every call blocks."""

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection

    def preview(self, quote: Quote) -> CostPreview | None:
        """What Stripe would bill for this change; None: it shows nothing of such a change.

        At most two previews, for each a reading of the subscription where there is a coupon, and one look-up of prices
        by their keys. Refused `provider_refused_change` where Stripe would not make the change. Raises Unavailable.
        """
        if quote.ends:
            return self._ending(quote)
        if _is_paused(quote):
            # Nothing is invoiced before it is resumed (https://docs.stripe.com/billing/subscriptions/pause), so a
            # renewal that were shown would not come.
            return None
        match quote.when:
            case "now":
                return self._change_now(quote)
            case "period_end":
                # Until then nothing is billed; what comes then is what would come if it were changed now for nothing.
                return self._money(quote, None, self._renewal(quote, changed_items(self._connection, quote.items)))
            case "date":
                return None

    def _ending(self, quote: Quote) -> CostPreview | None:
        if quote.when != "now" or quote.matched.rule.proration == "none":
            return None
        return self._money(quote, self._ask(quote, cancel_now=True, proration_behavior="always_invoice"), None)

    def _change_now(self, quote: Quote) -> CostPreview | None:
        rule, items = quote.matched.rule, changed_items(self._connection, quote.items)
        anchor = {"billing_cycle_anchor": {"type": "now"}} if _begins_anew(quote) else {}
        shown = self._ask(quote, items=items, proration_behavior=BEHAVIORS[rule.proration], **anchor)
        if shown is not None and _is_renewal(shown, quote):
            return self._money(quote, None, None if _ends_unpaid(quote) else shown)
        return self._money(quote, shown, self._renewal(quote, items))

    def _renewal(self, quote: Quote, items: list[Json]) -> Json | None:
        """The next invoice at a period's end; None where none will come, and where Stripe would show that of another
        period, or bill the change itself instead."""
        if _ends_unpaid(quote) or (quote.when == "now" and _begins_anew(quote)):
            return None
        shown = self._ask(quote, items=items, proration_behavior="none")
        return shown if shown is not None and _is_renewal(shown, quote) else None

    def _ask(self, quote: Quote, **details: Any) -> Json | None:
        """One preview; None: there would be no invoice. Any: Stripe's own parameters."""
        asked: dict[str, Any] = {"subscription": quote.subscription, "subscription_details": details}
        if quote.when == "now" and details["proration_behavior"] != "none":
            details["proration_date"] = int(quote.effective_at.timestamp())
        if quote.wanted.coupon is not None:
            # What is said of discounts takes the place of those there are.
            asked["discounts"] = with_coupon(self._subscription(quote), quote.wanted.coupon)
        try:
            return self._post(asked)
        except NotTaken as refused:
            if refused.code == "invoice_upcoming_none":
                return None
            raise change_refused(refused.message) from refused

    def _subscription(self, quote: Quote) -> Payload:
        try:
            return Payload(self._connection.get(f"/v1/subscriptions/{quote.subscription}"), "subscription")
        except Gone as gone:
            raise change_refused(f"there is no subscription `{quote.subscription}`") from gone

    def _post(self, asked: dict[str, Any]) -> Json:
        """Asked again once where no answer came: unlike what else is posted, this changes nothing."""
        try:
            return self._connection.post("/v1/invoices/create_preview", idempotency_key=None, **asked)
        except Unavailable as failed:
            if failed.code != "provider_unreachable":
                raise
        return self._connection.post("/v1/invoices/create_preview", idempotency_key=None, **asked)

    def _money(self, quote: Quote, shown: Json | None, renewal: Json | None) -> CostPreview | None:
        """Both invoices in our words; what Stripe does not show of the next one is the formula's."""
        if shown is None and renewal is None:
            return None
        try:
            return _money(quote, shown, renewal)
        except Refused as mistake:
            raise not_understood(mistake.detail) from mistake


def _is_paused(quote: Quote) -> bool:
    return any(caveat.code == "not_active" for caveat in quote.warnings)


def _ends_unpaid(quote: Quote) -> bool:
    """Whether the trial ends without a way to pay, so that the period that Stripe shows after it never begins."""
    return any(caveat.code == "no_payment_method" for caveat in quote.warnings)


def _begins_anew(quote: Quote) -> bool:
    """Whether the change begins a period by itself; in a trial none does."""
    in_trial = quote.trial is not None and quote.trial.effect == "goes_on"
    return quote.matched.rule.anchor == "reset" and not in_trial


def _is_renewal(shown: Json, quote: Quote) -> bool:
    """Whether this is the invoice of a period's end, and not one of the change itself.

    Its date tells. The formula's date of the next invoice tells even seconds before it comes, but there is none where
    the formula cannot say whether a period follows.
    """
    made_at, following = _at(Payload(shown, "invoice")), quote.money.next_invoice
    if following is not None and made_at >= following.at:
        return True
    return made_at > quote.made_at + _ANSWERED_WITHIN


def _at(invoice: Payload) -> datetime:
    """When it would be made: at the latest when a whole period that it bills begins."""
    begins = [line.child("period").instant("start") for line in invoice.listed("lines") if not _is_prorated(line)]
    made_at = invoice.instant("created") or invoice.refuse("created", "an instant")
    return max([made_at, *(begin for begin in begins if begin is not None)])


def _is_prorated(line: Payload) -> bool:
    return line.child("parent").child("subscription_item_details").flag("proration")


def _money(quote: Quote, shown: Json | None, renewal: Json | None) -> CostPreview:
    invoice = _invoice(Payload(shown, "invoice"), quote) if shown is not None else None
    left = min(0, Payload(shown, "invoice").integer("ending_balance") or 0) if shown is not None else 0
    following = quote.money.next_invoice
    if renewal is not None:
        following = _invoice(Payload(renewal, "invoice"), quote, billed=invoice, left=left)
    brought = invoice or following
    own = [line for line in (brought.lines if brought else ()) if line.from_at == quote.effective_at]
    if invoice is None:
        own = [line for line in own if line.kind != "period"]
    currency = Payload(shown if shown is not None else renewal, "invoice").text("currency")
    if following is not None and following.source == "formula" and quote.money.currency != currency:
        # The price that is paid is not the catalog's: sums of two currencies say nothing together.
        following = None
    return CostPreview(
        source="provider",
        currency=currency,
        credit=-sum(line.amount for line in own if line.kind == "credit"),
        charge=sum(line.amount for line in own if line.kind != "credit"),
        due_now=invoice.due if invoice is not None else 0,
        invoice=invoice,
        next_invoice=following,
    )


def _invoice(source: Payload, quote: Quote, *, billed: Invoice | None = None, left: int = 0) -> Invoice:
    """One invoice; without the lines that `billed`, the one before, has already, and with what that left over."""
    lines = tuple(_line(line, quote) for line in source.listed("lines"))
    total, due = source.integer("total"), source.integer("amount_due")
    if total is None or due is None:
        source.refuse("total", "an amount")
    if billed is not None:
        waiting = [line for line in lines if line in billed.lines]
        lines = tuple(line for line in lines if line not in waiting)
        total -= sum(line.amount for line in waiting)
        due = max(0, total + left)
    return Invoice(_at(source), lines, total, due, "provider")


def _line(source: Payload, quote: Quote) -> Line:
    details = source.child("parent").child("subscription_item_details")
    amount, period = source.integer("amount"), source.child("period")
    from_at, until = period.instant("start"), period.instant("end")
    if amount is None or from_at is None or until is None:
        source.refuse("amount", "an amount over a period")
    # A credit may be too small to count, and then only what it gives back tells it from a debit.
    given_back = amount < 0 or details.child("proration_details").has("credited_items")
    kind = "period" if not _is_prorated(source) else "credit" if given_back else "debit"
    what = _what(details.text("subscription_item"), kind == "credit", quote) or source.text("description") or ""
    return Line(kind, what, source.integer("quantity") or 0, amount, from_at, until)  # type: ignore[arg-type]  # one of the three


def _what(id: str | None, credit: bool, quote: Quote) -> str | None:
    """What a line is for: the item's, by its id; a new item has an id that nobody has seen before."""
    known = next((item for item in quote.items if item.id == id), None)
    if known is not None:
        return known.before if credit else known.after
    added = {item.after for item in quote.items if item.how == "added"}
    return added.pop() if len(added) == 1 else None
