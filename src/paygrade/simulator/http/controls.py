"""The simulator's controls under `/_simulator/`: its clock, its weather, its webhooks, its settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from paygrade.simulator import errors
from paygrade.simulator.delivery.weather import parse_weather
from paygrade.simulator.engine import Response
from paygrade.simulator.forms import Json
from paygrade.simulator.http import buyers
from paygrade.simulator.http.account import Account
from paygrade.simulator.http.followers import Gone
from paygrade.values.periods import parse_duration, parse_instant


async def answer(account: Account, method: str, what: str, *, query: str, body: bytes, gone: Gone) -> Response:
    handler = CONTROLS.get((method, what))
    if handler is None:
        known = ", ".join(f"{m} /_simulator/{name}" for m, name in CONTROLS)
        return _told(404, f"no such control: {method} /_simulator/{what}; there are {known}")
    try:
        if (method, what) == ("GET", "clock") and query:
            await _wait_for_the_clock(account, dict(parse_qsl(query)), gone)
        wanted = msgspec.json.decode(body or b"{}", type=dict[str, Any])
        return Response(200, await handler(account, wanted))
    except (ValueError, msgspec.MsgspecError) as error:
        return _told(400, str(error))
    except errors.RefusedByStripe as refused:
        return Response(refused.status, {"error": refused.error})


async def show_clock(account: Account, _wanted: Json) -> Json:
    now = account.now.astimezone(UTC)
    text = now.isoformat(timespec="microseconds" if now.microsecond else "seconds")
    return {
        "now": text.replace("+00:00", "Z"),
        "running": account.running,
        "seed": account.seed,
        "version": account.followers.version,
    }


async def _wait_for_the_clock(account: Account, wanted: Json, gone: Gone) -> None:
    """Hold a follower's request until the clock has moved on from the version it has seen."""
    _check_keys(wanted, "follower", "after")
    name, after = wanted.get("follower", ""), wanted.get("after", "")
    if not 1 <= len(name) <= 64 or not after.isdecimal() or len(after) > 15:
        raise ValueError("`follower` is a name of your own, `after` the version of the clock you have seen, or 0")
    await account.followers.follow(name, after=int(after), gone=gone)


async def move_clock(account: Account, wanted: Json) -> Json:
    _check_keys(wanted, "advance", "to", "running")
    if "advance" in wanted and "to" in wanted:
        raise ValueError("give either `advance` or `to`")
    if "running" in wanted and not isinstance(wanted["running"], bool):
        raise ValueError("`running` is true or false")
    if "advance" in wanted:
        account.advance_to(account.now + parse_duration(str(wanted["advance"])))
    if "to" in wanted:
        account.advance_to(parse_instant(str(wanted["to"])))
    if "running" in wanted:
        account.set_running(wanted["running"])
    await account.followers.tell()
    account.catch_up()
    return await show_clock(account, {})


async def show_weather(account: Account, _wanted: Json) -> Json:
    return dict(msgspec.to_builtins(account.weather))


async def set_weather(account: Account, wanted: Json) -> Json:
    account.weather = parse_weather(wanted)
    return await show_weather(account, {})


async def flush(account: Account, _wanted: Json) -> Json:
    return dict(await account.deliveries.flush())


async def add_webhook(account: Account, wanted: Json) -> Json:
    _check_keys(wanted, "url", "thin")
    url = wanted.get("url")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise ValueError("`url` is the http address that receives webhooks")
    if not isinstance(wanted.get("thin", False), bool):
        raise ValueError("`thin` is true for an endpoint that gets notifications without the object")
    account.add_url(url, thin=wanted.get("thin", False))
    return {"urls": account.deliveries.urls}


async def show_webhooks(account: Account, _wanted: Json) -> Json:
    return {"urls": account.deliveries.urls}


async def show_deliveries(account: Account, _wanted: Json) -> Json:
    return {"deliveries": [delivery.described() for delivery in reversed(account.deliveries.history)]}


