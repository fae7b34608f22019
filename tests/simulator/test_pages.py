"""The pages for customers, by the forms and links that a browser would use, without JavaScript."""

from __future__ import annotations

import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from html import unescape
from typing import Any

import pytest

from .conftest import Simulated
from .test_checkout import open_session

BUTTON = re.compile(r"<button[^>]*name=action value='([^']*)'[^>]*>(.*?)</button>", re.S)
LINK = re.compile(r"<a[^>]*href='([^']*)'[^>]*>(.*?)</a>", re.S)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass
class Browser:
    """What a customer sees and can press; a redirect within the simulator is followed, another is where they went."""

    base: str
    url: str = ""
    status: int = 0
    html: str = ""
    left_for: str | None = None
    opener: urllib.request.OpenerDirector = field(default_factory=lambda: urllib.request.build_opener(NoRedirect()))

    @property
    def text(self) -> str:
        return unescape(re.sub(r"<[^>]+>", " ", self.html))

    @property
    def buttons(self) -> dict[str, str]:
        return {unescape(text): unescape(action) for action, text in BUTTON.findall(self.html)}

    @property
    def links(self) -> dict[str, str]:
        return {unescape(text): unescape(address) for address, text in LINK.findall(self.html)}

    def open(self, url: str, data: dict[str, str] | None = None, **headers: str) -> Browser:
        body = urllib.parse.urlencode(data).encode() if data is not None else None
        request = urllib.request.Request(url, body, headers)
        try:
            answer = self.opener.open(request, timeout=10)
        except urllib.error.HTTPError as other:
            answer = other
        with answer:
            self.url, self.status, self.html = url, answer.status, answer.read().decode()
            target = answer.headers.get("location")
        if target is None:
            return self
        target = urllib.parse.urljoin(url, target)
        if target.startswith(self.base):
            return self.open(target)
        self.left_for = target
        return self

    def press(self, text: str, **typed: str) -> Browser:
        [action] = [action for name, action in self.buttons.items() if text in name]
        hidden = dict(re.findall(r"<input type=hidden name=(\w+) value='([^']*)'", self.html))
        return self.open(self.url, {**hidden, **typed, "action": action}, origin=self.base)


@pytest.fixture
def browser(simulated: Simulated) -> Browser:
    return Browser(simulated.running.url)


def status_of(simulated: Simulated, session: Any) -> str:
    return str(simulated.client.v1.checkout.sessions.retrieve(session.id).status)


def test_a_newcomer_buys_after_a_decline_and_their_banks_question(simulated: Simulated, browser: Browser) -> None:
    session = open_session(simulated, subscription_data={"metadata": {"account": "acme"}})
    browser.open(session.url)
    assert browser.status == 200
    assert "Subscribe to Pro" in browser.text
    assert "$75.00" in browser.text
    browser.press("it is declined", email="ada@example.org")
    assert "Your card was declined." in browser.text
    browser.press("3-D Secure", email="ada@example.org", name="Ada <b>")
    assert "is it you?" in browser.text
    browser.press("fail the check")
    assert "could not be authenticated" in browser.text
    browser.press("3-D Secure", email="ada@example.org").press("Yes, confirm")
    assert browser.left_for == f"https://shop.example/ok?session={session.id}"
    done = simulated.client.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription"]})
    subscription: Any = done.subscription
    assert (done.status, subscription.status) == ("complete", "active")
    assert done.customer_details is not None
    assert done.customer_details.name == "Ada <b>"
    browser.open(session.url)
    assert browser.links == {"Continue": f"https://shop.example/ok?session={session.id}"}
    assert browser.buttons == {}


def test_a_customer_leaves_or_lets_the_page_expire(simulated: Simulated, browser: Browser) -> None:
    session = open_session(simulated, after_expiration={"recovery": {"enabled": True}})
    browser.open(session.url)
    assert browser.links == {"Go back without buying": "https://shop.example/no"}
    assert status_of(simulated, session) == "open"
    browser.press("expire")
    assert (browser.left_for, status_of(simulated, session)) == ("https://shop.example/no", "expired")
    assert browser.open(session.url).status == 410
    expired = simulated.client.v1.checkout.sessions.retrieve(session.id)
    assert expired.after_expiration is not None
    assert expired.after_expiration.recovery is not None
    browser.open(str(expired.after_expiration.recovery.url)).press("Open it again")
    [again, _] = simulated.client.v1.checkout.sessions.list().data
    assert (browser.url, again.recovered_from) == (again.url, session.id)


