"""Answers in one piece: the head of an HTTP answer is sent together with the body that follows it.

uvicorn writes the head when the application starts to answer and the body when it comes, which are two calls of the
kernel and two packets for each request: of a check, a fifth of its time. A head whose body is not there by the loop's
next turn goes ahead of it, so a stream begins at once.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class WholeAnswers(HttpToolsProtocol):
    """uvicorn's protocol over a transport that holds heads back for a moment."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own narrowing
        super().connection_made(_Holding(transport, self.loop))  # type: ignore[arg-type]  # a transport in all it is asked


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
