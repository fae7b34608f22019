"""Real processes killed under load: nothing acknowledged is lost, and access ends as the provider's truth has it.

`make test` does three things once. `make chaos RUNS=10 SEED=7` does everything ten times and prints what it tried.
What a seed fixes is what is done and to whom; when a process is hit is the machine's doing.
"""

import os
import random
import time
from statistics import median

import pytest
from msgspec import Struct

from chaos.audit import Auditor
from chaos.failures import LOSING, SHORT, WHAT, Failure
from chaos.load import Operator, Shop, going_on
from chaos.stack import House, house
from paygrade.values.periods import parse_instant
from support.cluster import eventually

RUNS = int(os.environ.get("RUNS", "0"))
SEED = int(os.environ.get("SEED", "0")) or random.randrange(1, 2**31)
SERVERS = 3 if RUNS else 2
CUSTOMERS = 20 if RUNS else 5
CHANGES_MIN = 40 if RUNS else 5
"""How much has to happen at the provider while something is done to the house."""


class Tried(Struct, frozen=True):
    """One failure, how often, and what came of it."""

    failure: str
    acknowledged: int
    lost: int
    complaints: tuple[str, ...]
    converged_s: float


def test_nothing_acknowledged_is_lost_and_access_converges_whatever_is_killed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    failures = {name: failure for name, failure in WHAT.items() if RUNS or failure in SHORT}
    tried: list[Tried] = []
    with house(servers=SERVERS, seed=SEED) as opened:
        shop = Shop(opened, customers=CUSTOMERS)
        operator = Operator(opened, accounts=list(shop.customers))
        auditor = Auditor(opened, shop, operator)
        converge(opened)
        with auditor.watching():
            for _ in range(max(1, RUNS)):
                for name, failure in failures.items():
                    tried.append(attempt(opened, shop, operator, auditor, name, failure))
                    if RUNS:
                        with capfd.disabled():
                            print(f"  {name}: {tried[-1].converged_s:.1f} s, {tried[-1].acknowledged} acknowledged")
    if RUNS:
        with capfd.disabled():
            print(f"\nSEED={SEED}, {SERVERS} servers, {CUSTOMERS} customers\n{table(tried)}")
    complaints = [f"after {one.failure}: {complaint}" for one in tried for complaint in one.complaints]
    assert not complaints, f"SEED={SEED}\n" + "\n".join(complaints)


def attempt(house: House, shop: Shop, operator: Operator, auditor: Auditor, name: str, failure: Failure) -> Tried:
    before, enough = auditor.acknowledged, shop.changes + CHANGES_MIN
    house.control("clock", {"running": True})
    with going_on(shop, operator):
        failure(house)
        eventually("the shop to have changed enough", lambda: shop.changes < enough)
    house.wait_until_ready()
    begun = time.monotonic()
    if failure in LOSING:
        sweep(house)
    converge(house)
    converged_s = time.monotonic() - begun
    verdict = auditor.verdict(house.now())
    return Tried(name, auditor.acknowledged - before, verdict.lost, verdict.complaints, converged_s)


def sweep(house: House) -> None:
    """Compare everything, from now on: a sweep that was under way may have passed by what went wrong since."""
    eventually("an earlier sweep to end", lambda: not house.ask("POST", "/v1/sync/sweep")["started"])
    eventually(
        "the sweep to end", lambda: house.ask("GET", "/v1/sync/status")["repair"]["sweep"]["finished_at"] is None
    )


def converge(house: House) -> None:
    """Wait until no event is on its way, no subject waits, and every server's clock shows the provider's time."""
    house.control("clock", {"running": False})
    at = house.now()

    def waits_for() -> str | None:
        if pending := house.control("flush", {})["pending"]:
            return f"{pending} events on their way"
        told = [house.ask("GET", "/v1/sync/status", server=number) for number in range(SERVERS)]
        if late := [status["clock"] for status in told if parse_instant(status["clock"]) < at]:
            return f"clocks at {late}, not {at} yet"
        dirty, unhandled, failing = told[-1]["dirty"], told[-1]["inbox"]["unhandled"], told[-1]["failing"]
        return f"{dirty} subjects and {unhandled} events wait; failing: {failing}" if dirty or unhandled else None

    eventually("everything to be read", waits_for)


def table(tried: list[Tried]) -> str:
    lines = [
        "| what was done | times | acknowledged | lost | wrong | seconds until converged, median | longest |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one.failure for one in tried):
        of = [one for one in tried if one.failure == name]
        took = [one.converged_s for one in of]
        wrong = sum(len(one.complaints) for one in of)
        lines.append(
            f"| {name} | {len(of)} | {sum(one.acknowledged for one in of)} | {sum(one.lost for one in of)} "
            f"| {wrong} | {median(took):.1f} | {max(took):.1f} |"
        )
    return "\n".join(lines)
