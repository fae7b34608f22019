"""What stands between the processes: webhooks go to one server after the other, requests to the provider.

Either way can be closed, as a network is. Written down here, where nothing is killed: the id of every billing event
that a server answered with a 2xx.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx2
import msgspec
import uvicorn

TIMEOUT_S = 10.0
PASSED = (b"authorization", b"content-type", b"idempotency-key", b"stripe-version", b"stripe-signature")

Json = dict[str, Any]
"""Any: ASGI's own types are open mappings."""


class Relay:
    """An ASGI application. `provider` and `servers` are where things go; each has to be reachable only when used."""

    def __init__(self, *, provider: str, servers: Sequence[str]) -> None:
        self.acknowledged: set[str] = set()
        self.provider_open = True
        self.webhooks_open = True
        self.url = ""
        self._provider, self._servers = provider, itertools.cycle(servers)
        self._client: httpx2.AsyncClient | None = None

    async def __call__(self, scope: Json, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        status, content = await self._passed_on(scope, body)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _passed_on(self, scope: Json, body: bytes) -> tuple[int, bytes]:
        webhook = scope["path"].startswith("/webhooks/")
        if not (self.webhooks_open if webhook else self.provider_open):
            return 503, b"{}"
        url = (next(self._servers) if webhook else self._provider) + scope["raw_path"].decode()
        if scope["query_string"]:
            url += "?" + scope["query_string"].decode()
        headers = {name.decode(): value.decode() for name, value in scope["headers"] if name in PASSED}
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=TIMEOUT_S, trust_env=False, verify=False)
        try:
            answer = await self._client.request(scope["method"], url, content=body, headers=headers)
        except httpx2.HTTPError:
            return 502, b"{}"
        if webhook and answer.is_success:
            self.acknowledged.add(msgspec.json.decode(body)["id"])
        return answer.status_code, answer.content


@contextmanager
def running(relay: Relay) -> Iterator[None]:
    """Serve it in a thread."""
    config = uvicorn.Config(relay, port=0, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        relay.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=TIMEOUT_S)
