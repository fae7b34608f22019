"""The client reads subjects whole over a real socket, through the official library as it is."""

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from paygrade.billing import facts
from paygrade.providers.stripe import translate
from paygrade.providers.stripe.client import Redirect, StripeProvider
from paygrade.providers.stripe.connection import API_VERSION
from paygrade.providers.stripe.fields import Json
from paygrade.values.errors import Unavailable
from support.canned_stripe import CannedStripe, failing, missing, serve
from support.stripe_shapes import FEB, JAN, MAR, buyer, endive, invoice, line, phase, schedule


@pytest.fixture
def canned() -> Iterator[CannedStripe]:
    with serve() as server:
        server.objects["/v1/customers/cus_1"] = buyer()
        server.lists["/v1/subscriptions"] = [endive()]
        server.lists["/v1/invoices"] = []
        yield server


def provider(canned: CannedStripe, api_key: str = "sk_test_simulator") -> StripeProvider:
    return StripeProvider(api_key=api_key, api_base=canned.url, max_requests_per_second=1000, timeout_s=5)


def customer(canned: CannedStripe, *known_live: str) -> facts.Customer:
    read = provider(canned).fetch("stripe:cus_1", known_live)
    assert isinstance(read, facts.Customer)
    return read


def unavailable(canned: CannedStripe) -> Unavailable:
    with pytest.raises(Unavailable) as failed:
        provider(canned).fetch("stripe:cus_1")
    return failed.value


def test_a_customer_is_read_whole_in_one_request(canned: CannedStripe) -> None:
    assert customer(canned) == translate.customer(buyer(), [endive()])
    assert canned.paths == ["/v1/subscriptions"]
    _, query, headers = canned.asked[0]
    assert query["customer"] == ["cus_1"]
    assert query["status"] == ["all"]
    assert {value for name, values in query.items() if name.startswith("expand") for value in values} == {
        "data.latest_invoice",
        "data.customer",
        "data.schedule",
    }
    assert headers["stripe-version"] == API_VERSION
    assert headers["authorization"] == "Bearer sk_test_simulator"


