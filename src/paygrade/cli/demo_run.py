"""The house of `paygrade demo` and `paygrade dev`: a database, a Stripe simulator and the server, in one process.

Laws: nothing outlives the process, and nothing is kept: the database has a folder of its own that goes away at the end.
"""

import asyncio
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import click
import httpx2
import uvicorn
from msgspec import Struct
from msgspec.structs import replace

from paygrade.catalog.model import Catalog
from paygrade.catalog.parse import parse
from paygrade.catalog.provider_steps import Step
from paygrade.cli import wiring
from paygrade.cli.demo_company import Company
from paygrade.cli.demo_stage import Stage
from paygrade.cli.stocking import is_left, plan_steps, push_steps
from paygrade.documents.yaml import read_yaml
from paygrade.providers.stripe.connection import StripeConnection
from paygrade.providers.stripe.events import TEST_TYPES, TYPES
from paygrade.providers.stripe.shop import StripeShop
from paygrade.server.http.protocol import configure
from paygrade.server.process.settings import DEFAULT_PORT, Settings
from paygrade.simulator.http import serve as simulator
from paygrade.values.errors import Unavailable

KEY = "sk_demo"
YAML = "application/yaml"
START_S = 30.0
LOOK_S = 0.02


class House(Struct, frozen=True):
    """What stands: the server, the simulator, and whoever sells there. `webhook_secret` signs what the server is sent,
    `began` is when it was started."""

    api_url: str
    provider: simulator.Running
    webhook_secret: str
    company: Company
    stage: Stage
    began: float

    def publish(self, text: bytes, *, existing: str = "follow") -> Catalog:
        """Publish a catalog, and sell what it says at the simulator; returns it. `existing` customers `follow` it, or
        `keep` the version they are on. Refused `catalog_invalid`."""
        catalog = _catalog(text)
        published = self.stage.call(
            "PUT", "/v1/catalog", params={"existing": existing}, content=text, headers={"Content-Type": YAML}
        )
        for step in _sell(self.provider, catalog):
            click.echo(f"not sold: {step.pointer}: {step.detail}")
        self.company.look_up()
        self.done(f"catalog version {published['version']} published, {len(published['changes'])} lines")
        return catalog

    def done(self, what: str) -> None:
        """Say what is done, and how long after the start."""
        _done(self.began, what)


@contextmanager
def standing(
    *,
    key: str,
    webhooks: Sequence[str] = (),
    ports: tuple[int, int] = (DEFAULT_PORT, simulator.DEFAULT_PORT),
    start: datetime | None = None,
    seed: int = 1,
    sweep_every: timedelta | None = timedelta(days=1),
) -> Iterator[House]:
    """A database, the server, and a simulator that also delivers to `webhooks`, until the block ends; on these ports,
    or on others where they are taken. 0: on any. With a `start`, the simulator's clock stands still there."""
    began = time.monotonic()
    with ExitStack() as parts:
        settings = Settings(data_dir=parts.enter_context(_folder()), admin_key=key, sweep_every=sweep_every)
        database_url = parts.enter_context(wiring.database(settings))
        names = asyncio.run(wiring.apply_migrations(database_url))
        _done(began, f"PostgreSQL in {settings.data_dir}, schema {names[-1] if names else 'as it was'}")
        # Late, so that a port that was free still is.
        api_port, simulator_port = _port(ports[0], "the API"), _port(ports[1], "the simulator")
        api_url = f"http://127.0.0.1:{api_port}"
        settings = replace(settings, port=api_port)
        provider = parts.enter_context(
            simulator.running(port=simulator_port, webhook_urls=webhooks, seed=seed, start=start)
        )
        _done(began, f"Stripe simulator at {provider.url}")
        company = Company(url=provider.url, key=provider.key)
        secret = company.listen(f"{api_url}/webhooks/stripe", (*TYPES, *TEST_TYPES))
        settings = replace(
            settings,
            stripe_api_key=provider.key,
            stripe_api_base=provider.url,
            webhook_secrets=(secret,),
            clock_url=provider.url,
            decision_log="denials",
            # One's own program listens on this machine, too.
            webhook_allow=(ip_network("127.0.0.0/8"),),
        )
        parts.enter_context(_serving(settings, database_url, key))
        _done(began, f"Paygrade's API at {api_url}")
        stage = Stage(api_url=api_url, key=key, simulator_url=provider.url)
        yield House(api_url, provider, secret, company, stage, began)


def _sell(provider: simulator.Running, catalog: Catalog) -> list[Step]:
    """Make what the catalog sells, as `catalog push --to-stripe` does; gives what a person has to do."""
    shop = StripeShop(StripeConnection(api_key=provider.key, api_base=provider.url))
    planned = plan_steps(shop, catalog, archive_old=False)
    return [
        step for step in push_steps(shop, catalog, planned, archive_old=False, tell=lambda _: None) if is_left(step)
    ]


def _catalog(text: bytes) -> Catalog:
    document, lines = read_yaml(text)
    return parse(document, lines=lines)


def _done(began: float, what: str) -> None:
    click.echo(f"{click.style(f'{time.monotonic() - began:5.1f} s', dim=True)}  {what}")


@contextmanager
def _folder() -> Iterator[Path]:
    # Not below a private folder: as root, PostgreSQL runs as another user, who must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="paygrade-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _port(wanted: int, what: str) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
            click.echo(f"port {wanted} is taken; {what} uses {probe.getsockname()[1]}")
        return int(probe.getsockname()[1])


@contextmanager
def _serving(settings: Settings, database_url: str, key: str) -> Iterator[None]:
    """The API as an HTTP server in a thread with a loop of its own: it cannot outlive this process."""
    app = wiring.application(settings, database_url=database_url, key=key)
    server = uvicorn.Server(configure(app, port=settings.port, patience_s=2))
    thread = threading.Thread(target=server.run, name="api", daemon=True)
    thread.start()
    try:
        _wait_until_ready(f"http://127.0.0.1:{settings.port}", thread)
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def _wait_until_ready(url: str, thread: threading.Thread) -> None:
    give_up_at = time.monotonic() + START_S
    said = "it does not answer"
    while thread.is_alive() and time.monotonic() < give_up_at:
        try:
            answer = httpx2.get(f"{url}/readyz", trust_env=False)
        except httpx2.TransportError:
            pass
        else:
            if answer.is_success:
                return
            said = answer.text
        time.sleep(LOOK_S)
    raise Unavailable("server_not_started", f"the API at {url} did not become ready: {said}")
