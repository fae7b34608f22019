"""How a statement becomes a fact."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from paygrade.billing.accounts import Account, apply, says_something_new
from paygrade.billing.facts import Body, Fact
from paygrade.server.operations.updates.announce import announce_fact
from paygrade.server.process import tracing
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.accounts import SavedAccount
    from paygrade.postgres.store import Transaction


async def record(
    tx: "Transaction",
    account: Account,
    *,
    subject: str,
    body: Body,
    sequence: int | None = None,
    as_of: datetime | None = None,
    cause: Sequence[str] = (),
    happened_at: datetime | None = None,
    joined_at: datetime | None = None,
    ordered: bool = False,
    at: datetime,
) -> Account:
    """Add a fact to an account that `tx` has locked, unless it says nothing new; returns the account with it.

    `sequence` None: an operator's statement, ordered by the account's own count. `ordered`: by versions of whoever
    states it, so that the same said again under a later one is a fact, too: it overtakes what comes late.
    """
    if not ordered and not says_something_new(account, subject, body):
        return account
    number = account.version + 1
    fact = Fact(
        number=number,
        subject=subject,
        sequence=number if sequence is None else sequence,
        as_of=as_of or at,
        body=body,
        cause=tuple(cause),
        happened_at=happened_at,
        joined_at=joined_at,
    )
    # Which member it is stays out of traces: an erasure does not reach them.
    about = "member" if subject.startswith("member:") else subject
    with tracing.span("record fact", account=account.key, subject=about, version=number):
        folded = await tx.accounts.save(account, fact, at)
        await tx.tell("paygrade_account", account.key)
        await announce_fact(tx, account, folded, subject, at)
    return folded


def imagine(account: Account, *, subject: str, body: Body, at: datetime) -> Account:
    """The account as it would be with a statement that is not recorded."""
    number = account.version + 1
    return apply(account, Fact(number=number, subject=subject, sequence=number, as_of=at, body=body, cause=()))


async def lock_account(tx: "Transaction", account: str) -> Account:
    """Lock an account that must exist."""
    found = (await tx.accounts.lock([account])).get(account)
    if found is None or not found.exists:
        raise unknown_account(account)
    return found


async def load_account(tx: "Transaction", account: str, *, deleted: bool = False) -> "SavedAccount":
    """Read an account that must exist; with `deleted`, one that was deleted will do: what happened to it stays."""
    found = await tx.accounts.load(account)
    if found is None or not (found.account.exists or deleted):
        raise unknown_account(account)
    return found


def unknown_account(account: str) -> Refused:
    return Refused(
        "unknown_account",
        f"there is no account `{account}`; create it with `PUT /v1/accounts/{account}`, "
        f"or name it in the `paygrade_account` metadata of a customer at the provider",
    )
