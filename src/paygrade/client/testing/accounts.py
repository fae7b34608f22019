"""Accounts of a test: made in one line, on the catalog that is sold, and changed while the SDK looks on.

Laws: the SDK is the real one, and what it decides is decided by the real engine; time goes on when the test says so;
when a change returns, the SDK knows it.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import wait
from datetime import UTC, datetime, timedelta
from pathlib import Path

from paygrade.billing.facts import Block, Body, Item, ManualSubscription, Member, Override, Profile, Subscription
from paygrade.catalog.model import Catalog
from paygrade.catalog.offers import Credit, LevelFeature, MeteredFeature
from paygrade.catalog.parse import parse
from paygrade.client.errors import PaygradeError
from paygrade.client.sdk import Paygrade
from paygrade.client.testing.in_process import InProcess
from paygrade.client.testing.ledger import TestLedger
from paygrade.documents.catalog_file import read_catalog
from paygrade.values.states import Status
from paygrade.values.text import is_integer

PATIENCE_S = 5.0
AT = datetime(2026, 1, 15, 12, tzinfo=UTC)
"""What time it is, until a test says otherwise."""


class TestAccounts:
    """`sdk` is a real Paygrade that knows these accounts, and nothing else; `close` it in the end."""

    __test__ = False

    def __init__(self, catalog: Catalog, *, at: datetime = AT) -> None:
        self.catalog = catalog
        self._ledger = TestLedger(catalog, at)
        self._transport = InProcess(self._ledger)
        self.sdk = Paygrade("http://paygrade.test", "sk_test", timeout_s=PATIENCE_S)
        # Nothing is connected before the first call.
        self.sdk._connection._transport = self._transport
        self._connect()

    @classmethod
    def of(cls, path: Path | str, *, at: datetime = AT) -> "TestAccounts":
        """By a catalog's file. Needs PyYAML. Raises Refused `catalog_invalid` with every mistake."""
        document, lines = read_catalog(Path(path))
        return cls(parse(document, lines=lines), at=at)

    def account(
        self,
        key: str,
        plan: str | None = None,
        *,
        quantity: int = 1,
        status: Status = "active",
        add_ons: Mapping[str, int] = {},
        overrides: Mapping[str, bool | int | str] = {},
        usage: Mapping[str, int] = {},
        members: Mapping[str, str] = {},
    ) -> "TestAccount":
        """An account with all this. `plan`, `quantity` and `add_ons` are what it pays for; without a plan it has the
        catalog's default one. `overrides`: what an operator says of features: a limit where units are counted, else a
        value. `usage`: units used by now. `members`: their roles."""
        made = TestAccount(self, key)
        self.state(key, "profile", Profile(created_at=self.now))
        if plan is not None:
            made.subscribe(plan, quantity=quantity, status=status, add_ons=add_ons)
        for feature, said in overrides.items():
            made.override(feature, said)
        for member, role in members.items():
            made.member(member, role)
        for feature, units in usage.items():
            made.use(feature, units)
        return made

    # Time

    @property
    def now(self) -> datetime:
        return self._ledger.at

    def advance(self, by: timedelta | None = None, *, days: int = 0, seconds: int = 0) -> datetime:
        """Let so much time go by."""
        return self.travel(self.now + (by or timedelta()) + timedelta(days=days, seconds=seconds))

    def travel(self, to: datetime) -> datetime:
        """Have it be `to`, earlier or later."""
        self._ledger.at = to
        self._transport.beat()
        if self._transport.reachable:
            _until(lambda: self.sdk.now() == to)
        self._tell(*self._ledger.accounts())
        return to

    # The server

    def go_away(self) -> None:
        """From now on nobody can be asked, as when the server is away."""
        self._transport.reachable = False
        self._transport.cut()
        _until(lambda: self.sdk.status().state == "interrupted")

    def come_back(self) -> None:
        self._transport.reachable = True
        self._connect()
        self._tell(*self._ledger.accounts())

    def close(self) -> None:
        self._transport.cut()
        self.sdk.close()

    # What accounts are made of

    def state(self, account: str, subject: str, body: Body) -> None:
        """Record a statement of the account (billing/facts.py)."""
        self._ledger.state(account, subject, body)
        self._tell(account)

    def use(self, account: str, feature: str, quantity: int, *, member: str | None = None) -> None:
        self._ledger.use(account, feature, quantity, member=member)
        self._tell(account)

    def _connect(self) -> None:
        self.sdk._connection.start()
        _until(lambda: self.sdk.status().state == "connected")

    def _tell(self, *accounts: str) -> None:
        """Have the SDK know these as they are now."""
        if self._transport.reachable:
            wait([self.sdk._connection.ask(account) for account in accounts], PATIENCE_S)


