"""Contracts: what operators state of customers who pay by invoices of one's own, and of those invoices.

Laws: a contract is stated whole, and becomes a subscription by the deciding code of every other; an invoice that is
overdue puts it in arrears since then, and one that no longer is takes it out; access follows from nothing else that is
said of an invoice, and reports from all of it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.contracts import (
    SUBJECT,
    ContractState,
    months_between,
    period_at,
    subscription_of,
    term_at,
)
from paygrade.billing.facts import Contract, ManualSubscription, Note
from paygrade.billing.invoices import Invoice, InvoiceLine, InvoiceStatus, WentBack, stated_of
from paygrade.catalog.model import AddOn, Catalog, Plan
from paygrade.server.operations.accounts.record import load_account, lock_account, record
from paygrade.server.operations.accounts.transition import follow_transition
from paygrade.server.operations.audit.note import note_change
from paygrade.server.operations.paging import cut, read_place
from paygrade.values.errors import Refused
from paygrade.values.text import QUANTITY_MAX

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction

PERSONAL = frozenset({"reference", "notes", "reason"})
"""What people wrote of a contract."""
INVOICES_SHOWN = 60
Amount = Annotated[int, Meta(ge=0, le=QUANTITY_MAX // 4)]


class InvoiceStatement(Struct, frozen=True, omit_defaults=True):
    """An invoice that was sent under a contract. `amount`: minor units without `tax`; `[from_at, until)` is what it is
    for. `overdue_since`: it is open, was due, and access goes down the ladder since then."""

    status: InvoiceStatus
    amount: Amount | None = None
    tax: Amount | None = None
    from_at: datetime | None = None
    until: datetime | None = None
    issued_at: datetime | None = None
    due_at: datetime | None = None
    paid_at: datetime | None = None
    overdue_since: datetime | None = None
    went_back: tuple[WentBack, ...] | None = None
    reason: Note = ""


class ContractInvoice(Struct, frozen=True):
    """An invoice of a contract as it stands. `total` is with `tax`; `remaining` what is still to be paid."""

    id: str
    status: InvoiceStatus
    currency: str
    created_at: datetime
    total: int
    tax: int
    remaining: int
    due_at: datetime | None
    overdue_since: datetime | None
    paid_at: datetime | None
    went_back: tuple[WentBack, ...]


class ContractView(Struct, frozen=True):
    """A contract as it stands, and the term that it is in. `subscription` is the id under which it counts; `invoices`
    the latest, the newest first."""

    contract: str
    state: ContractState
    from_at: datetime
    until: datetime | None
    subscription: str
    terms: Contract
    invoices: tuple[ContractInvoice, ...]


class ContractsView(Struct, frozen=True):
    """Contracts by id. `next` is the `after` of the next page; None: there is none."""

    account: str
    contracts: tuple[ContractView, ...]
    next: str | None = None


async def list_contracts(
    store: "Store", *, account: str, after: str | None = None, limit: int = 50, at: datetime
) -> ContractsView:
    """List contracts.

    The account's contracts by id: how each stands, its terms, and the latest invoices that were sent under it. Refused
    `unknown_account`, `invalid_query`.
    """
    place = read_place(after, tuple[str], name="after")
    async with store.reading() as tx:
        held = (await load_account(tx, account)).account
        billed = await tx.invoices.of_subject(stated_of(account))
    begin = f"{SUBJECT}{place[0]}" if place else ""
    found = sorted(id for id in held.contracts if id > begin)[: limit + 1]
    shown, further = cut(found, limit, lambda id: (id.removeprefix(SUBJECT),))
    contracts = held.contracts
    return ContractsView(
        account, tuple(_view(id, contracts[id], billed.values(), held.time(at)) for id in shown), further
    )


async def put_contract(store: "Store", *, account: str, contract: str, terms: Contract, at: datetime) -> ContractView:
    """Create or update a contract.

    State what was agreed with a customer who pays by your own invoices: plan and add-ons, from when to when, and the
    amount for each period. It replaces all that was said of this contract, and counts as a subscription does. Refused
    `unknown_account`, `unknown_plan`, `unknown_add_on`, `invalid_contract`, `invalid_key`.
    """
    if "/" in contract:
        # Its invoices are called `contract:acme-2026/INV-17`.
        raise Refused("invalid_key", f"a contract's name has no `/`, unlike `{contract}`; write for example `-`")
    async with store.transaction() as tx:
        held, catalog = await lock_account(tx, account), await tx.catalogs.in_force()
        _refuse_misfit(terms, catalog)
        subject = f"{SUBJECT}{contract}"
        before = held.contracts.get(subject)
        terms = replace(terms, overdue=before.overdue if before is not None else {})
        told = await _state(tx, held, subject, terms, at)
        if told is not held:
            note_change(tx, "contract.set", account, before, terms, hidden=PERSONAL, target=("contract", contract),
                        at=at)  # fmt: skip
        billed = await tx.invoices.of_subject(stated_of(account))
        return _view(subject, terms, billed.values(), told.time(at))


async def delete_contract(
    store: "Store", *, account: str, contract: str, reason: str = "", at: datetime
) -> ContractsView:
    """Withdraw a contract.

    It was stated by mistake, and counts as if it had never been; to end one, state when it ends. Refused
    `unknown_account`, `unknown_contract`, `contract_has_invoices` while an invoice of it isn't void.
    """
    async with store.transaction() as tx:
        held = await lock_account(tx, account)
        before, subject = _one(held, contract), f"{SUBJECT}{contract}"
        billed = await tx.invoices.of_subject(stated_of(account))
        sent = [one.id for one in _invoices(subject, billed.values()) if one.status != "void"]
        if sent:
            raise Refused("contract_has_invoices", f"`{sent[0]}` was sent under `{contract}`; state that it is void "
                          "first, or state when the contract ends")  # fmt: skip
        told = await record(tx, held, subject=subject, body=ManualSubscription(None), at=at)
        said = [{**msgspec.to_builtins(before), "reason": ""}, {"reason": reason}]
        note_change(tx, "contract.remove", account, *said, hidden=PERSONAL, target=("contract", contract), at=at)
        told = await follow_transition(tx, held, told, at=at)
    return await list_contracts(store, account=account, at=at)


async def put_invoice(
    store: "Store", *, account: str, contract: str, invoice: str, stated: InvoiceStatement, at: datetime
) -> ContractView:
    """State an invoice of a contract.

    Say that you sent an invoice (`open`), that it is paid, void or uncollectible, or since when it is overdue. What you
    leave out stays as it was said of this invoice; of a new one, the amount is the contract's, and the period the one
    in which it is issued. Without `overdue_since`, an invoice isn't overdue. Refused `unknown_account`,
    `unknown_contract`, `invalid_invoice`.
    """
    async with store.transaction() as tx:
        held = await lock_account(tx, account)
        terms, subject, of = _one(held, contract), f"{SUBJECT}{contract}", stated_of(account)
        billed = await tx.invoices.of_subject(of)
        before = billed.get(f"{subject}/{invoice}")
        now = _invoice(f"{subject}/{invoice}", subject, terms, stated, before, held.time(at))
        since = stated.overdue_since
        overdue = {id: date for id, date in terms.overdue.items() if id != invoice}
        terms_now = replace(terms, overdue=overdue if since is None else {**overdue, invoice: since})
        if now != before:
            await tx.invoices.state(of, now, at)
        if (now, terms_now) != (before, terms):
            said = [_noted(before, terms.overdue.get(invoice)), {**_noted(now, since), "reason": stated.reason}]
            note_change(tx, "invoice.set", account, *said, hidden=PERSONAL, target=("invoice", invoice), at=at)
        told = await _state(tx, held, subject, terms_now, at)
        return _view(subject, terms_now, {**billed, now.id: now}.values(), told.time(at))


async def _state(tx: "Transaction", held: Account, subject: str, terms: Contract, at: datetime) -> Account:
    body = ManualSubscription(subscription_of(subject, terms), terms)
    told = await record(tx, held, subject=subject, body=body, at=at)
    return held if told is held else await follow_transition(tx, held, told, at=at)


def _one(held: Account, contract: str) -> Contract:
    found = held.contracts.get(f"{SUBJECT}{contract}")
    if found is None:
        raise Refused("unknown_contract", f"`{held.key}` has no contract `{contract}`; list its contracts to see which "
                      "there are")  # fmt: skip
    return found


def _refuse_misfit(terms: Contract, catalog: Catalog) -> None:
    sold: tuple[tuple[str, dict[str, Plan] | dict[str, AddOn], Sequence[str]], ...] = (
        ("plan", catalog.plans, (terms.plan,)),
        ("add_on", catalog.add_ons, tuple(terms.add_ons)),
    )
    for noun, known, named in sold:
        for key in named:
            if key not in known:
                near = get_close_matches(key, known, n=1) if len(key) <= 100 else []
                hint = f"did you mean `{near[0]}`?" if near else "see `GET /v1/catalog`"
                raise Refused(f"unknown_{noun}", f"the catalog has no {noun.replace('_', '-')} `{key}`; {hint}")
    if terms.ends_at is not None and terms.ends_at <= terms.starts_at:
        raise Refused("invalid_contract", "`ends_at` must come after `starts_at`")
    if terms.renews and (terms.ends_at is None or months_between(terms.starts_at, terms.ends_at) is None):
        raise Refused("invalid_contract", "a contract that renews needs `ends_at`, whole months after `starts_at`")


def _invoice(
    id: str, subject: str, terms: Contract, stated: InvoiceStatement, before: Invoice | None, at: datetime
) -> Invoice:
    """The invoice as it stands by what is said, by what was said before, and else by its contract."""
    line = before.lines[0] if before is not None else None
    issued_at = stated.issued_at or (before.created_at if before is not None else at)
    period = period_at(terms, issued_at)
    from_at = stated.from_at or (line.from_at if line is not None else period.from_at)
    until = stated.until or (line.until if line is not None else period.until)
    amount = stated.amount if stated.amount is not None else before.net if before is not None else terms.amount
    tax = stated.tax if stated.tax is not None else before.tax if before is not None else 0
    paid_at = None
    if stated.status == "paid":
        paid_at = stated.paid_at or (before.paid_at if before is not None else None) or at
    elif stated.paid_at is not None:
        raise Refused("invalid_invoice", "`paid_at` is for an invoice whose `status` is `paid`")
    if stated.overdue_since is not None and (stated.status != "open" or stated.overdue_since > at):
        detail = "`overdue_since` is for an `open` invoice, and not in the future; state it once the invoice is overdue"
        raise Refused("invalid_invoice", detail)
    if until is None or until < from_at:
        raise Refused("invalid_invoice", "`until` must not come before `from_at`")
    went_back = stated.went_back if stated.went_back is not None else before.went_back if before is not None else ()
    return Invoice(
        id=id,
        status=stated.status,
        currency=terms.currency if before is None else before.currency,
        created_at=issued_at,
        total=amount + tax,
        tax=tax,
        remaining=amount + tax if stated.status in ("open", "uncollectible") else 0,
        paid_at=paid_at,
        due_at=stated.due_at or (before.due_at if before is not None else None),
        lines=(InvoiceLine(id=id, amount=amount, from_at=from_at, until=until, subscription=subject),),
        went_back=went_back,
    )


def _noted(invoice: Invoice | None, overdue_since: datetime | None) -> dict[str, object]:
    said = msgspec.to_builtins(invoice) if invoice is not None else {}
    return {name: its for name, its in said.items() if name != "id"} | {"overdue_since": overdue_since}


def _invoices(subject: str, billed: Iterable[Invoice]) -> list[Invoice]:
    found = [one for one in billed if one.id.startswith(f"{subject}/")]
    return sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)


def _shown(one: Invoice, number: str, terms: Contract) -> ContractInvoice:
    return ContractInvoice(
        number, one.status, one.currency, one.created_at, one.total, one.tax, one.remaining, one.due_at,
        terms.overdue.get(number), one.paid_at, one.went_back,
    )  # fmt: skip


def _view(subject: str, terms: Contract, billed: Iterable[Invoice], at: datetime) -> ContractView:
    term, key = term_at(terms, at), subject.removeprefix(SUBJECT)
    latest = _invoices(subject, billed)[:INVOICES_SHOWN]
    shown = tuple(_shown(one, one.id.removeprefix(f"{subject}/"), terms) for one in latest)
    return ContractView(key, term.state, term.from_at, term.until, subject, terms, shown)
