"""One account: what it has and why, what it uses, how its subscription goes on, and what happened to it."""

from datetime import datetime
from typing import Annotated, Any

from litestar import Response
from litestar.params import FromPath

from paygrade.billing.audit_chain import AuditFilter
from paygrade.server.http.auth import scopes_of
from paygrade.server.http.console.access_view import feature_row
from paygrade.server.http.console.asking import Answered, By, answer, read_question
from paygrade.server.http.console.course import course
from paygrade.server.http.console.history import deed, override_words, recent
from paygrade.server.http.console.rendering import link, page
from paygrade.server.http.console.screens import read_moment, screen
from paygrade.server.http.console.sending import make_key
from paygrade.server.http.console.unbilled import told_failure
from paygrade.server.http.console.wording import words
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.parameters import text
from paygrade.server.operations.accounts.contracts import list_contracts
from paygrade.server.operations.accounts.members import list_members
from paygrade.server.operations.accounts.timeline import timeline
from paygrade.server.operations.accounts.top_ups import list_top_ups
from paygrade.server.operations.audit_log import list_account_records
from paygrade.server.operations.changes.plan_changes import list_changes
from paygrade.server.operations.portrait import portrait
from paygrade.server.operations.usage.history import read_usage
from paygrade.values.errors import Refused

RECENT, WINDOWS, MEMBERS, TOP_UPS, CONTRACTS = 12, 12, 50, 6, 20
"""How much of each is on the page."""
Word = Annotated[str, text("A part of a question about this account.")]


@screen("/accounts/{account:str}", scope="accounts:read")
async def show_account(
    account: FromPath[str],
    request: HttpRequest,
    context: InContext,
    feature: Word = "",
    quantity: Word = "",
    member: Word = "",
    at: Word = "",
    waits: Annotated[str, text("The id of a change that waits for a second person.")] = "",
    read: Annotated[str, text("What came of reading it again: `now` or `late`.")] = "",
    as_of: Annotated[str, text("The instant to see everything as of, in UTC; now if empty.")] = "",
    by: By = "",
) -> Response[str]:
    error: Refused | None = None
    answered: Answered | None = None
    if feature:
        try:
            answered = await answer(
                context, read_question(account=account, feature=feature, quantity=quantity, member=member, at=at)
            )
        except Refused as refused:
            error = refused
    asked = {"feature": feature, "quantity": quantity, "member": member, "at": at}
    return await account_page(
        request,
        context,
        account,
        as_of=as_of,
        by=by,
        asked=asked,
        answered=answered,
        error=error,
        waits=waits,
        read=read,
    )


async def account_page(
    request: HttpRequest,
    context: Context,
    account: str,
    *,
    as_of: str = "",
    by: str = "",
    asked: dict[str, str],
    answered: Answered | None = None,
    error: Refused | None = None,
    waits: str = "",
    read: str = "",
) -> Response[str]:
    """The page. Refused `unknown_account`, `invalid_query`."""
    now = context.clock.now()
    at = read_moment(as_of, name="as_of") or now
    found = await portrait(context.store, account=account, at=at, now=now, believed=by != "now")
    rows = [feature_row(key, each) for key, each in found.features.items()]
    return page(
        request,
        "account.html",
        status=400 if error is not None else 200,
        found=found,
        account=found.account,
        as_of=at if as_of else None,
        by=by if at < now else "now",
        features=[row for row in rows if not row.found.is_credit],
        credits=[row for row in rows if row.found.is_credit],
        course=course(found, at),
        choices=[(row.key, words(row.key)) for row in rows],
        asked=asked,
        answered=answered,
        error=error,
        waits=waits,
        read=read,
        provider=context.provider,
        can_refresh=context.has_provider,
        **await _beside(request, context, account, now),
    )


async def _beside(request: HttpRequest, context: Context, account: str, now: datetime) -> dict[str, Any]:
    """What stands below and beside what it has. Any: of every kind."""
    scopes = scopes_of(request)
    members = await list_members(context.store, account=account, at=now)
    told = await timeline(context.store, account=account, limit=RECENT)
    usage = await read_usage(context.store, account=account, at=now) if "usage:read" in scopes else None
    changes = await list_changes(context.store, account=account, limit=5) if "plan_changes:read" in scopes else None
    billed = "billing:read" in scopes
    top_ups = await list_top_ups(context.store, account=account, limit=TOP_UPS) if billed else None
    agreed = await list_contracts(context.store, account=account, limit=CONTRACTS, at=now) if billed else None
    audit = None
    if "audit:read" in scopes:
        audit = await list_account_records(context.store, AuditFilter(), account=account, before=None, limit=8)
    return {
        "members": members,
        "shown_members": members.members[:MEMBERS],
        "recent": recent(told, RECENT),
        "windows": usage.windows[:WINDOWS] if usage is not None else (),
        "changes": changes.changes if changes is not None else (),
        "top_ups": top_ups.top_ups if top_ups is not None else (),
        "contracts": agreed.contracts if agreed is not None else (),
        "told_failure": told_failure,
        "key_of_form": make_key(),
        "audit": [deed(record) for record in audit.records] if audit is not None else [],
        "override_words": override_words,
        "here_as": link("accounts", account),
    }
