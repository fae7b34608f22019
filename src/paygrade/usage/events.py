"""Usage events: what happened, as whoever reports it says it."""

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from paygrade.values.text import QUANTITY_MAX

ID_LENGTH_MAX = 400
"""Characters: with an account's key it has to fit into an entry of PostgreSQL's indexes, 2,704 bytes."""

Instant = Annotated[datetime, Meta(tz=True)]
Units = Annotated[int, Meta(ge=-QUANTITY_MAX, le=QUANTITY_MAX)]


class UsageEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Something was used. `feature` or `event`, exactly one of them, says what.

    `quantity` None: not said. `time` None: when it is received. `amends` takes the place of what the event of that id
    said. Properties are plain JSON (Any): what meters read and reports group by. `node`: where below the account.
    """

    id: Annotated[str, Meta(min_length=1, max_length=ID_LENGTH_MAX)]
    account: Annotated[str, Meta(min_length=1, max_length=200)]
    feature: str | None = None
    event: str | None = None
    quantity: Units | None = None
    time: Instant | None = None
    member: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    properties: dict[str, Any] = {}
    amends: Annotated[str, Meta(min_length=1, max_length=ID_LENGTH_MAX)] | None = None
    node: Annotated[str, Meta(min_length=1, max_length=200)] | None = None

    @property
    def name(self) -> str:
        """What it names: a feature or an event."""
        return self.feature or self.event or ""


class Refusal(Struct, frozen=True):
    """Why one event is not taken; the others are."""

    code: str
    detail: str
