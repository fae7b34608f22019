"""The lines of plans and add-ons: what each means, and what is said about one that means nothing."""

import pytest

from paygrade.catalog.diff import render
from paygrade.catalog.model import Allowance, Setting, Switch
from paygrade.catalog.offers import Budget, Cap, OveragePrice
from paygrade.values.periods import Recurrence
from paygrade.values.text import QUANTITY_MAX
from support.catalog_texts import FEATURES, MONTH, SAMPLE, mistakes, read, with_add_on, with_plan


@pytest.mark.parametrize(
    ("term", "meaning"),
    [
        ("exports: false", Switch("exports", on=False)),
        ("retention: -1", Setting("retention", -1)),
        ("support: no", Setting("support", "no")),
        ("beta: false", Setting("beta", value=False)),
        ("seats: 5", Allowance("seats", 5)),
        ("seats: unlimited", Allowance("seats", None)),
        ("seats: { limit: unlimited }", Allowance("seats", None)),
        ("seats: { limit: 5, overage: soft, warn: [50] }", Allowance("seats", 5, overage="soft", warn=(50,))),
        ("calls: unlimited", Allowance("calls", None)),
        ("calls: { limit: unlimited }", Allowance("calls", None)),
        ("calls: { limit: unlimited, every: day }", Allowance("calls", None, recurrence=Recurrence("day"))),
        ("calls: { limit: 0, every: lifetime }", Allowance("calls", 0, recurrence=Recurrence("lifetime"))),
        (
            "calls: { limit: quantity, every: day }",
            Allowance("calls", 1, by_quantity=True, recurrence=Recurrence("day")),
        ),
        (
            "seats: 2, calls: { limit: { per: seats, units: 100 }, every: month }",
            Allowance("calls", 100, by_quantity=True, per="seats", recurrence=MONTH),
        ),
        (
            "coins: { grant: { per: quantity, units: 5 }, every: month }",
            Allowance("coins", 5, by_quantity=True, recurrence=MONTH),
        ),
        ("coins: { grant: 9, every: week }", Allowance("coins", 9, recurrence=Recurrence("week"))),
        ("calls: { limit: 5, rolling: 24h }", Allowance("calls", 5, rolling_s=86400)),
        ("calls: { limit: 5, rolling: 34d, overage: soft }", Allowance("calls", 5, rolling_s=2937600, overage="soft")),
        ("calls: { limit: 5, every: month, rollover: 1 }", Allowance("calls", 5, recurrence=MONTH, rollover=1)),
        (
            "calls: { limit: 5, every: month, rollover: 50% }",
            Allowance("calls", 5, recurrence=MONTH, rollover=QUANTITY_MAX, rollover_share=50),
        ),
        (
            "coins: { grant: 5, every: month, rollover: { share: 50%, at_most: 9, windows: 3 } }",
            Allowance("coins", 5, recurrence=MONTH, rollover=9, rollover_share=50, rollover_windows=3),
        ),
        (
            "calls: { limit: 5, every: month, rollover: { windows: 1 }, overage: debt }",
            Allowance("calls", 5, recurrence=MONTH, rollover=QUANTITY_MAX, rollover_windows=1, overage="debt"),
        ),
        ("calls: { limit: 5, every: month, priority: 0 }", Allowance("calls", 5, recurrence=MONTH, priority=0)),
        (
            "calls: { limit: unlimited, every: day, per_member: 3 }",
            Allowance("calls", None, recurrence=Recurrence("day"), per_member=3),
        ),
        (
            "calls: { limit: unlimited, caps: [{ limit: 9, every: day }, { limit: 2, rolling: 1m }] }",
            Allowance("calls", None, caps=(Cap(2, rolling_s=60), Cap(9, Recurrence("day")))),
        ),
        (
            "calls: { limit: 5, every: month, overage: { price: { amount: 7, currency: eur } } }",
            Allowance("calls", 5, recurrence=MONTH, overage="soft", overage_price=OveragePrice(7, 1, "eur")),
        ),
        (
            "calls: { limit: 5, every: month, overage: { price: { amount: 7, per: 3, currency: eur }, spend_cap: 9 } }",
            Allowance(
                "calls",
                5,
                recurrence=MONTH,
                overage="soft",
                overage_price=OveragePrice(7, 3, "eur"),
                spend_max=9,
            ),
        ),
        (
            "coins: {grant: 9, every: 10d, rollover: 3, per_member: 2, caps: [{limit: 1, rolling: 1h}], priority: 0}",
            Allowance(
                "coins",
                9,
                recurrence=Recurrence("custom", 864_000),
                rollover=3,
                per_member=2,
                caps=(Cap(1, rolling_s=3600),),
                priority=0,
            ),
        ),
    ],
)
def test_a_plan_says_how_much_there_is(term: str, meaning: object) -> None:
    *_, read_term = read(with_plan(term)).plans["pro"].terms.values()
    assert read_term == meaning


