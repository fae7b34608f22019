"""Using and holding units, exactly: consume, reservations, grants and balances."""

from datetime import datetime
from typing import Annotated

from litestar import delete, get, post, put
from litestar.params import FromPath, FromQuery, QueryParameter
from msgspec import Meta, Struct

from paygrade.decisions.decide import Decision
from paygrade.server.http.bodies import invalid, read_body, read_key
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.openapi import Query, Sent, describe
from paygrade.server.http.routes import examples
from paygrade.server.http.routes.decisions import QUANTITY_MAX
from paygrade.server.operations.accounts.access import last_decision
from paygrade.server.operations.usage import grants
from paygrade.server.operations.usage.alerts import AlertList, list_alerts
from paygrade.server.operations.usage.answers import Answer, ReservationView
from paygrade.server.operations.usage.requests import TTL_MAX_S, Commit, Consume, Extend, Release, Reserve
from paygrade.usage.balances import Grant, GrantKind
from paygrade.values.errors import Mistake, Unavailable

PAGE_MAX = 500
PageSize = Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)]
Units = Annotated[int, Meta(ge=0, le=QUANTITY_MAX)]
Some = Annotated[int, Meta(ge=1, le=QUANTITY_MAX)]
Seconds = Annotated[int, Meta(ge=1, le=TTL_MAX_S)]
Properties = dict[str, str | int | bool]
PROBLEMS = ("malformed_json", "invalid_body", "invalid_key", "id_conflict", "not_countable", "taken_by_members",
            "too_much_usage", "not_ready")  # fmt: skip
STEPS = ("malformed_json", "invalid_body", "invalid_key", "id_conflict", "unknown_reservation", "reservation_expired",
         "reservation_resolved", "not_ready")  # fmt: skip


class Use(Struct, frozen=True, kw_only=True):
    """Use `quantity` units of `feature`. `id` is yours, and counts once: send it again if no answer came."""

    account: str
    feature: str
    quantity: Units = 1
    id: str
    member: str | None = None
    properties: Properties | None = None


class Reservation(Struct, frozen=True, kw_only=True):
    """Hold `quantity` units of `feature` for `ttl_s` seconds, under an id of yours."""

    account: str
    feature: str
    quantity: Some = 1
    id: str
    ttl_s: Seconds = 60
    member: str | None = None
    properties: Properties | None = None


class CommitStep(Struct, frozen=True, kw_only=True):
    """Use `quantity` of the units held, or all of them. The rest is given back, or kept for another commit."""

    account: str
    quantity: Units | None = None
    keep: bool = False
    id: str | None = None
    properties: Properties | None = None


class ReleaseStep(Struct, frozen=True):
    """Give back what is held."""

    account: str


class ExtendStep(Struct, frozen=True):
    """Hold for `ttl_s` seconds from now."""

    account: str
    ttl_s: Seconds = 60


class Used(Struct, frozen=True, gc=False):
    """The decision, and whether units were used. `replayed`: this id was asked before; this is its answer."""

    decision: Decision
    consumed: bool
    replayed: bool


class Reserved(Struct, frozen=True):
    """The decision, and the reservation if it was allowed."""

    decision: Decision
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
    opt=describe(
        "Use units",
        "usage",
        sent=Sent(kind=Use, example={"account": "acme", "feature": "api_calls", "quantity": 1, "id": "req_8231"}),
        problems=PROBLEMS,
    ),
)
async def consume(request: HttpRequest, parts: InContext) -> Used:
    """Decide and use in one step: never over a hard limit, whatever else runs, and saved before it is answered. A
    denial is an answer (200), is kept under its id, and stays a denial."""
    said = read_body(Use, await request.body())
    return await use(parts, said)


async def use(parts: Context, said: Use) -> Used:
    """The same for a body that is read already."""
    asked = Consume(
        account=read_key(said.account, pointer="/account", noun="account"),
        feature=said.feature,
        id=read_key(said.id, pointer="/id", noun="id"),
        quantity=said.quantity,
        member=_member(said.member),
        properties=said.properties,
    )
    answer = await _asked(parts, asked)
    parts.metrics.note_decision(answer.decision)
    return Used(answer.decision, answer.took_effect, answer.replayed)


