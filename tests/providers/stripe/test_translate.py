"""Stripe's objects mean the same in every version, and never crash the reader."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from msgspec.structs import replace

from paygrade.billing import facts
from paygrade.providers.stripe import translate
from paygrade.values.errors import Refused
from paygrade.values.states import STATUSES
from support.stripe_shapes import (
    FEB,
    JAN,
    MAR,
    acacia,
    buyer,
    early,
    endive,
    invoice,
    line,
    mutated,
    phase,
    schedule,
)


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


PRO = facts.Item(
    id="si_1",
    price="price_pro",
    lookup_key="pro_monthly",
    product="prod_pro",
    period_from_at=at(JAN),
    period_until=at(FEB),
)


def test_versions_before_and_after_basil_give_the_same_subscription() -> None:
    expected = facts.Subscription(
        id="sub_1", status="active", items=(PRO,), anchor_at=at(JAN), provider_status="active", started_at=at(JAN)
    )
    classic = {"type": "classic", "flexible": None}
    assert translate.subscription(endive(billing_mode=classic)) == expected
    assert translate.subscription(acacia()) == expected


def test_what_a_quote_needs_to_know_is_read() -> None:
    metered = {"id": "price_calls", "recurring": {"interval": "month", "usage_type": "metered"}}
    items = {"data": [line(), line(id="si_2", price=metered)], "has_more": False}
    read = translate.subscription(endive(schedule="sub_sched_1", items=items))
    assert (read.billing_mode, read.schedule) == ("flexible", "sub_sched_1")
    assert [item.metered for item in read.items] == [False, True]
    old = {"id": "si_1", "plan": {"id": "calls", "usage_type": "metered"}}
    assert translate.subscription(acacia(items={"data": [old]})).items[0].metered


def test_a_plan_without_items_is_one_item() -> None:
    item = facts.Item(
        id="sub_1", price="price_pro", product="prod_pro", period_from_at=at(JAN), period_until=at(FEB), quantity=3
    )
    assert translate.subscription(early(quantity=3)).items == (item,)


def test_an_item_with_an_old_plan_only_is_sold_by_the_plans_id() -> None:
    item = {"id": "si_1", "plan": {"id": "gold", "product": {"id": "prod_gold"}}, "quantity": 2}
    (read,) = translate.subscription(acacia(items={"data": [item]})).items
    assert (read.price, read.product, read.quantity, read.period_until) == ("gold", "prod_gold", 2, at(FEB))


@pytest.mark.parametrize("price", ["price_pro", {"id": "price_pro", "product": {"id": "prod_pro", "name": "Pro"}}])
def test_prices_and_products_may_be_expanded_or_not(price: object) -> None:
    (read,) = translate.subscription(endive(items={"data": [line(price=price)]})).items
    assert read.price == "price_pro"
    assert read.product == ("prod_pro" if isinstance(price, dict) else None)


def test_a_metered_price_has_quantity_one() -> None:
    (read,) = translate.subscription(endive(items={"data": [line(quantity=None)]})).items
    assert read.quantity == 1


def test_every_item_is_bought_but_no_pending_one() -> None:
    two = {"data": [line(), line(id="si_2", quantity=0)]}
    pending = {"subscription_items": [line(id="si_3")]}
    read = translate.subscription(endive(items=two, pending_update=pending))
    assert [(item.id, item.quantity) for item in read.items] == [("si_1", 1), ("si_2", 0)]


def test_a_subscription_with_nothing_but_an_id_and_a_date_is_read() -> None:
    read = translate.subscription({"id": "sub_1", "created": JAN})
    assert read == facts.Subscription(id="sub_1", status=None, items=(), anchor_at=at(JAN), started_at=at(JAN))


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *((name, name) for name in ("trialing", "active", "past_due", "unpaid", "paused", "incomplete", "canceled")),
        ("incomplete_expired", "expired"),
        ("hibernating", None),
    ],
)
def test_statuses_are_named_and_unknown_ones_kept_apart(word: str, status: str | None) -> None:
    read = translate.subscription(endive(status=word))
    assert (read.status, read.provider_status) == (status, word)


def test_paused_collection_stays_active() -> None:
    assert translate.subscription(endive(pause_collection={"behavior": "void"})).status == "active"


@pytest.mark.parametrize("missing", ["billing_cycle_anchor", "start_date", "created"])
def test_the_anchor_is_found_wherever_a_version_has_it(missing: str) -> None:
    shape = {key: value for key, value in endive().items() if key != missing}
    assert translate.subscription(shape).anchor_at == at(JAN)
    assert translate.subscription(early()).anchor_at == at(JAN)


def test_without_any_date_the_first_period_is_the_anchor() -> None:
    shape = endive(billing_cycle_anchor=None, start_date=None, created=None)
    assert translate.subscription(shape).anchor_at == at(JAN)


# How it ends


def test_a_cancellation_at_period_end_ends_with_the_period() -> None:
    assert translate.subscription(endive(cancel_at_period_end=True)).ends_at == at(FEB)
    assert translate.subscription(early(cancel_at_period_end=True)).ends_at == at(FEB)


def test_a_portal_cancellation_in_flexible_mode_is_seen() -> None:
    assert translate.subscription(endive(cancel_at=FEB, cancel_at_period_end=False)).ends_at == at(FEB)


def test_of_two_ends_the_earlier_counts() -> None:
    assert translate.subscription(endive(cancel_at=MAR, cancel_at_period_end=True)).ends_at == at(FEB)


def test_a_schedule_that_cancels_ends_it_with_its_last_phase() -> None:
    planned = phase({"price": "price_pro", "quantity": 2})
    assert translate.subscription(endive(schedule=schedule(planned, end_behavior="cancel"))).ends_at == at(MAR)
    assert translate.subscription(endive(schedule=schedule(planned))).ends_at is None


# What it will become


def test_phases_to_come_are_read_and_the_present_one_is_not() -> None:
    sold = {"id": "price_scale", "lookup_key": "scale_monthly", "product": "prod_scale"}
    later = phase({"price": sold, "quantity": 3}, start=MAR, end=MAR + 86400, trial_end=MAR + 3600)
    sooner = phase({"price": "price_pro", "quantity": 5}, {"price": "price_calls"})
    read = translate.subscription(endive(schedule=schedule(later, sooner)))
    assert read.schedule == "sub_sched_1"
    held, calls = replace(read.items[0], quantity=5), facts.Item("planned:price_calls", price="price_calls")
    scale = facts.Item("planned:price_scale", 3, "price_scale", "scale_monthly", "prod_scale")
    assert read.next == (
        facts.Phase(at(FEB), (held, calls)),
        facts.Phase(at(MAR), (scale,), trial_ends_at=at(MAR + 3600)),
    )


@pytest.mark.parametrize(
    "over",
    [{"status": "released", "current_phase": None}, {"status": "not_started", "current_phase": None}, {"phases": []}],
)
def test_a_schedule_that_changes_nothing_any_more_has_nothing_to_come(over: dict[str, Any]) -> None:
    planned = schedule(phase({"price": "price_pro", "quantity": 5}), **over)
    assert translate.subscription(endive(schedule=planned)).next == ()


def test_what_has_ended_becomes_nothing_else() -> None:
    planned = schedule(phase({"price": "price_pro", "quantity": 5}))
    assert translate.subscription(endive(status="canceled", ended_at=FEB, schedule=planned)).next == ()


def test_what_has_ended_has_no_end_ahead() -> None:
    ended = translate.subscription(endive(status="canceled", cancel_at=FEB, ended_at=FEB, canceled_at=JAN))
    assert (ended.ends_at, ended.ended_at) == (None, at(FEB))


# Trials


def trial(**changes: Any) -> dict[str, Any]:
    return endive(status="trialing", trial_end=FEB, **changes)


def ending(behavior: str) -> dict[str, Any]:
    return {"trial_settings": {"end_behavior": {"missing_payment_method": behavior}}}


@pytest.mark.parametrize(
    ("behavior", "status"), [("cancel", "canceled"), ("pause", "paused"), ("create_invoice", "active")]
)
def test_without_a_way_to_pay_the_trial_ends_as_set(behavior: str, status: str) -> None:
    read = translate.subscription(trial(**ending(behavior)), customer=buyer())
    assert (read.trial_ends_at, read.after_trial) == (at(FEB), status)


def test_a_trial_of_an_old_version_goes_on_as_active() -> None:
    assert translate.subscription(early(status="trialing", trial_end=FEB)).after_trial == "active"


@pytest.mark.parametrize(
    ("own", "customers"),
    [
        ({"default_payment_method": "pm_1"}, {}),
        ({"default_payment_method": {"id": "pm_1"}}, {}),
        ({"default_source": "card_1"}, {}),
        ({}, {"invoice_settings": {"default_payment_method": "pm_1"}}),
        ({}, {"default_source": {"id": "card_1"}}),
        ({"collection_method": "send_invoice"}, {}),
        ({"collection_method": None, "billing": "send_invoice"}, {}),
    ],
)
def test_a_trial_that_can_be_paid_goes_on(own: dict[str, Any], customers: dict[str, Any]) -> None:
    shape = trial(**{**ending("cancel"), **own})
    assert translate.subscription(shape, customer=buyer(**customers)).after_trial == "active"
    assert translate.subscription({**shape, "customer": buyer(**customers)}).after_trial == "active"


@pytest.mark.parametrize(
    "item",
    [
        {"price": {"id": "free", "unit_amount": 0}},
        {"price": {"id": "tiered", "unit_amount": None, "tiers_mode": "volume"}},
        {"quantity": 0},
    ],
)
def test_a_trial_without_a_payment_method_ends_as_set_whatever_it_costs(item: dict[str, Any]) -> None:
    shape = trial(**ending("cancel"), items={"data": [line(**item)]})
    assert translate.subscription(shape).after_trial == "canceled"


def test_a_pause_tells_whether_the_trial_ran_out() -> None:
    def paused(reason: str) -> facts.Subscription:
        details = {"paused": {"type": "subscription", "subscription": {"type": reason}}}
        return translate.subscription(endive(status="paused", trial_end=FEB, status_details=details))

    assert paused("trial_end_without_payment_method").trial_ran_out
    assert not paused("pause_requested").trial_ran_out


def test_a_pause_of_an_older_version_can_only_be_the_trials_end() -> None:
    assert translate.subscription(acacia(status="paused", trial_end=FEB)).trial_ran_out
    assert not translate.subscription(acacia(status="paused")).trial_ran_out


def test_a_cancellation_at_the_trials_end_ran_out_and_a_later_one_did_not() -> None:
    assert translate.subscription(endive(status="canceled", trial_end=FEB, ended_at=FEB)).trial_ran_out
    assert not translate.subscription(endive(status="canceled", trial_end=FEB, ended_at=MAR)).trial_ran_out
    assert not translate.subscription(endive(status="active", trial_end=FEB)).trial_ran_out


# Since when it is unpaid


def unpaid_since(*invoices: dict[str, Any], **changes: Any) -> datetime | None:
    return translate.subscription(endive(status="past_due", **changes), invoices).unpaid_since


def test_unpaid_since_is_the_oldest_open_invoice() -> None:
    newer = invoice(id="in_2", status_transitions={"finalized_at": MAR})
    assert unpaid_since(newer, invoice()) == at(FEB + 3600)


def test_a_due_date_comes_before_the_finalization_date_and_that_before_creation() -> None:
    assert unpaid_since(invoice(due_date=MAR)) == at(MAR)
    assert unpaid_since(invoice(status_transitions={"finalized_at": None})) == at(FEB)


def test_invoices_of_other_subscriptions_and_settled_ones_do_not_count() -> None:
    elsewhere = invoice(parent={"subscription_details": {"subscription": "sub_2"}}, status_transitions=None)
    paid = invoice(status="paid", status_transitions=None)
    assert unpaid_since(elsewhere, paid, invoice()) == at(FEB + 3600)


@pytest.mark.parametrize("reference", ["sub_1", {"id": "sub_1"}])
def test_an_invoice_of_an_older_version_names_its_subscription_directly(reference: object) -> None:
    assert unpaid_since(invoice(parent=None, subscription=reference)) == at(FEB + 3600)


def test_an_invoice_without_a_status_is_open_until_paid_or_closed() -> None:
    old = {"id": "in_1", "subscription": "sub_1", "date": FEB, "paid": False, "closed": False}
    assert unpaid_since(old) == at(FEB)
    assert unpaid_since({**old, "closed": True}) == at(JAN)


def test_without_open_invoices_the_latest_one_counts_unless_settled() -> None:
    assert unpaid_since(latest_invoice=invoice()) == at(FEB + 3600)
    assert unpaid_since(latest_invoice=invoice(status="draft", status_transitions={"finalized_at": None})) == at(FEB)
    assert unpaid_since(latest_invoice=invoice(status="uncollectible")) == at(JAN)
    assert unpaid_since(latest_invoice=None) == at(JAN)
    assert unpaid_since(latest_invoice="in_1") == at(JAN)


def test_who_is_active_owes_nothing() -> None:
    assert translate.subscription(endive(), [invoice()]).unpaid_since is None


# The customer


def test_a_customer_holds_all_its_subscriptions_in_one_order() -> None:
    first, second = endive(), endive(id="sub_2", status="canceled", ended_at=FEB)
    read = translate.customer(buyer(), [second, first])
    assert read == translate.customer(buyer(), [first, second])
    assert [entry.id for entry in read.subscriptions] == ["sub_1", "sub_2"]
    assert (read.id, read.created_at, read.name, read.deleted) == ("cus_1", at(JAN), "Acme", False)


@pytest.mark.parametrize(
    ("metadata", "account"),
    [({"paygrade_account": " Acme-EU "}, "Acme-EU"), ({"paygrade_account": "  "}, None), ({}, None), (None, None)],
)
def test_metadata_names_the_account(metadata: object, account: str | None) -> None:
    assert translate.customer(buyer(metadata=metadata), []).account == account


def test_a_deleted_customer_has_its_id_and_what_ended() -> None:
    gone = {"id": "cus_1", "object": "customer", "deleted": True}
    assert translate.customer(gone, []) == facts.Customer(id="cus_1", created_at=translate.UNKNOWN_AT, deleted=True)
    assert translate.customer(gone, [endive(status="canceled", ended_at=FEB)]).created_at == at(JAN)


# Wrong shapes


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"trial_end": "2026-02-01"}, "subscription.trial_end"),
        ({"cancel_at_period_end": "yes"}, "subscription.cancel_at_period_end"),
        ({"items": {"data": [line(quantity="3")]}}, "subscription.items.data[0].quantity"),
        ({"items": {"data": [line(quantity=-1)]}}, "subscription.items.data[0].quantity"),
        ({"items": {"data": [line(quantity=True)]}}, "subscription.items.data[0].quantity"),
        ({"items": {"data": {"0": line()}}}, "subscription.items.data"),
        ({"items": [line(), 7]}, "subscription.items[1]"),
        ({"id": None}, "subscription.id"),
        ({"status": 3}, "subscription.status"),
        ({"ended_at": 10**18}, "subscription.ended_at"),
        ({"status": "act\0ive"}, "subscription.status"),
        ({"schedule": schedule(phase(start="March"))}, "subscription.schedule.phases[1].start_date"),
        ({"schedule": schedule(phase({"quantity": -1}))}, "subscription.schedule.phases[1].items[0].quantity"),
    ],
)
def test_a_wrong_type_is_refused_with_its_path(change: dict[str, Any], path: str) -> None:
    with pytest.raises(Refused) as refused:
        translate.subscription(endive(**change))
    assert refused.value.code == "provider_payload_invalid"
    assert f"`{path}`" in refused.value.detail


def test_a_mistake_points_into_the_document() -> None:
    with pytest.raises(Refused) as refused:
        translate.subscription(endive(items={"data": [line(quantity="3")]}))
    assert refused.value.mistakes[0].pointer == "/items/data/0/quantity"


_RICH = [
    {"customer": buyer(metadata={"paygrade_account": "acme"}), "subscription": shape, "invoice": invoice()}
    for shape in (
        endive(status="past_due", latest_invoice=invoice(), customer=buyer(), cancel_at=FEB),
        trial(**ending("pause")),
        endive(status="paused", trial_end=FEB, status_details={"paused": {"subscription": {"type": "system"}}}),
        acacia(status="unpaid", cancel_at_period_end=True),
        early(status="trialing", trial_end=FEB),
        endive(schedule=schedule(phase({"price": "price_calls", "quantity": 2}), end_behavior="cancel")),
    )
]


@given(document=mutated(_RICH))
def test_any_document_is_read_or_refused_and_nothing_else(document: Any) -> None:
    if not isinstance(document, dict):
        document = {}
    try:
        read = translate.customer(document.get("customer"), [document.get("subscription")], [document.get("invoice")])
    except Refused as refused:
        mistake = refused
    else:
        assert all(entry.status in (*STATUSES, None) for entry in read.subscriptions)
        assert msgspec.json.decode(msgspec.json.encode(read), type=facts.Customer) == read
        return
    assert mistake.code == "provider_payload_invalid"
    assert mistake.mistakes
