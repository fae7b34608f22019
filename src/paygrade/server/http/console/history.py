"""What happened to an account, as lines of a page."""

from datetime import datetime

from msgspec import Struct

from paygrade.billing.audit_chain import AuditRecord
from paygrade.billing.facts import Override
from paygrade.server.http.console.wording import number, shown_value, words
from paygrade.server.operations.accounts.timeline import Timeline, TimelineEntry, UnitsEntry
from paygrade.values.periods import parse_instant

_BY_HAND = ("override:", "block:", "version:")


class Line(Struct, frozen=True):
    """Something that happened, and what proves it; `cause` are ids of billing events."""

    at: datetime
    text: str
    proof: str
    tone: str = ""
    cause: tuple[str, ...] = ()


def recent(told: Timeline, most: int) -> list[Line]:
    """Facts and units together, the newest first."""
    lines = [*map(_line, told.facts), *map(_line, told.units)]
    return sorted(lines, key=lambda line: line.at, reverse=True)[:most]


def _line(entry: TimelineEntry | UnitsEntry) -> Line:
    if isinstance(entry, UnitsEntry):
        return Line(entry.recorded_at, entry.summary, "ledger", "hand")
    tone = "hand" if entry.subject.startswith(_BY_HAND) else ""
    return Line(entry.recorded_at, entry.summary, f"fact {entry.number}", tone, entry.cause)


def deed(record: AuditRecord) -> Line:
    """Who did what."""
    actor = record.actor or {}
    noun, _, verb = record.action.partition(".")
    what = next((target["id"] for target in record.targets if target.get("kind") != "account"), "")
    text = f"{words(noun)}: {words(verb).lower()}" + (f" {what}" if what else "")
    return Line(parse_instant(record.occurred_at), text, actor.get("name") or actor.get("id") or "erased")


def override_words(override: Override) -> str:
    """`Api calls +5,000`, `Exports on`."""
    name = words(override.feature)
    if override.unlimited:
        return f"{name} unlimited"
    if override.add is not None:
        return f"{name} {override.add:+,}"
    if override.limit is not None:
        return f"{name} at most {number(override.limit)}"
    if override.spend_cap is not None:
        return f"{name}: overage up to {number(override.spend_cap)} minor units"
    return f"{name} {shown_value(override.value).lower()}"
