"""What a server is made of: settings in, parts out. Only the command line and the demo come here.

Law: what is started here is stopped here, in reverse.
"""

import asyncio
import getpass
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import structlog
from litestar.types import ASGIApp

from paygrade.documents.catalog_file import Document
from paygrade.documents.yaml import read_yaml
from paygrade.embedded_postgres import cluster as embedded
from paygrade.embedded_postgres.folder import default_data_dir
from paygrade.postgres import migrate
from paygrade.postgres.server_facts import ServerFacts, look_at_server, shares_sessions
from paygrade.postgres.store import Store
from paygrade.providers.stripe.fields import CUSTOMER_ID
from paygrade.server.http.app import create_app
from paygrade.server.http.bodies import decode_object
from paygrade.server.http.portal.wording import languages
from paygrade.server.operations.audit.note import note
from paygrade.server.operations.catalog.publish import current_catalog, publish_catalog
from paygrade.server.operations.sync.inbox import SyncStatus, sync_status
from paygrade.server.process import tracing
from paygrade.server.process.acting import Acting, Actor, acting_as
from paygrade.server.process.admin_key import kept_key
from paygrade.server.process.audit_stream import Otlp, Sink, Syslog
from paygrade.server.process.clock import Clock
from paygrade.server.process.metrics import Metrics
from paygrade.server.process.outbound import Guard, Sender
from paygrade.server.process.portal_settings import NO_PORTAL_SETTINGS, PortalSettings, read_portal_settings
from paygrade.server.process.scopes import opened_by
from paygrade.server.process.settings import Settings
from paygrade.server.process.simulator import Simulator
from paygrade.server.state.api_keys import KEYS_MAX, ApiKeys
from paygrade.server.state.decision_log import DecisionLog
from paygrade.server.state.oidc_provider import OidcProvider
from paygrade.server.state.snapshots import Snapshots
from paygrade.server.workers.audit_streams import send_audit
from paygrade.server.workers.looks import Looks
from paygrade.server.workers.loop import run_workers
from paygrade.server.workers.webhooks import send_webhooks
from paygrade.values.errors import Mistake, Refused, Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.catalogs import SavedCatalog
    from paygrade.providers.stripe.client import StripeProvider
    from paygrade.providers.stripe.events import EventRef
    from paygrade.providers.stripe.hosted_pages import StripePages
    from paygrade.providers.stripe.idempotent_writes import StripeCommands
    from paygrade.providers.stripe.previews import StripePreviewer
    from paygrade.providers.stripe.shop import StripeShop

log = structlog.get_logger("paygrade.server")

POOLER_ADVICE = (
    "a transaction pooler answers here, which keeps no session; set PAYGRADE_DATABASE_DIRECT_URL to the "
    "PostgreSQL behind it, and leave the pooler in PAYGRADE_DATABASE_URL"
)
PROVIDER = "stripe"
"""Whoever bills, as links and subjects name them."""


def data_dir(settings: Settings) -> Path:
    return settings.data_dir or default_data_dir()


@contextmanager
def database(
    settings: Settings,
    progress: Callable[[str], None] = lambda _: None,
    lost: Callable[[Unavailable], None] | None = None,
) -> Iterator[str]:
    """The database's address, without a pooler where there is one; an embedded one runs until the end of the block.
    With `lost`, it is started again when it ends by itself, and `lost` is called, in a thread, where that does not
    help."""
    if settings.database_url is not None:
        yield settings.database_direct_url or settings.database_url
        return
    with embedded.start(data_dir(settings), progress=progress) as running:
        if lost is not None:
            running.keep_alive(lost=lost, progress=progress)
        yield running.url


async def apply_migrations(database_url: str) -> tuple[str, ...]:
    """Bring the database to this release's schema; the names applied. Refused or Unavailable."""
    with _as_unavailable():
        names = await migrate.migrate(database_url)
    if names:
        with acting_as(command_line()):
            async with Store(database_url) as store, store.transaction() as tx:
                note(tx, "schema.migrate", changes={"applied": names}, at=datetime.now(UTC))
    return names


async def pending_migrations(database_url: str) -> tuple[str, ...]:
    """What `apply_migrations` would apply now. Refused or Unavailable."""
    with _as_unavailable():
        return await migrate.pending(database_url)


async def catalog_in_force(database_url: str) -> "SavedCatalog | None":
    """The catalog that counts; None before the first is published."""
    async with Store(database_url) as store, store.transaction() as tx:
        return await tx.catalogs.load()


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise Unavailable("database_unavailable", f"the database can't be reached: {error}") from error


