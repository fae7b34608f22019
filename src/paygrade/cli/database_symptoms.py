"""What `paygrade doctor` finds wrong with the database: how it is reached, how it is set, what is in it.

Law: what would lose something that was acknowledged, or hides what changes, is wrong; what only may do so soon is a
note; each says what to do.
"""

import asyncio
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from paygrade.cli import wiring
from paygrade.cli.symptoms import Symptom, shown
from paygrade.embedded_postgres.binaries import MAJOR_MIN
from paygrade.server.process.settings import Settings
from paygrade.values.errors import Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.server_facts import ServerFacts
    from paygrade.server.operations.sync.inbox import SyncStatus

CONNECTIONS_OF_A_WORKER = 16
"""Ten for requests, three for batches of usage, two that listen and one that tells of counts."""
SKEW_NOTED_S, SKEW_WRONG_S = 2.0, 30.0
"""Dates take effect by the machine's clock and leases by the database's. Stripe signs webhooks for 5 minutes."""
ROOM_NOTED, ROOM_WRONG = 2 * 2**30, 256 * 2**20
"""Bytes that are free where the embedded database keeps its data."""
QUEUE_NOTED, QUEUE_WRONG = 0.1, 0.5
"""How full the queue of notifications may get. When it is full, commits fail."""
BUSY = 0.9
WAITING_NOTED_S = 60.0


def examine_pooler(settings: Settings, database_url: str) -> Symptom | None:
    """What stands before the PostgreSQL at this address, which is to be reached without a pooler."""
    if asyncio.run(wiring.shares_sessions_at(database_url)):
        return Symptom("pooler", "wrong", wiring.POOLER_ADVICE)
    if settings.database_direct_url is None or settings.database_url is None:
        return None
    asyncio.run(wiring.shares_sessions_at(settings.database_url))
    return Symptom("pooler", "ok", "PAYGRADE_DATABASE_URL answers, and PAYGRADE_DATABASE_DIRECT_URL goes around it")


def examine_server(settings: Settings, database_url: str) -> Iterator[Symptom]:
    """The PostgreSQL at this address, which is to be reached without a pooler, and what else the settings name."""
    before = datetime.now(UTC)
    facts = asyncio.run(wiring.server_facts(database_url))
    yield _version(facts)
    yield from _settings(facts)
    yield _connections(settings, facts)
    yield from _notifications(facts)
    yield clock_beside("the database", facts.clock, before, datetime.now(UTC))
    yield _room(settings, facts)
    if settings.database_replica_url is not None:
        yield _replica(settings.database_replica_url)


def examine_sync(database_url: str) -> Iterator[Symptom]:
    """What billing sync has found: prices nobody named, fields that differ, customers that can't be read."""
    status = asyncio.run(wiring.sync_state(database_url))
    yield from _findings(status)
    drift = status.repair.drift.open
    if drift:
        yield Symptom("drift", "note", f"{drift} field{'s' * (drift > 1)} differ from the provider although no webhook "
                      "told of it; `paygrade sync drift --open` lists them, `paygrade sync sweep` repairs "
                      "them")  # fmt: skip
    else:
        yield Symptom("drift", "ok", "nothing differs from the provider, as far as it was compared")
    if status.failing:
        failing = shown([f"{each.subject} ({each.error})" for each in status.failing], most=2)
        yield Symptom("sync", "wrong", f"{len(status.failing)} customers can't be read: {failing}; "
                      "`paygrade sync status` lists them")  # fmt: skip
    elif (status.oldest_dirty_s or 0) > WAITING_NOTED_S:
        yield Symptom("sync", "note", f"{status.dirty} customers wait to be read, the first for "
                      f"{status.oldest_dirty_s:.0f} s; is a server running?")  # fmt: skip
    else:
        yield Symptom("sync", "ok", f"{status.subjects} customers are known, {status.dirty} wait to be read")


def clock_beside(whose: str, theirs: datetime, before: datetime, after: datetime) -> Symptom:
    """How far our clock is from another one, which was asked between these two instants of ours."""
    skew_s = max((before - theirs).total_seconds(), (theirs - after).total_seconds(), 0.0)
    if skew_s <= SKEW_NOTED_S:
        return Symptom("clock", "ok", f"agrees with the clock of {whose}")
    ahead = "ahead of" if theirs < before else "behind"
    return Symptom("clock", "wrong" if skew_s > SKEW_WRONG_S else "note",
                   f"this machine's clock is {skew_s:.0f} s {ahead} that of {whose}; dates take effect by it: let "
                   "chrony or systemd-timesyncd set both clocks")  # fmt: skip


def _version(facts: "ServerFacts") -> Symptom:
    if facts.version < MAJOR_MIN:
        return Symptom("postgres", "wrong", f"is PostgreSQL {facts.version}; upgrade it to {MAJOR_MIN} or newer")
    return Symptom("postgres", "ok", f"is PostgreSQL {facts.version}")


