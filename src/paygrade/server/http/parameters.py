"""What an address says beside the route: keys in the path, and what is asked for behind the `?`.

Law: a text of an address is one we can keep before any route sees it.
"""

from collections.abc import Callable, Collection, Iterable
from functools import cache
from inspect import signature
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_type_hints

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from paygrade.server.http.bodies import TEXT_LENGTH_MAX, invalid, read_key
from paygrade.values.errors import Mistake
from paygrade.values.text import PAGE_MAX, QUANTITY_MAX, one_of

Word = TypeVar("Word", bound=str)

PageSize = Annotated[int, QueryParameter(ge=1, le=PAGE_MAX, description="Page size.")]
Before = Annotated[str | None, QueryParameter(description="The `next` of the page before.")]
Reason = Annotated[str, QueryParameter(description="Why.", max_length=TEXT_LENGTH_MAX)]
After = Annotated[str, QueryParameter(description="Show accounts after this key.")]


def flag(description: str) -> QueryParameter:
    """A switch, read by `read_flag`."""
    return QueryParameter(description=description, schema_extra={"type": "boolean", "default": False})


def instant(description: str, *, name: str | None = None) -> QueryParameter:
    """An instant, read by `read_instant`."""
    return QueryParameter(name=name, description=description, schema_extra={"format": "date-time"})


AsOf = Annotated[str | None, instant("Past or future; now if absent.")]
Believed = Annotated[str | None, flag("Of the past: as was known then, not as is known now.")]


def number(description: str, *, least: int = 0) -> QueryParameter:
    """An integer that JSON and the database can hold."""
    return QueryParameter(ge=least, le=QUANTITY_MAX, description=description)


def text(description: str, **more: Any) -> QueryParameter:
    """A text, or whatever else needs no reading. Any: facets of a JSON Schema."""
    return QueryParameter(description=description, schema_extra=more)


def choice(name: str, words: Collection[str], description: str) -> QueryParameter:
    """One of a few words, read by `read_choice`."""
    return QueryParameter(name=name, description=description, schema_extra={"enum": list(words)})


def read_choice(said: str | None, words: Iterable[Word], *, name: str) -> Word | None:
    """The word that was said, None for none. Refused `invalid_query`."""
    known = next((word for word in words if word == said), None)
    if known != said:
        mistake = Mistake("", f"`{name}` must be {one_of([*words])}, not `{said}`")
        raise invalid("invalid_query", "the query", [mistake])
    return known


class Query(NamedTuple):
    """What a route reads of the part behind the `?`. Any: its type, and what it is without being said."""

    name: str
    kind: Any
    parameter: QueryParameter
    default: Any


@cache
def queries(handler: Callable[..., object]) -> tuple[Query, ...]:
    """All that this function reads there."""
    hints, found = get_type_hints(handler, include_extras=True), []
    for name, parameter in signature(handler).parameters.items():
        kind, *more = get_args(hints[name]) or (hints[name],)
        found += [
            Query(each.name or name, kind, each, parameter.default) for each in more if isinstance(each, QueryParameter)
        ]
    return tuple(found)


def refuse_odd_texts(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """A guard of every route: Refused `invalid_key` or `invalid_query`. Any: Litestar's own idea of handlers, users,
    keys and state."""
    for name, key in connection.path_params.items():
        read_key(key, pointer="", noun=name.replace("_", "-"))
    if b"%00" in connection.scope["query_string"]:
        for query in queries(handler.fn):
            # PostgreSQL keeps no NUL in a text.
            if "\0" in str(connection.query_params.get(query.name, "")):
                mistake = Mistake("", f"`{query.name}` contains a NUL character; remove it")
                raise invalid("invalid_query", "the query", [mistake])
