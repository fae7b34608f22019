"""What an account's own pages show of it: its plan, what is used and what is left, its seats, and what comes next.

Laws: each figure is the one that a decision at the same instant has; nobody's name is in it, and nothing of what the
account's customer is called at a provider.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from paygrade.billing.accounts import Account
from paygrade.billing.standing import Standing, standings
from paygrade.catalog.model import Catalog, Part, Plan, Price
from paygrade.changes.order import Act
from paygrade.changes.plan_change import ChangeState, PlanChange
from paygrade.changes.positions import Position, plan_position, positions
from paygrade.changes.quote import period_end
from paygrade.decisions.decide import Decision, decide
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.entitlements.derive import derive
from paygrade.entitlements.model import Entitlement, Reason
from paygrade.entitlements.seats import seats_at, suspended
from paygrade.server.operations.accounts.record import load_account, unknown_account
from paygrade.server.operations.own_pages.on_sale import OfferText, on_sale_price, texts
from paygrade.server.operations.usage.grants import view_balance
from paygrade.usage.balances import GrantKind
from paygrade.values.states import NOT_LIVE, State

if TYPE_CHECKING:
    from paygrade.postgres.store import Store
    from paygrade.server.state.snapshots import Snapshots


class BoughtItem(Struct, frozen=True):
    """A plan or add-on that is bought, so many of it, at a price. None: the catalog knows none."""

    key: str
    quantity: int
    price: Price | None
    part: Part


class BoughtPlan(Struct, frozen=True):
    """A subscription. `renews_at`: the end of the period that is paid for, unless it ends before, at `ends_at`. While
    a payment is overdue since `unpaid_since`, `access` is what is left until `access_until`, and the payment is tried
    again at `next_attempt_at` (None: nobody knows when, or it is not)."""

    subscription: str
    plan: str | None
    state: State
    items: tuple[BoughtItem, ...]
    renews_at: datetime | None
    trial_ends_at: datetime | None
    ends_at: datetime | None
    unpaid_since: datetime | None
    access: Literal["full", "read", "none"]
    access_until: datetime | None
    next_attempt_at: datetime | None


class UnitsLeft(Struct, frozen=True):
    """What is left of one grant, in the order it is used up. `until` None: it does not expire."""

    kind: GrantKind
    left: int
    units: int | None
    until: datetime | None
    asleep: bool


class FeatureUse(Struct, frozen=True, kw_only=True):
    """A feature or credit as the account has it: the decision on one more unit, what it is, and what is `granted` of a
    credit. `soft`: going over the limit is allowed. `credit`: what it is paid in."""

    feature: str
    its: OfferText
    allowed: bool
    reason: Reason
    value: bool | int | str | None
    limit: int | None
    used: int | None
    reserved: int | None
    remaining: int | None
    unlimited: bool
    soft: bool
    credit: str | None
    resets_at: datetime | None
    granted: tuple[UnitsLeft, ...] = ()


class SeatUse(Struct, frozen=True):
    """How many seats of `level` are taken. `units` None: there are as many as anyone likes."""

    level: str
    units: int | None
    taken: int
    suspended: int


class ChangeToCome(Struct, frozen=True):
    """A plan change that is under way. `ends`: the subscription ends by it."""

    change: str
    act: Act
    state: ChangeState
    plan_after: str | None
    ends: bool
    effective_at: datetime | None


class AccountSummary(Struct, frozen=True, kw_only=True):
    """All of it. `plan` is what decides: the highest plan that is bought, else the default plan; None: there is none.
    `subscriptions` are those that have not ended, the deciding one first."""

    account: str
    version: str
    as_of: datetime
    plan: str | None
    subscriptions: tuple[BoughtPlan, ...]
    features: tuple[FeatureUse, ...]
    seats: SeatUse | None
    change: ChangeToCome | None


async def summarize(
    store: "Store", snapshots: "Snapshots", *, account: str, member: str | None = None, at: datetime
) -> AccountSummary:
    """Summarize an account.

    What the account's own pages show: its plan and what it pays, each feature and credit with what is used and left,
    how many seats are taken, and the plan change under way. It names no member. Refused `unknown_account`.
    """
    found = await snapshots.load(store, account, at)
    if not found.known:
        raise unknown_account(account)
    async with store.transaction() as tx:
        held, catalog = (await load_account(tx, account)).account, await tx.catalogs.in_force()
        under_way = await tx.plan_changes.under_way(account, locked=False)
    bought = _bought(held, catalog, held.time(at))
    default = catalog.default_plan
    return AccountSummary(
        account=account,
        version=found.version,
        as_of=found.as_of,
        plan=next((one.plan for one in bought if one.plan is not None), default.ref if default is not None else None),
        subscriptions=bought,
        features=_uses(found, catalog, member, at),
        seats=_seats(held, catalog, at),
        change=_to_come(under_way),
    )


def _bought(held: Account, catalog: Catalog, at: datetime) -> tuple[BoughtPlan, ...]:
    """Subscriptions that live, the one with the highest plan first."""
    live = [standing for standing in standings(held, catalog, at) if standing.state not in NOT_LIVE]
    found = [(standing, positions(held, standing.subscription, catalog, at)) for standing in live]
    found.sort(key=lambda pair: _rank(pair[1]), reverse=True)
    return tuple(_plan_of(standing, its, at) for standing, its in found)


def _rank(its: tuple[Position, ...]) -> int:
    leads = plan_position(its)
    return leads.bought.rank if leads is not None and isinstance(leads.bought, Plan) else -1


def _plan_of(standing: Standing, its: tuple[Position, ...], at: datetime) -> BoughtPlan:
    subscription, leads = standing.subscription, plan_position(its)
    is_trial = standing.state == "trialing"
    owes, tried_again_at = standing.state in ("grace", "past_due", "unpaid"), subscription.next_attempt_at
    return BoughtPlan(
        subscription=subscription.id,
        plan=leads.bought.ref if leads is not None and leads.bought is not None else None,
        state=standing.state,
        items=tuple(BoughtItem(p.key, p.item.quantity, on_sale_price(p.price), p.part) for p in its),
        renews_at=period_end(subscription, its, (), at) if its and subscription.ends_at is None else None,
        trial_ends_at=subscription.trial_ends_at if is_trial else None,
        ends_at=subscription.ends_at,
        unpaid_since=subscription.unpaid_since if owes else None,
        access=standing.access,
        access_until=standing.until if standing.step is not None else None,
        next_attempt_at=tried_again_at if owes and tried_again_at is not None and tried_again_at > at else None,
    )


def _uses(found: Snapshot, catalog: Catalog, member: str | None, at: datetime) -> tuple[FeatureUse, ...]:
    its = entitlements_at(found, at)
    return tuple(
        _use(found, its.get(key), text, decide(found, key, 1, at, member=member), at)
        for key, text in texts(catalog).items()
    )


def _use(found: Snapshot, its: Entitlement | None, text: OfferText, decided: Decision, at: datetime) -> FeatureUse:
    return FeatureUse(
        feature=decided.feature,
        its=text,
        allowed=decided.allowed,
        reason=decided.reason,
        value=decided.value,
        limit=decided.limit,
        used=decided.used,
        reserved=decided.reserved,
        remaining=decided.remaining,
        unlimited=decided.unlimited,
        soft=its is not None and its.soft,
        credit=its.credit if its is not None else None,
        resets_at=decided.resets_at,
        granted=_granted(found, decided.feature, at) if text.kind == "credit" and its is not None else (),
    )


def _granted(found: Snapshot, credit: str, at: datetime) -> tuple[UnitsLeft, ...]:
    grants = view_balance(found, credit, at).grants
    return tuple(
        UnitsLeft(one.grant.kind, one.grant.left, one.grant.units, one.grant.until, one.asleep) for one in grants
    )


def _seats(held: Account, catalog: Catalog, at: datetime) -> SeatUse | None:
    now = held.time(at)
    seats, seated = seats_at(derive(held, catalog, now).entitlements), held.holding_seats(now)
    return None if seats is None else SeatUse(seats.level, seats.units, len(seated), len(suspended(seated, seats)))


def _to_come(under_way: Iterable[PlanChange]) -> ChangeToCome | None:
    """The one that stands in the way of others first."""
    found = sorted(under_way, key=lambda change: (change.state == "scheduled", change.asked_at))
    for change in found:
        quoted = change.quoted
        after, ends = (quoted.plan_after, quoted.ends) if quoted is not None else (None, change.act == "cancel")
        return ChangeToCome(change.id, change.act, change.state, after, ends, change.effective_at)
    return None
