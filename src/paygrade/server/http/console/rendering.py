"""Pages: a template, what it shows, and the headers that keep it to itself.

Laws: everything a template shows is escaped; a page runs nothing but our own files, loads nothing from elsewhere, and
stands in nobody's frame; it is kept by no cache. Templates are compiled once in a process.
"""

from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Response

from paygrade.server.http.auth import person_before
from paygrade.server.http.console import wording
from paygrade.server.http.console.assets import address
from paygrade.server.http.console.places import current, places
from paygrade.server.http.context import HttpRequest, context_of
from paygrade.values.errors import Unavailable

THEME = "paygrade_theme"
"""The cookie that says which colours somebody wants; without it, those of their system."""
THEMES = ("light", "dark")
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    # Not `no-referrer`: with that, browsers send `Origin: null` with our own forms
    # (https://fetch.spec.whatwg.org/#append-a-request-origin-header).
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


@cache
def environment() -> Environment:
    """All templates, and the words they write figures and instants in."""
    made = Environment(
        loader=PackageLoader("paygrade.server.http.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals |= {"asset": address, "link": link}
    made.filters |= wording.FILTERS
    return made


def page(request: HttpRequest, template: str, *, status: int = 200, **shown: Any) -> Response[str]:
    """A page. Any: what its template shows. Every template sees, too: `person`, `may(scope)`, `now`, `path`, `places`,
    `theme` and `mode`."""
    context, who = context_of(request.scope), person_before(request)
    scopes = who.scopes if who is not None else frozenset()
    theme = request.cookies.get(THEME, "")
    always = {
        "person": who.person if who is not None else None,
        "may": scopes.__contains__,
        "now": _now(request),
        "path": request.scope["path"],
        "here": here(request),
        "current": current(request.scope["path"]),
        "places": places(scopes),
        "theme": theme if theme in THEMES else "",
        "mode": context.keys.mode,
        "is_simulated": context.simulator is not None,
        "host": request.headers.get("host", ""),
    }
    html = environment().get_template(template).render(always | shown)
    return Response(html, status_code=status, media_type="text/html", headers=HEADERS)


def here(request: HttpRequest) -> str:
    """The address that was asked for, within this server."""
    query = request.scope["query_string"].decode("latin-1")
    return request.scope["path"] + (f"?{query}" if query else "")


def link(*segments: object, **query: object) -> str:
    """An address of the console: its segments encoded, and what is asked for, without what is empty."""
    said = {name: value for name, value in query.items() if value not in (None, "")}
    path = "/".join(["/console", *(quote(str(segment), safe="") for segment in segments)])
    return path + (f"?{urlencode(said)}" if said else "")


def see_other(path: str) -> Response[None]:
    """Go on there, by GET: after a form, going back sends nothing twice."""
    return Response(None, status_code=303, headers={"location": path, "cache-control": "no-store"})


def _now(request: HttpRequest) -> datetime | None:
    try:
        return context_of(request.scope).clock.now()
    except Unavailable:  # an error page says so, and needs no time
        return None
