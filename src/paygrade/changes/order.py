"""What a provider is asked to do for a plan change, and how it stands there.

Laws: an order says what is to be true at the provider, never how to get there; carrying it out is looking and taking
one step, again and again, so that a step nobody heard of is found and not taken twice; what is done, failed or undone
stays so.
"""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from paygrade.catalog.model import Proration
from paygrade.changes.quote import ItemChange

Act = Literal["change", "cancel", "keep_going", "pause", "resume", "set_trial", "end_trial"]
"""What becomes of a subscription: other items, an end, no end after all, a pause or its end, a trial or its end."""


class ChangeOrder(Struct, frozen=True, omit_defaults=True):
    """What a provider is to bring about for one plan change, and how far it has come.

    `id` is the plan change's: it names the order at the provider. `effective_at` None: now. `items` are the quote's.
    `quoted_at` is the instant that prorations are counted from, `since` when the change was asked for. `schedule` and
    `invoice` are those known so far. `undo`: take back what has not taken effect. `tries` counts failures in a row.
    """

    id: str
    account: str
    subscription: str
    act: Act
    effective_at: datetime | None
    since: datetime
    items: tuple[ItemChange, ...] = ()
    proration: Proration = "none"
    anchor_reset: bool = False
    coupon: str | None = None
    trial_ends_at: datetime | None = None
    quoted_at: datetime | None = None
    schedule: str | None = None
    invoice: str | None = None
    undo: bool = False
    tries: int = 0


class Progress(Struct, frozen=True, omit_defaults=True):
    """How an order stands at the provider.

    `open`: there is another step to take. `pending`: it waits for the customer to pay `invoice`, at `pay_url` where
    the bank wants them to confirm. `scheduled`: it takes effect by itself at its time. `done`: it has taken effect.
    `failed`: it has not and will not, `detail` says why in the provider's words. `undone`: it was taken back.
    """

    state: Literal["open", "pending", "scheduled", "done", "failed", "undone"]
    schedule: str | None = None
    invoice: str | None = None
    pay_url: str | None = None
    detail: str | None = None
