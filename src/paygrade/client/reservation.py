"""Units held until it is known how many were used."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any
from uuid import uuid4

from msgspec import Struct
from msgspec.structs import replace

from paygrade.client.connection import Connection
from paygrade.client.decision import Decision
from paygrade.client.errors import PaygradeError
from paygrade.client.transport import Unreachable

log = logging.getLogger("paygrade")


class _Reserved(Struct):
    decision: Decision
    reservation: Any = None  # Any: what is held; None: nothing, although it may be allowed


class Reservation:
    """A block in which units are held: truthy if they are. Leaving it gives back whatever was not committed.

    `decision` says why, or why not. With the server away the feature's failure mode decides; nothing is held then, and
    what is committed is reported as usage.
    """

    decision: Decision

    def __init__(
        self,
        connection: Connection,
        asked: Mapping[str, Any],  # Any: the body of the request
        *,
        timeout_s: float,
        unsure: Callable[[], Decision],
        track: Callable[[int], object],
    ) -> None:
        self._connection, self._timeout_s = connection, timeout_s
        self._unsure, self._track = unsure, track
        self._asked = {**asked, "id": uuid4().hex}
        self._is_open = False

    def __bool__(self) -> bool:
        return self.decision.allowed

    def commit(self, quantity: int | None = None) -> None:
        """Use `quantity` of the units held, or all; the rest goes back. More than was held is used if that is allowed.
        Raises PaygradeError `exceeds_reservation`, `reservation_expired`, `not_held`; Unreachable where the server does
        not answer, which leaves them held until their time is up."""
        if not self.decision.allowed:
            raise PaygradeError("not_held", f"nothing is held: {self.decision.message}")
        units = self._asked["quantity"] if quantity is None else quantity
        if self._is_open:
            self._step("commit", {"quantity": units})
            self._is_open = False
        else:
            self._track(units)

    async def acommit(self, quantity: int | None = None) -> None:
        """The same, without holding the loop."""
        await asyncio.to_thread(self.commit, quantity)

    def release(self) -> None:
        """Give back what is held."""
        if self._is_open:
            self._is_open = False
            self._step("release", {})

    def __enter__(self) -> "Reservation":
        try:
            reserved = self._connection.post("/v1/reservations", self._asked, _Reserved, timeout_s=self._timeout_s)
        except Unreachable:
            self.decision = self._unsure()
        else:
            # Without its database the server answers as the feature's failure mode says, and holds nothing.
            self._is_open = reserved.reservation is not None
            self.decision = replace(reserved.decision, counted=not reserved.decision.stale)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.release()
        except (Unreachable, PaygradeError) as refused:
            log.warning("what was held comes back when its time is up: %s", refused)

    async def __aenter__(self) -> "Reservation":
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, at)

    def _step(self, step: str, more: Mapping[str, Any]) -> None:  # Any: the rest of the body
        body = {"account": self._asked["account"], **more}
        self._connection.post(
            f"/v1/reservations/{self._asked['id']}/{step}", body, _Reserved, timeout_s=self._timeout_s
        )
