"""`paygrade init`: a catalog to begin with, the settings that go with it, and what to do next."""

import sys
from importlib import resources
from pathlib import Path

import click

from paygrade.cli.output import as_json, for_people, say, show_json
from paygrade.values.errors import Refused

DEV_KEY = "sk_dev"
"""The key of a server that `paygrade dev` runs: it listens on this machine alone and forgets everything."""

TEMPLATES = {
    "free-pro": "a free plan and a paid one, with a feature, seats and a limit",
    "per-seat": "teams pay for each seat; trial, yearly prices, seats at a downgrade",
    "usage": "pay as you go: a meter at Stripe, included usage, a price beyond it and a cap",
    "credits": "an AI product: credits that models burn at their own rates, packs and top-ups",
}
"""What each is for, the usual one first."""
USUAL = "free-pro"

_ENV = f"""\
# For your app and for the `paygrade` commands, while `paygrade dev` runs.
PAYGRADE_URL=http://127.0.0.1:4710
PAYGRADE_API_KEY={DEV_KEY}

# For `paygrade catalog push --to-stripe` and `paygrade serve`: a test key first. Never commit these.
# PAYGRADE_CATALOG=paygrade.yaml
# PAYGRADE_STRIPE_API_KEY=rk_test_...
# PAYGRADE_STRIPE_WEBHOOK_SECRET=whsec_...
"""


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--template", type=click.Choice(list(TEMPLATES)), help="What you sell; asked for on a terminal.")
@click.option("--templates", "listed", is_flag=True, help="List the templates, and write nothing.")
@as_json
def init(folder: Path, template: str | None, listed: bool, as_json: bool) -> None:
    """Write a starter catalog and a `.env` into FOLDER (the current one by default). Overwrites nothing."""
    if listed:
        if as_json:
            show_json({"templates": [{"template": name, "about": about} for name, about in TEMPLATES.items()]})
        else:
            _list()
        return
    files = {folder / "paygrade.yaml": "", folder / ".env": _ENV}
    there = [str(path) for path in files if path.exists()]
    if there:
        raise Refused("file_exists", f"{' and '.join(there)} would be overwritten; choose another folder")
    template = template or (USUAL if as_json else _asked())
    files[folder / "paygrade.yaml"] = (resources.files("paygrade.cli") / "sample" / f"{template}.yaml").read_text()
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text)
    if as_json:
        show_json({"written": [str(path) for path in files], "template": template})
        return
    for path in files:
        say(f"wrote {path}", style="green")
    say()
    say("Next:")
    for command, why in (
        ("set -a; . ./.env; set +a", "let commands in this terminal, and your app, find the server"),
        ("paygrade dev", "in another terminal: run a server, and a Stripe simulator that sells this catalog"),
        ("paygrade catalog lint", "check the catalog after each edit"),
        ("paygrade catalog push --to-stripe", "make its products and prices in your Stripe account; it asks first"),
        ("paygrade serve", "run the server with your Stripe account; `paygrade doctor` says what is missing"),
    ):
        say(f"  {command:33}  {why}")


def _asked() -> str:
    """Which template a person wants; the usual one where nobody is there."""
    if not (for_people() and sys.stdin.isatty()):
        return USUAL
    say("What do you sell?")
    _list()
    return str(click.prompt("Template", type=click.Choice(list(TEMPLATES)), default=USUAL, show_choices=False))


def _list() -> None:
    for name, about in TEMPLATES.items():
        say(f"  {name:10}  {about}")
