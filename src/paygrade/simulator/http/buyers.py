"""The customer at a page, played by a control: in Checkout, in the portal, at an invoice, at their bank."""

from __future__ import annotations

from collections.abc import Callable

from paygrade.simulator.checkout import ordering, paying, payment_links, sessions
from paygrade.simulator.engine import Engine
from paygrade.simulator.forms import Json
from paygrade.simulator.http.pages import invoice as invoice_page
from paygrade.simulator.http.pages import portal as portal_page
from paygrade.simulator.intents import setup_intents
from paygrade.simulator.portal import acting
from paygrade.simulator.portal import sessions as portal
from paygrade.simulator.state.visits import Attempt
from paygrade.simulator.world import World

GOOD, DECLINED, CHALLENGED = "pm_card_visa", "pm_card_chargeDeclined", "pm_card_threeDSecure2Required"
DEBIT, BAD_DEBIT = "pm_usBankAccount_success", "pm_usBankAccount_insufficientFunds"
CHECKOUT_KEYS = ("email", "name", "country", "postal_code")
SOMEBODY = {"email": "customer@example.com", "country": "US", "postal_code": "10001"}


def check_out(engine: Engine, wanted: Json) -> Json:
    """Let the customer of a session pay, be declined, confirm, or let it expire; raises ValueError, RefusedByStripe."""
    outcome = wanted.get("outcome", "pay")
    if outcome not in OUTCOMES:
        raise ValueError(f"`outcome` is one of {', '.join(OUTCOMES)}")
    typed = {name: str(wanted[name]) for name in CHECKOUT_KEYS if wanted.get(name)}
    details = {**SOMEBODY, **typed}

    def act(world: World, session: Json) -> Json:
        _reorder(world, session, wanted)
        attempt = OUTCOMES[outcome](world, session, wanted.get("card"), details)
        goes = attempt.outcome not in ("declined", "requires_action")
        back = attempt.outcome in ("abandoned", "expired")
        return {
            "outcome": attempt.outcome,
            "message": attempt.message,
            "redirect_to": sessions.address_of(session, cancels=back) if goes else None,
            "session": session,
        }

    return engine.play(sessions.KIND, wanted.get("session") or _follow(engine, wanted["payment_link"]), act)


def _follow(engine: Engine, link: str) -> str:
    """Open a session as somebody would who follows a payment link."""
    session = engine.play(payment_links.KIND, link, payment_links.open_session, param="payment_link")
    return str(session["id"])


def _reorder(world: World, session: Json, wanted: Json) -> None:
    quantities, code = wanted.get("quantities"), wanted.get("promotion_code")
    if quantities is None and code is None:
        return
    if not isinstance(quantities or {}, dict) or not isinstance(code or "", str):
        raise ValueError("`quantities` maps ids of line items to numbers, `promotion_code` is what is typed")
    typed = {str(id): str(number) for id, number in (quantities or {}).items()}
    ordering.reorder(world, session, quantities=typed, code=code or "")


Play = Callable[[World, Json, str | None, Json], Attempt]


def _paying(card: str | None) -> Play:
    """Pay with the card that was named, or with this one."""
    return lambda world, session, named, details: paying.submit(world, session, method=named or card, details=details)


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
    "debit": _paying(DEBIT),
    "failing_debit": _paying(BAD_DEBIT),
    "without_card": _paying(None),
    "abandon": _abandon,
    "expire": _expire,
}


PORTAL_KEYS = ("subscription", "price", "quantity", "card", "feedback", "comment", "email", "name")


def visit_portal(engine: Engine, wanted: Json) -> Json:
    """Let the customer of a portal session do one thing; raises ValueError, RefusedByStripe."""
    action = wanted.get("action")
    if action not in ACTIONS:
        raise ValueError(f"`action` is one of {', '.join(ACTIONS)}")
    quantity = wanted.get("quantity")
    if quantity is not None and type(quantity) is not int:
        raise ValueError("`quantity` is a whole number")

    def act(world: World, session: Json) -> Json:
        told = {**wanted, "subscription": wanted.get("subscription") or _only_subscription(world, session)}
        attempt = ACTIONS[action](world, session, told)
        goes = attempt.outcome == "complete"
        target = (acting.way_back(session) or session["return_url"]) if goes else None
        return {"outcome": attempt.outcome, "message": attempt.message, "redirect_to": target, "session": session}

    return engine.play(portal.KIND, wanted["session"], act)


def _only_subscription(world: World, session: Json) -> str:
    if about := acting.subject_of(session):
        return about
    live = acting.live_subscriptions(world, session)
    return str(live[0]["id"]) if len(live) == 1 else ""


ACTIONS: dict[str, Callable[[World, Json, Json], Attempt]] = {
    "change_plan": lambda world, session, told: acting.change_plan(
        world, session, told["subscription"], price=told.get("price"), quantity=told.get("quantity")
    ),
    "confirm": lambda world, session, _told: portal_page.confirm_plan(world, session),
    "cancel": lambda world, session, told: acting.cancel(
        world, session, told["subscription"], feedback=told.get("feedback"), comment=told.get("comment")
    ),
    "stay": lambda world, session, told: acting.stay(world, session, told["subscription"]),
    "set_card": lambda world, session, told: acting.set_card(world, session, str(told.get("card") or GOOD)),
    "update_details": lambda world, session, told: acting.update_details(world, session, told),
    "authenticate": lambda world, session, _told: acting.authenticate(world, session, succeeds=True),
    "fail_authentication": lambda world, session, _told: acting.authenticate(world, session, succeeds=False),
}


def pay_invoice(engine: Engine, invoice: str, card: str) -> Json:
    """Pay an invoice at its page; a decline or a bank that asks is told by the invoice's payment intent."""

    def act(world: World, thing: Json) -> Json:
        invoice_page.pay(world, thing, card)
        return thing

    return engine.play("invoice", invoice, act)


def confirm_setup(engine: Engine, intent: str, *, succeeds: bool) -> Json:
    """Play the customer who confirms, or refuses, that a card is kept for later."""

    def act(world: World, thing: Json) -> Json:
        setup_intents.authenticate(world, thing, succeeds=succeeds)
        return thing

    return engine.play(setup_intents.KIND, intent, act, param="setup_intent")
