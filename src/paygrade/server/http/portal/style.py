"""The deployment's own colours, as a file: a page holds no style of its own.

Law: a colour was checked when the settings were read, so nothing else can stand in the file.
"""

from litestar import Response, get

from paygrade.server.http.conditional import names, strong_tag
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.process.portal_settings import PortalSettings

OWN = """
.portal .btns form { display: contents; }
.portal details.inline summary { font: var(--t2); color: var(--stop-ink); cursor: pointer; }
.portal details.inline[open] { text-align: start; }
.portal .people label:has(:checked) b::after { content: " " attr(data-keeps); }
.portal .plans form { display: grid; gap: var(--s2); }
.portal .plans > li > ul { flex: 1; }
"""
"""What the pages need beside the console's style."""


@get("/portal/style.css")
async def send_style(request: HttpRequest, context: InContext) -> Response[bytes]:
    body = (OWN + colours(context.portal)).encode()
    headers = {"etag": strong_tag(body), "cache-control": "public, max-age=300", "x-content-type-options": "nosniff"}
    if names(request.headers.getall("if-none-match", []), headers["etag"], weakly=True):
        return Response(b"", status_code=304, headers=headers)
    return Response(body, media_type="text/css; charset=utf-8", headers=headers)


def colours(settings: PortalSettings) -> str:
    """Each that is said: for light pages, and for dark ones where another is said."""
    found = []
    for name, light in settings.colours.items():
        if not name.endswith("-dark"):
            dark = settings.colours.get(f"{name}-dark", light)
            found.append(f"  --{name}: light-dark({light}, {dark});")
    return ":root, .portal {\n" + "\n".join(found) + "\n}\n" if found else ""
