"""Charges that were made: what is said of one changes, never its money; and what the account has by them."""

from __future__ import annotations

from paygrade.simulator import forms
from paygrade.simulator.forms import Json
from paygrade.simulator.world import World

FIELDS = frozenset({"description", "expand", "fraud_details", "metadata", "receipt_email"})


def update(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, FIELDS)
    charge = world.get("charge", id)
    details = forms.read_object(params, "fraud_details")
    report = forms.read_choice(details, "user_report", ("", "fraudulent", "safe"))
    with world.changing(charge):
        charge["metadata"] = forms.merge_metadata(charge["metadata"], params)
        for name in ("description", "receipt_email"):
            if name in params:
                charge[name] = forms.read_text(params, name) or None
        if report is not None:
            charge["fraud_details"] = {"user_report": report} if report else {}
    return charge


def retrieve_balance(world: World, params: Json) -> Json:
    """What the account has: all of it pending, since nothing is ever paid out here."""
    forms.check_known(params, frozenset({"expand"}))
    sums: dict[str, int] = {world.account["default_currency"]: 0}
    for id in world.shelves.get("balance_transaction", []):
        moved = world.objects[id]
        sums[moved["currency"]] = sums.get(moved["currency"], 0) + moved["net"]
    return {
        "object": "balance",
        "available": [{"amount": 0, "currency": each, "source_types": {"card": 0}} for each in sums],
        "livemode": False,
        "pending": [{"amount": sum, "currency": each, "source_types": {"card": sum}} for each, sum in sums.items()],
        "refund_and_dispute_prefunding": {
            "available": [{"amount": 0, "currency": each} for each in sums],
            "pending": [{"amount": 0, "currency": each} for each in sums],
        },
    }
