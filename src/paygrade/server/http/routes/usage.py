"""Using and holding units, exactly: consume, reservations, grants and balances."""

from datetime import datetime
from typing import Annotated

from litestar import delete, get, post, put
from litestar.params import FromPath
from msgspec import Meta, Struct

from paygrade.decisions.message import DecisionView, shown
from paygrade.server.http.bodies import invalid, read_body, read_key, read_node
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import PageSize, text
from paygrade.server.http.routes import examples
from paygrade.server.operations.accounts.access import last_decision
from paygrade.server.operations.usage import grants
from paygrade.server.operations.usage.alerts import AlertList, list_alerts
from paygrade.server.operations.usage.answers import Answer, ReservationView
from paygrade.server.operations.usage.requests import Commit, Consume, Extend, Release, Reserve, Some, Units
from paygrade.usage.balances import Grant, GrantKind
from paygrade.values.errors import Mistake, Unavailable

OF_THE_PATH = frozenset({"reservation"})


class Used(Struct, frozen=True, gc=False):
    """The decision, and whether units were used. `replayed`: this id was asked before; this is its answer."""

    decision: DecisionView
    consumed: bool
    replayed: bool


class Reserved(Struct, frozen=True):
    """The decision, and the reservation if it was allowed."""

    decision: DecisionView
    reservation: ReservationView | None
    replayed: bool


class GrantStatement(Struct, frozen=True, kw_only=True):
    """Units of a feature or credit, granted by themselves under an id of yours."""

    feature: str
    units: Some
    id: str
    kind: GrantKind = "promotion"
    reason: str = ""
    priority: Annotated[int, Meta(ge=0, le=100)] = 50
    from_at: datetime | None = None
    expires_at: datetime | None = None


class UsageStatement(Struct, frozen=True, kw_only=True):
    """How much is used in the present window, as it should have been counted."""

    used: Units
    id: str
    reason: str = ""


@post(
    "/v1/consume",
    status_code=200,
    opt=describe("usage", sent=Sent(examples.CONSUME, Consume), repeating="safe", scope="usage:write"),
)
async def consume(request: HttpRequest, context: InContext) -> Used:
    """Consume units.

    Check and count in one step: never over a hard limit, and saved before the answer. A denial
    is an answer (200), is stored with its id, and stays a denial. Refused `invalid_key`, `id_conflict`,
    `not_countable`, `taken_by_members`, `too_much_usage`, `unknown_node`.
    """
    return await use(context, read_body(Consume, await request.body()))


async def use(context: Context, asked: Consume) -> Used:
    """The same for a body that is read already."""
    refuse_odd(asked)
    answer = await _asked(context, asked)
    context.note_decision(answer.decision)
    if not answer.replayed:
        context.log_decision(answer.decision, "consume", asked.member, asked.properties, asked.node)
    return Used(shown(answer.decision, counted=True), answer.took_effect, answer.replayed)


@post(
    "/v1/reservations",
    status_code=200,
    opt=describe("usage", sent=Sent(examples.RESERVE, Reserve), repeating="safe", scope="usage:write"),
)
async def reserve(request: HttpRequest, context: InContext) -> Reserved:
    """Reserve units.

    Hold units before you know how many you need. Held units count against the limit until they are
    committed, released, or expire. Refused `invalid_key`, `id_conflict`, `not_countable`,
    `taken_by_members`, `too_much_usage`, `unknown_node`.
    """
    asked = read_body(Reserve, await request.body())
    refuse_odd(asked)
    answer = await _asked(context, asked)
    if not answer.replayed:
        context.log_decision(answer.decision, "reserve", asked.member, asked.properties, asked.node)
    return _reserved(answer)


@post(
    "/v1/reservations/{reservation:str}/commit",
    status_code=200,
    opt=describe(
        "usage",
        sent=Sent({"account": "acme", "quantity": 3120}, Commit, closed=OF_THE_PATH),
        repeating="safe",
        scope="usage:write",
    ),
)
async def commit(reservation: FromPath[str], request: HttpRequest, context: InContext) -> Reserved:
    """Commit a reservation.

    Use some or all of the held units. More than that is used only if the limit allows it. To commit several times, set
    `keep` and give each step an `id`. Refused `id_conflict`, `unknown_reservation`, `reservation_expired`,
    `reservation_resolved`, `exceeds_reservation`, `too_much_usage`.
    """
    asked = read_body(Commit, await request.body(), given={"reservation": reservation})
    if asked.keep and asked.id is None:
        raise invalid("invalid_body", "the body", [Mistake("/id", "a commit that keeps the rest needs an id")])
    if asked.id is not None:
        read_key(asked.id, pointer="/id", noun="id")
    return await _step(context, asked)


@post(
    "/v1/reservations/{reservation:str}/release",
    status_code=200,
    opt=describe(
        "usage", sent=Sent({"account": "acme"}, Release, closed=OF_THE_PATH), repeating="safe", scope="usage:write"
    ),
)
async def release(reservation: FromPath[str], request: HttpRequest, context: InContext) -> Reserved:
    """Release a reservation.

    Give back all units that the reservation still holds. Refused `id_conflict`, `unknown_reservation`,
    `reservation_expired`, `reservation_resolved`.
    """
    return await _step(context, read_body(Release, await request.body(), given={"reservation": reservation}))


