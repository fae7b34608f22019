"""May they, now, and why: decisions, explanations and entitlements of one account."""

from datetime import datetime
from typing import Annotated

from litestar import get, post
from litestar.params import FromPath, QueryParameter
from msgspec import Meta, Struct

from paygrade.decisions.message import DecisionView
from paygrade.server.http.auth import allowed_member, for_pages
from paygrade.server.http.bodies import read_body, read_flag, read_instant, read_key, read_node
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import AsOf, Believed, text
from paygrade.server.http.routes import examples
from paygrade.server.operations.accounts import access
from paygrade.server.operations.sync.lookup import VERSION, WAIT_MAX_S, RefreshedView, refresh, see_at_least
from paygrade.server.operations.usage.requests import Units

Wait = Annotated[
    int, QueryParameter(ge=0, le=WAIT_MAX_S, description="How long to wait at most until the provider has answered.")
]
AT_LEAST = rf"^({VERSION.pattern}|[A-Za-z]+_[A-Za-z0-9_]{{1,200}})$"


class AccountQuestion(Struct, frozen=True):
    """May this account use `quantity` more units of `feature`? `quantity` 0 asks whether it has it at all. An `at` in
    the past asks what was true then by all that is known now, with `believed` by what was known then. `node`: where
    below the account."""

    feature: str
    quantity: Units = 1
    member: str | None = None
    at: datetime | None = None
    believed: bool = False
    properties: dict[str, str | int | bool] | None = None
    node: str | None = None


class Question(AccountQuestion, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same, of the account named here. `at_least`: a version (as a decision's `version`) that the answer must rest
    on, or the id of a billing event or of a checkout's session that it must take in; it is waited for, at most `wait_s`
    seconds."""

    account: str
    at_least: Annotated[str, Meta(pattern=AT_LEAST)] | None = None
    wait_s: Annotated[int, Meta(ge=0, le=WAIT_MAX_S)] = 5


@post(
    "/v1/check",
    status_code=200,
    opt=for_pages()
    | describe(
        "decisions",
        access.check,
        sent=Sent({"account": "acme", "feature": "exports"}, Question),
        example=examples.DECISION,
        problems=("invalid_key", "not_yet", "unknown_node"),
        repeating="reads",
        scope="decisions:read",
    ),
)
async def check(request: HttpRequest, context: InContext) -> DecisionView:
    question = read_body(Question, await request.body())
    account = read_key(question.account, pointer="/account", noun="account")
    member = allowed_member(request, account, question.member)
    if question.at_least is not None:
        await see_at_least(
            context.store, context.snapshots, context.clock, context.pages,
            account=account, at_least=question.at_least, wait_s=question.wait_s,
        )  # fmt: skip
    now = context.clock.now()
    decision = await access.check(
        context.store,
        context.snapshots,
        account=account,
        feature=question.feature,
        quantity=question.quantity,
        member=member,
        properties=question.properties,
        node=_node(question),
        at=question.at or now,
        now=now,
        believed=question.believed,
    )
    context.note_decision(decision)
    if question.at is None:
        context.log_decision(decision, "check", member, question.properties, question.node)
    return decision


@get(
    "/v1/accounts/{account:str}/decisions",
    opt=for_pages() | describe("decisions", access.decisions, example=examples.DECISIONS, scope="decisions:read"),
)
async def list_decisions(
    account: FromPath[str],
    request: HttpRequest,
    context: InContext,
    member: Annotated[str | None, text("The member who asks, for features with roles or seats.")] = None,
    as_of: AsOf = None,
    believed: Believed = None,
) -> access.Decisions:
    member, now = allowed_member(request, account, member), context.clock.now()
    return await access.decisions(
        context.store,
        context.snapshots,
        account=account,
        member=member,
        at=read_instant(as_of, name="as_of") or now,
        now=now,
        believed=read_flag(believed, name="believed"),
    )


@post(
    "/v1/accounts/{account:str}/explain",
    status_code=200,
    opt=describe(
        "decisions",
        access.explain,
        sent=Sent({"feature": "exports", "at": "2026-11-14T14:02:00Z"}, AccountQuestion),
        repeating="reads",
        scope="decisions:read",
    ),
)
async def explain(account: FromPath[str], request: HttpRequest, context: InContext) -> access.Explanation:
    question = read_body(AccountQuestion, await request.body())
    now = context.clock.now()
    return await access.explain(
        context.store,
        account=account,
        feature=question.feature,
        quantity=question.quantity,
        member=question.member,
        node=_node(question),
        at=question.at or now,
        now=now,
        believed=question.believed,
    )


def _node(question: AccountQuestion) -> str | None:
    return None if question.node is None else read_node(question.node, pointer="/node")


@get("/v1/accounts/{account:str}/entitlements", opt=describe("decisions", access.entitlements, scope="decisions:read"))
async def entitlements(
    account: FromPath[str],
    context: InContext,
    as_of: AsOf = None,
    believed: Believed = None,
) -> access.EntitlementsView:
    now = context.clock.now()
    return await access.entitlements(
        context.store,
        account=account,
        as_of=read_instant(as_of, name="as_of") or now,
        now=now,
        believed=read_flag(believed, name="believed"),
    )


@post(
    "/v1/accounts/{account:str}/refresh",
    status_code=200,
    opt=describe("decisions", refresh, problems=("provider_not_configured",), repeating="safe", scope="billing:sync"),
)
async def refresh_account(account: FromPath[str], context: InContext, wait_s: Wait = 5) -> RefreshedView:
    context.require_provider()
    return await refresh(context.store, context.provider, context.clock, account=account, wait_s=wait_s)
