"""Test accounts: what a product's own tests see is what a server would have answered."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from paygrade import Paygrade, PaygradeError
from paygrade.client.testing.accounts import TestAccounts
from support.server_process import KEY, SAMPLE, Api
from support.waiting import eventually


@pytest.fixture
def accounts() -> Iterator[TestAccounts]:
    made = TestAccounts.of(SAMPLE)
    yield made
    made.close()


def test_an_account_has_what_its_plan_gives(accounts: TestAccounts) -> None:
    accounts.account("acme", "pro", quantity=3)
    accounts.account("hooli")
    assert accounts.sdk.check("acme", "exports")
    assert accounts.sdk.check("acme", "seats").limit == 3
    denied = accounts.sdk.check("hooli", "exports")
    assert denied.message == "hooli can't use exports: free@1 doesn't include it"
    assert accounts.sdk.check("nobody", "exports").reason == "unknown_account"


def test_a_change_is_known_when_it_returns(accounts: TestAccounts) -> None:
    acme, told = accounts.account("acme"), list[str]()
    accounts.sdk.on_change(told.append)
    for value in (True, False) * 20:
        acme.override("exports", value)
        assert accounts.sdk.check("acme", "exports").allowed is value
    acme.override("exports", None)
    acme.subscribe("business")
    assert accounts.sdk.check("acme", "audit_log")
    acme.block()
    assert accounts.sdk.check("acme", "audit_log").reason == "blocked"
    assert set(told) == {"acme"}


def test_usage_counts_and_resets_with_its_window(accounts: TestAccounts) -> None:
    accounts.account("acme", usage={"api_calls": 998})
    sdk = accounts.sdk
    assert sdk.consume("acme", "api_calls").remaining == 1
    assert sdk.consume("acme", "api_calls", id="last")
    assert sdk.consume("acme", "api_calls", id="last")
    assert sdk.consume("acme", "api_calls").reason == "limit_reached"
    accounts.advance(days=31)
    assert sdk.check("acme", "api_calls").remaining == 1000


def test_a_trial_ends_on_its_day(accounts: TestAccounts) -> None:
    ends_at = accounts.now + timedelta(days=14)
    accounts.account("acme").subscribe("pro", status="trialing", trial_ends_at=ends_at, ends_at=ends_at)
    assert accounts.sdk.check("acme", "exports").reason == "trial"
    accounts.travel(ends_at - timedelta(microseconds=1))
    assert accounts.sdk.check("acme", "exports")
    accounts.travel(ends_at)
    assert not accounts.sdk.check("acme", "exports")


def test_access_goes_down_the_ladder_while_a_payment_is_overdue(accounts: TestAccounts) -> None:
    acme = accounts.account("acme", "pro", status="past_due")
    seen = []
    for _ in range(4):
        seen.append([accounts.sdk.check("acme", feature).reason for feature in ("exports", "api_calls")])
        accounts.advance(days=7)
    # Reading and exporting stay open for three weeks; then there is the free plan, which has calls.
    assert seen == [["grace", "grace"], ["grace", "past_due"], ["grace", "past_due"], ["past_due", "plan"]]
    acme.subscribe("pro")
    assert accounts.sdk.check("acme", "exports").reason == "plan"


def test_members_have_roles_and_shares(accounts: TestAccounts) -> None:
    acme = accounts.account("acme", "pro", members={"ann": "admin", "bob": "member"})
    assert accounts.sdk.check("acme", "billing_admin", member="ann")
    assert accounts.sdk.check("acme", "billing_admin", member="bob").reason == "role_not_permitted"
    acme.use("ai_credits", 2500, member="ann")
    assert accounts.sdk.check("acme", "ai_credits", member="ann").limited_by == "member"
    assert accounts.sdk.check("acme", "ai_credits", member="bob")


def test_what_is_tracked_is_read_as_its_meters_read_it(accounts: TestAccounts) -> None:
    accounts.account("acme")
    for number in range(30):
        accounts.sdk.track("acme", "api_calls", 2, id=f"event-{number % 20}")
    accounts.sdk.track("acme", "nothing", 1)
    assert accounts.sdk.flush()
    accounts.advance(seconds=1)
    assert accounts.sdk.check("acme", "api_calls").used == 40
    assert accounts.sdk.status().rejected == 1


def test_while_nobody_can_be_asked_the_failure_mode_answers(accounts: TestAccounts) -> None:
    accounts.account("acme", "pro")
    accounts.go_away()
    assert accounts.sdk.check("acme", "exports").stale
    assert accounts.sdk.check("acme", "exports").allowed
    assert not accounts.sdk.check("acme", "tokens")
    accounts.come_back()
    eventually(lambda: not accounts.sdk.check("acme", "exports").stale)


def test_inside_of_a_loop_it_answers_at_once(accounts: TestAccounts) -> None:
    async def play() -> None:
        accounts.account("acme", "pro")
        assert accounts.sdk.check("acme", "exports")
        assert (await accounts.sdk.aconsume("acme", "api_calls")).used == 1

    asyncio.run(play())


def test_what_is_not_sold_is_refused_with_what_is(accounts: TestAccounts) -> None:
    with pytest.raises(PaygradeError, match="there is no plan `gold`; there are free, "):
        accounts.account("acme", "gold")
    with pytest.raises(PaygradeError, match="no feature `nothing`"):
        accounts.account("acme", overrides={"nothing": True})
    with pytest.raises(PaygradeError, match="is boolean"):
        accounts.account("acme", usage={"exports": 1})


def test_it_decides_as_a_server_does(api: Api, accounts: TestAccounts, acme: str) -> None:
    """The same account here and there: every feature, before and after use, and where a limit is overridden."""
    now = datetime.now(UTC)
    accounts.travel(now)
    mine = accounts.account(acme)
    with Paygrade(api.url, KEY, timeout_s=10) as server:
        for step in ("at first", "overridden", "used", "used up"):
            match step:
                case "overridden":
                    mine.override("projects", 7)
                    mine.override("exports", True)
                    mine.override("ai_credits", 30)
                    spoken: dict[str, dict[str, object]] = {
                        "projects": {"limit": 7},
                        "exports": {"value": True},
                        "ai_credits": {"limit": 30},
                    }
                    for feature, said in spoken.items():
                        body = {**said, "reason": "said in a test"}
                        api.ok("PUT", f"/v1/accounts/{acme}/overrides/{feature}", json=body)
                case "used" | "used up":
                    for feature, units in (("api_calls", 500), ("projects", 3), ("ai_credits", 20)):
                        here = accounts.sdk.consume(acme, feature, units)
                        there = server.consume(acme, feature, units)
                        for name in ("allowed", "reason", "limit", "used", "remaining"):
                            assert getattr(here, name) == getattr(there, name), (step, feature, name)
            accounts.advance(seconds=1)
            for feature in (*accounts.catalog.features, *accounts.catalog.credits, "nothing"):
                its = api.check(acme, feature)
                found = accounts.sdk.check(acme, feature)
                for name in ("allowed", "reason", "limit", "used", "remaining", "plan", "value", "message"):
                    assert getattr(found, name) == its[name], (step, feature, name)


TESTS_OF_A_PRODUCT = """
def test_exports_are_sold_with_pro(paygrade):
    acme = paygrade.account("acme", "free")
    assert not paygrade.sdk.check("acme", "exports")
    acme.subscribe("pro")
    assert paygrade.sdk.check("acme", "exports")

def test_nothing_is_left_of_the_test_before(paygrade):
    assert paygrade.sdk.check("acme", "exports").reason == "unknown_account"
"""


def test_the_plugin_finds_the_products_own_catalog(tmp_path: Path) -> None:
    (tmp_path / "paygrade.yaml").write_text(SAMPLE.read_text(encoding="utf-8"))
    (tmp_path / "test_shop.py").write_text(TESTS_OF_A_PRODUCT)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", tmp_path, tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 passed" in ended.stdout


def test_who_asks_for_no_test_account_imports_none_of_it() -> None:
    program = "import sys, paygrade.client.testing.plugin; print('paygrade.billing.facts' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
