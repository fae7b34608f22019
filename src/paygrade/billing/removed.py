"""Removed items: what a subscription was paid for in a period that still runs, and no longer consists of.

Laws: it follows from what the lines bought and until when that was paid, so the order of readings does not matter; what
is bought again takes the place of what was removed, and never adds to it; another plan takes the place of a plan; what
was credited, or was never paid ahead (a trial, usage), does not count on.

Only the policy `removed_items: period_end` lets them count on. An item with a lower quantity is not removed: it counts
as it is.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account, Purchase
from paygrade.billing.facts import Item, Subscription
from paygrade.billing.returned import has_consequences
from paygrade.billing.standing import Standing
from paygrade.billing.versions import counted, part_of, price_of
from paygrade.catalog.model import Catalog, Part, Policies
from paygrade.values.states import NOT_LIVE

_Group = tuple[str, Part]
"""What can take the place of what: the parts of one plan or add-on that are paid for alike."""


def credit_ends(policies: Policies) -> bool:
    """Whether a removed item ends at once where its unused time was credited."""
    credit = policies.returned.credit_note.full
    return policies.removed_items == "period_end" and credit in ("void_rest", "end_now")


def asks_more(before: Policies, after: Policies) -> bool:
    """Whether readings tell more by these policies than they did by those before."""
    returned = has_consequences(after.returned) and not has_consequences(before.returned)
    return returned or (credit_ends(after) and not credit_ends(before))


def counting_on(
    account: Account, catalog: Catalog, standing: Standing, present: Sequence[Item], at: datetime
) -> tuple[Item, ...]:
    """The items that were removed from a subscription and count on at `at`, each until its `period_until`. `present`
    are those it consists of now, as they are understood."""
    subscription = standing.subscription
    if catalog.policies.removed_items == "now" or standing.state in NOT_LIVE:
        return ()
    gone = removed(account, subscription, present, at)
    if credit_ends(catalog.policies):
        gone = [one for one in gone if one.item not in subscription.credited]
    if not gone:
        return ()
    begun = _begun(account.purchases.get(subscription.id, ()))
    there = [_there(_group(account, catalog, subscription.id, item, at), item, begun, at) for item in present]
    found = []
    for one in sorted(gone, key=lambda one: (_last_at(one), one.item), reverse=True):
        item = _as_item(one)
        group = _group(account, catalog, subscription.id, item, at)
        later = [its for its in there if its.seen_at > _last_at(one) and its.quantity > 0]
        if group is None or (group[0] in catalog.plans and _another_plan(later, group[0], catalog)):
            continue
        left = replace(item, quantity=max(0, item.quantity - sum(its.quantity for its in later if its.group == group)))
        there.append(_there(group, left, begun, at))
        if left.quantity:
            found.append(left)
    return tuple(sorted(found, key=lambda item: item.id))


def removed(account: Account, subscription: Subscription, present: Iterable[Item], at: datetime) -> list[Purchase]:
    """What the lines that are gone bought last, as far as that was paid beyond `at`."""
    there = {item.id for item in present}
    latest: dict[str, Purchase] = {}
    for one in account.purchases.get(subscription.id, ()):
        known = latest.get(one.item)
        if one.item not in there and (known is None or _said(one) > _said(known)):
            latest[one.item] = one
    return [latest[id] for id in sorted(latest) if (until := latest[id].paid_until) is not None and at < until]


def _said(one: Purchase) -> tuple[int, str]:
    return one.sequence, repr(one)


def _last_at(one: Purchase) -> datetime:
    return one.last_at or one.seen_at


class _There(Struct, frozen=True):
    """So many of a group, since when they were first stated."""

    group: _Group | None
    quantity: int
    seen_at: datetime


def _there(group: _Group | None, item: Item, begun: dict[tuple[str, str | None], datetime], at: datetime) -> _There:
    return _There(group, item.quantity, begun.get((item.id, item.price), at))


def _begun(purchases: Iterable[Purchase]) -> dict[tuple[str, str | None], datetime]:
    """When a line was first stated at a price."""
    seen: dict[tuple[str, str | None], datetime] = {}
    for one in purchases:
        seen[one.item, one.price] = min(one.seen_at, seen.get((one.item, one.price), one.seen_at))
    return seen


def _another_plan(later: Iterable[_There], plan: str, catalog: Catalog) -> bool:
    keys = {its.group[0] for its in later if its.group is not None}
    return any(key != plan and key in catalog.plans for key in keys)


def _group(account: Account, catalog: Catalog, subscription: str, item: Item, at: datetime) -> _Group | None:
    one = counted(account, catalog, subscription, item, at)
    return (one.bought.key, part_of(item, price_of(one.bought, item, catalog))) if one is not None else None


def _as_item(one: Purchase) -> Item:
    return Item(
        one.item,
        one.quantity,
        one.price,
        one.lookup_key,
        one.product,
        one.plan,
        period_until=one.paid_until,
        created_at=one.created_at,
    )
