"""OpenID Connect, as far as it is values: what a provider says of itself, where a browser is sent, and what an ID token
proves. Source: https://openid.net/specs/openid-connect-core-1_0.html (below: Core).

Laws: a token counts if it is signed with a published, asymmetric key of the issuer's, for us, now, and for the very
log-in that this browser began; what is not said in it is not believed. Signatures are PyJWT's.
"""

import base64
import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
import msgspec
from msgspec import Struct

from paygrade.server.process.scopes import ROLES, Role
from paygrade.server.process.settings import OidcSettings
from paygrade.values.errors import Refused, Unavailable

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""What a token may be signed with. None of them has a secret that is a public key, too (RFC 8725, 3.1)."""
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
LEEWAY_S = 60
"""How far the provider's clock and ours may be apart."""
TEXT_MAX, URL_MAX, KEYS_MAX, GROUPS_MAX = 255, 2000, 100, 10_000


class Provider(Struct, frozen=True):
    """What a provider says of itself (https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    response_types_supported: tuple[str, ...] = ("code",)
    code_challenge_methods_supported: tuple[str, ...] | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Attempt(Struct, frozen=True):
    """A log-in that a browser has begun, as its cookie holds it. `next`: where it goes afterwards."""

    state: str
    nonce: str
    verifier: str
    next: str


class Tokens(Struct, frozen=True):
    """What a code is exchanged for."""

    id_token: str
    access_token: str = ""


class Identity(Struct, frozen=True):
    """Who logs in, by the provider's word. `groups` None: it said nothing of them."""

    issuer: str
    subject: str
    name: str
    email: str
    groups: frozenset[str] | None


class _Claims(Struct, frozen=True):
    iss: str
    sub: str
    aud: str | tuple[str, ...]
    exp: float
    iat: float
    nonce: str
    nbf: float = 0.0
    azp: str | None = None
    at_hash: str | None = None


def parse_provider(text: str, issuer: str) -> Provider:
    """Read a discovery document. Unavailable `oidc_unavailable` says what does not fit."""
    try:
        found = msgspec.json.decode(text, type=Provider)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise unavailable(f"its discovery document can't be used: {error}") from None
    if found.issuer != issuer:
        raise unavailable(f"its discovery document is of the issuer `{found.issuer[:URL_MAX]}`; set "
                          "PAYGRADE_OIDC_ISSUER exactly as the provider writes it")  # fmt: skip
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
        url = getattr(found, name)
        if url is not None and (urlsplit(url).scheme not in _schemes(issuer) or not urlsplit(url).netloc):
            raise unavailable(f"its `{name}` is no https address")
    if "code" not in found.response_types_supported:
        raise unavailable("it does not offer the authorization code flow (`response_types_supported`)")
    if found.code_challenge_methods_supported is not None and "S256" not in found.code_challenge_methods_supported:
        raise unavailable("it does not offer PKCE with S256 (`code_challenge_methods_supported`)")
    if not {"client_secret_basic", "client_secret_post"} & set(found.token_endpoint_auth_methods_supported):
        raise unavailable("it takes no client secret (`token_endpoint_auth_methods_supported`)")
    return found


def _schemes(issuer: str) -> tuple[str, ...]:
    return ("https", "http") if issuer.startswith("http:") else ("https",)


def unavailable(what: str) -> Unavailable:
    return Unavailable("oidc_unavailable", f"the log-in provider can't be used now: {what}")


def begin(next: str) -> Attempt:
    """Begin to log in, in one browser."""
    return Attempt(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), next)


def written(attempt: Attempt) -> str:
    """What the cookie holds."""
    return base64.urlsafe_b64encode(msgspec.json.encode(attempt)).rstrip(b"=").decode()


def read_attempt(text: str) -> Attempt | None:
    """What a cookie says; None: nothing of ours."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Attempt)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return None


def address(provider: Provider, settings: OidcSettings, attempt: Attempt) -> str:
    """Where the browser is sent (Core, 3.1.2.1; RFC 7636, 4.3)."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).rstrip(b"=").decode()
    query = urlencode({
        "response_type": "code",
        "client_id": settings.client_id,
        "redirect_uri": settings.redirect_url,
        "scope": settings.scopes,
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    })  # fmt: skip
    parted = "&" if "?" in provider.authorization_endpoint else "?"
    return f"{provider.authorization_endpoint}{parted}{query}"


