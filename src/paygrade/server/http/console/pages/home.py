"""Home: what needs a person."""

from litestar import Response

from paygrade.server.http.auth import scopes_of
from paygrade.server.http.console import endings, unbilled
from paygrade.server.http.console.rendering import page
from paygrade.server.http.console.screens import screen
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.operations.attention import attention


@screen("", scope="accounts:read")
async def show_home(request: HttpRequest, context: InContext) -> Response[str]:
    found = await attention(context.store, scopes=scopes_of(request), at=context.clock.now())
    return page(
        request,
        "home.html",
        found=found,
        tones=endings.TONES,
        told_ending=endings.told_ending,
        state_until=endings.state_until,
        told_failure=unbilled.told_failure,
        told_report=unbilled.told_report,
        provider=context.provider,
    )
