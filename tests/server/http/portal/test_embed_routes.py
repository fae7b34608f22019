"""What the custom elements are and read: the file and its words, what is on sale, and an account's summary."""

import gzip
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from paygrade.server.http.portal.elements import module
from paygrade.server.http.portal.showing import markup, notices
from paygrade.server.http.portal.style import colours
from paygrade.server.http.portal.wording import Words, languages, spoken
from paygrade.server.operations.own_pages.summary import AccountSummary, BoughtPlan
from paygrade.server.process.portal_settings import NO_PORTAL_SETTINGS, PortalSettings, read_portal_settings
from paygrade.server.process.settings import Settings
from paygrade.values.errors import Refused
from support.databases import migrated_database
from support.pages import Browser
from support.server_process import Api, serving

MANUAL = Path(__file__).parents[4] / "docs" / "portal.md"
ELEMENTS = ("pricing-table", "plan-picker", "usage", "credits", "seats", "banner", "gate")


def test_the_elements_with_all_their_words_are_small(api: Api) -> None:
    files = [module(), *(json.dumps(dict(texts), ensure_ascii=False).encode() for texts in languages().values())]
    assert sum(len(gzip.compress(each)) for each in files) <= 25_000
    text = module().decode()
    assert all(f'{name}"' in text or f"{name}:" in text for name in ELEMENTS)
    assert "innerHTML" not in text
    assert "eval(" not in text
    assert 'setAttribute("style"' not in text
    with Api(api.url, key=None) as anyone:
        sent = anyone.get("/embed/v1.js")
        assert sent.content == module()
        assert sent.headers["content-type"].startswith("text/javascript")
        assert sent.headers["access-control-allow-origin"] == "*"
        known = {"if-none-match": sent.headers["etag"]}
        assert anyone.get("/embed/v1.js", headers=known).status_code == 304
        said = anyone.get("/embed/v1/de-AT.json").json()
        assert said["plan.yours"] == "Ihr Tarif"
        assert not any(key.startswith("portal.") for key in said)
        assert anyone.get("/embed/v1/xx.json").json()["plan.yours"] == "Your plan"
        assert anyone.get("/embed/v1/other").status_code == 404


def test_every_language_has_the_same_texts_with_the_same_places_in_them() -> None:
    english = languages()["en"]
    for language, texts in languages().items():
        assert texts.keys() == english.keys(), language
        for key, text in texts.items():
            forms = text.values() if isinstance(text, dict) else [text]
            assert all(forms), (language, key)
            assert isinstance(text, dict) == isinstance(english[key], dict), (language, key)
            assert set(re.findall(r"{\w+}", str(text))) == set(re.findall(r"{\w+}", str(english[key]))), (language, key)


def test_a_page_of_prices_reads_what_is_on_sale_with_a_key_that_everybody_can_read(api: Api) -> None:
    made = api.ok("POST", "/v1/keys", json={"name": "pricing page", "publishable": True, "scopes": ["plans:read"]})
    more = {"name": "pricing page", "publishable": True, "scopes": ["summary:read"]}
    assert api.problem(400, "POST", "/v1/keys", json=more)["code"] == "invalid_body"
    with Api(api.url, key=made["key"]) as visitor:
        sold = visitor.ok("GET", "/v1/plans")
        assert [plan["plan"] for plan in sold["plans"]] == ["free", "pro", "business"]
        assert all(price["stripe"] is None for plan in sold["plans"] for price in plan["prices"])
        assert sold["plans"][1]["terms"]["seats"]["by_quantity"]
        assert sold["features"]["seats"]["in_seats"]
        assert visitor.get("/v1/accounts/acme/summary").status_code == 403


def test_a_token_reads_the_summary_of_its_own_account_alone(api: Api, acme: str) -> None:
    api.ok("PUT", f"/v1/accounts/{acme}/members/ann", json={"role": "owner", "seat": True})
    api.ok("POST", "/v1/consume", json={"account": acme, "feature": "api_calls", "quantity": 7, "id": acme})
    issued = api.ok("POST", f"/v1/accounts/{acme}/tokens", json={"scopes": ["summary:read"], "member": "ann"})
    with Api(api.url, key=issued["token"]) as page:
        told = page.ok("GET", f"/v1/accounts/{acme}/summary")
        uses = {use["feature"]: use for use in told["features"]}
        decided = page.ok("GET", f"/v1/accounts/{acme}/decisions")["decisions"]
        for feature, use in uses.items():
            same = ("allowed", "reason", "limit", "used", "remaining", "unlimited", "value", "resets_at")
            assert [use[name] for name in same] == [decided[feature][name] for name in same], feature
        assert (told["plan"], told["subscriptions"], told["change"]) == ("free@1", [], None)
        assert told["seats"] == {"level": "seats", "units": 1, "taken": 1, "suspended": 0}
        assert uses["ai_credits"]["granted"][0]["left"] == 20
        assert "ann" not in json.dumps({**told, "event_stream": None}), "nobody is named"
        heard = page.get(told["event_stream"]["endpoint"]["requestUri"])
        assert heard.headers["content-type"].startswith("text/event-stream")
        other = page.problem(403, "GET", "/v1/accounts/somebody/summary")
        assert other["code"] == "insufficient_scope"
        assert page.ok("GET", "/v1/plans")["plans"]
    with Api(api.url, key=api.ok("POST", f"/v1/accounts/{acme}/tokens", json={})["token"]) as narrow:
        assert narrow.problem(403, "GET", f"/v1/accounts/{acme}/summary")["scope"] == "summary:read"
    assert api.ok("GET", f"/v1/accounts/{acme}/summary")["event_stream"] is None
    assert api.problem(404, "GET", "/v1/accounts/nobody-there/summary")["code"] == "unknown_account"


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"nmae": "x"}, "nmae"),
        ({"colours": {"act": "red"}}, "`red`"),
        ({"colours": {"beam": "#000000"}}, "no `beam`"),
        ({"languages": []}, "`languages` is empty"),
        ({"languages": ["it"]}, "it"),
        ({"home_url": "javascript:alert(1)"}, "`home_url`"),
        ({"texts": {"en": {"plan.yuors": "x"}}}, ""),
        ({"texts": {"de": {"unlimitd": "x"}}}, "texts.de.unlimitd"),
        ({"downgrades": "never"}, "downgrades"),
        ("billing only", "can't be read"),
    ],
)
def test_settings_with_a_mistake_are_refused(said: Any, wrong: str) -> None:
    if not wrong:
        assert read_portal_settings(said, languages()).texts["en"] == {"plan.yuors": "x"}, "a plan may be called so"
        return
    with pytest.raises(Refused, match="PAYGRADE_PORTAL") as refused:
        read_portal_settings(said, languages())
    assert wrong in refused.value.detail


