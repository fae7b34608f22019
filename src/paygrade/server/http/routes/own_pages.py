"""What an account's own pages read: how it stands, and what is on sale. The custom elements ask for nothing else."""

from typing import Annotated

from litestar import get
from litestar.params import FromPath

from paygrade.server.http.auth import allowed_member, for_pages, is_page, token_of
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import describe
from paygrade.server.http.parameters import text
from paygrade.server.http.routes.ofrep_stream import EventStream, stream_of
from paygrade.server.operations.own_pages import on_sale, summary
from paygrade.values.errors import Refused


class OwnSummary(summary.AccountSummary, frozen=True, kw_only=True):
    """An account as its own pages show it. `event_stream` tells when to ask again; null: ask now and then."""

    event_stream: EventStream | None = None


@get(
    "/v1/plans",
    opt=for_pages() | describe("own pages", on_sale.list_on_sale, scope="plans:read"),
)
async def list_plans(context: InContext) -> on_sale.OnSale:
    return await on_sale.list_on_sale(context.store, context.snapshots, hidden=context.portal.hidden_plans)


@get(
    "/v1/accounts/{account:str}/summary",
    opt=for_pages() | describe("own pages", summary.summarize, scope="summary:read"),
)
async def get_summary(
    account: FromPath[str],
    request: HttpRequest,
    context: InContext,
    member: Annotated[str | None, text("The member who asks, for features with roles or seats.")] = None,
) -> OwnSummary:
    token = token_of(request)
    if token is None and is_page(request):
        raise Refused("insufficient_scope", "a publishable key opens no summary, since everybody can read it; use an "
                      "account token")  # fmt: skip
    member, at = allowed_member(request, account, member), context.clock.now()
    told = await summary.summarize(context.store, context.snapshots, account=account, member=member, at=at)
    address = await stream_of(context, account, member) if token is not None else None
    said = {name: getattr(told, name) for name in told.__struct_fields__}
    return OwnSummary(**said, event_stream=address.event_stream if address is not None else None)
