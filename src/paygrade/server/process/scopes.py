"""Scopes: what a key, an account token or a person may do, a noun and a verb; and the roles, which are sets of them.

Laws: this is the only table of both; each route needs exactly one scope, which it says itself (`describe`); a role has
what is listed here and nothing that follows from it elsewhere.
"""

from collections.abc import Iterable
from typing import Final, Literal, get_args

PublicScope = Literal["decisions:read", "stream:read", "plans:read", "summary:read"]
"""What a browser may hold, in an account token or a publishable key."""
Scope = Literal[
    "decisions:read",
    "stream:read",
    "plans:read",
    "summary:read",
    "accounts:read",
    "accounts:write",
    "accounts:export",
    "accounts:erase",
    "members:write",
    "overrides:write",
    "subscriptions:write",
    "updates:read",
    "webhooks:read",
    "webhooks:write",
    "webhooks:answers",
    "usage:read",
    "usage:write",
    "usage:adjust",
    "plan_changes:read",
    "plan_changes:quote",
    "plan_changes:write",
    "billing:read",
    "billing:sync",
    "billing:checkout",
    "billing:write",
    "reports:read",
    "portal:write",
    "catalog:read",
    "catalog:publish",
    "catalog:migrate",
    "tokens:write",
    "keys:read",
    "keys:write",
    "people:read",
    "people:write",
    "approvals:read",
    "approvals:write",
    "audit:read",
]
Role = Literal["viewer", "support", "finance", "developer", "admin"]

SCOPES: Final[dict[Scope, str]] = {
    "decisions:read": "Check access, explain decisions, evaluate flags, follow changes. Includes `stream:read`.",
    "stream:read": "Hear that flags have changed, and nothing else.",
    "plans:read": "Read which plans are on sale, with prices and what they give.",
    "summary:read": "Read what an account's own pages show. Includes `decisions:read` and `plans:read`.",
    "accounts:read": "Read accounts, members, timelines, and who has which plan.",
    "accounts:write": "Create, change, delete and rebuild accounts.",
    "accounts:export": "Export all that is stored of an account and its people.",
    "accounts:erase": "Erase an account's personal data.",
    "members:write": "Add, change and remove members, and choose who has a seat.",
    "overrides:write": "Set and remove overrides, blocks and pins.",
    "subscriptions:write": "State subscriptions, contracts and invoices that are billed by hand.",
    "updates:read": "Read the log of state updates.",
    "webhooks:read": "Read webhook endpoints, and what became of what was sent.",
    "webhooks:write": "Create, change, test and remove webhook endpoints, and send again.",
    "webhooks:answers": "Read what receivers answered.",
    "usage:read": "Read balances, the ledger, usage and alerts.",
    "usage:write": "Consume and reserve units, lease them, report usage events.",
    "usage:adjust": "Grant units, take grants back, set how much is used.",
    "plan_changes:read": "Read quotes and plan changes.",
    "plan_changes:quote": "Quote a plan change.",
    "plan_changes:write": "Change plans, and take changes back.",
    "billing:read": "Read how billing sync stands, billing events, drift, usage reports and top-ups.",
    "billing:sync": "Read accounts from the provider again: refresh, sweep, reconcile.",
    "billing:checkout": "Open checkouts and billing portals for accounts.",
    "billing:write": "Buy again a top-up that failed.",
    "reports:read": "Read what was earned, who pays for what they have, and what became of credits.",
    "portal:write": "Open and end customers' pages, on which plans, seats and payment are changed.",
    "catalog:read": "Read the catalog, its versions and migrations.",
    "catalog:publish": "Plan and publish the catalog.",
    "catalog:migrate": "Move accounts to another version of a plan.",
    "tokens:write": "Issue account tokens.",
    "keys:read": "List keys. No secret is ever shown again.",
    "keys:write": "Create, rotate and revoke keys, and rotate the key that signs account tokens.",
    "people:read": "List the people who may log in.",
    "people:write": "Add and remove people, change their roles, reset how they log in.",
    "approvals:read": "Read what waits for a second person.",
    "approvals:write": "Approve, decline and withdraw requests whose own scope one has, too.",
    "audit:read": "Read who did what.",
}
"""Every scope, and what it opens."""

PUBLIC: Final[frozenset[Scope]] = frozenset(get_args(PublicScope))
PUBLISHABLE: Final[frozenset[Scope]] = PUBLIC - {"summary:read"}
"""What a key may open that everybody can read: nothing that an account shows its own people alone."""
ALL: Final[frozenset[Scope]] = frozenset(get_args(Scope))
_INCLUDED: Final[dict[str, tuple[Scope, ...]]] = {
    "decisions:read": ("stream:read",),
    "summary:read": ("decisions:read", "stream:read", "plans:read"),
}

_VIEWER: Final[tuple[Scope, ...]] = (
    "decisions:read", "stream:read", "plans:read", "summary:read", "accounts:read", "updates:read", "usage:read",
    "plan_changes:read", "billing:read", "catalog:read",
)  # fmt: skip
ROLES: Final[dict[str, frozenset[Scope]]] = {
    "viewer": frozenset(_VIEWER),
    "support": frozenset(
        (*_VIEWER, "members:write", "overrides:write", "usage:adjust", "plan_changes:quote", "billing:sync",
         "approvals:read", "approvals:write", "audit:read")
    ),
    "finance": frozenset(
        (*_VIEWER, "subscriptions:write", "usage:adjust", "plan_changes:quote", "plan_changes:write", "billing:sync",
         "billing:checkout", "billing:write", "reports:read", "approvals:read", "approvals:write", "audit:read")
    ),
    "developer": frozenset(
        (*_VIEWER, "accounts:write", "members:write", "usage:write", "plan_changes:quote", "billing:sync",
         "catalog:publish", "catalog:migrate", "tokens:write", "keys:read", "webhooks:read", "webhooks:write",
         "audit:read")
    ),
    "admin": ALL,
}  # fmt: skip
"""Who works with Paygrade, and what they may do. `admin` has every scope, those to come too."""


def opened_by(scopes: Iterable[str], role: str | None = None) -> frozenset[Scope]:
    """All that these scopes open, and a role. One that this release does not know opens nothing."""
    said = set(scopes)
    known = {scope for scope in ALL if scope in said}
    included = {more for scope in known for more in _INCLUDED.get(scope, ())}
    return frozenset(known | included) | ROLES.get(role or "", frozenset())
