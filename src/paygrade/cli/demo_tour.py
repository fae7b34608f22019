"""Ten things to try in the demo: shown to whoever stays, and done, one after the other, for whoever only passes by.

Law: a command is run as it is shown, and what it prints is looked at: one that shows what it should not, or ends with
another exit code than told, is a Surprise.
"""

import io
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime, timedelta
from pathlib import Path

import click
from msgspec import Struct

from paygrade.cli.demo_run import KEY, House
from paygrade.cli.demo_stage import LOOK_S, SETTLE_S, Surprise

SHOWN_MAX = 6
WIDTH = 150
"""So many lines of what a command prints are shown, and so much of each."""
IDS = re.compile(r"\b(quote|chg)_(?:[0-9a-f]{4,}|…)")
PAGES = re.compile(r"http://\S+/(?:c/pay|p/session|i)/(\S+)")


class Command(Struct, frozen=True):
    """Something to type. `shows` stands in what it prints; `code` is what it ends with."""

    typed: str
    shows: str
    code: int = 0


class ByHand(Struct, frozen=True):
    """Something a visitor does on a page; `do` does the same, with the id of the page that was printed last."""

    says: str
    do: Callable[[House, str], object] = lambda _house, _id: None


class Try(Struct, frozen=True):
    """`page`: where the console shows the same, as a path."""

    title: str
    page: str
    steps: tuple[Command | ByHand, ...]


def tries(house: House, now: datetime) -> tuple[Try, ...]:
    """The ten of them. `now`: when the past ended."""
    return (*_questions(f"{now - timedelta(days=20):%Y-%m-%d}"), *_changes(house.provider.url), *_mishaps(house))


def _questions(earlier: str) -> tuple[Try, ...]:
    """What changes nothing."""
    asked = f"/console/explain?account=hooli&feature=api_calls&at={earlier}"
    return (
        Try("See who needs attention", "/console", (
            Command("paygrade accounts list --finding any", "fjord"),
            Command("paygrade accounts list --state past_due", "hooli"),
        )),
        Try("Ask why: hooli has not paid, so it can read and not write", "/console/accounts/hooli", (
            Command("paygrade check hooli exports", "[grace]"),
            Command("paygrade explain hooli api_calls", "step 2 of 3"),
        )),
        Try("Ask about the past: it could, before the payment failed", asked, (
            Command(f"paygrade explain hooli api_calls --at {earlier}", "hooli can use api_calls"),
        )),
        Try("See what was used, and which credits go first", "/console/usage?account=acme&feature=tokens", (
            Command("paygrade accounts usage acme --feature tokens --group-by model", "large"),
            Command("paygrade accounts balance acme ai_credits", "launch_2026"),
        )),
    )  # fmt: skip


def _changes(page: str) -> tuple[Try, ...]:
    """What customers buy and change; `page`: where they go afterwards."""
    bought = "paygrade accounts checkout newco --plan pro --interval monthly --quantity seats=3"
    use_sdk = """python -c 'from paygrade import Paygrade; print(Paygrade().check("newco", "exports").message)'"""
    return (
        Try("Buy, and watch access appear", "/console/updates?account=newco", (
            ByHand("in a third terminal, after the same export: paygrade updates follow --account newco"),
            Command(f"{bought} --success-url {page} --cancel-url {page}", "/c/pay/"),
            ByHand("open the page it prints, and pay", _buy),
            Command("paygrade check newco exports", "newco can use exports"),
            Command(use_sdk, "newco can use exports"),
        )),
        Try("Use the last units, then upgrade: what was used stays used", "/console/accounts/globex", (
            Command("paygrade consume globex api_calls -n 500", "[limit_reached]", code=1),
            Command("paygrade accounts quote globex --plan pro --quantity seats=2", "due now"),
            Command("paygrade accounts change globex --quote quote_…", "applied"),
            Command("paygrade consume globex api_calls -n 500", "used 500"),
        )),
        Try("Take a downgrade back: quarry has 12 members, and Starter 5 seats", "/console/plan-changes?view=to_come", (
            Command("paygrade accounts changes quarry", "scheduled"),
            Command("paygrade accounts members quarry", "12 of 12 seats taken"),
            Command("paygrade accounts take-back quarry chg_…", "canceled"),
        )),
        Try("Confirm at the bank: meridian's upgrade waits for that", "/console/accounts/meridian", (
            Command("paygrade accounts changes meridian", "pending"),
            Command("paygrade accounts changes meridian chg_…", "to be paid at"),
            ByHand("open the page it prints, and pay with Visa 4242", _pay),
            Command("paygrade check meridian audit_log", "meridian can use audit_log"),
        )),
    )  # fmt: skip


