"""Bodies of usage events, of requests and of a stream's messages: each event is taken or refused by itself.

Laws: one event that cannot be read never spoils another; instants come out in UTC, and keys are printable; no two
CloudEvents of different source or id share an id here. CloudEvents: https://github.com/cloudevents/spec, 1.0.2, JSON
format, HTTP binding and NATS binding.
"""

import zlib
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from paygrade.server.operations.events.ingest import EVENTS_MAX
from paygrade.usage.events import ID_LENGTH_MAX, Refusal, UsageEvent
from paygrade.values.errors import Refused
from paygrade.values.periods import parse_instant

BYTES_MAX = 16 * 1024 * 1024
"""Of a body, and of what it unpacks to: 5,000 events of 3 KiB."""
MEMBERS_MAX = 100
"""Of a gzip body; what is behind a member is copied for each."""
_ID_MISSING = "is missing: the id makes an event count once, however often it is sent"

Events = list[UsageEvent | Refusal]


class CloudEvent(Struct, frozen=True):
    """A CloudEvent as far as it matters here; extensions are let pass. Any: the event's data."""

    id: Annotated[str, Meta(min_length=1)]
    source: Annotated[str, Meta(min_length=1)]
    specversion: str
    type: Annotated[str, Meta(min_length=1)]
    subject: Annotated[str, Meta(min_length=1)]
    time: str | None = None
    data: Any = None
    data_base64: str | None = None
    datacontenttype: str | None = None


def unpacked(raw: bytes, encoding: str) -> bytes:
    """The body without its content encoding. Refused `body_too_large`, `malformed_json` or `unsupported_media_type`."""
    match encoding.strip().lower():
        case "" | "identity":
            return raw
        case "gzip":
            return _gunzipped(raw)
        case other:
            raise Refused(
                "unsupported_media_type", f"the content encoding `{other}` is not supported; send `gzip` or none"
            )


def parse_events(raw: bytes) -> Events:
    """Read a JSON array of usage events. Refused `malformed_json`, `invalid_body` or `too_many_events`."""
    nul = b"\\u0000" in raw
    try:
        return [_checked(event, nul=nul) for event in _events.decode(raw)]
    except (msgspec.ValidationError, RecursionError):
        return [_event(part, nul=nul) for part in _parts(raw)]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(error) from None


def parse_cloud_events(raw: bytes, media_type: str, headers: Mapping[str, str]) -> Events:
    """Read CloudEvents in any mode HTTP has for them: structured, batched or binary, the latter with `ce-` headers.

    Refused `unsupported_media_type`, `malformed_json`, `invalid_body` or `too_many_events`.
    """
    nul = b"\\u0000" in raw
    if "ce-specversion" in headers and not media_type.startswith("application/cloudevents"):
        return [_binary(raw, media_type, headers, nul=nul)]
    batch = _is_array(raw)
    match media_type:
        case "application/cloudevents-batch+json":
            parts = _parts(raw)
        case "application/cloudevents+json" | "application/json":
            parts = _parts(raw) if batch and media_type == "application/json" else [msgspec.Raw(raw)]
        case _:
            detail = f"`{media_type}` is not supported; send `application/cloudevents+json` or `…-batch+json`"
            raise Refused("unsupported_media_type", detail)
    return [_cloud_event(part, nul=nul) for part in parts]


def parse_message(raw: bytes, headers: Mapping[str, str]) -> Events:
    """Read a message of a stream: an event of ours or a CloudEvent, or an array of them. One in binary mode has `ce-`
    headers; else the event itself says which it is. Refused as `parse_cloud_events` is.
    """
    named = {name.lower(): value for name, value in headers.items()}
    media_type = named.get("content-type", "").partition(";")[0].strip().lower()
    if media_type.startswith("application/cloudevents"):
        return parse_cloud_events(raw, media_type, named)
    if "ce-specversion" in named:
        # The NATS binding says the data's type in an attribute, the one of HTTP in a header without a prefix.
        return parse_cloud_events(raw, named.get("ce-datacontenttype", media_type).partition(";")[0].strip(), named)
    if b'"specversion"' in raw:
        nul = b"\\u0000" in raw
        return [_either(part, nul=nul) for part in (_parts(raw) if _is_array(raw) else [msgspec.Raw(raw)])]
    return parse_events(raw) if _is_array(raw) else [_event(msgspec.Raw(raw), nul=b"\\u0000" in raw)]


