"""A process that leases units and decides uses by itself: it writes down each unit before it allows it.

Run as a process of its own: `python -m proof.leasing SPEC` goes on until its standard input ends, or nothing is left;
then it gives back what it has not used. Whatever it has written is what it allowed, whenever it is killed.
"""

import os
import random
import sys
import threading
import time
import uuid
from typing import Any

import msgspec
from msgspec import Struct

from proof.clients import Lines

UNITS_MAX, CLAIM_MAX = 60, 30
TTL_S = 2


class LeaseSpec(Struct, frozen=True):
    """Where it asks and for whom, and the file it writes one byte to for each unit."""

    servers: list[str]
    admin_key: str
    account: str
    feature: str
    file: str


class LeasingProcess:
    """A lease at a time, claimed from whenever what was claimed is used up."""

    def __init__(self, spec: LeaseSpec) -> None:
        self._spec = spec
        self._lines = Lines(spec.servers, spec.admin_key)
        self._file = os.open(spec.file, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        self._lease: str | None = None
        self._unspent = 0

    def run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            if self._lease is None and not self._take():
                return
            self._use()
            if self._lease is not None:
                self._claim(end=random.random() < 0.1)
        if self._lease is not None:
            self._claim(end=True)

    def _take(self) -> bool:
        """Whether there is a lease now; False: nothing is left, and nobody holds anything that could come back."""
        while True:
            body = {"units": random.randint(1, UNITS_MAX), "claim": random.randint(0, CLAIM_MAX), "ttl_s": TTL_S}
            told = self._ask("/v1/leases", {"account": self._spec.account, "feature": self._spec.feature, **body})
            if told["lease"] is not None:
                self._lease, self._unspent = told["lease"]["id"], told["lease"]["claimed"]
                return True
            decision = told["decision"]
            assert decision["reason"] == "limit_reached", decision
            if not decision["remaining"] and not decision["reserved"]:
                return False
            time.sleep(0.05)

    def _use(self) -> None:
        """Use what is claimed, or most of it."""
        units = random.randint(0, self._unspent) if random.random() < 0.2 else self._unspent
        for _ in range(units):
            os.write(self._file, b".")
            self._unspent -= 1

    def _claim(self, *, end: bool) -> None:
        claim = random.randint(0, CLAIM_MAX - self._unspent)
        asked = {"units": random.randint(0, UNITS_MAX), "claim": claim, "ttl_s": TTL_S}
        step: dict[str, Any] = {"account": self._spec.account, "lease": self._lease, "id": uuid.uuid4().hex}
        step |= {"unused": self._unspent, "end": True} if end else asked
        (result,) = self._ask("/v1/leases/steps", {"steps": [step]})["results"]
        assert result["problem"] is None, result
        self._unspent = 0 if end else self._unspent + result["claim"]
        if result["lease"]["over"] and self._unspent:
            self._claim(end=True)
        elif result["lease"]["over"] or not (self._unspent or result["lease"]["held"]):
            self._lease = None

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        """Ask until there is an answer, under the same id. Any: JSON."""
        body = body if "steps" in body else {**body, "id": uuid.uuid4().hex}
        while True:
            answer = self._lines.ask(random.randrange(len(self._spec.servers)), "POST", path, body)
            if answer is not None:
                status, told = answer
                assert status == 200, told
                return told
            time.sleep(0.05)


def main() -> None:
    spec = msgspec.json.decode(sys.argv[1], type=LeaseSpec)
    stopping = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        stopping.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    LeasingProcess(spec).run(stopping)


if __name__ == "__main__":
    main()
