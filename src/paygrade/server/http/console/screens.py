"""What a screen is declared with, and who may see it.

Laws: a screen names the one scope it needs, or is open to whoever is not logged in; it opens to a person's session
alone; what changes something is sent from our own pages; a form is read whole or refused.
"""

import re
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from litestar import get, post
from litestar.handlers import BaseRouteHandler

from paygrade.server.http.auth import Connection, let_in
from paygrade.server.http.bodies import invalid, read_instant
from paygrade.server.http.context import HttpRequest
from paygrade.server.http.parameters import refuse_odd_texts
from paygrade.server.process.scopes import Scope
from paygrade.values.errors import Mistake, Refused
from paygrade.values.text import QUANTITY_MAX

SCREEN: Final = "screen"
"""The `opt` of a screen's handler: the scope it needs."""
FORM_BYTES_MAX, FIELDS_MAX, REASON_MAX = 256 * 1024, 2000, 500
_OFFSET = re.compile(r"(Z|[+-]\d\d:?\d\d)$")
_DIGITS = re.compile(r"[0-9]{1,16}", re.ASCII)


def screen(path: str, *, scope: Scope, **more: Any) -> get:
    """A handler that shows something: `@screen("/accounts", scope="accounts:read")`. Any: what Litestar's `get`
    takes."""
    return get(f"/console{path}", opt={SCREEN: scope}, **more)


def action(path: str, *, scope: Scope, **more: Any) -> post:
    """A handler that a form is sent to. Any: as above."""
    return post(f"/console{path}", opt={SCREEN: scope}, status_code=303, **more)


def scope_of(handler: BaseRouteHandler) -> Scope:
    """What a person needs to see this screen."""
    needed: Scope | None = handler.opt.get(SCREEN)
    assert needed is not None, f"`{handler.handler_name}` says no scope, and so is for everyone"
    return needed


async def require_person(connection: Connection, handler: BaseRouteHandler) -> None:
    """The guard of all screens."""
    await let_in(connection, scope_of(handler))
    refuse_odd_texts(connection, handler)


class Form:
    """What was sent with a form. A field that is missing reads as empty."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self.fields = fields

    def __getitem__(self, name: str) -> str:
        return next((value.strip() for key, value in self.fields if key == name), "")

    def reason(self) -> str:
        """Why. Whoever looks at it next cannot ask. Refused `invalid_body` where nobody says."""
        if not self["reason"]:
            raise Refused("invalid_body", "write a reason; the next person reads it, and it is in the audit log")
        return self["reason"][:REASON_MAX]

    def every(self, name: str) -> list[str]:
        """Of a field that may be sent several times."""
        return [value for key, value in self.fields if key == name]


async def read_form(request: HttpRequest) -> Form:
    """Refused `unsupported_media_type`, `body_too_large`, `invalid_body`."""
    raw = await request.body()
    if not raw:
        return Form([])
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused("unsupported_media_type", "send the form as `application/x-www-form-urlencoded`")
    if len(raw) > FORM_BYTES_MAX:
        raise Refused("body_too_large", f"the form has more than {FORM_BYTES_MAX} bytes; write less")
    try:
        fields = parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError:
        raise Refused("invalid_body", "the form can't be read; send it from its own page") from None
    if any("\0" in value for _, value in fields):
        raise Refused("invalid_body", "the form contains a NUL character; remove it")
    return Form(fields)


def read_moment(text: str, *, name: str) -> datetime | None:
    """An instant as a field for dates sends it, in UTC where it says no offset; None for none. Refused
    `invalid_query`."""
    said = text.strip().replace(" ", "T")
    if not said:
        return None
    return read_instant(said if _OFFSET.search(said) else f"{said}Z", name=name)


def read_units(text: str, *, name: str, least: int = 0) -> int:
    """A whole number as people write it, `5,000`. Refused `invalid_query`."""
    digits = text.strip().replace(",", "").replace(" ", "")
    if not _DIGITS.fullmatch(digits) or not least <= int(digits) <= QUANTITY_MAX:
        mistake = Mistake("", f"`{name}` must be a whole number from {least} on")
        raise invalid("invalid_query", "the form", [mistake])
    return int(digits)
