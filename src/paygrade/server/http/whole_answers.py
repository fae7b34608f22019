"""Answers in one piece: the head of an HTTP answer is sent together with the body that follows it; and what can be
answered at once is, as soon as the request is there.

uvicorn writes the head when the application starts to answer and the body when it comes, which are two calls of the
kernel and two packets for each request: of a check, a fifth of its time. A head whose body is not there by the loop's
next turn goes ahead of it, so a stream begins at once.

An application that has `AT_ONCE`, the paths of what is asked for most, is asked for that without a scope and a parser
in between (ADR 12), if the request is there in one piece and there is nothing about it or its connection that has to be
thought about: of its head, only headers are read that say nothing about how to read it. `at_once` answers with what
follows the status, with something to wait for that comes to that, or with None: then the request takes the usual way,
as if nothing had been tried.
"""

import asyncio
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_MAX = 2048
"""Bytes of a head that is read here; a longer one takes the usual way."""


class WholeAnswers(HttpToolsProtocol):
    """uvicorn's protocol over a transport that holds heads back for a moment."""

    _inside = False
    """The parser has seen the beginning of a request and not its end."""
    _asked_s = 0.0
    """When something was last answered at once, on the loop's clock."""
    _busy = False
    """Something is awaited that was asked for at once; what comes meanwhile is kept in `_behind`."""
    _behind = b""
    _ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own narrowing
        super().connection_made(_Holding(transport, self.loop))  # type: ignore[arg-type]  # a transport in all it is asked
        self._paths: frozenset[bytes] = getattr(self.app, "AT_ONCE", frozenset())

    def data_received(self, data: bytes) -> None:
        if self._busy:
            self._behind += data
            self.flow.pause_reading()
        elif not (self._paths and self._is_idle() and self._answered(data)):
            super().data_received(data)

    def shutdown(self) -> None:
        if self._busy:
            self._ending = True
        else:
            super().shutdown()

    def on_message_begin(self) -> None:
        self._inside = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._inside = False
        super().on_message_complete()

    def timeout_keep_alive_handler(self) -> None:
        left_s = self._asked_s + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def _is_idle(self) -> bool:
        finished = self.cycle is None or self.cycle.response_complete
        return finished and not self._inside and not self.pipeline and not self.flow.write_paused

    def _answered(self, data: bytes) -> bool:
        """Whether this was a request that is answered by now."""
        end = data.find(b"\r\n\r\n", 0, HEAD_MAX) + 4
        head = _head(data[:end], self._paths) if end > 3 else None
        if head is None or len(data) - end != head.body_bytes or self.transport.is_closing():
            return False
        answer: Answer = self.app.at_once(head.path, head.authorization, data[end:])
        if answer is None:
            return False
        if isinstance(answer, tuple):
            self._write(answer)
            return True
        self._busy = True
        self._unset_keepalive_if_required()
        task = self.loop.create_task(self._answer(answer, data))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return True

    async def _answer(self, coming: "Coroutine[Any, Any, Pieces | None]", data: bytes) -> None:
        try:
            parts = await coming
        finally:
            self._busy = False
        if self.transport.is_closing():
            return
        if parts is None:
            super().data_received(data)
        else:
            self._write(parts)
        if self._ending:
            self.shutdown()
            return
        self.flow.resume_reading()
        behind, self._behind = self._behind, b""
        if behind:
            self.data_received(behind)

    def _write(self, parts: "Pieces") -> None:
        self.transport.write(b"".join((STATUS_LINE[200], *_written(tuple(self.server_state.default_headers)), *parts)))
        self.server_state.total_requests += 1
        self._asked_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )


Pieces = tuple[bytes, ...]
Answer = Pieces | Coroutine[Any, Any, Pieces | None] | None


class _Head(NamedTuple):
    path: bytes
    authorization: bytes
    body_bytes: int


_PLAIN = frozenset({b"host", b"user-agent", b"accept", b"accept-encoding", b"content-type", b"accept-language"})
"""Headers that change nothing here: neither how the request is read nor what is answered."""


@lru_cache(maxsize=256)
def _head(raw: bytes, paths: frozenset[bytes]) -> _Head | None:
    """What a head says, if it is a POST to one of these paths and says nothing else. Clients send the same one again
    and again."""
    line, *lines = raw[:-4].split(b"\r\n")
    if any(b"\n" in each or b"\r" in each for each in (line, *lines)):
        # Somebody on the way may take that for the end of a line, and read a header where we see none.
        return None
    method, _, rest = line.partition(b" ")
    path, _, version = rest.partition(b" ")
    if method != b"POST" or version != b"HTTP/1.1" or path not in paths:
        return None
    authorization, body_bytes = [], []
    for each in lines:
        name, colon, value = each.partition(b":")
        match name.lower():
            case b"authorization":
                authorization.append(value.strip(b" \t"))
            case b"content-length" if value.strip(b" \t").isdigit():
                body_bytes.append(int(value))
            case b"connection" if value.strip(b" \t").lower() == b"keep-alive":
                pass
            case plain if plain not in _PLAIN or not colon:
                return None
    return _Head(path, authorization[0], body_bytes[0]) if len(authorization) == len(body_bytes) == 1 else None


@lru_cache(maxsize=8)
def _written(headers: tuple[tuple[bytes, bytes], ...]) -> tuple[bytes, ...]:
    return tuple(b"%b: %b\r\n" % header for header in headers)


class _Holding:
    """A transport in everything, but that it waits after a head."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.endswith(b"\r\n\r\n") and data.startswith(b"HTTP/1."):
            self._head = data
            self._loop.call_soon(self._go_ahead)
            return
        self._transport.write(data)

    def close(self) -> None:
        self._go_ahead()
        self._transport.close()

    def _go_ahead(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def __getattr__(self, name: str) -> Any:  # Any: whatever it is that a transport has of this name
        return getattr(self._transport, name)
