"""The console's pages over a million accounts: how long each takes, beside its budget of 100 ms.

Twenty accounts are made over HTTP, each in a situation of its own, and copied by SQL until there are as many as are
wanted, with their facts, updates, records and counts. Then one client asks for each page again and again, each time of
another account where a page is about one. What is measured is the time until the whole page is there, over
loopback, how many rows PostgreSQL has read for it, and which tables it went through from their beginning. The first
three times count for nothing: they connect, and compile templates. `--accounts=N` (1,000,000) is how many there are,
`--rounds=N` (40) how often each is asked for. It takes minutes and 15 GB, so it is not run unless it is named.
"""

import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import psycopg
from psycopg import sql
from room import KEY, PORT, database, server

from paygrade.documents.catalog_file import read_catalog
from support.pages import Browser, Browsers
from support.server_process import SAMPLE, Api

BUDGET_MS = 100.0
URL = f"http://127.0.0.1:{PORT}"
KINDS, WARM, SCANNED = 20, 3, 1000
TABLES = (
    "accounts", "facts", "subscriptions", "announced", "balances", "grants", "ledger", "alerts", "plan_changes",
    "plan_change_steps", "update_sequences", "updates", "audit_heads", "audit",
)  # fmt: skip
"""What there is of an account, all of whose keys begin with it."""
_TEXTS = ("text", "json", "jsonb", "ARRAY")


def main() -> None:
    accounts, rounds = int(_said("--accounts", 1_000_000)), int(_said("--rounds", 40))
    with database() as url:
        with server(url), Api(URL, KEY) as api:
            _situations(api)
        began = time.perf_counter()
        _copy(url, accounts)
        print(f"  {accounts:,} accounts in {_size(url)}, made in {time.perf_counter() - began:.0f} s")
        with server(url), Api(URL, KEY) as api, Browsers(api) as browsers:
            browser = browsers["admin"]
            for name, paths in _pages(api, accounts):
                _row(url, browser, name, paths, rounds)


