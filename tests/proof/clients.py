"""Askers: each a thread that uses, holds and gives back units, and asks again under the same id until it is answered.

Run as a process of its own: `python -m proof.asking SPEC TOLD` asks until its standard input ends, and then writes
down what it was told.
"""

import http.client
import itertools
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from proof.senders import Batch, Sent, Teller
from proof.sold import ASKED_MAX, GRANTED, MEMBERS

GIVE_UP_S = 240.0
TTL_MAX_S = 3
TOOK = "took effect"
UNGRANTED = "plain"
"""The account that nobody gives grants."""


class Spec(Struct, frozen=True):
    """What one process of askers does. Half of what is asked is for `hot` accounts, the rest for `many` others."""

    servers: list[str]
    admin_key: str
    name: str
    seed: int
    threads: int
    hot: list[str]
    many: int


class Told(Struct, frozen=True, array_like=True):
    """What was answered to one id at last, after so many tries.

    `outcome`: that it took effect, the reason of a denial, or the code of a refusal. `id` is that of the request; of
    a step without one it is empty, and `reservation` says which it was about.
    """

    verb: str
    account: str
    id: str
    feature: str
    quantity: int | None
    outcome: str
    tries: int
    reservation: str = ""
    properties: dict[str, str] | None = None


class Answers(Struct):
    """All that was answered: to requests, to usage events, and what should not have been."""

    told: list[Told] = []
    sent: list[Sent] = []
    complaints: list[str] = []

    def take(self, other: "Answers") -> None:
        self.told += other.told
        self.sent += other.sent
        self.complaints += other.complaints


class Holding(Struct):
    """A reservation as whoever made it knows it."""

    account: str
    id: str
    feature: str
    units: int
    properties: dict[str, str] | None


class Lines:
    """Connections of one thread to every server, made anew when they break."""

    def __init__(self, servers: list[str], admin_key: str) -> None:
        self.servers = servers
        self._headers = {"Authorization": f"Bearer {admin_key}", "Content-Type": "application/json"}
        self._open: dict[int, http.client.HTTPConnection] = {}

    def ask(self, server: int, method: str, path: str, body: object) -> tuple[int, Any] | None:
        """The status and the decoded answer (Any: JSON); None: no answer came, or none that counts."""
        line = self._open.get(server)
        if line is None:
            line = self._open[server] = http.client.HTTPConnection(self.servers[server].removeprefix("http://"))
            line.timeout = 60
        try:
            line.request(method, path, None if body is None else msgspec.json.encode(body), self._headers)
            answer = line.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException):
            line.close()
            del self._open[server]
            return None
        told = msgspec.json.decode(raw)
        # With the database away the feature's failure mode answers: nothing of that is kept.
        stale = answer.status == 200 and "decision" in told and told["decision"]["stale"]
        return None if answer.status == 503 or stale else (answer.status, told)


