"""Top-ups bought at the provider: one charge and one grant, wherever the buyer is stopped."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from paygrade.billing.facts import Returned
from paygrade.catalog.model import NO_CATALOG, TopUp
from paygrade.postgres.store import Store
from paygrade.providers.port import Charging
from paygrade.providers.stripe.top_ups import KEY_TRIES
from paygrade.server.operations.accounts.top_ups import list_top_ups, retry_top_up
from paygrade.server.operations.balances.unit_of_work import ask_top_up
from paygrade.server.operations.usage.answers import Answer
from paygrade.server.operations.usage.grants import read_balance
from paygrade.server.operations.usage.requests import Consume
from paygrade.server.operations.usage.use import use_together
from paygrade.server.state.snapshots import Snapshots
from paygrade.server.workers.claims import take
from paygrade.server.workers.top_ups import GIVEN_UP, TOP_UPS, Outcome, buy_top_up, note
from paygrade.usage.entries import derived
from paygrade.usage.top_ups import Bill, Order, TopUpPurchase
from support.billing import Billing, billing
from support.cli_runner import Shell
from support.server_process import KEY, Api, serving
from support.waiting import GIVE_UP_S, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("long_pauses")]

POLICY = TopUp("ai_credits", below=500, add=5000, at_most=2, every="month", amount=2000, currency="usd")
STEPS = 4
"""Draft, item, finalize, pay."""


@pytest.fixture
def desk(database_url: str) -> Iterator[Billing]:
    with billing(database_url) as desk:
        yield desk


async def ask(store: Store, desk: Billing, *, balance: int = 100, account: str = "acme") -> bool:
    async with store.transaction() as tx:
        saved = await tx.catalogs.load()
        assert saved is not None
        return await ask_top_up(tx, saved.catalog, account=account, credit="ai_credits", balance=balance, at=desk.at)


async def buy(store: Store, desk: Billing, provider: Charging | None = None) -> list[Outcome]:
    """Buy all that can be bought now, as the worker would."""
    outcomes: list[Outcome] = []
    while claims := await take(store, TOP_UPS, limit=1, at=desk.at):
        outcomes += [await buy_top_up(store, provider or desk.commands, desk, claim) for claim in claims]
    return outcomes


async def top_ups(store: Store) -> list[TopUpPurchase]:
    async with store.transaction() as tx:
        return list(await tx.top_ups.of_account("acme", limit=100))


async def granted(store: Store, desk: Billing) -> list[int]:
    """The units of each grant of a top-up."""
    balance = await read_balance(store, Snapshots(), account="acme", pool="ai_credits", at=desk.at)
    return [view.grant.units or 0 for view in balance.grants if view.grant.kind == "top_up"]


def charged(desk: Billing) -> list[int]:
    """What the customer's card was charged by hand, beside the subscription."""
    customer = desk.shop.customers["acme"]
    charges = desk.stripe.v1.charges.list({"customer": customer, "limit": 100}).data
    return [charge.amount for charge in charges if charge.status == "succeeded" and charge.amount == POLICY.amount]


def invoices(desk: Billing) -> list[str]:
    """How the invoices made by hand stand, the latest first."""
    customer = desk.shop.customers["acme"]
    listed = desk.stripe.v1.invoices.list({"customer": customer, "limit": 100}).data
    return [str(invoice.status) for invoice in listed if invoice.billing_reason == "manual"]


async def test_units_that_run_low_are_bought_and_granted(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=POLICY)
    await desk.buyer(store, "acme")
    assert not await ask(store, desk, balance=500), "enough is left"
    assert await ask(store, desk, balance=499)
    assert not await ask(store, desk), "one is open"
    assert await buy(store, desk) == ["paid"]
    assert (charged(desk), await granted(store, desk), invoices(desk)) == ([2000], [5000], ["paid"])
    (bought,) = await top_ups(store)
    assert (bought.state, bought.balance, bought.customer) == ("paid", 499, desk.shop.customers["acme"])
    entry = desk.rows("select kind, feature, quantity, id from ledger where kind = 'grant'")
    assert entry == [("grant", "ai_credits", 5000, derived("grant", bought.id))]
    assert await buy(store, desk) == []


async def test_using_units_until_they_run_low_asks_for_more(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=POLICY)
    await desk.buyer(store, "acme")
    left = (await read_balance(store, Snapshots(), account="acme", pool="ai_credits", at=desk.at)).limit
    assert left is not None
    for number, quantity in enumerate((left - POLICY.below, 1)):
        assert await top_ups(store) == []
        asked = Consume("acme", "ai_credits", f"use {number}", quantity)
        (answer,) = await use_together(store, Snapshots(), [asked], desk.at)
        assert isinstance(answer, Answer)
        assert answer.took_effect
    assert await buy(store, desk) == ["paid"]
    (answer,) = await use_together(store, Snapshots(), [Consume("acme", "ai_credits", "more", POLICY.below)], desk.at)
    assert isinstance(answer, Answer)
    assert answer.took_effect, "what was bought is there to be used"