def command_line() -> Acting:
    """Who runs a command that works on the database itself."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may have nobody of this number
        user = str(os.getuid())
    return Acting(Actor("command_line", user, user))


def admin_key(settings: Settings, database_url: str) -> tuple[str | None, bool]:
    """The admin key, and whether it was made just now, so that nobody has seen it; call it once the embedded database
    has its folder. None: there is none, since somebody has another key that makes keys; Refused `server_has_no_key`
    where nobody has."""
    if settings.admin_key is not None:
        return settings.admin_key, False
    if settings.database_url is None:
        return kept_key(data_dir(settings))
    if not asyncio.run(_can_make_keys(database_url)):
        raise Refused("server_has_no_key", "no key in the database can create others; set PAYGRADE_ADMIN_KEY to a "
                      "long random string that starts with `sk_` until you have created an admin's key")  # fmt: skip
    return None, False


async def _can_make_keys(database_url: str) -> bool:
    async with Store(database_url) as store, store.transaction() as tx:
        live = await tx.api_keys.live(since=datetime.now(UTC), limit=KEYS_MAX)
    return any("keys:write" in opened_by(key.scopes, key.role) for key in live)


def application(
    settings: Settings,
    *,
    database_url: str,
    key: str | None,
    document: Document | None = None,
    metrics: Metrics | None = None,
    sender: Sender | None = None,
) -> ASGIApp:
    """The application these settings describe. `document` is published if no catalog is. `metrics` None: it is the only
    process behind its port. `sender` None: webhooks are sent as the settings say."""
    metrics, sender = metrics or Metrics(), sender or Sender(Guard(settings.webhook_allow))
    store, clock = store_of(settings, database_url), Clock(settings.clock_url)
    sinks, looks, provider = audit_sinks(settings), Looks(store, clock), stripe_provider(settings)

    async def send() -> None:
        await clock.first()
        await send_webhooks(store, sender, clock, looks, metrics)

    async def send_records() -> None:
        await clock.first()
        await send_audit(store, looks, sinks, note=metrics.note_claim)

    async def work() -> None:
        await clock.first()
        await run_workers(
            store,
            provider,
            clock,
            looks,
            commands=stripe_commands(provider) if provider is not None else None,
            shop=stripe_shop(provider) if provider is not None else None,
            webhooks=bool(settings.webhook_secrets),
            sweep_every=settings.sweep_every,
            updates_kept=timedelta(days=settings.updates_days),
            decisions_kept=timedelta(days=settings.decision_log_days),
            note=metrics.note_claim,
        )

    async def look() -> None:
        await clock.first()
        await looks.go_on()

    return create_app(
        store=store,
        clock=clock,
        snapshots=Snapshots(bytes_max=settings.memory_mb * 1_000_000),
        keys=ApiKeys(key, settings.mode),
        verify=StripeVerify(settings.webhook_secrets) if settings.webhook_secrets else None,
        provider=PROVIDER,
        customer_id=CUSTOMER_ID,
        has_provider=provider is not None,
        previewer=stripe_previewer(provider) if provider is not None else None,
        pages=stripe_pages(provider) if provider is not None else None,
        portal_settings=portal_settings(settings),
        public_url=settings.public_url,
        sender=sender,
        log_in_provider=OidcProvider(settings.oidc) if settings.oidc is not None else None,
        personal_properties=settings.personal_properties,
        decision_log=decision_log(settings, metrics),
        simulator=Simulator(settings.clock_url) if settings.clock_url is not None else None,
        trusted_proxies=settings.trusted_proxies,
        second_person=settings.second_person,
        schema_pending=partial(pending_migrations, database_url),
        first=partial(_publish_first, store, clock, document) if document is not None else None,
        work=[("looks", look), ("workers", work), ("webhooks", send), *([("audit", send_records)] if sinks else [])],
        metrics=metrics,
    )


def audit_sinks(settings: Settings) -> list[Sink]:
    """Where audit records are sent."""
    sinks: list[Sink] = [] if settings.audit_syslog is None else [Syslog(settings.audit_syslog)]
    if settings.audit_otlp is not None:
        sinks.append(Otlp(settings.audit_otlp, settings.audit_otlp_headers))
    return sinks


def decision_log(settings: Settings, metrics: Metrics) -> DecisionLog | None:
    """What keeps decisions; None: the settings say that none are kept."""
    if settings.decision_log == "off":
        return None
    return DecisionLog(settings.decision_log, settings.decision_log_percent, metrics.note_logged)


def portal_settings(settings: Settings) -> PortalSettings:
    """What the customers' pages look like and offer. Refused `invalid_settings`."""
    if settings.portal is None:
        return NO_PORTAL_SETTINGS
    try:
        document, _ = read_yaml(settings.portal.read_bytes())
    except (OSError, Refused) as error:
        why = error.strerror if isinstance(error, OSError) else error.mistakes[0].message
        mistake = Mistake("PAYGRADE_PORTAL", f"`{settings.portal}` can't be read: {why}")
        raise Refused("invalid_settings", f"{mistake.pointer}: {mistake.message}", (mistake,)) from None
    return read_portal_settings(document, languages())


