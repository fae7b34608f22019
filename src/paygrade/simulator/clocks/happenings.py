"""What falls due, by name: each looks again whether it still applies, since much may have changed meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from paygrade.simulator.billing import credit_grants, invoices, previews, renewals, schedules
from paygrade.simulator.checkout import paying, sessions
from paygrade.simulator.customers import disputes, fraud_warnings
from paygrade.simulator.forms import Json
from paygrade.simulator.payments import refunds
from paygrade.simulator.products import discounts
from paygrade.simulator.world import World


def happen(world: World, what: str, id: str) -> None:
    """Do what falls due to an object, unless that object is gone."""
    if (thing := world.objects.get(id)) is not None:
        HAPPENINGS[what](world, thing)


HAPPENINGS: dict[str, Callable[[World, Json], None]] = {
    "expire_checkout": sessions.expire_due,
    "cancel": renewals.cancel_due,
    "expire_incomplete": renewals.expire_incomplete,
    "expire_resumption": renewals.expire_resumption,
    "expire_held_change": renewals.expire_held_change,
    "resume_collection": renewals.resume_collection,
    "end_discount": discounts.end_due,
    "expire_credits": credit_grants.expire_due,
    "upcoming": previews.announce,
    "trial_will_end": renewals.announce_trial_end,
    "end_trial": renewals.end_trial,
    "phase": schedules.phase_due,
    "schedule_expiring": schedules.expiring_due,
    "renew": renewals.renew,
    "finalize": invoices.finalize_due,
    "overdue": invoices.overdue,
    "settle_debit": paying.settle_due,
    "settle_refund": refunds.settle_due,
    "retry": invoices.retry_due,
    "dispute": disputes.dispute_due,
    "warn_of_fraud": fraud_warnings.warn_due,
}
