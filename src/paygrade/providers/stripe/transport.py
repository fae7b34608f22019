"""What the official library sends its requests with, and takes answers past its parser.

The library reads every answer into ordered dictionaries and writes it out again for a log nobody may read: 30 ms for a
page of a hundred subscriptions, more than all the rest of comparing it. Errors go its way as ever.
"""

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import stripe


class Sessions(threading.local):
    """A session of `requests` for each thread: they are not for sharing. `make` makes one.

    The environment is asked for proxies once: to ask for each request takes a fourth of its time. It is not asked who
    logs in: what `.netrc` says of a host would take the place of the API key.
    """

    # Any: sessions are `requests`', which only the library knows.
    _session: Any = None

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def request(self, method: str, url: str, **more: Any) -> Any:
        if self._session is None:
            session = self._make()
            # All that one client asks for is at one host.
            session.proxies = session.merge_environment_settings(url, {}, None, None, None)["proxies"]
            session.trust_env = False
            self._session = session
        return self._session.request(method, url, **more)

    def close(self) -> None:
        if self._session is not None:
            self._session.close()


class Transport(stripe.RequestsClient):
    """The library's own client; the body of an answer that is no error waits here for the thread that asked."""

    def __init__(self, *, timeout_s: float) -> None:
        sessions: Any = Sessions(lambda: self.requests.Session())  # Any: it does what the library asks of a session
        super().__init__(timeout=timeout_s, session=sessions)
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
