"""The company of the demo, at an instant that is always the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice

from paygrade.cli.demo_past import PAST, live
from paygrade.cli.demo_run import KEY, House, standing
from paygrade.cli.demo_usage import events, report

EVENTS = 20_000
NOW = datetime(2026, 12, 10, 15, 20, tzinfo=UTC)


@contextmanager
def kestrel() -> Iterator[House]:
    """The company of the demo, with ten weeks of its customers behind it, at `NOW`: its clock stands."""
    with standing(key=KEY, ports=(0, 0), start=NOW - PAST, sweep_every=None) as house:
        past = live(house, now=NOW, seed=1, tell=lambda _: None, runs=False)
        report(house.stage, islice(events(past, count=EVENTS, seed=1), EVENTS), lambda _: None)
        house.stage.settle()
        # Two customers change something, and no webhook tells of it.
        house.stage.control("weather", drop=1)
        house.company.cancel_at_period_end("initech")
        house.company.change("globex", "pro_monthly", quantity=2)
        house.stage.call("POST", "/v1/sync/sweep", json={})
        house.stage.until(
            lambda: house.stage.call("GET", "/v1/sync/drift")["drift"], lambda found: len(found) > 0, "nothing differs"
        )
        house.stage.control("weather")
        yield house
