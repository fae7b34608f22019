"""The operator: links, overrides, blocks and sweeps, each asked for until it is acknowledged or refused."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from paygrade.billing.facts import Block, Override
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.statements import delete_block, delete_override, put_block, put_override
from paygrade.server.operations.sync.repair import StartedSweep, start_sweep
from paygrade.values.errors import Refused, Unavailable
from simulation.merchant import ACCOUNTS

if TYPE_CHECKING:
    from .run import Run


class Operator:
    """Remembers what of its statements holds."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self.stated: dict[str, dict[str, Override | Block]] = {account: {} for account in ACCOUNTS}
        self.linked: dict[str, tuple[str, ...]] = {}
        self.ever_linked: dict[str, set[str]] = {}

    async def operate(self, happenings: int) -> None:
        """State things of accounts, one after the other, each until it is acknowledged or refused."""
        for _ in range(happenings // 3):
            await asyncio.sleep(self._run.pause_s())
            if self._run.cleared:
                return
            account = self._run.draw.choice(ACCOUNTS)
            doing = self._run.draw.choice(
                (self._state_links, self._state_override, self._state_override, self._state_block)
            )
            await doing(account)

    async def _state_links(self, account: str) -> None:
        known = self._run.stripe.customers
        wanted = tuple(sorted(self._run.draw.sample(known, min(len(known), self._run.draw.choice((0, 1, 1, 2))))))
        for customer in wanted:
            self.ever_linked.setdefault(customer, set()).add(account)
        name, links = f"Account {account}", {"stripe": wanted}
        if await self.insist(
            lambda: put_account(
                self._run.store, account=account, name=name, links=links, traits={}, at=self._run.clock.now()
            )
        ):
            self.linked[account] = wanted
            self._run.note(f"operator: {account} links {wanted}")

    async def _state_override(self, account: str) -> None:
        feature, body = self._run.draw.choice(
            (
                ("editor", Override("editor", value=True)),
                ("editor", Override("editor", value=False)),
                ("seats", Override("seats", limit=7)),
                ("api_calls", Override("api_calls", add=50)),
                ("editor", Override("editor", value=True, expires_at=self._run.loop.now() + timedelta(days=400))),
                ("seats", Override("seats")),
                ("editor", Override("editor")),
            )
        )
        if body.withdrawn:
            await self.insist(
                lambda: delete_override(self._run.store, account=account, feature=feature, at=self._run.clock.now())
            )
            self.stated[account].pop(f"override:{feature}", None)
        elif await self.insist(
            lambda: put_override(self._run.store, account=account, override=body, at=self._run.clock.now())
        ):
            self.stated[account][f"override:{feature}"] = body
        self._run.note(f"operator: {account} {body}")

    async def _state_block(self, account: str) -> None:
        key = self._run.draw.choice(("fraud", "admin"))
        if self._run.draw.random() < 0.6:
            await self.insist(lambda: delete_block(self._run.store, account=account, key=key, at=self._run.clock.now()))
            self.stated[account].pop(f"block:{key}", None)
            self._run.note(f"operator: {account} lifts {key}")
            return
        block = Block(key, "because")
        if await self.insist(
            lambda: put_block(self._run.store, account=account, block=block, at=self._run.clock.now())
        ):
            self.stated[account][f"block:{key}"] = block
            self._run.note(f"operator: {account} is blocked for {key}")

    async def insist(self, statement: Callable[[], Coroutine[Any, Any, Any]]) -> bool:
        """Ask until there is an answer; whether it was not refused."""
        while True:
            request = self._run.server.start(statement())
            try:
                if await succeeded(request):
                    return True
            except Refused:
                return False
            await asyncio.sleep(1)

    async def ask_for_a_sweep(self) -> int:
        """Until one begins that was not under way before; returns which."""
        answers: list[StartedSweep] = []

        async def ask() -> None:
            answers.append(await start_sweep(self._run.store, "stripe", dry_run=False, at=self._run.clock.now()))

        while not any(answer.started for answer in answers):
            if answers:
                await asyncio.sleep(60)
            await self.insist(ask)
            self._run.have_a_look()
        return answers[-1].sweep.id


async def succeeded(request: asyncio.Task[Any]) -> bool:
    """Whether it went well, as far as the one who asked can know. Raises what is no failure of the world."""
    await asyncio.wait((request,))
    if request.cancelled():
        return False
    error = request.exception()
    if error is None:
        return True
    if isinstance(error, Unavailable):
        return False
    raise error