def test_what_is_typed_changes_the_order_and_never_the_page(simulated: Simulated, browser: Browser) -> None:
    coupon = simulated.client.v1.coupons.create({"percent_off": 20, "duration": "once"})
    simulated.client.v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "SPRING"})
    line = {"price": simulated.price(), "quantity": 1, "adjustable_quantity": {"enabled": True, "maximum": 5}}
    session = open_session(
        simulated,
        line_items=[line],
        allow_promotion_codes=True,
        custom_fields=[
            {"key": "team", "label": {"type": "custom", "custom": "Team <i>"}, "type": "text", "optional": True}
        ],
        consent_collection={"terms_of_service": "required"},
    )
    browser.open(session.url)
    [quantity] = re.findall(r"name='(quantity_[^']*)'", browser.html)
    browser.press("Update", **{quantity: "9", "code": ""})
    assert browser.status == 400
    assert "between 1 and 5" in browser.text
    browser.press("Update", **{quantity: "2", "code": "<script>"})
    assert browser.status == 400
    assert "<script>" not in browser.html
    assert "Team &lt;i&gt;" in browser.html
    browser.press("Update", **{quantity: "4", "code": "spring"})
    assert "$80.00" in browser.text
    typed = {quantity: "4", "code": "SPRING", "email": "ada@example.org", "field_team": "Blue"}
    browser.press("it pays", **typed)
    done: Any = simulated.client.v1.checkout.sessions.retrieve(
        session.id, {"expand": ["subscription", "total_details.breakdown"]}
    )
    assert (done.amount_total, done.total_details.amount_discount) == (8000, 2000)
    assert done.discounts[0].promotion_code is not None
    assert done.custom_fields[0].text.value == "Blue"
    assert done.consent.terms_of_service == "accepted"
    assert done.subscription["items"].data[0].quantity == 4
    assert simulated.latest_invoice(done.subscription.id).total == 8000


def test_pages_refuse_forms_of_other_origins_and_unknown_addresses(simulated: Simulated, browser: Browser) -> None:
    session = open_session(simulated)
    form = {"action": "pay:pm_card_visa", "email": "ada@example.org"}
    assert browser.open(session.url, form, origin="https://evil.example").status == 403
    assert browser.open(session.url, form, origin="null").status == 403
    assert status_of(simulated, session) == "open"
    for path in ("c/pay/cs_test_none", "p/session/bps_none", "i/in_none", "3ds/pi_x_secret_y", "c/recover/cs_none"):
        assert browser.open(f"{simulated.running.url}/{path}").status == 404
        assert browser.open(f"{simulated.running.url}/{path}", {"action": "expire"}).status == 404
    assert browser.open(session.url, {"action": "nonsense"}).status == 400
    assert browser.open(session.url, {"action": "pay:pm_none", "email": "a@example.org"}).status == 400
    assert browser.open(session.url, {"action": "pay:pm_card_visa", "email": "nonsense\0"}).status == 400
    assert browser.open(session.url, {"action": "x" * 20_000}).status == 413
    assert status_of(simulated, session) == "open"


def test_an_invoice_is_paid_at_its_page(simulated: Simulated, browser: Browser) -> None:
    customer = simulated.customer(None)
    subscription = simulated.subscribe(customer, payment_behavior="default_incomplete")
    browser.open(simulated.latest_invoice(subscription.id).hosted_invoice_url)
    assert "$25.00" in browser.text
    browser.press("every charge is declined")
    assert "Your card was declined." in browser.text
    browser.press("3-D Secure").press("fail the check")
    assert "could not be authenticated" in browser.text
    browser.press("3-D Secure").press("Yes, confirm")
    assert "This invoice is paid." in browser.text
    assert browser.buttons == {}
    assert simulated.status(subscription.id) == "active"


