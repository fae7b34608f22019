"""Sentences: a decision in the words a support person would use.

Law: every reason has its sentence; a decision decoded from JSON reads like the one it was encoded from.
"""

from collections.abc import Mapping
from typing import Any

# Any in this file: decoded JSON, as the server sent it.

_BECAUSE: dict[str, str] = {
    "plan": "the plan {plan} includes it",
    "add_on": "an add-on includes it",
    "override": "an operator's override allows it",
    "trial": "the trial of {plan} includes it",
    "credit": "the credits suffice",
    "grace": "a payment is overdue, and the days of grace are not over",
    "not_in_plan": "the plan {plan} does not include it",
    "limit_reached": "that would be more than {limit}",
    "insufficient_credit": "the credits do not suffice",
    "no_subscription": "there is no subscription",
    "trial_ended": "the trial has ended",
    "past_due": "a payment is overdue",
    "unpaid": "payments stayed out",
    "paused": "the subscription is paused",
    "canceled": "the subscription has ended",
    "blocked": "the account is blocked",
    "no_seat": "that takes a member with a seat",
    "role_not_permitted": "that takes a member with another role",
    "override_denied": "an operator's override denies it",
    "unknown_feature": "the catalog has no such feature",
    "unknown_account": "there is no such account",
    "stale": "the view is out of date",
}

_LIMITS = {
    "None": "the limit",
    "member": "the member's share",
    "spend_cap": "the spend cap pays for",
    **{every: f"the limit of this {every}" for every in ("hour", "day", "week", "month", "quarter", "year")},
}


def sentence(decision: Mapping[str, Any]) -> str:
    """The whole answer in one line: who, whether, what, why, and how much is left."""
    may = "may" if decision["allowed"] else "may not"
    quantity, feature = decision["quantity"], decision["feature"]
    units = f"{quantity} of {feature}" if quantity > 1 else str(feature)
    left = _amounts(decision)
    return f"{decision['account']} {may} use {units}: {because(decision)}{f' ({left})' if left else ''}"


def because(decision: Mapping[str, Any]) -> str:
    """Only why, with the note an operator left."""
    reason = str(decision["reason"])
    limit = _LIMITS.get(str(decision.get("limited_by")), f"what {decision.get('limited_by')} allows")
    text = _BECAUSE[reason].format(plan=decision.get("plan") or "in force", limit=limit)
    notes = [source.get("note") for source in decision.get("sources", ()) if source.get("reason") == reason]
    note = next((note for note in notes if note), None)
    return f"{text} [{reason}]" + (f", “{note}”" if note else "")


def _amounts(decision: Mapping[str, Any]) -> str:
    parts = []
    if decision.get("unlimited"):
        parts.append("unlimited")
    if decision.get("limit") is not None:
        parts.append(f"{decision['remaining']} of {decision['limit']} left")
    if decision.get("value") not in (None, True, False):
        parts.append(f"value {decision['value']}")
    if decision.get("resets_at"):
        parts.append(f"resets {instant(decision['resets_at'])}")
    if decision.get("stale"):
        parts.append("stale")
    return ", ".join(parts)


def held(version: Mapping[str, Any]) -> str:
    """Why another version than the newest counts, or that it is the newest by an operator's word."""
    bought = "bought before" if version["why"] == "kept" else "pinned by an operator since"
    until = f", until {instant(version['until'])}" if version.get("until") else ""
    reason = f" ({version['reason']})" if version.get("reason") else ""
    newest = "it is sold no more" if version["newest"] is None else f"the newest is {version['newest']}"
    ref = f"{version['key']}@{version['version']}"
    return f"on {ref}: {bought} {instant(version['since'])}{until}{reason}; {newest}"


def instant(text: str) -> str:
    """An instant of the API as people read it: `2026-11-21 09:00:00 UTC`."""
    return f"{text[:19].replace('T', ' ')} UTC"