def test_settings_say_how_pages_look_and_what_they_say() -> None:
    said = {"colours": {"act": "#6d28d9", "act-dark": "#a78bfa", "ink": "#000000"}, "languages": ["de", "en"]}
    settings = read_portal_settings(said, languages())
    assert "--act: light-dark(#6d28d9, #a78bfa);" in colours(settings)
    assert "--ink: light-dark(#000000, #000000);" in colours(settings)
    assert colours(NO_PORTAL_SETTINGS) == ""
    assert spoken(["fr-CH", " en;q=0.8"], settings) == "en"
    assert spoken(["fr"], settings) == "de"
    assert read_portal_settings(None, languages()) == PortalSettings()


def test_figures_are_written_as_the_language_writes_them() -> None:
    words = {name: Words(name, texts) for name, texts in languages().items()}
    assert [words[name].money(148000, "usd") for name in ("en", "de", "es")] == [
        "$1,480",
        "1.480\u00a0$",
        "1480\u00a0$",
    ]
    assert words["es"].number(14800) == "14.800"
    assert words["fr"].money(-9950, "eur") == "−99,50\u00a0€"
    assert words["en"].money(9900, "jpy") == "JPY\u00a09,900"
    assert words["fr"].say("seats.free", count=0, n=0) == "un est libre"
    odd = Words("en", {"plan.ask": "<b>{name}</b>"})
    assert str(markup(odd, "plan.ask", name="<i>")) == "&lt;b&gt;&lt;i&gt;&lt;/b&gt;", (
        "what a deployment writes is text"
    )


def test_a_deployment_says_what_its_pages_look_like_and_offer(postgres_url: str, tmp_path: Path) -> None:
    [written] = re.findall(r"^```yaml\n(.*?)^```", MANUAL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "portal.yaml").write_text(written.replace("hide_plans: false", "hide_plans: true"))
    settings = Settings(portal=tmp_path / "portal.yaml", sweep_every=None, public_url="https://pay.example.com")
    with migrated_database(postgres_url) as database, serving(settings, database) as api, Browser(api.url) as browser:
        api.ok("PUT", "/v1/accounts/acme", json={})
        api.ok("PUT", "/v1/accounts/acme/members/ann", json={"role": "owner"})
        url = api.ok("POST", "/v1/accounts/acme/portal-sessions", json={})["url"]
        assert url.startswith("https://pay.example.com/portal/")
        path = urlsplit(url).path
        shown = browser.page(path)
        assert shown.one("h1").text == "Your plan"
        assert shown.one("b").text == "Example"
        assert shown.one("a", href="https://app.example.com").text == "Back to Example"
        assert "API calls" in shown.text
        assert not shown.every("h2", id="plans")
        assert "light-dark(#6d28d9, #a78bfa)" in browser.get("/portal/style.css").text
        own = {"origin": "https://pay.example.com", "host": "pay.example.com"}
        assert browser.post(f"{path}/change", headers=own, data={"plan": "pro"}).status_code == 404
        assert browser.post(f"{path}/cancel", headers=own, data={"x": "1"}).status_code == 404
        assert api.ok("GET", "/v1/accounts/acme")["subscriptions"] == []
        # What goes wrong is said in the browser's language, among those that are spoken.
        ended = browser.get("/portal/portal_x", headers={"accept-language": "fr, de;q=0.5"})
        assert "Dieser Link ist abgelaufen" in ended.text


def test_a_payment_that_is_overdue_is_said_with_when_it_is_tried_again() -> None:
    again = datetime(2026, 3, 4, 13, tzinfo=UTC)
    late = BoughtPlan(
        "sub_1", "pro@1", "past_due", (), None, None, None, again - timedelta(days=9), "read", None, again
    )
    for its, told in (
        (late, "A payment is overdue. Until it is paid, you can read and export. We try the payment again on 4 March."),
        (replace(late, next_attempt_at=None), "A payment is overdue. Until it is paid, you can read and export."),
    ):
        summary = AccountSummary(
            account="acme", version="1.1", as_of=again, plan="pro@1", subscriptions=(its,), features=(), seats=None,
            change=None,
        )  # fmt: skip
        (notice,) = notices(Words("en", languages()["en"], again), summary, None)
        assert re.sub("<[^>]*>", "", str(notice.text)) == told
