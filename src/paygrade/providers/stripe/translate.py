"""What a Stripe customer and its subscriptions mean in our words; pure functions over plain JSON objects.

Laws: objects of every API version since 2020 are understood, and a field that is missing or of a later version is
no error; a field of the wrong type is refused with its path; a status we do not know is never taken for another;
the same truth gives the same fact, whatever order it was listed in.

Where versions differ, the newest place is looked at first (docs.stripe.com/changelog): `price` before `plan`,
the item's period before the subscription's (moved by 2025-03-31.basil), `parent.subscription_details` before
`invoice.subscription` (moved by the same), `collection_method` before `billing`, `start_date` before `start`.
`pending_update` is not live until paid and `pause_collection` changes no status: neither is read.

A schedule's phases name their prices by id alone. Whatever the price is of which the same is held is taken from there;
of others no more is known than was expanded (docs.stripe.com/api/subscription_schedules/object).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from paygrade.billing import facts
from paygrade.providers.stripe.arrears import Arrears
from paygrade.providers.stripe.fields import Json, Payload
from paygrade.values.states import TERMINAL, Status

ACCOUNT_KEY = "paygrade_account"
"""The metadata key on a Stripe customer that names its account; a subscription may have it, too."""

UNKNOWN_AT = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for the creation of a customer of which Stripe keeps only the id (deleted ones)."""

_STATUSES: dict[str, Status] = {
    "trialing": "trialing",
    "active": "active",
    "past_due": "past_due",
    "unpaid": "unpaid",
    "paused": "paused",
    "incomplete": "incomplete",
    "incomplete_expired": "expired",
    "canceled": "canceled",
}
_WITHOUT_PAYMENT_METHOD: dict[str | None, Status] = {"cancel": "canceled", "pause": "paused"}


def customer(
    payload: Json, subscriptions: Iterable[Json], invoices: Sequence[Json] = (), clock: Json | None = None
) -> facts.Customer:
    """Read a customer, or what stands for one, all its subscriptions of any status, and of those in arrears the
    invoices that are open, and the last one that was paid. `clock`: the test clock by which it lives.

    A deleted customer has lost everything but its id: `created_at` is then its oldest subscription's, or UNKNOWN_AT.
    """
    source = Payload(payload, "customer")
    listed = list(subscriptions)
    bought = [subscription(entry, invoices, customer=payload) for entry in listed]
    account = _account_of(source)
    named = {own.required_text("id"): name for own in (Payload(entry, "subscription") for entry in listed)
             if (name := _account_of(own)) is not None}  # fmt: skip
    leads = None
    if account is None and named:
        leads = min((entry for entry in bought if entry.id in named), key=_leads).id
        account = named[leads]
    created_at = source.instant("created") or min((entry.anchor_at for entry in bought), default=UNKNOWN_AT)
    return facts.Customer(
        id=source.required_text("id"),
        created_at=created_at,
        subscriptions=tuple(sorted(bought, key=lambda entry: entry.id)),
        account=account,
        name=source.text("name") or "",
        deleted=source.flag("deleted"),
        clock_at=Payload(clock, "test_clock").instant("frozen_time") if clock is not None else None,
        account_of=leads,
        named_otherwise={id: named[id] for id in sorted(named) if named[id] != account},
    )


def owner_of(payload: Payload) -> str | None:
    """Whom a Stripe object belongs to: a customer, or an account that stands for one, which then has no customer
    (https://docs.stripe.com/connect/use-accounts-as-customers). None: nobody."""
    return payload.id_of("customer") or payload.id_of("customer_account")


def _account_of(source: Payload) -> str | None:
    return (source.child("metadata").text(ACCOUNT_KEY) or "").strip() or None


def _leads(subscription: facts.Subscription) -> tuple[bool, datetime, str]:
    """Of several that name accounts the first that lives: a later one takes nothing along."""
    return subscription.status in TERMINAL, subscription.started_at or subscription.anchor_at, subscription.id


def subscription(payload: Json, invoices: Sequence[Json] = (), *, customer: Json | None = None) -> facts.Subscription:
    """Read one subscription; `customer` tells what it would pay with, unless it is expanded inside."""
    source = Payload(payload, "subscription")
    word = source.text("status") or ""
    status = _STATUSES.get(word)
    items = _items(source)
    trial_ends_at, ended_at = source.instant("trial_end"), source.instant("ended_at")
    live = status not in TERMINAL
    owed = Arrears(source, invoices) if status in ("past_due", "unpaid") else None
    attempts, next_attempt_at = owed.next_attempt() if owed is not None else (0, None)
    payer = Payload(customer, "customer") if customer is not None else source.expanded("customer")
    return facts.Subscription(
        id=source.required_text("id"),
        status=status,
        items=items,
        anchor_at=_anchor_at(source, items),
        provider_status=word,
        trial_ends_at=trial_ends_at,
        after_trial=_after_trial(source, payer) if status == "trialing" else "active",
        ends_at=_ends_at(source, items) if live else None,
        ended_at=ended_at,
        unpaid_since=owed.unpaid_since(items) if owed is not None else None,
        trial_ran_out=_trial_ran_out(source, status, trial_ends_at=trial_ends_at, ended_at=ended_at),
        billing_mode="flexible" if source.child("billing_mode").text("type") == "flexible" else "classic",
        schedule=source.id_of("schedule"),
        next=_next(source.expanded("schedule"), items) if live else (),
        paid_items=owed.paid_items(items) if owed is not None else None,
        attempts=attempts,
        next_attempt_at=next_attempt_at,
        started_at=source.instant("start_date") or source.instant("start") or source.instant("created"),
    )


