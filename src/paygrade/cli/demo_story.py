"""The demo's story: what happens at the provider, what the product then asks, and what the answer has to be."""

import time
from typing import Any

import click
import httpx2

from paygrade.cli.demo_company import FAILING_CARD, GOOD_CARD, Company
from paygrade.cli.wording import sentence
from paygrade.values.money import amount

SETTLE_S = 15.0
"""How long an answer may take to come out right; it takes a few hundredths of a second."""
LOOK_S = 0.01


class Surprise(Exception):
    """The story did not come out as told."""


class Stage:
    """Where the story plays: the API under test and the simulator's controls, both over HTTP."""

    def __init__(self, *, api_url: str, key: str, simulator_url: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._api = httpx2.Client(base_url=api_url, headers=headers, trust_env=False, timeout=60)
        self._simulator = httpx2.Client(base_url=f"{simulator_url}/_simulator", trust_env=False, timeout=60)
        self._chapter = 0
        self.decisions: list[Any] = []
        """Every decision the story came to. Any: decoded JSON."""

    def call(self, method: str, path: str, **more: Any) -> Any:
        """One request to the API. Any: decoded JSON."""
        answer = self._api.request(method, path, **more)
        if not answer.is_success:
            raise Surprise(f"{method} {path} answered {answer.status_code}: {answer.text}")
        return answer.json()

    def control(self, what: str, **body: Any) -> Any:
        """One control of the simulator. Any: plain JSON."""
        answer = self._simulator.post(f"/{what}", json=body)
        if not answer.is_success:
            raise Surprise(f"the simulator refused {what}: {answer.text}")
        return answer.json()

    def happens(self, what: str) -> None:
        self._chapter += 1
        click.echo()
        click.secho(f"  {self._chapter}. {what}", bold=True)

    def advance(self, duration: str, what: str) -> None:
        self.happens(f"{what} (the clock advances by {duration})")
        self.control("clock", advance=duration)
        self.control("flush")

    def wait_until_known(self, accounts: list[str]) -> None:
        """Wait until every one of these is an account."""
        give_up_at = time.monotonic() + SETTLE_S
        missing = accounts
        while missing:
            listed = self.call("GET", "/v1/accounts")["accounts"]
            missing = [account for account in accounts if account not in {each["account"] for each in listed}]
            if missing and time.monotonic() > give_up_at:
                raise Surprise(f"the customers of {', '.join(missing)} did not become accounts")
            time.sleep(LOOK_S)

    def expect(self, account: str, feature: str, outcome: str, reason: str, *, quantity: int = 1) -> None:
        """Ask until the answer is this one; Surprise if it does not become it."""
        wanted = (outcome == "allowed", reason)
        asked = {"account": account, "feature": feature, "quantity": quantity}
        began = time.monotonic()
        while True:
            decision = self.call("POST", "/v1/check", json=asked)
            took_s = time.monotonic() - began
            if (decision["allowed"], decision["reason"]) == wanted:
                break
            if took_s > SETTLE_S:
                raise Surprise(f"expected {outcome} [{reason}], but: {sentence(decision)}")
            time.sleep(LOOK_S)
        self.decisions.append(decision)
        units = f" ×{quantity}" if quantity != 1 else ""
        click.echo(f"     can {account} use {feature}{units}?")
        mark = click.style("  yes", fg="green") if decision["allowed"] else click.style("  no ", fg="red")
        click.echo(f"   {mark}  {sentence(decision)}  {click.style(f'after {took_s * 1000:.0f} ms', dim=True)}")


def play(stage: Stage, company: Company) -> None:
    """Play it all; Surprise at the first answer that is not as told."""
    _upgrade(stage, company)
    _change(stage)
    _arrears(stage, company)
    _weather(stage, company)


def _upgrade(stage: Stage, company: Company) -> None:
    stage.happens("acme is on Pro")
    stage.expect("acme", "exports", "allowed", "plan")
    stage.expect("acme", "audit_log", "denied", "not_in_plan")
    stage.happens("acme upgrades to Business at Stripe")
    company.change("acme", "business_monthly")
    stage.expect("acme", "audit_log", "allowed", "plan")


def _change(stage: Stage) -> None:
    path = "/v1/accounts/globex/plan-changes"
    stage.happens("globex quotes Business, and changes to it")
    quote = stage.call("POST", f"{path}/quote", json={"plan": "business"})
    click.echo(f"     quoted: {amount(quote['money']['due_now'], quote['money']['currency'])} now, "
               f"{', '.join(delta['feature'] for delta in quote['deltas'])} change")  # fmt: skip
    _carry_out(stage, path, quote)
    stage.expect("globex", "audit_log", "allowed", "plan")
    stage.happens("globex schedules a change back to Pro, and cancels it")
    quote = stage.call("POST", f"{path}/quote", json={"plan": "pro"})
    change = _carry_out(stage, path, quote)
    stage.call("DELETE", f"{path}/{change['id']}")
    stage.expect("globex", "audit_log", "allowed", "plan")


def _carry_out(stage: Stage, path: str, quote: Any) -> Any:
    change = stage.call("POST", path, json={"quote_id": quote["id"]}, params={"wait_s": 15})
    click.secho(f"     {change['id']}: {change['state']}", dim=True)
    return change


def _arrears(stage: Stage, company: Company) -> None:
    stage.control("settings", after_retries="unpaid")
    company.use_card("acme", FAILING_CARD)
    stage.advance("32d", "acme's card is declined; the renewal fails")
    stage.expect("acme", "audit_log", "allowed", "grace")
    stage.expect("acme", "projects", "allowed", "grace")
    stage.advance("8d", "a week later: acme can still read, but change nothing")
    stage.expect("acme", "audit_log", "allowed", "grace")
    stage.expect("acme", "projects", "denied", "past_due")
    stage.advance("10d", "Stripe has stopped retrying; the subscription is unpaid")
    stage.expect("acme", "audit_log", "denied", "unpaid")
    stage.happens("acme adds a new card and pays")
    company.use_card("acme", GOOD_CARD)
    company.pay("acme")
    stage.expect("acme", "audit_log", "allowed", "plan")


def _weather(stage: Stage, company: Company) -> None:
    stage.happens("every webhook arrives twice and out of order, while globex changes plans again and again")
    stage.control("weather", duplicate=1.0, reorder=1.0, delay_ms=[0, 150])
    company.change("globex", "business_monthly", quantity=2)
    company.change("globex", "pro_monthly", quantity=9)
    company.change("globex", "business_monthly", quantity=30)
    company.change("globex", "pro_monthly", quantity=7)
    delivered = stage.control("flush")
    click.secho(f"     webhooks: {delivered}", dim=True)
    stage.expect("globex", "seats", "allowed", "plan", quantity=7)
    stage.expect("globex", "seats", "denied", "limit_reached", quantity=8)
    stage.expect("globex", "audit_log", "denied", "not_in_plan")
    stage.happens("every webhook is lost while globex upgrades")
    stage.control("weather", drop=1.0)
    company.change("globex", "business_monthly", quantity=7)
    stage.control("flush")
    stage.expect("globex", "audit_log", "denied", "not_in_plan")
    stage.happens("a sweep compares everything with Stripe")
    stage.call("POST", "/v1/sync/sweep")
    stage.expect("globex", "audit_log", "allowed", "plan")
    stage.control("weather")
