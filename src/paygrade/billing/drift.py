"""Drift: where what is stored of a customer and what the provider says of it differ, field by field.

Laws: `compare` is pure; equal statements have no difference; what a listing cannot tell is not compared, so a
difference seen there is one that a whole reading would see too.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct

from paygrade.billing.facts import Customer, Item, Subscription

IN_ARREARS = frozenset({"past_due", "unpaid"})
"""Since when these are unpaid, and what of them was paid, stands in invoices that no listing of subscriptions has."""


class Difference(Struct, frozen=True):
    """One field that differs, as text; None: there is nothing. `subscription` None: it is the customer's own."""

    subscription: str | None
    field: str
    stored: str | None
    provider: str | None


class Poll(Struct, frozen=True):
    """How the events poll stands: what was created until `watermark` was seen. `seen` and `missed` are of the latest
    poll; missed ones should have come by webhook and had not."""

    watermark: datetime | None
    polled_at: datetime | None
    every_s: int
    seen: int
    missed: int
    error: str | None


class Reread(Struct, frozen=True):
    """How far reading customers again has come that the catalog of this version asked for: of its `customers` so many
    were `marked` to be read. `finished_at` None: not all of them yet."""

    catalog: int
    customers: int
    marked: int
    started_at: datetime
    finished_at: datetime | None


FoundBy = Literal["sweep", "poll", "reconcile"]


class Drift(Struct, frozen=True):
    """A difference of which no billing event had told, and what became of it. `healed_at` None: the subject was not
    read again yet."""

    id: int
    account: str
    subject: str
    subscription: str | None
    field: str
    stored: str | None
    provider: str | None
    found_by: FoundBy
    found_at: datetime
    healed_at: datetime | None


def compare(stored: Customer, said: Customer) -> tuple[Difference, ...]:
    """What differs between two whole statements."""
    return tuple(_differences(stored, said, whole=True))


def compare_listed(stored: Customer, listed: Customer) -> tuple[Difference, ...]:
    """What differs as far as a listing tells: only the subscriptions it has, without what open invoices say."""
    if stored == listed:
        return ()
    return tuple(_differences(stored, listed, whole=False))


def _differences(stored: Customer, said: Customer, *, whole: bool) -> Iterator[Difference]:
    for field in ("name", "deleted", *(("named_otherwise", "clock_at") if whole else ())):
        yield from _field(None, field, getattr(stored, field), getattr(said, field))
    if whole or _tells_account(stored, said):
        yield from _field(None, "account", stored.account, said.account)
    before, after = _by_id(stored), _by_id(said)
    for id in sorted(before.keys() | after.keys() if whole else after.keys()):
        if id in before and id in after:
            yield from _subscription(before[id], after[id], whole=whole)
        else:
            yield from _field(id, "subscription", _word(before.get(id)), _word(after.get(id)))


def _tells_account(stored: Customer, listed: Customer) -> bool:
    """Whether a listing says whose the customer is: what names its account may be a subscription on another page."""
    if stored.account_of is None or stored.account_of in {subscription.id for subscription in listed.subscriptions}:
        return True
    return listed.account is not None and listed.account_of is None


def _subscription(stored: Subscription, said: Subscription, *, whole: bool) -> Iterator[Difference]:
    if stored == said:
        return
    yield from _field(said.id, "status", _word(stored), _word(said))
    for field in ("anchor_at", "trial_ends_at", "after_trial", "ends_at", "ended_at", "trial_ran_out", "billing_mode",
                  "schedule", "next"):  # fmt: skip
        yield from _field(said.id, field, getattr(stored, field), getattr(said, field))
    # What releases before this one stored has no start, and that is no drift.
    if stored.started_at is not None:
        yield from _field(said.id, "started_at", stored.started_at, said.started_at)
    if whole or (stored.status not in IN_ARREARS and said.status not in IN_ARREARS):
        yield from _field(said.id, "unpaid_since", stored.unpaid_since, said.unpaid_since)
        yield from _field(said.id, "paid_items", stored.paid_items, said.paid_items)
    # The same of attempts, which are counted from this release on.
    if whole and stored.attempts:
        for field in ("attempts", "next_attempt_at"):
            yield from _field(said.id, field, getattr(stored, field), getattr(said, field))
    if whole:
        yield from _field(said.id, "returned", stored.returned, said.returned)
        yield from _field(said.id, "credited", stored.credited, said.credited)
    before, after = {item.id: item for item in stored.items}, {item.id: item for item in said.items}
    for id in sorted(before.keys() | after.keys()):
        if id in before and id in after:
            for field in ("price", "lookup_key", "product", "quantity", "period_from_at", "period_until", "metered"):
                yield from _field(said.id, f"{id}.{field}", getattr(before[id], field), getattr(after[id], field))
        else:
            yield from _field(said.id, id, _sold(before.get(id)), _sold(after.get(id)))


def _field(subscription: str | None, field: str, stored: object, provider: object) -> Iterator[Difference]:
    if stored != provider:
        yield Difference(subscription, field, _text(stored), _text(provider))


def _by_id(customer: Customer) -> dict[str, Subscription]:
    return {subscription.id: subscription for subscription in customer.subscriptions}


def _word(subscription: Subscription | None) -> str | None:
    return None if subscription is None else subscription.status or subscription.provider_status


def _sold(item: Item | None) -> str | None:
    return None if item is None else f"{item.quantity} x {item.lookup_key or item.price or item.product}"


def _text(value: object) -> str | None:
    match value:
        case None | str():
            return value
        case datetime():
            return str(msgspec.to_builtins(value))
        case _:
            return msgspec.json.encode(value).decode()