def _items(source: Payload) -> tuple[facts.Item, ...]:
    listed = source.listed("items")
    if listed:
        return tuple(_item(line, source) for line in listed)
    # Subscriptions of one plan once had no items; plan and quantity then stand on the subscription itself.
    return (_item(source, source),) if source.has("price") or source.has("plan") else ()


def _item(line: Payload, source: Payload) -> facts.Item:
    price, plan = line.expanded("price"), line.expanded("plan")
    dated = line if line.has("current_period_end") else source
    quantity = line.integer("quantity")
    if quantity is not None and quantity < 0:
        line.refuse("quantity", "a count")
    return facts.Item(
        id=line.required_text("id"),
        quantity=1 if quantity is None else quantity,
        price=line.id_of("price") or line.id_of("plan"),
        lookup_key=(price.text("lookup_key") or None) if price else None,
        product=(price.id_of("product") if price else None) or (plan.id_of("product") if plan else None),
        period_from_at=dated.instant("current_period_start"),
        period_until=dated.instant("current_period_end"),
        metered=_is_metered(price or plan),
        created_at=line.instant("created"),
    )


def _is_metered(price: Payload | None) -> bool:
    if price is None:
        return False
    # A plan says itself what a price says under `recurring`.
    return (price.child("recurring").text("usage_type") or price.text("usage_type")) == "metered"


def _anchor_at(source: Payload, items: tuple[facts.Item, ...]) -> datetime:
    for key in ("billing_cycle_anchor", "start_date", "start", "created", "current_period_start"):
        instant = source.instant(key)
        if instant is not None:
            return instant
    starts = [item.period_from_at for item in items if item.period_from_at is not None]
    return min(starts) if starts else source.refuse("billing_cycle_anchor", "an instant")


def _ends_at(source: Payload, items: tuple[facts.Item, ...]) -> datetime | None:
    # Portal cancellations in flexible mode set `cancel_at` and leave `cancel_at_period_end` false.
    ends = [source.instant("cancel_at")]
    if source.flag("cancel_at_period_end"):
        ends += [item.period_until for item in items] or [source.instant("current_period_end")]
    schedule = source.expanded("schedule")
    if schedule is not None and schedule.text("status") == "active" and schedule.text("end_behavior") == "cancel":
        last = [phase.instant("end_date") for phase in schedule.listed("phases")]
        ends.append(max((end for end in last if end is not None), default=None))
    return min((end for end in ends if end is not None), default=None)


def later_phases(schedule: Payload | None) -> tuple[Payload, ...]:
    """The phases of a schedule that have not begun, the soonest first; none of one that is over or has not begun."""
    if schedule is None or schedule.text("status") != "active":
        return ()
    until = schedule.child("current_phase").instant("end_date")
    if until is None:
        return ()
    dated = [(phase.instant("start_date") or phase.refuse("start_date", "an instant"), phase)
             for phase in schedule.listed("phases")]  # fmt: skip
    return tuple(phase for from_at, phase in sorted(dated, key=lambda each: each[0]) if from_at >= until)


def _next(schedule: Payload | None, items: tuple[facts.Item, ...]) -> tuple[facts.Phase, ...]:
    known = {item.price: item for item in items}
    return tuple(
        facts.Phase(
            from_at=phase.instant("start_date") or phase.refuse("start_date", "an instant"),
            items=tuple(_planned(line, known) for line in phase.listed("items")),
            trial_ends_at=phase.instant("trial_end"),
        )
        for phase in later_phases(schedule)
    )


def _planned(line: Payload, known: Mapping[str | None, facts.Item]) -> facts.Item:
    """An item to come; one whose price is held already is that one, and only its quantity may be another."""
    id, quantity = line.id_of("price") or line.id_of("plan"), line.integer("quantity")
    if quantity is not None and quantity < 0:
        line.refuse("quantity", "a count")
    if id in known:
        return replace(known[id], quantity=1 if quantity is None else quantity)
    price = line.expanded("price")
    return facts.Item(
        id=f"planned:{id}",
        quantity=1 if quantity is None else quantity,
        price=id,
        lookup_key=(price.text("lookup_key") or None) if price else None,
        product=price.id_of("product") if price else None,
        metered=_is_metered(price),
    )


def _after_trial(source: Payload, payer: Payload | None) -> Status:
    """What Stripe makes of it at the trial's end with what is known now (docs.stripe.com/billing/subscriptions/trials).

    Where an invoice is created without a way to pay, it is attempted an hour later; until then it is active.
    What it costs is not looked at: Stripe documents `missing_payment_method` by the payment method alone, with no
    word on prices of zero or discounts of 100 %. Should it spare them, the reading at the trial's end tells.
    """
    method = source.text("collection_method") or source.text("billing")
    if method == "send_invoice" or _pays_by_itself(source, payer):
        return "active"
    behavior = source.child("trial_settings").child("end_behavior").text("missing_payment_method")
    return _WITHOUT_PAYMENT_METHOD.get(behavior, "active")


def _pays_by_itself(source: Payload, payer: Payload | None) -> bool:
    own = source.id_of("default_payment_method") or source.id_of("default_source")
    if own or payer is None:
        return own is not None
    settings = payer.child("invoice_settings")
    return (settings.id_of("default_payment_method") or payer.id_of("default_source")) is not None


def _trial_ran_out(
    source: Payload, status: Status | None, *, trial_ends_at: datetime | None, ended_at: datetime | None
) -> bool:
    if status == "canceled":
        return trial_ends_at is not None and ended_at == trial_ends_at
    if status != "paused":
        return False
    if source.has("status_details"):
        paused = source.child("status_details").child("paused").child("subscription")
        return paused.text("type") == "trial_end_without_payment_method"
    # Before `status_details` said why, the end of a trial was the one way to this status.
    return trial_ends_at is not None
