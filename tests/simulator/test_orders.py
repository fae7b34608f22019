"""Plan changes at Stripe: each is made once, wherever its making was cut off, and paid before it takes effect."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from paygrade.changes.order import ChangeOrder, Progress
from paygrade.changes.quote import ItemChange
from paygrade.providers.stripe.client import StripeProvider
from paygrade.providers.stripe.connection import StripeConnection
from paygrade.providers.stripe.fields import Json
from paygrade.providers.stripe.idempotent_writes import StripeCommands
from paygrade.providers.stripe.orders import StripeOrders
from paygrade.values.errors import Refused, Unavailable

from .conftest import START, Simulated, instant

FEB28 = datetime(2026, 2, 28, 12, tzinfo=UTC)
STEPS_MAX = 6


class Desk:
    """One subscription, what is asked for it, and those who ask."""

    def __init__(self, simulated: Simulated, card: str = "pm_card_visa", **params: Any) -> None:
        self.simulated = simulated
        self.small, self.large = simulated.price(1000), simulated.price(3000)
        self.customer = simulated.customer(card)
        self.id = simulated.subscribe(self.customer, self.small, **params).id
        served = simulated.running
        self.provider = StripeProvider(api_key=served.key, api_base=served.url, timeout_s=5)
        self.commands = StripeCommands(self.provider.connection)
        self.before = len(self.invoices())

    def order(self, act: Any = "change", **known: Any) -> ChangeOrder:
        [item] = self.simulated.subscription(self.id)["items"].data if act == "change" else [None]
        change = [] if item is None else [
            ItemChange("changed", item.id, "small", "large", 1, 2, self.small, self.large)
        ]  # fmt: skip
        return ChangeOrder(
            self.name("1"), "acme", self.id, act, known.pop("effective_at", None), START, tuple(change),
            known.pop("proration", "charge_now"), **known,
        )  # fmt: skip

    def name(self, what: str) -> str:
        """The id of a plan change of this subscription's."""
        return f"pc_{what}_{self.id}"

    def advance(self, order: ChangeOrder, commands: Any = None) -> Progress:
        return (commands or self.commands).advance_change(order)

    def finish(self, order: ChangeOrder, commands: Any = None) -> Progress:
        """Go on until there is no other step to take, as whoever saves every step does."""
        for _ in range(STEPS_MAX):
            progress = self.advance(order, commands)
            order = noted(order, progress)
            if progress.state != "open":
                return progress
        raise AssertionError("it comes to no end")

    def sold(self) -> list[tuple[str, int]]:
        return [(item.price.id, item.quantity) for item in self.simulated.subscription(self.id)["items"].data]

    def invoices(self) -> list[Any]:
        return list(self.simulated.client.v1.invoices.list({"customer": self.customer}).data)

    def billed(self) -> list[tuple[str, int]]:
        """Status and amount of the invoices that came after the first."""
        made = self.invoices()
        return [(str(invoice.status), invoice.amount_due) for invoice in made[: len(made) - self.before]]

    @property
    def subscription(self) -> Any:
        return self.simulated.subscription(self.id)


def noted(order: ChangeOrder, progress: Progress) -> ChangeOrder:
    """The order with what is known of it by now."""
    known = {"schedule": progress.schedule or order.schedule, "invoice": progress.invoice or order.invoice}
    return replace(order, **known)


def undone(order: ChangeOrder) -> ChangeOrder:
    return replace(order, undo=True)


@pytest.fixture
def desk(simulated: Simulated) -> Desk:
    return Desk(simulated)


# Now


def test_a_change_now_is_charged_and_made_once(desk: Desk) -> None:
    order = desk.order(quoted_at=START)
    progress = desk.finish(order)
    assert progress.state == "done"
    assert desk.sold() == [(desk.large, 2)]
    assert desk.billed() == [("paid", 5000)]
    assert progress.invoice == desk.invoices()[0].id
    assert desk.finish(order).state == "done"
    assert desk.finish(noted(order, progress)).state == "done"
    assert desk.billed() == [("paid", 5000)]


