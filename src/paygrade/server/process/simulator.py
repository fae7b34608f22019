"""The simulator that this server's clock follows: a hand on its clock and its weather."""

from datetime import datetime
from typing import Any

import httpx2
import msgspec

from paygrade.values.errors import Refused, Unavailable

PATIENCE_S = 60.0
"""A month of many customers takes a while."""


class Simulator:
    """What is at `url`, as `paygrade simulator` reaches it, too."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    async def advance(self, duration: str) -> datetime:
        """Let time pass (`2d`, `12h`), with all that happens in it; returns the new time. Raises as `_control`."""
        told = await self._control("POST", "clock", {"advance": duration})
        return msgspec.convert(told["now"], datetime)

    async def weather(self) -> dict[str, Any]:
        """How badly webhooks are delivered and requests answered. Any: figures, as docs/simulator.md has them."""
        return await self._control("GET", "weather", None)

    async def set_weather(self, wanted: dict[str, float]) -> None:
        """What isn't named is calm."""
        await self._control("POST", "weather", wanted)

    async def _control(self, method: str, what: str, body: object) -> dict[str, Any]:
        """Refused `invalid_body`, Unavailable `clock_unavailable`. Any: JSON."""
        secure = self.url.startswith("https:")
        try:
            async with httpx2.AsyncClient(timeout=PATIENCE_S, trust_env=False, verify=secure) as client:
                answer = await client.request(method, f"{self.url}/_simulator/{what}", json=body)
        except httpx2.HTTPError as error:
            raise Unavailable("clock_unavailable", f"the simulator at `{self.url}` does not answer: {error}") from None
        if not answer.is_success:
            raise Refused("invalid_body", f"the simulator refuses it: {answer.text[:200]}")
        told: dict[str, Any] = answer.json()
        return told