async def test_no_more_are_bought_than_the_policy_allows_in_a_month(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=POLICY)
    await desk.buyer(store, "acme")
    for _ in range(2):
        assert await ask(store, desk)
        assert await buy(store, desk) == ["paid"]
    assert not await ask(store, desk)
    desk.advance(timedelta(days=31))
    assert await ask(store, desk), "another month"


async def test_without_a_policy_nothing_is_asked_for(store: Store, desk: Billing) -> None:
    async with store.transaction() as tx:
        assert not await ask_top_up(tx, NO_CATALOG, account="acme", credit="ai_credits", balance=0, at=desk.at)


async def test_two_who_use_the_last_units_at_once_ask_for_one_top_up(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=POLICY)
    await desk.buyer(store, "acme")
    asked = await asyncio.gather(*(ask(store, desk) for _ in range(8)))
    assert sum(asked) == 1
    assert len(await top_ups(store)) == 1


async def test_an_account_nobody_pays_for_is_not_topped_up(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=POLICY)
    desk.shop.welcome("acme", "Acme")
    await desk.read(store, "acme")
    assert await ask(store, desk)
    assert await buy(store, desk) == ["failed"]
    assert [(each.state, each.reason) for each in await top_ups(store)] == [("failed", "no_customer")]


async def test_the_card_of_a_subscription_pays_where_the_customer_has_no_default(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=POLICY)
    customer = await desk.buyer(store, "acme")
    card = desk.stripe.v1.payment_methods.attach("pm_card_mastercard", {"customer": customer})
    desk.stripe.v1.subscriptions.update(desk.shop.subscriptions["acme"], {"default_payment_method": card.id})
    desk.stripe.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": ""}})
    await ask(store, desk)
    assert await buy(store, desk) == ["paid"]
    assert charged(desk) == [2000]


async def test_a_customer_without_a_way_to_pay_is_not_left_with_an_invoice(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=POLICY)
    customer = await desk.buyer(store, "acme")
    desk.stripe.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": ""}})
    await ask(store, desk)
    assert await buy(store, desk) == ["failed"]
    ((reason),) = [each.reason for each in await top_ups(store)]
    assert "no default payment method" in (reason or "")
    assert invoices(desk) == []


# Declined


async def test_a_declined_card_fails_visibly_and_is_not_tried_again_that_month(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=POLICY)
    await desk.buyer(store, "acme")
    desk.shop.use_card("acme", "pm_card_chargeCustomerFail")
    await ask(store, desk)
    assert await buy(store, desk) == ["failed"]
    (failed,) = await top_ups(store)
    assert failed.reason == "generic_decline: Your card was declined."
    assert (charged(desk), await granted(store, desk), invoices(desk)) == ([], [], ["void"])
    assert not await ask(store, desk)
    desk.advance(timedelta(days=31))
    assert await ask(store, desk)


async def test_a_payment_the_customer_has_to_confirm_fails(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=POLICY)
    await desk.buyer(store, "acme")
    desk.shop.use_card("acme", "pm_card_authenticationRequired")
    await ask(store, desk)
    assert await buy(store, desk) == ["failed"]
    assert (charged(desk), invoices(desk)) == ([], ["void"])


async def test_an_operator_has_a_failed_one_tried_again_with_a_new_invoice(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=POLICY)
    await desk.buyer(store, "acme")
    desk.shop.use_card("acme", "pm_card_chargeCustomerFail")
    await ask(store, desk)
    await buy(store, desk)
    (failed,) = await top_ups(store)
    desk.shop.use_card("acme", "pm_card_visa")
    assert (await retry_top_up(store, account="acme", id=failed.id, at=desk.at)).round == 2
    assert await buy(store, desk) == ["paid"]
    assert (charged(desk), await granted(store, desk), invoices(desk)) == ([2000], [5000], ["paid", "void"])
    assert await ask(store, desk), "and the policy goes on"


# Exactly once


class Stopped(BaseException):
    """The process ended here."""


class Stopping:
    """The provider, and a process that ends before or after the step of this number."""

    def __init__(self, desk: Billing, step: int, *, after: bool) -> None:
        self._desk, self._left, self._after = desk, step, after

    def advance(self, order: Order) -> Bill:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Stopped
        bill = self._desk.commands.advance(order)
        if self._left == 0:
            raise Stopped
        return bill

    def returned(self, order: Order) -> Returned:
        return self._desk.commands.returned(order)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
