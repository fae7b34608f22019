"""HTTP to addresses that others chose: which network addresses may be reached, and how an answer is read.

Laws: a name is resolved, all its addresses are checked, and the connection is made to one of those that were checked;
a redirect is an answer like any other; no proxy of the environment is used; a request has a bound on its time, and its
answer one on its size. So nobody reaches through us what only we can reach (server-side request forgery).
"""

import asyncio
import re
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib import import_module
from importlib.metadata import version
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlencode, urlsplit

from msgspec import Struct

from paygrade.values.errors import Refused, Unavailable

if TYPE_CHECKING:
    import aiohttp

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
    parts, host, port = _taken_apart(url, "https://example.com/webhooks")
    if "@" in parts.netloc:
        raise ValueError("has a user or a password; webhooks are signed instead, so leave them out")
    if "#" in url:
        raise ValueError("has a fragment (`#…`), which is never sent; leave it out")
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(secure, host, port or (443 if secure else 80), path)


def check_page(url: str, *, of_tests: bool) -> None:
    """Check where a browser is to be sent; ValueError says what is wrong with it. `of_tests`: it may be sent to the
    machine it runs on without TLS."""
    parts, host, _ = _taken_apart(url, "https://example.com/billing")
    if "@" in parts.netloc:
        raise ValueError("has a user or a password; leave them out")
    if parts.scheme == "http" and not (of_tests and _is_loopback(host)):
        raise ValueError("is not secure; write `https://` (with a test key, `http://localhost` will do)")


def _taken_apart(url: str, example: str) -> tuple[SplitResult, str, int | None]:
    """The parts of an address of the web, its host and its port."""
    if len(url) > URL_LENGTH_MAX:
        raise ValueError(f"is longer than {URL_LENGTH_MAX} characters")
    if not _TARGET.fullmatch(url) or "\\" in url:
        raise ValueError("has characters that addresses can't have; percent-encode them")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"is not an address; write for example `{example}`") from None
    if parts.scheme not in ("https", "http") or not host or not _HOST.fullmatch(host) or port == 0:
        raise ValueError(f"is not an address; write for example `{example}`")
    return parts, host, port


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, section 6.3
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


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
            self.require(address, host, secure=secure)
        if not parsed:
            raise Unavailable("name_not_resolved", f"the name `{host}` has no address")
        return tuple(map(str, parsed))

    def require(self, address: Address, host: str, *, secure: bool) -> None:
        """Refused `private_address` where this address of a host may not be reached."""
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
            self._tls = ssl.create_default_context()
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
        if "aiohttp" not in sys.modules:
            # Most processes send nothing, so it is imported here; it takes 0.2 s, in which others want answers.
            await asyncio.to_thread(import_module, "aiohttp")
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
        self._clients: dict[bool, aiohttp.ClientSession] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        """Post JSON, and keep the beginning of the answer. Whatever goes wrong is said in the attempt."""
        sent = {"content-type": "application/json", **headers}
        return await self._ask("POST", url, sent, body, bytes_max=None)

    async def fetch(
        self, url: str, headers: Mapping[str, str] = _NONE, *, form: Mapping[str, str] | None = None, bytes_max: int
    ) -> Attempt:
        """Get what is there, or what a form that is posted there is answered with. All of it, or an attempt that
        says what was wrong: an answer of more than `bytes_max` is none."""
        if form is None:
            return await self._ask("GET", url, headers, b"", bytes_max=bytes_max)
        body = urlencode(form).encode()
        sent = {"content-type": "application/x-www-form-urlencoded", **headers}
        return await self._ask("POST", url, sent, body, bytes_max=bytes_max)

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, *, bytes_max: int | None
    ) -> Attempt:
        """Send one request. `bytes_max` None: the beginning of its answer is enough."""
        import aiohttp

        began = time.monotonic()

        def attempt(status: int | None, error: str | None = None, **more: object) -> Attempt:
            return Attempt(status, round((time.monotonic() - began) * 1000), error, **more)  # type: ignore[arg-type]

        try:
            target = parse_target(url)
            async with asyncio.timeout(self._sender.patience_s):
                response = await self._send(method, target, headers, body)
            async with response:
                if bytes_max is None:
                    told = await _beginning(response)
                else:
                    async with asyncio.timeout(self._sender.patience_s):
                        told = await _whole(response, bytes_max)
                return attempt(response.status, answer=_text(told), retry_after_s=_retry_after(response))
        except _TooLong:
            return attempt(None, f"the answer is longer than {bytes_max} bytes")
        except TimeoutError:
            return attempt(None, f"no answer within {self._sender.patience_s:g} s")
        except (Refused, Unavailable) as refused:
            return attempt(None, refused.detail)
        except (aiohttp.ClientConnectorError, aiohttp.ClientConnectionResetError) as error:
            return attempt(None, f"no connection to the receiver: {str(error)[:200]}")
        except (aiohttp.ClientError, OSError) as error:
            said = str(error)[:200] or "the connection was closed"
            return attempt(None, f"the receiver's answer is not valid HTTP: {said}")
        except ValueError as error:  # an address that was written down before it would be refused
            return attempt(None, f"the address {error}")

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()

    async def _send(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes
    ) -> "aiohttp.ClientResponse":
        from yarl import URL

        sent = {"user-agent": AGENT, "accept-encoding": "identity", **headers}
        name = f"[{target.host}]" if ":" in target.host else target.host
        url = URL(f"http{'s' * target.secure}://{name}:{target.port}{target.path}", encoded=True)
        client = self._client(secure=target.secure)
        return await client.request(method, url, headers=sent, data=body or None, allow_redirects=False)

    def _client(self, *, secure: bool) -> "aiohttp.ClientSession":
        if secure not in self._clients:
            self._clients[secure] = _client(self._sender, secure=secure)
        return self._clients[secure]


