"""The log of state updates: what is written down when something has changed, and as what it is read.

Laws: an update is read once it has its place, and places have no gap: who has read up to a position misses nothing that
is written later; of one account, `sequence` grows by one from each update to the next; an update never changes.
"""

from datetime import datetime
from typing import Any

from msgspec import Struct


class News(Struct, frozen=True):
    """Something that has changed, to be told: `data` is what its type says it is. `account` None: it is about none."""

    account: str | None
    type: str
    data: Struct
    occurred_at: datetime


class Update(Struct, frozen=True):
    """A state update as it is read.

    `position` is its place among all, `sequence` among those of its account, or of those that are about none.
    `state_version` is the version of the account when it was written: who asks the API `at_least` for that finds what
    this tells of. `occurred_at` is when it happened, which may be earlier.
    """

    id: str
    type: str
    account: str | None
    position: int
    sequence: int
    state_version: int | None
    occurred_at: datetime
    data: dict[str, Any]
    """Any: JSON, as the type's schema says."""
