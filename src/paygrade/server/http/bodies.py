"""Bodies: read JSON into the structs we trust, and name every mistake in it at once.

Laws: what a struct does not know is refused, never ignored; every mistake carries a JSON Pointer into what was
sent; instants need an offset and come out in UTC; types are strict (`"1"` is no number); what is read, and what is said
of it, has a bound, whatever was sent.
"""

import types
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from functools import cache
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from paygrade.billing.nodes import DEPTH_MAX, PATH_LENGTH_MAX, is_path
from paygrade.server.http.context import HttpRequest
from paygrade.values.errors import MISTAKES_MAX, Mistake, Refused
from paygrade.values.periods import parse_instant
from paygrade.values.text import KEY_LENGTH_MAX, QUANTITY_MAX, describe, is_chosen_key

T = TypeVar("T")


class Mistakes:
    """The mistakes found so far. Once it is `full`, nothing more is looked for."""

    def __init__(self) -> None:
        self.found: list[Mistake] = []

    @property
    def full(self) -> bool:
        return len(self.found) >= MISTAKES_MAX

    def add(self, pointer: str, message: str) -> None:
        if not self.full:
            self.found.append(Mistake(pointer, message))


TEXT_LENGTH_MAX = 2000
VALUES_MAX, ENTRIES_MAX, TEXTS_MAX = 100_000, 100, 5000
"""So many values a body may have, so many entries a mapping or a list of objects, and so many a list of texts, unless
its field says another length."""
ASIDE_BYTES = 64 * 1024
SHOWN_MAX = 60
"""Characters of a name that are repeated to whoever sent it."""


def read_body(
    kind: type[T], raw: bytes, *, given: Mapping[str, object] = types.MappingProxyType({}), hidden: Collection[str] = ()
) -> T:
    """Decode one object strictly. `given` holds fields the address already says, `hidden` those a caller may not
    set. Raises Refused `malformed_json` or `invalid_body`."""
    return read_object(kind, decode_object(raw), given=given, hidden=hidden)


def refuse_long(request: HttpRequest) -> None:
    """Refused `body_too_large` where the head says already that the body is more than its route takes."""
    most = request.route_handler.resolve_request_max_body_size()
    if most is not None and (request.content_length or 0) > most:
        raise Refused("body_too_large", f"the body is longer than {most} bytes; send less at once")


async def read_aside(request: HttpRequest) -> bytes:
    """A body of somebody we do not know yet: while it arrives, what is long of it is kept in a file."""
    with SpooledTemporaryFile(max_size=ASIDE_BYTES) as kept:
        async for part in request.stream():
            kept.write(part)
        kept.seek(0)
        return kept.read()


def read_object(
    kind: type[T],
    value: dict[str, Any],
    *,
    given: Mapping[str, object] = types.MappingProxyType({}),
    hidden: Collection[str] = (),
) -> T:
    """The same for a body that is decoded already. Any: plain JSON values."""
    mistakes = Mistakes()
    closed = frozenset(given) | frozenset(hidden)
    clean = _object(kind, value, pointer="", closed=closed, mistakes=mistakes)
    if mistakes.found:
        raise invalid("invalid_body", "the body", mistakes.found)
    return msgspec.convert({**clean, **given}, kind)


def read_many(kind: type[T], raw: bytes, *, at_most: int) -> list[T]:
    """Decode an array of objects strictly. Raises Refused `malformed_json` or `invalid_body`, with all mistakes."""
    value = _decode(raw, "an array of objects")
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Refused("invalid_body", "the body must be a JSON array of objects", (Mistake("", "expected an array"),))
    if len(value) > at_most:
        raise invalid("invalid_body", "the body", [Mistake("", f"has {len(value)} entries; send at most {at_most}")])
    mistakes = Mistakes()
    clean = [
        _object(kind, item, pointer=f"/{place}", closed=frozenset(), mistakes=mistakes)
        for place, item in enumerate(value)
        if not mistakes.full
    ]
    if mistakes.found:
        raise invalid("invalid_body", "the body", mistakes.found)
    return msgspec.convert(clean, list[kind])  # type: ignore[valid-type]  # a type that is only known when it runs


