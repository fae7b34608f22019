"""Owners of accounts: each quotes plan changes and carries them out, takes them back, and asks again when in doubt.

Laws: every request has a key, and is asked under it until it is answered or refused; what was answered is kept, for
the audit; owners of one account know nothing of each other.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from paygrade.changes.order import Act
from paygrade.changes.plan_change import PlanChange
from paygrade.changes.request import ChangeRequest
from paygrade.server.operations.changes.plan_changes import act, carry_out, revert, take_back
from paygrade.server.operations.changes.quotes import quote_change
from paygrade.values.errors import Refused
from paygrade.values.states import TERMINAL
from simulation.merchant import DAY_S

from .operator import succeeded
from .threads import WAITS

if TYPE_CHECKING:
    from .changing import Changing
    from .run import Run

T = TypeVar("T")
OVER = (*TERMINAL, "incomplete")
ACTS: tuple[Act, ...] = ("keep_going", "keep_going", "pause", "resume", "set_trial", "end_trial")


class Owners:
    """Several at once, and what they were answered."""

    def __init__(self, run: "Run", changing: "Changing") -> None:
        self._run, self._changing, self._draw = run, changing, run.draw
        self.answered: dict[tuple[str, str], set[str]] = {}
        """By account and key: the ids of the changes that were named."""
        self.refused: dict[tuple[str, str], str] = {}
        self.changes: list[PlanChange] = []
        self._acting: set[asyncio.Task[None]] = set()
        self._asked = 0
        self._previewer = changing.commands.previewer if run.draw.random() < 0.5 else None

    def happen(self) -> None:
        """Let some of them want something, about now."""
        for _ in range(self._draw.choice((0, 1, 2, 3, 5))):
            task = asyncio.get_running_loop().create_task(self._act())
            self._acting.add(task)
            task.add_done_callback(self._acting.discard)

    async def finish(self) -> None:
        """Until each has heard what came of it."""
        while self._acting:
            await asyncio.wait(self._acting)

    async def _act(self) -> None:
        await asyncio.sleep(self._draw.choice((0.0, 1.0, 30.0, 600.0)) * self._draw.random())
        account, subscription = self._one()
        if account is None:
            return
        doings = (self._change, self._change, self._change, self._change, self._do, self._take_back, self._revert)
        try:
            await self._draw.choice(doings)(account, subscription)
        except Refused as refused:
            self._run.note(f"owner of {account}: {refused.code}")
        except Exception as error:  # noqa: BLE001  # told by the audit, with all that happened before
            self._run.broken.append(f"owner of {account}: {error!r}")

    # What an owner does

    async def _change(self, account: str, subscription: str | None) -> None:
        wanted = self._wanted(subscription)
        made = await self._insist(
            lambda: quote_change(
                self._run.store, self._previewer, account=account, wanted=wanted, at=self._run.clock.now()
            )
        )
        await self._carry_out(account, made.id, f"{wanted}")

    async def _revert(self, account: str, _: str | None) -> None:
        mine = [change for change in self.changes if change.act == "change"]
        if mine:
            change = self._draw.choice(mine)
            made = await self._insist(
                lambda: revert(
                    self._run.store, self._previewer, account=change.account, id=change.id, at=self._run.clock.now()
                )
            )
            await self._carry_out(change.account, made.id, f"back from {change.key}")

    async def _carry_out(self, account: str, quote_id: str, what: str) -> None:
        """Mostly once; now and then twice at the same moment, or under another key as well."""
        if self._draw.random() < 0.2:
            await asyncio.sleep(self._draw.choice((1.0, 30.0)))
        key = self._key()
        keys = self._draw.choice(((key,), (key,), (key, key), (key, f"{key}_b")))

        def asking(key: str) -> Callable[[], Coroutine[Any, Any, PlanChange]]:
            return lambda: carry_out(
                self._run.store,
                account=account,
                quote_id=quote_id,
                key=key,
                has_provider=True,
                at=self._run.clock.now(),
            )

        await asyncio.gather(*(self._ask_for(account, each, what, asking(each)) for each in keys))
        if self._draw.random() < 0.2:
            await asyncio.sleep(self._draw.choice((1.0, 60.0)))
            await self._ask_for(account, key, "the same again", asking(key))

    async def _do(self, account: str, subscription: str | None) -> None:
        what = self._draw.choice(ACTS)
        at = self._run.clock.now().replace(microsecond=0)
        until = at + timedelta(days=self._draw.choice((1, 20))) if what == "set_trial" else None

        def asking() -> Coroutine[Any, Any, PlanChange]:
            return act(
                self._run.store,
                account=account,
                act=what,
                subscription=subscription,
                trial_ends_at=until,
                key=key,
                has_provider=True,
                at=self._run.clock.now(),
            )

        key = self._key()
        await self._ask_for(account, key, what, asking)

    async def _take_back(self, account: str, _: str | None) -> None:
        dump = self._run.database.backend.dump()
        open_changes = [change for change in dump.changes if change.state in ("asked", "pending", "scheduled")]
        if open_changes:
            change = self._draw.choice(open_changes)
            at = self._run.clock.now
            await self._insist(lambda: take_back(self._run.store, account=change.account, id=change.id, at=at()))
            self._run.note(f"owner of {change.account}: takes {change.key} back, which was {change.state}")
            self._changing.have_a_look()

    # How it asks

    async def _ask_for(
        self, account: str, key: str, what: str, asking: Callable[[], Coroutine[Any, Any, PlanChange]]
    ) -> None:
        named = self.answered.setdefault((account, key), set())
        try:
            change = await self._insist(asking)
        except Refused as refused:
            self.refused[account, key] = refused.code
            self._run.note(f"owner of {account}: {what} as {key}: {refused.code}")
            return
        self._run.note(f"owner of {account}: {what} as {key}: {change.act} {change.state}")
        if change.id not in named:
            self.changes.append(change)
        named.add(change.id)
        if self._draw.random() < 0.8:
            self._changing.have_a_look()

    async def _insist(self, asking: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Ask until there is an answer. Refused where that is no."""

        async def waiting() -> T:
            WAITS.set(True)
            return await asking()

        while True:
            request = self._run.server.start(waiting())
            if await succeeded(request):
                answer: T = request.result()
                return answer
            await asyncio.sleep(self._draw.choice((0.2, 1.0, 30.0)))

    def _key(self) -> str:
        self._asked += 1
        return f"wish_{self._asked}"

    # What it wants

    def _one(self) -> tuple[str | None, str | None]:
        """Somebody who has something to change, and mostly what; None: nobody has, or whatever it is."""
        accounts = self._run.database.backend.dump().accounts
        found = [(key, s.id) for key, its in accounts.items() for s in its.subscriptions if s.status not in OVER]
        if not found:
            return None, None
        account, subscription = self._draw.choice(found)
        return account, subscription if self._draw.random() < 0.7 else None

    def _wanted(self, subscription: str | None) -> ChangeRequest:
        draw = self._draw
        plan = draw.choice((None, "pro", "pro", "scale", "scale", "free"))
        when = draw.choice((None, None, None, "now", "period_end", "date"))
        ahead = timedelta(seconds=draw.choice((30, 3600, 9 * DAY_S)))
        more = plan != "free"
        return ChangeRequest(
            subscription=subscription,
            plan=plan,
            add_ons={"extra_calls": draw.choice((0, 1, 2))} if more and draw.random() < 0.2 else {},
            quantities={"seats": draw.randrange(1, 9)} if more and draw.random() < 0.4 else {},
            interval=draw.choice((None, None, None, "yearly", "monthly")) if more else None,
            when=when if when in ("now", "period_end") else None,  # type: ignore[arg-type]  # from a table
            date=self._run.clock.now().replace(microsecond=0) + ahead if when == "date" else None,
        )
