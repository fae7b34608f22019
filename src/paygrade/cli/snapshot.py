"""`paygrade snapshot`: files that say what accounts may do, for an SDK that finds no server."""

import os
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from paygrade.cli.api import call, download, target
from paygrade.cli.output import MOMENT, as_json, believed, say, show_json, table
from paygrade.client import snapshot_file
from paygrade.client.errors import PaygradeError
from paygrade.client.snapshot_file import VALID_MAX, Head, Key, Secret, Unusable, key_of, make_pair
from paygrade.decisions.following import View, Views
from paygrade.values.errors import Refused
from paygrade.values.periods import parse_duration, render_duration
from paygrade.values.text import PAGE_MAX

READ_MAX = 200
"""How many accounts one request reads."""
REPORT = "/v1/reports/entitlements"

_file = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
_key = click.option(
    "--key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A key in PEM; the API key if absent."
)


@click.group()
def snapshot() -> None:
    """Write files of what accounts may do: for an SDK that finds no server, as a licence, or for your records."""


@snapshot.command()
@_file
@as_json
def key(file: Path, as_json: bool) -> None:
    """Make a key pair: the private key in FILE, which signs licences, and the public one in FILE.pub, for those who
    read them."""
    public_file = file.with_name(f"{file.name}.pub")
    private, public = make_pair()
    for path, text, mode in ((file, private, 0o600), (public_file, public, 0o644)):
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="ascii") as opened:
                opened.write(text)
        except FileExistsError:
            raise Refused("file_exists", f"`{path}` exists; a key is not overwritten") from None
    if as_json:
        show_json({"private": str(file), "public": str(public_file)})
    else:
        say(f"{file} signs snapshot files: keep it secret. {public_file} is for those who read them.")


@snapshot.command()
@_file
@click.option("--account", "accounts", multiple=True, metavar="ACCOUNT", help="An account in it; may be repeated.")
@click.option("--all", "everybody", is_flag=True, help="All accounts.")
@click.option("--valid-for", default="7d", show_default=True, help="How long it answers, at most 35d.")
@_key
@as_json
def write(
    file: Path, accounts: tuple[str, ...], everybody: bool, valid_for: str, key: Path | None, as_json: bool
) -> None:
    """Write what accounts may do into FILE, in place of what was there, signed with the API key or with a private
    key."""
    if bool(accounts) is everybody:
        raise click.UsageError("name accounts with --account, or say --all")
    lasts, signs = _duration(valid_for), _signing(key)
    keys = list(_all_accounts()) if everybody else list(dict.fromkeys(accounts))
    lines = [_read(keys[begin : begin + READ_MAX]) for begin in range(0, len(keys), READ_MAX)]
    unknown = [its.account for its in _accounts_of(lines) if not its.known]
    if unknown and not everybody:
        raise Refused("unknown_account", f"there is no account `{unknown[0]}`")
    if not lines:
        raise Refused("unknown_account", "there are no accounts")
    # What was read later may be newer than the file says, which harms nobody.
    made_at = lines[0].now
    head = Head(made_at, made_at + lasts, len(keys))
    try:
        snapshot_file.write(file, snapshot_file.encode(head, lines, signs))
    except PaygradeError as error:
        raise Refused(error.code, error.detail) from None
    except OSError as error:
        raise Refused("unusable_snapshot_file", f"`{file}` can't be written: {error}") from None
    if as_json:
        show_json(head)
    else:
        say(f"{file}: {len(keys)} accounts as of {made_at:%Y-%m-%d %H:%M:%S}Z, until {head.ends_at:%Y-%m-%d %H:%M:%S}Z")


@snapshot.command()
@click.option("--at", type=MOMENT, help="The instant, for example 2026-01-31T10:00:00Z; now if absent.")
@believed
@click.option("--format", "kind", type=click.Choice(["csv", "json", "parquet"]), default="csv", show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file instead of the output.")
@as_json
def export(at: str | None, believed: bool, kind: str, output: Path | None, as_json: bool) -> None:
    """Write what all accounts have at an instant: seats, limits, credits and usage, a line for each feature."""
    if as_json and output is None:
        kind = "json"
    query = {name: value for name, value in {"at": at, "believed": "true" if believed else None}.items() if value}
    if kind == "json":
        with click.open_file(str(output or "-"), "w", encoding="utf-8") as lines:
            for row in _rows(query):
                lines.write(msgspec.json.encode(row).decode() + "\n")
    else:
        with click.open_file(str(output or "-"), "wb") as file:
            download(REPORT, file, query={**query, "format": kind})
    if output is not None:
        show_json({"file": str(output)}) if as_json else say(f"{output} is written")


@snapshot.command()
@_file
@_key
@as_json
def show(file: Path, key: Path | None, as_json: bool) -> None:
    """Check the signature of FILE, and show what is in it."""
    try:
        head, lines = snapshot_file.read(file, _signing(key))
        accounts = list(_accounts_of(lines))
    except (Unusable, FileNotFoundError, msgspec.MsgspecError) as error:
        raise Refused("unusable_snapshot_file", f"`{file}` can't be used: {error}") from None
    if as_json:
        show_json({"made_at": head.made_at, "ends_at": head.ends_at, "accounts": [its.account for its in accounts]})
        return
    say(f"made at {head.made_at:%Y-%m-%d %H:%M:%S}Z, ends at {head.ends_at:%Y-%m-%d %H:%M:%S}Z")
    table(("account", "version"), ((its.account, its.version) for its in accounts))


# Any: decoded JSON, as the server sent it.
def _rows(query: dict[str, str]) -> Iterator[dict[str, Any]]:
    """All rows, a page in memory at a time; those after the first page are of the same instant."""
    after: str | None = ""
    while after is not None:
        page = call("GET", REPORT, query={**query, "after": after})
        yield from ({**row, "as_of": page["as_of"]} for row in page["rows"])
        query, after = {**query, "at": page["as_of"]}, page["next"]


def _read(accounts: list[str]) -> Views:
    told = call("POST", "/v1/snapshots", body={"accounts": accounts})
    return msgspec.json.decode(msgspec.json.encode(told), type=Views)


def _accounts_of(lines: Iterable[Views]) -> Iterator[View]:
    return (its for views in lines for its in views.accounts)


def _signing(path: Path | None) -> Key:
    try:
        if path is not None:
            return key_of(path.read_text(encoding="utf-8"))
        shown = target().key
        if not shown:
            raise Refused("invalid_settings", "there is no key to sign with; set PAYGRADE_API_KEY, or pass --key")
        return Secret(shown)
    except PaygradeError as error:
        raise Refused(error.code, error.detail) from None


def _duration(text: str) -> timedelta:
    try:
        lasts = parse_duration(text)
    except ValueError as error:
        raise click.UsageError(f"--valid-for: {error}") from None
    if not timedelta() < lasts <= VALID_MAX:
        raise click.UsageError(f"--valid-for: write at most {render_duration(VALID_MAX)}, which is how far ahead dates "
                               "are known; write the file again before it ends")  # fmt: skip
    return lasts


def _all_accounts() -> Iterator[str]:
    after: str | None = ""
    while after is not None:
        page = call("GET", "/v1/accounts", query={"after": after, "limit": str(PAGE_MAX)})
        yield from (account["account"] for account in page["accounts"])
        after = page["next"]
