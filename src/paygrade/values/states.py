"""The states a subscription can be in, whichever provider bills it."""

from typing import Literal, get_args

Status = Literal["trialing", "active", "past_due", "unpaid", "paused", "incomplete", "canceled", "expired"]
"""What a provider can say of a subscription, in our words."""
State = Literal["trialing", "active", "grace", "past_due", "unpaid", "paused", "incomplete", "canceled", "expired"]
"""How it stands at an instant: its status, and `grace` where it is past due on a full-access step of the ladder."""
STATUSES: tuple[str, ...] = get_args(Status)
TERMINAL: frozenset[str] = frozenset({"canceled", "expired"})
"""What no subscription comes back from."""
NOT_LIVE: frozenset[str] = frozenset({*TERMINAL, "incomplete"})
"""What gives nothing, by no ladder: it has ended, or has not begun."""
