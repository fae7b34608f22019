"""Plan changes at Stripe: what an order asks for is brought about by looking and taking one step, again and again.

Laws: every step looks at the subscription before it acts; what is done carries the order's id in its metadata, set by
the very request or phase that does it, so what nobody heard of is seen and not done twice; a charge comes before what
it pays for; a schedule of somebody else's that has something to do is never touched.

How each act is done, and how it shows that it was:

| act | request | shows as |
|---|---|---|
| change, now | update of the items, `pending_if_incomplete` | the order's id, at first perhaps under `pending_update` |
| change, at a date | a schedule from the subscription, then its phases | the order's id on the schedule, then here |
| cancel, now | cancel | the subscription has ended |
| cancel, at a date | update of `cancel_at` | the order's id, and an end that is set |
| keep_going | update of `cancel_at` or `cancel_at_period_end` | no end is set |
| pause, resume | pause, resume | the status |
| set_trial, end_trial | update of `trial_end` | the order's id, or under `pending_update` |

Metadata and discounts wait with a pending update since 2026-05-27.dahlia
(https://docs.stripe.com/billing/subscriptions/pending-updates-reference), so a coupon needs no step of its own.
"""

from datetime import timedelta
from typing import Any

from paygrade.changes.order import ChangeOrder, Progress
from paygrade.providers.stripe.changed_items import (
    BEHAVIORS,
    change_refused,
    changed_items,
    price_ids,
    with_coupon,
)
from paygrade.providers.stripe.connection import Gone, NotTaken, StripeConnection, not_understood
from paygrade.providers.stripe.fields import Payload
from paygrade.providers.stripe.payments import card_of, failure, lacks_card, payment_of
from paygrade.providers.stripe.phases import MARK, is_planned, planned, plans_nothing
from paygrade.providers.stripe.portal import portal_url
from paygrade.providers.stripe.translate import owner_of
from paygrade.values.errors import Refused

KEY_TRIES = 5
"""Stripe keeps a failure of its own under its idempotency key for a day and answers with it again, so after this many
failures in a row the next key is used. That is safe, since every step looks first."""
_CLOCKS_DIFFER_BY = timedelta(minutes=5)
_EXPANDED = ["customer", "schedule", "latest_invoice"]
_PAYMENT = "payments.data.payment.payment_intent"
_ENDED = frozenset({"canceled", "incomplete_expired"})
_SUBSCRIPTIONS, _SCHEDULES = "/v1/subscriptions", "/v1/subscription_schedules"


