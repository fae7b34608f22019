"""What a plan change asks for, and what would be bought then.

Laws: `resolve` changes only what was asked for: what is not named stays as it is, an item keeps its id when its price
is swapped, and a plan or add-on of several items is swapped, counted and dropped with all of them; a direction comes
from the catalog's order of plans, never from prices; what cannot be meant in one way alone is refused.

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
from typing import Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Subscription
from paygrade.billing.standing import Standing, standings
from paygrade.billing.versions import bought_since, unbought, version_at
from paygrade.catalog.model import AddOn, Allowance, Catalog, Direction, Plan, Term
from paygrade.changes import parts
from paygrade.changes.positions import Position, direction_of, plan_position, positions, quantities_of
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
            parts.refuse_price(
                plan_after, "has no price, so the subscription would be canceled; leave out add-ons and quantities"
            )
    else:
        manual = any(position.item.plan is not None for position in before)
        replaces = plan_after if own is not None or plan_after != plan_before else None
        its = tuple(position for position in before if own is not None and position.bought == own.bought)
        after = _replaced(before, its, replaces, request, manual=manual)
        had = {position.key for position in before if isinstance(position.bought, AddOn)}
        after = _counted(after, sold, plan_after, _quantities(catalog, plan_after, request, had), request)
    _refuse_quantities(before, after)
    if after == before and request.coupon is None:
        raise Refused("same_as_now", f"`{account.key}` already has this; there is nothing to change")
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
            f"`{account.key}` has {which}; create one at the provider, or state one for manual billing",
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


def first_bought(
    account: Account, catalog: Catalog, request: ChangeRequest, currency: str | None, at: datetime
) -> tuple[Plan, tuple[Position, ...]]:
    """What is bought by who buys for the first time, at prices of this currency where one is named.

    Refused `unknown_plan`, `unknown_add_on`, `unknown_price`, `ambiguous_price` or `quantity_not_sold`.
    """
    sold = _Sold(account, catalog, "", at, currency)
    plan = _plan(sold, request, None)
    assert plan is not None, "a plan is named"
    plan = _priced_in(plan, currency)
    if not plan.prices:
        why = f"has no price in `{currency}`" if currency else "has no price, so there is nothing to check out"
        parts.refuse_price(plan, why)
    bought = parts.bought(plan, (), request.interval, manual=False)
    bought = _counted(bought, sold, plan, _quantities(catalog, plan, request, ()), request)
    _refuse_quantities((), bought)
    return plan, bought


class _Sold(Struct, frozen=True):
    """What is sold to one subscription at an instant, in the versions that will count for it. `currency`: at prices of
    this one alone."""

    account: Account
    catalog: Catalog
    subscription: str
    at: datetime
    currency: str | None = None

    def find(self, key: str) -> Plan | AddOn | None:
        """Whoever had it before has had it since then, and may have kept that version; who buys it now gets the newest
        (ADR 10)."""
        since = bought_since(self.account, self.catalog, self.subscription, key) or self.at
        found = version_at(self.account, self.catalog, key, since, self.at)
        return _priced_in(found.bought, self.currency) if found is not None else None


_PlanOrAddOn = TypeVar("_PlanOrAddOn", bound=Plan | AddOn)


def _priced_in(sold: _PlanOrAddOn, currency: str | None) -> _PlanOrAddOn:
    """The same with its prices of this currency alone; None: with all of them."""
    if currency is None:
        return sold
    return replace(sold, prices={key: price for key, price in sold.prices.items() if price.currency == currency})


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
    before: tuple[Position, ...], own: tuple[Position, ...], plan: Plan | None, request: ChangeRequest, *, manual: bool
) -> tuple[Position, ...]:
    """The positions with another plan in the place of the `own` one, or paid at another interval."""
    if plan is None:
        return before
    other = not own or plan != own[0].bought
    if not manual and not plan.prices and other:
        parts.refuse_price(plan, "has no price; add one in the catalog")
    its: tuple[Position, ...] = ()
    if other:
        like = before[0].price if before and not own else None
        its = parts.bought(plan, own, request.interval, like=like, manual=manual)
    elif request.interval is not None:
        if not parts.has_interval(plan, request.interval):
            parts.refuse_price(plan, f"has no price `{request.interval}`; its prices are {one_of(plan.prices)}")
        its = parts.at_interval(own, request.interval)
    after = _in_place(before, own, its) if its else before
    for key in dict.fromkeys(p.key for p in before if isinstance(p.bought, AddOn)):
        add_on = tuple(p for p in before if p.key == key)
        if request.interval is not None:
            after = _in_place(after, add_on, parts.at_interval(add_on, request.interval))
    return after


def _in_place(
    before: tuple[Position, ...], its: tuple[Position, ...], after: tuple[Position, ...]
) -> tuple[Position, ...]:
    """The positions with `after` in the place of `its`: where an item keeps its id it keeps its place."""
    ids = {p.item.id for p in its}
    new = {p.item.id: p for p in after}
    kept = [new.pop(p.item.id, None) if p.item.id in ids else p for p in before]
    return (*(p for p in kept if p is not None), *new.values())


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
        if plan is not None and (key == plan.key or _is_the_quantity(term)):
            found[plan.key] = quantity
        elif key in catalog.add_ons or key in had:
            found[key] = quantity
        else:
            named = f"`{plan.key}` does not sell `{key}` by quantity" if plan is not None else "there is no plan"
            raise Refused("quantity_not_sold", f"{named}; name a plan, an add-on, or a feature with `limit: quantity`")
    return found


def refuse_quantity(sold: Plan | AddOn, quantity: int) -> None:
    """Refused `quantity_not_sold`: this many of it are not sold."""
    if quantity and sold.quantities is not None and not sold.quantities.has(quantity):
        raise Refused(
            "quantity_not_sold", f"`{sold.key}` is sold {sold.quantities}, not {quantity}; ask for another quantity"
        )


def _refuse_quantities(before: tuple[Position, ...], after: tuple[Position, ...]) -> None:
    """Of what changes: who has another quantity for whatever reason may keep it and change something else."""
    had = quantities_of(before)
    for key, (sold, quantity) in quantities_of(after).items():
        if had.get(key) != (sold, quantity):
            refuse_quantity(sold, quantity)


def _is_the_quantity(term: Term | None) -> bool:
    """Whether there is one unit of it for each of the plan's quantity."""
    return isinstance(term, Allowance) and term.by_quantity and term.units == 1 and term.per is None


def _counted(
    before: tuple[Position, ...], sold: _Sold, plan: Plan | None, quantities: Mapping[str, int], request: ChangeRequest
) -> tuple[Position, ...]:
    """The positions with these quantities: those that are not there are added, those of none removed."""
    like = next((p.price for p in before if isinstance(p.bought, Plan)), before[0].price if before else None)
    manual = any(p.item.plan is not None for p in before)
    after = before
    for key, quantity in quantities.items():
        its = tuple(p for p in after if p.bought is not None and p.bought.key == key)
        if plan is not None and key == plan.key and (not its or quantity == 0):
            raise Refused(
                "quantity_not_sold",
                f"the quantity of `{key}` must be at least 1; to cancel it, choose another plan",
            )
        if its:
            after = _in_place(after, its, parts.of_quantity(its, quantity))
        elif quantity:
            add_on = sold.find(key)
            assert add_on is not None, "quantities are of what is sold"
            asked = request.interval
            interval = asked if asked is not None and parts.has_interval(add_on, asked) else None
            added = parts.bought(add_on, (), interval, like=like, manual=manual)
            after = (*after, *parts.of_quantity(added, quantity))
    return parts.without_nothing(after, before)
