"""`paygrade accounts rebuild`: fold anew what is kept beside facts and ledger."""

import sys
from typing import Any

import click

from paygrade.cli.api import call, path
from paygrade.cli.output import as_json, for_people, show_json, table
from paygrade.values.text import PAGE_MAX


@click.command()
@click.argument("accounts", nargs=-1, metavar="[ACCOUNT]…")
@click.option("--all", "everybody", is_flag=True, help="All accounts.")
@as_json
def rebuild(accounts: tuple[str, ...], everybody: bool, as_json: bool) -> None:
    """Rebuild accounts from their facts and balances from the ledger. Exit code 1: something stored was different.

    Requests get right answers meanwhile. If nothing differs, nothing changes.
    """
    if bool(accounts) == everybody:
        raise click.UsageError("name accounts, or use --all")
    keys = _all_keys() if everybody else list(accounts)
    rebuilt = []
    with click.progressbar(keys, label="rebuilding", file=sys.stderr, hidden=len(keys) < 2 or not for_people()) as bar:
        rebuilt += [call("POST", path("v1", "accounts", key, "rebuild")) for key in bar]
    differing = [one for one in rebuilt if one["differences"]]
    if as_json:
        show_json({"accounts": rebuilt})
    else:
        _show_rebuilt(rebuilt, differing)
    if differing:
        sys.exit(1)


def _all_keys() -> list[str]:
    keys, after = list[str](), ""
    while True:
        query = {"limit": str(PAGE_MAX), **({"after": after} if after else {})}
        page = call("GET", "/v1/accounts", query=query)
        keys += [account["account"] for account in page["accounts"]]
        if page["next"] is None:
            return keys
        after = page["next"]


def _show_rebuilt(rebuilt: list[dict[str, Any]], differing: list[dict[str, Any]]) -> None:
    if differing:
        table(
            ("account", "what", "name", "kept", "as folded"),
            (
                (one["account"], difference["what"], difference["name"], difference["before"], difference["after"])
                for one in differing
                for difference in one["differences"]
            ),
        )
    folded = f"{sum(one['facts'] for one in rebuilt)} facts and {sum(one['entries'] for one in rebuilt)} ledger entries"
    found = f"{len(differing)} differed and are put right" if differing else "nothing differed"
    click.echo(f"rebuilt {len(rebuilt)} accounts from {folded}: {found}", err=True)
