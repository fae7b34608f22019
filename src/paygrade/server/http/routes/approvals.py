"""Approvals: what waits for a second person, and what becomes of it."""

from typing import Annotated

from litestar import Response, get, post
from litestar.params import FromPath, QueryParameter

from paygrade.server.http import second_person
from paygrade.server.http.auth import scopes_of
from paygrade.server.http.bodies import invalid, read_body
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Described, Sent, describe, text_of
from paygrade.server.http.parameters import Before, PageSize, text
from paygrade.server.http.routes import contracts, examples, plan_changes, statements, top_ups, usage
from paygrade.server.operations import approvals
from paygrade.server.operations.approvals import ApprovalList, ApprovalReason, ApprovalView, Approved
from paygrade.values.errors import Mistake

STATES = ("waiting", "approved", "declined", "withdrawn", "expired")
WAITING = (
    usage.give,
    usage.void,
    usage.state_usage,
    statements.put_override,
    statements.delete_override,
    statements.put_subscription,
    contracts.put_contract,
    contracts.delete_contract,
    contracts.put_invoice,
    contracts.put_billing,
    plan_changes.change_plan,
    top_ups.retry_top_up,
)
"""What may wait: as it is done once it is approved, all that it refuses may be refused then."""


def _refusals() -> tuple[str, ...]:
    found = {"invalid_body": None}
    for handler in WAITING:
        told: Described = handler.opt["described"]
        found |= dict.fromkeys([*told.problems, *text_of(told.operation or handler.fn).problems])
    return tuple(found)


_REASON = Sent({"reason": "agreed by phone"}, ApprovalReason)


@get(
    "/v1/approvals",
    opt=describe("approvals", approvals.list_approvals, scope="approvals:read", example=examples.APPROVALS),
)
async def list_approvals(
    context: InContext,
    stands: Annotated[
        str | None,
        QueryParameter(name="state", description="Those that stand like this.", schema_extra={"enum": list(STATES)}),
    ] = None,
    account: Annotated[str | None, text("Approvals of this account.")] = None,
    before: Before = None,
    limit: PageSize = 100,
) -> ApprovalList:
    if stands not in (None, *STATES):
        raise invalid("invalid_query", "the query", [Mistake("", f"`state` must be one of {', '.join(STATES)}")])
    return await approvals.list_approvals(
        context.store, state=stands, account=account, before=before, limit=limit, at=context.clock.now()
    )


@get(
    "/v1/approvals/{approval:str}",
    opt=describe("approvals", approvals.get_approval, scope="approvals:read", example=examples.APPROVAL),
)
async def get_approval(approval: FromPath[str], context: InContext) -> ApprovalView:
    return await approvals.get_approval(context.store, id=approval, at=context.clock.now())


@post(
    "/v1/approvals/{approval:str}/approve",
    status_code=200,
    opt=describe(
        "approvals", scope="approvals:write", sent=_REASON, example=examples.APPROVED, kind=Approved,
        problems=_refusals(),
    ),
)  # fmt: skip
async def approve(approval: FromPath[str], request: HttpRequest, context: InContext) -> Response[bytes]:
    """Approve a request.

    Do what was asked for, exactly as it was asked, once. You need its scope, and to be another person than the one who
    asked. What is refused by now is refused as it would be without approvals, and goes on waiting. Refused
    `unknown_approval`, `approval_resolved`, `second_person_needed`, `asker_gone`, `account_changed`,
    `catalog_changed`, `unknown_account`.
    """
    said = read_body(ApprovalReason, await request.body() or b"{}")
    at = context.clock.now()
    return await second_person.approve(request, context, id=approval, reason=said.reason, at=at)


@post(
    "/v1/approvals/{approval:str}/decline",
    status_code=200,
    opt=describe(
        "approvals", approvals.decline, scope="approvals:write", sent=_REASON,
        example={**examples.APPROVAL, "state": "declined"},
    ),
)  # fmt: skip
async def decline(approval: FromPath[str], request: HttpRequest, context: InContext) -> ApprovalView:
    said = read_body(ApprovalReason, await request.body() or b"{}")
    granted, at = scopes_of(request), context.clock.now()
    return await approvals.decline(context.store, id=approval, granted=granted, reason=said.reason, at=at)


@post(
    "/v1/approvals/{approval:str}/withdraw",
    status_code=200,
    opt=describe(
        "approvals", approvals.withdraw, scope="approvals:write", sent=_REASON,
        example={**examples.APPROVAL, "state": "withdrawn"},
    ),
)  # fmt: skip
async def withdraw(approval: FromPath[str], request: HttpRequest, context: InContext) -> ApprovalView:
    said = read_body(ApprovalReason, await request.body() or b"{}")
    return await approvals.withdraw(context.store, id=approval, reason=said.reason, at=context.clock.now())
