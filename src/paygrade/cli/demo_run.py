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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import click
import httpx2
import uvicorn

from paygrade.catalog.model import Catalog
from paygrade.catalog.parse import parse
from paygrade.cli import wiring
from paygrade.cli.demo_company import Shop
from paygrade.cli.demo_story import Stage, play
from paygrade.server.http.protocol import configure
from paygrade.server.process.settings import DEFAULT_PORT, Settings
from paygrade.server.process.yaml import read_yaml
from paygrade.simulator import serve as simulator
from paygrade.values.errors import Unavailable

KEY = "sk_demo"
START_S = 30.0
LOOK_S = 0.02


def run(*, once: bool) -> list[Any]:
    """Start everything, play the story, and stay up unless `once`; returns the decisions of the story.

    Raises Surprise or Unavailable. Any: decoded JSON.
    """
    began = time.monotonic()
    with ExitStack() as house:
        api_port, simulator_port = _port(DEFAULT_PORT, "the API"), _port(simulator.DEFAULT_PORT, "the simulator")
        api_url = f"http://127.0.0.1:{api_port}"
        settings = Settings(data_dir=house.enter_context(_folder()), port=api_port, admin_key=KEY)
        database_url = house.enter_context(wiring.database(settings))
        names = asyncio.run(wiring.apply_migrations(database_url))
        _done(began, f"PostgreSQL in {settings.data_dir}, schema {names[-1] if names else 'as it was'}")
        provider = house.enter_context(
            simulator.running(port=simulator_port, webhook_urls=[f"{api_url}/webhooks/stripe"])
        )
        _done(began, f"Stripe simulator at {provider.url}")
        settings = _with_provider(settings, provider)
        house.enter_context(_serving(settings, database_url))
        _done(began, f"Paygrade's API at {api_url}")
        stage = Stage(api_url=api_url, key=KEY, simulator_url=provider.url)
        shop = _furnish(stage, provider, began)
        play(stage, shop)
        click.echo()
        click.secho("  The story came out as told.", fg="green", bold=True)
        if not once:
            _stay(api_url, provider.url)
        return stage.decisions


def _with_provider(settings: Settings, provider: simulator.Running) -> Settings:
    return Settings(
        data_dir=settings.data_dir,
        port=settings.port,
        admin_key=settings.admin_key,
        stripe_api_key=provider.key,
        stripe_api_base=provider.url,
        webhook_secrets=(provider.secret,),
        clock_url=provider.url,
    )


def _furnish(stage: Stage, provider: simulator.Running, began: float) -> Shop:
    """Publish the catalog, stock the shop and let customers in."""
    text = (resources.files("paygrade.cli") / "sample" / "paygrade.yaml").read_bytes()
    published = stage.call("PUT", "/v1/catalog", content=text, headers={"Content-Type": "application/yaml"})
    _done(began, f"catalog version {published['version']} published, {len(published['changes'])} lines")
    shop = Shop(url=provider.url, key=provider.key)
    shop.stock(_catalog(text))
    for account, name in (("acme", "Acme"), ("globex", "Globex"), ("initech", "Initech"), ("hooli", "Hooli")):
        shop.welcome(account, name)
    shop.subscribe("acme", "pro_monthly")
    shop.subscribe("globex", "pro_monthly", quantity=5)
    shop.subscribe("initech", "business_monthly", trial_days=14)
    bought = f"{len(shop.prices)} prices, {len(shop.customers)} customers, {len(shop.subscriptions)} subscriptions"
    _done(began, f"at the simulator, by the official stripe library: {bought}")
    stage.control("flush")
    stage.wait_until_known(list(shop.customers))
    return shop


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
            chosen = int(probe.getsockname()[1])
            click.echo(f"port {wanted} is taken; {what} uses {chosen}")
            return chosen
    return wanted


@contextmanager
def _serving(settings: Settings, database_url: str) -> Iterator[None]:
    """The API as an HTTP server in a thread with a loop of its own: it cannot outlive this process."""
    app = wiring.application(settings, database_url=database_url, key=KEY)
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
    click.echo(f"  simulator  {simulator_url}        customers, subscriptions and deliveries at a glance")
    click.echo()
    click.secho("  Try, in another terminal:", bold=True)
    click.echo(f"    curl -s {api_url}/v1/check -H 'Authorization: Bearer {KEY}' -d '{ask}'")
    click.echo(f"    {where}PAYGRADE_API_KEY={KEY} {paygrade} explain acme audit_log")
    click.echo(f"    {paygrade} simulator advance 31d{url}        # a month passes, renewals happen")
    click.echo()
    click.echo("  Ctrl-C stops everything.")
    threading.Event().wait()
