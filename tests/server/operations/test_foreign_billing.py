"""Foreign billing: another system's whole statements converge, whatever order they come in and however often."""

import asyncio
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from paygrade.billing.facts import Customer, Item, Subscription
from paygrade.billing.invoices import InvoiceLine
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.access import entitlements
from paygrade.server.operations.accounts.accounts import get_account, put_account
from paygrade.server.operations.accounts.foreign_billing import (
    BillingStatement,
    BillingView,
    PushedInvoice,
    put_billing,
)
from paygrade.server.operations.accounts.record import lock_account, record
from paygrade.server.operations.accounts.statements import put_subscription
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.money_reports import Months, report_revenue
from paygrade.values.errors import Refused

T0, DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {"exports": {"kind": "boolean"}, "calls": {"kind": "metered"}},
    "plans": {
        "free": {"default": True, "entitlements": {"calls": {"limit": 10, "every": "month"}}},
        "pro": {"prices": {"monthly": {"amount": 9900, "currency": "usd", "interval": "month",
                                       "stripe": "pro_monthly"}},
                "entitlements": {"exports": True, "calls": {"limit": 100, "every": "month"}}},
    },
    "add_ons": {"more": {"entitlements": {"calls": {"add": 50, "every": "month"}}}},
    "policies": {"past_due": [{"for": "7d", "access": "full"}, {"then": "free"}]},
}  # fmt: skip
NOW = T0 + 20 * DAY


def selling(id: str, plan: str = "pro", status: Any = "active", quantity: int = 1, **more: Any) -> Subscription:
    return Subscription(id, status, (Item("main", quantity, plan=plan),), T0, started_at=T0, **more)


def billed(id: str, status: Any, amount: int = 3100) -> PushedInvoice:
    line = InvoiceLine("l", amount, T0, T0 + 31 * DAY, subscription="a")
    paid_at = T0 + DAY if status == "paid" else None
    return PushedInvoice(
        id, status, "usd", T0, amount, remaining=0 if paid_at else amount, paid_at=paid_at, lines=(line,)
    )


STATEMENTS = st.builds(
    BillingStatement,
    st.lists(
        st.builds(
            selling,
            st.sampled_from(["a", "b"]),
            st.sampled_from(["pro", "more"]),
            st.sampled_from(["active", "past_due", "canceled", "trialing"]),
            st.integers(1, 3),
            ends_at=st.sampled_from([None, T0 + 15 * DAY, T0 + 50 * DAY]),
        ),
        max_size=2,
        unique_by=lambda one: one.id,
    ).map(tuple),
    st.lists(
        st.builds(billed, st.sampled_from(["x", "y"]), st.sampled_from(["open", "paid", "void"])),
        max_size=2,
        unique_by=lambda one: one.id,
    ).map(tuple),
)


async def begin(store: Store, account: str) -> None:
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="tests")
    await put_account(store, account=account, name="", links={}, traits={}, at=T0)


async def push(
    store: Store, account: str, version: int, stated: BillingStatement, *, source: str = "recurly", at: datetime = T0
) -> BillingView:
    return await put_billing(store, account=account, source=source, version=version, stated=stated, at=at)


async def outcome(store: Store, account: str) -> tuple[Any, ...]:
    """All that follows from what was pushed. Any: of every kind."""
    its = (await entitlements(store, account=account, as_of=NOW, now=NOW)).entitlements
    async with store.transaction() as tx:
        invoices = (await tx.invoices.of_accounts([account]))[account]
    stands = (await get_account(store, account=account, at=NOW)).subscriptions
    return {key: (each.granted, each.limit, each.from_at) for key, each in its.items()}, stands, invoices


@settings(
    max_examples=25, deadline=None, phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck)
)
@given(data=st.data(), said=st.lists(STATEMENTS, min_size=1, max_size=5))
def test_pushes_converge_whatever_is_shuffled_doubled_and_late(
    database_url: str, data: st.DataObject, said: list[BillingStatement]
) -> None:
    order = data.draw(st.permutations([*range(len(said)), *data.draw(st.lists(st.sampled_from(range(len(said)))))]))

    async def story() -> None:
        async with Store(database_url) as store:
            plainly, wildly = uuid.uuid4().hex, uuid.uuid4().hex
            for account in (plainly, wildly):
                await begin(store, account)
            for version, stated in enumerate(said):
                assert not (await push(store, plainly, version, stated)).stale
            newest = -1
            for number, version in enumerate(order):
                told = await push(store, wildly, version, said[version], at=T0 + number * timedelta(hours=1))
                newest = max(newest, version)
                assert (told.stale, told.version) == (version < newest, newest)
            assert await outcome(store, wildly) == await outcome(store, plainly)

    asyncio.run(story())


