"""From nothing to "they paid and have it": a checkout is started, its page is completed, and access is there."""

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import psycopg
import pytest

from paygrade import Paygrade
from paygrade.server.http.routes import examples
from paygrade.server.process.settings import Settings
from support.server_process import KEY, Api, serving
from support.stack import House
from support.stack import house as empty_house
from support.waiting import eventually

ADDRESSES = {
    "success_url": "https://shop.example/welcome?session={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://shop.example/pricing",
}
CALM: dict[str, Any] = {}


class Buyers(House):
    """A house, and those who buy there."""

    def someone(self) -> str:
        """An account that nobody has heard of."""
        return f"acme-{uuid.uuid4().hex[:8]}"

    def checkout(self, account: str, plan: str = "pro", **said: Any) -> Any:
        body = {"plan": plan, "interval": "monthly", **ADDRESSES, **said}
        return self.api.ok("POST", f"/v1/accounts/{account}/checkout", json=body)

    def refused(self, account: str, status: int = 409, **said: Any) -> Any:
        body = {"plan": "pro", "interval": "monthly", **ADDRESSES, **said}
        return self.api.problem(status, "POST", f"/v1/accounts/{account}/checkout", json=body)

    def at_the_page(self, session: str, outcome: str, **said: Any) -> Any:
        wanted = {"session": session, "outcome": outcome, **said}
        answer = httpx2.post(
            f"{self.provider.url}/_simulator/checkout", json=wanted, trust_env=False, verify=False, timeout=60
        )
        assert answer.is_success, answer.text
        return answer.json()

    def refresh(self, account: str) -> Any:
        return self.api.ok("POST", f"/v1/accounts/{account}/refresh", params={"wait_s": 20})

    def customers(self, account: str) -> list[Any]:
        listed = self.stripe.v1.customers.list({"limit": 100}).data
        return [one for one in listed if one.metadata and one.metadata.to_dict().get("paygrade_account") == account]

    def sessions(self, account: str) -> list[Any]:
        listed = self.stripe.v1.checkout.sessions.list({"limit": 100}).data
        return [one for one in listed if one.client_reference_id == account]


@pytest.fixture(scope="module")
def house(postgres_url: str) -> Iterator[Buyers]:
    with empty_house(postgres_url) as made:
        buyers = Buyers(made.api, made.provider, made.database_url)
        buyers.shop = made.shop
        yield buyers


@pytest.fixture
def silent(house: Buyers) -> Iterator[Buyers]:
    """The house while no webhook comes through. Nothing polls in it."""
    house.control("weather", {"drop": 1})
    yield house
    house.control("weather", CALM)


def test_a_newcomer_pays_and_has_it_though_no_webhook_came(silent: Buyers) -> None:
    acme = silent.someone()
    assert silent.api.check(acme, "exports")["reason"] == "unknown_account"
    made = silent.checkout(acme, quantities={"seats": 3}, trial=False)
    assert (made["plan"], made["trial_days"]) == ("pro@1", None)
    session: Any = silent.stripe.v1.checkout.sessions.retrieve(made["session"], {"expand": ["line_items"]})
    assert (session.url, session.client_reference_id) == (made["url"], acme)
    assert [(item.price.lookup_key, item.quantity) for item in session.line_items.data] == [("pro_monthly", 3)]
    silent.at_the_page(made["session"], "pay")
    view = silent.refresh(acme)
    assert (view["stale"], view["entitlements"]["exports"]["granted"]) == (False, True)
    assert silent.api.check(acme, "seats", quantity=3)["allowed"] is True
    [customer] = silent.customers(acme)
    [subscription] = silent.stripe.v1.subscriptions.list({"customer": customer.id}).data
    assert subscription.metadata["paygrade_account"] == acme


