"""HTTP to addresses that others chose: which network addresses may be reached, and how an answer is read.

Laws: a name is resolved, all its addresses are checked, and the connection is made to one of those that were checked;
a redirect is an answer like any other; no proxy of the environment is used; a request has a bound on its time, and its
answer one on its size. So nobody reaches through us what only we can reach (server-side request forgery).
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlencode, urlsplit

import httpcore2
from msgspec import Struct

from paygrade.values.errors import Refused, Unavailable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a name; raises OSError where it has none."""

URL_LENGTH_MAX = 2000
PATIENCE_S = 15.0
"""How long a receiver may take until its status is here; Standard Webhooks says 15 to 30 s."""
REST_S = 1.0
"""How long the body may take after that: nothing rests on it."""
ANSWER_BYTES_MAX = 2000
ADDRESSES_TRIED = 3
CONNECTIONS_MAX = 64
KEPT_S = 3.0
EVERYWHERE: tuple[Network, ...] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
"""For what whoever runs the server has named themselves."""
AGENT = f"Paygrade/{version('paygrade')}"

_NONE: Mapping[str, str] = {}
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_TARGET = re.compile(r"[!-~]*")
# What Python counts as reachable, or has not always counted among what is not:
# https://www.iana.org/assignments/iana-ipv6-special-registry
_NOT_GLOBAL = tuple(
    ip_network(text)
    for text in (
        "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4",
        "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10",
    )
)  # fmt: skip
_NAT64, _COMPATIBLE = IPv6Network("64:ff9b::/96"), IPv6Network("::/96")


class Target(Struct, frozen=True):
    """An address to send to, taken apart once, so that what is checked is what is used."""

    secure: bool
    host: str
    port: int
    path: str


class Attempt(Struct, frozen=True):
    """What came of a request. `status` None: there was no answer, and `error` says why. `answer` is the beginning of
    its body. `retry_after_s`: how long it asks us to wait."""

    status: int | None
    took_ms: int
    error: str | None = None
    answer: str = ""
    retry_after_s: int | None = None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def parse_target(url: str) -> Target:
    """Take an address apart; ValueError says what is wrong with it."""
    if len(url) > URL_LENGTH_MAX:
        raise ValueError(f"is longer than {URL_LENGTH_MAX} characters")
    if not _TARGET.fullmatch(url) or "\\" in url:
        raise ValueError("has characters that addresses can't have; percent-encode them")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not an address; write for example `https://example.com/webhooks`") from None
    if parts.scheme not in ("https", "http") or not host or not _HOST.fullmatch(host) or port == 0:
        raise ValueError("is not an address; write for example `https://example.com/webhooks`")
    if "@" in parts.netloc:
        raise ValueError("has a user or a password; webhooks are signed instead, so leave them out")
    if "#" in url:
        raise ValueError("has a fragment (`#…`), which is never sent; leave it out")
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(secure, host, port or (443 if secure else 80), path)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class Guard(Struct, frozen=True):
    """Which addresses may be reached: those of the internet, over TLS, and whatever is in `allowed`, networks of one's
    own."""

    allowed: tuple[Network, ...] = ()
    resolve: Resolve = resolve

    async def addresses(self, host: str, port: int, *, secure: bool) -> tuple[str, ...]:
        """The addresses of a name that all may be reached. Refused `private_address`; Unavailable
        `name_not_resolved`."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                found = await self.resolve(host, port)
            parsed = [ip_address(text) for text in found]
        except (OSError, ValueError, TimeoutError):
            raise Unavailable("name_not_resolved", f"the name `{host}` can't be resolved") from None
        for address in parsed:
            self._require(address, host, secure=secure)
        if not parsed:
            raise Unavailable("name_not_resolved", f"the name `{host}` has no address")
        return tuple(map(str, parsed))

    def _require(self, address: Address, host: str, *, secure: bool) -> None:
        if any(address in network for network in self.allowed):
            return
        if not secure:
            raise Refused("private_address", f"`{host}` is not in a network of PAYGRADE_WEBHOOK_ALLOW; use https")
        if not is_public(address):
            # Not which address it is: who may choose names should not learn what they mean to us.
            detail = f"`{host}` is in a private or reserved network; use an address on the internet, or add "
            raise Refused("private_address", f"{detail}the network to PAYGRADE_WEBHOOK_ALLOW")


def is_public(address: Address) -> bool:
    """Whether it belongs to the internet, and so does the IPv4 address that it may stand for."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and (address in _NAT64 or address in _COMPATIBLE):
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and not is_public(inner):
            return False
        if address.ipv4_mapped is not None or address in _NAT64:
            return True
    odd = address.is_multicast or address.is_unspecified or address.is_reserved or address.is_loopback
    return address.is_global and not odd and not any(address in network for network in _NOT_GLOBAL)


