"""What the official library sends its requests with, and takes answers past its parser.

The library reads every answer into ordered dictionaries and writes it out again for a log nobody may read: 30 ms for a
page of a hundred subscriptions, more than all the rest of comparing it. Errors go its way as ever.
"""

import json
import threading
from collections.abc import Mapping
from typing import Any

import msgspec
import stripe


class Transport(stripe.RequestsClient):
    """The library's own client; the body of an answer that is no error waits here for the thread that asked."""

    def __init__(self, *, timeout_s: float) -> None:
        # Without a session given, there is one per thread: `requests` sessions are not for sharing.
        super().__init__(timeout=timeout_s)
        self._waiting = threading.local()

    # Any: whatever the library sends.
    def request(  # type: ignore[override]  # differs from its base's base as the library's own client does
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        body, status, told = super().request(method, url, headers, post_data)
        if status != 200:
            return body, status, told
        self._waiting.body = body
        return b"{}", status, told

    # Any: plain JSON.
    def take(self) -> Any:
        """The answer to this thread's latest request, decoded; ValueError if it is no JSON."""
        body: bytes | None = self._waiting.__dict__.pop("body", None)
        if body is None:
            return None
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # It is stricter than JSON's own rules about half a surrogate, which is refused where it is met.
            return json.loads(body)
