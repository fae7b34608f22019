"""Accounts."""

from litestar import Response

from paygrade.server.http.console.rendering import page
from paygrade.server.http.console.screens import screen
from paygrade.server.http.context import HttpRequest


@screen("/accounts", scope="accounts:read")
async def show_accounts(request: HttpRequest) -> Response[str]:
    return page(request, "home.html")
