"""Logging in with an OpenID Connect provider: where a browser is sent, and where it comes back.

Laws: a browser only comes back to a log-in that it began itself, as a cookie of its own says; it is sent to the
provider, or to an address of this server, and nowhere else; whatever comes of it, that log-in is over.
"""

import re
from datetime import datetime
from typing import Annotated

from litestar import Response, get
from litestar.params import QueryParameter
from msgspec import Struct

from paygrade.server.http.auth import session_cookie
from paygrade.server.http.bodies import invalid
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.openapi import describe
from paygrade.server.http.parameters import text
from paygrade.server.http.problems import TOLD, request_id
from paygrade.server.http.routes.people import DATABASE, limited
from paygrade.server.operations import oidc
from paygrade.server.process.acting import SYSTEM, Acting, set_acting
from paygrade.server.process.oidc import URL_MAX, Attempt, address, begin, read_attempt, written
from paygrade.server.state.oidc_provider import OidcProvider
from paygrade.values.errors import Mistake, Refused

LASTS_S = 600
"""How long a browser may be at the provider."""
HOME = "/v1/me"
"""Where a log-in ends that says no other place."""
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]*")
_CODE = re.compile(r"[ -~]{1,2000}")
_ERROR = re.compile(r"[a-z_]{1,64}")


class LogInWays(Struct, frozen=True):
    """How people log in. `provider`: the one besides local accounts; None: there is none."""

    provider: str | None
    url: str | None


@get(
    "/v1/login",
    opt=describe(
        "people", scope=None, example={"provider": "Example SSO", "url": "/v1/login/oidc"}, kind=LogInWays
    ),
)  # fmt: skip
async def log_in_ways(context: InContext) -> LogInWays:
    """How can people log in?

    What a log-in page offers besides an e-mail address and a password.
    """
    name = context.oidc.settings.name if context.oidc is not None else None
    return LogInWays(name, "/v1/login/oidc" if name is not None else None)


@get(
    "/v1/login/oidc",
    status_code=302,
    opt=describe("people", scope=None, kind=type(None), problems=("clock_unavailable",)),
)
async def begin_oidc(
    request: HttpRequest,
    context: InContext,
    next: Annotated[str, text("A path of this server to go to afterwards.")] = HOME,
) -> Response[None]:
    """Log in with the provider.

    Open it in a browser: it leads to the log-in provider, and from there back to `next`. Refused `invalid_query`,
    `rate_limited`, `oidc_not_configured`. Unavailable `oidc_unavailable`.
    """
    provider = _provider(context)
    if not is_local(next):
        mistake = Mistake("", "`next` is no path of this server; write for example `/v1/me`")
        raise invalid("invalid_query", "the query", [mistake])
    _act(request)
    with limited(request, context):
        described = await provider.describe()
    attempt = begin(next)
    request.scope["state"][TOLD] = [_cookie(provider, written(attempt), LASTS_S)]
    return _to(address(described, provider.settings, attempt))


@get(
    "/v1/login/oidc/callback",
    status_code=302,
    opt=describe("people", oidc.log_in, scope=None, kind=type(None), problems=DATABASE),
)
async def end_oidc(
    request: HttpRequest,
    context: InContext,
    code: Annotated[str, text("What the provider gave the browser for us.")] = "",
    begun: Annotated[str, QueryParameter(name="state", description="What the browser was sent there with.")] = "",
    iss: Annotated[str | None, text("The provider's issuer (RFC 9207).")] = None,
    error: Annotated[str, text("Why the provider lets nobody in.")] = "",
) -> Response[None]:
    provider, at = _provider(context), context.clock.now()
    request.scope["state"][TOLD] = [_cookie(provider, "", 0)]
    _act(request)
    attempt = _attempt(request, provider, begun)
    with limited(request, context):
        await _require_issuer(provider, iss)
        if error:
            why = f": `{error}`" if _ERROR.fullmatch(error) else ""
            raise Refused("log_in_refused", f"the log-in provider let nobody in{why}; log in again")
        if not _CODE.fullmatch(code):
            raise Refused("log_in_refused", "the log-in provider gave no code; log in again")
        session = await oidc.log_in(context.store, provider, code=code, attempt=attempt, at=at)
    request.scope["state"][TOLD].append(_session(provider, session.secret, session.ends_at, at))
    return _to(attempt.next)


def _provider(context: Context) -> OidcProvider:
    if context.oidc is None:
        raise Refused("oidc_not_configured", "people log in here with local accounts; set PAYGRADE_OIDC_ISSUER to "
                          "have them log in with a provider")  # fmt: skip
    return context.oidc


def _attempt(request: HttpRequest, provider: OidcProvider, state: str) -> Attempt:
    """The log-in that this browser has begun, and no other. Refused `log_in_refused`."""
    attempt = read_attempt(request.cookies.get(_name(provider), ""))
    if attempt is None or attempt.state != state or not is_local(attempt.next):
        raise Refused("log_in_refused", "this log-in has ended, or did not begin in this browser; log in again")
    return attempt


async def _require_issuer(provider: OidcProvider, iss: str | None) -> None:
    """Refused `log_in_refused` where another provider than ours answers (RFC 9207, 2.4)."""
    expected = (await provider.describe()).authorization_response_iss_parameter_supported
    if (iss is None and expected) or iss not in (None, provider.settings.issuer):
        raise Refused("log_in_refused", "this answer is of another log-in provider; log in again")


def is_local(next: str) -> bool:
    """Whether a browser stays here: it takes `//host` and `/\\host` for another server."""
    return len(next) <= URL_MAX and _LOCAL.fullmatch(next) is not None


def _act(request: HttpRequest) -> None:
    host = request.client.host if request.client is not None else None
    set_acting(Acting(SYSTEM.actor, host, request_id(request)))


def _name(provider: OidcProvider) -> str:
    """With this prefix, no other host of the same site can set the cookie (RFC 6265bis, 4.1.3)."""
    return "__Host-paygrade_oidc" if provider.settings.is_secure else "paygrade_oidc"


def _cookie(provider: OidcProvider, value: str, seconds: int) -> tuple[bytes, bytes]:
    secure = "; Secure" if provider.settings.is_secure else ""
    cookie = f"{_name(provider)}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    return b"set-cookie", cookie.encode()


def _session(provider: OidcProvider, secret: str, ends_at: datetime, at: datetime) -> tuple[bytes, bytes]:
    return b"set-cookie", session_cookie(secret, ends_at - at, secure=provider.settings.is_secure).encode()


def _to(url: str) -> Response[None]:
    headers = {"location": url, "cache-control": "no-store", "referrer-policy": "no-referrer"}
    return Response(None, status_code=302, headers=headers)