@pytest.mark.parametrize("card", ["pm_card_visa", "pm_card_chargeCustomerFail"])
async def test_stopped_at_any_step_it_ends_in_one_charge_and_one_grant_or_none(
    store: Store, desk: Billing, card: str, step: int, after: bool
) -> None:
    await desk.sell(store, top_up=POLICY)
    await desk.buyer(store, "acme")
    desk.shop.use_card("acme", card)
    await ask(store, desk)
    with pytest.raises(Stopped):
        await buy(store, desk, Stopping(desk, step, after=after))
    assert await buy(store, desk) == [], "its lease holds"
    desk.let_pass("top_ups")
    paid = card == "pm_card_visa"
    assert await buy(store, desk) == ["paid" if paid else "failed"]
    assert charged(desk) == ([2000] if paid else [])
    assert await granted(store, desk) == ([5000] if paid else [])
    assert invoices(desk) == (["paid"] if paid else ["void"])
    tried = desk.stripe.v1.charges.list({"customer": desk.shop.customers["acme"], "limit": 100}).data
    assert len([charge for charge in tried if charge.amount == POLICY.amount]) == 1, "the card was asked once"


async def test_two_buyers_of_one_top_up_charge_and_grant_once(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=POLICY)
    await desk.buyer(store, "acme")
    await ask(store, desk)
    (slow,) = await take(store, TOP_UPS, limit=1, at=desk.at)
    desk.let_pass("top_ups")
    (quick,) = await take(store, TOP_UPS, limit=1, at=desk.at)
    outcomes = await asyncio.gather(*(buy_top_up(store, desk.commands, desk, each) for each in (slow, quick)))
    assert sorted(outcomes) == ["overtaken", "paid"]
    (bought,) = await top_ups(store)
    assert await note(store, slow, Bill(bought.invoice, "paid"), at=desk.at) == "overtaken", "it comes too late"
    assert (charged(desk), await granted(store, desk)) == ([2000], [5000])


async def test_two_buyers_at_the_provider_at_once_charge_once(store: Store, desk: Billing) -> None:
    """What the fence cannot prevent: both have asked before either is told that it was overtaken."""
    await desk.sell(store, top_up=POLICY)
    customer = await desk.buyer(store, "acme")
    order = Order("top_1", 1, "acme", customer, "5000 ai_credits", 2000, "usd", desk.at)

    def buy_alone() -> Bill:
        bill = Bill(None, "draft")
        while bill.status in ("draft", "open"):
            bill = desk.commands.advance(replace(order, invoice=bill.invoice))
        return bill

    bills = await asyncio.gather(*(asyncio.to_thread(buy_alone) for _ in range(4)), return_exceptions=True)
    assert Bill(invoice_of(bills), "paid") in bills
    assert (charged(desk), invoices(desk)) == ([2000], ["paid"])


async def test_a_card_that_declined_is_not_asked_again_whatever_the_key(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=POLICY)
    customer = await desk.buyer(store, "acme")
    desk.shop.use_card("acme", "pm_card_chargeCustomerFail")
    order = Order("top_1", 1, "acme", customer, "5000 ai_credits", 2000, "usd", desk.at)
    bill = Bill(None, "draft")
    while bill.declined is None:
        bill = desk.commands.advance(replace(order, invoice=bill.invoice))
    again = desk.commands.advance(replace(order, invoice=bill.invoice, tries=KEY_TRIES))
    assert again.declined == bill.declined
    tried = desk.stripe.v1.charges.list({"customer": customer, "limit": 100}).data
    assert len([charge for charge in tried if charge.amount == POLICY.amount]) == 1


async def test_a_draft_nobody_heard_of_is_found_and_removed(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=POLICY)
    await desk.buyer(store, "acme")
    await ask(store, desk)
    with pytest.raises(Stopped):
        await buy(store, desk, Stopping(desk, 1, after=True))
    assert (invoices(desk), [each.invoice for each in await top_ups(store)]) == (["draft"], [None])
    desk.advance(GIVEN_UP)
    desk.let_pass("top_ups")
    assert await buy(store, desk) == ["failed"]
    assert invoices(desk) == []


def invoice_of(bills: list[Any]) -> str | None:
    return next(bill.invoice for bill in bills if isinstance(bill, Bill))


async def test_lost_answers_and_failures_charge_and_grant_once(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=replace(POLICY, at_most=100))
    await desk.buyer(store, "acme")
    desk.weather(error=0.3, timeout=0.1, hang_ms=[1, 5])
    for number in range(1, 4):
        assert await ask(store, desk)
        async with asyncio.timeout(GIVE_UP_S):
            while "paid" not in await buy(store, desk):
                desk.let_pass("top_ups")
        assert len([each for each in await top_ups(store) if each.state == "paid"]) == number
    desk.weather()
    assert (charged(desk), await granted(store, desk)) == ([2000] * 3, [5000] * 3)