def test_the_environment_says_through_which_proxy_and_never_as_whom(
    canned: CannedStripe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    customer(canned)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("http_proxy", canned.url)
    through = StripeProvider(api_key="sk_test_simulator", api_base="http://stripe.invalid", timeout_s=5)
    assert isinstance(through.fetch("stripe:cus_1"), facts.Customer)
    assert len(canned.asked) == 2
    assert {headers["authorization"] for _, _, headers in canned.asked} == {"Bearer sk_test_simulator"}


def test_a_customer_without_subscriptions_is_asked_for_itself(canned: CannedStripe) -> None:
    canned.lists["/v1/subscriptions"] = []
    assert customer(canned) == translate.customer(buyer(), [])
    assert canned.paths == ["/v1/subscriptions", "/v1/customers/cus_1"]


def test_every_page_is_read(canned: CannedStripe) -> None:
    canned.page_size = 2
    canned.lists["/v1/subscriptions"] = [endive(id=f"sub_{number}") for number in range(7)]
    assert [entry.id for entry in customer(canned).subscriptions] == [f"sub_{number}" for number in range(7)]
    assert canned.paths.count("/v1/subscriptions") == 4


def test_items_beyond_the_first_page_are_read(canned: CannedStripe) -> None:
    canned.page_size = 20
    many = [line(id=f"si_{number:02}", subscription="sub_1") for number in range(30)]
    canned.lists["/v1/subscriptions"] = [endive(items={"object": "list", "data": many[:10], "has_more": True})]
    canned.lists["/v1/subscription_items"] = many
    (read,) = customer(canned).subscriptions
    assert [item.id for item in read.items] == [entry["id"] for entry in many]


def test_open_invoices_are_read_for_those_who_owe_and_only_then(canned: CannedStripe) -> None:
    canned.lists["/v1/subscriptions"] = [endive(status="past_due")]
    canned.lists["/v1/invoices"] = [
        invoice(id="in_2", status_transitions={"finalized_at": MAR}),
        invoice(status_transitions={"finalized_at": FEB}),
    ]
    (read,) = customer(canned).subscriptions
    assert read.unpaid_since == datetime.fromtimestamp(FEB, UTC)
    (_, every_open, _), (_, last_paid, _) = canned.asked[-2:]
    assert every_open["status"] == ["open"]
    assert (last_paid["status"], last_paid["subscription"], last_paid["limit"]) == (["paid"], ["sub_1"], ["1"])


def test_a_live_subscription_that_is_not_listed_is_asked_for_by_id(canned: CannedStripe) -> None:
    canned.objects["/v1/subscriptions/sub_9"] = endive(id="sub_9", status="canceled", ended_at=FEB)
    read = customer(canned, "sub_1", "sub_9", "sub_gone")
    assert [(entry.id, entry.status) for entry in read.subscriptions] == [("sub_1", "active"), ("sub_9", "canceled")]
    assert canned.paths[1:] == ["/v1/subscriptions/sub_9", "/v1/subscriptions/sub_gone"]


def test_a_deleted_customer_keeps_what_is_still_listed(canned: CannedStripe) -> None:
    canned.objects["/v1/customers/cus_1"] = {"id": "cus_1", "object": "customer", "deleted": True}
    canned.lists["/v1/subscriptions"] = [endive(status="canceled", ended_at=FEB)]
    read = customer(canned)
    assert read.deleted
    assert [entry.status for entry in read.subscriptions] == ["canceled"]


def test_a_customer_stripe_never_heard_of_is_no_deleted_one(canned: CannedStripe) -> None:
    """Found by the simulation (seed 74): an answer older than the customer closed its account."""
    canned.instead = lambda path: missing()
    assert provider(canned).fetch("stripe:cus_1") is None


def test_a_customer_with_live_subscriptions_that_stripe_never_heard_of_is_not_believed(canned: CannedStripe) -> None:
    canned.instead = lambda path: missing()
    with pytest.raises(Unavailable, match="of the Stripe account they were read from") as caught:
        customer(canned, "sub_1")
    assert caught.value.code == "provider_refused_key"


def test_a_key_of_the_other_mode_deletes_nobody(canned: CannedStripe) -> None:
    canned.instead = lambda path: missing("No such customer: 'cus_1'; a similar object exists in live mode, but …")
    assert unavailable(canned).code == "provider_refused_key"


def test_subscriptions_and_invoices_lead_to_their_customer(canned: CannedStripe) -> None:
    canned.objects["/v1/subscriptions/sub_1"] = endive()
    canned.objects["/v1/invoices/in_1"] = invoice(customer=buyer())
    canned.objects["/v1/invoices/in_2"] = invoice(customer=None)
    canned.objects["/v1/subscription_schedules/sub_sched_1"] = schedule()
    stripe = provider(canned)
    assert stripe.fetch("stripe:sub_1") == Redirect("stripe:cus_1")
    assert stripe.fetch("stripe:in_1") == Redirect("stripe:cus_1")
    assert stripe.fetch("stripe:sub_sched_1") == Redirect("stripe:cus_1")
    assert stripe.fetch("stripe:in_2") is None
    assert stripe.fetch("stripe:sub_gone") is None


def test_a_price_that_a_schedule_brings_is_asked_for_once(canned: CannedStripe) -> None:
    planned = schedule(phase({"price": "price_scale"}, {"price": "price_pro"}, {"price": "price_gone"}))
    canned.lists["/v1/subscriptions"] = [endive(id=f"sub_{number}", schedule=planned) for number in range(3)]
    canned.objects["/v1/prices/price_scale"] = {"id": "price_scale", "lookup_key": "scale_monthly", "product": "prod_2"}
    stripe = provider(canned)
    for _ in range(2):
        read = stripe.fetch("stripe:cus_1")
        assert isinstance(read, facts.Customer)
        assert [[item.lookup_key for item in s.next[0].items] for s in read.subscriptions] == [
            ["scale_monthly", "pro_monthly", None]
        ] * 3
    assert sorted(path for path in canned.paths if "price" in path) == [
        "/v1/prices/price_gone",
        "/v1/prices/price_scale",
    ]


def test_a_sweep_knows_what_schedules_bring_and_asks_for_their_prices_anew(canned: CannedStripe) -> None:
    canned.lists["/v1/subscriptions"] = [endive(schedule=schedule(phase({"price": "price_scale"})))]
    stripe = provider(canned)
    for key in ("scale_monthly", "scale_2"):
        canned.objects["/v1/prices/price_scale"] = {"id": "price_scale", "lookup_key": key, "product": "prod_2"}
        page = stripe.list_page(None, since=None)
        assert page is not None
        (listed,) = page.customers
        assert listed.customer is not None
        assert listed.customer.subscriptions[0].next[0].items[0].lookup_key == key


def test_a_schedule_that_is_not_understood_leaves_the_rest_of_the_page_alone(canned: CannedStripe) -> None:
    broken = schedule(phase({"price": 7}))
    canned.lists["/v1/subscriptions"] = [endive(), endive(id="sub_2", customer="cus_2", schedule=broken)]
    canned.objects["/v1/customers/cus_2"] = buyer(id="cus_2")
    page = provider(canned).list_page(None, since=None)
    assert page is not None
    assert [listed.whole for listed in page.customers] == [True, False]


def test_an_id_cannot_lead_the_request_elsewhere(canned: CannedStripe) -> None:
    provider(canned).fetch("stripe:a/../b?c=d")
    assert canned.paths == ["/v1/subscriptions", "/v1/customers/a/../b?c=d"]
    assert canned.asked[1][1] == {}


def test_a_listing_goes_through_subscriptions_and_then_through_new_customers(canned: CannedStripe) -> None:
    canned.page_size = 2
    owners = ["cus_1", "cus_2", "cus_1", "cus_3"]
    canned.lists["/v1/subscriptions"] = [
        endive(id=f"sub_{index}", customer=owner) for index, owner in enumerate(owners)
    ]
    first = provider(canned).list_page(None, since=None)
    assert first is not None
    last = provider(canned).list_page(first.after, since=None)
    assert last is not None
    assert [[listed.subject for listed in page.customers] for page in (first, last)] == [
        ["stripe:cus_1", "stripe:cus_2"],
        ["stripe:cus_1", "stripe:cus_3"],
    ]
    canned.lists["/v1/customers"] = [buyer(id=f"cus_{number}", created=JAN - number) for number in range(1, 7)]
    since = datetime.fromtimestamp(JAN - 3, UTC)
    for wanted, pages in ((None, [[1, 2], [3, 4], [5, 6]]), (since, [[1, 2], [3, 4]])):
        after, found = last.after, []
        while after is not None:
            page = provider(canned).list_page(after, since=wanted)
            assert page is not None
            found.append([int(listed.subject.removeprefix("stripe:cus_")) for listed in page.customers])
            after = page.after
        assert found == pages


def event(number: int, type: str, about: Json) -> dict[str, object]:
    return {"id": f"evt_{number}", "object": "event", "created": JAN + number, "type": type, "data": {"object": about}}


def test_events_since_an_instant_are_reduced_to_references(canned: CannedStripe) -> None:
    canned.page_size = 1
    changed = [event(number, "customer.subscription.updated", endive()) for number in (2, 1, 0)]
    canned.lists["/v1/events"] = [event(3, "payout.paid", {"id": "po_1", "object": "payout"}), *changed]
    found = list(provider(canned).iter_events_since(datetime.fromtimestamp(JAN, UTC)))
    assert [(ref.id, ref.subject) for ref in found] == [(f"evt_{number}", "stripe:cus_1") for number in (2, 1, 0)]
    assert canned.asked[0][1]["created[gte]"] == [str(JAN)]


@pytest.mark.parametrize(("key", "numbers"), [("sk_test_1", [3, 2, 1, 0]), ("sk_live_1", [3, 1])])
def test_in_test_mode_clocks_that_were_advanced_are_among_the_events_newest_first(
    canned: CannedStripe, key: str, numbers: list[int]
) -> None:
    clock = {"id": "clock_1", "object": "test_helpers.test_clock"}
    kinds = (("customer.subscription.updated", endive()), ("test_helpers.test_clock.ready", clock))
    canned.lists["/v1/events"] = [event(number, *kinds[number % 2 == 0]) for number in (3, 2, 1, 0)]
    found = list(provider(canned, key).iter_events_since(datetime.fromtimestamp(JAN, UTC)))
    subjects = ("stripe:clock_1", "stripe:cus_1")
    assert [(ref.id, ref.subject) for ref in found] == [(f"evt_{n}", subjects[n % 2]) for n in numbers]


# When Stripe does not answer


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_says_what_to_do(canned: CannedStripe, status: int) -> None:
    canned.instead = lambda path: failing(status, "Invalid API Key provided")
    failed = unavailable(canned)
    assert failed.code == "provider_refused_key"
    assert "`PAYGRADE_STRIPE_API_KEY`" in failed.detail


@pytest.mark.parametrize(
    ("headers", "retry_after_s"), [({"Retry-After": "7"}, 7), ({}, None), ({"Retry-After": "soon"}, None)]
)
def test_a_rate_limit_carries_how_long_to_wait(
    canned: CannedStripe, headers: dict[str, str], retry_after_s: int | None
) -> None:
    canned.instead = lambda path: failing(429, "Too many", headers=headers)
    failed = unavailable(canned)
    assert (failed.code, failed.retry_after_s) == ("provider_rate_limited", retry_after_s)


@pytest.mark.parametrize("body", [{"error": {"message": "down"}}, "<html>bad gateway</html>"])
def test_a_failing_stripe_is_unreachable(canned: CannedStripe, body: object) -> None:
    canned.instead = lambda path: (502, {}, body)
    assert unavailable(canned).code == "provider_unreachable"


def test_one_failure_is_tried_again_at_once(canned: CannedStripe) -> None:
    canned.instead = lambda path: failing(503, "down") if len(canned.asked) == 1 else None
    assert customer(canned) == translate.customer(buyer(), [endive()])


def test_nobody_listening_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unavailable) as failed:
            StripeProvider(api_key="sk_test", api_base=url, timeout_s=1).fetch("stripe:cus_1")
    assert failed.value.code == "provider_unreachable"


