"""The parts of a running server, as the routes see them; the command line alone decides what they are."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Struct

from paygrade.server.operations.changes.quotes import Previewer
from paygrade.server.operations.sync.inbox import EventRef
from paygrade.server.operations.usage.group_commit import GroupCommit
from paygrade.server.process.clock import Clock
from paygrade.server.process.metrics import Metrics
from paygrade.server.state.snapshots import Snapshots

if TYPE_CHECKING:
    from paygrade.postgres.store import Store


class Verify(Protocol):
    """Reads webhooks."""

    def look(self, header: str | None, at: datetime) -> None:
        """Look at a signature header before there is a body; Refused where no body could fit it."""

    def verify(self, raw: bytes, header: str | None, at: datetime) -> EventRef:
        """What a raw body is about; else Refused."""


class Context(Struct, frozen=True):
    """What operations need, and what tells of them. `verify` None: no provider may post here;
    `has_provider` False: nobody is asked; `previewer` None: nobody says what a change will cost."""

    store: "Store"
    snapshots: Snapshots
    clock: Clock
    commits: GroupCommit
    metrics: Metrics
    verify: Verify | None
    has_provider: bool
    previewer: Previewer | None
    ready: Callable[[], Awaitable[tuple[str, ...]]]
    """What keeps this server from serving now, in words; empty when nothing does."""


InContext = NamedDependency[SkipValidation[Context]]

HttpRequest = Request[Any, Any, Any]
"""Any: Litestar's own idea of users, keys and state, none of which is used here."""
