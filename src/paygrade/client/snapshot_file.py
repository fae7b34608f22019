"""Snapshot files: what accounts may do, signed, for answers before a server was heard, or without one.

A file is a line and a body. The line names the format, how it is signed, and the signature of the body; the body is
JSON in lines, compressed: first the head, then accounts, some a line, as `POST /v1/snapshots` answers them.

Laws: nothing of a body is read before its signature was found right; the key says how a file must be signed, not the
file; a file is whole or it is none.
"""

import base64
import binascii
import hashlib
import hmac
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol
from uuid import uuid4

import msgspec
from msgspec import Struct

from paygrade.client.errors import PaygradeError
from paygrade.decisions.following import Views

FORMAT = b"paygrade-snapshot-1"
VALID_MAX = timedelta(days=35)
"""How far ahead snapshots know the dates at which something changes by itself."""
FILE_BYTES_MAX = 1024 * 1024 * 1024
SECRET_LENGTH_MIN = 16
NO_LIBRARY = "keys of snapshot files need a library: pip install 'paygrade[licence]'"


class Head(Struct, frozen=True):
    """What a file says of itself. It answers for nothing outside of `[made_at, ends_at)`, which are the server's
    time."""

    made_at: datetime
    ends_at: datetime
    accounts: int


class Unusable(Exception):
    """The file is none, is damaged, or is not signed by this key."""


class Key(Protocol):
    """What a file is signed with, or what can tell that it was."""

    kind: Literal[b"hmac-sha256", b"ed25519"]

    def sign(self, text: bytes) -> bytes: ...

    def fits(self, signature: bytes, text: bytes) -> bool: ...


class Secret(Key):
    """A secret that whoever writes and whoever reads has: each can do both."""

    kind: Literal[b"hmac-sha256", b"ed25519"] = b"hmac-sha256"

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def sign(self, text: bytes) -> bytes:
        return hmac.digest(self._secret, text, "sha256")

    def fits(self, signature: bytes, text: bytes) -> bool:
        return hmac.compare_digest(self.sign(text), signature)


class KeyPair(Key):
    """An Ed25519 key in PEM. With a public one files are read, with a private one they are written."""

    kind: Literal[b"hmac-sha256", b"ed25519"] = b"ed25519"

    def __init__(self, pem: str) -> None:
        try:
            from cryptography.hazmat.primitives import serialization
            from cryptography.hazmat.primitives.asymmetric import ed25519
        except ImportError:
            raise PaygradeError("invalid_settings", NO_LIBRARY) from None
        try:
            private = serialization.load_pem_private_key(pem.encode(), None) if "PRIVATE" in pem else None
            public = private.public_key() if private is not None else serialization.load_pem_public_key(pem.encode())
        except (ValueError, TypeError) as error:
            raise PaygradeError("invalid_settings", f"the key of snapshot files can't be read: {error}") from None
        if not isinstance(public, ed25519.Ed25519PublicKey):
            detail = "the key of snapshot files is not an Ed25519 key; `paygrade snapshot key` makes one"
            raise PaygradeError("invalid_settings", detail)
        self._private = private if isinstance(private, ed25519.Ed25519PrivateKey) else None
        self._public = public

    def sign(self, text: bytes) -> bytes:
        if self._private is None:
            raise PaygradeError("invalid_settings", "a public key signs nothing; pass the private one")
        return self._private.sign(text)

    def fits(self, signature: bytes, text: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature

        try:
            self._public.verify(signature, text)
        except InvalidSignature:
            return False
        return True


def make_pair() -> tuple[str, str]:
    """A new private key and its public one, in PEM. PaygradeError `invalid_settings` without the library."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
    except ImportError:
        raise PaygradeError("invalid_settings", NO_LIBRARY) from None
    made = Ed25519PrivateKey.generate()
    private = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def key_of(text: str) -> Secret | KeyPair:
    """The key that this text is: one in PEM, or a secret. PaygradeError `invalid_settings`."""
    if text.lstrip().startswith("-----BEGIN"):
        return KeyPair(text.strip())
    if len(text) < SECRET_LENGTH_MIN:
        detail = f"the key of snapshot files is short; use {SECRET_LENGTH_MIN} characters or more"
        raise PaygradeError("invalid_settings", detail)
    return Secret(text)


def encode(head: Head, lines: Iterable[Views], key: Key) -> bytes:
    """A file with these accounts."""
    squeeze = zlib.compressobj(level=1, wbits=31)  # as gzip does, so that people can look into it
    parts = [squeeze.compress(_encode(head) + b"\n")]
    parts += [squeeze.compress(_encode(line) + b"\n") for line in lines]
    body = b"".join((*parts, squeeze.flush()))
    signature = base64.b64encode(key.sign(_signed(body, key)))
    return b" ".join((FORMAT, key.kind, signature)) + b"\n" + body


def decode(data: bytes, key: Key) -> tuple[Head, Iterator[Views]]:
    """What a file says, and the accounts in it. Unusable, before anything of it is given."""
    line, newline, body = data[:1000].partition(b"\n")
    words = line.split(b" ")
    if not newline or len(words) != 3 or words[0] != FORMAT:
        raise Unusable(f"it is no snapshot file of this version ({FORMAT.decode()})")
    if words[1] != key.kind:
        kind = "a shared secret" if key.kind == Secret.kind else "a key pair"
        raise Unusable(f"it is signed in another way than by {kind}, as the key given here")
    body = data[len(line) + 1 :]
    try:
        signature = base64.b64decode(words[2], validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    if not key.fits(signature, _signed(body, key)):
        raise Unusable("it was signed with another key, changed after it was signed, or is cut short")
    lines = _lines(body)
    return _head.decode(next(lines)), (_views.decode(line) for line in lines)


def read(path: Path, key: Key) -> tuple[Head, Iterator[Views]]:
    """The same of a file on disk. Unusable; FileNotFoundError."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise Unusable(f"it has more than {FILE_BYTES_MAX:,} bytes")
        return decode(path.read_bytes(), key)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unusable(str(error)) from None


def write(path: Path, data: bytes) -> None:
    """Have the file be this, all at once: whoever reads it finds what was there before, or this. OSError."""
    beside = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(fd)
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _signed(body: bytes, key: Key) -> bytes:
    """What the signature is of: never the same bytes as of anything else that is signed with this key."""
    return b" ".join((FORMAT, key.kind, hashlib.sha256(body).hexdigest().encode()))


def _lines(body: bytes) -> Iterator[bytes]:
    rest, loosen = b"", zlib.decompressobj(wbits=31)
    for begin in range(0, len(body), 1 << 16):
        *lines, rest = (rest + loosen.decompress(body[begin : begin + (1 << 16)])).split(b"\n")
        yield from lines


_encode: Callable[[object], bytes] = msgspec.json.Encoder().encode
_head, _views = msgspec.json.Decoder(Head), msgspec.json.Decoder(Views)
