"""What a denial is over HTTP: a status, a problem document, and the fields that tell when to come back.

Law: a reason has one code and a code one status, for the gateway and for products that decide in their own process.
Fields: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/11/, RFC 9110 10.2.3 (`Retry-After`).
"""

from datetime import datetime, timedelta

from msgspec import Struct

from paygrade.decisions.decide import Decision
from paygrade.decisions.message import message
from paygrade.entitlements.model import Reason

STATUSES: dict[str, tuple[int, str]] = {
    "payment_required": (402, "Another plan or a payment is needed"),
    "not_permitted": (403, "The account or member is not permitted this"),
    "over_limit": (429, "The limit is reached until it resets"),
    "usage_unknown": (503, "How much is in use cannot be read right now"),
}
"""The status and title of each code."""
CODES: dict[Reason, str] = {
    **dict.fromkeys(("not_in_plan", "no_subscription", "trial_ended", "canceled"), "payment_required"),
    **dict.fromkeys(("past_due", "unpaid", "limit_reached", "insufficient_credit"), "payment_required"),
    **dict.fromkeys(("paused", "blocked", "no_seat", "role_not_permitted", "override_denied"), "not_permitted"),
    **dict.fromkeys(("unknown_feature", "unknown_account"), "not_permitted"),
    "stale": "usage_unknown",
}
"""The code of each reason to deny; `over_limit` instead, where the limit resets and waiting helps."""
_INTEGER_MAX = 10**15 - 1  # of a structured field (RFC 9651, 3.3.1)


class Denial(Struct, frozen=True, omit_defaults=True):
    """A denied decision as a problem document (RFC 9457). `message` is the sentence to show to whoever is denied."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    message: str
    reason: Reason
    account: str
    feature: str
    plan: str | None = None
    limit: int | None = None
    used: int | None = None
    remaining: int | None = None
    resets_at: datetime | None = None


def denial(of: Decision, at: datetime) -> Denial | None:
    """What to answer to whoever asked at `at`; None: it is allowed."""
    if of.allowed:
        return None
    code, told = "over_limit" if _waiting_helps(of, at) else CODES[of.reason], message(of)
    return Denial(f"/problems/{code}", STATUSES[code][1], STATUSES[code][0], told, code, told, of.reason, of.account,
                  of.feature, of.plan, of.limit, of.used, of.remaining, of.resets_at)  # fmt: skip


def rate_limit(of: Decision, at: datetime) -> dict[str, str]:
    """The fields of a decision, allowed or denied; none where nothing is counted that resets."""
    if of.limit is None or of.resets_at is None or of.resets_at <= at:
        return {}
    wait_s = -(-(of.resets_at - at) // timedelta(seconds=1))  # rounded up
    counter, _, length = (of.limited_by or "").partition(" ")
    name = f'"{of.feature}:{of.limited_by}"' if counter else f'"{of.feature}"'
    window = f";w={length.removesuffix('s')}" if counter == "rolling" else ""
    policy, left = f"{name};q={min(of.limit, _INTEGER_MAX)}{window}", min(of.remaining or 0, _INTEGER_MAX)
    fields = {"RateLimit-Policy": policy, "RateLimit": f"{name};r={left};t={wait_s}"}
    return {**fields, "Retry-After": str(wait_s)} if _waiting_helps(of, at) else fields


def _waiting_helps(of: Decision, at: datetime) -> bool:
    resets = of.resets_at is not None and of.resets_at > at
    return resets and of.reason in ("limit_reached", "insufficient_credit") and of.quantity <= (of.limit or 0)
