"""A pytest fixture: ask for `stripe_simulator`, and there is a Stripe account of this test's own.

Law: who does not ask for it pays nothing: nothing but pytest is imported before.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest


class StripeSimulator:
    """A simulator that runs for one test: where it is, its key and secret, and what a test does to it most."""

    def __init__(self, *, url: str, key: str, secret: str) -> None:
        self.url, self.key, self.secret = url, key, secret

    def control(self, what: str, **wanted: Any) -> dict[str, Any]:
        """Post to one of the controls, such as `weather` or `webhooks` (docs/simulator.md)."""
        request = urllib.request.Request(f"{self.url}/_simulator/{what}", data=json.dumps(wanted).encode())
        with urllib.request.urlopen(request) as answer:
            return dict(json.load(answer))

    def advance(self, duration: str) -> None:
        """Advance the clock (`3d`, `12h`): renewals, retries and trial ends happen on the way."""
        self.control("clock", advance=duration)

    def flush(self) -> None:
        """Deliver every webhook that waits, and return when that is done."""
        self.control("flush")


@pytest.fixture
def stripe_simulator() -> Iterator[StripeSimulator]:
    """A simulated Stripe account: `stripe.StripeClient(s.key, base_addresses={"api": s.url})`."""
    from paygrade.simulator.http.serve import running

    with running() as simulator:
        yield StripeSimulator(url=simulator.url, key=simulator.key, secret=simulator.secret)
