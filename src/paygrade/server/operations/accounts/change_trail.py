"""How a plan change gets from one state to the next, and what its record says of that.

Laws: every step of a change is noted in the transaction that takes it; a change is resolved once.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import subscriptions_of
from paygrade.changes.plan_change import PlanChange
from paygrade.changes.transition import PlanTransition
from paygrade.entitlements.seats import SeatLoss
from paygrade.updates.log import News
from paygrade.updates.types import ChangeUpdate

if TYPE_CHECKING:
    from paygrade.postgres.store import Transaction


class PlanChangeNotice(Struct, frozen=True):
    """What is announced of a plan change that has ended. `lost`: who lost a seat or its use, the first of them."""

    account: str
    change: str
    act: str
    state: str
    source: str
    plan_before: str | None
    plan_after: str | None
    lost: tuple[SeatLoss, ...]


TOLD_LOSSES_MAX = 20


async def resolved(
    tx: "Transaction",
    change: PlanChange,
    state: Literal["applied", "failed", "canceled"],
    account: Account,
    *,
    settlement: PlanTransition | None = None,
    reason: str | None = None,
    at: datetime,
) -> PlanChange:
    """Write how a change has ended. `account` is the account as it is now."""
    ended = replace(
        change, state=state, resolved_at=at, settlement=settlement, reason=reason, undo=False, pay_url=None, error=None
    )
    await tx.plan_changes.save(ended)
    await tx.tell("paygrade_change", msgspec.json.encode(_notice(ended)).decode())
    await tx.announce([_news(ended, at)], at)
    detail = f"version {account.version} of the account" if state == "applied" else reason or ""
    await tx.plan_changes.step(account.key, change.id, state, detail, at)
    for step, text in _followed(settlement) if settlement is not None else ():
        await tx.plan_changes.step(account.key, change.id, step, text, at)
    if state == "applied" and change.reverts is not None:
        await tx.plan_changes.note_reverted(account.key, change.reverts, by=change.id)
    return ended


async def scheduled(tx: "Transaction", change: PlanChange, detail: str, *, at: datetime) -> None:
    """Note that a change, which is saved, comes by itself on its date."""
    await tx.plan_changes.step(change.account, change.id, "scheduled", detail, at)
    await tx.announce([_news(change, at)], at)


def _news(change: PlanChange, at: datetime) -> News:
    said = change.settlement or change.quoted
    plans = (said.plan_before, said.plan_after) if said is not None else (None, None)
    data = ChangeUpdate(change.id, change.act, change.source, *plans, change.effective_at, change.reason)
    return News(change.account, f"plan_change.{change.state}", data, at)


def _notice(change: PlanChange) -> PlanChangeNotice:
    said = change.settlement or change.quoted
    lost = change.settlement.lost if change.settlement is not None else ()
    return PlanChangeNotice(
        change.account,
        change.id,
        change.act,
        change.state,
        change.source,
        said.plan_before if said is not None else None,
        said.plan_after if said is not None else None,
        lost[:TOLD_LOSSES_MAX],
    )


async def seen(tx: "Transaction", id: str, account: Account, found: PlanTransition) -> PlanChange:
    """Begin the record of a change that nobody asked for here."""
    subscription = found.subscriptions[0]
    change = PlanChange(
        account=account.key,
        id=id,
        key=id,
        source="billing",
        act="change",
        state="applied",
        subscription=subscription,
        subject=subject_of(account, subscription) or "",
        asked_at=found.at,
        resolved_at=found.at,
    )
    await tx.plan_changes.add(change)
    went = f"{found.plan_before or 'no plan'} → {found.plan_after or 'no plan'}"
    await tx.plan_changes.step(account.key, id, "seen", f"{found.direction}, {went}", found.at)
    return change


def subject_of(account: Account, subscription: str) -> str | None:
    """The subject whose statement says how this subscription stands."""
    for subject, statement in account.statements.items():
        if any(one.id == subscription for one in subscriptions_of(statement.body)):
            return subject
    return None


def _followed(settlement: PlanTransition) -> list[tuple[str, str]]:
    """What followed for access, usage and limits, a line for each thing."""
    rule = settlement.matched
    lines = [("rule", f"rule {rule.number} of `plan_change`" if rule.number else "no rule")]
    if settlement.cooling is not None:
        lines.append(("cooling_off", f"`{settlement.cooling}` still cools off: nothing is handed out anew"))
    for delta in settlement.deltas:
        lines.append(("access", f"{delta.how} `{delta.feature}`: {delta.before} → {delta.after}"))
    for usage in settlement.usage:
        lines.append(("usage", f"`{usage.feature}` {usage.how}: {usage.used_before} used → {usage.used_after}"))
    for over in settlement.violations:
        until = f" until {over.until:%Y-%m-%d %H:%M} UTC" if over.until is not None else ""
        lines.append(
            ("over_limit", f"`{over.feature}`: {over.used} {over.kind}, {over.limit} allowed: {over.policy}{until}")
        )
    for loss in settlement.lost:
        lines.append(("seat", f"`{loss.member}` lost a seat of `{loss.level}`: {loss.how}"))
    return lines
