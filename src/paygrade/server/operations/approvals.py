"""Approvals: what somebody asked for and somebody else lets happen, or not.

Laws: what waits has changed nothing; it is done once, as it was asked for, in the transaction that says it is approved,
on the account and the catalog that it was tried on, and by whoever asked, if they still may; who approves is a person
who still may, and not the one who asked, through whichever keys either of them acts.
"""

import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import structlog
from msgspec import Meta, Struct
from msgspec.structs import replace

from paygrade.server.operations.accounts.record import load_account, lock_account
from paygrade.server.operations.audit.note import note
from paygrade.server.operations.paging import cut, read_place
from paygrade.server.process.acting import Actor, acting
from paygrade.server.process.scopes import ALL, Scope, opened_by
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.approvals import SavedApproval
    from paygrade.postgres.store import Store, Transaction

log = structlog.get_logger("paygrade.approvals")

LASTS = timedelta(days=7)
NOTHING: frozenset[Scope] = frozenset()
MAKERS_MAX = 20
"""So far a key that made a key that made a key is followed."""


class ApprovalReason(Struct, frozen=True):
    """Why, for the audit log."""

    reason: Annotated[str, Meta(max_length=2000)] = ""


class ApprovalView(Struct, frozen=True, kw_only=True):
    """A request that needs a second person. `request`: method and path; `body`: what was sent; `preview`: what it would
    be answered with, where ids are not the final ones. `state`: waiting, approved, declined, withdrawn or expired.
    Any: JSON."""

    id: str
    account: str
    kind: str
    state: str
    request: str
    body: Any
    preview: Any
    scope: str
    asked_by: dict[str, str]
    asked_at: datetime
    expires_at: datetime
    resolved_by: dict[str, str] | None
    resolved_at: datetime | None
    reason: str


class Approved(Struct, frozen=True):
    """An approval, and what the request was answered with. Any: JSON."""

    approval: ApprovalView
    answer: Any


class Asked(Struct, frozen=True, kw_only=True):
    """A request that was tried and would succeed: the fields of an approval that follow from it. Any: JSON."""

    account: str
    kind: str
    scope: Scope
    digest: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    preview: Any
    asked_by: dict[str, str]
    account_version: int
    catalog_version: int


class ApprovalList(Struct, frozen=True):
    """Approvals, the latest first. `next` is the `before` of the next page; None: there is none."""

    approvals: tuple[ApprovalView, ...]
    next: str | None


async def ground(store: "Store", account: str) -> tuple[int, int]:
    """On which versions of the account and the catalog something is tried. Refused `unknown_account`."""
    async with store.transaction() as tx:
        found = await load_account(tx, account)
        return found.account.version, (await tx.catalogs.in_force()).version


async def ask(store: "Store", asked: Asked, at: datetime) -> ApprovalView:
    """Have a request wait. The same one, from the same asker, waits once."""
    id = f"appr_{int(at.timestamp() * 1000):011x}{secrets.token_hex(4)}"
    async with store.transaction() as tx:
        person = await _person_behind(tx, asked.asked_by["kind"], asked.asked_by["id"])
        its = {name: getattr(asked, name) for name in asked.__struct_fields__}
        held = await tx.approvals.add(
            id=id, state="waiting", asked_by_person=person, asked_at=at, expires_at=at + LASTS, **its
        )
        if held.id == id:
            note(tx, "approval.request", held.account, targets=[("approval", id)], changes=_about(held), at=at)
    log.info("approval_requested", approval=held.id, kind=held.kind, account=held.account)
    return view(held, at)


def asker_of(held: "SavedApproval") -> Actor:
    """Who asked."""
    return msgspec.convert(held.asked_by, Actor)


async def list_approvals(
    store: "Store", *, state: str | None, account: str | None, before: str | None, limit: int, at: datetime
) -> ApprovalList:
    """List approvals.

    What waits for a second person, and what became of the others, the latest first. Refused `invalid_query`.
    """
    place = read_place(before, tuple[datetime, str], name="before")
    async with store.reading() as tx:
        found = await tx.approvals.page(state=state, account=account, before=place, at=at, limit=limit + 1)
    shown, next = cut(found, limit, lambda each: (each.asked_at, each.id))
    return ApprovalList(tuple([view(each, at) for each in shown]), next)


