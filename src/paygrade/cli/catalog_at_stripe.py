"""`paygrade catalog check`, `push --to-stripe` and `pull`: the catalog and what a Stripe account sells."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from paygrade.catalog.model import Catalog
from paygrade.catalog.parse import parse
from paygrade.catalog.provider_check import Difference, sold_at
from paygrade.catalog.provider_pull import pull as write_down
from paygrade.catalog.provider_steps import Archive, Cannot, MoveKey, Nothing, Step
from paygrade.cli.output import as_json, confirm, for_people, say, show_json
from paygrade.cli.stocking import compare, is_left, is_nothing, plan_steps, push_steps
from paygrade.documents.catalog_file import Document, place_of, read_catalog
from paygrade.documents.yaml_text import write_yaml
from paygrade.server.process.settings import Settings, parse_account
from paygrade.values.errors import Location, Refused, Unavailable

if TYPE_CHECKING:
    from paygrade.providers.stripe.shop import StripeShop

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_MARKS = {Nothing: ("=", ""), Cannot: ("!", "red"), MoveKey: ("~", "yellow"), Archive: ("~", "yellow")}


@click.command()
@click.argument("file", type=_FILE, default="paygrade.yaml")
@as_json
def check(file: Path, as_json: bool) -> None:
    """Compare FILE with what Stripe sells: prices, products and meters. Changes nothing, and needs no server.

    Reads the account of PAYGRADE_STRIPE_API_KEY. Exit code 1 if something differs, 3 if Stripe can't be read.
    """
    catalog, lines = _read(file)
    found = compare(_shop(_settings()), catalog)
    if as_json:
        show_json({"file": str(file), "differences": told(found, lines)})
    else:
        for each in found:
            say(f"{_where(file, lines, each.pointer)}: {each.message}", style="red")
        if not found:
            count = sum(len(item.prices) for _, item in sold_at(catalog))
            say(f"{file}: Stripe sells what it says ({count} prices)", style="green")
    sys.exit(1 if found else 0)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), default="paygrade.yaml")
@as_json
def pull(file: Path, as_json: bool) -> None:
    """Write FILE from what Stripe sells: plans by product, their prices, meters and features. Overwrites nothing.

    Comments in FILE say what Stripe could not. `-` is standard output. Needs read on Products, Prices, Billing
    meters, Subscriptions and Entitlements.
    """
    to_stdout = str(file) == "-"
    if to_stdout and as_json:
        raise click.UsageError("`-` and --json both write to standard output; name a file")
    if not to_stdout and file.exists():
        raise Refused("file_exists", f"{file} would be overwritten; name another file, or `-` to see it")
    there = _shop(_settings()).read_catalog((), lambda price: not price.active, meters=True, features=True)
    pulled = write_down(there)
    text = write_yaml(pulled.document, pulled.comments)
    # Whatever Stripe has in its names: a file with a mistake is never written.
    read_catalog(Path("paygrade.yaml"), text.encode())
    if to_stdout:
        click.echo(text, nl=False)
        return
    file.write_text(text)
    counts = {name: len(pulled.document.get(name, {})) for name in ("features", "plans", "add_ons")}
    unsure = sum(map(len, pulled.comments.values()))
    if as_json:
        show_json({"written": str(file), **counts, "comments": pulled.comments})
        return
    say(f"wrote {file}: {counts['plans']} plans, {counts['add_ons']} add-ons, {counts['features']} features",
        style="green")  # fmt: skip
    say(f"{unsure} comments say what Stripe doesn't; read them, then `paygrade catalog lint {file}`")


def push_to_stripe(file: Path, *, yes: bool, dry_run: bool, live: bool, archive_old: bool, as_json: bool) -> None:
    """Make at Stripe what the file says: shown first, then agreed to, then done."""
    settings = _settings()
    is_live = settings.mode == "live"
    if is_live != live:
        advice = "add --live to change what real customers can buy" if is_live else "remove --live"
        raise click.UsageError(f"PAYGRADE_STRIPE_API_KEY is a {'live' if is_live else 'test'} key; {advice}")
    catalog, lines = _read(file)
    shop = _shop(settings)
    planned = plan_steps(shop, catalog, archive_old=archive_old)
    doable = [step for step in planned if not is_left(step) and not is_nothing(step)]
    if not as_json:
        for step in planned:
            _show(step, file, lines)
    left, taken = planned, list[Step]()
    if doable and not dry_run:
        if not yes and not (for_people() and sys.stdin.isatty()):
            raise click.UsageError("nobody is there to agree to this; add --yes, or --dry-run to only see it")
        confirm(f"Make this at Stripe ({'LIVE' if is_live else 'test mode'})?", yes=yes)

        def tell(step: Step) -> None:
            taken.append(step)
            if not as_json:
                say(f"done: {step.detail}")

        left = push_steps(shop, catalog, planned, archive_old=archive_old, tell=tell)
    unable = [step for step in left if is_left(step)]
    if as_json:
        show_json({"live": is_live, "dry_run": dry_run, "steps": [_told(step, lines) for step in planned],
                   "taken": len(taken), "left": [_told(step, lines) for step in unable]})  # fmt: skip
    else:
        _conclude(file, doable=len(doable), taken=len(taken), unable=len(unable), dry_run=dry_run)
    sys.exit(1 if unable else 0)


def _conclude(file: Path, *, doable: int, taken: int, unable: int, dry_run: bool) -> None:
    say()
    if dry_run and doable:
        say(f"{doable} to do; nothing was done")
    elif not doable and not unable:
        say(f"Stripe sells what {file} says; there is nothing to do", style="green")
    elif taken:
        say(f"done; `paygrade catalog push {file}` publishes the catalog to your server", style="green")
    if unable:
        say(f"{unable} of it a person has to do; see `!` above", style="red")


def show_differences(file: Path) -> list[dict[str, Any]] | None:
    """What is otherwise at Stripe, for who plans to publish this file; None: no key says which account that is."""
    settings = _settings(needs_key=False)
    if settings.stripe_api_key is None:
        return None
    catalog, lines = _read(file)
    try:
        return told(compare(_shop(settings), catalog), lines)
    except Unavailable as error:
        return [{"code": error.code, "pointer": "", "object": "", "message": f"not compared: {error.detail}"}]


def told(found: Sequence[Difference], lines: Mapping[str, Location]) -> list[dict[str, Any]]:
    """Differences as JSON has them, with their lines."""
    return [{**msgspec.to_builtins(each), **_place(each.pointer, lines)} for each in found]


def _told(step: Step, lines: Mapping[str, Location]) -> dict[str, Any]:
    action = str(step.__struct_config__.tag)
    return {"step": action, "pointer": step.pointer, "detail": step.detail, **_place(step.pointer, lines)}


def _place(pointer: str, lines: Mapping[str, Location]) -> dict[str, int]:
    place = place_of(pointer, lines) if pointer else None
    return {} if place is None else {"line": place.line, "column": place.column}


def _show(step: Step, file: Path, lines: Mapping[str, Location]) -> None:
    mark, style = _MARKS.get(type(step), ("+", "green"))
    say(f"{mark} {_where(file, lines, step.pointer)}: {step.detail}", style=style)


def _where(file: Path, lines: Mapping[str, Location], pointer: str) -> str:
    """`paygrade.yaml:12:7`; what is at no place of the file is the provider's."""
    if not pointer:
        return "Stripe"
    place = place_of(pointer, lines)
    return f"{file}:{place.line}:{place.column}" if place is not None else f"{file}:{pointer}"


def _read(file: Path) -> tuple[Catalog, Mapping[str, Location]]:
    read: Document = read_catalog(file)
    document, lines = read
    return parse(document, lines=lines), lines


def _settings(*, needs_key: bool = True) -> Settings:
    settings = parse_account(os.environ)
    if needs_key and settings.stripe_api_key is None:
        raise click.UsageError("set PAYGRADE_STRIPE_API_KEY to a key of the Stripe account")
    return settings


def _shop(settings: Settings) -> "StripeShop":
    # Not by way of the server's parts: loading those takes longer than all that is asked.
    from paygrade.providers.stripe.connection import StripeConnection
    from paygrade.providers.stripe.shop import StripeShop

    assert settings.stripe_api_key is not None, "whoever comes here has a key"
    return StripeShop(StripeConnection(api_key=settings.stripe_api_key, api_base=settings.stripe_api_base))
