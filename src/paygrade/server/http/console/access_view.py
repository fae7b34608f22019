"""What an account has, as a page shows it: a chip, a bar, and the chain of sources that explains both.

Laws: pure; the sum of a bar's parts is its limit; what stands in a chain is what was looked at, in the order plan,
add-on, override, with what decided marked and what lost struck out.
"""

from msgspec import Struct

from paygrade.decisions.decide import Decision
from paygrade.decisions.outcome import DecisionOutcome
from paygrade.entitlements.model import Source
from paygrade.entitlements.sources import Candidate
from paygrade.server.http.console.wording import number, shown_value, state_words
from paygrade.server.operations.portrait import FeatureAccess

_ORDER = ("plan", "add_on", "leeway", "override", "block")
_KINDS = {"plan": "Plan", "add_on": "Add-on", "leeway": "Downgrade grace", "override": "Override", "block": "Block"}
_DENIED = {
    "not_in_plan": ("Not in plan", ""),
    "limit_reached": ("Limit reached", "stop"),
    "insufficient_credit": ("No credits left", "stop"),
    "no_subscription": ("No subscription", ""),
    "trial_ended": ("Trial ended", "stop"),
    "past_due": ("Past due", "stop"),
    "unpaid": ("Unpaid", "stop"),
    "paused": ("Paused", ""),
    "canceled": ("Canceled", ""),
    "blocked": ("Blocked", "stop"),
    "no_seat": ("Members with a seat", ""),
    "role_not_permitted": ("Members by role", ""),
    "override_denied": ("Denied by override", "hand"),
    "unknown_feature": ("Unknown feature", "stop"),
    "unknown_account": ("Unknown account", "stop"),
    "stale": ("Not known", "wait"),
}
_ALLOWED = {
    "plan": "by plan",
    "add_on": "by add-on",
    "override": "by override",
    "trial": "by trial",
    "credit": "by credits",
    "grace": "by grace",
    "stale": "as last known",
}
_VERDICTS = {
    "decides": "Decides",
    "adds": "Adds",
    "outranked": "Outranked",
    "suspended": "Suspended",
    "lapsed": "Ended",
}


class Link(Struct, frozen=True):
    """A link of a chain. `state`: how its subscription stands, where that is worth a word."""

    kind: str
    name: str
    gives: str
    verdict: str
    decides: bool
    lost: bool
    by_hand: bool
    state: str
    tone: str
    source: Source


class FeatureRow(Struct, frozen=True):
    """A feature of an account. `cuts` and `by_hand`: parts of its limit, in units."""

    key: str
    found: FeatureAccess
    told: str
    tone: str
    chain: tuple[Link, ...]
    cuts: tuple[int, ...]
    by_hand: int


def feature_row(key: str, found: FeatureAccess) -> FeatureRow:
    told, tone = told_of(found.decision, shortly=True)
    chain = tuple(sorted(map(link_of, found.candidates), key=lambda link: _ORDER.index(link.source.kind)))
    units = [link.source.units or 0 for link in chain if not link.lost and link.source.units]
    limit = found.decision.limit
    # Where the sources do not make up the limit (carried units, credits), nothing is cut.
    fits = limit is not None and sum(units) == limit and len(units) > 1
    cuts = tuple(sum(units[: i + 1]) for i in range(len(units) - 1)) if fits else ()
    by_hand = sum(link.source.units or 0 for link in chain if link.by_hand and not link.lost) if fits else 0
    return FeatureRow(key, found, told, tone, chain, cuts, by_hand)


def told_of(decision: Decision | DecisionOutcome, *, shortly: bool = False) -> tuple[str, str]:
    """What a chip says of a decision, and its meaning."""
    if decision.allowed:
        return "Allowed" if shortly else f"Allowed {_ALLOWED.get(decision.reason, '')}".strip(), "ok"
    told, tone = _DENIED.get(decision.reason, ("Denied", "stop"))
    return (told, tone) if shortly else (f"Denied: {told[:1].lower()}{told[1:]}", "stop")


def whole_told(decision: Decision | DecisionOutcome) -> str:
    """What is said of a decision where another stands beside it: `Allowed, 2 of 5,002`."""
    told, _ = told_of(decision, shortly=True)
    if decision.unlimited:
        return f"{told}, unlimited"
    if decision.limit is not None:
        return f"{told}, {number(decision.used or 0)} of {number(decision.limit)}"
    return f"{told}, {shown_value(decision.value).lower()}" if decision.value not in (None, True, False) else told


def link_of(candidate: Candidate) -> Link:
    source, verdict = candidate.source, candidate.verdict
    by_hand = source.kind in ("override", "block")
    running = source.state in ("trialing", "grace")
    odd = source.state is not None and source.state not in ("active",)
    return Link(
        kind=_KINDS[source.kind],
        name=source.plan or _KINDS[source.kind],
        gives=_gives(source, adds=verdict == "adds" or source.kind == "add_on"),
        verdict=_VERDICTS[verdict],
        decides=verdict == "decides",
        lost=verdict in ("outranked", "suspended", "lapsed"),
        by_hand=by_hand,
        state=state_words(source.state or "").lower() if odd else "",
        tone="wait" if running else "stop",
        source=source,
    )


def _gives(source: Source, *, adds: bool) -> str:
    if source.kind == "block":
        return "suspends everything"
    if source.unlimited:
        return "unlimited"
    if source.units is not None:
        return f"+{number(source.units)}" if adds and source.kind != "plan" else number(source.units)
    return shown_value(source.value).lower() if source.value is not None else "on"
