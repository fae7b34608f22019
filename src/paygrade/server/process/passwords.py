"""Passwords and the codes of authenticator apps.

Laws: a password is kept by Argon2id (RFC 9106) and looked at in a thread, few at a time, since each look takes 64 MiB;
an address that nobody has costs as much as one that somebody has; a code (RFC 6238) is taken once.
"""

import asyncio
import secrets
from datetime import datetime
from functools import cache
from hmac import compare_digest

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

AT_ONCE = 2
STEP_S, AROUND = 30, (-1, 0, 1)
"""How long a code lasts, and how far a clock may be off, in codes."""
_hasher = PasswordHasher()


class Passwords:
    """Looks at passwords, `AT_ONCE` at a time."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def hash(self, password: str) -> str:
        async with self._turns:
            return await asyncio.to_thread(_hasher.hash, password)

    async def fits(self, hash: str | None, password: str) -> bool:
        """Whether this is the password; None: there is nobody, which takes as long to say."""
        async with self._turns:
            return await asyncio.to_thread(_fits, hash, password) and hash is not None


def make_password() -> str:
    """A password that nobody guesses."""
    return secrets.token_urlsafe(18)


def make_totp_secret() -> str:
    return pyotp.random_base32()


def totp_address(secret: str, email: str) -> str:
    """What an authenticator app reads as a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name="Paygrade")


def step_of(code: str, secret: str, *, after: int, at: datetime) -> int | None:
    """Which code this is; None: none of now, or one that was taken before."""
    totp, now = pyotp.TOTP(secret), int(at.timestamp()) // STEP_S
    for offset in AROUND:
        if now + offset > after and compare_digest(totp.generate_otp(now + offset).encode(), code.encode()):
            return now + offset
    return None


@cache
def _nobodys() -> str:
    return _hasher.hash(make_password())


def _fits(hash: str | None, password: str) -> bool:
    try:
        return _hasher.verify(hash or _nobodys(), password)
    except (VerificationError, InvalidHashError):
        return False
