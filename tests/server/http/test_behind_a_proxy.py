"""Behind a proxy that is trusted, keys, log-in and the audit log go by the address that it names."""

from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from paygrade.server.operations import people
from paygrade.server.process.settings import Settings
from support.databases import migrated_database
from support.server_process import Api, serving

OFFICE, ELSEWHERE = {"x-forwarded-for": "198.51.100.1, 203.0.113.7"}, {"x-forwarded-for": "203.0.113.7, 198.51.100.1"}


@pytest.fixture(scope="module")
def database(postgres_url: str) -> Iterator[str]:
    with migrated_database(postgres_url) as url:
        yield url


@pytest.fixture
def office(database: str) -> Iterator[Api]:
    """A server whose proxy, on this machine, is trusted."""
    with serving(Settings(trusted_proxies=(ip_network("127.0.0.0/8"),)), database) as running:
        yield running


def test_the_address_that_a_trusted_proxy_names_is_the_one_that_counts(
    office: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "ATTEMPTS_A_MINUTE", 1)
    asked = {"name": "office", "scopes": ["accounts:write"], "ip_ranges": ["203.0.113.0/24"]}
    with Api(office.url, key=office.ok("POST", "/v1/keys", json=asked)["key"]) as client:
        client.ok("PUT", "/v1/accounts/acme", json={}, headers=OFFICE)
        for elsewhere in (ELSEWHERE, {}, {"forwarded": "for=203.0.113.7"}):
            told = client.problem(403, "PUT", "/v1/accounts/acme", json={}, headers=elsewhere)
            assert told["code"] == "address_not_allowed"
        assert "`127.0.0.1`" in told["detail"]
    records = office.ok("GET", "/v1/accounts/acme/audit")["records"]
    assert [each["address"] for each in records] == ["203.0.113.7"]
    with Api(office.url, key=None) as client:
        client.headers["origin"] = office.url
        said = {"email": "nobody@example.com", "password": "x"}
        for headers, status in ((OFFICE, 401), (OFFICE, 429), (ELSEWHERE, 401)):
            assert client.post("/v1/login", json=said, headers=headers).status_code == status


def test_without_trusted_proxies_nobody_is_believed(database: str) -> None:
    with serving(Settings(), database) as plain:
        asked = {"name": "office", "role": "admin", "ip_ranges": ["203.0.113.0/24"]}
        with Api(plain.url, key=plain.ok("POST", "/v1/keys", json=asked)["key"]) as client:
            told = client.problem(403, "GET", "/v1/accounts", headers={"x-forwarded-for": "203.0.113.7"})
            assert told["code"] == "address_not_allowed"
