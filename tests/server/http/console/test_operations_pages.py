"""What people run the product with: sync, changes, webhooks, updates, audit, keys, people, usage and settings."""

import csv
import io
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
import pytest

from paygrade.documents.spreadsheets import RECORD_COLUMNS
from paygrade.server.operations.sync.inbox import NO_SUBJECT
from paygrade.server.process.settings import Settings
from paygrade.server.process.webhook_signatures import make_secret, signed_headers
from support.databases import migrated_database
from support.pages import Browser, Browsers, parsed
from support.server_process import Api, serving
from support.waiting import eventually

ANCHOR = "2026-01-31T00:00:00Z"


@pytest.fixture(scope="module")
def database_url(postgres_url: str) -> Iterator[str]:
    with migrated_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
def api(database_url: str) -> Iterator[Api]:
    with serving(Settings(sweep_every=None, decision_log="denials"), database_url) as running:
        running.ok("PUT", "/v1/accounts/acme", json={"name": "Acme"})
        terms = {
            "version": 1,
            "status": "active",
            "items": [{"id": "main", "plan": "pro", "quantity": 3}],
            "anchor_at": ANCHOR,
        }
        running.ok("PUT", "/v1/accounts/acme/subscriptions/manual_1", json=terms)
        yield running


@pytest.fixture(scope="module")
def browsers(api: Api) -> Iterator[Browsers]:
    with Browsers(api) as its:
        yield its


def whys(browser: Browser, action: str) -> set[str]:
    """The reasons that the audit log has for such an action."""
    rows = browser.page(f"/console/audit?action={action}").one("tbody").every("tr")
    return {node.text for row in rows for node in row.every("span") if node.text.startswith("“")}


def test_an_endpoint_is_made_tested_paused_and_removed(api: Api, browsers: Browsers) -> None:
    admin = browsers["admin"]
    assert "No endpoints" in admin.page("/console/webhooks").text
    page = admin.page("/console/webhooks/new")
    said: dict[str, Any] = {"url": "https://example.com/hooks", "types": "nothing.of_the_kind"}
    wrong = parsed(admin.send_form(page, "/console/webhooks/new", 400, **said).text)
    assert "nothing.of_the_kind" in wrong.one("div", id="refused").text
    assert wrong.one("input", name="url")["value"] == said["url"]
    told = parsed(admin.send_form(page, "/console/webhooks/new", 200, url=said["url"]).text)
    assert told.one("code", id="secret").text.startswith("whsec_")
    where = told.one("a", href=f"/console/webhooks/{api.ok('GET', '/v1/webhook-endpoints')['endpoints'][0]['id']}")[
        "href"
    ]
    page = admin.page(where)
    secret = parsed(admin.send_form(page, where, 200, do="rotate").text).one("code", id="secret").text
    assert secret.startswith("whsec_")
    unsaid = parsed(admin.send_form(page, where, 400, do="pause").text)
    assert "write a reason" in unsaid.one("div", id="refused").text.lower()
    admin.send_form(page, where, do="pause", reason="they move house")
    assert "Paused" in admin.page(where).text
    page = admin.page(where)
    refused = admin.send_form(page, where, 409, do="replay")
    assert "disabled" in parsed(refused.text).one("div", id="refused").text
    admin.send_form(page, where, 400, do="nothing")
    assert not browsers["developer"].page(where).every("nothing")
    admin = browsers["admin"]
    admin.send_form(page, where, 400, do="remove", reason=" ")
    gone = admin.send_form(page, where, do="remove", reason="they have closed")
    assert gone.headers["location"] == "/console/webhooks"
    assert whys(admin, "webhook_endpoint") == {"“they move house”", "“they have closed”"}
    admin.page(where, 404)


def test_a_signature_is_looked_into_and_its_secret_kept_nowhere(
    browsers: Browsers, capfd: pytest.CaptureFixture[str]
) -> None:
    developer, secret, body = browsers["developer"], make_secret(), '{"type":"x"}'
    headers = signed_headers(body.encode(), id="msg_1", sent_at=int(time.time()), secrets=[secret])
    page = developer.page("/console/webhooks/signature")
    said: dict[str, Any] = {
        "id": "msg_1", "timestamp": headers["webhook-timestamp"], "signature": headers["webhook-signature"],
        "body": body, "secret": secret,
    }  # fmt: skip
    capfd.readouterr()
    good = parsed(developer.send_form(page, "/console/webhooks/signature", 200, **said).text)
    assert "It verifies" in good.text
    bad = parsed(developer.send_form(page, "/console/webhooks/signature", 200, **said | {"body": f"{body} "}).text)
    assert "white space" in bad.text
    logged = capfd.readouterr()
    assert secret not in logged.out + logged.err


