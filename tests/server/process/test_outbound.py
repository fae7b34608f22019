"""Which addresses webhooks may be sent to, and that a request goes to one that was looked at."""

import ssl
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from paygrade.server.process.outbound import Guard, Sender, is_public, parse_target
from paygrade.values.errors import Refused
from support.receiver import Answering, Received, receiving

pytestmark = pytest.mark.anyio

LOOPBACK = (ip_network("127.0.0.0/8"),)
PRIVATE = [
    "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.8",
    "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "192.88.99.1", "::", "::1", "fe80::1", "fe80::1%2", "fc00::1", "fd12:3456::1", "ff02::1",
    "fec0::1", "2001:db8::1", "100::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2002:7f00:1::", "2002:a00:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "5f00::1", "3fff::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808", "::ffff:808:808"]


def names(*answers: Sequence[str]) -> tuple[Callable[[str, int], Awaitable[Sequence[str]]], list[str]]:
    """A resolver that gives these answers, one after the other and the last one from then on; whom it was asked for."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    return resolve, asked


@pytest.mark.parametrize("text", PRIVATE)
async def test_no_name_leads_into_a_private_or_reserved_network(text: str) -> None:
    assert not is_public(ip_address(text))
    for found in ([text], ["1.1.1.1", text]):
        guard = Guard(resolve=names(found)[0])
        with pytest.raises(Refused, match="private or reserved"):
            await guard.addresses("innocent.example", 443, secure=True)


@pytest.mark.parametrize("text", PUBLIC)
async def test_addresses_of_the_internet_are_reached_over_tls_alone(text: str) -> None:
    guard = Guard(resolve=names([text])[0])
    assert await guard.addresses("innocent.example", 443, secure=True) == (text,)
    with pytest.raises(Refused, match="use https"):
        await guard.addresses("innocent.example", 80, secure=False)


async def test_networks_of_ones_own_are_allowed_and_no_others() -> None:
    guard = Guard((ip_network("10.1.0.0/16"),), names(["10.1.2.3"])[0])
    assert await guard.addresses("inside.example", 80, secure=False) == ("10.1.2.3",)
    with pytest.raises(Refused):
        await Guard((ip_network("10.2.0.0/16"),), names(["10.1.2.3"])[0]).addresses("x.example", 80, secure=False)
    with pytest.raises(Refused):
        await Guard(LOOPBACK, names(["127.0.0.1", "10.0.0.1"])[0]).addresses("x.example", 80, secure=False)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "2130706433", "017700000001", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.1",
        "0", "0.0.0.0", "[::1]", "[::]", "[::ffff:7f00:1]", "[::ffff:127.0.0.1]",
    ],
)  # fmt: skip
async def test_no_way_to_write_this_machine_gets_past(host: str) -> None:
    with receiving() as receiver:
        sender = Sender(Guard())
        for scheme in ("http", "https"):
            attempt = await sender.post(f"{scheme}://{host}:{receiver.port}/", {}, b"{}")
            assert attempt.status is None
            with pytest.raises(Refused, match=r"use https|private"):
                await sender.require_allowed(f"{scheme}://{host}:{receiver.port}/")
        assert receiver.arrived == []


async def test_a_name_that_changes_its_address_after_it_was_checked_leads_nowhere() -> None:
    """It is looked at when it is stated, and once more when it is connected to."""
    with receiving() as receiver:
        resolve, asked = names(["1.1.1.1"], ["127.0.0.1"])
        sender = Sender(Guard(resolve=resolve))
        url = f"https://rebinding.example:{receiver.port}/"
        await sender.require_allowed(url)
        attempt = await sender.post(url, {}, b"{}")
        assert attempt.error is not None
        assert "private or reserved" in attempt.error
        assert (receiver.arrived, len(asked)) == ([], 2)


async def test_a_name_with_one_address_that_may_not_be_reached_is_not_sent_to_at_all() -> None:
    with receiving() as receiver:
        sender = Sender(Guard(LOOPBACK, names(["127.0.0.1", "10.0.0.1"])[0]))
        attempt = await sender.post(f"http://both.example:{receiver.port}/", {}, b"{}")
        assert (attempt.status, receiver.arrived) == (None, [])


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to() -> None:
    """The name is asked for once for a connection, and never by whoever connects."""
    with receiving() as receiver:
        resolve, asked = names(["127.0.0.1"], ["10.255.255.1"])
        sender = Sender(Guard(LOOPBACK, resolve))
        attempt = await sender.post(f"http://no-such-name.example:{receiver.port}/a?b=c", {"x-a": "1"}, b"{}")
        assert (attempt.status, asked) == (204, ["no-such-name.example"])
        (received,) = receiver.arrived
        assert received.headers["host"] == f"no-such-name.example:{receiver.port}"
        assert (received.path, received.headers["x-a"]) == ("/a?b=c", "1")


async def test_tls_is_for_the_name_while_the_connection_is_to_the_address(tmp_path: Path) -> None:
    with receiving() as receiver:
        context, trusting = certified(tmp_path, "hooks.example")
        receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
        sender = Sender(Guard(LOOPBACK, names(["127.0.0.1"])[0]), tls=trusting)
        assert (await sender.post(f"https://hooks.example:{receiver.port}/", {}, b"{}")).status == 204
        other = await sender.post(f"https://other.example:{receiver.port}/", {}, b"{}")
        assert other.status is None
        assert "certificate" in (other.error or "").lower()


async def test_the_second_address_is_tried_where_the_first_does_not_answer() -> None:
    with receiving() as receiver:
        sender = Sender(Guard(LOOPBACK, names(["127.0.0.77", "127.0.0.1"])[0]))
        assert (await sender.post(f"http://two.example:{receiver.port}/", {}, b"{}")).status == 204


async def test_who_hangs_is_given_up_and_says_so() -> None:
    with receiving() as receiver:
        receiver.behave = hang
        sender = Sender(Guard(LOOPBACK), patience_s=0.2)
        attempt = await sender.post(receiver.url, {}, b"{}")
        assert (attempt.status, attempt.error) == (None, "no answer within 0.2 s")


async def test_a_redirect_is_an_answer_like_any_other() -> None:
    with receiving() as receiver, receiving() as inside:

        def redirect(_: Received, answering: Answering) -> None:
            answering.answer(307, location=inside.url)

        receiver.behave = redirect
        sender = Sender(Guard(LOOPBACK))
        attempt = await sender.post(receiver.url, {}, b"{}")
        assert (attempt.status, attempt.succeeded, inside.arrived) == (307, False, [])


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver, receiving() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        sender = Sender(Guard(LOOPBACK))
        assert (await sender.post(receiver.url, {}, b"{}")).status == 204
        assert (len(receiver.arrived), proxy.arrived) == (1, [])


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.com/", "is not an address"),
        ("example.com/hooks", "is not an address"),
        ("https://", "is not an address"),
        ("https://example.com:0/", "is not an address"),
        ("https://example.com:99999/", "is not an address"),
        ("https://[::1", "is not an address"),
        ("https://ann:secret@example.com/", "has a user"),
        ("https://127.0.0.1@example.com/", "has a user"),
        ("https://example.com/#a", "has a fragment"),
        ("https://example.com/a b", "has characters"),
        ("https://example.com\\@127.0.0.1/", "has characters"),
        ("https://example.com/\r\nx: y", "has characters"),
        ("https://exämple.com/", "has characters"),
        ("https://example.com/" + "x" * 2000, "is longer"),
    ],
)
def test_what_is_no_address_is_refused_in_words(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_target(url)


def hang(_: Received, answering: Answering) -> None:
    answering.connection.recv(1)  # until the other side goes away


def certified(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate for this name, and a client's that trusts it alone."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make(name, key, certificate)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))


def make(name: str, key_path: Path, certificate_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    certificate_path.write_bytes(certificate.public_bytes(pem))
    key_path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
