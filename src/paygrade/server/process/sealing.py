"""Sealing what is kept for a caller with the caller's own secret, so that whoever reads the database cannot read it.

Law: what was sealed is read again with the same secret and for the same purpose, or not at all.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES = 12


def seal(text: bytes, *, secret: bytes, purpose: str) -> bytes:
    """Text that only `unseal` reads (AES-256-GCM, with a key made of the secret by HKDF)."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + _cipher(secret).encrypt(nonce, text, purpose.encode())


def unseal(sealed: bytes, *, secret: bytes, purpose: str) -> bytes | None:
    """What was sealed; None: with another secret, or for another purpose."""
    try:
        return _cipher(secret).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], purpose.encode())
    except InvalidTag:
        return None


def _cipher(secret: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=b"paygrade sealed answer").derive(secret))
