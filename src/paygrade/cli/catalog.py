"""`paygrade catalog`: read a catalog's file, see what it would change, publish it."""

import json
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from paygrade.catalog.parse import json_schema
from paygrade.cli.api import call, path
from paygrade.cli.catalog_at_stripe import check, pull, push_to_stripe, show_differences
from paygrade.cli.ladders import ladder
from paygrade.cli.migrations import migrate, migration, migrations
from paygrade.cli.output import MOMENT, as_json, confirm, for_people, page_limit, say, show_json, table, yes
from paygrade.cli.simulations import simulate
from paygrade.cli.wording import instant
from paygrade.documents.catalog_file import read_catalog
from paygrade.values.errors import Mistake, Refused

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_existing = click.option(
    "--existing",
    type=click.Choice(["follow", "keep"]),
    default="follow",
    show_default=True,
    help="Whether existing customers follow the change or keep their version.",
)
_at = click.option(
    "--at", type=MOMENT, help="With --existing follow: when, for example 2027-01-01; at once by default."
)


@click.group()
def catalog() -> None:
    """Read, plan and publish the catalog, sell it at Stripe, and move accounts to other versions of it."""


for _command in (check, ladder, pull, migrate, migration, migrations, simulate):
    catalog.add_command(_command)


@catalog.command()
@click.argument("files", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path), nargs=-1)
@as_json
def lint(files: tuple[Path, ...], as_json: bool) -> None:
    """Check FILES (paygrade.yaml; `-` is standard input) and print every mistake as file:line:column. Needs no server.

    Exit code 1 if there is a mistake.
    """
    files = files or (_file.convert("paygrade.yaml", None, None),)
    found = {_shown(file): _mistakes(file) for file in files}
    wrong = [(file, mistake) for file, mistakes in found.items() for mistake in mistakes]
    if as_json:
        told = ({"file": file, **msgspec.to_builtins(mistake)} for file, mistake in wrong)
        show_json({"files": list(found), "mistakes": list(told)})
    else:
        for file, mistakes in found.items():
            for it in mistakes:
                place = (file, it.line, it.column) if it.line else (file, it.pointer)
                say(f"{':'.join(str(part) for part in place if part)}: {it.message}", style="red")
            if not mistakes:
                say(f"{file}: no mistakes", style="green")
    sys.exit(1 if wrong else 0)


def _mistakes(file: Path) -> tuple[Mistake, ...]:
    try:
        read_catalog(file, sys.stdin.buffer.read() if file == _STDIN else None)
    except Refused as refused:
        return refused.mistakes
    return ()


def _shown(file: Path) -> str:
    return "<stdin>" if file == _STDIN else str(file)


_STDIN = Path("-")


@catalog.command()
@as_json
def schema(as_json: bool) -> None:
    """Print the JSON Schema of the catalog's file, for editors that complete and check it."""
    if as_json:
        show_json(json_schema())
    else:
        click.echo(json.dumps(json_schema(), indent=2))


@catalog.command()
@click.argument("file", type=_file, default="paygrade.yaml")
@_existing
@_at
@as_json
def plan(file: Path, existing: str, at: str | None, as_json: bool) -> None:
    """Show what publishing FILE would change, and for whom. Changes nothing.

    With PAYGRADE_STRIPE_API_KEY it also shows what Stripe sells otherwise, as `catalog check` does.
    """
    becomes = _becomes(existing, at)
    planned = _send(file, {"dry_run": "true", **becomes})
    there = show_differences(file)
    if there is not None:
        planned["stripe"] = there
    said = "".join(f" --{name} {value}" for name, value in becomes.items())
    _show_plan(planned, f"paygrade catalog push {planned['plan_id']} --file {file}{said}", as_json=as_json)


