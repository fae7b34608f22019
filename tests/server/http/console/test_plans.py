"""Plans in the console: the table, versions, a draft that is previewed and published, and migrations."""

from collections.abc import Iterator
from typing import Any

import pytest

from paygrade.catalog.model import Catalog
from paygrade.catalog.parse import parse
from paygrade.documents.yaml import read_yaml
from paygrade.server.http.console.price_table import Words, price_table
from paygrade.server.process.settings import Settings
from support.databases import migrated_database
from support.pages import Browser, Browsers, parsed
from support.server_process import Api, serving

FIRST = """
version: 1
features:
  pages: { kind: metered, event: page, unit: page }
  seats: { kind: level, unit: seat }
  sso: { kind: boolean }
  retention: { kind: config, type: integer, unit: day }
plans:
  free: { default: true, entitlements: { pages: { limit: 250, every: month } } }
  pro:
    prices: { monthly: { amount: 19900, currency: usd, interval: month } }
    entitlements:
      pages: { limit: 10000, every: month, overage: { price: { amount: 4, currency: usd } } }
      seats: { limit: quantity }
      retention: 90
"""
SECOND = FIRST.replace("limit: 10000", "limit: 12000").replace("retention: 90", "retention: 90\n      sso: true")


def catalog(text: str, version: int = 1, previous: Catalog | None = None) -> Catalog:
    document, lines = read_yaml(text)
    return parse(document, lines=lines, version=version, previous=previous)


ANCHOR = "2026-01-31T00:00:00Z"


@pytest.fixture(scope="module")
def api(postgres_url: str) -> Iterator[Api]:
    with migrated_database(postgres_url) as url, serving(Settings(sweep_every=None), url, catalog=False) as running:
        yield running


@pytest.fixture(scope="module")
def browsers(api: Api) -> Iterator[Browsers]:
    with Browsers(api) as its:
        yield its


def test_a_catalog_is_written_previewed_published_and_compared(api: Api, browsers: Browsers) -> None:
    admin = browsers["admin"]
    assert "No catalog yet" in admin.page("/console/plans").text
    page = admin.page("/console/plans/draft")
    wrong = parsed(admin.send_form(page, "/console/plans/draft", 400, yaml="version: 1\nplanz: {}", do="preview").text)
    assert "planz" in wrong.one("div", id="refused").text
    assert "Line 2" in wrong.one("div", id="refused").text
    for odd in ("", "5", "[1, 2]", "a: [", "\t"):
        said = {"yaml": odd, "do": "publish", "reason": "odd"}
        assert admin.post("/console/plans/draft", data=said).status_code == 400, odd
    page = parsed(admin.send_form(page, "/console/plans/draft", 200, yaml=FIRST, do="preview").text)
    assert "/plans/pro" in page.one("pre").text
    assert api.get("/v1/catalog").status_code == 404
    refused = admin.send_form(page, "/console/plans/draft", 400, yaml=FIRST, do="publish")
    assert "Reason" in parsed(refused.text).one("div", id="refused").text
    first: dict[str, Any] = {"yaml": FIRST, "do": "publish", "reason": "the first prices"}
    assert admin.send_form(page, "/console/plans/draft", **first).headers["location"] == "/console/plans?version=1"
    api.ok("PUT", "/v1/accounts/acme", json={"name": "Acme"})
    terms = {
        "version": 1,
        "status": "active",
        "items": [{"id": "main", "plan": "pro", "quantity": 3}],
        "anchor_at": ANCHOR,
    }
    api.ok("PUT", "/v1/accounts/acme/subscriptions/manual_1", json=terms)
    _publish_the_second(api, admin)
    _see_what_a_draft_would_have_meant(api, admin)
    _see_the_table(browsers)
    _move_accounts(browsers)


def _publish_the_second(api: Api, admin: Browser) -> None:
    page = admin.page("/console/plans/draft")
    preview: dict[str, Any] = {"yaml": SECOND, "do": "preview", "existing": "keep"}
    page = parsed(admin.send_form(page, "/console/plans/draft", 200, **preview).text)
    assert "10000" in page.one("pre").text
    said = preview | {"do": "publish", "reason": "more pages"}
    # Somebody else was faster: what was previewed is no longer what would happen.
    api.ok("PUT", "/v1/accounts/globex", json={"name": "Globex"})
    outdated = parsed(admin.send_form(page, "/console/plans/draft", 409, **said).text)
    assert "out of date" in outdated.one("div", id="refused").text
    page = parsed(admin.send_form(page, "/console/plans/draft", 200, **preview).text)
    where = admin.send_form(page, "/console/plans/draft", **said).headers["location"]
    assert where == "/console/plans?against=1&version=2"
    compared = admin.page(where)
    assert [node.text for node in compared.every("del") if node.text == "10,000"] == ["10,000"]
    assert {"12,000", "Yes"} <= {node.text for node in compared.every("ins")}
    records = api.ok("GET", "/v1/audit?action=catalog.publish")["records"]
    assert [each["personal"] for each in records] == [{"reason": "more pages"}, {"reason": "the first prices"}]
    assert "12000" in admin.page("/console/plans/versions?old=1&new=2").one("pre").text
    assert "12,000" not in admin.page("/console/plans?version=1").text


