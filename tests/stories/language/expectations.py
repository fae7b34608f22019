"""What a story says must hold: decisions with their reasons, and findings.

    acme exports, editor: allowed grace, state grace
    acme seats 4: denied limit_reached, limit 3
    acme billing_admin by ann: denied role_not_permitted
    acme tokens 3000 with model large: allowed credit, used 12000, remaining 4000
    acme findings: unmapped_price

A decision's details are what a support person can read off it; the ones not mentioned may be anything.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import get_args

from msgspec import Struct

from paygrade.decisions.decide import Decision
from paygrade.entitlements.model import Reason, Source
from paygrade.values.periods import parse_instant
from stories.language.phrases import read_value

ALLOWED: tuple[Reason, ...] = ("plan", "add_on", "override", "trial", "credit", "grace")
DENIED: tuple[Reason, ...] = tuple(reason for reason in get_args(Reason) if reason not in ALLOWED)

Detail = int | str | bool | datetime | None


class Outcome(Struct, frozen=True):
    """What a decision must say."""

    allowed: bool
    reason: Reason
    details: dict[str, Detail] = {}


class DecisionExpected(Struct, frozen=True):
    """What the decision on `quantity` of each feature must say."""

    account: str
    features: tuple[str, ...]
    quantity: int
    member: str | None
    outcome: Outcome
    properties: dict[str, bool | int | str] | None = None


class FindingsExpected(Struct, frozen=True):
    """The codes of all findings about an account, in alphabetical order."""

    account: str
    codes: tuple[str, ...]


_DECISION = re.compile(
    r"(?P<account>[\w@.-]+) (?P<features>[\w.-]+(?:, [\w.-]+)*)(?: (?P<quantity>[0-9]+))?(?: by (?P<member>[\w.-]+))?"
    r"(?: with (?P<property>\w+) (?P<value>[\w.-]+))?: (?P<outcome>.*)"
)
_OUTCOME = re.compile(r"(?P<verdict>\w+)(?: (?P<reason>\w+))?(?P<details>(?:, .+)?)")
_FINDINGS = re.compile(r"(?P<account>[\w@.-]+) findings: (?P<codes>[\w, ]+)")
_EXAMPLE = "write for example `acme seats 4: denied limit_reached, limit 3`"


def read(sentence: str) -> DecisionExpected | FindingsExpected:
    """Read what must hold. ValueError says what was expected instead."""
    if (found := _FINDINGS.fullmatch(sentence)) is not None:
        codes = [] if found["codes"] == "none" else found["codes"].split(", ")
        return FindingsExpected(found["account"], tuple(sorted(codes)))
    found = _DECISION.fullmatch(sentence)
    if found is None:
        raise ValueError(f"`{sentence}` is neither something that happens nor a decision; {_EXAMPLE}")
    return DecisionExpected(
        found["account"],
        tuple(found["features"].split(", ")),
        int(found["quantity"] or 1),
        found["member"],
        read_outcome(found["outcome"]),
        None if found["property"] is None else {found["property"]: read_value(found["value"])},
    )


def read_outcome(text: str) -> Outcome:
    """Read a verdict with its reason and details. ValueError says what was expected instead."""
    found = _OUTCOME.fullmatch(text)
    verdict, reason = (found["verdict"], found["reason"]) if found else (text, None)
    if found is None or verdict not in ("allowed", "denied"):
        raise ValueError(f"a decision is `allowed` or `denied`, not `{verdict}`; {_EXAMPLE}")
    reasons = ALLOWED if verdict == "allowed" else DENIED
    if reason not in reasons:
        what = f"not `{reason}`" if reason else "and must be given"
        raise ValueError(f"the reason of what is {verdict} is one of {', '.join(reasons)}; {what}")
    return Outcome(verdict == "allowed", reason, dict(_detail(text) for text in split(found["details"])))


def differences(expected: Outcome, decision: Decision) -> list[str]:
    """What this decision says otherwise."""
    said: dict[str, Detail] = {"allowed": decision.allowed, "reason": decision.reason}
    wanted: dict[str, Detail] = {"allowed": expected.allowed, "reason": expected.reason, **expected.details}
    said |= {name: DETAILS[name][1](decision) for name in expected.details}
    if "plan" in wanted and "@" not in str(wanted["plan"]):
        said["plan"] = decision.plan.partition("@")[0] if decision.plan else None
    return [f"{name}: expected {wanted[name]}, got {said[name]}" for name in wanted if wanted[name] != said[name]]


def split(details: str) -> list[str]:
    """The details between commas."""
    # Commas within quotes belong to the text.
    return re.findall(r'(?:"[^"]*"|[^,"])+', details.removeprefix(", ")) if details else []


def _detail(text: str) -> tuple[str, Detail]:
    name, _, value = text.strip().partition(" ")
    if name not in DETAILS:
        raise ValueError(f"`{text.strip()}` is no detail of a decision; the details are {', '.join(DETAILS)}")
    reader = DETAILS[name][0]
    if name == "unlimited" and not value:
        return name, True
    try:
        return name, None if value == "none" else reader(value)
    except ValueError as error:
        raise ValueError(f"`{name}` of a decision: {error}") from None


def _text(value: str) -> str:
    return value.strip('"')


def _of_source(read: Callable[[Source], Detail]) -> Callable[[Decision], Detail]:
    return lambda decision: read(decision.sources[0]) if decision.sources else None


DETAILS: dict[str, tuple[Callable[[str], Detail], Callable[[Decision], Detail]]] = {
    "limit": (int, lambda decision: decision.limit),
    "used": (int, lambda decision: decision.used),
    "reserved": (int, lambda decision: decision.reserved),
    "remaining": (int, lambda decision: decision.remaining),
    "unlimited": (read_value, lambda decision: decision.unlimited),
    "value": (read_value, lambda decision: decision.value),
    "plan": (_text, lambda decision: decision.plan),
    "limited_by": (_text, lambda decision: decision.limited_by),
    "resets": (parse_instant, lambda decision: decision.resets_at),
    "source": (_text, _of_source(lambda source: source.kind)),
    "state": (_text, _of_source(lambda source: source.state)),
    "until": (parse_instant, _of_source(lambda source: source.until)),
    "because": (_text, _of_source(lambda source: source.note)),
}
"""How each detail is read, and where a decision has it; the last four are of the first source, which decides."""
