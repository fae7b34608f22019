"""Foreign billing: a system that no provider here speaks to states all it sells to an account, whole, with a version.

Laws: the largest version that ever came decides, in whatever order they come and however often; a version says one
thing; what is stated this way becomes access by the deciding code of every other subscription.
"""

import hashlib
import re
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.facts import ForeignBilling, Subscription
from paygrade.billing.invoices import Invoice, InvoiceFact, stated_of
from paygrade.server.operations.accounts.record import lock_account, record
from paygrade.server.operations.accounts.statements import refuse_unclear
from paygrade.server.operations.accounts.transition import follow_transition
from paygrade.server.operations.audit.note import note_change
from paygrade.values.errors import Refused
from paygrade.values.text import is_chosen_key, is_key

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

SOURCE_LENGTH_MAX = 40
_CURRENCY = re.compile("[a-z]{3}")
RESERVED = frozenset({"stripe", "contract", "account", "subscription"})
"""What no source may be called: subjects of others begin with it."""


class PushedInvoice(Invoice, frozen=True, omit_defaults=True):
    """An invoice as another system states it, whole."""


class BillingStatement(Struct, frozen=True):
    """All subscriptions that a system has for an account, and invoices that changed there, each whole."""

    subscriptions: tuple[Subscription, ...]
    invoices: tuple[PushedInvoice, ...] = ()


class BillingView(Struct, frozen=True):
    """What counts of a source. `stale`: what was sent is older than `version`, and changed no subscription."""

    account: str
    source: str
    version: int
    stale: bool
    subscriptions: tuple[Subscription, ...]


async def put_billing(
    store: "Store", *, account: str, source: str, version: int, stated: BillingStatement, at: datetime
) -> BillingView:
    """State what another billing system sells.

    All subscriptions that the system `source` has for the account, with a `version` that grows with each change there:
    those left out are gone. A version older than one that came before is ignored, and `stale` says so. `invoices` are
    those that changed, each whole; they count in reports. Refused `unknown_account`, `invalid_key`,
    `invalid_subscription`, `invalid_invoice`, or `billing_version_conflict` for a known version with another body.
    """
    if not is_key(source) or len(source) > SOURCE_LENGTH_MAX or source in RESERVED:
        detail = f"a source is called by at most {SOURCE_LENGTH_MAX} small letters, digits and `_`, not {_reserved()}"
        raise Refused("invalid_key", detail)
    _refuse_unclear(stated)
    its = tuple(replace(one, id=f"{source}:{one.id}") for one in sorted(stated.subscriptions, key=lambda one: one.id))
    billed = [_own(source, one) for one in sorted(stated.invoices, key=lambda one: one.id)]
    body = ForeignBilling(source, its, hashlib.sha256(msgspec.json.encode([its, billed])).hexdigest())
    async with store.transaction() as tx:
        held, subject = await lock_account(tx, account), f"billing:{source}"
        before = held.statements.get(subject)
        known = before.body if before is not None and isinstance(before.body, ForeignBilling) else None
        if before is not None and known is not None and version == before.sequence:
            if known.fingerprint != body.fingerprint:
                detail = f"version {version} of `{source}` was sent with other content before; send a larger version"
                raise Refused("billing_version_conflict", detail)
            return BillingView(account, source, version, False, known.subscriptions)
        facts = [InvoiceFact(stated_of(account), version, at, one) for one in billed]
        await tx.invoices.merge(facts, at)
        if before is not None and known is not None and version < before.sequence:
            return BillingView(account, source, before.sequence, True, known.subscriptions)
        told = await record(tx, held, subject=subject, body=body, sequence=version, ordered=True, at=at)
        hidden = frozenset({"fingerprint"})
        note_change(tx, "billing.set", account, known, body, hidden=hidden, target=("billing", source), at=at)
        await follow_transition(tx, held, told, at=at)
        return BillingView(account, source, version, False, its)


def _own(source: str, invoice: PushedInvoice) -> Invoice:
    """The invoice under names that no other source has."""
    lines = tuple(
        replace(line, subscription=None if line.subscription is None else f"{source}:{line.subscription}")
        for line in invoice.lines
    )
    said = {name: getattr(invoice, name) for name in Invoice.__struct_fields__}
    return Invoice(**{**said, "id": f"{source}:{invoice.id}", "lines": lines})


def _refuse_unclear(stated: BillingStatement) -> None:
    for code, ids in (
        ("invalid_subscription", [one.id for one in stated.subscriptions]),
        ("invalid_invoice", [one.id for one in stated.invoices]),
    ):
        if len(set(ids)) < len(ids) or not all(map(is_chosen_key, ids)):
            raise Refused(code, "each `id` is 1 to 200 printable characters, and sent once")
    for one in stated.subscriptions:
        refuse_unclear(one)
    for each in stated.invoices:
        if not _CURRENCY.fullmatch(each.currency):
            raise Refused(
                "invalid_invoice", f"the `currency` of `{each.id}` must be three small letters, such as `usd`"
            )
        if sum(line.amount for line in each.lines) != each.net:
            raise Refused("invalid_invoice", f"the lines of `{each.id}` must come to its `total` without `tax`")
        if (each.paid_at is not None) != (each.status == "paid"):
            raise Refused("invalid_invoice", f"`{each.id}` needs `paid_at` if it is paid, and only then")
        if any(line.until < line.from_at for line in each.lines):
            raise Refused("invalid_invoice", f"a line of `{each.id}` must not end before it begins")


def _reserved() -> str:
    return ", ".join(f"`{name}`" for name in sorted(RESERVED))