def test_keys_are_shown_once_and_people_are_added(api: Api, browsers: Browsers) -> None:
    admin = browsers["admin"]
    page = admin.page("/console/developers/keys/new")
    wrong = admin.send_form(page, "/console/developers/keys/new", 400, name="")
    assert parsed(wrong.text).one("div", id="refused").text
    said: dict[str, Any] = {"name": "billing job", "role": "finance"}
    key = parsed(admin.send_form(page, "/console/developers/keys/new", 200, **said).text).one("code", id="secret").text
    with Api(api.url, key) as its:
        assert its.get("/v1/accounts/acme").status_code == 200
    listed = admin.page("/console/developers")
    assert key not in listed.text
    where = next(form["action"] for form in listed.every("form") if "/keys/" in form.get("action"))
    assert parsed(admin.send_form(listed, where, 200, do="rotate").text).one("code", id="secret").text != key
    admin.send_form(admin.page("/console/developers"), where, 400, do="revoke")
    admin.send_form(admin.page("/console/developers"), where, do="revoke", reason="it stood in a log")
    assert whys(admin, "key.revoke") == {"“it stood in a log”"}
    with Api(api.url, key) as its:
        assert its.get("/v1/accounts/acme").status_code == 401
    assert not browsers["developer"].page("/console/developers").every("a", href="/console/developers/keys/new")
    assert "billing job" not in browsers["viewer"].page("/console/developers").text
    admin = browsers["admin"]
    people = admin.page("/console/developers/people")
    new: dict[str, Any] = {"email": "new@example.com", "name": "New"}
    told = parsed(admin.send_form(people, "/console/developers/people", 200, **new).text)
    assert told.one("code", id="secret").text
    people = admin.page("/console/developers/people")
    where = next(form["action"] for form in people.every("form") if "/people/person_" in form.get("action"))
    admin.send_form(people, where, do="role", role="support")
    assert "support" in admin.page("/console/developers/people").one("table").text
    admin.send_form(people, where, 400, do="remove")
    admin.send_form(people, where, do="remove", reason="she has left")
    assert whys(admin, "person.remove") == {"“she has left”"}
    assert "new@example.com" not in admin.page("/console/developers/people").text


def test_audit_is_filtered_taken_along_and_verified(api: Api, browsers: Browsers) -> None:
    api.ok("PUT", "/v1/accounts/acme/overrides/exports", json={"value": True, "reason": "=1+1 for a friend"})
    auditor = browsers["support"]
    page = auditor.page("/console/audit?action=override&account=acme")
    assert {row.one("th").text.split()[0] for row in page.one("tbody").every("tr")} == {"override.set"}
    rows = list(csv.reader(io.StringIO(auditor.get("/console/audit/records.csv?account=acme").text)))
    assert tuple(rows[0]) == RECORD_COLUMNS
    lines = auditor.get("/console/audit/records.jsonl?account=acme").content.splitlines()
    assert [msgspec.json.decode(line)["number"] for line in lines] == [int(row[1]) for row in rows[1:]]
    assert "The chain holds" in auditor.page("/console/audit/chain?account=acme").text
    assert "The chain holds" in auditor.page("/console/audit/chain").text
    auditor.page("/console/audit/records.xls", 404)
    auditor.page("/console/audit?begin=tomorrow", 400)
    browsers["viewer"].page("/console/audit", 403)


def test_updates_are_read_from_the_end_and_as_they_come(api: Api, browsers: Browsers) -> None:
    viewer = browsers["viewer"]
    deadline = time.monotonic() + 30
    while not (page := viewer.page("/console/updates?account=acme")).one("tbody").every("tr"):
        assert time.monotonic() < deadline
    assert "account.plan_changed" in page.text
    viewer.page("/console/updates?type=nothing", 400)
    with viewer.stream("GET", "/console/updates/tail?account=acme&after=0") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        seen = ""
        for part in answer.iter_text():
            seen += part
            if "account.plan_changed" in seen:
                break


