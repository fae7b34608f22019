"""Where the demo plays: the API and the simulator's controls, both over HTTP, and what their answers have to be."""

import time
from collections.abc import Callable
from typing import Any

import httpx2

SETTLE_S = 60.0
"""How long an answer may take to come out right. It takes a few hundredths of a second, on a busy machine many."""
LOOK_S = 0.03

# Any in this file: decoded JSON, as the server sent it.


class Surprise(Exception):
    """Something did not come out as told."""


class Stage:
    def __init__(self, *, api_url: str, key: str, simulator_url: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._api = httpx2.Client(base_url=api_url, headers=headers, trust_env=False, timeout=60)
        # Forgotten long before the simulator closes it: a control is not safe to send twice.
        limits = httpx2.Limits(keepalive_expiry=1)
        self._simulator = httpx2.Client(
            base_url=f"{simulator_url}/_simulator", trust_env=False, timeout=60, limits=limits
        )

    def call(self, method: str, path: str, **more: Any) -> Any:
        """One request to the API."""
        answer = self._api.request(method, path, **more)
        if not answer.is_success:
            raise Surprise(f"{method} {path} answered {answer.status_code}: {answer.text}")
        return answer.json()

    def control(self, what: str, **body: Any) -> Any:
        """One control of the simulator."""
        answer = self._simulator.post(f"/{what}", json=body)
        if not answer.is_success:
            raise Surprise(f"the simulator refused {what}: {answer.text}")
        return answer.json()

    def settle(self) -> None:
        """Have every webhook delivered, and wait until every customer they name was read."""
        self.control("flush")
        status = self.until(
            lambda: self.call("GET", "/v1/sync/status"),
            lambda told: not told["dirty"],
            "customers still wait to be read",
        )
        if status["failing"]:
            raise Surprise(f"customers can't be read: {status['failing']}")

    def wait_until_known(self, accounts: list[str]) -> None:
        """Wait until every one of these is an account."""
        self.until(
            lambda: {each["account"] for each in self.call("GET", "/v1/accounts?limit=500")["accounts"]},
            lambda known: known >= set(accounts),
            f"some customers of {', '.join(accounts)} did not become accounts",
        )

    def decision(self, account: str, feature: str, outcome: str, reason: str, *, quantity: int = 1) -> Any:
        """The decision, once it is this one; Surprise if it does not become it."""
        asked = {"account": account, "feature": feature, "quantity": quantity}
        return self.until(
            lambda: self.call("POST", "/v1/check", json=asked),
            lambda told: (told["allowed"], told["reason"]) == (outcome == "allowed", reason),
            f"expected {outcome} [{reason}]",
        )

    def until(self, look: Callable[[], Any], right: Callable[[Any], bool], wrong: str) -> Any:
        """What is seen once it is right; Surprise with `wrong` and what was seen last if it does not become so."""
        give_up_at = time.monotonic() + SETTLE_S
        while not right(seen := look()):
            if time.monotonic() > give_up_at:
                raise Surprise(f"{wrong}: {seen}")
            time.sleep(LOOK_S)
        return seen
