"""The pages of the console with data in them: what they say, where they lead, and what their forms do."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from paygrade.server.process.settings import Settings
from support.databases import migrated_database
from support.pages import Browser, Browsers, Node, parsed
from support.server_process import Api, serving

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def database_url(postgres_url: str) -> Iterator[str]:
    with migrated_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
def api(database_url: str) -> Iterator[Api]:
    """A server with accounts in every situation a page tells of."""
    with serving(Settings(sweep_every=None), database_url) as running:
        _fill(running)
        _leave_unbilled(database_url)
        yield running


def _fill(api: Api) -> None:
    now = datetime.now(UTC)

    def account(key: str, name: str, *, status: str = "", plan: str = "pro", **more: Any) -> None:
        api.ok("PUT", f"/v1/accounts/{key}", json={"name": name})
        if status:
            began = (now - 30 * DAY).isoformat()
            body = {"status": status, "items": [{"id": "i", "plan": plan, "quantity": 3}], "anchor_at": began} | more
            api.ok("PUT", f"/v1/accounts/{key}/subscriptions/of_{key}", json=body | {"version": 1})

    account("acme", "Acme <b>& Co</b>", status="active")
    account("wonka", "Wonka", status="past_due", unpaid_since=(now - 3 * DAY).isoformat())
    tried: dict[str, Any] = {"attempts": 3, "next_attempt_at": (now + 2 * DAY).isoformat()}
    account("oscorp", "Oscorp", status="past_due", unpaid_since=(now - 10 * DAY).isoformat(), **tried)
    account("pied", "Pied Piper", status="trialing", trial_ends_at=(now + 2 * DAY).isoformat(), after_trial="canceled")
    account("hooli", "Hooli", status="active", plan="gold")
    account("free", "=Free")
    api.ok("PUT", "/v1/accounts/acme/members/ann", json={"role": "owner", "seat": True})
    api.ok(
        "PUT",
        "/v1/accounts/acme/overrides/exports",
        json={"value": False, "reason": "asked for by legal", "expires_at": (now + DAY).isoformat()},
    )
    api.ok("POST", "/v1/accounts/acme/grants", json={"feature": "ai_credits", "units": 70, "id": "welcome"})
    for number in range(2):
        asked = {"account": "free", "feature": "projects", "quantity": 1, "id": f"free {number}"}
        api.ok("POST", "/v1/consume", json=asked)


def _leave_unbilled(database_url: str) -> None:
    """Rows as workers leave them whom a provider refuses: here is none."""
    now = datetime.now(UTC)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "insert into top_ups (account, id, credit, units, amount, currency, state, window_at, asked_at,"
            " round_at, balance, session) values ('acme', 'top_3', 'ai_credits', 500, 1000, 'usd', 'open', %s, %s,"
            " %s, 0, 'cs_1')",
            [now - DAY] * 3,
        )
        for id, account, ago in (("top_1", "acme", DAY), ("top_2", "wonka", 90 * DAY)):
            connection.execute(
                "insert into top_ups (account, id, credit, units, amount, currency, state, window_at, asked_at,"
                " round_at, resolved_at, balance, reason) values (%s, %s, 'ai_credits', 1000, 1000, 'usd', 'failed',"
                " %s, %s, %s, %s, 3, 'your card was declined')",
                (account, id, *[now - ago] * 4),
            )
        for account, said, error in (("acme", 90, None), ("oscorp", None, "there is no meter `calls`")):
            connection.execute(
                "insert into reports (account, pool, slot, from_at, used, reported, told, customer, said, error)"
                " values (%s, 'api_calls', 'w', %s, 100, 100, 100, 'cus_1', %s, %s)",
                (account, now - DAY, said, error),
            )


@pytest.fixture(scope="module")
def browsers(api: Api) -> Iterator[Browsers]:
    with Browsers(api) as its:
        yield its


@pytest.fixture
def admin(browsers: Browsers) -> Browser:
    return browsers["admin"]


def rows_of(table: Node) -> list[str]:
    return [row.text for body in table.every("tbody") for row in body.every("tr")]


def section(page: Node, id: str) -> Node:
    return page.one("section", id=id)


# Accounts


def test_accounts_are_found_by_name_and_left_out_by_plan_state_and_finding(admin: Browser) -> None:
    def keys(query: str) -> list[str]:
        page = admin.page(f"/console/accounts{query}")
        return [link["href"].rpartition("/")[2] for row in page.every("th", scope="row") for link in row.every("a")]

    assert keys("") == ["acme", "free", "hooli", "oscorp", "pied", "wonka"]
    assert keys("?q=PIED p") == ["pied"]
    assert keys("?state=grace") == ["wonka"]
    assert keys("?state=trialing&plan=pro") == ["pied"]
    assert keys("?finding=any") == ["hooli"]
    assert keys("?after=oscorp") == ["pied", "wonka"]
    assert keys("?q=nobody-of-this-name") == []
    assert admin.get("/console/accounts?q=pied").headers["location"] == "/console/accounts/pied"
    assert admin.page("/console/accounts?state=rich", 400).one("h1")
    views = admin.page("/console/accounts?state=grace").one("nav", aria_label="Views")
    assert [view.text for view in views.every("a", aria_current="page")] == ["Grace"]


def test_what_is_left_out_on_the_page_is_left_out_of_the_file(admin: Browser) -> None:
    page = admin.page("/console/accounts?plan=pro")
    href = next(link["href"] for link in page.every("a") if "download" in link.attributes)
    answer = admin.get(href)
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["account"] for row in rows] == ["acme", "oscorp", "pied", "wonka"]
    assert rows[0]["name"] == "Acme <b>& Co</b>"
    assert {
        row["account"]: row["name"] for row in csv.DictReader(io.StringIO(admin.get("/console/accounts.csv").text))
    }["free"] == "'=Free", "no spreadsheet takes a name for a formula"


# An account


def test_an_account_shows_what_it_has_and_why(admin: Browser) -> None:
    page = admin.page("/console/accounts/acme")
    assert "<b>& Co</b>" in page.one("h1").text
    access = {
        body.one("th").text: body
        for body in section(page, "access").one("table").every("tbody")
        if body.every("details")
    }
    exports = access["Exports"]
    assert exports.one("span", class_="chip").text == "Denied by override"
    assert [part.text for part in exports.one("span", class_="chain").parts if isinstance(part, Node)] == [
        "pro@1 on",
        "Override off",
    ]
    assert exports.one("span", class_="chain").one("s").text == "pro@1"
    assert "asked for by legal" in exports.one("div", class_="trace").text
    bar = access["Seats"].one("svg", class_="bar")
    assert bar["aria-label"] == "1 of 3 used"
    assert "welcome" in section(page, "credits").text
    assert "70" in section(page, "credits").text
    assert "ann" in section(page, "members").text
    assert "Exports off" in section(page, "overrides").text
    assert "granted 70" in section(page, "recent").text.lower()
    assert page.one("aside").text.count("Dana") == 0
    assert "Override: set exports" in page.one("aside").text


def test_a_ladder_shows_where_somebody_stands_and_what_comes(admin: Browser) -> None:
    page = admin.page("/console/accounts/wonka")
    assert page.one("h1").one("span", class_="chip").text.startswith("Grace")
    steps = page.one("ol", class_="ladder").every("li")
    assert [step.one("b").text for step in steps] == ["Full access", "Read and export only", "The plan free"]
    assert [step.get("aria-current") for step in steps] == ["step", "", ""]
    assert "to-come" in steps[2].classes
    assert 40 < float(steps[0].one("rect", class_="now")["x"].rstrip("%")) < 46


def test_arrears_show_when_the_payment_is_tried_again(admin: Browser, api: Api) -> None:
    told = admin.page("/console/accounts/oscorp").text
    assert "Payment is tried again, after 3 attempts" in told
    (bought,) = api.ok("GET", "/v1/accounts/oscorp/summary")["subscriptions"]
    assert bought["next_attempt_at"] > datetime.now(UTC).isoformat()


def test_why_it_was_denied_is_a_sentence_with_its_trace(admin: Browser) -> None:
    page = admin.page("/console/accounts/free?feature=projects")
    told = section(page, "why").one("div", class_="answer")
    assert told.one("span", class_="chip").text == "Denied: limit reached"
    assert "free can't use projects: 2 of 2 are in use." in told.text
    before = (datetime.now(UTC) - timedelta(days=400)).strftime("%Y-%m-%dT%H:%M")
    told = section(admin.page(f"/console/accounts/free?feature=projects&at={before}"), "why").one(
        "div", class_="answer"
    )
    assert "Asked now: denied" in told.text
    wrong = admin.page("/console/accounts/free?feature=projects&at=yesterday", 400)
    assert "is not an instant" in section(wrong, "why").text


def test_an_account_can_be_seen_as_of_another_instant(admin: Browser) -> None:
    later = (datetime.now(UTC) + 3 * DAY).strftime("%Y-%m-%dT%H:%M")
    page = admin.page(f"/console/accounts/pied?as_of={later}")
    assert "You are looking at" in page.one("main").text
    assert page.one("h1").one("span", class_="chip").text == "Canceled"
    now = admin.page("/console/accounts/pied")
    assert now.one("h1").one("span", class_="chip").text == "Trial"
    assert "Trial ends; then canceled" in section(now, "subscription").text
    assert admin.page("/console/accounts/nobody", 404).one("h1").text == "There is no such account"


def test_two_instants_are_compared_and_what_differs_is_said(admin: Browser) -> None:
    later = (datetime.now(UTC) + 3 * DAY).strftime("%Y-%m-%dT%H:%M")
    page = admin.page(f"/console/accounts/pied/compare?first={datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}&second={later}")
    rows = [row.text for table in page.every("tbody") for row in table.every("tr")]
    assert "Subscriptions pro × 3: trial pro × 3: canceled Differs" in rows
    assert [row for row in rows if row.startswith("Exports Allowed Trial ended")], rows
    assert all(row.endswith("Differs") for row in rows)
    whole = admin.page(f"/console/accounts/pied/compare?second={later}&every=yes")
    assert "Subscriptions was not known pro × 3: canceled Differs" in [row.text for row in whole.every("tr")]
    same = admin.page(f"/console/accounts/pied/compare?first={later}&second={later}&every=yes")
    assert same.one("h1").text == "Nothing differs"
    assert "Catalog 1 1 the same" in [row.text for row in same.every("tr")]
    admin.page("/console/accounts/nobody/compare", 404)
    admin.page("/console/accounts/pied/compare?first=noon", 400)


def test_the_past_is_looked_at_by_what_was_known_then_and_by_what_is_known_now(
    api: Api, admin: Browser, database_url: str
) -> None:
    api.ok("PUT", "/v1/accounts/late", json={"name": "Late"})
    then = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"
    terms = {"version": 1, "status": "active", "items": [{"id": "i", "plan": "pro", "quantity": 3}]}
    api.ok("PUT", "/v1/accounts/late/subscriptions/of_late", json=terms | {"anchor_at": "2026-01-31T00:00:00Z"})
    with psycopg.connect(database_url, autocommit=True) as connection:  # as a provider says it, a day late
        connection.execute("update facts set as_of = as_of - interval '1 day' where account = 'late'")
    page = admin.page(f"/console/accounts/late/compare?first={then}&second={then}&second_by=now")
    assert "Subscriptions none pro × 3: active Differs" in [row.text for row in page.every("tr")]
    known = [each.text for each in page.one("thead").every("span", class_="sub")]
    assert known == ["as known then", "as known now"]
    whole = admin.page(f"/console/accounts/late?as_of={then}&by=now")
    assert "by what is known now. By what was known then" in whole.one("main").text
    assert whole.one("h1").one("span", class_="chip").text == "Active"
    assert "no subscription" in admin.page(f"/console/accounts/late?as_of={then}").one("h1").text
    told = admin.page(f"/console/explain?account=late&feature=exports&at={then}").one("div", class_="answer").text
    assert "By what is known now it was allowed (plan): something was learned later." in told


def test_credits_burn_down_in_a_chart_that_is_a_table(admin: Browser) -> None:
    page = admin.page("/console/accounts/acme/credits/ai_credits")
    now = page.one("table").one("tbody").every("tr")[-1]
    *bands, whole = [int(cell.text.replace(",", "").replace("–", "0")) for cell in now.every("td")]
    assert {70, 5000} <= set(bands)
    assert whole == sum(bands)
    assert "less than a day" in page.one("figcaption").text
    admin.page("/console/accounts/nobody/credits/ai_credits", 404)
    admin.page("/console/accounts/acme/credits/api_calls", 404)
    assert admin.page("/console/accounts/acme").one("a", href="/console/accounts/acme/credits/ai_credits")


def test_a_role_is_offered_only_what_it_may_do(browsers: Browsers) -> None:
    page = browsers["viewer"].page("/console/accounts/acme")
    hrefs = [link["href"] for link in page.every("a")]
    assert not [href for href in hrefs if href.endswith(("/override", "/block", "/grant")) or "end-override" in href]
    assert "Audit" not in [head.text for head in page.one("aside").every("h2")]
    page = browsers["finance"].page("/console/accounts/acme")
    hrefs = [link["href"] for link in page.every("a")]
    assert "/console/accounts/acme/grant" in hrefs
    assert "/console/accounts/acme/override" not in hrefs


# Explain


def test_an_answer_comes_with_the_code_that_asks_the_same(admin: Browser) -> None:
    page = admin.page("/console/explain?account=acme&feature=seats&quantity=2&member=it%27s")
    assert page.one("div", class_="answer").one("span", class_="chip").text == "Allowed by plan"
    assert "used 1 · held 0 · asked 2 · 3 ≤ 3" in page.one("main").text
    python, typescript, curl = [node.text for node in page.every("pre")]
    assert 'paygrade.check("acme", "seats", quantity=2, member="it\'s")' in python
    assert 'paygrade.check("seats", {"quantity": 2, "member": "it\'s"})' in typescript
    assert "/v1/accounts/acme/explain" in curl
    assert "'\\''" in curl, "a shell reads it as it is written"
    assert admin.page("/console/explain").one("div", class_="empty")
    for query, told in (("quantity=many", "whole number"), ("at=noon", "not an instant")):
        page = admin.page(f"/console/explain?account=acme&feature=seats&{query}", 400)
        assert told in page.one("div", id="refused").text
    nobody = admin.page("/console/explain?account=nobody&feature=seats")
    assert nobody.one("div", class_="answer").one("span", class_="chip").text == "Denied: unknown account"


# Home


def test_home_says_who_needs_a_person_and_what_for(admin: Browser) -> None:
    page = admin.page("/console")
    told = {
        head.text: page.one("section", aria_labelledby=head["id"])
        for head in page.every("h2")
        if head.get("id", "keys-h") != "keys-h"
    }
    assert "hooli unmapped price" in told["Needs a decision"].text
    owing = [item.one("h3").text for item in told["Payment is overdue"].every("li")]
    assert owing == ["oscorp is past due", "wonka is in grace"]
    week = told["This week"].text
    assert "pied trial ends" in week
    assert "acme override of exports ends" in week
    unbilled = told["Not bought, not billed"].text
    assert "acme could not buy ai credits 1,000 for $10.00. Your card was declined." in unbilled
    assert "wonka" not in unbilled, "what failed months ago holds nothing back any more"
    assert "acme api calls: usage report different The provider has 10 less than was reported." in unbilled
    assert "oscorp api calls: usage report failing" in unbilled
    for item in page.every("li"):
        if item.every("h3"):
            (button,) = item.every("a", class_="btn")  # one action each
            admin.page(urlsplit(button["href"]).path)


def test_a_top_up_that_failed_stands_on_its_account_and_is_bought_again_by_who_may(
    browsers: Browsers, admin: Browser
) -> None:
    page = admin.page("/console/accounts/acme")
    assert "Your card was declined" in section(page, "top-ups").text
    assert "Waits for the customer" in section(page, "top-ups").text
    assert not page.every("form", action="/console/accounts/acme/top-ups/top_1"), "nobody could charge it here"
    where, sent = "/console/accounts/acme/top-ups/top_1", {"key": "again"}
    assert admin.post(where, data=sent).status_code == 503
    assert browsers["support"].post(where, data=sent).status_code == 403


def test_usage_reports_are_listed_by_what_is_wrong_and_by_account(admin: Browser) -> None:
    for query, accounts in (
        ("", ["acme", "oscorp"]),
        ("?state=failing", ["oscorp"]),
        ("?state=different", ["acme"]),
        ("?account=oscorp", ["oscorp"]),
    ):
        rows = admin.page(f"/console/sync/reports{query}").one("table").one("tbody").every("tr")
        assert [row.one("a").text for row in rows] == accounts
    assert "None" in admin.page("/console/sync/reports?state=not_reported").text
    admin.page("/console/sync/reports?state=other", 400)
    assert admin.post("/console/sync/reports", data={"account": "acme"}).status_code == 503


# Features


def test_a_feature_says_how_it_is_counted_who_gives_it_and_who_is_near_a_limit(
    browsers: Browsers, admin: Browser
) -> None:
    rows = {row.one("a").text: row.text for row in admin.page("/console/features").every("tr") if row.every("a")}
    assert "events api_call" in rows["Api calls"]
    assert "the sum of tokens, events completion" in rows["Tokens"]
    assert rows["Projects"].endswith("1 account")
    page = admin.page("/console/features/projects")
    givers = rows_of(page.one("section", aria_labelledby="h-givers").one("table"))
    assert givers[:2] == ["free@1 2 plan", "pro@1 50 going over is allowed plan"]
    (near,) = section(page, "near").one("tbody").every("tr")
    assert "free 2 of 2" in near.text
    assert [link["href"] for link in near.every("a", class_="btn")] == [
        "/console/explain?account=free&feature=projects",
        "/console/usage?account=free&feature=projects",
    ]
    tokens = admin.page("/console/features/tokens").one("section", aria_labelledby="h-pays")
    assert rows_of(tokens.one("table")) == ["Ai credits 1 for 1,000 large: 3 for 1,000"]
    credits = admin.page("/console/features/ai_credits")
    assert "Tokens 1 for 1,000" in credits.one("section", aria_labelledby="h-pays").text
    assert "50" in rows_of(credits.one("section", aria_labelledby="h-givers").one("table"))[0]
    assert "Nobody has passed a threshold" in section(credits, "near").text
    admin.page("/console/features/nothing", 404)


# What changes something


def test_an_override_is_previewed_confirmed_and_ended(api: Api, admin: Browser) -> None:
    query = "feature=projects&does=add&units=5%2C000&reason=backlog&preview=yes"
    page = admin.page(f"/console/accounts/free/override?{query}")
    assert rows_of(page.one("table")) == ["Projects Limit reached, 2 of 2 Allowed, 2 of 5,002"]
    assert api.ok("GET", "/v1/accounts/free")["overrides"] == [], "it was only tried"
    answer = admin.send_form(page, "/console/accounts/free/override")
    assert answer.headers["location"] == "/console/accounts/free#overrides"
    (override,) = api.ok("GET", "/v1/accounts/free")["overrides"]
    assert (override["add"], override["reason"]) == (5000, "backlog")
    record = api.ok("GET", "/v1/accounts/free/audit?limit=1")["records"][0]
    assert (record["action"], record["actor"]["kind"], record["actor"]["name"]) == ("override.set", "person", "Dana")
    page = admin.page("/console/accounts/free/end-override?feature=projects&reason=done&preview=yes")
    assert rows_of(page.one("table")) == ["Projects Allowed, 2 of 5,002 Limit reached, 2 of 2"]
    admin.send_form(page, "/console/accounts/free/end-override")
    assert api.ok("GET", "/v1/accounts/free")["overrides"] == []


def test_a_contract_and_its_invoice_are_previewed_and_stated(api: Api, admin: Browser) -> None:
    api.ok("PUT", "/v1/accounts/agreed", json={"name": "Agreed"})
    terms = "contract=a1&plan=pro&quantity=3&amount=120%2C000&currency=usd&interval=year&starts=2026-01-01T00%3A00"
    page = admin.page(f"/console/accounts/agreed/contract?{terms}&reason=signed&preview=yes")
    assert rows_of(page.one("table")), "it says what it leads to"
    assert api.ok("GET", "/v1/accounts/agreed/contracts")["contracts"] == [], "it was only tried"
    answer = admin.send_form(page, "/console/accounts/agreed/contract")
    assert answer.headers["location"] == "/console/accounts/agreed#contracts"
    query = "contract=a1&invoice=INV-1&became=overdue&when=2026-01-02T00%3A00&reason=unpaid&preview=yes"
    admin.send_form(admin.page(f"/console/accounts/agreed/invoice?{query}"), "/console/accounts/agreed/invoice")
    (contract,) = api.ok("GET", "/v1/accounts/agreed/contracts")["contracts"]
    assert (contract["terms"]["amount"], [*contract["terms"]["overdue"]]) == (120_000, ["INV-1"])
    (row,) = rows_of(section(admin.page("/console/accounts/agreed"), "contracts").one("table"))
    assert "3 × pro" in row
    assert "INV-1: Overdue" in row


def test_what_is_refused_is_said_beside_what_was_written(api: Api, admin: Browser) -> None:
    before = api.ok("GET", "/v1/accounts/free")["version"]
    for path, query, told in (
        ("override", "feature=projects&does=add&units=many&reason=x", "whole number"),
        ("override", "feature=projects&does=add&units=5&reason=", "write a reason"),
        ("override", "feature=exports&does=add&units=5&reason=x", "exports"),
        ("override", "feature=projects&does=add&units=5&reason=x&ends=2020-01-01T00:00", "past"),
        ("block", "block=&reason=x", "name the block"),
        ("lift", "block=nothing&reason=x", "no block"),
        ("end-override", "feature=projects&reason=x", "no override"),
        ("grant", "feature=seats&units=5&reason=x", "seats"),
    ):
        answer = admin.get(f"/console/accounts/free/{path}?{query}&preview=yes")
        page = parsed(answer.text)
        assert answer.status_code >= 400, path
        assert told in page.one("div", id="refused").text.lower(), (path, query)
        fields = {key: values[0] for key, values in parse_qs(query, keep_blank_values=True).items()}
        posted = parsed(admin.post(f"/console/accounts/free/{path}", data=fields).text)
        assert posted.one("div", id="refused").text == page.one("div", id="refused").text, "both ways refuse alike"
        if "reason" in fields:
            assert posted.one("textarea").text == fields["reason"]
    assert api.ok("GET", "/v1/accounts/free")["version"] == before


def test_a_block_shows_what_it_takes_and_is_lifted(api: Api, admin: Browser) -> None:
    page = admin.page("/console/accounts/pied/block?block=fraud&reason=chargeback&preview=yes")
    told = rows_of(page.one("table"))
    assert len(told) > 4
    assert all("Blocked" in row for row in told)
    admin.send_form(page, "/console/accounts/pied/block")
    page = admin.page("/console/accounts/pied")
    assert page.one("h1").one("span", class_="chip").text == "Blocked"
    assert "chargeback" in page.one("div", class_="stop").text.lower()
    without = admin.page("/console/accounts/pied/lift?block=fraud&preview=yes", 400)
    assert "Write a reason" in without.one("div", id="refused").text
    page = admin.page("/console/accounts/pied/lift?block=fraud&reason=settled&preview=yes")
    assert all("Blocked" not in row.text.split("Blocked", 1)[1] for row in page.one("tbody").every("tr"))
    admin.send_form(page, "/console/accounts/pied/lift")
    record = api.ok("GET", "/v1/accounts/pied/audit?limit=1")["records"][0]
    assert (record["action"], record["personal"]["reason"][1]) == ("block.lift", "settled")
    assert api.ok("GET", "/v1/accounts/pied")["blocks"] == []


def test_units_are_granted_once_however_often_the_form_is_sent(api: Api, admin: Browser) -> None:
    page = admin.page(
        "/console/accounts/free/grant?feature=ai_credits&units=300&kind=promotion&reason=sorry&preview=yes"
    )
    assert "Tokens Allowed, 0 of 20,000 Allowed, 0 of 320,000" in rows_of(page.one("table"))
    for _ in range(2):
        admin.send_form(page, "/console/accounts/free/grant")
    grants = api.ok("GET", "/v1/accounts/free/balances/ai_credits")["grants"]
    assert [each["grant"]["units"] for each in grants if each["grant"]["kind"] == "promotion"] == [300]


def test_reading_again_needs_a_provider(admin: Browser) -> None:
    assert not [form for form in admin.page("/console/accounts/acme").every("form") if "refresh" in form.get("action")]
    assert admin.post("/console/accounts/acme/refresh").status_code == 503


def test_money_waits_for_a_second_person_where_the_server_wants_one(postgres_url: str) -> None:
    settings = Settings(sweep_every=None, second_person=frozenset({"overrides"}))
    with migrated_database(postgres_url) as url, serving(settings, url) as own, Browsers(own) as its:
        own.ok("PUT", "/v1/accounts/free", json={})
        admin = its["admin"]
        query = "feature=projects&does=add&units=5&reason=backlog&preview=yes"
        page = admin.page(f"/console/accounts/free/override?{query}")
        assert rows_of(page.one("table")) == ["Projects Allowed, 0 of 2 Allowed, 0 of 7"]
        assert own.ok("GET", "/v1/approvals")["approvals"] == [], "looking asks nobody"
        answer = admin.send_form(page, "/console/accounts/free/override")
        (waiting,) = own.ok("GET", "/v1/approvals")["approvals"]
        assert waiting["id"] in urlsplit(answer.headers["location"]).query
        assert waiting["asked_by"]["kind"] == "person"
        assert "waits for a second person" in admin.follow(answer).one("main").text
        assert own.ok("GET", "/v1/accounts/free")["overrides"] == []
        assert "waits for a second person" in admin.page("/console").one("section", aria_labelledby="h-decide").text
        where = f"/console/approvals/{waiting['id']}"
        assert admin.page("/console/approvals").one("a", href=where)
        page = admin.page(where)
        assert "backlog" in page.text
        refused = parsed(admin.send_form(page, where, 403, do="approve", reason="looks right").text)
        assert "somebody else" in refused.one("div", id="refused").text
        with Browsers(own) as others:
            support = others["support"]
            page = support.page(where)
            support.send_form(page, where, 400, do="nothing", reason="looks right")
            support.send_form(page, where, do="approve", reason="looks right")
            assert "Approved" in support.page(where).text
        (override,) = own.ok("GET", "/v1/accounts/free")["overrides"]
        assert override["reason"] == "backlog"
        assert "Nothing waits" in admin.page("/console/approvals").text
        assert "Looks right." in admin.page(where).text
        assert admin.page("/console/approvals?state=all").one("a", href=where)


def test_the_page_of_components_shows_every_one_of_them(admin: Browser) -> None:
    """A component that is not there is not looked at by whoever changes the style."""
    page = admin.page("/console/developers/components")
    assert page.one("h1").text == "Components"
    folder = resources.files("paygrade.server.http.console") / "templates"
    there = re.findall(r"macro (\w+)\(", (folder / "components.html").read_text())
    shown = set(re.findall(r"c\.(\w+)\(", (folder / "component_page.html").read_text()))
    assert len(there) > 20
    assert set(there) - shown == set()
