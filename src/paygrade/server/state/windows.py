"""Windows: which window of which feature an instant falls in, as this process remembers it.

Laws: remembering changes cost, never meaning: a window is always that of `derive` at the very instant asked for; what
was loaded before a change was heard is not remembered after it.
"""

import math
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.catalog.model import Catalog
from paygrade.entitlements.derive import derive
from paygrade.entitlements.model import Entitlement, Segment
from paygrade.entitlements.sources import view_of
from paygrade.entitlements.windows import counting_window
from paygrade.usage.balances import slot_of
from paygrade.usage.entries import Key
from paygrade.usage.events import UsageEvent
from paygrade.usage.meters import Measured
from paygrade.values.periods import Period

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

DAYS_MAX = 100
"""Days remembered of an account; one that is asked about more of them is importing its history."""
_DAY = timedelta(days=1)


class CountingWindow(Struct, frozen=True):
    """Where usage of one feature counts: the slot of a pool. `period` None: for good.

    `entitlements` are the feature's and, where credits pay for it, the credit's, with the windows they count in. Where
    the feature's is `plain`, units add up in one row. Below `watched_from` units used no threshold is near.
    """

    feature: str
    slot: str
    period: Period | None
    entitlements: dict[str, Entitlement]
    watched_from: float

    @property
    def plain(self) -> bool:
        return self.entitlements[self.feature].plain

    @property
    def is_paid(self) -> bool:
        """Credits pay for it."""
        return self.entitlements[self.feature].credit is not None


class Target(Struct, frozen=True, gc=False):
    """Where the units of one feature go. `head`: the beginning of its draw, as JSON."""

    key: Key
    window: CountingWindow
    head: str


class CountingPlan(Struct, frozen=True, gc=False):
    """Where the events of one name go, for times in `[from_at, until)`: a target for each measure.

    `plain`: all they do is add up.
    """

    from_at: datetime
    until: datetime
    targets: tuple[Target, ...]
    plain: bool


class AccountWindows:
    """One account as it was loaded, with the segments of the days it was asked about."""

    def __init__(self, account: Account, catalog: Catalog) -> None:
        self.account = account
        self.catalog = catalog
        self._days: dict[int, list[Segment]] = {}
        self._windows: dict[tuple[datetime, str], CountingWindow] = {}
        self._plans: dict[tuple[str | None, str | None], CountingPlan] = {}

    def begun(self, time: datetime, *, within: timedelta) -> datetime:
        """When something counts that is dated so. What is dated a little before the account began, as by a clock that
        is behind, counts as it begins: else its first uses would count in a window that is over."""
        began = self.account.began.created_at if self.account.began is not None else time
        return began if began - within <= time < began else time

    def segment(self, at: datetime) -> Segment:
        """The segment `at` falls in; of each day, it is derived from midnight on. By a test clock all that happens
        happens when it shows."""
        at = self.account.time(at)
        day = at.toordinal()
        segments = self._days.get(day)
        if segments is None:
            if len(self._days) >= DAYS_MAX:
                self._days.clear()
                self._windows.clear()
            midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            segments = self._days[day] = [derive(self.account, self.catalog, midnight)]
        while segments[-1].until <= at:
            segments.append(derive(self.account, self.catalog, segments[-1].until))
        return next(segment for segment in reversed(segments) if segment.from_at <= at)

    def plan(self, event: UsageEvent, measures: Sequence[Measured], time: datetime) -> CountingPlan:
        """Where the measures of this event go, remembered for those of the same name that follow."""
        name = (event.feature, event.event)
        plan = self._plans.get(name)
        if plan is None or not plan.from_at <= time < plan.until:
            plan = self._plans[name] = self._plan(measures, time)
        return plan

    def _plan(self, measures: Sequence[Measured], time: datetime) -> CountingPlan:
        segment = self.segment(time)
        from_at, until = segment.from_at, segment.until
        targets = []
        for measured in measures:
            window = self.window(segment, measured.feature, time)
            if window.period is not None and window.period.until is not None:
                from_at, until = max(from_at, window.period.from_at), min(until, window.period.until)
            head = f"{msgspec.json.encode([window.feature, window.slot]).decode()[:-1]},"
            targets.append(Target((self.account.key, window.feature, window.slot), window, head))
        adds_up = all(measured.aggregate in ("count", "sum") for measured in measures)
        closely = self.catalog.policies.top_ups
        plain = adds_up and all(target.window.plain and target.window.feature not in closely for target in targets)
        return CountingPlan(from_at, until, tuple(targets), plain)

    def window(self, segment: Segment, feature: str, at: datetime) -> CountingWindow:
        """The window of this feature that contains `at`, an instant of `segment`."""
        at = self.account.time(at)
        key = (segment.from_at, feature)
        found = self._windows.get(key)
        if found is None or (found.period is not None and not _contains(found.period, at)):
            found = self._windows[key] = self._find(segment, feature, at)
        return found

    def _find(self, segment: Segment, feature: str, at: datetime) -> CountingWindow:
        its = segment.entitlements[feature]
        payer = its.credit or feature
        period = self._period(segment.entitlements[payer], payer, at)
        from_at, until = (period.from_at, period.until) if period else (None, None)
        entitlements = {
            key: replace(segment.entitlements[key], from_at=from_at, resets_at=until) for key in (feature, payer)
        }
        return CountingWindow(feature, slot_of(from_at), period, entitlements, _watched_from(entitlements[feature]))

    def _period(self, its: Entitlement, key: str, at: datetime) -> Period | None:
        if its.from_at is not None:
            return Period(its.from_at, its.resets_at)
        if its.kind == "level" or (its.granted and its.limit is not None):
            return None  # held for good, or the last so many seconds
        # Nothing the account has says when this begins again: usage that happened counts all the same.
        found = counting_window(view_of(self.account, self.catalog, at), key)
        return found if found.until is not None else None


