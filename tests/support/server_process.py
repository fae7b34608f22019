"""A real server over a real database, reached over HTTP: one for each file of tests."""

import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from litestar.types import ASGIApp

from paygrade.cli import wiring
from paygrade.documents.catalog_file import read_catalog
from paygrade.server.http.protocol import configure
from paygrade.server.process.settings import Settings
from support.cluster import free_ports
from support.databases import migrated_database, run_aside
from support.waiting import pause_s

KEY = "sk_test_of_the_server"
SAMPLE = Path(str(resources.files("paygrade.cli") / "sample" / "paygrade.yaml"))
START_S = 90.0

_paths: dict[str, Any] = {}


class Api(httpx2.Client):
    """A client that shows the key, with the address of its server, or with the socket of one of its workers."""

    def __init__(self, url: str, key: str | None = KEY, *, own: Path | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        way = httpx2.HTTPTransport(uds=str(own), verify=False) if own is not None else None
        super().__init__(base_url=url, headers=headers, trust_env=False, timeout=30, verify=False, transport=way)
        self.url = url

    def send(self, request: httpx2.Request, *, stream: bool = False, **more: Any) -> httpx2.Response:
        """Of an answer that goes on for ever, the beginning."""
        answer = super().send(request, stream=True, **more)
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            answer._content = next(answer.iter_raw())  # what `read` would keep
            answer.close()
        elif not stream:
            answer.read()
        return answer

    def ok(self, method: str, path: str, **more: Any) -> Any:
        """The decoded answer of a request that must succeed."""
        answer = self.request(method, path, **more)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def problem(self, status: int, method: str, path: str, **more: Any) -> Any:
        """The decoded problem of a request that must be answered with this status."""
        answer = self.request(method, path, **more)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        told = answer.json()
        assert told["status"] == status
        assert told["instance"] == answer.headers["x-request-id"]
        assert told["type"] == f"/problems/{told['code']}"
        named = self._named(method, path)
        assert named is None or told["code"] in named, f"the document of {path} lacks {told['code']}"
        return told

    def _named(self, method: str, path: str) -> set[str] | None:
        """The codes that the document names for a route; None: there is no such route."""
        if not _paths:
            _paths.update(self.ok("GET", "/openapi.json")["paths"])
        for template, operations in sorted(_paths.items(), key=lambda pair: pair[0].count("{")):
            if method.lower() in operations and re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path.split("?")[0]):
                answers = operations[method.lower()]["responses"].values()
                contents = [content for answer in answers for content in answer.get("content", {}).values()]
                return {code for content in contents for code in content.get("examples", {})}
        return None

    def check(self, account: str, feature: str, **more: Any) -> Any:
        return self.ok("POST", "/v1/check", json={"account": account, "feature": feature, **more})

    def eventually(self, account: str, feature: str, *, allowed: bool, **more: Any) -> Any:
        """The decision once it has come out so; fails if it does not."""
        began_at = time.monotonic()
        while (decision := self.check(account, feature, **more))["allowed"] is not allowed:
            waited_s = time.monotonic() - began_at
            assert waited_s < START_S, decision
            time.sleep(pause_s(waited_s))
        return decision


@contextmanager
def serving(
    settings: Settings,
    database_url: str,
    *,
    catalog: bool = True,
    around: Callable[[ASGIApp], ASGIApp] = lambda app: app,
    patience_s: int = 10,
    port: int = 0,
) -> Iterator[Api]:
    """The application these settings describe, in a thread, on this port or a free one; `around` may wrap it, and
    `patience_s` is how long it waits for requests when it ends."""
    run_aside(wiring.apply_migrations(database_url))
    document = read_catalog(SAMPLE) if catalog else None
    app = wiring.application(settings, database_url=database_url, key=KEY, document=document)
    server = uvicorn.Server(configure(around(app), port=port, patience_s=patience_s))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        give_up_at = time.monotonic() + START_S
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with Api(f"http://127.0.0.1:{port}") as api:
            while not (answer := api.get("/readyz")).is_success:
                assert time.monotonic() < give_up_at, answer.text
                time.sleep(0.01)
            yield api
    finally:
        server.should_exit = True
        thread.join(timeout=START_S)


@pytest.fixture(scope="module")
def api(postgres_url: str) -> Iterator[Api]:
    """A server with the sample catalog in force and no provider."""
    with migrated_database(postgres_url) as database_url, serving(Settings(), database_url) as running:
        yield running


@pytest.fixture
def acme(api: Api) -> str:
    """An account of this test's own."""
    key = f"acme-{uuid.uuid4().hex[:12]}"
    api.ok("PUT", f"/v1/accounts/{key}", json={"name": "Acme"})
    return key


class Restartable:
    """A server that can be stopped and started again at the same address, over a database that stays. `api` while it
    runs."""

    api: Api

    def __init__(self, database_url: str, port: int) -> None:
        self._database_url, self._port = database_url, port
        self._running = ExitStack()
        self.url = f"http://127.0.0.1:{port}"

    def start(self) -> None:
        self.api = self._running.enter_context(serving(Settings(), self._database_url, port=self._port, patience_s=2))

    def stop(self) -> None:
        self._running.close()


@pytest.fixture
def restartable(postgres_url: str) -> Iterator[Restartable]:
    (port,) = free_ports(1)
    with migrated_database(postgres_url) as database_url:
        made = Restartable(database_url, port)
        made.start()
        yield made
        made.stop()
