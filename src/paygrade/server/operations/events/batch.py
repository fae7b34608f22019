"""A batch of usage events, read before anything is written.

Laws: reading changes nothing but the batch; each event is taken or refused by itself; an
id sent twice in one batch is what it would be in two.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from paygrade.billing.facts import Node
from paygrade.billing.nodes import is_path, on_the_way
from paygrade.catalog.model import Catalog
from paygrade.server.state.windows import AccountWindows, CountingPlan, CountingWindow
from paygrade.usage.entries import Key
from paygrade.usage.events import Refusal, UsageEvent
from paygrade.usage.meters import (
    EventEntry,
    Measured,
    digest,
    measure,
    meters_of,
    suggestion,
)
from paygrade.values.errors import Refused
from paygrade.values.text import describe

AHEAD = BEHIND = timedelta(minutes=5)
"""How far clocks of others may be ahead of ours, and how far before an account began they may date its first uses."""
PROPERTIES_BYTES_MAX = 16 * 1024
SUGGESTIONS_MAX = 50
"""Looking for the nearest name costs time that a hostile batch could spend for us."""

ADDITIVE = ("count", "sum")
NO_NODES: Mapping[str, Mapping[str, Node]] = {}
_encode = msgspec.json.encode


class Rejected(Struct, frozen=True):
    """An event that was not taken, by its place in what was sent, from 0."""

    index: int
    code: str
    detail: str


class Taken(Struct, gc=False):
    """An event on its way in."""

    index: int
    event: UsageEvent
    time: datetime
    digest: int
    measures: tuple[Measured, ...]
    plan: CountingPlan
    properties: str | None
    nodes: tuple[Node, ...] = ()
    """Those on the way to the one it names."""


class Batch:
    """The events of one call. `windows` are those of the accounts that exist, `nodes` of the nodes those that were
    ever stated; nothing before `earliest` is taken. `received`: when each event came, by its place; None: `at`."""

    def __init__(
        self,
        catalog: Catalog,
        windows: Mapping[str, AccountWindows],
        at: datetime,
        *,
        earliest: datetime,
        nodes: Mapping[str, Mapping[str, Node]] = NO_NODES,
        received: Sequence[datetime] | None = None,
    ) -> None:
        self.catalog = catalog
        self._meters = meters_of(catalog)
        self._windows = windows
        self._nodes = nodes
        self._at = at
        self._received = received
        self._earliest = earliest
        self._unknown: dict[str, str] = {}
        self._taken: dict[tuple[str, str], Taken] = {}
        self._repeats: list[tuple[int, tuple[str, str], int]] = []
        """Events whose id was in this batch before: index, key and digest."""
        self._careful: set[str] = set()
        """Accounts some of whose events depend on what is there; then all of them are drawn one by one."""
        self._rejected: list[Rejected] = []
        self._same: dict[tuple[str, str], list[int]] = {}
        """Events that say what another with their id says."""

    def read(self, events: Sequence[UsageEvent | Refusal], start: int) -> None:
        """Take the next events; `start` is the place of the first among all."""
        earliest, latest, taken = self._earliest, self._at + AHEAD, self._taken
        meters, known, received = self._meters, self._windows, self._received
        for index, event in enumerate(events, start):
            if isinstance(event, Refusal):
                self._reject(index, event)
                continue
            key = (event.account, event.id)
            sum_of_it = digest(event)
            if key in taken:
                self._repeats.append((index, key, sum_of_it))
                continue
            time = event.time or (received[index] if received else self._at)
            measures = measure(meters, event)
            if isinstance(measures, Refusal):
                self._reject(index, self._helped(measures, event))
                continue
            if not earliest <= time <= latest:
                self._reject(index, self._out_of_time(time))
                continue
            windows = known.get(event.account)
            if windows is None:
                self._reject(index, Refusal("unknown_account", f"there is no account `{event.account}`"))
                continue
            time = windows.begun(time, within=BEHIND)
            plan = windows.plan(event, measures, time)
            properties = _encode(event.properties).decode() if event.properties else None
            if properties is not None and len(properties) > PROPERTIES_BYTES_MAX:
                self._reject(index, Refusal("invalid_event", "the properties are larger than 16 KiB; send fewer"))
                continue
            way = self._way(event, measures) if event.node is not None else ()
            if isinstance(way, Refusal):
                self._reject(index, way)
                continue
            if way or not plan.plain or event.amends is not None or _takes_back(measures):
                self._careful.add(event.account)
            taken[key] = Taken(index, event, time, sum_of_it, measures, plan, properties, way)

    def _way(self, event: UsageEvent, measures: Iterable[Measured]) -> tuple[Node, ...] | Refusal:
        """The nodes on the way to the one it names. What happened counts where something was stated once."""
        node = event.node or ""
        if not is_path(node):
            return Refusal("invalid_event", f"/node: must be keys with `/` between them, not {describe(node)}")
        for measured in measures:
            if measured.aggregate not in ADDITIVE:
                why = f"`{measured.feature}` aggregates by {measured.aggregate}, which nodes can't count"
                return Refusal("invalid_event", f"/node: {why}; leave it out")
        try:
            return on_the_way(event.account, node, self._nodes.get(event.account, {}), self._at, ended=True)
        except Refused as refused:
            return Refusal(refused.code, refused.detail)

    def entries(self) -> list[EventEntry]:
        """What is to be written. Of accounts that need care, what the events change is not known yet."""
        return [self._entry(each) for each in self._taken.values()]

    def compare(self, before: Mapping[tuple[str, str], int]) -> None:
        """Drop the events whose ids were there before, with these digests."""
        for key, digest_before in before.items():
            known = self._taken.pop(key)
            self._repeated(known.index, key, same=known.digest == digest_before)
        for index, key, own in self._repeats:
            first = self._taken.get(key)
            self._repeated(index, key, same=own == (first.digest if first else before[key]))

    def sums(self) -> dict[Key, tuple[int, CountingWindow]]:
        """What the plain accounts' events come to."""
        sums: dict[Key, int] = {}
        windows: dict[Key, CountingWindow] = {}
        careful = self._careful
        for each in self._taken.values():
            if careful and each.event.account in careful:
                continue
            for measured, target in zip(each.measures, each.plan.targets, strict=True):
                key = target.key
                found = sums.get(key)
                if found is None:
                    sums[key], windows[key] = measured.units, target.window
                else:
                    sums[key] = found + measured.units
        return {key: (units, windows[key]) for key, units in sums.items()}

    def accounts(self) -> set[str]:
        """Whose events are taken."""
        return {account for account, _ in self._taken}

    def take_care(self, accounts: Iterable[str]) -> None:
        """Draw the events of these accounts one by one."""
        self._careful.update(accounts)

    def careful(self) -> list[Taken]:
        """The events that take effect one by one, in the order of their times; those of one time as they were sent. An
        amendment comes after what it amends and after amendments that were sent before it, whatever its time: what
        was said last counts."""
        found = [each for each in self._taken.values() if each.event.account in self._careful] if self._careful else []
        turns: dict[tuple[str, str], datetime] = {}
        latest: dict[str, datetime] = {}
        for each in found:
            account, amends, turn = each.event.account, each.event.amends, each.time
            if amends is not None:
                latest[account] = turn = max(turn, latest.get(account, turn), turns.get((account, amends), turn))
            turns[account, each.event.id] = turn
        return sorted(found, key=lambda each: turns[each.event.account, each.event.id])

    def refuse(self, each: Taken, refusal: Refusal) -> None:
        """Give an event up that was taken, and with it whatever repeated it."""
        key = (each.event.account, each.event.id)
        del self._taken[key]
        for index in (each.index, *self._same.pop(key, ())):
            self._reject(index, refusal)

    def outcome(self) -> tuple[int, int, tuple[Rejected, ...]]:
        """How many were accepted, how many were here before, and what was refused, in order."""
        rejected = sorted(self._rejected, key=lambda each: each.index)
        return len(self._taken), sum(map(len, self._same.values())), tuple(rejected)

    def _entry(self, each: Taken) -> EventEntry:
        event, measures = each.event, each.measures
        if event.account in self._careful:
            draws = "[]"
        elif len(measures) == 1:
            draws = f"[{each.plan.targets[0].head}{measures[0].units},0]]"
        else:
            pairs = zip(each.plan.targets, measures, strict=True)
            draws = f"[{','.join(f'{target.head}{measured.units},0]' for target, measured in pairs)}]"
        quantity = event.quantity
        if quantity is None:
            quantity = measures[0].units if len(measures) == 1 else 1
        return EventEntry(
            event.account,
            event.id,
            event.name,
            quantity,
            each.time,
            each.digest,
            draws,
            event.member,
            each.properties,
            event.amends,
        )

    def _repeated(self, index: int, key: tuple[str, str], *, same: bool) -> None:
        if same:
            self._same.setdefault(key, []).append(index)
        else:
            detail = f"`{key[1]}` was sent with other content before; use another id for another event"
            self._reject(index, Refusal("id_conflict", detail))

    def _out_of_time(self, time: datetime) -> Refusal:
        if time > self._at:
            return Refusal("in_the_future", f"`{_text(time)}` is more than 5 minutes ahead of `{_text(self._at)}`")
        advice = (
            "import older usage with `--backfill`" if self._earliest.year > 2000 else "no usage that old is accepted"
        )
        return Refusal("too_old", f"`{_text(time)}` is before `{_text(self._earliest)}`; {advice}")

    def _helped(self, refusal: Refusal, event: UsageEvent) -> Refusal:
        """A refusal of an unknown name, with what may have been meant."""
        if not refusal.code.startswith("unknown_"):
            return refusal
        hint = self._unknown.get(event.name)
        if hint is None:
            if len(self._unknown) >= SUGGESTIONS_MAX:
                return refusal
            hint = self._unknown[event.name] = suggestion(self._meters, event)
        return Refusal(refusal.code, f"{refusal.detail}; {hint}")

    def _reject(self, index: int, refusal: Refusal) -> None:
        self._rejected.append(Rejected(index, refusal.code, refusal.detail))


def _takes_back(measures: tuple[Measured, ...]) -> bool:
    if len(measures) == 1:
        return measures[0].units < 0
    return any(measured.units < 0 for measured in measures)


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
