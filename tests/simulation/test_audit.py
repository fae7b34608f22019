"""The auditor notices what is planted: each audit is shown something it must find."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from msgspec.structs import replace

from paygrade.billing.accounts import Account, apply, replay
from paygrade.billing.facts import Customer, Fact, Item, Override, Subscription
from paygrade.values.states import TERMINAL

from .audit import (
    LadderAuditor,
    audit_access,
    audit_differences,
    audit_effects,
    audit_read_instants,
    audit_record,
    audit_subscriptions,
    audit_sweep,
    audit_terminals,
    compare_access,
)
from .hostile import Call, Committed
from .loop import START
from .run import Arrival, Run
from .tables import AccountRow, Tables
from .verdict import HAPPENINGS

SEEDS = range(1, 20)


@pytest.fixture
def run() -> Iterator[Run]:
    """Give a run that ended right, with a subscription that goes on: the first there is."""
    for seed in SEEDS:
        played = Run(seed)
        played.play(HAPPENINGS)
        played.sweep()
        wrong = [*audit_access(played), *audit_differences(played), *audit_record(played), *audit_subscriptions(played)]
        assert not wrong
        if live(played):
            yield played
            played.close()
            return
        played.close()
    raise AssertionError("no seed has a subscription that goes on")


def live(run: Run) -> list[tuple[str, Account, Customer]]:
    """Every account with each customer it holds that has a subscription that goes on."""
    return [
        (key, account, customer)
        for key, account in run.database.backend.dump().accounts.items()
        for customer in account.customers
        if any(s.status not in TERMINAL for s in customer.subscriptions)
    ]


def some_customer(run: Run) -> tuple[str, Account, Customer]:
    return live(run)[0]


def hold(run: Run, account: Account, customer: Customer) -> None:
    """Let the store hold another statement of a customer."""
    subject = f"stripe:{customer.id}"
    statement = replace(account.statements[subject], body=customer)
    put(run, replace(account, statements={**account.statements, subject: statement}))


def put(run: Run, account: Account) -> None:
    assert isinstance(run.database.backend, Tables)
    run.database.backend.committed["accounts"][account.key] = AccountRow(account, START, START)


def subscription(status: str, *, lookup_key: str = "pro_monthly") -> Subscription:
    item = Item("si_1", lookup_key=lookup_key)
    return Subscription("sub_1", status, (item,), START, unpaid_since=START)  # type: ignore[arg-type]  # from a table


def account_of(bought: Subscription) -> Account:
    return replay("acme", [Fact(1, "stripe:cus_1", 1, START, Customer("cus_1", START, (bought,)))])


def test_a_quantity_that_is_not_stripes_is_noticed(run: Run) -> None:
    _, account, customer = some_customer(run)
    wrong = tuple(
        replace(s, items=tuple(replace(item, quantity=item.quantity + 1) for item in s.items))
        for s in customer.subscriptions
    )
    hold(run, account, replace(customer, subscriptions=wrong))
    assert audit_differences(run)
    assert audit_subscriptions(run)


def test_a_sweep_that_still_finds_work_is_noticed(run: Run) -> None:
    assert not audit_sweep(run)
    _, account, customer = some_customer(run)
    wrong = tuple(replace(s, anchor_at=START) for s in customer.subscriptions)
    hold(run, account, replace(customer, subscriptions=wrong))
    assert any("finds work" in text for text in audit_sweep(run))
    assert not audit_sweep(run), "it was healed"


def test_drift_that_stays_open_is_noticed(run: Run) -> None:
    assert isinstance(run.database.backend, Tables)
    run.database.backend.committed["drift"]["stripe:cus_1", "sub_1", "status"] = ("stripe:cus_1", "sub_1", "status")
    assert any("adrift" in text for text in audit_sweep(run))


def test_an_account_that_should_not_exist_is_noticed(run: Run) -> None:
    put(run, replace(account_of(subscription("active")), key="ghost"))
    assert any("ghost" in text for text in audit_access(run))


def test_an_override_the_operator_never_stated_is_noticed(run: Run) -> None:
    key, account, _ = some_customer(run)
    fact = Fact(account.version + 1, "override:seats", 999, START, Override("seats", limit=4321))
    put(run, apply(account, fact))
    assert any(key in text for text in audit_access(run))


def test_access_by_another_plan_is_noticed() -> None:
    pro, scale = (account_of(subscription("active", lookup_key=key)) for key in ("pro_monthly", "scale_monthly"))
    assert list(compare_access(pro, scale, START))
    assert not list(compare_access(pro, pro, START))


def test_an_acknowledged_event_that_is_not_kept_is_noticed(run: Run) -> None:
    run.arrivals.append(Arrival("stripe:cus_1", "evt_gone"))
    assert any("evt_gone" in text for text in audit_record(run))


def test_an_exception_nobody_expects_is_noticed(run: Run) -> None:
    run.broken.append("stripe:cus_1: KeyError")
    assert audit_record(run)


def test_a_reading_older_than_the_last_one_is_noticed(run: Run) -> None:
    settles = [c for c in run.database.committed if any(call.method == "settle" for call in c.calls)]
    assert len(settles) > 1
    assert audit_read_instants(list(reversed(run.database.committed)), run.database.backend.dump())


def test_an_event_with_two_effects_is_noticed(run: Run) -> None:
    dump = run.database.backend.dump()
    assert not audit_effects(run.database.committed, dump)
    assert audit_effects([*run.database.committed, *run.database.committed], dump)


def test_a_subscription_that_revives_is_noticed() -> None:
    ended, live = account_of(subscription("canceled")), account_of(subscription("active"))
    calls = [Call("accounts", "save", (), {}, account) for account in (ended, live)]
    assert not audit_terminals([Committed(START, (calls[0],))])
    assert audit_terminals([Committed(START, tuple(calls))])


def test_a_step_of_the_ladder_that_is_skipped_is_noticed() -> None:
    account = account_of(subscription("past_due"))
    right, late = LadderAuditor(), LadderAuditor()
    for day in (1, 8, 22):
        right.look({"acme": account}, START + timedelta(days=day))
    assert right.looked == 3
    assert not right.wrong
    # One who counts from when he looks, not from the invoice's date.
    late.look({"acme": account}, START + timedelta(days=8))
    late.look({"acme": account}, START + timedelta(days=1))
    assert late.wrong