class StripeOrders:
    """Plan changes at one Stripe account. Safe to share between threads; every call blocks."""

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection

    def advance(self, order: ChangeOrder) -> Progress:
        """Look how the subscription stands and take the next step, towards the order or back from it.

        Refused `provider_refused_change` where Stripe will not and has not; Unavailable where it is in doubt whether a
        step was taken.
        """
        try:
            source = self._read(order)
            if source is None and order.undo:
                return Progress("undone")
            if source is None:
                raise change_refused(f"there is no subscription `{order.subscription}`")
            return self._advance(order, source)
        except Refused as refused:
            if refused.code == "provider_refused_change":
                raise
            raise not_understood(refused.detail) from refused

    def _advance(self, order: ChangeOrder, source: Payload) -> Progress:
        try:
            return self._back(order, source) if order.undo else self._forward(order, source)
        except NotTaken as refused:
            # Somebody may have taken the step before: then it shows.
            again = self._read(order)
            seen = self._seen(order, again) if again is not None else None
            if seen is not None and not order.undo:
                return seen
            if lacks_card(refused) and again is not None and not order.undo:
                return self._wait_for_card(again)
            raise change_refused(refused.message) from refused

    # Towards it

    def _forward(self, order: ChangeOrder, source: Payload) -> Progress:
        seen, schedule = self._seen(order, source), source.expanded("schedule")
        if seen is not None:
            own = schedule is not None and schedule.child("metadata").text(MARK) == order.id
            if own and seen.state == "done":
                # It has done what it was there for, and would only stand in the way.
                self._release(order, schedule)
            return seen
        if _has_ended(source):
            return Progress("failed", detail="the subscription has ended")
        if order.act == "change" and order.effective_at is not None:
            return self._plan(order, source, schedule)
        if order.effective_at is not None and order.act != "cancel":
            raise change_refused(f"`{order.act}` takes effect at once and can't be scheduled")
        if _is_in_the_way(order, schedule):
            self._release(order, schedule)
            return Progress("open")
        return self._act(order, source)

    def _act(self, order: ChangeOrder, source: Payload) -> Progress:
        match order.act:
            case "cancel" if order.effective_at is not None:
                until = int(order.effective_at.timestamp())
                return self._update(order, source, cancel_at=until, proration_behavior=BEHAVIORS[order.proration])
            case "cancel":
                prorate = order.proration != "none"
                # What is credited without an invoice is lost together with the subscription.
                self._connection.delete(f"{_SUBSCRIPTIONS}/{order.subscription}", prorate=prorate, invoice_now=prorate)
                return Progress("done")
            case "keep_going":
                return self._update(order, source, **_without_end(source))
            case "pause":
                unused = "none" if order.proration == "none" else "now"
                invoicing = "invoice" if order.proration == "charge_now" else "pending_invoice_item"
                return self._post(
                    order, source, "/pause", type="subscription", invoicing_behavior=invoicing,
                    bill_for={"unused_time_from": {"type": unused}},
                )  # fmt: skip
            case "resume":
                return self._post(order, source, "/resume", payment_behavior="resume_on_payment_success")
            case "set_trial" if order.trial_ends_at is not None:
                trial_end = int(order.trial_ends_at.timestamp())
                return self._update(order, source, trial_end=trial_end, proration_behavior=BEHAVIORS[order.proration])
            case "set_trial":
                raise change_refused("the end of the trial is missing")
            case "end_trial":
                return self._update(order, source, trial_end="now", **_gated(source))
            case "change":
                return self._change(order, source)

    def _wait_for_card(self, source: Payload) -> Progress:
        """Wait until the customer has added a payment method, on a page of Stripe's that makes it their default one
        (https://docs.stripe.com/customer-management/portal-deep-links). It is short-lived: each look makes it anew."""
        customer = owner_of(source)
        if customer is None:
            raise change_refused("nobody pays for the subscription")
        try:
            url = portal_url(self._connection, customer, flow="payment_method_update")
        except NotTaken as refused:
            raise change_refused(f"the customer has no payment method; {refused.message}") from refused
        return Progress("pending", pay_url=url, detail="the customer has to add a payment method")

    def _change(self, order: ChangeOrder, source: Payload) -> Progress:
        running = source.text("status") not in ("trialing", "paused")
        asked: dict[str, Any] = {
            "items": changed_items(self._connection, order.items),
            "proration_behavior": BEHAVIORS[order.proration],
            **_gated(source),
        }
        if running and order.anchor_reset:
            asked["billing_cycle_anchor"] = {"type": "now"}
        if running and order.quoted_at is not None and order.proration != "none":
            asked["proration_date"] = int(order.quoted_at.timestamp())
        if order.coupon is not None:
            asked["discounts"] = with_coupon(source, order.coupon)
        return self._update(order, source, **asked)

    def _plan(self, order: ChangeOrder, source: Payload, schedule: Payload | None) -> Progress:
        """Put a schedule over the subscription, and then what it is to do. Whatever is there of ours is replaced."""
        if schedule is None:
            made = self._send(order, "schedule", _SCHEDULES, from_subscription=order.subscription)
            return Progress("open", schedule=made.required_text("id"))
        if not _is_ours(schedule) and not plans_nothing(schedule):
            raise _foreign(schedule)
        id = schedule.required_text("id")
        phases = planned(order, source, schedule, price_ids(self._connection, order.items))
        self._send(order, "phases", f"{_SCHEDULES}/{id}", **phases)
        return Progress("scheduled", schedule=id)

    # Back from it

    def _back(self, order: ChangeOrder, source: Payload) -> Progress:
        seen, schedule = self._seen(order, source), source.expanded("schedule")
        match seen:
            case Progress(state="done"):
                return seen
            case Progress(state="pending", invoice=str(invoice)):
                # Without its invoice the pending update is dropped.
                self._send(order, "void", f"/v1/invoices/{invoice}/void")
                return Progress("open", invoice=invoice)
            case Progress(state="scheduled") if schedule is not None:
                self._release(order, schedule)
                return Progress("open", schedule=schedule.text("id"))
            case Progress(state="scheduled"):
                path = f"{_SUBSCRIPTIONS}/{order.subscription}"
                self._send(order, "keep", path, **_without_end(source), metadata={MARK: ""})
                return Progress("open")
        planning = order.act == "change" and order.effective_at is not None and not _has_ended(source)
        if planning and schedule is not None and not _is_ours(schedule) and plans_nothing(schedule):
            # It was put there and nothing was written into it yet.
            self._release(order, schedule)
            return Progress("open")
        return Progress("undone")

    # How it stands

    def _seen(self, order: ChangeOrder, source: Payload) -> Progress | None:
        """What has come of the order so far; None: no step of it shows."""
        status, done = source.text("status"), Progress("done", schedule=order.schedule, invoice=order.invoice)
        marked = source.child("metadata").text(MARK) == order.id
        match order.act:
            case "cancel" if _has_ended(source):
                return done
            case "cancel" if marked:
                ends = source.has("cancel_at") or _flagged(source)
                return Progress("scheduled") if ends else Progress("failed", detail="the cancellation was taken back")
            case "cancel":
                return None
            case "keep_going":
                return None if _has_ended(source) or source.has("cancel_at") or _flagged(source) else done
            case "pause":
                return done if status == "paused" else None
            case "resume":
                return self._resumption(order, source, done)
            case "end_trial" if status != "trialing" and not _has_ended(source):
                return done
            case "change" | "set_trial" | "end_trial":
                return done if marked else self._seen_waiting(order, source)

    def _seen_waiting(self, order: ChangeOrder, source: Payload) -> Progress | None:
        """A change that has not taken effect: it waits for its payment or its time, or came to nothing."""
        if source.child("pending_update").child("metadata").text(MARK) == order.id:
            return self._bill(order.invoice or source.id_of("latest_invoice"))
        if order.invoice is not None:
            bill = self._bill(order.invoice)
            return bill if bill.state != "pending" else Progress("failed", detail="the pending update was dropped")
        if _has_ended(source):
            # Its schedule, ended with it, still shows what it would have done.
            return Progress("failed", detail="the subscription has ended")
        schedule = source.expanded("schedule")
        if schedule is not None and is_planned(schedule, order):
            return Progress("scheduled", schedule=schedule.text("id"))
        if schedule is not None and schedule.child("metadata").text(MARK) == order.id:
            return Progress("failed", schedule=schedule.text("id"), detail="its schedule was given other phases")
        if order.schedule is not None and (schedule is None or schedule.text("id") != order.schedule):
            return Progress("failed", schedule=order.schedule, detail="its schedule was released or canceled")
        return None

    def _resumption(self, order: ChangeOrder, source: Payload, done: Progress) -> Progress | None:
        if source.text("status") != "paused":
            return None if _has_ended(source) else done
        if order.invoice is not None:
            return self._bill(order.invoice)
        latest = source.expanded("latest_invoice")
        made_at = latest.instant("created") if latest is not None else None
        if latest is None or made_at is None or made_at < order.since - _CLOCKS_DIFFER_BY:
            return None
        # A paused subscription has no invoices made but that of its resumption.
        return self._bill(latest.required_text("id")) if latest.text("status") == "open" else None

    def _bill(self, id: str | None) -> Progress:
        """How it stands with the invoice of a change that waits for its payment."""
        if id is None:
            raise not_understood("what waits for a payment has no invoice")
        try:
            invoice = Payload(self._connection.get(f"/v1/invoices/{id}", expand=[_PAYMENT]), "invoice")
        except Gone:
            return Progress("failed", invoice=id, detail="its invoice is gone")
        match invoice.text("status"):
            case "paid" | "uncollectible":
                return Progress("done", invoice=id)
            case "void":
                why = failure(payment_of(invoice)) or "its invoice was not paid in time, or voided"
                return Progress("failed", invoice=id, detail=why)
            case _:
                pay_url = invoice.text("hosted_invoice_url")
                return Progress("pending", invoice=id, pay_url=pay_url, detail=failure(payment_of(invoice)))

    # Asking

    def _read(self, order: ChangeOrder) -> Payload | None:
        try:
            path = f"{_SUBSCRIPTIONS}/{order.subscription}"
            return Payload(self._connection.get(path, expand=_EXPANDED), "subscription")
        except Gone:
            return None

    def _update(self, order: ChangeOrder, source: Payload, **asked: Any) -> Progress:
        metadata = {MARK: order.id, "paygrade_account": order.account}
        return self._post(order, source, "", metadata=metadata, **asked)

    def _post(self, order: ChangeOrder, source: Payload, action: str, **asked: Any) -> Progress:
        """One request that does what is asked for, or leaves it waiting for its payment."""
        path = f"{_SUBSCRIPTIONS}/{order.subscription}{action}"
        # What was refused for want of a card is another request once there is one.
        answer = self._send(order, f"{order.act}_{card_of(source)}", path, expand=_EXPANDED, **asked)
        if order.act == "resume" and answer.text("status") == "paused":
            return self._bill(answer.id_of("latest_invoice"))
        seen = self._seen(order, answer)
        if seen is None:
            raise not_understood(f"`{path}` answered without what it was asked for")
        brought = answer.id_of("latest_invoice") if order.proration == "charge_now" or order.anchor_reset else None
        return Progress("done", invoice=brought) if seen.state == "done" and seen.invoice is None else seen

    def _release(self, order: ChangeOrder, schedule: Payload | None) -> None:
        """Let the subscription go on without its schedule, to the end that is set, unless that is what goes."""
        assert schedule is not None
        id = schedule.required_text("id")
        keeps_end = order.act != "keep_going"
        self._send(order, f"release_{id}", f"{_SCHEDULES}/{id}/release", preserve_cancel_date=keeps_end)

    def _send(self, order: ChangeOrder, step: str, path: str, **params: Any) -> Payload:
        key = f"pg_{order.id}_{step}_{order.tries // KEY_TRIES}"
        return Payload(self._connection.post(path, idempotency_key=key, **params), "subscription")


