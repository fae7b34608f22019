"""Top-ups: units bought by themselves, how each purchase stands, and trying one again."""

from typing import Annotated

from litestar import get, post
from litestar.params import FromPath, QueryParameter

from paygrade.server.http.bodies import read_key
from paygrade.server.http.context import InContext
from paygrade.server.http.openapi import Query, describe
from paygrade.server.http.routes import examples
from paygrade.server.operations.accounts import top_ups
from paygrade.values.errors import Unavailable

PAGE_MAX = 500
PageSize = Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)]


@get(
    "/v1/accounts/{account:str}/top-ups",
    opt=describe(
        "List an account's top-ups",
        "billing",
        query=(
            Query("limit", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 100}, "At most so many."),
        ),
        example={"top_ups": [examples.TOP_UP]},
        problems=("invalid_key", "invalid_query", "unknown_account"),
    ),
)
async def list_top_ups(account: FromPath[str], parts: InContext, limit: PageSize = 100) -> top_ups.TopUpList:
    """What was bought by itself when units ran low, the latest first, and why what failed did."""
    key = read_key(account, pointer="", noun="account")
    return await top_ups.list_top_ups(parts.store, account=key, limit=limit)


@post(
    "/v1/accounts/{account:str}/top-ups/{top_up:str}/retry",
    status_code=202,
    opt=describe(
        "Try a top-up again",
        "billing",
        example={**examples.TOP_UP, "state": "asked", "round": 2, "reason": None, "resolved_at": None},
        problems=("invalid_key", "unknown_top_up", "top_up_not_failed", "top_up_open", "provider_not_configured"),
    ),
)
async def retry_top_up(account: FromPath[str], top_up: FromPath[str], parts: InContext) -> top_ups.TopUpView:
    """Have a failed top-up bought after all, with a new invoice. Once it is paid, others may follow in its window."""
    if not parts.has_provider:
        raise Unavailable("provider_not_configured", "no provider is set here; set PAYGRADE_STRIPE_API_KEY")
    key = read_key(account, pointer="", noun="account")
    return await top_ups.retry_top_up(parts.store, account=key, id=top_up, at=parts.clock.now())
