"""The OpenAPI 3.1 document, assembled from the routes themselves.

Laws: a route that answers is in the document, and nothing else is; schemas are what msgspec says of the very
structs we read and write (OpenAPI 3.1 schemas are JSON Schema 2020-12, so nothing is translated); every problem a
route can answer with is named by its code.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, get_type_hints

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.routes import BaseRoute, HTTPRoute
from msgspec import Struct

from paygrade.server.http.problems import KINDS, MEDIA_TYPE, Problem

# Any in this file: a piece of a JSON document.
Document = dict[str, Any]

_REF = "#/components/schemas/{name}"

_PATH_PARAMETERS = {
    "account": "The account's key: case-sensitive, 1 to 200 printable characters, percent-encoded.",
    "feature": "A feature's (or credit's) key from the catalog.",
    "block": "The block's key: what suspends access, for example `fraud`.",
    "member": "The member's key.",
    "subscription": "The subscription's id in the foreign or manual billing.",
    "code": "A problem's code.",
    "sweep": "The sweep's id.",
    "top_up": "The top-up's id.",
    "reservation": "The reservation's id.",
    "grant": "The grant's id.",
    "quote": "The quote's id.",
    "change": "The plan change's id.",
    "plan": "The key of a plan or add-on.",
    "version": "The number of a published catalog.",
    "migration": "The migration's id.",
}


class Sent(Struct, frozen=True):
    """The body of a request: `kind` without the `closed` fields, plus `extra` ones. `kind` None: free content."""

    example: Any
    kind: type[Struct] | None = None
    closed: frozenset[str] = frozenset()
    extra: dict[str, Document] = {}
    media_types: tuple[str, ...] = ("application/json",)
    many: int | None = None
    """At most so many of them, in an array."""


class Query(Struct, frozen=True):
    """A query parameter."""

    name: str
    schema: Document
    description: str


class Described(Struct, frozen=True):
    """What the document tells of one operation beyond its signature."""

    summary: str
    tag: str
    example: Any = None
    sent: Sent | None = None
    query: tuple[Query, ...] = ()
    problems: tuple[str, ...] = ()
    needs_key: bool = True
    media_type: str = "application/json"


def describe(summary: str, tag: str, **more: Any) -> dict[str, Any]:
    """The `opt` of a route handler; the handler's docstring becomes the description. Any: fields of Told."""
    return {"described": Described(summary, tag, **more)}


def document(routes: Iterable[BaseRoute]) -> Document:
    """The whole document."""
    told = [_operation(route, handler) for route, handler in _handlers(routes)]
    kinds = [kind for _, _, _, kinds in told for kind in kinds]
    _, components = msgspec.json.schema_components([*kinds, Problem], ref_template=_REF)
    paths: Document = {}
    for path, method, operation, _ in sorted(told, key=lambda found: (found[0], found[1])):
        paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Paygrade",
            "version": version("paygrade"),
            "summary": "Keeps what customers can do in line with what they pay for.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "`sk_…`"}},
        },
    }


def _handlers(routes: Iterable[BaseRoute]) -> list[tuple[HTTPRoute, HTTPRouteHandler]]:
    return [
        (route, handler)
        for route in routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if "described" in handler.opt
    ]


def _operation(route: HTTPRoute, handler: HTTPRouteHandler) -> tuple[str, str, Document, list[Any]]:
    told: Described = handler.opt["described"]
    method = next(iter(handler.http_methods - {"OPTIONS"}))
    answer = get_type_hints(handler.fn, include_extras=True)["return"]
    kinds = [] if told.media_type != "application/json" or answer is type(None) else [answer]
    operation: Document = {
        "operationId": handler.handler_name,
        "summary": told.summary,
        "description": " ".join((handler.fn.__doc__ or told.summary).split()),
        "tags": [told.tag],
        "parameters": _parameters(route, told),
        "responses": {
            str(handler.status_code): _answer(told, kinds),
            **_problem_answers(told, _of_address(route, told)),
        },
        "security": [{"key": []}] if told.needs_key else [],
    }
    if told.sent is not None:
        operation["requestBody"] = _body(told.sent)
        if told.sent.kind is not None:
            kinds.append(told.sent.kind)
    return route.path_format, method, operation, kinds


def _parameters(route: HTTPRoute, told: Described) -> list[Document]:
    in_path = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_PARAMETERS[name],
            "schema": {"type": "string", "minLength": 1, "maxLength": 200},
        }
        for name in route.path_parameters
    ]
    in_query = [
        {"name": query.name, "in": "query", "required": False, "description": query.description, "schema": query.schema}
        for query in told.query
    ]
    return in_path + in_query


def _answer(told: Described, kinds: list[Any]) -> Document:
    if told.media_type != "application/json":
        return {"description": told.summary, "content": {told.media_type: {"schema": {"type": "string"}}}}
    if not kinds:
        return {"description": "Done; there is nothing to say."}
    content: Document = {"schema": schema_of(kinds[0])}
    if told.example is not None:
        content["example"] = told.example
    return {"description": told.summary, "content": {"application/json": content}}


def schema_of(kind: Any) -> Document:
    """The schema of a type, by reference where it is a struct. Any: a type expression."""
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REF)
    return schema


def _body(sent: Sent) -> Document:
    schema: Document = {} if sent.kind is None else _open_part(sent)
    if sent.many is not None:
        schema = {"type": "array", "items": schema, "maxItems": sent.many}
    return {
        "required": True,
        "content": {media_type: {"schema": schema, "example": sent.example} for media_type in sent.media_types},
    }


def _open_part(sent: Sent) -> Document:
    """The struct as a caller may send it: without what the address already says, and nothing unknown."""
    assert sent.kind is not None
    _, components = msgspec.json.schema_components([sent.kind], ref_template=_REF)
    whole = components[sent.kind.__name__]
    # The address says which kind of statement it is; what tells kinds apart in storage is not sent.
    closed = sent.closed | {sent.kind.__struct_config__.tag_field}
    properties = {name: part for name, part in whole["properties"].items() if name not in closed}
    required = [name for name in whole.get("required", []) if name not in closed]
    return {
        "type": "object",
        "properties": {**sent.extra, **properties},
        "required": [*sent.extra, *required],
        "additionalProperties": False,
    }


def _of_address(route: HTTPRoute, told: Described) -> list[str]:
    """What the address can do wrong, whatever the route."""
    return ["invalid_key"] * bool(route.path_parameters) + ["invalid_query"] * bool(told.query)


def _problem_answers(told: Described, more: list[str]) -> Document:
    codes = dict.fromkeys([*(("unauthenticated",) if told.needs_key else ()), *told.problems, *more, "internal"])
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(KINDS[code].status, []).append(code)
    return {str(status): _problem_answer(status, codes) for status, codes in sorted(by_status.items())}


def _problem_answer(status: int, codes: list[str]) -> Document:
    examples: Mapping[str, Document] = {
        code: {
            "value": {
                "type": f"/problems/{code}",
                "title": KINDS[code].title,
                "status": status,
                "detail": KINDS[code].title.lower(),
                "code": code,
                "instance": "4f1c2b9e8d7a4c3bb1f0a9e8d7c6b5a4",
            }
        }
        for code in codes
    }
    return {
        "description": "; ".join(f"`{code}`: {KINDS[code].title}" for code in codes),
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}, "examples": examples}},
    }
