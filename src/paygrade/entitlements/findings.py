"""Findings: what a person should look at, since no rule can mend it.

Law: a finding is a pure function of account, catalog and time; it goes away when its cause does.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from msgspec import Struct

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Customer, Subscription
from paygrade.billing.understanding import understood
from paygrade.billing.versions import is_known
from paygrade.catalog.model import Catalog
from paygrade.entitlements.derive import derive
from paygrade.entitlements.merge import override_fits
from paygrade.entitlements.seats import named, seats_at, suspended
from paygrade.entitlements.sources import holdings, offers
from paygrade.values.states import TERMINAL


class Finding(Struct, frozen=True):
    """Something about an account that a person should look at."""

    code: Literal[
        "unmapped_price",
        "unknown_status",
        "revived_subscription",
        "account_conflict",
        "no_owner",
        "override_ignored",
        "too_few_seats",
        "quantity_out_of_range",
    ]
    subject: str
    detail: str


def findings(account: Account, catalog: Catalog, at: datetime) -> tuple[Finding, ...]:
    """What a person should look at: things sold that the catalog does not know, and the like."""
    found: list[Finding] = []
    for subscription in account.subscriptions:
        if subscription.status in TERMINAL:
            continue
        found.extend(_unmapped(account, catalog, subscription))
    for customer in account.customers:
        found.extend(_misnamed(account, customer))
        for subscription in customer.subscriptions:
            latched = account.latched.get(subscription.id)
            if subscription.status is None:
                detail = f"the provider reports the status `{subscription.provider_status}`, which is unknown here"
                found.append(Finding("unknown_status", subscription.id, f"{detail}; access stays as it was"))
            elif latched is not None and subscription.status not in TERMINAL:
                detail = f"it had ended and is now reported as `{subscription.status}`; it stays ended"
                found.append(Finding("revived_subscription", subscription.id, detail))
    known = offers(catalog)
    for override in account.overrides.values():
        if override.stands(at) and not override_fits(override, known.get(override.feature)):
            detail = f"the override of `{override.feature}` does not fit the catalog; it has no effect"
            found.append(Finding("override_ignored", override.feature, detail))
    return (*found, *_out_of_range(account, catalog, at), *_too_few_seats(account, catalog, at))


def _misnamed(account: Account, customer: Customer) -> Iterator[Finding]:
    """Whose it is, where that is doubtful."""
    for id, other in customer.named_otherwise.items():
        detail = f"its metadata names `{other}`, but its customer `{customer.id}` belongs to `{account.key}`"
        yield Finding("account_conflict", id, f"{detail}, for which it counts; make both name the same account")
    if customer.is_ownerless and any(s.status not in TERMINAL for s in customer.subscriptions):
        detail = f"`{customer.id}` has no customer at the provider and counts for `{account.key}`"
        yield Finding("no_owner", customer.id, f"{detail}; name an account in its metadata, or link it to one")


def _unmapped(account: Account, catalog: Catalog, subscription: Subscription) -> Iterator[Finding]:
    """What it consists of, or is planned to, that nothing is sold as."""
    stages = [(None, subscription.items), *((phase.from_at, phase.items) for phase in subscription.next)]
    told = set()
    for from_at, items in stages:
        stays = understood(account, catalog, subscription.id, items) != items
        for item in items:
            if is_known(account, catalog, item) or (item.price, item.lookup_key, item.product, item.plan) in told:
                continue
            told.add((item.price, item.lookup_key, item.product, item.plan))
            name = item.plan or item.lookup_key or item.price or item.product or item.id
            detail = f"no plan or add-on of the catalog is `{name}` (price `{item.price}`, product `{item.product}`)"
            if from_at is not None:
                detail += f", which is scheduled from {from_at:%Y-%m-%d %H:%M} UTC"
            advice = "access stays as it was; " if stays else ""
            yield Finding("unmapped_price", subscription.id, f"{detail}; {advice}add it to a plan's `prices`")


def _out_of_range(account: Account, catalog: Catalog, at: datetime) -> Iterator[Finding]:
    """More or fewer are bought than are sold. Whoever pays keeps what they have."""
    for one in holdings(account, catalog, at):
        sold, standing = one.bought.quantities, one.standing
        if sold is not None and standing is not None and not one.stands_in and not sold.has(one.quantity):
            detail = f"`{one.bought.key}` is sold {sold}, and {one.quantity} are bought; access stays as bought"
            advice = "change the quantity at the provider, or the `quantity` of the catalog"
            yield Finding("quantity_out_of_range", standing.subscription.id, f"{detail}; {advice}")


def _too_few_seats(account: Account, catalog: Catalog, at: datetime) -> Iterator[Finding]:
    """More members have a seat than there are seats."""
    seated = account.seated
    seats = seats_at(derive(account, catalog, at).entitlements) if seated else None
    over = suspended(seated, seats)
    if seats is not None and over:
        detail = (
            f"{len(seated)} members have a seat, {seats.units} allowed: {named(over)} can't use theirs; "
            f"choose who keeps one, or add more `{seats.level}`"
        )
        yield Finding("too_few_seats", seats.level, detail)
