"""Contracts on real tables: what operators agree with those who pay by invoice becomes access, updates and reports."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from paygrade.billing.facts import Contract
from paygrade.changes.request import ChangeRequest
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.access import entitlements
from paygrade.server.operations.accounts.accounts import delete_account, get_account, put_account
from paygrade.server.operations.accounts.contracts import (
    ContractView,
    InvoiceStatement,
    delete_contract,
    list_contracts,
    put_contract,
    put_invoice,
)
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.changes.plan_changes import carry_out
from paygrade.server.operations.changes.quotes import quote_change
from paygrade.server.operations.money_reports import Months, report_leakage, report_movements, report_revenue
from paygrade.server.operations.update_log import account_updates, give_places
from paygrade.server.operations.updates.announce import announce_dates
from paygrade.server.operations.usage.requests import Consume
from paygrade.server.operations.usage.use import use_together
from paygrade.server.state.snapshots import Snapshots
from paygrade.server.workers.claims import take
from paygrade.server.workers.loop import DATES
from paygrade.values.errors import Refused

pytestmark = pytest.mark.anyio

T0, DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)
YEAR = datetime(2027, 1, 1, tzinfo=UTC)
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "exports": {"kind": "boolean"},
        "seats": {"kind": "level", "unit": "seat"},
        "calls": {"kind": "metered"},
    },
    "plans": {
        "free": {"default": True, "entitlements": {"calls": {"limit": 10, "every": "month"}}},
        "pro": {
            "prices": {"monthly": {"amount": 9900, "currency": "usd", "interval": "month"}},
            "entitlements": {"exports": True, "seats": {"limit": "quantity"},
                             "calls": {"limit": 100, "every": "month"}},
        },
    },
    "add_ons": {"more_calls": {"entitlements": {"calls": {"add": 50, "every": "month"}}}},
    "policies": {"past_due": [{"for": "7d", "access": "full"}, {"for": "14d", "access": "read"}, {"then": "free"}]},
}  # fmt: skip
TERMS = Contract("pro", T0 + 10 * DAY, 120_000, "usd", quantity=5, ends_at=T0 + 40 * DAY)


@pytest.fixture(name="acme")
async def a_customer(store: Store) -> Store:
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="tests")
    await put_account(store, account="acme", name="", links={}, traits={}, at=T0)
    return store


async def agree(store: Store, terms: Contract = TERMS, at: datetime = T0, contract: str = "c1") -> ContractView:
    return await put_contract(store, account="acme", contract=contract, terms=terms, at=at)


async def bill(store: Store, status: Any, at: datetime, invoice: str = "INV-1", **more: Any) -> ContractView:
    stated = InvoiceStatement(status, **more)
    return await put_invoice(store, account="acme", contract="c1", invoice=invoice, stated=stated, at=at)


async def limits(store: Store, at: datetime) -> tuple[int, int, bool]:
    """How many calls and seats it has, and whether it may export."""
    its = (await entitlements(store, account="acme", as_of=at, now=at)).entitlements
    return its["calls"].limit or 0, its["seats"].limit or 0, its["exports"].granted


async def told(store: Store, at: datetime) -> list[tuple[str, float]]:
    """What was told of contracts and arrears by then, with the days."""
    while claimed := await take(store, DATES, limit=10, at=at):
        await asyncio.gather(*(announce_dates(store, each, at=at) for each in claimed))
    await give_places(store)
    updates = (await account_updates(store, account="acme", after=0, limit=1000)).updates
    return [
        (one.type, (one.occurred_at - T0) / DAY) for one in updates if one.type.split(".")[0] in ("contract", "grace")
    ]


async def test_a_contract_counts_from_its_start_to_its_end_and_every_date_is_told(acme: Store) -> None:
    seen = await agree(acme, Contract(**{**fields(TERMS), "add_ons": {"more_calls": 2}}))
    assert (seen.state, seen.subscription, seen.from_at) == ("planned", "contract:c1", TERMS.starts_at)
    found = [await limits(acme, T0 + days * DAY) for days in (0, 9, 10, 39, 40)]
    assert found == [(10, 0, False), (10, 0, False), (200, 5, True), (200, 5, True), (10, 0, False)]
    assert await told(acme, T0 + 60 * DAY) == [
        ("contract.set", 0), ("contract.started", 10), ("contract.ending", 10), ("contract.ended", 40),
    ]  # fmt: skip
    listed = await list_contracts(acme, account="acme", at=T0 + 60 * DAY)
    assert [(one.contract, one.state) for one in listed.contracts] == [("c1", "ended")]


async def test_windows_go_on_when_a_contract_begins_by_date(acme: Store) -> None:
    await agree(acme)
    at = T0 + 12 * DAY
    request = Consume(account="acme", feature="calls", id="u1", quantity=7)
    (answer,) = await use_together(acme, Snapshots(), [request], at)
    assert not isinstance(answer, Refused)
    its = (await entitlements(acme, account="acme", as_of=at, now=at)).entitlements["calls"]
    assert (its.from_at, its.resets_at) == (T0 + 10 * DAY, datetime(2026, 2, 11, tzinfo=UTC))


async def test_what_renews_goes_on_and_says_so_a_month_ahead(acme: Store) -> None:
    await agree(acme, Contract("pro", T0, 120_000, "usd", ends_at=YEAR, renews=True))
    assert await told(acme, T0 + 740 * DAY) == [
        ("contract.set", 0), ("contract.ending", 335), ("contract.renewed", 365), ("contract.ending", 700),
        ("contract.renewed", 730),
    ]  # fmt: skip
    assert (await limits(acme, T0 + 740 * DAY))[2]
    seen = (await list_contracts(acme, account="acme", at=T0 + 740 * DAY)).contracts[0]
    assert (seen.from_at, seen.until) == (datetime(2028, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC))


async def test_an_invoice_that_is_overdue_goes_down_the_ladder_and_one_that_is_paid_comes_back(acme: Store) -> None:
    await agree(acme, Contract("pro", T0, 120_000, "usd"))
    await bill(acme, "open", T0 + DAY, due_at=T0 + 30 * DAY)
    assert (await limits(acme, T0 + 35 * DAY))[2], "an invoice that nobody calls overdue takes nothing away"
    await bill(acme, "open", T0 + 31 * DAY, overdue_since=T0 + 30 * DAY)
    assert [(await limits(acme, T0 + days * DAY))[0] for days in (36, 45, 51)] == [100, 0, 10]
    seen = await bill(acme, "paid", T0 + 40 * DAY)
    assert [(one.status, one.due_at, one.paid_at) for one in seen.invoices] == [("paid", T0 + 30 * DAY, T0 + 40 * DAY)]
    assert await limits(acme, T0 + 51 * DAY) == (100, 1, True)
    assert [one for one in await told(acme, T0 + 60 * DAY) if one[0].startswith("grace")] == [
        ("grace.started", 31), ("grace.step", 37), ("grace.ended", 40),
    ]  # fmt: skip


async def test_reports_count_what_was_agreed_invoiced_and_paid(acme: Store) -> None:
    await agree(acme, Contract("pro", T0, 120_000, "usd", ends_at=YEAR))
    await bill(acme, "open", T0, tax=22_800)
    leak = (await report_leakage(acme, after="", limit=10, at=T0 + 5 * DAY)).rows
    assert [(one.cause, one.amount, one.subscription) for one in leak] == [("open_invoice", 120_000, "contract:c1")]
    await bill(acme, "paid", T0 + 20 * DAY)
    assert (await report_leakage(acme, after="", limit=10, at=T0 + 21 * DAY)).rows == ()
    months = Months(date(2026, 1, 1), date(2027, 2, 1))
    revenue = (await report_revenue(acme, months=months, after="", limit=10)).rows
    assert (sum(row.paid for row in revenue), sum(row.recognized for row in revenue)) == (120_000, 120_000)
    assert revenue[0].recognized == 120_000 * 31 // 365
    assert all(before.deferred - row.recognized == row.deferred for before, row in pairwise(revenue))
    moved = (await report_movements(acme, months=months, after="", limit=10)).rows
    assert [(row.month, row.new, row.churn, row.after) for row in moved if row.new or row.churn] == [
        ("2026-01", 10_000, 0, 10_000), ("2026-12", 0, -10_000, 0),
    ]  # fmt: skip


async def test_what_is_under_contract_is_changed_there(acme: Store) -> None:
    await agree(acme, Contract("pro", T0, 120_000, "usd"))
    made = await quote_change(acme, None, account="acme", wanted=ChangeRequest(quantities={"pro": 9}), at=T0 + DAY)
    with pytest.raises(Refused, match="state its new terms") as refused:
        await carry_out(acme, account="acme", quote_id=made.id, key="k", has_provider=True, at=T0 + DAY)
    assert refused.value.code == "not_possible_now"
    await agree(acme, Contract("pro", T0, 240_000, "usd", quantity=9), T0 + DAY)
    assert (await limits(acme, T0 + DAY))[1] == 9


async def test_a_contract_stated_again_changes_nothing_and_keeps_what_is_overdue(acme: Store) -> None:
    terms = Contract("pro", T0, 120_000, "usd")
    await agree(acme, terms)
    await bill(acme, "open", T0 + 5 * DAY, overdue_since=T0 + 4 * DAY)
    before = (await get_account(acme, account="acme", at=T0 + 6 * DAY)).version
    assert (await agree(acme, terms, T0 + 6 * DAY)).terms.overdue == {"INV-1": T0 + 4 * DAY}
    await bill(acme, "open", T0 + 6 * DAY, overdue_since=T0 + 4 * DAY)
    assert (await get_account(acme, account="acme", at=T0 + 6 * DAY)).version == before


async def test_a_contract_that_was_a_mistake_is_withdrawn(acme: Store) -> None:
    await agree(acme, Contract("pro", T0, 120_000, "usd"))
    await bill(acme, "open", T0 + DAY)
    with pytest.raises(Refused, match="INV-1"):
        await delete_contract(acme, account="acme", contract="c1", at=T0 + 2 * DAY)
    await bill(acme, "void", T0 + 2 * DAY)
    assert (await delete_contract(acme, account="acme", contract="c1", at=T0 + 2 * DAY)).contracts == ()
    assert await limits(acme, T0 + 2 * DAY) == (10, 0, False)
    with pytest.raises(Refused) as refused:
        await bill(acme, "open", T0 + 3 * DAY)
    assert refused.value.code == "unknown_contract"


async def test_an_account_goes_once_its_contract_has_ended_and_stays_away(acme: Store) -> None:
    await agree(acme)
    with pytest.raises(Refused, match="contract:c1"):
        await delete_account(acme, account="acme", at=T0 + 39 * DAY)
    await delete_account(acme, account="acme", at=T0 + 40 * DAY)
    with pytest.raises(Refused) as refused:
        await get_account(acme, account="acme", at=T0 + 41 * DAY)
    assert refused.value.code == "unknown_account"


async def test_no_two_invoices_of_contracts_have_one_name(acme: Store) -> None:
    with pytest.raises(Refused, match="no `/`"):
        await agree(acme, contract="c1/a")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"plan": "prp"}, "unknown_plan"),
        ({"add_ons": {"more": 1}}, "unknown_add_on"),
        ({"ends_at": TERMS.starts_at}, "invalid_contract"),
        ({"renews": True, "ends_at": None}, "invalid_contract"),
        ({"renews": True, "ends_at": TERMS.starts_at + DAY}, "invalid_contract"),
    ],
)
async def test_terms_that_make_no_sense_are_refused(acme: Store, wrong: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as refused:
        await agree(acme, Contract(**{**fields(TERMS), **wrong}))
    assert refused.value.code == code


def fields(terms: Contract) -> dict[str, Any]:
    return {name: getattr(terms, name) for name in terms.__struct_fields__}
