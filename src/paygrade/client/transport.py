"""Requests to the server, through urllib3.

Laws: what was sent and may have arrived is sent again only under the id that makes it count once; nobody waits longer
than said; no connection survives a fork.
"""

# What a connection would import when it is made: a thread that did so while another one forks would leave the module's
# lock held in the fork, for ever.
import encodings.idna  # noqa: F401
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import msgspec
import urllib3
from msgspec import Struct
from urllib3.exceptions import HTTPError

from paygrade.client import tracing
from paygrade.client.errors import PaygradeError

T = TypeVar("T")
CONNECT_S = 2.0
CONNECTIONS_MAX = 8
NO_SERVER = "there is no API key, so no server is asked: a snapshot file answers"


class Unreachable(Exception):
    """The server did not answer, or not so that it can be understood. `retry_after_s`: when it asked to come again."""

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class _Problem(Struct):
    code: str = "unknown"
    detail: str = ""


class Transport:
    """`url`: the server's address; `key`: what is shown there."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {key}", "accept-encoding": "identity"}
        self._secure = url.startswith("https:")
        # Made in whoever makes this, so that no thread holds OpenSSL's lock while another one forks.
        self._tls = ssl.create_default_context() if self._secure else None
        self._pool = self._made()

    def _made(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(
            num_pools=2, maxsize=CONNECTIONS_MAX, headers=self._headers, retries=False, ssl_context=self._tls
        )

    def forget(self) -> None:
        """Connections are the parent's: they are neither used nor closed here."""
        self._left, self._pool = self._pool, self._made()

    def close(self) -> None:
        self._pool.clear()

    def post(self, path: str, body: object, kind: type[T], *, timeout_s: float) -> T:
        """Send a body, and read the answer as `kind`. Unreachable; PaygradeError where the server refuses."""
        return self.send(path, msgspec.json.encode(body), kind, timeout_s=timeout_s)

    def send(self, path: str, body: bytes, kind: type[T], *, timeout_s: float) -> T:
        """The same for a body that is written already."""
        timeout = urllib3.Timeout(connect=min(CONNECT_S, timeout_s), read=timeout_s)
        headers = {**self._headers, "content-type": "application/json", **tracing.headers()}
        try:
            answer = self._pool.request("POST", self._url + path, body=body, headers=headers, timeout=timeout)
        except HTTPError as error:
            raise Unreachable(_said(error)) from error
        return _read(answer.status, answer.data, kind, answer.headers.get("retry-after"))

    @contextmanager
    def stream(self, path: str, headers: dict[str, str], *, silence_s: float) -> Iterator["Stream"]:
        """An answer that goes on, until nothing came for `silence_s`."""
        timeout = urllib3.Timeout(connect=CONNECT_S, read=silence_s)
        try:
            answer = self._pool.request(
                "GET", self._url + path, headers={**self._headers, **headers}, timeout=timeout, preload_content=False
            )
        except HTTPError as error:
            raise Unreachable(_said(error)) from error
        try:
            if answer.status != 200:
                _read(answer.status, answer.data, dict, answer.headers.get("retry-after"))
                raise Unreachable(f"the server answers {answer.status} instead of a stream")
            yield Stream(answer)
        finally:
            # What is left of it will never come: the connection is of no more use.
            answer.close()


class NoServer(Transport):
    """Where there is none: everything is answered by what is known from a file."""

    def __init__(self) -> None:
        super().__init__("http://nowhere.invalid", "")

    def send(self, path: str, body: bytes, kind: type[T], *, timeout_s: float) -> T:  # noqa: ARG002  # nobody is asked
        raise Unreachable(NO_SERVER)

    def stream(self, path: str, headers: dict[str, str], *, silence_s: float) -> NoReturn:  # noqa: ARG002  # nobody is asked
        raise Unreachable(NO_SERVER)


class Stream:
    """An answer under way."""

    def __init__(self, answer: Any) -> None:  # Any: urllib3's own, which has `shutdown` in some of its classes only
        self._answer = answer

    def parts(self) -> Iterator[bytes]:
        """What comes, as it comes. Unreachable where the connection breaks or falls silent."""
        try:
            yield from self._answer.stream(65536, decode_content=False)
        except (HTTPError, OSError, ValueError) as error:
            raise Unreachable(_said(error)) from error

    def end(self) -> None:
        """Wake whoever reads it, from another thread."""
        try:
            self._answer.shutdown()
        except (ValueError, OSError, AttributeError):
            return  # it has ended by itself


def _read(status: int, body: bytes, kind: type[T], retry_after: str | None) -> T:
    if status >= 500 or status == 429:
        wait_s = float(retry_after) if retry_after and retry_after.isdecimal() else None
        raise Unreachable(f"the server answers {status}: {_problem(body).detail}", wait_s)
    if status >= 300:
        problem = _problem(body)
        raise PaygradeError(problem.code, problem.detail or f"the server answers {status}")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreachable(f"the answer cannot be read: {error}") from error


def _problem(body: bytes) -> _Problem:
    try:
        return msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Problem()


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
