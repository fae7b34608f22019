"""Privacy: an export has everything, an erasure leaves nothing personal anywhere, and what counts adds up as before."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from paygrade.postgres.personal_data import SECTIONS
from paygrade.server.process.settings import Settings
from support.cli_runner import Shell
from support.databases import migrated_database
from support.server_process import KEY, Api, serving

PERSONAL = re.compile(r'\bann\b|bo@acme|d\\+"x|promised|acme inc', re.IGNORECASE)
"""What no row may have after an erasure, whatever else it has."""
ANN, BO, ODD = "ann", "bo@acme.example", 'd"x ü\\'
SUBSCRIPTION = {
    "version": 1, "status": "active", "items": [{"id": "main", "plan": "pro", "quantity": 3}],
    "anchor_at": "2026-01-01T00:00:00Z",
}  # fmt: skip
ELSEWHERE = {
    "announced_ends": "how far ends were gone through",
    "api_keys": "of programs",
    "audit_streams": "where records are sent",
    "people": "who may log in; they are no customers",
    "sessions": "of those",
    "used_log_ins": "of people who log in",
    "update_log": "how far the log goes",
    "webhook_endpoints": "of the environment",
    "catalogs": "what is sold",
    "catalog_checks": "what differs from what is sold",
    "idempotency_keys": "what a caller was answered within a day, sealed with their own secret",
    "migrations": "the schema",
    "plan_migrations": "of no account",
    "polls": "of the provider",
    "reporting": "of the provider",
    "rereads": "how far all customers were marked",
    "signing_keys": "the server's",
    "sweeps": "of the provider",
}
"""Tables that hold nothing of a single account."""


class House:
    """A server, its database, and an account that has something in every table."""

    def __init__(self, api: Api, database_url: str) -> None:
        self.api, self.database_url = api, database_url

    def fill(self, account: str) -> None:
        ok, its = self.api.ok, f"/v1/accounts/{account}"
        ok("PUT", its, json={"name": "Acme Inc", "traits": {"owner": "Ann"}})
        ok("PUT", f"{its}/subscriptions/sub_{account}", json=SUBSCRIPTION)
        for member in (ANN, BO, ODD):
            ok("PUT", f"{its}/members", json=[{"member": member, "role": "owner", "seat": True}])
        ok("PUT", f"{its}/overrides/audit_log", json={"value": True, "reason": "promised to Ann"})
        ok("PUT", f"{its}/blocks/fraud", json={"reason": "Ann is odd"})
        ok("DELETE", f"{its}/blocks/fraud")
        ok("PUT", f"{its}/versions/pro", json={"version": 1, "reason": "promised"})
        terms = {"plan": "pro", "amount": 1, "currency": "usd", "starts_at": "2099-01-01T00:00:00Z"}
        ok("PUT", f"{its}/contracts/next", json={**terms, "reference": "Ann 1", "notes": "Ann", "reason": "to Ann"})
        ok("POST", f"{its}/grants", json={"feature": "ai_credits", "units": 500, "id": "g_1", "reason": "for Ann"})
        for number, member in enumerate((ANN, BO, ODD, ANN)):
            said = {"account": account, "feature": "tokens", "quantity": 3000, "member": member}
            properties = {"model": "large", "user": f"Ann {number}"}
            ok("POST", "/v1/consume", json={**said, "id": f"use_{number}", "properties": properties})
            ok(
                "POST",
                "/v1/reservations",
                json={**said, "id": f"hold_{number}", "ttl_s": 3600, "properties": properties},
            )
        ok("POST", "/v1/reservations/hold_0/commit", json={"account": account, "quantity": 1000})
        event = {"id": "e_1", "account": account, "event": "completion", "member": ANN}
        ok("POST", "/v1/events", json=[{**event, "properties": {"tokens": 1000, "user": "Ann"}}])
        ok("POST", "/v1/events", json=[{**event, "id": "e_2", "amends": "e_1", "properties": {"tokens": 2000}}])
        asked = ok("POST", f"{its}/plan-changes/quote", json={"quantities": {"seats": 1}, "when": "now"})
        ok("POST", f"{its}/plan-changes", json={"quote_id": asked["id"]})
        ok("POST", f"{its}/plan-changes/quote", json={"quantities": {"seats": 2}, "when": "now"})
        ok("POST", f"{its}/tokens", json={"member": ANN})
        with psycopg.connect(self.database_url) as connection:
            connection.execute(
                """
                insert into subjects (subject, account) values ('stripe:cus_' || %(a)s, %(a)s);
                """.replace("%(a)s", f"'{account}'")
            )
            subject = f"stripe:cus_{account}"
            connection.execute(
                "insert into inbox (subject, event_id, type, received_at, body) values (%s, 'evt_1', 't', now(), %s)",
                (subject, b'{"email": "ann@acme.example"}'),
            )
            connection.execute(
                "insert into drift (subject, account, field, stored, provider, found_by, found_at)"
                " values (%s, %s, 'name', 'Ann', 'Acme Inc', 'sweep', now())",
                (subject, account),
            )
            connection.execute("insert into invoice_readings (subject) values (%s)", (subject,))
            connection.execute("insert into invoice_facts values (%s, 'in_1', 1, now(), now(), '{}')", (subject,))
            connection.execute(
                "insert into seen_values values (%s, 'users', '2026-11-01T00:00:00Z', 'ann'),"
                " (%s, 'users', '2026-11-01T00:00:00Z', 'bo@acme')",
                (account, account),
            )
            connection.execute(
                """
                insert into approvals (account, id, kind, state, scope, digest, method, path, query, headers, body,
                    preview, asked_by, asked_by_person, account_version, catalog_version, reason, asked_at, expires_at)
                values (%s, 'appr_' || %s, 'overrides', 'waiting', 'overrides:write', '', 'PUT', '/', 'reason=for+Ann',
                    '{}', '{"reason": "promised to Ann"}', '{"message": "for Ann"}',
                    '{"kind": "person", "id": "p", "name": "Ann"}', 'p', 1, 1, 'Ann said so', now(), now())
                """,
                (account, account),
            )
            connection.execute(
                "insert into plan_migration_accounts (account, migration, status, before)"
                """ values (%s, 7, 'done', '{"key": "pro", "version": 1, "reason": "promised"}')""",
                (account,),
            )

    def standing(self, account: str) -> Any:
        """What the account may do and has left, without words and versions; and what its members hold, in their order.
        Any: JSON."""
        decisions = self.api.ok("GET", f"/v1/accounts/{account}/decisions")["decisions"]
        balances = [self.api.ok("GET", f"/v1/accounts/{account}/balances/{key}") for key in ("ai_credits", "api_calls")]
        members = self.api.ok("GET", f"/v1/accounts/{account}/members")
        counted = {key: {name: its[name] for name in ("allowed", "reason", "limit", "used", "reserved", "remaining",
                                                      "value", "plan")} for key, its in decisions.items()}  # fmt: skip
        seats = [(each["role"], each["seat"], each["since"], each["active_at"]) for each in members["members"]]
        return counted, balances, members["taken"], seats

    def members(self, account: str) -> list[str]:
        return [each["member"] for each in self.api.ok("GET", f"/v1/accounts/{account}/members")["members"]]

    def erase(self, account: str) -> Any:
        """Any: JSON."""
        said = {"confirm": account, "reason": "asked for in writing"}
        return self.api.ok("POST", f"/v1/accounts/{account}/erase", json=said)

    def exported(self, account: str) -> dict[str, list[dict[str, Any]]]:
        """Any: rows as JSON."""
        found: dict[str, list[dict[str, Any]]] = {}
        query = {"limit": "3"}
        while True:
            page = self.api.ok("GET", f"/v1/accounts/{account}/export", params=query)
            found.setdefault(page["section"], []).extend(page["rows"])
            if page["next"] is None:
                return found
            query["after"] = page["next"]

    def rows(self, account: str) -> dict[str, list[str]]:
        """Every row of every table that has to do with the account, as text."""
        with psycopg.connect(self.database_url) as connection:
            names = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
            found = {}
            for (name,) in names:
                query = sql.SQL("select row_to_json(t)::text from {} t").format(sql.Identifier(name))
                every = [row for (row,) in connection.execute(query).fetchall()]
                found[name] = [row for row in every if f'"account":"{account}"' in row or f"cus_{account}" in row]
        return found


@pytest.fixture(scope="module")
def house(postgres_url: str) -> Iterator[House]:
    settings = Settings(personal_properties=("user",))
    with migrated_database(postgres_url) as database_url, serving(settings, database_url) as api:
        yield House(api, database_url)


@pytest.fixture(scope="module")
def erased(house: House) -> tuple[Any, Any, Any]:
    """What an account was, and what it is after an erasure. Any: JSON."""
    house.fill("acme")
    house.fill("globex")
    before = house.standing("acme")
    assert house.api.check("acme", "billing_admin", member=ANN)["allowed"]
    answer = house.erase("acme")
    return before, house.standing("acme"), answer


def test_what_an_account_has_and_used_stays_as_it_was(erased: tuple[Any, Any, Any]) -> None:
    before, after, answer = erased
    assert before == after
    assert answer["account"] == "acme"
    assert answer["members"] == 3
    assert answer["facts"] > 5
    assert answer["records"] > 5
    assert before[0]["ai_credits"]["used"] > 0
    assert before[0]["ai_credits"]["reserved"] > 0


def test_nothing_personal_is_left_in_any_table(house: House, erased: tuple[Any, Any, Any]) -> None:
    rows = house.rows("acme")
    assert {name for name, its in rows.items() if its} >= {"facts", "ledger", "inbox", "plan_changes", "reservations"}
    for table, its in rows.items():
        for row in its:
            assert not PERSONAL.search(row), f"{table}: {row}"
            assert b"ann@acme".hex() not in row


def test_no_process_remembers_who_was_a_member(house: House, erased: tuple[Any, Any, Any]) -> None:
    assert not house.api.check("acme", "billing_admin", member=ANN)["allowed"]
    assert house.api.check("acme", "billing_admin", member=house.members("acme")[0])["allowed"]


def test_the_neighbours_are_as_they_were(house: House, erased: tuple[Any, Any, Any]) -> None:
    assert house.members("globex") == sorted([ANN, BO, ODD])
    assert "Acme Inc" in json.dumps(house.exported("globex"))


def test_members_have_other_keys_in_the_same_order_everywhere(house: House, erased: tuple[Any, Any, Any]) -> None:
    names = house.members("acme")
    assert len(names) == 3
    assert all(name.startswith("erased-") for name in names)
    exported = house.exported("acme")
    assert {row["member"] for row in exported["ledger"] if row["member"]} == set(names)
    assert {row["slot"].partition(" member:")[2] for row in exported["balances"] if " member:" in row["slot"]} == set(
        names
    )


def test_facts_and_ledger_still_fold_to_what_is_kept(house: House, erased: tuple[Any, Any, Any]) -> None:
    assert house.api.ok("POST", "/v1/accounts/acme/rebuild")["differences"] == []
    assert house.standing("acme") == erased[1]


def test_the_audit_log_is_whole_and_tells_of_the_erasure(
    house: House, erased: tuple[Any, Any, Any], tmp_path: Path
) -> None:
    shell = Shell(tmp_path, PAYGRADE_URL=house.api.url, PAYGRADE_API_KEY=KEY)
    assert shell.json("audit", "verify")["faults"] == []
    (record,) = house.api.ok("GET", "/v1/accounts/acme/audit", params={"action": "account.erase"})["records"]
    assert record["personal"] == {"reason": "asked for in writing"}
    assert record["actor"]["id"] == "admin"
    listed = house.api.ok("GET", "/v1/accounts/acme/audit", params={"action": "override"})["records"]
    assert listed[0]["changes"] == {"value": [None, True]}
    assert listed[0]["personal"] is None


def test_who_asks_again_gets_what_was_answered_and_what_is_held_can_be_used(
    house: House, erased: tuple[Any, Any, Any]
) -> None:
    said = {"account": "acme", "feature": "tokens", "quantity": 3000, "member": ANN, "id": "use_0"}
    again = house.api.ok("POST", "/v1/consume", json={**said, "properties": {"model": "large", "user": "Ann 0"}})
    assert again["replayed"]
    done = house.api.ok("POST", "/v1/reservations/hold_1/commit", json={"account": "acme"})
    assert done["reservation"]["state"] == "committed"
    assert done["reservation"]["member"].startswith("erased-")
    assert house.api.ok("POST", "/v1/accounts/acme/rebuild")["differences"] == []


def test_an_erasure_can_be_asked_for_again(house: House) -> None:
    house.fill("initech")
    house.erase("initech")
    house.api.ok("PUT", "/v1/accounts/initech/members", json=[{"member": ANN, "role": "owner"}])
    before = house.standing("initech")
    assert house.erase("initech")["members"] == 4
    assert house.standing("initech")[:3] == before[:3]
    assert ANN not in house.members("initech")
    assert house.api.ok("POST", "/v1/accounts/initech/rebuild")["differences"] == []


def test_an_export_has_every_row_of_every_table(house: House) -> None:
    house.fill("umbrella")
    exported, rows = house.exported("umbrella"), house.rows("umbrella")
    assert list(exported) == list(SECTIONS)
    for table, its in exported.items():
        assert len(its) == len(rows[table]), table
    assert exported["inbox"][0]["body"] == '{"email": "ann@acme.example"}'


def test_every_table_says_what_an_erasure_takes_from_it(house: House) -> None:
    with psycopg.connect(house.database_url) as connection:
        names = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    assert {name for (name,) in names} - set(ELSEWHERE) == set(SECTIONS)
    page = (Path(__file__).parents[3] / "docs" / "privacy.md").read_text(encoding="utf-8")
    assert [name for name in SECTIONS if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    "after", ["nothing", "facts x", "facts []", "facts [1,2]", 'facts ["a"]', "facts [9223372036854775808]",
              'ledger ["\\u0000"]', "audit [true]", "[]"],
)  # fmt: skip
def test_a_place_that_no_page_named_is_refused(house: House, after: str) -> None:
    house.api.ok("PUT", "/v1/accounts/hooli", json={})
    house.api.problem(400, "GET", "/v1/accounts/hooli/export", params={"after": after})


def test_an_erasure_needs_the_key_twice_and_an_account(house: House) -> None:
    house.api.ok("PUT", "/v1/accounts/hooli", json={"name": "Hooli"})
    house.api.problem(400, "POST", "/v1/accounts/hooli/erase", json={"confirm": "acme"})
    house.api.problem(400, "POST", "/v1/accounts/hooli/erase", json={})
    assert house.api.ok("GET", "/v1/accounts/hooli")["name"] == "Hooli"
    house.api.problem(404, "POST", "/v1/accounts/nobody/erase", json={"confirm": "nobody"})
    house.api.problem(404, "GET", "/v1/accounts/nobody/export")


def test_a_deleted_account_can_be_exported_and_erased(house: House, tmp_path: Path) -> None:
    house.api.ok("PUT", "/v1/accounts/gone", json={"name": "Gone Ltd"})
    house.api.ok("DELETE", "/v1/accounts/gone")
    shell = Shell(tmp_path, PAYGRADE_URL=house.api.url, PAYGRADE_API_KEY=KEY)
    told = json.loads(shell.run("accounts", "export", "gone"))
    assert told["account"] == "gone"
    assert "Gone Ltd" in json.dumps(told["facts"])
    assert shell.json("accounts", "erase", "gone", "--reason", "asked for")["facts"] == 2
    assert shell.json("accounts", "export", "gone", "-o", "gone.json") == {"file": "gone.json"}
    assert "Gone Ltd" not in (tmp_path / "gone.json").read_text()
    assert shell.json("audit", "verify", "--account", "gone")["faults"] == []