def test_a_declined_charge_leaves_everything_as_it_is_until_it_is_paid(desk: Desk) -> None:
    desk.simulated.set_card(desk.customer, "pm_card_chargeCustomerFail")
    order = desk.order()
    waiting = desk.finish(order)
    assert (waiting.state, waiting.detail) == ("pending", "generic_decline: Your card was declined.")
    assert waiting.pay_url is not None
    assert waiting.pay_url.endswith(str(waiting.invoice))
    assert desk.sold() == [(desk.small, 1)]
    assert "paygrade_change" not in desk.subscription.metadata
    assert desk.finish(order) == waiting
    desk.simulated.set_card(desk.customer, "pm_card_visa")
    desk.simulated.client.v1.invoices.pay(str(waiting.invoice))
    assert desk.finish(noted(order, waiting)).state == "done"
    assert (desk.sold(), desk.billed()) == ([(desk.large, 2)], [("paid", 5000)])


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_charge_the_customer_has_to_confirm_decides(simulated: Simulated, succeeds: bool) -> None:
    desk = Desk(simulated)
    simulated.set_card(desk.customer, "pm_card_authenticationRequired")
    order = desk.order()
    waiting = desk.finish(order)
    assert waiting.state == "pending"
    assert waiting.detail is not None
    assert waiting.detail.startswith("authentication_required")
    [payment] = simulated.client.v1.invoice_payments.list({"invoice": str(waiting.invoice)}).data
    simulated.control("authenticate", {"payment_intent": payment.payment.payment_intent, "succeeds": succeeds})
    after = desk.finish(noted(order, waiting))
    assert after.state == ("done" if succeeds else "pending")
    assert desk.sold() == ([(desk.large, 2)] if succeeds else [(desk.small, 1)])


@pytest.mark.parametrize("heard", [True, False])
def test_a_change_nobody_pays_for_comes_to_nothing_after_23_hours(desk: Desk, heard: bool) -> None:
    desk.simulated.set_card(desk.customer, "pm_card_chargeCustomerFail")
    order = desk.order()
    waiting = desk.finish(order)
    desk.simulated.advance("23h")
    order = noted(order, waiting) if heard else order
    if not heard:
        order = noted(order, desk.finish(order))
    failed = desk.finish(order)
    assert (failed.state, failed.detail) == ("failed", "generic_decline: Your card was declined.")
    assert (desk.sold(), desk.billed()) == ([(desk.small, 1)], [("void", 5000)])
    assert desk.subscription.status == "active"


def test_a_change_that_waits_for_its_payment_can_be_taken_back(desk: Desk) -> None:
    desk.simulated.set_card(desk.customer, "pm_card_chargeCustomerFail")
    order = desk.order()
    waiting = noted(order, desk.finish(order))
    assert desk.finish(undone(waiting)).state == "undone"
    assert desk.subscription.pending_update is None
    assert (desk.sold(), desk.billed()) == ([(desk.small, 1)], [("void", 5000)])


def test_what_is_made_and_what_was_never_begun_are_told_apart_when_taken_back(desk: Desk) -> None:
    order = desk.order()
    assert desk.finish(undone(order)).state == "undone"
    assert desk.billed() == []
    assert desk.finish(order).state == "done"
    assert desk.finish(undone(order)).state == "done"
    assert desk.sold() == [(desk.large, 2)]


def test_nothing_is_charged_for_a_change_in_a_trial(simulated: Simulated) -> None:
    desk = Desk(simulated, "pm_card_chargeCustomerFail", trial_period_days=14)
    assert desk.finish(desk.order(quoted_at=START)).state == "done"
    assert (desk.sold(), desk.billed()) == ([(desk.large, 2)], [])
    assert desk.subscription.status == "trialing"


def test_with_the_next_invoice_or_for_nothing_no_payment_is_asked_for(simulated: Simulated) -> None:
    for proration in ("next_invoice", "none"):
        desk = Desk(simulated)
        simulated.set_card(desk.customer, "pm_card_chargeCustomerFail")
        assert desk.finish(desk.order(proration=proration)).state == "done"
        assert (desk.sold(), desk.billed()) == ([(desk.large, 2)], [])


def test_periods_begin_with_the_change_where_the_rule_says_so(desk: Desk) -> None:
    desk.simulated.advance("10d")
    assert desk.finish(desk.order(anchor_reset=True)).state == "done"
    assert desk.subscription.billing_cycle_anchor == instant("2026-02-10T12:00")
    [(status, due)] = desk.billed()
    assert (status, due) == ("paid", 6000 - round(1000 * 18 / 28))


def test_who_is_sent_invoices_pays_later(simulated: Simulated) -> None:
    desk = Desk(simulated, collection_method="send_invoice", days_until_due=7)
    assert desk.finish(desk.order()).state == "done"
    assert desk.sold() == [(desk.large, 2)]


