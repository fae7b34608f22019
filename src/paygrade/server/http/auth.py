"""Who may ask: the holder of the admin key, shown as `Authorization: Bearer sk_…`.

Laws: keys are compared in constant time; two keys are none; without a valid key nothing of the request but its headers
is read.
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


def key_guard(admin_key: str) -> Guard:
    """A guard for the routes that need a key; the others are simply not given it."""
    expected = admin_key.encode()

    def require_key(connection: Connection, _: BaseRouteHandler) -> None:
        shown = bearer(connection.headers.getall("authorization", []))
        if not compare_digest(shown.encode(), expected):
            raise Refused("unauthenticated", "this key is not valid; use the server's PAYGRADE_ADMIN_KEY")

    return require_key


def bearer(headers: Sequence[str]) -> str:
    """The key in the Authorization header; Refused `unauthenticated` unless there is exactly one."""
    if len(headers) > 1:
        raise Refused("unauthenticated", "there is more than one Authorization header; send one")
    scheme, _, key = (headers[0] if headers else "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Refused("unauthenticated", "send a key as `Authorization: Bearer sk_…`")
    return key.strip()
