"""Parts: the items by which one plan or add-on is bought, put in place of others, counted and dropped.

Laws: a plan or add-on is swapped, counted and dropped as a whole, by whichever items it is bought; of the prices of one
part one is bought, and of usage one for each feature; an item keeps its id when another price of the same part takes
its place, and how many there are is the same before and after; only the items that are paid for each count.
"""

from collections.abc import Iterable, Sequence
from typing import NoReturn

from msgspec.structs import replace

from paygrade.billing.facts import Item
from paygrade.catalog.model import PARTS, AddOn, Plan, Price
from paygrade.changes.positions import Position, leading
from paygrade.values.errors import Refused
from paygrade.values.text import one_of

Sold = Plan | AddOn


def bought(
    sold: Sold, its: Sequence[Position], interval: str | None, *, like: Price | None = None, manual: bool
) -> tuple[Position, ...]:
    """The items by which `sold` is bought in place of `its`: what has no counterpart goes, what is missing comes.

    `like` is a price to be alike to where `its` tell none. Refused `unknown_price`, `ambiguous_price`.
    """
    after: list[Position] = []
    for part in _lines(sold):
        old = [p for p in its if p.line == part]
        if not _sells(sold, part) or (manual and part != "quantity" and not old):
            # Whoever bills by hand states parts only where they want to.
            continue
        like = leading(old).price if old else after[0].price if after else like
        price = _choose(sold, part, None if after and not _has(sold, part, interval) else interval, like)
        quantity = sum(p.item.quantity for p in old) if old and part == "quantity" else 1
        after.append(
            _swapped(leading(old), sold, price, quantity) if old else _new(sold, price, quantity, manual=manual)
        )
    return tuple(after)


def at_interval(its: Sequence[Position], interval: str) -> tuple[Position, ...]:
    """The items of one plan or add-on, paid this often as far as their parts are sold so."""
    sold = its[0].bought
    assert sold is not None, "only what the catalog knows has other prices"
    after: list[Position] = []
    for part in dict.fromkeys((*_lines(sold), *(p.line for p in its))):
        old = [p for p in its if p.line == part]
        if old and _has(sold, part, interval):
            quantity = sum(p.item.quantity for p in old) if part == "quantity" else old[0].item.quantity
            after.append(_swapped(leading(old), sold, _choose(sold, part, interval, leading(old).price), quantity))
        else:
            after += old
    return tuple(after)


def has_interval(sold: Sold, interval: str) -> bool:
    return any(interval in (price.key, price.interval) for price in sold.prices.values())


def of_quantity(its: Sequence[Position], quantity: int) -> tuple[Position, ...]:
    """The items of one plan or add-on with this quantity together; of none of it, each has none.

    Where several count, the largest takes the difference. Refused `ambiguous_price`, `quantity_not_sold`.
    """
    if not quantity:
        return tuple(_counting(p, 0) for p in its)
    counted = sorted((p for p in its if p.part == "quantity"), key=lambda p: p.item.quantity, reverse=True)
    if not counted:
        if quantity == 1:
            return tuple(its)
        raise Refused("quantity_not_sold", f"`{its[0].key}` has no price per unit, so its quantity is always 1")
    rest = quantity - sum(p.item.quantity for p in counted)
    if rest > 0 and len(counted) > 1 and counted[0].item.quantity == counted[1].item.quantity:
        listed = one_of([p.item.lookup_key or p.item.price or p.item.id for p in counted])
        raise Refused(
            "ambiguous_price",
            f"`{its[0].key}` is paid with {listed}; mark one of them `part: flat` in the catalog",
        )
    changed = {}
    for position in counted:
        changed[position.item.id] = max(0, position.item.quantity + rest)
        rest += position.item.quantity - changed[position.item.id]
    return tuple(_counting(p, changed.get(p.item.id, p.item.quantity)) for p in its)


def refuse_price(sold: Sold, why: str) -> NoReturn:
    raise Refused("unknown_price", f"`{sold.key}` {why}")


def _lines(sold: Sold) -> list[str]:
    """What it is paid for with a price each: its parts, in their order, and the usage of each feature."""
    its = [price.line for part in PARTS for price in sold.prices.values() if price.part == part]
    return list(dict.fromkeys((*PARTS, *its)))


def _sells(sold: Sold, part: str) -> bool:
    """Whether it is sold with this part; what has no price at all is sold by hand, for each."""
    return any(price.line == part for price in sold.prices.values()) or (part == "quantity" and not sold.prices)


def _has(sold: Sold, part: str, interval: str | None) -> bool:
    return any(interval in (p.key, p.interval) for p in sold.prices.values() if p.line == part)


def _choose(sold: Sold, part: str, interval: str | None, like: Price | None) -> Price | None:
    """The price that is meant; with several, the one most like the present one. None: it has no prices."""
    known = found = [price for price in sold.prices.values() if price.line == part]
    if interval is not None:
        found = [price for price in known if price.key == interval] or [p for p in known if p.interval == interval]
        if not found:
            listed = one_of([price.key for price in known]) if known else "none"
            refuse_price(sold, f"has no price `{interval}`; its prices are {listed}")
    if like is not None:
        every = like.interval, like.interval_count
        if interval is None:
            found = [p for p in found if (p.interval, p.interval_count) == every] or found
        found = [p for p in found if p.currency == like.currency] or found
        found = [p for p in found if p.key == like.key] or found
    if len(found) > 1:
        listed = one_of([price.key for price in found])
        raise Refused("ambiguous_price", f"`{sold.key}` has more than one price; choose an interval: {listed}")
    return found[0] if found else None


def _swapped(position: Position, sold: Sold, price: Price | None, quantity: int) -> Position:
    if sold == position.bought and price == position.price:
        return _counting(position, quantity)
    item = position.item
    named = replace(_item(sold, price, manual=item.plan is not None), id=item.id, quantity=quantity)
    dates = {"period_from_at": item.period_from_at, "period_until": item.period_until}
    return Position(replace(named, **dates), sold, price)


def _counting(position: Position, quantity: int) -> Position:
    same = position.item.quantity == quantity
    return position if same else replace(position, item=replace(position.item, quantity=quantity))


def _new(sold: Sold, price: Price | None, quantity: int, *, manual: bool) -> Position:
    return Position(replace(_item(sold, price, manual=manual), quantity=quantity), sold, price)


def _item(sold: Sold, price: Price | None, *, manual: bool) -> Item:
    """An item as it would be read back once it is bought; until then it has no id of the provider's."""
    part = price.part if price is not None else "quantity"
    line = price.line.replace(" ", ":") if price is not None else part
    item = Item(f"new:{sold.key}" if part == "quantity" else f"new:{sold.key}:{line}", metered=part == "usage")
    if manual or price is None or price.stripe is None:
        return replace(item, plan=sold.key, price=price.key if price is not None else None)
    name = {"price": price.stripe} if price.stripe.startswith("price_") else {"lookup_key": price.stripe}
    return replace(item, product=sold.stripe_product, **name)


def without_nothing(after: Iterable[Position], before: Sequence[Position]) -> tuple[Position, ...]:
    """The items without those that became none."""
    return tuple(p for p in after if p.item.quantity > 0 or p in before)
