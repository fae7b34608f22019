"""What a subscription is understood to consist of, where a name of what it buys is known no more.

Laws: a line whose names the catalog knows is what it says; a line whose names it does not know is what that line last
bought; where no line is known to buy a plan and one did before, all that was bought then is still there. So what is
not understood takes nothing from anybody, and adds nothing either.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from paygrade.billing.accounts import Account, Purchase
from paygrade.billing.facts import Item
from paygrade.catalog.model import Catalog, find_key


def understood(account: Account, catalog: Catalog, subscription: str, items: tuple[Item, ...]) -> tuple[Item, ...]:
    """The items of this subscription, and in the place of those that nothing names any more what was bought before.

    Whatever never bought anything that is known stays as it is.
    """
    if all(key_of(catalog, item) is not None for item in items):
        return items
    before = [one for one in account.purchases.get(subscription, ()) if key_of(catalog, one) is not None]
    if not before:
        return items
    found = tuple(_line(catalog, item, before) for item in items)
    if any(item.quantity > 0 and key_of(catalog, item) in catalog.plans for item in found):
        return found
    return (*found, *_plan_before(catalog, found, before))


def key_of(catalog: Catalog, one: Item | Purchase) -> str | None:
    """The plan or add-on it names; None: nothing that was ever sold."""
    return find_key(catalog, price=one.price, lookup_key=one.lookup_key, product=one.product, plan=one.plan)


def _line(catalog: Catalog, item: Item, before: Iterable[Purchase]) -> Item:
    if key_of(catalog, item) is not None:
        return item
    same = [one for one in before if one.item == item.id]
    return _as_bought(item, _latest(same)) if same else item


def _plan_before(catalog: Catalog, found: Iterable[Item], before: list[Purchase]) -> list[Item]:
    """What was bought when a plan was last among it."""
    plans = [one.sequence for one in before if key_of(catalog, one) in catalog.plans]
    there = {item.id for item in found if key_of(catalog, item) is not None}
    by_line: dict[str, list[Purchase]] = {}
    for one in before:
        if plans and one.sequence >= max(plans) and one.item not in there:
            by_line.setdefault(one.item, []).append(one)
    return [_as_bought(Item(id), _latest(by_line[id])) for id in sorted(by_line)]


def _latest(purchases: Iterable[Purchase]) -> Purchase:
    return max(purchases, key=lambda one: (one.sequence, repr(one)))


def _as_bought(item: Item, one: Purchase) -> Item:
    return replace(
        item, quantity=one.quantity, price=one.price, lookup_key=one.lookup_key, product=one.product, plan=one.plan
    )
