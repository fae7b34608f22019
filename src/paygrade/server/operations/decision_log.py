"""The decision log: what was answered, and what is answered when it is asked again."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.decisions.decide import Decision, decide
from paygrade.decisions.message import DecisionView, shown
from paygrade.decisions.outcome import LoggedDecision, differences, id_at, outcome_of
from paygrade.server.operations.accounts.access import known_at
from paygrade.server.operations.accounts.record import load_account
from paygrade.server.operations.paging import cut, read_place
from paygrade.server.state.nodes import decide_at_node
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction

_INSTANT = timedelta(microseconds=1)


class LoggedDecisions(Struct, frozen=True):
    """Logged decisions of an account, the latest first. `next` is the `before` of the next page; None: this is the last
    one."""

    account: str
    decisions: tuple[LoggedDecision, ...]
    next: str | None


class LatestDecisions(Struct, frozen=True):
    """Logged decisions of all accounts, the latest first. `next` is the `before` of the next page; None: this is the
    last one."""

    decisions: tuple[LoggedDecision, ...]
    next: str | None


class DecisionReplay(Struct, frozen=True):
    """A logged decision, asked again at its instant: `believed` by what was known then, `true` by what is known now.
    `differs_believed` and `differs_true` name what of each is not as it was answered."""

    decision: LoggedDecision
    believed: DecisionView
    differs_believed: tuple[str, ...]
    true: DecisionView
    differs_true: tuple[str, ...]


async def list_logged(
    store: "Store",
    *,
    account: str,
    feature: str | None,
    before: str | None,
    limit: int,
    until: datetime | None = None,
) -> LoggedDecisions:
    """List logged decisions.

    What was answered when this account's access was checked, newest first, as far as the server keeps a log of
    decisions (`PAYGRADE_DECISION_LOG`). Refused `unknown_account`, `invalid_query`.
    """
    place = read_place(before, tuple[str], name="before")
    async with store.reading() as tx:
        await load_account(tx, account, deleted=True)
        # An id begins with its instant.
        end = place[0] if place is not None else id_at(until) if until is not None else None
        found = await tx.decision_log.page(account, feature=feature, before=end, limit=limit + 1)
    page, more = cut(found, limit, lambda one: (one.id,))
    return LoggedDecisions(account, page, more)


async def logged_around(
    store: "Store", *, account: str, feature: str, at: datetime, reach: timedelta, limit: int
) -> tuple[LoggedDecision, ...]:
    """What was answered on a feature up to `reach` before and after an instant, the latest first; none of an account
    that isn't known."""
    async with store.reading() as tx:
        found = await tx.decision_log.page(account, feature=feature, before=id_at(at + reach), limit=limit)
    return tuple(each for each in found if each.at >= at - reach)


async def latest_logged(store: "Store", *, before: str | None, limit: int) -> LatestDecisions:
    """What was answered last, whichever account was asked about. Refused `invalid_query`."""
    place = read_place(before, tuple[datetime, str], name="before")
    async with store.reading() as tx:
        found = await tx.decision_log.latest(before=place, limit=limit + 1)
    page, more = cut(found, limit, lambda one: (one.at, one.id))
    return LatestDecisions(page, more)


async def logged_since(store: "Store", *, at: datetime, limit: int) -> tuple[LoggedDecision, ...]:
    """What was answered after an instant, in its order; of more than `limit`, the latest. A process writes a second
    after it answers, so what is asked for again a moment later may have more."""
    async with store.reading() as tx:
        found = await tx.decision_log.latest(since=at, limit=limit)
    return found[::-1]


async def replay(store: "Store", *, account: str, id: str, now: datetime) -> DecisionReplay:
    """Replay a logged decision.

    Ask a logged decision again at its instant, by what was known then and by what is known now, and say what differs.
    Refused `unknown_decision`.
    """
    async with store.transaction() as tx:
        logged = await tx.decision_log.find(account, id)
        if logged is None:
            raise Refused("unknown_decision", f"there is no logged decision `{id}` of `{account}`; it may be too old")
        # What an allowed use counted is not what it was decided on.
        counted = logged.outcome.allowed and logged.via in ("consume", "reserve")
        at = logged.at - _INSTANT if counted else logged.at
        believed = await _again(tx, logged, at=at, now=now, believed=True)
        true = await _again(tx, logged, at=at, now=now, believed=False)
    return DecisionReplay(
        logged,
        shown(believed, counted=True),
        differences(logged.outcome, outcome_of(believed)),
        shown(true, counted=True),
        differences(logged.outcome, outcome_of(true)),
    )


async def _again(tx: "Transaction", logged: LoggedDecision, *, at: datetime, now: datetime, believed: bool) -> Decision:
    _, _, held = await known_at(tx, logged.account, at=at, now=now, believed=believed)
    asked = logged.properties
    decision = decide(held, logged.feature, logged.quantity, at, member=logged.member, properties=asked)
    decided, _ = await decide_at_node(
        tx, decision, held, logged.node, properties=asked, at=at, now=now, believed=believed
    )
    return decided


async def purge_decisions(store: "Store", *, kept: timedelta, at: datetime) -> int:
    """Forget logged decisions that are older than that; returns how many."""
    async with store.transaction() as tx:
        return await tx.decision_log.purge(until=at - kept)
