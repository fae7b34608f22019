"""What a plan change asks for, and what would be bought then.

Laws: `resolve` changes only what was asked for: what is not named stays as it is, an item keeps its id when its price
is swapped; a direction comes from the catalog's order of plans, never from prices; what cannot be meant in one way
alone is refused.

| the plan | everything else | direction |
|---|---|---|
| another one, further down the catalog | any | upgrade |
| another one, further up | any | downgrade |
| the same | only more of something: a quantity, an add-on, a longer interval | upgrade |
| the same | only less of something | downgrade |
| the same | both, or neither | lateral |
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Literal, NoReturn

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Item, Subscription
from paygrade.billing.standing import Standing, standings
from paygrade.billing.versions import bought_since, unbought, version_at
from paygrade.catalog.model import AddOn, Allowance, Catalog, Direction, Plan, Price
from paygrade.changes.positions import Position, direction_of, plan_position, positions
from paygrade.values.errors import Refused
from paygrade.values.states import NOT_LIVE
from paygrade.values.text import one_of


class ChangeRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a plan change asks for; what is left out stays as it is.

    `add_ons` and `quantities` say how many there are to be: of an add-on (0: none), of a plan, or of a feature that the
    plan counts by quantity. `interval` is a price's key (`yearly`) or how often it is paid (`year`). `when` None and
    `date` None: as the catalog's rule says. `subscription` None: the one whose plan counts.
    """

    plan: str | None = None
    add_ons: dict[str, int] = {}
    quantities: dict[str, int] = {}
    interval: str | None = None
    coupon: str | None = None
    when: Literal["now", "period_end"] | None = None
    date: datetime | None = None
    subscription: str | None = None


class Resolved(Struct, frozen=True):
    """What is bought before and after; without anything after, the subscription ends."""

    standing: Standing
    several: bool
    plan_before: Plan | None
    plan_after: Plan | None
    before: tuple[Position, ...]
    after: tuple[Position, ...]
    direction: Direction

    @property
    def subscription(self) -> Subscription:
        return self.standing.subscription


def resolve(account: Account, catalog: Catalog, request: ChangeRequest, at: datetime) -> Resolved:
    """Find what is meant.

    Refused `no_subscription_to_change`, `unknown_plan`, `unknown_add_on`, `unknown_price`, `ambiguous_price`,
    `quantity_not_sold` or `same_as_now`.
    """
    standing, several = _subscription(account, catalog, request, at)
    before = positions(account, standing.subscription, catalog, at)
    own = plan_position(before)
    plan_before = own.bought if own is not None and isinstance(own.bought, Plan) else _default(account, catalog, at)
    sold = _Sold(account, catalog, standing.subscription.id, at)
    plan_after = _plan(sold, request, plan_before) or plan_before
    if plan_after is not None and _ends(plan_after, plan_before):
        after: tuple[Position, ...] = ()
        if request.add_ons or request.quantities:
            _refuse_price(plan_after, "has no price, so the subscription would end; leave add-ons and quantities out")
    else:
        manual = any(position.item.plan is not None for position in before)
        replaces = plan_after if own is not None or plan_after != plan_before else None
        after = _replaced(before, own, replaces, request, manual=manual)
        had = {position.key for position in before if isinstance(position.bought, AddOn)}
        after = _counted(after, sold, plan_after, _quantities(catalog, plan_after, request, had), request)
    if after == before and request.coupon is None:
        raise Refused("same_as_now", f"`{account.key}` has exactly this already; there is nothing to change")
    direction = direction_of(plan_before, plan_after, before, after)
    return Resolved(standing, several, plan_before, plan_after, before, after, direction)


def _subscription(account: Account, catalog: Catalog, request: ChangeRequest, at: datetime) -> tuple[Standing, bool]:
    """The subscription to change, and whether there are others: one whose plan counts, the highest plan first."""
    live = [s for s in standings(account, catalog, at) if s.state not in NOT_LIVE]
    named = [s for s in live if request.subscription in (None, s.subscription.id)]
    if not named:
        which = f"no live subscription `{request.subscription}`" if request.subscription else "no live subscription"
        raise Refused(
            "no_subscription_to_change",
            f"`{account.key}` has {which}; a first one is bought at the provider, or stated for manual billing",
        )
    found = max(named, key=lambda s: (_rank(account, s, catalog, at), s.access == "full"))
    return found, len(live) > 1 and len(named) > 1


