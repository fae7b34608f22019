"""Payment links: made, changed, followed at their address, limited and closed."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from .asking import Account
from .conftest import Simulated


def link_of(account: Account, **params: Any) -> Any:
    return account.post(
        "payment_links", line_items=[{"price": account.price(unit_amount=500), "quantity": 2}], **params
    )


def test_a_link_sells_a_subscription_to_whoever_follows_it(simulated: Simulated) -> None:
    client = simulated.client.v1
    link = client.payment_links.create(
        {
            "line_items": [{"price": simulated.price(), "quantity": 2}],
            "metadata": {"campaign": "spring"},
            "subscription_data": {"trial_period_days": 7},
            "after_completion": {
                "type": "redirect",
                "redirect": {"url": "https://example.com/?s={CHECKOUT_SESSION_ID}"},
            },
        }
    )
    assert link.subscription_data is not None
    assert link.subscription_data.trial_period_days == 7
    address = f"{link.url}?client_reference_id=acme&prefilled_email=ada%40example.org&locale=de"
    led = httpx.get(address)
    assert led.status_code == 303
    id = urlsplit(led.headers["location"]).path.rsplit("/", 1)[-1]
    session = client.checkout.sessions.retrieve(id)
    told = (session.payment_link, session.client_reference_id, session.customer_email, session.to_dict()["metadata"])
    assert told == (link.id, "acme", "ada@example.org", {"campaign": "spring"})
    done = simulated.control("checkout", {"session": id, "outcome": "pay"})
    assert done["redirect_to"] == f"https://example.com/?s={id}"
    assert simulated.status(done["session"]["subscription"]) == "trialing"
    assert [one.id for one in client.checkout.sessions.list({"payment_link": link.id}).data] == [id]
    [item] = client.payment_links.line_items.list(link.id).data
    assert (item.object, item.quantity) == ("item", 2)


def test_a_link_closes_after_so_many_purchases(simulated: Simulated) -> None:
    client = simulated.client.v1
    link = client.payment_links.create(
        {
            "line_items": [
                {
                    "price_data": {"currency": "eur", "product_data": {"name": "Sticker"}, "unit_amount": 300},
                    "quantity": 1,
                }
            ],
            "restrictions": {"completed_sessions": {"limit": 1}},
            "inactive_message": "All stickers are gone.",
            "after_completion": {"type": "hosted_confirmation", "hosted_confirmation": {"custom_message": "Stick it!"}},
        }
    )
    assert (link.currency, link.customer_creation) == ("eur", "if_required")
    page = httpx.get(link.url, follow_redirects=True)
    assert "Sticker" in page.text
    done = simulated.control("checkout", {"payment_link": link.id, "outcome": "pay"})
    assert (done["outcome"], done["session"]["payment_status"]) == ("complete", "paid")
    assert "Stick it!" in httpx.get(f"{simulated.running.url}/c/pay/{done['session']['id']}").text
    closed = client.payment_links.retrieve(link.id)
    assert closed.active is False
    assert closed.restrictions is not None
    assert closed.restrictions.completed_sessions.count == 1
    late = httpx.get(link.url)
    assert (late.status_code, "All stickers are gone." in late.text) == (404, True)


def test_a_changed_link_changes_the_sessions_that_follow() -> None:
    account = Account()
    link = link_of(account, allow_promotion_codes=True)
    assert (link["customer_creation"], link["allow_promotion_codes"], link["invoice_creation"]) == (
        "always",
        True,
        None,
    )
    [item] = account.get(f"payment_links/{link['id']}", expand=["line_items"])["line_items"]["data"]
    changed = account.post(
        f"payment_links/{link['id']}",
        line_items=[{"id": item["id"], "quantity": 3}],
        metadata={"a": 1},
        active=False,
    )
    assert (changed["active"], changed["metadata"]) == (False, {"a": "1"})
    [item] = account.get(f"payment_links/{link['id']}/line_items")["data"]
    assert (item["quantity"], item["amount_total"]) == (3, 1500)
    assert account.get("payment_links", active=False)["data"][0]["id"] == link["id"]
    assert [event["type"] for event in account.engine.take_events() if "link" in event["type"]] == [
        "payment_link.created",
        "payment_link.updated",
    ]


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"transfer_data": {"destination": "acct_1"}}, "not_simulated", "transfer_data"),
        ({"success_url": "https://example.com"}, "parameter_unknown", "success_url"),
        ({"payment_intent_data": {"description": "x"}}, None, "payment_intent_data"),
        ({"after_completion": {"type": "redirect"}}, "parameter_missing", "after_completion[redirect][url]"),
        ({"restrictions": {"completed_sessions": {"limit": 0}}}, None, "restrictions[completed_sessions][limit]"),
    ],
)
def test_a_link_refuses_what_its_sessions_would(params: Any, code: str | None, param: str) -> None:
    account = Account()
    price = account.price(unit_amount=500)
    refused = account.refused("payment_links", line_items=[{"price": price, "quantity": 1}], **params)
    assert (refused["status"], refused.get("code"), refused["param"]) == (400, code, param)
    assert account.get("payment_links")["data"] == []
