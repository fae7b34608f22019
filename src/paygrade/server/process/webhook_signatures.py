"""Signatures of the webhooks we send, by Standard Webhooks: made here, and looked into when one does not verify.

Laws: what is signed is `id.timestamp.body`, byte for byte; a message is signed with every secret that counts when it is
sent; signatures are compared in constant time; a secret is shown nowhere.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Literal

import msgspec
from msgspec import Struct

PREFIX = "whsec_"
SECRET_BYTES = 24
TOLERANCE_S = 300
"""How far the stock verifiers let the timestamp be from their own time."""
HEADERS = ID, TIMESTAMP, SIGNATURE = ("webhook-id", "webhook-timestamp", "webhook-signature")

Verdict = Literal[
    "ok",
    "header_missing",
    "timestamp_invalid",
    "timestamp_too_old",
    "timestamp_in_the_future",
    "secret_invalid",
    "signature_unknown",
    "body_reserialized",
    "body_trimmed",
    "secret_not_decoded",
    "no_match",
]


class Diagnosis(Struct, frozen=True):
    """Whether a webhook verifies, and what to do where it does not."""

    verdict: Verdict
    detail: str


def make_secret() -> str:
    """A new secret, as receivers are given it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(body: bytes, *, id: str, sent_at: int, secrets: Sequence[str]) -> dict[str, str]:
    """The headers that make a body a webhook; `sent_at` in seconds since 1970."""
    signatures = [_signature(_key(secret), id, str(sent_at), body) for secret in secrets]
    return {ID: id, TIMESTAMP: str(sent_at), SIGNATURE: " ".join(signatures)}


def diagnose(body: bytes, headers: Mapping[str, str], secret: str, *, now: int) -> Diagnosis:
    """Verify a webhook as its receiver has it, and say what is wrong with it where it does not."""
    found = {name.lower(): value.strip() for name, value in headers.items()}
    if missing := [name for name in HEADERS if not found.get(name)]:
        return Diagnosis(
            "header_missing", f"the request has no `{missing[0]}`; a proxy may drop it, or it is not from Paygrade"
        )
    id, timestamp, shown = (found[name] for name in HEADERS)
    try:
        key = _key(secret)
    except ValueError:
        return Diagnosis("secret_invalid", f"the secret is not `{PREFIX}` and base64; copy it once more")
    signatures = shown.split()
    if not any(signature.startswith("v1,") for signature in signatures):
        return Diagnosis("signature_unknown", f"`{SIGNATURE}` has no signature of `v1`; pass the header on unchanged")
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12):
        return Diagnosis("timestamp_invalid", f"`{TIMESTAMP}` is no number of seconds; pass the header on unchanged")
    if not _matches(key, id, timestamp, body, signatures):
        return _why_not(body, secret, id, timestamp, signatures)
    return _by_time(int(timestamp), now)


def _by_time(sent_at: int, now: int) -> Diagnosis:
    if now - sent_at > TOLERANCE_S:
        detail = (
            f"the signature matches, but the webhook was sent {now - sent_at} s ago and verifiers accept "
            f"{TOLERANCE_S} s; verify it when it arrives, and check the receiver's clock"
        )
        return Diagnosis("timestamp_too_old", detail)
    if sent_at - now > TOLERANCE_S:
        detail = f"the signature matches, but the webhook was sent {sent_at - now} s from now; check the clock"
        return Diagnosis("timestamp_in_the_future", detail)
    return Diagnosis("ok", "the signature matches")


def _why_not(body: bytes, secret: str, id: str, timestamp: str, signatures: Sequence[str]) -> Diagnosis:
    """What was done to a webhook that would match but for that."""
    key = _key(secret)
    if any(
        _matches(key, id, timestamp, each, signatures) for each in (body.strip(), body.removeprefix(b"\xef\xbb\xbf"))
    ):
        return Diagnosis("body_trimmed", "the body has white space or a mark that was not sent; verify the raw bytes")
    if any(_matches(key, id, timestamp, each, signatures) for each in _serialized_again(body)):
        detail = "the body was re-serialized on the way; verify the raw bytes of the request, before any JSON parser"
        return Diagnosis("body_reserialized", detail)
    undecoded = (secret.encode(), secret.removeprefix(PREFIX).encode())
    if any(_matches(wrong, id, timestamp, body, signatures) for wrong in undecoded):
        detail = f"the signature was made with the secret's text; decode what follows `{PREFIX}` as base64 first"
        return Diagnosis("secret_not_decoded", detail)
    detail = (
        "no signature matches: the secret is another endpoint's, or has been rotated away, or the body was changed; "
        "send a test with `paygrade webhooks test` and compare"
    )
    return Diagnosis("no_match", detail)


def _serialized_again(body: bytes) -> list[bytes]:
    """The body as we write JSON."""
    try:
        return [msgspec.json.encode(msgspec.json.decode(body))]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return []


def _matches(key: bytes, id: str, timestamp: str, body: bytes, signatures: Sequence[str]) -> bool:
    expected = _signature(key, id, timestamp, body).encode()
    return any(hmac.compare_digest(expected, signature.encode()) for signature in signatures)


def _signature(key: bytes, id: str, timestamp: str, body: bytes) -> str:
    digest = hmac.digest(key, f"{id}.{timestamp}.".encode() + body, sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
