"""The tools of `paygrade mcp` that read: one question to the API each, in the words of the command line.

Law: nothing here changes anything at the server.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from paygrade.cli.api import call, path
from paygrade.cli.check import question
from paygrade.cli.wording import sentence
from paygrade.values.errors import Refused
from paygrade.values.text import QUANTITY_MAX

# Any in this file: decoded JSON, as the server sent it.
Json = dict[str, Any]
LIMIT_MAX = 100
Key = Annotated[str, Field(min_length=1, max_length=200)]
Account = Annotated[Key, Field(description="The account's key, as `find_accounts` has it.")]
Feature = Annotated[Key, Field(description="A feature's key in the catalog.")]
Member = Annotated[Key | None, Field(description="The member who asks, for features with roles or seats.")]
Quantity = Annotated[int, Field(ge=0, le=QUANTITY_MAX, description="How many units.")]
Time = Annotated[Key | None, Field(description="An instant, for example 2026-01-31T10:00:00Z.")]
Limit = Annotated[int, Field(ge=1, le=LIMIT_MAX, description="How many to show.")]
Before = Annotated[Key | None, Field(description="The next page: the `next` of the page before.")]
_TELLING = (
    "message", "allowed", "reason", "plan", "limit", "used", "reserved", "remaining", "unlimited", "value", "resets_at",
    "limited_by", "stale",
)  # fmt: skip


def brief(decision: Json) -> Json:
    """What of a decision tells something."""
    return {name: decision[name] for name in _TELLING if decision.get(name) is not None}


def asked(**said: object) -> dict[str, str]:
    """The query of what was said."""
    return {name: str(value) for name, value in said.items() if value is not None}


def find_accounts(
    *,
    search: Annotated[
        str,
        Field(
            max_length=200,
            description="The beginning of the key or name, or the id of a Stripe customer or subscription.",
        ),
    ] = "",
    limit: Limit = 20,
    after: Annotated[Key | None, Field(description="The next page: the `next` of the page before.")] = None,
) -> Json:
    """Find accounts by the beginning of their key or name, or by the id of their customer or subscription at Stripe,
    with what they pay for."""
    told: Json = call("GET", "/v1/accounts", query=asked(search=search or None, limit=limit, after=after))
    return told


def show_account(*, account: Account, member: Member = None) -> Json:
    """Show an account: its subscriptions, overrides, blocks and members, what needs attention, and the decision on each
    feature: what it can use, and why."""
    found: Json = call("GET", path("v1", "accounts", account))
    decided = call("GET", path("v1", "accounts", account, "decisions"), query=asked(member=member))["decisions"]
    return {**found, "decisions": [{"feature": feature, **brief(decided[feature])} for feature in decided]}


def check(
    *, account: Account, feature: Feature, quantity: Quantity = 1, member: Member = None, at: Time = None
) -> Json:
    """Check whether an account can use a feature now, or at another instant, and say why in one sentence."""
    body = {"account": account, **question(feature, quantity, member, at)}
    decision = call("POST", "/v1/check", body=body)
    return {"answer": sentence(decision), **brief(decision)}


def explain(
    *, account: Account, feature: Feature, quantity: Quantity = 1, member: Member = None, at: Time = None
) -> Json:
    """Explain why an account can or can't use a feature: the decision, every plan, add-on and override that was looked
    at with what became of it, and the facts behind it with the billing events they came from. An instant in the past is
    answered from what was known then."""
    body = question(feature, quantity, member, at, believed=at is not None)
    told = call("POST", path("v1", "accounts", account, "explain"), body=body)
    return {"answer": sentence(told["decision"]), **told}


def usage(
    *,
    account: Account,
    feature: Annotated[Key | None, Field(description="Only this feature or credit.")] = None,
    from_at: Annotated[Key | None, Field(description="Windows that end after this instant; 92 days ago.")] = None,
    until: Annotated[Key | None, Field(description="Windows that begin before this instant; now.")] = None,
    group_by: Annotated[Key | None, Field(description="`member`, or a property of usage; needs `feature`.")] = None,
) -> Json:
    """Show what an account used in each window, newest first, with its limits."""
    query = {**asked(feature=feature, until=until, group_by=group_by), **({"from": from_at} if from_at else {})}
    told: Json = call("GET", path("v1", "accounts", account, "usage"), query=query)
    return told


def timeline(*, account: Account, limit: Limit = 20, before: Before = None) -> Json:
    """Show what happened to an account, newest first: subscriptions, payments, overrides and blocks with what they
    changed and the billing event behind each, and units that were granted."""
    told: Json = call("GET", path("v1", "accounts", account, "timeline"), query=asked(limit=limit, before=before))
    return told


def plan_changes(*, account: Account, limit: Limit = 20, before: Before = None) -> Json:
    """List an account's plan changes, newest first, with their state and what they did."""
    told: Json = call("GET", path("v1", "accounts", account, "plan-changes"), query=asked(limit=limit, before=before))
    return told


