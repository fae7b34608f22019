"""Who may use the simulator: programs on this machine or network, and no web page of another origin.

Any page a developer has open may send simple requests to 127.0.0.1 without asking first (text/plain, forms), and
a page whose name resolves to 127.0.0.1 is even of one origin with the simulator (DNS rebinding). The first gives
itself away by `Origin`, the second by a `Host` under a public name.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

# Endings nobody can register (RFC 6761, RFC 6762, ICANN's `internal`), and Kubernetes' own.
PRIVATE_ENDINGS = frozenset({"localhost", "local", "internal", "test", "svc"})


def refusal(headers: dict[str, str]) -> str | None:
    """Say why a request with these headers (lower case names) is refused; None: it may go on."""
    host = headers.get("host", "")
    if not _is_private(host):
        return (
            f"the simulator answers at addresses and private names only, not at `{host}`; "
            "use http://127.0.0.1 or http://localhost with its port"
        )
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return f"a web page of `{origin}` can't use the simulator; call it from your own program or the command line"
    return None


def _is_private(host: str) -> bool:
    """Tell whether a page from the internet cannot live under this host: an address, or a name of this network."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    if not name:
        return not host  # HTTP/1.0 has none, and no browser speaks it
    try:
        ip_address(name)
    except ValueError:
        return "." not in name or name.rpartition(".")[2] in PRIVATE_ENDINGS
    return True
