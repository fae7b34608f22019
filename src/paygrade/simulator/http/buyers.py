"""The customer at a page, played by a control: what `POST /_simulator/checkout` does."""

from __future__ import annotations

from collections.abc import Callable

from paygrade.simulator.checkout import paying, sessions
from paygrade.simulator.checkout.paying import Attempt
from paygrade.simulator.engine import Engine
from paygrade.simulator.forms import Json
from paygrade.simulator.world import World

GOOD, DECLINED, CHALLENGED = "pm_card_visa", "pm_card_chargeDeclined", "pm_card_threeDSecure2Required"


def check_out(engine: Engine, wanted: Json) -> Json:
    """Let the customer of a session pay, be declined, confirm, or let it expire; raises ValueError, RefusedByStripe."""
    outcome = wanted.get("outcome", "pay")
    if outcome not in OUTCOMES:
        raise ValueError(f"`outcome` is one of {', '.join(OUTCOMES)}")
    details = {name: str(wanted[name]) for name in ("email", "name") if wanted.get(name)}
    details.setdefault("email", "customer@example.com")

    def act(world: World, session: Json) -> Json:
        attempt = OUTCOMES[outcome](world, session, wanted.get("card"), details)
        return {
            "outcome": attempt.outcome,
            "message": attempt.message,
            "redirect_to": sessions.address_of(session, cancels=attempt.outcome in ("abandoned", "expired"))
            if attempt.outcome not in ("declined", "requires_action")
            else None,
            "session": session,
        }

    return engine.play(sessions.KIND, wanted["session"], act)


Play = Callable[[World, Json, str | None, Json], Attempt]


def _paying(card: str, *, succeeds: bool | None = None) -> Play:
    """Pay with the card that was named, or with this one; then confirm, where the bank asks for it and it is told."""

    def play(world: World, session: Json, named: str | None, details: Json) -> Attempt:
        attempt = paying.submit(world, session, method=named or card, details=details)
        if attempt.outcome == "requires_action" and succeeds is not None:
            return paying.authenticate(world, session, succeeds=succeeds)
        return attempt

    return play


def _expire(world: World, session: Json, _card: str | None, _details: Json) -> Attempt:
    sessions.expire(world, session["id"], {})
    return Attempt("expired")


def _abandon(_world: World, _session: Json, _card: str | None, _details: Json) -> Attempt:
    return Attempt("abandoned")


def _confirming(*, succeeds: bool) -> Play:
    return lambda world, session, _card, _details: paying.authenticate(world, session, succeeds=succeeds)


OUTCOMES: dict[str, Play] = {
    "pay": _paying(GOOD),
    "decline": _paying(DECLINED),
    "challenge": _paying(CHALLENGED),
    "authenticate": _confirming(succeeds=True),
    "fail_authentication": _confirming(succeeds=False),
    "abandon": _abandon,
    "expire": _expire,
}
