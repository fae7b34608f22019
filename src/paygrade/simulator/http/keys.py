"""Which key a request came with, and what it may: the secret key all, the publishable one what a browser does.

Law. With the publishable key an intent is read and confirmed by its client secret alone. (Stripe docs: API keys;
payment intents: client secret.)
"""

from __future__ import annotations

import base64
import re

from paygrade.simulator import errors
from paygrade.simulator.forms import Json
from paygrade.simulator.world import World

IN_A_BROWSER = re.compile(r"/v1/(payment_intents|setup_intents)/([^/]+)(/confirm)?")


def check(world: World, key: str, authorization: str, *, method: str, path: str, params: Json) -> None:
    """Raise RefusedByStripe unless the key in this header may do this."""
    given = _read(authorization)
    if given == key:
        return
    if given != publishable(key):
        raise errors.wrong_key(given)
    if (method, path) == ("POST", "/v1/payment_methods"):
        return
    found = IN_A_BROWSER.fullmatch(path)
    if found is None or (method == "GET") == bool(found.group(3)):
        message = "This API call cannot be made with a publishable API key. Please use a secret API key."
        raise errors.RefusedByStripe(message, status=401, code="secret_key_required")
    kind, id = found.group(1).removesuffix("s"), found.group(2)
    if world.get(kind, id)["client_secret"] != params.get("client_secret"):
        raise errors.missing(kind=kind, id=id)


def publishable(key: str) -> str | None:
    """The publishable key that belongs to a secret one: `pk_test_…` to `sk_test_…`."""
    return f"pk_{key.removeprefix('sk_')}" if key.startswith("sk_") else None


def _read(authorization: str) -> str | None:
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
