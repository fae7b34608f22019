"""Who did what, over HTTP: every route that writes leaves a record, and says why where it leaves none."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from paygrade.server.process.settings import Settings
from support.databases import migrated_database
from support.openapi import example_of, plain_address
from support.server_process import KEY, Api, serving

LEDGER = "uses and holds are the ledger's own, which nothing is changed in"
READS = "it only asks"
WITHOUT_RECORD = {
    "POST /v1/check": READS,
    "POST /v1/accounts/{account}/explain": READS,
    "POST /v1/accounts/{account}/plan-changes/quote": "it says what a change would do, and changes nothing",
    "POST /v1/accounts/{account}/plan-changes/{change}/revert": "it says what a change would do, and changes nothing",
    "POST /v1/accounts/{account}/refresh": "the provider is asked; what it says are facts, with a history of their own",
    "POST /v1/accounts/{account}/checkout": "it is noted once the provider has made the page (test_checkouts.py)",
    "POST /v1/accounts/{account}/top-ups/checkout": "the same (test_top_up_pages.py)",
    "POST /v1/accounts/{account}/billing-portal": "it is noted once the provider has made the page (test_checkouts.py)",
    "POST /v1/snapshots": READS,
    "POST /v1/catalog/simulate": READS,
    "POST /v1/authorize": READS,
    "POST /ofrep/v1/evaluate/flags": READS,
    "POST /ofrep/v1/evaluate/flags/{key}": READS,
    "POST /webhooks/stripe": "the provider's events are kept in the inbox",
    "POST /v1/consume": LEDGER,
    "POST /v1/reservations": LEDGER,
    "POST /v1/reservations/{reservation}/commit": LEDGER,
    "POST /v1/reservations/{reservation}/release": LEDGER,
    "POST /v1/reservations/{reservation}/extend": LEDGER,
    "POST /v1/webhook-endpoints/{endpoint}/test": "it sends a test, and changes nothing",
    "POST /v1/login": "whoever logs in is noted as themselves (test_people.py)",
    "POST /v1/me/password": "whoever changes theirs is noted as themselves (test_people.py)",
    "POST /v1/approvals/{approval}/approve": "whoever approves is noted beside what is done (test_second_person.py)",
    "POST /v1/approvals/{approval}/decline": "of what waits, which nothing does here (test_second_person.py)",
    "POST /v1/approvals/{approval}/withdraw": "of what waits, which nothing does here (test_second_person.py)",
    "POST /v1/logout": "it ends one's own session",
    "POST /v1/leases": LEDGER,
    "POST /v1/leases/steps": LEDGER,
    "POST /v1/events": LEDGER,
    "POST /api/v1/events": LEDGER,
}
"""The routes that write nothing down here, each with the reason."""

ACCOUNT, MADE = "/v1/accounts/{account}", "what was made last"
SUBSCRIPTION = {
    "version": 1, "status": "active", "items": [{"id": "main", "plan": "pro", "quantity": 5}],
    "anchor_at": "2026-01-01T00:00:00Z",
}  # fmt: skip
TERMS = {"plan": "pro", "starts_at": "2026-01-01T00:00:00Z", "amount": 120000, "currency": "usd"}
CATALOG = Path("src/paygrade/cli/sample/paygrade.yaml")
PLAYED: list[tuple[str, str, dict[str, Any] | list[Any] | None, str]] = [
    (f"PUT {ACCOUNT}", "", {"name": "Acme", "traits": {"email": "ann@acme.example"}}, "account.put"),
    (f"PUT {ACCOUNT}/subscriptions/{{subscription}}", "sub_1", SUBSCRIPTION, "subscription.set"),
    (f"PUT {ACCOUNT}/contracts/{{contract}}", "c1", TERMS, "contract.set"),
    (f"PUT {ACCOUNT}/contracts/{{contract}}/invoices/{{invoice}}", "c1/invoices/i1", {"status": "void"}, "invoice.set"),
    (f"DELETE {ACCOUNT}/contracts/{{contract}}", "c1", None, "contract.remove"),
    (f"PUT {ACCOUNT}/billing/{{source}}", "recurly", {"version": 1, "subscriptions": []}, "billing.set"),
    (f"PUT {ACCOUNT}/overrides/{{feature}}", "exports", {"value": True, "reason": "asked by Ann"}, "override.set"),
    (f"DELETE {ACCOUNT}/overrides/{{feature}}", "exports", None, "override.remove"),
    (f"PUT {ACCOUNT}/blocks/{{block}}", "fraud", {"reason": "looks odd"}, "block.set"),
    (f"DELETE {ACCOUNT}/blocks/{{block}}", "fraud", None, "block.lift"),
    (f"PUT {ACCOUNT}/members/{{member}}", "ann", {"role": "owner"}, "member.set"),
    (f"PUT {ACCOUNT}/members", "", [{"member": "bo", "role": "editor"}], "member.set"),
    (f"PUT {ACCOUNT}/seats", "", {"members": ["bo"]}, "member.set"),
    (f"DELETE {ACCOUNT}/members/{{member}}", "ann", None, "member.remove"),
    (f"PUT {ACCOUNT}/nodes", "", [{"node": "team", "open": True}], "node.set"),
    (f"PUT {ACCOUNT}/versions/{{plan}}", "pro", {"version": 1, "reason": "promised"}, "pin.set"),
    (f"DELETE {ACCOUNT}/versions/{{plan}}", "pro", None, "pin.remove"),
    (f"POST {ACCOUNT}/grants", "", {"feature": "ai_credits", "units": 5, "id": "g_1", "reason": "sorry"}, "grant.give"),
    (f"DELETE {ACCOUNT}/grants/{{feature}}/{{grant}}", "ai_credits/g_1", None, "grant.void"),
    (f"PUT {ACCOUNT}/usage/{{feature}}", "api_calls", {"used": 7, "id": "set_1", "reason": "moved"}, "usage.set"),
    (f"POST {ACCOUNT}/tokens", "", {"member": "bo"}, "token.issue"),
    (f"POST {ACCOUNT}/portal-sessions", "", {"member": "bo"}, "portal_session.create"),
    (f"DELETE {ACCOUNT}/portal-sessions/{{session}}", MADE, None, "portal_session.end"),
    (f"POST {ACCOUNT}/rebuild", "", None, "account.rebuild"),
    (f"POST {ACCOUNT}/plan-changes", "", {"act": "pause"}, "plan_change.request"),
    (f"DELETE {ACCOUNT}/plan-changes/{{change}}", "chg_1", None, "plan_change.cancel"),
    (f"POST {ACCOUNT}/top-ups/{{top_up}}/retry", "top_1", None, "top_up.retry"),
    ("POST /v1/tokens/rotate", "", {"revoke": True}, "signing_key.rotate"),
    ("PUT /v1/catalog", "", None, "catalog.publish"),
    ("POST /v1/catalog/migrations", "", {"plan": "pro", "accounts": ["globex"]}, "migration.start"),
    ("POST /v1/catalog/migrations/{migration}/pause", "1", None, "migration.pause"),
    ("POST /v1/catalog/migrations/{migration}/resume", "1", None, "migration.resume"),
    ("POST /v1/catalog/migrations/{migration}/roll-back", "1", None, "migration.roll_back"),
    ("POST /v1/sync/sweep", "", {}, "sweep.start"),
    ("POST /v1/usage/reconcile", "", {}, "usage_report.reconcile"),
    ("POST /v1/keys", "", {"name": "a backend", "scopes": ["usage:write"]}, "key.create"),
    ("POST /v1/keys/{api_key}/rotate", MADE, {}, "key.rotate"),
    ("POST /v1/keys/{api_key}/revoke", MADE, None, "key.revoke"),
    ("POST /v1/people", "", {"email": "dana@example.com", "name": "Dana", "role": "support"}, "person.add"),
    ("PUT /v1/people/{person}/role", MADE, {"role": "finance"}, "person.set_role"),
    ("POST /v1/people/{person}/reset", MADE, {"totp": False}, "person.reset"),
    ("DELETE /v1/people/{person}", MADE, None, "person.remove"),
    ("POST /v1/webhook-endpoints", "", {"url": "https://93.184.215.14/hook"}, "webhook_endpoint.create"),
    ("PATCH /v1/webhook-endpoints/{endpoint}", MADE, {"description": "ours"}, "webhook_endpoint.update"),
    ("POST /v1/webhook-endpoints/{endpoint}/rotate", MADE, {}, "webhook_endpoint.rotate"),
    ("POST /v1/webhook-endpoints/{endpoint}/replay", MADE, {"gap": True}, "webhook_endpoint.replay"),
    ("DELETE /v1/webhook-endpoints/{endpoint}", MADE, None, "webhook_endpoint.remove"),
    (f"POST {ACCOUNT}/erase", "", {"confirm": "acme", "reason": "asked for"}, "account.erase"),
    (f"DELETE {ACCOUNT}", "", None, "account.delete"),
]
"""Each route that does, with what stands for the names in its address, its body, and the action that is noted."""

TOLD = {
    f"PUT {ACCOUNT}": "account.updated",
    f"PUT {ACCOUNT}/subscriptions/{{subscription}}": "account.plan_changed",
    f"PUT {ACCOUNT}/contracts/{{contract}}": "contract.set",
    f"DELETE {ACCOUNT}/contracts/{{contract}}": "contract.removed",
    f"PUT {ACCOUNT}/billing/{{source}}": "account.updated",
    f"PUT {ACCOUNT}/overrides/{{feature}}": "override.set",
    f"DELETE {ACCOUNT}/overrides/{{feature}}": "override.removed",
    f"PUT {ACCOUNT}/blocks/{{block}}": "block.set",
    f"DELETE {ACCOUNT}/blocks/{{block}}": "block.lifted",
    f"PUT {ACCOUNT}/members/{{member}}": "member.set",
    f"PUT {ACCOUNT}/members": "member.set",
    f"PUT {ACCOUNT}/seats": "seat.given",
    f"DELETE {ACCOUNT}/members/{{member}}": "member.removed",
    f"PUT {ACCOUNT}/nodes": "account.updated",
    f"PUT {ACCOUNT}/versions/{{plan}}": "account.updated",
    f"DELETE {ACCOUNT}/versions/{{plan}}": "account.updated",
    f"POST {ACCOUNT}/grants": "credit.granted",
    f"DELETE {ACCOUNT}/grants/{{feature}}/{{grant}}": "credit.voided",
    f"DELETE {ACCOUNT}/plan-changes/{{change}}": "plan_change.canceled",
    "PUT /v1/catalog": "catalog.published",
    "POST /v1/catalog/migrations": "migration.started",
    "POST /v1/catalog/migrations/{migration}/roll-back": "migration.started",
    "POST /v1/keys": "api_key.created",
    "POST /v1/keys/{api_key}/rotate": "api_key.rotated",
    "POST /v1/keys/{api_key}/revoke": "api_key.revoked",
    f"DELETE {ACCOUNT}": "account.deleted",
}
"""Of these, what state update each leaves in its transaction."""
NOT_YET = "it is told when it has come to something"
STAFF = "who may log in, and what is sent where, is no account's: the audit log has it"
WITHOUT_UPDATE = {
    f"PUT {ACCOUNT}/contracts/{{contract}}/invoices/{{invoice}}": "reports have it; what it does to access is told",
    f"PUT {ACCOUNT}/usage/{{feature}}": "usage is the ledger's; passing a threshold is told",
    f"POST {ACCOUNT}/tokens": "nothing of the account changes",
    f"POST {ACCOUNT}/portal-sessions": "nothing of the account changes",
    f"DELETE {ACCOUNT}/portal-sessions/{{session}}": "nothing of the account changes",
    f"POST {ACCOUNT}/rebuild": "nothing of the account changes",
    f"POST {ACCOUNT}/erase": "nothing of the account changes but names, which no update may hold on to",
    f"POST {ACCOUNT}/plan-changes": NOT_YET,
    f"POST {ACCOUNT}/top-ups/{{top_up}}/retry": NOT_YET,
    "POST /v1/catalog/migrations/{migration}/pause": NOT_YET,
    "POST /v1/catalog/migrations/{migration}/resume": NOT_YET,
    "POST /v1/sync/sweep": NOT_YET,
    "POST /v1/usage/reconcile": NOT_YET,
    "POST /v1/tokens/rotate": STAFF,
    "POST /v1/people": STAFF,
    "PUT /v1/people/{person}/role": STAFF,
    "POST /v1/people/{person}/reset": STAFF,
    "DELETE /v1/people/{person}": STAFF,
    "POST /v1/webhook-endpoints": STAFF,
    "PATCH /v1/webhook-endpoints/{endpoint}": STAFF,
    "POST /v1/webhook-endpoints/{endpoint}/rotate": STAFF,
    "POST /v1/webhook-endpoints/{endpoint}/replay": STAFF,
    "DELETE /v1/webhook-endpoints/{endpoint}": STAFF,
}
"""Those of which none tells, each with the reason."""


class Played:
    """A server with a provider that is never there, and what is in its audit log."""

    def __init__(self, api: Api, database_url: str) -> None:
        self.api, self.database_url = api, database_url

    def records(self, **query: Any) -> list[dict[str, Any]]:
        """Any: parameters, and records as JSON."""
        found: list[dict[str, Any]] = self.api.ok("GET", "/v1/audit", params={"limit": 500, **query})["records"]
        return found

    @contextmanager
    def noted(self) -> Iterator[list[dict[str, Any]]]:
        """The records that are made inside of the block, by whoever asks over HTTP."""
        before = len(self.by_key())
        made: list[dict[str, Any]] = []
        yield made
        made += self.by_key()[: len(self.by_key()) - before]

    def last_update(self) -> int:
        with psycopg.connect(self.database_url) as connection:
            (row,) = connection.execute("select coalesce(max(number), 0) from updates").fetchall()
        return int(row[0])

    def updates_after(self, number: int) -> list[str]:
        """The types of those that were written since, whether they have their places or not."""
        with psycopg.connect(self.database_url) as connection:
            return [type for (type,) in connection.execute("select type from updates where number > %s", (number,))]

    def by_key(self) -> list[dict[str, Any]]:
        return self.records(actor="admin")


@pytest.fixture(scope="module")
def played(postgres_url: str) -> Iterator[Played]:
    provider = Settings(stripe_api_key="sk_test_1", stripe_api_base="http://127.0.0.1:9", sweep_every=None)
    with migrated_database(postgres_url) as database_url, serving(provider, database_url) as api:
        api.ok("PUT", "/v1/accounts/globex", json={})
        api.ok("PUT", "/v1/accounts/globex/subscriptions/sub_g", json=SUBSCRIPTION)
        api.ok("PUT", "/v1/accounts/acme", json={})
        with psycopg.connect(database_url) as connection:
            connection.execute(
                """
                insert into top_ups (account, id, credit, units, amount, currency, state, window_at, asked_at, round_at,
                                     resolved_at, balance)
                values ('acme', 'top_1', 'ai_credits', 10, 100, 'usd', 'failed', now(), now(), now(), now(), 0)
                """
            )
            # One that doesn't end meanwhile: somebody has claimed its account.
            connection.execute(
                """
                insert into plan_migrations (plan, reason, started_at, started_by) values ('free', '', now(), 'ann');
                insert into plan_migration_accounts (account, migration, leased_until)
                values ('globex', 1, now() + interval '1 hour')
                """
            )
        yield Played(api, database_url)


@pytest.fixture(scope="module")
def writing(played: Played) -> dict[str, dict[str, Any]]:
    """Every operation of the document that may write."""
    paths = played.api.ok("GET", "/openapi.json")["paths"]
    return {
        f"{method.upper()} {path}": told
        for path, each in paths.items()
        for method, told in each.items()
        if method in ("put", "post", "delete", "patch")
    }


def test_every_route_that_writes_leaves_a_record_or_says_why_not(writing: dict[str, Any]) -> None:
    assert {name for name, *_ in PLAYED} | set(WITHOUT_RECORD) == set(writing)
    assert not {name for name, *_ in PLAYED} & set(WITHOUT_RECORD)
    assert sorted([*TOLD, *WITHOUT_UPDATE]) == sorted(name for name, *_ in PLAYED)


def test_what_a_route_does_is_noted_with_who_asked(played: Played) -> None:
    made_last = ""
    untold: list[tuple[str, str, list[str]]] = []
    for name, said, body, action in PLAYED:
        method, path = name.split(" ")
        path = path.replace("{account}", "acme")
        for part in (made_last if said is MADE else said).split("/"):
            path = re.sub(r"{\w+}", part, path, count=1)
        sent: dict[str, Any] = {"json": body} if body is not None else {}
        if name == "PUT /v1/catalog":
            text = CATALOG.read_text().replace("limit: 1000,", "limit: 1001,")
            sent = {"content": text.encode(), "headers": {"Content-Type": "application/yaml"}}
        if action == "plan_change.cancel":
            path = path.replace("chg_1", scheduled(played))
        if action == "account.delete":
            ended = {**SUBSCRIPTION, "version": 99, "status": "canceled"}
            played.api.ok("PUT", "/v1/accounts/acme/subscriptions/sub_1", json=ended)
        last = played.last_update()
        with played.noted() as made:
            answer = played.api.request(method, path, **sent)
            assert answer.is_success, f"{name}: {answer.text}"
        if name in TOLD and TOLD[name] not in (types := played.updates_after(last)):
            untold.append((name, TOLD[name], types))
        if action in ("key.create", "person.add", "webhook_endpoint.create", "portal_session.create"):
            made_last = answer.json()["id"]
        assert [each["action"] for each in made] == [action], name
        (record,) = made
        assert record["actor"] == {"kind": "key", "id": "admin", "name": "the server's admin key"}
        assert record["request"] == answer.headers["x-request-id"], name
        assert record["address"] == "127.0.0.1"
        assert record["account"] == ("acme" if "{account}" in name else "")
        assert not re.search('"ann"|"bo"|Ann|Acme|sorry|odd', json.dumps([record["targets"], record["changes"]])), name
    assert untold == []


def scheduled(played: Played) -> str:
    """A plan change that waits for its date."""
    asked = {"plan": "free", "when": "period_end"}
    played.api.ok("PUT", "/v1/accounts/acme/subscriptions/sub_1", json={**SUBSCRIPTION, "version": 50})
    quote = played.api.ok("POST", "/v1/accounts/acme/plan-changes/quote", json=asked)
    change = played.api.ok("POST", "/v1/accounts/acme/plan-changes", json={"quote_id": quote["id"]})
    assert change["state"] == "scheduled", change
    return str(change["id"])


def test_a_route_that_leaves_no_record_leaves_none(played: Played, writing: dict[str, Any]) -> None:
    for name in WITHOUT_RECORD:
        method, path = name.split(" ")
        with played.noted() as made:
            played.api.request(method, plain_address(path, "globex"), json=example_of(writing[name]))
        assert made == [], name


def test_what_says_nothing_new_is_not_noted(played: Played) -> None:
    played.api.ok("PUT", "/v1/accounts/globex/blocks/fraud", json={"reason": "odd"})
    with played.noted() as made:
        played.api.ok("PUT", "/v1/accounts/globex/blocks/fraud", json={"reason": "odd"})
        played.api.problem(404, "PUT", "/v1/accounts/globex/overrides/nothing", json={"value": True})
    assert made == []


def test_who_gave_an_override_and_why_is_found(played: Played) -> None:
    said = {"limit": 9000, "reason": "goodwill"}
    played.api.ok("PUT", "/v1/accounts/globex/overrides/api_calls", json={**said, "limit": 5000})
    played.api.ok("PUT", "/v1/accounts/globex/overrides/api_calls", json=said)
    found = played.api.ok("GET", "/v1/accounts/globex/audit", params={"action": "override"})["records"]
    assert [each["changes"] for each in found] == [{"limit": [5000, 9000]}, {"limit": [None, 5000]}]
    assert found[1]["personal"] == {"reason": [None, "goodwill"]}
    assert found[0]["targets"] == [{"kind": "override", "id": "api_calls"}]


def test_records_are_found_page_by_page_and_by_what_they_say(played: Played) -> None:
    api = played.api
    for number in range(3):
        api.ok("PUT", "/v1/accounts/initech", json={"name": f"Initech {number}"})
    for where in ("/v1/accounts/initech/audit", "/v1/audit?action=account.put"):
        seen, query = [], {"limit": "1"}
        while True:
            page = api.ok("GET", where, params=query)
            seen += [each["personal"]["name"][1] for each in page["records"] if each["account"] == "initech"]
            if page["next"] is None:
                break
            query["before"] = page["next"]
        assert seen == ["Initech 2", "Initech 1", "Initech 0"]
    assert played.records(action="account.pu") == []
    assert played.records(actor="nobody") == []
    at = api.ok("GET", "/v1/accounts/initech/audit")["records"][1]["occurred_at"]
    assert len(api.ok("GET", "/v1/accounts/initech/audit", params={"from": at})["records"]) == 2
    assert len(api.ok("GET", "/v1/accounts/initech/audit", params={"until": at})["records"]) == 1
    api.problem(404, "GET", "/v1/accounts/nobody/audit")
    api.problem(400, "GET", "/v1/audit", params={"before": "yesterday"})
    api.problem(400, "GET", "/v1/audit/chains", params={"after": "nonsense"})


def test_what_the_server_did_by_itself_is_its_own(played: Played) -> None:
    first = played.records(action="catalog")[-1]
    assert first["actor"] == {"kind": "system", "id": "paygrade", "name": ""}
    assert (first["address"], first["request"], first["account"]) == (None, None, "")


def test_whoever_publishes_or_migrates_is_named_where_that_is_listed(played: Played) -> None:
    made = played.api.ok("POST", "/v1/keys", json={"name": "the build", "role": "developer"})
    with Api(played.api.url, key=made["key"]) as build:
        text = CATALOG.read_text().replace("limit: 1000,", "limit: 1002,")
        assert build.request(
            "PUT", "/v1/catalog", content=text.encode(), headers={"Content-Type": "application/yaml"}
        ).json()["published"]
        build.ok("POST", "/v1/catalog/migrations", json={"plan": "business", "accounts": ["globex"]})
        assert build.ok("GET", "/v1/catalog/versions")["versions"][0]["published_by"] == "the build"
        assert build.ok("GET", "/v1/catalog/migrations")["migrations"][0]["started_by"] == "the build"


def test_a_token_cannot_read_the_log(played: Played) -> None:
    token = played.api.ok("POST", "/v1/accounts/globex/tokens", json={})["token"]
    with Api(played.api.url, key=token) as page:
        page.problem(403, "GET", "/v1/accounts/globex/audit")
        page.problem(403, "GET", "/v1/audit")


def test_no_record_holds_a_secret(played: Played) -> None:
    token = played.api.ok("POST", "/v1/accounts/globex/tokens", json={"member": "bo"})["token"]
    text = json.dumps(played.records())
    assert KEY not in text
    assert token not in text
    assert token.rpartition(".")[2] not in text


def test_a_dry_run_of_an_override_says_what_it_leads_to_and_changes_nothing(api: Api, acme: str) -> None:
    where = f"/v1/accounts/{acme}/overrides/exports"
    assert api.ok("PUT", f"{where}?dry_run", json={"value": True})["reason"] == "override"
    assert api.problem(400, "PUT", f"{where}?dry_run", json={"limit": 3})["code"] == "invalid_override"
    assert api.problem(404, "DELETE", f"{where}?dry_run")["code"] == "unknown_override"
    assert api.check(acme, "exports")["reason"] == "not_in_plan"
    api.ok("PUT", where, json={"value": True})
    assert api.ok("DELETE", f"{where}?dry_run&reason=over")["reason"] == "not_in_plan"
    assert api.check(acme, "exports")["reason"] == "override"
    noted = api.ok("GET", f"/v1/accounts/{acme}/audit")["records"]
    assert [record["action"] for record in noted] == ["override.set", "account.put"]
    assert len(api.ok("GET", f"/v1/accounts/{acme}/timeline")["facts"]) == 2
    assert api.problem(400, "DELETE", f"{where}?reason={'x' * 2001}")["code"] == "invalid_query"


def test_why_a_plan_was_changed_and_an_override_removed_is_noted_and_can_be_erased(api: Api, acme: str) -> None:
    api.ok("PUT", f"/v1/accounts/{acme}/subscriptions/sub_{acme}", json=SUBSCRIPTION)
    api.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json={"value": True})
    api.ok("DELETE", f"/v1/accounts/{acme}/overrides/exports?reason=Ann+asked")
    api.ok("POST", f"/v1/accounts/{acme}/plan-changes", json={"act": "pause", "reason": "Ann is away"})
    noted = api.ok("GET", f"/v1/accounts/{acme}/audit")["records"][:2]
    assert [record["personal"]["reason"] for record in noted] == ["Ann is away", [None, "Ann asked"]]
    api.ok("POST", f"/v1/accounts/{acme}/erase", json={"confirm": acme})
    for what in ("audit", "timeline"):
        assert "Ann" not in api.get(f"/v1/accounts/{acme}/{what}").text
