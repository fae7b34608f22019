"""The catalog as the table people know from pricing pages: plans side by side, a row for each thing sold, and beside it
what another version said.

Laws: a cell says what the term says, in the trade's words; where both versions say the same nothing is marked; what one
of them alone knows stands in the table, too.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from msgspec import Struct

from paygrade.catalog.model import AddOn, Allowance, Catalog, Plan, Price, Setting, Switch, Term
from paygrade.catalog.offers import BooleanFeature, Cap, ConfigFeature, Credit, Feature, LevelFeature, OveragePrice
from paygrade.catalog.windows import Window
from paygrade.server.http.console.wording import money, number, plural, words
from paygrade.values.periods import Recurrence, render_duration

NOT_HAD = "–"
_OFTEN = {
    "hour": "an hour", "day": "a day", "week": "a week", "month": "a month", "quarter": "a quarter", "year": "a year",
    "lifetime": "once, for good",
}  # fmt: skip


class Words(Struct, frozen=True):
    """What a cell says, and in small letters what more."""

    text: str = NOT_HAD
    more: tuple[str, ...] = ()


class Cell(Struct, frozen=True):
    """What it says, and what the other version said. `before` None: the same, or nothing is compared."""

    now: Words
    before: Words | None = None


class Column(Struct, frozen=True):
    """A plan or an add-on. `ref` None: it is sold no more; `before`: the ref of the other version, where it is
    another (None: there was none)."""

    key: str
    name: str
    ref: str | None
    before: str | None
    price: Cell
    is_default: bool
    description: str


class Row(Struct, frozen=True):
    """A feature or credit, and a cell for each column."""

    key: str
    name: str
    description: str
    cells: tuple[Cell, ...]


class PriceTable(Struct, frozen=True):
    """`groups`: rows under the heading they share."""

    columns: tuple[Column, ...]
    groups: tuple[tuple[str, tuple[Row, ...]], ...]


def price_table(catalog: Catalog, other: Catalog | None = None, *, add_ons: bool = False) -> PriceTable:
    """Plans (or add-ons) of a catalog, compared with an earlier one if there is one."""
    now, then = _sold(catalog, add_ons), _sold(other, add_ons) if other is not None else {}
    keys = [*now, *(key for key in then if key not in now)]
    columns = tuple(_column(key, now.get(key), then.get(key), other is not None) for key in keys)
    offered: dict[str, Feature | Credit] = {**_offers(other), **_offers(catalog)}
    ordered = [*_offers(catalog), *(key for key in offered if key not in _offers(catalog))]
    groups: dict[str, list[Row]] = {}
    for key in ordered:
        cells = tuple(_cell(key, offered[key], now.get(sold), then.get(sold), other is not None) for sold in keys)
        if add_ons and all(cell.now == Words() and cell.before is None for cell in cells):
            continue
        its = offered[key]
        groups.setdefault(group_of(its), []).append(Row(key, words(key), its.description, cells))
    return PriceTable(columns, tuple((group, tuple(rows)) for group, rows in groups.items()))


def _sold(catalog: Catalog, add_ons: bool) -> Mapping[str, Plan | AddOn]:
    return catalog.add_ons if add_ons else catalog.plans


def _offers(catalog: Catalog | None) -> dict[str, Feature | Credit]:
    return {**catalog.features, **catalog.credits} if catalog is not None else {}


def group_of(its: Feature | Credit) -> str:
    """The heading that its kind stands under."""
    match its:
        case BooleanFeature():
            return "Has or has not"
        case ConfigFeature():
            return "Settings"
        case LevelFeature():
            return "Held"
        case Credit():
            return "Credits"
        case _:
            return "Used up"


def _column(key: str, now: Plan | AddOn | None, then: Plan | AddOn | None, compared: bool) -> Column:
    its = now or then
    assert its is not None
    price = _prices(now) if now is not None else Words()
    before = _prices(then) if then is not None else Words()
    differs = compared and before != price
    return Column(
        key=key,
        name=words(key),
        ref=now.ref if now is not None else None,
        before=then.ref if then is not None and (now is None or then.ref != now.ref) else None,
        price=Cell(price, before if differs else None),
        is_default=isinstance(its, Plan) and its.default,
        description=its.description,
    )


def _cell(key: str, its: Feature | Credit, now: Plan | AddOn | None, then: Plan | AddOn | None, compared: bool) -> Cell:
    told = [told_term(sold.terms.get(key) if sold is not None else None, its) for sold in (now, then)]
    return Cell(told[0], told[1] if compared and told[0] != told[1] else None)


def told_term(term: Term | None, its: Feature | Credit) -> Words:
    """What a plan or add-on gives of it."""
    match term:
        case None:
            return Words()
        case Switch():
            return Words("Yes") if term.on else Words("Off", ("whatever else gives it",))
        case Setting():
            unit = its.unit if isinstance(its, ConfigFeature) and its.unit else ""
            if isinstance(term.value, bool):
                return Words("On" if term.value else "Off")
            if isinstance(term.value, int):
                return Words(plural(term.value, unit) if unit else number(term.value))
            return Words(str(term.value))
        case Allowance():
            return Words(_units(term), tuple(_more(term)))


def _units(term: Allowance) -> str:
    if term.units is None:
        return "Unlimited"
    plus = "+" if term.adds else ""
    if term.by_quantity:
        if term.per is not None:
            return f"{plus}{number(term.units)} for each of {words(term.per).lower()}"
        return "As bought" if term.units == 1 else f"{plus}{number(term.units)} for each bought"
    return f"{plus}{number(term.units)}"


def _more(term: Allowance) -> Iterator[str]:
    window = _window(term.recurrence, term.rolling_s)
    if window:
        yield window
    if term.overage_price is not None:
        most = f", {money(term.spend_max, term.overage_price.currency)} at most" if term.spend_max is not None else ""
        yield f"then {unit_price(term.overage_price)}{most}"
    elif term.overage == "soft":
        yield "going over is allowed"
    elif term.overage == "debt":
        yield "going over is taken from the next"
    if term.rollover:
        share = f"{term.rollover_share}% of what is left, " if term.rollover_share != 100 else ""
        yield f"{share}{number(term.rollover)} at most carried over"
    if term.per_member is not None:
        yield f"{number(term.per_member)} for one member"
    for cap in term.caps:
        yield _cap(cap)


def _cap(cap: Cap) -> str:
    what = money(cap.budget.amount, cap.budget.currency) if cap.budget is not None else number(cap.units)
    return f"{what} {_window(cap.recurrence, cap.rolling_s) or 'in all'} at most"


def _window(recurrence: Recurrence | None, rolling_s: int | None) -> str:
    if rolling_s is not None:
        return f"in the last {render_duration(timedelta(seconds=rolling_s))}"
    if recurrence is None:
        return ""
    return _OFTEN.get(recurrence.every) or str(Window(recurrence))


def unit_price(price: OveragePrice | Price) -> str:
    """`$0.04 each`, `$2.00 for 1,000`."""
    each = "each" if price.per == 1 else f"for {number(price.per)}"
    return f"{money(price.amount, price.currency)} {each}"


def interval(price: Price) -> str:
    """`a month`, `every 3 months`."""
    if price.interval_count == 1:
        return f"a {price.interval}"
    return f"every {price.interval_count} {price.interval}s"


def _prices(sold: Plan | AddOn) -> Words:
    """What it costs: the first price large, all others below it."""
    if not sold.prices:
        free = isinstance(sold, Plan) and sold.default
        return Words("Free" if free else "No price", () if free else ("what is billed is not said here",))
    first, *rest = sold.prices.values()
    more = [_price(price, with_amount=True) for price in rest]
    if first.part == "usage":
        return Words("By use", (_price(first, with_amount=True), *more))
    return Words(money(first.amount, first.currency), (_price(first, with_amount=False), *more))


def _price(price: Price, *, with_amount: bool) -> str:
    if price.part == "usage":
        what = words(price.feature or "").lower()
        if price.tiers:
            return f"{what} by {plural(len(price.tiers), 'tier')}"
        return f"{what}: {unit_price(price)}" if price.amount else f"{what} as the provider says"
    told = f"{money(price.amount, price.currency)} {interval(price)}" if with_amount else interval(price)
    if price.tiers:
        told += f", {plural(len(price.tiers), 'tier')}"
    return told + (", once however many" if price.part == "flat" else "")
