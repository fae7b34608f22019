"""A simulator with a shop in it and a server that reads and writes it, reached over HTTP and by command."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx2

from paygrade.catalog.parse import parse
from paygrade.cli.demo_company import Company
from paygrade.documents.catalog_file import read_catalog
from paygrade.server.process.settings import Settings
from paygrade.simulator.http import serve as simulator
from support.cli_runner import paygrade
from support.databases import migrated_database
from support.official_stripe import official_client
from support.server_process import KEY, SAMPLE, Api, serving

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


class House:
    """The API, the simulator with what the sample catalog sells, and the shop that buys there."""

    def __init__(self, api: Api, provider: simulator.Running, database_url: str = "") -> None:
        self.api, self.provider, self.database_url = api, provider, database_url
        self.shop = Company(url=provider.url, key=provider.key)
        self.stripe = official_client(provider.key, provider.url)

    def control(self, what: str, wanted: dict[str, Any]) -> None:
        answer = httpx2.post(
            f"{self.provider.url}/_simulator/{what}", json=wanted, trust_env=False, verify=False, timeout=60
        )
        assert answer.is_success, answer.text

    def quote(self, account: str, **wanted: Any) -> Any:
        return self.api.ok("POST", f"/v1/accounts/{account}/plan-changes/quote", json=wanted)

    def paygrade(self, *arguments: str, code: int = 0) -> str:
        environ = {"PATH": "", "PAYGRADE_URL": self.api.url, "PAYGRADE_API_KEY": KEY}
        return paygrade(arguments, environ=environ, code=code)


@contextmanager
def house(postgres_url: str) -> Iterator[House]:
    """One with nobody in it yet."""
    document, _ = read_catalog(SAMPLE)
    with (
        simulator.running(start=START) as provider,
        migrated_database(postgres_url) as database_url,
        serving(
            Settings(
                stripe_api_key=provider.key,
                stripe_api_base=provider.url,
                webhook_secrets=(provider.secret,),
                clock_url=provider.url,
                sweep_every=None,
                decision_log="denials",
            ),
            database_url,
        ) as api,
    ):
        made = House(api, provider, database_url)
        made.control("webhooks", {"url": f"{api.url}/webhooks/stripe"})
        made.shop.stock(parse(document))
        yield made
