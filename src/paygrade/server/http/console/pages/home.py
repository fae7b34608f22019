"""Home: what needs attention."""

from litestar import Response

from paygrade.server.http.console.rendering import page
from paygrade.server.http.console.screens import screen
from paygrade.server.http.context import HttpRequest


@screen("", scope="accounts:read")
async def show_home(request: HttpRequest) -> Response[str]:
    return page(request, "home.html")
