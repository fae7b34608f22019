"""Stories on the pure core: the simulator's engine and the translation in process, no server and no database.

What the server's sync does around the core is done here in the fewest words: whoever's customer changed is read
whole, and the reading becomes a fact of the account it belongs to. What is used is kept in `core_ledger.py`.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from paygrade.billing.accounts import Account, apply, replay, says_something_new
from paygrade.billing.facts import Body, Customer, Departed, Fact, ManualSubscription, Member, Pin, Profile
from paygrade.billing.removed import credit_ends
from paygrade.billing.returned import has_consequences
from paygrade.billing.versions import pin_subject
from paygrade.catalog.grandfathering import succeed
from paygrade.catalog.model import Catalog
from paygrade.catalog.parse import parse
from paygrade.changes.version_migration import stated_by
from paygrade.decisions.decide import Decision, bound, decide
from paygrade.decisions.snapshots import Snapshot
from paygrade.decisions.take import snapshot
from paygrade.entitlements.derive import derive
from paygrade.entitlements.findings import findings
from paygrade.entitlements.model import Entitlement
from paygrade.entitlements.seats import chosen, refuse_more_than_there_are, seats_at, stated
from paygrade.providers.stripe import translate
from paygrade.providers.stripe.orders import StripeOrders
from paygrade.providers.stripe.planned_prices import PlannedPrices
from paygrade.providers.stripe.returned import with_credited, with_returned
from paygrade.server.operations.usage.answers import Answer as Used
from paygrade.simulator.engine import Engine
from paygrade.usage.meters import measure, meters_of
from paygrade.values.errors import Refused
from stories.language.change_outcomes import Found
from stories.language.core_changes import Changes
from stories.language.core_ledger import Ledger
from stories.language.editions import edited
from stories.language.engine_connection import EngineConnection, as_form
from stories.language.expectations import DecisionExpected
from stories.language.language import Story, Weather
from stories.language.operator_phrases import Choice, Edition, Migrating, Statement
from stories.language.owner_phrases import PlanChangeAsked
from stories.language.product_phrases import Refusal, Report, Request, Told
from stories.language.provider_phrases import CLOCKS, Declined, Json, Provider
from stories.language.runner import Answer, play


def play_on_core(story: Story) -> tuple[Answer, ...]:
    """Play a story without I/O. AssertionError if a line does not hold."""
    return play(story, CoreWorld(story))


class CoreWorld:
    """An engine, and the accounts that come of reading it."""

    def __init__(self, story: Story) -> None:
        self.engine = Engine(seed=1, now=story.moments[0].at)
        self.provider = Provider(self._request, self._set_dashboard, self._authenticate, story.catalog)
        self.catalog = story.catalog
        self._document = story.document
        self._ledgers: dict[str, Ledger] = {}
        self._taken: dict[str, tuple[tuple[Account, Catalog, datetime], Snapshot]] = {}
        self._accounts: dict[str, Account] = {}
        self._facts: dict[str, list[Fact]] = defaultdict(list)
        self._owners: dict[str, str] = {}
        """The account each customer's subject is at."""
        self._moved: dict[str, Body] = {}
        """What was said before the last migration of those it moved."""
        self.fence = 0
        self._settled = True
        self._changes = Changes(self, StripeOrders(EngineConnection(self.engine, self.mark)))

    @property
    def now(self) -> datetime:
        return self.engine.now

    def mark(self) -> None:
        self._settled = False

    def advance_to(self, at: datetime) -> None:
        self.engine.advance_to(at)
        self._settled = False

    def state(self, statement: Statement | Choice) -> Refusal | None:
        account = self.account(statement.account)
        if isinstance(statement, Choice) or isinstance(statement.body, Member):
            return self._state_members(account, statement)
        body = statement.body
        if isinstance(body, Profile):
            body = self._profile(account, body)
            self._settled = False
        else:
            assert account.exists, f"an operator can say nothing of `{account.key}`, which is no account"
        self.record(account.key, statement.subject, body, statement.version)
        if isinstance(body, ManualSubscription):
            self._changes.transition(account)
        return None

    def _state_members(self, account: Account, statement: Statement | Choice) -> Refusal | None:
        at = self.engine.now
        assert account.exists, f"an operator can say nothing of `{account.key}`, which is no account"
        try:
            if isinstance(statement, Choice):
                said = chosen(account, statement.members, at)
            else:
                assert isinstance(statement.body, Member)
                said = (stated(account, statement.body, account.time(at), self.catalog.policies.invitations),)
            there_are = seats_at(derive(account, self.catalog, account.time(at)).entitlements)
            refuse_more_than_there_are(account, said, there_are, account.time(at))
        except Refused as refused:
            return Refusal(refused.code)
        for member in said:
            self.record(account.key, f"member:{member.key}", member, None)
        return None

    def publish(self, edition: Edition) -> None:
        self._document = edited(self._document, edition)
        wanted = parse(self._document, version=self.catalog.version + 1, previous=self.catalog)
        self.catalog = succeed(self.catalog, wanted, edition.existing, self.engine.now)

    def migrate(self, migrating: Migrating) -> None:
        subject = pin_subject(migrating.move.plan)
        if migrating.back:
            for key, before in self._moved.items():
                self.record(key, subject, before, None)
            return
        self._moved = {}
        for key, account in list(self._accounts.items()):
            pin = stated_by(migrating.move, account, self.catalog, self.engine.now)
            if isinstance(pin, Pin):
                statement = account.statements.get(subject)
                stated = statement.body if statement is not None else Pin(migrating.move.plan, withdrawn=True)
                self._moved[key] = stated
                self.record(key, subject, pin, None)

    def blow(self, weather: Weather) -> None:
        """Without webhooks there is no weather."""

    def quiesce(self) -> None:
        while not self._settled:
            self._settled = True
            for id in self.provider.ids.values():
                self.fence += 1
                self._save(self._fetch(id), self.fence)
            self._changes.transition_by_date()
            self._changes.work()

    def decide(self, account: str, feature: str, expected: DecisionExpected) -> Decision:
        known, at = self.account(account), self.engine.now
        assert replay(account, reversed(self._facts[account])) == known, "facts must replay in any order"
        held, quantity, member = self.held(account), expected.quantity, expected.member
        return bound(decide(held, feature, quantity, at, member=member, properties=expected.properties))

    def run(self, errand: PlanChangeAsked) -> Found | Refusal:
        return self._changes.run(errand)

    def ask(self, requests: Sequence[Request]) -> list[Told | Refusal]:
        return [self._ask(request) for request in requests]

    def _ask(self, request: Request) -> Told | Refusal:
        if isinstance(request, Report):
            return self._report(request)
        try:
            told = self.ledger(request.account).ask(request, self._snapshot(request.account), self.engine.now)
        except Refused as refused:
            return Refusal(refused.code)
        return replace(told, decision=bound(told.decision)) if isinstance(told, Used) else told

    def _report(self, request: Report) -> Told | Refusal:
        measured = measure(meters_of(self.catalog), request.event)
        if not isinstance(measured, tuple):
            return Refusal(measured.code)
        if not self.account(request.account).exists:
            return Refusal("unknown_account")
        try:
            return self.ledger(request.account).report(
                request, measured, self._snapshot(request.account), self.engine.now
            )
        except Refused as refused:
            return Refusal(refused.code)

    def held(self, key: str) -> Snapshot:
        return self.ledger(key).with_balances(self._snapshot(key), self.engine.now)

    def _snapshot(self, account: str) -> Snapshot:
        """Taken once for as long as nothing happens: much is asked at one instant."""
        rests_on = (self.account(account), self.catalog, self.engine.now)
        before = self._taken.get(account)
        if before is None or any(was is not now for was, now in zip(before[0], rests_on, strict=True)):
            before = self._taken[account] = (rests_on, snapshot(*rests_on))
        return before[1]

    def ledger(self, account: str) -> Ledger:
        if account not in self._ledgers:
            self._ledgers[account] = Ledger(self._before(account))
        return self._ledgers[account]

    def _before(self, account: str) -> Callable[[datetime], dict[str, Entitlement]]:
        """What an account had at an instant: derived once for as long as nothing happens, since what windows carried
        over is asked from the first one on each time."""
        rests_on: tuple[object, ...] = ()
        derived: dict[datetime, dict[str, Entitlement]] = {}

        def before(at: datetime) -> dict[str, Entitlement]:
            nonlocal rests_on
            its = self.account(account), self.catalog
            if not rests_on or any(was is not now for was, now in zip(rests_on, its, strict=True)):
                rests_on = its
                derived.clear()
            if at not in derived:
                derived[at] = derive(*its, at).entitlements
            return derived[at]

        return before

    def findings(self, account: str) -> tuple[str, ...]:
        known = self.account(account)
        return tuple(sorted(one.code for one in findings(known, self.catalog, known.time(self.engine.now))))

    def account(self, key: str) -> Account:
        return self._accounts.get(key, Account(key=key))

    def _fetch(self, id: str) -> Customer:
        customer = self._get(f"/v1/customers/{id}")
        clock = self._get(f"{CLOCKS}/{customer['test_clock']}") if customer.get("test_clock") else None
        expand = ["data.latest_invoice", "data.schedule"]
        asked = {"customer": id, "status": "all", "limit": "100", "expand": expand}
        listed = self._get("/v1/subscriptions", **asked)["data"]
        invoices = self._get("/v1/invoices", customer=id, status="open", limit="100")["data"]
        for entry in listed:
            invoices = [
                *invoices,
                *self._get("/v1/invoices", subscription=entry["id"], status="paid", limit="1")["data"],
            ]
        prices = PlannedPrices(self._get)
        read = translate.customer(customer, prices.filled_in(listed), prices.with_prices(invoices, listed), clock)
        policies, owner = self.catalog.policies, {"customer": id}
        if credit_ends(policies):
            read = with_credited(read, self._pages, owner)
        return with_returned(read, self._pages, owner) if has_consequences(policies.returned) else read

    def _pages(self, path: str, **params: Any) -> list[Json]:  # Stripe's own parameters
        listed: list[Json] = self._get(path, **as_form({"limit": 100, **params}))["data"]
        return listed

    def _save(self, customer: Customer, fence: int) -> None:
        """The account is the one its metadata names, else the one that links it, else the customer's own."""
        subject = f"stripe:{customer.id}"
        before = self._owners.get(subject)
        named = customer.account or (before if customer.deleted else None)
        key = named or self._linking(customer.id) or customer.id
        if before is not None and before != key:
            left = self.account(before)
            self.record(before, subject, Departed(key), fence)
            self._changes.transition(left)
        self._owners[subject] = key
        known = self.account(key)
        self.record(key, subject, customer, fence)
        self._changes.transition(known, (subject, fence))

    def _linking(self, id: str) -> str | None:
        profiles = {key: account.profile for key, account in self._accounts.items()}
        return next((key for key, p in profiles.items() if p and id in p.links.get("stripe", ())), None)

    def _profile(self, account: Account, said: Profile) -> Profile:
        stated = account.profile
        created_at = stated.created_at if stated else self.engine.now
        links = stated.links if stated and said.deleted else said.links
        return Profile(created_at, links=links, deleted=said.deleted, time_zone=said.time_zone)

    def record(self, key: str, subject: str, body: Body, sequence: int | None) -> None:
        account = self.account(key)
        if not says_something_new(account, subject, body):
            return
        number = account.version + 1
        fact = Fact(number, subject, number if sequence is None else sequence, self.engine.now, body)
        self._facts[key].append(fact)
        self._accounts[key] = apply(account, fact)

    def _get(self, path: str, **params: Any) -> Json:  # Stripe's own parameters
        return self.engine.request("GET", path, params).body

    def _request(self, method: str, path: str, params: Json) -> Json:
        self._settled = False
        response = self.engine.request(method, path, as_form(params))
        if response.status == 402:
            raise Declined(response.body["error"]["message"])
        assert response.status == 200, f"{method} {path}: {response.body['error']['message']}"
        return response.body

    def _set_dashboard(self, settings: Json) -> None:
        self.engine.change_settings(settings)

    def _authenticate(self, payment_intent: str, succeeds: bool) -> None:
        self._settled = False
        self.engine.authenticate(payment_intent, succeeds=succeeds)
