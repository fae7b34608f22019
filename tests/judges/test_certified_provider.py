"""A certified OpenID Connect provider, in Node, as whom people log in with. `make judges` installs it."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin

import httpx2
import pytest

from paygrade.server.process.settings import OidcSettings, Settings
from support.databases import migrated_database
from support.server_process import Api, serving

FOLDER = Path(__file__).parent / "oidc"
NODE = shutil.which("node")
OURS = "http://127.0.0.1:1"
"""Nobody follows the browser there: what follows its host is asked of the server."""

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="Node is not installed: the certified provider is left out"),
    pytest.mark.skipif(not (FOLDER / "node_modules").is_dir(), reason="`make judges` installs the provider first"),
]


@contextmanager
def certified() -> Iterator[str]:
    """It, running; gives its issuer."""
    assert NODE is not None
    command = [NODE, "provider.mjs", f"{OURS}/v1/login/oidc/callback"]
    with subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        try:
            assert running.stdout is not None
            line = running.stdout.readline()
            assert line, "the provider ended"
            yield str(json.loads(line)["issuer"])
        finally:
            running.kill()


def let_in(address: str, name: str) -> str:
    """Go through the provider's own pages; gives where it sends the browser back to."""
    with httpx2.Client(trust_env=False, timeout=30) as browser:
        answer, prompts = browser.get(address), iter([{"prompt": "login", "login": name, "password": "x"},
                                                      {"prompt": "consent"}])  # fmt: skip
        while True:
            assert answer.status_code in (302, 303), answer.text
            address = urljoin(address, answer.headers["location"])
            if address.startswith(OURS):
                return address.removeprefix(OURS)
            asks = "/interaction/" in address
            answer = browser.post(address, data=next(prompts)) if asks else browser.get(address)


def test_people_log_in_with_a_certified_provider(postgres_url: str) -> None:
    with certified() as issuer, migrated_database(postgres_url) as url:
        settings = OidcSettings(
            issuer=issuer, client_id="paygrade", client_secret="hush: a secret+", roles={"ops": "admin"},
            public_url=OURS, scopes="openid profile email groups",
        )  # fmt: skip
        with serving(Settings(oidc=settings), url, catalog=False) as api, Api(api.url, key=None) as client:
            begun = client.get("/v1/login/oidc").headers["location"]
            answer = client.get(let_in(begun, "ops"))
            assert (answer.status_code, answer.headers["location"]) == (302, "/v1/me"), answer.text
            me = client.ok("GET", "/v1/me")["person"]
            assert (me["name"], me["email"], me["role"]) == ("Name of ops", "ops@example.com", "admin")
            back = let_in(client.get("/v1/login/oidc").headers["location"], "nobody")
            assert client.get(back).json()["code"] == "no_role"
            # It takes a code only from whom it was made for.
            back = let_in(client.get("/v1/login/oidc").headers["location"], "ops")
            held = client.cookies["paygrade_oidc"]
            told = json.loads(base64.urlsafe_b64decode(held + "=" * (-len(held) % 4)))
            client.cookies.clear()
            other = json.dumps({**told, "verifier": "x" * 64}).encode()
            client.cookies.set("paygrade_oidc", base64.urlsafe_b64encode(other).decode())
            assert client.get(back).json()["code"] == "log_in_refused"
            client.cookies.clear()
            client.cookies.set("paygrade_oidc", held)
            assert client.get(back.replace("iss=", "was=")).json()["code"] == "log_in_refused"
