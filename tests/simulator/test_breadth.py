"""What foreign clients meet early: search, plans, endpoints, balances, features, backdating, invoices made now."""

from __future__ import annotations

from typing import Any

import pytest

from paygrade.simulator.time import cycles

from .asking import Account
from .conftest import START, Simulated, instant, until


def test_search_finds_by_the_documented_language() -> None:
    account = Account()
    for name in ("Ada", "Bob", "Ada Second"):
        account.post("customers", name=name, email=f"{name[:3].lower()}@example.org", metadata={"team": name[:3]})

    def found(query: str, kind: str = "customers", **more: Any) -> list[str]:
        result = account.get(f"{kind}/search", query=query, **more)
        assert result["object"] == "search_result"
        return [one["name"] for one in result["data"]]

    assert found('name:"ada"') == ["Ada"]
    assert found('name~"Ada"') == ["Ada Second", "Ada"]
    assert found('metadata["team"]:"Ada" AND -name:"Ada"') == ["Ada Second"]
    assert found("name:'Bob' OR name:'Ada'") == ["Bob", "Ada"]
    assert found(f"created>{int(START.timestamp())}") == []
    assert found("phone:null", limit=1) == ["Ada Second"]
    first = account.get("customers/search", query="phone:null", limit=2)
    assert (first["has_more"], first["total_count"]) == (True, 3)
    assert found("phone:null", limit=2, page=first["next_page"]) == ["Ada"]
    for query in ("nonsense:'x'", "name:'a' AND name:'b' OR name:'c'", "name~'a'", "((", "name"):
        assert account.refused("customers/search", method="GET", query=query)["param"] == "query"


def test_plans_are_recurring_prices_by_their_older_name() -> None:
    account = Account()
    plan = account.post(
        "plans", id="gold", amount=900, currency="usd", interval="month", product={"name": "Gold"}, nickname="g"
    )
    assert (plan["object"], plan["amount"], plan["interval"]) == ("plan", 900, "month")
    assert account.get("prices/gold")["unit_amount"] == 900
    subscription = account.post("subscriptions", customer=account.customer(), items=[{"plan": "gold"}])
    assert subscription["items"]["data"][0]["plan"]["id"] == "gold"
    assert [one["id"] for one in account.get("plans")["data"]] == ["gold"]
    assert account.ask("DELETE", "plans/gold").body["deleted"] is True
    assert account.get("prices/gold")["active"] is False


def test_a_balance_is_the_sum_of_its_transactions() -> None:
    account = Account()
    customer = account.customer(balance=-300)
    account.post(f"customers/{customer}/balance_transactions", amount=-500, currency="usd", description="Sorry")
    account.post(f"customers/{customer}", balance=-900)
    account.subscribe(account.price(unit_amount=600), customer=customer)
    listed = account.get(f"customers/{customer}/balance_transactions")["data"]
    assert [(one["type"], one["amount"], one["ending_balance"]) for one in listed[::-1]] == [
        ("initial", -300, -300),
        ("adjustment", -500, -800),
        ("adjustment", -100, -900),
        ("applied_to_invoice", 600, -300),
    ]
    assert account.get(f"customers/{customer}")["balance"] == sum(one["amount"] for one in listed)
    path = f"customers/{customer}/balance_transactions/{listed[0]['id']}"
    assert account.post(path, metadata={"a": "b"})["metadata"] == {"a": "b"}


def test_features_follow_the_subscriptions_that_give_them() -> None:
    account = Account()
    product = account.post("products", name="Pro")["id"]
    feature = account.post("entitlements/features", name="API", lookup_key="api")["id"]
    attached = account.post(f"products/{product}/features", entitlement_feature=feature)
    price = account.price(unit_amount=100, product_data=None, product=product)
    customer = account.customer()
    subscription = account.subscribe(price, customer=customer)

    def keys() -> list[str]:
        active = account.get("entitlements/active_entitlements", customer=customer)
        return [one["lookup_key"] for one in active["data"]]

    def told() -> list[list[str]]:
        events = account.get("events", type="entitlements.active_entitlement_summary.updated")["data"]
        rows = [event["data"]["object"]["entitlements"]["data"] for event in events[::-1]]
        return [[one["lookup_key"] for one in each] for each in rows]

    assert keys() == ["api"]
    account.ask("DELETE", f"subscriptions/{subscription['id']}")
    assert keys() == []
    account.subscribe(price, customer=customer)
    account.ask("DELETE", f"products/{product}/features/{attached['id']}")
    assert told() == [["api"], [], ["api"], []]


def test_the_issuer_warns_of_fraud_before_anybody_disputes() -> None:
    account = Account()
    subscription = account.subscribe(
        account.price(unit_amount=100), customer=account.customer("pm_card_createIssuerFraudRecord")
    )
    [warning] = account.get("radar/early_fraud_warnings")["data"]
    assert warning["actionable"] is True
    assert account.get("events", type="radar.early_fraud_warning.created")["data"]
    assert account.get(f"charges/{warning['charge']}")["customer"] == subscription["customer"]


