"""Usage events as they are told: batches with amendments and with units taken back, some sent again though they were
answered, some given up though they were not.

What was told can be counted without a line of what keeps the balances: `due` says what every pool has to come to.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from msgspec import Struct

from proof.sold import CHAT_PRICE

UNKNOWN = "nobody knows"
"""What became of an event whose sender gave up before there was an answer."""

Event = dict[str, Any]  # Any: JSON


class Sent(Struct, frozen=True, array_like=True):
    """One event, and what was answered to it at last. Those of one chain are in the order they were sent in."""

    event: Event
    outcome: str


class Batch(Struct):
    """Events that go together. `answered`: all of them are known to be there."""

    events: list[Event]
    answered: bool = False


class Teller:
    """What one thread has to tell. `batches` are shared with the others of its process, who may send them as well."""

    def __init__(
        self,
        rng: random.Random,
        *,
        ids: Iterator[str],
        account: Callable[[], str],
        batches: list[Batch],
    ) -> None:
        self.sent: list[Sent] = []
        self._rng, self._ids, self._account, self._batches = rng, ids, account, batches
        self._chains: list[tuple[Event, str]] = []
        """Events that may be amended, with the id of the latest amendment."""

    def batch(self) -> Batch:
        """The next events: each chain is amended once in it at most, so that their order is known."""
        count = self._rng.randint(1, 15)
        if self._rng.random() < 0.5:
            # Nothing but what adds up goes another way, beside everything else that counts the same.
            events = [self._ping() for _ in range(count)]
        else:
            makers = [self._ping, self._taking_back, self._sending, self._chat]
            events = [self._rng.choices(makers, (5, 1, 3, 1))[0]() for _ in range(count)]
            if self._chains and self._rng.random() < 0.6:
                events.append(self._amendment(*self._chains.pop(self._rng.randrange(len(self._chains)))))
        batch = Batch(events)
        if not any(event.get("quantity", 0) < 0 for event in events):
            # What takes back may be refused now and taken later; of everything else all are taken.
            self._batches.append(batch)
        return batch

    def another(self) -> Batch | None:
        """A batch that somebody sent, or is sending now."""
        return self._rng.choice(self._batches[-60:]) if self._batches else None

    def note(self, batch: Batch, answer: Any) -> None:
        """Keep what was answered; None: it was given up."""
        codes = {} if answer is None else {each["index"]: each["code"] for each in answer["rejected"]}
        for index, event in enumerate(batch.events):
            outcome = UNKNOWN if answer is None else codes.get(index, TAKEN)
            self.sent.append(Sent(event, outcome))
            if outcome == TAKEN and event.get("event") in ("sending", "chat"):
                root = {**event, "id": event.get("amends", event["id"])}
                self._chains.append((root, event["id"]))
        del self._chains[:-50]
        batch.answered = answer is not None and not codes

    def _ping(self) -> Event:
        event: Event = {"id": next(self._ids), "account": self._account(), "event": "ping"}
        match self._rng.randrange(6):
            case 0:
                event["quantity"] = self._rng.randint(1, 4)
            case 1:
                event["time"] = self._lately()
        return event

    def _taking_back(self) -> Event:
        quantity = -self._rng.randint(1, 3)
        return {"id": next(self._ids), "account": self._account(), "feature": "pings", "quantity": quantity}

    def _sending(self) -> Event:
        event: Event = {"id": next(self._ids), "account": self._account(), "event": "sending"}
        event["properties"] = {"size": self._rng.randint(0, 500), "sender": f"s{self._rng.randrange(30)}"}
        if self._rng.random() < 0.2:
            event["time"] = self._lately()
        return event

    def _chat(self) -> Event:
        properties = {"tokens": self._rng.randint(0, 9)}
        return {"id": next(self._ids), "account": self._account(), "event": "chat", "properties": properties}

    def _amendment(self, root: Event, latest: str) -> Event:
        new = self._sending() if root["event"] == "sending" else self._chat()
        # Either id stands for the chain; whoever asks for the root of a root is told of by the first one's.
        return {**new, "account": root["account"], "amends": self._rng.choice((root["id"], latest))}

    def _lately(self) -> str:
        """In another window than this one, often."""
        return (datetime.now(UTC) - timedelta(hours=self._rng.randint(1, 700))).isoformat()


TAKEN = "taken"


def due(sent: Iterable[Sent], kept: Callable[[str, str], bool]) -> dict[tuple[str, str], int | Fraction]:
    """What the events that are kept come to, by account and pool: a credit is exact, before it is rounded."""
    chains: dict[tuple[str, str], Event] = {}
    roots: dict[tuple[str, str], str] = {}
    for one in sent:
        account, id, amends = one.event["account"], one.event["id"], one.event.get("amends")
        if kept(account, id):
            root = roots[account, id] = roots[account, amends] if amends else id
            chains[account, root] = one.event
    found: dict[tuple[str, str], int | Fraction] = defaultdict(int)
    senders = set()
    for (account, _), event in chains.items():
        said = event.get("properties", {})
        match event.get("event"):
            case "sending":
                found[account, "sent"] += said["size"]
                found[account, "largest"] = max(found[account, "largest"], said["size"])
                senders.add((account, said["sender"]))
            case "chat":
                found[account, "chats"] += said["tokens"]
                found[account, "coins"] += said["tokens"] * Fraction(*CHAT_PRICE)
            case _:
                found[account, "pings"] += event.get("quantity", 1)
    for account, _ in senders:
        found[account, "senders"] += 1
    return found
