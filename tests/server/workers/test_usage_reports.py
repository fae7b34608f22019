"""Usage reported to the provider: its meter's sum is what we counted, whatever fails on the way."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from paygrade.postgres.store import Store
from paygrade.postgres.usage_reports import Reports, SavedReport
from paygrade.providers.port import Metering
from paygrade.server.operations.accounts.provider_reports import list_usage_reports, reconcile
from paygrade.server.workers.claims import take
from paygrade.server.workers.usage_reports import (
    AGAIN,
    REPORTS,
    REST,
    SETTLED,
    judge,
    mark_reports,
    note_reported,
    prepare,
    report_window,
)
from paygrade.usage.provider_reports import MeterEvent
from paygrade.values.errors import Refused, Unavailable
from paygrade.values.periods import add_months
from support.billing import LIMIT, METER, START, Billing, billing
from support.cli_runner import Shell
from support.server_process import KEY, Api, serving
from support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("long_pauses")]

END = add_months(START, 1)


@pytest.fixture
def desk(database_url: str) -> Iterator[Billing]:
    with billing(database_url) as desk:
        yield desk


async def window(store: Store, account: str = "acme") -> SavedReport:
    """The latest window of an account."""
    async with store.transaction() as tx:
        return (await tx.reports.of_account(account, limit=1))[0]


async def claim(store: Store, desk: Billing) -> SavedReport:
    await mark_reports(store, "stripe", at=desk.at)
    (claimed,) = await take(store, REPORTS, limit=1, at=desk.at)
    return claimed


class Spied:
    """The provider behind a wire that a test can cut: `before` and `after` run around each event that is told."""

    name = "stripe"

    def __init__(self, desk: Billing) -> None:
        self._desk = desk
        self.told: list[MeterEvent] = []
        self.before: Callable[[MeterEvent], None] = lambda event: None
        self.after: Callable[[MeterEvent], None] = lambda event: None

    def report_usage(self, event: MeterEvent) -> None:
        self.told.append(event)
        self.before(event)
        self._desk.commands.report_usage(event)
        self.after(event)

    def reported_usage(self, *, customer: str, meter: str, from_at: datetime, until: datetime) -> int:
        return self._desk.commands.reported_usage(customer=customer, meter=meter, from_at=from_at, until=until)


def cut(event: MeterEvent) -> None:
    raise Unavailable("provider_unreachable", "no answer")


async def test_pay_as_you_go_usage_reaches_the_meter_once(store: Store, desk: Billing) -> None:
    await desk.sell(store, report="all")
    await desk.buyer(store, "acme")
    await desk.use(store, "acme", 40)
    assert await desk.report(store) == ["told"]
    assert await desk.report(store) == []
    assert desk.summed("acme") == 40
    await desk.use(store, "acme", 2)
    assert await desk.report(store) == [], "a window rests between two events"
    desk.advance(REST)
    assert await desk.report(store) == ["told"]
    assert desk.summed("acme") == 42
    kept = await window(store)
    assert (kept.used, kept.reported, kept.told, kept.pending) == (42, 42, 42, None)


async def test_overage_is_only_what_goes_over_the_limit(store: Store, desk: Billing) -> None:
    await desk.sell(store, report="overage")
    await desk.buyer(store, "acme")
    await desk.use(store, "acme", LIMIT)
    assert await desk.report(store) == ["looked"]
    assert desk.summed("acme") == 0
    desk.advance(REST)
    await desk.use(store, "acme", 7)
    assert await desk.report(store) == ["told"]
    assert desk.summed("acme") == 7


async def test_usage_is_billed_in_the_period_it_happened_in(store: Store, desk: Billing) -> None:
    """What is told after the period has ended, but before its invoice is final, is on that invoice."""
    await desk.sell(store, report="all")
    recurring = {"interval": "month", "usage_type": "metered", "meter": desk.meter}
    price = desk.stripe.v1.prices.create(
        {"currency": "usd", "unit_amount": 5, "recurring": recurring, "product_data": {"name": "Calls"}}  # type: ignore[typeddict-item]
    )
    customer = await desk.buyer(store, "acme")
    subscription = desk.shop.subscriptions["acme"]
    desk.stripe.v1.subscription_items.create({"subscription": subscription, "price": price.id})
    await desk.read(store, "acme")
    await desk.use(store, "acme", 10)
    await desk.report(store)
    desk.advance(END - START - timedelta(seconds=30))
    await desk.use(store, "acme", 3)
    assert "told" in await desk.report(store)
    desk.advance(timedelta(hours=2))
    invoice = desk.stripe.v1.invoices.list({"customer": customer, "limit": 1}).data[0]
    assert [line.amount for line in invoice.lines.data if line.quantity == 13] == [65]


async def test_usage_told_after_its_window_carries_an_instant_of_it(store: Store, desk: Billing) -> None:
    await desk.sell(store, report="all")
    await desk.buyer(store, "acme")
    await desk.report(store)
    await desk.use(store, "acme", 5)
    desk.advance(END - START + timedelta(days=2))
    spied = Spied(desk)
    assert await desk.report(store, commands=spied) == ["told"]
    (event,) = spied.told
    assert START <= event.at < END


async def test_usage_too_old_for_the_provider_is_shown_and_not_told(store: Store, desk: Billing) -> None:
    await desk.sell(store, report="all")
    await desk.buyer(store, "acme")
    await desk.report(store)
    await desk.use(store, "acme", 5)
    desk.advance(END - START + timedelta(days=35))
    assert await desk.report(store) == ["looked"]
    assert ((await window(store)).reason, desk.summed("acme")) == ("too_late", 0)


async def test_a_limit_that_shrinks_with_the_subscription_bills_nobody(store: Store, desk: Billing) -> None:
    """Canceled at the period's end, an account is on `free`: what it used before counts against what it had paid for,
    up to the last second."""
    await desk.sell(store, report="overage")
    await desk.buyer(store, "acme")
    await desk.use(store, "acme", LIMIT + 10)
    await desk.report(store)
    desk.stripe.v1.subscriptions.update(desk.shop.subscriptions["acme"], {"cancel_at_period_end": True})
    await desk.read(store, "acme")
    desk.advance(END - START - timedelta(seconds=30))
    await desk.use(store, "acme", 5)
    desk.advance(timedelta(minutes=5))
    await desk.read(store, "acme")
    await desk.report(store)
    desk.advance(SETTLED)
    await desk.report(store)
    assert desk.summed("acme") == 15
    assert (await window(store)).reported == 15


async def test_an_account_nobody_pays_for_is_shown_and_not_reported(store: Store, desk: Billing) -> None:
    await desk.sell(store, report="all")
    desk.shop.welcome("acme", "Acme")
    await desk.read(store, "acme")
    await desk.use(store, "acme", 5)
    assert await desk.report(store) == ["looked"]
    assert (await window(store)).reason == "no_customer"
    desk.shop.subscribe("acme", "pro_monthly")
    await desk.read(store, "acme")
    desk.advance(END - START + AGAIN)
    await desk.report(store)
    assert (await window(store)).reason is None


# Exactly once


async def test_whoever_finds_something_pending_tells_it_again_under_its_name(store: Store, desk: Billing) -> None:
    """Killed before, within and after the call: the provider counts it once."""
    await desk.sell(store, report="all")
    await desk.buyer(store, "acme")
    await desk.use(store, "acme", 5)
    first = await claim(store, desk)
    event = await prepare(store, first, at=desk.at)
    assert isinstance(event, MeterEvent)
    spied = Spied(desk)
    # Written down, and told by nobody.
    desk.let_pass("reports")
    (second,) = await take(store, REPORTS, limit=1, at=desk.at)
    assert await prepare(store, second, at=desk.at) == event
    # Told, and not counted as told.
    spied.report_usage(event)
    desk.let_pass("reports")
    await desk.use(store, "acme", 1)
    assert await desk.report(store, commands=spied) == ["told"]
    assert spied.told == [event, event]
    assert desk.summed("acme") == 5
    # Whoever was thought to be dead comes back.
    assert await note_reported(store, first, event, at=desk.at) == "overtaken"
    desk.advance(REST)
    assert await desk.report(store, commands=spied) == ["told"]
    assert desk.summed("acme") == 6
    assert len({each.identifier for each in spied.told}) == 2


async def test_who_asks_for_a_comparison_while_one_is_under_way_gets_one_of_their_own(
    store: Store, desk: Billing
) -> None:
    await desk.sell(store, report="all")
    customer = await desk.buyer(store, "acme")
    await desk.use(store, "acme", 5)
    assert await desk.report(store) == ["told"]
    assert (await reconcile(store, account="acme", at=desk.at)).unchecked == 1
    claimed = await claim(store, desk)
    assert not isinstance(await prepare(store, claimed, at=desk.at), MeterEvent | str)
    # The provider has answered with 5 when somebody reports more, and asks.
    desk.commands.report_usage(MeterEvent("of_somebody_else", METER, customer, 3, desk.at))
    await reconcile(store, account="acme", at=desk.at)
    assert await judge(store, desk.commands.name, claimed, 5, at=desk.at) == "compared"
    async with store.transaction() as tx:
        assert await tx.reports.unchecked("acme", at=desk.at) == 1
    assert await desk.report(store) == ["compared"]
    assert (await window(store)).said == 8
    async with store.transaction() as tx:
        assert await tx.reports.unchecked("acme", at=desk.at) == 0


async def test_what_a_list_no_longer_counts_as_waiting_is_answered_in_it(
    store: Store, desk: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.sell(store, report="all")
    await desk.buyer(store, "acme")
    await desk.use(store, "acme", 5)
    assert await desk.report(store) == ["told"]
    await reconcile(store, account="acme", at=desk.at)
    # A comparison ends between the two things that a list reads.
    for name in ("unchecked", "of_account"):
        read = getattr(Reports, name)

        async def reads(self: Reports, *args: Any, read: Any = read, **named: Any) -> Any:
            answer = await read(self, *args, **named)
            await desk.report(store)
            return answer

        monkeypatch.setattr(Reports, name, reads)
    told = await list_usage_reports(store, account="acme", limit=5, at=desk.at)
    assert [(each.said, each.difference) for each in told.reports] == [(5, 0)]


async def test_two_workers_at_once_count_one_event_once(store: Store, desk: Billing) -> None:
    await desk.sell(store, report="all")
    await desk.buyer(store, "acme")
    await desk.use(store, "acme", 5)
    slow = await claim(store, desk)
    event = await prepare(store, slow, at=desk.at)
    assert isinstance(event, MeterEvent)
    desk.let_pass("reports")
    (quick,) = await take(store, REPORTS, limit=1, at=desk.at)
    assert await report_window(store, desk.commands, desk, quick) == "told"
    desk.commands.report_usage(event)
    assert await note_reported(store, slow, event, at=desk.at) == "overtaken"
    assert ((await window(store)).reported, desk.summed("acme")) == (5, 5)


async def test_lost_answers_and_failures_lose_and_double_nothing(store: Store, desk: Billing) -> None:
    await desk.sell(store, report="all")
    accounts = [f"acme{number}" for number in range(4)]
    for account in accounts:
        await desk.buyer(store, account)
    desk.weather(error=0.4, timeout=0.1, hang_ms=[1, 5])
    for round in range(1, 4):
        for account in accounts:
            await desk.use(store, account, round)
        await desk.report_patiently(store)
        desk.advance(REST)
    desk.weather()
    assert [desk.summed(account) for account in accounts] == [6] * 4


async def test_what_is_in_doubt_for_a_day_is_asked_for_before_it_is_told_again(store: Store, desk: Billing) -> None:
    await desk.sell(store, report="all")
    await desk.buyer(store, "acme")
    await desk.buyer(store, "globex")
    spied = Spied(desk)
    await desk.use(store, "acme", 5)
    spied.after = cut
    assert await desk.report(store, commands=spied) == ["failed"]
    await desk.use(store, "globex", 7)
    spied.before = cut
    assert await desk.report(store, commands=spied) == ["failed"]
    assert (desk.summed("acme"), desk.summed("globex")) == (5, 0)
    desk.advance(timedelta(hours=23, minutes=5))
    desk.let_pass("reports")
    assert await desk.report(store, commands=spied) == ["looked", "looked"]
    desk.advance(timedelta(hours=1))
    desk.let_pass("reports")
    spied.before = spied.after = lambda event: None
    assert sorted(await desk.report(store, commands=spied)) == ["compared", "compared", "looked", "told"]
    assert (desk.summed("acme"), desk.summed("globex")) == (5, 7)
    assert [(await window(store, account)).reported for account in ("acme", "globex")] == [5, 7]


async def test_what_the_provider_refuses_is_not_pending_and_shows_why(store: Store, desk: Billing) -> None:
    await desk.sell(store, report="all")
    await desk.buyer(store, "acme")
    desk.stripe.v1.billing.meters.deactivate(desk.meter)
    await desk.use(store, "acme", 5)
    assert await desk.report(store) == ["failed"]
    refused = await window(store)
    assert refused.pending is None
    assert "no active meter" in (refused.error or "")
    desk.stripe.v1.billing.meters.reactivate(desk.meter)
    desk.advance(AGAIN)
    desk.let_pass("reports")
    assert await desk.report(store) == ["told"]
    assert (desk.summed("acme"), (await window(store)).error) == (5, None)


async def test_a_meter_that_does_not_sum_is_refused(store: Store, desk: Billing) -> None:
    desk.stripe.v1.billing.meters.create(
        {"display_name": "Calls", "event_name": "counted", "default_aggregation": {"formula": "count"}}
    )
    event = MeterEvent("pg_1", "counted", "cus_1", 5, desk.at)
    with pytest.raises(Refused, match="must be `sum`"):
        desk.commands.report_usage(event)


# Corrections and reconciling


async def test_usage_taken_back_is_taken_back_at_the_provider(store: Store, desk: Billing) -> None:
    await desk.sell(store, report="all")
    await desk.buyer(store, "acme")
    await desk.use(store, "acme", 50)
    await desk.report(store)
    await desk.correct(store, "acme", 30)
    desk.advance(REST)
    assert await desk.report(store) == ["told"]
    assert desk.summed("acme") == 30


async def test_an_upgrade_takes_back_overage_it_covers(store: Store, desk: Billing) -> None:
    await desk.sell(store, report="overage")
    await desk.buyer(store, "acme")
    await desk.use(store, "acme", LIMIT + 10)
    await desk.report(store)
    desk.shop.change("acme", "business_monthly")
    await desk.read(store, "acme")
    desk.advance(AGAIN)
    assert await desk.report(store) == ["told"]
    assert desk.summed("acme") == 0


async def check(store: Store, desk: Billing, commands: Metering | None = None) -> SavedReport:
    """Have everything compared now."""
    async with store.transaction() as tx:
        await tx.reports.want_check(None, at=desk.at)
    await desk.report(store, commands=commands)
    return await window(store)


async def test_usage_the_provider_lost_is_told_again_and_written_down(store: Store, desk: Billing) -> None:
    await desk.sell(store, report="all")
    await desk.buyer(store, "acme")
    await desk.use(store, "acme", 5)
    spied = Spied(desk)
    await desk.report(store, commands=spied)
    desk.stripe.v1.billing.meter_event_adjustments.create(
        {"event_name": "api_calls_used", "type": "cancel", "cancel": {"identifier": spied.told[0].identifier}}
    )
    doubted = await check(store, desk)
    assert (doubted.told, doubted.said) == (5, 0)
    assert desk.summed("acme") == 0, "the provider may not have added it up yet"
    desk.advance(SETTLED)
    assert await desk.report(store, commands=spied) == ["healed", "told"]
    assert desk.summed("acme") == 5
    assert spied.told[1].identifier != spied.told[0].identifier
    ((field, stored, said, found_by, healed_at),) = desk.rows(
        "select field, stored, provider, found_by, healed_at from drift"
    )
    assert (stored, said, found_by, healed_at) == ("5", "0", "reconcile", desk.at)
    assert field == "usage of api_calls from 2026-03-10T12:00:00Z"
    healed = await check(store, desk)
    assert (healed.said, healed.doubted_at) == (5, None)


async def test_a_sum_that_is_too_large_is_shown_and_left_to_a_person(store: Store, desk: Billing) -> None:
    await desk.sell(store, report="all")
    customer = await desk.buyer(store, "acme")
    await desk.use(store, "acme", 5)
    await desk.report(store)
    desk.commands.report_usage(MeterEvent("of_somebody_else", "api_calls_used", customer, 3, desk.at))
    await check(store, desk)
    desk.advance(SETTLED)
    await desk.report(store)
    kept = await window(store)
    assert (kept.told, kept.said, kept.reason) == (5, 8, "more_at_provider")
    assert desk.summed("acme") == 8


async def test_a_long_window_is_compared_by_itself_when_it_is_over(store: Store, desk: Billing) -> None:
    await desk.sell(store, report="all")
    await desk.buyer(store, "acme")
    await desk.use(store, "acme", 5)
    assert await desk.report(store) == ["told"]
    desk.advance(END - START + SETTLED)
    assert "compared" in await desk.report(store)
    kept = await window(store)
    assert (kept.said, kept.checked_at, kept.check_at, kept.look_at) == (5, desk.at, None, None)


async def test_a_customer_who_takes_over_is_told_of_what_comes_after(store: Store, desk: Billing) -> None:
    await desk.sell(store, report="all")
    first = await desk.buyer(store, "acme")
    await desk.use(store, "acme", 5)
    await desk.report(store)
    desk.stripe.v1.subscriptions.cancel(desk.shop.subscriptions["acme"])
    await desk.read(store, "acme")
    second = await desk.buyer(store, "acme")
    assert first != second
    await desk.use(store, "acme", 2)
    desk.advance(REST)
    assert await desk.report(store) == ["told"]
    kept = await window(store)
    assert (kept.customer, kept.reported, kept.told) == (second, 7, 2)
    assert desk.summed("acme") == 2


# A whole server


async def test_a_server_reports_by_itself_shows_it_and_reconciles(
    store: Store, desk: Billing, database_url: str, tmp_path: Path
) -> None:
    await desk.sell(store, report="all")
    customer = await desk.buyer(store, "acme")
    await desk.use(store, "acme", 5)

    def look_on() -> None:
        with serving(desk.settings, database_url, catalog=False) as api:
            shell = Shell(tmp_path, PAYGRADE_URL=api.url, PAYGRADE_API_KEY=KEY)
            eventually(lambda: any(r["reported"] for r in api.ok("GET", "/v1/accounts/acme/usage/reports")["reports"]))
            assert api.ok("POST", "/v1/usage/reconcile", json={"account": "acme"})["unchecked"] == 1
            (shown,) = shell.json("usage", "reconcile", "acme")["reports"]
            assert (shown["used"], shown["reported"], shown["said"], shown["difference"]) == (5, 5, 5, 0)
            assert (shown["customer"], shown["meter"], shown["reason"]) == (customer, METER, None)
            assert shell.json("usage", "reports") == {"reports": [], "unchecked": 0, "next": None}
            desk.commands.report_usage(MeterEvent("of_somebody_else", METER, customer, 3, desk.at))
            assert "\t5\t8\t" in shell.run("usage", "reconcile", code=1)
            assert api.problem(404, "GET", "/v1/accounts/nobody/usage/reports")["code"] == "unknown_account"

    await asyncio.to_thread(look_on)


def test_without_a_provider_nothing_is_reconciled(api: Api) -> None:
    assert api.problem(503, "POST", "/v1/usage/reconcile")["code"] == "provider_not_configured"
