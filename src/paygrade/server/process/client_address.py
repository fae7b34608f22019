"""Whose network address a request comes from, where proxies stand before the server.

Laws: what a request says of itself counts only as far as a trusted proxy says it: `X-Forwarded-For` is read from its
end, where the nearest proxy writes, up to the first address that is not trusted; without trusted proxies nobody is
believed. `Forwarded` (RFC 7239) is not read: a proxy that writes one of the two headers passes the other on as its
client wrote it.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

HEADER = b"x-forwarded-for"
HOPS_MAX = 20
"""Proxies that a request may have come through."""


def client_address(peer: str | None, headers: Iterable[tuple[bytes, bytes]], trusted: Sequence[Network]) -> str | None:
    """The address of whoever asks: of the connection's `peer`, or the one that trusted proxies name. What can't be read
    ends the walk at the proxy that passed it on. None: the connection has no address."""
    nearest = _read(peer or "")
    if nearest is None or not _is_trusted(nearest, trusted):
        return peer
    named = b",".join(value for name, value in headers if name == HEADER)
    for text in reversed(named.decode("latin-1").rsplit(",", HOPS_MAX)[-HOPS_MAX:]):
        further = _read(_without_port(text.strip()))
        if further is None:
            break
        nearest = further
        if not _is_trusted(nearest, trusted):
            break
    return str(nearest)


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def _without_port(text: str) -> str:
    """Some proxies write `203.0.113.7:4711` and `[2001:db8::1]:4711`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _read(text: str) -> Address | None:
    # After a `%`, an address may have any text, which is not for our records.
    try:
        found = ip_address(text) if "%" not in text else None
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