def test_who_owes_has_to_pay_before_more_is_bought(desk: Desk) -> None:
    desk.simulated.set_card(desk.customer, "pm_card_chargeCustomerFail")
    desk.simulated.advance("28d2h")
    assert desk.subscription.status == "past_due"
    with pytest.raises(Refused) as refused:
        desk.finish(desk.order())
    assert refused.value.code == "provider_refused_change"
    assert "declined" in refused.value.detail
    assert desk.sold() == [(desk.small, 1)]


def test_a_coupon_comes_with_the_change_and_beside_what_there_is(simulated: Simulated) -> None:
    client = simulated.client
    old, new = (client.v1.coupons.create({"percent_off": part, "duration": "forever"}).id for part in (10, 50))
    desk = Desk(simulated, discounts=[{"coupon": old}])
    simulated.set_card(desk.customer, "pm_card_chargeCustomerFail")
    order = desk.order(coupon=new)
    waiting = desk.finish(order)
    assert len(desk.subscription.discounts) == 1
    simulated.set_card(desk.customer, "pm_card_visa")
    client.v1.invoices.pay(str(waiting.invoice))
    assert desk.finish(noted(order, waiting)).state == "done"
    held = simulated.subscription(desk.id, expand=["discounts"]).discounts
    assert [discount.source.coupon for discount in held] == [old, new]


# At a date


def test_a_change_at_the_period_s_end_is_scheduled_and_then_made(desk: Desk) -> None:
    order = desk.order(effective_at=FEB28, proration="none")
    planned = desk.finish(order)
    assert planned.state == "scheduled"
    assert planned.schedule == desk.subscription.schedule
    assert desk.finish(noted(order, planned)) == planned
    customer = desk.provider.fetch(f"stripe:{desk.customer}")
    [phase] = customer.subscriptions[0].next  # type: ignore[union-attr]  # it is a customer
    assert (phase.from_at, [(item.price, item.quantity) for item in phase.items]) == (FEB28, [(desk.large, 2)])
    desk.simulated.advance_to("2026-02-28T11:59:59Z")
    assert desk.sold() == [(desk.small, 1)]
    assert desk.finish(noted(order, planned)).state == "scheduled"
    desk.simulated.advance("2h")
    assert desk.finish(noted(order, planned)).state == "done"
    assert (desk.sold(), desk.subscription.schedule) == ([(desk.large, 2)], None)
    assert desk.billed() == [("paid", 6000)]
    assert desk.finish(noted(order, planned)).state == "done"


def test_a_scheduled_change_can_be_taken_back_until_its_time(desk: Desk) -> None:
    order = desk.order(effective_at=FEB28, proration="none")
    planned = noted(order, desk.finish(order))
    assert desk.finish(undone(planned)).state == "undone"
    assert desk.subscription.schedule is None
    desk.simulated.advance_to("2026-03-01T00:00:00Z")
    assert (desk.sold(), desk.subscription.status) == ([(desk.small, 1)], "active")


def test_taken_back_after_its_first_step_no_schedule_stays(desk: Desk) -> None:
    order = desk.order(effective_at=FEB28)
    assert desk.advance(order).state == "open"
    assert desk.subscription.schedule is not None
    assert desk.finish(undone(order)).state == "undone"
    assert desk.subscription.schedule is None


def test_what_was_planned_before_gives_way(desk: Desk) -> None:
    earlier = desk.order(effective_at=FEB28)
    desk.finish(earlier)
    later = replace(earlier, id=desk.name("later"), effective_at=FEB28 + timedelta(days=10))
    assert desk.finish(later).state == "scheduled"
    assert desk.finish(earlier).state != "done"
    desk.simulated.advance_to("2026-03-01T00:00:00Z")
    assert desk.sold() == [(desk.small, 1)]
    desk.simulated.advance_to("2026-03-10T13:00:00Z")
    assert desk.finish(later).state == "done"


def test_what_is_paid_with_and_taken_off_stays_in_a_phase(simulated: Simulated) -> None:
    coupon, extra = (simulated.client.v1.coupons.create({"percent_off": off, "duration": "forever"}).id
                     for off in (50, 10))  # fmt: skip
    desk = Desk(simulated, discounts=[{"coupon": coupon}], description="as agreed", metadata={"sold_by": "ann"})
    method = simulated.client.v1.payment_methods.attach("pm_card_mastercard", {"customer": desk.customer})
    simulated.update(desk.id, default_payment_method=method.id)
    order = desk.order(effective_at=FEB28, coupon=extra, proration="none")
    planned = noted(order, desk.finish(order))
    simulated.advance_to("2026-02-28T14:00:00Z")
    assert desk.finish(planned).state == "done"
    after = simulated.subscription(desk.id, expand=["discounts"])
    assert [discount.source.coupon for discount in after.discounts] == [coupon, extra]
    assert (after.description, after.default_payment_method, after.metadata["sold_by"]) == (
        "as agreed", method.id, "ann"
    )  # fmt: skip
    assert desk.billed() == [("paid", 2700)]


