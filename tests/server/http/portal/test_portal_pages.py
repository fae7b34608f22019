"""The customers' pages: who is let in, what they show, and that what they change is what they said."""

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from paygrade.server.http.edge import shown_path
from paygrade.server.process.settings import Settings
from support.pages import Browser, Node, parsed
from support.server_process import serving
from support.stack import House
from support.stack import house as empty_house
from support.waiting import eventually

NAMES = ["ann", "bill", "cy", "dan", "eve"]


@pytest.fixture(scope="module")
def house(postgres_url: str) -> Iterator[House]:
    with empty_house(postgres_url) as made:
        yield made


@pytest.fixture(scope="module")
def browser(house: House) -> Iterator[Browser]:
    with Browser(house.api.url) as its:
        yield its


def key() -> str:
    return f"acme-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def payer(house: House) -> str:
    """An account that pays for five seats of Pro, and has as many people."""
    account = key()
    house.shop.welcome(account, "Acme & Sons")
    house.shop.subscribe(account, "pro_monthly", quantity=5)
    house.api.eventually(account, "exports", allowed=True)
    people = [{"member": name, "role": "owner" if name == "ann" else "editor", "seat": True} for name in NAMES]
    house.api.ok("PUT", f"/v1/accounts/{account}/members", json=people)
    return account


def link(house: House, account: str, **asked: Any) -> str:
    """The path of a link to this account's pages."""
    opened = house.api.ok("POST", f"/v1/accounts/{account}/portal-sessions", json={"member": "ann", **asked})
    path: str = urlsplit(opened["url"]).path
    return path


def seats_of(house: House, account: str) -> set[str]:
    members = house.api.ok("GET", f"/v1/accounts/{account}/members")["members"]
    return {one["member"] for one in members if one["seat"] and not one["suspended"]}


def card(page: Node, name: str) -> Node:
    return next(node for node in page.every("li") if node.every("h3") and node.one("h3").text.startswith(name))


def asked(browser: Browser, path: str, plan: str, **fields: str) -> Node:
    """Choose a plan, and look at what it would do."""
    form = card(browser.page(path), plan).one("form")
    said = {node["name"]: node.get("value") for node in form.every("input")}
    answer = browser.post(f"{path}/change", data=said | fields)
    assert answer.status_code == 303, parsed(answer.text).text
    return browser.follow(answer)