@catalog.command()
@click.argument("what", required=False, metavar="[FILE|PLAN_ID]")
@click.option("--file", type=_file, help="With PLAN_ID: the document that was planned; paygrade.yaml by default.")
@_existing
@_at
@click.option("--to-stripe", is_flag=True, help="Make products, prices and meters at Stripe instead; needs no server.")
@click.option("--dry-run", is_flag=True, help="With --to-stripe: only show what would be made.")
@click.option(
    "--archive-old", is_flag=True, help="With --to-stripe: archive prices that it made and that lost their key."
)
@click.option("--live", is_flag=True, help="With --to-stripe: yes, the key is a live one.")
@yes
@as_json
def push(
    what: str | None, file: Path | None, existing: str, at: str | None, to_stripe: bool, dry_run: bool,
    archive_old: bool, live: bool, yes: bool, as_json: bool
) -> None:  # fmt: skip
    """Publish FILE (paygrade.yaml). On a terminal it first shows what that changes, and asks.

    With PLAN_ID, which `catalog plan` prints, it publishes exactly what was planned, or refuses if anything has changed
    since.

    With --to-stripe it makes what FILE sells in the Stripe account of PAYGRADE_STRIPE_API_KEY. A price that somebody
    may pay is never changed: another one is made, takes over the lookup key, and the old one stays for who pays it.
    Run it again after an interruption; nothing is made twice.
    """
    if not to_stripe and (dry_run or archive_old or live):
        raise click.UsageError("--dry-run, --archive-old and --live go with --to-stripe; see `catalog plan`")
    if to_stripe and (existing != "follow" or at is not None):
        raise click.UsageError("--existing and --at say what becomes of customers here; leave them out")
    becomes = _becomes(existing, at)
    given = Path(what) if what is not None and Path(what).is_file() else None
    if given is not None and file is not None:
        raise click.UsageError(f"name one document: `{what}` or --file {file}")
    plan_id = what if given is None else None
    if plan_id is not None and Path(plan_id).suffix:
        raise click.UsageError(f"there is no file `{plan_id}`")
    document = given or file or Path("paygrade.yaml")
    if not document.is_file():
        raise click.UsageError(f"there is no file `{document}`; name the catalog to publish")
    if to_stripe:
        if plan_id is not None:
            raise click.UsageError(f"`{plan_id}` is no file; a plan id is for publishing to a server")
        push_to_stripe(document, yes=yes, dry_run=dry_run, live=live, archive_old=archive_old, as_json=as_json)
    if plan_id is None and not yes and for_people() and not as_json:
        planned = _send(document, {"dry_run": "true", **becomes})
        _show(planned)
        if planned["version"] == planned["base_version"]:
            return
        confirm(f"Publish this as version {planned['version']}?", yes=yes)
        plan_id = planned["plan_id"]
    pushed = _send(document, {**({"plan": plan_id} if plan_id else {}), **becomes})
    _show_pushed(pushed, as_json=as_json)


@catalog.command()
@click.argument("version", type=click.IntRange(min=1))
@click.option("--plan", "plan_id", metavar="PLAN_ID", help="Publish exactly this plan.")
@_existing
@_at
@as_json
def rollback(version: int, plan_id: str | None, existing: str, at: str | None, as_json: bool) -> None:
    """Publish the document of VERSION again as the newest; without --plan, only show what that would change."""
    document = call("GET", path("v1", "catalog", "versions", str(version)))["document"]
    becomes = _becomes(existing, at)
    if plan_id is not None:
        _show_pushed(call("PUT", "/v1/catalog", body=document, query={"plan": plan_id, **becomes}), as_json=as_json)
        return
    planned = call("PUT", "/v1/catalog", body=document, query={"dry_run": "true", **becomes})
    said = "".join(f" --{name} {value}" for name, value in becomes.items())
    again = f"paygrade catalog rollback {version} --plan {planned['plan_id']}{said}"
    _show_plan(planned, again, as_json=as_json)


@catalog.command()
@click.argument("plan", required=False)
@click.option("--version", type=click.IntRange(min=1), help="Only accounts on this version.")
@click.option("--after", default="", help="Show accounts after this key.")
@page_limit()
@as_json
def who(plan: str | None, version: int | None, after: str, limit: int, as_json: bool) -> None:
    """Count the accounts on each version of every plan and add-on, or of PLAN with a list of its accounts."""
    if plan is None:
        told = call("GET", "/v1/catalog/plans")
    else:
        query = {"limit": str(limit), "after": after, "version": "" if version is None else str(version)}
        given = {name: value for name, value in query.items() if value}
        told = call("GET", path("v1", "catalog", "plans", plan, "accounts"), query=given)
    if as_json:
        show_json(told)
        return
    rows = ((f"{each['key']}@{each['version']}", each["why"], each["accounts"]) for each in told["versions"])
    table(("version", "why", "accounts"), rows)
    if plan is None:
        return
    say()
    held = ((one["account"], one["version"]) for one in told["accounts"])
    table(("account", "version", "why", "since", "until", "note"),
          ((account, f"{had['key']}@{had['version']}", had["why"], _dated(had, "since"), _dated(had, "until"),
            had.get("reason")) for account, had in held))  # fmt: skip
    if told["next"] is not None:
        click.echo(f"more: --after {told['next']}", err=True)