class TestAccount:
    """One account. What it is asked for returns when the SDK knows it."""

    __test__ = False

    def __init__(self, accounts: TestAccounts, key: str) -> None:
        self._accounts, self.key = accounts, key

    def subscribe(
        self,
        plan: str,
        *,
        quantity: int = 1,
        status: Status = "active",
        add_ons: Mapping[str, int] = {},
        trial_ends_at: datetime | None = None,
        ends_at: datetime | None = None,
        unpaid_since: datetime | None = None,
    ) -> None:
        """Pay for this from now on, in place of what was paid for. Raises PaygradeError `unknown_plan`,
        `unknown_add_on`."""
        catalog, now = self._accounts.catalog, self._accounts.now
        if plan not in catalog.plans:
            raise PaygradeError("unknown_plan", f"there is no plan `{plan}`; there are {', '.join(catalog.plans)}")
        for key in add_ons:
            if key not in catalog.add_ons:
                raise PaygradeError("unknown_add_on", f"there is no add-on `{key}`")
        bought = {plan: quantity, **add_ons}
        items = tuple(Item(f"si_{key}", units, plan=key, created_at=now) for key, units in bought.items())
        if status in ("past_due", "unpaid") and unpaid_since is None:
            unpaid_since = now
        ended_at = now if status == "canceled" else None
        subscription = Subscription(
            "sub_test", status, items, now, trial_ends_at=trial_ends_at, ends_at=ends_at, ended_at=ended_at,
            unpaid_since=unpaid_since, started_at=now,
        )  # fmt: skip
        self._state("subscription:sub_test", ManualSubscription(subscription))

    def unsubscribe(self) -> None:
        """Pay for nothing, as if it never had."""
        self._state("subscription:sub_test", ManualSubscription(None))

    def override(self, feature: str, said: bool | int | str | None, *, expires_at: datetime | None = None) -> None:
        """What an operator says of a feature: a limit where units are counted, else a value; None withdraws it."""
        catalog = self._accounts.catalog
        offer = catalog.features.get(feature) or catalog.credits.get(feature)
        if offer is None:
            raise PaygradeError("unknown_feature", f"the catalog has no feature `{feature}`")
        body = Override(feature, "said in a test", value=said, expires_at=expires_at)
        if is_integer(said) and isinstance(offer, MeteredFeature | LevelFeature | Credit):
            body = Override(feature, "said in a test", limit=said, expires_at=expires_at)
        self._state(f"override:{feature}", body)

    def block(self, key: str = "test", *, lifted: bool = False) -> None:
        """Suspend all access, or lift that."""
        self._state(f"block:{key}", Block(key, "said in a test", lifted=lifted))

    def member(self, key: str, role: str | None = "member", *, seat: bool = False) -> None:
        """A person with this role, and a seat of their own; None: no longer a member."""
        self._state(f"member:{key}", Member(key, role, seat=seat))

    def use(self, feature: str, quantity: int = 1, *, member: str | None = None) -> None:
        """Units that were used by now, allowed or not. Raises PaygradeError `unknown_feature`, `not_countable`."""
        self._accounts.use(self.key, feature, quantity, member=member)

    def _state(self, subject: str, body: Body) -> None:
        self._accounts.state(self.key, subject, body)


def _until(what: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > give_up_s:
            raise TimeoutError("the SDK did not hear of it")
        time.sleep(0.0005)