def test_a_link_opens_the_pages_of_one_account_until_it_ends(house: House, browser: Browser, payer: str) -> None:
    wanted = {"member": "ann", "return_url": "https://app.example.com/settings", "ttl_s": 60}
    answer = house.api.post(f"/v1/accounts/{payer}/portal-sessions", json=wanted, headers={"idempotency-key": payer})
    again = house.api.post(f"/v1/accounts/{payer}/portal-sessions", json=wanted, headers={"idempotency-key": payer})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    opened, path = answer.json(), urlsplit(answer.json()["url"]).path
    assert again.json() == opened
    shown = browser.get(path)
    page = parsed(shown.text)
    assert page.one("h1").text == "Plan and usage"
    assert page.one("span", class_="quiet").text == "Acme & Sons"
    assert "$495 a month: Pro, 5 × $99" in page.text
    assert "5 of 5 taken" in page.text
    assert page.one("a", href="https://app.example.com/settings").get("rel") == "noreferrer"
    # Nothing of the address goes elsewhere, and no page of somebody else shows it.
    assert shown.headers["referrer-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in shown.headers["content-security-policy"]
    assert shown.headers["cache-control"] == "no-store"
    assert "style=" not in shown.text
    assert "<script>" not in shown.text
    secret = path.rpartition("/")[2]
    with psycopg.connect(house.database_url) as tables:
        [row] = tables.execute("select * from portal_sessions where id = %s", (opened["id"],)).fetchall()
    assert hashlib.sha256(secret.encode()).hexdigest() in row
    assert secret not in str(row)
    house.api.ok("DELETE", f"/v1/accounts/{payer}/portal-sessions/{opened['id']}")
    gone = house.api.problem(404, "DELETE", f"/v1/accounts/{payer}/portal-sessions/{opened['id']}")
    assert gone["code"] == "unknown_portal_session"
    assert browser.page(path, 404).one("h1").text == "This link has ended"
    for odd, status in (("portal_", 404), ("x", 404), ("back", 404), ("%00", 400), ("a" * 5000, 400)):
        assert browser.get(f"/portal/{odd}").status_code == status, odd
    last = link(house, payer, ttl_s=60)
    browser.page(last)
    house.control("clock", {"advance": "2m"})
    eventually(lambda: browser.get(last).status_code == 404)


def test_the_secret_of_a_link_is_written_down_nowhere() -> None:
    assert shown_path("/portal/portal_abc/change/quote_1") == "/portal/…/change/quote_1"
    assert shown_path("//portal//portal_abc") == "//portal//…"
    assert shown_path("/v1/accounts/portal/x") == "/v1/accounts/portal/x"


def test_who_stays_is_chosen_and_what_the_page_said_is_what_comes(house: House, browser: Browser, payer: str) -> None:
    path = link(house, payer)
    page = asked(browser, path, "Pro", seats="2")
    assert page.one("h1").text.startswith("Change Pro on")
    assert [node["value"] for node in page.every("input", name="seat") if "checked" in node.attributes] == NAMES[:2]
    assert "5 people have a seat, and there will be 2." in page.text
    assert "To pay now $0" in page.text
    assert "$198" in page.text
    confirm = page.one("form", class_="split")["action"]
    unsure = browser.post(confirm, data={"chooses": "1", "seat": ["ann", "eve"]})
    assert unsure.status_code == 409
    assert "Confirm that people lose" in parsed(unsure.text).text
    many = browser.post(confirm, data={"chooses": "1", "understood": "1", "seat": ["ann", "bill", "eve"]})
    assert many.status_code == 409
    assert "You chose 3 people" in parsed(many.text).text
    done = browser.post(confirm, data={"chooses": "1", "understood": "1", "seat": ["ann", "eve"]})
    assert done.status_code == 303, parsed(done.text).text
    after = browser.follow(done)
    assert "Done." in after.text
    assert "Pro begins on" in after.text
    assert seats_of(house, payer) == set(NAMES), "nobody loses anything before its time"
    changes = house.api.ok("GET", f"/v1/accounts/{payer}/plan-changes")["changes"]
    [lost] = [each["members"] for each in changes[0]["quoted"]["violations"] if each["kind"] == "members"]
    assert (changes[0]["state"], set(lost)) == ("scheduled", {"bill", "cy", "dan"})
    records = house.api.ok("GET", f"/v1/accounts/{payer}/audit")["records"]
    mine = {each["action"]: each["actor"] for each in records if each["actor"]["kind"] == "portal_session"}
    assert {"seats.rank", "plan_change.request"} <= mine.keys()
    assert mine["plan_change.request"]["name"] == "ann"
    # A second change has to wait for this one to be taken back.
    assert not [node for node in after.every("form") if node["action"].endswith("/change")]
    browser.follow(browser.send_form(after, f"{path}/undo"))
    assert house.api.ok("GET", f"/v1/accounts/{payer}/plan-changes")["changes"][0]["state"] == "canceled"


def test_a_plan_is_cancelled_and_kept_after_all(house: House, browser: Browser, payer: str) -> None:
    path = link(house, payer, language="de")
    page = browser.follow(browser.send_form(browser.page(path), f"{path}/cancel"))
    assert page.one("h1").text.startswith("Pro zum ")
    assert page.one("html")["lang"] == "de"
    assert "Exports enthalten nicht enthalten" in page.text
    assert "Retention 90 Tage 7 Tage" in page.text
    after = browser.follow(browser.send_form(page, f"{path}/change/", understood="1", seat="ann"))
    assert "Pro endet am" in after.text
    assert house.api.ok("GET", f"/v1/accounts/{payer}")["subscriptions"][0].get("ends_at") is not None
    kept = browser.follow(browser.send_form(after, f"{path}/keep"))
    assert "Verlängert sich am" in kept.text
    assert house.api.ok("GET", f"/v1/accounts/{payer}")["subscriptions"][0].get("ends_at") is None


def test_an_upgrade_is_paid_and_there_and_an_old_quote_is_asked_anew(
    house: House, browser: Browser, payer: str
) -> None:
    path = link(house, payer)
    page = asked(browser, path, "Business", seats="5")
    assert page.one("h1").text == "Go to Business now?"
    house.api.ok("PUT", f"/v1/accounts/{payer}/members/fay", json={"role": "editor"})
    anew = parsed(browser.send_form(page, f"{path}/change/", 409).text)
    assert "Something has changed meanwhile" in anew.text
    after = browser.follow(browser.send_form(anew, f"{path}/change/"))
    assert after.one("h2").text == "Business"
    assert house.api.check(payer, "audit_log")["allowed"] is True


def test_people_get_seats_lose_them_and_leave(house: House, browser: Browser, payer: str) -> None:
    path = link(house, payer)
    house.api.ok("PUT", f"/v1/accounts/{payer}/members/fay", json={"role": "editor"})

    def does(member: str, act: str) -> tuple[int, str]:
        answer = browser.post(f"{path}/people", data={"member": member, "act": act})
        return answer.status_code, parsed(answer.text).text

    status, text = does("fay", "give")
    assert status == 409
    assert "No seat is free." in text
    assert does("bill", "take")[0] == 303
    assert does("fay", "give")[0] == 303
    assert does("cy", "remove")[0] == 303
    assert seats_of(house, payer) == {"ann", "dan", "eve", "fay"}
    assert [does("ann", act)[0] for act in ("take", "remove")] == [409, 409], "nobody locks themselves out"
    assert does("nobody", "give")[0] == 404
    assert seats_of(house, payer) == {"ann", "dan", "eve", "fay"}


def test_who_has_nothing_yet_buys_at_the_providers_page_and_comes_back(house: House, browser: Browser) -> None:
    account = key()
    house.api.ok("PUT", f"/v1/accounts/{account}", json={"name": "New"})
    path = link(house, account)
    page = browser.page(path)
    assert "You pay for nothing yet." in page.text
    assert "14 days free" in card(page, "Pro").text
    said = {node["name"]: node.get("value") for node in card(page, "Pro").one("form").every("input")}
    answer = browser.post(f"{path}/change", data=said)
    assert answer.status_code == 200
    where = answer.headers["refresh"].removeprefix("0; url=")
    assert where.startswith(house.provider.url)
    assert parsed(answer.text).one("a", href=where)
    secret = path.rpartition("/")[2]
    [session] = [
        one for one in house.stripe.v1.checkout.sessions.list({"limit": 10}).data if one.client_reference_id == account
    ]
    assert secret not in f"{session.success_url} {session.cancel_url}", "the provider learns no secret of ours"
    back = browser.get(str(session.success_url).removeprefix(house.api.url))
    assert (back.status_code, back.headers["location"]) == (303, path)


def test_payment_is_seen_to_at_the_provider(house: House, browser: Browser, payer: str) -> None:
    path = link(house, payer)
    paying = browser.send_form(browser.page(path), f"{path}/payment", 200)
    assert paying.headers["refresh"].startswith(f"0; url={house.provider.url}")


def test_invoices_are_what_the_provider_has_now_and_the_page_stands_without_it(
    house: House, browser: Browser, payer: str, tmp_path: Path
) -> None:
    [customer] = house.api.ok("GET", f"/v1/accounts/{payer}")["customers"]
    customer = customer.removeprefix("stripe:")

    def shown(page: Node) -> list[str]:
        bills = next(node for node in page.every("section") if node.get("aria-labelledby") == "bills")
        return [row.text for row in bills.one("tbody").every("tr")]

    def bill(number: int) -> None:
        house.stripe.v1.invoice_items.create({"customer": customer, "amount": 100 * number, "currency": "usd"})
        made = house.stripe.v1.invoices.create(
            {"customer": customer, "auto_advance": False, "pending_invoice_items_behavior": "include"}
        )
        house.stripe.v1.invoices.finalize_invoice(made.id)

    path = link(house, payer)
    page = browser.page(path)
    assert len(shown(page)) == 1
    assert "paid $495 PDF" in shown(page)[0]
    for number in range(1, 13):
        bill(number)
    house.stripe.v1.invoices.create({"customer": customer, "auto_advance": False})  # a draft
    page = browser.page(path)
    assert len(shown(page)) == 11, "twelve at a time, and the draft is no invoice yet"
    assert "open $12 PDF" in shown(page)[0]
    leads = page.one("a", href=f"{house.provider.url}/i/{_latest(house, customer)}")
    assert leads.get("rel") == "noreferrer"
    older = browser.page(page.one("a", rel="next")["href"])
    assert [line.split()[-2] for line in shown(older)] == ["$1", "$495"]
    assert not older.every("a", rel="next")
    # What another account has is shown to nobody, whatever an address says.
    other = key()
    house.shop.welcome(other, "Other")
    house.shop.subscribe(other, "pro_monthly", quantity=1)
    house.api.eventually(other, "exports", allowed=True)
    [its] = house.api.ok("GET", f"/v1/accounts/{other}")["customers"]
    theirs = browser.page(f"{path}?invoices={_latest(house, its.removeprefix('stripe:'))}")
    assert "$99" not in " ".join(shown(theirs))
    house.control("weather", {"error": 1})
    try:
        away = browser.page(path)
        assert "Invoices can't be loaded right now." in away.text
        assert "$495 a month: Pro, 5 × $99" in away.text, "and the rest is there"
    finally:
        house.control("weather", {})
    nobody = key()
    house.api.ok("PUT", f"/v1/accounts/{nobody}", json={})
    assert not _has_bills(browser.page(link(house, nobody)))
    # A deployment may hide them.
    (tmp_path / "portal.yaml").write_text("hide_invoices: true")
    settings = Settings(
        stripe_api_key=house.provider.key, stripe_api_base=house.provider.url, clock_url=house.provider.url,
        sweep_every=None, portal=tmp_path / "portal.yaml",
    )  # fmt: skip
    with serving(settings, house.database_url, catalog=False) as hiding, Browser(hiding.url) as visitor:
        shown_there = visitor.page(path)
        assert "$495 a month: Pro, 5 × $99" in shown_there.text
        assert not _has_bills(shown_there)


def _has_bills(page: Node) -> bool:
    return any(node.get("aria-labelledby") == "bills" for node in page.every("section"))


def _latest(house: House, customer: str) -> str:
    its = house.stripe.v1.invoices.list({"customer": customer, "limit": 3}).data
    return str(next(one.id for one in its if one.status != "draft"))


def test_nothing_is_changed_from_another_page_or_of_another_account(house: House, browser: Browser, payer: str) -> None:
    path, other = link(house, payer), key()
    house.api.ok("PUT", f"/v1/accounts/{other}", json={})
    quote = house.quote(payer, plan="business")["id"]
    for action in ("change", "cancel", "undo", "keep", "people", "payment", f"change/{quote}"):
        for origin in ("https://elsewhere.example", "null", ""):
            said = {"member": "bill", "act": "take"}
            answer = browser.post(f"{path}/{action}", headers={"origin": origin}, data=said)
            assert answer.status_code == 403, (action, origin)
    assert seats_of(house, payer) == set(NAMES)
    assert house.api.ok("GET", f"/v1/accounts/{payer}/plan-changes")["changes"] == []
    assert browser.page(f"{link(house, other)}/change/{quote}", 404)
    strange = browser.post(f"{path}/people", content=b"\xff=\x00", headers={"content-type": "text/plain"})
    assert strange.status_code == 415