async def get_approval(store: "Store", *, id: str, at: datetime) -> ApprovalView:
    """Retrieve an approval.

    What was asked for, by whom, and how it stands. Refused `unknown_approval`.
    """
    async with store.transaction() as tx:
        return view(_known(await tx.approvals.find(id), id), at)


async def take(
    store: "Store", *, id: str, granted: frozenset[Scope], at: datetime
) -> "tuple[SavedApproval, frozenset[Scope]]":
    """Hold what is to be approved now, until the end of the transaction around this, and what its asker may do.

    Refused `unknown_approval`, `approval_resolved`, `insufficient_scope`, `second_person_needed`, `account_changed`,
    `catalog_changed`.
    """
    who = acting().actor
    async with store.transaction() as tx:
        seen = _known(await tx.approvals.find(id), id)
        _refuse_resolved(seen, at)
        _refuse_lacking(seen, granted)
        person = await _person_behind(tx, who.kind, who.id)
        if person == seen.asked_by_person or who.id == seen.asked_by["id"]:
            raise Refused("second_person_needed", "you asked for this yourself; somebody else has to approve it")
        if not person.startswith("person_"):
            raise Refused("second_person_needed", "a person approves this; log in, or use a key that a person created")
        account = await lock_account(tx, seen.account)
        held = _known(await tx.approvals.lock(seen.account, id), id)
        _refuse_resolved(held, at)
        if account.version != held.account_version:
            raise Refused("account_changed", f"`{held.account}` has changed since this was asked for (version "
                          f"{held.account_version}, now {account.version}); decline it, and ask again")  # fmt: skip
        if (await tx.catalogs.in_force()).version != held.catalog_version:
            raise Refused("catalog_changed", "the catalog has changed since this was asked for; decline it, and ask "
                          "again")  # fmt: skip
        asker, behind = asker_of(held), Actor("person", person, "")
        # In one order, so that no two approvals wait for each other's people.
        may = {its.id: await _scopes_now(tx, its, at) for its in sorted({asker, who, behind}, key=lambda its: its.id)}
        if may[person] is None:
            raise Refused("second_person_needed", f"`{person}`, who made this key, is gone; somebody else approves it")
        # What this process remembers of who approves may be older than what is locked here.
        _refuse_lacking(held, (may[who.id] or NOTHING) & (may[person] or NOTHING))
        opened = may[asker.id]
        if opened is None:
            raise Refused("asker_gone", f"`{asker.id}`, who asked for this, may not ask any more; decline it")
        return held, opened


async def approved(store: "Store", held: "SavedApproval", *, reason: str, at: datetime) -> ApprovalView:
    """Say, with what was done, that it was approved."""
    return await _resolve(store, held, "approved", reason=reason, at=at)


async def decline(store: "Store", *, id: str, granted: frozenset[Scope], reason: str, at: datetime) -> ApprovalView:
    """Decline a request.

    It won't happen. Who declines has to have its scope; who asked for it withdraws it instead. Refused
    `unknown_approval`, `approval_resolved`, `insufficient_scope`, `second_person_needed`.
    """
    async with store.transaction() as tx:
        held = await _hold(tx, id, at)
        _refuse_lacking(held, granted)
        if await _is_asker(tx, held):
            raise Refused("second_person_needed", "you asked for this yourself; withdraw it instead")
    return await _resolve(store, held, "declined", reason=reason, at=at)


async def withdraw(store: "Store", *, id: str, reason: str, at: datetime) -> ApprovalView:
    """Withdraw a request.

    Whoever asked takes it back, with the same or another of their keys. Refused `unknown_approval`,
    `approval_resolved`, `not_the_asker`.
    """
    async with store.transaction() as tx:
        held = await _hold(tx, id, at)
        if not await _is_asker(tx, held):
            raise Refused("not_the_asker", "somebody else asked for this; decline it instead")
    return await _resolve(store, held, "withdrawn", reason=reason, at=at)


