"""Servers that are killed while somebody approves: what moves money happens once or not at all, and the approval says
which.

The moments are exact: a lock of ours keeps the server where it is, and it is killed there.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest
from psycopg import sql

from paygrade.catalog.parse import parse
from paygrade.cli.demo_company import Company
from paygrade.documents.catalog_file import read_catalog
from paygrade.server.process.second_person import MONEY
from paygrade.simulator.http import serve as simulator
from support.cluster import Cluster, folder_of_its_own
from support.server_process import SAMPLE, Api
from support.waiting import eventually, how_many_wait_for

PAUSE = 471200
"""The advisory lock that a server waits for in the middle of an approval."""
WAITS = f"""
    create function wait_here() returns trigger language plpgsql as
    $$ begin perform pg_advisory_xact_lock({PAUSE}); return new; end $$
"""
WAITS_TO_SAY_SO = """
    create trigger wait_to_say_so before update on approvals
    for each row when (new.account = any({})) execute function wait_here()
"""
WAITS_TO_COMMIT = """
    create constraint trigger wait_to_commit after update on approvals deferrable initially deferred
    for each row when (new.account = any({})) execute function wait_here()
"""


class House(Cluster):
    """Two servers, a provider, and three people: `dana` asks, `lee` and `kim` approve."""

    provider: simulator.Running
    shop: Company
    dana: Api
    lee: tuple[Api, Api]
    kim: tuple[Api, Api]

    @property
    def settings(self) -> Mapping[str, str]:
        return {
            **super().settings,
            "PAYGRADE_SECOND_PERSON": ",".join(MONEY),
            "PAYGRADE_STRIPE_API_KEY": self.provider.key,
            "PAYGRADE_STRIPE_API_BASE": self.provider.url,
            "PAYGRADE_STRIPE_WEBHOOK_SECRET": self.provider.secret,
            "PAYGRADE_CLOCK_URL": self.provider.url,
        }

    def person(self) -> tuple[Api, Api]:
        """A key of a new person, at each of the servers."""
        email = f"{uuid4().hex}@example.com"
        made = self.ask("POST", "/v1/people", json={"email": email, "name": "Dana", "role": "admin"})
        with Api(self.server_urls[0], key=None) as client:
            client.headers["origin"] = client.url
            client.ok("POST", "/v1/login", json={"email": email, "password": made["password"]})
            key = client.ok("POST", "/v1/keys", json={"name": "theirs", "role": "admin"})["key"]
        first, second = (Api(url, key=key) for url in self.server_urls)
        return first, second

    def customer(self) -> str:
        """An account with a subscription at the provider that is paid."""
        account = f"acme-{uuid4().hex[:8]}"
        self.shop.welcome(account, account)
        self.shop.subscribe(account, "pro_monthly", quantity=3)
        self.ask("PUT", f"/v1/accounts/{account}", json={"links": {"stripe": [self.shop.customers[account]]}})
        self.ask("POST", f"/v1/accounts/{account}/refresh?wait_s=20")
        # Whoever reads its invoices would wait for the same locks, and be taken for somebody who approves.
        eventually(lambda: self.ask("GET", "/v1/reports/revenue")["unread"]["waiting"] == 0)
        return account

    def paid(self, account: str) -> list[int]:
        """What its invoices came to that are paid, the latest first."""
        listed = self.shop._stripe.v1.invoices.list({"customer": self.shop.customers[account], "limit": 100})
        return [invoice.amount_paid for invoice in listed.data if invoice.status == "paid"]

    def granted(self, account: str) -> int:
        its = self.ask("GET", f"/v1/accounts/{account}/balances/api_calls", server=1)["grants"]
        return sum(each["grant"]["units"] for each in its if each["grant"]["kind"] == "promotion")

    def state(self, approval: str) -> Any:
        return self.lee[1].ok("GET", f"/v1/approvals/{approval}")["state"]

    @contextmanager
    def kept_back(
        self, *, at_once: Sequence[str] = (), to_say_so: Sequence[str] = (), to_commit: Sequence[str] = ()
    ) -> Iterator[psycopg.Connection]:
        """A session that approvals of these accounts wait for: before they do anything, once all is done but to say
        so, or once all is said."""
        with psycopg.connect(self.database_url, autocommit=True) as ours:
            ours.execute(WAITS)
            for trigger, accounts in ((WAITS_TO_SAY_SO, to_say_so), (WAITS_TO_COMMIT, to_commit)):
                ours.execute(sql.SQL(trigger).format(sql.Literal(list(accounts))))
            ours.execute("select pg_advisory_lock(%s)", (PAUSE,))
            with ours.transaction():
                ours.execute("select from accounts where account = any(%s) for update", (list(at_once),))
                yield ours
            ours.execute("select pg_advisory_unlock(%s)", (PAUSE,))
            eventually(lambda: how_many_wait_for(ours) == 0)
            ours.execute("drop function wait_here cascade")


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    document, _ = read_catalog(SAMPLE)
    with ExitStack() as stack:
        folder = stack.enter_context(folder_of_its_own("approvals"))
        made = House(folder, servers=2, seed=1, admin_key="sk_test_of_crashes")
        made.provider = stack.enter_context(simulator.running())
        made.shop = Company(url=made.provider.url, key=made.provider.key)
        made.shop.stock(parse(document))
        stack.enter_context(made.running(SAMPLE.read_text()))
        made.dana, made.lee, made.kim = made.person()[0], made.person(), made.person()
        yield made


class Asked:
    """Units to be given to an account and a plan change of another, both waiting for somebody else."""

    def __init__(self, house: House) -> None:
        self.house, self.given, self.customer = house, f"acme-{uuid4().hex[:8]}", house.customer()
        house.ask("PUT", f"/v1/accounts/{self.given}", json={"name": "Acme"})
        body = {"feature": "api_calls", "units": 5, "reason": "promised", "id": "g_1"}
        grant = house.dana.ok("POST", f"/v1/accounts/{self.given}/grants", json=body)
        its = f"/v1/accounts/{self.customer}/plan-changes"
        quote = house.dana.ok("POST", f"{its}/quote", json={"plan": "business"})
        self.due, self.before = quote["money"]["due_now"], house.paid(self.customer)
        assert self.due > 0
        change = house.dana.ok("POST", its, json={"quote_id": quote["id"], "reason": "an upgrade"})
        self.grant, self.change = f"/v1/approvals/{grant['id']}", f"/v1/approvals/{change['id']}"
        self.headers = {"Idempotency-Key": uuid4().hex}
        """Of the plan change's approval; the grant's has none."""

    @property
    def accounts(self) -> tuple[str, str]:
        return self.given, self.customer

    def unanswered(self) -> list[threading.Thread]:
        """Approvals of both that nobody will answer."""
        asked = ((self.grant, dict[str, str]()), (self.change, self.headers))
        return [threading.Thread(target=self._unanswered, args=each) for each in asked]

    def _unanswered(self, path: str, headers: dict[str, str]) -> None:
        with suppress(httpx2.HTTPError):
            self.house.lee[0].post(f"{path}/approve", headers=headers)
            raise AssertionError("it was answered")

    def states(self) -> list[str]:
        return [self.house.lee[1].ok("GET", path)["state"] for path in (self.grant, self.change)]

    def approve_again(self) -> tuple[httpx2.Response, httpx2.Response]:
        """At the other server. What a dead process held under the key is free once PostgreSQL knows that it is."""

        def changed() -> httpx2.Response | None:
            answer = self.house.lee[1].post(f"{self.change}/approve", headers=self.headers)
            in_use = answer.status_code == 409 and answer.json()["code"] == "idempotency_key_in_use"
            return None if in_use else answer

        found = eventually(changed)
        assert found is not None
        return self.house.lee[1].post(f"{self.grant}/approve"), found

    def is_done_once(self, id: str) -> None:
        """What was asked for has happened, and one change of the plan was paid once."""
        house, its = self.house, f"/v1/accounts/{self.customer}/plan-changes"
        told = eventually(lambda: applied(house.ask("GET", f"{its}/{id}", server=1)))
        assert told["state"] == "applied", told
        made = [each for each in house.ask("GET", its, server=1)["changes"] if each["source"] == "request"]
        assert [each["id"] for each in made] == [id]
        assert house.paid(self.customer) == [self.due, *self.before]
        assert house.granted(self.given) == 5
        assert self.states() == ["approved", "approved"]
        for path in (self.grant, self.change):
            assert house.kim[1].problem(409, "POST", f"{path}/approve")["code"] == "approval_resolved"
        assert (house.paid(self.customer), house.granted(self.given)) == ([self.due, *self.before], 5)


def applied(told: Any) -> Any:
    return told["change"] if told["change"]["state"] not in ("asked", "pending") else None


def test_two_people_who_approve_at_the_same_moment_at_two_servers_approve_once(house: House) -> None:
    asked, answers = Asked(house), list[tuple[str, httpx2.Response]]()
    asking = [
        threading.Thread(target=lambda client=client, path=path: answers.append((path, client.post(f"{path}/approve"))))
        for client in (house.lee[0], house.kim[1])
        for path in (asked.grant, asked.change)
    ]
    with house.kept_back(at_once=asked.accounts) as ours:
        for each in asking:
            each.start()
        eventually(lambda: how_many_wait_for(ours) >= len(asked.accounts))
    for each in asking:
        each.join()
    for path in (asked.grant, asked.change):
        won, lost = sorted((answer for of, answer in answers if of == path), key=lambda answer: answer.status_code)
        assert (won.status_code, lost.status_code, lost.json()["code"]) == (200, 409, "approval_resolved")
        assert house.lee[1].ok("GET", path) == won.json()["approval"]
    asked.is_done_once(next(a.json()["answer"]["id"] for of, a in answers if of == asked.change and a.is_success))


def test_killed_while_somebody_approves_it_happens_once_or_not_at_all_and_the_approval_says_which(
    house: House,
) -> None:
    before, saying, committing = moments = [Asked(house) for _ in range(3)]
    asking = [each for asked in moments for each in asked.unanswered()]
    with house.kept_back(at_once=before.accounts, to_say_so=saying.accounts, to_commit=committing.accounts) as ours:
        for each in asking:
            each.start()
        eventually(lambda: how_many_wait_for(ours) == len(asking))
        house.kill_server(0)
        for each in asking:
            each.join()
        for asked in moments:
            assert asked.states() == ["waiting", "waiting"]
    # PostgreSQL goes on with what it was told last, and finds nobody to tell of it.
    eventually(lambda: committing.states() == ["approved", "approved"])
    for asked in (before, saying):
        assert asked.states() == ["waiting", "waiting"]
        assert (house.paid(asked.customer), house.granted(asked.given)) == (asked.before, 0)
        grant, change = asked.approve_again()
        assert (grant.status_code, change.status_code) == (200, 200), (grant.text, change.text)
        asked.is_done_once(change.json()["answer"]["id"])
    grant, change = committing.approve_again()
    assert (grant.status_code, grant.json()["code"]) == (409, "approval_resolved")
    # Who sent a key with it is told what came of it.
    assert (change.status_code, change.headers["idempotent-replayed"]) == (200, "true")
    committing.is_done_once(change.json()["answer"]["id"])