def test_what_was_answered_is_listed_as_it_comes_and_asked_again(api: Api, browsers: Browsers) -> None:
    viewer = browsers["viewer"]
    api.ok("POST", "/v1/check", json={"account": "acme", "feature": "audit_log", "member": "ann", "quantity": 3})
    [row] = eventually(lambda: viewer.page("/console/developers/decisions").one("tbody").every("tr"))
    assert row.text.startswith("Denied: not in plan 3 audit_log for ann, by check acme")
    one = row.one("th").one("a")["href"]
    with viewer.stream("GET", "/console/developers/decisions/tail?since=2026-01-01T00:00:00Z") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        seen = ""
        for part in answer.iter_text():
            seen += part
            if one in seen and "by consume" not in seen:
                used = {"account": "acme", "feature": "api_calls", "quantity": 10**9, "id": "too many"}
                api.ok("POST", "/v1/consume", json=used)
            if "by consume" in seen:
                break
    assert seen.count(one) == 1, "each is sent once"
    again = viewer.page(one)
    assert "the answer is the same, by what was known then and by what is known now" in again.text
    assert "Reason Not in plan Not in plan Not in plan the same" in [tr.text for tr in again.every("tr")]
    api.ok("PUT", "/v1/accounts/acme/overrides/audit_log", json={"value": True, "reason": "forgotten until now"})
    listed = viewer.page("/console/accounts/acme/decisions?feature=audit_log")
    assert [tr.text[:19] for tr in listed.one("tbody").every("tr")] == ["Denied: not in plan"]
    at = next(time["datetime"] for time in listed.one("tbody").every("time"))
    assert not viewer.page(f"/console/accounts/acme/decisions?until={at[:-4]}").every("tbody")
    asked = viewer.page(f"/console/accounts/acme?feature=audit_log&at={at}").one("section", id="why")
    assert f"Answered then: denied at {at[11:19]} (3)." in asked.text
    viewer.page("/console/accounts/acme/decisions/dec_nothing", 404)
    viewer.page("/console/accounts/nobody/decisions", 404)
    viewer.page("/console/developers/decisions?before=nothing", 400)


def test_what_is_used_is_a_table_with_bars(api: Api, browsers: Browsers) -> None:
    api.ok(
        "POST",
        "/v1/consume",
        json={"account": "acme", "feature": "api_calls", "quantity": 7, "id": "u1", "member": None},
    )
    viewer = browsers["viewer"]
    assert "Whose usage?" in viewer.page("/console/usage").text
    table = viewer.page("/console/usage?account=acme&feature=api_calls").one("table")
    assert "7" in [cell.text for cell in table.every("td")]
    assert table.one("rect")["width"].endswith("%")
    assert "by member" in viewer.page("/console/usage?account=acme&feature=api_calls&by=member").text
    viewer.page("/console/usage?account=nobody", 404)
    viewer.page("/console/usage?account=acme&feature=nothing", 404)


def test_support_asks_whether_an_event_arrived_and_what_came_of_it(
    database_url: str, api: Api, browsers: Browsers
) -> None:
    rows = [("stripe:cus_1", "evt_1", True), ("stripe:cus_1", "evt_2", False), (NO_SUBJECT, "evt_3", True)]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.cursor().executemany(
            "insert into inbox (subject, event_id, type, received_at, body, handled_at) values"
            " (%s, %s, 'customer.updated', now(), '', case when %s then now() end)",
            rows,
        )
    viewer = browsers["viewer"]
    for query, told in (
        ("id=evt_1", "Arrived and handled"),
        ("id=evt_2", "Arrived, waits"),
        ("id=evt_3", "Arrived and ignored"),
        ("id=evt_4", "Did not arrive"),
        ("id=evt_2&state=handled", "Did not arrive"),
    ):
        assert viewer.page(f"/console/sync/events?{query}").one("div", class_="answer").one("span").text == told
    listed = viewer.page("/console/sync/events?customer=cus_1").one("tbody").every("tr")
    assert [row.one("span", class_="mono").text for row in listed] == ["evt_2", "evt_1"]
    assert "No event fits" in viewer.page("/console/sync/events?account=acme").text
    viewer.page("/console/sync/events?state=nothing", 400)
    viewer.page("/console/sync/events?before=nothing", 400)


