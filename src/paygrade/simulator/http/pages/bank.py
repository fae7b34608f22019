"""The bank's page for a payment or setup intent that was confirmed with a way back (`return_url`): 3-D Secure."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit, urlunsplit

from paygrade.simulator import errors
from paygrade.simulator.forms import Json
from paygrade.simulator.http.pages import html
from paygrade.simulator.intents import payment_intents, setup_intents
from paygrade.simulator.world import World

Form = dict[str, str]


def show(_world: World, intent: Json, *, message: str | None = None) -> tuple[int, str]:
    if intent["status"] != "requires_action":
        return html.layout("Nothing to confirm", html.said(message), "<p>You can close this page.</p>", status=410)
    return html.challenge(intent.get("amount"), intent.get("currency"))


def act(world: World, intent: Json, typed: Form) -> str | None:
    """Confirm or refuse; give the merchant's address, with what came of it (Stripe docs: redirect_to_url)."""
    action = typed.get("action")
    if action not in ("confirm", "refuse"):
        raise errors.invalid("action", "Choose one of the buttons.")
    back = ((intent["next_action"] or {}).get("redirect_to_url") or {}).get("return_url")
    chapter = setup_intents if intent["object"] == setup_intents.KIND else payment_intents
    chapter.authenticate(world, intent, succeeds=action == "confirm")
    kind = intent["object"]
    told = {
        kind: intent["id"],
        f"{kind}_client_secret": intent["client_secret"],
        "redirect_status": "succeeded" if action == "confirm" else "failed",
    }
    return _with_query(back, told) if back else None


def _with_query(address: str, told: dict[str, str]) -> str:
    parts = urlsplit(address)
    query = "&".join(filter(None, [parts.query, urlencode(told)]))
    return urlunsplit(parts._replace(query=query))
