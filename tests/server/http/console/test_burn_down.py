"""How long credits last, without a server."""

from datetime import UTC, datetime, timedelta

import pytest

from paygrade.server.http.console.burn_chart import burn_chart
from paygrade.server.operations.burn_down import BurnDown, Sample, lasts_until, pace
from paygrade.server.operations.usage.grants import BalanceView, GrantView
from paygrade.usage.balances import Grant, share

NOW, DAY = datetime(2026, 12, 10, tzinfo=UTC), timedelta(days=1)


def grant(id: str, units: int, *, used: int = 0, until: datetime | None = None) -> Grant:
    return Grant(id, "purchase", units, NOW - 30 * DAY, until, used=used)


def sample(at: datetime, *grants: Grant, asleep: bool = False) -> Sample:
    views = tuple(GrantView(each, share(each, at), asleep) for each in grants)
    return Sample(at, BalanceView("acme", "credits", 0, 0, None, None, views))


def test_what_is_used_between_samples_makes_the_pace() -> None:
    assert pace([sample(NOW, grant("a", 100))]) is None, "nobody can tell yet"
    there = [
        sample(NOW - 4 * DAY, grant("a", 100, used=10)),
        sample(NOW - 2 * DAY, grant("a", 100, used=40)),
        sample(NOW, grant("b", 50, used=10)),  # the other is over
    ]
    assert pace(there) == 10


@pytest.mark.parametrize(
    ("grants", "a_day", "days"),
    [
        ([grant("a", 100), grant("b", 50)], 10, 15),
        ([grant("a", 100, until=NOW + 2 * DAY), grant("b", 50)], 10, 7),  # the rest of the first expires
        ([grant("a", 100, until=NOW - DAY), grant("b", 50)], 10, 5),
        ([grant("a", 100)], 0, None),
        ([grant("a", 10**12)], 1, None),
        ([], 10, 0),
    ],
)
def test_grants_burn_one_after_the_other_and_expire(grants: list[Grant], a_day: float, days: int | None) -> None:
    expected = NOW + days * DAY if days is not None else None
    assert lasts_until(sample(NOW, *grants), a_day) == expected


def test_units_that_sleep_or_have_no_end_say_nothing() -> None:
    assert lasts_until(sample(NOW, grant("a", 100), asleep=True), 10) == NOW
    endless = GrantView(Grant("a", "window", None, NOW, None), share(Grant("a", "window", None, NOW, None), NOW))
    assert lasts_until(Sample(NOW, BalanceView("acme", "credits", 0, 0, None, None, (endless,))), 10) is None


def test_bands_lie_on_one_another_and_what_does_not_fit_is_summed() -> None:
    grants = [grant(f"g{number}", 10 * (number + 1)) for number in range(6)]
    samples = (sample(NOW - DAY, *grants[:5]), sample(NOW, *grants))
    chart = burn_chart(BurnDown("acme", "credits", samples, 10, NOW + 21 * DAY))
    assert [(band.name, band.left) for band in chart.bands][-1] == ("3 others", (90, 150))
    assert sum(band.left[1] or 0 for band in chart.bands) == 210
    assert chart.bands[-1].path.endswith("160.0z"), "what burns last lies at the bottom"
    assert chart.guess
    gone = (sample(NOW - DAY, grant("old", 10), grant("new", 5)), sample(NOW, grant("new", 5)))
    assert [band.id for band in burn_chart(BurnDown("acme", "credits", gone, 10, None)).bands] == ["old", "new"]
    assert not burn_chart(BurnDown("acme", "credits", (sample(NOW),), 0, None)).bands
