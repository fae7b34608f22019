"""Changes of a charge that was made: what is said of it, never its money."""

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