class _TooLong(Exception):
    """An answer is longer than whoever asked takes."""


class Sender:
    """Posts to addresses that others chose."""

    def __init__(self, guard: Guard, *, tls: ssl.SSLContext | None = None, patience_s: float = PATIENCE_S) -> None:
        self.guard = guard
        self.patience_s = patience_s
        self._tls = tls

    @property
    def tls(self) -> ssl.SSLContext:
        """Made when it is first needed: it is dear."""
        if self._tls is None:
            self._tls = httpcore2.default_ssl_context()
        return self._tls

    async def require_allowed(self, url: str) -> None:
        """Refused `private_address` where this may not be reached. A name that can't be resolved may be later."""
        target = parse_target(url)
        with suppress(Unavailable):
            await self.guard.addresses(target.host, target.port, secure=target.secure)

    @asynccontextmanager
    async def session(self) -> AsyncIterator["Session"]:
        """Requests that share connections. Each receiver should have one of its own: a pool looks through all its
        connections for each request."""
        made = Session(self)
        try:
            yield made
        finally:
            await made.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        """Send one request, on a connection of its own."""
        async with self.session() as session:
            return await session.post(url, headers, body)


class Session:
    """Requests that share connections, until it is closed."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._pools: dict[bool, httpcore2.AsyncConnectionPool] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        """Post JSON, and keep the beginning of the answer. Whatever goes wrong is said in the attempt."""
        sent = {"content-type": "application/json", "content-length": str(len(body)), **headers}
        return await self._ask("POST", url, sent, body, bytes_max=None)

    async def fetch(
        self, url: str, headers: Mapping[str, str] = _NONE, *, form: Mapping[str, str] | None = None, bytes_max: int
    ) -> Attempt:
        """Get what is there, or what a form that is posted there is answered with. All of it, or an attempt that
        says what was wrong: an answer of more than `bytes_max` is none."""
        if form is None:
            return await self._ask("GET", url, headers, b"", bytes_max=bytes_max)
        body = urlencode(form).encode()
        sent = {"content-type": "application/x-www-form-urlencoded", "content-length": str(len(body)), **headers}
        return await self._ask("POST", url, sent, body, bytes_max=bytes_max)

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, *, bytes_max: int | None
    ) -> Attempt:
        """Send one request. `bytes_max` None: the beginning of its answer is enough."""
        began = time.monotonic()

        def attempt(status: int | None, error: str | None = None, **more: object) -> Attempt:
            return Attempt(status, round((time.monotonic() - began) * 1000), error, **more)  # type: ignore[arg-type]

        try:
            target = parse_target(url)
            request = _request(method, target, headers, body)
            async with asyncio.timeout(self._sender.patience_s):
                response = await self._pool(secure=target.secure).handle_async_request(request)
            try:
                if bytes_max is None:
                    told = await _beginning(response)
                else:
                    async with asyncio.timeout(self._sender.patience_s):
                        told = await _whole(response, bytes_max)
                return attempt(response.status, answer=_text(told), retry_after_s=_retry_after(response))
            except _TooLong:
                return attempt(None, f"the answer is longer than {bytes_max} bytes")
            finally:
                await response.aclose()
        except TimeoutError:
            return attempt(None, f"no answer within {self._sender.patience_s:g} s")
        except (Refused, Unavailable) as refused:
            return attempt(None, refused.detail)
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError) as error:
            return attempt(None, _in_our_words(error))
        except ValueError as error:  # an address that was written down before it would be refused
            return attempt(None, f"the address {error}")

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()

    def _pool(self, *, secure: bool) -> httpcore2.AsyncConnectionPool:
        if secure not in self._pools:
            self._pools[secure] = httpcore2.AsyncConnectionPool(
                ssl_context=self._sender.tls if secure else None,
                max_connections=CONNECTIONS_MAX,
                keepalive_expiry=KEPT_S,
                network_backend=_Pinned(self._sender.guard, secure=secure),
            )
        return self._pools[secure]


class _Pinned(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that were checked just before. TLS and `Host` go on with the name."""

    def __init__(self, guard: Guard, *, secure: bool) -> None:
        self._guard, self._secure = guard, secure
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        *first, last = (await self._guard.addresses(host, port, secure=self._secure))[:ADDRESSES_TRIED]
        for address in first:
            with suppress(httpcore2.ConnectError):
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
        return await self._network.connect_tcp(last, port, timeout, local_address, socket_options)

    async def connect_unix_socket(self, *_: object, **__: object) -> httpcore2.AsyncNetworkStream:
        raise Refused("private_address", "sockets of this machine are not for webhooks")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _request(method: str, target: Target, headers: Mapping[str, str], body: bytes) -> httpcore2.Request:
    default = 443 if target.secure else 80
    name = f"[{target.host}]" if ":" in target.host else target.host
    sent = {
        "host": name if target.port == default else f"{name}:{target.port}",
        "user-agent": AGENT,
        "accept-encoding": "identity",
        **headers,
    }
    url = httpcore2.URL(
        scheme=b"https" if target.secure else b"http",
        host=target.host.encode(),
        port=target.port,
        target=target.path.encode(),
    )
    return httpcore2.Request(method, url, headers=list(sent.items()), content=body)


