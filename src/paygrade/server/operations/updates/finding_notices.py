"""Findings are pushed: whatever comes to need a person's attention is told to people, too, in log and metrics.

Law: it is told with the update that announces it, and as it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from paygrade.updates.log import News
from paygrade.updates.types import FindingUpdate

if TYPE_CHECKING:
    from paygrade.postgres.store import Transaction


class FindingNotice(Struct, frozen=True):
    """What is told of a finding: that it is there now, or no more."""

    what: Literal["found", "gone"]
    account: str
    code: str
    subject: str
    detail: str


async def tell_findings(tx: "Transaction", news: Iterable[News]) -> None:
    """Tell of the findings among what is announced."""
    for one in news:
        if isinstance(one.data, FindingUpdate):
            what: Literal["found", "gone"] = "found" if one.type == "finding.appeared" else "gone"
            notice = FindingNotice(what, one.account or "", one.data.code, one.data.subject, one.data.detail[:500])
            await tx.tell("paygrade_finding", msgspec.json.encode(notice).decode())
