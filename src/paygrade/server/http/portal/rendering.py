"""The customers' pages: a template, what it shows, and the headers that keep it to itself.

Laws: those of the console's pages hold here, too; nothing of the address, which is a secret, goes to another server.
"""

from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Response

from paygrade.server.http.console.assets import address
from paygrade.server.http.console.rendering import HEADERS, THEME, THEMES
from paygrade.server.http.console.wording import share
from paygrade.server.http.context import Context, HttpRequest, context_of
from paygrade.server.http.portal.wording import Words, spoken, texts_of
from paygrade.server.operations.accounts.portal_sessions import PortalVisit
from paygrade.values.errors import Unavailable

BACK = "paygrade_portal"
"""The cookie that leads who comes back from a provider's page to the page they came from."""
BACK_PATH = "/portal/back"


@cache
def environment() -> Environment:
    """All templates, compiled once in a process."""
    made = Environment(
        loader=PackageLoader("paygrade.server.http.portal"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    made.globals["asset"] = address
    made.filters["share"] = share
    return made


class Place:
    """Whose pages, and where they are: every address is below the link's own."""

    def __init__(self, secret: str, visit: PortalVisit) -> None:
        self.secret, self.visit = secret, visit

    def __call__(self, *segments: str, at: str = "", **query: str) -> str:
        path = "/".join(["/portal", self.secret, *(quote(segment, safe="") for segment in segments)])
        return path + (f"?{urlencode(query)}" if query else "") + (f"#{at}" if at else "")


def words_for(request: HttpRequest, visit: PortalVisit | None) -> Words:
    """The language that the link says, else the browser's."""
    context = context_of(request.scope)
    wanted = request.headers.get("accept-language", "")[:200].split(",")
    if visit is not None and visit.language is not None:
        wanted.insert(0, visit.language)
    language = spoken(wanted, context.portal)
    try:
        now = context.clock.now()
    except Unavailable:  # a page that says so needs no time
        now = None
    return Words(language, texts_of(language, context.portal), now)


def page(
    request: HttpRequest, template: str, words: Words, place: Place | None, *, status: int = 200, **shown: Any
) -> Response[str]:
    """A page. Any: what its template shows."""
    context = context_of(request.scope)
    theme = request.cookies.get(THEME, "")
    always = {
        "w": words,
        "say": words.say,
        "place": place,
        "visit": place.visit if place is not None else None,
        "portal": context.portal,
        "home": _home(context, place),
        "theme": theme if theme in THEMES else "",
    }
    html = environment().get_template(template).render(always | shown)
    return Response(html, status_code=status, media_type="text/html", headers=HEADERS)


def leave(request: HttpRequest, words: Words, place: Place, url: str) -> Response[str]:
    """On to a page of the provider. A page of ours, since browsers hold a form's redirect to `form-action`."""
    response = page(request, "leaving.html", words, place, url=url)
    secure = "; Secure" if request.headers.get("origin", "").startswith("https:") else ""
    cookie = f"{BACK}={place.secret}; Path={BACK_PATH}; Max-Age=86400; HttpOnly; SameSite=Lax{secure}"
    # The page's own language is known; the address is the provider's, and has no line break in it.
    response.headers |= {"refresh": f"0; url={url}", "set-cookie": cookie}
    return response


def _home(context: Context, place: Place | None) -> str | None:
    own = place.visit.return_url if place is not None else None
    return own or context.portal.home_url