class Windows:
    """The windows of the accounts asked about last, at most `accounts_max` of them."""

    def __init__(self, *, accounts_max: int = 20_000) -> None:
        self._accounts_max = accounts_max
        self._known: OrderedDict[str, AccountWindows] = OrderedDict()
        self._loading: dict[str, object] = {}

    async def load(
        self, store: "Store", accounts: Collection[str], catalog: Catalog, *, remember: bool
    ) -> dict[str, AccountWindows]:
        """The windows of these accounts; those that do not exist are left out. `remember`: changes are being heard."""
        found = {key: known for key in accounts if (known := self._known.get(key)) and known.catalog is catalog}
        for key in found:
            self._known.move_to_end(key)
        missing = [key for key in accounts if key not in found]
        if not missing:
            return found
        ticket = object()
        self._loading.update(dict.fromkeys(missing, ticket))
        try:
            async with store.transaction() as tx:
                loaded = await tx.accounts.find(missing)
            for key, account in loaded.items():
                if account.exists:
                    found[key] = AccountWindows(account, catalog)
                    if remember and self._loading.get(key) is ticket:
                        self._remember(key, found[key])
        finally:
            self._end_loading(missing, ticket)
        return found

    def forget(self, account: str) -> None:
        self._known.pop(account, None)
        self._loading.pop(account, None)

    def forget_all(self) -> None:
        self._known.clear()
        self._loading.clear()

    def _end_loading(self, accounts: Iterable[str], ticket: object) -> None:
        for key in accounts:
            if self._loading.get(key) is ticket:
                del self._loading[key]

    def _remember(self, key: str, windows: AccountWindows) -> None:
        self._known[key] = windows
        self._known.move_to_end(key)
        if len(self._known) > self._accounts_max:
            self._known.popitem(last=False)


def _watched_from(its: Entitlement) -> float:
    """How much use may be near a threshold; infinitely much where there is none."""
    return min((*its.warn, 100)) * its.limit / 100 if its.limit and its.granted else math.inf


def _contains(period: Period, at: datetime) -> bool:
    return period.from_at <= at and (period.until is None or at < period.until)
