"""Plan changes of `paygrade accounts`: quote one, have it done, take it back, and read what came of it."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from paygrade.cli.api import call, path
from paygrade.cli.output import (
    MOMENT,
    WHEN,
    as_json,
    believed,
    confirm,
    for_people,
    page_limit,
    say,
    show_json,
    table,
    yes,
)
from paygrade.cli.quote_page import page
from paygrade.cli.wording import instant
from paygrade.values.text import PAGE_MAX

# Any in this file: decoded JSON, as the server sent it.
Json = Mapping[str, Any]
_STYLES = {"applied": "green", "failed": "red", "canceled": "dim", "pending": "yellow", "scheduled": "cyan"}


@click.command()
@click.argument("account")
@click.option("--plan", help="The plan to change to.")
@click.option("--add-on", "add_ons", multiple=True, metavar="KEY=N", help="The number of an add-on; 0 drops it.")
@click.option("--quantity", "quantities", multiple=True, metavar="KEY=N", help="The quantity of the plan or of seats.")
@click.option("--interval", help="A price's key or a billing interval, for example `yearly`.")
@click.option("--coupon", help="A coupon of the provider.")
@click.option("--when", type=WHEN, help="`now`, `period_end` or a time; by default, the catalog's rule decides.")
@click.option("--subscription", help="Which subscription, if there are several.")
@as_json
def quote(account: str, add_ons: tuple[str, ...], quantities: tuple[str, ...], as_json: bool,
          **said: str | None) -> None:  # fmt: skip
    """Preview a plan change of ACCOUNT. Exit code 1: it would be refused."""
    wanted = {"add_ons": counts(add_ons), "quantities": counts(quantities), **said}
    body = {name: what for name, what in wanted.items() if what}
    _show_quote(call("POST", path("v1", "accounts", account, "plan-changes", "quote"), body=body), as_json=as_json)


@click.command()
@click.argument("account")
@click.option("--quote", "quote_id", help="The quote to accept.")
@click.option("--keep-going", "act", flag_value="keep_going", help="Remove a scheduled cancellation.")
@click.option("--pause", "act", flag_value="pause", help="Pause the subscription.")
@click.option("--resume", "act", flag_value="resume", help="Resume the subscription.")
@click.option("--end-trial", "act", flag_value="end_trial", help="End the trial now.")
@click.option(
    "--trial-until", "trial_ends_at", type=MOMENT, metavar="TIME", help="Start a trial, or extend it, until then."
)
@click.option("--subscription", help="Which subscription, if there are several; a quote already names one.")
@click.option("--reason", help="Why; kept in the audit log.")
@click.option("--key", help="An idempotency key, so you can safely retry.")
@yes
@as_json
def change(account: str, quote_id: str | None, act: str | None, trial_ends_at: str | None, subscription: str | None,
           reason: str | None, key: str | None, yes: bool, as_json: bool) -> None:  # fmt: skip
    """Make the plan change of a quote, or cancel, pause, resume or extend a subscription."""
    if trial_ends_at is not None:
        act = act or "set_trial"
    if (quote_id is None) == (act is None):
        raise click.UsageError("use --quote or one other option; `paygrade accounts quote` creates quotes")
    if act not in ("keep_going", "resume"):
        what = f"what {quote_id} says" if quote_id else str(act).replace("_", " ")
        confirm(f"Do {what} to the subscription of {account}? It can cost money or access.", yes=yes)
    said = {"quote_id": quote_id, "act": act, "trial_ends_at": trial_ends_at, "subscription": subscription,
            "reason": reason}  # fmt: skip
    body = {name: what for name, what in said.items() if what is not None}
    headers = {"Idempotency-Key": key} if key is not None else {}
    made = call("POST", path("v1", "accounts", account, "plan-changes"), body=body, headers=headers)
    _show_outcome(made, as_json=as_json)


@click.command()
@click.argument("account")
@click.argument("change", required=False)
@page_limit(50)
@as_json
def changes(account: str, change: str | None, limit: int, as_json: bool) -> None:
    """List the plan changes of ACCOUNT, or show one CHANGE step by step."""
    if change is not None:
        told = call("GET", path("v1", "accounts", account, "plan-changes", change))
        if as_json:
            show_json(told)
            return
        one = told["change"]
        say(f"{one['id']}  {headline(one)}: {one['state']}", style="bold")
        if one["pay_url"]:
            say(f"to be paid at {one['pay_url']}")
        table(("at", "step", "what"), ((instant(s["at"]), s["step"], s["detail"] or None) for s in told["steps"]))
        return
    told = call("GET", path("v1", "accounts", account, "plan-changes"), query={"limit": str(limit)})
    if as_json:
        show_json(told)
        return
    table(
        ("change", "asked", "state", "what", "takes effect", "by"),
        (
            (
                one["id"],
                instant(one["asked_at"]),
                one["state"],
                headline(one),
                instant(one["effective_at"]) if one["effective_at"] else "at once",
                one["quote"] or one["source"],
            )
            for one in told["changes"]
        ),
    )


@click.command("take-back")
@click.argument("account")
@click.argument("change")
@as_json
def take_back(account: str, change: str, as_json: bool) -> None:
    """Cancel a CHANGE of ACCOUNT that is scheduled or waits for payment."""
    _show_outcome(call("DELETE", path("v1", "accounts", account, "plan-changes", change)), as_json=as_json)


@click.command()
@click.argument("account")
@click.argument("change")
@as_json
def revert(account: str, change: str, as_json: bool) -> None:
    """Quote a change that reverts an applied CHANGE of ACCOUNT; changes nothing yet."""
    _show_quote(call("POST", path("v1", "accounts", account, "plan-changes", change, "revert")), as_json=as_json)


@click.command()
@click.argument("account")
@page_limit(50)
@click.option("--before", help="The next page: the value that the page before printed.")
@click.option("--at", type=MOMENT, help="Only what had happened by then, for example 2026-01-31T10:00:00Z.")
@believed
@as_json
def timeline(account: str, limit: int, before: str | None, at: str | None, believed: bool, as_json: bool) -> None:
    """Show what happened to ACCOUNT: facts, granted units and plan changes, the newest first."""
    asked = {"limit": str(limit), "before": before, "as_of": at, "believed": "true" if believed else None}
    query = {name: value for name, value in asked.items() if value is not None}
    told = call("GET", path("v1", "accounts", account, "timeline"), query=query)
    listed = call("GET", path("v1", "accounts", account, "plan-changes"), query={"limit": str(PAGE_MAX)})["changes"]
    known = sorted(entry["recorded_at"] for entry in (*told["facts"], *told["units"]))
    oldest = known[0] if told["next"] is not None else ""
    newest = known[-1] if before is not None and known else "~"
    shown = [one for one in listed if oldest <= _happened_at(one) <= (min(newest, at) if at else newest)]
    if as_json:
        show_json({**told, "changes": shown})
        return
    _draw([*told["facts"], *told["units"]], shown)
    if told["next"] is not None:
        click.echo(f"more: --before '{told['next']}'", err=True)


COMMANDS = (quote, change, changes, take_back, revert, timeline)


def headline(one: Json) -> str:
    """What a plan change is about, in a few words."""
    said = one["settlement"] or one["quoted"]
    if said is None:
        until = f" until {instant(one['trial_ends_at'])}" if one["trial_ends_at"] else ""
        return f"{one['act'].replace('_', ' ')}{until} of {one['subscription']}"
    before, after = said["plan_before"] or "no plan", said["plan_after"] or "no plan"
    return f"{said['direction']}, {before if before == after else f'{before} → {after}'}"


def _happened_at(one: Json) -> str:
    return str(one["resolved_at"] or one["asked_at"])


def _draw(known: list[Any], listed: list[Any]) -> None:
    """Facts, units and plan changes by their instants; on a terminal, what a change did stands below it."""
    # A change stands above the facts it came of, which have the same instant, and those above units.
    entries: list[tuple[str, int, int, Json]] = [
        (one["recorded_at"], int("number" in one), one.get("number", 0), one) for one in known
    ]
    entries += [(_happened_at(one), 2, 0, one) for one in listed]
    entries.sort(key=lambda e: e[:3], reverse=True)
    if not for_people():
        table(
            ("at", "id", "state", "what"),
            (
                (instant(at), entry["id"], entry["state"], headline(entry))
                if rank == 2
                else (instant(at), entry.get("number", entry.get("id")), None, _fact(entry))
                for at, rank, _, entry in entries
            ),
        )
        return
    day = ""
    for at, rank, number, entry in entries:
        date, _, clock = instant(at).partition(" ")
        if date != day:
            say(f"\n{date}" if day else date, style="bold")
            day = date
        if rank < 2:
            say(f"  {clock:<13} {number or '':>4}  {_fact(entry)}")
            continue
        say(f"  {clock:<13}   ◆  {headline(entry)}: {entry['state']}", style=_STYLES.get(entry["state"], ""))
        for line in _did(entry):
            say(f"{'':<23}{line}", style="dim")


def _fact(fact: Json) -> str:
    cause = f"  ({', '.join(fact['cause'])})" if fact.get("cause") else ""
    return f"{fact['summary']}{cause}"


def _did(one: Json) -> Iterator[str]:
    if one["quote"]:
        yield f"as {one['quote']} said; {one['id']}"
    else:
        yield f"by {one['source']}; {one['id']}"
    settled = one["settlement"]
    for delta in settled["deltas"] if settled else ():
        yield f"{delta['how']} {delta['feature']}: {delta['before']} → {delta['after']}"
    for used in settled["usage"] if settled else ():
        yield f"counts as used {used['feature']}: {used['used_before']} → {used['used_after']} ({used['how']})"
    for over in settled["violations"] if settled else ():
        yield f"over the limit {over['feature']}: {over['used']}, {over['limit']} allowed ({over['policy']})"
    for loss in settled["lost"] if settled else ():
        yield f"{loss['member']} lost a seat of {loss['level']} ({loss['how']})"
    if one["reason"]:
        yield str(one["reason"])


def _show_quote(made: Any, *, as_json: bool) -> None:
    if as_json:
        show_json(made)
    else:
        for heading, text, style in page(made):
            say(f"{heading:<15}{text}" if for_people() else f"{heading}\t{text}", style=style)
    if not made["executable"]:
        raise SystemExit(1)


def _show_outcome(one: Any, *, as_json: bool) -> None:
    """How a change stands; 1 if it failed."""
    if as_json:
        show_json(one)
    else:
        say(f"{one['id']}\t{one['state']}\t{headline(one)}", style=_STYLES.get(one["state"], ""))
        for line in (one["reason"], f"to be paid at {one['pay_url']}" if one["pay_url"] else None, one["error"]):
            if line:
                say(line)
    if one["state"] == "failed":
        raise SystemExit(1)


def counts(pairs: tuple[str, ...]) -> dict[str, int]:
    counts = {}
    for pair in pairs:
        key, _, count = pair.partition("=")
        if not key or not count.isdecimal():
            raise click.UsageError(f"`{pair}` is not KEY=N")
        counts[key] = int(count)
    return counts