async def _resolve(store: "Store", held: "SavedApproval", state: str, *, reason: str, at: datetime) -> ApprovalView:
    who = acting().actor
    async with store.transaction() as tx:
        found = _known(await tx.approvals.lock(held.account, held.id), held.id)
        _refuse_resolved(found, at)
        by = {"kind": who.kind, "id": who.id, "name": who.name}
        done = replace(found, state=state, resolved_by=by, resolved_at=at, reason=reason)
        await tx.approvals.resolve(done)
        action = {"approved": "approval.approve", "declined": "approval.decline", "withdrawn": "approval.withdraw"}
        note(tx, action[state], held.account, targets=[("approval", held.id)],
             changes=_about(held) | {"asked_by": held.asked_by["id"]},
             personal={"reason": reason, "asked_by": held.asked_by["name"]}, at=at)  # fmt: skip
    log.info("approval_resolved", approval=held.id, kind=held.kind, account=held.account, state=state)
    return view(done, at)


async def _hold(tx: "Transaction", id: str, at: datetime) -> "SavedApproval":
    found = _known(await tx.approvals.find(id), id)
    _refuse_resolved(found, at)
    return found


async def _is_asker(tx: "Transaction", held: "SavedApproval") -> bool:
    who = acting().actor
    person = await _person_behind(tx, who.kind, who.id)
    return who.id == held.asked_by["id"] or person == held.asked_by_person


async def _person_behind(tx: "Transaction", kind: str, id: str) -> str:
    """Who acts when this one does: a person, or whoever made the key that made the key."""
    for _ in range(MAKERS_MAX):
        found = await tx.api_keys.load(id) if kind == "key" and id.startswith("key_") else None
        if found is None:
            return id
        id = found.created_by
    return id


async def _scopes_now(tx: "Transaction", who: Actor, at: datetime) -> frozenset[Scope] | None:
    """What somebody may do now; None: nothing any more. A person is held until the end of the transaction."""
    if who.kind == "key" and not who.id.startswith("key_"):
        return ALL  # the environment's own
    if who.kind == "key":
        key = await tx.api_keys.load(who.id)
        lives = key is not None and key.revoked_at is None and (key.expires_at is None or key.expires_at > at)
        return opened_by(key.scopes, key.role) if key is not None and lives else None
    person = await tx.people.hold(who.id)
    return opened_by((), person.role) if person is not None else None


def _refuse_resolved(approval: "SavedApproval", at: datetime) -> None:
    state = _state(approval, at)
    if state != "waiting":
        raise Refused("approval_resolved", f"`{approval.id}` is {state}; ask again if it is still needed")


def _refuse_lacking(approval: "SavedApproval", granted: frozenset[Scope]) -> None:
    if approval.scope not in granted:
        raise Refused(
            "insufficient_scope", f"this needs the scope `{approval.scope}`, which you lack, or whoever made your key"
        )


def _state(approval: "SavedApproval", at: datetime) -> str:
    return "expired" if approval.state == "waiting" and approval.expires_at <= at else approval.state


def _about(approval: "SavedApproval") -> dict[str, object]:
    return {"kind": approval.kind, "request": f"{approval.method} {approval.path}"}


def _known(found: "SavedApproval | None", id: str) -> "SavedApproval":
    if found is None:
        raise Refused("unknown_approval", f"there is no approval `{id}`; `paygrade approvals list` shows all")
    return found


def view(approval: "SavedApproval", at: datetime) -> ApprovalView:
    """What of an approval is shown."""
    names = ("id", "account", "kind", "preview", "scope", "asked_by", "asked_at", "expires_at", "resolved_by",
             "resolved_at", "reason")  # fmt: skip
    return ApprovalView(
        state=_state(approval, at),
        request=f"{approval.method} {approval.path}",
        body=_decoded(approval.body),
        **{name: getattr(approval, name) for name in names},
    )


def _decoded(body: bytes) -> Any:
    """Any: JSON, as long as nobody has erased it."""
    try:
        return msgspec.json.decode(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
