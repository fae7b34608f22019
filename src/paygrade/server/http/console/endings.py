"""What ends soon, in the words of whoever asks what they lose by it."""

from datetime import datetime

from paygrade.server.http.console.wording import words
from paygrade.updates.coming import Coming
from paygrade.updates.overview import Overview

TONES = {
    "trial": "wait",
    "step": "wait",
    "override": "hand",
    "block": "hand",
    "downgrade_grace": "wait",
    "invitation": "",
    "contract": "wait",
}


def told_ending(coming: Coming) -> str:
    """`trial ends`, `override of api_calls ends`."""
    match coming.what:
        case "trial":
            return "trial ends"
        case "step":
            return "next step of the access ladder"
        case "override":
            return f"override of {words(coming.key).lower()} ends"
        case "block":
            return f"block {coming.key} ends"
        case "downgrade_grace":
            return f"downgrade grace of {words(coming.key).lower()} ends"
        case "invitation":
            return f"invitation of {coming.key} ends"
        case "contract":
            return f"term of contract {coming.key} ends"


def state_until(overview: Overview) -> datetime | None:
    """Until when the account stands as it does: its trial, or the step of its ladder."""
    for stand in overview.subscriptions.values():
        if stand.state == overview.state:
            return stand.step.until if stand.step is not None else stand.trial_ends_at
    return None
