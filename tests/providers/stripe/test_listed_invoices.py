"""A customer's invoices as Stripe lists them: what is shown of each, page by page, and who does not wait long."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from paygrade.billing.listed_invoices import InvoicePage
from paygrade.providers.stripe.client import StripeProvider
from paygrade.providers.stripe.hosted_pages import StripePages
from paygrade.providers.stripe.listed_invoices import listed_invoices
from paygrade.values.errors import Unavailable
from support.canned_stripe import CannedStripe, missing, serve

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def invoice(n: int, **more: Any) -> dict[str, Any]:
    """As Stripe shows it, with what we read of it. Any: plain JSON."""
    url = f"https://invoice.stripe.com/i/{n}"
    return {
        "id": f"in_{n:02}", "object": "invoice", "customer": "cus_1", "number": f"A-{n:04}", "status": "paid",
        "total": 100 * n, "currency": "eur", "created": 1_790_000_000 + n, "due_date": None,
        "hosted_invoice_url": url, "invoice_pdf": f"{url}/pdf", "status_transitions": {"finalized_at": None},
    } | more  # fmt: skip


@pytest.fixture
def stripe() -> Iterator[CannedStripe]:
    with serve() as canned:
        yield canned


def listed(stripe: CannedStripe, *, customer: str = "cus_1", after: str | None = None) -> InvoicePage:
    pages = StripePages(StripeProvider(api_key="sk_test_1", api_base=stripe.url).connection)
    return pages.list_invoices(customer=customer, after=after, limit=2, at=NOW)


def test_invoices_come_page_by_page_without_drafts_and_of_nobody_else(stripe: CannedStripe) -> None:
    later = {"status_transitions": {"finalized_at": 1_790_000_999}}
    stripe.lists["/v1/invoices"] = [
        invoice(6, customer="cus_2"),
        invoice(5, status="draft", number=None, hosted_invoice_url=None, invoice_pdf=None),
        invoice(4, status="open", due_date=int(NOW.timestamp()), **later),
        invoice(3, status="open", due_date=int(NOW.timestamp()) + 1, hosted_invoice_url="javascript:alert(1)"),
        invoice(2, status="void", total=-5),
    ]
    first = listed(stripe)
    assert [(one.number, one.state, one.amount, one.currency) for one in first.invoices] == [
        ("A-0004", "overdue", 400, "eur")
    ]
    assert first.invoices[0].issued_at == datetime.fromtimestamp(1_790_000_999, UTC)
    assert first.after == "in_04"
    second = listed(stripe, after=first.after)
    assert [(one.number, one.state, one.amount) for one in second.invoices] == [
        ("A-0003", "open", 300), ("A-0002", "void", -5)
    ]  # fmt: skip
    assert second.after is None
    assert second.invoices[0].page is None, "an address of the web, or none"
    assert second.invoices[0].file == "https://invoice.stripe.com/i/3/pdf"
    assert {query["limit"][0] for _, query, _ in stripe.asked} == {"2"}


def test_a_list_goes_on_from_the_first_where_its_place_is_gone(stripe: CannedStripe) -> None:
    stripe.lists["/v1/invoices"] = [invoice(1)]
    gone = iter([missing()])
    stripe.instead = lambda path: next(gone, None)
    assert [one.id for one in listed(stripe, after="in_other").invoices] == ["in_01"]
    stripe.instead = lambda path: missing()
    assert listed(stripe, customer="cus_gone") == InvoicePage((), None)


@pytest.mark.parametrize(
    "odd", [{"total": "1"}, {"status": "new"}, {"created": None}, {"id": ""}, {"currency": 5}, {"number": 1}]
)
def test_an_invoice_that_is_not_understood_is_not_half_shown(stripe: CannedStripe, odd: dict[str, Any]) -> None:
    stripe.lists["/v1/invoices"] = [invoice(2), invoice(1, **odd)]
    with pytest.raises(Unavailable) as refused:
        listed(stripe)
    assert refused.value.code == "provider_answer_invalid"


def test_nobody_waits_long_for_a_list(stripe: CannedStripe) -> None:
    over = threading.Event()

    def hang(path: str) -> None:
        over.wait(10)

    stripe.instead = hang
    connection = StripeProvider(api_key="sk_test_1", api_base=stripe.url).connection
    with pytest.raises(Unavailable) as away:
        listed_invoices(connection.within(0.1), "cus_1", after=None, limit=2, at=NOW)
    over.set()
    assert away.value.code == "provider_unreachable"
    assert len(stripe.asked) == 1, "it is not tried again"
