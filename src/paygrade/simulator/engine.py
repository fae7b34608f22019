"""The simulated Stripe as a deterministic machine: requests and passing time in, responses and events out.

Laws. No sockets, no real clock, no randomness but the seed's: the same seed, start, requests and advances
give the same objects, ids and events. Time only moves forward, and what falls due happens in order, each at
its own instant.

    engine = Engine(seed=1, now=start)
    engine.request("POST", "/v1/customers", {"email": "ada@example.org"}).body["id"]
    engine.advance(timedelta(days=31))
    engine.take_events()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from paygrade.simulator import errors
from paygrade.simulator.api import documented, reading, routes, webhook_endpoints
from paygrade.simulator.billing import entitlements
from paygrade.simulator.clocks import test_clocks as clocks
from paygrade.simulator.customers import disputes, fraud_warnings
from paygrade.simulator.forms import Json
from paygrade.simulator.intents import payment_intents
from paygrade.simulator.state.settings import Settings
from paygrade.simulator.time.timeline import Timeline
from paygrade.simulator.world import API_VERSION, Request, World, copied

T = TypeVar("T")
KEY_LIFE = timedelta(hours=24)  # Stripe docs: idempotent requests: keys are kept at least a day


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: Json
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Remembered:
    request: tuple[str, str, Json]
    status: int
    body: bytes
    headers: dict[str, str]
    at: datetime


class Engine:
    def __init__(self, seed: int, now: datetime) -> None:
        if now.tzinfo is None:
            raise ValueError("the clock needs a time zone: give an aware datetime")
        self.world = World(seed=seed, time=Timeline(now))
        self._remembered: dict[str, _Remembered] = {}

    @property
    def now(self) -> datetime:
        return self.world.now

    @property
    def next_due(self) -> datetime | None:
        """The instant of the next happening, if there is one."""
        return self.world.time.next_due

    @property
    def settings(self) -> Settings:
        return self.world.settings

    def change_settings(self, wanted: dict[str, Any]) -> Settings:
        """Change the dashboard's settings; raises ValueError with a message for a person."""
        self.world.settings = self.world.settings.changed(wanted)
        return self.world.settings

    def request(
        self,
        method: str,
        path: str,
        params: Json,
        *,
        idempotency_key: str | None = None,
        stripe_version: str | None = None,
        stripe_account: str | None = None,
    ) -> Response:
        """Answer one API request. `params` is the decoded form or query (`forms.decode`), every value a text.

        The body belongs to the engine and may change with the next call: encode or copy it first.
        """
        # Who names the account itself speaks for no connected one.
        connected = None if stripe_account == self.world.account["id"] else stripe_account
        request = Request(id=self.world.new_id("req", length=14), idempotency_key=idempotency_key, account=connected)
        headers = {"Request-Id": request.id or "", "Stripe-Version": stripe_version or API_VERSION}
        if idempotency_key is None or method != "POST":
            return self._answer(method, path, params, request=request, headers=headers)
        self._forget_old_keys()
        asked = (method, path, copied(params))
        if remembered := self._remembered.get(idempotency_key):
            return _replay(remembered, asked=asked, key=idempotency_key, headers=headers)
        response = self._answer(method, path, params, request=request, headers=headers)
        if response.status < 400 or response.status == 402:  # a refused request never began, so it is not kept
            body = msgspec.json.encode(response.body)
            self._remembered[idempotency_key] = _Remembered(asked, response.status, body, response.headers, self.now)
        return response

    def advance(self, delta: timedelta) -> None:
        """Let time pass, and everything happen that falls due within it."""
        self.advance_to(self.now + delta)

    def advance_to(self, instant: datetime) -> None:
        if instant < self.now:
            raise ValueError(f"the clock only moves forward: it is {self.now.isoformat()} already")
        clocks.happen_until(self.world, instant)

    def finish_clocks(self) -> None:
        """Let test clocks that are advancing arrive; reading one twice does too."""
        clocks.arrive_all(self.world)

    def give_webhook_endpoint(self, url: str) -> None:
        """Have the API list an endpoint that gets every event."""
        webhook_endpoints.give(self.world, url)

    def webhook_endpoints(self) -> list[tuple[Json, str]]:
        """Give the endpoints made by API that are enabled, each with its secret."""
        listed = self.world.shelves.get("webhook_endpoint", [])
        ids = [id for id in listed if id in self.world.objects and id in self.world.webhook_secrets]
        found = [(self.world.objects[id], self.world.webhook_secrets[id]) for id in ids]
        return [(endpoint, secret) for endpoint, secret in found if endpoint["status"] == "enabled"]

    def take_events(self) -> list[Json]:
        """Give the events made since the last call, oldest first."""
        events, self.world.fresh_events = self.world.fresh_events, []
        return [self.world.get_event(id) for id in events]

    def repeat_event(self, event: str) -> Json:
        """Make a second event, of another id, that tells of the same change (Stripe docs: duplicate events)."""
        return self.world.repeat_event(event)

    def note_webhooks(self, event: str, *, pending: int) -> None:
        """Note how many endpoints have not received an event yet, which the events list shows."""
        self.world.events.note_pending(event, pending)

    def authenticate(self, payment_intent: str, *, succeeds: bool = True) -> Json:
        """Play the customer who confirms, or fails to confirm, a payment that `requires_action`."""

        def act(world: World, intent: Json) -> Json:
            payment_intents.authenticate(world, intent, succeeds=succeeds)
            return intent

        return self.play("payment_intent", payment_intent, act, param="payment_intent")

    def play(self, kind: str, id: str, act: Callable[[World, Json], T], *, param: str = "id") -> T:
        """Let somebody who is not the merchant act on an object: the customer at a page, or their bank."""
        world = self.world
        thing = world.get(kind, id, param=param)
        clock = clocks.of_object(world, thing)
        if clock:
            clocks.refuse_while_advancing(world, clock)
        with world.living_by(clock):
            try:
                return act(world, thing)
            finally:
                clocks.happen_until(world, world.now)

    def dispute(self, charge: str, *, reason: str = "fraudulent", inquiry: bool = False) -> Json:
        """Play the customer's bank, which disputes a charge."""
        thing = self.world.get("charge", charge, param="charge")
        with self.world.living_by(clocks.of_object(self.world, thing)):
            return disputes.open_dispute(self.world, thing, reason=reason, inquiry=inquiry)

    def warn_of_fraud(self, charge: str, *, fraud_type: str = "misc") -> Json:
        """Play the customer's bank, which warns of fraud before it disputes anything."""
        thing = self.world.get("charge", charge, param="charge")
        with self.world.living_by(clocks.of_object(self.world, thing)):
            return fraud_warnings.warn(self.world, thing, fraud_type=fraud_type)

    def _answer(self, method: str, path: str, params: Json, *, request: Request, headers: dict[str, str]) -> Response:
        world = self.world
        world.request = request
        clock = clocks.of_request(world, path, params)
        try:
            handler = routes.find(method, path)
            if clock and method != "GET":
                clocks.refuse_while_advancing(world, clock)
            with world.living_by(clock):
                answer = handler(world, params)
                entitlements.tell_changes(world)
                body = reading.expanded(world, answer, params)
            response = Response(200, body, headers)
        except errors.RefusedByStripe as refusal:
            refused = documented.worded(refusal, method, path)
            error = {**refused.error, "request_log_url": f"https://dashboard.stripe.com/test/logs/{request.id}"}
            response = Response(refused.status, {"error": error}, headers)
        finally:
            world.request = Request()
        with world.living_by(clock if clock in world.timelines else None):
            clocks.happen_until(world, world.now)  # what became due at once, such as the notice of a short trial
        return response

    def _forget_old_keys(self) -> None:
        oldest = self.now - KEY_LIFE
        while self._remembered:  # dicts keep the order of insertion, so the oldest key is the first
            key = next(iter(self._remembered))
            if self._remembered[key].at >= oldest:
                return
            del self._remembered[key]


def _replay(remembered: _Remembered, *, asked: tuple[str, str, Json], key: str, headers: dict[str, str]) -> Response:
    if remembered.request != asked:
        refused = errors.key_reused(key)
        return Response(refused.status, {"error": refused.error}, headers)
    replayed = {**remembered.headers, "Idempotent-Replayed": "true"}
    return Response(remembered.status, msgspec.json.decode(remembered.body), replayed)