def test_a_sweep_is_followed_to_its_end(database_url: str, api: Api, browsers: Browsers) -> None:
    viewer = browsers["viewer"]
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute(
            "insert into sweeps (provider, dry_run, started_at, counts)"
            " values ('stripe', true, now(), '{\"subscriptions\": 7}') returning id"
        ).fetchone()
        assert row is not None
        where = f"/console/sync/sweeps/{row[0]}"
        page = viewer.page(where)
        assert page.one("pg-live")["src"] == f"{where}/tail"
        assert "7 of about 0 subscriptions compared" in page.text
        with viewer.stream("GET", f"{where}/tail") as answer:
            seen, parts = "", answer.iter_text()
            while "data: 7\n" not in seen:
                seen += next(parts)
            connection.execute("update sweeps set finished_at = now(), counts = '{\"subscriptions\": 9}'")
            seen += "".join(parts)
        assert seen.endswith("data: 9\n\nevent: done\ndata: 9\n\n"), "and then it ends"
    assert not viewer.page(where).every("pg-live")
    assert viewer.get("/console/sync/sweeps/nothing/tail").status_code == 404


def test_sync_and_settings_say_what_there_is(browsers: Browsers) -> None:
    viewer = browsers["viewer"]
    sync = viewer.page("/console/sync")
    assert "No provider is configured" in sync.text
    assert not [form for form in sync.every("form") if "/sync" in form.get("action")]
    assert "needs a second person" in viewer.page("/console/settings").text.lower()


def test_plan_changes_are_found_by_how_they_stand_whose_and_when_and_in_a_calendar(
    api: Api, browsers: Browsers
) -> None:
    viewer, changes = browsers["viewer"], {}
    for account, when in (("initech", "now"), ("acme", "period_end")):
        api.ok("PUT", f"/v1/accounts/{account}", json={})
        if account == "initech":
            terms = {"version": 1, "status": "active", "items": [{"id": "main", "plan": "pro"}], "anchor_at": ANCHOR}
            api.ok("PUT", "/v1/accounts/initech/subscriptions/manual_2", json=terms)
        quote = api.ok("POST", f"/v1/accounts/{account}/plan-changes/quote", json={"plan": "free", "when": when})
        changes[account] = api.ok("POST", f"/v1/accounts/{account}/plan-changes", json={"quote_id": quote["id"]})
    day = changes["acme"]["effective_at"][:10]
    for query, accounts in (
        ("", []),
        ("view=to_come", ["acme"]),
        (f"view=to_come&begin={day}T00:00", ["acme"]),
        (f"view=to_come&until={day}T00:00", []),
        ("view=to_come&account=initech", []),
        ("view=applied", ["initech", "initech", "acme"]),
        ("view=applied&account=initech&begin=2026-01-01T00:00", ["initech", "initech"]),
        ("view=applied&until=2026-01-01T00:00", []),
        ("view=failed", []),
        ("view=canceled", []),
    ):
        page = viewer.page(f"/console/plan-changes?{query}")
        assert [row.one("a").text for table in page.every("tbody") for row in table.every("tr")] == accounts, query
        assert [option["value"] for option in page.every("input", name="account")] == [
            "initech" if "initech" in query else ""
        ]
    for query in ("view=nothing", "begin=noon", "before=nothing"):
        viewer.page(f"/console/plan-changes?{query}", 400)
    month = viewer.page(f"/console/plan-changes/calendar?month={day[:7]}")
    (cell,) = [node for node in month.every("td") if node.every("a")]
    assert cell.one("time")["datetime"] == day
    assert cell.one("a").text.startswith("1 change on")
    assert "acme" in viewer.page(cell.one("a")["href"]).one("table").text
    assert "No scheduled change" in viewer.page("/console/plan-changes/calendar?month=2031-02").text
    assert len(viewer.page("/console/plan-changes/calendar?month=2031-02").every("td")) % 7 == 0
    for wrong in ("2026-13", "12", "1999-01", "２０２６-01"):
        viewer.page(f"/console/plan-changes/calendar?month={wrong}", 400)
    where = f"/console/plan-changes/acme/{changes['acme']['id']}"
    finance: Browser = browsers["finance"]
    page = finance.page(where)
    assert "Money" in page.text
    finance.send_form(page, where, 400)
    finance.send_form(page, where, reason="asked for by mistake")
    assert "Canceled" in finance.page(where).text
    assert "acme" in finance.page("/console/plan-changes?view=canceled").one("table").text
    assert whys(finance, "plan_change.cancel") == {"“asked for by mistake”"}
    assert not browsers["viewer"].page(where).every("form", action=where)
    viewer.page("/console/plan-changes/acme/nothing", 404)
