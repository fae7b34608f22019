"""The house, as it is in production: PostgreSQL with its durable settings, servers, a provider, each a process.

Everything can be killed but the provider, which keeps its truth in memory: instead the way to it is closed.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from chaos.relay import Relay, running
from paygrade.simulator.http.app import DEFAULT_KEY, DEFAULT_SECRET
from paygrade.values.periods import parse_instant
from support.cluster import Cluster, folder_of_its_own, free_ports, killed

ADMIN_KEY = "sk_test_of_chaos"
CATALOG = """
version: 1
features:
  seats: { kind: level }
  exports: { kind: boolean, access: read }
plans:
  free: { default: true, entitlements: { seats: 1 } }
  team:
    prices: { monthly: { amount: 900, currency: usd, interval: month, stripe: team } }
    entitlements: { seats: { limit: quantity } }
  company:
    prices: { monthly: { amount: 9900, currency: usd, interval: month, stripe: company } }
    entitlements: { seats: 100, exports: true }
policies:
  past_due: [ { for: 7d, access: full }, { for: 14d, access: read }, { then: free } ]
"""


class House(Cluster):
    """Processes under one roof."""

    def __init__(self, folder: Path, *, servers: int, seed: int) -> None:
        super().__init__(folder, servers=servers, seed=seed, admin_key=ADMIN_KEY)
        (self._simulator_port,) = free_ports(1)
        self.simulator_url = f"http://127.0.0.1:{self._simulator_port}"
        self.relay = Relay(provider=self.simulator_url, servers=self.server_urls)
        self._seed = seed

    @property
    def settings(self) -> Mapping[str, str]:
        return {
            **super().settings,
            "PAYGRADE_STRIPE_API_KEY": DEFAULT_KEY,
            "PAYGRADE_STRIPE_API_BASE": self.relay.url,
            "PAYGRADE_STRIPE_WEBHOOK_SECRET": DEFAULT_SECRET,
            "PAYGRADE_CLOCK_URL": self.simulator_url,
        }

    @contextmanager
    def open(self, catalog: str) -> Iterator["House"]:
        with ExitStack() as stack:
            stack.enter_context(running(self.relay))
            webhook = f"{self.relay.url}/webhooks/stripe"
            given = ["--port", str(self._simulator_port), "--webhook", webhook, "--seed", str(self._seed)]
            stack.callback(killed, self.start("simulator", "serve", *given))
            stack.enter_context(self.running(catalog))
            yield self

    def control(self, what: str, wanted: Any) -> Any:
        """One control of the simulator."""
        answer = self.http.post(f"{self.simulator_url}/_simulator/{what}", json=wanted)
        assert answer.is_success, answer.text
        return answer.json()

    def now(self) -> datetime:
        return parse_instant(self.http.get(f"{self.simulator_url}/_simulator/clock").json()["now"])


@contextmanager
def house(*, servers: int, seed: int, catalog: str = CATALOG) -> Iterator[House]:
    """A house on a database of its own, torn down at the end."""
    with folder_of_its_own("chaos") as folder, House(folder, servers=servers, seed=seed).open(catalog) as opened:
        yield opened