def decode_object(raw: bytes) -> dict[str, Any]:
    """Decode to plain values; Refused `malformed_json` or `invalid_body`. Any: plain JSON values."""
    value = _decode(raw, "an object")
    if not isinstance(value, dict):
        raise Refused("invalid_body", "the body must be a JSON object", (Mistake("", "expected an object"),))
    return value


def _decode(raw: bytes, what: str) -> Any:
    """Any: plain JSON values."""
    if sum(map(raw.count, (b",", b"[", b"{"))) > VALUES_MAX:
        raise Refused("invalid_body", f"the body has more than {VALUES_MAX} values; send less at once")
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if not raw.strip():
            raise Refused("malformed_json", f"the body is empty; send JSON, {what}") from None
        raise Refused("malformed_json", f"the body is not JSON: {str(error).lower()}") from None


def read_key(text: str, *, pointer: str, noun: str) -> str:
    """Check a key people chose: 1 to 200 printable characters, case-sensitive."""
    if not is_chosen_key(text):
        message = f"a key of an {noun} is" if noun[0] in "aeiou" else f"a key of a {noun} is"
        mistake = Mistake(pointer, f"{message} 1 to {KEY_LENGTH_MAX} printable characters")
        raise invalid("invalid_key", "the key", [mistake])
    return text


def read_node(text: str, *, pointer: str, name: str = "node") -> str:
    """Check the name of a node; Refused `invalid_key` in a body, `invalid_query` behind the `?` (no `pointer`)."""
    if is_path(text):
        return text
    detail = (
        f"`{name}` must be up to {DEPTH_MAX} keys with `/` between them, of letters, digits and `_.@:+~-`, at most "
    )
    mistake = Mistake(pointer, f"{detail}{PATH_LENGTH_MAX} characters in all, such as `team-a/jane`")
    raise invalid("invalid_key", "the key", [mistake]) if pointer else invalid("invalid_query", "the query", [mistake])


def read_instant(text: str | None, *, name: str) -> datetime | None:
    """An instant in the query; Refused `invalid_query`."""
    if text is None:
        return None
    try:
        return parse_instant(text)
    except (ValueError, OverflowError) as error:
        hint = "; send `+` as `%2B`" if " " in text else ""
        raise invalid("invalid_query", "the query", [Mistake("", f"`{name}`: {error}{hint}")]) from None


def read_flag(text: str | None, *, name: str) -> bool:
    """A switch in the query: `?dry_run` alone is on, and so are `true` and `1`."""
    match text:
        case None | "false" | "0":
            return False
        case "" | "true" | "1":
            return True
        case _:
            mistake = Mistake("", f"`{name}` must be `true` or `false`, not `{text}`")
            raise invalid("invalid_query", "the query", [mistake])


def invalid(code: str, what: str, mistakes: Sequence[Mistake]) -> Refused:
    """One refusal for all mistakes; the detail is readable without looking at the list."""
    first = f"{mistakes[0].pointer}: {mistakes[0].message}" if mistakes[0].pointer else mistakes[0].message
    least = "at least " if len(mistakes) >= MISTAKES_MAX else ""
    more = f" (and {least}{len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    return Refused(code, f"{what} is invalid: {first}{more}", tuple(mistakes))


def _object(
    kind: type, value: dict[str, Any], *, pointer: str, closed: frozenset[str], mistakes: Mistakes
) -> dict[str, Any]:
    fields = _fields(kind)
    clean: dict[str, Any] = {}
    for name, item in value.items():
        if mistakes.full:
            break
        place = f"{pointer}/{_escaped(name)}"
        if name in fields and fields[name].name not in closed:
            clean[name] = _clean(fields[name].type, item, pointer=place, mistakes=mistakes)
        else:
            mistakes.add(place, _unknown(name, [name for name in fields if fields[name].name not in closed]))
    for name, field in fields.items():
        if field.required and name not in value and field.name not in closed:
            mistakes.add(f"{pointer}/{_escaped(name)}", "is missing")
    return clean


