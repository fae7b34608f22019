"""Wrong rules of billing sync, each of which somebody uses: kept to show that the auditor catches them.

`PYTHONPATH=tests python -m simulation.rules 200` prints how many of 200 seeds end wrong under each.
They take what arrives and write the account by their own idea of what is newest. None of them latches ends: that
is part of our algorithm, not of theirs. They run in the same worlds, with nothing lost.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from msgspec.structs import replace

from paygrade.billing.facts import Body, Customer, Departed
from paygrade.providers.stripe import translate
from paygrade.server.operations.accounts.record import record
from paygrade.values.errors import Unavailable

from .audit import audit_subscriptions
from .provider import Event, concerned
from .run import Run

Rule = Literal["last_arrival", "created_after", "created_from", "blind_refetch", "terminal_shortcut"]
RULES: dict[Rule, str] = {
    "last_arrival": "apply every payload; the last to arrive wins",
    "created_after": "apply a payload if its `created` is later than that of the last one applied",
    "created_from": "apply a payload if its `created` is not earlier than that of the last one applied",
    "blind_refetch": "fetch the customer for each event and write what came back",
    "terminal_shortcut": "fetch under a fence, but apply at once a payload that says a subscription ended",
}


HAPPENINGS = 20


class WrongSync:
    """One rule at work in a run: `run.applied` is its `arrived`."""

    def __init__(self, run: Run, rule: Rule) -> None:
        self._run = run
        self._payloads: dict[str, dict[str, tuple[int, Any]]] = {}
        self._fences: dict[str, int] = {}
        self._where: dict[str, str] = {}
        self._written = 0
        applied: Callable[[str, Event], Awaitable[None]] = {
            "last_arrival": lambda id, event: self._apply(id, event, newest=lambda created, known: True),
            "created_after": lambda id, event: self._apply(id, event, newest=lambda created, known: created > known),
            "created_from": lambda id, event: self._apply(id, event, newest=lambda created, known: created >= known),
            "blind_refetch": lambda id, event: self._refetch(id, fenced=False),
            "terminal_shortcut": self._shortcut,
        }[rule]

        async def arrived(event: Event) -> None:
            id = concerned(event)
            if id is not None:
                await applied(id, event)

        run.applied = arrived

    async def _apply(self, id: str, event: Event, *, newest: Callable[[int, int], bool]) -> None:
        thing, created = event["data"]["object"], event["created"]
        if event["type"] == "customer.deleted":
            thing = {**thing, "deleted": True, "metadata": {}, "name": None}
        known = self._payloads.setdefault(id, {})
        if thing["object"] not in ("customer", "subscription", "invoice"):
            return
        if thing["id"] in known and not newest(created, known[thing["id"]][0]):
            return
        known[thing["id"]] = (created, thing)
        things = [payload for _, payload in known.values()]
        customer = translate.customer(
            next((t for t in things if t["object"] == "customer"), {"id": id, "created": created}),
            [t for t in things if t["object"] == "subscription"],
            [t for t in things if t["object"] == "invoice" and t["status"] == "open"],
        )
        await self._write(customer)

    async def _refetch(self, id: str, *, fenced: bool) -> None:
        """Fetch and write; with a fence only if no other fetch was begun since."""
        while True:
            fence = self._fences[id] = self._fences.get(id, 0) + 1
            try:
                said = await asyncio.to_thread(self._run.provider.fetch, f"stripe:{id}")
            except Unavailable:
                await asyncio.sleep(1)
                continue
            if isinstance(said, Customer) and (not fenced or fence == self._fences[id]):
                await self._write(said)
            return

    async def _shortcut(self, id: str, event: Event) -> None:
        thing = event["data"]["object"]
        if event["type"] != "customer.subscription.deleted":
            await self._refetch(id, fenced=True)
            return
        ended = translate.subscription(thing)
        held = await self._held(id)
        if held is None or all(s.id != ended.id for s in held.subscriptions):
            await self._refetch(id, fenced=True)
            return
        others = [s for s in held.subscriptions if s.id != ended.id]
        await self._write(replace(held, subscriptions=tuple(sorted((*others, ended), key=lambda s: s.id))))

    async def _held(self, id: str) -> Customer | None:
        for account in self._run.database.backend.dump().accounts.values():
            for customer in account.customers:
                if customer.id == id:
                    return customer
        return None

    async def _write(self, customer: Customer) -> None:
        """Save it as the newest statement, wherever it was before."""
        while True:
            try:
                return await self._save(customer)
            except Unavailable:
                await asyncio.sleep(1)

    async def _save(self, customer: Customer) -> None:
        self._written += 1
        subject, sequence, at = f"stripe:{customer.id}", self._written, self._run.loop.now()
        before = self._where.get(subject)
        key = customer.account or (before if customer.deleted else None) or customer.id
        async with self._run.store.transaction() as tx:
            await tx.accounts.create(key, at)
            accounts = await tx.accounts.lock({key, before or key})
            bodies: dict[str, Body] = {before: Departed(key)} if before is not None and before != key else {}
            for owner, body in {**bodies, key: customer}.items():
                folded = await record(tx, accounts[owner], subject=subject, body=body, sequence=sequence, at=at)
                await tx.accounts.restore(replace(folded, latched={}))
        self._where[subject] = key


def tried(seed: int, rule: Rule | None) -> Run:
    """Play a seed under a rule (None: the right one) in a hurry: nothing is lost, lags or comes days later, which
    would heal a blind rule, but much happens within the time that an answer takes."""
    run = Run(seed)
    run.hasty, run.shop.hurried_ends = True, 4
    run.weather = replace(run.weather, loss=0.0, late=0.0, polls=False, sweep_every=None, swept_at_once=False)
    run.provider.network = replace(run.provider.network, lag_s=0.0, slow=0.7)
    if rule is not None:
        WrongSync(run, rule)
    run.play(HAPPENINGS)
    run.close()
    return run


def _print_shares(seeds: int) -> None:
    for rule in (*RULES, None):
        wrong = sum(bool(audit_subscriptions(tried(seed, rule))) for seed in range(1, seeds + 1))
        print(f"{wrong / seeds:7.1%}  {RULES[rule] if rule else 'ours: fetch under a fence'}")


if __name__ == "__main__":
    _print_shares(int(sys.argv[1]))
