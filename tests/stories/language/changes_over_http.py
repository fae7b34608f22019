"""How an owner's errand is run over the API: quoted, carried out, and read again once everybody has done their part."""

import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar, assert_never

import httpx2
import msgspec

from paygrade.changes.plan_change import UNDER_WAY, PlanChange
from paygrade.changes.quote import Quote
from paygrade.changes.request import ChangeRequest
from stories.language.change_outcomes import Found, latest, plain, state_of
from stories.language.owner_phrases import Accept, Change, Do, GoBack, Look, PlanChangeAsked, TakeBack
from stories.language.product_phrases import Refusal
from support.server_process import Api

Read = TypeVar("Read")
WAIT_S = 10
LOOK_MAX_S, LOOK_S = 30.0, 0.04


class RefusedOverHttp(Exception):
    """The API refused a request."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Changes:
    """The plan changes of a server, as its API shows them. `quiesce` waits until nobody has anything more to do."""

    def __init__(self, api: Api, quiesce: Callable[[], None]) -> None:
        self._api = api
        self._settle = quiesce
        self._quotes: dict[str, str] = {}
        """The id of the latest of each account."""
        self._asked: dict[str, list[str]] = defaultdict(list)
        """The ids of the changes that were asked for here, by account."""

    def run(self, errand: PlanChangeAsked) -> Found | Refusal:
        try:
            if isinstance(errand.what, Look):
                return self._look(errand)
            return plain(self._run(errand))
        except RefusedOverHttp as refused:
            return Refusal(refused.code)

    def under_way(self, at: datetime) -> str | None:
        """A change of which something is to be done at `at`, by the server or at the provider; None: there is none."""
        for account in self._asked:
            for change in self._list(account):
                if _has_work(change, at):
                    return f"`{change.id}`, which is {change.state}: {change.error or change.reason or change.act}"
        return None

    def _run(self, errand: PlanChangeAsked) -> Quote | PlanChange:
        account = errand.account
        match errand.what:
            case Change(wanted=wanted, only_quoted=only_quoted):
                made = self._quote(account, "/quote", _wanted(wanted))
                return made if only_quoted else self._carry_out(account)
            case Accept():
                return self._carry_out(account)
            case GoBack(only_quoted=only_quoted):
                made = self._quote(account, f"/{self._latest(account).id}/revert", None)
                return made if only_quoted else self._carry_out(account)
            case Do(act=act, trial_ends_at=trial_ends_at):
                until = {} if trial_ends_at is None else {"trial_ends_at": trial_ends_at.isoformat()}
                return self._ask(account, {"act": act, **until})
            case TakeBack():
                return self._take_back(account)
            case Look():
                raise AssertionError("a change is looked at until it stands as expected")
            case _:
                assert_never(errand.what)

    def _look(self, errand: PlanChangeAsked) -> Found | Refusal:
        """Whoever works on a change that waits looks again when something happened, a moment later."""
        give_up_at = time.monotonic() + LOOK_MAX_S
        while True:
            self._settle()
            found = plain(self._latest(errand.account))
            if state_of(found) == errand.expected.state or time.monotonic() > give_up_at:
                return found
            time.sleep(LOOK_S)

    def _quote(self, account: str, path: str, wanted: dict[str, Any] | None) -> Quote:
        made = self._sent("POST", account, path, wanted, Quote)
        self._quotes[account] = made.id
        return made

    def _carry_out(self, account: str) -> PlanChange:
        return self._ask(account, {"quote_id": self._quotes.get(account, "quote_none")})

    def _ask(self, account: str, wanted: dict[str, Any]) -> PlanChange:
        change = self._sent("POST", account, f"?wait_s={WAIT_S}", wanted, PlanChange)
        if change.id not in self._asked[account]:
            self._asked[account].append(change.id)
        return self._settled(change)

    def _take_back(self, account: str) -> PlanChange:
        found = [change for change in self._list(account) if change.state in UNDER_WAY]
        change = latest(found, self._asked[account]) or self._latest(account)
        return self._settled(self._sent("DELETE", account, f"/{change.id}?wait_s={WAIT_S}", None, PlanChange))

    def _settled(self, change: PlanChange) -> PlanChange:
        self._settle()
        found = self._sent("GET", change.account, f"/{change.id}", None, _View)
        return found.change

    def _latest(self, account: str) -> PlanChange:
        found = latest(self._list(account), self._asked[account])
        if found is None:
            raise RefusedOverHttp("unknown_change")
        return found

    def _list(self, account: str) -> tuple[PlanChange, ...]:
        return self._sent("GET", account, "", None, _List).changes

    # Any: plain JSON.
    def _sent(self, method: str, account: str, path: str, body: dict[str, Any] | None, kind: type[Read]) -> Read:
        answer: httpx2.Response = self._api.request(method, f"/v1/accounts/{account}/plan-changes{path}", json=body)
        if not answer.is_success:
            assert answer.status_code < 500, f"{answer.request.url}: {answer.status_code} {answer.text}"
            raise RefusedOverHttp(answer.json()["code"])
        return msgspec.json.decode(answer.content, type=kind)


def _has_work(change: PlanChange, at: datetime) -> bool:
    if change.state == "asked" or change.undo:
        return True
    if change.state == "scheduled":
        return change.effective_at is not None and change.effective_at <= at
    if change.state != "applied" or change.source != "request" or change.is_manual or change.done_fence is not None:
        return False
    # What it was scheduled with is let go of afterwards; and it may be heard of before the provider's answer is saved.
    return change.schedule is not None or (change.effective_at is None and change.invoice is None)


class _View(msgspec.Struct):
    change: PlanChange


class _List(msgspec.Struct):
    changes: tuple[PlanChange, ...]


# Any: plain JSON.
def _wanted(wanted: ChangeRequest) -> dict[str, Any]:
    """What is sent; what is not said is left out."""
    said: dict[str, Any] = msgspec.to_builtins(wanted)
    date = said.pop("date", None)
    return {**said, "when": date} if date is not None else said
