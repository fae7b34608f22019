"""Account tokens: JWTs (RFC 7519) that let a page read what one account may do, signed with ES256.

Laws: only ES256 is believed, and only by a key of ours that the token names; issuer, audience and end are checked, the
end by the clock it is given; a private key is shown nowhere.
"""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from msgspec import Struct

from paygrade.server.process.scopes import PublicScope
from paygrade.values.errors import Refused

ISSUER = AUDIENCE = "paygrade"
ALGORITHM = "ES256"
TTL_MAX_S = 24 * 3600
TTL_MAX = timedelta(seconds=TTL_MAX_S)


class AccountToken(Struct, frozen=True, kw_only=True):
    """What a token says: its holder may do this for one account, and for one member where it names one."""

    account: str
    member: str | None = None
    scopes: tuple[PublicScope, ...]
    issued_at: datetime
    expires_at: datetime


class SigningKey(Struct, frozen=True):
    """A key of ours. It verifies until `verifies_until`; None: it still signs, or will."""

    kid: str
    private: ec.EllipticCurvePrivateKey
    signs_from: datetime
    verifies_until: datetime | None = None


class _Claims(Struct, frozen=True):
    sub: str
    scopes: tuple[PublicScope, ...]
    iat: int
    exp: int
    member: str | None = None


def make_private_key() -> tuple[str, str]:
    """A new private key in PEM, and its name: the thumbprint of its public part (RFC 7638)."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = _public_jwk(private)
    told = msgspec.json.encode({name: public[name] for name in ("crv", "kty", "x", "y")})
    return pem.decode(), base64.urlsafe_b64encode(hashlib.sha256(told).digest()).rstrip(b"=").decode()


def read_private_key(pem: str) -> ec.EllipticCurvePrivateKey:
    private = serialization.load_pem_private_key(pem.encode(), password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return private


def jwk(key: SigningKey) -> dict[str, str]:
    """The public part, as in a JSON Web Key Set (RFC 7517)."""
    return {**_public_jwk(key.private), "kid": key.kid, "use": "sig", "alg": ALGORITHM}


def sign(token: AccountToken, key: SigningKey) -> str:
    claims: dict[str, Any] = {  # Any: as JSON has it
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": token.account,
        "scopes": token.scopes,
        "iat": int(token.issued_at.timestamp()),
        "exp": int(token.expires_at.timestamp()),
    }
    if token.member is not None:
        claims["member"] = token.member
    return jwt.encode(claims, key.private, ALGORITHM, {"kid": key.kid})


def looks_like_one(text: str) -> bool:
    """Whether this is a token rather than a key: three parts with dots between."""
    return text.count(".") == 2


def key_named_by(text: str) -> str:
    """The `kid` of a token that nobody has verified yet. Refused `unauthenticated`."""
    try:
        kid = jwt.get_unverified_header(text).get("kid")
    except jwt.InvalidTokenError:
        raise _not_valid() from None
    if not isinstance(kid, str):
        raise _not_valid()
    return kid


def verify(text: str, key: SigningKey | None, at: datetime) -> AccountToken:
    """What a token says that this key has signed; None: we have none of the name. Refused `unauthenticated`."""
    if key is None or (key.verifies_until is not None and at >= key.verifies_until):
        raise _not_valid()
    try:
        # The end is looked at below: PyJWT knows the system's clock only.
        told = jwt.decode(
            text, key.private.public_key(), [ALGORITHM], audience=AUDIENCE, issuer=ISSUER,
            options={"require": ["iss", "aud", "sub", "iat", "exp"], "verify_exp": False, "verify_iat": False,
                     "verify_nbf": False},
        )  # fmt: skip
        claims = msgspec.convert(told, _Claims)
        issued_at, expires_at = (datetime.fromtimestamp(stated, UTC) for stated in (claims.iat, claims.exp))
    except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError, OverflowError, OSError):
        raise _not_valid() from None
    if at >= expires_at:
        raise Refused("unauthenticated", f"this token ended at {expires_at:%Y-%m-%dT%H:%M:%SZ}; get another one")
    return AccountToken(account=claims.sub, member=claims.member, scopes=claims.scopes, issued_at=issued_at,
                        expires_at=expires_at)  # fmt: skip


def _public_jwk(private: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    return ECAlgorithm.to_jwk(private.public_key(), as_dict=True)


def _not_valid() -> Refused:
    return Refused("unauthenticated", "this token is not valid; get another one")
