"""Links to the customers' pages: opened for somebody, and ended."""

from litestar import delete, post
from litestar.params import FromPath

from paygrade.server.http.bodies import invalid, read_body, read_key
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.operations.accounts import portal_sessions
from paygrade.server.operations.accounts.portal_sessions import PortalRequest, PortalSession
from paygrade.server.process.outbound import check_page
from paygrade.values.errors import Mistake

ASKED = {"member": "ann", "return_url": "https://app.example.com/settings"}
ANSWERED = {
    "account": "acme",
    "id": "ps_7f3a9c51e0b2d4486a10",
    "url": "https://paygrade.example.com/portal/portal_4fGv0pZrXo8rKq2mT6yH1cUeW9sLbN3dJaQxPiVkRzM",
    "member": "ann",
    "expires_at": "2026-11-21T10:00:00Z",
}


@post(
    "/v1/accounts/{account:str}/portal-sessions",
    status_code=201,
    response_headers={"cache-control": "no-store"},
    opt=describe(
        "own pages",
        portal_sessions.open_pages,
        sent=Sent(ASKED, PortalRequest),
        example=ANSWERED,
        scope="portal:write",
    ),
)
async def open_pages(account: FromPath[str], request: HttpRequest, context: InContext) -> PortalSession:
    asked = read_body(PortalRequest, await request.body() or b"{}")
    if asked.member is not None:
        read_key(asked.member, pointer="/member", noun="member")
    if asked.return_url is not None:
        try:
            check_page(asked.return_url, of_tests=context.keys.mode != "live")
        except ValueError as wrong:
            raise invalid("invalid_body", "the body", [Mistake("/return_url", str(wrong))]) from None
    return await portal_sessions.open_pages(
        context.store, asked, account=account, base_url=base_url(request, context), at=context.clock.now()
    )


@delete(
    "/v1/accounts/{account:str}/portal-sessions/{session:str}",
    status_code=204,
    opt=describe("own pages", portal_sessions.end_pages, scope="portal:write"),
)
async def end_pages(account: FromPath[str], session: FromPath[str], context: InContext) -> None:
    await portal_sessions.end_pages(context.store, account=account, id=session, at=context.clock.now())


def base_url(request: HttpRequest, context: Context) -> str:
    """What browsers reach this server by: as it is set, else as this request has reached it."""
    if context.public_url is not None:
        return context.public_url
    return f"{request.scope['scheme']}://{request.headers.get('host', 'localhost')}"