def _rank(account: Account, standing: Standing, catalog: Catalog, at: datetime) -> int:
    found = positions(account, standing.subscription, catalog, at)
    bought = (position.bought for position in found if position.item.quantity > 0)
    return max((plan.rank for plan in bought if isinstance(plan, Plan)), default=-1)


def _default(account: Account, catalog: Catalog, at: datetime) -> Plan | None:
    if catalog.default_plan is None:
        return None
    bought = unbought(account, catalog, catalog.default_plan.key, at).bought
    return bought if isinstance(bought, Plan) else None


class _Sold(Struct, frozen=True):
    """What is sold to one subscription at an instant, in the versions that will count for it."""

    account: Account
    catalog: Catalog
    subscription: str
    at: datetime

    def find(self, key: str) -> Plan | AddOn | None:
        """Whoever had it before has had it since then, and may have kept that version; who buys it now gets the newest
        (ADR 10)."""
        since = bought_since(self.account, self.catalog, self.subscription, key) or self.at
        found = version_at(self.account, self.catalog, key, since, self.at)
        return found.bought if found is not None else None


def _plan(sold: _Sold, request: ChangeRequest, present: Plan | None) -> Plan | None:
    """The plan to go to, in the version that will count."""
    account, catalog = sold.account, sold.catalog
    if request.plan is None or (present is not None and request.plan == present.key):
        return present
    if request.plan not in catalog.plans:
        known = f"; the catalog has {one_of(catalog.plans)}" if catalog.plans else ""
        raise Refused("unknown_plan", f"there is no plan `{request.plan}`{known}")
    # Everybody has the default plan since there is an account.
    default = catalog.plans[request.plan].default
    bought = unbought(account, catalog, request.plan, sold.at).bought if default else sold.find(request.plan)
    return bought if isinstance(bought, Plan) else None


def _ends(after: Plan, before: Plan | None) -> bool:
    """Going to the default plan, which everybody has who pays for none, ends what is paid for."""
    return after != before and after.default and not after.prices


def _replaced(
    before: tuple[Position, ...], own: Position | None, plan: Plan | None, request: ChangeRequest, *, manual: bool
) -> tuple[Position, ...]:
    """The positions with another plan or interval."""
    if plan is None:
        return before
    if not manual and not plan.prices and (own is None or plan is not own.bought):
        _refuse_price(plan, "has no price, so the provider cannot sell it; give it one in the catalog")
    if own is None:
        price = _choose(plan, request.interval, before[0].price if before else None)
        return (*before, _new(plan, price, manual=manual))
    after = []
    for position in before:
        if position is own:
            price = (
                own.price
                if plan is own.bought and request.interval is None
                else _choose(plan, request.interval, own.price)
            )
            after.append(_swapped(own, plan, price))
        elif request.interval is not None and isinstance(position.bought, AddOn) and _has(position, request.interval):
            price = _choose(position.bought, request.interval, position.price)
            after.append(_swapped(position, position.bought, price))
        else:
            after.append(position)
    return tuple(after)


def _has(position: Position, interval: str) -> bool:
    prices = position.bought.prices.values() if position.bought is not None else ()
    return any(interval in (price.key, price.interval) for price in prices)


def _choose(bought: Plan | AddOn, interval: str | None, like: Price | None) -> Price | None:
    """The price that is meant; with several, the one most like the present one. None: it has no prices."""
    known = found = list(bought.prices.values())
    if interval is not None:
        found = [price for price in known if price.key == interval] or [p for p in known if p.interval == interval]
        if not found:
            listed = one_of(bought.prices) if bought.prices else "none"
            _refuse_price(bought, f"has no price `{interval}`; its prices are {listed}")
    if like is not None:
        every = like.interval, like.interval_count
        if interval is None:
            found = [p for p in found if (p.interval, p.interval_count) == every] or found
        found = [p for p in found if p.currency == like.currency] or found
        found = [p for p in found if p.key == like.key] or found
    if len(found) > 1:
        listed = one_of([price.key for price in found])
        raise Refused("ambiguous_price", f"`{bought.key}` has more than one price; say the interval: {listed}")
    return found[0] if found else None


