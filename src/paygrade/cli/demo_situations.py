"""The customers of Kestrel that are worth a look: what each is in, and how the API says so.

Law: what is said of a customer holds when it is said; otherwise there is a Surprise.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from paygrade.cli.demo_stage import Stage, Surprise
from paygrade.cli.wording import instant, sentence

# Any in this file: decoded JSON, as the server sent it.
Look = Callable[[Stage, str], str]


class Situation(Struct, frozen=True):
    """`look` asks the API about the account, and gives in one sentence what it says."""

    account: str
    about: str
    look: Look


def _can(feature: str, reason: str, *, quantity: int = 1) -> Look:
    return lambda stage, account: sentence(stage.decision(account, feature, "allowed", reason, quantity=quantity))


def _cannot(feature: str, reason: str, *, quantity: int = 1) -> Look:
    return lambda stage, account: sentence(stage.decision(account, feature, "denied", reason, quantity=quantity))


def _used(feature: str, used: int, limit: int) -> Look:
    def look(stage: Stage, account: str) -> str:
        told = stage.until(
            lambda: stage.call("POST", "/v1/check", json={"account": account, "feature": feature}),
            lambda told: (told["used"], told["limit"]) == (used, limit),
            f"expected {used} of {limit} {feature} used",
        )
        return f"{told['used']:,} of {told['limit']:,} {feature} used, resets {instant(told['resets_at'])}"

    return look


def _changes(state: str, says: Callable[[Any], str]) -> Look:
    """The account's newest plan change is in this state."""

    def look(stage: Stage, account: str) -> str:
        told = stage.call("GET", f"/v1/accounts/{account}/plan-changes")["changes"][0]
        if told["state"] != state:
            raise Surprise(f"the plan change of {account} is not {state}: {told}")
        return f"{told['quoted']['plan_before']} → {told['quoted']['plan_after']}, {says(told)}"

    return look


def _subscription(says: Callable[[Any], str | None]) -> Look:
    """Something of the account as it is known."""

    def look(stage: Stage, account: str) -> str:
        known = stage.call("GET", f"/v1/accounts/{account}")
        said = says(known)
        if said is None:
            raise Surprise(f"{account} is not as told: {known}")
        return said

    return look


def _returned(kind: str) -> Look:
    def says(known: Any) -> str | None:
        back = known["subscriptions"][0].get("returned", {})
        return f"{back[kind] / 100:.2f} of {back['paid'] / 100:.2f} USD {kind}" if kind in back else None

    return _subscription(says)


def _two(known: Any) -> str | None:
    live = [one for one in known["subscriptions"] if one["status"] == "active"]
    names = " and ".join(one["items"][0]["lookup_key"] for one in live)
    return f"{names}: everything adds up" if len(live) == 2 else None


def _ends(known: Any) -> str | None:
    end = known["subscriptions"][0].get("ends_at")
    return f"ends {instant(end)}" if end else None


def _found(known: Any) -> str | None:
    return next((f"[{one['code']}] of {one['subject']}" for one in known["findings"]), None)


SITUATIONS = (
    Situation("acme", "all 7 seats taken", _cannot("seats", "limit_reached")),
    Situation("globex", "near its limit", _used("api_calls", 9_640, 10_000)),
    Situation("initech", "over its limit, pays for more", _used("api_calls", 112_400, 100_000)),
    Situation("saffron", "credits nearly gone", _used("ai_credits", 968, 1_000)),
    Situation("hooli", "past due, step 2: reads only", _cannot("api_calls", "past_due")),
    Situation("lumen", "trial ends tomorrow", _can("audit_log", "trial")),
    Situation("tundra", "paused, left with Free", _cannot("exports", "paused")),
    Situation("cedar", "half refunded, half the units", _returned("refunded")),
    Situation("basalt", "payment disputed", _returned("disputed")),
    Situation("pelican", "held by a block", _cannot("api_calls", "blocked")),
    Situation("harbor", "override ends in 36 hours", _can("custom_models", "override")),
    Situation("fjord", "pays a price nobody names", _subscription(_found)),
    Situation("quarry", "downgrade: 12 members, 5 seats",
              _changes("scheduled", lambda told: f"on {instant(told['effective_at'])}")),
    Situation("meridian", "upgrade waits for 3-D Secure", _changes("pending", lambda _: "to be confirmed at its bank")),
    Situation("origami", "keeps the Pro it bought", _can("api_calls", "plan")),
    Situation("juniper", "two subscriptions", _subscription(_two)),
    Situation("cobalt", "cancels at the period's end", _subscription(_ends)),
    Situation("sandbox", "40 days ahead, on a test clock", _can("audit_log", "plan")),
    Situation("northwind", "enterprise, by a contract on paper", _can("custom_models", "plan")),
    Situation("vireo", "free, since four days ago", _cannot("exports", "not_in_plan")),
)  # fmt: skip
