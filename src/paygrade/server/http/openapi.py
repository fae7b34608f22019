"""The OpenAPI 3.1 document, assembled from the routes themselves.

Laws: a route that answers is in the document, and nothing else is; schemas are what msgspec says of the very
structs we read and write (OpenAPI 3.1 schemas are JSON Schema 2020-12, so nothing is translated); every problem a
route can answer with is named by its code.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import metadata
from inspect import getdoc
from typing import Any, Literal, get_args, get_type_hints

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from litestar.routes import BaseRoute, HTTPRoute
from msgspec import Struct

from paygrade.server.http.auth import FOR_PAGES, SESSION
from paygrade.server.http.parameters import queries
from paygrade.server.http.problems import KINDS, MEDIA_TYPE, Problem
from paygrade.server.http.version import CURRENT, VERSIONS, older_of
from paygrade.server.operations.approvals import ApprovalView
from paygrade.server.process.scopes import Scope
from paygrade.server.process.second_person import MoneyKind
from paygrade.values.text import KEY_LENGTH_MAX

# Any in this file: a piece of a JSON document.
Document = dict[str, Any]

Operation = Callable[..., object]

_REF = "#/components/schemas/{name}"
_REFUSALS = re.compile(r"(?:Refused|Unavailable) (`[^.]*)")
_CODE = re.compile(r"`(\w+)`")

_OF_KEYS = ("idempotency_key_in_use", "idempotency_key_reused", "answer_not_kept")
_KEY_MEANING = (
    "Sent again with the same key within 24 hours, the request is not done again, and its answer is the same."
)
_VERSION: Document = {
    "name": "Paygrade-Version",
    "in": "header",
    "required": False,
    "description": "The version of the API to answer in. Pin the one you build on.",
    "schema": {"type": "string", "enum": list(VERSIONS), "default": CURRENT},
}
_PATH_PARAMETERS = {
    "account": "The account's key: case-sensitive, 1 to 200 printable characters, percent-encoded.",
    "feature": "A feature's (or credit's) key from the catalog.",
    "block": "The block's key: what suspends access, for example `fraud`.",
    "member": "The member's key.",
    "subscription": "The subscription's id in the foreign or manual billing.",
    "contract": "The contract's id: yours, such as `acme-2026`.",
    "invoice": "The invoice's id: its number.",
    "source": "The name of the billing system that states it: small letters, digits and `_`, such as `recurly`.",
    "session": "The id of a link to the customers' pages.",
    "approval": "The approval's id.",
    "api_key": "The API key's id.",
    "person": "The person's id.",
    "code": "A problem's code.",
    "key": "A flag's key: a feature's, or `<feature>.limit`, `.used` or `.remaining`.",
    "sweep": "The sweep's id.",
    "top_up": "The top-up's id.",
    "reservation": "The reservation's id.",
    "grant": "The grant's id.",
    "quote": "The quote's id.",
    "decision": "The logged decision's id.",
    "change": "The plan change's id.",
    "plan": "The key of a plan or add-on.",
    "version": "The number of a published catalog.",
    "migration": "The migration's id.",
    "endpoint": "The webhook endpoint's id.",
}


Repeating = Literal["whole", "safe", "reads"]
"""Of a POST that is sent again. `whole`: all it does is one transaction of its own, which its answer is saved in;
`safe`: it does nothing that was done already, since what it does has an id or is no more when repeated than when done;
`reads`: it changes nothing."""


class Sent(Struct, frozen=True):
    """The body of a request: `kind` without the `closed` fields, plus `extra` ones. `kind` None: free content."""

    example: Any
    kind: type[Struct] | None = None
    closed: frozenset[str] = frozenset()
    extra: dict[str, Document] = {}
    media_types: tuple[str, ...] = ("application/json",)
    many: int | None = None
    """At most so many of them, in an array."""


class Described(Struct, frozen=True):
    """What the document tells of a route beyond its signature.

    Texts and `problems` come from the docstring of the `operation` it calls (None: the handler's own); `problems` are
    those that only HTTP knows of. `kind` is what the body of the answer is, where the handler returns a whole response,
    and `others` are its further answers, by status. `headers` are those of the request it reads. `repeating` says what
    a POST does when it is sent again, and so how its Idempotency-Key is kept (ADR 26).
    """

    tag: str
    operation: Operation | None
    scope: Scope | None
    """What whoever calls it must have; None: it is open to everyone."""
    example: Any = None
    sent: Sent | None = None
    problems: tuple[str, ...] = ()
    media_type: str = "application/json"
    also: tuple[str, ...] = ()
    """Further media types that the answer has when it is asked for them."""
    kind: type[Struct] | None = None
    others: dict[str, str] = {}
    headers: dict[str, str] = {}
    repeating: Repeating = "whole"
    second_person: MoneyKind | None = None
    """What it moves, so that a server may have somebody else approve it first."""


_WAITS: Document = {
    "202": {
        "description": "It waits for a second person, where the server says so (`PAYGRADE_SECOND_PERSON`).",
        "content": {"application/json": {"schema": {"$ref": _REF.format(name="ApprovalView")}}},
    }
}


class Text(Struct, frozen=True):
    """What a docstring says to those who call over HTTP."""

    summary: str
    description: str
    problems: tuple[str, ...]


def describe(tag: str, operation: Operation | None = None, *, scope: Scope | None, **more: Any) -> dict[str, Any]:
    """The `opt` of a route handler. Any: fields of Described."""
    return {"described": Described(tag, operation, scope, **more)}


def text_of(operation: Operation) -> Text:
    """Read a docstring: the first paragraph sums up, the second describes as far as it comes to what is refused. What
    follows is for who calls it from Python, but for the codes of what is `Refused` or `Unavailable`."""
    summary, *rest = [" ".join(part.split()) for part in (getdoc(operation) or "").split("\n\n")]
    codes = [code for refusal in _REFUSALS.findall(" ".join(rest)) for code in _CODE.findall(refusal)]
    description = _REFUSALS.split(rest[0])[0].strip() if rest else summary
    return Text(summary.removesuffix("."), description, tuple(codes))


@cache
def document(routes: tuple[BaseRoute, ...], version: str = CURRENT) -> Document:
    """The whole document, of this version of the API. Takes a while, once: the routes of an application stay as they
    are."""
    told = [_operation(route, handler, version) for route, handler in _handlers(routes)]
    kinds = [kind for _, _, _, kinds in told for kind in kinds]
    _, components = msgspec.json.schema_components([*kinds, Problem], ref_template=_REF)
    paths: Document = {}
    for path, method, operation, _ in sorted(told, key=lambda found: (found[0], found[1])):
        paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Paygrade",
            "version": metadata.version("paygrade"),
            "x-api-version": version,
            "summary": "Keeps what customers can do in line with what they pay for.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key: `sk_…`, or `pk_…` in a page."},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": SESSION,
                    "description": "A person's session, from our own pages.",
                },
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An account token.",
                },
            },
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


def _operation(route: HTTPRoute, handler: HTTPRouteHandler, version: str) -> tuple[str, str, Document, list[Any]]:
    told: Described = handler.opt["described"]
    text = text_of(told.operation or handler.fn)
    method = next(iter(handler.http_methods - {"OPTIONS"}))
    hints = get_type_hints(handler.fn, include_extras=True)
    older = older_of(handler.opt, version)
    returned = older[-1].kind if older else told.kind or hints["return"]
    kinds = [] if told.media_type != "application/json" or returned is type(None) else [returned]
    in_path, in_query = _path_parameters(route), _query_parameters(handler.fn)
    operation: Document = {
        "operationId": handler.handler_name,
        "summary": text.summary,
        "description": text.description,
        "tags": [told.tag],
        "parameters": in_path + in_query + _header_parameters(told, method),
        "responses": {
            str(handler.status_code): _answer(told, text.summary, kinds),
            **{status: {"description": meaning} for status, meaning in told.others.items()},
            # A 202 of its own stays what clients know; one that waits has a `Location`, and is described there.
            **(_WAITS if told.second_person is not None and handler.status_code != 202 else {}),
            **_problem_answers(_codes(told, text, route, method, has_query=bool(in_query))),
        },
        "security": _security(handler, told.scope) if told.scope is not None else [],
    }
    if told.second_person is not None:
        kinds.append(ApprovalView)
    if told.sent is not None:
        operation["requestBody"] = _body(told.sent)
        if told.sent.kind is not None:
            kinds.append(told.sent.kind)
    return route.path_format, method, operation, kinds


def _security(handler: HTTPRouteHandler, scope: Scope) -> list[Document]:
    """Who opens a route, each of them: a key, a person's session, and an account token where it says so. All need the
    scope (OpenAPI 3.1 lets any scheme name what is required)."""
    return [{"key": [scope]}, {"session": [scope]}, *([{"token": [scope]}] if handler.opt.get(FOR_PAGES) else [])]


def _path_parameters(route: HTTPRoute) -> list[Document]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_PARAMETERS[name],
            "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH_MAX},
        }
        for name in route.path_parameters
    ]


def _query_parameters(handler: Operation) -> list[Document]:
    return [
        {
            "name": query.name,
            "in": "query",
            "required": False,
            "description": query.parameter.description,
            "schema": _query_schema(query.kind, query.parameter, query.default),
        }
        for query in queries(handler)
    ]


def _header_parameters(told: Described, method: str) -> list[Document]:
    keyed = {"Idempotency-Key": _KEY_MEANING} if _is_keyed(told, method) else {}
    read = [
        {"name": name, "in": "header", "required": False, "description": meaning, "schema": {"type": "string"}}
        for name, meaning in (told.headers | keyed).items()
    ]
    return [*read, _VERSION]


def _is_keyed(told: Described, method: str) -> bool:
    return method == "POST" and told.scope is not None and told.repeating != "reads"


def _query_schema(kind: Any, query: QueryParameter, default: object) -> Document:
    """Any: a type expression."""
    facets = {"minimum": query.ge, "maximum": query.le, "default": default or None}
    told = {name: value for name, value in facets.items() if value is not None}
    return {"type": "integer" if int in (kind, *get_args(kind)) else "string", **told, **(query.schema_extra or {})}


def _answer(told: Described, summary: str, kinds: list[Any]) -> Document:
    if told.media_type != "application/json":
        return {"description": summary, "content": {told.media_type: {"schema": {"type": "string"}}}}
    if not kinds:
        return {"description": "Done; there is nothing to say."}
    content: Document = {"schema": schema_of(kinds[0])}
    if told.example is not None:
        content["example"] = told.example
    files = {media_type: {"schema": {"type": "string"}} for media_type in told.also}
    return {"description": summary, "content": {"application/json": content, **files}}


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


def _codes(told: Described, text: Text, route: HTTPRoute, method: str, *, has_query: bool) -> tuple[str, ...]:
    """The codes of all that may go wrong: what follows from how it is asked, and what the operation refuses."""
    by_itself = {
        ("request_timeout", "head_too_large", "not_ready", "unknown_api_version"): True,
        (
            "unauthenticated",
            "insufficient_scope",
            "password_change_required",
            "address_not_allowed",
            "rate_limited",
            "cross_site",
            "clock_unavailable",
            "database_unavailable",
            "contended",
        ): (told.scope is not None),
        ("body_too_large",): told.sent is not None,
        ("malformed_json", "invalid_body"): told.sent is not None and told.sent.kind is not None,
        ("invalid_key",): bool(route.path_parameters) and told.scope is not None,
        ("invalid_key", *_OF_KEYS): _is_keyed(told, method),
        ("invalid_query",): has_query,
    }
    codes = [code for codes, may in by_itself.items() if may for code in codes]
    return tuple(dict.fromkeys([*codes, *told.problems, *text.problems, "internal"]))


def _problem_answers(codes: Iterable[str]) -> Document:
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