@cache
def _fields(kind: type) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _clean(kind: Any, value: Any, *, pointer: str, mistakes: Mistakes, length_max: int | None = None) -> Any:
    """The value with instants parsed, ready for msgspec. Any: `kind` is a type expression, `value` plain JSON."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated and (_has_struct_or_instant(args[0]) or isinstance(value, list | dict)):
        length_max = next((said.max_length for said in args[1:] if isinstance(said, Meta)), None)
        return _clean(args[0], value, pointer=pointer, mistakes=mistakes, length_max=length_max)
    if origin in (Union, types.UnionType):
        return _clean_union(kind, value, pointer=pointer, mistakes=mistakes)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and isinstance(value, dict):
        return _object(kind, value, pointer=pointer, closed=frozenset(), mistakes=mistakes)
    if (
        origin in (tuple, dict)
        and isinstance(value, list | dict)
        and len(value) > (at_most := length_max or _entries_max(kind))
    ):
        mistakes.add(pointer, f"has {len(value)} entries; send at most {at_most}")
        return value
    if origin is tuple and isinstance(value, list):
        return [_clean(args[0], v, pointer=f"{pointer}/{i}", mistakes=mistakes) for i, v in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {
            _text(k, pointer=f"{pointer}/{_escaped(k)}", mistakes=mistakes): _clean(
                args[1], v, pointer=f"{pointer}/{_escaped(k)}", mistakes=mistakes
            )
            for k, v in value.items()
        }
    if kind is datetime and isinstance(value, str):
        return _instant(value, pointer=pointer, mistakes=mistakes)
    return _leaf(kind, value, pointer=pointer, mistakes=mistakes)


def _clean_union(kind: Any, value: Any, *, pointer: str, mistakes: Mistakes) -> Any:
    options = [option for option in get_args(kind) if option is not types.NoneType]
    if value is not None and len(options) == 1:
        return _clean(options[0], value, pointer=pointer, mistakes=mistakes)
    return _leaf(kind, value, pointer=pointer, mistakes=mistakes)


def _leaf(kind: Any, value: Any, *, pointer: str, mistakes: Mistakes) -> Any:
    try:
        msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        mistakes.add(pointer, _in_our_words(str(error)))
        return value
    if isinstance(value, int) and abs(value) > QUANTITY_MAX:
        mistakes.add(pointer, f"is beyond {QUANTITY_MAX}, the largest number that every JSON reader keeps exact")
    return _text(value, pointer=pointer, mistakes=mistakes) if isinstance(value, str) else value


def _instant(value: str, *, pointer: str, mistakes: Mistakes) -> datetime | None:
    try:
        return parse_instant(value)
    except (ValueError, OverflowError) as error:
        mistakes.add(pointer, str(error))
        return None


def _text(value: str, *, pointer: str, mistakes: Mistakes) -> str:
    # PostgreSQL keeps no NUL in text or JSON: https://www.postgresql.org/docs/current/datatype-json.html
    if "\x00" in value:
        mistakes.add(pointer, "contains a NUL character; remove it")
    if len(value) > TEXT_LENGTH_MAX:
        mistakes.add(pointer, f"is longer than {TEXT_LENGTH_MAX} characters")
    return value


def _entries_max(kind: Any) -> int:
    """How long a list or mapping of this type may be, if its field does not say. Any: a type expression."""
    return TEXTS_MAX if get_origin(kind) is tuple and get_args(kind)[0] is str else ENTRIES_MAX


def _has_struct_or_instant(kind: Any) -> bool:
    parts = [kind, *get_args(kind)]
    return any(part is datetime or (isinstance(part, type) and issubclass(part, msgspec.Struct)) for part in parts)


def _unknown(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1) if len(name) <= SHOWN_MAX else []
    if close:
        return f"unknown field `{name}`; did you mean `{close[0]}`?"
    return f"unknown field {describe(name)}; known fields: {', '.join(sorted(known))}"


def _in_our_words(message: str) -> str:
    """msgspec says "Expected `int`, got `str`"; ours are lower case and without its own `$` path."""
    text = message.split(" - at `$")[0]
    return text[:1].lower() + text[1:]


def _escaped(name: str) -> str:
    shown = name if len(name) <= KEY_LENGTH_MAX else f"{name[:SHOWN_MAX]}..."
    return shown.replace("~", "~0").replace("/", "~1")  # RFC 6901, section 3