def updates(
    *,
    account: Annotated[Key | None, Field(description="Only updates of this account.")] = None,
    types: Annotated[list[Key] | None, Field(max_length=50, description="Only these types.")] = None,
    after: Annotated[int | None, Field(ge=0, le=QUANTITY_MAX, description="Updates behind this position.")] = None,
    limit: Limit = 50,
) -> Json:
    """List state updates (what has changed, as other systems hear of it), oldest first; `next` is the `after` of the
    next page. Without `after`, begins with the oldest that is kept."""
    query = asked(account=account, types=",".join(types or ()) or None, after=after, limit=limit)
    told: Json = call("GET", "/v1/updates", query=query)
    return told


def audit(
    *,
    account: Annotated[Key | None, Field(description="Only what was done to this account.")] = None,
    action: Annotated[
        Key | None, Field(description="An action (`override.set`), or those of a noun (`override`).")
    ] = None,
    actor: Annotated[Key | None, Field(description="Only what the actor of this id did.")] = None,
    from_at: Annotated[Key | None, Field(description="From this instant on.")] = None,
    until: Annotated[Key | None, Field(description="Before this instant.")] = None,
    limit: Limit = 20,
    before: Before = None,
) -> Json:
    """Say who did what, newest first: who gave an account its override, from where, what was before and is now."""
    where = path("v1", "audit") if account is None else path("v1", "accounts", account, "audit")
    query = {**asked(action=action, actor=actor, until=until, limit=limit, before=before)}
    told = call("GET", where, query={**query, **({"from": from_at} if from_at else {})})
    kept = (
        "account",
        "number",
        "occurred_at",
        "action",
        "actor",
        "address",
        "request",
        "targets",
        "changes",
        "personal",
    )
    return {"records": [{name: one[name] for name in kept} for one in told["records"]], "next": told["next"]}


def catalog(
    *,
    part: Annotated[
        Literal["features", "credits", "plans", "add_ons", "policies"] | None, Field(description="Only this part.")
    ] = None,
    key: Annotated[Key | None, Field(description="Only this feature, plan or add-on; needs `part`.")] = None,
) -> Json:
    """Show the catalog in force: the features, plans, add-ons and policies, with their limits and prices."""
    told: Json = call("GET", "/v1/catalog")
    if part is None:
        return told
    found = told["document"].get(part, {})
    if key is not None:
        if key not in found:
            raise Refused(
                "not_in_catalog", f"the catalog has no `{key}` under `{part}`; it has {', '.join(found) or 'none'}"
            )
        found = {key: found[key]}
    return {"version": told["version"], part: found}


def sync_status() -> Json:
    """Show the state of billing sync: how many customers wait to be read from Stripe, which fail and why, findings that
    need attention, the latest sweep, and the amount of drift."""
    told: Json = call("GET", "/v1/sync/status")
    return told


def drift(
    only_open: Annotated[bool, Field(description="Only differences that remain.")] = False,
    limit: Limit = 20,
    before: Annotated[int | None, Field(ge=0, le=QUANTITY_MAX, description="The `next` of the page before.")] = None,
) -> Json:
    """List fields that differed from Stripe although no billing event had told of it, and when they were corrected."""
    told: Json = call("GET", "/v1/sync/drift", query=asked(open=str(only_open).lower(), limit=limit, before=before))
    return told


TOOLS: Final = (
    find_accounts, show_account, check, explain, usage, timeline, plan_changes, updates, audit, catalog, sync_status,
    drift,
)  # fmt: skip