@post(
    "/v1/reservations",
    status_code=200,
    opt=describe(
        "Hold units",
        "usage",
        sent=Sent(
            kind=Reservation, example={"account": "acme", "feature": "tokens", "quantity": 4000, "id": "chat_77"}
        ),
        problems=PROBLEMS,
    ),
)
async def reserve(request: HttpRequest, parts: InContext) -> Reserved:
    """Set units aside before it is known how many will be used. What is held counts against the limit until it is
    committed, released, or its time is up."""
    said = read_body(Reservation, await request.body())
    asked = Reserve(
        account=read_key(said.account, pointer="/account", noun="account"),
        feature=said.feature,
        id=read_key(said.id, pointer="/id", noun="id"),
        quantity=said.quantity,
        ttl_s=said.ttl_s,
        member=_member(said.member),
        properties=said.properties,
    )
    return _reserved(await _asked(parts, asked))


@post(
    "/v1/reservations/{reservation:str}/commit",
    status_code=200,
    opt=describe(
        "Use what is held",
        "usage",
        sent=Sent(kind=CommitStep, example={"account": "acme", "quantity": 3120}),
        problems=(*STEPS, "exceeds_reservation", "too_much_usage"),
    ),
)
async def commit(reservation: FromPath[str], request: HttpRequest, parts: InContext) -> Reserved:
    """Use some or all of the units held. More than is held is used only if it is allowed. To commit several times,
    say `keep` and give each step an `id`."""
    said = read_body(CommitStep, await request.body())
    if said.keep and said.id is None:
        raise invalid("invalid_body", "the body", [Mistake("/id", "a commit that keeps the rest needs an id")])
    if said.id is not None:
        read_key(said.id, pointer="/id", noun="id")
    account, key = _step(said.account, reservation)
    asked = Commit(account, key, said.quantity, said.keep, said.id, said.properties)
    return _reserved(await parts.commits.ask(asked))


@post(
    "/v1/reservations/{reservation:str}/release",
    status_code=200,
    opt=describe(
        "Give back what is held", "usage", sent=Sent(kind=ReleaseStep, example={"account": "acme"}), problems=STEPS
    ),
)
async def release(reservation: FromPath[str], request: HttpRequest, parts: InContext) -> Reserved:
    """Give back all that the reservation still holds."""
    said = read_body(ReleaseStep, await request.body())
    return _reserved(await parts.commits.ask(Release(*_step(said.account, reservation))))


@post(
    "/v1/reservations/{reservation:str}/extend",
    status_code=200,
    opt=describe(
        "Hold for longer",
        "usage",
        sent=Sent(kind=ExtendStep, example={"account": "acme", "ttl_s": 60}),
        problems=STEPS,
    ),
)
async def extend(reservation: FromPath[str], request: HttpRequest, parts: InContext) -> Reserved:
    """Let the reservation end later (or sooner): `ttl_s` seconds from now."""
    said = read_body(ExtendStep, await request.body())
    return _reserved(await parts.commits.ask(Extend(*_step(said.account, reservation), said.ttl_s)))


@post(
    "/v1/accounts/{account:str}/grants",
    status_code=201,
    opt=describe(
        "Grant units",
        "usage",
        sent=Sent(kind=GrantStatement, example=examples.GRANT),
        problems=("malformed_json", "invalid_body", "invalid_key", "unknown_account", "unknown_feature",
                  "not_countable", "not_grantable", "paid_in_credits", "id_conflict", "already_expired"),
    ),
)  # fmt: skip
async def give(account: FromPath[str], request: HttpRequest, parts: InContext) -> grants.GrantView:
    """Grant units of a feature or credit beside what the plan allows. The same grant sent again changes nothing."""
    said = read_body(GrantStatement, await request.body())
    if said.kind not in grants.GRANT_KINDS:
        raise invalid("invalid_body", "the body", [Mistake("/kind", f"is one of {', '.join(grants.GRANT_KINDS)}")])
    now = parts.clock.now()
    id = read_key(said.id, pointer="/id", noun="id")
    grant = Grant(id, said.kind, said.units, said.from_at or now, said.expires_at, said.priority)
    return await grants.give(
        parts.store,
        parts.snapshots,
        account=read_key(account, pointer="", noun="account"),
        pool=said.feature,
        grant=grant,
        reason=said.reason,
        at=now,
    )


