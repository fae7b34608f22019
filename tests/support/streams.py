"""Streams of server-sent events, read one by one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from paygrade.client.events import Event, EventReader
from support.server_process import Api


class Following:
    """A stream that is being read."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts, self._reader = parts, EventReader()
        self._told: list[Event] = []

    def next(self, name: str) -> tuple[Any, str | None]:
        """The data and the id of the next event of this name; others before it are passed over."""
        while True:
            while self._told:
                event = self._told.pop(0)
                if event.name == name:
                    return json.loads(event.data), event.id
            self._told += self._reader.read(next(self._parts))

    def rest(self) -> list[Event]:
        """All that comes until it ends."""
        for part in self._parts:
            self._told += self._reader.read(part)
        return self._told


@contextmanager
def followed(api: Api, query: str = "", *, last: str | None = None, path: str = "/v1/stream") -> Iterator[Following]:
    headers = {"last-event-id": last} if last else {}
    request = api.build_request("GET", f"{path}{query}", headers=headers)
    answer = super(Api, api).send(request, stream=True)
    try:
        assert answer.is_success, answer.read()
        yield Following(answer.iter_raw())
    finally:
        answer.close()


def override(api: Api, account: str, value: bool) -> None:
    api.ok("PUT", f"/v1/accounts/{account}/overrides/exports", json={"value": value, "reason": "a test"})
