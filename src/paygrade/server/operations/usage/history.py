"""What was used, window by window."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.catalog.model import Price
from paygrade.catalog.offers import LevelFeature, MeteredFeature
from paygrade.catalog.prices import billed_units, usage_cost
from paygrade.changes.positions import usage_price
from paygrade.entitlements.derive import derive
from paygrade.entitlements.model import Entitlement
from paygrade.entitlements.sources import offers
from paygrade.server.operations.accounts.record import load_account
from paygrade.usage.balances import slot_of
from paygrade.values.errors import Mistake, Refused
from paygrade.values.text import on_wire

if TYPE_CHECKING:
    from paygrade.billing.accounts import Account
    from paygrade.catalog.model import Catalog
    from paygrade.postgres.store import Store
    from paygrade.postgres.usage_events import KeptWindow

PAST = timedelta(days=92)
WINDOWS_MAX = 500
GROUPS_MAX = 1000
_MOMENT = timedelta(microseconds=1)


class UsageGroup(Struct, frozen=True):
    """What was used with this value of the property; None: without one."""

    value: str | None
    used: int


class UsageCost(Struct, frozen=True):
    """What usage costs, in minor units: `units` of it beside the allowance, at the price the account pays."""

    units: int
    amount: int
    currency: str


class UsageWindow(Struct, frozen=True):
    """Usage in `[from_at, until)`; both None: held for good. `limit` is what the account has for it as known today.
    `cost` None: the catalog has no price for the usage, or nobody pays it."""

    feature: str
    from_at: datetime | None
    until: datetime | None
    used: int
    reserved: int
    limit: int | None
    unlimited: bool
    groups: tuple[UsageGroup, ...] | None = None
    cost: UsageCost | None = None


class UsageView(Struct, frozen=True):
    """The windows of an account, the newest first. `more`: there are others, or other groups, than these."""

    account: str
    windows: tuple[UsageWindow, ...]
    more: bool


async def read_usage(
    store: "Store",
    *,
    account: str,
    feature: str | None = None,
    from_at: datetime | None = None,
    until: datetime | None = None,
    group_by: str | None = None,
    at: datetime,
) -> UsageView:
    """Retrieve usage.

    What was used and held in each window, newest first, with today's limit; grouped by member, node or property if you
    ask for it; a node's usage includes what is below it. Refused `unknown_account`, `unknown_feature`, `not_countable`
    or `invalid_query`. Windows that end after `from_at` and begin before `until`.
    """
    async with store.reading() as tx:
        saved, catalog = await load_account(tx, account), await tx.catalogs.in_force()
        _refuse_uncounted(catalog, feature, group_by)
        kept = await tx.events.windows(
            account, pool=feature, from_at=from_at or at - PAST, until=until or at + _MOMENT, limit=WINDOWS_MAX + 1
        )
        shown, groups = kept[:WINDOWS_MAX], dict[str, list[tuple[str | None, int]]]()
        if group_by is not None and feature is not None and shown:
            starts = [window.from_at for window in shown]
            since = None if None in starts else min(start for start in starts if start is not None)
            slots = [slot_of(window.from_at) for window in shown]
            if group_by == "node":
                groups = await tx.events.by_node(account, feature, slots, limit=GROUPS_MAX + 1)
            else:
                groups = await tx.events.grouped(
                    account, feature, slots, by=group_by, since=since, limit=GROUPS_MAX + 1
                )
    windows = tuple(_window(saved.account, catalog, window, group_by, groups, at) for window in shown)
    return UsageView(account, windows, len(kept) > WINDOWS_MAX or any(len(its) > GROUPS_MAX for its in groups.values()))


def _window(
    account: "Account",
    catalog: "Catalog",
    kept: "KeptWindow",
    group_by: str | None,
    groups: dict[str, list[tuple[str | None, int]]],
    at: datetime,
) -> UsageWindow:
    # Of a window that is over, what it had at its end.
    at = account.time(at)
    seen_at = at if kept.until is None or at < kept.until else kept.until - _MOMENT
    its = derive(account, catalog, seen_at).entitlements.get(kept.pool)
    counts = its is not None and its.granted and its.from_at == kept.from_at and its.credit is None
    its_groups = groups.get(slot_of(kept.from_at), [])[:GROUPS_MAX] if group_by is not None else None
    return UsageWindow(
        kept.pool,
        kept.from_at,
        kept.until,
        on_wire(kept.used),
        on_wire(kept.reserved),
        its.limit if its is not None and counts else None,
        its.unlimited if its is not None and counts else False,
        None if its_groups is None else tuple(UsageGroup(value, on_wire(used)) for value, used in its_groups),
        cost_of(account, catalog, its, kept.used, seen_at) if its is not None and counts else None,
    )


def cost_of(account: "Account", catalog: "Catalog", its: Entitlement, used: int, at: datetime) -> UsageCost | None:
    """What `used` units in a window cost: by the price of usage that is bought, else by the term's price of overage."""
    feature = catalog.features.get(its.feature)
    if not isinstance(feature, MeteredFeature):
        return None
    bought = usage_price(account, catalog, its.feature, at)
    units = billed_units(used, its.limit, feature.report if bought is not None else "overage")
    if bought is not None:
        return UsageCost(on_wire(units), on_wire(usage_cost(bought, units)), bought.currency)
    over = its.overage_price
    if over is None:
        return None
    price = Price(its.feature, over.amount, over.currency, "month", part="usage", feature=its.feature, per=over.per)
    return UsageCost(on_wire(units), on_wire(usage_cost(price, units)), over.currency)


def _refuse_uncounted(catalog: "Catalog", feature: str | None, group_by: str | None) -> None:
    if feature is None:
        if group_by is not None:
            raise _invalid("`group_by` needs a `feature`")
        return
    offer = offers(catalog).get(feature)
    if offer is None:
        raise Refused("unknown_feature", f"the catalog has no feature or credit `{feature}`")
    if offer.__struct_config__.tag in ("boolean", "config"):
        raise Refused("not_countable", f"`{feature}` is {offer.__struct_config__.tag} and is not counted")
    if (
        group_by is not None
        and isinstance(offer, MeteredFeature | LevelFeature)
        and offer.aggregate not in ("count", "sum")
    ):
        raise _invalid(f"`{feature}` aggregates by {offer.aggregate}, which can't be grouped")


def _invalid(detail: str) -> Refused:
    return Refused("invalid_query", f"the query is invalid: {detail}", (Mistake("", detail),))
