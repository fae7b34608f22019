"""Whatever happens to events, answers, workers and the database: access ends as Stripe's truth has it.

`make sim RUNS=1000` plays that many seeds, `make sim SEED=123 RUNS=1` one again (docs/simulation.md).
"""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from paygrade.server.process import retries

from . import change_rules
from .audit import audit_subscriptions
from .postgres import PostgresBackend
from .rules import RULES, Rule, tried
from .run import Run
from .verdict import Verdict, judge
from .weather import has_owners

RUNS = int(os.environ.get("RUNS", "1" if "SEED" in os.environ else "40"))
SEED = int(os.environ.get("SEED", "1"))
BLOCK = 25
"""How many seeds one test plays, so that pytest can spread them over processes."""
POSTGRES_EVERY = 100
POSTGRES_ALSO = {31} & {*range(SEED, SEED + RUNS)}
"""A world in which many changes are asked for, and end in many ways."""
SEEDS_TRIED: dict[Rule, range] = {
    "last_arrival": range(1, 21),
    "created_after": range(1, 21),
    "created_from": range(1, 41),
    "blind_refetch": range(1, 61),
    "terminal_shortcut": range(310, 400),
}
"""Among which seeds each wrong rule is caught; they begin shortly before the first one that does."""
CHANGES_TRIED: dict[change_rules.Rule, range] = {
    "hasty_take_back": range(800, 900),
    "settled_unlocked": range(250, 700),
}
"""Among which seeds each wrong rule of changing plans is caught, likewise."""


@pytest.mark.parametrize("first", range(SEED, SEED + RUNS, BLOCK))
def test_access_converges_in_any_weather(first: int, capsys: pytest.CaptureFixture[str]) -> None:
    began_s = time.monotonic()
    for seed in range(first, min(first + BLOCK, SEED + RUNS)):
        verdict = judge(Run(seed))
        assert not verdict.wrong, verdict.told()
        if sys.stderr.isatty():
            with capsys.disabled():
                done, elapsed_s = seed - SEED + 1, time.monotonic() - began_s
                print(f"\rseed {seed}: {done} of {RUNS}, {elapsed_s / (seed - first + 1):.2f} s each ", end="")


@pytest.mark.parametrize("seed", sorted({*range(SEED, SEED + RUNS, POSTGRES_EVERY), *POSTGRES_ALSO}))
def test_the_tables_in_memory_behave_as_postgresql_does(seed: int, database_url: str) -> None:
    in_memory = judge(Run(seed))
    with PostgresBackend(database_url) as backend:
        on_postgres = judge(Run(seed, lambda now: backend.on(now)))
    assert on_postgres.trace == in_memory.trace
    assert on_postgres.dump.accounts == in_memory.dump.accounts
    assert on_postgres.dump.facts == in_memory.dump.facts
    assert on_postgres.dump.inbox == in_memory.dump.inbox
    assert on_postgres.dump.drift == in_memory.dump.drift
    assert on_postgres.dump.to_settle == in_memory.dump.to_settle
    assert _without_names(on_postgres) == _without_names(in_memory)
    assert _told_by_clocks(on_postgres) == _told_by_clocks(in_memory)
    assert not on_postgres.wrong, on_postgres.told()


@pytest.mark.parametrize("rule", RULES)
def test_each_wrong_rule_is_caught(rule: Rule) -> None:
    for seed in SEEDS_TRIED[rule]:
        if audit_subscriptions(tried(seed, rule)):
            return
    pytest.fail(f"{len(SEEDS_TRIED[rule])} seeds ended right under the rule: {RULES[rule]}")


@pytest.mark.parametrize("rule", change_rules.RULES)
def test_each_wrong_rule_of_changing_plans_is_caught(rule: change_rules.Rule) -> None:
    worlds = (seed for seed in CHANGES_TRIED[rule] if has_owners(seed))
    assert any(change_rules.tried(seed, rule) for seed in worlds), f"all ended right: {change_rules.RULES[rule]}"


def test_the_right_rule_ends_right_where_the_wrong_ones_do_not() -> None:
    for seed in range(1, 21):
        run = tried(seed, None)
        assert not audit_subscriptions(run), run.trace


def test_a_seed_plays_alike_in_another_process() -> None:
    program = (
        "from simulation.run import Run; from simulation.verdict import judge; print(*judge(Run(7)).trace, sep='\\n')"
    )
    traces = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert traces[0] == traces[1] == "\n".join((*judge(Run(7)).trace, ""))


def test_what_else_runs_in_the_process_changes_nothing() -> None:
    alone = judge(Run(7)).trace
    over = threading.Event()

    def draw_all_the_time() -> None:
        while not over.wait(0.001):
            random.random()
            retries.pause_s(1, ConnectionError())

    beside = threading.Thread(target=draw_all_the_time)
    beside.start()
    try:
        assert judge(Run(7)).trace == alone
    finally:
        over.set()
        beside.join()


def _without_names(verdict: Verdict) -> list[tuple[object, ...]]:
    """What the rows of plan changes say but their ids, which are drawn anew in each run."""
    return [
        (
            *(c.account, c.key if c.source == "request" else "", c.act, c.state, c.subscription, c.subject, c.undo),
            *(c.asked_at, c.effective_at, c.resolved_at, c.invoice, c.schedule, c.done_fence, c.attempts, c.fence),
        )
        for c in verdict.dump.changes
    ]


def _told_by_clocks(verdict: Verdict) -> dict[str, tuple[object, ...]]:
    """What a subject's row says but when it was marked, which the two write down some microseconds apart."""
    return {
        row.subject: (row.account, row.dirty, row.synced, row.fence, row.swept, row.rereads, row.attempts, row.read_at)
        for row in verdict.dump.subjects.values()
    }
