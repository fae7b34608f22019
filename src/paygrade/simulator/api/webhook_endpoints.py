"""Webhook endpoints: those made by API, each with its own secret and the events it wants, and those that the simulator
was given when it was started or by its controls, which get every event with the simulator's secret.

Law. The secret is shown once, in the answer to the request that makes the endpoint. (Stripe docs: webhook endpoints.)
"""

from __future__ import annotations

import hashlib

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.world import API_VERSION, World

KIND = "webhook_endpoint"
UPDATE_FIELDS = frozenset({"description", "disabled", "enabled_events", "expand", "metadata", "url"})
FIELDS = (UPDATE_FIELDS - {"disabled"}) | {"api_version", "connect"}
ENDPOINTS_MAX = 16  # Stripe docs: at most 16 endpoints of an account


def create(world: World, params: Json) -> Json:
    forms.check_known(params, FIELDS)
    if len([id for id in world.shelves.get(KIND, []) if id in world.objects]) >= ENDPOINTS_MAX:
        message = f"You have reached the maximum of {ENDPOINTS_MAX} test webhook endpoints."
        raise errors.invalid("url", message)
    version = forms.read_text(params, "api_version")
    if version not in (None, "", API_VERSION):
        raise errors.invalid("api_version", f"The simulator speaks {API_VERSION} only; leave `api_version` out.")
    url = _read_url(forms.read_required(params, "url"))
    endpoint = _endpoint(world, world.new_id("we"), url, version=version or None)
    if "enabled_events" not in params:
        raise errors.missing_parameter("enabled_events")
    _set(endpoint, params)
    secret = world.new_id("whsec", length=32)
    world.webhook_secrets[endpoint["id"]] = secret
    return {**world.put(endpoint), "secret": secret}


def give(world: World, url: str) -> None:
    """Enter an endpoint that the simulator was given. Its id follows from the address: nothing else changes by it."""
    id = f"we_{hashlib.sha256(url.encode()).hexdigest()[:24]}"
    if id not in world.objects:
        world.put({**_endpoint(world, id, url, version=None), "enabled_events": ["*"]})


def update(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, UPDATE_FIELDS)
    endpoint = _made_by_api(world, id)
    url = _read_url(str(params["url"])) if "url" in params else endpoint["url"]
    _set(endpoint, params)
    endpoint["url"] = url
    disabled = forms.read_bool(params, "disabled")
    if disabled is not None:
        endpoint["status"] = "disabled" if disabled else "enabled"
    return endpoint


def delete(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand"}))
    _made_by_api(world, id)
    del world.objects[id]
    del world.webhook_secrets[id]
    return {"id": id, "object": KIND, "deleted": True}


def _made_by_api(world: World, id: str) -> Json:
    endpoint = world.get(KIND, id)
    if id not in world.webhook_secrets:
        raise errors.invalid("id", f"The simulator was given {endpoint['url']}; start it without, to leave it out.")
    return endpoint


def _endpoint(world: World, id: str, url: str, *, version: str | None) -> Json:
    return {
        "id": id,
        "object": KIND,
        "api_version": version,
        "application": None,
        "created": world.at,
        "description": None,
        "enabled_events": [],
        "livemode": False,
        "metadata": {},
        "status": "enabled",
        "url": url,
    }


def _read_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise errors.invalid("url", "Invalid URL: it must start with http:// or https://.", code="url_invalid")
    return url


def _set(endpoint: Json, params: Json) -> None:
    if "enabled_events" in params:
        events = [str(name) for name in forms.read_list(params, "enabled_events")]
        if not events:
            raise errors.missing_parameter("enabled_events")
        endpoint["enabled_events"] = events
    if "description" in params:
        endpoint["description"] = forms.read_text(params, "description") or None
    endpoint["metadata"] = forms.merge_metadata(endpoint["metadata"], params)