def _is_in_the_way(order: ChangeOrder, schedule: Payload | None) -> bool:
    """Whether a schedule has to go first. Refused where it is somebody else's and has something to do."""
    if schedule is None or order.act == "resume":
        return False
    if order.act == "keep_going" and schedule.text("end_behavior") != "cancel":
        return False
    if not _is_ours(schedule) and not plans_nothing(schedule):
        raise _foreign(schedule)
    return True


def _foreign(schedule: Payload) -> Refused:
    return change_refused(f"`{schedule.text('id')}` is a schedule that changes the subscription; release it first")


def _is_ours(schedule: Payload) -> bool:
    return bool(schedule.child("metadata").text(MARK))


def _has_ended(source: Payload) -> bool:
    return source.text("status") in _ENDED


def _without_end(source: Payload) -> dict[str, Any]:
    """What takes back an end that is set, in whichever of the two ways. Any: Stripe's own parameters."""
    return {"cancel_at_period_end": False} if _flagged(source) else {"cancel_at": ""}


def _flagged(source: Payload) -> bool:
    return source.flag("cancel_at_period_end")


def _gated(source: Payload) -> dict[str, str]:
    """What makes a charge come before the change it is for; who is sent an invoice pays later."""
    if source.text("collection_method") != "charge_automatically":
        return {}
    waits = source.text("status") in ("active", "trialing")
    return {"payment_behavior": "pending_if_incomplete" if waits else "error_if_incomplete"}
