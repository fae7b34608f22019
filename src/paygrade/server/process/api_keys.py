"""API keys as texts: `sk_live_…`, `sk_test_…` for servers, `pk_live_…`, `pk_test_…` for pages.

Laws: a key is 30 random letters and digits (178 bits) behind a prefix that says what it is; the six after them are a
checksum, so that a scanner finds a key that leaked without asking, and one that was not copied whole is told at once.
Of a key only its SHA-256 is kept: what is random is guessed no sooner for a slow hash.
"""

import re
import secrets
from binascii import crc32
from hashlib import sha256
from typing import Literal

Mode = Literal["live", "test"]
"""Whether a key is of a deployment that takes real money."""

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM, _CHECKSUM, _HINT = 30, 6, 4
_FORM = re.compile(rf"([sp]k_(?:live|test)_[0-9A-Za-z]{{{_RANDOM}}})([0-9A-Za-z]{{{_CHECKSUM}}})")


def make_secret(*, publishable: bool, mode: Mode) -> str:
    """A new key."""
    text = f"{'pk' if publishable else 'sk'}_{mode}_" + "".join(secrets.choice(_LETTERS) for _ in range(_RANDOM))
    return text + _checksum(text)


def is_well_formed(text: str) -> bool:
    """Whether it may be a key that was made here: its checksum is right."""
    found = _FORM.fullmatch(text)
    return found is not None and _checksum(found[1]) == found[2]


def digest(text: str | bytes) -> bytes:
    """What is kept of it."""
    return sha256(text.encode() if isinstance(text, str) else text).digest()


def hint(text: str) -> str:
    """What people may see of it later: which kind it is, and its end."""
    return f"{text[: len('sk_live_')]}…{text[-_HINT:]}"


def _checksum(text: str) -> str:
    number, letters = crc32(text.encode()), ""
    for _ in range(_CHECKSUM):
        number, place = divmod(number, len(_LETTERS))
        letters = _LETTERS[place] + letters
    return letters
