"""Alerts as they are noted: usage that passed a threshold of its limit, and that it no longer does.

Law: both edges are told, each once, in the transaction of whatever passed them.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from paygrade.entitlements.model import Entitlement
from paygrade.updates.log import News
from paygrade.updates.types import CreditUpdate, LimitUpdate
from paygrade.usage.balances import slot_of
from paygrade.usage.entries import Alert
from paygrade.usage.ledger import Level, edges
from paygrade.values.text import on_wire

if TYPE_CHECKING:
    from paygrade.postgres.store import Transaction


LOW = (80,)
Edge = Literal["warning", "reached", "resolved"]


class Passed(Struct, frozen=True):
    """How much of a window was used before and after something changed it, and its limit then and now."""

    account: str
    its: Entitlement
    before: Level
    after: Level


class ToldAlert(Struct, frozen=True):
    """What is announced of an alert."""

    what: Edge
    account: str
    feature: str
    percent: int
    used: int
    units: int


def is_watched(its: Entitlement, at: datetime, used: int) -> bool:
    """Whether so much use may be near a threshold of the present window; most is not, and that is all it costs."""
    if not its.limit or not its.granted or used * 100 < min((*warned(its), 100)) * its.limit:
        return False
    return is_present(its, at)


def warned(its: Entitlement) -> tuple[int, ...]:
    """At how many percent a warning is due: where the catalog says, and of credits when a fifth is left."""
    return LOW if its.kind == "credit" else its.warn


def is_present(its: Entitlement, at: datetime) -> bool:
    """Whether the window this entitlement counts in runs at `at`."""
    return its.from_at is None or (its.from_at <= at and (its.resets_at is None or at < its.resets_at))


async def note_alerts(tx: "Transaction", passed: Iterable[Passed], at: datetime) -> None:
    """Raise and resolve what these changes have passed."""
    raised, resolved = [], []
    for one in passed:
        for edge in edges(warned(one.its), one.before, one.after):
            key = (one.account, one.its.feature, slot_of(one.its.from_at), edge.percent)
            if edge.resolved:
                resolved.append(key)
            else:
                raised.append(Alert(*key, used=on_wire(one.after[0]), units=one.after[1] or 0, raised_at=at))
    if raised:
        await tell_alerts(tx, await tx.alerts.raise_new(raised), at)
    if resolved:
        await tell_alerts(tx, await tx.alerts.resolve(resolved, at), at)


async def tell_alerts(tx: "Transaction", alerts: Sequence[Alert], at: datetime) -> None:
    """Announce alerts that were raised or resolved."""
    if not alerts:
        return
    credits = (await tx.catalogs.in_force()).credits
    for alert in alerts:
        told = ToldAlert(_what(alert), alert.account, alert.pool, alert.percent, alert.used, alert.units)
        await tx.tell("paygrade_alert", msgspec.json.encode(told).decode())
    await tx.announce([_news(alert, is_credit=alert.pool in credits) for alert in alerts], at)


def _what(alert: Alert) -> Edge:
    if alert.resolved_at is not None:
        return "resolved"
    return "reached" if alert.percent >= 100 else "warning"


_OF_CREDITS: dict[Edge, str] = {"warning": "low", "reached": "exhausted", "resolved": "restored"}


def _news(alert: Alert, *, is_credit: bool) -> News:
    what, occurred_at = _what(alert), alert.resolved_at or alert.raised_at
    if is_credit:
        data = CreditUpdate(alert.pool, alert.percent, alert.used, alert.units)
        return News(alert.account, f"credit.{_OF_CREDITS[what]}", data, occurred_at)
    its = LimitUpdate(alert.pool, alert.percent, alert.used, alert.units)
    return News(alert.account, f"entitlement.limit.{what}", its, occurred_at)
