"""The application: routes, guards and background work around the parts it is given."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache, partial
from re import Pattern
from typing import TYPE_CHECKING

import structlog
from litestar import Litestar, Router
from litestar.di import Provide
from litestar.types import ASGIApp, ControllerRouterHandler, Scope

from paygrade.providers.port import Previewer, Selling
from paygrade.server.http.announcements import announce_record, announcer
from paygrade.server.http.auth import require_key, scope_of
from paygrade.server.http.conditional import Conditional
from paygrade.server.http.console.failures import for_whoever_asks
from paygrade.server.http.console.routes import console
from paygrade.server.http.context import Context, Verify, context_of
from paygrade.server.http.cross_origin import CrossOrigin
from paygrade.server.http.edge import DecodePath, Edge, NameMethods
from paygrade.server.http.hot_path import HotPath
from paygrade.server.http.idempotency import KeyedRequests
from paygrade.server.http.lifespan import FIRST, Application, Work, beside, missing
from paygrade.server.http.parameters import refuse_odd_texts
from paygrade.server.http.portal import elements
from paygrade.server.http.portal.pages import portal
from paygrade.server.http.problems import HANDLERS
from paygrade.server.http.routes import (
    accounts,
    api_keys,
    approvals,
    audit,
    catalogs,
    checkouts,
    contracts,
    decisions,
    events,
    following,
    gateway,
    health,
    history,
    leases,
    members,
    migrations,
    money_reports,
    nodes,
    ofrep,
    ofrep_stream,
    oidc,
    own_pages,
    people,
    personal_data,
    plan_changes,
    portal_sessions,
    reports,
    simulations,
    statements,
    sync,
    tokens,
    top_ups,
    updates,
    usage,
    webhook_endpoints,
    webhooks,
)
from paygrade.server.http.routes.gateway import AnyAddress
from paygrade.server.http.second_person import before_handler
from paygrade.server.http.version import Versioned
from paygrade.server.operations.usage.group_commit import GroupCommit
from paygrade.server.process.client_address import Network
from paygrade.server.process.clock import Clock
from paygrade.server.process.metrics import Metrics
from paygrade.server.process.outbound import Sender
from paygrade.server.process.portal_settings import NO_PORTAL_SETTINGS, PortalSettings
from paygrade.server.process.second_person import MoneyKind
from paygrade.server.process.simulator import Simulator
from paygrade.server.state.api_keys import ApiKeys
from paygrade.server.state.decision_log import DecisionLog
from paygrade.server.state.oidc_provider import OidcProvider
from paygrade.server.state.snapshots import Snapshots
from paygrade.server.workers.loop import look_regularly

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

log = structlog.get_logger("paygrade.server")

BODY_BYTES_MAX = 4 * 1024 * 1024
HEARS_S, LOOK_S = 2.0, 0.01

KEYED = [
    decisions.check,
    decisions.list_decisions,
    decisions.explain,
    decisions.entitlements,
    history.list_logged_decisions,
    history.replay_decision,
    history.report_entitlements,
    decisions.refresh_account,
    following.read_snapshots,
    following.stream,
    accounts.list_accounts,
    accounts.put_account,
    accounts.get_account,
    accounts.delete_account,
    accounts.timeline,
    accounts.versions,
    accounts.rebuild_account,
    personal_data.export_account,
    personal_data.erase_account,
    audit.list_audit_records,
    audit.list_account_audit_records,
    audit.read_audit_chains,
    audit.list_audit_heads,
    own_pages.get_summary,
    money_reports.revenue_report,
    money_reports.leakage_report,
    money_reports.credits_report,
    money_reports.usage_report,
    money_reports.mrr_report,
    portal_sessions.open_pages,
    portal_sessions.end_pages,
    own_pages.list_plans,
    statements.put_override,
    statements.delete_override,
    statements.put_block,
    statements.delete_block,
    statements.put_member,
    statements.delete_member,
    statements.put_subscription,
    statements.put_pin,
    statements.delete_pin,
    members.list_members,
    members.put_members,
    members.choose_seats,
    contracts.list_contracts,
    contracts.put_contract,
    contracts.delete_contract,
    contracts.put_invoice,
    contracts.put_billing,
    nodes.list_nodes,
    nodes.put_nodes,
    usage.consume,
    usage.reserve,
    usage.commit,
    usage.release,
    usage.extend,
    leases.take_lease,
    leases.step_leases,
    usage.give,
    usage.void,
    usage.balance,
    usage.ledger,
    usage.state_usage,
    usage.alerts,
    checkouts.checkout,
    checkouts.top_up_checkout,
    checkouts.billing_portal,
    plan_changes.quote_plan_change,
    plan_changes.get_quote,
    plan_changes.change_plan,
    plan_changes.list_plan_changes,
    plan_changes.get_plan_change,
    plan_changes.take_back_plan_change,
    plan_changes.revert_plan_change,
    events.tell_events,
    events.tell_cloud_events,
    events.read_usage,
    catalogs.put_catalog,
    catalogs.get_catalog,
    catalogs.list_catalog_versions,
    catalogs.get_catalog_version,
    catalogs.count_versions,
    catalogs.list_version_holders,
    catalogs.get_plan_ladder,
    simulations.simulate_catalog,
    migrations.start_migration,
    migrations.list_migrations,
    migrations.get_migration,
    migrations.list_moved_accounts,
    migrations.pause_migration,
    migrations.resume_migration,
    migrations.roll_back_migration,
    sync.sync_status,
    sync.sweep,
    sync.get_sweep,
    sync.list_drift,
    sync.list_events,
    reports.list_usage_reports,
    reports.list_open_usage_reports,
    reports.reconcile,
    top_ups.list_top_ups,
    top_ups.retry_top_up,
    updates.list_updates,
    updates.list_account_updates,
    gateway.authorize,
    gateway.authorize_posted,
    ofrep.evaluate_flag,
    ofrep.evaluate_flags,
    ofrep_stream.follow_flags,
    tokens.issue_token,
    tokens.rotate_signing_key,
    api_keys.create_key,
    api_keys.list_keys,
    api_keys.get_key,
    api_keys.rotate_key,
    api_keys.revoke_key,
    approvals.list_approvals,
    approvals.get_approval,
    approvals.approve,
    approvals.decline,
    approvals.withdraw,
    people.list_people,
    people.add_person,
    people.set_role,
    people.reset_person,
    people.remove_person,
    webhook_endpoints.create_webhook_endpoint,
    webhook_endpoints.list_webhook_endpoints,
    webhook_endpoints.get_webhook_endpoint,
    webhook_endpoints.update_webhook_endpoint,
    webhook_endpoints.remove_webhook_endpoint,
    webhook_endpoints.rotate_webhook_secret,
    webhook_endpoints.test_webhook_endpoint,
    webhook_endpoints.replay_webhooks,
    webhook_endpoints.list_webhook_deliveries,
]
OPEN: list[ControllerRouterHandler] = [
    webhooks.stripe_webhook,
    health.healthz,
    health.readyz,
    health.metrics,
    health.openapi,
    health.problem_kind,
    tokens.jwks,
    people.log_in,
    people.log_out,
    people.me,
    people.change_password,
    oidc.log_in_ways,
    # A browser comes here by itself: who looks at it reads what went wrong.
    Router("/", route_handlers=[oidc.begin_oidc, oidc.end_oidc], exception_handlers={Exception: for_whoever_asks}),
    elements.send_elements,
    elements.send_words,
]


def create_app(
    *,
    store: "Store",
    clock: Clock,
    snapshots: Snapshots,
    keys: ApiKeys,
    provider: str,
    customer_id: Pattern[str],
    verify: Verify | None = None,
    has_provider: bool = False,
    previewer: Previewer | None = None,
    pages: Selling | None = None,
    portal_settings: PortalSettings = NO_PORTAL_SETTINGS,
    public_url: str | None = None,
    sender: Sender,
    log_in_provider: OidcProvider | None = None,
    personal_properties: tuple[str, ...] = (),
    decision_log: DecisionLog | None = None,
    simulator: Simulator | None = None,
    trusted_proxies: Sequence[Network] = (),
    second_person: frozenset[MoneyKind] = frozenset(),
    schema_pending: Callable[[], Awaitable[Sequence[str]]],
    first: Work | None = None,
    work: Sequence[tuple[str, Work]] = (),
    metrics: Metrics,
) -> ASGIApp:
    """The ASGI application. `store` is opened and closed with it; `work` runs beside it, each under its name.

    `schema_pending` tells which migrations the database lacks. `first` has to be done before it is ready.
    """
    _announce(store, clock, snapshots, metrics)
    tasks: dict[str, asyncio.Task[None]] = {}

    parts = Context(
        store=store,
        snapshots=snapshots,
        clock=clock,
        commits=GroupCommit(store, snapshots, clock, note_batch=metrics.batches.note),
        keys=keys,
        metrics=metrics,
        verify=verify,
        provider=provider,
        customer_id=customer_id,
        has_provider=has_provider,
        previewer=previewer,
        pages=pages,
        portal=portal_settings,
        public_url=public_url,
        sender=sender,
        oidc=log_in_provider,
        second_person=second_person,
        personal_properties=personal_properties,
        decision_log=decision_log,
        simulator=simulator,
        ready=partial(missing, clock, schema_pending, tasks),
    )

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        works = (*_own_work(parts), *work, *([] if first is None else [(FIRST, first)]))
        async with store, beside(tasks, works):
            await _until(lambda: snapshots.broadcast.hears)
            yield

    app = CrossOrigin(Application(parts, running, _routes()), KEYED)
    return Edge(AnyAddress(app), metrics, HotPath(parts), stop=snapshots.broadcast.stop, proxies=trusted_proxies)


def _own_work(parts: Context) -> list[tuple[str, Work]]:
    """What runs beside every application."""
    store, clock, snapshots, keys = parts.store, parts.clock, parts.snapshots, parts.keys
    logged = parts.decision_log
    return [
        *([] if logged is None else [("decision log", lambda: logged.run(store))]),
        ("clock", clock.follow),
        ("snapshots", lambda: snapshots.follow(store, others=[keys.hear])),
        ("keys", lambda: keys.follow(store, clock)),
        ("group commit", parts.commits.run),
        ("alerts", lambda: look_regularly(store, snapshots, clock)),
    ]


@cache
def _routes() -> Litestar:
    """The routes, made once in a process: it takes longer than all else that an application starts with."""
    return Litestar(
        route_handlers=[_keyed(), *OPEN, console(), portal()],
        dependencies={"context": Provide(_context, sync_to_thread=False)},
        exception_handlers=HANDLERS,
        middleware=[NameMethods, DecodePath, Conditional, Versioned, KeyedRequests],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=BODY_BYTES_MAX,
    )


def _context(scope: Scope) -> Context:
    return context_of(scope)


def _keyed() -> Router:
    """The routes that need a key. One that says no scope is refused here, so that nothing starts with it."""
    for handler in KEYED:
        scope_of(handler)
    return Router("/", route_handlers=KEYED, guards=[require_key, refuse_odd_texts], before_request=before_handler)


def _announce(store: "Store", clock: Clock, snapshots: Snapshots, metrics: Metrics) -> None:
    """Who hears of what."""
    store.hear_own(announcer(metrics))
    store.read_own(announce_record)
    clock.hear_moves(snapshots.broadcast.tell_time)
    metrics.streams.set_function(lambda: snapshots.broadcast.followers)
    metrics.snapshot_age.set_function(snapshots.age_s)


async def _until(hears: Callable[[], bool]) -> None:
    """Wait until changes are heard, so that the first who wants to follow them can; but not for long."""
    for _ in range(round(HEARS_S / LOOK_S)):
        if hears():
            return
        await asyncio.sleep(LOOK_S)