@post(
    "/v1/reservations/{reservation:str}/extend",
    status_code=200,
    opt=describe(
        "usage",
        sent=Sent({"account": "acme", "ttl_s": 60}, Extend, closed=OF_THE_PATH),
        repeating="safe",
        scope="usage:write",
    ),
)
async def extend(reservation: FromPath[str], request: HttpRequest, context: InContext) -> Reserved:
    """Extend a reservation.

    Let the reservation expire later (or sooner): `ttl_s` seconds from now. Refused `id_conflict`,
    `unknown_reservation`, `reservation_expired`, `reservation_resolved`.
    """
    return await _step(context, read_body(Extend, await request.body(), given={"reservation": reservation}))


@post(
    "/v1/accounts/{account:str}/grants",
    status_code=201,
    opt=describe(
        "usage", grants.give, sent=Sent(examples.GRANT, GrantStatement), scope="usage:adjust", second_person="grants"
    ),
)
async def give(account: FromPath[str], request: HttpRequest, context: InContext) -> grants.GrantView:
    said = read_body(GrantStatement, await request.body())
    if said.kind not in grants.GRANT_KINDS:
        raise invalid("invalid_body", "the body", [Mistake("/kind", f"must be one of {', '.join(grants.GRANT_KINDS)}")])
    now = context.clock.now()
    id = read_key(said.id, pointer="/id", noun="id")
    grant = Grant(id, said.kind, said.units, said.from_at or now, said.expires_at, said.priority)
    return await grants.give(
        context.store,
        context.snapshots,
        account=account,
        pool=said.feature,
        grant=grant,
        reason=said.reason,
        at=now,
    )


@delete(
    "/v1/accounts/{account:str}/grants/{feature:str}/{grant:str}",
    status_code=200,
    opt=describe("usage", grants.void, scope="usage:adjust", second_person="grants"),
)
async def void(
    account: FromPath[str], feature: FromPath[str], grant: FromPath[str], context: InContext
) -> grants.GrantView:
    return await grants.void(context.store, account=account, pool=feature, id=grant, at=context.clock.now())


@get(
    "/v1/accounts/{account:str}/balances/{feature:str}", opt=describe("usage", grants.read_balance, scope="usage:read")
)
async def balance(account: FromPath[str], feature: FromPath[str], context: InContext) -> grants.BalanceView:
    at = context.clock.now()
    return await grants.read_balance(context.store, context.snapshots, account=account, pool=feature, at=at)


@get("/v1/accounts/{account:str}/ledger/{feature:str}", opt=describe("usage", grants.read_ledger, scope="usage:read"))
async def ledger(
    account: FromPath[str],
    feature: FromPath[str],
    context: InContext,
    before: Annotated[str | None, text("Only entries before this; the `next` of the page before.")] = None,
    limit: PageSize = 100,
) -> grants.LedgerPage:
    return await grants.read_ledger(
        context.store,
        context.snapshots,
        account=account,
        pool=feature,
        before=before,
        limit=limit,
        at=context.clock.now(),
    )


@put(
    "/v1/accounts/{account:str}/usage/{feature:str}",
    opt=describe(
        "usage",
        grants.state_usage,
        sent=Sent({"used": 3, "id": "recount_2026_11", "reason": "counted by hand"}, UsageStatement),
        scope="usage:adjust",
        second_person="grants",
    ),
)
async def state_usage(
    account: FromPath[str], feature: FromPath[str], request: HttpRequest, context: InContext
) -> grants.BalanceView:
    said = read_body(UsageStatement, await request.body())
    return await grants.state_usage(
        context.store,
        context.snapshots,
        account=account,
        pool=feature,
        used=said.used,
        id=read_key(said.id, pointer="/id", noun="id"),
        reason=said.reason,
        at=context.clock.now(),
    )


@get("/v1/accounts/{account:str}/alerts", opt=describe("usage", list_alerts, scope="usage:read"))
async def alerts(
    account: FromPath[str],
    context: InContext,
    feature: Annotated[str | None, text("Only alerts of this feature or credit.")] = None,
    after: Annotated[str | None, text("The `next` of the page before.")] = None,
    limit: PageSize = 100,
) -> AlertList:
    return await list_alerts(context.store, account=account, feature=feature, after=after, limit=limit)


def refuse_odd(asked: Consume | Reserve) -> None:
    """Refused `invalid_key` where a key is none."""
    read_key(asked.account, pointer="/account", noun="account")
    read_key(asked.id, pointer="/id", noun="id")
    if asked.member is not None:
        read_key(asked.member, pointer="/member", noun="member")
    if asked.node is not None:
        read_node(asked.node, pointer="/node")


async def _step(context: Context, asked: Commit | Release | Extend) -> Reserved:
    read_key(asked.account, pointer="/account", noun="account")
    return _reserved(await context.commits.ask(asked))


async def _asked(context: Context, asked: Consume | Reserve) -> Answer:
    try:
        return await context.commits.ask(asked)
    except Unavailable as error:
        return without_database(context, asked, error)


def without_database(context: Context, asked: Consume | Reserve, error: Unavailable) -> Answer:
    """With the database away, the feature's failure mode answers; where nothing is known, raises the Unavailable."""
    decision = last_decision(
        context.snapshots,
        account=asked.account,
        feature=asked.feature,
        quantity=asked.quantity,
        member=asked.member,
        properties=asked.properties,
        node=asked.node,
        at=context.clock.now(),
    )
    if decision is None:
        raise error
    return Answer(decision, took_effect=False)


def _reserved(answer: Answer) -> Reserved:
    return Reserved(shown(answer.decision, counted=True), answer.reservation, answer.replayed)
