"""A burn-down as areas that lie on one another, in the order units burn: the last to burn at the bottom.

Law: pure; everything that is drawn stands in the table, too.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from paygrade.server.http.console.wording import short, words
from paygrade.server.operations.burn_down import BurnDown, Sample

WIDTH, HEIGHT, TOP, SHOWN_MAX = 640, 160, 10, 4


class Band(Struct, frozen=True):
    """A grant: its name and id, what was left of it at each sample (None: it was not there), and its area."""

    name: str
    id: str
    left: tuple[int | None, ...]
    path: str
    css: str


class BurnChart(Struct, frozen=True):
    """`guess`: from now to when nothing is left; empty: nobody can tell. `now_x`: where now is."""

    bands: tuple[Band, ...]
    guess: str
    now_x: str
    marks: tuple[str, ...]
    ends_at: datetime


def burn_chart(found: BurnDown) -> BurnChart:
    """Of the grants that had something left at some sample; the rest, if they are more than fit, as one."""
    first, now = found.samples[0].at, found.samples[-1].at
    ends_at = now + timedelta(days=7)
    if found.lasts_until is not None:
        ends_at = min(max(ends_at, found.lasts_until), now + timedelta(days=21))
    names: dict[str, str] = {}
    for sample in reversed(found.samples):
        its = {each.grant.id: words(each.grant.kind) for each in sample.balance.grants if each.share.available}
        names = {id: name for id, name in its.items() if id not in names} | names  # what is gone burned first
    series = [(name, id, tuple(_left(sample, id) for sample in found.samples)) for id, name in names.items()]
    if len(series) > SHOWN_MAX:
        rest = [left for _, _, left in series[SHOWN_MAX - 1 :]]
        summed = tuple(sum(each or 0 for each in column) for column in zip(*rest, strict=True))
        series = [*series[: SHOWN_MAX - 1], (f"{len(rest)} others", "", summed)]
    totals = [sum(left[i] or 0 for _, _, left in series) for i in range(len(found.samples))]
    most = max([1, *totals])

    def x(at: datetime) -> str:
        return f"{WIDTH * ((at - first) / (ends_at - first)):.1f}"

    def y(units: float) -> str:
        return f"{HEIGHT - (HEIGHT - TOP) * units / most:.1f}"

    xs, floor, bands = [x(sample.at) for sample in found.samples], [0] * len(found.samples), []
    for number, (name, id, left) in enumerate(reversed(series)):
        roof = [low + (each or 0) for low, each in zip(floor, left, strict=True)]
        there = " ".join(f"{across} {y(units)}" for across, units in zip(xs, roof, strict=True))
        back = " ".join(f"{across} {y(units)}" for across, units in zip(reversed(xs), reversed(floor), strict=True))
        bands.append(Band(name, id, left, f"M{there} {back}z", f"g{SHOWN_MAX - number}"))
        floor = roof
    guess = ""
    if found.lasts_until is not None and totals[-1]:
        guess = f"M{x(now)} {HEIGHT} {x(now)} {y(totals[-1])} {x(min(found.lasts_until, ends_at))} {HEIGHT}z"
    marks = tuple(short(round(most * part / 3)) for part in (3, 2, 1))
    return BurnChart(tuple(reversed(bands)), guess, x(now), marks, ends_at)


def _left(sample: Sample, id: str) -> int | None:
    return next((each.share.available for each in sample.balance.grants if each.grant.id == id), None)