def part_of(raw: bytes, index: int) -> bytes:
    """The event at this place of a message that could be read."""
    return bytes(_raws.decode(raw)[index]) if _is_array(raw) else raw


def ledger_id(source: str, id: str) -> str:
    """The id of a CloudEvent among those of its account: `source/id`, where `%` and `/` of the source are escaped.

    A pair too long to be kept is known by its hash; a `%` that escapes nothing marks it, which no other can have.
    """
    found = f"{source.replace('%', '%25').replace('/', '%2F')}/{id}"
    return found if len(found) <= ID_LENGTH_MAX else f"%sha256:{sha256(found.encode()).hexdigest()}"


_events = msgspec.json.Decoder(list[UsageEvent])
_one = msgspec.json.Decoder(UsageEvent)
_cloud = msgspec.json.Decoder(CloudEvent)
_raws = msgspec.json.Decoder(list[msgspec.Raw])
_attributes = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _parts(raw: bytes) -> list[msgspec.Raw]:
    try:
        parts = _raws.decode(raw)
    except msgspec.ValidationError:
        raise Refused("invalid_body", "the body must be a JSON array of events") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from None
    if len(parts) > EVENTS_MAX:
        detail = f"the batch has {len(parts)} events, at most {EVENTS_MAX} are allowed; send several batches"
        raise Refused("too_many_events", detail)
    return parts


def _event(part: msgspec.Raw, *, nul: bool) -> UsageEvent | Refusal:
    try:
        return _checked(_one.decode(part), nul=nul)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Refusal("invalid_event", _in_our_words(str(error)))
    except RecursionError:
        return Refusal("invalid_event", "the properties are nested too deeply")


def _either(part: msgspec.Raw, *, nul: bool) -> UsageEvent | Refusal:
    """A CloudEvent says which version of the specification it follows; an event of ours has no such field."""
    try:
        is_cloud_event = "specversion" in _attributes.decode(part)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        is_cloud_event = False
    return _cloud_event(part, nul=nul) if is_cloud_event else _event(part, nul=nul)


def _is_array(raw: bytes) -> bool:
    return raw.lstrip()[:1] == b"["


def _checked(event: UsageEvent, *, nul: bool) -> UsageEvent | Refusal:
    """The event with its instant in UTC, if its texts can be kept."""
    for name in ("account", "id", "member", "amends"):
        text = getattr(event, name)
        if text is not None and not text.isprintable():
            return Refusal("invalid_event", f"/{name}: must be printable")
    if nul and _has_nul(event.properties):
        return Refusal("invalid_event", "/properties: contains a NUL character; remove it")
    if event.time is not None and event.time.tzinfo is not UTC:
        try:
            return replace(event, time=event.time.astimezone(UTC))
        except OverflowError:
            return Refusal("invalid_event", "/time: the year is out of range")
    return event


def _cloud_event(part: msgspec.Raw, *, nul: bool) -> UsageEvent | Refusal:
    try:
        return _translated(_cloud.decode(part), nul=nul)
    except (msgspec.ValidationError, RecursionError) as error:
        return Refusal("invalid_event", _in_our_words(str(error)))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(error) from None


