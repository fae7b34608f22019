"""The audit: what has to be true once everything is quiet, worked out without the store.

The truth of an account is what the provider answers for its customer now, and the last word of the operator that a
server acknowledged; replayed, derived and decided by the pure files.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

import psycopg
import yaml
from msgspec import Struct

from chaos.load import Operator, Shop
from chaos.stack import CATALOG, House
from paygrade.billing.accounts import Account, replay
from paygrade.billing.facts import Customer, Fact, Override
from paygrade.catalog.parse import parse
from paygrade.decisions.decide import decide
from paygrade.decisions.take import snapshot
from paygrade.postgres.store import Store
from paygrade.providers.stripe.client import StripeProvider
from paygrade.simulator.http.app import DEFAULT_KEY

FEATURES = ("seats", "exports")
TOLD = ("allowed", "reason", "limit", "plan")
HEARD_S = 3.0


class Verdict(Struct, frozen=True):
    """What was found wrong, in words, and how much of what was acknowledged is nowhere."""

    complaints: tuple[str, ...]
    lost: int


class Auditor:
    """Looks at one house."""

    def __init__(self, house: House, shop: Shop, operator: Operator) -> None:
        self._house, self._shop, self._operator = house, shop, operator
        self._provider = StripeProvider(api_key=DEFAULT_KEY, api_base=house.simulator_url)
        self._catalog = parse(yaml.safe_load(CATALOG))
        self._went_back: list[str] = []

    @property
    def acknowledged(self) -> int:
        """Events and words of the operator that were answered with a 2xx so far."""
        return len(self._house.relay.acknowledged) + len(self._operator.acknowledged)

    def verdict(self, at: datetime) -> Verdict:
        """Look at everything. Nothing may be going on, and the clock has to stand still at `at`."""
        lost = self._lost_events() + self._lost_words()
        complaints = [*lost, *self._went_back, *self._wrong_decisions(at), *self._wrong_facts()]
        return Verdict(tuple(complaints), len(lost))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch, for the length of the block, that no subject's instant of reading goes back."""
        stopping = threading.Event()

        def watch() -> None:
            seen: dict[str, datetime] = {}
            while not stopping.is_set():
                # Away for now: it is one of the things that are killed.
                with suppress(psycopg.Error), psycopg.connect(self._house.database_url, autocommit=True) as connection:
                    while not stopping.wait(0.1):
                        for subject, read_at in connection.execute(
                            "select subject, read_at from subjects where read_at is not null"
                        ):
                            if read_at < seen.get(subject, read_at):
                                self._went_back.append(f"{subject} was read at {seen[subject]}, then at {read_at}")
                            seen[subject] = read_at
                stopping.wait(0.1)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()

    def truth(self, account: str) -> Account:
        customer = self._provider.fetch(f"stripe:{self._shop.customers[account]}")
        assert isinstance(customer, Customer)
        facts = [Fact(1, f"stripe:{customer.id}", 1, self._house.now(), customer)]
        words = [limit for named, limit in self._operator.acknowledged if named == account]
        if words:
            override = Override("seats", limit=words[-1], reason=f"the {words[-1]}th word")
            facts.append(Fact(2, "override:seats", 1, self._house.now(), override))
        return replay(account, facts)

    def _wrong_decisions(self, at: datetime) -> Iterator[str]:
        for account in self._shop.customers:
            view = snapshot(self.truth(account), self._catalog, at)
            for feature in FEATURES:
                due = decide(view, feature, 1, at)
                expected = tuple(getattr(due, name) for name in TOLD)
                for number in range(len(self._house.server_urls)):
                    told = self._told(number, account, feature, expected)
                    if told != expected:
                        yield f"server {number} says of {account} and {feature}: {told}; the truth is {expected}"

    def _told(self, server: int, account: str, feature: str, expected: tuple[object, ...]) -> tuple[object, ...]:
        """What a server answers, once it has heard of the latest change: what is saved is told to others afterwards."""
        give_up_at = time.monotonic() + HEARD_S
        while True:
            answer = self._house.ask("POST", "/v1/check", server=server, json={"account": account, "feature": feature})
            told = tuple(answer[name] for name in TOLD)
            if told == expected or time.monotonic() > give_up_at:
                return told
            time.sleep(0.05)

    def _lost_events(self) -> list[str]:
        with psycopg.connect(self._house.database_url) as connection:
            kept = {id for (id,) in connection.execute("select event_id from inbox")}
        return [f"event {id} was acknowledged and is not there" for id in self._house.relay.acknowledged - kept]

    def _lost_words(self) -> list[str]:
        with psycopg.connect(self._house.database_url) as connection:
            rows = connection.execute(
                "select account, (body ->> 'limit')::int from facts where subject = 'override:seats'"
            )
            kept = set(rows)
        return [f"{account}: limit {limit} was acknowledged and is not there"
                for account, limit in self._operator.acknowledged if (account, limit) not in kept]  # fmt: skip

    def _wrong_facts(self) -> list[str]:
        return asyncio.run(self._wrong_folds())

    async def _wrong_folds(self) -> list[str]:
        wrong = []
        async with Store(self._house.database_url) as store:
            for account in self._shop.customers:
                async with store.transaction() as tx:
                    saved, facts = await tx.accounts.load(account), await tx.accounts.facts(account)
                numbers = [entry.fact.number for entry in reversed(facts)]
                if numbers != list(range(1, len(facts) + 1)):
                    wrong.append(f"{account}: its facts are numbered {numbers}")
                if saved is None or saved.account != replay(account, [entry.fact for entry in reversed(facts)]):
                    wrong.append(f"{account}: its state is not what its facts say")
        return wrong
