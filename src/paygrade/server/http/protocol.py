"""The HTTP protocol: uvicorn's, with bounds on what a client may send and how long it may take, and the short way.

Laws: httptools alone reads requests (ADR 13); what cannot be read, is too large or comes too slowly is answered with a
problem, and the connection is closed; a wish to upgrade changes nothing (RFC 9110, 7.8); answers come in the order of
their requests; a request that is cut off is none; a server that ends still answers who just asked on an open
connection, and says that it is the last answer there.

The short way: what the application's `short_way` takes by its head is answered as soon as httptools says that the
message is complete. It skips the scope, task, messages and timers of ASGI, and nothing that comes before them. A head
that comes again byte for byte, between two requests and with its whole body, is not read again: httptools would make
the same of it (law: what is answered does not depend on which heads are kept).
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol
from uuid import uuid4
from weakref import WeakSet

import httptools
import uvicorn
from litestar.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from paygrade.server.http.problems import STOPPING, written

HEAD_BYTES_MAX, HEADERS_MAX = 32 * 1024, 100
HEAD_S, REQUEST_S = 10.0, 60.0
"""How long a head, and a whole request, may take to arrive."""
LINGER_S, LINGER_BYTES_MAX, LOOK_S = 1.0, 1 << 20, 5.0
"""How long and how much a connection that ends is still read; how often one looks for a client that had its time."""
LEAVE_S = 1.0
"""How long a connection on which nothing is asked stays open when the server ends: whoever sends a request at that
moment gets its answer (RFC 9112, 9.6), and learns by it that the connection ends."""

HEAD_END = b"\r\n\r\n"
HEADS_MAX, HEAD_KEPT_BYTES = 256, 2048
"""How many heads are kept, and how long they may be: half a megabyte."""

Answer = tuple[int, bytes]
"""A status, and what follows the headers that every answer has: further headers, an empty line, the body."""
Headers = Sequence[tuple[bytes, bytes]]
Loop = Literal["auto", "asyncio", "uvloop"]


class Coming(NamedTuple):
    """An answer that is there once `done` is: what `written` makes of that. No task waits for it, since that costs more
    than all that is written."""

    done: "asyncio.Future[Any]"
    """Any: what is written is for whoever made it to know."""
    written: "Callable[[asyncio.Future[Any]], Answer]"


class Head(NamedTuple):
    """What counts of a head that is taken: where it goes, its Authorization header, how long its body is."""

    url: bytes
    shown: bytes
    length: int


class Heads:
    """Heads that were taken, as they came: at most `HEADS_MAX` of `HEAD_KEPT_BYTES`, those kept first go first."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Head] = {}

    def find(self, packet: bytes) -> Head | None:
        """What the head of this request says; None: it is not kept, or this is not one whole request and no more."""
        end = packet.find(HEAD_END) + len(HEAD_END)
        head = self._kept.get(packet[:end])
        return head if head is not None and len(packet) == end + head.length else None

    def keep(self, packet: bytes, head: Head, body: bytes) -> None:
        """Keep the head of what began this packet and was read as `head` and `body`, if there is nothing else in it."""
        end = packet.find(HEAD_END) + len(HEAD_END)
        if end <= HEAD_KEPT_BYTES and head.length == len(body) and packet[end:] == body:
            if len(self._kept) >= HEADS_MAX:
                del self._kept[next(iter(self._kept))]
            self._kept[packet[:end]] = head


class ShortWay(Protocol):
    """What an application offers of it."""

    heads: Heads

    def takes(self, url: bytes, headers: Headers) -> Head | None:
        """What counts of a POST's head that may be answered by `answer`, if its body fits; None: it may not. It follows
        from the head alone."""

    def opens(self, head: Head) -> bool:
        """Whether what is shown opens this now."""

    def answer(self, head: Head, body: bytes) -> Answer | Coming | None:
        """The answer, now or later; None: the routes have the words for this, and nothing has happened."""


def configure(
    app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0, loop: Loop = "auto", patience_s: int = 10
) -> uvicorn.Config:
    """How every server of ours is run; `patience_s`: so long requests under way have when it ends."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop=loop,
        http=Connection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # `Edge` alone says whose address counts
        timeout_graceful_shutdown=patience_s,
    )


class _NotTaken(Exception):
    """What is being read is not a request we take: a problem's code and detail."""


class _Awaited:
    """What uvicorn's protocol asks of the request under way, of one whose answer takes the short way."""

    disconnected = response_complete = False
    keep_alive = response_started = True

    @property
    def message_event(self) -> asyncio.Event:
        """What uvicorn wakes who waits for the body with; nobody does."""
        return asyncio.Event()


_ending: "WeakSet[ServerState]" = WeakSet()
"""Servers that take no more connections."""