def _row(url: str, browser: Browser, name: str, paths: Iterator[str], rounds: int) -> None:
    took, before, scanned = [], _rows_read(url), _scanned(url)
    for number in range(rounds + WARM):
        path = next(paths)
        began = time.perf_counter()
        answer = browser.get(path)
        if number >= WARM:
            took.append((time.perf_counter() - began) * 1000)
        assert answer.status_code in (200, 303), (path, answer.status_code)
    took.sort()
    p99 = took[len(took) * 99 // 100]
    read = (_rows_read(url) - before) // (rounds + WARM)
    after = _scanned(url)
    scans = [table for table in TABLES if (after[table] - scanned[table]) // (rounds + WARM) >= SCANNED]
    print(
        f"  {name:40} {median(took):7.1f} ms median {p99:7.1f} ms p99   budget {BUDGET_MS:.0f} ms"
        f"{'  over' if p99 > BUDGET_MS else '':6} {read:9,} rows read"
        f"{', scans ' + ', '.join(scans) if scans else ''}",
        flush=True,
    )


def _rows_read(url: str) -> int:
    """By everybody so far: what a page reads tells how it grows, on a machine that has other things to do, too."""
    time.sleep(1.1)  # PostgreSQL's processes say once a second what they did
    with psycopg.connect(url) as connection:
        [row] = connection.execute(
            "select tup_returned from pg_stat_database where datname = current_database()"
        ).fetchall()
    return int(row[0])


def _scanned(url: str) -> dict[str, int]:
    """How many rows of each table were gone through from its beginning, so far. A page that does that grows with it."""
    with psycopg.connect(url) as connection:
        return dict(connection.execute("select relname, seq_tup_read from pg_stat_user_tables").fetchall())


def _pages(api: Api, accounts: int) -> Iterator[tuple[str, Iterator[str]]]:
    """What is asked for: a name, and an address for each time."""
    chance = random.Random(1)

    def of(path: str, kind: int | None = None) -> Iterator[str]:
        """`@`: an account; `#`: what its number begins with, as somebody types it."""
        while True:
            number = chance.randrange(accounts // KINDS) * KINDS + (kind if kind is not None else chance.randrange(20))
            yield f"/console{path}".replace("@", _key(number)).replace("#", f"acct_{number:08}"[:10])

    change = api.ok("GET", f"/v1/accounts/{_key(19)}/plan-changes")["changes"][0]["id"]
    yield "Home", of("")
    yield "Accounts", of("/accounts")
    yield "Accounts, a page in the middle", of("/accounts?after=@")
    yield "Accounts found by key", of("/accounts?q=@")
    yield "Accounts found by how keys begin", of("/accounts?q=#")
    yield "Accounts found by name", of("/accounts?q=Customer+7")
    yield "Accounts whose name is nobody's", of("/accounts?q=zzzz")
    for state in ("past_due", "trialing", "canceled", "incomplete"):
        yield f"Accounts that are {state}", of(f"/accounts?stands={state}")
    yield "Accounts with findings", of("/accounts?finding=any")
    yield "Accounts with a plan", of("/accounts?plan=business")
    yield "Account", of("/accounts/@")
    yield "Account, and why it may", of("/accounts/@?feature=exports")
    yield "Account, as it was before", of(f"/accounts/@?as_of={datetime.now(UTC):%Y-%m-%dT%H:%M:%S}")
    yield "Override of an account", of("/accounts/@/override")
    yield "Plan changes", of("/plan-changes")
    yield "Plan changes to come", of("/plan-changes?view=to_come")
    yield "Plan changes that came", of("/plan-changes?view=applied")
    yield "Plan change", of(f"/plan-changes/@/{change}", kind=19)
    yield "Plans", of("/plans")
    yield "Who has a plan", of("/plans/pro/accounts")
    yield "Draft of the catalog", of("/plans/draft")
    yield "Migrations", of("/plans/migrations")
    yield "Usage of an account", of("/usage?account=@")
    yield "Usage of an account by member", of("/usage?account=@&feature=api_calls&by=member")
    yield "Billing sync", of("/sync")
    yield "Webhooks", of("/webhooks")
    yield "Updates", of("/updates")
    yield "Audit", of("/audit")
    yield "Audit of an account", of("/audit?account=@")
    yield "Audit by action", of("/audit?action=account.put")
    yield "Developers", of("/developers")
    yield "Decisions", of("/developers/decisions")
    yield "Decisions of an account", of("/accounts/@/decisions")
    yield "Settings", of("/settings")
    yield "Explain", of("/explain")


def _key(number: int) -> str:
    return f"acct_{number:08}"


# What there is


def _situations(api: Api) -> None:
    """Twenty accounts: most pay, some don't, some are on trial, some aren't understood."""
    content, _ = read_catalog(SAMPLE)
    api.ok("PUT", "/v1/catalog?reason=benchmark", json=content)
    now = datetime.now(UTC).replace(microsecond=0)
    for number in range(KINDS):
        account = f"/v1/accounts/tpl-{number:02}"
        api.ok("PUT", account, json={"name": f"Customer {number}"})
        terms = _terms(number, now)
        if terms is not None:
            api.ok("PUT", f"{account}/subscriptions/main", json=terms)
        named = ("ann", "ben", "cy")[: 1 + number % 3]
        people = [{"member": member, "role": "member", "seat": member == "ann"} for member in named]
        api.ok("PUT", f"{account}/members", json=people)
        limit = api.check(f"tpl-{number:02}", "api_calls")["limit"] or 1000
        part = 95 if number == 19 else number
        used = {"account": f"tpl-{number:02}", "feature": "api_calls", "quantity": max(1, limit * part // 100)}
        api.ok("POST", "/v1/consume", json=used | {"member": "ann", "id": f"tpl-{number:02}"})
    ends = (now + timedelta(days=3)).isoformat()
    api.ok(
        "PUT", "/v1/accounts/tpl-18/overrides/audit_log", json={"value": True, "reason": "pilot", "expires_at": ends}
    )
    quote = api.ok("POST", "/v1/accounts/tpl-19/plan-changes/quote", json={"plan": "free", "when": "period_end"})
    api.ok("POST", "/v1/accounts/tpl-19/plan-changes", json={"quote_id": quote["id"]})


def _terms(number: int, now: datetime) -> dict[str, Any] | None:
    """A subscription. Any: JSON."""
    if number in (10, 11, 12):
        return None
    plan = {17: "gold"}.get(number, "business" if number % 7 == 1 else "pro")
    more: dict[str, Any] = {"status": "active"}
    if number == 14:
        more = {"status": "past_due", "unpaid_since": (now - timedelta(days=3)).isoformat()}
    elif number == 15:
        more = {
            "status": "trialing", "trial_ends_at": (now + timedelta(days=2)).isoformat(), "after_trial": "canceled"
        }  # fmt: skip
    elif number == 16:
        more = {"status": "canceled", "ended_at": (now - timedelta(days=1)).isoformat()}
    anchor = (now - timedelta(days=9)).isoformat()
    return {"version": 1, "items": [{"id": "i", "plan": plan, "quantity": 3}], "anchor_at": anchor} | more


def _copy(url: str, accounts: int) -> None:
    """As many as are wanted of each table, the keys of the twenty replaced by their own; the twenty go."""
    with psycopg.connect(url, autocommit=True) as connection:
        for table in TABLES:
            # Nothing is measured that writes, so nothing of the copying needs to last.
            connection.execute(sql.SQL("alter table {} set unlogged").format(sql.Identifier(table)))
            columns = connection.execute(
                "select column_name, data_type from information_schema.columns where table_schema = 'public' "
                "and table_name = %s and is_identity = 'NO' and is_generated = 'NEVER' order by ordinal_position",
                (table,),
            ).fetchall()
            named = [sql.Identifier(name) for name, _ in columns]
            statement = sql.SQL("""
                insert into {table} ({named}) select {copied} from generate_series(0, %(count)s - 1) n
                join {table} t on t.account = 'tpl-' || lpad((n %% %(kinds)s)::text, 2, '0')
            """).format(
                table=sql.Identifier(table),
                named=sql.SQL(", ").join(named),
                copied=sql.SQL(", ").join(_copied(table, name, kind) for name, kind in columns),
            )
            connection.execute(statement, {"count": accounts, "kinds": KINDS})
            connection.execute(sql.SQL("delete from {} where account like 'tpl-%%'").format(sql.Identifier(table)), ())
        connection.execute(
            "update update_log set given = last, readable = last from (select max(position) last from updates) l"
        )
        connection.execute("vacuum analyze")
        connection.execute("checkpoint")


def _copied(table: str, name: str, kind: str) -> sql.Composable:
    column = sql.SQL("t.{}").format(sql.Identifier(name))
    if (table, name) == ("updates", "position"):
        return sql.SQL("t.position + (n + 1) * 1000::bigint")
    if kind not in _TEXTS:
        return column
    type_ = sql.SQL("text[]" if kind == "ARRAY" else kind)
    return sql.SQL("replace({}::text, t.account, 'acct_' || lpad(n::text, 8, '0'))::{}").format(column, type_)


def _size(url: str) -> str:
    with psycopg.connect(url) as connection:
        [row] = connection.execute("select pg_size_pretty(pg_database_size(current_database()))").fetchall()
    return str(row[0])


def _said(name: str, otherwise: float) -> float:
    return next((float(arg.partition("=")[2]) for arg in sys.argv if arg.startswith(f"{name}=")), otherwise)
