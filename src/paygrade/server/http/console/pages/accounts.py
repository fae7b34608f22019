"""Accounts: found by key, name or the provider's id; left out by plan, state and finding; as a page or as CSV."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, get_args

from litestar import Response
from litestar.response import Stream

from paygrade.documents.spreadsheets import write_csv
from paygrade.server.http.console import endings
from paygrade.server.http.console.rendering import link, page, see_other
from paygrade.server.http.console.screens import screen
from paygrade.server.http.console.wording import iso, state_words
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.parameters import choice, read_choice, text
from paygrade.server.operations.accounts.survey import Survey, Surveyed, survey
from paygrade.values.states import State

STATES: tuple[State, ...] = get_args(State)
PAGE, CSV_PAGE, CSV_MAX = 50, 500, 100_000
"""Accounts on a page, on a reading for a file, and in a file."""
VIEWS: tuple[tuple[str, dict[str, str]], ...] = (
    ("All", {}),
    ("Past due", {"state": "past_due"}),
    ("Grace", {"state": "grace"}),
    ("Trial", {"state": "trialing"}),
    ("Canceled", {"state": "canceled"}),
    ("Findings", {"finding": "any"}),
)
_COLUMNS = ("account", "name", "plan", "state", "customers", "members", "overrides", "findings", "since", "next")
Search = Annotated[str, text("Part of a key or name, or a customer's id.")]
InState = Annotated[str, choice("state", STATES, "Leaves out all others.")]
Word = Annotated[str, text("Leaves out all others.")]


@screen("/accounts", scope="accounts:read")
async def show_accounts(
    request: HttpRequest,
    context: InContext,
    q: Search = "",
    plan: Word = "",
    stands: InState = "",
    finding: Word = "",
    after: Annotated[str, text("Accounts after this key.")] = "",
) -> Response[Any]:
    """Any: the page, or the way to the one account that is meant."""
    found = await _found(context, q=q, plan=plan, state=stands, finding=finding, after=after, limit=PAGE)
    asked = {"q": q, "plan": plan, "state": stands, "finding": finding}
    if (only := _meant(found, q)) is not None:
        return see_other(link("accounts", only))
    said = {name: value for name, value in asked.items() if value}
    catalog = await context.snapshots.catalog(context.store)
    return page(
        request,
        "accounts.html",
        found=found,
        asked=asked,
        plans=[("", "Any"), *((key, key) for key in catalog.plans)],
        states=[("", "Any"), *((each, state_words(each)) for each in STATES)],
        views=[(link("accounts", **its), name, its == said) for name, its in VIEWS],
        csv=link("accounts.csv", **said),
        following=link("accounts", **said, after=found.next) if found.next is not None else None,
        first=link("accounts", **said) if after else None,
        state_until=endings.state_until,
        told_ending=endings.told_ending,
    )


@screen("/accounts.csv", scope="accounts:read")
async def send_accounts(
    context: InContext, q: Search = "", plan: Word = "", stands: InState = "", finding: Word = ""
) -> Stream:
    first = await _found(context, q=q, plan=plan, state=stands, finding=finding, after="", limit=CSV_PAGE)

    async def lines() -> AsyncIterator[str]:
        yield write_csv([_COLUMNS])
        found, count = first, 0
        while True:
            yield write_csv(map(_row, found.accounts))
            count += len(found.accounts)
            if found.next is None or count >= CSV_MAX:
                return
            found = await _found(
                context, q=q, plan=plan, state=stands, finding=finding, after=found.next, limit=CSV_PAGE
            )

    headers = {"content-disposition": 'attachment; filename="accounts.csv"', "cache-control": "no-store"}
    return Stream(lines(), media_type="text/csv; charset=utf-8", headers=headers)


async def _found(context: Context, *, q: str, plan: str, state: str, finding: str, after: str, limit: int) -> Survey:
    known = read_choice(state or None, STATES, name="state")
    return await survey(
        context.store, after=after, limit=limit, search=q.strip(), plan=plan or None, state=known,
        finding=finding or None, at=context.clock.now(),
    )  # fmt: skip


def _meant(found: Survey, q: str) -> str | None:
    """The account that was named whole, by its key or a customer's id, where nothing else fits."""
    its = found.accounts[0].account if len(found.accounts) == 1 else None
    return its.account if its is not None and q.strip() in (its.account, *its.customers) else None


def _row(each: Surveyed) -> list[object]:
    its, told = each.account, each.overview
    coming = each.coming[0] if each.coming else None
    return [
        its.account, its.name, told.plan or "", told.state or "", " ".join(its.customers), len(its.members),
        len(its.overrides), len(told.findings), iso(its.since) if its.since is not None else "",
        f"{iso(coming.ends_at)} {endings.told_ending(coming)}" if coming is not None else "",
    ]  # fmt: skip
