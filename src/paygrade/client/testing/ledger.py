"""Test accounts in memory: facts and usage of each, and the snapshots that follow from them by the real engine.

Laws: a snapshot is what the server would give for the same facts, usage and instant, but for what is not played here:
units carried into the next window, grants, top-ups and reservations; an id counts once.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from threading import Lock

from msgspec.structs import replace

from paygrade.billing.accounts import Account, apply
from paygrade.billing.facts import Body, Fact
from paygrade.catalog.model import Catalog
from paygrade.client.decision import Decision
from paygrade.client.errors import PaygradeError
from paygrade.decisions.decide import decide
from paygrade.decisions.following import Views, remember
from paygrade.decisions.sending import views
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.decisions.take import snapshot
from paygrade.entitlements.model import Entitlement
from paygrade.usage.balances import assemble, slot_of
from paygrade.usage.events import Refusal, UsageEvent
from paygrade.usage.history import Drawn, fold
from paygrade.usage.ledger import spend
from paygrade.usage.meters import Said, measure, meters_of
from paygrade.usage.meters import fold as total

Properties = Mapping[str, object]


class TestLedger:
    """What a server would keep of these accounts. Asked by the SDK's threads and by the test's own."""

    __test__ = False

    def __init__(self, catalog: Catalog, at: datetime) -> None:
        self.catalog, self.at = catalog, at
        self._meters = meters_of(catalog)
        self._lock = Lock()
        self._accounts: dict[str, Account] = {}
        self._drawn: dict[str, list[Drawn]] = defaultdict(list)
        self._answers: dict[tuple[str, str], Decision] = {}
        self._events: set[tuple[str, str]] = set()
        self._said: dict[tuple[str, str, str], list[Said]] = defaultdict(list)

    def state(self, account: str, subject: str, body: Body) -> None:
        """Record what is so of the account from now on."""
        with self._lock:
            before = self._accounts.get(account) or Account(key=account)
            number = before.version + 1
            self._accounts[account] = apply(before, Fact(number, subject, number, self.at, body))

    def accounts(self) -> tuple[str, ...]:
        return tuple(self._accounts)

    def views(self, accounts: list[str]) -> Views:
        """These accounts as they are now."""
        with self._lock:
            shapes, seen = views(remember(*self._snapshot(key, self.at)) for key in accounts)
        on_error = {key: its.on_error for key, its in self.catalog.features.items() if its.on_error != "deny"}
        return Views(now=self.at, stands_still=True, shapes=shapes, accounts=seen, on_error=on_error)

    def use(
        self,
        account: str,
        feature: str,
        quantity: int,
        *,
        member: str | None = None,
        properties: Properties | None = None,
    ) -> None:
        """Count units that were used, allowed or not. Raises PaygradeError `unknown_feature`, `not_countable`."""
        with self._lock:
            self._spend(account, feature, quantity, self.at, member, properties)

    def consume(
        self, account: str, feature: str, quantity: int, id: str, member: str | None, properties: Properties | None
    ) -> Decision:
        """Decide and count in one step; an id is answered as it was before. Raises PaygradeError."""
        with self._lock:
            if (account, id) not in self._answers:
                held, _ = self._snapshot(account, self.at)
                decision = decide(
                    held, feature, quantity, self.at, member=member, properties=properties, kind=Decision
                )  # fmt: skip
                assert isinstance(decision, Decision)
                if decision.allowed and quantity:
                    self._spend(account, feature, quantity, self.at, member, properties)
                    held, _ = self._snapshot(account, self.at)
                    after = decide(held, feature, 0, self.at, member=member, properties=properties)
                    decision = replace(decision, used=after.used, remaining=after.remaining)
                self._answers[account, id] = decision
            return self._answers[account, id]

    def report(self, event: UsageEvent) -> Refusal | None:
        """Count a usage event as its meters read it; a refusal where none can."""
        with self._lock:
            measures, at = measure(self._meters, event), event.time or self.at
            if isinstance(measures, Refusal) or (event.account, event.id) in self._events:
                return measures if isinstance(measures, Refusal) else None
            if event.account not in self._accounts:
                return Refusal("unknown_account", f"there is no account `{event.account}`")
            self._events.add((event.account, event.id))
            for measured in measures:
                held, _ = self._snapshot(event.account, at)
                slot = slot_of(entitlements_at(held, at)[measured.feature].from_at)
                said = self._said[event.account, measured.feature, slot]
                before = total(measured.aggregate, said).used
                said.append(Said(event.id, at, measured.units, measured.value))
                units = total(measured.aggregate, said).used - before
                self._spend(event.account, measured.feature, units, at, event.member, event.properties)
            return None

    def _spend(
        self,
        account: str,
        feature: str,
        quantity: int,
        at: datetime,
        member: str | None,
        properties: Properties | None,
    ) -> None:
        held, _ = self._snapshot(account, at)
        entitlements = entitlements_at(held, at)
        its = entitlements.get(feature)
        if its is None:
            raise PaygradeError(
                "unknown_feature", f"the catalog has no feature `{feature}`, or there is no `{account}`"
            )
        if not _is_counted(its):
            raise PaygradeError("not_countable", f"`{feature}` is {its.kind}: there is nothing to use up")
        draws = spend(entitlements, held.balances, feature, quantity, at, member=member, properties=properties)
        self._drawn[account].append(Drawn(at, draws))

    def _snapshot(self, account: str, at: datetime) -> tuple[Snapshot, tuple[int, ...]]:
        """What holds from `at` on, with what was used by now."""
        taken = snapshot(self._accounts.get(account) or Account(key=account), self.catalog, at)
        drawn = self._drawn.get(account, [])
        rows = fold(drawn)
        counted = {key: its for key, its in entitlements_at(taken, at).items() if _is_counted(its)}
        balances = {}
        for pool, its in counted.items():
            found = {slot: row for (its_pool, slot), row in rows.items() if its_pool == pool}
            if found:
                balances[pool] = assemble(found, its.from_at)
        versions = tuple(-1 if pool in taken.balances else len(drawn) for pool in taken.shape.pools)
        # What members take up the snapshot has already.
        return replace(taken, balances=balances | taken.balances), versions


def _is_counted(its: Entitlement) -> bool:
    return its.kind not in ("boolean", "config")
