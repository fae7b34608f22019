"""What comes next for an account by its dates alone, as far as its overview tells of it.

Law: pure in `at`; the soonest first, and nothing that is over.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from msgspec import Struct

from paygrade.updates.overview import Overview

Ending = Literal["trial", "step", "override", "block", "downgrade_grace", "invitation", "contract"]


class Coming(Struct, frozen=True):
    """What ends at `ends_at`: a trial or a step of an access ladder (of the subscription `key`), an override or what a
    plan change left (of the feature `key`), a block, the invitation of the member `key`, or a term of the contract
    `key`."""

    ends_at: datetime
    what: Ending
    key: str


def coming(overview: Overview, at: datetime) -> tuple[Coming, ...]:
    """All that ends after `at`."""
    return tuple(sorted((each for each in _dated(overview) if each.ends_at > at), key=lambda each: each.ends_at))


def _dated(overview: Overview) -> Iterator[Coming]:
    for id, stand in overview.subscriptions.items():
        if stand.trial_ends_at is not None:
            yield Coming(stand.trial_ends_at, "trial", id)
        if stand.step is not None and stand.step.until is not None:
            yield Coming(stand.step.until, "step", id)
    for feature, override in overview.overrides.items():
        if override.expires_at is not None:
            yield Coming(override.expires_at, "override", feature)
    for key, block in overview.blocks.items():
        if block.expires_at is not None:
            yield Coming(block.expires_at, "block", key)
    for feature, grace in overview.leeways.items():
        if grace.until is not None:
            yield Coming(grace.until, "downgrade_grace", feature)
    for member, invitation in overview.invited.items():
        if invitation.expires_at is not None:
            yield Coming(invitation.expires_at, "invitation", member)
    for contract, term in overview.contracts.items():
        if term.state == "active" and term.until is not None:
            yield Coming(term.until, "contract", contract)
