"""`paygrade audit`: who did what, and whether anybody has changed what was written down of it."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click
import msgspec

from paygrade.billing.audit_chain import AuditFault, AuditHead, AuditRecord, ChainCheck
from paygrade.cli.api import call, path
from paygrade.cli.output import MOMENT, as_json, page_limit, say, show_json, table
from paygrade.cli.wording import instant
from paygrade.documents.spreadsheets import RECORD_COLUMNS, record_rows, write_csv
from paygrade.values.errors import Refused
from paygrade.values.text import PAGE_MAX

FAULTS_MAX = 100
TOLD_EVERY_S = 5.0
ENVIRONMENT = "the environment"
_account = click.option("--account", help="Only this account's chain.")
_environment = click.option("--environment", is_flag=True, help="Only what was done to no account.")


@click.group()
def audit() -> None:
    """Show who did what, and check that nobody has changed it since."""


@audit.command("list")
@click.argument("account", required=False)
@click.option("--action", help="Only this action (`override.set`), or those of one noun (`override`).")
@click.option("--actor", help="Only what the actor of this id did.")
@click.option("--from", "from_at", type=MOMENT, help="From this time on.")
@click.option("--until", type=MOMENT, help="Before this time.")
@click.option("--before", help="The next page: the value that the page before printed.")
@page_limit(50)
@as_json
def list_records(account: str | None, limit: int, as_json: bool, from_at: str | None, **said: str | None) -> None:
    """List what was done, newest first: to ACCOUNT, or to all accounts and the environment."""
    query = {name: value for name, value in {**said, "from": from_at, "limit": str(limit)}.items() if value is not None}
    where = path("v1", "audit") if account is None else path("v1", "accounts", account, "audit")
    told = call("GET", where, query=query)
    if as_json:
        show_json(told)
        return
    table(
        ("when", "account", "action", "what", "who", "address", "changes"),
        (
            (instant(one["occurred_at"]), one["account"] or None, one["action"], _targets(one), _actor(one),
             one["address"], _changes(one)) for one in told["records"]
        ),
    )  # fmt: skip
    if told["next"] is not None:
        click.echo(f"more: --before '{told['next']}'", err=True)


@audit.command()
@_account
@_environment
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV for a spreadsheet. It can't be verified later.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file instead of the output.")
@as_json
def export(account: str | None, environment: bool, as_csv: bool, output: Path | None, as_json: bool) -> None:
    """Write whole chains, oldest first: one JSON object a line, which anybody can verify."""
    records = (one for part in _chains(_key(account, environment=environment)) for one in part["records"])
    if as_json and output is None:
        show_json({"records": list(records)})
        return
    with click.open_file(str(output or "-"), "w", encoding="utf-8") as file:
        written = _write(file, records, as_csv=as_csv)
    if as_json:
        show_json({"file": str(output), "records": written})


def _write(file: IO[Any], records: Iterator[dict[str, Any]], *, as_csv: bool) -> int:
    """Write an export; how many records it has. Any: text."""
    written = 0
    if as_csv:
        file.write(write_csv([RECORD_COLUMNS]))
    for record in records:
        text = write_csv(record_rows([record])) if as_csv else msgspec.json.encode(record).decode() + "\n"
        file.write(text)
        written += 1
    return written


@audit.command()
@_account
@_environment
@as_json
def head(account: str | None, environment: bool, as_json: bool) -> None:
    """Print the last record of each chain by number and hash, one JSON object a line. Keep it elsewhere.

    `paygrade audit verify --heads FILE` then finds a chain that was cut off or written anew, too.
    """
    heads = _heads(_key(account, environment=environment))
    if as_json:
        show_json({"heads": list(heads)})
        return
    for one in heads:
        click.echo(msgspec.json.encode(one).decode())


@audit.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_account
@_environment
@click.option("--heads", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Heads that were kept elsewhere, as `paygrade audit head` printed them.")  # fmt: skip
@as_json
def verify(file: Path | None, account: str | None, environment: bool, heads: Path | None, as_json: bool) -> None:
    """Check every chain, on the server or in an exported FILE, and name the first record that is wrong, and how.

    Exit code 1 if one is. The hashes are computed here, not on the server.
    """
    kept = {one.account: one for one in _lines(heads, AuditHead)} if heads is not None else {}
    key = _key(account, environment=environment)
    chains = _chains(key) if file is None else _of_file(file, key)
    counted, faults = _Counted(), list[AuditFault]()
    for fault in _verified(chains, {name: one for name, one in kept.items() if key in (None, name)}, counted):
        faults.append(fault)
        if not as_json:
            say(f"{fault.account or ENVIRONMENT}: record {fault.number}: {fault.detail}", style="red")
        if len(faults) == FAULTS_MAX:
            break
    if as_json:
        show_json({"chains": counted.chains, "records": counted.records, "faults": faults})
    elif not faults:
        say(f"{counted.records} records in {counted.chains} chains: nothing was changed", style="green")
    sys.exit(1 if faults else 0)


class _Counted:
    """How far a verification is, told on standard error now and then."""

    def __init__(self) -> None:
        self.chains = self.records = 0
        self._told_at = time.monotonic()

    def tell(self) -> None:
        if time.monotonic() - self._told_at >= TOLD_EVERY_S:
            self._told_at = time.monotonic()
            click.echo(f"{self.records} records in {self.chains} chains", err=True)


# Any: decoded JSON, as the server sent it.
def _verified(chains: Iterator[dict[str, Any]], kept: dict[str, AuditHead], counted: _Counted) -> Iterator[AuditFault]:
    """The first fault of each chain that has one. A chain may come in several parts that follow one another."""
    check: ChainCheck | None = None
    fault, head = None, None
    for part in chains:
        if check is None or check.account != part["account"]:
            if check is not None:
                yield from _ended(check, fault, head)
            check, fault = ChainCheck(part["account"], kept.pop(part["account"], None)), None
            counted.chains += 1
        for raw in part["records"]:
            fault = fault or check.take(_record(raw))
            counted.records += 1
        head = msgspec.convert(part["head"], AuditHead | None)
        counted.tell()
    if check is not None:
        yield from _ended(check, fault, head)
    for missing in kept.values():
        yield AuditFault(missing.account, 1, f"the whole chain is missing: the head that was kept is {missing.number}")


def _ended(check: ChainCheck, fault: AuditFault | None, head: AuditHead | None) -> Iterator[AuditFault]:
    found = fault or check.end(head)
    if found is not None:
        yield found


def _record(raw: dict[str, Any]) -> AuditRecord:
    """A record as it came: what is wrong with it is for the check to say."""
    names = AuditRecord.__struct_fields__
    if not isinstance(raw, dict) or set(raw) != set(names):
        raise Refused("audit_unreadable", "this is not an audit record; export the chains with `paygrade audit export`")
    return AuditRecord(**raw)


def _chains(key: str | None) -> Iterator[dict[str, Any]]:
    """Parts of chains, from the server: of all of them, or of one."""
    query = {"limit": str(PAGE_MAX), **({"account": key} if key is not None else {})}
    while True:
        page = call("GET", path("v1", "audit", "chains"), query=query)
        yield from page["chains"]
        if page["next"] is None:
            return
        query["after"] = page["next"]


def _of_file(file: Path, key: str | None) -> Iterator[dict[str, Any]]:
    """The same of an export, where the last record of a chain is its head."""
    part: dict[str, Any] | None = None
    for raw in _lines(file, dict[str, Any]):
        account, number, hash = (raw.get(name) for name in ("account", "number", "hash"))
        if key not in (None, account):
            continue
        if part is not None and part["account"] != account:
            yield part
            part = None
        part = part or {"account": account, "records": []}
        part["records"].append(raw)
        part["head"] = {"account": account, "number": number, "hash": hash}
    if part is not None:
        yield part


def _heads(key: str | None) -> Iterator[dict[str, Any]]:
    query = {"limit": str(PAGE_MAX), **({"account": key} if key is not None else {})}
    while True:
        page = call("GET", path("v1", "audit", "heads"), query=query)
        yield from page["heads"]
        if page["next"] is None:
            return
        query["after"] = page["next"]


def _lines(file: Path, kind: Any) -> Iterator[Any]:
    """Any: what each line of a file of JSON is."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield msgspec.json.decode(line, type=kind)
            except msgspec.MsgspecError as error:
                detail = f"{file}:{number}: this is not a line of `paygrade audit`: {str(error).lower()}"
                raise Refused("audit_unreadable", detail) from None


def _key(account: str | None, *, environment: bool) -> str | None:
    if environment and account is not None:
        raise click.UsageError("name an account, or use --environment")
    return "" if environment else account


def _actor(record: dict[str, Any]) -> str:
    its = record["actor"]
    return "erased" if its is None else its["name"] or f"{its['kind']} {its['id']}"


def _targets(record: dict[str, Any]) -> list[str]:
    return [f"{one['kind']} {one['id']}" for one in record["targets"]]


def _changes(record: dict[str, Any]) -> str:
    told = {**record["changes"], **(record["personal"] or {})}
    erased = [] if "personal" in record["salts"] else ["personal data was erased"]
    return ", ".join([*(f"{name}: {_said(value)}" for name, value in told.items()), *erased])


def _said(value: object) -> str:
    if isinstance(value, list) and len(value) == 2:
        return f"{_said(value[0])} → {_said(value[1])}"
    return "-" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
