"""The hot path: check and consume without a framework, for requests that have nothing wrong with them.

Law: it answers as the routes do, or leaves it to them: whatever is unusual (a key that is not remembered, or counts
from some addresses only, or so many times a minute; a header that says more, a body that does not fit, another instant,
a version to wait for, an account not remembered) goes to the routes, which know what to say.
"""

from asyncio import Future
from functools import partial
from itertools import count
from time import perf_counter_ns
from typing import Any
from uuid import uuid4

import msgspec

from paygrade.decisions.decide import decide
from paygrade.decisions.message import shown
from paygrade.server.http.auth import scope_of
from paygrade.server.http.context import Context
from paygrade.server.http.edge import note_request
from paygrade.server.http.problems import of_failure, written
from paygrade.server.http.protocol import Answer, Coming, Head, Headers, Heads
from paygrade.server.http.routes.decisions import Question, check
from paygrade.server.http.routes.usage import Used, consume, refuse_odd, without_database
from paygrade.server.http.version import VERSION_LINE
from paygrade.server.operations.usage import answers
from paygrade.server.operations.usage.requests import Consume
from paygrade.server.process import tracing
from paygrade.server.process.scopes import Scope
from paygrade.values.errors import Unavailable
from paygrade.values.text import is_chosen_key

CHECK, CONSUME = b"/v1/check", b"/v1/consume"
SCOPES: dict[bytes, Scope] = {CHECK: scope_of(check), CONSUME: scope_of(consume)}
BODY_BYTES_MAX = 64 * 1024
_UNUSUAL = frozenset(
    {b"content-encoding", b"expect", b"idempotency-key", b"origin", b"paygrade-version", b"x-request-id"}
)
"""Headers that change how a body is read, or what is answered. What has no length is no less unusual."""

BEFORE_LENGTH, AFTER_ID = b"content-type: application/json\r\ncontent-length: ", b"\r\n" + VERSION_LINE + b"\r\n"
"""What an answer says around what is its own."""

_questions = msgspec.json.Decoder(Question)
_uses = msgspec.json.Decoder(Consume)
_encode = msgspec.json.Encoder().encode


class HotPath:
    """What takes the short way; `parts` are those the routes use."""

    def __init__(self, parts: Context) -> None:
        self._parts = parts
        self.heads = Heads()
        # A request of a trace goes where spans are made.
        self._unusual = _UNUSUAL | {b"traceparent"} if tracing.is_on() else _UNUSUAL
        self._now, self._peek, self._note = parts.clock.now, parts.snapshots.peek, parts.metrics.note_decision
        self._opens, self._log = parts.keys.opens, parts.decision_log
        self._prefix, self._numbers = uuid4().hex[:16].encode(), count(1)
        self._before_number = b"\r\nx-request-id: " + self._prefix
        self._checked, self._consumed = (
            parts.metrics.requests.of("POST", path.decode(), 200) for path in (CHECK, CONSUME)
        )

    def takes(self, url: bytes, headers: Headers) -> Head | None:
        """What counts of a POST's head that is one of ours: to these very paths, with a key shown once."""
        if url not in SCOPES:
            return None
        shown, length = [], -1
        for name, value in headers:
            if name == b"authorization":
                shown.append(value)
            elif name == b"content-length":
                length = int(value)
            elif name in self._unusual:
                return None
        return Head(url, shown[0], length) if 0 <= length <= BODY_BYTES_MAX and len(shown) == 1 else None

    def opens(self, head: Head) -> bool:
        """Whether what is shown is a key that opens this."""
        return self._opens(head.shown, SCOPES[head.url], self._now)

    def answer(self, head: Head, body: bytes) -> Answer | Coming | None:
        """What is decided now, or what a use comes to once it is saved; None: the routes have the words for it."""
        started = perf_counter_ns()
        if head.url == CONSUME:
            wanted = _read(_uses, body)
            if wanted is None or not is_chosen_key(wanted.account) or not is_chosen_key(wanted.id) or _NUL in body:
                return None
            return self._use(wanted, started)
        decided = self._decided(body)
        if decided is None:
            return None
        self._checked.note(perf_counter_ns() - started)
        return 200, self._whole(decided)

    def _decided(self, raw: bytes) -> bytes | None:
        question = _read(_questions, raw)
        if question is None or question.at is not None or question.at_least is not None:
            return None
        if question.node is not None:  # what is left there is asked of the database
            return None
        if not is_chosen_key(question.account) or _NUL in raw:
            return None
        try:
            at = self._now()
        except Unavailable:
            return None
        snapshot = self._peek(question.account, at)
        if snapshot is None:
            return None
        decision = decide(
            snapshot,
            question.feature,
            question.quantity,
            at,
            member=question.member,
            properties=question.properties,
        )
        self._note(decision)
        if self._log is not None:
            self._log.note(decision, at, via="check", member=question.member, properties=question.properties)
        return _encode(shown(decision, counted=False))

    def _use(self, wanted: Consume, started: int) -> Answer | Coming:
        try:
            refuse_odd(wanted)
            done = self._parts.commits.begin(wanted)
        except Unavailable as error:
            return self._unsaved(wanted, started, error)
        except Exception as error:  # noqa: BLE001  # whatever it was, it is answered as the routes do
            return self._failed(error, started)
        return Coming(done, partial(self._used, wanted, started))

    def _used(self, wanted: Consume, started: int, done: "Future[answers.Answer]") -> Answer:
        try:
            return self._counted(wanted, done.result(), started)
        except Unavailable as error:
            return self._unsaved(wanted, started, error)
        except Exception as error:  # noqa: BLE001  # as above
            return self._failed(error, started)

    def _unsaved(self, wanted: Consume, started: int, error: Unavailable) -> Answer:
        try:
            return self._counted(wanted, without_database(self._parts, wanted, error), started)
        except Exception as failed:  # noqa: BLE001  # as above
            return self._failed(failed, started)

    def _counted(self, wanted: Consume, answer: answers.Answer, started: int) -> Answer:
        self._note(answer.decision)
        if self._log is not None and not answer.replayed:
            self._parts.log_decision(answer.decision, "consume", wanted.member, wanted.properties, wanted.node)
        body = _encode(Used(shown(answer.decision, counted=True), answer.took_effect, answer.replayed))
        self._consumed.note(perf_counter_ns() - started)
        return 200, self._whole(body)

    def _failed(self, error: Exception, started: int) -> Answer:
        path, request_id = CONSUME.decode(), self._id().decode()
        code, detail, mistakes = of_failure(error, request_id=request_id, path=path)
        status, answer = written(code, detail, instance=request_id, errors=mistakes)
        ns = perf_counter_ns() - started
        note_request(self._parts.metrics, "POST", path, path, status=status, request_id=request_id, ns=ns)
        return status, answer

    def _id(self) -> bytes:
        return b"%b%016x" % (self._prefix, next(self._numbers))

    def _whole(self, body: bytes) -> bytes:
        return b"%b%d%b%016x%b%b" % (BEFORE_LENGTH, len(body), self._before_number, next(self._numbers), AFTER_ID, body)


def _read(decoder: "msgspec.json.Decoder[Any]", raw: bytes) -> Any:
    """The struct this decoder makes; None where it is none, which the routes say better. Any: what it makes."""
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


_NUL = b"\\u0000"
"""A NUL in any text: JSON can only write it so."""
