"""Who may ask: the holder of the admin key, shown as `Authorization: Bearer sk_…`.

Laws: keys are compared in constant time; two keys are none; without a valid key nothing of the request but its headers
is read. A route may name a header of its own for the key, which goes first (`key_header`): what a gateway passes on as
`Authorization` is its visitors'.
"""

from collections.abc import Callable, Sequence
from hmac import compare_digest
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from paygrade.values.errors import Refused

Connection = ASGIConnection[Any, Any, Any, Any]
"""Any: Litestar's own idea of handlers, users, keys and state, none of which is used here."""
Guard = Callable[[Connection, BaseRouteHandler], None]
KEY_HEADER = "key_header"
"""The `opt` of a route handler that names its own header."""


def key_guard(admin_key: str) -> Guard:
    """A guard for the routes that need a key; the others are simply not given it."""
    expected = admin_key.encode()

    def require_key(connection: Connection, handler: BaseRouteHandler) -> None:
        own = handler.opt.get(KEY_HEADER)
        keys = connection.headers.getall(own, []) if own is not None else []
        shown = _only(keys, own) if keys else bearer(connection.headers.getall("authorization", []))
        if not compare_digest(shown.encode(), expected):
            raise Refused("unauthenticated", "this key is not valid; use the server's PAYGRADE_ADMIN_KEY")

    return require_key


def bearer(headers: Sequence[str]) -> str:
    """The key in the Authorization header; Refused `unauthenticated` unless there is exactly one."""
    scheme, _, key = _only(headers or [""], "Authorization").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Refused("unauthenticated", "send a key as `Authorization: Bearer sk_…`")
    return key.strip()


def _only(headers: Sequence[str], name: str | None) -> str:
    if len(headers) > 1:
        raise Refused("unauthenticated", f"there is more than one {name} header; send one")
    return headers[0]