def test_an_end_that_is_set_stays_behind_what_is_planned(desk: Desk) -> None:
    desk.simulated.update(desk.id, cancel_at=instant("2026-04-15"))
    order = desk.order(effective_at=FEB28, proration="none")
    planned = noted(order, desk.finish(order))
    desk.simulated.advance_to("2026-03-01T00:00:00Z")
    assert desk.finish(planned).state == "done"
    assert (desk.subscription.schedule, desk.subscription.cancel_at) == (None, instant("2026-04-15"))
    desk.simulated.update(desk.id, cancel_at=instant("2026-03-02"))
    with pytest.raises(Refused, match="ends before"):
        desk.finish(replace(desk.order(effective_at=FEB28 + timedelta(days=30)), id=desk.name("later")))


def test_a_schedule_of_somebody_else_s_is_left_alone(desk: Desk) -> None:
    made = desk.simulated.client.v1.subscription_schedules.create({"from_subscription": desk.id})
    [present] = made.phases
    items: Any = [{"price": desk.small}]
    desk.simulated.client.v1.subscription_schedules.update(
        made.id,
        {
            "phases": [
                {"items": items, "start_date": present.start_date, "end_date": present.end_date},
                {"items": [{"price": desk.large}], "duration": {"interval": "month"}},
            ]
        },
    )
    for order in (desk.order(), desk.order(effective_at=FEB28), desk.order("cancel"), desk.order("pause")):
        with pytest.raises(Refused, match="release it first"):
            desk.finish(order)
        assert desk.subscription.schedule == made.id
    desk.simulated.client.v1.subscription_schedules.release(made.id)
    assert desk.finish(desk.order()).state == "done"


def test_a_schedule_that_was_released_by_others_is_a_change_that_failed(desk: Desk) -> None:
    order = desk.order(effective_at=FEB28)
    planned = noted(order, desk.finish(order))
    desk.simulated.client.v1.subscription_schedules.release(str(planned.schedule))
    failed = desk.finish(planned)
    assert (failed.state, failed.detail) == ("failed", "its schedule was released or canceled")


@pytest.mark.parametrize("steps", [1, 2])
def test_what_was_planned_for_a_subscription_that_ended_comes_to_nothing_either_way(desk: Desk, steps: int) -> None:
    order = desk.order(effective_at=FEB28)
    for _ in range(steps):
        order = noted(order, desk.advance(order))
    desk.simulated.client.v1.subscriptions.cancel(desk.id)
    assert desk.finish(order).detail == "the subscription has ended"
    assert desk.finish(undone(order)).state == "undone"


# Ends


@pytest.mark.parametrize(("proration", "credit"), [("none", 0), ("charge_now", -round(1000 * 18 / 28))])
def test_canceling_now_gives_back_what_the_rule_says(desk: Desk, proration: Any, credit: int) -> None:
    desk.simulated.advance("10d")
    order = desk.order("cancel", proration=proration)
    assert desk.finish(order).state == "done"
    assert desk.subscription.status == "canceled"
    assert desk.simulated.client.v1.customers.retrieve(desk.customer).balance == credit
    assert desk.finish(order).state == "done"


@pytest.mark.parametrize("with_plan", [False, True])
def test_canceling_at_a_date_ends_it_then(desk: Desk, with_plan: bool) -> None:
    if with_plan:
        desk.finish(desk.order(effective_at=FEB28 + timedelta(days=3)))
    order = ChangeOrder(desk.name("9"), "acme", desk.id, "cancel", FEB28, START)
    assert desk.finish(order).state == "scheduled"
    assert (desk.subscription.status, desk.subscription.cancel_at) == ("active", int(FEB28.timestamp()))
    desk.simulated.advance_to("2026-02-28T12:00:00Z")
    assert desk.finish(order).state == "done"


