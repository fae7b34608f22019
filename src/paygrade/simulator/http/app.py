"""The simulator over HTTP: Stripe's API under `/v1/`, its controls under `/_simulator/`, a page at `/`.

Laws. Everything due has happened before a request is answered. Webhooks leave after the answer, never within
it. The clock runs with real time plus what it was advanced by, or stands still if it was given a start. No web page
of another origin gets anything done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from paygrade.simulator import errors, forms
from paygrade.simulator.delivery.weather import RETRY_AFTER_S, Mishap
from paygrade.simulator.engine import Response
from paygrade.simulator.forms import Json
from paygrade.simulator.http import controls, keys, origins, overview
from paygrade.simulator.http.account import Account
from paygrade.simulator.http.followers import Gone
from paygrade.simulator.http.pages import site

# The ASGI protocol's own types are open mappings.
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

DEFAULT_SECRET = "whsec_simulator"
DEFAULT_KEY = "sk_test_simulator"


def create_app(
    *,
    seed: int = 1,
    start: datetime | None = None,
    webhook_urls: Sequence[str] = (),
    secret: str = DEFAULT_SECRET,
    key: str = DEFAULT_KEY,
    public_url: str | None = None,
) -> Simulator:
    """Make the ASGI app. With a `start` the clock stands still there until it is advanced or set running.

    `public_url` is where a browser reaches it; unless told, where the request came to.
    """
    account = Account(seed=seed, start=start, webhook_urls=webhook_urls, secret=secret)
    return Simulator(account, key=key, public_url=public_url)


class Simulator:
    """The ASGI callable in front of one simulated account."""

    def __init__(self, account: Account, *, key: str, public_url: str | None = None) -> None:
        self.account = account
        self._public_url = public_url and public_url.rstrip("/")
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.account.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.account.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        self.account.catch_up()
        path, method = scope["path"], scope["method"]
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        query = scope["query_string"].decode()
        if why := origins.refusal(headers):
            await _send(send, status=403, content=controls.problem(why), type="application/json")
            return
        self.account.engine.world.base_url = self._public_url or f"http://{headers.get('host', '127.0.0.1')}"
        if path == "/" and method == "GET":
            page = overview.render(self.account)
            await _send(send, status=200, content=page.encode(), type="text/html; charset=utf-8")
            return
        if shown := site.answer(self.account.engine, method, path, body, query=query):
            html = "text/html; charset=utf-8"
            await _send(send, status=shown.status, content=shown.content, type=html, extra=shown.headers)
            self.account.hand_out()
            return
        if path.startswith("/_simulator/"):
            # Who has the answer to a request may flush before that request's own task comes to hand out its events.
            self.account.hand_out()
            what = path.removeprefix("/_simulator/")
            response = await controls.answer(self.account, method, what, query=query, body=body, gone=_gone(receive))
            status, content, extra = response.status, msgspec.json.encode(response.body), response.headers
        else:
            mishap = self.account.meet_weather()
            status, content, extra = self._stripe(method, path, headers, query=query, body=body, mishap=mishap)
            if mishap.hangs_s is not None:
                self.account.hand_out()
                await _hang(receive, send, for_s=mishap.hangs_s)
                return
        await _send(send, status=status, content=content, type="application/json", extra=extra)
        self.account.hand_out()

    def _stripe(
        self, method: str, path: str, headers: dict[str, str], *, query: str, body: bytes, mishap: Mishap
    ) -> tuple[int, bytes, dict[str, str]]:
        """Give the status, body and headers of one API request under this mishap."""
        try:
            params = {**forms.decode(query), **forms.decode(body.decode(errors="replace"))}
            world, key = self.account.engine.world, headers.get("authorization", "")
            keys.check(world, self._key, key, method=method, path=path, params=params)
            if mishap.limited:
                raise errors.rate_limited()
            content, response = b"", None
            if mishap.takes_effect and method == "GET" and mishap.lag_s:
                with self.account.behind(mishap.lag_s):
                    response = self._ask(method, path, params, headers)
                    content = msgspec.json.encode(response.body)
            elif mishap.takes_effect:
                response = self._ask(method, path, params, headers)
                content = msgspec.json.encode(response.body)
            if mishap.failure is not None or response is None:
                raise errors.failed(mishap.failure or 500)
        except errors.RefusedByStripe as refused:
            extra = {"Retry-After": str(RETRY_AFTER_S)} if refused.status == 429 else {}
            return refused.status, msgspec.json.encode({"error": refused.error}), extra
        return response.status, content, response.headers

    def _ask(self, method: str, path: str, params: Json, headers: dict[str, str]) -> Response:
        return self.account.engine.request(
            method,
            path,
            params,
            idempotency_key=headers.get("idempotency-key"),
            stripe_version=headers.get("stripe-version"),
            stripe_account=headers.get("stripe-account"),
        )


async def _read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


def _gone(receive: Receive) -> Gone:
    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    return gone


async def _hang(receive: Receive, send: Send, *, for_s: float) -> None:
    """Begin an answer that never comes, then leave it: the server closes the connection."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"1000000")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    try:
        async with asyncio.timeout(for_s):
            await _gone(receive)()
    except TimeoutError:
        return


async def _send(send: Send, *, status: int, content: bytes, type: str, extra: dict[str, str] | None = None) -> None:
    headers = {"content-type": type, "content-length": str(len(content)), **(extra or {})}
    encoded = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": content})