@pytest.mark.anyio
async def test_a_version_says_one_thing_and_the_same_again_overtakes_what_comes_late(store: Store) -> None:
    await begin(store, "acme")
    await push(store, "acme", 4, BillingStatement((selling("a"),), (billed("x", "open"),)))
    # In another order it is the same.
    assert not (await push(store, "acme", 4, BillingStatement((selling("a"),), (billed("x", "open"),)))).stale
    for other in (BillingStatement(()), BillingStatement((selling("a"),), (billed("x", "paid"),))):
        with pytest.raises(Refused) as refused:
            await push(store, "acme", 4, other)
        assert refused.value.code == "billing_version_conflict"
    await push(store, "acme", 6, BillingStatement((selling("a"),)))
    assert (await push(store, "acme", 5, BillingStatement(()))).stale
    assert (await outcome(store, "acme"))[0]["calls"][1] == 100
    # One subscription by itself keeps the same law.
    for version, plan in ((1, "pro"), (3, "pro"), (2, "free")):
        await put_subscription(store, account="acme", subscription=selling("own", plan), version=version, at=T0)
    (own,) = [one for one in (await outcome(store, "acme"))[1] if one.id == "own"]
    assert own.items[0].plan == "pro"


@pytest.mark.anyio
async def test_an_account_fed_by_a_provider_and_by_another_system_has_what_both_sell(store: Store) -> None:
    await begin(store, "acme")
    async with store.transaction() as tx:
        held = await lock_account(tx, "acme")
        at_stripe = Subscription("sub_1", "active", (Item("si_1", lookup_key="pro_monthly"),), T0, started_at=T0)
        body = Customer("cus_1", T0, (at_stripe,), account="acme")
        await record(tx, held, subject="stripe:cus_1", body=body, sequence=1, at=T0)
    await push(store, "acme", 1, BillingStatement((selling("sub_1", "more", quantity=2),), (billed("x", "paid"),)))
    access, stands, _ = await outcome(store, "acme")
    assert access["calls"][:2] == (True, 200), "the same id in two systems is two subscriptions"
    assert [one.id for one in stands] == ["recurly:sub_1", "sub_1"]
    await push(store, "acme", 9, BillingStatement((selling("z", "more"),)), source="chargebee")
    assert (await outcome(store, "acme"))[0]["calls"][1] == 250
    await push(store, "acme", 2, BillingStatement(()))
    assert (await outcome(store, "acme"))[0]["calls"][1] == 150
    months = Months(date(2026, 1, 1), date(2026, 2, 1))
    (row,) = (await report_revenue(store, months=months, after="", limit=9)).rows
    assert (row.account, row.paid, row.recognized) == ("acme", 3100, 3100)


@pytest.mark.anyio
async def test_what_is_unclear_is_refused(store: Store) -> None:
    await begin(store, "acme")
    unclear = [
        (BillingStatement((selling("a"), selling("a"))), "invalid_subscription"),
        (BillingStatement((selling("a", status=None),)), "invalid_subscription"),
        (BillingStatement((), (PushedInvoice("x", "paid", "usd", T0, 5),)), "invalid_invoice"),
        (BillingStatement((), (PushedInvoice("x", "open", "USD", T0, 0),)), "invalid_invoice"),
        (BillingStatement((), (PushedInvoice("x", "paid", "usd", T0, 0),)), "invalid_invoice"),
    ]
    for stated, code in unclear:
        with pytest.raises(Refused) as refused:
            await push(store, "acme", 1, stated)
        assert refused.value.code == code
    for source in ("stripe", "contract", "Recurly", "a:b", "x" * 41):
        with pytest.raises(Refused) as refused:
            await push(store, "acme", 1, BillingStatement(()), source=source)
        assert refused.value.code == "invalid_key"
