"""`paygrade doctor`: what is set, what answers, and what to do about the rest."""

import asyncio
import os
import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import click
import httpx2

from paygrade.cli import wiring
from paygrade.cli.api import target
from paygrade.cli.database_symptoms import examine_pooler, examine_server, examine_sync
from paygrade.cli.log_in_symptoms import examine_log_in
from paygrade.cli.output import as_json, say, show_json
from paygrade.cli.provider_symptoms import examine_provider
from paygrade.cli.symptoms import Symptom
from paygrade.documents.catalog_file import read_catalog
from paygrade.server.process.settings import Settings, parse_settings
from paygrade.values.errors import Refused, Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.catalogs import SavedCatalog

_STYLES = {"ok": "green", "note": "yellow", "wrong": "red"}


@click.command()
@as_json
def doctor(as_json: bool) -> None:
    """Check settings, database, schema, catalog, sync, clock, log-in, provider and webhooks. Changes nothing.

    Each line says what to do. Exit code 1 if something is wrong.
    """
    symptoms: list[Symptom] = []
    for symptom in _examine():
        symptoms.append(symptom)
        if not as_json:
            say(f"{symptom.state:5}  {symptom.what:11}  {symptom.detail}", style=_STYLES[symptom.state])
    if as_json:
        show_json(symptoms)
    sys.exit(1 if any(symptom.state == "wrong" for symptom in symptoms) else 0)


def _examine() -> Iterator[Symptom]:
    try:
        settings = parse_settings(os.environ)
    except Refused as error:
        yield from (Symptom("settings", "wrong", f"{each.pointer}: {each.message}") for each in error.mistakes)
        return
    yield Symptom("settings", "ok", "every variable is valid")
    yield _admin_key(settings)
    in_force = yield from _database(settings)
    if settings.clock_url is not None:
        yield _clock(settings.clock_url)
    if (log_in := examine_log_in(settings)) is not None:
        yield log_in
    yield from examine_provider(settings, in_force.catalog if in_force is not None else None)
    yield _server()


def _admin_key(settings: Settings) -> Symptom:
    if settings.admin_key is None and settings.database_url is not None:
        return Symptom("key", "ok", "PAYGRADE_ADMIN_KEY is not set: keys are those that `paygrade keys` created")
    if settings.admin_key is None:
        return Symptom("key", "ok", f"created at the first start, in {wiring.data_dir(settings)}/admin_key")
    if len(settings.admin_key) < 20 or not settings.admin_key.startswith("sk_"):
        return Symptom("key", "note", "PAYGRADE_ADMIN_KEY is easy to guess; use `sk_` and 32 random characters")
    return Symptom("key", "ok", "PAYGRADE_ADMIN_KEY is set")


def _database(settings: Settings) -> Generator[Symptom, None, "SavedCatalog | None"]:
    """What there is to say of the database; the catalog in force comes of it."""
    folder = wiring.data_dir(settings)
    if settings.database_url is None and not any(folder.glob("*")):
        yield Symptom("database", "ok", f"none yet; `paygrade serve` creates one in {folder}")
        yield from _catalog_file(settings, None)
        return None
    try:
        with wiring.database(settings) as database_url:
            where = "PAYGRADE_DATABASE_URL" if settings.database_url else f"embedded in {wiring.data_dir(settings)}"
            missing = asyncio.run(wiring.pending_migrations(database_url))
            yield Symptom("database", "ok", f"answers ({where})")
            if (pooler := examine_pooler(settings, database_url)) is not None:
                yield pooler
                if pooler.state == "wrong":
                    return None  # nothing else is as it seems
            yield from examine_server(settings, database_url)
            if missing:
                yield Symptom("schema", "wrong", f"lacks {', '.join(missing)}; run `paygrade migrate`")
                return None
            yield Symptom("schema", "ok", "is up to date")
            in_force = asyncio.run(wiring.catalog_in_force(database_url))
            if in_force is not None:
                published = (
                    f"version {in_force.catalog.version} is in force, published {in_force.published_at:%Y-%m-%d}"
                )
                yield Symptom("catalog", "ok", published)
            yield from _catalog_file(settings, in_force)
            if settings.stripe_api_key is not None:
                yield from examine_sync(database_url)
            return in_force
    except Unavailable as error:
        yield Symptom("database", "wrong", error.detail)
    except Refused as error:
        yield Symptom("schema", "wrong", error.detail)
    return None


def _clock(url: str) -> Symptom:
    try:
        answer = httpx2.get(f"{url}/_simulator/clock", timeout=5, trust_env=False)
        answer.raise_for_status()
        return Symptom("clock", "note", f"follows the simulator at {url}, where it is {answer.json()['now']}")
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        advice = "start it with `paygrade simulator serve`, or unset PAYGRADE_CLOCK_URL"
        return Symptom("clock", "wrong", f"no clock answers at {url} ({error}); {advice}")


def _catalog_file(settings: Settings, in_force: "SavedCatalog | None") -> Iterator[Symptom]:
    """What PAYGRADE_CATALOG names: it is published at the first start, and only compared from then on."""
    if settings.catalog is None:
        if in_force is None:
            advice = "set PAYGRADE_CATALOG, or publish one with `paygrade catalog push FILE`"
            yield Symptom("catalog", "ok", f"none yet; {advice}")
        return
    try:
        content, _ = read_catalog(settings.catalog)
    except Refused as error:
        mistakes = "; ".join(str(mistake) for mistake in error.mistakes)
        yield Symptom("catalog", "wrong" if in_force is None else "note", f"{settings.catalog}: {mistakes}")
        return
    if in_force is not None and in_force.document != content:
        advice = f"`paygrade catalog plan {settings.catalog}` shows how"
        yield Symptom("catalog", "note", f"{settings.catalog} differs from the catalog in force; {advice}")
    else:
        same = "is published at the first start" if in_force is None else "is in force"
        yield Symptom("catalog", "ok", f"{settings.catalog} has no mistakes and {same}")


def _server() -> Symptom:
    url = target().url
    try:
        answer = httpx2.get(f"{url}/readyz", timeout=5, trust_env=False)
    except httpx2.HTTPError:
        return Symptom("server", "ok", f"none runs at {url}; start it with `paygrade serve`")
    if answer.is_success:
        return Symptom("server", "ok", f"answers at {url}")
    return Symptom("server", "wrong", f"answers at {url}, but is not ready: {answer.text[:200]}")