def test_an_answer_that_does_not_come_is_unreachable(canned: CannedStripe) -> None:
    released = threading.Event()
    canned.instead = lambda path: missing() if released.wait(10) else None
    with pytest.raises(Unavailable) as failed:
        StripeProvider(api_key="sk_test", api_base=canned.url, timeout_s=0.1).fetch("stripe:cus_1")
    released.set()
    assert failed.value.code == "provider_unreachable"


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, "not json"),
        (200, {}, []),
        (200, {}, {}),
        (200, {}, {"object": "list", "data": "none"}),
        (200, {}, {"object": "list", "data": [3]}),
        (200, {}, {"object": "list", "data": [], "has_more": True}),
        (200, {}, {"id": "cus_1", "created": "yesterday"}),
        (404, {}, {"error": {"message": "Unrecognized request URL"}}),
        (404, {}, "<html>not found</html>"),
        (400, {}, {"error": "bad gateway"}),
        (400, {}, {"error": {"message": "Invalid Stripe API version"}}),
    ],
)
def test_what_is_not_understood_is_said_and_never_half_read(
    canned: CannedStripe, answer: tuple[int, dict[str, str], object]
) -> None:
    canned.instead = lambda path: answer
    assert unavailable(canned).code == "provider_answer_invalid"


def test_a_list_whose_next_page_is_refused_is_not_taken_for_whole(canned: CannedStripe) -> None:
    canned.page_size = 1
    canned.lists["/v1/subscriptions"] = [endive(), endive(id="sub_2")]
    canned.instead = lambda path: missing() if len(canned.asked) == 2 else None
    assert unavailable(canned).code == "provider_answer_invalid"


def test_items_that_vanish_while_read_are_not_taken_for_none(canned: CannedStripe) -> None:
    canned.lists["/v1/subscriptions"] = [endive(items={"object": "list", "data": [line()], "has_more": True})]
    assert unavailable(canned).code == "provider_answer_invalid"


# Threads


def test_threads_share_one_provider_and_keep_their_connections(canned: CannedStripe) -> None:
    shared = provider(canned)
    read: list[object] = []

    def fetch_often() -> None:
        read.extend(shared.fetch("stripe:cus_1") for _ in range(10))

    threads = [threading.Thread(target=fetch_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [translate.customer(buyer(), [endive()])] * 40
    assert len(canned.connections) == 4
