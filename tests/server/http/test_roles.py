"""Every route × every role, from the OpenAPI document: what is not allowed is refused, and nothing has happened."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from paygrade.server.process.scopes import ROLES, SCOPES, opened_by
from paygrade.server.process.settings import Settings
from support.databases import migrated_database
from support.openapi import example_of, plain_address
from support.server_process import Api, serving
from support.waiting import eventually

Operation = tuple[str, str, dict[str, Any]]
PAGE = Path(__file__).parents[3] / "docs" / "keys.md"
NEEDLESS = "last_used_at"
"""What is written down of who was refused, too."""


@pytest.fixture(scope="module")
def database(postgres_url: str) -> Iterator[str]:
    with migrated_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
def api(database: str) -> Iterator[Api]:
    """A server with something in every place that a route may change."""
    with serving(Settings(sweep_every=None), database) as running:
        running.ok("PUT", "/v1/accounts/acme", json={"name": "Acme"})
        for path, body in (
            ("overrides/exports", {"value": True}),
            ("blocks/fraud", {}),
            ("members/ann", {"role": "x"}),
        ):
            running.ok("PUT", f"/v1/accounts/acme/{path}", json=body)
        running.ok("POST", "/v1/consume", json={"account": "acme", "feature": "api_calls", "id": "acme"})
        running.ok("POST", "/v1/accounts/acme/grants", json={"feature": "api_calls", "units": 5, "id": "acme"})
        yield running


@pytest.fixture(scope="module")
def operations(api: Api) -> list[Operation]:
    """All that anything is needed for."""
    paths = api.ok("GET", "/openapi.json")["paths"]
    return [(m.upper(), path, told) for path, each in paths.items() for m, told in each.items() if told["security"]]


@pytest.fixture(scope="module")
def keys(api: Api) -> dict[str, str]:
    """A key of each role, and some that nobody is let in with."""
    asked: dict[str, dict[str, Any]] = {role: {"role": role} for role in ROLES}
    asked |= {
        "revoked": {"role": "admin"},
        "elsewhere": {"role": "admin", "ip_ranges": ["203.0.113.0/24"]},
        "exhausted": {"role": "admin", "rate_limit": 1},
        "page": {"publishable": True},
        "nothing": {"scopes": ["stream:read"]},
    }
    made = {name: api.ok("POST", "/v1/keys", json={"name": name, **each}) for name, each in asked.items()}
    api.ok("POST", f"/v1/keys/{made['revoked']['id']}/revoke")
    return {name: each["key"] for name, each in made.items()}


def needed(told: dict[str, Any]) -> str:
    """The one scope that an operation says it needs."""
    scopes = {scope for way in told["security"] for named in way.values() for scope in named}
    assert len(scopes) == 1, told["operationId"]
    return str(scopes.pop())


ORDERED = "select given = readable and not exists (select from updates where position is null) from update_log"


def contents(database: str) -> dict[str, str]:
    """All there is in the database, table by table, once all updates have their places: they are given after the
    commit."""
    found = {}
    with psycopg.connect(database, autocommit=True) as connection:
        eventually(lambda: (connection.execute(ORDERED).fetchone() or (False,))[0])
        tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        for (name,) in tables:
            rows = "select (to_jsonb(t) - {}::text)::text as its from {} t"
            told = sql.SQL(f"select md5(string_agg(its, ',' order by its)) from ({rows}) rows")
            query = told.format(sql.Literal(NEEDLESS), sql.Identifier(name))
            row = connection.execute(query).fetchone()
            assert row is not None
            found[name] = row[0]
    return found


def sent(told: dict[str, Any]) -> dict[str, Any]:
    if "requestBody" not in told:
        return {}
    body = example_of(told)
    # Their accounts are all this one.
    return {"json": body | {"account": "acme"} if isinstance(body, dict) and "account" in body else body}


def test_every_route_says_one_scope_and_every_scope_opens_a_route(operations: list[Operation]) -> None:
    shows_more = {"webhooks:answers"}
    assert {needed(told) for _, _, told in operations} == set(SCOPES) - shows_more
    assert len(operations) > 80


@pytest.mark.parametrize("role", [*ROLES, "page", "nothing"])
def test_what_a_role_is_not_allowed_is_refused_and_nothing_has_happened(
    api: Api, database: str, operations: list[Operation], keys: dict[str, str], role: str
) -> None:
    opened = ROLES.get(role) or opened_by(["decisions:read" if role == "page" else "stream:read"])
    before, refused = contents(database), 0
    with Api(api.url, key=keys[role]) as client:
        for method, path, told in operations:
            for_pages = any("token" in way for way in told["security"])
            if (scope := needed(told)) in opened and (role != "page" or for_pages):
                continue
            answer = client.request(method, plain_address(path), **sent(told))
            problem = answer.json()
            seen = (answer.status_code, problem["code"], problem["scope"])
            assert seen == (403, "insufficient_scope", scope), (method, path)
            assert f"`{scope}`" in problem["detail"]
            refused += 1
    assert (refused == 0) == (role == "admin")
    assert contents(database) == before


def test_a_person_is_refused_what_their_role_lacks_and_nothing_has_happened(
    api: Api, database: str, operations: list[Operation]
) -> None:
    asked = {"email": "dana@example.com", "name": "Dana", "role": "support"}
    password = api.ok("POST", "/v1/people", json=asked)["password"]
    with Api(api.url, key=None) as client:
        client.headers["origin"] = api.url
        client.ok("POST", "/v1/login", json={"email": "dana@example.com", "password": password})
        before, refused = contents(database), 0
        for method, path, told in operations:
            if (scope := needed(told)) not in ROLES["support"]:
                answer = client.request(method, plain_address(path), **sent(told))
                assert (answer.status_code, answer.json()["scope"]) == (403, scope), (method, path)
                refused += 1
    assert refused > 30
    assert contents(database) == before


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("revoked", 401, "unauthenticated"),
        ("elsewhere", 403, "address_not_allowed"),
        ("exhausted", 429, "rate_limited"),
    ],
)
def test_a_key_that_does_not_count_opens_no_route_and_nothing_has_happened(
    api: Api, database: str, operations: list[Operation], keys: dict[str, str], name: str, status: int, code: str
) -> None:
    with Api(api.url, key=keys[name]) as client:
        client.get("/v1/catalog")  # the only one of its minute
        before = contents(database)
        for method, path, told in operations:
            answer = client.request(method, plain_address(path), **sent(told))
            assert (answer.status_code, answer.json()["code"]) == (status, code), (method, path)
    assert contents(database) == before


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_is_allowed_it_is_let_in_for(postgres_url: str, operations: list[Operation], role: str) -> None:
    """On a server of its own, since all of that happens."""
    with migrated_database(postgres_url) as url, serving(Settings(sweep_every=None), url) as own:
        own.ok("PUT", "/v1/accounts/acme", json={})
        with Api(own.url, key=own.ok("POST", "/v1/keys", json={"name": role, "role": role})["key"]) as client:
            let_in = 0
            for method, path, told in operations:
                if needed(told) not in ROLES[role]:
                    continue
                answer = client.request(method, plain_address(path), **sent(told))
                told_kind = answer.headers.get("content-type", "")
                code = answer.json()["code"] if told_kind == "application/problem+json" else None
                assert code not in ("unauthenticated", "insufficient_scope", "internal"), (method, path)
                let_in += 1
    assert let_in >= 20


def test_the_roles_are_what_they_are_said_to_be() -> None:
    viewer = ROLES["viewer"]
    assert all(viewer < its for role, its in ROLES.items() if role != "viewer")
    assert all(scope.endswith(":read") for scope in viewer)
    assert ROLES["admin"] == set(SCOPES)
    for role, scopes in ROLES.items():
        if role != "admin":
            assert not scopes & {"keys:write"}, "who makes keys makes themselves an admin"


# The page on keys


def test_the_page_on_keys_lists_every_scope_role_and_route(operations: list[Operation]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, table in (("scopes", table_of_scopes()), ("routes", table_of_routes(operations))):
        found = re.search(f"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", page, re.DOTALL)
        assert found is not None
        assert found[1] == table, f"write this between the marks of `{name}` in docs/keys.md:\n{table}"


def table_of_scopes() -> str:
    head = f"| scope | | {' | '.join(ROLES)} |\n|---|---|{'---|' * len(ROLES)}"
    rows = [
        f"| `{scope}` | {meaning} | {' | '.join('✓' if scope in its else '' for its in ROLES.values())} |"
        for scope, meaning in SCOPES.items()
    ]
    return "\n".join([head, *rows])


def table_of_routes(operations: list[Operation]) -> str:
    opened: dict[str, list[str]] = {scope: [] for scope in SCOPES}
    for method, path, told in sorted(operations, key=lambda each: (each[1], each[0])):
        opened[needed(told)].append(f"`{method} {path}`")
    rows = [f"| `{scope}` | {'<br>'.join(routes)} |" for scope, routes in opened.items()]
    return "\n".join(["| scope | |\n|---|---|", *rows])