def test_who_comes_back_waits_for_what_was_bought_in_their_session(silent: Buyers) -> None:
    acme = silent.someone()
    made = silent.checkout(acme)
    asked = {"account": acme, "feature": "exports", "at_least": made["session"], "wait_s": 0}
    assert silent.api.problem(409, "POST", "/v1/check", json=asked)["code"] == "not_yet"
    silent.at_the_page(made["session"], "pay")
    decision = silent.api.check(acme, "exports", at_least=made["session"], wait_s=20)
    assert (decision["allowed"], decision["plan"]) == (True, "pro@1")
    with Paygrade(silent.api.url, KEY, timeout_s=20) as sdk:
        assert sdk.check(acme, "exports", at_least=made["session"]).allowed is True
    # Whoever names somebody else's session waits for nothing that is theirs.
    other = {**asked, "account": silent.someone()}
    assert silent.api.problem(409, "POST", "/v1/check", json=other)["code"] == "not_yet"
    again = silent.refused(acme)
    assert (again["code"], again["quote_url"]) == ("already_subscribed", f"/v1/accounts/{acme}/plan-changes/quote")
    assert silent.api.ok("POST", again["quote_url"], json={"plan": "business"})["plan_after"].startswith("business@")


def test_a_declined_card_a_good_one_and_a_bank_that_asks(house: Buyers) -> None:
    acme = house.someone()
    made = house.checkout(acme, trial=False)
    house.at_the_page(made["session"], "decline")
    assert house.refresh(acme)["entitlements"]["exports"]["granted"] is False
    # The page is as good as before, also for who asks for it again: what waits for its first payment gives nothing.
    assert house.checkout(acme, trial=False) == made
    house.at_the_page(made["session"], "challenge")
    assert house.api.check(acme, "exports")["allowed"] is False
    house.at_the_page(made["session"], "authenticate")
    house.api.eventually(acme, "exports", allowed=True)
    assert house.refused(acme)["code"] == "already_subscribed"


def test_who_clicks_twice_gets_one_page_whichever_server_they_reach(house: Buyers) -> None:
    acme, settings = house.someone(), Settings(
        stripe_api_key=house.provider.key, stripe_api_base=house.provider.url, clock_url=house.provider.url,
        sweep_every=None,
    )  # fmt: skip
    with serving(settings, house.database_url) as second:
        made = _at_once([house.api, second] * 2, acme, [{"plan": "pro", "interval": "monthly"}] * 4)
    assert len({one["session"] for one in made}) == 1
    assert [session.status for session in house.sessions(acme)] == ["open"]
    assert len(house.customers(acme)) == 1


def test_who_wants_something_else_gets_another_page_and_the_first_sells_no_more(house: Buyers) -> None:
    acme = house.someone()
    asked = [
        {"plan": "pro", "interval": "monthly", "trial": True},
        {"plan": "pro", "interval": "yearly", "trial": True},
    ]
    # Both at once: a trial is given once, whichever page is paid.
    made = _at_once([house.api, house.api], acme, asked)
    assert sorted(session.status for session in house.sessions(acme)) == ["expired", "open"]
    assert len(house.customers(acme)) == 1
    [still_open] = [session.id for session in house.sessions(acme) if session.status == "open"]
    [lost] = [one["session"] for one in made if one["session"] != still_open]
    question = {"account": acme, "feature": "exports", "at_least": lost, "wait_s": 5}
    assert "expired" in house.api.problem(409, "POST", "/v1/check", json=question)["detail"]
    house.at_the_page(still_open, "pay")
    assert house.api.check(acme, "exports", at_least=still_open, wait_s=20)["allowed"] is True
    [customer] = house.customers(acme)
    [subscription] = house.stripe.v1.subscriptions.list({"customer": customer.id}).data
    assert subscription.status == "trialing"
    house.stripe.v1.subscriptions.cancel(subscription.id)
    house.api.eventually(acme, "exports", allowed=False)
    assert house.refused(acme, trial=True)["code"] == "trial_used"
    assert house.checkout(acme)["trial_days"] is None


def test_what_was_bought_on_a_page_that_is_to_be_closed_is_not_sold_again(silent: Buyers) -> None:
    acme = silent.someone()
    made = silent.checkout(acme)
    silent.at_the_page(made["session"], "pay")
    # No webhook has told of it, and something else is asked for.
    assert silent.refused(acme, interval="yearly")["code"] == "already_subscribed"
    assert silent.api.check(acme, "exports")["allowed"] is True


