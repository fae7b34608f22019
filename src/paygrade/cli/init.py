"""`paygrade init`: a catalog to begin with, the settings that go with it, and what to do next."""

from importlib import resources
from pathlib import Path

import click

from paygrade.cli.output import as_json, say, show_json
from paygrade.values.errors import Refused

DEV_KEY = "sk_dev"
"""The key of a server that `paygrade dev` runs: it listens on this machine alone and forgets everything."""

_ENV = f"""\
# For your app and for the `paygrade` commands, while `paygrade dev` runs.
PAYGRADE_URL=http://127.0.0.1:4710
PAYGRADE_API_KEY={DEV_KEY}

# For `paygrade serve`, when you go live. Never commit these.
# PAYGRADE_CATALOG=paygrade.yaml
# PAYGRADE_STRIPE_API_KEY=rk_live_...
# PAYGRADE_STRIPE_WEBHOOK_SECRET=whsec_...
"""


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@as_json
def init(folder: Path, as_json: bool) -> None:
    """Write a starter catalog and a `.env` into FOLDER (the current one by default). Overwrites nothing."""
    starter = resources.files("paygrade.cli") / "sample" / "starter.yaml"
    files = {folder / "paygrade.yaml": starter.read_text(), folder / ".env": _ENV}
    there = [str(path) for path in files if path.exists()]
    if there:
        raise Refused("file_exists", f"{' and '.join(there)} would be overwritten; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text)
    if as_json:
        show_json({"written": [str(path) for path in files]})
        return
    for path in files:
        say(f"wrote {path}", style="green")
    say()
    say("Next:")
    for command, why in (
        ("paygrade dev", "run a server, and a Stripe simulator that sells this catalog"),
        ("paygrade catalog lint", "check the catalog after each edit"),
        ("paygrade serve", "run the server with your Stripe account; `paygrade doctor` says what is missing"),
    ):
        say(f"  {command:22}  {why}")