def _client(sender: Sender, *, secure: bool) -> "aiohttp.ClientSession":
    """One that connects only to addresses that are checked for each connection. TLS and `Host` go on with the name."""
    import aiohttp
    from aiohttp.abc import AbstractResolver, ResolveResult

    class Checked(AbstractResolver):
        async def resolve(self, host: str, port: int = 0, *_: object, **__: object) -> list[ResolveResult]:
            found = (await sender.guard.addresses(host, port, secure=secure))[:ADDRESSES_TRIED]
            flags = socket.AI_NUMERICHOST
            return [
                ResolveResult(hostname=host, host=each, port=port, family=_family(each), proto=0, flags=flags)
                for each in found
            ]

        async def close(self) -> None:
            pass

    connector = aiohttp.TCPConnector(
        limit=CONNECTIONS_MAX,
        keepalive_timeout=KEPT_S,
        use_dns_cache=False,
        resolver=Checked(),
        socket_factory=partial(_socket, sender.guard, secure),
        ssl=sender.tls if secure else True,
        happy_eyeballs_delay=None,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        auto_decompress=False,
        skip_auto_headers=("Accept",),
    )


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _socket(guard: Guard, secure: bool, address: tuple[object, ...]) -> socket.socket:
    """Every connection begins here, also to an address that is written as a number and never resolved."""
    family, kind, protocol, _, where = address
    host = str(where[0])  # type: ignore[index]
    guard.require(ip_address(host), host, secure=secure)
    return socket.socket(family, kind, protocol)  # type: ignore[arg-type]


async def _beginning(response: "aiohttp.ClientResponse") -> bytes:
    """As much of the body as is kept, and as comes in time."""
    import aiohttp

    kept = b""
    with suppress(TimeoutError, OSError, aiohttp.ClientError):
        async with asyncio.timeout(REST_S):
            while len(kept) < ANSWER_BYTES_MAX and (part := await response.content.readany()):
                kept += part[: ANSWER_BYTES_MAX - len(kept)]
    return kept


async def _whole(response: "aiohttp.ClientResponse", bytes_max: int) -> bytes:
    kept = b""
    while part := await response.content.readany():
        kept += part
        if len(kept) > bytes_max:
            raise _TooLong
    return kept


def _text(answer: bytes) -> str:
    """As PostgreSQL keeps it."""
    return answer.decode(errors="replace").replace("\0", "\ufffd")


def _retry_after(response: "aiohttp.ClientResponse") -> int | None:
    """RFC 9110, section 10.2.3: a number of seconds. A date would need both clocks to agree."""
    value = response.headers.get("retry-after", "")
    if not (value.isascii() and value.isdigit()):
        return None
    return int(value) if len(value) < 10 else 10**9
