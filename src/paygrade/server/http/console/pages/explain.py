"""Explain."""

from litestar import Response

from paygrade.server.http.console.rendering import page
from paygrade.server.http.console.screens import screen
from paygrade.server.http.context import HttpRequest


@screen("/explain", scope="decisions:read")
async def show_explain(request: HttpRequest) -> Response[str]:
    return page(request, "home.html")
