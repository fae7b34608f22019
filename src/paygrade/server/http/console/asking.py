"""A question about one feature of an account, and its answer as a page shows it: a sentence, the trace, and code that
asks the same."""

import json
from datetime import datetime, timedelta
from typing import Annotated, Any

from msgspec import Struct

from paygrade.decisions.message import DecisionView
from paygrade.decisions.outcome import LoggedDecision
from paygrade.server.http.console.access_view import Link, link_of, told_of
from paygrade.server.http.console.rendering import link
from paygrade.server.http.console.screens import read_moment, read_units
from paygrade.server.http.console.wording import iso, number
from paygrade.server.http.context import Context
from paygrade.server.http.parameters import text
from paygrade.server.operations.accounts.access import Explanation, explain
from paygrade.server.operations.decision_log import logged_around

KNOWLEDGE = (("", "Known then"), ("now", "Known now"))
"""By what the past is looked at."""
By = Annotated[str, text("`now`: the past by what is known now; else by what was known then.")]
_MINUTE, LOGGED = timedelta(minutes=1), 5
_KINDS = ("block", "override", "leeway", "add_on", "plan")


class Question(Struct, frozen=True):
    """What is asked. `at` None: now."""

    account: str
    feature: str
    quantity: int = 1
    member: str = ""
    at: datetime | None = None

    @property
    def address(self) -> str:
        """Where the answer is shown whole."""
        at = iso(self.at) if self.at is not None else ""
        quantity = self.quantity if self.quantity != 1 else ""
        return link("explain", account=self.account, feature=self.feature, quantity=quantity, member=self.member, at=at)


class Answered(Struct, frozen=True):
    """The answer, of the past by what was known then. `trace`: the sources looked at, those that count most first;
    where it was about another instant, `now` is the answer to the same question now, and `true` that of the past by all
    that is known now, and `logged` what programs were answered within a minute of it."""

    question: Question
    told: str
    tone: str
    explained: Explanation
    trace: tuple[Link, ...]
    sums: str
    now: DecisionView | None
    true: DecisionView | None
    logged: tuple[LoggedDecision, ...]


def read_question(*, account: str, feature: str, quantity: str, member: str, at: str) -> Question:
    """Refused `invalid_query`."""
    units = read_units(quantity, name="quantity") if quantity else 1
    return Question(account.strip(), feature.strip(), units, member.strip(), read_moment(at, name="at"))


async def answer(context: Context, question: Question) -> Answered:
    now = context.clock.now()
    at = question.at or now
    explained = await _explained(context, question, at=at, now=now)
    then, past = abs(now - at) > timedelta(seconds=1), question.at is not None and at < now
    told, tone = told_of(explained.decision)
    links = sorted(map(link_of, explained.candidates), key=lambda each: _KINDS.index(each.source.kind))
    return Answered(
        question,
        told,
        tone,
        explained,
        tuple(links),
        _sums(explained.decision),
        (await _explained(context, question, at=now, now=now)).decision if then else None,
        (await _explained(context, question, at=at, now=now, believed=False)).decision if past else None,
        await _logged(context, question, at) if past else (),
    )


async def _logged(context: Context, question: Question, at: datetime) -> tuple[LoggedDecision, ...]:
    return await logged_around(
        context.store, account=question.account, feature=question.feature, at=at, reach=_MINUTE, limit=LOGGED
    )


async def _explained(
    context: Context, question: Question, *, at: datetime, now: datetime, believed: bool = True
) -> Explanation:
    return await explain(
        context.store,
        account=question.account,
        feature=question.feature,
        quantity=question.quantity,
        member=question.member or None,
        at=at,
        now=now,
        believed=believed,
    )


def asked_of(logged: LoggedDecision) -> str:
    """What was asked, and in which way: `3 api_calls for ann, by consume`."""
    what = f"{logged.quantity:,} {logged.feature}" if logged.quantity != 1 else logged.feature
    whom = f" for {logged.member}" if logged.member else ""
    where = f" at {logged.node}" if logged.node else ""
    return f"{what}{whom}{where}, by {logged.via}"


def _sums(decision: DecisionView) -> str:
    """How the figures compare: `used 16,212 · held 0 · asked 3 · 16,215 ≤ 20,000`."""
    if decision.limit is None or decision.used is None:
        return ""
    held, total = decision.reserved or 0, decision.used + (decision.reserved or 0) + decision.quantity
    sign = "≤" if total <= decision.limit else ">"
    return (
        f"used {number(decision.used)} · held {number(held)} · asked {number(decision.quantity)} · "
        f"{number(total)} {sign} {number(decision.limit)}"
    )


def code_samples(question: Question, server: str) -> list[tuple[str, str]]:
    """The same question from a program: (language, code)."""
    body: dict[str, object] = {"feature": question.feature, "quantity": question.quantity}
    if question.member:
        body["member"] = question.member
    if question.at is not None:
        body["at"] = iso(question.at)
    account, feature = json.dumps(question.account), json.dumps(question.feature)
    many = f", quantity={question.quantity}" if question.quantity != 1 else ""
    who = f", member={json.dumps(question.member)}" if question.member else ""
    options = {name: body[name] for name in ("quantity", "member") if name in body and body[name] != 1}
    more = f", {json.dumps(options)}" if options else ""
    path = link(question.account).removeprefix("/console")
    return [
        (
            "Python",
            f"decision = paygrade.check({account}, {feature}{many}{who})\nif not decision:\n"
            "    raise PermissionError(decision.message)",
        ),
        ("TypeScript", f"const decision = await paygrade.check({feature}{more});"),
        ("curl", curl(f"{server}/v1/accounts{path}/explain", body)),
    ]


def curl(address: str, body: dict[str, Any], key: str = "$PAYGRADE_API_KEY") -> str:
    """A command that sends this to a route. Any: JSON."""
    quoted = json.dumps(body).replace("'", "'\\''")
    return (
        f'curl -s {address} \\\n  -H "Authorization: Bearer {key}" \\\n'
        f"  -H 'Content-Type: application/json' \\\n  -d '{quoted}'"
    )