def test_a_page_that_nobody_heard_of_is_found_again(house: Buyers) -> None:
    acme = house.someone()
    made = house.checkout(acme)
    forgotten = """
        update checkouts set state = 'asked', session = null, url = null, expires_at = null, leased_by = 7,
               leased_until = clock_timestamp() + interval '1 hour' where account = %s
    """
    with psycopg.connect(house.database_url) as connection:
        # The process that asked for it was killed before it heard.
        connection.execute(forgotten, (acme,))
    assert house.checkout(acme) == made
    with psycopg.connect(house.database_url) as connection:
        connection.execute(forgotten, (acme,))
    other = house.checkout(acme, interval="yearly")
    assert {session.id: session.status for session in house.sessions(acme)} == {
        made["session"]: "expired", other["session"]: "open"
    }  # fmt: skip


def test_with_the_provider_away_nothing_is_sold_and_asking_again_is_right(house: Buyers) -> None:
    acme = house.someone()
    made = house.checkout(acme)
    other = house.someone()
    house.control("weather", {"error": 1})
    try:
        assert house.refused(other, 503)["code"] == "provider_unreachable"
        question = {"account": acme, "feature": "exports", "at_least": made["session"], "wait_s": 1}
        assert house.api.problem(409, "POST", "/v1/check", json=question)["code"] == "not_yet"
    finally:
        house.control("weather", CALM)
    assert house.checkout(other)["session"] != made["session"]
    assert len(house.customers(other)) == len(house.sessions(other)) == 1


def test_an_abandoned_page_expires_and_another_one_is_made_for_the_same_customer(house: Buyers) -> None:
    acme = house.someone()
    made = house.checkout(acme)
    house.at_the_page(made["session"], "abandon")
    assert house.checkout(acme) == made
    house.at_the_page(made["session"], "expire")
    with psycopg.connect(house.database_url) as connection:
        connection.execute("update checkouts set expires_at = asked_at where account = %s", (acme,))
    assert house.checkout(acme)["session"] != made["session"]
    assert len(house.customers(acme)) == 1


def test_a_customer_the_account_has_is_who_pays(house: Buyers) -> None:
    acme = house.someone()
    customer = house.stripe.v1.customers.create({"name": "Acme", "email": "ann@acme.example"})
    house.api.ok("PUT", f"/v1/accounts/{acme}", json={"links": {"stripe": [customer.id]}})
    eventually(lambda: house.api.ok("GET", f"/v1/accounts/{acme}")["customers"])
    made = house.checkout(acme)
    assert house.stripe.v1.checkout.sessions.retrieve(made["session"]).customer == customer.id
    assert [one.id for one in house.customers(acme)] == [customer.id]


@pytest.mark.parametrize(
    ("said", "status", "code", "names"),
    [
        ({"coupon": "launch"}, 409, "coupon_not_allowed", "launch"),
        ({"plan": "business", "trial": True}, 409, "trial_not_given", "business"),
        ({"plan": "free"}, 404, "unknown_price", "free"),
        ({"plan": "gold"}, 404, "unknown_plan", "gold"),
        ({"currency": "eur"}, 404, "unknown_price", "eur"),
        ({"interval": None}, 409, "ambiguous_price", "monthly"),
        ({"quantities": {"exports": 2}}, 400, "quantity_not_sold", "exports"),
        ({"quantities": {"seats": 0}}, 400, "quantity_not_sold", "pro"),
        ({"add_ons": {"gold": 1}}, 404, "unknown_add_on", "gold"),
        ({"success_url": "http://shop.example/ok"}, 400, "invalid_body", "https"),
        ({"success_url": "https://ann:secret@shop.example/"}, 400, "invalid_body", "password"),
        ({"cancel_url": "javascript:alert(1)"}, 400, "invalid_body", "address"),
        ({"currency": "dollars"}, 400, "invalid_body", "currency"),
    ],
)
def test_what_can_not_be_sold_is_refused(house: Buyers, said: Any, status: int, code: str, names: str) -> None:
    problem = house.refused("newcomer", status, **said)
    assert problem["code"] == code
    assert names in str(problem)


def test_without_a_provider_there_are_no_pages(api: Api) -> None:
    body = {"plan": "pro", "interval": "monthly", **ADDRESSES}
    assert api.problem(503, "POST", "/v1/accounts/acme/checkout", json=body)["code"] == "provider_not_configured"
    portal = {"return_url": "http://localhost:3000/billing"}
    problem = api.problem(503, "POST", "/v1/accounts/acme/billing-portal", json=portal)
    assert problem["code"] == "provider_not_configured"