def _settings(facts: "ServerFacts") -> Iterator[Symptom]:
    said = facts.settings
    wrong = []
    if facts.is_replica:
        wrong.append("it is a replica, which takes no writes: name the primary, or add "
                     "`target_session_attrs=read-write` "
                     "to an address with both hosts")  # fmt: skip
    if said["fsync"] == "off":
        wrong.append("`fsync` is off, so a crash may ruin it: set it to on")
    if said["full_page_writes"] == "off":
        wrong.append("`full_page_writes` is off, so a crash may ruin it: set it to on")
    if said["synchronous_commit"] == "off":
        wrong.append("`synchronous_commit` is off, so a crash loses what was acknowledged: set it to on")
    if said["server_encoding"] != "UTF8":
        wrong.append(f"its encoding is {said['server_encoding']}: create the database with UTF8")
    if said["default_transaction_isolation"] != "read committed":
        wrong.append(f"`default_transaction_isolation` is {said['default_transaction_isolation']}: "
                     "set it to read committed")  # fmt: skip
    yield from (Symptom("postgres", "wrong", each) for each in wrong)
    if facts.standbys and said["synchronous_commit"] == "local":
        yield Symptom("postgres", "note", "`synchronous_commit` is local, so commits wait for no replica although "
                      "`synchronous_standby_names` is set: set it to on")  # fmt: skip
    elif not wrong:
        waits = "and on a replica " if facts.standbys else ""
        yield Symptom("postgres", "ok", f"what is acknowledged is on disk {waits}first")


def _connections(settings: Settings, facts: "ServerFacts") -> Symptom:
    needed = CONNECTIONS_OF_A_WORKER * (settings.workers or 1)
    if settings.database_direct_url is None and facts.connections_max < needed:
        return Symptom("connections", "wrong", f"it lets in {facts.connections_max}, and this server takes up "
                       f"to {needed}; "
                       "raise `max_connections`, or put a pooler before it")  # fmt: skip
    if facts.connections >= BUSY * facts.connections_max:
        return Symptom("connections", "note", f"{facts.connections} of {facts.connections_max} are taken; raise "
                       "`max_connections`, or put a pooler before it")  # fmt: skip
    return Symptom("connections", "ok", f"{facts.connections} of {facts.connections_max} are taken")


def _notifications(facts: "ServerFacts") -> Iterator[Symptom]:
    if facts.notifications > QUEUE_NOTED:
        yield Symptom(
            "queue",
            "wrong" if facts.notifications > QUEUE_WRONG else "note",
            f"the queue of notifications is {facts.notifications:.0%} full, and commits fail when it is full; end the "
            "session that listens and stays in a transaction (`pg_stat_activity`)",
        )


def _room(settings: Settings, facts: "ServerFacts") -> Symptom:
    size = f"the database takes {_bytes(facts.database_bytes)}"
    if settings.database_url is not None:
        return Symptom("disk", "ok", f"{size}; how much is free, only its own machine knows: watch that there")
    folder = wiring.data_dir(settings)
    free = shutil.disk_usage(folder).free
    if free < ROOM_NOTED:
        return Symptom("disk", "wrong" if free < ROOM_WRONG else "note",
                       f"{size}, and {_bytes(free)} are free in {folder}; make room there, or move it with "
                       "PAYGRADE_DATA_DIR")  # fmt: skip
    return Symptom("disk", "ok", f"{size}, and {_bytes(free)} are free in {folder}")


def _replica(url: str) -> Symptom:
    try:
        facts = asyncio.run(wiring.server_facts(url))
    except Unavailable as error:
        return Symptom(
            "replica", "note", f"PAYGRADE_DATABASE_REPLICA_URL: {error.detail}; reads go to the database itself"
        )
    if not facts.is_replica:
        return Symptom("replica", "note", "PAYGRADE_DATABASE_REPLICA_URL leads to no replica, so it is not "
                       "asked; name a "
                       "streaming replica, or unset it")  # fmt: skip
    return Symptom("replica", "ok", "answers, and is a replica")


def _findings(status: "SyncStatus") -> Iterator[Symptom]:
    unmapped = sorted({each.detail for each in status.findings if each.code == "unmapped_price"})
    if unmapped:
        yield Symptom("mapping", "note", f"{shown(unmapped, most=2)}; name each price in the catalog and push it")
    else:
        yield Symptom("mapping", "ok", "the catalog names every price that somebody pays")
    others = [each for each in status.findings if each.code != "unmapped_price"]
    if others:
        accounts = shown(sorted({each.account for each in others}))
        yield Symptom(
            "findings", "note", f"{len(others)} need attention, of {accounts}; `paygrade sync status` lists them"
        )


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"
