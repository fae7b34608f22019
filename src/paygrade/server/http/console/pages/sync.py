"""Billing sync: how far what is stored is behind, what differs, what can't be read, and comparing everything anew."""

from typing import Annotated, Any

from litestar import Response
from litestar.params import FromPath
from litestar.response import Stream

from paygrade.server.http.bodies import read_flag
from paygrade.server.http.console.progress import follow
from paygrade.server.http.console.rendering import link, page, see_other
from paygrade.server.http.console.screens import action, read_form, screen
from paygrade.server.http.console.sending import Sending, make_key, send
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.parameters import flag, number
from paygrade.server.http.problems import KINDS
from paygrade.server.operations.sync import repair
from paygrade.server.operations.sync.glance import sync_glance
from paygrade.values.errors import Refused, Unavailable

SHOWN = 50


@screen("/sync", scope="billing:read")
async def show_sync(
    request: HttpRequest,
    context: InContext,
    every: Annotated[str | None, flag("Differences that are healed, too.")] = None,
    before: Annotated[int | None, number("Differences with a smaller id.")] = None,
) -> Response[str]:
    return await _sync(request, context, every=every is not None and read_flag(every, name="every"), before=before)


@action("/sync/sweep", scope="billing:sync")
async def sweep(request: HttpRequest, context: InContext) -> Response[Any]:
    """Compare everything, or only look. Any: the page, or the way to the sweep."""
    form = await read_form(request)
    try:
        context.require_provider()
        body = {"dry_run": form["do"] == "dry-run"}
        done = await send(request, Sending("POST", ("sync", "sweep"), body, key=form["key"]))
    except (Refused, Unavailable) as error:
        return await _sync(request, context, error=error)
    return see_other(link("sync", "sweeps", str(done.answer["sweep"]["id"])))


@action("/sync/accounts/{account:str}", scope="billing:sync")
async def read_again(account: FromPath[str], request: HttpRequest, context: InContext) -> Response[Any]:
    """Read one account from the provider now: what differed is healed by it. Any: the page, or the way back."""
    try:
        await send(request, Sending("POST", ("accounts", account, "refresh"), query={"wait_s": "2"}))
    except (Refused, Unavailable) as error:
        return await _sync(request, context, error=error)
    return see_other(link("sync", read=account))


@screen("/sync/sweeps/{sweep:str}", scope="billing:read")
async def show_sweep(sweep: FromPath[str], request: HttpRequest, context: InContext) -> Response[str]:
    found = await repair.load_sweep(context.store, id=_number(sweep))
    status = await sync_glance(context.store, context.provider, now=context.clock.now())
    return page(request, "sweep.html", sweep=found, expected=status.repair.subscriptions)


@screen("/sync/sweeps/{sweep:str}/tail", scope="billing:read")
async def follow_sweep(sweep: FromPath[str], request: HttpRequest, context: InContext) -> Stream:
    """How many subscriptions are compared, as it grows."""

    async def look() -> tuple[int, bool]:
        found = await repair.load_sweep(context.store, id=_number(sweep))
        return found.counts.subscriptions, found.finished_at is not None

    return await follow(request, context, look)


def _number(sweep: str) -> int:
    return int(sweep) if sweep.isascii() and sweep.isdecimal() and len(sweep) <= 18 else 0


async def _sync(
    request: HttpRequest,
    context: InContext,
    *,
    every: bool = False,
    before: int | None = None,
    error: Refused | Unavailable | None = None,
) -> Response[str]:
    status = await sync_glance(context.store, context.provider, now=context.clock.now())
    drift = await repair.list_drift(context.store, open_only=not every, before=before, limit=SHOWN)
    return page(
        request,
        "sync.html",
        status=KINDS[error.code].status if error is not None else 200,
        sync=status,
        drift=drift.drift,
        next=drift.next,
        every=every,
        before=before,
        read=request.query_params.get("read", ""),
        has_provider=context.has_provider,
        error=error,
        key=make_key(),
    )
