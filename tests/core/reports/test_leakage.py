"""Access beside money: every cause, each as a case that somebody in finance would ask about."""

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from paygrade.billing.facts import Block, ManualSubscription, Override, Subscription
from paygrade.billing.invoices import Invoice, InvoiceLine, InvoiceStatus, WentBack
from paygrade.reports.leakage import leaks
from support.samples import CATALOG, T0, account_with, item, operator_fact, subscription

DAY = timedelta(days=1)
BEGUN, NOW = T0 - 9 * DAY, T0
SUB = subscription(item("pro"))


def bill(amount: int = 9900, *went_back: WentBack, status: InvoiceStatus = "paid", since: datetime = BEGUN,
         used: bool = False, more: tuple[InvoiceLine, ...] = (), tax: int = 0) -> Invoice:  # fmt: skip
    line = InvoiceLine("il_1", amount, since, since + 30 * DAY, used=used, subscription="sub_1")
    lines = (line, *more)
    net = sum(each.amount for each in lines)
    return Invoice(
        "in_1", status, "usd", since, net + tax, tax, 0 if status == "paid" else net + tax,
        paid_at=since if status == "paid" else None, lines=lines, went_back=went_back,
    )  # fmt: skip


def found(its: Subscription | None, *invoices: Invoice, facts: Any = (), at: datetime = NOW) -> list[tuple[Any, ...]]:
    account = account_with(*(() if its is None else (its,)), facts=tuple(facts))
    return [(each.cause, each.amount, each.since) for each in leaks(account, CATALOG, invoices, at)]


def test_who_pays_for_what_they_have_is_in_no_row() -> None:
    assert found(SUB, bill()) == []
    assert found(None) == []


def test_arrears_count_what_is_owed_without_tax_since_they_began() -> None:
    owing = replace(SUB, status="past_due", unpaid_since=BEGUN)
    assert found(owing, bill(status="open", tax=1980)) == [("arrears", 9900, BEGUN)]
    # The ladder has taken all access: who can use nothing leaks nothing.
    assert found(owing, bill(status="open"), at=NOW + 30 * DAY) == []


def test_an_open_invoice_is_not_a_payment_and_neither_is_one_that_was_written_off() -> None:
    assert found(SUB, bill(status="open")) == [("open_invoice", 9900, BEGUN)]
    assert found(SUB, bill(status="uncollectible")) == [("written_off", 9900, BEGUN)]
    assert found(SUB, bill(status="void")) == [("written_off", 9900, BEGUN)]


def test_what_went_back_whole_is_no_payment_any_more() -> None:
    back = WentBack("re_1", "refund", 9900, BEGUN + DAY)
    assert found(SUB, bill(9900, back)) == [("went_back", 9900, BEGUN + DAY)]
    assert found(SUB, bill(9900, replace(back, amount=5000))) == []


def test_what_is_given_away_says_so() -> None:
    assert found(SUB, bill(0)) == [("free", 0, BEGUN)]
    trial = replace(SUB, status="trialing", trial_ends_at=NOW + DAY, started_at=BEGUN)
    assert found(trial) == [("trial", None, BEGUN)]
    stated = operator_fact("subscription:sub_1", ManualSubscription(replace(SUB, started_at=BEGUN)))
    assert found(None, facts=[stated]) == [("stated", None, BEGUN)]
    override = operator_fact("override:exports", Override("exports", value=True))
    assert [row[:2] for row in found(None, facts=[override])] == [("override", None)]
    nothing = operator_fact("override:exports", Override("exports", value=False))
    assert found(None, facts=[nothing]) == []


def test_a_period_that_nobody_billed_is_found_since_the_last_that_was() -> None:
    assert found(SUB, bill(since=NOW - 40 * DAY)) == [("not_billed", None, NOW - 10 * DAY)]
    used = replace(SUB, items=tuple(replace(each, metered=True) for each in SUB.items))
    assert found(used) == []


def test_who_paid_and_can_use_nothing_is_owed_what_is_left_of_the_time() -> None:
    ended = replace(SUB, status="canceled", ended_at=NOW - DAY)
    assert found(ended, bill()) == [("ended", 6930, NOW - DAY)]
    # Stripe credited the time that was left, so nothing is.
    credit = InvoiceLine("il_2", -6930, NOW, BEGUN + 30 * DAY, proration=True, subscription="sub_1")
    assert found(ended, bill(more=(credit,))) == []
    blocked = operator_fact("block:fraud", Block("fraud"))
    assert [row[:2] for row in found(SUB, bill(), facts=[blocked])] == [("blocked", 6930)]
    assert found(replace(SUB, status="paused"), bill()) == [("paused", 6930, BEGUN)]
    assert found(None, bill()) == [("unknown_subscription", 6930, BEGUN)]


def test_who_paid_for_a_price_that_the_catalog_does_not_know_is_found() -> None:
    unmapped = replace(
        SUB, items=tuple(replace(each, price="price_x", lookup_key="x", plan=None) for each in SUB.items)
    )
    assert found(unmapped, bill()) == [("not_in_catalog", 6930, BEGUN)]