class Connection(HttpToolsProtocol):
    """One connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own narrowing
        super().connection_made(transport)
        self._short_way: ShortWay | None = getattr(self.app, "short_way", None)
        self._short_head: Head | None = None
        self._short_body: list[bytes] | None = None
        """The head of a request that takes the short way, and what is here of its body."""
        self._packet: bytes | None = None
        """What came last, where a request begins with it."""
        self._is_reading = self._in_head = self._is_deaf = self._is_last = False
        self._unread_bytes, self._since_s = 0, self.loop.time()
        """What came since the parser last had something; since when it is waited for what is waited for."""
        self._part_bytes = self._first_bytes = 0
        """What came last all at once, and with the beginning of the message that is being read."""
        self._look()
        if self.server_state in _ending:  # it was taken just before
            self.shutdown()

    # Reading

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._part_bytes = len(data)
        self._unread_bytes += self._part_bytes
        if self._is_deaf:
            if self._unread_bytes > LINGER_BYTES_MAX:
                self.transport.close()
            return
        is_between = not self._is_reading and self._unread_bytes == self._part_bytes
        if is_between and self._is_answered_at_once(data):
            self._unread_bytes = 0
            return
        self._packet = data if is_between else None
        try:
            self._feed(data)
            self._packet = None
            if self._is_reading and self._unread_bytes > HEAD_BYTES_MAX:
                raise _too_large()
        except _NotTaken as error:
            self._refuse(*error.args)
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _NotTaken):
                raise
            self._refuse(*error.__context__.args)
        except httptools.HttpParserError as error:
            self._refuse("bad_request", f"this is not valid HTTP: {str(error).lower()}")

    def _feed(self, data: bytes) -> None:
        rest = data
        while rest:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as wish:
                # The parser takes what follows for another protocol; without the wish, it is this request's body.
                rest, head = rest[wish.args[0] :], self._head_without_upgrade()
                self.parser = httptools.HttpRequestParser(self)
                self.parser.feed_data(head)

    def _head_without_upgrade(self) -> bytes:
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = [(name, value) for name, value in self.headers if name not in (b"upgrade", b"connection")]
        if any(name == b"connection" and b"close" in value.lower() for name, value in self.headers):
            kept.append((b"connection", b"close"))
        return line + b"".join(b"%b: %b\r\n" % header for header in kept) + b"\r\n"

    def on_message_begin(self) -> None:
        self.url, self.headers = b"", []
        self._is_reading = self._in_head = True
        self._first_bytes = self._part_bytes
        self._unread_bytes, self._since_s = 0, self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer: whoever asked has been heard by then
        if len(self.headers) == HEADERS_MAX:
            raise _too_large()
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise _NotTaken("bad_request", "this server is no proxy")
            return
        # What came in few bytes has no long head.
        if self._first_bytes + self._unread_bytes > HEAD_BYTES_MAX and self._head_bytes() > HEAD_BYTES_MAX:
            raise _too_large()
        self._in_head, self._unread_bytes = False, 0
        self._short_head = self._taken()
        if self._short_head is not None:
            self._short_body = []
        else:
            self._go_the_usual_way()

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        self._unread_bytes = 0
        if self._short_body is None:
            super().on_body(body)
        else:
            self._short_body.append(body)

    def on_message_complete(self) -> None:
        self._is_reading = False
        if self._short_body is not None:
            body, self._short_body = b"".join(self._short_body), None
            self._finish_shortly(body)
        elif not self.parser.should_upgrade():
            super().on_message_complete()

    def _go_the_usual_way(self) -> None:
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        self.headers += headers
        self.expect_100_continue = (b"expect", b"100-continue") in ((name, value.lower()) for name, value in headers)
        super().on_headers_complete()
        if self._is_last:
            self.cycle.keep_alive = False

    # The short way

    def _is_answered_at_once(self, packet: bytes) -> bool:
        """Answer this packet if it is a request with a head that was taken before, and no more."""
        if self._short_way is None or not self._is_free():
            return False
        head = self._short_way.heads.find(packet)
        return (
            head is not None
            and self._short_way.opens(head)
            and self._is_answered_shortly(head, packet[len(packet) - head.length :])
        )

    def _is_free(self) -> bool:
        return not self._is_pending() and not self.flow.write_paused

    def _taken(self) -> Head | None:
        """The head that was read, if it takes the short way."""
        if (
            self._short_way is None
            or not self._is_free()
            or self.parser.get_method() != b"POST"
            or self.parser.get_http_version() != "1.1"
            or not self.parser.should_keep_alive()
        ):
            return None
        head = self._short_way.takes(self.url, self.headers)
        return head if head is not None and self._short_way.opens(head) else None

    def _finish_shortly(self, body: bytes) -> None:
        assert self._short_way is not None
        assert self._short_head is not None
        if self._packet is not None:
            self._short_way.heads.keep(self._packet, self._short_head, body)
        if not self._is_answered_shortly(self._short_head, body):
            self._go_the_usual_way()
            super().on_body(body)
            super().on_message_complete()

    def _is_answered_shortly(self, head: Head, body: bytes) -> bool:
        """Answer it, now or later; False: the routes are to."""
        assert self._short_way is not None
        answer = self._short_way.answer(head, body)
        if answer is None:
            return False
        if isinstance(answer, Coming):
            cycle: Any = _Awaited()  # Any: all that is asked of uvicorn's own
            cycle.keep_alive = not self._is_last
            self.cycle = cycle
            # uvicorn waits for those when it ends, and cancels them when that takes too long.
            self.tasks.add(answer.done)  # type: ignore[arg-type]  # a future can do all of that
            answer.done.add_done_callback(partial(self._answer_later, answer.written, cycle))
        else:
            self._write(answer, keep_alive=not self._is_last)
            self._since_s = self.loop.time()
            self.server_state.total_requests += 1
        return True

    def _answer_later(
        self,
        written_of: "Callable[[asyncio.Future[Any]], Answer]",
        cycle: _Awaited,
        done: "asyncio.Future[Any]",  # Any: as in `Coming`
    ) -> None:
        self.tasks.discard(done)
        if done.cancelled():
            answer, cycle.keep_alive = written("not_ready", STOPPING, instance=uuid4().hex), False
        else:
            answer = written_of(done)
        self._write(answer, keep_alive=cycle.keep_alive)
        cycle.response_complete = True
        self.on_response_complete()

    def _write(self, answer: Answer, *, keep_alive: bool = True) -> None:
        if self.transport.is_closing():
            return
        status, rest = answer
        every = self.server_state.default_headers
        if every is not _written_last[0]:
            # uvicorn makes them anew once a second, for all connections.
            _written_last[:] = every, b"".join(b"%b: %b\r\n" % header for header in every)
        close = b"" if keep_alive else CLOSE
        self.transport.write(b"%b%b%b%b" % (STATUS_LINE[status], _written_last[1], close, rest))
        if not keep_alive:
            # What still comes is thrown away for a moment: closing at once could take the answer along (RFC 9112, 9.6).
            self._is_deaf = True
            self.transport.write_eof()
            self.loop.call_later(LINGER_S, self.transport.close)

    # Waiting

    def shutdown(self) -> None:
        stop: Callable[[], None] | None = getattr(self.app, "stop", None)
        if stop is not None:
            stop()
        _ending.add(self.server_state)
        self._is_last = True
        if self._is_pending():
            self.cycle.keep_alive = False
        self.loop.call_later(LEAVE_S, self._leave)

    def _leave(self) -> None:
        """Close the connection once nothing is asked on it."""
        if self.transport.is_closing():
            return
        if self._is_reading or self._is_pending():
            self.loop.call_later(LEAVE_S, self._leave)
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        # Instead of uvicorn's own, which sets and cancels a timer for each answer.
        self.server_state.total_requests += 1
        self._since_s = self.loop.time()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    def _look(self) -> None:
        """Close the connection if its client has had its time, else look again soon."""
        if self.transport.is_closing():
            return
        now, until = self.loop.time(), self._since_s + self.timeout_keep_alive
        if self._in_head:
            until = self._since_s + HEAD_S
        elif self._is_reading and not self._is_answered():
            until = self._since_s + REQUEST_S
        elif self._is_pending():
            until = now + LOOK_S
        if until > now:
            self.timeout_keep_alive_task = self.loop.call_later(min(until - now, LOOK_S), self._look)
        elif self._is_reading and not self._is_answered():
            self._refuse("request_timeout", "the request did not arrive in time; send it again")
        else:
            self.transport.close()

    def _refuse(self, code: str, detail: str) -> None:
        """Answer with a problem what is being read, and close; what was asked before it is answered first."""
        in_body = self._is_reading and not self._in_head
        if self._is_pending() and not in_body:
            self.cycle.keep_alive = False
            self.flow.pause_reading()
        elif self.pipeline or (in_body and self._is_answered()):
            self.transport.close()
        else:
            self._write(written(code, detail, instance=uuid4().hex), keep_alive=False)

    def _is_pending(self) -> bool:
        """Whether the last request whose head was read for the usual way, or that is awaited, has no answer yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def _is_answered(self) -> bool:
        """Whether the request whose body is being read has an answer, or the beginning of one, already."""
        return (
            not self._in_head and self._short_body is None and (not self._is_pending() or self.cycle.response_started)
        )


CLOSE = b"connection: close\r\n"


_written_last: list[Any] = [None, b""]
"""The headers that every answer has, as uvicorn holds them (Any: a list of its own), and as they are written."""


def _too_large() -> _NotTaken:
    return _NotTaken("head_too_large", f"the head is longer than {HEAD_BYTES_MAX} bytes or {HEADERS_MAX} headers")
