"""`paygrade catalog`: read a catalog's file, see what it would change, publish it."""

from pathlib import Path
from typing import Any

import click

from paygrade.server.catalog_file import read_catalog
from paygrade.server.commands.api import call
from paygrade.server.commands.output import as_json, say, show_json, table
from paygrade.server.sentences import instant

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def catalog() -> None:
    """Read, plan and publish the catalog."""


@catalog.command()
@click.argument("file", type=_file, default="paygrade.yaml")
@as_json
def lint(file: Path, as_json: bool) -> None:
    """Read FILE and name every mistake in it; needs no server."""
    read_catalog(file)
    if as_json:
        show_json({"file": str(file), "mistakes": []})
    else:
        say(f"{file}: no mistakes", style="green")


@catalog.command()
@click.argument("file", type=_file, default="paygrade.yaml")
@as_json
def plan(file: Path, as_json: bool) -> None:
    """Show what publishing FILE would change, and for whom. Changes nothing."""
    planned = _send(file, {"dry_run": "true"})
    if as_json:
        show_json(planned)
        return
    _show(planned)
    if planned["version"] == planned["base_version"]:
        return
    say()
    say(f"plan id: {planned['plan_id']}", style="bold")
    say(f"publish exactly this: paygrade catalog push {planned['plan_id']} --file {file}")


@catalog.command()
@click.argument("plan_id", required=False)
@click.option("--file", type=_file, default="paygrade.yaml", show_default=True, help="The document that was planned.")
@as_json
def push(plan_id: str | None, file: Path, as_json: bool) -> None:
    """Publish a document; with PLAN_ID only if nothing has changed since the plan was made."""
    pushed = _send(file, {"plan": plan_id} if plan_id else {})
    if as_json:
        show_json(pushed)
        return
    _show(pushed)
    say()
    if pushed["published"]:
        say(f"published version {pushed['version']}", style="green")
    else:
        say(f"version {pushed['version']} says the same; nothing to publish")


@catalog.command()
@as_json
def versions(as_json: bool) -> None:
    """List published versions, the newest first."""
    found = call("GET", "/v1/catalog/versions")
    if as_json:
        show_json(found)
        return
    rows = ((each["version"], instant(each["published_at"]), each["published_by"]) for each in found)
    table(("version", "published", "by"), rows)


# Any: decoded JSON, as the server sent it.
def _send(file: Path, query: dict[str, str]) -> Any:
    media_type = "application/json" if file.suffix == ".json" else "application/yaml"
    return call("PUT", "/v1/catalog", content=file.read_bytes(), media_type=media_type, query=query)


def _show(planned: dict[str, Any]) -> None:
    if planned["version"] == planned["base_version"]:
        say(f"the document says what version {planned['version']} says")
        return
    say(f"version {planned['base_version']} → {planned['version']}", style="bold")
    for change in planned["changes"]:
        before, after = change["before"], change["after"]
        mark, style = ("+", "green") if before is None else ("-", "red") if after is None else ("~", "yellow")
        texts = " → ".join(text for text in (before, after) if text is not None)
        say(f"{mark} {change['pointer']}: {texts}", style=style)
    impact = planned["impact"]
    say()
    say(f"{impact['affected']} of {impact['accounts']} accounts affected: {impact['gaining']} gain, "
        f"{impact['losing']} lose, {impact['changing']} see another value")  # fmt: skip
    if impact["sample"]:
        rows = ((e["account"], e["feature"], e["how"], e["before"], e["after"]) for e in impact["sample"])
        table(("account", "feature", "how", "before", "after"), rows)
