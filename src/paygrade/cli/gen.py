"""`paygrade gen`: files made from the catalog, for the product that asks."""

import sys
from pathlib import Path

import click

from paygrade.catalog.parse import parse
from paygrade.cli.api import call
from paygrade.cli.output import as_json, say, show_json
from paygrade.cli.type_files import python_types, typescript_types
from paygrade.documents.catalog_file import read_catalog

_FILES = {False: Path("paygrade_types.py"), True: Path("paygrade_types.d.ts")}


@click.group()
def gen() -> None:
    """Make files from the catalog, for your app."""


@gen.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), default="paygrade.yaml")
@click.option("--in-force", is_flag=True, help="Ask the server for the catalog instead of reading FILE.")
@click.option("--typescript", is_flag=True, help="Write TypeScript instead of Python.")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write; paygrade_types.py or paygrade_types.d.ts by default.",
)
@click.option("--check", is_flag=True, help="Write nothing: exit code 1 if the file is not up to date.")
@as_json
def types(file: Path, in_force: bool, typescript: bool, output: Path | None, check: bool, as_json: bool) -> None:
    """Write the names of features, plans, add-ons and events in FILE (paygrade.yaml) as types.

    Your type checker then finds a misspelt feature. Needs no server, except with --in-force.
    """
    document = call("GET", "/v1/catalog")["document"] if in_force else read_catalog(file)[0]
    made = (typescript_types if typescript else python_types)(parse(document)).encode()
    output = output or _FILES[typescript]
    current = output.is_file() and output.read_bytes() == made
    if not current and not check:
        output.write_bytes(made)
    if as_json:
        show_json({"file": str(output), "current": current})
    elif current:
        say(f"{output} is up to date", style="green")
    elif check:
        say(f"{output} is not up to date: run `paygrade gen types` again", style="red")
    else:
        say(f"wrote {output}", style="green")
    sys.exit(1 if check and not current else 0)
