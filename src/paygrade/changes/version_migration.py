"""Moves: what moving an account from one version of a plan or add-on to another states, and what it changes.

Laws: a move is one pin, so it can be taken back by the pin there was before; who does not have what is moved, or has
it already, is left alone and told why; nothing is billed by a move: prices change only by a plan change.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from msgspec import Struct

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Pin
from paygrade.billing.standing import standings
from paygrade.catalog.model import Catalog, Interval
from paygrade.changes.positions import positions
from paygrade.entitlements.sources import versions_had
from paygrade.values.states import NOT_LIVE

Skipped = Literal["unknown_account", "not_on_plan", "another_version", "there_already"]
"""Why an account is left alone."""


MoveStatus = Literal["waiting", "done", "skipped", "rolled_back"]


class MovedAccount(Struct, frozen=True):
    """How one account of a migration stands. `reason`: why it was skipped."""

    account: str
    status: MoveStatus
    reason: str | None


class VersionMigration(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """To move whoever is on `from_version` of `plan` (None: on any) to `to_version` (None: the newest, and whatever is
    published after it), at `at` (None: at once)."""

    plan: str
    from_version: int | None = None
    to_version: int | None = None
    at: datetime | None = None
    reason: str = ""


class PriceDifference(Struct, frozen=True):
    """What `accounts` pay for each interval, in minor units of `currency`, and what the other version's prices come
    to. `unknown`: accounts whose price the catalog does not know, or the other version does not have."""

    currency: str | None
    interval: Interval | None
    interval_count: int | None
    before: int
    after: int
    accounts: int
    unknown: int = 0


def stated_by(move: VersionMigration, account: Account, catalog: Catalog, at: datetime) -> Pin | Skipped:
    """The pin that moves this account, stated at `at`; or why it is left alone."""
    if not account.exists:
        return "unknown_account"
    had = [version for version in versions_had(account, catalog, at) if version.key == move.plan]
    if not had:
        return "not_on_plan"
    moving = [version for version in had if move.from_version in (None, version.version)]
    if not moving:
        return "another_version"
    pin = Pin(move.plan, move.to_version, reason=move.reason)
    if move.at is not None and move.at > at:
        return Pin(move.plan, moving[0].version, move.at, move.to_version or "newest", move.reason)
    there = all(
        version.until is None
        and (version.why == "newest" if move.to_version is None else version.version == move.to_version)
        for version in had
    )
    return "there_already" if there else pin


def price_differences(
    before: Account, after: Account, plan: str, catalog: Catalog, at: datetime
) -> tuple[PriceDifference, ...]:
    """What one account pays for this plan at `at`, and what it would by the version it has `after`."""
    found = []
    for standing in standings(before, catalog, at):
        if standing.state in NOT_LIVE:
            continue
        old = positions(before, standing.subscription, catalog, at)
        new = positions(after, standing.subscription, catalog, at)
        for one, other in zip(old, new, strict=True):
            if one.bought is None or one.bought.key != plan or not one.item.quantity or one.part == "usage":
                continue
            price = one.price
            later = other.bought.prices.get(price.key) if other.bought is not None and price is not None else None
            if price is None or later is None or later.currency != price.currency:
                found.append(PriceDifference(None, None, None, 0, 0, 1, unknown=1))
                continue
            quantity = one.item.quantity
            found.append(
                PriceDifference(
                    price.currency, price.interval, price.interval_count,
                    price.amount * quantity, later.amount * quantity, 1,
                )
            )  # fmt: skip
    return tuple(found)


def summed(differences: Iterable[PriceDifference]) -> tuple[PriceDifference, ...]:
    """One for each currency and interval."""
    sums: dict[tuple[str | None, Interval | None, int | None], PriceDifference] = {}
    for one in differences:
        key = one.currency, one.interval, one.interval_count
        so_far = sums.get(key, PriceDifference(*key, 0, 0, 0))
        sums[key] = PriceDifference(
            *key,
            so_far.before + one.before,
            so_far.after + one.after,
            so_far.accounts + one.accounts,
            so_far.unknown + one.unknown,
        )
    return tuple(sums[key] for key in sorted(sums, key=repr))