def store_of(settings: Settings, database_url: str) -> Store:
    """The store these settings describe; `database_url` leads to it without a pooler."""
    return Store(
        settings.database_url or database_url,
        direct_url=database_url,
        replica_url=settings.database_replica_url,
        traceparent=tracing.traceparent,
    )


async def refuse_shared_sessions(database_url: str) -> None:
    """Refused `pooler_in_between` where a transaction pooler stands before what needs a session of its own: changes
    would go unheard, and leases would belong to nobody."""
    if await shares_sessions_at(database_url):
        raise Refused("pooler_in_between", POOLER_ADVICE)


async def shares_sessions_at(database_url: str) -> bool:
    """Whether a transaction pooler answers at this address. Unavailable."""
    with _as_unavailable():
        return await shares_sessions(database_url)


async def sync_state(database_url: str) -> SyncStatus:
    """What billing sync has found. Unavailable."""
    async with Store(database_url) as store:
        return await sync_status(store, PROVIDER, now=datetime.now(UTC))


async def server_facts(database_url: str) -> ServerFacts:
    """What the PostgreSQL at this address is like. Unavailable."""
    with _as_unavailable():
        return await look_at_server(database_url)


def stripe_provider(settings: Settings) -> "StripeProvider | None":
    if settings.stripe_api_key is None:
        return None
    from paygrade.providers.stripe.client import StripeProvider

    return StripeProvider(api_key=settings.stripe_api_key, api_base=settings.stripe_api_base)


def stripe_previewer(provider: "StripeProvider") -> "StripePreviewer":
    """What says what a change will cost, asked at the same pace as `provider`."""
    from paygrade.providers.stripe.previews import StripePreviewer

    return StripePreviewer(provider.connection)


def stripe_pages(provider: "StripeProvider") -> "StripePages":
    """The pages of the account that `provider` reads, made at the same pace."""
    from paygrade.providers.stripe.hosted_pages import StripePages

    return StripePages(provider.connection)


def stripe_commands(provider: "StripeProvider") -> "StripeCommands":
    """What writes to the account that `provider` reads, at the same pace."""
    from paygrade.providers.stripe.idempotent_writes import StripeCommands

    return StripeCommands(provider.connection)


def stripe_shop(provider: "StripeProvider") -> "StripeShop":
    """What is sold at the account that `provider` reads, at the same pace."""
    from paygrade.providers.stripe.shop import StripeShop

    return StripeShop(provider.connection)


class StripeVerify:
    """Reads webhooks of Stripe: first whether one is Stripe's, then what it is about."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets

    def look(self, header: str | None, at: datetime) -> None:
        from paygrade.providers.stripe import signatures

        signatures.look(header, at)

    def verify(self, raw: bytes, header: str | None, at: datetime) -> "EventRef":
        from paygrade.providers.stripe import signatures
        from paygrade.providers.stripe.events import refs

        signatures.verify(raw, header, self._secrets, at)
        return refs(decode_object(raw))


async def _publish_first(store: Store, clock: Clock, document: Document) -> None:
    """Publish the catalog of PAYGRADE_CATALOG where there is none; say so where it differs from what is in force."""
    at = await clock.first()
    content, lines = document
    try:
        saved = await current_catalog(store)
    except Refused:
        plan = await publish_catalog(store, document=content, lines=lines, dry_run=False, at=at, by="PAYGRADE_CATALOG")
        if plan.published:  # else another server was quicker
            log.info("catalog_published", version=plan.version)
        return
    if saved.document != content:
        advice = "the file in PAYGRADE_CATALOG differs from the catalog in force; run `paygrade catalog plan`"
        log.warning("catalog_differs", in_force=saved.version, advice=advice)
