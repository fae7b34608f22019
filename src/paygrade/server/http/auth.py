"""Who may ask: the holder of the admin key, shown as `Authorization: Bearer sk_…`, and of an account token what its
scopes open.

Laws: keys are compared in constant time; two keys are none; without a valid key nothing of the request but its head is
read. A route may name a header of its own for the key, which goes first (`key_header`): what a gateway passes on as
`Authorization` is its visitors'. A token opens no route that does not say so (`open_to`), and there its own account
alone (`allowed_member`). In an address only a token counts that opens nothing but streams: addresses are written down
on the way.
"""

from collections.abc import Awaitable, Callable, Sequence
from hmac import compare_digest
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from paygrade.server.http.context import Context, HttpRequest
from paygrade.server.process import account_tokens
from paygrade.server.process.account_tokens import AccountToken, Scope
from paygrade.server.process.acting import Acting, Actor, set_acting
from paygrade.values.errors import Refused

Connection = ASGIConnection[Any, Any, Any, Any]
"""Any: Litestar's own idea of handlers, users, keys and state, none of which is used here."""
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]
KEY_HEADER = "key_header"
"""The `opt` of a route handler that names its own header."""
SCOPES, TOKEN_PARAMETER = "scopes", "token_parameter"
"""The `opt` of one that account tokens open; and of one that takes the token in its address, too: the parameter."""
_TOKEN = "account_token"
_ADMIN = Actor("key", "admin", "the server's admin key")


def open_to(*scopes: Scope, parameter: str | None = None) -> dict[str, Any]:
    """The `opt` of a route that a token with any of these scopes opens. Any: of every kind."""
    return {SCOPES: frozenset(scopes), TOKEN_PARAMETER: parameter}


def key_guard(admin_key: str, context: Context) -> Guard:
    """A guard for the routes that need a key; the others are simply not given it."""
    expected = admin_key.encode()

    async def require_key(connection: Connection, handler: BaseRouteHandler) -> None:
        own, parameter = handler.opt.get(KEY_HEADER), handler.opt.get(TOKEN_PARAMETER)
        keys = connection.headers.getall(own, []) if own is not None else []
        headers = connection.headers.getall("authorization", [])
        in_address = connection.query_params.getall(parameter, []) if parameter and not keys and not headers else []
        if in_address:
            shown = _only(in_address, f"`{parameter}`")
        else:
            shown = _only(keys, f"{own} header") if keys else bearer(headers)
        if compare_digest(shown.encode(), expected) and not in_address:
            set_acting(_acting(connection, _ADMIN))
            return
        if not account_tokens.looks_like_one(shown):
            raise Refused("unauthenticated", "this key is not valid; use the server's PAYGRADE_ADMIN_KEY")
        token = await _verified(shown, context)
        _require_scope(token, handler, in_address=bool(in_address))
        if connection.path_params.get("account", token.account) != token.account:
            raise _of_another_account()
        connection.scope["state"][_TOKEN] = token
        set_acting(_acting(connection, Actor("account_token", token.account, token.member or "")))

    return require_key


def token_of(request: HttpRequest) -> AccountToken | None:
    """The account token that was shown; None: it was the admin key."""
    token: AccountToken | None = request.scope["state"].get(_TOKEN)
    return token


def allowed_member(request: HttpRequest, account: str, member: str | None) -> str | None:
    """For which member this account may be asked about: for whom it is asked, or for whom the token is. Refused
    `insufficient_scope`."""
    token = token_of(request)
    if token is None:
        return member
    if token.account != account:
        raise _of_another_account()
    if token.member is not None and member not in (None, token.member):
        raise Refused("insufficient_scope", "this token is for one member; ask for that one, or for none")
    return token.member or member


def bearer(headers: Sequence[str]) -> str:
    """The key in the Authorization header; Refused `unauthenticated` unless there is exactly one."""
    scheme, _, key = _only(headers or [""], "Authorization header").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Refused("unauthenticated", "send a key as `Authorization: Bearer sk_…`")
    return key.strip()


def _acting(connection: Connection, actor: Actor) -> Acting:
    client = connection.client
    return Acting(actor, client.host if client is not None else None, connection.scope["state"].get("request_id"))


async def _verified(text: str, context: Context) -> AccountToken:
    key = await context.signing_keys.named(context.store, account_tokens.key_named_by(text))
    return account_tokens.verify(text, key, context.clock.now())


def _require_scope(token: AccountToken, handler: BaseRouteHandler, *, in_address: bool) -> None:
    opening: frozenset[Scope] = handler.opt.get(SCOPES, frozenset())
    if not opening:
        raise Refused("insufficient_scope", "account tokens don't open this; use the server's key")
    if not opening.intersection(token.scopes):
        needed = " or ".join(f"`{scope}`" for scope in sorted(opening))
        raise Refused("insufficient_scope", f"this token lacks the scope {needed}")
    if in_address and token.scopes != ("stream:read",):
        raise Refused("insufficient_scope", "only a token for `stream:read` alone may stand in an address; "
                      "send this one as `Authorization: Bearer …`")  # fmt: skip


def _of_another_account() -> Refused:
    return Refused("insufficient_scope", "this token is for another account")


def _only(shown: Sequence[str], what: str) -> str:
    if len(shown) > 1:
        raise Refused("unauthenticated", f"there is more than one {what}; send one")
    return shown[0]