def _mishaps(house: House) -> tuple[Try, ...]:
    """What the simulator's weather and its clock do."""
    return (
        Try("Lose every webhook: hooli pays, and Paygrade finds out all the same", "/console/sync", (
            Command("paygrade simulator weather drop=1", "drop"),
            Command(f"paygrade accounts billing-portal hooli --return-url {house.provider.url}", "/p/session/"),
            ByHand("open the page it prints, open the invoice that is due, and pay with Visa 4242", _pay_overdue),
            Command("paygrade check hooli api_calls", "[past_due]", code=1),
            Command("paygrade sync sweep", "customers differed"),
            Command("paygrade check hooli api_calls", "hooli can use api_calls"),
            Command("paygrade simulator weather calm", "calm"),
        )),
        Try("Turn the clock: lumen's trial ends, and so does harbor's override", "/console/simulator", (
            Command("paygrade simulator advance 2d", "it is now"),
            Command("paygrade check lumen audit_log", "lumen can't use audit_log", code=1),
            Command("paygrade check harbor custom_models", "harbor can't use custom_models", code=1),
        )),
    )  # fmt: skip


def _buy(house: House, session: str) -> None:
    house.stage.control("checkout", session=session)
    house.stage.settle()


def _pay(house: House, invoice: str) -> None:
    house.stage.control("invoice", invoice=invoice)
    house.stage.settle()
    house.stage.decision("meridian", "audit_log", "allowed", "plan")


def _pay_overdue(house: House, _portal: str) -> None:
    house.stage.control("invoice", invoice=house.company.open_invoice("hooli"))


def walk(house: House, now: datetime) -> list[str]:
    """Do all of them; gives the commands. Surprise."""
    os.environ.update(environment(house))
    walked: list[str] = []
    for number, one in enumerate(tries(house, now), start=1):
        click.echo()
        click.secho(f"  {number}. {one.title}", bold=True)
        walked += _walk_through(house, one)
    house.stage.settle()
    return walked


def _walk_through(house: House, one: Try) -> Iterator[str]:
    ids: dict[str, str] = {}
    page = ""
    for step in one.steps:
        if isinstance(step, ByHand):
            click.echo(f"     → {step.says}")
            step.do(house, page)
            continue
        typed = _filled_in(step.typed, ids)
        click.secho(f"     $ {typed}", fg="cyan")
        printed = _run(step, typed)
        ids |= {its[1]: its[0] for its in IDS.finditer(printed)}
        page = found[-1] if (found := PAGES.findall(printed)) else page
        yield typed


def _filled_in(typed: str, ids: dict[str, str]) -> str:
    """With the ids that were printed before in place of `quote_…` and `chg_…`."""
    return IDS.sub(lambda its: ids.get(its[1], its[0]), typed)


def _run(step: Command, typed: str) -> str:
    """Run it and show what it prints; a question is asked again until its answer is right: what was read at Stripe
    just now is known in a moment."""
    name, *arguments = shlex.split(typed)
    give_up_at = time.monotonic() + (SETTLE_S if typed.startswith("paygrade check") else 0)
    while True:
        printed, code = _paygrade(arguments) if name == "paygrade" else _other([sys.executable, *arguments])
        right = code == step.code and step.shows in printed
        if right or time.monotonic() >= give_up_at:
            break
        time.sleep(LOOK_S)
    lines = printed.rstrip().splitlines()
    for line in lines[:SHOWN_MAX]:
        click.secho(f"       {line.expandtabs(12)}"[:WIDTH], dim=True)
    if len(lines) > SHOWN_MAX:
        click.secho(f"       … and {len(lines) - SHOWN_MAX} more lines", dim=True)
    if not right:
        raise Surprise(f"`{typed}` should show `{step.shows}` and end with {step.code}, not {code}:\n{printed}")
    return printed


def _paygrade(arguments: list[str]) -> tuple[str, int]:
    """What the command prints and ends with, run in this process: a process of its own takes half a second."""
    from paygrade.cli.main import main

    printed, kept = io.StringIO(), sys.argv
    sys.argv = ["paygrade", *arguments]
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            main()
    except SystemExit as ended:
        return printed.getvalue(), ended.code if isinstance(ended.code, int) else 0
    finally:
        sys.argv = kept
    raise AssertionError("`main` ends by an exit code")


def _other(command: list[str]) -> tuple[str, int]:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.stdout + ended.stderr, ended.returncode


def environment(house: House) -> dict[str, str]:
    """What a terminal needs for the commands."""
    return {"PAYGRADE_URL": house.api_url, "PAYGRADE_API_KEY": KEY, "PAYGRADE_STRIPE_API_BASE": house.provider.url}


def show(house: House, now: datetime) -> None:
    """Show what there is to try."""
    variables = " ".join(f"{name}={value}" for name, value in environment(house).items())
    path = Path(sys.executable).parent.absolute()
    click.echo()
    click.secho("  Ten things to try, in the console and in another terminal:", bold=True)
    click.secho(f"     export PATH={path}:$PATH {variables}", fg="cyan")
    click.echo("     (in place of quote_… and chg_…, type the id that the command before it printed)")
    for number, one in enumerate(tries(house, now), start=1):
        click.echo()
        click.secho(f"  {number}. {one.title}", bold=True)
        click.echo(f"     in the console: {house.api_url}{one.page}")
        for step in one.steps:
            if isinstance(step, ByHand):
                click.echo(f"     → {step.says}")
            else:
                click.secho(f"     {step.typed}", fg="cyan")
