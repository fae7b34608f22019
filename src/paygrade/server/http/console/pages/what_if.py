"""What a draft would have meant: the same as `paygrade catalog simulate`, on the page where the draft is."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from litestar import Response

from paygrade.catalog.grandfathering import Grandfathering
from paygrade.server.http.console.screens import Form
from paygrade.server.http.context import InContext
from paygrade.server.http.parameters import read_choice
from paygrade.server.http.routes.simulations import read_since
from paygrade.server.http.tables import answer_table
from paygrade.server.operations.catalog import simulate
from paygrade.values.errors import Location

SPANS = (("7d", "7 days"), ("30d", "30 days"), ("90d", "90 days"), ("365d", "a year"))
SHOWN = 50
"""Accounts of a page."""


async def _ask(
    context: InContext, form: Form, document: dict[str, Any], lines: Mapping[str, Location], existing: Grandfathering
) -> partial[Any]:  # Any: the document, and a page that is awaited
    at = context.clock.now()
    catalogs = await simulate.draft_of(
        context.store, document=document, lines=lines, existing=Grandfathering(keep=existing.keep), at=at
    )
    span = simulate.read_span(read_since(form["since"] or "90d"), None, at)
    what = read_choice(form["what"] or None, simulate.WHATS, name="what")
    return partial(simulate.simulate_catalog, context.store, catalogs=catalogs, span=span, what=what)


async def page_of(
    context: InContext, form: Form, document: dict[str, Any], lines: Mapping[str, Location], existing: Grandfathering
) -> simulate.Simulation:
    """A page of accounts: the first, or with `more` the one behind `after`. Refused `invalid_query`,
    `catalog_invalid`. Any: JSON."""
    ask = await _ask(context, form, document, lines, existing)
    found: simulate.Simulation = await ask(after=form["after"] if form["do"] == "more" else "", limit=SHOWN)
    return found


async def file_of(
    context: InContext, form: Form, document: dict[str, Any], lines: Mapping[str, Location], existing: Grandfathering
) -> Response[Any]:
    """All of it as CSV. Refused as above. Any: JSON, and a file."""
    ask = await _ask(context, form, document, lines, existing)
    answer = await answer_table(
        ask, simulate.SimulatedRow, after="", limit=SHOWN, in_format="csv", file_limit=simulate.ACCOUNTS_MAX
    )
    answer.status_code = 200
    answer.headers["content-disposition"] = 'attachment; filename="what-if.csv"'
    return answer
