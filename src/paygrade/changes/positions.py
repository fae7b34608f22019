"""Positions: what the items of a subscription buy, at which price, and which way a change of them goes."""

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Item, Subscription
from paygrade.billing.understanding import understood
from paygrade.billing.versions import counted
from paygrade.catalog.model import AddOn, Catalog, Direction, Plan, Price, versions_of


class Position(Struct, frozen=True):
    """An item of a subscription, what it buys and for which price, as far as the catalog knows."""

    item: Item
    bought: Plan | AddOn | None
    price: Price | None

    @property
    def key(self) -> str:
        item = self.item
        return self.bought.key if self.bought else item.lookup_key or item.price or item.product or item.id


def positions(account: Account, subscription: Subscription, catalog: Catalog, at: datetime) -> tuple[Position, ...]:
    """The items of a subscription, as they are understood: in the versions that count for the account."""
    found = []
    for item in understood(account, catalog, subscription.id, subscription.items):
        one = counted(account, catalog, subscription.id, item, at)
        bought = one.bought if one is not None else None
        found.append(Position(item, bought, _price_of(bought, item, catalog) if bought is not None else None))
    return tuple(found)


def plan_position(found: Iterable[Position]) -> Position | None:
    plans = [p for p in found if isinstance(p.bought, Plan)]
    return max(plans, key=lambda p: p.bought.rank if isinstance(p.bought, Plan) else -1, default=None)


def _price_of(bought: Plan | AddOn, item: Item, catalog: Catalog) -> Price | None:
    """The price an item is bought for: by its name at the provider, by its key in manual billing, or the only one.

    Who is held to another version than they bought goes on paying what they bought.
    """
    refs = {ref for ref in (item.price, item.lookup_key) if ref}
    found = [price for price in bought.prices.values() if price.stripe in refs]
    if refs and not found:
        versions = reversed(versions_of(catalog, bought.key).values())
        found = [price for sold in versions for price in sold.prices.values() if price.stripe in refs]
    if not found and item.plan is not None:
        found = [price for price in bought.prices.values() if price.key in refs]
        if not found and not refs and len(bought.prices) == 1:
            found = list(bought.prices.values())
    return found[0] if found else None


def direction_of(
    plan_before: Plan | None, plan_after: Plan | None, before: tuple[Position, ...], after: tuple[Position, ...]
) -> Direction:
    if plan_after is not None and (plan_before is None or plan_after.key != plan_before.key):
        return "upgrade" if plan_before is None or plan_after.rank > plan_before.rank else "downgrade"
    old, new = _sizes(before), _sizes(after)
    moves = {(new.get(key, 0) > old.get(key, 0)) for key in {*old, *new} if new.get(key, 0) != old.get(key, 0)}
    return "lateral" if len(moves) != 1 else "upgrade" if moves.pop() else "downgrade"


def _sizes(found: Iterable[Position]) -> dict[tuple[str, str], int]:
    """Whatever can be more or less: how many of each, and how long each is paid for."""
    sizes = {}
    for position in found:
        sizes["quantity", position.key] = position.item.quantity
        if position.price is not None and position.item.quantity:
            days = {"day": 1, "week": 7, "month": 30, "year": 365}[position.price.interval]
            sizes["interval", position.key] = days * position.price.interval_count
    return sizes