def test_a_portal_is_the_customers_own_and_leads_to_one_thing_where_that_is_asked(house: Buyers) -> None:
    acme, path = house.someone(), "/v1/accounts/{}/billing-portal"
    back = {"return_url": "http://localhost:3000/billing"}
    assert house.api.problem(404, "POST", path.format(acme), json=back)["code"] == "unknown_account"
    house.api.ok("PUT", f"/v1/accounts/{acme}", json={})
    assert house.api.problem(409, "POST", path.format(acme), json=back)["code"] == "no_customer"
    made = house.checkout(acme, trial=False)
    house.at_the_page(made["session"], "pay")
    house.api.eventually(acme, "exports", allowed=True)
    for flow in (None, "payment_method_update", "subscription_cancel"):
        told = house.api.ok("POST", path.format(acme), json={**back, **({"flow": flow} if flow else {})})
        assert told["url"].startswith(house.provider.url)
    # The portal as it is set up offers no other plans.
    off = house.api.problem(409, "POST", path.format(acme), json={**back, "flow": "subscription_update"})
    assert off["code"] == "provider_refused_page"
    wrong = {**back, "flow": "subscription_cancel", "subscription": "sub_nobody"}
    assert house.api.problem(409, "POST", path.format(acme), json=wrong)["code"] == "no_subscription_to_change"
    records = house.api.ok("GET", f"/v1/accounts/{acme}/audit")["records"]
    assert {record["action"] for record in records} >= {"checkout.open", "billing_portal.open"}


def test_pages_are_opened_by_command(house: Buyers) -> None:
    acme = house.someone()
    where = ("--success-url", "https://shop.example/ok", "--cancel-url", "https://shop.example/no")
    bought = house.paygrade("accounts", "checkout", acme, "--plan", "pro", "--interval", "monthly", *where)
    assert "pro@1, the first 14 days free: http" in bought.replace("\n", " ")
    # The examples of the document are taken, too.
    house.api.ok("POST", f"/v1/accounts/{house.someone()}/checkout", json=examples.CHECKOUT_ASKED)
    # There is an account once the customer that its page made has been read.
    eventually(lambda: house.api.get(f"/v1/accounts/{acme}").is_success)
    house.api.ok("POST", f"/v1/accounts/{acme}/billing-portal", json=examples.PORTAL_ASKED)
    told = house.paygrade("accounts", "billing-portal", acme, "--return-url", "https://shop.example/")
    assert told.startswith(house.provider.url)


def test_a_change_waits_for_a_card_and_goes_on_by_itself(house: Buyers) -> None:
    acme = house.someone()
    made = house.checkout(acme, trial=False)
    house.at_the_page(made["session"], "pay")
    house.api.eventually(acme, "exports", allowed=True)
    [customer] = house.customers(acme)
    for method in house.stripe.v1.payment_methods.list({"customer": customer.id}).data:
        house.stripe.v1.payment_methods.detach(method.id)
    quote = house.quote(acme, plan="business")
    body = {"quote_id": quote["id"]}
    change = house.api.ok("POST", f"/v1/accounts/{acme}/plan-changes", params={"wait_s": 20}, json=body)
    assert (change["state"], change["invoice"]) == ("pending", None)
    assert change["pay_url"].startswith(house.provider.url)
    assert house.api.check(acme, "audit_log")["allowed"] is False
    card = house.stripe.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    house.stripe.v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": card.id}})
    house.api.eventually(acme, "audit_log", allowed=True)
    path = f"/v1/accounts/{acme}/plan-changes/{change['id']}"
    eventually(lambda: house.api.ok("GET", path)["change"]["state"] == "applied")


def _at_once(apis: list[Api], account: str, bodies: list[dict[str, Any]]) -> list[Any]:
    """What each is answered who asks at the same moment."""
    made: list[Any] = []

    def ask(url: str, body: dict[str, Any]) -> None:
        with Api(url) as own:
            made.append(own.ok("POST", f"/v1/accounts/{account}/checkout", json={**body, **ADDRESSES}))

    asking = [threading.Thread(target=ask, args=(api.url, body)) for api, body in zip(apis, bodies, strict=True)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert len(made) == len(bodies)
    return made
