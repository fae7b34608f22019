"""Findings are pushed: whatever comes to need a person's attention is announced once, with what brought it about.

Laws: what was found before is not announced again, and what is gone is announced as gone; nothing is announced of what
was not saved.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from paygrade.billing.accounts import Account
from paygrade.catalog.model import Catalog
from paygrade.entitlements.findings import Finding, findings

if TYPE_CHECKING:
    from paygrade.postgres.store import Transaction


class FindingNotice(Struct, frozen=True):
    """What is announced of a finding: that it is there now, or no more."""

    what: Literal["found", "gone"]
    account: str
    code: str
    subject: str
    detail: str


async def announce_findings(
    tx: "Transaction", before: Account, since: datetime, after: Account, catalog: Catalog, at: datetime
) -> None:
    """Announce what `after` has at `at` and `before` did not have at `since`, and the other way round."""
    old = {(one.code, one.subject): one for one in findings(before, catalog, before.time(since))}
    new = {(one.code, one.subject): one for one in findings(after, catalog, after.time(at))}
    for key, finding in new.items():
        if key not in old:
            await _announce(tx, "found", after.key, finding)
    for key, finding in old.items():
        if key not in new:
            await _announce(tx, "gone", after.key, finding)


async def _announce(tx: "Transaction", what: Literal["found", "gone"], account: str, finding: Finding) -> None:
    notice = FindingNotice(what, account, finding.code, finding.subject, finding.detail[:500])
    await tx.tell("paygrade_finding", msgspec.json.encode(notice).decode())
