"""An event of either kind is reduced to whom to ask about."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given

from paygrade.providers.stripe.events import EventRef, refs
from paygrade.values.errors import Refused
from support.stripe_shapes import JAN, endive, mutated

SNAPSHOT = {
    "id": "evt_1",
    "object": "event",
    "created": JAN,
    "type": "customer.subscription.updated",
    "data": {"object": endive(), "previous_attributes": {"status": "trialing"}},
}
THIN = {
    "id": "evt_1",
    "object": "v2.core.event",
    "created": "2026-01-01T00:00:00.000Z",
    "type": "v1.customer.subscription.updated",
    "related_object": {"id": "sub_1", "type": "subscription", "url": "/v1/subscriptions/sub_1"},
}


def about(body: dict[str, Any], **data: Any) -> tuple[str | None, str | None]:
    ref = refs({**SNAPSHOT, "type": "any.thing", "data": {"object": body, **data}})
    return ref.subject, ref.object_id


def test_a_snapshot_event_is_reduced_to_customer_and_object() -> None:
    ref = refs(SNAPSHOT)
    assert (ref.id, ref.type, ref.created_at) == (
        "evt_1",
        "customer.subscription.updated",
        datetime.fromtimestamp(JAN, UTC),
    )
    assert (ref.subject, ref.object_id) == ("stripe:cus_1", "sub_1")


def test_a_thin_event_is_reduced_to_its_object() -> None:
    ref = refs(THIN)
    assert (ref.subject, ref.object_id, ref.created_at) == ("stripe:sub_1", "sub_1", datetime.fromtimestamp(JAN, UTC))


def test_an_event_about_a_schedule_leads_to_its_customer() -> None:
    assert about({"id": "sub_sched_1", "object": "subscription_schedule", "customer": "cus_1"})[0] == "stripe:cus_1"
    thin = refs({**THIN, "related_object": {"id": "sub_sched_1", "type": "subscription_schedule"}})
    assert thin.subject == "stripe:sub_sched_1"


def test_a_thin_event_about_a_product_has_no_subject() -> None:
    assert refs({**THIN, "related_object": {"id": "prod_1", "type": "product"}}).subject is None
    assert refs({**THIN, "related_object": None}).subject is None


def test_snapshot_subjects_by_kind_of_object() -> None:
    assert about({"id": "cus_1", "object": "customer", "deleted": True}) == ("stripe:cus_1", "cus_1")
    assert about({"id": "in_1", "object": "invoice", "customer": {"id": "cus_1"}}) == ("stripe:cus_1", "in_1")
    assert about({"id": "inpay_1", "object": "invoice_payment", "invoice": "in_1"}) == ("stripe:in_1", "inpay_1")
    assert about({"id": "si_1", "object": "subscription_item", "subscription": "sub_1"}) == ("stripe:sub_1", "si_1")
    assert about({"id": "sub_1", "object": "subscription"}) == ("stripe:sub_1", "sub_1")
    assert about({"id": "prod_1", "object": "product"}) == (None, "prod_1")
    assert about({"object": "balance"}) == (None, None)


def test_a_detached_payment_method_still_names_its_customer() -> None:
    detached = {"id": "pm_1", "object": "payment_method", "customer": None}
    assert about(detached, previous_attributes={"customer": "cus_1"}) == ("stripe:cus_1", "pm_1")


@given(document=mutated([SNAPSHOT, THIN]))
def test_any_event_is_reduced_or_refused_and_nothing_else(document: Any) -> None:
    try:
        ref = refs(document)
    except Refused as refused:
        mistake = refused
    else:
        assert msgspec.json.decode(msgspec.json.encode(ref), type=EventRef) == ref
        return
    assert mistake.code == "provider_payload_invalid"
