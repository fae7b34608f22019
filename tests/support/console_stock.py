"""Something of everything a screen of the console can show."""

import time
from collections.abc import Callable
from typing import Any

import yaml

from support.server_process import SAMPLE, Api
from support.stack import House

ACCOUNT = "kestrel-labs"
FEATURE = "api_calls"
MIGRATION = {
    "plan": "pro", "to_version": 1, "accounts": ["customer-01", "customer-05", "customer-06"],
    "reason": "the old limits were promised",
}  # fmt: skip
ANCHOR = "2026-01-31T00:00:00Z"
_PATIENCE_S = 60


def fill(house: House) -> None:
    """Accounts with usage, overrides, blocks and members; a second catalog; a migration; changes; keys; endpoints."""
    api = house.api
    api.ok("PUT", f"/v1/accounts/{ACCOUNT}", json={"name": "Kestrel Labs"})
    house.shop.welcome(ACCOUNT, "Kestrel Labs")
    house.shop.subscribe(ACCOUNT, "pro_monthly", quantity=3)
    _wait(lambda: api.check(ACCOUNT, "exports")["allowed"])
    for number in range(12):
        key = f"customer-{number:02}"
        api.ok("PUT", f"/v1/accounts/{key}", json={"name": f"Customer {number}"})
        _manual(api, key, "pro" if number % 3 else "free", 1 + number)
    for number, member in enumerate(("ada", "ben", "cy")):
        api.ok("PUT", f"/v1/accounts/{ACCOUNT}/members/{member}", json={"role": "member"})
        for n in range(3):
            asked = {"account": ACCOUNT, "feature": FEATURE, "quantity": 40 * (number + 1), "id": f"{member}-{n}"}
            api.ok("POST", "/v1/consume", json={**asked, "member": member})
    api.ok("PUT", f"/v1/accounts/{ACCOUNT}/overrides/{FEATURE}", json={"add": 5000, "reason": "a pilot until spring"})
    api.ok("PUT", "/v1/accounts/customer-01/blocks/fraud", json={"reason": "three charge-backs in a week"})
    _second_catalog(api)
    api.ok("POST", "/v1/catalog/migrations", json=MIGRATION)
    for key, when in (("customer-02", "period_end"), ("customer-04", "now")):
        quote = api.ok("POST", f"/v1/accounts/{key}/plan-changes/quote", json={"plan": "free", "when": when})
        api.ok(
            "POST", f"/v1/accounts/{key}/plan-changes", json={"quote_id": quote["id"], "reason": "asked by the owner"}
        )
    api.ok("POST", "/v1/keys", json={"name": "Billing job", "role": "finance"})
    scopes = ["decisions:read", "usage:write", "accounts:read"]
    made = api.ok("POST", "/v1/keys", json={"name": "Product", "scopes": scopes, "rate_limit": 6000})
    api.ok("POST", f"/v1/keys/{made['id']}/rotate", json={"overlap_s": 3600})
    api.ok("POST", "/v1/people", json={"email": "support@example.com", "name": "Sam Support", "role": "support"})
    url = "https://example.invalid/webhooks"
    api.ok("POST", "/v1/webhook-endpoints", json={"url": url, "description": "The product's own"})
    api.ok("POST", "/v1/sync/sweep", json={"dry_run": True})
    api.ok("POST", "/v1/check", json={"account": ACCOUNT, "feature": "audit_log", "member": "ada"})
    _wait(lambda: api.ok("GET", f"/v1/accounts/{ACCOUNT}/decision-log")["decisions"])
    _wait(lambda: api.ok("GET", f"/v1/accounts/{ACCOUNT}/updates")["updates"])


def names(api: Api) -> dict[str, str]:
    """What stands for the parameters of paths."""
    changes = api.ok("GET", "/v1/accounts/customer-02/plan-changes")["changes"]
    logged = api.ok("GET", f"/v1/accounts/{ACCOUNT}/decision-log")["decisions"][0]
    return {
        "plan": "pro",
        "migration": str(api.ok("GET", "/v1/catalog/migrations")["migrations"][0]["id"]),
        "endpoint": api.ok("GET", "/v1/webhook-endpoints")["endpoints"][0]["id"],
        "sweep": str(api.ok("GET", "/v1/sync/status")["repair"]["sweep"]["id"]),
        "account": ACCOUNT if not changes else "customer-02",
        "change": changes[0]["id"],
        "feature": FEATURE,
        "logged": logged["id"],
        "logged_at": logged["at"],
    }


def _manual(api: Api, account: str, plan: str, quantity: int) -> None:
    item = {"id": "main", "plan": plan, "quantity": quantity}
    terms: dict[str, Any] = {"version": 1, "status": "active", "items": [item], "anchor_at": ANCHOR}
    api.ok("PUT", f"/v1/accounts/{account}/subscriptions/manual_1", json=terms)


def _second_catalog(api: Api) -> None:
    """The sample with more of what pro has; whoever has it keeps the version they have."""
    document = yaml.safe_load(SAMPLE.read_text())
    limit = document["plans"]["pro"]["entitlements"][FEATURE]
    limit["limit"] = 2 * limit["limit"]
    api.ok("PUT", "/v1/catalog?existing=keep&reason=more+for+everybody", json=document)


def _wait(seen: Callable[[], Any]) -> None:
    """Any: whatever counts as true."""
    deadline = time.monotonic() + _PATIENCE_S
    while not seen():
        assert time.monotonic() < deadline, "what was to come has not come"
