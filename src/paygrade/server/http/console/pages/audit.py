"""Audit: who did what, whether anybody has changed it since, and the records to take along."""

from typing import Annotated, Any

import msgspec
from litestar import Response

from paygrade.billing.audit_chain import AuditFault, AuditFilter, AuditRecord, ChainCheck
from paygrade.documents.spreadsheets import RECORD_COLUMNS, record_rows, write_csv
from paygrade.server.http.bodies import read_key
from paygrade.server.http.console.rendering import HEADERS, page
from paygrade.server.http.console.screens import read_moment, screen
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.parameters import text
from paygrade.server.operations import audit_log
from paygrade.values.errors import Refused
from paygrade.values.periods import parse_instant
from paygrade.values.text import PAGE_MAX

SHOWN, TAKEN_MAX, VERIFIED_MAX = 50, 5_000, 20_000
"""On a page; in a file; and as long a chain as is verified while somebody waits."""

_Account = Annotated[str, text("Only this account's chain.")]
_Action = Annotated[str, text("Only this action, or those of a noun.")]
_Actor = Annotated[str, text("Only what the actor of this id did.")]
_From = Annotated[str, text("From this instant on.")]
_Until = Annotated[str, text("Before this instant.")]


@screen("/audit", scope="audit:read")
async def show_audit(
    request: HttpRequest,
    context: InContext,
    account: _Account = "",
    action: _Action = "",
    actor: _Actor = "",
    begin: _From = "",
    until: _Until = "",
    before: Annotated[str, text("The `next` of the page before.")] = "",
) -> Response[str]:
    said = {"account": account, "action": action, "actor": actor, "begin": begin, "until": until}
    found = await _page(context, said, before=before, limit=SHOWN)
    return page(
        request,
        "audit.html",
        records=[(each, parse_instant(each.occurred_at)) for each in found.records],
        next=found.next,
        before=before,
        said=said,
        taken_max=TAKEN_MAX,
    )


@screen("/audit/records.csv", scope="audit:read")
async def take_csv(
    context: InContext,
    account: _Account = "",
    action: _Action = "",
    actor: _Actor = "",
    begin: _From = "",
    until: _Until = "",
) -> Response[bytes]:
    """The same records for a spreadsheet, the latest first."""
    records = await _taken(
        context, {"account": account, "action": action, "actor": actor, "begin": begin, "until": until}
    )
    rows = record_rows(msgspec.to_builtins(records))
    return _file("audit.csv", "text/csv; charset=utf-8", write_csv([RECORD_COLUMNS, *rows]).encode())


@screen("/audit/records.jsonl", scope="audit:read")
async def take_json_lines(
    context: InContext,
    account: _Account = "",
    action: _Action = "",
    actor: _Actor = "",
    begin: _From = "",
    until: _Until = "",
) -> Response[bytes]:
    """The same records, whole, one JSON object a line."""
    records = await _taken(
        context, {"account": account, "action": action, "actor": actor, "begin": begin, "until": until}
    )
    return _file("audit.jsonl", "application/x-ndjson", b"".join(msgspec.json.encode(each) + b"\n" for each in records))


@screen("/audit/chain", scope="audit:read")
async def verify_chain(request: HttpRequest, context: InContext, account: _Account = "") -> Response[str]:
    """Whether a chain holds: that of an account, or of the environment."""
    if account:
        read_key(account, pointer="", noun="account")
    found = await _check(context, account)
    return page(request, "audit_chain.html", account=account, **found)


async def _check(context: Context, account: str) -> dict[str, Any]:
    """Any: what the page shows of it."""
    check, head = ChainCheck(account), None
    after: str | None = None
    fault: AuditFault | None = None
    seen, whole = 0, False
    while not whole and fault is None and seen < VERIFIED_MAX:
        part = await audit_log.read_chains(context.store, account=account, after=after, limit=PAGE_MAX)
        for chain in part.chains:
            head = chain.head
            for record in chain.records:
                seen += 1
                fault = fault or check.take(record)
        after, whole = part.next, part.next is None
    if whole and fault is None and (seen or head is not None):
        fault = check.end(head)
    return {"fault": fault, "records": seen, "whole": whole, "head": head}


async def _taken(context: Context, said: dict[str, str]) -> list[AuditRecord]:
    records: list[AuditRecord] = []
    before: str | None = ""
    while before is not None and len(records) < TAKEN_MAX:
        part = await _page(context, said, before=before, limit=min(PAGE_MAX, TAKEN_MAX - len(records)))
        records += part.records
        before = part.next
    return records


def _file(name: str, kind: str, body: bytes) -> Response[bytes]:
    named = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(body, media_type=kind, headers={**HEADERS, **named})


async def _page(context: Context, said: dict[str, str], *, before: str, limit: int) -> audit_log.AuditList:
    wanted = AuditFilter(
        said["action"] or None,
        said["actor"] or None,
        read_moment(said["begin"], name="from"),
        read_moment(said["until"], name="until"),
    )
    if not said["account"]:
        return await audit_log.list_records(context.store, wanted, before=before or None, limit=limit)
    if before and not (before.isascii() and before.isdecimal() and len(before) <= 18):
        raise Refused("invalid_query", "`before` must be the `next` of an earlier page")
    account = read_key(said["account"], pointer="", noun="account")
    number = int(before) if before else None
    return await audit_log.list_account_records(context.store, wanted, account=account, before=number, limit=limit)
