"""The audit: reads PostgreSQL alone, on a connection of its own, and says what is not as it must be.

At every instant, in one snapshot of the database: no hard limit is passed, nothing is below zero, every row is the
sum of its draws, and what open reservations hold is what the rows say is held. At the end: what was answered is what
the ledger says, once for each id.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import psycopg

from proof.clients import TOOK, Told
from proof.fold import Folded, Key, Line, read_ledger
from proof.senders import TAKEN, UNKNOWN, Sent, due
from proof.sold import BY_CREDIT, FREE, ROLLING_S, TEAM, TOLD, Bound, price

LOOK_S = 0.4
"""Between two looks."""

Connection = psycopg.Connection[Any]  # Any: rows as they are asked for


class Auditor:
    """Looks at some accounts again and again. `team` are those whose plan gives more."""

    def __init__(self, database_url: str, *, team: list[str]) -> None:
        self.looks = 0
        self.complaints: list[str] = []
        self._lines: tuple[int, int] | None = None
        """How many entries there were at the first look and at the latest."""
        self._database_url, self._team = database_url, frozenset(team)

    @contextmanager
    def watching(self, accounts: list[str] | None) -> Iterator[None]:
        """Look again and again until the end of the block."""
        stopping = threading.Event()

        def watch() -> None:
            while not stopping.is_set():
                try:
                    with psycopg.connect(self._database_url) as connection:
                        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                        while not stopping.wait(LOOK_S):
                            self.complaints += self.look(connection, accounts)
                            self.looks += 1
                except psycopg.Error:
                    # Away for now: it is one of the things that are killed.
                    stopping.wait(0.1)

        with ThreadPoolExecutor(1) as pool:
            watching = pool.submit(watch)
            try:
                yield
            finally:
                stopping.set()
        watching.result()

    def has_seen(self, lines: int) -> bool:
        """Whether there are so many entries since it began to watch."""
        return self._lines is not None and self._lines[1] - self._lines[0] >= lines

    def look(self, connection: Connection, accounts: list[str] | None) -> list[str]:
        """What is wrong in one snapshot."""
        with connection.transaction():
            lines = read_ledger(connection, accounts)
            some, given = ("true", ()) if accounts is None else ("account = any(%s)", (accounts,))
            rows = connection.execute(
                f"select account, pool, slot, used, reserved, detail from balances where {some}", given
            ).fetchall()
            grants = connection.execute(
                f"select account, pool, 'grant:' || id, units, used, reserved, voided from grants where {some}", given
            ).fetchall()
            holds = connection.execute(
                f"select account, held from reservations where state = 'open' and {some}", given
            ).fetchall()
            overrides = connection.execute(
                f"select account, max((body ->> 'limit')::int) from facts where subject = 'override:calls' and {some}"
                " group by 1", given
            ).fetchall()  # fmt: skip
        folded = Folded(lines)
        self._lines = (self._lines[0] if self._lines else len(lines), len(lines))
        return [
            *self._over(rows, dict(overrides)),
            *_wrong_grants(grants, folded),
            *_wrong_sums(rows, folded),
            *_wrong_details(rows, folded),
            *_wrong_holds(rows, grants, holds),
        ]

    def _over(self, rows: list[Any], overrides: dict[str, int]) -> Iterator[str]:
        """Rows in which more is used and held than there ever was."""
        for account, pool, slot, used, reserved, detail in rows:
            if used < 0 or reserved < 0:
                yield f"{account} {pool} {slot}: {used} used and {reserved} held"
            bound = (TEAM if account in self._team else FREE)[pool]
            if pool == "calls":
                bound = bound._replace(window=max(bound.window or 0, overrides.get(account, 0)))
            limit, counted = _limit(bound, slot, used, detail)
            if limit is not None and counted + reserved > limit:
                yield f"{account} {pool} {slot}: {counted} used and {reserved} held of {limit}"


def _limit(bound: Bound, slot: str, used: int, detail: Any) -> tuple[int | None, int]:
    """What a slot may hold, and what counts of it."""
    if slot.startswith("rolling "):
        buckets = (detail or {}).get("buckets") or []
        latest = max((second for second, _ in buckets), default=0)
        return bound.minute, sum(units for second, units in buckets if second > latest - ROLLING_S)
    if slot.startswith("carried "):
        return bound.carried, used
    if slot.startswith("hour "):
        return bound.hour, used
    return (bound.member if " member:" in slot else bound.window), used


def _wrong_grants(grants: list[Any], folded: Folded) -> Iterator[str]:
    found = {(account, pool, slot): list(counts) for account, pool, slot, *counts in grants}
    for key, (units, used, reserved, voided) in found.items():
        if min(used, reserved, voided) < 0 or used + reserved + voided > units:
            yield f"{key}: of {units} {used} are used, {reserved} held and {voided} voided"
    for key in found.keys() | folded.grants.keys():
        if found.get(key) != folded.grants.get(key):
            yield f"{key} is {found.get(key)}; its entries say {folded.grants.get(key)}"


def _wrong_sums(rows: list[Any], folded: Folded) -> Iterator[str]:
    found = {(account, pool, slot): [used, reserved] for account, pool, slot, used, reserved, _ in rows}
    for key in found.keys() | folded.counts.keys():
        kept, due = found.get(key, [0, 0]), folded.counts.get(key, [0, 0])
        if kept != due:
            yield f"{key} says {kept}; its draws add up to {due}"


def _wrong_details(rows: list[Any], folded: Folded) -> Iterator[str]:
    for account, pool, slot, _, _, detail in rows:
        key = (account, pool, slot)
        ahead = Fraction(*((detail or {}).get("ahead") or (0, 1)))
        if ahead != folded.ahead.get(key, 0):
            yield f"{key} is paid {ahead} ahead; its entries say {folded.ahead.get(key, 0)}"
        if slot.startswith("rolling ") and key in folded.last_at:
            buckets = dict((detail or {}).get("buckets") or [])
            if buckets != folded.rolling(key):
                yield f"{key} has the buckets {buckets}; its entries say {folded.rolling(key)}"


def _wrong_holds(rows: list[Any], grants: list[Any], holds: list[Any]) -> Iterator[str]:
    due: Counter[Key] = Counter()
    for account, held in holds:
        amount = sum(units for _, _, units in held["paid"])
        for pool, slot, units in held["paid"]:
            due[account, pool, slot] += units
        for pool, slot in held.get("counted", ()):
            due[account, pool, slot] += held["units"]
        for pool, slot in held.get("priced", ()):
            due[account, pool, slot] += amount
    found = {(account, pool, slot): reserved for account, pool, slot, _, reserved, _ in rows}
    found |= {(account, pool, slot): reserved for account, pool, slot, _, _, reserved, _ in grants}
    for key in found.keys() | due.keys():
        if found.get(key, 0) != due[key]:
            yield f"{key} holds {found.get(key, 0)}; open reservations hold {due[key]}"


def wrong_answers(told: list[Told], lines: list[Line]) -> Iterator[str]:
    """What was answered otherwise than the ledger has it, and what it has that nobody asked for."""
    kept = {(line.account, line.id): line for line in lines}
    asked: set[tuple[str, str]] = set()
    for one in told:
        key = (one.account, _id(one))
        line = kept.get(key)
        asked.add(key)
        if one.outcome in _REFUSED:
            if one.id and line is not None and one.verb != "void":
                yield f"{one} was refused, and is in the ledger: {line}"
        elif one.outcome in ("not_found", "id_conflict", "id_taken", "internal"):
            yield f"{one} should not have been refused"
        elif one.verb not in ("extend", "void"):
            outcome = TOOK if line is None or line.denied is None else line.denied
            if line is None or (line.kind, outcome) != (one.verb, one.outcome):
                yield f"{one} is not what the ledger says: {line}"
            elif one.quantity is not None and line.quantity != one.quantity:
                yield f"{one} counted as {line.quantity}"
    # What is asked again to be extended is extended again, each time from then on.
    extended = {(one.account, one.reservation) for one in told if one.verb == "extend"}
    for key, line in kept.items():
        if line.kind == "extend" and (line.account, line.id.split("\t")[0]) in extended:
            continue
        if key not in asked and line.kind not in ("expire", "void", "event"):
            yield f"nobody asked for {line}"


def wrong_lines(told: list[Told], lines: list[Line]) -> Iterator[str]:
    """Entries that draw something else than they say."""
    properties = {(one.account, _id(one)): one.properties for one in told if one.properties is not None}
    held: dict[tuple[str, str], int] = defaultdict(int)
    for line in lines:
        credit = BY_CREDIT.get(line.feature)
        if line.kind == "consume" and line.denied is None:
            used = sum(d[2] for d in line.draws if d[0] == line.feature and _pays(d[1]))
            if used != line.quantity:
                yield f"{line} uses {used}"
        if line.kind in ("consume", "commit") and line.denied is None and credit:
            rate, per = price(line.feature, properties.get((line.account, line.id)))
            if sum(Fraction(d[4]) for d in line.draws if len(d) > 4) != Fraction(line.quantity * rate, per):
                yield f"{line} costs {line.quantity * rate}/{per}"
        if line.denied is not None and line.draws:
            yield f"{line} was denied and draws"
        if line.kind in ("reserve", "commit", "release", "expire"):
            held[line.account, line.feature] += sum(d[3] for d in line.draws if _pays(d[1]))
    for (account, feature), units in held.items():
        if units:
            yield f"{account} {feature}: {units} are held by nobody"


def wrong_events(sent: list[Sent], lines: list[Line]) -> Iterator[str]:
    """Usage events that were acknowledged and are not there, or the other way round, and pools that come to something
    else than they say."""
    kept = {(line.account, line.id) for line in lines if line.kind == "event"}
    for one in sent:
        key = (one.event["account"], one.event["id"])
        if one.outcome not in (UNKNOWN, TAKEN, "below_zero"):
            yield f"{one} should not have been refused"
        if one.outcome != UNKNOWN and (key in kept) != (one.outcome == TAKEN):
            yield f"{one} is {'there' if key in kept else 'not there'}"
    for key in kept - {(one.event["account"], one.event["id"]) for one in sent}:
        yield f"nobody sent {key}"
    folded, expected = Folded(lines), due(sent, lambda account, id: (account, id) in kept)
    for line in lines:
        if line.kind in ("consume", "commit") and line.denied is None and line.feature in TOLD:
            expected[line.account, line.feature] += line.quantity
    found: dict[tuple[str, str], int | Fraction] = defaultdict(int)
    for (account, pool, slot), counted in (*folded.counts.items(), *folded.grants.items()):
        used = counted[1] if slot.startswith("grant:") else counted[0]
        found[account, pool] += used if _pays(slot) else 0
    for (account, pool, _), ahead in folded.ahead.items():
        found[account, BY_CREDIT[pool]] -= ahead
    for account, pool in expected.keys() | found.keys():
        if pool in TOLD and found[account, pool] != expected[account, pool]:
            yield f"{account} {pool}: {found[account, pool]} used; what was told comes to {expected[account, pool]}"


_REFUSED = ("exceeds_reservation", "reservation_expired", "reservation_resolved", "unknown_grant")


def _pays(slot: str) -> bool:
    return slot.startswith(("grant:", "carried ")) or " " not in slot


def _id(told: Told) -> str:
    """The id an entry is kept under: of a step without one, of a grant and of voiding, one that nobody can choose."""
    match told.verb:
        case "commit" | "release" if not told.id:
            return f"{told.reservation}\t{told.verb}"
        case "grant" | "void":
            return f"{told.verb}\t{told.id}"
        case _:
            return told.id
