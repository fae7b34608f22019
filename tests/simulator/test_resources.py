"""Customers, catalog, payment methods, lists and errors, as the official client sees them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
import stripe

from .conftest import Simulated, client_of


def test_a_customer_can_be_made_changed_listed_and_deleted(simulated: Simulated) -> None:
    customers = simulated.client.v1.customers
    made = customers.create({"email": "ada@example.org", "metadata": {"plan": "pro", "2": "two"}})
    changed = customers.update(made.id, {"name": "Ada", "metadata": {"plan": "", "team": "blue"}})
    assert changed.name == "Ada"
    assert changed.metadata is not None
    assert changed.metadata.to_dict() == {"2": "two", "team": "blue"}
    assert [c.id for c in customers.list({"email": "ada@example.org"}).data] == [made.id]
    assert customers.list({"email": "bob@example.org"}).data == []
    assert customers.delete(made.id).deleted is True
    assert customers.retrieve(made.id).deleted is True
    assert customers.list().data == []


def test_deleting_a_customer_cancels_their_subscriptions(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.client.v1.customers.delete(subscription.customer)
    after = simulated.subscription(subscription.id)
    assert after.status == "canceled"
    assert after.ended_at == int(simulated.running.simulator.account.now.timestamp())
    assert len(simulated.events("customer.subscription.deleted")) == 1
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        simulated.subscribe(subscription.customer)


def test_a_price_is_found_by_its_lookup_key_and_the_key_can_move(simulated: Simulated) -> None:
    prices = simulated.client.v1.prices
    first = prices.create(
        {
            "currency": "usd",
            "unit_amount": 900,
            "recurring": {"interval": "month"},
            "product_data": {"name": "Pro"},
            "lookup_key": "pro",
        }
    )
    simulated.price()
    assert [p.id for p in prices.list({"lookup_keys": ["pro", "other"]}).data] == [first.id]
    other: Any = {"currency": "usd", "unit_amount": 950, "product": first.product, "lookup_key": "pro"}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        prices.create(other)
    assert refused.value.code == "resource_already_exists"
    other["transfer_lookup_key"] = True
    second = prices.create(other)
    assert [p.id for p in prices.list({"lookup_keys": ["pro"]}).data] == [second.id]
    assert second.type == "one_time"
    assert prices.retrieve(first.id).lookup_key is None


def test_an_inactive_price_is_listed_as_such_and_cannot_be_subscribed_to(simulated: Simulated) -> None:
    price = simulated.price()
    simulated.client.v1.prices.update(price, {"active": False})
    assert simulated.client.v1.prices.list({"active": True}).data == []
    assert [p.id for p in simulated.client.v1.prices.list({"active": False}).data] == [price]
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        simulated.subscribe(price=price)


def test_products_can_be_made_changed_and_listed(simulated: Simulated) -> None:
    products = simulated.client.v1.products
    made = products.create({"name": "Pro", "metadata": {"tier": "1"}})
    assert products.update(made.id, {"name": "Pro 2", "active": False}).name == "Pro 2"
    assert products.retrieve(made.id).active is False
    assert products.list({"active": True}).data == []


def test_a_magic_card_becomes_a_payment_method_of_the_customer(simulated: Simulated) -> None:
    customer = simulated.customer(card=None)
    methods = simulated.client.v1.payment_methods
    first = methods.attach("pm_card_visa", {"customer": customer})
    second = methods.attach("pm_card_mastercard", {"customer": customer})
    assert first.id != "pm_card_visa"
    assert first.card is not None
    assert first.card.last4 == "4242"
    assert [m.id for m in methods.list({"customer": customer}).data] == [second.id, first.id]
    methods.detach(first.id)
    assert [m.id for m in methods.list({"customer": customer}).data] == [second.id]


def test_a_card_that_declines_at_attaching_is_a_card_error(simulated: Simulated) -> None:
    customer = simulated.customer(card=None)
    with pytest.raises(stripe.CardError) as declined:
        simulated.client.v1.payment_methods.attach("pm_card_chargeDeclined", {"customer": customer})
    assert declined.value.http_status == 402
    assert declined.value.code == "card_declined"
    assert simulated.client.v1.payment_methods.list({"customer": customer}).data == []


def test_paging_sees_every_object_once_newest_first(simulated: Simulated) -> None:
    made = [simulated.client.v1.customers.create({"name": str(n)}).id for n in range(23)]
    paged = [c.id for c in simulated.client.v1.customers.list({"limit": 5}).auto_paging_iter()]
    assert paged == made[::-1]
    page = simulated.client.v1.customers.list({"limit": 5, "ending_before": made[10]})
    assert [c.id for c in page.data] == made[15:10:-1]
    assert page.has_more is True


def test_paging_goes_on_while_new_objects_are_made(simulated: Simulated) -> None:
    made = [simulated.client.v1.customers.create({"name": str(n)}).id for n in range(4)]
    seen = []
    for customer in simulated.client.v1.customers.list({"limit": 1}).auto_paging_iter():
        seen.append(customer.id)
        simulated.client.v1.customers.create({"name": "late"})
    assert seen == made[::-1]


def test_lists_filter_by_creation(simulated: Simulated) -> None:
    old = simulated.customer(card=None)
    simulated.advance("1d")
    new = simulated.client.v1.customers.create({})
    customers = simulated.client.v1.customers
    assert [c.id for c in customers.list({"created": {"gte": new.created}}).data] == [new.id]
    assert [c.id for c in customers.list({"created": {"lt": new.created}}).data] == [old]


def test_expand_replaces_ids_by_objects_and_adds_what_only_appears_when_asked(simulated: Simulated) -> None:
    subscription = simulated.subscribe(expand=["latest_invoice.payments", "customer"])
    assert subscription.customer.name == "Ada"
    [payment] = subscription.latest_invoice.payments.data
    intent = simulated.client.v1.payment_intents.retrieve(payment.payment.payment_intent, {"expand": ["latest_charge"]})
    assert intent.latest_charge.paid is True  # type: ignore[union-attr]
    page = simulated.client.v1.subscriptions.list(
        {"status": "all", "expand": ["data.latest_invoice", "data.discounts", "data.customer"]}
    )
    [listed] = page.data
    assert listed.latest_invoice.status == "paid"  # type: ignore[union-attr]
    assert listed.discounts == []
    assert isinstance(simulated.subscription(subscription.id).customer, str)
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        simulated.subscription(subscription.id, expand=["status"])


def test_a_payment_leads_to_its_invoice_by_way_of_invoice_payments(simulated: Simulated) -> None:
    invoice = simulated.latest_invoice(simulated.subscribe().id)
    [payment] = simulated.client.v1.invoice_payments.list({"invoice": invoice.id}).data
    intent: Any = payment.payment.payment_intent
    found = simulated.client.v1.invoice_payments.list(
        {"payment": {"type": "payment_intent", "payment_intent": intent}, "status": "paid"}
    )
    assert [p.invoice for p in found.data] == [invoice.id]


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({"balance": "many"}, "parameter_invalid_integer", "balance"),
        (
            {"invoice_settings": {"default_payment_method": "pm_x"}},
            "resource_missing",
            "invoice_settings[default_payment_method]",
        ),
    ],
)
def test_what_stripe_refuses_is_an_invalid_request(simulated: Simulated, params: Any, code: str, param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        simulated.client.v1.customers.create(params)
    assert (refused.value.code, refused.value.param) == (code, param)
    assert simulated.client.v1.customers.list().data == []


def test_a_missing_object_is_a_404_with_its_code(simulated: Simulated) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        simulated.client.v1.customers.retrieve("cus_nobody")
    assert refused.value.http_status == 404
    assert refused.value.code == "resource_missing"
    assert refused.value.request_id is not None


def test_the_account_tells_who_it_is(simulated: Simulated) -> None:
    account = simulated.client.v1.accounts.retrieve_current()
    assert (account.object, account.charges_enabled, account.country) == ("account", True, "US")
    assert simulated.client.v1.accounts.retrieve(account.id).id == account.id


def test_what_is_included_on_request_only_can_be_asked_for(simulated: Simulated) -> None:
    client = simulated.client.v1
    price = client.prices.retrieve(simulated.price(700), {"expand": ["currency_options", "tiers"]})
    assert price.currency_options is not None
    assert price.currency_options["usd"].unit_amount == 700
    assert "tiers" not in price
    customer = client.customers.retrieve(simulated.customer(), {"expand": ["sources", "tax_ids"]})
    assert (customer.sources, customer.tax_ids) != (None, None)
    assert customer.sources is not None
    assert customer.sources.data == []
    coupon = client.coupons.create({"percent_off": 5, "expand": ["applies_to"]})
    assert "applies_to" not in coupon


LIMITS: list[tuple[str, dict[str, Any], str]] = [
    ("customers", {"metadata": {f"k{n}": "v" for n in range(51)}}, "metadata"),
    ("customers", {"metadata": {"k" * 41: "v"}}, f"metadata[{'k' * 41}]"),
    ("customers", {"metadata": {"k": "v" * 501}}, "metadata[k]"),
    ("customers", {"email": "notanemail"}, "email"),
    ("prices", {"currency": "zzz"}, "currency"),
    ("prices", {"recurring": {"interval": "year", "interval_count": 4}}, "recurring[interval_count]"),
    ("prices", {"recurring": {"interval": "month", "interval_count": 37}}, "recurring[interval_count]"),
    ("prices", {"recurring": {"interval": "week", "interval_count": 157}}, "recurring[interval_count]"),
    ("prices", {"recurring": {"interval": "day", "interval_count": 1096}}, "recurring[interval_count]"),
    ("prices", {"metadata": {"k": "v" * 501}}, "metadata[k]"),
    ("coupons", {"amount_off": 5, "currency": "zzz"}, "currency"),
]


@pytest.mark.parametrize(("path", "params", "param"), LIMITS)
def test_values_beyond_stripes_limits_are_refused(
    simulated: Simulated, path: str, params: dict[str, Any], param: str
) -> None:
    if path == "prices":
        params = {"currency": "usd", "unit_amount": 5, "product_data": {"name": "Pro"}, **params}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        simulated.client.raw_request("post", f"/v1/{path}", **params)
    assert refused.value.http_status == 400
    assert refused.value.param == param
    assert simulated.client.v1.customers.list().data == []
    assert simulated.client.v1.products.list().data == []


def test_values_at_stripes_limits_are_taken(simulated: Simulated) -> None:
    metadata = {f"{n:040}": "v" * 500 for n in range(50)}
    customer = simulated.client.v1.customers.create({"metadata": metadata, "email": "a.b+c@mail.example.org"})
    assert customer.to_dict()["metadata"] == metadata
    with pytest.raises(stripe.InvalidRequestError):
        simulated.client.v1.customers.update(customer.id, {"metadata": {"one": "more"}})
    for interval, count in (("year", 3), ("month", 36), ("week", 156), ("day", 1095)):
        simulated.price(interval=interval, count=count)


def test_a_parameter_the_simulator_lacks_is_not_called_wrong(simulated: Simulated) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="documented, not simulated") as refused:
        simulated.subscribe(pending_invoice_item_interval={"interval": "month"})
    assert refused.value.param == "pending_invoice_item_interval"


CARDS = [
    "us",
    "gb",
    "unionpay",
    "jcb",
    "diners",
    "threeDSecure2Required",
    "authenticationRequiredOnSetup",
    "cvcCheckFail",
    "refundFail",
    "mastercard_debit",
    "mastercard_prepaid",
    "riskLevelElevated",
]
DECLINED = {
    "pm_card_visa_chargeDeclinedLostCard": ("card_declined", "lost_card"),
    "pm_card_visa_chargeDeclinedStolenCard": ("card_declined", "stolen_card"),
    "pm_card_chargeDeclinedIncorrectCvc": ("incorrect_cvc", "incorrect_cvc"),
    "pm_card_chargeDeclinedProcessingError": ("processing_error", "processing_error"),
    "pm_card_visa_chargeDeclinedVelocityLimitExceeded": ("card_declined", "card_velocity_exceeded"),
    "pm_card_chargeDeclinedFraudulent": ("card_declined", "fraudulent"),
}


@pytest.mark.parametrize("card", CARDS)
def test_stripes_test_cards_attach(simulated: Simulated, card: str) -> None:
    attached = simulated.client.v1.payment_methods.attach(f"pm_card_{card}", {"customer": simulated.customer(None)})
    assert attached.card is not None
    assert attached.card.country == ("GB" if card == "gb" else "US")
    assert attached.card.checks is not None
    assert attached.card.checks.cvc_check == ("fail" if card == "cvcCheckFail" else "pass")


@pytest.mark.parametrize("card", DECLINED)
def test_stripes_declined_cards_say_why(simulated: Simulated, card: str) -> None:
    with pytest.raises(stripe.CardError) as refused:
        simulated.client.v1.payment_methods.attach(card, {"customer": simulated.customer(None)})
    error: Any = refused.value.error
    assert (refused.value.code, error.decline_code) == DECLINED[card]


def test_a_test_id_of_another_kind_is_told_so(simulated: Simulated) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="cards and US bank accounts only") as refused:
        simulated.client.v1.payment_methods.attach("pm_sepaDebit_success", {"customer": simulated.customer(None)})
    assert refused.value.code is None


NAMED_BY_A_PARAMETER: list[tuple[str, dict[str, Any], str]] = [
    ("subscriptions", {"customer": "{customer}", "items": [{"price": "price_none"}]}, "items[0][price]"),
    ("subscriptions", {"customer": "cus_none", "items": [{"price": "price_none"}]}, "customer"),
    ("payment_methods/pm_card_visa/attach", {"customer": "cus_none"}, "customer"),
    ("invoices", {"customer": "cus_none"}, "customer"),
    ("refunds", {"charge": "ch_none"}, "charge"),
    ("credit_notes", {"invoice": "in_none"}, "invoice"),
    ("prices", {"product": "prod_none", "currency": "usd", "unit_amount": 5}, "product"),
    ("subscription_schedules", {"from_subscription": "sub_none"}, "from_subscription"),
]
NAMED_BY_THE_URL = [
    ("GET", "customers/cus_none"),
    ("POST", "customers/cus_none"),
    ("GET", "customers/cus_none/payment_methods"),
    ("POST", "subscriptions/sub_none"),
    ("DELETE", "subscriptions/sub_none"),
    ("GET", "prices/price_none"),
    ("POST", "payment_methods/pm_none/attach"),
    ("GET", "events/evt_none"),
]


@pytest.mark.parametrize(("path", "params", "param"), NAMED_BY_A_PARAMETER)
def test_a_missing_object_that_a_parameter_names_is_a_400(
    simulated: Simulated, path: str, params: dict[str, Any], param: str
) -> None:
    if params.get("customer") == "{customer}":
        params = {**params, "customer": simulated.customer()}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        simulated.client.raw_request("post", f"/v1/{path}", **params)
    assert (refused.value.http_status, refused.value.code) == (400, "resource_missing")
    assert refused.value.param == param


@pytest.mark.parametrize(("method", "path"), NAMED_BY_THE_URL)
def test_a_missing_object_that_the_url_names_is_a_404(simulated: Simulated, method: str, path: str) -> None:
    params = {"customer": simulated.customer()} if path.endswith("/attach") else {}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        simulated.client.raw_request(method.lower(), f"/v1/{path}", **params)
    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")


def test_an_unknown_url_is_a_404(simulated: Simulated) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL") as refused:
        simulated.client.raw_request("get", "/v1/nothing/qt_1")
    assert refused.value.http_status == 404


def test_another_key_is_not_let_in(simulated: Simulated) -> None:
    with pytest.raises(stripe.AuthenticationError):
        client_of(simulated.running, key="sk_test_wrong").v1.customers.list()


def test_a_request_sent_twice_with_one_key_has_one_effect(simulated: Simulated) -> None:
    customers = simulated.client.v1.customers
    first = customers.create({"name": "Ada"}, {"idempotency_key": "k1"})
    second = customers.create({"name": "Ada"}, {"idempotency_key": "k1"})
    assert second.id == first.id
    assert second.last_response is not None
    assert second.last_response.headers["idempotent-replayed"] == "true"
    assert len(customers.list().data) == 1
    with pytest.raises(stripe.IdempotencyError):
        customers.create({"name": "Bob"}, {"idempotency_key": "k1"})


def test_a_refused_request_leaves_its_key_free(simulated: Simulated) -> None:
    wrong: Any = {"colour": "red"}
    with pytest.raises(stripe.InvalidRequestError):
        simulated.client.v1.customers.create(wrong, {"idempotency_key": "k1"})
    assert simulated.client.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k1"}).name == "Ada"


def test_answers_echo_the_version_and_number_the_request(simulated: Simulated) -> None:
    answer = simulated.client.v1.customers.create({}).last_response
    assert answer is not None
    assert answer.headers["stripe-version"] == stripe.api_version
    assert answer.headers["request-id"].startswith("req_")
    [event] = simulated.events("customer.created")
    assert event.request.id == answer.headers["request-id"]


def test_an_update_event_holds_the_earlier_values(simulated: Simulated) -> None:
    customer = simulated.customer(card=None)
    simulated.client.v1.customers.update(customer, {"name": "Lady Ada", "metadata": {"a": "1"}})
    simulated.client.v1.customers.update(customer, {"name": "Lady Ada"})
    [event] = simulated.events("customer.updated")
    assert event.data.object.name == "Lady Ada"
    assert event.data.previous_attributes.to_dict() == {"name": "Ada", "metadata": {"a": None}}


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("customers", "name=Ada&name[first]=Ada"),
        ("customers", "metadata=much"),
        ("customers", "expand=tax"),
        ("subscriptions", "customer=cus_1&items=none"),
        ("subscriptions", "customer={customer}&items[0]="),
        ("subscriptions", "customer={customer}&items[0][price]=price_x"),
        ("prices", "currency=usd&unit_amount=-5&product=prod_1"),
        ("prices", "currency=usd&unit_amount=5&product=prod_1&recurring=month"),
        (
            "prices",
            "currency=usd&unit_amount=5&product=prod_1&recurring[interval]=day&recurring[interval_count]=0",
        ),
    ],
)
def test_a_malformed_form_is_refused_in_stripes_shape(simulated: Simulated, path: str, form: str) -> None:
    request = urllib.request.Request(
        f"{simulated.running.url}/v1/{path}",
        data=form.format(customer=simulated.customer()).encode(),
        headers={"Authorization": "Bearer sk_test_simulator"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code in (400, 404)
    error = json.load(refused.value)["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]


def test_a_malformed_filter_is_refused(simulated: Simulated) -> None:
    simulated.customer()
    wrong: Any = {"created": "yesterday"}
    with pytest.raises(stripe.InvalidRequestError):
        simulated.client.v1.customers.list(wrong)


def test_a_customer_can_be_made_with_a_default_card(simulated: Simulated) -> None:
    customer = simulated.client.v1.customers.create(
        {
            "payment_method": "pm_card_visa",
            "invoice_settings": {"default_payment_method": "pm_card_visa"},
            "address": {"country": "GB"},
        }
    )
    assert customer.invoice_settings is not None
    [card] = simulated.client.v1.customers.payment_methods.list(customer.id).data
    assert customer.invoice_settings.default_payment_method == card.id
    assert simulated.subscribe(customer.id).status == "active"


def test_detaching_a_card_takes_it_from_everything_that_used_it(simulated: Simulated) -> None:
    customer = simulated.customer()
    token: Any = {"type": "card", "card": {"token": "tok_visa"}}
    card = simulated.client.v1.payment_methods.create(token)
    simulated.client.v1.payment_methods.attach(card.id, {"customer": customer})
    subscription = simulated.subscribe(customer, default_payment_method=card.id)
    assert simulated.client.v1.payment_methods.detach(card.id).customer is None
    assert simulated.subscription(subscription.id).default_payment_method is None


def test_an_invoice_refuses_what_its_status_forbids(simulated: Simulated) -> None:
    invoices = simulated.client.v1.invoices
    paid = simulated.latest_invoice(simulated.subscribe().id).id
    for forbidden in (invoices.pay, invoices.void_invoice, invoices.mark_uncollectible):
        with pytest.raises(stripe.InvalidRequestError):
            forbidden(paid)
    with pytest.raises(stripe.InvalidRequestError):
        invoices.finalize_invoice(paid)
    assert [line.amount for line in invoices.line_items.list(paid).data] == [2500]


def test_invoices_are_listed_by_customer_subscription_and_status(simulated: Simulated) -> None:
    one, other = simulated.subscribe(), simulated.subscribe()
    invoices = simulated.client.v1.invoices

    def listed(**params: Any) -> list[str]:
        wanted: Any = params
        return [invoice.id for invoice in invoices.list(wanted).data]

    assert listed() == [other.latest_invoice, one.latest_invoice]
    assert listed(customer=one.customer) == listed(subscription=one.id) == [one.latest_invoice]
    assert listed(status="open") == []
    assert listed(subscription=one.id, status="paid") == [one.latest_invoice]


def test_events_are_listed_by_type(simulated: Simulated) -> None:
    simulated.subscribe()
    events = simulated.client.v1.events
    assert {e.type for e in events.list({"types": ["invoice.paid", "price.created"]}).data} == {
        "invoice.paid",
        "price.created",
    }
    assert {e.type for e in events.list({"type": "invoice.*"}).data} > {"invoice.paid", "invoice.finalized"}
    [event] = events.list({"type": "invoice.paid"}).data
    assert events.retrieve(event.id).data.object["status"] == "paid"


def test_an_older_api_version_may_ask_and_is_answered_in_today_s_shape(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    for version in ("2020-08-27", "2024-06-20", "2025-03-31.basil", "2026-10-28.endive"):
        answered: Any = simulated.client.v1.subscriptions.retrieve(subscription.id, {}, {"stripe_version": version})
        assert answered.last_response.headers["stripe-version"] == version
        assert answered.to_dict() == subscription.to_dict()


def test_events_are_paged_by_several_types_and_by_delivery(simulated: Simulated) -> None:
    customers = [simulated.client.v1.customers.create({"name": f"{n}"}).id for n in range(7)]
    for customer in customers[:3]:
        simulated.client.v1.customers.delete(customer)
    wanted: Any = {"types": ["customer.created", "customer.deleted"], "limit": 3, "delivery_success": True}
    listed = [event.type for event in simulated.client.v1.events.list(wanted).auto_paging_iter()]
    assert listed == ["customer.deleted"] * 3 + ["customer.created"] * 7
    wanted["delivery_success"] = False
    assert simulated.client.v1.events.list(wanted).data == []
    seen = [event.data.object["id"] for event in simulated.events("customer.created")]
    assert seen == customers


def test_every_refusal_has_stripe_s_error_shape(simulated: Simulated) -> None:
    for ask in (
        lambda: simulated.client.v1.subscriptions.retrieve("sub_nobody"),
        lambda: simulated.client.v1.refunds.create({}),
        lambda: simulated.client.v1.subscription_schedules.retrieve("sub_sched_nobody"),
        lambda: simulated.client.v1.events.retrieve("evt_nobody"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            ask()
        body: Any = refused.value.json_body
        assert body["error"]["type"] == "invalid_request_error"
        assert {"message", "code", "param", "doc_url"} <= set(body["error"])
        assert refused.value.request_id
