"""The audit log as it is read: the latest records, and whole chains to export and verify."""

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.billing.audit_chain import AuditChain, AuditFilter, AuditHead, AuditRecord
from paygrade.server.operations.accounts.record import load_account
from paygrade.values.errors import Refused
from paygrade.values.periods import parse_instant

if TYPE_CHECKING:
    from paygrade.postgres.store import Store


class AuditList(Struct, frozen=True):
    """Audit records, the latest first. `next` is the `before` of the next page; None: this is the last one."""

    records: tuple[AuditRecord, ...]
    next: str | None


class AuditChains(Struct, frozen=True):
    """Parts of chains, each from its first record on. A chain that does not end on this page goes on in the next one.
    `next` is the `after` of the next page; None: this is the last one."""

    chains: tuple[AuditChain, ...]
    next: str | None


class AuditHeads(Struct, frozen=True):
    """Heads of chains, by account. `next` is the `after` of the next page; None: this is the last one."""

    heads: tuple[AuditHead, ...]
    next: str | None


async def list_records(store: "Store", wanted: AuditFilter, *, before: str | None, limit: int) -> AuditList:
    """List audit records.

    Who did what, to accounts and to the environment, newest first. Refused `invalid_query`.
    """
    async with store.transaction() as tx:
        found = await tx.audit.page(wanted, before=_place(before), limit=limit + 1)
    page = found[:limit]
    last = page[-1] if len(found) > limit else None
    return AuditList(page, f"{last.occurred_at} {last.number} {last.account}" if last is not None else None)


async def list_account_records(
    store: "Store", wanted: AuditFilter, *, account: str, before: int | None, limit: int
) -> AuditList:
    """List an account's audit records.

    Who did what to the account, newest first. Refused `unknown_account`. What happened to an account stays after it was
    deleted.
    """
    async with store.transaction() as tx:
        await load_account(tx, account, deleted=True)
        found = await tx.audit.of_account(account, wanted, before=before, limit=limit + 1)
    page = found[:limit]
    return AuditList(page, str(page[-1].number) if len(found) > limit else None)


async def read_chains(store: "Store", *, account: str | None, after: str | None, limit: int) -> AuditChains:
    """Read whole audit chains.

    The records of all chains, or of one, oldest first, with the head of each chain at that moment: to export and verify
    them. Refused `invalid_query`. `account` None: all chains; empty: that of the environment.
    """
    number, key = _position(after, account)
    async with store.transaction() as tx:
        found = await tx.audit.chains(key, number, only=account is not None, limit=limit)
    records = [record for chain in found for record in chain.records]
    last = records[-1] if len(records) == limit else None
    return AuditChains(found, f"{last.number} {last.account}" if last is not None else None)


async def read_heads(store: "Store", *, account: str | None, after: str | None, limit: int) -> AuditHeads:
    """List the heads of audit chains.

    The last record of each chain, or of one, by its number and hash. Keep them elsewhere: a chain that was written anew
    or cut off does not lead to them. `account` empty: the chain of the environment.
    """
    async with store.transaction() as tx:
        if account is not None:
            found = await tx.audit.head(account)
            return AuditHeads(() if found is None else (found,), None)
        page = await tx.audit.heads(after=after, limit=limit + 1)
    return AuditHeads(page[:limit], page[limit - 1].account if len(page) > limit else None)


def _place(before: str | None) -> tuple[datetime, str, int] | None:
    """Where a page of all chains begins."""
    if before is None:
        return None
    at, _, rest = before.partition(" ")
    number, account = _numbered(rest, "before")
    try:
        return parse_instant(at), account, number
    except (ValueError, OverflowError) as error:
        raise Refused("invalid_query", f"`before` must be the `next` of an earlier page: {error}") from None


def _position(after: str | None, account: str | None) -> tuple[int, str]:
    """The last record that was read."""
    if after is None:
        return 0, account or ""
    number, key = _numbered(after, "after")
    return number, key if account is None else account


def _numbered(text: str, name: str) -> tuple[int, str]:
    number, _, account = text.partition(" ")
    if not number.isascii() or not number.isdecimal() or len(number) > 18:
        raise Refused("invalid_query", f"`{name}` must be the `next` of an earlier page")
    return int(number), account
