"""Whose address counts behind proxies."""

from ipaddress import ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paygrade.server.process.client_address import HOPS_MAX, client_address

TRUSTED = [ip_network(text) for text in ("127.0.0.0/8", "10.0.0.0/8", "fd00::/8")]
PROXY, INNER, CLIENT, OTHER = "10.0.0.1", "10.0.0.2", "203.0.113.7", "198.51.100.9"


def address(peer: str | None, *lines: str) -> str | None:
    return client_address(peer, [(b"x-forwarded-for", line.encode()) for line in lines], TRUSTED)


@pytest.mark.parametrize(
    ("peer", "lines", "found"),
    [
        (CLIENT, [OTHER], CLIENT),  # nobody's word counts but a proxy's
        (PROXY, [], PROXY),
        (PROXY, [CLIENT], CLIENT),
        (PROXY, [f"{OTHER}, {CLIENT}"], CLIENT),  # what the client wrote itself
        (PROXY, [f"{OTHER},{CLIENT}, {INNER}"], CLIENT),
        (PROXY, [OTHER, CLIENT, INNER], CLIENT),  # several headers are one list (RFC 9110, 5.3)
        (PROXY, [f"{INNER}, 10.9.9.9"], INNER),  # from inside of the networks themselves
        (PROXY, [f"{CLIENT}:4711"], CLIENT),
        (PROXY, ["[2001:db8::1]:4711"], "2001:db8::1"),
        (PROXY, ["2001:db8::1"], "2001:db8::1"),
        (f"::ffff:{PROXY}", [f"::ffff:{CLIENT}"], CLIENT),
        (PROXY, [f"{CLIENT}, unknown"], PROXY),  # nobody knows who told it that
        (PROXY, [f"{CLIENT}, nonsense, {INNER}"], INNER),
        (PROXY, ["fe80::1%<script>"], PROXY),
        (PROXY, [""], PROXY),
        (None, [CLIENT], None),
        ("testclient", [CLIENT], "testclient"),
        (PROXY, [", ".join([CLIENT, *[INNER] * HOPS_MAX])], INNER),
    ],
)
def test_an_address_counts_that_a_trusted_proxy_names(peer: str | None, lines: list[str], found: str | None) -> None:
    assert address(peer, *lines) == found


@given(st.text(st.characters(codec="latin-1"), max_size=60), st.sampled_from([CLIENT, "2001:db8::1"]))
@example("10.0.0.1,", CLIENT)
def test_whatever_a_client_writes_changes_nothing_about_its_address(written: str, client: str) -> None:
    """The proxy appends who asked it."""
    headers = [(b"x-forwarded-for", f"{written}, {client}".encode("latin-1"))]
    assert client_address(PROXY, headers, TRUSTED) == client
    assert client_address(client, headers[:1], TRUSTED) == client
    assert client_address(PROXY, headers, ()) == PROXY
