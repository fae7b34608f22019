"""Early fraud warnings: what a card's issuer says of a charge before anybody disputes it.

Law. A charge that was refunded or disputed can no longer be acted on. (Stripe docs: early fraud warnings.)
"""

from __future__ import annotations

from paygrade.simulator import errors
from paygrade.simulator.forms import Json
from paygrade.simulator.world import World

KIND = "radar.early_fraud_warning"
TYPES = (
    "card_never_received",
    "fraudulent_card_application",
    "made_with_counterfeit_card",
    "made_with_lost_card",
    "made_with_stolen_card",
    "misc",
    "unauthorized_use_of_card",
)


def warn(world: World, charge: Json, *, fraud_type: str) -> Json:
    if fraud_type not in TYPES:
        raise errors.not_one_of("fraud_type", value=fraud_type, choices=TYPES)
    warning: Json = {
        "id": world.new_id("issfr"),
        "object": KIND,
        "actionable": not charge["refunded"] and not charge["disputed"],
        "charge": charge["id"],
        "created": world.at,
        "fraud_type": fraud_type,
        "livemode": False,
        "payment_intent": charge["payment_intent"],
    }
    world.put(warning, charge["id"])
    world.emit(f"{KIND}.created", warning)
    return warning


def warn_due(world: World, charge: Json) -> None:
    """Warn of a charge of the card whose test number says so."""
    warn(world, charge, fraud_type="misc")