def test_a_scheduled_end_can_be_taken_back_in_both_ways(desk: Desk) -> None:
    order = desk.order("cancel", effective_at=FEB28)
    desk.finish(order)
    assert desk.finish(undone(order)).state == "undone"
    assert desk.subscription.cancel_at is None
    for how in ({"cancel_at_period_end": True}, {"cancel_at": int(FEB28.timestamp())}):
        desk.simulated.update(desk.id, **how)
        kept = ChangeOrder(desk.name(next(iter(how))), "acme", desk.id, "keep_going", None, START)
        assert desk.finish(kept).state == "done"
        assert (desk.subscription.cancel_at, desk.subscription.cancel_at_period_end) == (None, False)


def test_an_end_that_somebody_else_took_back_is_a_change_that_failed(desk: Desk) -> None:
    order = desk.order("cancel", effective_at=FEB28)
    desk.finish(order)
    desk.simulated.update(desk.id, cancel_at="")
    assert desk.finish(order).state == "failed"


def test_what_is_over_cannot_be_changed_or_kept(desk: Desk) -> None:
    orders = [desk.order(), desk.order(effective_at=FEB28), desk.order("keep_going"), desk.order("pause")]
    desk.simulated.client.v1.subscriptions.cancel(desk.id)
    assert {desk.finish(order).state for order in orders} == {"failed"}
    assert {desk.finish(undone(order)).state for order in orders} == {"undone"}


def test_a_subscription_nobody_knows_is_refused(desk: Desk) -> None:
    order = ChangeOrder("pc_1", "acme", "sub_gone", "change", None, START)
    with pytest.raises(Refused) as refused:
        desk.finish(order)
    assert refused.value.code == "provider_refused_change"
    assert desk.finish(undone(order)).state == "undone"


# Pauses and trials


def test_a_pause_and_its_end(desk: Desk) -> None:
    assert desk.finish(desk.order("pause", proration="none")).state == "done"
    assert desk.subscription.status == "paused"
    resumed = ChangeOrder(desk.name("2"), "acme", desk.id, "resume", None, START)
    assert desk.finish(resumed).state == "done"
    assert desk.subscription.status == "active"
    assert desk.finish(resumed).state == "done"
    assert desk.billed() == [("paid", 1000)]


def test_a_resumption_waits_for_its_payment_and_can_be_taken_back(desk: Desk) -> None:
    desk.finish(desk.order("pause", proration="none"))
    desk.simulated.set_card(desk.customer, "pm_card_chargeCustomerFail")
    order = ChangeOrder(desk.name("2"), "acme", desk.id, "resume", None, START)
    waiting = desk.finish(order)
    assert (waiting.state, desk.subscription.status) == ("pending", "paused")
    assert desk.finish(order) == waiting
    assert desk.finish(undone(noted(order, waiting))).state == "undone"
    assert desk.billed() == [("void", 1000)]
    again = ChangeOrder(desk.name("3"), "acme", desk.id, "resume", None, START)
    waiting = desk.finish(again)
    desk.simulated.set_card(desk.customer, "pm_card_visa")
    desk.simulated.client.v1.invoices.pay(str(waiting.invoice))
    assert desk.finish(noted(again, waiting)).state == "done"
    assert desk.subscription.status == "active"


def test_a_trial_begins_is_extended_and_ends(desk: Desk) -> None:
    until = START + timedelta(days=40)
    assert desk.finish(desk.order("set_trial", trial_ends_at=until, proration="none")).state == "done"
    assert (desk.subscription.status, desk.subscription.trial_end) == ("trialing", int(until.timestamp()))
    later = ChangeOrder(
        desk.name("2"), "acme", desk.id, "set_trial", None, START, trial_ends_at=until + timedelta(days=5)
    )
    assert desk.finish(later).state == "done"
    assert desk.subscription.trial_end == int((until + timedelta(days=5)).timestamp())
    ended = ChangeOrder(desk.name("3"), "acme", desk.id, "end_trial", None, START)
    assert desk.finish(ended).state == "done"
    assert desk.subscription.status == "active"


def test_a_trial_ends_early_only_once_it_is_paid(simulated: Simulated) -> None:
    desk = Desk(simulated, "pm_card_chargeCustomerFail", trial_period_days=14)
    order = desk.order("end_trial")
    waiting = desk.finish(order)
    assert (waiting.state, desk.subscription.status) == ("pending", "trialing")
    simulated.set_card(desk.customer, "pm_card_visa")
    simulated.client.v1.invoices.pay(str(waiting.invoice))
    assert desk.finish(noted(order, waiting)).state == "done"
    assert desk.subscription.status == "active"