async def test_what_cannot_be_charged_within_a_day_is_given_up(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=POLICY)
    await desk.buyer(store, "acme")
    await ask(store, desk)
    with pytest.raises(Stopped):
        await buy(store, desk, Stopping(desk, 3, after=True))
    assert invoices(desk) == ["open"]
    desk.advance(GIVEN_UP)
    desk.let_pass("top_ups")
    assert await buy(store, desk) == ["failed"]
    assert (charged(desk), invoices(desk)) == ([], ["void"])
    assert [each.reason for each in await top_ups(store)] == ["not_charged_in_time"]


async def test_a_customer_who_pays_the_invoice_themselves_gets_the_units(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=POLICY)
    await desk.buyer(store, "acme")
    await ask(store, desk)
    with pytest.raises(Stopped):
        await buy(store, desk, Stopping(desk, 3, after=True))
    desk.shop.pay("acme")
    desk.advance(GIVEN_UP)
    desk.let_pass("top_ups")
    assert await buy(store, desk) == ["paid"]
    assert (charged(desk), await granted(store, desk)) == ([2000], [5000])


ByHand = Callable[[Billing, str], object]


@pytest.mark.parametrize(
    "by_hand",
    [
        lambda desk, invoice: desk.stripe.v1.invoices.void_invoice(invoice),
        lambda desk, invoice: desk.stripe.v1.invoices.mark_uncollectible(invoice),
    ],
    ids=["voided", "written off"],
)
async def test_an_invoice_that_was_ended_by_hand_is_not_paid(store: Store, desk: Billing, by_hand: ByHand) -> None:
    await desk.sell(store, top_up=POLICY)
    await desk.buyer(store, "acme")
    await ask(store, desk)
    with pytest.raises(Stopped):
        await buy(store, desk, Stopping(desk, 3, after=False))
    (open_one,) = await top_ups(store)
    assert open_one.invoice is not None
    desk.stripe.v1.invoices.finalize_invoice(open_one.invoice)
    by_hand(desk, open_one.invoice)
    desk.let_pass("top_ups")
    assert await buy(store, desk) == ["failed"]
    assert (charged(desk), invoices(desk)) == ([], ["void"])


async def test_an_invoice_with_something_else_on_it_is_not_charged(store: Store, desk: Billing) -> None:
    await desk.sell(store, top_up=POLICY)
    customer = await desk.buyer(store, "acme")
    await ask(store, desk)
    with pytest.raises(Stopped):
        await buy(store, desk, Stopping(desk, 2, after=True))
    (open_one,) = await top_ups(store)
    assert open_one.invoice is not None
    desk.stripe.v1.invoice_items.create({"customer": customer, "invoice": open_one.invoice, "amount": 90000})
    desk.let_pass("top_ups")
    assert await buy(store, desk) == ["failed"]
    assert (charged(desk), invoices(desk)) == ([], [])


# A whole server


async def test_a_server_buys_by_itself_shows_it_and_tries_again(
    store: Store, desk: Billing, database_url: str, tmp_path: Path
) -> None:
    await desk.sell(store, top_up=POLICY)
    await desk.buyer(store, "acme")
    desk.shop.use_card("acme", "pm_card_chargeCustomerFail")
    await ask(store, desk)

    def look_on() -> None:
        with serving(desk.settings, database_url, catalog=False) as api:
            shell = Shell(tmp_path, PAYGRADE_URL=api.url, PAYGRADE_API_KEY=KEY)
            failed = until(api, "failed")
            assert failed["reason"].startswith("generic_decline")
            assert failed["id"] in shell.run("accounts", "top-ups", "acme")
            desk.shop.use_card("acme", "pm_card_visa")
            assert shell.json("accounts", "top-ups", "acme", "--retry", failed["id"])["round"] == 2
            assert until(api, "paid")["round"] == 2
            again = api.problem(409, "POST", f"/v1/accounts/acme/top-ups/{failed['id']}/retry")
            assert again["code"] == "top_up_not_failed"
            assert api.problem(404, "POST", "/v1/accounts/acme/top-ups/top_0/retry")["code"] == "unknown_top_up"
            assert api.problem(404, "GET", "/v1/accounts/nobody/top-ups")["code"] == "unknown_account"

    await asyncio.to_thread(look_on)
    (shown,) = (await list_top_ups(store, account="acme", limit=1)).top_ups
    assert (shown.state, charged(desk)) == ("paid", [2000])


def until(api: Api, state: str) -> Any:
    def found() -> Any:
        told = api.ok("GET", "/v1/accounts/acme/top-ups")["top_ups"][0]
        return told if told["state"] == state else None

    return eventually(found)