@delete(
    "/v1/accounts/{account:str}/grants/{feature:str}/{grant:str}",
    status_code=200,
    opt=describe("Void a grant", "usage", problems=("invalid_key", "unknown_grant")),
)
async def void(
    account: FromPath[str], feature: FromPath[str], grant: FromPath[str], parts: InContext
) -> grants.GrantView:
    """Take back what is left of a grant; what was used of it stays used."""
    return await grants.void(
        parts.store,
        account=read_key(account, pointer="", noun="account"),
        pool=read_key(feature, pointer="", noun="feature"),
        id=read_key(grant, pointer="", noun="grant"),
        at=parts.clock.now(),
    )


@get(
    "/v1/accounts/{account:str}/balances/{feature:str}",
    opt=describe(
        "Read a balance",
        "usage",
        problems=("invalid_key", "unknown_account", "unknown_feature", "not_countable"),
    ),
)
async def balance(account: FromPath[str], feature: FromPath[str], parts: InContext) -> grants.BalanceView:
    """What is used, held and left of a feature or credit, grant by grant in the order they are spent."""
    key = read_key(account, pointer="", noun="account")
    return await grants.read_balance(parts.store, parts.snapshots, account=key, pool=feature, at=parts.clock.now())


@get(
    "/v1/accounts/{account:str}/ledger/{feature:str}",
    opt=describe(
        "Read the ledger",
        "usage",
        query=(
            Query("before", {"type": "string"}, "Only entries before this; `next` of the page before."),
            Query("limit", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 100}, "Page size."),
        ),
        problems=("invalid_key", "invalid_query", "unknown_account", "unknown_feature", "not_countable"),
    ),
)
async def ledger(
    account: FromPath[str],
    feature: FromPath[str],
    parts: InContext,
    before: FromQuery[str | None] = None,
    limit: PageSize = 100,
) -> grants.LedgerPage:
    """What explains a balance: each entry with what it drew, the newest first, denials too; and in which stretches
    they burned the balance down."""
    return await grants.read_ledger(
        parts.store,
        parts.snapshots,
        account=read_key(account, pointer="", noun="account"),
        pool=feature,
        before=before,
        limit=limit,
        at=parts.clock.now(),
    )


@put(
    "/v1/accounts/{account:str}/usage/{feature:str}",
    opt=describe(
        "State usage",
        "usage",
        sent=Sent(kind=UsageStatement, example={"used": 3, "id": "recount_2026_11", "reason": "counted by hand"}),
        problems=("malformed_json", "invalid_body", "invalid_key", "unknown_account", "unknown_feature",
                  "not_countable", "taken_by_members", "id_conflict"),
    ),
)  # fmt: skip
async def state_usage(
    account: FromPath[str], feature: FromPath[str], request: HttpRequest, parts: InContext
) -> grants.BalanceView:
    """Say how much is used in the present window, for example how many seats are taken. The difference is entered
    in the ledger."""
    said = read_body(UsageStatement, await request.body())
    return await grants.state_usage(
        parts.store,
        parts.snapshots,
        account=read_key(account, pointer="", noun="account"),
        pool=feature,
        used=said.used,
        id=read_key(said.id, pointer="/id", noun="id"),
        reason=said.reason,
        at=parts.clock.now(),
    )


@get(
    "/v1/accounts/{account:str}/alerts",
    opt=describe("List alerts", "usage", problems=("invalid_key",)),
)
async def alerts(account: FromPath[str], parts: InContext) -> AlertList:
    """Thresholds that usage has passed: those that stand, then those that were resolved, the newest first."""
    return await list_alerts(parts.store, account=read_key(account, pointer="", noun="account"))


def _member(said: str | None) -> str | None:
    return None if said is None else read_key(said, pointer="/member", noun="member")


def _step(account: str, reservation: str) -> tuple[str, str]:
    """The keys of a step."""
    return (
        read_key(account, pointer="/account", noun="account"),
        read_key(reservation, pointer="", noun="reservation"),
    )


async def _asked(parts: Context, asked: Consume | Reserve) -> Answer:
    """Ask; with the database away, the feature's failure mode answers."""
    try:
        return await parts.commits.ask(asked)
    except Unavailable:
        decision = last_decision(
            parts.snapshots,
            account=asked.account,
            feature=asked.feature,
            quantity=asked.quantity,
            member=asked.member,
            properties=asked.properties,
            at=parts.clock.now(),
        )
        if decision is None:
            raise
        return Answer(decision, took_effect=False)


def _reserved(answer: Answer) -> Reserved:
    return Reserved(answer.decision, answer.reservation, answer.replayed)
