"""Bytes over a socket, and the answers that come back: for what no HTTP client would send."""

import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from support.server_process import KEY, Api

LAST = b"GET /healthz?last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""Sent behind what is tried: its answer ends the connection, so nobody waits for silence."""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def request(path: str, body: bytes, *, more: bytes = b"", key: str | None = KEY) -> bytes:
    """A POST as a client writes it; `more` are header lines."""
    shown = f"Authorization: Bearer {key}\r\n".encode() if key else b""
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%b%bContent-Length: %d\r\n\r\n%b" % (
        path.encode(), shown, more, len(body), body,
    )  # fmt: skip


def send(api: Api, pieces: Sequence[bytes], *, quiet_s: float = 5.0, pause_s: float = 0.0) -> list[Answer]:
    """What is answered to these bytes until the connection ends, or nothing has come for so long."""
    host, _, port = api.url.removeprefix("http://").partition(":")
    told = b""
    with socket.create_connection((host, int(port)), timeout=quiet_s) as connection:
        with suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause_s)
        with suppress(OSError):
            while part := connection.recv(65536):
                told += part
    return parse(told)


def parse(told: bytes) -> list[Answer]:
    found = []
    while told:
        head, _, told = told.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
        # The answer to a HEAD says how long its body would be.
        length = 0 if told.startswith(b"HTTP/1.1 ") else int(headers.get("content-length", 0))
        found.append(Answer(int(line.split(" ")[1]), headers, told[:length]))
        told = told[length:]
    return found
