"""The console as a whole: who is let in where, what pages carry, and what they look like without any data."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pyotp
import pytest

from paygrade.server.http.console import wording
from paygrade.server.http.console.assets import address, assets
from paygrade.server.http.console.places import PLACES, Place, current, places
from paygrade.server.http.console.rendering import environment
from paygrade.server.http.console.routes import screens
from paygrade.server.http.console.screens import FIELDS_MAX, FORM_BYTES_MAX, scope_of
from paygrade.server.operations import people
from paygrade.server.operations.catalog.publish import CatalogVersion
from paygrade.server.operations.people import PersonView
from paygrade.server.process.scopes import ROLES
from paygrade.server.process.settings import Settings
from support.databases import migrated_database
from support.pages import Browser, Browsers, parsed
from support.server_process import Api, serving

PAGE = Path(__file__).parents[4] / "docs" / "console.md"
STANDS_FOR = {"account": "acme", "feature": "api_calls", "rest": "elsewhere"}
"""What stands in the place of a parameter of a path."""


@pytest.fixture(scope="module")
def api(postgres_url: str) -> Iterator[Api]:
    with (
        pytest.MonkeyPatch.context() as patch,
        migrated_database(postgres_url) as database_url,
    ):
        patch.setattr(people, "ATTEMPTS_A_MINUTE", 10_000)  # all come from one address here
        with serving(Settings(sweep_every=None), database_url) as running:
            running.ok("PUT", "/v1/accounts/acme", json={"name": "Acme"})
            yield running


@pytest.fixture(scope="module")
def browsers(api: Api) -> Iterator[Browsers]:
    with Browsers(api) as its:
        yield its


def addresses() -> list[tuple[str, str, str]]:
    """Every route of the console that needs something: method, address and scope."""
    return [
        (
            next(iter(handler.http_methods - {"OPTIONS"})),
            re.sub(r"{(\w+)(:\w+)?}", _stands_for, path),
            scope_of(handler),
        )
        for handler in screens()
        for path in handler.paths
    ]


def _stands_for(found: re.Match[str]) -> str:
    return STANDS_FOR.get(found[1], "nothing-of-this-name")


@pytest.mark.parametrize("role", ROLES)
def test_each_role_is_let_in_where_it_has_the_scope_and_nowhere_else(browsers: Browsers, role: str) -> None:
    for method, path, scope in addresses():
        answer = browsers[role].request(method, path, data={"nothing": ""} if method == "POST" else None)
        if scope in ROLES[role]:
            assert answer.status_code in (200, 303, 400, 404, 409, 422, 503), (method, path, answer.text)
        else:
            assert answer.status_code == 403, (method, path)
            told = parsed(answer.text).one("main").text
            assert scope in told
            assert role in told


def test_whoever_is_not_logged_in_is_led_to_the_log_in_and_back(api: Api) -> None:
    with Browser(api.url) as stranger:
        for method, path, _ in addresses():
            answer = stranger.request(method, path, data={"nothing": ""} if method == "POST" else None)
            where = urlsplit(answer.headers["location"])
            assert (answer.status_code, where.path) == (303, "/console/login"), (method, path)
        answer = stranger.get("/console/accounts?q=a%20b&plan=pro")
        assert parse_qs(urlsplit(answer.headers["location"]).query) == {"next": ["/console/accounts?q=a%20b&plan=pro"]}


def test_a_key_opens_no_page(api: Api) -> None:
    assert api.get("/console").headers["location"] == "/console/login"


def test_a_person_logs_in_on_the_page_and_out_again(api: Api) -> None:
    asked = {"email": "dana@example.com", "name": "Dana", "role": "support", "totp": True}
    person = api.ok("POST", "/v1/people", json=asked)
    secret = parse_qs(urlsplit(person["totp_address"]).query)["secret"][0]
    said = {"email": "dana@example.com", "password": person["password"]}
    with Browser(api.url) as browser:
        page = browser.page("/console/login?next=/console/explain")
        refused = parsed(browser.send_form(page, "/console/login", 401, **said | {"password": "wrong"}).text)
        assert "wrong" in refused.one("div", id="refused").text
        assert refused.one("input", name="email")["value"] == "dana@example.com"
        assert refused.one("input", name="password")["value"] == ""
        refused = parsed(browser.send_form(page, "/console/login", 401, **said).text)
        assert "code" in refused.one("div", id="refused").text
        answer = browser.send_form(page, "/console/login", **said, code=pyotp.TOTP(secret).now())
        assert answer.headers["location"] == "/console/explain"
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(answer.headers["set-cookie"].split("; "))
        home = browser.page("/console")
        assert "Dana" in home.one("nav", id="nav").text
        assert browser.get("/console/login?next=/console/explain").headers["location"] == "/console/explain"
        assert browser.send_form(home, "/console/logout").headers["location"] == "/console/login"
        assert browser.get("/console").status_code == 303


def test_a_person_who_must_change_their_password_comes_to_nothing_else(api: Api) -> None:
    asked = {"email": "new@example.com", "name": "New", "role": "viewer", "must_change": True}
    old = api.ok("POST", "/v1/people", json=asked)["password"]
    with Browser(api.url) as browser:
        first = browser.send_form(browser.page("/console/login"), "/console/login", email=asked["email"], password=old)
        assert first.headers["location"].startswith("/console/password")
        assert browser.get("/console").headers["location"] == "/console/password"
        page, new = browser.page("/console/password"), "correct horse battery"
        for typed, told in (
            ({"old": old, "new": new, "again": "another"}, "two ways"),
            ({"old": old, "new": "short", "again": "short"}, "12 characters"),
        ):
            refused = parsed(browser.send_form(page, "/console/password", 400, **typed).text)
            assert told in refused.one("div", id="refused").text
        browser.send_form(page, "/console/password", 401, old="wrong", new=new, again=new)
        assert (
            browser.send_form(page, "/console/password", old=old, new=new, again=new).headers["location"] == "/console"
        )
        assert browser.page("/console").one("h1")


@pytest.mark.parametrize("next", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_log_in_leads_nowhere_but_here(api: Api, browsers: Browsers, next: str) -> None:
    with Browser(api.url) as stranger:
        assert (
            stranger.page(f"/console/login?{urlencode({'next': next})}").one("input", name="next")["value"]
            == "/console"
        )
        answer = stranger.post("/console/theme", data={"theme": "dark", "back": next})
        assert answer.headers["location"] == "/console"
    browser = browsers["viewer"]
    assert browser.get("/console/login", params={"next": next}).headers["location"] == "/console"


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null"])
def test_no_other_site_sends_a_form(api: Api, browsers: Browsers, origin: str | None) -> None:
    with Browser(api.url) as browser:
        del browser.headers["origin"]
        browser.cookies = browsers["admin"].cookies
        headers = {"origin": origin} if origin is not None else {}
        sent = [path for method, path, _ in addresses() if method == "POST"]
        for path in [*sent, "/console/login", "/console/logout", "/console/theme", "/console/password"]:
            answer = browser.post(path, data={"email": "a", "password": "b"}, headers=headers)
            assert answer.status_code == 403, path
            assert "cross_site" in answer.text, path
        assert browser.get("/console").status_code == 200


def test_a_form_is_read_whole_or_refused(api: Api) -> None:
    with Browser(api.url) as browser:
        for sent, status in (
            ({"json": {"theme": "dark"}}, 415),
            ({"data": {"theme": "x" * FORM_BYTES_MAX}}, 413),
            ({"data": {f"f{i}": "" for i in range(FIELDS_MAX + 1)}}, 400),
            ({"content": b"theme=%ff", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 400),
            ({"data": {"theme": "a\0b"}}, 400),
        ):
            answer = browser.post("/console/theme", **sent)
            assert answer.status_code == status
            assert parsed(answer.text).one("h1")


def test_the_colours_somebody_chose_are_in_the_page_at_once(browsers: Browsers) -> None:
    browser = browsers["viewer"]
    page = browser.page("/console/explain?account=acme")
    assert "data-theme" not in page.one("html").attributes
    for expected in ("light", "dark", ""):
        answer = browser.send_form(page, "/console/theme")
        assert answer.headers["location"] == "/console/explain?account=acme"
        page = browser.follow(answer)
        assert page.one("html").get("data-theme") == expected


def test_every_page_keeps_itself_to_itself(api: Api, browsers: Browsers) -> None:
    with Browser(api.url) as stranger:
        answers = [browsers["admin"].get(path) for method, path, _ in addresses() if method == "GET"]
        for answer in [*answers, stranger.get("/console/login")]:
            if not answer.headers["content-type"].startswith("text/html"):
                continue
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            told = {
                name: answer.headers[name] for name in ("x-content-type-options", "referrer-policy", "cache-control")
            }
            assert told == {
                "x-content-type-options": "nosniff",
                "referrer-policy": "same-origin",
                "cache-control": "no-store",
            }
            page = parsed(answer.text)
            for node in page.walk():
                assert node.tag != "style"
                assert not [name for name in node.attributes if name == "style" or name.startswith("on")], node.tag
                if node.tag == "script":
                    assert node["src"].startswith("/console/static/")
            assert len(page.every("h1")) == 1, answer.url
            ids = [node["id"] for node in page.walk() if "id" in node.attributes]
            assert len(ids) == len(set(ids)), answer.url
            for label in page.every("label"):
                assert "for" not in label.attributes or label["for"] in ids, (answer.url, label.text)


def test_what_a_template_shows_is_escaped(api: Api) -> None:
    with Browser(api.url) as browser:
        evil = "\"><script>alert('x')</script>"
        answer = browser.post("/console/login", data={"email": evil, "password": "x", "next": "/console"})
        assert "<script>alert" not in answer.text
        assert parsed(answer.text).one("input", name="email")["value"] == evil
    assert environment().autoescape is True


def test_files_are_kept_for_ever_by_their_digest(api: Api) -> None:
    for name in assets():
        answer = api.get(address(name))
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.content == assets()[name].body
        again = api.get(address(name), headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert api.get("/console/static/of-another-release/console.css").headers["cache-control"] == "no-cache"
    assert api.get("/console/static/x/nothing.css").status_code == 404
    assert sum(len(asset.packed) for name, asset in assets().items() if name.endswith(".js")) <= 40_000


def test_no_address_of_the_console_is_in_the_document(api: Api) -> None:
    assert not [path for path in api.ok("GET", "/openapi.json")["paths"] if path.startswith("/console")]


# Without a server


def test_each_place_is_a_screen_and_needs_what_it_says() -> None:
    gets = {path: scope for method, path, scope in addresses() if method == "GET"}
    named = [place for _, its in PLACES for place in its]
    assert {place.path: place.scope for place in named} == {place.path: gets.get(place.path) for place in named}
    keys = [place.key for place in named if place.key]
    assert len(keys) == len(set(keys))
    icons = assets()["icons.svg"].body.decode()
    assert all(f'id="{place.icon}"' in icons for place in named)


def test_navigation_shows_what_a_role_opens_and_where_one_is() -> None:
    assert places(()) == []
    for granted in ROLES.values():
        assert all(place.scope in granted for _, its in places(granted) for place in its)
    assert current("/console") == "/console"
    assert current("/console/accounts/acme") == "/console/accounts"
    assert current("/console/accountsandmore") == ""


def test_every_template_can_be_read_and_no_raw_colour_stands_outside_of_the_tokens() -> None:
    made = environment()
    for name in made.list_templates():
        assert made.get_template(name)
        source, _, _ = made.loader.get_source(made, name)  # type: ignore[union-attr]  # there is a loader
        assert "style=" not in source, name
        assert "| safe" not in re.sub(r"more='[^']*' \| safe", "", source), f"{name} shows something as it is"


def test_figures_and_states_have_one_way_to_be_written() -> None:
    assert wording.number(12400) == "12,400"
    assert [wording.short(n) for n in (999, 118_204, 4_210_000, 250_000_000)] == ["999", "118 k", "4.2 M", "250 M"]
    assert wording.money(148000, "usd") == "$1,480.00"
    assert wording.money(-990, "eur") == "−€9.90"
    assert wording.money(9900, "jpy") == "9,900 JPY"
    assert wording.share(81, 100) == "81%"
    assert (wording.share(5, 0), wording.share(9, 3)) == ("100%", "100%")
    told = [wording.term(each) for each in ("10000 with other overage", "no (not_in_plan)", "yes", "email (24h)")]
    assert told == ["10,000 with other overage", "no, not in plan", "yes", "email (24h)"]
    assert str(wording.ticked("no `<b>` here")) == "no <code>&lt;b&gt;</code> here"
    assert str(wording.ticked("one ` alone")) == "one ` alone"


def test_the_screen_on_the_page_about_screens_is_one() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = dict(re.findall(r"<!-- screen: (\S+) -->\n```\w+\n(.*?)```", text, re.DOTALL))
    assert sum(source.count("\n") for source in shown.values()) <= 60
    module: dict[str, Any] = {}
    exec(shown["pages/versions.py"], module)
    handler, place = module["show_versions"], eval(shown["places.py"], {"Place": Place})
    assert (handler.paths, scope_of(handler)) == ({place.path}, place.scope)
    version = CatalogVersion(3, "", datetime(2026, 11, 30, 9, tzinfo=UTC), "dana")
    person = PersonView(id="p", email="d@example.com", name="Dana", role="viewer", totp=False,
                        created_at=version.published_at, created_by="", seen_at=None)  # fmt: skip
    always = {"person": person, "may": bool, "now": version.published_at, "path": place.path, "here": place.path,
              "current": place.path, "places": [], "theme": "", "mode": "test", "host": "",
              "is_simulated": False}  # fmt: skip
    html = environment().from_string(shown["templates/versions.html"]).render(always | {"versions": [version]})
    assert parsed(html).one("table").text == "Version Published 3 Today, 09:00"
