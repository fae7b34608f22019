"""The decision log of one process: decisions wait in memory until they are written, behind the answers.

Laws: nobody who is answered waits for the log; what does not fit into its bounds (so many of an account in a minute, so
many waiting, or a database that takes none) is dropped and counted; what it holds in memory is bounded.
"""

import asyncio
import random
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec
import structlog
from msgspec import Struct

from paygrade.decisions.decide import Decision
from paygrade.decisions.outcome import LoggedDecision, Via, id_at, outcome_of
from paygrade.values.errors import Unavailable
from paygrade.values.text import KEY_LENGTH_MAX

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

log = structlog.get_logger("paygrade.decisions")

Kept = Literal["denials", "all"]
Note = Callable[[str, int], None]
"""Told of an outcome (`saved`, `limited`, `full`, `failed`), and how many decisions came to it."""

ACCOUNT_MAX = 60
"""How many decisions of one account a process keeps in a minute."""
WAITING_MAX = 10_000
BATCH_MAX = 1_000
WRITE_S = 1.0
PROPERTIES_BYTES_MAX = 2_000


class _Waiting(Struct, frozen=True, gc=False):
    decision: Decision
    at: datetime
    via: Via
    member: str | None
    node: str | None
    properties: Mapping[str, object] | None


class DecisionLog:
    """What waits to be written. `percent`: how many of a hundred decisions are kept."""

    def __init__(self, kept: Kept, percent: int, note: Note) -> None:
        self.kept = kept
        self._percent, self._tell = percent, note
        self._waiting: list[_Waiting] = []
        self._minute, self._counts = 0, defaultdict[str, int](int)

    def note(
        self,
        decision: Decision,
        at: datetime,
        *,
        via: Via,
        member: str | None = None,
        node: str | None = None,
        properties: Mapping[str, object] | None = None,
    ) -> None:
        """Keep a decision that was made at `at`, if it is one of those to keep. Never raises, and waits for nothing."""
        if (decision.allowed and self.kept != "all") or decision.reason == "unknown_account":
            return
        if self._percent < 100 and random.randrange(100) >= self._percent:
            return
        why = self._no_room(decision, at)
        if why is not None:
            self._tell(why, 1)
            return
        self._waiting.append(_Waiting(decision, at, via, member, node, properties))

    async def run(self, store: "Store") -> None:
        """Write what waits, until cancelled; what is left then goes once more."""
        try:
            while True:
                await asyncio.sleep(WRITE_S)
                await self.write(store)
        finally:
            await self.write(store)

    async def write(self, store: "Store") -> None:
        """Write all that waits now."""
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            outcome = "failed"
            try:
                async with store.transaction() as tx:
                    await tx.decision_log.add([_row(one) for one in batch])
                outcome = "saved"
            except Unavailable as error:
                log.warning("decisions_not_logged", decisions=len(batch), detail=error.detail)
                return
            finally:
                self._tell(outcome, len(batch))

    def _no_room(self, decision: Decision, at: datetime) -> str | None:
        minute = int(at.timestamp()) // 60
        if minute != self._minute:
            self._minute, self._counts = minute, defaultdict(int)
        if len(self._waiting) >= WAITING_MAX or len(decision.feature) > KEY_LENGTH_MAX:
            return "full"
        count = self._counts[decision.account] = self._counts[decision.account] + 1
        return "limited" if count > ACCOUNT_MAX else None


def _row(one: _Waiting) -> LoggedDecision:
    id = f"{id_at(one.at)}{secrets.token_hex(4)}"
    # What else a client of OpenFeature says decides nothing.
    said = {name: value for name, value in (one.properties or {}).items() if isinstance(value, str | int)}
    properties = said if said and len(msgspec.json.encode(said)) <= PROPERTIES_BYTES_MAX else None
    member = one.member if one.member is None or len(one.member) <= KEY_LENGTH_MAX else None
    its, outcome = one.decision, outcome_of(one.decision)
    return LoggedDecision(
        id, its.account, one.at, its.feature, its.quantity, member, one.node, properties, one.via, outcome
    )
