"""The wire of an API as lines, so that two versions can be compared: one line for each thing a client may rest on.

What is added is a line more and breaks nobody. What goes, or becomes something else, is a line less; so is what an
answer no longer promises, and a field that a request comes to need is a line that begins with `needs`.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]  # Any: a piece of a JSON document
_VALUES = re.compile(r"one of (\[[^]]*])")


def lines(document: Document) -> set[str]:
    """All of a document's."""
    found: set[str] = set()
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            found |= set(_operation(f"{method.upper()} {path}", told))
    for name, schema in document["components"]["schemas"].items():
        found |= set(_struct(name, schema))
    return found


def broken(before: set[str], now: set[str]) -> list[str]:
    """What whoever was written against `before` can no longer rest on."""
    known = {line.split(" ", 2)[1] for line in before if line.startswith("needs ")}
    known |= {_owner(line) for line in before}
    fresh = [line for line in now - before if line.startswith("needs ") and _owner(line[6:]) in known]
    gone = [line for line in before - now if not line.startswith("needs ") and not _has_more(line, now)]
    return sorted(gone + fresh)


def _has_more(line: str, now: set[str]) -> bool:
    """Whether all that has become of it is that it can have other values, or be of other kinds, too."""
    what, _, kinds = line.rpartition(" ")
    named = set(kinds.split("|"))
    if len(named) > 1 and all(kind[0].isupper() for kind in named):
        return any(other.startswith(f"{what} ") and named < set(other.rpartition(" ")[2].split("|")) for other in now)
    values = _VALUES.search(line)
    if values is None:
        return False
    here, there = line[: values.start()], line[values.end() :]
    wider = [other[len(here) : len(other) - len(there)] for other in now if other.startswith(here)]
    known = set(json.loads(values[1]))
    # Of three values and more, a line says no more than that there are some.
    return any(more == "enum" or _values_of(more) > known for more in wider)


def _values_of(text: str) -> set[str]:
    found = _VALUES.fullmatch(text)
    return set(json.loads(found[1])) if found is not None else set()


def _owner(line: str) -> str:
    """What a line is about: an operation, or a struct."""
    return line.split(" ~ ")[0]


def _operation(name: str, told: Document) -> Iterator[str]:
    for each in told["parameters"]:
        if each["name"] == "Paygrade-Version":
            continue
        yield f"{name} ~ {each['in']} {each['name']} {_kind(each['schema'])}"
        if each["required"] and each["in"] != "path":
            yield f"needs {name} ~ {each['in']} {each['name']}"
    bodies: Document = told.get("requestBody", {}).get("content", {})
    for content_type, content in bodies.items():
        schema = content["schema"]
        schema = schema.get("items", schema)
        for field, part in schema.get("properties", {}).items():
            yield f"{name} ~ body {content_type} {field} {_kind(part)}"
        for field in schema.get("required", []):
            yield f"needs {name} ~ body {content_type} {field}"
    for status, answer in told["responses"].items():
        if status >= "400":  # problems have one form and codes of their own
            continue
        for content_type, content in answer.get("content", {}).items():
            yield f"{name} ~ answers {status} {content_type} {_kind(content['schema'])}"
        if not answer.get("content"):
            yield f"{name} ~ answers {status}"


def _struct(name: str, schema: Document) -> Iterator[str]:
    for field, part in schema.get("properties", {}).items():
        yield f"{name} ~ {field} {_kind(part)}"
    for field in schema.get("required", []):
        yield f"{name} ~ always {field}"
    if "properties" not in schema:
        yield f"{name} ~ {_kind(schema)}"


def _kind(schema: Document) -> str:
    """A schema's type, on one line: no text, no bounds."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if either := schema.get("anyOf") or schema.get("oneOf"):
        return "|".join(sorted(_kind(each) for each in either))
    if "enum" in schema:
        return "one of " + json.dumps(sorted(map(str, schema["enum"]))) if len(schema["enum"]) < 3 else "enum"
    if schema.get("type") == "array":
        return f"[{_kind(schema.get('items') or {})}]"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"{{{_kind(schema['additionalProperties'])}}}"
    return str(schema.get("type", "any")) + (f":{schema['format']}" if "format" in schema else "")
