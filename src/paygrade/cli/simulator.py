"""`paygrade simulator`: a Stripe-shaped provider with a clock, for trying things out."""

import os
import signal
from collections.abc import Sequence
from types import FrameType
from typing import Any

import click
import httpx2
import msgspec

from paygrade.cli.output import MOMENT, as_json, say, show_json
from paygrade.cli.wording import instant
from paygrade.values.errors import Refused, Unavailable
from paygrade.values.periods import parse_instant

DEFAULT_URL = "http://127.0.0.1:4711"

_url = click.option(
    "--url",
    default=lambda: os.environ.get("PAYGRADE_STRIPE_API_BASE") or DEFAULT_URL,
    help=f"The simulator; PAYGRADE_STRIPE_API_BASE, {DEFAULT_URL}.",
)


@click.group()
def simulator() -> None:
    """Run the Stripe simulator, advance its clock and change its weather."""


@simulator.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=4711, show_default=True)
@click.option("--webhook", "webhooks", multiple=True, metavar="URL", help="Where events are delivered; repeatable.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same ids and weather.")
@click.option("--start", type=MOMENT, help="Stop the clock at this time; it stands still until you advance it.")
@click.option("--key", default="sk_test_simulator", show_default=True, help="The API key it accepts.")
@click.option(
    "--webhook-secret", "--secret", "secret", default="whsec_simulator", show_default=True, help="What signs webhooks."
)
@click.option(
    "--public-url", metavar="URL", help="Where a browser reaches its pages; where requests come to, unless told."
)
@as_json
def serve(
    host: str,
    port: int,
    webhooks: Sequence[str],
    seed: int,
    start: str | None,
    key: str,
    secret: str,
    public_url: str | None,
    as_json: bool,
) -> None:
    """Run the simulator until Ctrl-C."""
    from paygrade.simulator.http.serve import serve as serve_simulator

    starts_at = parse_instant(start) if start is not None else None
    where = {"url": f"http://{host}:{port}", "key": key, "webhook_secret": secret, "seed": seed, "start": start}
    if as_json:
        show_json(where)
    else:
        say(f"simulator at {where['url']}, key {key}, webhook secret {secret}")
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    serve_simulator(
        host=host,
        port=port,
        webhook_urls=webhooks,
        seed=seed,
        start=starts_at,
        secret=secret,
        key=key,
        public_url=public_url,
    )


@simulator.command()
@click.argument("duration")
@_url
@as_json
def advance(duration: str, url: str, as_json: bool) -> None:
    """Advance the clock by DURATION (`3d`, `12h`); renewals, retries and trial ends happen on the way."""
    told = control("POST", url, "clock", {"advance": duration})
    if as_json:
        show_json(told)
    else:
        say(f"it is now {instant(told['now'])}")


@simulator.command()
@_url
@as_json
def clock(url: str, as_json: bool) -> None:
    """Show the clock."""
    told = control("GET", url, "clock")
    if as_json:
        show_json(told)
    else:
        say(f"it is {instant(told['now'])}, {'running' if told['running'] else 'standing still'}")


@simulator.command()
@click.argument("settings", nargs=-1, metavar="[calm | KEY=VALUE…]")
@_url
@as_json
def weather(settings: tuple[str, ...], url: str, as_json: bool) -> None:
    """Show the weather, or set it: `drop=1` loses every webhook, `duplicate=0.2` sends every fifth twice.

    What you leave out is calm. The keys are in docs/simulator.md; `delay_ms=[0,5000]` takes two numbers.
    """
    told = control("POST", url, "weather", _weather(settings)) if settings else control("GET", url, "weather")
    rough = {name: value for name, value in told.items() if value not in (0, [0, 0]) and name != "hang_ms"}
    if as_json:
        show_json(told)
    else:
        say(", ".join(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
                      for name, value in rough.items()) or "calm")  # fmt: skip


def _weather(settings: tuple[str, ...]) -> dict[str, Any]:
    """What was typed, as the simulator takes it. Any: plain JSON."""
    if settings == ("calm",):
        return {}
    wanted: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            wanted[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            raise click.UsageError(
                f"`{setting}` is not KEY=VALUE with a number, such as drop=0.5; or say calm"
            ) from None
    return wanted


def control(method: str, url: str, what: str, body: object = None) -> Any:
    """One control of the simulator. Any: decoded JSON, as the simulator sent it."""
    try:
        answer = httpx2.request(method, f"{url.rstrip('/')}/_simulator/{what}", json=body, timeout=60, trust_env=False)
    except httpx2.TransportError:
        raise Unavailable(
            "simulator_unreachable", f"nothing answers at {url}; start it with `paygrade simulator serve`"
        ) from None
    if answer.is_success:
        return answer.json()
    try:
        message = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        raise Unavailable("simulator_strange", f"{url} does not answer as the simulator does") from None
    raise Refused("simulator_refused", message)


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
