"""The SDK: one object that knows what accounts may do, and answers in the caller's own process.

Laws: a decision on a known account needs no I/O; inside a running event loop nothing here waits; a fault takes nothing
away that is known, and is said; no thread, connection or event of a parent is used in its fork; whatever waits has a
bound, also at exit.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import wait
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from math import inf
from pathlib import Path
from time import monotonic, time
from time import time as now
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from paygrade.catalog.offers import OnError
from paygrade.client.at_least import version_stated, version_with
from paygrade.client.chores import Chore
from paygrade.client.cold_start import ColdStart
from paygrade.client.connection import EXIT_S, Connection, State, Status
from paygrade.client.decision import Decision
from paygrade.client.errors import PaygradeError
from paygrade.client.leases import Block, Counts, Key
from paygrade.client.memory import Memory
from paygrade.client.outbox import EVENT_BYTES_MAX, Outbox, Waiting
from paygrade.client.reservation import Reservation
from paygrade.client.sending import ADOPT_EVERY_S, SEND_S
from paygrade.client.snapshot_file import KeyPair, Secret, key_of
from paygrade.client.transport import NoServer, Transport, Unreachable
from paygrade.decisions.decide import decide, decide_unsure
from paygrade.decisions.following import versions_of
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.usage.events import UsageEvent
from paygrade.values.text import is_chosen_key

URL = "http://127.0.0.1:4710"
ACCOUNTS_MAX, EVENTS_MAX = 100_000, 100_000
OFTEN_S, UNITS, CLAIM = 1.0, 40, 4
"""What is used twice within this time is leased; how many times what is used now, and how much of that is claimed."""
Properties = Mapping[str, str | int | bool]


class _Used(Struct):
    decision: Decision


class Paygrade:
    """What accounts may do, known here and kept current by the server's stream.

    `url` and `api_key`: where the server is and what is shown there (`PAYGRADE_URL`, `PAYGRADE_API_KEY`). `timeout_s`:
    how long `check` waits for an account that is not known yet, outside of an event loop, and `acheck` anywhere.
    `on_error`: what a feature answers while nobody can be asked, instead of what the catalog says. `prefetch`: accounts
    to be known from the start. Nothing is connected before the first call.

    `spool`: a folder in which reported usage is kept until the server has it, so that it survives this process.
    `snapshot_file`: accounts to be known, as of when the file was made, until the server is heard; signed with
    `snapshot_key`, a secret (the API key if absent) or the public key in PEM of whoever made it, with which no API key
    is needed. `snapshot_every_s`: write the file so often, and at the end. Raises PaygradeError `invalid_settings`.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 1.0,
        on_error: Mapping[str, OnError] | None = None,
        prefetch: Iterable[str] = (),
        accounts_max: int = ACCOUNTS_MAX,
        events_max: int = EVENTS_MAX,
        spool: str | Path | None = None,
        snapshot_file: str | Path | None = None,
        snapshot_key: str | None = None,
        snapshot_every_s: float | None = None,
    ) -> None:
        url = url or os.environ.get("PAYGRADE_URL") or URL
        key = api_key or os.environ.get("PAYGRADE_API_KEY") or ""
        if not url.startswith(("http://", "https://")):
            raise PaygradeError("invalid_settings", f"`{url}` is not an address; write for example `{URL}`")
        file_key = key_of(snapshot_key) if snapshot_key else None
        has_server = bool(key) or not isinstance(file_key, KeyPair)
        if has_server and (not key or not key.isascii() or not key.isprintable()):
            raise PaygradeError("invalid_settings", "there is no API key; pass `api_key` or set PAYGRADE_API_KEY")
        self._timeout_s = timeout_s
        self._on_error = dict(on_error or {})
        outbox = partial(Outbox, events_max) if spool is None else _spooled(spool)
        transport = Transport(url, key) if has_server else NoServer()
        its = self._connection = Connection(transport, Memory(accounts_max), outbox)
        if spool is not None:
            its.chores.append(Chore(lambda: its.sender.adopt(), ADOPT_EVERY_S))
        if snapshot_file is not None:
            its.cold = ColdStart(Path(snapshot_file).absolute(), file_key or Secret(key), its.memory, its.clock)
            if snapshot_every_s is not None:
                if isinstance(file_key, KeyPair):
                    detail = "`snapshot_every_s` needs a secret as `snapshot_key`: this key is for files made elsewhere"
                    raise PaygradeError("invalid_settings", detail)
                its.chores.append(Chore(its.cold.keep, snapshot_every_s, at_end=True))
        self._known = self._connection.known
        self._used_at_s: dict[Key, float] = {}
        for account in prefetch:
            if is_chosen_key(account):
                self._connection.memory.want(account)

    # Decisions

    def check(
        self,
        account: str,
        feature: str,
        quantity: int = 1,
        *,
        member: str | None = None,
        properties: Properties | None = None,
        at_least: str | int | None = None,
    ) -> Decision:
        """May the account use `quantity` more units of `feature`, now, and why?

        Answered from what is known here. An account that is not known is read, which outside of an event loop is
        waited for up to `timeout_s`; inside of one the feature's failure mode answers, and the account is read in the
        background (`acheck` waits). `at_least`: a `version`, as a write answers with it, or the id of a billing event,
        as a webhook brings it; what is older is read anew. Where that is not there within `timeout_s`, or nothing may
        be waited for, the answer is as if the server were away, `stale`. Raises PaygradeError `invalid_version`.
        """
        found, now_s, its = self._known.get(account), time(), self._connection
        if found is not None and its.low <= now_s < its.high and at_least is None:
            clock = its.clock
            at = clock.standing or datetime.fromtimestamp(now_s + clock.ahead_s, UTC)
            decision: Decision = decide(  # type: ignore[assignment]  # made as this kind
                found, feature, quantity, at, member=member, properties=properties, kind=Decision
            )
            if not decision.stale:
                return decision
        if at_least is not None:
            return self._decide_at_least(account, feature, quantity, member, properties, at_least)
        if self._is_short_of(account, now_s):
            self._read(account)
        return self._decide(account, feature, quantity, member, properties)

    async def acheck(
        self,
        account: str,
        feature: str,
        quantity: int = 1,
        *,
        member: str | None = None,
        properties: Properties | None = None,
        at_least: str | int | None = None,
    ) -> Decision:
        """The same, and waits up to `timeout_s` for an account that is not known yet, without holding the loop."""
        if at_least is not None:
            return await asyncio.to_thread(
                self._decide_at_least, account, feature, quantity, member, properties, at_least
            )
        if self._is_short_of(account, time()):
            asked = asyncio.wrap_future(self._connection.ask(account))
            await asyncio.wait({asked}, timeout=self._timeout_s)
        return self._decide(account, feature, quantity, member, properties)

    def decisions(self, account: str, *, member: str | None = None) -> dict[str, Decision]:
        """The decision on one more unit of every feature; empty for an account that is not known."""
        snapshot = self.snapshot(account)
        if snapshot is None:
            return {}
        keys = entitlements_at(snapshot, self._connection.clock.now(time())) or snapshot.shape.spans[-1].terms
        return {key: self._decide(account, key, 1, member, None) for key in keys}

    def snapshot(self, account: str) -> Snapshot | None:
        """What is known of the account, with the dates it changes at; None: nothing yet. Waits as `check` does."""
        if self._is_short_of(account, time()):
            self._read(account)
        return self._known.get(account)

    def prefetch(self, accounts: Iterable[str], *, timeout_s: float | None = None) -> bool:
        """Have these accounts known before they are asked about; whether they all are. Does not wait inside a running
        event loop."""
        missing = [account for account in dict.fromkeys(accounts) if account not in self._known]
        asked = [self._connection.ask(account) for account in missing]
        if not _in_loop():
            wait(asked, self._timeout_s if timeout_s is None else timeout_s)
        return all(account in self._known for account in missing)

    # Usage

    def consume(
        self,
        account: str,
        feature: str,
        quantity: int = 1,
        *,
        id: str | None = None,
        member: str | None = None,
        properties: Properties | None = None,
    ) -> Decision:
        """Use `quantity` units if that is allowed: decided and counted in one step, never over a hard limit.

        `id` makes it count once however often it is asked; without one, each call counts. What is used often is leased:
        the server sets units aside for this process, which then uses them without asking, and gives back what is left.
        When the server does not answer, the feature's failure mode does, and what it lets through is reported later
        under the same id. Raises PaygradeError. May wait for the server: inside an event loop use `aconsume`.
        """
        its = self._connection
        if id is None and member is None and properties is None and quantity > 0 and not its.closed:
            decision = self._use_leased(account, feature, quantity)
            if decision is not None:
                return decision
            if (account, feature) in its.leases.blocks:
                # What this process has leased and does not suffice goes back first: it may be what is missing.
                with suppress(Unreachable):
                    its.step_leases(timeout_s=self._timeout_s, only=(account, feature))
        id = id or uuid4().hex
        body = {"account": account, "feature": feature, "quantity": quantity, "id": id,
                "member": member, "properties": properties}  # fmt: skip
        try:
            decision = its.post("/v1/consume", body, _Used, timeout_s=self._timeout_s).decision
        except Unreachable:
            decision = self._unsure(account, feature, quantity, member, properties)
        if decision.stale:
            # Nobody has counted it: the server did not answer, or answered without its database.
            if decision.allowed and quantity:
                self.track(account, feature, quantity, id=id, member=member, properties=properties)
            return decision
        its.count(account, feature, Counts(decision.used, decision.reserved))
        return replace(decision, counted=True)

    def _use_leased(self, account: str, feature: str, quantity: int) -> Decision | None:
        """Use units leased to this process; None: the server is to be asked."""
        its, key, now_s = self._connection, (account, feature), time()
        found = self._known.get(account)
        if found is None:
            its.ask_soon(account)
            return None
        at = its.clock.now(now_s)
        decision: Decision = decide(found, feature, 0, at, kind=Decision)  # type: ignore[assignment]  # made as this kind
        if not decision.allowed or decision.limit is None:
            return None
        block = its.use(key, quantity, at, now_s)
        if block is None:
            block = self._lease(key, quantity, now_s)
            if block is None:
                return None
            found = self._known.get(account, found)
            decision = decide(found, feature, 0, at, kind=Decision)  # type: ignore[assignment]  # made as this kind
        # The server counts what is claimed and still free here as used, and what else is leased as held.
        used, reserved = max(0, (decision.used or 0) - block.free), max(0, (decision.reserved or 0) - block.held)
        left = max(0, (decision.limit or 0) - used - reserved)
        return replace(decision, quantity=quantity, used=used, reserved=reserved, remaining=left, counted=True)

    def _lease(self, key: Key, quantity: int, now_s: float) -> Block | None:
        """Have more units leased of what is used often, and use some: the block they were in."""
        its = self._connection
        often, self._used_at_s[key] = now_s - self._used_at_s.get(key, 0.0) < OFTEN_S, now_s
        if len(self._used_at_s) > ACCOUNTS_MAX:
            self._used_at_s.clear()
        if its.reading_fails or not often:
            return None
        try:
            if key in its.leases.blocks:
                its.step_leases(timeout_s=self._timeout_s)
            elif not its.leases.is_worth_asking(key, now_s) or not its.lease(
                key, UNITS * quantity, CLAIM * quantity, timeout_s=self._timeout_s
            ):
                return None
        except Unreachable:
            return None
        now_s = time()
        return its.use(key, quantity, its.clock.now(now_s), now_s)

    async def aconsume(
        self,
        account: str,
        feature: str,
        quantity: int = 1,
        *,
        id: str | None = None,
        member: str | None = None,
        properties: Properties | None = None,
    ) -> Decision:
        """The same, without holding the loop."""
        return await asyncio.to_thread(
            self.consume, account, feature, quantity, id=id, member=member, properties=properties
        )

    def reserve(
        self,
        account: str,
        feature: str,
        quantity: int,
        *,
        ttl_s: int = 60,
        member: str | None = None,
        properties: Properties | None = None,
    ) -> Reservation:
        """Hold `quantity` units for `ttl_s` seconds at most, if that is allowed: for `with` or `async with`, in whose
        block is committed what was used. Raises PaygradeError."""
        asked = {"account": account, "feature": feature, "quantity": quantity, "ttl_s": ttl_s,
                 "member": member, "properties": properties}  # fmt: skip
        return Reservation(
            self._connection,
            asked,
            timeout_s=self._timeout_s,
            unsure=lambda: self._unsure(account, feature, quantity, member, properties),
            track=lambda units: self.track(account, feature, units, member=member, properties=properties),
        )

    def track(
        self,
        account: str,
        feature: str | None = None,
        quantity: int | None = None,
        *,
        event: str | None = None,
        id: str | None = None,
        time: datetime | None = None,
        member: str | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> bool:
        """Report usage that happened: kept here and sent in batches, counted once each, over a limit too.

        Names a `feature` or an `event`, as meters do. False: too much is waiting already, and this is not reported.
        Raises PaygradeError `invalid_event`. Any: plain JSON.
        """
        if (feature is None) == (event is None):
            raise PaygradeError("invalid_event", "say `feature` or `event`, and not both")
        if time is not None and time.tzinfo is None:
            raise PaygradeError("invalid_event", f"`time` has no time zone; write it with one, as {datetime.now(UTC)}")
        told = UsageEvent(
            id=id or uuid4().hex, account=account, feature=feature, event=event, quantity=quantity,
            time=time or self._connection.clock.now(now()), member=member, properties=dict(properties or {}),
        )  # fmt: skip
        try:
            line = msgspec.json.encode(told)
            msgspec.json.decode(line, type=UsageEvent)
        except (msgspec.ValidationError, TypeError, UnicodeEncodeError, RecursionError) as error:
            raise PaygradeError("invalid_event", str(error)) from None
        if len(line) > EVENT_BYTES_MAX:
            detail = f"the event has {len(line):,} bytes, {EVENT_BYTES_MAX:,} at most: report less in `properties`"
            raise PaygradeError("invalid_event", detail)
        return self._connection.put(line)

    def flush(self, timeout_s: float = SEND_S) -> bool:
        """Send what is buffered; whether all of it was sent in time."""
        return self._connection.sender.flush(timeout_s)

    # How things stand

    def now(self) -> datetime:
        """The server's time, as far as it is known here."""
        return self._connection.clock.now(time())

    def status(self) -> Status:
        """Whether changes are heard, since when, and what is waiting to be sent."""
        return self._connection.status()

    def on_change(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call `listener` with an account when what it may do has changed, from a thread of ours; gives back what ends
        that."""
        return self._connection.listen(listener)

    def on_state(self, listener: Callable[[State], None]) -> Callable[[], None]:
        """Call `listener` with `connected` or `interrupted` when that begins, from a thread of ours; gives back what
        ends that. Connects."""
        return self._connection.listen_to_state(listener)

    def close(self, timeout_s: float = EXIT_S) -> None:
        """Send what is buffered and end the threads, within `timeout_s`. What is known stays, and is stale."""
        self._connection.close(timeout_s)

    def __enter__(self) -> "Paygrade":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Deciding when something is unusual

    def _is_short_of(self, account: str, now_s: float) -> bool:
        """Whether the account should be read before it is decided on: not where that has just failed."""
        its = self._connection
        its.start()
        its.end_file(now_s)
        found = self._known.get(account)
        if its.reading_fails:
            return False
        if found is None or (its.cold is not None and its.cold.is_all_that_is_known(account)):
            return True
        return its.clock.now(now_s) >= found.until

    def _decide_at_least(
        self,
        account: str,
        feature: str,
        quantity: int,
        member: str | None,
        properties: Properties | None,
        at_least: str | int,
    ) -> Decision:
        """What is decided on at least this; where that is not known in time, as if nobody could be asked."""
        its = self._connection
        its.start()
        until_s, version = monotonic() + self._timeout_s, version_stated(at_least)
        if version is None and not _in_loop() and not its.reading_fails and is_chosen_key(account):
            version = version_with(its, account, feature, str(at_least), timeout_s=self._timeout_s)
        if not self._reaches(account, version) and not its.reading_fails:
            self._read(account, until_s - monotonic())
        if self._reaches(account, version):
            return self._decide(account, feature, quantity, member, properties)
        return self._unsure(account, feature, quantity, member, properties)

    def _reaches(self, account: str, version: tuple[int, int] | None) -> bool:
        """Whether what is known is at least of this version; None is not known of any."""
        found = self._known.get(account)
        if found is None or version is None:
            return False
        return all(have >= need for have, need in zip(versions_of(found.version), version, strict=True))

    def _decide(
        self, account: str, feature: str, quantity: int, member: str | None, properties: Properties | None
    ) -> Decision:
        its, found, now_s = self._connection, self._known.get(account), time()
        if found is None or not its.clock.low <= now_s < its.clock.high or account in its.memory.unsure:
            if found is None:
                its.ask_soon(account)
            return self._unsure(account, feature, quantity, member, properties)
        at = its.clock.now(now_s)
        decision: Decision = decide(  # type: ignore[assignment]  # made as this kind
            found, feature, quantity, at, member=member, properties=properties, kind=Decision
        )
        if decision.stale:
            its.ask_soon(account)
        return decision

    def _unsure(
        self, account: str, feature: str, quantity: int, member: str | None, properties: Properties | None
    ) -> Decision:
        """What is decided while nobody can be asked: by what was last known, and the feature's failure mode."""
        its, now_s = self._connection, time()
        its.end_file(now_s)
        found = self._known.get(account)
        on_error = self._on_error.get(feature) or its.memory.on_error.get(feature, "deny")
        at = its.clock.now(now_s)
        if found is None:
            possible = is_chosen_key(account)
            return Decision(
                possible and on_error == "allow", "stale" if possible else "unknown_account", account, feature,
                quantity, None, None, None, None, False, None, None, None, (), at, "", possible,
                age=inf if possible else 0.0,
            )  # fmt: skip
        decision: Decision = decide_unsure(  # type: ignore[assignment]  # made as this kind
            found, feature, quantity, at, on_error=on_error, member=member, properties=properties,
            kind=Decision,
        )  # fmt: skip
        since_s = its.memory.unsure.get(account)
        age = its.clock.age(now_s) if since_s is None else max(0.0, now_s - since_s)
        return replace(decision, age=age)

    def _read(self, account: str, timeout_s: float | None = None) -> None:
        """Have the account read, and wait for it where that is allowed."""
        asked = self._connection.ask(account)
        if not _in_loop():
            wait((asked,), self._timeout_s if timeout_s is None else max(0.0, timeout_s))


def _spooled(folder: str | Path) -> Callable[[], Waiting]:
    try:
        from paygrade.client.spool import Spool, made_folder
    except ImportError:
        raise PaygradeError("invalid_settings", "this system has no file locks (fcntl), so no spool") from None
    return partial(Spool, made_folder(folder))


def _in_loop() -> bool:
    """Whether this is called from inside a running event loop, which must not wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
