"""The tools of `paygrade mcp` that change something: what would happen first, then the same by its confirmation.

Laws: without a confirmation nothing is changed; a confirmation of another state of the account is refused; what is done
carries the reason that was previewed.
"""

import time
from collections.abc import Callable, Iterator
from typing import Annotated

from pydantic import Field

from paygrade.cli.api import call, path
from paygrade.cli.confirmation import Confirmation, Confirmations
from paygrade.cli.mcp_reads import Account, Feature, Json, Key, brief
from paygrade.cli.quote_page import page
from paygrade.values.errors import Refused
from paygrade.values.text import QUANTITY_MAX

# Any in this file: decoded JSON, as the server sent it.
Units = Annotated[int, Field(ge=0, le=QUANTITY_MAX)]
Counts = dict[Key, Annotated[int, Field(ge=0, le=1_000_000)]]
Reason = Annotated[str, Field(min_length=3, max_length=500, description="Why, in a few words; kept in the audit log.")]
Confirm = Annotated[
    Annotated[str, Field(max_length=500)] | None,
    Field(
        description="Leave it out first; once a person agreed, the `confirm` of that answer with the same arguments."
    ),
]
Expiry = Annotated[Key | None, Field(description="When it ends, for example 2026-12-31T00:00:00Z; without it, never.")]
NEXT = "Nothing has changed yet. Show this; if the person agrees, call `{}` with the same arguments and `confirm`."


def tools() -> Iterator[tuple[Callable[..., Json], bool]]:
    """Each tool, and whether it may take something away from customers."""
    its = _Writes(Confirmations())
    yield its.set_override, True
    yield its.remove_override, True
    yield its.grant_units, False
    yield its.change_plan, True


