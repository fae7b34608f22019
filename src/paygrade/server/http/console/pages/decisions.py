"""Decisions: what was answered to programs, as far as the server logs it, as it comes, and asked again."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from litestar import Response
from litestar.params import FromPath
from litestar.response import Stream
from msgspec import Struct

from paygrade.decisions.message import DecisionView
from paygrade.decisions.outcome import DecisionOutcome, LoggedDecision
from paygrade.server.http.auth import still_counts
from paygrade.server.http.console.access_view import told_of
from paygrade.server.http.console.asking import asked_of
from paygrade.server.http.console.live import live
from paygrade.server.http.console.rendering import link, page
from paygrade.server.http.console.screens import read_moment, screen
from paygrade.server.http.console.wording import sentence, shown_value, words
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.parameters import text
from paygrade.server.http.streams import Listening
from paygrade.server.operations import decision_log
from paygrade.server.state.broadcast import event

SHOWN, TOLD_MAX = 50, 200
"""On a page, and at once of what has come."""
LATE, BEAT_S = timedelta(seconds=5), 1.0
"""How much later than its answer a decision may be in the log, and how often the log is looked at."""
FIELDS = tuple(name for name in DecisionOutcome.__struct_fields__ if name != "version")
_Before = Annotated[str, text("The `next` of an earlier page.")]


class Field(Struct, frozen=True):
    """One field of an answer: as it was logged, and asked again by what was known then and by what is known now."""

    name: str
    logged: str
    believed: str
    true: str
    differs: bool


@screen("/developers/decisions", scope="decisions:read")
async def show_latest(request: HttpRequest, context: InContext, before: _Before = "") -> Response[str]:
    found = await decision_log.latest_logged(context.store, before=before or None, limit=SHOWN)
    first = found.decisions[0] if found.decisions else None
    since = first.at if first is not None else context.clock.now()
    return page(
        request,
        "decisions.html",
        found=found,
        before=before,
        kept=context.decision_log.kept if context.decision_log is not None else "",
        tail=link("developers", "decisions", "tail", since=since.isoformat(), after=first.id if first else ""),
        told_of=told_of,
        asked_of=asked_of,
    )


@screen("/developers/decisions/tail", scope="decisions:read")
async def follow_decisions(
    request: HttpRequest,
    context: InContext,
    since: Annotated[str, text("Decisions made after this instant; now if empty.")] = "",
    after: Annotated[str, text("The last decision that is known of those made until then.")] = "",
) -> Stream:
    """What comes, as server-sent events: each is a row of the page."""
    begin = read_moment(since, name="since") or context.clock.now()
    # Whoever connects again has seen what was sent before.
    last = request.headers.get("last-event-id", "")
    follower, _ = context.snapshots.broadcast.follow([], None)
    counts = still_counts(request, context)
    listening = Listening(follower, context.clock, until=None, counts=counts, beat_s=BEAT_S)
    return live(context, follower, _tail(context, listening, begin, max(after, last)))


async def _tail(context: Context, listening: Listening, since: datetime, after: str) -> AsyncIterator[bytes]:
    """The log is looked at with every beat, each time from a little before, for what other processes wrote late."""
    seen: set[str] | None = None
    while True:
        found = await decision_log.logged_since(context.store, at=since - LATE, limit=TOLD_MAX)
        for each in found:
            if each.id not in seen if seen is not None else each.id > after:
                yield event("row", msgspec.json.encode(_row(each)), id=each.id)
        seen = {each.id for each in found}
        since = max(since, found[-1].at) if found else since
        yield b": beat\n\n"
        await listening.next(None)


@screen("/accounts/{account:str}/decisions", scope="decisions:read")
async def show_decisions(
    account: FromPath[str],
    request: HttpRequest,
    context: InContext,
    feature: Annotated[str, text("Only decisions on this feature.")] = "",
    until: Annotated[str, text("Only decisions made before this instant, in UTC.")] = "",
    before: _Before = "",
) -> Response[str]:
    found = await decision_log.list_logged(
        context.store,
        account=account,
        feature=feature or None,
        before=before or None,
        limit=SHOWN,
        until=read_moment(until, name="until"),
    )
    catalog = await context.snapshots.catalog(context.store)
    return page(
        request,
        "account_decisions.html",
        account=account,
        found=found,
        feature=feature,
        until=until,
        before=before,
        features=[("", "Every feature"), *((key, words(key)) for key in (*catalog.features, *catalog.credits))],
        kept=context.decision_log.kept if context.decision_log is not None else "",
        told_of=told_of,
        asked_of=asked_of,
    )


@screen("/accounts/{account:str}/decisions/{decision:str}", scope="decisions:read")
async def show_decision(
    account: FromPath[str], decision: FromPath[str], request: HttpRequest, context: InContext
) -> Response[str]:
    again = await decision_log.replay(context.store, account=account, id=decision, now=context.clock.now())
    logged = again.decision
    return page(
        request,
        "decision.html",
        account=account,
        logged=logged,
        again=again,
        answer=told_of(logged.outcome),
        told=sentence(again.believed.message) if not again.differs_believed else asked_of(logged),
        fields=fields(again),
        asked=asked_of(logged),
    )


def fields(again: decision_log.DecisionReplay) -> list[Field]:
    """Those of the answer that say something in any of the three."""
    differs = {*again.differs_believed, *again.differs_true}
    rows = [
        Field(
            words(name),
            _shown(again.decision.outcome, name),
            _shown(again.believed, name),
            _shown(again.true, name),
            name in differs,
        )
        for name in FIELDS
    ]
    return [row for row in rows if row.differs or {row.logged, row.believed, row.true} - {"–", "no"}]


def _shown(its: DecisionOutcome | DecisionView, name: str) -> str:
    value = getattr(its, name)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return words(value) if name == "reason" else shown_value(value)


def _row(logged: LoggedDecision) -> dict[str, str]:
    """What a row of the page shows of it."""
    return {
        "head": told_of(logged.outcome)[0],
        "href": link("accounts", logged.account, "decisions", logged.id),
        "sub": asked_of(logged),
        "account": logged.account,
        "at": logged.at.isoformat(),
        "data": msgspec.json.format(msgspec.json.encode(logged), indent=2).decode(),
    }
