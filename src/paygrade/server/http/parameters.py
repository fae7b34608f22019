"""What an address says beside the route: keys in the path, and what is asked for behind the `?`.

Law: a key in a path is one we can keep before any route sees it.
"""

from collections.abc import Container
from typing import Annotated, Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from paygrade.server.http.bodies import read_key
from paygrade.values.text import PAGE_MAX

PageSize = Annotated[int, QueryParameter(ge=1, le=PAGE_MAX, description="Page size.")]
AtMost = Annotated[int, QueryParameter(ge=1, le=PAGE_MAX, description="At most so many.")]
After = Annotated[str, QueryParameter(description="Accounts with a larger key than this.")]


def flag(description: str) -> QueryParameter:
    """A switch, read by `read_flag`."""
    return QueryParameter(description=description, schema_extra={"type": "boolean", "default": False})


def instant(description: str, *, name: str | None = None) -> QueryParameter:
    """An instant, read by `read_instant`."""
    return QueryParameter(name=name, description=description, schema_extra={"format": "date-time"})


def text(description: str, **more: Any) -> QueryParameter:
    """A text, or whatever else needs no reading. Any: facets of a JSON Schema."""
    return QueryParameter(description=description, schema_extra=more)


def has_keys(path_parameters: Container[str]) -> bool:
    """Whether people chose what a path names: an account with all that is its own, or a reservation."""
    return "account" in path_parameters or "reservation" in path_parameters


def refuse_odd_keys(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard of every route: Refused `invalid_key`. Any: Litestar's own idea of handlers, users, keys and state."""
    if has_keys(connection.path_params):
        for name, key in connection.path_params.items():
            read_key(key, pointer="", noun=name.replace("_", "-"))