class Asker:
    """One thread's worth of asking. `holdings` and `batches` are shared with the others of its process."""

    def __init__(self, spec: Spec, number: int, holdings: list[Holding], batches: list[Batch]) -> None:
        self.told: list[Told] = []
        self.complaints: list[str] = []
        self._spec = spec
        self._rng = random.Random(f"{spec.seed} {spec.name} {number}")
        self._lines = Lines(spec.servers, spec.admin_key)
        self._ids = (f"{spec.name}-{number}-{n}" for n in itertools.count())
        self._holdings = holdings
        self._past: list[tuple[str, str, object, Any]] = []
        self._granted: list[tuple[str, str, str]] = []
        self._teller = Teller(self._rng, ids=self._ids, account=self._account, batches=batches)

    @property
    def sent(self) -> list[Sent]:
        return self._teller.sent

    def run(self, stopping: threading.Event) -> None:
        what = [self._consume, self._reserve, self._resolve, self._give, self._void, self._state, self._check,
                self._ask_again, self._tell, self._tell_again]  # fmt: skip
        while not stopping.is_set():
            self._rng.choices(what, (30, 22, 30, 2, 2, 2, 4, 6, 10, 2))[0]()

    def _consume(self) -> None:
        body = self._use()
        told, tries = self._until_answered("POST", "/v1/consume", body)
        outcome = told.get("code") or (TOOK if told["consumed"] else told["decision"]["reason"])
        self._note("consume", body, outcome, tries)
        self._past.append(("POST", "/v1/consume", body, _lasting(told)))

    def _reserve(self) -> None:
        body = self._use()
        body["quantity"] = max(1, body["quantity"])
        body["ttl_s"] = self._rng.randint(1, TTL_MAX_S)
        told, tries = self._until_answered("POST", "/v1/reservations", body)
        held = told.get("reservation")
        outcome = told.get("code") or (TOOK if held else told["decision"]["reason"])
        self._note("reserve", body, outcome, tries)
        self._past.append(("POST", "/v1/reservations", body, _lasting(told)))
        if held:
            self._holdings.append(
                Holding(body["account"], body["id"], body["feature"], body["quantity"], body.get("properties"))
            )

    def _resolve(self) -> None:
        """Commit, release or extend a reservation; one in ten is left for others to resolve as well."""
        try:
            holding = self._holdings.pop(self._rng.randrange(len(self._holdings)))
        except (IndexError, ValueError):
            return
        if self._rng.random() < 0.1:
            self._holdings.append(holding)
        match self._rng.randrange(8):
            case 0 | 1:
                self._step(holding, "commit", {})
            case 2 | 3:
                self._piece(holding)
            case 4:
                self._step(holding, "commit", {"quantity": self._rng.randint(0, holding.units)})
            case 5:
                self._step(holding, "commit", {"quantity": holding.units + self._rng.randint(1, 3)})
            case 6:
                self._step(holding, "release", {})
            case _:
                self._step(holding, "extend", {"ttl_s": self._rng.randint(1, TTL_MAX_S)})
                self._holdings.append(holding)

    def _piece(self, holding: Holding) -> None:
        quantity = self._rng.randint(0, holding.units)
        outcome = self._step(holding, "commit", {"quantity": quantity, "keep": True, "id": next(self._ids)})
        if outcome == TOOK and quantity < holding.units:
            self._holdings.append(
                Holding(holding.account, holding.id, holding.feature, holding.units - quantity, holding.properties)
            )

    def _step(self, holding: Holding, verb: str, said: dict[str, Any]) -> str:
        body = {"account": holding.account, **said}
        if verb == "commit" and holding.properties is not None and self._rng.random() < 0.5:
            # Said or not, it is priced as it was reserved.
            body["properties"] = holding.properties
        told, tries = self._until_answered("POST", f"/v1/reservations/{quote(holding.id, safe='')}/{verb}", body)
        outcome = str(told.get("code") or TOOK)
        self.told.append(
            Told(verb, holding.account, body.get("id", ""), holding.feature, body.get("quantity"), outcome, tries,
                 holding.id, holding.properties if verb == "commit" else None)
        )  # fmt: skip
        return outcome

    def _give(self) -> None:
        account, feature = self._account(), self._rng.choice(GRANTED)
        if account == UNGRANTED:
            return
        body: dict[str, Any] = {
            "feature": feature,
            "units": self._rng.randint(1, 12),
            "id": next(self._ids),
            "priority": self._rng.choice((10, 50, 90)),
            "kind": "purchase",
        }
        if self._rng.random() < 0.3:
            body["expires_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 5))
        told, tries = self._until_answered("POST", f"/v1/accounts/{account}/grants", body)
        outcome = told.get("code") or TOOK
        # Where nobody answered for so long that it would have ended by now, nothing was granted.
        if outcome != "already_expired":
            self.told.append(Told("grant", account, body["id"], feature, body["units"], outcome, tries))
            self._granted.append((account, feature, body["id"]))

    def _void(self) -> None:
        if self._granted:
            account, feature, id = self._granted.pop(self._rng.randrange(len(self._granted)))
            path = f"/v1/accounts/{account}/grants/{feature}/{quote(id, safe='')}"
            told, tries = self._until_answered("DELETE", path, None)
            self.told.append(Told("void", account, id, feature, None, told.get("code") or TOOK, tries))

    def _state(self) -> None:
        account, used, id = self._account(), self._rng.randint(0, 50), next(self._ids)
        body = {"used": used, "id": id, "reason": "counted"}
        told, tries = self._until_answered("PUT", f"/v1/accounts/{account}/usage/desks", body)
        self.told.append(Told("set", account, id, "desks", used, told.get("code") or TOOK, tries))

    def _check(self) -> None:
        body = {"account": self._account(), "feature": self._rng.choice([*ASKED_MAX, "credits"])}
        self._until_answered("POST", "/v1/check", body)

    def _ask_again(self) -> None:
        """What was answered before is answered so again, whoever is asked."""
        if self._past:
            method, path, body, before = self._rng.choice(self._past[-200:])
            told, _ = self._until_answered(method, path, body)
            if _lasting(told) != before or not told.get("replayed", True):
                self.complaints.append(f"{path} {body} was answered {before}, then {told}")

    def _tell(self) -> None:
        """Usage events; one sender in ten does not ask again when no answer came."""
        batch = self._teller.batch()
        if self._rng.random() < 0.1:
            answer = self._lines.ask(self._rng.randrange(len(self._spec.servers)), "POST", "/v1/events", batch.events)
            self._teller.note(batch, answer[1] if answer is not None and answer[0] == 200 else None)
        else:
            told, _ = self._until_answered("POST", "/v1/events", batch.events)
            if "rejected" not in told:
                self.complaints.append(f"events were answered {told}: {batch.events}")
            self._teller.note(batch, told if "rejected" in told else None)

    def _tell_again(self) -> None:
        """Events that somebody else sent, or is sending at this moment."""
        batch = self._teller.another()
        if batch is not None:
            answered = batch.answered
            told, _ = self._until_answered("POST", "/v1/events", batch.events)
            if answered and (told.get("accepted"), told.get("duplicates")) != (0, len(batch.events)):
                self.complaints.append(f"events that had been counted were answered {told}: {batch.events}")

    def _use(self) -> dict[str, Any]:
        feature = self._rng.choice(list(ASKED_MAX))
        body: dict[str, Any] = {
            "account": self._account(),
            "feature": feature,
            "quantity": self._rng.randint(0, ASKED_MAX[feature]),
            "id": next(self._ids),
        }
        if feature == "tokens" and self._rng.random() < 0.5:
            body["properties"] = {"model": self._rng.choice(("large", "small"))}
        if feature == "shared":
            body["member"] = self._rng.choice(MEMBERS)
        return body

    def _account(self) -> str:
        if self._rng.random() < 0.5:
            return self._rng.choice(self._spec.hot)
        return one_of_many(self._rng.randrange(self._spec.many))

    def _note(self, verb: str, body: dict[str, Any], outcome: str, tries: int) -> None:
        self.told.append(
            Told(verb, body["account"], body["id"], body["feature"], body["quantity"], outcome, tries,
                 properties=body.get("properties"))
        )  # fmt: skip

    def _until_answered(self, method: str, path: str, body: object) -> tuple[Any, int]:
        """The answer that counts, each time asked for at another server, and how often that was."""
        server, give_up_at = self._rng.randrange(len(self._spec.servers)), time.monotonic() + GIVE_UP_S
        for tries in itertools.count(1):
            answer = self._lines.ask(server, method, path, body)
            if answer is not None:
                if answer[0] >= 500:
                    self.complaints.append(f"{method} {path} {body} was answered {answer}")
                return answer[1], tries
            assert time.monotonic() < give_up_at, f"nobody answered {method} {path}"
            server = (server + 1) % len(self._spec.servers)
            time.sleep(self._rng.uniform(0, 0.1))
        raise AssertionError


def one_of_many(number: int) -> str:
    return f"acme-{number}"


def _lasting(told: Any) -> Any:
    """What an answer says that has to be the same when it is given again."""
    if "code" in told:
        return told["code"]
    decision = {k: v for k, v in told["decision"].items() if k not in ("sources", "value")}
    return decision, told.get("consumed"), told.get("reservation")


def ask(spec: Spec, stopping: threading.Event) -> Answers:
    """Ask until told to stop; what was answered, and what should not have been."""
    holdings: list[Holding] = []
    batches: list[Batch] = []
    askers = [Asker(spec, number, holdings, batches) for number in range(spec.threads)]
    with ThreadPoolExecutor(spec.threads) as pool:
        for done in [pool.submit(asker.run, stopping) for asker in askers]:
            done.result()
    found = Answers()
    for asker in askers:
        found.take(Answers(asker.told, asker.sent, asker.complaints))
    return found


def main() -> None:
    spec = msgspec.json.decode(sys.argv[1], type=Spec)
    stopping = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        stopping.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(ask(spec, stopping)))


if __name__ == "__main__":
    main()
