"""`paygrade accounts export | erase`: all that is stored of an account, and having erased what of it is personal."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import click
import msgspec

from paygrade.cli.api import call, path
from paygrade.cli.output import as_json, confirm, say, show_json, yes
from paygrade.values.text import PAGE_MAX


@click.command()
@click.argument("account")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file instead of the output.")
@as_json
def export(account: str, output: Path | None, as_json: bool) -> None:
    """Write all that is stored of ACCOUNT and its people, as one JSON object with a list for each section."""
    pages = _pages(account)
    first = next(pages)  # if there is no such account, nothing is written
    with click.open_file(str(output or "-"), "w", encoding="utf-8") as file:
        file.write(f'{{"account":{msgspec.json.encode(account).decode()}')
        section, rows = "", 0
        for page in chain([first], pages):
            if page["section"] != section:
                file.write(f"{']' if section else ''},{msgspec.json.encode(page['section']).decode()}:[")
                section, rows = page["section"], 0
            for row in page["rows"]:
                file.write(f"{',' if rows else ''}{msgspec.json.encode(row).decode()}")
                rows += 1
        file.write("]}\n")
    if as_json and output is not None:
        show_json({"file": str(output)})


@click.command()
@click.argument("account")
@click.option("--reason", default="", help="Why; stays in the audit log.")
@yes
@as_json
def erase(account: str, reason: str, yes: bool, as_json: bool) -> None:
    """Erase the personal data of ACCOUNT and its members. It keeps what it has and used. This can't be undone.

    What Stripe stores is not touched: erase it there first, or the next reading brings the name back.
    """
    confirm(f"Erase all personal data of {account}? This can't be undone.", yes=yes)
    told = call("POST", path("v1", "accounts", account, "erase"), body={"confirm": account, "reason": reason})
    if as_json:
        show_json(told)
    else:
        say(f"erased {account}: {told['facts']} facts, {told['members']} members, {told['records']} audit records")


# Any: decoded JSON, as the server sent it.
def _pages(account: str) -> Iterator[dict[str, Any]]:
    query = {"limit": str(PAGE_MAX)}
    while True:
        page = call("GET", path("v1", "accounts", account, "export"), query=query)
        yield page
        if page["next"] is None:
            return
        query["after"] = page["next"]
