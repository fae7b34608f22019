"""How a statement becomes a fact, and how a fact reads."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.billing.accounts import Account, says_something_new
from paygrade.billing.facts import (
    Block,
    Body,
    Customer,
    Departed,
    DowngradeGrace,
    Fact,
    Item,
    ManualSubscription,
    Member,
    Override,
    Pin,
    Profile,
    Subscription,
)
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.accounts import SavedAccount, SavedFact
    from paygrade.postgres.store import Transaction


class TimelineEntry(Struct, frozen=True):
    """A fact as a person reads it. `cause` holds the ids of the billing events that led to it."""

    number: int
    subject: str
    as_of: datetime
    recorded_at: datetime
    summary: str
    cause: tuple[str, ...]
    body: Body


async def record(
    tx: "Transaction",
    account: Account,
    *,
    subject: str,
    body: Body,
    sequence: int | None = None,
    as_of: datetime | None = None,
    cause: Sequence[str] = (),
    at: datetime,
) -> Account:
    """Add a fact to an account that `tx` has locked, unless it says nothing new; returns the account with it.

    `sequence` None: an operator's statement, ordered by the account's own count.
    """
    if not says_something_new(account, subject, body):
        return account
    number = account.version + 1
    fact = Fact(
        number=number,
        subject=subject,
        sequence=number if sequence is None else sequence,
        as_of=as_of or at,
        body=body,
        cause=tuple(cause),
    )
    folded = await tx.accounts.save(account, fact, at)
    await tx.tell("paygrade_account", account.key)
    return folded


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


def entry(saved: "SavedFact") -> TimelineEntry:
    fact = saved.fact
    return TimelineEntry(
        fact.number, fact.subject, fact.as_of, saved.recorded_at, summary(fact.body), fact.cause, fact.body
    )


def summary(body: Body) -> str:
    """One line for people: what the statement says."""
    match body:
        case Customer(deleted=True):
            return f"customer `{body.id}` was deleted at the provider"
        case Customer():
            bought = "; ".join(map(_subscription, body.subscriptions)) or "no subscriptions"
            return f"customer `{body.id}`: {bought}"
        case Departed():
            return f"belongs to account `{body.account}` from here on"
        case Profile(deleted=True):
            return "account deleted"
        case Profile():
            linked = [id for ids in body.links.values() for id in ids]
            links = f", linked to {', '.join(f'`{id}`' for id in linked)}" if linked else ""
            return f"account `{body.name}`{links}" if body.name else f"account stated{links}"
        case Override(withdrawn=True):
            return f"override of `{body.feature}` withdrawn"
        case Override():
            return f"override of `{body.feature}`: {_override(body)}{_until(body.expires_at)}{_because(body.reason)}"
        case Block(lifted=True):
            return f"block `{body.key}` lifted"
        case Block():
            return f"block `{body.key}`{_until(body.expires_at)}{_because(body.reason)}"
        case Member(role=None):
            return f"`{body.key}` is no longer a member"
        case Member():
            return f"`{body.key}` is a member with role `{body.role}`, {'on a seat' if body.seat else 'without a seat'}"
        case DowngradeGrace():
            units = "as much as before" if body.limit is None else f"up to {body.limit}"
            return f"leeway of `{body.feature}`: {units}{_until(body.until)}"
        case Pin():
            return _pin(body)
        case ManualSubscription(subscription=Subscription() as subscription):
            return _subscription(subscription)
        case ManualSubscription():
            return "subscription withdrawn"


def _pin(pin: Pin) -> str:
    if pin.withdrawn:
        return f"`{pin.key}` held to no version"
    later = _until(pin.until)
    if pin.then is not None:
        later += f", then {_version(pin.key, pin.then)}"
    return f"held to {_version(pin.key, pin.version)}{later}{_because(pin.reason)}"


def _version(key: str, version: int | str | None) -> str:
    return f"`{key}@{version}`" if isinstance(version, int) else f"the newest `{key}`"


def _subscription(subscription: Subscription) -> str:
    status = subscription.status or f"unknown status `{subscription.provider_status}`"
    dates = {
        "trial ends": subscription.trial_ends_at if subscription.status == "trialing" else None,
        "ends": subscription.ends_at if subscription.ended_at is None else None,
        "ended": subscription.ended_at,
        "unpaid since": subscription.unpaid_since,
    }
    dated = "".join(f", {what} {when:%Y-%m-%d %H:%M}" for what, when in dates.items() if when is not None)
    items = ", ".join(map(_item, subscription.items))
    planned = "".join(f", then {', '.join(map(_item, phase.items))} from {phase.from_at:%Y-%m-%d %H:%M}"
                      for phase in subscription.next)  # fmt: skip
    return f"`{subscription.id}` {status}{dated} ({items}{planned})"


def _item(item: Item) -> str:
    name = item.plan or item.lookup_key or item.price or item.product or item.id
    return f"{item.quantity} × `{name}`" if item.quantity != 1 else f"`{name}`"


def _override(override: Override) -> str:
    if override.unlimited:
        return "unlimited"
    if override.limit is not None:
        return f"limit {override.limit}"
    if override.add is not None:
        return f"{override.add} more"
    if override.spend_cap is not None:
        return f"spend cap {override.spend_cap}"
    value = override.value
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else f"`{value}`"


def _until(at: datetime | None) -> str:
    return f" until {at:%Y-%m-%d %H:%M} UTC" if at else ""


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""
