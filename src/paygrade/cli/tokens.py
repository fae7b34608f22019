"""`paygrade tokens`: tokens that let a page read one account, and the key they are signed with."""

import click

from paygrade.cli.api import call, path
from paygrade.cli.output import as_json, confirm, say, show_json, table, yes
from paygrade.cli.wording import instant


@click.group()
def tokens() -> None:
    """Issue account tokens and rotate their key."""


@tokens.command()
@click.argument("account")
@click.option("--member", help="For this member alone.")
@click.option("--scope", "scopes", multiple=True, help="What it opens; repeatable. `decisions:read` if absent.")
@click.option("--ttl", "ttl_s", type=int, default=900, show_default=True, help="For how many seconds.")
@as_json
def create(account: str, member: str | None, scopes: tuple[str, ...], ttl_s: int, as_json: bool) -> None:
    """Issue a token that lets a page read what ACCOUNT may do."""
    asked = {"member": member, "ttl_s": ttl_s, **({"scopes": list(scopes)} if scopes else {})}
    told = call("POST", path("v1", "accounts", account, "tokens"), body=asked)
    if as_json:
        show_json(told)
    else:
        click.echo(f"reads {account} until {instant(told['expires_at'])}", err=True)
        say(told["token"])


@tokens.command()
@click.option("--revoke", is_flag=True, help="End every token issued until now, within a minute.")
@yes
@as_json
def rotate(revoke: bool, yes: bool, as_json: bool) -> None:
    """Make the next key that tokens are signed with.

    It is published at once and signs an hour later; tokens of the key before it count until they end.
    """
    if revoke:
        confirm("Pages can't read anything until they have a new token. Continue?", yes=yes)
    told = call("POST", "/v1/tokens/rotate", body={"revoke": revoke})
    if as_json:
        show_json(told)
    else:
        rows = [(key["kid"], instant(key["signs_from"]), _until(key["verifies_until"])) for key in told["keys"]]
        table(("key", "signs from", "verifies until"), rows)


def _until(told: str | None) -> str:
    return instant(told) if told is not None else "it is rotated"
