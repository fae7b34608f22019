"""The simulator over HTTP: Stripe's API under `/v1/`, its controls under `/_simulator/`, a page at `/`.

Laws. Everything due has happened before a request is answered. Webhooks leave after the answer, never within
it. The clock runs with real time plus what it was advanced by, or stands still if it was given a start.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from paygrade.periods import parse_duration, parse_instant
from paygrade.simulator import errors, forms, overview
from paygrade.simulator.delivery import Deliveries, parse_weather
from paygrade.simulator.engine import Engine, Response
from paygrade.simulator.forms import Json

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
) -> Simulator:
    """Make the ASGI app. With a `start` the clock stands still there until it is advanced or set running."""
    return Simulator(seed=seed, start=start, webhook_urls=webhook_urls, secret=secret, key=key)


class Simulator:
    """One simulated account, its clock, its webhooks, and the ASGI callable in front of them."""

    def __init__(
        self, *, seed: int, start: datetime | None, webhook_urls: Sequence[str], secret: str, key: str
    ) -> None:
        self.seed = seed
        self.engine = Engine(seed, start or datetime.now(UTC))
        self.deliveries = Deliveries(
            secret=secret,
            seed=seed,
            now=lambda: self.now,
            note=lambda event, pending: self.engine.note_webhooks(event, pending=pending),
        )
        for url in webhook_urls:
            self.deliveries.add_url(url)
        self.running = start is None
        self._key = key
        self._offset = self.engine.now - datetime.now(UTC)
        self._moved = asyncio.Event()
        self._ticker: asyncio.Task[None] | None = None

    @property
    def now(self) -> datetime:
        return max(self.engine.now, datetime.now(UTC) + self._offset) if self.running else self.engine.now

    def catch_up(self) -> None:
        """Let everything due by now happen, and hand out the events."""
        self.engine.advance_to(self.now)
        self.deliveries.accept(self.engine.take_events())

    def advance_to(self, instant: datetime) -> None:
        """Move the clock; raises ValueError if that is into the past."""
        self.engine.advance_to(instant)
        self._offset = self.engine.now - datetime.now(UTC)
        self.catch_up()
        self._moved.set()

    def set_running(self, running: bool) -> None:
        self._offset = self.engine.now - datetime.now(UTC)
        self.running = running
        self._moved.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.deliveries.start()
        self._ticker = asyncio.create_task(self._tick(), name="simulator clock")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._ticker.cancel()
        await asyncio.gather(self._ticker, return_exceptions=True)
        await self.deliveries.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _tick(self) -> None:
        """While the clock runs, let what falls due happen by itself."""
        while True:
            self._moved.clear()
            wait_s = None
            if self.running and (due := self.engine.next_due) is not None:
                wait_s = max(0.0, (due - self.now).total_seconds())
            try:
                async with asyncio.timeout(wait_s):  # not wait_for, which can swallow a cancellation
                    await self._moved.wait()
            except TimeoutError:
                self.catch_up()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        self.catch_up()
        path, method = scope["path"], scope["method"]
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        query = scope["query_string"].decode()
        if path == "/" and method == "GET":
            page = overview.render(self.engine.world, self.deliveries, running=self.running)
            await _send(send, status=200, content=page.encode(), type="text/html; charset=utf-8")
            return
        if path.startswith("/_simulator/"):
            response = await self._control(method, path.removeprefix("/_simulator/"), body)
        else:
            response = self._stripe(method, path, headers, query=query, body=body)
        content = msgspec.json.encode(response.body)
        await _send(send, status=response.status, content=content, type="application/json", extra=response.headers)
        self.deliveries.accept(self.engine.take_events())
        self._moved.set()

    def _stripe(self, method: str, path: str, headers: dict[str, str], *, query: str, body: bytes) -> Response:
        given = _read_key(headers.get("authorization", ""))
        if given != self._key:
            refused = errors.wrong_key(given)
            return Response(refused.status, {"error": refused.error})
        try:
            params = {**forms.decode(query), **forms.decode(body.decode(errors="replace"))}
        except errors.RefusedByStripe as refused:
            return Response(refused.status, {"error": refused.error})
        return self.engine.request(
            method,
            path,
            params,
            idempotency_key=headers.get("idempotency-key"),
            stripe_version=headers.get("stripe-version"),
        )

    async def _control(self, method: str, what: str, body: bytes) -> Response:
        handler = CONTROLS.get((method, what))
        if handler is None:
            known = ", ".join(f"{m} /_simulator/{name}" for m, name in CONTROLS)
            return _told(404, f"no such control: {method} /_simulator/{what}; there are {known}")
        try:
            wanted = msgspec.json.decode(body or b"{}", type=dict[str, Any])
            return Response(200, await handler(self, wanted))
        except (ValueError, msgspec.MsgspecError) as error:
            return _told(400, str(error))
        except errors.RefusedByStripe as refused:
            return Response(refused.status, {"error": refused.error})


async def show_clock(simulator: Simulator, _wanted: Json) -> Json:
    now = simulator.now.astimezone(UTC)
    text = now.isoformat(timespec="microseconds" if now.microsecond else "seconds")
    return {
        "now": text.replace("+00:00", "Z"),
        "running": simulator.running,
        "seed": simulator.seed,
    }


async def move_clock(simulator: Simulator, wanted: Json) -> Json:
    _check_keys(wanted, "advance", "to", "running")
    if "advance" in wanted and "to" in wanted:
        raise ValueError("give either `advance` or `to`")
    if "running" in wanted and not isinstance(wanted["running"], bool):
        raise ValueError("`running` is true or false")
    if "advance" in wanted:
        simulator.advance_to(simulator.now + parse_duration(str(wanted["advance"])))
    if "to" in wanted:
        simulator.advance_to(parse_instant(str(wanted["to"])))
    if "running" in wanted:
        simulator.set_running(wanted["running"])
    return await show_clock(simulator, {})


async def show_weather(simulator: Simulator, _wanted: Json) -> Json:
    return dict(msgspec.to_builtins(simulator.deliveries.weather))


async def set_weather(simulator: Simulator, wanted: Json) -> Json:
    simulator.deliveries.weather = parse_weather(wanted)
    return await show_weather(simulator, {})


async def flush(simulator: Simulator, _wanted: Json) -> Json:
    return dict(await simulator.deliveries.flush())


async def add_webhook(simulator: Simulator, wanted: Json) -> Json:
    _check_keys(wanted, "url")
    url = wanted.get("url")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise ValueError("`url` is the http address that receives webhooks")
    simulator.deliveries.add_url(url)
    return {"urls": simulator.deliveries.urls}


async def show_webhooks(simulator: Simulator, _wanted: Json) -> Json:
    return {"urls": simulator.deliveries.urls}


async def show_deliveries(simulator: Simulator, _wanted: Json) -> Json:
    return {"deliveries": [delivery.described() for delivery in reversed(simulator.deliveries.history)]}


async def show_settings(simulator: Simulator, _wanted: Json) -> Json:
    return dict(msgspec.to_builtins(simulator.engine.settings))


async def change_settings(simulator: Simulator, wanted: Json) -> Json:
    _check_keys(wanted, *(await show_settings(simulator, {})))
    simulator.engine.change_settings(wanted)
    return await show_settings(simulator, {})


async def authenticate(simulator: Simulator, wanted: Json) -> Json:
    _check_keys(wanted, "payment_intent", "succeeds")
    if not isinstance(wanted.get("payment_intent"), str):
        raise ValueError("`payment_intent` is the id of a payment that requires action")
    return simulator.engine.authenticate(wanted["payment_intent"], succeeds=wanted.get("succeeds", True) is True)


CONTROLS: dict[tuple[str, str], Callable[[Simulator, Json], Awaitable[Json]]] = {
    ("GET", "clock"): show_clock,
    ("POST", "clock"): move_clock,
    ("GET", "weather"): show_weather,
    ("POST", "weather"): set_weather,
    ("POST", "flush"): flush,
    ("GET", "webhooks"): show_webhooks,
    ("POST", "webhooks"): add_webhook,
    ("GET", "deliveries"): show_deliveries,
    ("GET", "settings"): show_settings,
    ("POST", "settings"): change_settings,
    ("POST", "authenticate"): authenticate,
}


def _check_keys(wanted: Json, *known: str) -> None:
    if unknown := set(wanted) - set(known):
        raise ValueError(f"unknown key `{min(unknown)}`; the keys are {', '.join(known)}")


def _told(status: int, message: str) -> Response:
    return Response(status, {"error": {"type": "simulator_error", "message": message}})


def _read_key(authorization: str) -> str | None:
    """Read the key from `Bearer <key>` or from basic auth, where it is the user's name."""
    kind, _, value = authorization.partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value).decode().partition(":")[0]
        except ValueError:
            return None
    return None


async def _read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def _send(send: Send, *, status: int, content: bytes, type: str, extra: dict[str, str] | None = None) -> None:
    headers = {"content-type": type, "content-length": str(len(content)), **(extra or {})}
    encoded = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": content})
