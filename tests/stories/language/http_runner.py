"""Stories through the whole house: the simulator over HTTP with signed webhooks, the server, PostgreSQL.

Every story has a simulator, a server and a database of its own, since a simulator's clock never goes back. What
happens at the provider goes through the official stripe library, what an operator says and every question through
the API; nothing is read from the inside.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

import httpx2
import msgspec
import stripe
from msgspec.structs import replace

from paygrade import Paygrade
from paygrade.billing.facts import Block, ManualSubscription, Member, Override, Pin, Profile
from paygrade.decisions.decide import Decision, bound
from paygrade.providers.stripe.events import TEST_TYPES, TYPES
from paygrade.server.process.settings import Settings
from paygrade.simulator.http import serve as simulator
from paygrade.simulator.http.followers import ACKNOWLEDGE_S
from stories.language.change_outcomes import Found
from stories.language.changes_over_http import Changes
from stories.language.editions import edited
from stories.language.expectations import DecisionExpected
from stories.language.language import Story, Weather
from stories.language.operator_phrases import Choice, Edition, Migrating, Statement
from stories.language.owner_phrases import PlanChangeAsked
from stories.language.product_phrases import Refusal, Request, Told
from stories.language.provider_phrases import Declined, Json, Provider
from stories.language.runner import Answer, play
from stories.language.units_over_http import message, told
from support.official_stripe import official_client
from support.server_process import KEY, Api, serving

SETTLE_S = 90.0
LOOK_S, LOOK_RARELY_S = 0.04, 0.25
"""How long to wait before looking again: ever longer, for to look takes as much as to go on does."""
AT_ONCE = 16
NOWHERE = "http://127.0.0.1:1"
"""Where webhooks go before anything happens."""
SDK_S = 30.0
"""Longer than the SDK takes to hear of anything."""
WEATHER: dict[str, Json] = {
    "calm": {},
    "doubled": {"duplicate": 1.0},
    "shuffled": {"reorder": 1.0, "delay_ms": [0, 30]},
    "lost": {"drop": 1.0},
}


def play_through_http(story: Story, database_url: str, ways: Mapping[str, str] | None = None) -> tuple[Answer, ...]:
    """Play a story on a database with nothing in it. `ways` are other addresses of it, by their settings.
    AssertionError if a line does not hold."""
    with ExitStack() as while_needed:
        provider = while_needed.enter_context(simulator.running(start=story.moments[0].at))
        client = official_client(provider.key, provider.url)
        # Of the events that docs/stripe.md names, and no others: they are enough.
        sent: Any = {"url": NOWHERE, "enabled_events": [*TYPES, *TEST_TYPES]}
        endpoint = client.v1.webhook_endpoints.create(sent)
        settings = replace(_settings(provider, database_url), webhook_secrets=(str(endpoint.secret),))
        with (
            serving(replace(settings, **(ways or {})), database_url, catalog=False) as api,
            httpx2.Client(base_url=f"{provider.url}/_simulator", trust_env=False, timeout=60, verify=False) as control,
            Paygrade(api.url, KEY, timeout_s=SDK_S) as sdk,
        ):
            client.v1.webhook_endpoints.update(endpoint.id, {"url": f"{api.url}/webhooks/stripe"})
            _sent(api.put("/v1/catalog", content=story.catalog_text, headers={"Content-Type": "application/yaml"}))
            answers = play(story, HttpWorld(story, api, control, client, sdk))
            _ask_again(story, answers, api)
            # A server that ends waits a second for whoever keeps a connection, as those who deliver webhooks do.
            while_needed.close()
    return answers


def _ask_again(story: Story, answers: tuple[Answer, ...], api: Api) -> None:
    """What was decided last at each moment is explained in the same way when all is over.

    The clock that is followed may lag by a moment; what was learned meanwhile bears the instant before, so only
    explanations that rest on the same facts are compared.
    """
    given = {(answer.line, answer.decision.feature): answer for answer in answers if answer.decision is not None}
    for moment in story.moments[:-1]:
        for line in takewhile(lambda line: isinstance(line.meaning, DecisionExpected), reversed(moment.lines)):
            expected = line.meaning
            assert isinstance(expected, DecisionExpected)
            for feature in () if expected.properties or expected.account.startswith("@") else expected.features:
                before = given[line.number, feature]
                again = Answer(line.number, _explained(api, feature, expected, moment.at))
                assert before.decision is not None
                assert again.decision is not None
                if again.decision.version == before.decision.version:
                    place = f"{story.path}:{line.number}: {line.text}"
                    assert again.said == before.said, f"{place}\n  was explained afterwards as {again.said}"


def _explained(api: Api, feature: str, expected: DecisionExpected, at: datetime) -> Decision:
    asked = {"feature": feature, "quantity": expected.quantity, "member": expected.member, "at": at.isoformat()}
    said = _sent(api.post(f"/v1/accounts/{expected.account}/explain", json=asked))
    return msgspec.json.decode(said.content, type=_Explanation).decision


class _Explanation(msgspec.Struct):
    decision: Decision


class HttpWorld:
    """A server and a simulator, as seen over HTTP; whatever is decided there, the SDK decides alike."""

    def __init__(
        self, story: Story, api: Api, control: httpx2.Client, client: stripe.StripeClient, sdk: Paygrade
    ) -> None:
        self._api, self._sdk = api, sdk
        self._control = control
        self._stripe = client
        self.provider = Provider(self._request, self._set_dashboard, self._authenticate, story.catalog)
        self._at = story.moments[0].at
        self._changes = Changes(api, self.quiesce)
        self._document = story.document
        self._settled = False

    def advance_to(self, at: datetime) -> None:
        """Let time pass. Whoever moved the clock and has its answer finds the new time in the server, and no webhook of
        what happened comes before; else it would be settled in the past."""
        self._at = at
        asked_at = time.monotonic()
        self._tell_simulator("clock", {"to": at.isoformat()})
        if time.monotonic() - asked_at >= ACKNOWLEDGE_S:
            # On a machine so busy the simulator went on without the server.
            self._wait(lambda: self._lag(self._sync_status()))

    def state(self, statement: Statement | Choice) -> Refusal | None:
        # What an operator says holds at once; only links have to be followed to the provider.
        linking = isinstance(statement, Statement) and isinstance(statement.body, Profile)
        self._settled = self._settled and not linking
        account = f"/v1/accounts/{statement.account}"
        path, body = _message(statement)
        answer = self._api.delete(account + path) if body is None else self._api.put(account + path, json=body)
        if statement.refused and not answer.is_success:
            return Refusal(answer.json()["code"])
        _sent(answer)
        return None

    def publish(self, edition: Edition) -> None:
        self._document = edited(self._document, edition)
        existing: Json = {"existing": "keep"} if edition.existing.keep else {}
        if edition.existing.follow_at is not None:
            existing["at"] = edition.existing.follow_at.isoformat()
        _sent(self._api.put("/v1/catalog", json=self._document, params=existing))

    def migrate(self, migrating: Migrating) -> None:
        if migrating.back:
            latest = _sent(self._api.get("/v1/catalog/migrations")).json()["migrations"][0]
            told = _sent(self._api.post(f"/v1/catalog/migrations/{latest['id']}/roll-back")).json()
        else:
            wanted: Any = msgspec.to_builtins(migrating.move)  # Any: plain JSON
            told = _sent(self._api.post("/v1/catalog/migrations", json=wanted)).json()["migration"]
        give_up_at = time.monotonic() + SETTLE_S
        while _sent(self._api.get(f"/v1/catalog/migrations/{told['id']}")).json()["finished_at"] is None:
            assert time.monotonic() < give_up_at, f"after {SETTLE_S:.0f} s the migration goes on"
            time.sleep(LOOK_S)

    def blow(self, weather: Weather) -> None:
        wanted: Json = {}
        for word in weather.words:
            wanted |= WEATHER.get(word, {})
        if weather.words != ("sweep",):
            self._tell_simulator("weather", wanted)
        if "sweep" in weather.words:
            _sent(self._api.post("/v1/sync/sweep"))
            self._settled = False

    def quiesce(self) -> None:
        """Wait until every webhook has arrived, every subject has been read and the server's clock has come along."""
        if self._settled:
            return
        self._wait(self._waits_for)
        self._settled = True

    def _wait(self, waits_for: Callable[[], str | None]) -> None:
        give_up_at, look_s = time.monotonic() + SETTLE_S, LOOK_S
        while (missing := waits_for()) is not None:
            assert time.monotonic() < give_up_at, f"after {SETTLE_S:.0f} s the server still waits for {missing}"
            time.sleep(look_s)
            look_s = min(1.5 * look_s, LOOK_RARELY_S)

    def _lag(self, status: Json) -> str | None:
        now = datetime.fromisoformat(status["clock"]).astimezone(UTC)
        return f"its clock to reach {self._at}; it shows {now}" if now < self._at else None

    def decide(self, account: str, feature: str, expected: DecisionExpected) -> Decision:
        asked = {
            "account": account,
            "feature": feature,
            "quantity": expected.quantity,
            "member": expected.member,
            "properties": expected.properties,
        }
        decision = self._known(asked)
        self._decide_in_process(decision, expected)
        return decision

    def _known(self, asked: Json) -> Decision:
        """What the server decides once it has what it decides on: where the database is slow to answer, it says so."""
        give_up_at = time.monotonic() + SETTLE_S
        while True:
            answer = _sent(self._api.post("/v1/check", json=asked))
            decision = msgspec.json.decode(answer.content, type=Decision)
            if not decision.stale or time.monotonic() > give_up_at:
                return decision
            time.sleep(LOOK_S)

    def _decide_in_process(self, decision: Decision, expected: DecisionExpected) -> None:
        """The SDK hears of the same counts and the same time a moment later, and then says the same."""
        wanted, give_up_at = _said(decision), time.monotonic() + SDK_S
        while True:
            mine = self._sdk.check(
                decision.account, decision.feature, decision.quantity, member=expected.member,
                properties=expected.properties, at_least=decision.version,
            )  # fmt: skip
            if not mine.stale and _said(mine) == wanted:
                return
            assert time.monotonic() < give_up_at, f"the SDK says {_said(mine)}\nand the server {wanted}"
            time.sleep(LOOK_S)

    def run(self, errand: PlanChangeAsked) -> Found | Refusal:
        self._settled = False
        return self._changes.run(errand)

    def ask(self, requests: Sequence[Request]) -> list[Told | Refusal]:
        with ThreadPoolExecutor(min(len(requests), AT_ONCE)) as pool:
            return list(pool.map(self._ask, requests))

    def _ask(self, request: Request) -> Told | Refusal:
        method, path, body = message(request)
        return told(request, self._api.request(method, path, json=body))

    def findings(self, account: str) -> tuple[str, ...]:
        found = self._sync_status()["findings"]
        return tuple(sorted(finding["code"] for finding in found if finding["account"] == account))

    def _waits_for(self) -> str | None:
        pending = _sent(self._control.post("/flush", json={})).json()["pending"]
        if pending:
            return f"{pending} webhooks"
        status = self._sync_status()
        sweep = status["repair"]["sweep"]
        if sweep is not None and sweep["finished_at"] is None:
            return "a sweep"
        if status["dirty"]:
            return f"{status['dirty']} subjects to be read; failing: {status['failing']}"
        assert self._lag(status) is None, (
            f"the simulator's clock was moved, and the server waits for {self._lag(status)}"
        )
        return self._changes.under_way(self._at)

    def _sync_status(self) -> Json:
        status: Json = _sent(self._api.get("/v1/sync/status")).json()
        return status

    def _request(self, method: str, path: str, params: Json) -> Json:
        self._settled = False
        try:
            answer = self._stripe.raw_request(method.lower(), path, **params)
        except stripe.CardError as refused:
            raise Declined(refused.user_message) from refused
        return dict(answer.data)

    def _set_dashboard(self, settings: Json) -> None:
        self._tell_simulator("settings", settings)

    def _authenticate(self, payment_intent: str, succeeds: bool) -> None:
        self._tell_simulator("authenticate", {"payment_intent": payment_intent, "succeeds": succeeds})

    def _tell_simulator(self, what: str, wanted: Json) -> None:
        _sent(self._control.post(f"/{what}", json=wanted))
        self._settled = False


