"""What a person sets in Stripe's dashboard (Billing → Subscriptions and emails)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

SETTING_CHOICES = {
    "after_retries": ("cancel", "unpaid", "past_due", "pause"),
    "after_dispute": ("keep", "cancel"),
}


@dataclass(frozen=True, slots=True)
class Settings:
    retry_days: tuple[int, ...] = (1, 2, 2, 2, 2, 2, 2, 1)  # days between attempts: 8 retries in 2 weeks
    after_retries: str = "cancel"  # cancel | unpaid | past_due | pause
    finalize_after_s: int = 3600  # how long a renewal's invoice stays a draft
    debit_after_s: int = 345_600  # how long a bank debit is under way before the bank answers
    after_dispute: str = "keep"  # keep | cancel
    upcoming_days: int = 7  # days before a renewal that `invoice.upcoming` tells of it; 0: never

    def changed(self, wanted: dict[str, Any]) -> Settings:
        for name, choices in SETTING_CHOICES.items():
            if wanted.get(name, choices[0]) not in choices:
                raise ValueError(f"`{name}` must be one of {', '.join(choices)}")
        days = wanted.get("retry_days", list(self.retry_days))
        if not isinstance(days, list) or not all(type(day) is int and day > 0 for day in days):
            raise ValueError("`retry_days` must be a list of whole days, each at least 1")
        for name in ("finalize_after_s", "upcoming_days", "debit_after_s"):
            if type(wanted.get(name, 0)) is not int or wanted.get(name, 0) < 0:
                raise ValueError(f"`{name}` must be a whole number, at least 0")
        plain = {name: wanted[name] for name in wanted if name != "retry_days"}
        return replace(self, **plain, retry_days=tuple(days))
