"""Reads that lag: the account as it stood a while ago, as a replica behind the primary would show it.

Laws. Every change of a customer, subscription or invoice is told by an event that holds the object as it then
stood, so the last event before an instant is the object at that instant. All of one request is seen or none
of it. Only what changed since that instant is swapped, and swapped back before anything else happens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from paygrade.simulator.forms import Json
from paygrade.simulator.world import World

KINDS = frozenset({"customer", "subscription", "invoice"})


class Replica:
    """Which event last told of an object, and when, on the loop's clock."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}  # object id → the last event older than any lag that was asked for
        self._recent: deque[tuple[float, str, str]] = deque()  # instant, object id, event id; oldest first

    def note(self, events: list[Json], *, at_s: float, lag_max_s: float) -> None:
        for event in events:
            thing = event["data"]["object"]
            if thing["object"] in KINDS and "id" in thing:
                self._recent.append((at_s, thing["id"], event["id"]))
        while self._recent and self._recent[0][0] <= at_s - lag_max_s:
            _, id, event_id = self._recent.popleft()
            self._last[id] = event_id

    @contextmanager
    def behind(self, world: World, *, until_s: float) -> Iterator[None]:
        """Let the world look as it did at an instant, for the length of one read."""
        newer: set[str] = set()
        last: dict[str, str] = {}
        for at_s, id, event in self._recent:
            if at_s > until_s:
                newer.add(id)
            else:
                last[id] = event
        current = {id: world.objects[id] for id in newer if id in world.objects}
        try:
            for id in current:
                if told := last.get(id) or self._last.get(id):
                    world.objects[id] = world.get_event(told)["data"]["object"]
                else:
                    del world.objects[id]  # not made yet
            yield
        finally:
            world.objects.update(current)
