"""Starting a sweep on the server and watching it: a bar on a terminal, plain lines in a pipe."""

import sys
import time
from typing import Any

from paygrade.cli.api import call
from paygrade.cli.wording import instant

LOOK_S = 0.2
LINE_EVERY_S = 5.0

# Any: decoded JSON, as the server sent it.
Sweep = dict[str, Any]


def start_sweep(*, dry_run: bool) -> Sweep:
    """Start one, or join the one under way."""
    told: Sweep = call("POST", "/v1/sync/sweep", body={"dry_run": dry_run})["sweep"]
    return told


def follow_sweep(sweep: Sweep, *, quiet: bool) -> Sweep:
    """Wait for its end and show how far it is, on standard error; `quiet`: only wait."""
    expected = call("GET", "/v1/sync/status")["repair"]["subscriptions"]
    show = _quietly if quiet else _bar if sys.stderr.isatty() else _lines
    return show(sweep["id"], expected)


def summary(sweep: Sweep) -> str:
    """One line on what it did."""
    counts = sweep["counts"]
    kind = "dry run" if sweep["dry_run"] else "sweep"
    if sweep["finished_at"] is None:
        paused = f", paused: {sweep['error']}" if sweep["error"] else ""
        return f"{kind} {sweep['id']}: {counts['subscriptions']} subscriptions compared so far{paused}"
    text = (
        f"{kind} {sweep['id']}: {counts['subscriptions']} subscriptions of {counts['customers']} customers in "
        f"{counts['requests']} requests, finished at {instant(sweep['finished_at'])}"
    )
    if sweep["dry_run"]:
        return text
    return (
        f"{text}; {counts['different']} customers differed, {counts['discovered']} were not known, "
        f"{counts['missing']} missed a subscription, {counts['doubtful']} had to be read to tell"
    )


def _quietly(id: int, _: int) -> Sweep:
    while True:
        sweep: Sweep = call("GET", f"/v1/sync/sweeps/{id}")
        if sweep["finished_at"] is not None:
            return sweep
        time.sleep(LOOK_S)


def _lines(id: int, expected: int) -> Sweep:
    told_at = time.monotonic()
    while True:
        sweep: Sweep = call("GET", f"/v1/sync/sweeps/{id}")
        if sweep["finished_at"] is not None:
            return sweep
        if time.monotonic() - told_at >= LINE_EVERY_S:
            told_at = time.monotonic()
            of = f" of about {expected}" if expected else ""
            print(f"{sweep['counts']['subscriptions']}{of} subscriptions", file=sys.stderr, flush=True)
        time.sleep(LOOK_S)


def _bar(id: int, expected: int) -> Sweep:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("subscriptions", total=expected or None)
        while True:
            sweep: Sweep = call("GET", f"/v1/sync/sweeps/{id}")
            done = sweep["counts"]["subscriptions"]
            paused = f"paused: {sweep['error']}" if sweep["error"] else "subscriptions"
            progress.update(task, completed=done, total=max(expected, done) or None, description=paused)
            if sweep["finished_at"] is not None:
                return sweep
            time.sleep(LOOK_S)
