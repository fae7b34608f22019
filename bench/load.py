"""A cheap client for measurements: raw sockets, one request made beforehand in which only the numbers change.

Not a benchmark itself. It runs as a process of its own and shares the cores with what it measures; one request costs it
some 15 us, most of them the kernel's. Every answer must be a 200, or nothing is reported.
"""

import json
import select
import socket
import sys
import time
from itertools import count

from msgspec import Struct

HEAD_END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length: "
"""As the server writes it."""


class Load(Struct, frozen=True):
    """What to ask. `per_s` None: as fast as answers come, each connection one request at a time."""

    port: int
    key: str
    path: str
    body: str
    """With `%d`-like places for an account's number and then, if `ids`, for the request's."""
    ids: str
    accounts: int
    connections: int
    seconds: float
    per_s: float | None = None
    answers_max: int = 10**9


def main() -> None:
    load = Load(**json.loads(sys.argv[1]))
    print(json.dumps(Sender(load).run()))


class Sender:
    """Keeps one request under way on each connection."""

    def __init__(self, load: Load) -> None:
        self._load = load
        body = load.body % (0, 0) if load.ids else load.body % 0
        head = (
            f"POST {load.path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {load.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._template = (head.replace("%", "%%") + load.body).encode()
        self._numbers = count(1)
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._begun: dict[int, float] = {}
        self._part: dict[int, bytes] = {}
        self._waits_s: list[float] = []

    def run(self) -> dict[str, float]:
        """How many were answered a second, and how long they took, in milliseconds."""
        for _ in range(self._load.connections):
            opened = socket.create_connection(("127.0.0.1", self._load.port))
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets[opened.fileno()] = opened
            self._poll.register(opened, select.EPOLLIN)
        begun, processor_s = time.perf_counter(), time.process_time()
        self._go(begun + self._load.seconds)
        seconds, processor_s = time.perf_counter() - begun, time.process_time() - processor_s
        self._waits_s.sort()
        waits = self._waits_s
        return {
            "answered": len(waits),
            "per_s": len(waits) / seconds,
            "p50_ms": waits[len(waits) // 2] * 1000,
            "p99_ms": waits[len(waits) * 99 // 100] * 1000,
            "client_us": processor_s / len(waits) * 1e6,
        }

    def _go(self, until: float) -> None:
        pause = 1 / self._load.per_s if self._load.per_s else None
        due, free = time.perf_counter(), list(self._sockets)
        if pause is None:
            while free:
                self._ask(free.pop())
        while ((now := time.perf_counter()) < until and len(self._waits_s) < self._load.answers_max) or self._begun:
            while pause is not None and free and due <= now < until:
                self._ask(free.pop())
                due += pause
            for number, _ in self._poll.poll(0.05 if pause is None else max(0.0, min(0.05, due - now))):
                if self._answered(number):
                    if pause is None and time.perf_counter() < until and len(self._waits_s) < self._load.answers_max:
                        self._ask(number)
                    else:
                        free.append(number)

    def _ask(self, number: int) -> None:
        n = next(self._numbers)
        # A multiplicative walk: every account in turn, none near the one before.
        account = n * 7919 % self._load.accounts
        asked = self._template % ((account, n) if self._load.ids else account)
        self._begun[number] = time.perf_counter()
        self._sockets[number].send(asked)

    def _answered(self, number: int) -> bool:
        data = self._part.pop(number, b"") + self._sockets[number].recv(65536)
        begins = data.find(HEAD_END) + len(HEAD_END)
        length = data.find(LENGTH) + len(LENGTH)
        if begins < length or len(data) - begins < int(data[length : data.index(b"\r", length)]):
            self._part[number] = data
            return False
        if not data.startswith(b"HTTP/1.1 200") or b'"allowed":true' not in data:
            raise SystemExit(f"not allowed: {data!r}")
        self._waits_s.append(time.perf_counter() - self._begun.pop(number))
        return True


if __name__ == "__main__":
    main()
