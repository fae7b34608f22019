"""An OpenID Connect provider, run for real, that can be made to lie."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import jwt
from oidc_provider_mock import app as provider_app
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app

from paygrade.server.process.settings import OidcSettings, Settings

GROUPS = {"ops": "admin", "helpdesk": "support", "readers": "viewer"}
Change = Callable[[Any], Any]
"""What becomes of an answer, which is JSON. Any: as that has it."""


class Provider:
    """It, at an address of its own. `changes`: what is done to its answers, by the end of their path."""

    def __init__(self, *, token_lasts: timedelta = timedelta(hours=1)) -> None:
        self.changes: dict[str, Change] = {}
        self.down = False
        self.asked: list[str] = []
        self._token_lasts = token_lasts
        self.renew()
        self.server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def renew(self) -> None:
        """Another key, and nobody known any more."""
        self._app = provider_app(access_token_max_age=self._token_lasts)

    def _answer(self, environ: Any, start: Any) -> Any:
        """Any: WSGI's."""
        self.asked.append(environ["PATH_INFO"])
        if self.down:
            start("502 Bad Gateway", [])
            return []
        body, status, headers = run_wsgi_app(self._app, environ, buffered=True)
        content = b"".join(body)
        change = next((its for end, its in self.changes.items() if environ["PATH_INFO"].endswith(end)), None)
        if change is not None:
            told, status = change(json.loads(content)), "200 OK"
            content = told if isinstance(told, bytes) else json.dumps(told).encode()
            headers["content-length"] = str(len(content))
        start(status, list(headers))
        return [content]

    def add(self, subject: str, **claims: Any) -> None:
        """Any: claims of a person."""
        httpx2.put(f"{self.url}/users/{subject}", json=claims, trust_env=False, verify=False).raise_for_status()

    def settings(self, public_url: str, **more: Any) -> OidcSettings:
        """Any: fields of OidcSettings."""
        told: dict[str, Any] = {"issuer": self.url, "client_id": "paygrade", "client_secret": "hush", "roles": GROUPS}
        return OidcSettings(**{**told, "public_url": public_url, **more})

    def sign(self, token: str, change: Change, **how: Any) -> str:
        """The token, changed and signed otherwise. Any: how to encode it."""
        claims = jwt.decode(token, options={"verify_signature": False})
        return jwt.encode(change(claims), **how)

    def let_in(self, address: str, subject: str) -> str:
        """What a browser does at the provider; gives the address where it is sent back to."""
        answer = httpx2.post(address, data={"sub": subject}, trust_env=False, verify=False)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["location"])


@contextmanager
def providing(**how: Any) -> Iterator[Provider]:
    """Any: of a Provider."""
    provider = Provider(**how)
    thread = Thread(target=provider.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.server.shutdown()
        thread.join()
        provider.server.server_close()


def with_provider(provider: Provider, port: int, **more: Any) -> Settings:
    """Settings of a server at this port. Any: fields of OidcSettings."""
    return Settings(oidc=provider.settings(f"http://127.0.0.1:{port}", **more))


def query(address: str) -> dict[str, str]:
    """What stands behind the `?` of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