def _refuse_price(bought: Plan | AddOn, why: str) -> NoReturn:
    raise Refused("unknown_price", f"`{bought.key}` {why}")


def _swapped(position: Position, bought: Plan | AddOn, price: Price | None) -> Position:
    if bought is position.bought and price == position.price:
        return position
    item = position.item
    named = replace(_item(bought, price, manual=item.plan is not None), id=item.id, quantity=item.quantity)
    dates = {"period_from_at": item.period_from_at, "period_until": item.period_until}
    return Position(replace(named, **dates), bought, price)


def _new(bought: Plan | AddOn, price: Price | None, quantity: int = 1, *, manual: bool = False) -> Position:
    return Position(replace(_item(bought, price, manual=manual), quantity=quantity), bought, price)


def _item(bought: Plan | AddOn, price: Price | None, *, manual: bool) -> Item:
    """An item as it would be read back once it is bought; until then it has no id of the provider's."""
    item = Item(f"new:{bought.key}")
    if manual or price is None or price.stripe is None:
        return replace(item, plan=bought.key, price=price.key if price is not None else None)
    name = {"price": price.stripe} if price.stripe.startswith("price_") else {"lookup_key": price.stripe}
    return replace(item, product=bought.stripe_product, **name)


def _quantities(catalog: Catalog, plan: Plan | None, request: ChangeRequest, had: Collection[str]) -> dict[str, int]:
    """How many there are to be, by the key of a plan or add-on; what is had can be sold no more."""
    found = {}
    for key, quantity in request.add_ons.items():
        if key not in catalog.add_ons and key not in had:
            known = f"; the catalog has {one_of(catalog.add_ons)}" if catalog.add_ons else ""
            raise Refused("unknown_add_on", f"there is no add-on `{key}`{known}")
        found[key] = quantity
    for key, quantity in request.quantities.items():
        term = plan.terms.get(key) if plan is not None else None
        if plan is not None and (key == plan.key or (isinstance(term, Allowance) and term.by_quantity)):
            found[plan.key] = quantity
        elif key in catalog.add_ons or key in had:
            found[key] = quantity
        else:
            named = f"`{plan.key}` counts no `{key}` by quantity" if plan is not None else "there is no plan"
            raise Refused("quantity_not_sold", f"{named}; name a plan, an add-on, or a feature with `limit: quantity`")
    return found


def _counted(
    before: tuple[Position, ...], sold: _Sold, plan: Plan | None, quantities: Mapping[str, int], request: ChangeRequest
) -> tuple[Position, ...]:
    """The positions with these quantities: those that are not there are added, those of none removed."""
    like = next((p.price for p in before if isinstance(p.bought, Plan)), before[0].price if before else None)
    manual = any(p.item.plan is not None for p in before)
    after = list(before)
    for key, quantity in quantities.items():
        places = [n for n, p in enumerate(after) if p.bought is not None and p.bought.key == key]
        if plan is not None and key == plan.key and (not places or quantity == 0):
            raise Refused(
                "quantity_not_sold",
                f"there must be at least 1 of `{key}` and it must be bought; to leave it, name another plan",
            )
        if places:
            item = after[places[0]].item
            after[places[0]] = replace(after[places[0]], item=replace(item, quantity=quantity))
        elif quantity:
            add_on = sold.find(key)
            assert add_on is not None, "quantities are of what is sold"
            interval = (
                request.interval
                if any(request.interval in (p.key, p.interval) for p in add_on.prices.values())
                else None
            )
            after.append(_new(add_on, _choose(add_on, interval, like), quantity, manual=manual))
    return tuple(p for p in after if p.item.quantity > 0 or p in before)
