"""`paygrade sync`: see and repair billing sync."""

import sys
from typing import Any

import click

from paygrade.cli.api import call
from paygrade.cli.output import as_json, page_limit, say, show_json, table
from paygrade.cli.sweeping import follow_sweep, start_sweep, summary
from paygrade.cli.wording import instant


@click.group()
def sync() -> None:
    """Show and repair billing sync."""


@sync.command()
@as_json
def status(as_json: bool) -> None:
    """Show the state of billing sync.

    Exit code 1 if something needs attention: customers that can't be read, or findings.
    """
    told = call("GET", "/v1/sync/status")
    if as_json:
        show_json(told)
    else:
        _show(told)
    sys.exit(1 if told["failing"] or told["findings"] else 0)


@sync.command()
@click.option("--detach", is_flag=True, help="Return at once; `paygrade sync status` shows the progress.")
@as_json
def sweep(detach: bool, as_json: bool) -> None:
    """Compare every subscription at the provider with what is stored, and read those that differ again."""
    told = start_sweep(dry_run=False)
    if not detach:
        told = follow_sweep(told, quiet=as_json)
    if as_json:
        show_json(told)
    elif detach:
        say(f"sweep {told['id']} is running")
    else:
        say(summary(told))


@sync.command()
@click.option("--open", "open_only", is_flag=True, help="Only differences that remain.")
@page_limit()
@click.option("--before", type=int, help="The next page: the value that the page before printed.")
@as_json
def drift(open_only: bool, limit: int, before: int | None, as_json: bool) -> None:
    """List fields that differed at the provider without a billing event. Exit code 1 if any still differs."""
    query = {"open": str(open_only).lower(), "limit": str(limit)} | ({"before": str(before)} if before else {})
    told = call("GET", "/v1/sync/drift", query=query)
    if as_json:
        show_json(told)
    else:
        table(
            ("id", "found", "by", "account", "subject", "subscription", "field", "stored", "provider", "healed"),
            (
                (each["id"], instant(each["found_at"]), each["found_by"], each["account"], each["subject"],
                 each["subscription"], each["field"], each["stored"], each["provider"],
                 instant(each["healed_at"]) if each["healed_at"] else "not yet")
                for each in told["drift"]
            ),
        )  # fmt: skip
        if told["next"] is not None:
            say(f"there is more: --before {told['next']}", style="dim")
    sys.exit(1 if any(each["healed_at"] is None for each in told["drift"]) else 0)


@sync.command()
@click.argument("event", required=False)
@click.option("--account", help="Only events about customers of this account.")
@click.option("--subject", help="Only events about this subject, such as `stripe:cus_P1`.")
@click.option("--state", type=click.Choice(("waiting", "failing", "handled", "ignored")), help="Only these.")
@page_limit()
@click.option("--before", help="The next page: the value that the page before printed.")
@as_json
def events(event: str | None, limit: int, as_json: bool, **asked: str | None) -> None:
    """List the billing events that arrived, the latest first, and what came of each; or one EVENT, by its id.

    Exit code 1 if EVENT did not arrive.
    """
    query = {"limit": str(limit), "id": event, **asked}
    told = call("GET", "/v1/sync/events", query={name: value for name, value in query.items() if value})
    if as_json:
        show_json(told)
    else:
        table(
            ("received", "id", "type", "account", "subject", "state", "handled", "error"),
            (
                (instant(each["received_at"]), each["id"], each["type"], each["account"], each["subject"],
                 each["state"], instant(each["handled_at"]) if each["handled_at"] else None, each["error"])
                for each in told["events"]
            ),
        )  # fmt: skip
        if told["next"] is not None:
            say(f"there is more: --before {told['next']}", style="dim")
        if event is not None and not told["events"]:
            say(f"`{event}` did not arrive within the last 45 days; `paygrade doctor` checks the way of webhooks")
    sys.exit(1 if event is not None and not told["events"] else 0)


# Any: decoded JSON, as the server sent it.
def _show(told: dict[str, Any]) -> None:
    say(f"clock: {instant(told['clock'])}")
    waits = f", the longest for {told['oldest_dirty_s']:.1f} s" if told["oldest_dirty_s"] is not None else ""
    say(f"subjects: {told['subjects']}, {told['dirty']} waiting to be read{waits}")
    last = f", the last at {instant(told['last_event_at'])}" if told["last_event_at"] else ""
    say(f"billing events: {told['inbox']['received']} kept, {told['inbox']['unhandled']} not handled{last}")
    _show_repair(told["repair"])
    if (reread := told["reread"]) is not None:
        state = "all of them" if reread["finished_at"] else f"{reread['marked']} of {reread['customers']} so far"
        say(f"catalog {reread['catalog']} has customers read again: {state}")
    if told["failing"]:
        say()
        say("Can't be read:", style="red")
        table(
            ("subject", "attempts", "next try", "error"),
            (
                (each["subject"], each["attempts"], instant(each["retry_at"]) if each["retry_at"] else None,
                 each["error"])
                for each in told["failing"]
            ),
        )  # fmt: skip
    if told["findings"]:
        say()
        say("Needs attention:", style="yellow")
        table(
            ("account", "what", "subject", "detail"),
            ((each["account"], each["code"], each["subject"], each["detail"]) for each in told["findings"]),
        )


def _show_repair(repair: dict[str, Any]) -> None:
    poll, swept, drift = repair["poll"], repair["sweep"], repair["drift"]
    if poll is not None:
        until = instant(poll["watermark"]) if poll["watermark"] else "-"
        failed = f", paused: {poll['error']}" if poll["error"] else ""
        say(f"poll: events seen until {until}, {poll['missed']} of {poll['seen']} were missed, "
            f"every {poll['every_s']} s{failed}")  # fmt: skip
    if swept is not None:
        say(summary(swept))
    say(f"drift: {drift['open']} fields differ, {drift['found_within_a_day']} were found within a day")
