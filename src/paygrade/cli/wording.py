"""Sentences: what the API says, in one line."""

from collections.abc import Mapping
from typing import Any

# Any in this file: decoded JSON, as the server sent it.


def sentence(decision: Mapping[str, Any]) -> str:
    """The whole answer in one line: its message, its reason, an operator's note, and how much is left."""
    reason = decision["reason"]
    notes = (source.get("note") for source in decision.get("sources", ()) if source.get("reason") == reason)
    note = next((f", “{note}”" for note in notes if note), "")
    left = _amounts(decision)
    return f"{decision['message']} [{reason}]{note}{f' ({left})' if left else ''}"


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
    newest = "it is no longer sold" if version["newest"] is None else f"the newest is {version['newest']}"
    ref = f"{version['key']}@{version['version']}"
    return f"on {ref}: {bought} {instant(version['since'])}{until}{reason}; {newest}"


def instant(text: str) -> str:
    """An instant of the API as people read it: `2026-11-21 09:00:00 UTC`."""
    return f"{text[:19].replace('T', ' ')} UTC"