@catalog.command()
@as_json
def versions(as_json: bool) -> None:
    """List published versions, the newest first."""
    found = call("GET", "/v1/catalog/versions")
    if as_json:
        show_json(found)
        return
    rows = ((each["version"], instant(each["published_at"]), each["published_by"]) for each in found["versions"])
    table(("version", "published", "by"), rows)


# Any: decoded JSON, as the server sent it.
def _send(file: Path, query: dict[str, str]) -> Any:
    media_type = "application/json" if file.suffix == ".json" else "application/yaml"
    return call("PUT", "/v1/catalog", content=file.read_bytes(), media_type=media_type, query=query)


def _show(planned: dict[str, Any]) -> None:
    if planned["version"] == planned["base_version"]:
        say(f"the document is the same as version {planned['version']}")
        return
    say(f"version {planned['base_version']} → {planned['version']}", style="bold")
    for change in planned["changes"]:
        before, after = change["before"], change["after"]
        mark, style = ("+", "green") if before is None else ("-", "red") if after is None else ("~", "yellow")
        texts = " → ".join(text for text in (before, after) if text is not None)
        say(f"{mark} {change['pointer']}: {texts}", style=style)
    if planned["existing"]:
        say()
        rows = (
            (each["before"], each["after"], each["why"], _dated(each, "until"), each["accounts"])
            for each in planned["existing"]
        )
        table(("have", "will have", "why", "until", "accounts"), rows)
    impact = planned["impact"]
    say()
    say(f"{impact['affected']} of {impact['accounts']} accounts affected: {impact['gaining']} gain, "
        f"{impact['losing']} lose, {impact['changing']} see another value")  # fmt: skip
    if planned["rereads"]:
        say(f"{planned['rereads']} customers are read again at the provider, as the policies ask more of them; "
            "`paygrade sync status` shows how far that is")  # fmt: skip
    if impact["sample"]:
        rows = ((e["account"], e["feature"], e["how"], e["before"], e["after"]) for e in impact["sample"])
        table(("account", "feature", "how", "before", "after"), rows)


def _show_plan(planned: dict[str, Any], again: str, *, as_json: bool) -> None:
    if as_json:
        show_json(planned)
        return
    _show(planned)
    _show_at_stripe(planned.get("stripe"))
    if planned["version"] == planned["base_version"]:
        return
    say()
    say(f"plan id: {planned['plan_id']}", style="bold")
    say(f"publish exactly this: {again}")


def _show_at_stripe(differences: list[dict[str, Any]] | None) -> None:
    if differences is None:
        return
    say()
    say(
        "Otherwise at Stripe:" if differences else "Stripe sells what it says.",
        style="bold" if differences else "green",
    )
    for each in differences:
        say(f"{each['pointer'] or each['object'] or 'Stripe'}: {each['message']}", style="yellow")


def _show_pushed(pushed: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(pushed)
        return
    _show(pushed)
    say()
    if pushed["published"]:
        say(f"published version {pushed['version']}", style="green")
    else:
        say(f"version {pushed['version']} is the same; nothing to publish")


def _becomes(existing: str, at: str | None) -> dict[str, str]:
    """What is to become of those who have what changes, as the query says it."""
    if at is not None and existing == "keep":
        raise click.UsageError("--at goes with --existing follow; kept versions never change")
    return {**({"existing": existing} if existing != "follow" else {}), **({"at": at} if at else {})}


def _dated(told: dict[str, Any], name: str) -> str | None:
    return instant(told[name]) if told.get(name) else None
