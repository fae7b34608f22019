"""Every queue that workers claim from, and one row of each that waits."""

from typing import Any

from paygrade.server.workers.catalog_checks import checks_of
from paygrade.server.workers.claims import Queue
from paygrade.server.workers.invoices import INVOICES
from paygrade.server.workers.loop import DATES, MOVES
from paygrade.server.workers.plan_changes import CHANGES
from paygrade.server.workers.polls import polls_of
from paygrade.server.workers.rereads import REREADS
from paygrade.server.workers.sweeps import sweeps_of
from paygrade.server.workers.sync import SUBJECTS
from paygrade.server.workers.top_ups import TOP_UPS
from paygrade.server.workers.usage_reports import REPORTS
from paygrade.server.workers.webhooks import ENDPOINTS

# Any: rows of ten kinds.
QUEUES: list[Queue[Any]] = [
    SUBJECTS,
    REPORTS,
    TOP_UPS,
    CHANGES,
    MOVES,
    DATES,
    ENDPOINTS,
    sweeps_of("stripe"),
    polls_of("stripe"),
    checks_of("stripe"),
    REREADS,
    INVOICES,
]
TABLES = {
    "subject_read": "subjects",
    "usage_reported": "reports",
    "top_up": "top_ups",
    "plan_change": "plan_changes",
    "account_migrated": "plan_migration_accounts",
    "dates_announced": "announced",
    "webhooks_sent": "webhook_endpoints",
    "swept": "sweeps",
    "polled": "polls",
    "catalog_checked": "catalog_checks",
    "reread": "rereads",
    "invoices_read": "invoice_readings",
}
WAITING = """
    insert into subjects (subject, dirty, marked_at) values ('stripe:cus_1', 1, now());
    insert into reports (account, pool, slot, from_at, pending, pending_at)
        values ('acme', 'calls', 'month', now(), 1, now());
    insert into top_ups (account, id, credit, units, amount, currency, state, window_at, asked_at, round_at, balance)
        values ('acme', 'top_1', 'coins', 1, 1, 'usd', 'asked', now(), now(), now(), 0);
    insert into plan_changes (account, id, key, source, act, state, subscription, subject, asked_at)
        values ('acme', 'change_1', 'k', 'request', 'change', 'asked', 'sub_1', 'stripe:cus_1', now());
    insert into plan_migrations (plan, reason, started_at, started_by) values ('pro', '', now(), 'ann');
    insert into plan_migration_accounts (account, migration) select 'acme', id from plan_migrations;
    insert into announced (account, due_at) values ('acme', to_timestamp(0));
    insert into webhook_endpoints (id, url, description, secrets, state, created_at, position, missed_until, due_at)
        values ('we_1', 'https://example.com', '', '[]', 'enabled', now(), 0, 0, to_timestamp(0));
    insert into sweeps (provider, dry_run, started_at, counts) values ('stripe', false, now(), '{}');
    insert into polls (provider) values ('stripe');
    insert into catalog_checks (provider) values ('stripe');
    insert into invoice_readings (subject, dirty) values ('stripe:cus_1', 1);
    insert into rereads (catalog, customers, started_at) values (1, 1, now());
"""
