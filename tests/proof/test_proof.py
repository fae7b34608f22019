"""Never over a hard limit, whatever is killed: real processes, one PostgreSQL, every verb at once.

`make test` does it for some seconds with three servers. `make proof RUNS=5 SEED=7` does it with eight servers and ten
thousand accounts, five times with each failure, and prints what it tried. A seed fixes what is asked and what is
killed; when, and what comes of it, is the machine's doing.
"""

import os
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from msgspec import Struct

from proof.audit import Auditor, wrong_answers, wrong_events, wrong_lines
from proof.clients import TOOK, Answers, Told
from proof.failures import LONG, SHORT, Failure
from proof.fold import read_ledger
from proof.load import Accounts, asking, made_accounts
from support.cluster import Cluster, eventually

RUNS = int(os.environ.get("RUNS", "0"))
SEED = int(os.environ.get("SEED", "0")) or random.randrange(1, 2**31)
SERVERS, MANY = (8, 10_000) if RUNS else (3, 200)
PROCESSES, THREADS = (4, 24) if RUNS else (2, 24)
LINES_MIN = 1500 if RUNS else 800
"""How much has to be in the ledger, for what is watched, before it ends."""
WATCHED_MAX = 300 if RUNS else 50
COMPLAINTS_SHOWN = 20


class Tried(Struct, frozen=True):
    """One failure under load, and what came of it."""

    failure: str
    answered: int
    events: int
    took_effect: int
    asked_again: int
    looks: int
    complaints: tuple[str, ...]


def test_nothing_is_used_twice_or_over_a_limit_whatever_is_killed(
    cluster: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    accounts = made_accounts(cluster, many=MANY)
    answers = Answers()
    tried: list[Tried] = []
    for _ in range(max(1, RUNS)):
        for name, failure in (LONG if RUNS else SHORT).items():
            tried.append(attempt(cluster, tmp_path, accounts, answers, name, failure))
            if RUNS:
                with capfd.disabled():
                    print(f"  {name}: {tried[-1].answered} answered, {len(tried[-1].complaints)} wrong", flush=True)
    if RUNS:
        with capfd.disabled():
            print(f"\nSEED={SEED}, {SERVERS} servers, {MANY} accounts\n{table(tried)}")
    complaints = [f"after {one.failure}: {complaint}" for one in tried for complaint in one.complaints]
    shown = "\n".join(complaints[:COMPLAINTS_SHOWN])
    assert not complaints, f"SEED={SEED}, {len(complaints)} complaints\n{shown}\n{cluster.log_tail()}"


def attempt(cluster: Cluster, folder: Path, accounts: Accounts, answers: Answers, name: str, failure: Failure) -> Tried:
    watched = [*accounts.hot, *accounts.many[:WATCHED_MAX]]
    auditor = Auditor(cluster.database_url, team=accounts.hot)
    with (
        auditor.watching(watched),
        asking(cluster, folder, accounts, processes=PROCESSES, threads=THREADS) as asked,
    ):
        eventually("the first to be asked", lambda: not auditor.has_seen(LINES_MIN // 4))
        failure(cluster)
        eventually("enough to have been asked", lambda: not auditor.has_seen(LINES_MIN))
    everyone = [*accounts.hot, *accounts.many]
    answers.take(asked)
    answers.told += give_back(cluster, everyone)
    eventually("every server to remember what is stored", lambda: misremembered(cluster, accounts.hot[0]))
    with psycopg.connect(cluster.database_url) as connection:
        found = auditor.look(connection, None)
        lines = read_ledger(connection, everyone)
    complaints = [
        *asked.complaints,
        *auditor.complaints,
        *found,
        *wrong_answers(answers.told, lines),
        *wrong_lines(answers.told, lines),
        *wrong_events(answers.sent, lines),
    ]
    return Tried(
        name,
        len(asked.told),
        len(asked.sent),
        sum(one.outcome == TOOK for one in asked.told),
        sum(one.tries > 1 for one in asked.told),
        auditor.looks,
        tuple(complaints),
    )


def give_back(cluster: Cluster, everyone: list[str]) -> list[Told]:
    """Let every reservation run out. Nobody asks for them by name: using nothing at all of the feature is enough."""
    some = "from reservations where state = 'open' and account = any(%s)"
    with psycopg.connect(cluster.database_url, autocommit=True) as connection:
        held = connection.execute(f"select distinct account, feature {some}", (everyone,)).fetchall()
        ended = f"select coalesce(max(expires_at), '-infinity') < now() {some}"
        eventually("the last one to run out", lambda: connection.execute(ended, (everyone,)).fetchone() != (True,))

        def use_nothing(number: int) -> Told:
            account, feature = held[number]
            body = {"account": account, "feature": feature, "quantity": 0, "id": uuid.uuid4().hex}
            answer = cluster.ask("POST", "/v1/consume", server=number % SERVERS, json=body)
            outcome = TOOK if answer["consumed"] else answer["decision"]["reason"]
            return Told("consume", account, body["id"], feature, 0, outcome, 1)

        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(use_nothing, range(len(held))))
        left = connection.execute(f"select account, id, feature {some}", (everyone,)).fetchall()
    assert not left, f"still held: {left}"
    return told


def misremembered(cluster: Cluster, account: str) -> list[str]:
    """Where a server says something else of an account than is stored: what is saved is told to others afterwards."""
    # Of usage events there are windows before this one: the last one counts. What is stored of a rolling minute stays
    # as it was until somebody uses it again.
    some = """account = %(account)s and slot not like '%% %%' and (pool <> 'recent' or exists (
                  select from ledger where account = %(account)s and feature = 'recent'
                  and time > now() - interval '1 minute'))
              order by slot"""
    query = f"select pool, used, reserved from balances where {some}"
    with psycopg.connect(cluster.database_url) as connection:
        stored = {pool: (used, reserved) for pool, used, reserved in connection.execute(query, {"account": account})}
    found = []
    for server in range(len(cluster.server_urls)):
        for pool, counts in stored.items():
            told = cluster.ask("GET", f"/v1/accounts/{account}/balances/{pool}", server=server)
            if (told["used"], told["reserved"]) != counts:
                found.append(f"server {server}: {pool} {told['used']} used, {told['reserved']} held, not {counts}")
    return found


def table(tried: list[Tried]) -> str:
    lines = [
        "| what was done | times | answered | events | took effect | asked more than once | looks | wrong |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one.failure for one in tried):
        of = [one for one in tried if one.failure == name]
        sums = (
            sum(getattr(one, what) for one in of)
            for what in ("answered", "events", "took_effect", "asked_again", "looks")
        )
        wrong = sum(len(one.complaints) for one in of)
        lines.append(f"| {name} | {len(of)} | {' | '.join(f'{n:,}' for n in sums)} | {wrong} |")
    return "\n".join(lines)
