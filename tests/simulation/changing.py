"""Those who carry plan changes out, and settle accounts when their dates come: loops of every worker.

Laws: what runs is the server's own `take`, `advance_change` and `follow_due_transitions`, with the real
`StripeOrders`; a worker looks ever more rarely while there is nothing to do, so that weeks cost little.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from paygrade.changes.order import ChangeOrder, Progress
from paygrade.changes.plan_change import PlanChange
from paygrade.postgres.plan_changes import ClaimedChange
from paygrade.providers.stripe.orders import StripeOrders
from paygrade.providers.stripe.previews import StripePreviewer
from paygrade.server.operations.accounts.transition import follow_due_transitions
from paygrade.server.workers.claims import give_back, take
from paygrade.server.workers.plan_changes import CHANGES, LATE, advance_change
from paygrade.values.errors import Unavailable
from simulation.merchant import DAY_S

from .connection import EngineConnection
from .tables import Dump
from .threads import WAITS

if TYPE_CHECKING:
    from .run import Process, Run

LOOK_FIRST_S, LOOK_RARER = 0.5, 10
CLAIMED_MAX = 4


class EngineCommands:
    """The `Changing` of the workers, and whoever shows what a change will cost."""

    name = "stripe"

    def __init__(self, run: "Run") -> None:
        connection = EngineConnection(run.stripe, run.provider, run.draw)
        self.previewer = StripePreviewer(connection)
        self._orders = StripeOrders(connection)

    def advance_change(self, order: ChangeOrder) -> Progress:
        return self._orders.advance(order)


class Changing:
    """What the workers of one run do for its owners."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self.commands = EngineCommands(run)
        self._wakes: list[asyncio.Event] = []
        self._looks_s = run.draw.choice((6 * 3600, DAY_S))

    def start(self, process: "Process") -> None:
        """Let a worker do it until it is killed."""
        for look in (lambda wake: self._carry_out(process, wake), lambda wake: self._settle()):
            wake = asyncio.Event()
            self._wakes.append(wake)
            process.loops += 1
            process.start(self._repeat(look, wake))

    def have_a_look(self) -> None:
        for wake in self._wakes:
            wake.set()

    def waits(self, dump: Dump) -> bool:
        """Whether there is still something to do."""
        now = self._run.clock.now()

        def is_open(change: PlanChange) -> bool:
            late = change.effective_at is not None and change.effective_at + LATE <= now
            if change.state == "scheduled":
                return change.undo or late
            if change.state == "applied":
                return change.schedule is not None and change.done_fence is None
            return change.state in ("asked", "pending")

        return any(map(is_open, dump.changes)) or any(at <= now for at in dump.to_settle)

    async def _repeat(self, look: Callable[[asyncio.Event], Awaitable[bool]], wake: asyncio.Event) -> None:
        look_s = LOOK_FIRST_S
        while True:
            wake.clear()
            found = True
            try:
                found = await look(wake)
            except Unavailable:
                pass
            except Exception as error:  # noqa: BLE001  # as the top of the worker's loop does
                self._run.broken.append(f"changing: {error!r}")
            look_s = LOOK_FIRST_S if found else min(look_s * LOOK_RARER, self._looks_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), look_s)
                look_s = LOOK_FIRST_S

    async def _carry_out(self, process: "Process", wake: asyncio.Event) -> bool:
        """What `workers.claims.work` does with plan changes."""
        claims = await take(self._run.store, CHANGES, limit=CLAIMED_MAX, at=self._run.clock.now())
        for claim in claims:
            process.start(self._advance(claim, wake))
        return bool(claims)

    async def _advance(self, claim: ClaimedChange, wake: asyncio.Event) -> None:
        WAITS.set(True)
        try:
            outcome = await advance_change(self._run.store, self.commands, self._run.clock, claim)
        except Exception as error:  # noqa: BLE001  # as the top of the worker's loop does
            outcome = "failed"
            if not isinstance(error, Unavailable):
                self._run.broken.append(f"{claim.account} {claim.key}: {error!r}")
            with suppress(Unavailable):
                await give_back(self._run.store, CHANGES, claim, error)
        self._run.note(f"worker: change {claim.key} of {claim.account} fence {claim.fence}: {outcome}")
        wake.set()

    async def _settle(self) -> bool:
        """What the workers do when an account's dates come."""
        return await follow_due_transitions(self._run.store, at=self._run.clock.now()) > 0