async def _beginning(response: httpcore2.Response) -> bytes:
    """As much of the body as is kept, and as comes in time."""
    kept = b""
    with suppress(TimeoutError, httpcore2.NetworkError, httpcore2.ProtocolError):
        async with asyncio.timeout(REST_S):
            async for part in response.aiter_stream():
                kept += part[: ANSWER_BYTES_MAX - len(kept)]
                if len(kept) >= ANSWER_BYTES_MAX:
                    break
    return kept


async def _whole(response: httpcore2.Response, bytes_max: int) -> bytes:
    kept = b""
    async for part in response.aiter_stream():
        kept += part
        if len(kept) > bytes_max:
            raise _TooLong
    return kept


def _text(answer: bytes) -> str:
    """As PostgreSQL keeps it."""
    return answer.decode(errors="replace").replace("\0", "\ufffd")


def _retry_after(response: httpcore2.Response) -> int | None:
    """RFC 9110, section 10.2.3: a number of seconds. A date would need both clocks to agree."""
    for name, value in response.headers:
        if name.lower() == b"retry-after" and value.isdigit():
            return int(value) if len(value) < 10 else 10**9
    return None


def _in_our_words(error: Exception) -> str:
    match error:
        case httpcore2.TimeoutException():
            return "the receiver did not answer in time"
        case httpcore2.ConnectError() | OSError():
            return f"no connection to the receiver: {str(error)[:200] or type(error).__name__}"
        case httpcore2.ProtocolError() | httpcore2.ReadError():
            return f"the receiver's answer is not valid HTTP: {str(error)[:200] or 'the connection was closed'}"
        case _:
            return str(error)[:200] or type(error).__name__