@pytest.mark.parametrize(
    ("every", "recurrence"),
    [
        ("month", MONTH),
        ("{ period: month }", MONTH),
        ("{ period: month, align: subscription, zone: UTC }", MONTH),
        ("{ period: month, align: calendar }", Recurrence("month", calendar=True)),
        (
            "{ period: week, align: calendar, zone: Europe/Berlin }",
            Recurrence("week", calendar=True, zone="Europe/Berlin"),
        ),
        ("{ period: day, zone: Asia/Kolkata }", Recurrence("day", zone="Asia/Kolkata")),
        (
            "{ period: hour, align: calendar, zone: Asia/Kolkata }",
            Recurrence("hour", calendar=True, zone="Asia/Kolkata"),
        ),
        ("{ period: lifetime }", Recurrence("lifetime")),
        ("{ period: day, align: calendar, zone: account }", Recurrence("day", calendar=True, zone="account")),
        (
            "{ period: week, align: calendar, week_begins: sunday }",
            Recurrence("week", calendar=True, week_begins=6),
        ),
        ("1w2d", Recurrence("custom", 777_600)),
        ("{ period: 90m }", Recurrence("custom", 5400)),
        ("3650d", Recurrence("custom", 315_360_000)),
    ],
)
def test_a_window_comes_again_as_it_says(every: str, recurrence: Recurrence) -> None:
    term = read(with_plan(f"calls: {{ limit: 5, every: {every} }}")).plans["pro"].terms["calls"]
    assert term == Allowance("calls", 5, recurrence=recurrence)


@pytest.mark.parametrize(
    ("every", "message"),
    [
        ("custom", "unknown word `custom`"),
        ("10x", "`10x` is not a duration; write for example `7d`"),
        ("59s", "a window lasts from `1m` to `3650d`"),
        ("9999w", "a window lasts from `1m` to `3650d`"),
        ("999999w" * 200, "a window lasts from `1m` to `3650d`"),
        ("7", "expected `hour`, `day`, `week`, `month`, `quarter`, `year` or `lifetime`, not `7`"),
        ("[month]", "expected `hour`"),
        ("{ align: calendar }", "`period` is missing; add for example `period: month`"),
        ("{ period: month, align: calender }", "unknown word `calender`; did you mean `calendar`?"),
        ("{ period: month, zone: Europe/Berln }", "unknown zone `Europe/Berln`; did you mean `Europe/Berlin`?"),
        ("{ period: month, zone: 'on my watch' }", "write an IANA time zone such as `Europe/Berlin`"),
        ("{ period: month, zone: 1 }", "expected an IANA time zone such as `Europe/Berlin`, not `1`"),
        ("{ period: 10d, align: calendar }", "a length of your own can't be aligned to the calendar; remove `align`"),
        ("{ period: lifetime, zone: UTC }", "`lifetime` never begins again; remove `zone`"),
        ("{ period: hour, zone: UTC }", "are the same in every zone; remove `zone`"),
        ("{ period: month, of: calendar }", "unknown key `of`"),
        ("{ period: day, zone: account }", "only windows of the calendar follow the account's zone; add `align"),
        ("{ period: hour, align: calendar, zone: account }", "hours are too short to follow the account's zone"),
        ("{ period: month, align: calendar, week_begins: sunday }", "only a week of the calendar begins on a day"),
        ("{ period: week, week_begins: sunday }", "only a week of the calendar begins on a day of its own"),
        ("{ period: week, align: calendar, week_begins: sonday }", "unknown word `sonday`; did you mean `sunday`?"),
    ],
)
def test_a_wrong_window_is_told_what_to_write(every: str, message: str) -> None:
    (mistake,) = mistakes(with_plan(f"calls: {{ limit: 5, every: {every} }}"))
    assert message in mistake