def test_backdated_time_is_billed_by_imagined_periods() -> None:
    account = Account()  # it is 31 January, noon
    price = account.price(unit_amount=3100)
    backdated = account.subscribe(price, backdate_start_date=instant("2026-01-11T12:00"))
    assert backdated["start_date"] == instant("2026-01-11T12:00")
    assert [amount for _, amount in account.lines(backdated)] == [2000, 3100], "20 of 31 days, and a month"
    free = account.subscribe(price, backdate_start_date=instant("2025-11-11"), proration_behavior="none")
    assert [amount for _, amount in account.lines(free)] == [3100]
    anchored = account.subscribe(
        price,
        backdate_start_date=instant("2026-01-11T12:00"),
        billing_cycle_anchor_config={"day_of_month": 11, "hour": 12},
    )
    assert [amount for _, amount in account.lines(anchored)] == [3100], "a whole month until 11 February"
    assert anchored["billing_cycle_anchor"] == instant("2026-02-11T12:00")
    refused = account.refused(
        "subscriptions",
        customer=account.customer(),
        items=[{"price": price}],
        backdate_start_date=instant("2027-01-01"),
    )
    assert refused["param"] == "backdate_start_date"


@pytest.mark.parametrize(
    ("config", "anchor"),
    [
        ({"day_of_month": 31}, "2026-01-31T12:00"),
        ({"day_of_month": 31, "hour": 11, "minute": 59}, "2026-02-28T11:59"),
        ({"day_of_month": 5, "month": 1}, "2027-01-05T12:00"),
    ],
)
def test_the_next_of_a_day_of_the_month_is_found(config: dict[str, int], anchor: str) -> None:
    assert cycles.next_on(int(START.timestamp()), **config) == instant(anchor)


def test_a_plans_own_trial_is_taken_if_asked_for() -> None:
    account = Account()
    price = account.price(unit_amount=100, recurring={"interval": "month", "trial_period_days": 14})
    assert account.subscribe(price)["status"] == "active"
    tried = account.subscribe(price, trial_from_plan=True)
    assert (tried["status"], tried["trial_end"]) == ("trialing", int(START.timestamp()) + 14 * cycles.DAY_S)


def test_what_waits_for_a_subscription_can_be_invoiced_now() -> None:
    account = Account()
    subscription = account.subscribe(account.price(unit_amount=1000))
    id, customer = subscription["id"], subscription["customer"]
    refused = account.refused("invoices", subscription=id, customer=customer)
    assert refused["code"] == "invoice_no_subscription_line_items"
    item = subscription["items"]["data"][0]["id"]
    account.post(f"subscriptions/{id}", items=[{"id": item, "quantity": 3}])
    account.post("invoiceitems", customer=customer, subscription=id, amount=50)
    invoice = account.post(
        "invoices", subscription=id, description="Now", number="N-1", custom_fields=[{"name": "PO", "value": "7"}]
    )
    assert (invoice["status"], invoice["billing_reason"], invoice["total"]) == ("draft", "manual", 2050)
    assert (invoice["description"], invoice["custom_fields"]) == ("Now", [{"name": "PO", "value": "7"}])
    paid = account.post(f"invoices/{invoice['id']}/pay")
    assert (paid["status"], paid["number"]) == ("paid", "N-1")
    account.advance(days=31)
    assert sum(amount for _, amount in account.lines(subscription)) == 3000


def test_an_endpoint_made_by_api_gets_the_events_it_wants_signed_with_its_own_secret(
    simulated: Simulated, receiver: Any
) -> None:
    endpoints = simulated.client.v1.webhook_endpoints
    made = endpoints.create({"url": receiver.url, "enabled_events": ["customer.created"]})
    assert made.secret is not None
    assert made.secret.startswith("whsec_")
    simulated.customer()
    simulated.control("flush", {})
    until(lambda: receiver.types)
    assert receiver.types == ["customer.created"]
    body, signature = receiver.received[0]
    assert simulated.client.construct_event(body, signature, made.secret, tolerance=10**9).type == "customer.created"
    assert endpoints.retrieve(made.id).to_dict().get("secret") is None
    endpoints.update(made.id, {"disabled": True})
    simulated.customer()
    endpoints.delete(made.id)
    simulated.customer()
    simulated.control("flush", {})
    assert receiver.types == ["customer.created"]
    assert endpoints.list().data == []


def test_events_of_a_connected_account_name_it() -> None:
    account = Account()
    account.engine.request("POST", "/v1/customers", {}, stripe_account="acct_connected")
    [event] = account.get("events")["data"]
    assert event["account"] == "acct_connected"
