"""The block for nginx in docs/deploy.md, as it stands there, in front of a server: who asks is who asked nginx."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import httpx2
import pytest

from paygrade.server.process.settings import Settings
from support.cluster import free_ports
from support.databases import migrated_database
from support.nginx import needs_nginx, nginx
from support.server_process import KEY, Api, serving

pytestmark = needs_nginx

DOCS = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
OFFICE, ELSEWHERE = "127.0.0.2", "127.0.0.3"
"""Of this machine's own addresses, those that requests come from. nginx asks from 127.0.0.1."""


def documented(*, port: int, server: str, folder: Path) -> str:
    """The block, at another port and with a certificate of its own."""
    found = re.search(r"<!-- nginx -->\n```nginx\n(.*?)```\n<!-- /nginx -->", DOCS, re.DOTALL)
    assert found is not None
    block = found[1]
    told = {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "/etc/ssl/paygrade.pem": str(folder / "paygrade.pem"),
        "/etc/ssl/paygrade.key": str(folder / "paygrade.key"),
        "http://127.0.0.1:4710": server,
    }
    for said, here in told.items():
        assert block.count(said) == 1, said
        block = block.replace(said, here)
    return block


@pytest.fixture(scope="module")
def behind(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Api]]:
    """The address of nginx, and the server itself."""
    folder, (port,) = tmp_path_factory.mktemp("proxy"), free_ports(1)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=paygrade.example.com",
         "-keyout", str(folder / "paygrade.key"), "-out", str(folder / "paygrade.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    trusted = re.search(r"`PAYGRADE_TRUSTED_PROXIES=(\S+)` is enough", DOCS)
    assert trusted is not None
    settings = Settings(trusted_proxies=(ip_network(trusted[1]),))
    with migrated_database(postgres_url) as database, serving(settings, database) as api:
        config = documented(port=port, server=api.url, folder=folder)
        with nginx(folder, config, port=port):
            yield f"https://127.0.0.1:{port}", api


@contextmanager
def client(url: str, *, key: str | None, address: str, **headers: str) -> Iterator[Api]:
    with Api(url, key=key) as made:
        made._transport = httpx2.HTTPTransport(verify=False, local_address=address)
        made._mounts = {}
        made.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        yield made


def test_keys_and_the_audit_log_go_by_the_address_that_asked_nginx(behind: tuple[str, Api]) -> None:
    front, api = behind
    asked = {"name": "office", "role": "admin", "ip_ranges": [f"{OFFICE}/32"]}
    key = api.ok("POST", "/v1/keys", json=asked)["key"]
    with client(front, key=key, address=OFFICE) as office:
        office.ok("PUT", "/v1/accounts/acme", json={"name": "Acme"})
        # What it says itself of where it is stands before what nginx knows.
        office.ok("PUT", "/v1/accounts/acme", json={"name": "ACME"}, headers={"x-forwarded-for": ELSEWHERE})
    records = api.ok("GET", "/v1/accounts/acme/audit")["records"]
    assert [each["address"] for each in records] == [OFFICE, OFFICE]


@pytest.mark.parametrize(
    "claimed",
    [OFFICE, f"{OFFICE}, 127.0.0.1", f"{OFFICE},127.0.0.1,127.0.0.1", f"{OFFICE},", f"{OFFICE}:80", f'"{OFFICE}"'],
)
def test_what_a_client_claims_of_its_address_is_ignored(behind: tuple[str, Api], claimed: str) -> None:
    front, api = behind
    asked = {"name": "office", "role": "admin", "ip_ranges": [f"{OFFICE}/32"]}
    key = api.ok("POST", "/v1/keys", json=asked)["key"]
    said = {"x_forwarded_for": claimed, "forwarded": f"for={OFFICE}", "x_real_ip": OFFICE}
    # Through nginx, and past it.
    for url in (front, api.url):
        with client(url, key=key, address=ELSEWHERE, **said) as stranger:
            told = stranger.problem(403, "GET", "/v1/accounts")
            assert told["code"] == "address_not_allowed"
            assert f"`{ELSEWHERE}`" in told["detail"]


def test_people_log_in_through_it_and_streams_come_as_they_are_sent(behind: tuple[str, Api]) -> None:
    front, api = behind
    made = api.ok("POST", "/v1/people", json={"email": "dana@example.com", "name": "Dana", "role": "admin"})
    said = {"email": "dana@example.com", "password": made["password"]}
    with client(front, key=None, address=OFFICE, origin=front) as dana:
        dana.ok("POST", "/v1/login", json=said)
        assert dana.ok("GET", "/v1/me")["name"] == "Dana"
    with client(front, key=None, address=OFFICE, origin="https://elsewhere.example") as foreign:
        assert foreign.post("/v1/login", json=said).status_code == 403
    logged = [each for each in api.ok("GET", "/v1/audit")["records"] if each["actor"]["kind"] == "person"]
    assert {each["address"] for each in logged} <= {OFFICE}
    # One that is kept back would never begin.
    with client(front, key=KEY, address=OFFICE) as product:
        beginning = product.get("/v1/stream", params={"accounts": "acme"})
        assert beginning.headers["content-type"].startswith("text/event-stream")
        assert beginning.content
