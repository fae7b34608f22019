"""Units this process has leased: used here, exactly, without asking for each. No socket, no clock, no lock: the caller
holds one and says what time it is.

The server counts what is claimed as used before it is used here (ADR 16), so whatever becomes of this process, all
processes together never use more than there is. How much is claimed follows how fast it is used, and what is not used
goes back.

Laws: nothing is used here that was not claimed before; every unit claimed is used once, or given back once, or lost
with the process; a step whose answer was lost is sent again as it was.
"""

from collections.abc import Iterable
from datetime import datetime
from math import ceil
from uuid import uuid4

from msgspec import Struct

Key = tuple[str, str]
"""An account and a feature."""
CLAIM_S, HOLD_S = 0.5, 5.0
"""For how long what is claimed, and what is held besides, should last at the present rate."""
TTL_S, IDLE_S, LOOK_S = 60, 10.0, 0.25
"""How long a lease lasts from each step; when what is not used goes back; how often one looks."""
CLAIM_MAX = 100_000
AGAIN_S = 1.0
"""After a denial, when a lease is asked for again: meanwhile each use is asked for by itself."""


class LeaseView(Struct, frozen=True):
    """A lease as the server tells it."""

    id: str
    held: int
    claimed: int
    resets_at: datetime | None = None
    over: str | None = None


class _Problem(Struct, frozen=True):
    code: str


class Counts(Struct, frozen=True):
    """Of a decision: how much was used and held when it was made."""

    used: int | None = None
    reserved: int | None = None


class LeaseResult(Struct, frozen=True):
    """What came of one step."""

    decision: Counts | None = None
    lease: LeaseView | None = None
    units: int = 0
    claim: int = 0
    problem: _Problem | None = None


class Leased(Struct, frozen=True):
    """What came of asking for a lease."""

    decision: Counts
    lease: LeaseView | None = None


class Step(Struct, frozen=True, omit_defaults=True):
    """One step of a lease, as it is sent."""

    account: str
    lease: str
    id: str
    claim: int = 0
    unused: int = 0
    units: int = 0
    ttl_s: int = 0
    end: bool = False


class Block:
    """What is leased of one feature of one account. `free`: claimed, and not used yet."""

    def __init__(self, key: Key, view: LeaseView, now_s: float) -> None:
        self.key, self.id, self.held, self.resets_at = key, view.id, view.held, view.resets_at
        self.free = view.claimed
        self.used_lately = 0
        self.looked_at_s = self.used_at_s = self.told_at_s = now_s
        self.rate_per_s = 0.0
        self.sending: Step | None = None
        self.ends = False

    def use(self, quantity: int, at: datetime, now_s: float) -> bool:
        """Use so many, if there are so many; nothing of a window that is over."""
        if quantity > self.free or self.ends or (self.resets_at is not None and at >= self.resets_at):
            return False
        self.free -= quantity
        self.used_lately += quantity
        self.used_at_s = now_s
        return True

    @property
    def wanted(self) -> int:
        """How many units should be claimed."""
        return min(CLAIM_MAX, max(1, ceil(self.rate_per_s * CLAIM_S)))

    def look(self, at: datetime, now_s: float, *, closing: bool) -> Step | None:
        """The next step, if it is time for one; `took` is told what came of it."""
        if self.sending is not None:
            return self.sending
        passed_s = now_s - self.looked_at_s
        if passed_s > 0:
            share = min(1.0, passed_s / CLAIM_S)
            self.rate_per_s += share * (self.used_lately / passed_s - self.rate_per_s)
            self.used_lately, self.looked_at_s = 0, now_s
        over = self.resets_at is not None and at >= self.resets_at
        account, _ = self.key
        # What is over goes back as well: it was not used in the window it was counted in.
        if closing or over or self.ends or now_s - self.used_at_s > IDLE_S:
            self.ends = True
            back, self.free = self.free, 0
            self.sending = Step(account, self.id, uuid4().hex, unused=back, end=True)
        elif self.free * 2 < self.wanted or now_s - self.told_at_s > TTL_S / 3:
            claim = max(0, self.wanted - self.free)
            more = max(0, ceil(self.rate_per_s * HOLD_S) + claim - self.held)
            self.sending = Step(account, self.id, uuid4().hex, claim=claim, units=more, ttl_s=TTL_S)
        return self.sending

    def took(self, result: LeaseResult, now_s: float) -> bool:
        """What came of the step that was sent; False: there is no lease any more."""
        step, self.sending, self.told_at_s = self.sending, None, now_s
        if result.problem is not None or result.lease is None:
            return False
        self.held = result.lease.held
        self.free += result.claim
        if step is not None and step.end:
            return False
        if result.lease.over is not None:
            # Nothing more can be claimed: what is free goes back with the next step.
            self.ends = True
        return True


class Leases:
    """The blocks of this process."""

    def __init__(self) -> None:
        self.blocks: dict[Key, Block] = {}
        self._denied_until_s: dict[Key, float] = {}

    def is_worth_asking(self, key: Key, now_s: float) -> bool:
        """Whether a lease may be had of this."""
        return key not in self.blocks and self._denied_until_s.get(key, 0.0) <= now_s

    def begin(self, key: Key, view: LeaseView | None, now_s: float, *, again_s: float = AGAIN_S) -> None:
        """What came of asking for a lease; None: there is none to be had, for so long."""
        if view is None:
            if len(self._denied_until_s) >= CLAIM_MAX:
                self._denied_until_s.clear()
            self._denied_until_s[key] = now_s + again_s
        else:
            self.blocks[key] = Block(key, view, now_s)

    def look(self, at: datetime, now_s: float, *, closing: bool = False) -> list[Step]:
        """The steps that are due."""
        steps = [block.look(at, now_s, closing=closing) for block in self.blocks.values()]
        return [step for step in steps if step is not None]

    def took(self, steps: Iterable[Step], results: Iterable[LeaseResult], now_s: float) -> None:
        """What came of these steps."""
        by_id = {block.id: block for block in self.blocks.values()}
        for step, result in zip(steps, results, strict=True):
            block = by_id.get(step.lease)
            if block is not None and not block.took(result, now_s):
                del self.blocks[block.key]

    @property
    def free(self) -> int:
        return sum(block.free for block in self.blocks.values())