def test_what_takes_effect_at_once_cannot_be_put_off(desk: Desk) -> None:
    with pytest.raises(Refused, match="at once"):
        desk.finish(desk.order("pause", effective_at=FEB28))


# Cut off


class CutOff(Exception):
    """The process is gone; what it had asked for was done."""


class Fragile(StripeConnection):
    """Loses its process after so many requests that changed something."""

    def __init__(self, desk: Desk, writes: int) -> None:
        served = desk.simulated.running
        super().__init__(api_key=served.key, api_base=served.url, timeout_s=5)
        self._left = writes

    def post(self, path: str, *, idempotency_key: str | None, **params: Any) -> Json:
        answer = super().post(path, idempotency_key=idempotency_key, **params)
        self._wear()
        return answer

    def delete(self, path: str, **params: Any) -> None:
        super().delete(path, **params)
        self._wear()

    def _wear(self) -> None:
        self._left -= 1
        if not self._left:
            raise CutOff


def _plain(desk: Desk) -> None:
    pass


def _poor(desk: Desk) -> None:
    desk.simulated.set_card(desk.customer, "pm_card_chargeCustomerFail")


def _planned(desk: Desk) -> None:
    desk.finish(replace(desk.order(effective_at=FEB28), id=desk.name("before")))


def _paused(desk: Desk) -> None:
    desk.finish(ChangeOrder(desk.name("0"), "acme", desk.id, "pause", None, START))


def _paused_and_poor(desk: Desk) -> None:
    _paused(desk)
    _poor(desk)


CASES: list[tuple[str, Callable[[Desk], None], dict[str, Any], str]] = [
    ("change", _plain, {}, "done"),
    ("change", _poor, {}, "pending"),
    ("change", _planned, {}, "done"),
    ("change", _plain, {"effective_at": FEB28}, "scheduled"),
    ("change", _planned, {"effective_at": FEB28}, "scheduled"),
    ("cancel", _plain, {}, "done"),
    ("cancel", _planned, {"effective_at": FEB28}, "scheduled"),
    ("pause", _planned, {}, "done"),
    ("resume", _paused, {}, "done"),
    ("resume", _paused_and_poor, {}, "pending"),
    ("set_trial", _plain, {"trial_ends_at": FEB28}, "done"),
]


@pytest.mark.parametrize(("act", "prepare", "known", "ends"), CASES)
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("writes", [1, 2, 3])
def test_cut_off_after_any_step_it_is_made_once(
    simulated: Simulated, act: str, prepare: Callable[[Desk], None], known: dict[str, Any], ends: str, back: bool,
    writes: int,
) -> None:  # fmt: skip
    whole, cut = Desk(simulated), Desk(simulated)
    for desk in (whole, cut):
        prepare(desk)
    order = whole.order(act, **known)
    assert whole.finish(order).state == ends
    order = replace(cut.order(act, **known), id=cut.name("cut"))
    fragile = StripeOrders(Fragile(cut, writes))
    try:
        for _ in range(STEPS_MAX):
            progress = fragile.advance(order)
            if progress.state != "open":
                break
            order = noted(order, progress)
    except CutOff:
        pass
    assert cut.finish(order).state == ends
    assert _shape(cut) == _shape(whole)
    if back and ends != "done":
        assert cut.finish(undone(order)).state == "undone"
        assert cut.subscription.schedule is None
        assert cut.subscription.pending_update is None
        assert cut.subscription.cancel_at is None


def _shape(desk: Desk) -> tuple[Any, ...]:
    source = desk.subscription
    sold = [("large" if price == desk.large else "small", quantity) for price, quantity in desk.sold()]
    return source.status, sold, desk.billed(), source.schedule is None, source.cancel_at, source.trial_end


@pytest.mark.parametrize(("act", "prepare", "known", "ends"), CASES)
def test_two_who_carry_it_out_at_once_do_it_once(
    simulated: Simulated, act: str, prepare: Callable[[Desk], None], known: dict[str, Any], ends: str
) -> None:
    whole, shared = Desk(simulated), Desk(simulated)
    for desk in (whole, shared):
        prepare(desk)
    whole.finish(whole.order(act, **known))
    order = replace(shared.order(act, **known), id=shared.name("shared"))
    found: list[str] = []

    def carry_out() -> None:
        for _ in range(20):
            try:
                found.append(shared.finish(order).state)
            except Unavailable:
                continue
            return

    threads = [threading.Thread(target=carry_out) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [ends] * 3
    assert _shape(shared) == _shape(whole)
