"""The fenced fetch: how what a provider says of a subject becomes a fact.

Theory of operation. A billing event says that something changed, never what it is now: its payload is not applied.
It marks its subject dirty. A worker claims the subject, which raises the subject's fence, and only then asks the
provider for the subject whole. The reading is saved only if the fence is still the claim's own. So of two readings
the one asked for later wins, whichever arrives first; and since a mark made after the claim stays, every change is
followed by a reading that began after it.

Laws: nothing is written under a fence that was overtaken; a subject stays dirty until a reading that began after
its mark is saved; an event is handled when such a reading is saved, and not before.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from paygrade.billing.facts import Customer, Departed
from paygrade.billing.removed import credit_ends
from paygrade.billing.returned import has_consequences
from paygrade.providers.port import Provider, Redirected
from paygrade.server.operations.accounts.record import record
from paygrade.server.operations.accounts.transition import follow_transition
from paygrade.server.operations.sync.repair import note_reading
from paygrade.server.process import tracing
from paygrade.server.workers.claims import Queue, give_back
from paygrade.values.errors import Unavailable
from paygrade.values.periods import soonest
from paygrade.values.states import TERMINAL

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction
    from paygrade.postgres.subjects import Claim
    from paygrade.server.process.clock import Clock

LEASE_S = 60.0
"""Longer than any fetch takes. The lease of a process that is gone ends at once, if PostgreSQL heard of its end."""
REREADS_S = (2.0, 15.0, 60.0)
"""When to ask again if the provider contradicts an event: its answers may lag behind its events. An event says that
a subscription ended, and it lives; or it tells of something that is said not to exist."""
LATE = (timedelta(minutes=1), timedelta(minutes=65))
"""How long after a date to look, if no event came: providers act on dates within moments, but finalize the invoice
of a renewal about an hour later (https://docs.stripe.com/billing/invoices/subscription)."""
INCOMPLETE_FOR = timedelta(hours=23)
"""How long a first payment may take before the subscription expires
(https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses)."""
ENDED_TYPES = frozenset({"customer.subscription.deleted", "v1.customer.subscription.deleted"})
"""A subscription reached its end, told by a snapshot event or a thin one."""
GONE_TYPES = frozenset({"customer.deleted", "v1.customer.deleted", "invoice.deleted", "v1.invoice.deleted"})
"""What an event was about exists no more."""
REVERSED_TYPES = frozenset(
    f"{version}{type}"
    for version in ("", "v1.")
    for type in ("charge.refunded", "refund.failed", "charge.dispute.created", "charge.dispute.closed")
)
"""Money went back to a customer, or came back from there: what was bought with it may be taken back."""
CAUSES_MAX = 100
LINKS_MAX = 32

SUBJECTS: "Queue[Claim]" = Queue("subject_read", lambda tx: tx.subjects, ("subject",), LEASE_S)
"""Subjects that wait to be read, or whose dates have come."""


Outcome = Literal["saved", "overtaken", "redirected", "nothing", "doubted", "failed"]


class Reading(Struct, frozen=True):
    """What the provider said of a claimed subject when asked at `read_at`; `returned`: also what went back of its
    payments."""

    claim: "Claim"
    said: "Customer | Redirected | None"
    read_at: datetime
    returned: bool = False


async def sync_subject(store: "Store", provider: Provider, clock: "Clock", claim: "Claim") -> Outcome:
    """Read a claimed subject and save what was read; a failure is kept and retried later."""
    led_by = [event.traceparent for event in claim.events[-LINKS_MAX:] if event.traceparent is not None]
    with tracing.span("sync subject", "work", led_by=led_by, subject=claim.subject, fence=claim.fence) as span:
        try:
            with tracing.span("fetch from provider"):
                reading = await fetch_subject(store, provider, claim, at=clock.now())
        except Unavailable as error:
            await give_back(store, SUBJECTS, claim, error)
            span.set_attribute("paygrade.outcome", "failed")
            return "failed"
        with tracing.span("save facts in a transaction"):
            outcome = await save_reading(store, reading, at=clock.now())
        span.set_attribute("paygrade.outcome", outcome)
        return outcome


async def fetch_subject(store: "Store", provider: Provider, claim: "Claim", *, at: datetime) -> Reading:
    """Ask the provider, in a thread. Raises Unavailable."""
    async with store.transaction() as tx:
        known_live = await tx.accounts.live_subscriptions(claim.subject)
        policies = (await tx.catalogs.in_force()).policies
    returned = has_consequences(policies.returned)
    said = await asyncio.to_thread(
        provider.fetch, claim.subject, known_live, returned=returned, credited=credit_ends(policies)
    )
    return Reading(claim=claim, said=said, read_at=at, returned=returned)


async def save_reading(store: "Store", reading: Reading, *, at: datetime) -> Outcome:
    """Turn a reading into facts, unless its claim was overtaken."""
    claim = reading.claim
    async with store.transaction() as tx:
        held = await tx.subjects.lock(claim)
        if held is None:
            return "overtaken"
        match reading.said:
            case None:
                return await _save_nothing(tx, held, reading, at)
            case Customer() as customer:
                known = await tx.accounts.subject_of(customer.id) if customer.is_ownerless else None
                if known is not None and known != claim.subject:
                    # It lost its owner, with whom it was read: there it still is.
                    return await _save_redirect(tx, held, reading, [known], at)
                return await _save_customer(tx, held, reading, customer, at)
            case redirected:
                return await _save_redirect(tx, held, reading, [redirected.subject, *redirected.others], at)


async def _save_nothing(tx: "Transaction", held: "Claim", reading: Reading, at: datetime) -> Outcome:
    """There is no such thing: it is gone, or the provider's answers lag behind its events."""
    claim = reading.claim
    told = bool(claim.events) and not any(event.type in GONE_TYPES for event in claim.events)
    reread_s = REREADS_S[claim.rereads] if told and claim.rereads < len(REREADS_S) else None
    if reread_s is None:
        await _handle(tx, claim, at)
    await tx.subjects.settle(claim, account=held.account, read_at=reading.read_at, reread_s=reread_s)
    await note_reading(tx, held, claim, at=at)
    return "nothing" if reread_s is None else "doubted"


async def _save_redirect(
    tx: "Transaction", held: "Claim", reading: Reading, targets: Sequence[str], at: datetime
) -> Outcome:
    """Let other subjects answer for these events."""
    claim = reading.claim
    await tx.inbox.hand_on(claim.subject, [event.id for event in claim.events], to=targets[0])
    await _handle(tx, claim, at)
    await tx.subjects.settle(claim, account=held.account, read_at=reading.read_at)
    await tx.subjects.mark(targets)
    await tx.tell("paygrade_subject")
    return "redirected"


async def _save_customer(
    tx: "Transaction", held: "Claim", reading: Reading, customer: Customer, at: datetime
) -> Outcome:
    claim = reading.claim
    linking = await tx.accounts.linking(claim.subject)
    if customer.deleted and held.account is None and linking is None:
        # Nobody ever heard of it: an event about something that was gone before we looked.
        return await _save_nothing(tx, held, reading, at)
    # A deleted customer has no metadata any more; it stays where it was.
    named = customer.account or (held.account if customer.deleted else None)
    key = named or linking or customer.id
    losing = {held.account, linking} - {None, key}
    await tx.accounts.create(key, at)
    accounts = await tx.accounts.lock([key, *(account for account in losing if account)])
    stated = accounts[held.account].statements.get(claim.subject) if held.account in accounts else None
    await note_reading(tx, held, claim, account=key, stored=stated.body if stated else None, said=customer, at=at)
    cause = [event.id for event in claim.events][-CAUSES_MAX:]
    happened_at = _happened_at(claim, stated.as_of if stated else None, reading.read_at)
    joined_at = (happened_at or reading.read_at) if held.account not in (None, key) else None
    for account in sorted(accounts.keys() - {key}):
        left = await record(
            tx, accounts[account], subject=claim.subject, body=Departed(account=key),
            sequence=claim.fence, as_of=reading.read_at, cause=cause, happened_at=happened_at, at=at,
        )  # fmt: skip
        await follow_transition(tx, accounts[account], left, at=at)
    told = await record(
        tx, accounts[key], subject=claim.subject, body=customer,
        sequence=claim.fence, as_of=reading.read_at, cause=cause, happened_at=happened_at, joined_at=joined_at, at=at,
    )  # fmt: skip
    await follow_transition(tx, accounts[key], told, at=at, read=(claim.subject, claim.fence))
    # The event is handled once its payments were looked at, and they are looked at again then: answers may lag.
    if any(event.type.startswith("checkout.session.") for event in claim.events):
        await tx.top_ups.look_now(customer.id)
    went_back = any(event.type in REVERSED_TYPES for event in claim.events) and claim.rereads <= 1
    looked_at = went_back and (await tx.top_ups.check(customer.id) or reading.returned)
    checking = looked_at and claim.rereads == 0
    doubted = checking or (_contradicted(claim, customer) and claim.rereads < len(REREADS_S))
    if not doubted:
        await _handle(tx, claim, at)
    await tx.subjects.settle(
        claim,
        account=key,
        read_at=reading.read_at,
        due_at=due_at(customer, reading.read_at),
        reread_s=REREADS_S[claim.rereads] if doubted else None,
    )
    await tx.invoices.mark([claim.subject])
    if held.dirty > claim.dirty:
        await tx.tell("paygrade_subject")
    return "doubted" if doubted else "saved"


def _happened_at(claim: "Claim", read_before: datetime | None, read_at: datetime) -> datetime | None:
    """When the first of the events happened that the reading before could not show. Events of a test clock are dated by
    that, and tell nothing here."""
    dates = (event.created_at for event in claim.events if event.created_at is not None)
    return min(
        (date for date in dates if date <= read_at and (read_before is None or date > read_before)), default=None
    )


async def _handle(tx: "Transaction", claim: "Claim", at: datetime) -> None:
    await tx.inbox.handle(claim.subject, [event.id for event in claim.events], at)


def due_at(customer: Customer, at: datetime) -> datetime | None:
    """When to look again though no event came: a while after the next date on which the provider acts."""
    return soonest((date + late for date in _dates(customer) for late in LATE), at)


def _dates(customer: Customer) -> Iterable[datetime]:
    for subscription in customer.subscriptions:
        if subscription.status in TERMINAL:
            continue
        dates = [subscription.trial_ends_at, subscription.ends_at, *(phase.from_at for phase in subscription.next)]
        for item in subscription.items:
            dates += [item.period_from_at, item.period_until]
            if subscription.status == "incomplete" and item.period_from_at is not None:
                dates.append(item.period_from_at + INCOMPLETE_FOR)
        yield from (date for date in dates if date is not None)


def _contradicted(claim: "Claim", customer: Customer) -> bool:
    """Whether an event says that a subscription ended which the provider says lives."""
    ended = {event.object_id for event in claim.events if event.type in ENDED_TYPES}
    return any(s.id in ended and s.status not in TERMINAL for s in customer.subscriptions)
