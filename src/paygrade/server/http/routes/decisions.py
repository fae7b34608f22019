"""May they, now, and why: decisions, explanations and entitlements of one account."""

from datetime import datetime
from typing import Annotated

from litestar import get, post
from litestar.params import FromPath, FromQuery
from msgspec import Meta, Struct

from paygrade.decisions.decide import Decision
from paygrade.server.http.bodies import read_body, read_instant, read_key
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Query, Sent, describe
from paygrade.server.http.routes import examples
from paygrade.server.operations.accounts import access

QUANTITY_MAX = 2**53 - 1
"""The largest whole number that every JSON reader keeps exact (RFC 8259, section 6)."""

Quantity = Annotated[int, Meta(ge=0, le=QUANTITY_MAX)]


class AccountQuestion(Struct, frozen=True):
    """May this account use `quantity` more units of `feature`? `quantity` 0 asks whether it has it at all."""

    feature: str
    quantity: Quantity = 1
    member: str | None = None
    at: datetime | None = None
    properties: dict[str, str | int | bool] | None = None


class Question(AccountQuestion, frozen=True, kw_only=True):
    """The same, of the account named here."""

    account: str


@post(
    "/v1/check",
    status_code=200,
    opt=describe(
        "Decide",
        "decisions",
        sent=Sent(kind=Question, example={"account": "acme", "feature": "exports"}),
        example=examples.DECISION,
        problems=("malformed_json", "invalid_body", "invalid_key"),
    ),
)
async def check(request: HttpRequest, parts: InContext) -> Decision:
    """May the account use `quantity` more units of the feature, now or `at` another instant? The answer is 200
    whether allowed or denied, and carries the reason."""
    question = read_body(Question, await request.body())
    now = parts.clock.now()
    decision = await access.check(
        parts.store,
        parts.snapshots,
        account=read_key(question.account, pointer="/account", noun="account"),
        feature=question.feature,
        quantity=question.quantity,
        member=question.member,
        properties=question.properties,
        at=question.at or now,
        now=now,
    )
    parts.metrics.note_decision(decision)
    return decision


@get(
    "/v1/accounts/{account:str}/decisions",
    opt=describe(
        "Decide everything",
        "decisions",
        query=(Query("member", {"type": "string"}, "Who asks, for features with roles or seats."),),
        example=examples.DECISIONS,
        problems=("invalid_key", "invalid_query", "unknown_account"),
    ),
)
async def list_decisions(
    account: FromPath[str], parts: InContext, member: FromQuery[str | None] = None
) -> access.Decisions:
    """The decision for one unit of every feature in the catalog, and the version of the snapshot they rest on."""
    key = read_key(account, pointer="", noun="account")
    return await access.decisions(parts.store, parts.snapshots, account=key, member=member, at=parts.clock.now())


@post(
    "/v1/accounts/{account:str}/explain",
    status_code=200,
    opt=describe(
        "Explain a decision",
        "decisions",
        sent=Sent(kind=AccountQuestion, example={"feature": "exports", "at": "2026-11-14T14:02:00Z"}),
        problems=("malformed_json", "invalid_body", "invalid_key"),
    ),
)
async def explain(account: FromPath[str], request: HttpRequest, parts: InContext) -> access.Explanation:
    """Why the decision is, or at an earlier instant was, as it is: a sentence, the sources in the order they
    count, and the facts with the billing events behind them."""
    question = read_body(AccountQuestion, await request.body())
    now = parts.clock.now()
    return await access.explain(
        parts.store,
        account=read_key(account, pointer="", noun="account"),
        feature=question.feature,
        quantity=question.quantity,
        member=question.member,
        at=question.at or now,
        now=now,
    )


@get(
    "/v1/accounts/{account:str}/entitlements",
    opt=describe(
        "Read entitlements",
        "decisions",
        query=(Query("as_of", {"type": "string", "format": "date-time"}, "Past or future; now if absent."),),
        problems=("invalid_key", "invalid_query", "unknown_account"),
    ),
)
async def entitlements(
    account: FromPath[str], parts: InContext, as_of: FromQuery[str | None] = None
) -> access.EntitlementsView:
    """What the account may use, with its sources, as of an instant."""
    now = parts.clock.now()
    return await access.entitlements(
        parts.store,
        account=read_key(account, pointer="", noun="account"),
        as_of=read_instant(as_of, name="as_of") or now,
        now=now,
    )