class _Writes:
    """The tools, and the confirmations that they make and read."""

    def __init__(self, confirmations: Confirmations) -> None:
        self._confirmations = confirmations

    def set_override(
        self,
        *,
        account: Account,
        feature: Feature,
        reason: Reason,
        value: Annotated[bool | int | str | None, Field(description="On or off, or a config feature's value.")] = None,
        limit: Annotated[Units | None, Field(description="A limit instead of the plan's.")] = None,
        add: Annotated[Units | None, Field(description="Units in addition to the plan's.")] = None,
        unlimited: bool = False,
        spend_cap: Annotated[Units | None, Field(description="What overage may cost, in minor units.")] = None,
        expires_at: Expiry = None,
        confirm: Confirm = None,
    ) -> Json:
        """Override a feature of an account, whatever it bought: exactly one of value, limit, add, unlimited and
        spend_cap. Without `confirm` it only says what it would lead to."""
        said = {"value": value, "limit": limit, "add": add, "unlimited": unlimited or None, "spend_cap": spend_cap}
        body = {name: what for name, what in {**said, "expires_at": expires_at}.items() if what is not None}
        body["reason"] = reason
        where = path("v1", "accounts", account, "overrides", feature)
        arguments = {"where": [account, feature], **body}
        if confirm is None:
            would = call("PUT", where, body=body, query={"dry_run": "true"})
            return self._override_preview("set_override", arguments, would, {"would_set": body})
        agreed = self._agreed("set_override", arguments, confirm, account)
        return _done(decision=brief(call("PUT", where, body=body, headers=_traced(agreed))))

    def remove_override(self, *, account: Account, feature: Feature, reason: Reason, confirm: Confirm = None) -> Json:
        """Remove the override of a feature, so that what the account bought counts again. Without `confirm` it only
        says what it would lead to."""
        where = path("v1", "accounts", account, "overrides", feature)
        arguments = {"where": [account, feature], "reason": reason}
        if confirm is None:
            would = call("DELETE", where, query={"dry_run": "true"})
            return self._override_preview("remove_override", arguments, would, {"would_remove": feature})
        agreed = self._agreed("remove_override", arguments, confirm, account)
        return _done(decision=brief(call("DELETE", where, query={"reason": reason}, headers=_traced(agreed))))

    def grant_units(
        self,
        *,
        account: Account,
        feature: Annotated[Key, Field(description="A feature or a credit that is counted.")],
        units: Annotated[int, Field(ge=1, le=QUANTITY_MAX)],
        reason: Reason,
        expires_at: Expiry = None,
        confirm: Confirm = None,
    ) -> Json:
        """Grant an account units on top of its plan, for example credits as an apology. Without `confirm` it only says
        what there is now."""
        body: Json = {"feature": feature, "units": units, "reason": reason, "kind": "adjustment"}
        body |= {"expires_at": expires_at} if expires_at is not None else {}
        arguments = {"account": account, **body}
        if confirm is None:
            now = call("GET", path("v1", "accounts", account, "balances", feature))
            return self._preview("grant_units", arguments, _version(account), {"balance_now": now, "would_grant": body})
        agreed = self._agreed("grant_units", arguments, confirm, account)
        # Each id grants once: whoever sends the same confirmation again gets the same grant.
        body["id"] = f"mcp_{agreed.id}"
        made = call("POST", path("v1", "accounts", account, "grants"), body=body, headers=_traced(agreed))
        return _done(grant=made)

    def change_plan(
        self,
        *,
        account: Account,
        reason: Reason,
        plan: Annotated[Key | None, Field(description="The plan to change to.")] = None,
        add_ons: Annotated[Counts | None, Field(max_length=50, description="The number of each; 0 drops it.")] = None,
        quantities: Annotated[Counts | None, Field(max_length=50, description="Of the plan or of seats.")] = None,
        interval: Annotated[Key | None, Field(description="A price's key or a billing interval: `yearly`.")] = None,
        coupon: Annotated[Key | None, Field(description="A coupon of Stripe.")] = None,
        when: Annotated[
            Key | None, Field(description="`now`, `period_end` or an instant; else the catalog decides.")
        ] = None,
        subscription: Annotated[Key | None, Field(description="Which one, if there are several.")] = None,
        confirm: Confirm = None,
    ) -> Json:
        """Change what an account pays for. Without `confirm` it makes a quote: what it costs, what is gained and lost,
        and when; with it, exactly that is done, or nothing if the account has changed since."""
        said = {"plan": plan, "add_ons": add_ons, "quantities": quantities, "interval": interval, "coupon": coupon}
        said |= {"when": when, "subscription": subscription}
        body = {name: what for name, what in said.items() if what is not None}
        arguments = {"account": account, "reason": reason, **body}
        where = path("v1", "accounts", account, "plan-changes")
        if confirm is None:
            quote = call("POST", where + "/quote", body=body)
            lines = [f"{heading}: {text}" for heading, text, _ in page(quote)]
            if not quote["executable"]:
                return {"done": False, "would_be_refused": True, "quote": lines}
            return self._preview("change_plan", arguments, quote["id"], {"quote": lines})
        agreed = self._confirmations.read("change_plan", arguments, confirm, time.monotonic())
        made = call("POST", where, body={"quote_id": agreed.state, "reason": reason}, headers=_traced(agreed))
        return _done(plan_change=made)

    def _override_preview(self, tool: str, arguments: Json, would: Json, more: Json) -> Json:
        account, feature = arguments["where"]
        told = call("POST", path("v1", "accounts", account, "explain"), body={"feature": feature})
        sources = [one for one in told["candidates"] if one["source"]["kind"] == "override"]
        seen = {"now": brief(told["decision"]), "then": brief(would), "override_now": sources, **more}
        return self._preview(tool, arguments, told["decision"]["version"], seen)

    def _preview(self, tool: str, arguments: Json, state: str, seen: Json) -> Json:
        confirm = self._confirmations.make(tool, arguments, state, time.monotonic())
        return {"done": False, **seen, "confirm": confirm, "next": NEXT.format(tool)}

    def _agreed(self, tool: str, arguments: Json, confirm: str, account: str) -> Confirmation:
        """The confirmation, of the account as it is now. Refused `account_changed`, and as `Confirmations.read`."""
        agreed = self._confirmations.read(tool, arguments, confirm, time.monotonic())
        if agreed.state != _version(account):
            raise Refused(
                "account_changed",
                f"`{account}` has changed since the preview; call `{tool}` without `confirm` for what would happen now",
            )
        return agreed


def _version(account: str) -> str:
    """The version of an account, which every decision on it names."""
    decisions = call("GET", path("v1", "accounts", account, "decisions"))["decisions"]
    return str(next((decision["version"] for decision in decisions.values()), ""))


def _traced(agreed: Confirmation) -> dict[str, str]:
    """The audit log names the request: whoever reads it sees that an assistant sent it."""
    return {"X-Request-Id": f"mcp_{agreed.id}"}


def _done(**told: object) -> Json:
    return {"done": True, **told}
