"""How an account's units of a credit burn down, and how long they last at that pace."""

from litestar import Response
from litestar.params import FromPath

from paygrade.server.http.console.burn_chart import burn_chart
from paygrade.server.http.console.rendering import page
from paygrade.server.http.console.screens import screen
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.operations.burn_down import LOOKS_BACK, burn_down


@screen("/accounts/{account:str}/credits/{feature:str}", scope="usage:read")
async def show_burn_down(
    account: FromPath[str], feature: FromPath[str], request: HttpRequest, context: InContext
) -> Response[str]:
    found = await burn_down(context.store, account=account, credit=feature, now=context.clock.now())
    return page(
        request, "burn_down.html", found=found, chart=burn_chart(found), days=LOOKS_BACK.days,
        balance=found.samples[-1].balance,
    )  # fmt: skip