def _see_what_a_draft_would_have_meant(api: Api, admin: Browser) -> None:
    for n in range(3):
        asked = {"account": "globex", "feature": "pages", "quantity": 100, "id": f"use-{n}"}
        assert api.request("POST", "/v1/consume", json=asked).json()["consumed"] is (n < 2)
    tight = SECOND.replace("limit: 250", "limit: 150")
    page = admin.page("/console/plans/draft")
    said: dict[str, Any] = {"yaml": tight, "do": "simulate", "since": "7d"}
    meant = parsed(admin.send_form(page, "/console/plans/draft", 200, **said).text)
    assert "globex" in meant.text
    assert "100 → 200" in meant.text
    assert "limit: 150" in meant.one("textarea", id="f-yaml").text
    none = parsed(admin.send_form(page, "/console/plans/draft", 200, **said | {"what": "pays"}).text)
    assert "Nothing is different for these accounts" in none.text
    file = admin.send_form(page, "/console/plans/draft", 200, **said | {"do": "csv"})
    assert file.headers["content-type"].startswith("text/csv")
    assert "globex,pages,loses denied,250,150" in file.text
    for odd in ({"since": "soon"}, {"since": "999999999999d"}, {"what": "odd"}, {"yaml": "version: 1\nplanz: {}"}):
        admin.send_form(page, "/console/plans/draft", 400, **said | odd)


def _see_the_table(browsers: Browsers) -> None:
    viewer = browsers["viewer"]
    page = viewer.page("/console/plans")
    assert "1 on 1, kept" in page.text
    assert not page.every("a", href="/console/plans/draft")
    page = viewer.page("/console/plans/pro/accounts?version=1")
    holders, left = page.every("table")
    assert "acme" in holders.text
    assert "After 7 days" in left.text
    assert "Nobody here" in viewer.page("/console/plans/pro/accounts?version=2").text
    viewer.page("/console/plans/nothing/accounts", 404)
    viewer.page("/console/plans?version=99", 404)
    viewer.page("/console/plans/draft", 403)


def _move_accounts(browsers: Browsers) -> None:
    developer = browsers["developer"]
    page = developer.page("/console/plans/migrations/new?plan=pro")
    said: dict[str, Any] = {"plan": "pro", "to": "2"}
    page = parsed(developer.send_form(page, "/console/plans/migrations/new", 200, **said, do="preview").text)
    assert "Move 1 account" in page.text
    without = developer.send_form(page, "/console/plans/migrations/new", 400, **said, do="start")
    assert "Reason" in parsed(without.text).one("div", id="refused").text
    answer = developer.send_form(page, "/console/plans/migrations/new", **said, do="start", reason="all get more")
    where = answer.headers["location"]
    again = developer.send_form(page, "/console/plans/migrations/new", **said, do="start", reason="all get more")
    assert again.headers["location"] == where  # sent twice, done once
    page = developer.page(where)
    assert "all get more" in page.text
    assert "acme" in page.one("table").text
    developer.send_form(page, where, do="roll-back")
    with developer.stream("GET", f"{where}/tail") as told:
        assert "event: done" in "".join(told.iter_text())
    assert not developer.page(where).every("pg-live")
    assert "Pro" in developer.page("/console/plans/migrations").one("table").text
    assert not browsers["viewer"].page(where).every("form", action=where)


# Without a server


def test_the_table_says_in_words_what_plans_give_and_cost() -> None:
    table = price_table(catalog(FIRST))
    assert [(column.name, column.price.now.text) for column in table.columns] == [("Free", "Free"), ("Pro", "$199.00")]
    rows = {row.key: row.cells for _, rows in table.groups for row in rows}
    assert rows["pages"][0].now == Words("250", ("a month",))
    assert rows["pages"][1].now == Words("10,000", ("a month", "then $0.04 each"))
    assert rows["seats"][1].now == Words("As bought")
    assert rows["retention"][1].now == Words("90 days")
    assert rows["sso"][1].now == Words("–")


def test_two_versions_are_marked_where_they_differ_and_nowhere_else() -> None:
    old = catalog(FIRST)
    table = price_table(catalog(SECOND, 2, old), old)
    marked = {
        (row.key, i) for _, rows in table.groups for row in rows for i, cell in enumerate(row.cells) if cell.before
    }
    assert marked == {("pages", 1), ("sso", 1)}
    assert [column.before for column in table.columns] == [None, "pro@1"]