def signed(token: str, keys: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The claims of an ID token that one of these keys has signed; None: none of them has. Any: JSON, as a JSON Web Key
    is. Refused `log_in_refused` where no key could."""
    head = _head(token)
    algorithm, kid = head.get("alg"), head.get("kid")
    if algorithm not in ALGORITHMS:
        raise not_proven(f"its ID token is signed with `{str(algorithm)[:20]}`")
    # All that a token says is looked at in `proven`: PyJWT knows the system's clock only.
    unlooked: Any = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
    for key in keys:
        fits = key.get("kty") == _KEY_TYPES[algorithm[:2]] and key.get("use", "sig") == "sig"
        if not fits or key.get("alg", algorithm) != algorithm or (kid is not None and key.get("kid") != kid):
            continue
        try:
            return jwt.decode(token, jwt.PyJWK(dict(key), algorithm=algorithm), [algorithm], options=unlooked)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            continue
    return None


def proven(
    told: dict[str, Any], tokens: Tokens, *, settings: OidcSettings, nonce: str, at: datetime
) -> dict[str, Any]:  # fmt: skip
    """These claims, if they prove who has logged in (Core, 3.1.3.7). Any: JSON. Refused `log_in_refused`."""
    try:
        claims = msgspec.convert(told, _Claims)
    except msgspec.ValidationError as error:
        raise not_proven(f"its ID token lacks something: {error}") from None
    audience = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
    now = at.timestamp()
    fits = {
        "is of another issuer": claims.iss == settings.issuer,
        "is for another client": settings.client_id in audience and claims.azp in _parties(settings, audience),
        "has expired": now < claims.exp + LEEWAY_S,
        "is of the future": max(claims.iat, claims.nbf) <= now + LEEWAY_S,
        "is of another log-in": claims.nonce == nonce,
        "is of another access token": claims.at_hash in (None, _at_hash(tokens)),
        "names nobody": 0 < len(claims.sub) <= TEXT_MAX and claims.sub.isprintable(),
    }
    for wrong, right in fits.items():
        if not right:
            raise not_proven(f"its ID token {wrong}")
    return told


def _parties(settings: OidcSettings, audience: Sequence[str]) -> tuple[str | None, ...]:
    """Who a token may have been issued to: with several audiences, it has to say us."""
    return (None, settings.client_id) if len(audience) == 1 else (settings.client_id,)


def _at_hash(tokens: Tokens) -> str:
    """Core, 3.1.3.6: half of the access token's hash, by the algorithm of the signature."""
    algorithm = _head(tokens.id_token)["alg"]
    size = algorithm[2:] if algorithm != "EdDSA" else "512"
    found = hashlib.new(f"sha{size}", tokens.access_token.encode(errors="replace")).digest()
    return base64.urlsafe_b64encode(found[: len(found) // 2]).rstrip(b"=").decode()


def _head(token: str) -> dict[str, Any]:
    try:
        return jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise not_proven("its ID token can't be read") from None


def identity(claims: Mapping[str, Any], settings: OidcSettings) -> Identity:
    """Who these claims are about. Any: JSON."""
    named = (claims.get("name"), claims.get("preferred_username"), claims.get("email"), claims["sub"])
    return Identity(
        issuer=settings.issuer,
        subject=claims["sub"],
        name=next(text for text in map(_text, named) if text),
        email=_text(claims.get("email")),
        groups=_groups(claims, settings.roles_claim),
    )


def role_of(groups: Iterable[str], settings: OidcSettings) -> Role | None:
    """The most powerful role that one of these groups has; None: none has any."""
    had = {settings.roles[group] for group in groups if group in settings.roles}
    return next((role for role in reversed(tuple(ROLES)) if role in had), None)


def _groups(claims: Mapping[str, Any], name: str) -> frozenset[str] | None:
    """What stands in a claim, or in one inside of others (`realm_access.roles`); its own name may have dots, too."""
    found: Any = claims
    for part in [name] if name in claims else name.split("."):
        found = found.get(part) if isinstance(found, dict) or found is claims else None
    if isinstance(found, str):
        return frozenset([found])
    if not isinstance(found, list):
        return None
    return frozenset(each for each in found[:GROUPS_MAX] if isinstance(each, str))


def _text(said: object) -> str:
    """A text to show, as PostgreSQL keeps it."""
    if not isinstance(said, str):
        return ""
    return "".join(letter for letter in said if letter.isprintable()).encode(errors="ignore").decode().strip()[:200]


def not_proven(why: str) -> Refused:
    return Refused("log_in_refused", f"the log-in provider's answer proves nothing: {why}; log in again")