@pytest.mark.parametrize(
    ("term", "meaning"),
    [
        ("exports: true", Switch("exports", on=True)),
        ("retention: 30", Setting("retention", 30)),
        ("seats: { add: 5 }", Allowance("seats", 5, by_quantity=True, adds=True)),
        ("seats: { add: quantity }", Allowance("seats", 1, by_quantity=True, adds=True)),
        (
            "calls: { add: 5, every: month }",
            Allowance("calls", 5, by_quantity=True, adds=True, recurrence=MONTH),
        ),
        (
            "coins: { add: 5, every: year }",
            Allowance("coins", 5, by_quantity=True, adds=True, recurrence=Recurrence("year")),
        ),
    ],
)
def test_an_add_on_says_what_comes_on_top_for_each_one_bought(term: str, meaning: object) -> None:
    (read_term,) = read(with_add_on(term)).add_ons["more"].terms.values()
    assert read_term == meaning


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("exports: 1", "expected `true` or `false`, not `1`"),
        ("exprts: true", "unknown feature or credit `exprts`; did you mean `exports`?"),
        ("retention: ninety", "expected a whole number, at least -9007199254740991, not `ninety`"),
        ("support: 5", "expected a text, not `5`"),
        ('support: "a\\0"', "a string can't contain control characters; remove them"),
        ("seats: -1", "expected a whole number, at least 0, not `-1`"),
        ("seats: quantity", "`{limit: quantity}`"),
        ("seats: { limit: 5, every: month }", "a level is held, not used up over time; remove `every`"),
        ("seats: { limit: unlimited, warn: [80] }", "nobody goes over `unlimited`; remove `warn`"),
        ("seats: { limit: 5, warn: [100, 80] }", "write the percentages in ascending order, each once"),
        ("seats: { add: 5 }", "only an add-on can `add`"),
        ("calls: 1000", "say how often this renews: write `{limit: 1000, every: month}`"),
        ("calls: true", "expected `unlimited` or a mapping such as `{limit: 1000, every: month}`, not `true`"),
        ("calls: { limit: 5 }", "`every` is missing; add for example `every: month`"),
        ("calls: { limit: 5, every: fortnight }", "unknown word `fortnight`"),
        ("calls: { limit: 5, every: month, overage: sft }", "unknown word `sft`; did you mean `soft`?"),
        ("calls: { limit: 5, every: month, grant: 1 }", "`grant` is for credits; a feature has a `limit`"),
        ("calls: { limit: 5, every: month, rolling: 1h }", "units count either by `every` or by `rolling`"),
        ("calls: { limit: 5, rolling: 30s }", "a window lasts from `1m` to `34d`"),
        ("calls: { limit: 5, rolling: 35d }", "a window lasts from `1m` to `34d`"),
        ("calls: { limit: 5, rolling: 60 }", "expected a duration such as `7d` or `12h`, not `60`"),
        ("calls: { limit: 5, rolling: 1h, rollover: 1 }", "a window that rolls on has no next one"),
        ("calls: { limit: 5, every: lifetime, rollover: 1 }", "a window that lasts for good has no next one"),
        ("calls: { limit: unlimited, every: day, rollover: 1 }", "`unlimited` leaves nothing to carry over"),
        ("calls: { limit: unlimited, overage: { price: { amount: 1, currency: usd } } }", "nobody goes over"),
        ("calls: { limit: unlimited, per_member: 5 }", "`every` is missing"),
        ("calls: { limit: 5, every: day, per_member: 0 }", "expected a whole number, at least 1, not `0`"),
        ("calls: { limit: 5, every: day, priority: 101 }", "expected a whole number, from 0 to 100, not `101`"),
        ("calls: { limit: 5, every: day, overage: { spend_cap: 5 } }", "`price` is missing; add for example `price: {"),
        ("calls: { limit: 5, every: day, overage: { price: { amount: 0, currency: usd } } }", "at least 1, not `0`"),
        ("calls: { limit: 5, every: day, overage: { price: { amount: 1, currency: US } } }", "three lower-case"),
        (
            "calls: { limit: 5, rolling: 1h, overage: { price: { amount: 1, currency: usd } } }",
            "overage is billed by the period; write `every` instead of `rolling`",
        ),
        ("calls: { limit: 5, every: day, caps: { limit: 1, every: hour } }", "expected a list, not a mapping"),
        ("calls: { limit: 5, every: day, caps: [{ limit: 1 }] }", "`every` is missing; add for example `every: hour`"),
        ("calls: { limit: 5, every: day, caps: [{ every: hour }] }", "`limit` is missing"),
        ("calls: { limit: 5, every: day, caps: [{ limit: 0, every: hour }] }", "at least 1, not `0`"),
        (
            "calls: { limit: 5, every: day, caps: [{ limit: 1, every: lifetime }] }",
            "a cap is a limit in a shorter window",
        ),
        (
            "calls: { limit: 5, every: day, caps: [{ limit: 1, every: { period: day } }] }",
            "there is a limit with `every: day` already; keep the smaller one",
        ),
        (
            "calls: { limit: 5, every: day, caps: [{ limit: 1, rolling: 60s }, { limit: 2, rolling: 1m }] }",
            "there is a limit with `rolling: 1m` already; keep the smaller one",
        ),
        ("seats: { limit: 5, caps: [] }", "a level is held, not used up over time; remove `caps`"),
        (
            "seats: { limit: 5, overage: { price: {} } }",
            "a level has no period to bill; write `soft` or `hard`",
        ),
        ("coins: { grant: 5, rolling: 1h }", "credits are granted by the period; write `every`"),
        ("coins: { grant: 5, every: month, overage: soft }", "credits are spent until they are gone; remove `overage`"),
        ("calls: { limt: 5, every: month }", "unknown key `limt`; did you mean `limit`?"),
        ("calls: { limit: 5, every: day, rollover: 0% }", "expected a percentage from `1%` to `100%`, not `0%`"),
        ("calls: { limit: 5, every: day, rollover: half }", "expected a percentage from `1%` to `100%`"),
        ("calls: { limit: 5, every: day, rollover: {} }", "say how much is carried over; write for example"),
        ("calls: { limit: 5, every: day, rollover: { windows: 13 } }", "from 1 to 12, not `13`"),
        ("calls: { limit: 5, rolling: 1h, overage: debt }", "no next one to take what is owed from; remove `overage`"),
        ("calls: { limit: unlimited, overage: debt }", "nobody goes over `unlimited`"),
        ("coins: 5", "expected a mapping, not `5`"),
        ("coins: { limit: 5, every: month }", "a credit is granted, not limited; write `grant`"),
        ("coins: { grant: unlimited, every: month }", "expected a whole number, at least 0, not `unlimited`"),
        ("coins: { grant: 9007199254740992, every: day }", "expected a whole number up to 9007199254740991"),
        ("calls: { limit: { per: seats, units: 9 }, every: day }", "`pro` gives no `seats`; add it to the plan's"),
        ("calls: { limit: { per: seatz, units: 9 }, every: day }", "unknown level `seatz`; did you mean `seats`?"),
        ("calls: { limit: { per: seats }, every: day }", "`units` is missing; add for example `units: 100`"),
        ("seats: unlimited, coins: { grant: { per: seats, units: 9 }, every: day }", "gives `seats` without a limit"),
        ("seats: { limit: { per: seats, units: 9 } }", "`seats` follows `seats` itself"),
        ("seats: { per: seats, units: 9 }", "unknown key `per`"),
    ],
)
def test_a_wrong_plan_term_is_told_what_to_write(term: str, message: str) -> None:
    assert message in mistakes(with_plan(term))[0]


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("exports: false", "an add-on can only switch features on"),
        ("seats: { limit: 5 }", "an add-on comes on top of the plan; write `add`"),
        ("coins: { grant: 5, every: month }", "an add-on comes on top of the plan; write `add`"),
        ("seats: { add: 0 }", "expected a whole number, at least 1, not `0`"),
        ("seats: { add: 1, every: month }", "remove `every`"),
        ("calls: { add: 1 }", "`every` is missing"),
        (
            "calls: { add: 1, every: day }",
            "plan `pro` counts `calls` in other windows; write `every: month` here as well",
        ),
        ("calls: { add: 1, rolling: 1h }", "write `every: month` here as well"),
        ("calls: { add: 1, every: { period: month, align: calendar } }", "write `every: month` here as well"),
        ("calls: { add: 1, every: month, rollover: 1 }", "only a plan can set this"),
        ("seats: { add: 1, priority: 1 }", "remove `priority`"),
        ("coins: { add: 1, every: month, rolling: 1h }", "credits are granted by the period; write `every`"),
    ],
)
def test_a_wrong_add_on_term_is_told_what_to_write(term: str, message: str) -> None:
    (mistake,) = mistakes(with_add_on(term))
    assert message in mistake


