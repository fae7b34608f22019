"""What may need a second person: what gives away units or access, or charges or pays back money, one kind each
(ADR 29)."""

from typing import Final, Literal

MoneyKind = Literal["grants", "overrides", "subscriptions", "plan_changes", "top_ups"]
MONEY: Final[dict[MoneyKind, str]] = {
    "grants": "Grant units, take grants back, state how much is used.",
    "overrides": "Set and remove overrides.",
    "subscriptions": "State subscriptions, contracts and invoices that are billed by hand.",
    "plan_changes": "Change plans: accept quotes, pause, resume, set or end trials.",
    "top_ups": "Buy again a top-up that failed.",
}
"""Each kind, and what it is."""
