"""A transport that asks test accounts instead of a server: the SDK itself is the real one, with its threads.

Law: what is sent and answered goes through JSON, as on a wire.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from paygrade.client.errors import PaygradeError
from paygrade.client.testing.ledger import TestLedger
from paygrade.client.transport import Stream, Transport, Unreachable
from paygrade.decisions.following import Beat, Hello
from paygrade.usage.events import UsageEvent

T = TypeVar("T")
BEAT_S = 86_400.0
"""Nobody is silent here, however long a debugger holds the test."""


class _Wanted(Struct):
    accounts: list[str]


class _Use(Struct):
    account: str
    feature: str
    quantity: int
    id: str
    member: str | None = None
    properties: dict[str, Any] | None = None  # Any: plain JSON


class InProcess(Transport):
    """Answers what a server would. `reachable` False: nothing is answered, as by a server that is away."""

    def __init__(self, ledger: TestLedger) -> None:
        super().__init__("http://paygrade.test", "sk_test")
        self._ledger = ledger
        self._streams: list[InProcessStream] = []
        self.reachable = True

    def send(self, path: str, body: bytes, kind: type[T], *, timeout_s: float) -> T:  # noqa: ARG002  # nothing takes time here
        if not self.reachable:
            raise Unreachable("the test says that nobody can be asked")
        return msgspec.json.decode(msgspec.json.encode(self._answer(path, body)), type=kind)

    @contextmanager
    def stream(self, *_: Any, **__: Any) -> Iterator[Stream]:  # Any: there is one stream, and it is never silent
        if not self.reachable:
            raise Unreachable("the test says that nobody can be asked")
        made = InProcessStream()
        self._streams.append(made)
        hello = Hello(
            now=self._ledger.at, stands_still=True, resumed="full", beat_s=BEAT_S, catalog=self._ledger.catalog.version
        )
        made.tell("hello", hello)
        try:
            yield made
        finally:
            self._streams.remove(made)

    def beat(self) -> None:
        """Say what time it is."""
        for stream in tuple(self._streams):
            stream.tell("beat", Beat(now=self._ledger.at, stands_still=True))

    def cut(self) -> None:
        """End what is under way."""
        for stream in tuple(self._streams):
            stream.end()

    def _answer(self, path: str, body: bytes) -> object:
        match path:
            case "/v1/snapshots":
                return self._ledger.views(msgspec.json.decode(body, type=_Wanted).accounts)
            case "/v1/consume":
                use = msgspec.json.decode(body, type=_Use)
                decision = self._ledger.consume(
                    use.account, use.feature, use.quantity, use.id, use.member, use.properties
                )
                return {"decision": decision, "consumed": decision.allowed}
            case "/v1/events":
                events = msgspec.json.decode(body, type=list[UsageEvent])
                return {"rejected": [refusal for event in events if (refusal := self._ledger.report(event))]}
            case _:
                raise PaygradeError("not_played", f"test accounts do not answer `{path}`")


class InProcessStream(Stream):
    """Server-sent events from this very process."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[bytes | None] = SimpleQueue()

    def parts(self) -> Iterator[bytes]:
        while (part := self._waiting.get()) is not None:
            yield part

    def tell(self, name: str, said: object) -> None:
        self._waiting.put(b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(said)))

    def end(self) -> None:
        self._waiting.put(None)