@pytest.mark.parametrize(
    "edit",
    [
        ("every: month\n", "every: { period: month, align: calendar }\n"),
        ("{ price: { amount: 2, per: 100, currency: usd }, spend_cap: 5000 }", "soft"),
        ("amount: 2, per: 100", "amount: 3, per: 100"),
        ("spend_cap: 5000", "spend_cap: 5001"),
        ("limit: 600, rolling: 1m", "limit: 601, rolling: 1m"),
        ("limit: 600, rolling: 1m", "limit: 600, every: hour"),
        ("per_member: 2500", "per_member: 2501"),
        ("rollover: 1000,", "rollover: 1001,"),
        ("per_member: 2500", "per_member: 2500, priority: 49"),
    ],
)
def test_every_word_of_a_term_is_part_of_what_a_plan_gives(edit: tuple[str, str]) -> None:
    # The add-on counts in the windows of the plans; without it each plan may have its own.
    sample = SAMPLE.replace("      api_calls: { add: 50000, every: month }\n", "      seats: { add: 1 }\n")
    assert sample.count(edit[0]) == 1
    second = read(sample.replace(*edit), previous=read(sample))
    assert second.plans["pro"].ref == "pro@2"


def with_budget(term: str, price: str = "amount: 0") -> str:
    head = FEATURES.replace("coins: {}", "coins: { price: { amount: 7, per: 2, currency: usd } }")
    use = f"use: {{ part: usage, feature: calls, currency: usd, interval: month, {price} }}"
    return f"{head}plans:\n  pro:\n    prices: {{ {use} }}\n    entitlements: {{ {term} }}\n"


