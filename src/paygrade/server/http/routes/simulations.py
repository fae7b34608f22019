"""What if: a draft of the catalog, played over what was used. It changes nothing."""

from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any

from litestar import Response, post
from litestar.params import QueryParameter

from paygrade.server.http.bodies import read_instant
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import After, choice, instant, read_choice, text
from paygrade.server.http.routes import examples
from paygrade.server.http.routes.catalogs import EXISTING, read_document, read_existing
from paygrade.server.http.tables import MEDIA_TYPES, NOT_WRITTEN, TableFormat, answer_table
from paygrade.server.operations.catalog import simulate
from paygrade.values.periods import parse_duration

_Limit = Annotated[int, QueryParameter(ge=1, le=simulate.ACCOUNTS_MAX, description="Accounts of a page, at most.")]
_What = Annotated[str | None, choice("what", simulate.WHATS, "Only rows with this difference.")]


_SIMULATION = {
    "since": "2026-08-12T09:00:00Z",
    "until": "2026-11-10T09:00:00Z",
    "base_version": 3,
    "accounts": 100,
    "entries": 8120,
    "rows": [
        {
            "account": "acme",
            "feature": "api_calls",
            "what": "loses denied",
            "had": "10000",
            "has": "5000",
            "used_before": 7310,
            "used": 5000,
            "denied_before": 0,
            "denied": 2310,
            "denied_units_before": 0,
            "denied_units": 2310,
            "first_denied_at": "2026-10-21T16:02:11Z",
            "reason": "limit_reached",
            "over_units_before": 0,
            "over_units": 0,
            "too_many_before": 0,
            "too_many": 0,
            "currency": None,
            "cost_before": 0,
            "cost": 0,
            "from_at": None,
        }
    ],
    "next": "globex",
}


def read_since(said: str) -> datetime | timedelta | None:
    """An instant, or how long. Refused `invalid_query`."""
    try:
        return parse_duration(said)
    except OverflowError:
        return timedelta.max  # which is refused as too long
    except ValueError:
        return read_instant(said, name="since")


@post(
    "/v1/catalog/simulate",
    status_code=200,
    opt=describe(
        "catalog",
        simulate.simulate_catalog,
        sent=Sent(examples.CATALOG, media_types=("application/json", "application/yaml")),
        problems=("unsupported_media_type", *NOT_WRITTEN),
        example=_SIMULATION,
        also=MEDIA_TYPES,
        kind=simulate.Simulation,
        repeating="reads",
        scope="catalog:publish",
    ),
)
async def simulate_catalog(
    request: HttpRequest,
    context: InContext,
    since: Annotated[str, text("From when on: an instant, or how long before the end, 400 days at most.")] = "90d",
    until: Annotated[str | None, instant("Until when; now if absent.")] = None,
    existing: Annotated[str | None, EXISTING] = None,
    account: Annotated[str | None, text("Only this account, with all that it used.")] = None,
    what: _What = None,
    after: After = "",
    limit: _Limit = simulate.ACCOUNTS_MAX,
    in_format: TableFormat = None,
) -> Response[Any]:  # Any: a page, or a file
    document, lines = read_document(request.headers.get("content-type", ""), await request.body())
    at = context.clock.now()
    span = simulate.read_span(read_since(since), read_instant(until, name="until"), at)
    catalogs = await simulate.draft_of(
        context.store, document=document, lines=lines, existing=read_existing(existing), at=at
    )
    ask = partial(
        simulate.simulate_catalog,
        context.store,
        catalogs=catalogs,
        span=span,
        what=read_choice(what, simulate.WHATS, name="what"),
        account=account,
    )
    return await answer_table(
        ask, simulate.SimulatedRow, after=after, limit=limit, in_format=in_format, file_limit=simulate.ACCOUNTS_MAX
    )