def test_a_bank_that_asks_for_a_payment_of_the_merchants_own_page_sends_the_customer_back(
    simulated: Simulated, browser: Browser
) -> None:
    made = simulated.client.v1.payment_intents.create(
        {
            "amount": 1200,
            "currency": "usd",
            "confirm": True,
            "payment_method": "pm_card_threeDSecure2Required",
            "return_url": "https://shop.example/back?cart=7",
        }
    )
    assert made.next_action is not None
    assert made.next_action.redirect_to_url is not None
    address = str(made.next_action.redirect_to_url.url)
    assert browser.open(f"{address}x").status == 404
    browser.open(address).press("Yes, confirm")
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(browser.left_for or "").query))
    assert query == {
        "cart": "7",
        "payment_intent": made.id,
        "payment_intent_client_secret": made.client_secret,
        "redirect_status": "succeeded",
    }
    assert simulated.client.v1.payment_intents.retrieve(made.id).status == "succeeded"


def test_a_customer_changes_plan_cancels_stays_and_sets_another_card(simulated: Simulated, browser: Browser) -> None:
    small, large = simulated.price(1000), simulated.price(5000)
    products = [{"product": simulated.client.v1.prices.retrieve(id).product, "prices": [id]} for id in (small, large)]
    features: Any = {
        "subscription_update": {
            "enabled": True,
            "default_allowed_updates": ["price", "quantity"],
            "products": products,
            "proration_behavior": "always_invoice",
        },
        "subscription_cancel": {"enabled": True, "cancellation_reason": {"enabled": True, "options": ["unused"]}},
        "payment_method_update": {"enabled": True},
        "invoice_history": {"enabled": True},
        "customer_update": {"enabled": True, "allowed_updates": ["email"]},
    }
    configuration = simulated.client.v1.billing_portal.configurations.create({"features": features})
    subscription = simulated.subscribe(price=small)
    portal = simulated.client.v1.billing_portal.sessions.create(
        {
            "customer": subscription.customer,
            "configuration": configuration.id,
            "return_url": "https://shop.example/account",
        }
    )
    browser.open(portal.url)
    assert browser.links["Go back"] == "https://shop.example/account"
    browser.press("Change the plan", price=large, quantity="2")
    assert "Your change is made." in browser.text
    now = simulated.subscription(subscription.id)
    assert (now["items"].data[0].price.id, now["items"].data[0].quantity) == (large, 2)
    browser.press("Cancel at the end", feedback="unused")
    now = simulated.subscription(subscription.id)
    assert (now.status, now.cancel_at is not None, now.cancel_at_period_end) == ("active", True, False)
    assert now.cancellation_details.feedback == "unused"
    browser.press("Don't cancel")
    assert simulated.subscription(subscription.id).cancel_at is None
    browser.press("3-D Secure").press("Yes, confirm")
    assert "Visa •••• 3220" in browser.text
    browser.press("Save", email="ada@new.example")
    assert simulated.client.v1.customers.retrieve(subscription.customer).email == "ada@new.example"
    browser.press("Change the plan", price=small, quantity="20")
    assert "is it you?" in browser.text
    browser.press("fail the check")
    assert "could not be authenticated" in browser.text
    now = simulated.subscription(subscription.id)
    assert (now["items"].data[0].price.id, now.pending_update) == (large, None)
    browser.press("Change the plan", price=small, quantity="20").press("Yes, confirm")
    assert simulated.subscription(subscription.id)["items"].data[0].quantity == 20
    assert len([text for text in browser.links if text.startswith("SIM") or "-000" in text]) >= 3


def test_a_portal_flow_shows_one_thing_and_then_goes_where_it_was_told(simulated: Simulated, browser: Browser) -> None:
    subscription = simulated.subscribe()
    create: Any = simulated.client.v1.billing_portal.sessions.create
    cancels = create(
        {
            "customer": subscription.customer,
            "flow_data": {
                "type": "subscription_cancel",
                "subscription_cancel": {"subscription": subscription.id},
                "after_completion": {"type": "redirect", "redirect": {"return_url": "https://shop.example/bye"}},
            },
        }
    )
    browser.open(cancels.url)
    assert list(browser.buttons) == ["Cancel at the end of the period"]
    browser.press("Cancel at the end")
    assert browser.left_for == "https://shop.example/bye"
    assert simulated.subscription(subscription.id).cancel_at is not None
    card = create({"customer": subscription.customer, "flow_data": {"type": "payment_method_update"}})
    browser.open(card.url).press("it is declined")
    assert "Your card was declined." in browser.text
    browser.press("it pays")
    assert "Your subscription and billing" in browser.text
