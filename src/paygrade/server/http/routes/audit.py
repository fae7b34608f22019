"""The audit log: who did what, and the chains that show that nobody has changed it since."""

from datetime import datetime
from typing import Annotated

from litestar import get
from litestar.params import FromPath, QueryParameter

from paygrade.billing.audit_chain import AuditFilter
from paygrade.server.http.bodies import read_instant
from paygrade.server.http.context import InContext
from paygrade.server.http.openapi import describe
from paygrade.server.http.parameters import PageSize, instant, number, text
from paygrade.server.http.routes import examples
from paygrade.server.operations import audit_log

ACTION = text("Only this action, `override.set`, or those of one noun, `override`.")
ACTOR = text("Only what the actor of this id did.")
FROM, UNTIL = instant("Records from this instant on.", name="from"), instant("Records before this instant.")
CHAIN = QueryParameter(description="Only this account's chain; empty for that of the environment.")
AFTER = text("The `next` of the page before.")


@get("/v1/audit", opt=describe("audit", audit_log.list_records, example=examples.AUDIT_LIST, scope="audit:read"))
async def list_audit_records(
    context: InContext,
    action: Annotated[str | None, ACTION] = None,
    actor: Annotated[str | None, ACTOR] = None,
    from_at: Annotated[str | None, FROM] = None,
    until: Annotated[str | None, UNTIL] = None,
    before: Annotated[str | None, text("The `next` of the page before.")] = None,
    limit: PageSize = 100,
) -> audit_log.AuditList:
    wanted = AuditFilter(action, actor, *_span(from_at, until))
    return await audit_log.list_records(context.store, wanted, before=before, limit=limit)


@get(
    "/v1/accounts/{account:str}/audit",
    opt=describe("audit", audit_log.list_account_records, example=examples.AUDIT_LIST, scope="audit:read"),
)
async def list_account_audit_records(
    account: FromPath[str],
    context: InContext,
    action: Annotated[str | None, ACTION] = None,
    actor: Annotated[str | None, ACTOR] = None,
    from_at: Annotated[str | None, FROM] = None,
    until: Annotated[str | None, UNTIL] = None,
    before: Annotated[int | None, number("Records before this number; the `next` of the page before.")] = None,
    limit: PageSize = 100,
) -> audit_log.AuditList:
    wanted = AuditFilter(action, actor, *_span(from_at, until))
    return await audit_log.list_account_records(context.store, wanted, account=account, before=before, limit=limit)


@get(
    "/v1/audit/chains", opt=describe("audit", audit_log.read_chains, example=examples.AUDIT_CHAINS, scope="audit:read")
)
async def read_audit_chains(
    context: InContext,
    account: Annotated[str | None, CHAIN] = None,
    after: Annotated[str | None, AFTER] = None,
    limit: PageSize = 100,
) -> audit_log.AuditChains:
    return await audit_log.read_chains(context.store, account=account, after=after, limit=limit)


@get("/v1/audit/heads", opt=describe("audit", audit_log.read_heads, example=examples.AUDIT_HEADS, scope="audit:read"))
async def list_audit_heads(
    context: InContext,
    account: Annotated[str | None, CHAIN] = None,
    after: Annotated[str | None, AFTER] = None,
    limit: PageSize = 100,
) -> audit_log.AuditHeads:
    return await audit_log.read_heads(context.store, account=account, after=after, limit=limit)


def _span(from_at: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    return read_instant(from_at, name="from"), read_instant(until, name="until")
