"""The log-in provider, as this process knows it: what it says of itself, and the keys that it signs with.

Laws: what was read counts for `FRESH_S`; a token that no known key has signed has the keys read again, once in `ASK_S`
at most, so that a provider may change its keys at any time; every answer is bounded in size and time, and where
there is none, the log-in is refused as unavailable.
"""

import asyncio
import base64
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus

import msgspec
import structlog
from msgspec import Struct

from paygrade.server.process.client_address import Network
from paygrade.server.process.oidc import (
    KEYS_MAX,
    Attempt,
    Provider,
    Tokens,
    not_proven,
    parse_provider,
    signed,
    unavailable,
)
from paygrade.server.process.outbound import EVERYWHERE, Guard, Sender
from paygrade.server.process.settings import OidcSettings
from paygrade.values.errors import Refused, Unavailable

log = structlog.get_logger("paygrade.people")

FRESH_S, ASK_S, PATIENCE_S = 3600.0, 5.0, 5.0
AGAIN_S = 1.0
"""How long nobody else waits for a provider that did not answer."""
ANSWER_BYTES_MAX = 512 * 1024
Key = Mapping[str, Any]
"""A JSON Web Key. Any: of every kind."""


class _Keys(Struct, frozen=True):
    keys: tuple[dict[str, Any], ...]


class _Refusal(Struct, frozen=True):
    error: str = ""


class OidcProvider:
    """The provider that these settings name."""

    def __init__(self, settings: OidcSettings, *, networks: tuple[Network, ...] = EVERYWHERE) -> None:
        self.settings = settings
        # Whoever runs this server chose the provider, which may well be in a network of their own.
        self._sender = Sender(Guard(networks), patience_s=PATIENCE_S)
        self._lock = asyncio.Lock()
        self._provider: tuple[Provider, float] | None = None
        self._keys: tuple[tuple[Key, ...], float] | None = None
        self._failed: tuple[Unavailable, float] | None = None

    async def describe(self) -> Provider:
        """What the provider says of itself. Unavailable `oidc_unavailable`."""
        async with self._lock:
            known = self._provider
            if known is None or time.monotonic() - known[1] > FRESH_S:
                url = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
                known = parse_provider(await self._shared(url), self.settings.issuer), time.monotonic()
                self._provider = known
            return known[0]

    async def signed_claims(self, token: str) -> dict[str, Any]:
        """What an ID token says that the provider has signed. Any: JSON. Refused `log_in_refused`, Unavailable
        `oidc_unavailable`."""
        provider = await self.describe()
        async with self._lock:
            known = self._keys
            age_s = time.monotonic() - known[1] if known is not None else FRESH_S
            claims = signed(token, known[0]) if known is not None and age_s < FRESH_S else None
            if claims is None and (known is None or age_s >= ASK_S):
                keys = await self._read_keys(provider)
                self._keys = keys, time.monotonic()
                claims = signed(token, keys)
        if claims is None:
            raise not_proven("its ID token is not signed with a key that it publishes")
        return claims

    async def look(self) -> tuple[Provider, int]:
        """What it says of itself, and how many keys it publishes. Unavailable `oidc_unavailable`."""
        provider = await self.describe()
        return provider, len(await self._read_keys(provider))

    async def exchange(self, code: str, attempt: Attempt) -> Tokens:
        """The tokens of a code (Core, 3.1.3). Refused `log_in_refused`, Unavailable `oidc_unavailable`."""
        provider, settings = await self.describe(), self.settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": settings.redirect_url,
            "code_verifier": attempt.verifier,
        }
        headers = {"accept": "application/json"}
        if "client_secret_basic" in provider.token_endpoint_auth_methods_supported:
            # RFC 6749, 2.3.1: each part is written as in a form.
            pair = f"{quote_plus(settings.client_id)}:{quote_plus(settings.client_secret)}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": settings.client_id, "client_secret": settings.client_secret}
        async with self._sender.session() as session:
            told = await session.fetch(provider.token_endpoint, headers, form=form, bytes_max=ANSWER_BYTES_MAX)
        if told.status in (400, 401, 403):
            raise self._refused(told.answer)
        if not told.succeeded:
            raise unavailable(f"its token endpoint answers {told.error or told.status}")
        try:
            return msgspec.json.decode(told.answer, type=Tokens)
        except (msgspec.MsgspecError, RecursionError):
            raise unavailable("its token endpoint answers without tokens") from None

    async def user_info(self, tokens: Tokens, subject: str) -> dict[str, Any]:
        """What it says of this person besides (Core, 5.3); nothing where it has no place for that. Any: JSON."""
        provider = await self.describe()
        if provider.userinfo_endpoint is None or not tokens.access_token.isascii():
            return {}
        headers = {"authorization": f"Bearer {tokens.access_token}", "accept": "application/json"}
        async with self._sender.session() as session:
            told = await session.fetch(provider.userinfo_endpoint, headers, bytes_max=ANSWER_BYTES_MAX)
        if not told.succeeded:
            raise unavailable(f"its userinfo endpoint answers {told.error or told.status}")
        try:
            claims = msgspec.json.decode(told.answer, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError):
            raise unavailable("its userinfo endpoint answers without claims") from None
        if claims.get("sub") != subject:
            raise not_proven("its userinfo is about somebody else")
        return claims

    async def _read_keys(self, provider: Provider) -> tuple[Key, ...]:
        try:
            found = msgspec.json.decode(await self._shared(provider.jwks_uri), type=_Keys)
        except (msgspec.MsgspecError, RecursionError):
            raise unavailable("its keys (`jwks_uri`) can't be read") from None
        return found.keys[:KEYS_MAX]

    async def _shared(self, url: str) -> str:
        """What is there; where nothing comes, those who wait behind us hear the same."""
        if self._failed is not None and time.monotonic() - self._failed[1] < AGAIN_S:
            raise self._failed[0]
        try:
            return await self._get(url)
        except Unavailable as error:
            self._failed = error, time.monotonic()
            raise

    async def _get(self, url: str) -> str:
        async with self._sender.session() as session:
            told = await session.fetch(url, {"accept": "application/json"}, bytes_max=ANSWER_BYTES_MAX)
        if not told.succeeded:
            raise unavailable(f"{url} answers {told.error or told.status}")
        return told.answer

    def _refused(self, answer: str) -> Refused:
        """What is wrong is for the log: it may be our own secret, which is nobody's business."""
        try:
            error = msgspec.json.decode(answer, type=_Refusal).error
        except (msgspec.MsgspecError, RecursionError):
            error = ""
        log.warning("oidc_refused", error=error[:100])
        return Refused("log_in_refused", "the log-in provider does not accept this log-in; log in again")