def _message(statement: Statement | Choice) -> tuple[str, Json | None]:
    """Where below its account a statement is sent, and its body; None: it is sent as DELETE."""
    if isinstance(statement, Choice):
        return "/seats", {"members": list(statement.members)}
    match statement.body:
        case Override(feature=feature, withdrawn=withdrawn) as override:
            return f"/overrides/{feature}", None if withdrawn else _body(override, "feature")
        case Block(key=key, lifted=lifted) as block:
            return f"/blocks/{key}", None if lifted else _body(block, "key")
        case Member(key=key, role=role) as member:
            return f"/members/{key}", None if role is None else _body(member, "key")
        case Pin(key=key, withdrawn=withdrawn) as pin:
            return f"/versions/{key}", None if withdrawn else _body(pin, "key")
        case Profile(links=links, deleted=deleted, time_zone=zone):
            return "", None if deleted else {"links": links, "time_zone": zone}
        case ManualSubscription(subscription=stated) if stated is not None:
            return f"/subscriptions/{stated.id}", {**_body(stated, "id"), "version": statement.version}
        case body:
            raise AssertionError(f"an operator cannot say {body}")


def _body(stated: msgspec.Struct, key: str) -> Json:
    """A statement without its tag and without what the path says."""
    built: Any = msgspec.to_builtins(stated)  # Any: plain JSON
    return {name: value for name, value in built.items() if name not in ("type", key)}


def _said(decision: Decision) -> Json:
    """All that a decision says of the account, whenever and on whatever it rests."""
    its = bound(decision)
    return {
        name: getattr(its, name)
        for name in Decision.__struct_fields__
        if name not in ("as_of", "version", "stale")
    }  # fmt: skip


def _sent(answer: httpx2.Response) -> httpx2.Response:
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
    return answer


def _settings(provider: simulator.Running, database_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        stripe_api_key=provider.key,
        stripe_api_base=provider.url,
        clock_url=provider.url,
        sweep_every=None,
    )
