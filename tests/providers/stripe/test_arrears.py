"""Since when a subscription is in arrears, and what was paid for last: as its invoices say, in every version."""

from datetime import UTC, datetime
from typing import Any

import pytest

from paygrade.billing.facts import Item, Subscription
from paygrade.providers.stripe import translate
from support.stripe_shapes import FEB, JAN, MAR, endive, invoice, line

DAY = 86_400


def read(*invoices: dict[str, Any], **changes: Any) -> Subscription:
    return translate.subscription(endive(status="past_due", **changes), invoices)


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def billed(amount: int, price: str, quantity: int = 1, *, item: str = "si_1", since: int = FEB, proration: bool = True,
           named: str | None = None) -> dict[str, Any]:  # fmt: skip
    """A line of an invoice; `named`: the lookup key of its price, which was asked for."""
    details = {"subscription_item": item, "proration": proration}
    whole = price if named is None else {"id": price, "lookup_key": named, "product": "prod_old"}
    return {
        "id": "il_1", "amount": amount, "quantity": quantity, "period": {"start": since, "end": MAR},
        "pricing": {"price_details": {"price": whole, "product": "prod_old"}},
        "parent": {"type": "subscription_item_details", "subscription_item_details": details},
    }  # fmt: skip


def of_change(*lines: dict[str, Any], **known: Any) -> dict[str, Any]:
    return invoice(billing_reason="subscription_update", lines={"data": list(lines)}, **known)


def dated(created: int, **known: Any) -> dict[str, Any]:
    return invoice(id=f"in_{created}", created=created, status_transitions={"finalized_at": created}, **known)


def test_what_was_open_before_the_last_invoice_that_was_paid_begins_no_arrears() -> None:
    old, paid, failed, later = (dated(JAN), dated(FEB, status="paid"), dated(FEB + 9 * DAY), dated(MAR))
    assert read(old, paid, later, failed).unpaid_since == at(FEB + 9 * DAY)
    assert read(old, later, failed).unpaid_since == at(JAN)
    assert read(
        old, dated(FEB, status="paid", parent={"subscription_details": {"subscription": "sub_9"}})
    ).unpaid_since == at(JAN)


@pytest.mark.parametrize("status", ["void", "uncollectible"])
def test_what_is_owed_no_more_begins_no_arrears(status: str) -> None:
    assert read(dated(JAN, status=status), dated(FEB)).unpaid_since == at(FEB)


def test_the_attempt_to_come_is_that_of_the_invoice_that_is_tried_next() -> None:
    first, second = dated(JAN, attempt_count=8, next_payment_attempt=None), dated(FEB, attempt_count=2)
    told = read(first, second | {"next_payment_attempt": FEB + 5 * DAY})
    assert (told.attempts, told.next_attempt_at) == (2, at(FEB + 5 * DAY))
    # Sent by email, given up, or of a version that does not say: nobody knows of any more.
    given_up = read(first, second)
    assert (given_up.attempts, given_up.next_attempt_at) == (2, None)
    paid = translate.subscription(endive(status="active"), [first])
    assert (paid.attempts, paid.next_attempt_at) == (0, None)


def test_an_invoice_that_was_paid_between_two_requests_is_paid() -> None:
    assert read(dated(JAN), dated(FEB), dated(JAN, status="paid")).unpaid_since == at(FEB)


def test_an_upgrade_nobody_paid_is_not_what_was_paid_for() -> None:
    upgrade = of_change(billed(-2000, "price_old", 2, named="starter"), billed(9000, "price_pro", 50))
    bought = read(upgrade)
    assert bought.items[0].price == "price_pro"
    assert bought.paid_items is not None
    (item,) = bought.paid_items
    assert (item.id, item.quantity, item.price, item.lookup_key) == ("si_1", 2, "price_old", "starter")
    assert item.period_until == bought.items[0].period_until


def test_of_several_changes_nobody_paid_what_was_there_before_the_first_was_paid_for() -> None:
    first = of_change(billed(-1000, "price_a"), billed(2000, "price_b"), id="in_1")
    second = of_change(billed(-2000, "price_b", since=FEB + DAY), billed(5000, "price_pro", since=FEB + DAY), id="in_2")
    assert [item.price for item in read(second, first).paid_items or ()] == ["price_a"]


def test_a_change_to_something_cheaper_counts_at_once() -> None:
    assert read(of_change(billed(-9000, "price_dear"), billed(2000, "price_pro"))).paid_items is None


def test_a_renewal_nobody_paid_changes_nothing_of_what_is_bought() -> None:
    assert read(invoice(lines={"data": [billed(9900, "price_pro", proration=False)]})).paid_items is None


def test_a_line_that_was_added_and_not_paid_is_not_there_and_an_older_one_is() -> None:
    added = line(id="si_2", created=FEB, price={"id": "price_more"})
    items = {"object": "list", "data": [line(created=JAN), added]}
    debit = billed(500, "price_more", item="si_2")
    assert [item.id for item in read(of_change(debit), items=items).paid_items or ()] == ["si_1"]
    older = {"object": "list", "data": [line(created=JAN), {**added, "created": JAN}]}
    assert read(of_change(debit), items=older).paid_items is None


def test_of_a_cycle_begun_anew_the_last_invoice_that_was_paid_tells_what_was_paid_for() -> None:
    paid = dated(JAN, status="paid", lines={"data": [billed(2900, "price_old", proration=False)]})
    anew = of_change(billed(9900, "price_pro", 3, proration=False), created=FEB)
    assert [item.price for item in read(anew, paid).paid_items or ()] == ["price_old"]
    assert read(anew).paid_items is None


def test_lines_of_older_versions_say_the_same() -> None:
    def old(amount: int, price: str) -> dict[str, Any]:
        named = {"id": price, "lookup_key": f"{price}_key", "product": "prod_old"}
        return {"id": "il_1", "amount": amount, "quantity": 1, "proration": True, "subscription_item": "si_1",
                "price": named, "period": {"start": FEB, "end": MAR}}  # fmt: skip

    (item,) = read(of_change(old(-100, "price_old"), old(900, "price_pro"))).paid_items or ()
    assert item == Item("si_1", 1, "price_old", "price_old_key", "prod_old", None, item.period_from_at,
                        item.period_until, item.metered, item.created_at)  # fmt: skip


def test_who_is_in_good_standing_has_paid_for_what_they_have() -> None:
    upgrade = of_change(billed(-2000, "price_old"), billed(9000, "price_pro"))
    assert translate.subscription(endive(), [upgrade]).paid_items is None
