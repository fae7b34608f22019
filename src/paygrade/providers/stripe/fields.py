"""A JSON object from Stripe, read field by field.

Laws: a missing field and a null one are the same; a field of the wrong type is refused with its path, it never
raises anything else; what is read is never changed.
"""

import re
import reprlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from paygrade.values.errors import Mistake, Refused
from paygrade.values.periods import parse_instant

CUSTOMER_ID = re.compile(r"cus_[A-Za-z0-9_]{1,250}", re.ASCII)
Json = Mapping[str, Any]
"""A JSON object as received: nothing about it is trusted."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""PostgreSQL's text takes no NUL, and a lone surrogate is not UTF-8."""


class Payload:
    """One object of a document, and where it stands in it (`subscription.items.data[0]`)."""

    def __init__(self, value: object, path: str) -> None:
        self.path = path
        # Asking a dict whether it is a Mapping is slow, and there are two dozen objects in a subscription.
        if type(value) is not dict and not isinstance(value, Mapping):
            _refuse(path, value=value, expected="an object")
        self.fields: Mapping[str, object] = value

    def has(self, key: str) -> bool:
        return self.fields.get(key) is not None

    def text(self, key: str) -> str | None:
        value = self.fields.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self.refuse(key, "a string")
        if not value.isprintable() and _UNSTORABLE.search(value):
            self.refuse(key, "a string of storable characters")
        return value

    def required_text(self, key: str) -> str:
        value = self.text(key)
        if not value:
            self.refuse(key, "a string")
        return value

    def integer(self, key: str) -> int | None:
        value = self.fields.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            self.refuse(key, "an integer")
        return value

    def flag(self, key: str) -> bool:
        value = self.fields.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            self.refuse(key, "true or false")
        return value

    def instant(self, key: str) -> datetime | None:
        """Seconds since 1970, as the objects of v1 have it."""
        seconds = self.integer(key)
        if seconds is None:
            return None
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OverflowError, OSError):
            self.refuse(key, "an instant in seconds since 1970")

    def written_instant(self, key: str) -> datetime | None:
        """RFC 3339 text, as the objects of v2 have it."""
        written = self.text(key)
        if written is None:
            return None
        try:
            return parse_instant(written)
        except (ValueError, OverflowError):
            self.refuse(key, "an instant such as `2026-01-31T10:00:00Z`")

    def child(self, key: str) -> "Payload":
        """The object under `key`; an empty one when there is none, so that a chain of reads needs no ifs."""
        value = self.fields.get(key)
        return Payload({} if value is None else value, f"{self.path}.{key}")

    def expanded(self, key: str) -> "Payload | None":
        """The object under `key` if it was expanded; None if it is absent or only its id is there."""
        value = self.fields.get(key)
        return None if value is None or isinstance(value, str) else self.child(key)

    def id_of(self, key: str) -> str | None:
        """The id behind an expandable reference, whether it came as the id or as the object."""
        expanded = self.expanded(key)
        return (self.text(key) if expanded is None else expanded.text("id")) or None

    def listed(self, key: str) -> "tuple[Payload, ...]":
        """The objects under `key`, a plain array or one of Stripe's list objects (`{data: […]}`)."""
        value, path = self.fields.get(key), f"{self.path}.{key}"
        if type(value) is dict or isinstance(value, Mapping):
            value, path = value.get("data"), f"{path}.data"
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            _refuse(path, value=value, expected="a list")
        return tuple(Payload(entry, f"{path}[{index}]") for index, entry in enumerate(value))

    def refuse(self, key: str, expected: str) -> NoReturn:
        _refuse(f"{self.path}.{key}", value=self.fields.get(key), expected=expected)


def _refuse(path: str, *, value: object, expected: str) -> NoReturn:
    shown = "missing" if value is None else f"`{reprlib.repr(value)}`"
    raise Refused(
        "provider_payload_invalid",
        f"`{path}` is {shown} where Stripe sends {expected}; check proxies between Stripe and this server",
        (Mistake(pointer=_pointer(path), message=f"expected {expected}"),),
    )


def _pointer(path: str) -> str:
    _, _, inner = path.partition(".")
    return "".join(f"/{step}" for step in inner.replace("[", ".").replace("]", "").split(".") if step)
