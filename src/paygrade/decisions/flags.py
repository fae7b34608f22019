"""Flags: features as OpenFeature asks about them, whoever answers.

Laws: a flag is a feature and its value what was decided on it; the server (OFREP) and the SDK's provider answer alike,
what is wrong with a question included.

OpenFeature: https://openfeature.dev/specification, and for flags without a value, where the client's default counts,
ADR 6 of https://github.com/open-feature/protocol. Stock providers need `variant` always, and reasons of the protocol.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from paygrade.decisions.decide import Decision
from paygrade.entitlements.model import Kind, Reason
from paygrade.values.errors import Mistake, Refused
from paygrade.values.text import KEY_LENGTH_MAX, QUANTITY_MAX, is_chosen_key, is_integer
from paygrade.values.text import describe as in_words

FlagReason = Literal["STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "UNKNOWN", "DEFAULT"]
Number = Literal["limit", "used", "remaining"]

REASONS: dict[Reason, FlagReason] = {
    "plan": "TARGETING_MATCH",
    "add_on": "TARGETING_MATCH",
    "override": "TARGETING_MATCH",
    "trial": "TARGETING_MATCH",
    "credit": "TARGETING_MATCH",
    "grace": "TARGETING_MATCH",
    "limit_reached": "TARGETING_MATCH",
    "insufficient_credit": "TARGETING_MATCH",
    "past_due": "TARGETING_MATCH",
    "unpaid": "TARGETING_MATCH",
    "paused": "TARGETING_MATCH",
    "no_seat": "TARGETING_MATCH",
    "role_not_permitted": "TARGETING_MATCH",
    "not_in_plan": "DEFAULT",
    "no_subscription": "DEFAULT",
    "trial_ended": "DEFAULT",
    "canceled": "DEFAULT",
    "unknown_account": "DEFAULT",
    "unknown_feature": "DEFAULT",
    "blocked": "DISABLED",
    "override_denied": "DISABLED",
    "stale": "UNKNOWN",
}
"""Our reasons in the protocol's words; ours goes along as `reasonCode`."""
NUMBERS: tuple[Number, ...] = ("limit", "used", "remaining")
"""What of a counted feature is a flag of its own, `<feature>.limit`."""

Metadata = dict[str, bool | int | str]


class Evaluation(Struct, frozen=True, omit_defaults=True):
    """A flag's value. Without one the client's default counts."""

    key: str
    reason: FlagReason
    variant: str
    metadata: Metadata
    value: bool | int | str | None = None


class Target(Struct, frozen=True):
    """What of an evaluation context counts here."""

    account: str
    member: str | None
    quantity: int
    quantities: Mapping[str, int]
    properties: Mapping[str, Any]  # Any: whatever else a client knows of its user

    def units(self, feature: str) -> int:
        return self.quantities.get(feature, self.quantity)


def read_target(said: object) -> Target:
    """The account (`targetingKey`, or `account` where that is given) and what else a context says. Refused
    `invalid_context` or `targeting_key_missing`."""
    if said is None:
        said = {}
    if not isinstance(said, Mapping):
        raise _invalid("", "is an object")
    account = said.get("account") or said.get("targetingKey")
    if account is None or account == "":
        raise Refused("targeting_key_missing", "name the account as `targetingKey` of the evaluation context")
    member, quantities = said.get("member"), said.get("quantities") or {}
    if not isinstance(account, str):
        raise _invalid("account" if said.get("account") else "targetingKey", "is a text")
    if member is not None and not isinstance(member, str):
        raise _invalid("member", "is a text")
    if not isinstance(quantities, Mapping):
        raise _invalid("quantities", "is an object of whole numbers by feature")
    if not is_chosen_key(account):
        raise _invalid("", f"names an account by 1 to {KEY_LENGTH_MAX} printable characters")
    units = {feature: _quantity(f"quantities/{feature}", units) for feature, units in quantities.items()}
    return Target(account, member, _quantity("quantity", said.get("quantity", 1)), units, said)


def read_flag(key: str, kinds: Mapping[str, Kind]) -> tuple[str, Number | None]:
    """The feature a flag is about, and which number of it, if that is the flag. Refused `unknown_feature`."""
    if key in kinds:
        return key, None
    feature, _, name = key.rpartition(".")
    number = next((each for each in NUMBERS if each == name), None)
    if number is None or feature not in kinds or not is_counted(kinds[feature]):
        raise Refused("unknown_feature", f"there is no flag {in_words(key)}; flags are the features of the catalog")
    return feature, number


def is_counted(kind: Kind) -> bool:
    return kind not in ("boolean", "config")


def flag(decision: Decision, kind: Kind, message: str) -> Evaluation:
    """Whether one may use more; of a feature that is configured, its value. `message`: the decision's."""
    value = decision.value if kind == "config" else decision.allowed
    return _evaluation(decision.feature, value, decision, message)


def number_flag(decision: Decision, number: Number, message: str) -> Evaluation:
    """One number of a feature that is counted."""
    return _evaluation(f"{decision.feature}.{number}", getattr(decision, number), decision, message)


def _evaluation(key: str, value: bool | int | str | None, decision: Decision, message: str) -> Evaluation:
    return Evaluation(key, REASONS[decision.reason], _variant(value), _metadata(decision, message), value)


def _variant(value: bool | int | str | None) -> str:
    match value:
        case None:
            return "default"
        case bool():
            return "on" if value else "off"
        case _:
            return str(value)


def _metadata(decision: Decision, message: str) -> Metadata:
    """The rest of a decision, flat; what is not known of it is left out."""
    told: dict[str, bool | int | str | None] = {
        "reasonCode": decision.reason,
        "message": message,
        "allowed": decision.allowed,
        "plan": decision.plan,
        "limit": decision.limit,
        "used": decision.used,
        "reserved": decision.reserved,
        "remaining": decision.remaining,
        "unlimited": decision.unlimited or None,
        "limited_by": decision.limited_by,
        "resets_at": f"{decision.resets_at:%Y-%m-%dT%H:%M:%SZ}" if decision.resets_at is not None else None,
        "version": decision.version,
        "stale": decision.stale or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _quantity(name: str, value: object) -> int:
    if not is_integer(value) or not 0 <= value <= QUANTITY_MAX:
        raise _invalid(name, f"is a whole number from 0 to {QUANTITY_MAX}")
    return value


def _invalid(name: str, what: str) -> Refused:
    pointer = f"/context/{name[:200]}".rstrip("/")
    return Refused("invalid_context", f"the evaluation context is invalid: {pointer} {what}", (Mistake(pointer, what),))
