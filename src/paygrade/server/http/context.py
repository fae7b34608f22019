"""What of a running server the routes see; the command line alone decides what they are."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from datetime import datetime
from re import Pattern
from typing import TYPE_CHECKING, Any, Protocol, cast

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from litestar.types import Scope
from msgspec import Struct, field

from paygrade.decisions.decide import Decision
from paygrade.decisions.outcome import Via
from paygrade.providers.port import EventRef, Previewer, Selling
from paygrade.server.operations.people import Attempts
from paygrade.server.operations.usage.group_commit import GroupCommit
from paygrade.server.process import tracing
from paygrade.server.process.clock import Clock
from paygrade.server.process.metrics import Metrics
from paygrade.server.process.outbound import Sender
from paygrade.server.process.passwords import Passwords
from paygrade.server.process.portal_settings import NO_PORTAL_SETTINGS, PortalSettings
from paygrade.server.process.second_person import MoneyKind
from paygrade.server.process.simulator import Simulator
from paygrade.server.state.api_keys import ApiKeys
from paygrade.server.state.decision_log import DecisionLog
from paygrade.server.state.oidc_provider import OidcProvider
from paygrade.server.state.signing_keys import SigningKeys
from paygrade.server.state.snapshots import Snapshots
from paygrade.server.state.stream_tokens import StreamTokens
from paygrade.values.errors import Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.store import Store


class Verify(Protocol):
    """Reads webhooks."""

    def look(self, header: str | None, at: datetime) -> None:
        """Look at a signature header before there is a body; Refused where no body could fit it."""

    def verify(self, raw: bytes, header: str | None, at: datetime) -> EventRef:
        """What a raw body is about; else Refused."""


class Vitals(Struct, frozen=True):
    """What there is of every process that answers: by this it tells whether it is well."""

    store: "Store"
    clock: Clock
    metrics: Metrics
    ready: Callable[[], Awaitable[tuple[str, ...]]]
    """What keeps it from its work now, in words; empty when nothing does."""


class Context(Vitals, frozen=True):
    """What operations need, and what tells of them.

    `verify` None: no provider may post here. `provider`: what whoever bills is called in links and subjects, and
    `customer_id` what the ids of its customers look like. `has_provider` False: nobody is asked. `previewer` None:
    nobody says what a change will cost; `pages` None: nobody has pages where customers pay.
    """

    snapshots: Snapshots
    commits: GroupCommit
    keys: ApiKeys
    verify: Verify | None
    provider: str
    customer_id: Pattern[str]
    has_provider: bool
    previewer: Previewer | None
    pages: Selling | None
    sender: Sender
    oidc: OidcProvider | None
    """Whom people log in with besides local accounts."""
    second_person: frozenset[MoneyKind] = frozenset()
    """What needs a second person."""
    personal_properties: tuple[str, ...] = ()
    """The properties of usage events that an erasure takes."""
    public_url: str | None = None
    """What browsers reach this server by; None: by the address that a request names."""
    portal: PortalSettings = NO_PORTAL_SETTINGS
    """How the customers' pages look, and what they offer."""
    passwords: Passwords = field(default_factory=Passwords)
    attempts: Attempts = field(default_factory=Attempts)
    signing_keys: SigningKeys = field(default_factory=SigningKeys)
    stream_tokens: StreamTokens = field(default_factory=StreamTokens)
    decision_log: DecisionLog | None = None
    """What keeps decisions; None: nothing does."""
    simulator: Simulator | None = None
    """What the clock follows; None: it is the system's."""

    def note_decision(self, decision: Decision) -> None:
        """Count what was decided, and add it to the trace."""
        self.metrics.note_decision(decision)
        tracing.note_decision(decision)

    def log_decision(
        self,
        decision: Decision,
        via: Via,
        member: str | None = None,
        properties: Mapping[str, object] | None = None,
        node: str | None = None,
    ) -> None:
        """Keep what was decided just now, if decisions are kept."""
        if self.decision_log is not None:
            with suppress(Unavailable):  # nobody knows what time it is
                self.decision_log.note(
                    decision, self.clock.now(), via=via, member=member, node=node, properties=properties
                )

    def require_provider(self) -> None:
        """Unavailable `provider_not_configured`."""
        if not self.has_provider:
            raise Unavailable("provider_not_configured", "no provider is configured; set PAYGRADE_STRIPE_API_KEY")


def put_context(scope: Scope, context: Vitals) -> None:
    """Say on whose behalf a request is answered: the routes are the same for every application of a process."""
    cast("MutableMapping[str, Any]", scope.setdefault("state", {}))["context"] = context


def context_of(scope: Scope) -> Context:
    """What `put_context` said."""
    context: Context = scope["state"]["context"]
    return context


InContext = NamedDependency[SkipValidation[Context]]
InVitals = NamedDependency[SkipValidation[Vitals]]
"""Of the same name: what a process has that answers for itself alone."""

HttpRequest = Request[Any, Any, Any]
"""Any: Litestar's own idea of users, keys and state, none of which is used here."""
