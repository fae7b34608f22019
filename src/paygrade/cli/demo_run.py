"""The demo: the whole house on real parts, and a story that is played and checked live.

Laws: every answer printed was given over HTTP just then; a story that does not come out as told fails the demo;
nothing outlives the process, and nothing is kept: the database has a folder of its own that goes away at the end.
"""

import asyncio
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

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
from paygrade.cli.demo_story import Stage, play
from paygrade.cli.stocking import is_left, plan_steps, push_steps
from paygrade.documents.yaml import read_yaml
from paygrade.providers.stripe.connection import StripeConnection
from paygrade.providers.stripe.shop import StripeShop
from paygrade.server.http.protocol import configure
from paygrade.server.process.settings import DEFAULT_PORT, Settings
from paygrade.simulator.http import serve as simulator
from paygrade.values.errors import Unavailable

KEY = "sk_demo"
START_S = 30.0
LOOK_S = 0.02


class House(Struct, frozen=True):
    """What stands: the server, the simulator, and whoever sells there. `began` is when it was started."""

    api_url: str
    provider: simulator.Running
    company: Company
    stage: Stage
    began: float

    def publish(self, text: bytes) -> Catalog:
        """Publish a catalog, and sell what it says at the simulator; returns it. Refused `catalog_invalid`."""
        catalog = _catalog(text)
        published = self.stage.call("PUT", "/v1/catalog", content=text, headers={"Content-Type": "application/yaml"})
        for step in _sell(self.provider, catalog):
            click.echo(f"not sold: {step.pointer}: {step.detail}")
        self.company.look_up()
        _done(self.began, f"catalog version {published['version']} published, {len(published['changes'])} lines")
        return catalog


@contextmanager
def standing(
    *, key: str, webhooks: Sequence[str] = (), ports: tuple[int, int] = (DEFAULT_PORT, simulator.DEFAULT_PORT)
) -> Iterator[House]:
    """A database, the server, and a simulator that also delivers to `webhooks`, until the block ends; on these ports,
    or on others where they are taken. 0: on any."""
    began = time.monotonic()
    with ExitStack() as parts:
        settings = Settings(data_dir=parts.enter_context(_folder()), admin_key=key)
        database_url = parts.enter_context(wiring.database(settings))
        names = asyncio.run(wiring.apply_migrations(database_url))
        _done(began, f"PostgreSQL in {settings.data_dir}, schema {names[-1] if names else 'as it was'}")
        # Late, so that a port that was free still is.
        api_port, simulator_port = _port(ports[0], "the API"), _port(ports[1], "the simulator")
        api_url = f"http://127.0.0.1:{api_port}"
        settings = replace(settings, port=api_port)
        provider = parts.enter_context(
            simulator.running(port=simulator_port, webhook_urls=[f"{api_url}/webhooks/stripe", *webhooks])
        )
        _done(began, f"Stripe simulator at {provider.url}")
        parts.enter_context(_serving(_with_provider(settings, provider), database_url, key))
        _done(began, f"Paygrade's API at {api_url}")
        stage = Stage(api_url=api_url, key=key, simulator_url=provider.url)
        yield House(api_url, provider, Company(url=provider.url, key=provider.key), stage, began)


def run(*, once: bool) -> list[Any]:
    """Start everything, play the story, and stay up unless `once`; returns the decisions of the story.

    Raises Surprise or Unavailable. Any: decoded JSON.
    """
    with standing(key=KEY) as house:
        furnish(house)
        play(house.stage, house.company)
        click.echo()
        click.secho("  The story went as expected.", fg="green", bold=True)
        if not once:
            _stay(house.api_url, house.provider.url)
        return house.stage.decisions


def _with_provider(settings: Settings, provider: simulator.Running) -> Settings:
    return replace(
        settings,
        stripe_api_key=provider.key,
        stripe_api_base=provider.url,
        webhook_secrets=(provider.secret,),
        clock_url=provider.url,
    )


def furnish(house: House) -> None:
    """Publish the catalog, stock the shop and let customers in."""
    house.publish((resources.files("paygrade.cli") / "sample" / "paygrade.yaml").read_bytes())
    company = house.company
    for account, name in (("acme", "Acme"), ("globex", "Globex"), ("initech", "Initech"), ("hooli", "Hooli")):
        company.welcome(account, name)
    company.subscribe("acme", "pro_monthly")
    company.subscribe("globex", "pro_monthly", quantity=5)
    company.subscribe("initech", "business_monthly", trial_days=14)
    bought = (
        f"{len(company.prices)} prices, {len(company.customers)} customers, {len(company.subscriptions)} subscriptions"
    )
    _done(house.began, f"at the simulator, by the official stripe library: {bought}")
    house.stage.control("flush")
    house.stage.wait_until_known(list(company.customers))


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


def _stay(api_url: str, simulator_url: str) -> None:
    paygrade = "paygrade" if shutil.which("paygrade") else sys.argv[0]
    where = "" if api_url.endswith(f":{DEFAULT_PORT}") else f"PAYGRADE_URL={api_url} "
    url = "" if simulator_url.endswith(f":{simulator.DEFAULT_PORT}") else f" --url {simulator_url}"
    ask = '{"account": "acme", "feature": "exports"}'
    click.echo()
    click.echo(f"  API        {api_url}        key {KEY}        {api_url}/openapi.json")
    click.echo(f"  simulator  {simulator_url}        open it to see customers, subscriptions and deliveries")
    click.echo()
    click.secho("  Try, in another terminal:", bold=True)
    click.echo(f"    curl -s {api_url}/v1/check -H 'Authorization: Bearer {KEY}' -d '{ask}'")
    click.echo(f"    {where}PAYGRADE_API_KEY={KEY} {paygrade} explain acme audit_log")
    click.echo(f"    {paygrade} simulator advance 31d{url}        # advance a month; subscriptions renew")
    click.echo()
    click.echo("  Ctrl-C stops everything.")
    threading.Event().wait()