DAILY = "caps: [{ budget: { amount: 50, currency: usd }, every: day }]"


@pytest.mark.parametrize(
    ("term", "price", "units"),
    [
        (f"coins: {{ grant: 9, every: month, {DAILY} }}", "amount: 0", 14),
        (f"calls: {{ limit: unlimited, {DAILY} }}", "amount: 3, per: 10", 166),
        (
            f"calls: {{ limit: 0, every: month, overage: {{ price: {{ amount: 3, currency: usd }} }}, {DAILY} }}",
            "amount: 0",
            16,
        ),
    ],
)
def test_a_budget_is_as_many_units_as_it_pays_for(term: str, price: str, units: int) -> None:
    catalog = read(with_budget(term, price))
    (read_term,) = catalog.plans["pro"].terms.values()
    assert isinstance(read_term, Allowance)
    assert read_term.caps == (Cap(units, Recurrence("day"), budget=Budget(50, "usd")),)
    written = render(catalog)["plans"]["pro"]["entitlements"][read_term.feature]  # type: ignore[index]  # a document
    assert written["caps"] == [{"budget": {"amount": 50, "currency": "usd"}, "every": "day"}]


@pytest.mark.parametrize(
    ("term", "price", "message"),
    [
        (f"calls: {{ limit: 5, every: month, {DAILY} }}", "amount: 3", "the first 5 units of `calls` cost nothing"),
        (f"calls: {{ limit: unlimited, {DAILY} }}", "amount: 0", "nothing says what `calls` costs in usd; add a price"),
        (f"calls: {{ limit: unlimited, {DAILY} }}", "amount: 51", "pays for no unit of `calls`; write more"),
        (f"calls: {{ limit: unlimited, {DAILY} }}", "amount: 0, tiers: [{ amount: 1 }]", "has tiers, so a unit has no"),
        (
            "coins: { grant: 9, every: month, caps: [{ budget: { amount: 5, currency: eur }, every: day }] }",
            "amount: 0",
            "nothing says what `coins` is worth in eur; add `price: { amount: 1, per: 10, currency: eur }` to",
        ),
        (
            "calls: { limit: unlimited, caps: [{ budget: { amount: 5, currency: usd }, limit: 5, every: day }] }",
            "amount: 1",
            "a cap is a `limit` in units or a `budget` in money; remove one of them",
        ),
        ("calls: { limit: unlimited, caps: [{ budget: 5, every: day }] }", "amount: 1", "expected a mapping, not `5`"),
    ],
)
def test_a_budget_that_can_not_be_counted_is_told_what_to_write(term: str, price: str, message: str) -> None:
    assert message in mistakes(with_budget(term, price))[0]