async def show_settings(account: Account, _wanted: Json) -> Json:
    return dict(msgspec.to_builtins(account.engine.settings))


async def change_settings(account: Account, wanted: Json) -> Json:
    _check_keys(wanted, *(await show_settings(account, {})))
    account.engine.change_settings(wanted)
    return await show_settings(account, {})


async def authenticate(account: Account, wanted: Json) -> Json:
    _check_keys(wanted, "payment_intent", "setup_intent", "succeeds")
    succeeds = wanted.get("succeeds", True) is True
    if isinstance(wanted.get("setup_intent"), str):
        return buyers.confirm_setup(account.engine, wanted["setup_intent"], succeeds=succeeds)
    if not isinstance(wanted.get("payment_intent"), str):
        raise ValueError("`payment_intent` or `setup_intent` is the id of one that requires action")
    return account.engine.authenticate(wanted["payment_intent"], succeeds=succeeds)


async def dispute(account: Account, wanted: Json) -> Json:
    _check_keys(wanted, "charge", "reason", "inquiry")
    charge, reason = wanted.get("charge"), wanted.get("reason", "fraudulent")
    if not isinstance(charge, str) or not isinstance(reason, str):
        raise ValueError("`charge` is the id of the charge to dispute, `reason` one of Stripe's dispute reasons")
    return account.engine.dispute(charge, reason=reason, inquiry=wanted.get("inquiry") is True)


async def check_out(account: Account, wanted: Json) -> Json:
    """Play the customer at a Checkout Session's page."""
    about = ("session", "payment_link", "card", "outcome", "quantities", "promotion_code")
    _check_keys(wanted, *about, *buyers.CHECKOUT_KEYS)
    if not isinstance(wanted.get("session", wanted.get("payment_link")), str):
        raise ValueError("`session` is the id of a Checkout Session, or `payment_link` that of a link that opens one")
    return buyers.check_out(account.engine, wanted)


async def visit_portal(account: Account, wanted: Json) -> Json:
    """Play the customer in the portal."""
    _check_keys(wanted, "session", "action", *buyers.PORTAL_KEYS)
    if not isinstance(wanted.get("session"), str):
        raise ValueError("`session` is the id of a portal session")
    return buyers.visit_portal(account.engine, wanted)


async def pay_invoice(account: Account, wanted: Json) -> Json:
    """Play the customer at an invoice's page."""
    _check_keys(wanted, "invoice", "card")
    if not isinstance(wanted.get("invoice"), str):
        raise ValueError("`invoice` is the id of an open invoice")
    return buyers.pay_invoice(account.engine, wanted["invoice"], str(wanted.get("card", buyers.GOOD)))


async def warn_of_fraud(account: Account, wanted: Json) -> Json:
    _check_keys(wanted, "charge", "fraud_type")
    charge, fraud_type = wanted.get("charge"), wanted.get("fraud_type", "misc")
    if not isinstance(charge, str) or not isinstance(fraud_type, str):
        raise ValueError("`charge` is the id of the charge to warn of, `fraud_type` one of Stripe's fraud types")
    return account.engine.warn_of_fraud(charge, fraud_type=fraud_type)


CONTROLS: dict[tuple[str, str], Callable[[Account, Json], Awaitable[Json]]] = {
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
    ("POST", "dispute"): dispute,
    ("POST", "checkout"): check_out,
    ("POST", "portal"): visit_portal,
    ("POST", "invoice"): pay_invoice,
    ("POST", "early_fraud_warning"): warn_of_fraud,
}


def _check_keys(wanted: Json, *known: str) -> None:
    if unknown := set(wanted) - set(known):
        raise ValueError(f"unknown key `{min(unknown)}`; the keys are {', '.join(known)}")


def problem(message: str) -> bytes:
    return msgspec.json.encode(_told(400, message).body)


def _told(status: int, message: str) -> Response:
    return Response(status, {"error": {"type": "simulator_error", "message": message}})
