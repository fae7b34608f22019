"""What needs a second person: it waits, changes nothing, and happens once when somebody else approves it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

import psycopg
import pytest

from paygrade.server.http.app import KEYED
from paygrade.server.http.routes.approvals import WAITING
from paygrade.server.operations import people
from paygrade.server.process.second_person import MONEY, MoneyKind
from paygrade.server.process.settings import Settings
from support.cli_runner import Shell
from support.databases import migrated_database
from support.server_process import Api, serving

GRANT = {"feature": "api_calls", "units": 5, "reason": "promised"}
SUBSCRIPTION = {
    "version": 1, "status": "active", "items": [{"id": "main", "plan": "pro", "quantity": 5}],
    "anchor_at": "2026-01-01T00:00:00Z",
}  # fmt: skip


@dataclass
class House:
    """Two servers over one database, and two people: `dana` asks, `lee` approves."""

    api: Api
    other: Api
    database: str
    dana: Api
    lee: Api

    def ask(self, account: str, **more: Any) -> Any:
        """A grant that waits. Any: JSON."""
        answer = self.dana.post(f"/v1/accounts/{account}/grants", json={**GRANT, "id": uuid4().hex, **more})
        assert answer.status_code == 202, answer.text
        assert answer.headers["location"] == f"/v1/approvals/{answer.json()['id']}"
        return answer.json()

    def granted(self, account: str) -> int:
        its = self.api.ok("GET", f"/v1/accounts/{account}/balances/api_calls")["grants"]
        return sum(each["grant"]["units"] for each in its if each["grant"]["kind"] == "promotion")

    def made_by(self, person: Api, **asked: Any) -> Api:
        """A client with a key that this one made."""
        return Api(
            self.api.url, key=person.ok("POST", "/v1/keys", json={"name": "a key", "role": "admin", **asked})["key"]
        )


@contextmanager
def person(api: Api, role: str = "admin") -> Iterator[Api]:
    email = f"{uuid4().hex}@example.com"
    made = api.ok("POST", "/v1/people", json={"email": email, "name": "Dana", "role": role})
    with Api(api.url, key=None) as client:
        client.headers["origin"] = api.url
        client.ok("POST", "/v1/login", json={"email": email, "password": made["password"]})
        yield client


@pytest.fixture(scope="module")
def house(postgres_url: str) -> Iterator[House]:
    settings = Settings(second_person=frozenset(MONEY))
    with pytest.MonkeyPatch.context() as patch, migrated_database(postgres_url) as url:
        patch.setattr(people, "ATTEMPTS_A_MINUTE", 10_000)
        with serving(settings, url) as api, serving(settings, url) as other, person(api) as dana, person(api) as lee:
            yield House(api, other, url, dana, lee)


@pytest.fixture
def acme(house: House) -> str:
    key = f"acme-{uuid4().hex[:12]}"
    house.api.ok("PUT", f"/v1/accounts/{key}", json={"name": "Acme"})
    return key


def test_every_kind_has_routes_that_need_the_second_person() -> None:
    kinds = {handler.opt["described"].second_person for handler in KEYED}
    assert kinds - {None} == set(MONEY) == set(get_args(MoneyKind))
    assert {handler for handler in KEYED if handler.opt["described"].second_person} == set(WAITING)


def test_what_was_asked_for_happens_once_somebody_else_approves(house: House, acme: str) -> None:
    waiting = house.ask(acme)
    assert (waiting["state"], waiting["kind"], waiting["scope"]) == ("waiting", "grants", "usage:adjust")
    assert waiting["preview"]["grant"]["units"] == 5
    assert house.granted(acme) == 0
    assert house.api.ok("GET", "/v1/approvals", params={"account": acme, "state": "waiting"})["approvals"] == [waiting]
    done = house.lee.ok("POST", f"/v1/approvals/{waiting['id']}/approve", json={"reason": "agreed"})
    assert done["answer"]["grant"]["units"] == 5
    assert (done["approval"]["state"], done["approval"]["reason"]) == ("approved", "agreed")
    assert house.granted(acme) == 5
    again = house.lee.problem(409, "POST", f"/v1/approvals/{waiting['id']}/approve", json={})
    assert again["code"] == "approval_resolved"
    asked, lee = waiting["asked_by"]["id"], done["approval"]["resolved_by"]["id"]
    records = house.api.ok("GET", f"/v1/accounts/{acme}/audit")["records"]
    told = {each["action"]: each["actor"]["id"] for each in records}
    assert told == {"account.put": "admin", "approval.request": asked, "grant.give": asked, "approval.approve": lee}
    approved = next(each for each in records if each["action"] == "approval.approve")
    assert approved["changes"]["asked_by"] == asked
    given = next(each for each in records if each["action"] == "grant.give")
    assert given["request"] == approved["request"]


def test_each_kind_waits_and_happens(house: House, acme: str) -> None:
    its = f"/v1/accounts/{acme}"

    def through(method: str, path: str, body: Any) -> Any:
        waiting = house.dana.request(method, its + path, json=body)
        assert waiting.status_code == 202, waiting.text
        return house.lee.ok("POST", f"/v1/approvals/{waiting.json()['id']}/approve")["answer"]

    assert through("PUT", "/subscriptions/sub_1", SUBSCRIPTION)["account"] == acme
    through("PUT", "/overrides/audit_log", {"value": True, "reason": "promised"})
    assert house.api.check(acme, "audit_log")["allowed"]
    through("DELETE", "/overrides/audit_log?reason=over", None)
    through("PUT", "/usage/api_calls", {"used": 7, "id": "set_1"})
    assert house.api.ok("GET", f"{its}/balances/api_calls")["used"] == 7
    given = through("POST", "/grants", {**GRANT, "id": "g_1"})["grant"]["id"]
    through("DELETE", f"/grants/api_calls/{given}", None)
    quote = house.dana.ok("POST", f"{its}/plan-changes/quote", json={"quantities": {"seats": 6}, "when": "now"})
    change = through("POST", "/plan-changes?wait_s=30", {"quote_id": quote["id"], "reason": "more of them"})
    assert (change["state"], change["quote"]) == ("applied", quote["id"])
    changes = house.api.ok("GET", f"{its}/plan-changes")["changes"]
    assert [each["id"] for each in changes if each["source"] == "request"] == [change["id"]]


def test_what_would_be_refused_is_refused_at_once_and_only_what_moves_waits(house: House, acme: str) -> None:
    asked = {**GRANT, "id": "g_1"}
    assert house.dana.problem(404, "POST", f"/v1/accounts/{acme}/grants",
                              json={**asked, "feature": "nothing"})["code"] == "unknown_feature"  # fmt: skip
    assert house.dana.problem(404, "POST", "/v1/accounts/nobody/grants", json=asked)["code"] == "unknown_account"
    assert house.dana.problem(400, "POST", f"/v1/accounts/{acme}/grants", json={})["code"] == "invalid_body"
    big = {**asked, "reason": "x" * 70_000}
    assert house.dana.problem(413, "POST", f"/v1/accounts/{acme}/grants", json=big)["code"] == "body_too_large"
    path = f"/v1/accounts/{acme}/overrides/audit_log"
    assert house.dana.put(path, params={"dry_run": "true"}, json={"value": True}).status_code == 200
    # A switch that a route does not have is none.
    assert house.dana.post(f"/v1/accounts/{acme}/grants", params={"dry_run": "true"}, json=asked).status_code == 202
    house.dana.ok("PUT", f"/v1/accounts/{acme}/blocks/fraud", json={})
    assert house.granted(acme) == 0


def test_nobody_approves_what_they_asked_for_whichever_key_they_use(house: House, acme: str) -> None:
    waiting = house.ask(acme)
    path = f"/v1/approvals/{waiting['id']}"
    with house.made_by(house.dana) as own, house.made_by(own) as owns_own, house.made_by(house.lee) as lees:
        for client in (house.dana, own, owns_own, house.api):
            told = client.problem(403, "POST", f"{path}/approve")
            assert told["code"] == "second_person_needed"
        for client in (house.dana, owns_own):
            assert client.problem(403, "POST", f"{path}/decline")["code"] == "second_person_needed"
        assert house.lee.problem(403, "POST", f"{path}/withdraw")["code"] == "not_the_asker"
        assert house.granted(acme) == 0
        # A key that somebody else made is that person's word.
        lees.ok("POST", f"{path}/approve")
        assert house.granted(acme) == 5
        # What a machine asks for with its key, a person approves, but not the one who made the key.
        asked = own.post(f"/v1/accounts/{acme}/grants", json={**GRANT, "id": "g_2"}).json()
        assert house.dana.problem(403, "POST", f"/v1/approvals/{asked['id']}/approve")["code"] == "second_person_needed"
        house.lee.ok("POST", f"/v1/approvals/{asked['id']}/approve")
    assert house.granted(acme) == 10


def test_who_approves_or_declines_needs_the_scope_of_what_was_asked(house: House, acme: str) -> None:
    path = f"/v1/approvals/{house.ask(acme)['id']}"
    with house.made_by(house.lee, role=None, scopes=["approvals:read", "approvals:write"]) as lesser:
        for step in ("approve", "decline"):
            assert "`usage:adjust`" in lesser.problem(403, "POST", f"{path}/{step}")["detail"]
    with person(house.api, "developer") as developer:
        assert developer.problem(403, "POST", f"{path}/approve")["scope"] == "approvals:write"
    with person(house.api, "support") as support:
        support.ok("POST", f"{path}/approve")


def test_it_happens_once_whoever_approves_at_the_same_moment(house: House, acme: str) -> None:
    path = f"/v1/approvals/{house.ask(acme)['id']}/approve"
    with house.made_by(house.lee) as key:
        clients = [Api(url, key=key.headers["authorization"].removeprefix("Bearer ")) for url in
                   (house.api.url, house.other.url) * 3]  # fmt: skip
        with ThreadPoolExecutor(6) as threads:
            answers = list(threads.map(lambda client: client.post(path), clients))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409, 409]
    assert house.granted(acme) == 5


def test_the_approval_and_what_it_does_are_saved_together(house: House, acme: str) -> None:
    waiting = house.ask(acme)
    with psycopg.connect(house.database, autocommit=True) as connection:
        connection.execute(
            """
            create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
            create constraint trigger refuse after update on approvals deferrable initially deferred for each row
                execute function refuse()
            """
        )
        assert house.lee.post(f"/v1/approvals/{waiting['id']}/approve").status_code >= 500
        connection.execute("drop trigger refuse on approvals; drop function refuse()")
    assert house.granted(acme) == 0
    assert house.api.ok("GET", f"/v1/approvals/{waiting['id']}")["state"] == "waiting"
    house.lee.ok("POST", f"/v1/approvals/{waiting['id']}/approve")
    assert house.granted(acme) == 5


def test_what_changed_meanwhile_is_not_approved(house: House, acme: str) -> None:
    waiting = house.ask(acme)
    house.api.ok("PUT", f"/v1/accounts/{acme}/blocks/fraud", json={})
    told = house.lee.problem(409, "POST", f"/v1/approvals/{waiting['id']}/approve")
    assert told["code"] == "account_changed"
    assert house.lee.ok("POST", f"/v1/approvals/{waiting['id']}/decline")["state"] == "declined"
    # What its own checks refuse by now, they refuse in their own words.
    same = {"id": "g_1"}
    first, second = house.ask(acme, **same), house.ask(acme, **same, units=6)
    house.lee.ok("POST", f"/v1/approvals/{first['id']}/approve")
    told = house.lee.problem(409, "POST", f"/v1/approvals/{second['id']}/approve")
    assert told["code"] == "id_conflict"
    assert house.api.ok("GET", f"/v1/approvals/{second['id']}")["state"] == "waiting"
    assert house.granted(acme) == 5


def test_what_was_tried_on_another_catalog_is_not_approved(house: House, acme: str) -> None:
    waiting = house.ask(acme)
    text = house.api.get("/v1/catalog", headers={"accept": "application/json"}).json()["document"]
    text["features"]["of_another_catalog"] = {"kind": "boolean"}
    house.api.ok("PUT", "/v1/catalog", json=text)
    told = house.lee.problem(409, "POST", f"/v1/approvals/{waiting['id']}/approve")
    assert told["code"] == "catalog_changed"
    assert house.lee.ok("POST", f"/v1/approvals/{waiting['id']}/decline")["state"] == "declined"
    assert house.granted(acme) == 0


def test_what_is_only_tried_is_neither_decided_on_nor_told_anywhere(house: House, acme: str) -> None:
    its, clients = f"/v1/accounts/{acme}", (house.api, house.other)

    def seen() -> list[Any]:
        """What both servers decide and count, and what was told."""
        told = [client.check(acme, feature) for client in clients for feature in ("audit_log", "api_calls")]
        counted = [client.ok("GET", f"{its}/balances/api_calls")["used"] for client in clients]
        updates = house.api.ok("GET", "/v1/updates", params={"account": acme, "limit": 500})["updates"]
        return [[(each["allowed"], each["used"], each["version"]) for each in told], counted, updates]

    before = seen()
    asked: list[tuple[str, str, Any]] = [
        ("PUT", "/usage/api_calls", {"used": 7, "id": "set_1"}),
        ("PUT", "/overrides/audit_log", {"value": True, "reason": "promised"}),
        ("PUT", "/subscriptions/sub_1", SUBSCRIPTION),
        ("POST", "/grants", {**GRANT, "id": "g_1"}),
    ]
    for method, path, body in asked:
        assert house.dana.request(method, its + path, json=body).status_code == 202
        assert seen() == before, path
    # What is used meanwhile is counted on what there is, by the server that tried as well.
    used = house.api.ok(
        "POST", "/v1/consume", json={"account": acme, "feature": "api_calls", "quantity": 1, "id": "u_1"}
    )
    assert used["decision"]["used"] == 1


def test_whoever_may_not_ask_any_more_gets_nothing_done(house: House, acme: str) -> None:
    made = house.dana.ok("POST", "/v1/keys", json={"name": "a key", "role": "admin"})
    with Api(house.api.url, key=made["key"]) as client:
        asked = client.post(f"/v1/accounts/{acme}/grants", json={**GRANT, "id": "g_1"}).json()
    house.api.ok("POST", f"/v1/keys/{made['id']}/revoke")
    assert house.lee.problem(409, "POST", f"/v1/approvals/{asked['id']}/approve")["code"] == "asker_gone"
    with person(house.api, "support") as support:
        asked = support.post(f"/v1/accounts/{acme}/grants", json={**GRANT, "id": "g_2"}).json()
        house.api.ok("PUT", f"/v1/people/{support.ok('GET', '/v1/me')['id']}/role", json={"role": "viewer"})
    told = house.lee.problem(403, "POST", f"/v1/approvals/{asked['id']}/approve")
    assert told["code"] == "insufficient_scope"
    assert house.granted(acme) == 0


def test_whoever_may_not_approve_any_more_does_not_through_any_server_or_key(house: House, acme: str) -> None:
    path = f"/v1/approvals/{house.ask(acme)['id']}/approve"
    with person(house.api) as kim, house.made_by(kim) as key, house.made_by(kim) as other:
        id, key_id = kim.ok("GET", "/v1/me")["person"]["id"], key.ok("GET", "/v1/me")["id"]
        with psycopg.connect(house.database, autocommit=True) as connection:
            # Nobody is told, as if it had happened this very moment at another server.
            connection.execute("update people set role = 'viewer' where id = %s", (id,))
            for client in (kim, key):
                assert client.problem(403, "POST", path)["code"] == "insufficient_scope"
            connection.execute("update people set role = 'admin' where id = %s", (id,))
            connection.execute("update api_keys set revoked_at = now() where id = %s", (key_id,))
            assert key.post(path).status_code in (401, 403)  # forgotten by now, or remembered
            connection.execute("delete from people where id = %s", (id,))
            assert other.problem(403, "POST", path)["code"] == "second_person_needed"
    assert house.granted(acme) == 0
    house.lee.ok("POST", path)
    assert house.granted(acme) == 5


def test_two_people_who_approve_what_the_other_asked_for_do_not_wait_for_each_other(house: House, acme: str) -> None:
    beta = f"beta-{uuid4().hex[:8]}"
    house.api.ok("PUT", f"/v1/accounts/{beta}", json={"name": "Beta"})
    of_dana = [house.ask(acme, id=f"g_{number}") for number in range(3)]
    of_lee = [
        house.lee.post(f"/v1/accounts/{beta}/grants", json={**GRANT, "id": f"g_{number}"}).json() for number in range(3)
    ]
    asked = [
        pair for both in zip(of_dana, of_lee, strict=True) for pair in ((house.lee, both[0]), (house.dana, both[1]))
    ]
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda its: its[0].post(f"/v1/approvals/{its[1]['id']}/approve"), asked))
    assert [answer.status_code for answer in answers] == [200] * 6, [answer.text for answer in answers]


def test_it_waits_for_seven_days_and_can_be_withdrawn_until_then(house: House, acme: str) -> None:
    late, other = house.ask(acme, id="g_1"), house.ask(acme)
    with psycopg.connect(house.database, autocommit=True) as connection:
        (lasts,) = connection.execute(
            "select extract(day from expires_at - asked_at) from approvals where id = %s", (late["id"],)
        ).fetchone() or (None,)
        assert lasts == 7
        connection.execute("update approvals set expires_at = now() where id = %s", (late["id"],))
    for step in ("approve", "decline", "withdraw"):
        told = (house.dana if step == "withdraw" else house.lee).problem(
            409, "POST", f"/v1/approvals/{late['id']}/{step}"
        )
        assert told["code"] == "approval_resolved"
        assert "expired" in told["detail"]
    assert house.ask(acme, id="g_1")["id"] != late["id"]
    shown = house.api.ok("GET", "/v1/approvals", params={"account": acme, "state": "expired"})["approvals"]
    assert [each["id"] for each in shown] == [late["id"]]
    with house.made_by(house.dana) as own:
        assert own.ok("POST", f"/v1/approvals/{other['id']}/withdraw", json={"reason": "oops"})["state"] == "withdrawn"
    assert house.lee.problem(409, "POST", f"/v1/approvals/{other['id']}/approve")["code"] == "approval_resolved"
    assert house.lee.problem(404, "POST", "/v1/approvals/appr_0/approve")["code"] == "unknown_approval"
    assert house.api.problem(400, "GET", "/v1/approvals?state=odd")["code"] == "invalid_query"
    assert house.granted(acme) == 0


def test_a_request_sent_again_waits_once_with_a_key_or_without(house: House, acme: str) -> None:
    first, second = house.ask(acme, id="g_1"), house.ask(acme, id="g_1")
    assert first == second
    path, body = f"/v1/accounts/{acme}/grants", {**GRANT, "id": "g_2"}
    keyed = [house.dana.post(path, json=body, headers={"idempotency-key": "k_1"}) for _ in range(2)]
    assert [answer.status_code for answer in keyed] == [202, 202]
    assert keyed[0].json() == keyed[1].json()
    assert keyed[1].headers["idempotent-replayed"] == "true"
    approve = f"/v1/approvals/{keyed[0].json()['id']}/approve"
    done = [house.lee.post(approve, headers={"idempotency-key": "k_2"}) for _ in range(2)]
    assert [answer.status_code for answer in done] == [200, 200]
    assert done[0].json() == done[1].json()
    assert house.granted(acme) == 5
    with ThreadPoolExecutor(4) as threads:
        ids = set(threads.map(lambda _: house.ask(acme, id="g_3")["id"], range(4)))
    assert len(ids) == 1


def test_a_list_has_pages(house: House, acme: str) -> None:
    asked = [house.ask(acme)["id"] for _ in range(3)]
    query, found = {"account": acme, "limit": "2"}, []
    while True:
        page = house.api.ok("GET", "/v1/approvals", params=query)
        found += [each["id"] for each in page["approvals"]]
        if page["next"] is None:
            break
        query["before"] = page["next"]
    assert found == asked[::-1]


def test_the_command_line_lists_approves_declines_and_withdraws(house: House, acme: str, tmp_path: Path) -> None:
    waiting, other, own = (house.ask(acme)["id"] for _ in range(3))
    with house.made_by(house.lee) as lees, house.made_by(house.dana) as danas:
        lee, dana = (
            Shell(tmp_path, PAYGRADE_URL=house.api.url, PAYGRADE_API_KEY=its.headers["authorization"].split()[1])
            for its in (lees, danas)
        )
        listed = [line.split("\t") for line in lee.run("approvals", "list", "--account", acme).splitlines()]
        assert [row[0] for row in listed if row[0].startswith("appr_")] == [own, other, waiting]
        assert "somebody else has to approve" in dana.run("approvals", "approve", waiting, code=1)
        assert "approved" in lee.run("approvals", "approve", waiting, "--reason", "agreed")
        assert "declined" in lee.run("approvals", "decline", other)
        assert "withdrawn" in dana.run("approvals", "withdraw", own)
        assert lee.json("approvals", "list", "--account", acme) == {"approvals": [], "next": None}
    assert house.granted(acme) == 5
