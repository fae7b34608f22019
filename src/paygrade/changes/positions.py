"""Positions: what the items of a subscription buy, at which price, and which way a change of them goes.

Law: several items that buy one plan or add-on are its parts: only those that are paid for each of the quantity say how
many are bought.
"""

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Item, Subscription
from paygrade.billing.standing import standings
from paygrade.billing.understanding import understood
from paygrade.billing.versions import counted, part_of, price_of
from paygrade.catalog.model import AddOn, Catalog, Direction, Part, Plan, Price
from paygrade.values.states import NOT_LIVE


class Position(Struct, frozen=True):
    """An item of a subscription, what it buys and for which price, as far as the catalog knows."""

    item: Item
    bought: Plan | AddOn | None
    price: Price | None

    @property
    def key(self) -> str:
        item = self.item
        return self.bought.key if self.bought else item.lookup_key or item.price or item.product or item.id

    @property
    def part(self) -> Part:
        return part_of(self.item, self.price)

    @property
    def line(self) -> str:
        """What it is an alternative to: prices of its part, or of the usage of its feature."""
        return self.price.line if self.price is not None and self.part == "usage" else self.part


def positions(account: Account, subscription: Subscription, catalog: Catalog, at: datetime) -> tuple[Position, ...]:
    """The items of a subscription, as they are understood: in the versions that count for the account."""
    items = understood(account, catalog, subscription.id, subscription.items)
    return tuple(position_of(account, catalog, subscription.id, item, at) for item in items)


def position_of(account: Account, catalog: Catalog, subscription: str, item: Item, at: datetime) -> Position:
    """What one item of this subscription buys, in the version that counts for the account."""
    one = counted(account, catalog, subscription, item, at)
    bought = one.bought if one is not None else None
    return Position(item, bought, price_of(bought, item, catalog) if bought is not None else None)


def usage_price(account: Account, catalog: Catalog, feature: str, at: datetime) -> Price | None:
    """What the account pays for usage of this feature, as far as the catalog says; None: nothing that it knows of."""
    stands = [s for s in standings(account, catalog, at) if s.state not in NOT_LIVE]
    found = [p.price for s in stands for p in positions(account, s.subscription, catalog, at)]
    return next((price for price in found if price is not None and price.feature == feature), None)


def plan_position(found: Iterable[Position]) -> Position | None:
    """The item of the highest plan; of its parts the one that leads."""
    plans = [p for p in found if isinstance(p.bought, Plan)]
    return max(plans, key=lambda p: (p.bought.rank if isinstance(p.bought, Plan) else -1, *_lead(p)), default=None)


def leading(parts: Iterable[Position]) -> Position:
    """The one that stands for all, of several items that buy one thing."""
    return max(parts, key=_lead)


def _lead(position: Position) -> tuple[bool, bool, int]:
    return position.part == "quantity", position.price is not None, position.item.quantity


def quantities_of(found: Iterable[Position]) -> dict[str, tuple[Plan | AddOn, int]]:
    """How many of each plan and add-on are bought; of those that are not sold by quantity, 1."""
    its: dict[str, list[Position]] = {}
    for position in found:
        its.setdefault(position.key, []).append(position)
    bought = {key: (leading(all_).bought, _sizes(all_)["quantity", key]) for key, all_ in its.items()}
    return {key: (sold, size) for key, (sold, size) in bought.items() if sold is not None}


def direction_of(
    plan_before: Plan | None, plan_after: Plan | None, before: tuple[Position, ...], after: tuple[Position, ...]
) -> Direction:
    if plan_after is not None and (plan_before is None or plan_after.key != plan_before.key):
        return "upgrade" if plan_before is None or plan_after.rank > plan_before.rank else "downgrade"
    old, new = _sizes(before), _sizes(after)
    intervals = [(old[key], new[key]) for key in old.keys() & new.keys() if key[0] == "interval"]
    counts = [(old.get(key, 0), new.get(key, 0)) for key in {*old, *new} if key[0] == "quantity"]
    moves = {less < more for less, more in (*intervals, *counts) if less != more}
    return "lateral" if len(moves) != 1 else "upgrade" if moves.pop() else "downgrade"


def _sizes(found: Iterable[Position]) -> dict[tuple[str, str], int]:
    """Whatever can be more or less: how many of each, and how long each is paid for, as far as that is known."""
    its: dict[str, list[Position]] = {}
    for position in found:
        its.setdefault(position.key, []).append(position)
    sizes = {}
    for key, parts in its.items():
        counted = [p.item.quantity for p in parts if p.part == "quantity"]
        sizes["quantity", key] = sum(counted) if counted else 1
        price = leading(parts).price
        if price is not None and sizes["quantity", key]:
            days = {"day": 1, "week": 7, "month": 30, "year": 365}[price.interval]
            sizes["interval", key] = days * price.interval_count
    return sizes
