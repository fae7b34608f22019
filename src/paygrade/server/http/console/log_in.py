"""Log in and out, choose a password, choose colours: what is open to whoever is not logged in.

Laws: what is sent comes from our own pages; one goes on to a path of this server and nowhere else; what is wrong is
said where it was written, and what was right stays written, but for passwords.
"""

from datetime import timedelta
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from msgspec import ValidationError

from paygrade.server.http.auth import SESSION, let_in, person_before, refuse_other_origin, session_cookie
from paygrade.server.http.console.rendering import THEME, THEMES, link, page, see_other
from paygrade.server.http.console.screens import read_form
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.parameters import text
from paygrade.server.http.problems import KINDS, request_id
from paygrade.server.http.routes.oidc import is_local
from paygrade.server.http.routes.people import limited
from paygrade.server.operations import people
from paygrade.server.operations.people import PASSWORD_LENGTH_MIN, LogIn, PasswordChange
from paygrade.server.process.acting import SYSTEM, Acting, set_acting
from paygrade.values.errors import Refused

_YEAR_S = 365 * 24 * 3600
_Next = Annotated[str, text("A path of this server to go to afterwards.")]


@get("/console/login")
async def show_log_in(request: HttpRequest, context: InContext, next: _Next = "") -> Response[Any]:
    """The page where people log in. Any: it, or a way on for who has logged in."""
    if SESSION in request.cookies:
        try:
            await let_in(request, None)
            return see_other(_local(next))
        except Refused:  # that session has ended
            pass
    return _log_in_page(request, context, next=next)


@post("/console/login", status_code=303)
async def log_in(request: HttpRequest, context: InContext) -> Response[Any]:
    """Any: a way on, or the page with what was wrong."""
    refuse_other_origin(request)
    form = await read_form(request)
    at = context.clock.now()
    _act(request)
    try:
        asked = _read(LogIn, {"email": form["email"], "password": _raw(form, "password"), "code": form["code"] or None})
        with limited(request, context):
            session = await people.log_in(context.store, context.passwords, asked, at)
    except Refused as error:
        return _log_in_page(request, context, next=form["next"], email=form["email"], error=error)
    on = _local(form["next"])
    response = see_other(on if not session.person.must_change else link("password", next=form["next"]))
    secure = request.headers.get("origin", "").startswith("https:")
    response.headers["set-cookie"] = session_cookie(session.secret, session.ends_at - at, secure=secure)
    return response


@post("/console/logout", status_code=303)
async def log_out(request: HttpRequest, context: InContext) -> Response[None]:
    refuse_other_origin(request)
    held = request.cookies.get(SESSION)
    if held is not None:
        await people.log_out(context.store, held)
    response = see_other(link("login"))
    response.headers["set-cookie"] = session_cookie("", timedelta(0), secure=False)
    return response


@get("/console/password")
async def show_password(request: HttpRequest, next: _Next = "") -> Response[str]:
    """The page where somebody chooses a password of their own."""
    await let_in(request, None)
    return _password_page(request, next=next)


@post("/console/password", status_code=303)
async def change_password(request: HttpRequest, context: InContext) -> Response[Any]:
    """Any: a way on, or the page with what was wrong."""
    who = await let_in(request, None)
    form = await read_form(request)
    secret, new = request.cookies[SESSION], _raw(form, "new")
    try:
        if new != _raw(form, "again"):
            raise Refused("invalid_body", "the new password was written in two ways; write it again")
        if len(new) < PASSWORD_LENGTH_MIN:
            raise Refused("invalid_body", f"a password has {PASSWORD_LENGTH_MIN} characters or more; add some")
        asked = _read(PasswordChange, {"old": _raw(form, "old"), "new": new})
        with limited(request, context):
            await people.change_password(
                context.store, context.passwords, asked, who, secret=secret, at=context.clock.now()
            )
    except Refused as error:
        return _password_page(request, next=form["next"], error=error)
    return see_other(_local(form["next"]))


@post("/console/theme", status_code=303)
async def choose_theme(request: HttpRequest) -> Response[None]:
    """Which colours: `light`, `dark`, or with anything else those of the system."""
    refuse_other_origin(request)
    form = await read_form(request)
    response = see_other(_local(form["back"]))
    chosen = form["theme"] if form["theme"] in THEMES else ""
    lasts = _YEAR_S if chosen else 0
    response.headers["set-cookie"] = f"{THEME}={chosen}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Lax"
    return response


OPEN = [show_log_in, log_in, log_out, show_password, change_password, choose_theme]


def _log_in_page(
    request: HttpRequest, context: InContext, *, next: str, email: str = "", error: Refused | None = None
) -> Response[str]:
    provider = context.oidc.settings.name if context.oidc is not None else None
    on = _local(next)
    return page(
        request,
        "log_in.html",
        status=KINDS[error.code].status if error is not None else 200,
        next=on,
        email=email,
        error=error,
        provider=provider,
    )


def _password_page(request: HttpRequest, *, next: str, error: Refused | None = None) -> Response[str]:
    status = KINDS[error.code].status if error is not None else 200
    who = person_before(request)
    assert who is not None
    return page(
        request, "password.html", status=status, next=_local(next), error=error, least=PASSWORD_LENGTH_MIN,
        issuer=who.person.issuer, must_change=who.person.must_change,
    )  # fmt: skip


def _local(next: str) -> str:
    return next if is_local(next) else link()


def _raw(form: Any, name: str) -> str:
    """A password is what was typed, with its spaces. Any: a Form."""
    return next(iter(form.every(name)), "")


def _read(kind: Any, fields: dict[str, Any]) -> Any:
    """Any: one of the structs above, and its fields."""
    try:
        return msgspec.convert(fields, kind)
    except ValidationError:
        raise Refused("log_in_refused", "write an e-mail address and a password") from None


def _act(request: HttpRequest) -> None:
    host = request.client.host if request.client is not None else None
    set_acting(Acting(SYSTEM.actor, host, request_id(request)))
