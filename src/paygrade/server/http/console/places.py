"""The places of the console, as its navigation shows them. A person sees those that their role opens."""

from collections.abc import Iterable

from msgspec import Struct

from paygrade.server.process.scopes import Scope


class Place(Struct, frozen=True):
    """A screen one goes to. `scope` is that of its route; `key` goes there after `g`."""

    name: str
    icon: str
    path: str
    scope: Scope
    key: str = ""


PLACES: tuple[tuple[str, tuple[Place, ...]], ...] = (
    (
        "",
        (
            Place("Home", "home", "/console", "accounts:read", "h"),
            Place("Accounts", "accounts", "/console/accounts", "accounts:read", "a"),
            Place("Explain", "explain", "/console/explain", "decisions:read", "e"),
            Place("Approvals", "check", "/console/approvals", "approvals:read", "v"),
        ),
    ),
    (
        "Sell",
        (
            Place("Plans", "plans", "/console/plans", "catalog:read", "p"),
            Place("Features", "meters", "/console/features", "catalog:read", "f"),
            Place("Plan changes", "changes", "/console/plan-changes", "plan_changes:read", "c"),
            Place("Reports", "reports", "/console/reports", "reports:read", "r"),
        ),
    ),
    (
        "Run",
        (
            Place("Usage", "usage", "/console/usage", "usage:read", "u"),
            Place("Billing sync", "sync", "/console/sync", "billing:read", "s"),
            Place("Webhooks", "webhooks", "/console/webhooks", "webhooks:read", "w"),
            Place("Updates", "reports", "/console/updates", "updates:read", "l"),
        ),
    ),
    (
        "Build",
        (
            Place("Developers", "code", "/console/developers", "catalog:read", "d"),
            Place("Audit", "audit", "/console/audit", "audit:read", "t"),
            Place("Settings", "settings", "/console/settings", "catalog:read"),
        ),
    ),
)


def places(granted: Iterable[Scope]) -> list[tuple[str, list[Place]]]:
    """Those that these scopes open, by group. A group of none is left out."""
    scopes = frozenset(granted)
    open_ = [(group, [place for place in its if place.scope in scopes]) for group, its in PLACES]
    return [(group, its) for group, its in open_ if its]


def current(path: str) -> str:
    """The path of the place that an address belongs to: the longest that it begins with; empty: none."""
    known = [place.path for _, its in PLACES for place in its]
    fits = [each for each in known if path == each or (each != "/console" and path.startswith(f"{each}/"))]
    return max(fits, key=len, default="")