def _binary(raw: bytes, media_type: str, headers: Mapping[str, str], *, nul: bool) -> UsageEvent | Refusal:
    """The HTTP binding's binary mode: attributes in `ce-` headers, percent-encoded, and the data as the body."""
    attributes = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
    if raw.strip() and not _is_json(media_type):
        raise Refused("unsupported_media_type", f"data of the type `{media_type}` is not supported; send JSON")
    try:
        data = msgspec.json.decode(raw) if raw.strip() else None
        return _translated(msgspec.convert({**attributes, "data": data}, CloudEvent), nul=nul)
    except msgspec.ValidationError as error:
        return Refusal("invalid_event", _in_our_words(str(error)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from None


def _translated(event: CloudEvent, *, nul: bool) -> UsageEvent | Refusal:
    if event.specversion != "1.0":
        return Refusal("invalid_event", f"/specversion: must be `1.0`, not `{event.specversion[:16]}`")
    if not event.source.isprintable():
        return Refusal("invalid_event", "/source: must be printable")
    try:
        time = parse_instant(event.time) if event.time is not None else None
    except (ValueError, OverflowError) as error:
        return Refusal("invalid_event", f"/time: {str(error)[:200]}")
    data = event.data
    if event.data_base64 is not None or isinstance(data, str):
        data = _decoded(event)
    if data is not None and not isinstance(data, dict):
        return Refusal("invalid_event", "/data: must be a JSON object with the event's properties")
    return _read(event, time, data or {}, nul=nul)


def _read(event: CloudEvent, time: datetime | None, data: dict[str, Any], *, nul: bool) -> UsageEvent | Refusal:
    # Any: plain JSON.
    if len(event.subject) > 200:
        return Refusal("invalid_event", "/subject: must be an account's key, at most 200 characters")
    found = UsageEvent(
        id=ledger_id(event.source, event.id), account=event.subject, event=event.type, time=time, properties=data
    )
    return _checked(found, nul=nul or event.data_base64 is not None)


def _decoded(event: CloudEvent) -> object:
    """Data that came as text; None-like rubbish comes out as what it is, and is refused as no object."""
    try:
        raw = b64decode(event.data_base64, validate=True) if event.data_base64 is not None else str(event.data).encode()
        return msgspec.json.decode(raw)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return ""


def _is_json(media_type: str) -> bool:
    return media_type in ("application/json", "") or media_type.endswith("+json")


def _gunzipped(raw: bytes) -> bytes:
    data, rest = b"", raw
    for _ in range(MEMBERS_MAX):
        # A file may have several members, one behind the other: RFC 1952, 2.2.
        unpacker = zlib.decompressobj(wbits=31)
        try:
            data += unpacker.decompress(rest, BYTES_MAX + 1 - len(data))
        except zlib.error:
            raise Refused("malformed_json", "the body is not valid gzip") from None
        if len(data) > BYTES_MAX:
            raise Refused("body_too_large", "the body unpacks to more than 16 MiB; send less at once")
        if not unpacker.eof:
            raise Refused("malformed_json", "the gzip body is incomplete")
        rest = unpacker.unused_data
        if not rest:
            return data
    raise Refused("malformed_json", f"the body has more than {MEMBERS_MAX} gzip members; send it as one")


def _has_nul(value: object) -> bool:
    # PostgreSQL keeps no NUL in text or JSON: https://www.postgresql.org/docs/current/datatype-json.html
    match value:
        case str():
            return "\0" in value
        case dict():
            return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
        case list():
            return any(map(_has_nul, value))
        case _:
            return False


def _malformed(error: Exception) -> Refused:
    return Refused("malformed_json", f"the body is not JSON: {str(error).lower()[:200]}")


def _in_our_words(message: str) -> str:
    """msgspec says "Expected `int`, got `str` - at `$.quantity`"; ours begin with the place, as a JSON Pointer."""
    text, _, place = message.partition(" - at `$")
    text = text[:1].lower() + text[1:]
    if text == "object missing required field `id`":
        return f"/id: {_ID_MISSING}"
    pointer = place.rstrip("`").replace(".", "/")
    return f"{pointer}: {text}"[:300] if pointer else text[:300]
