"""How a story is played, whatever stands behind it: the pure core, or a server with its database and provider.

Laws: lines are played in the order they are written; before anything is expected, and before time passes, the world
has settled; all lines that did not hold are told, not only the first.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec
from msgspec.structs import replace

from paygrade.billing.facts import Profile
from paygrade.decisions.decide import Decision, bound
from paygrade.server.operations.usage.answers import Answer as Used
from stories.language.change_outcomes import Changed, Quoted
from stories.language.change_outcomes import differences as unlike_expected
from stories.language.expectations import DecisionExpected, FindingsExpected, differences
from stories.language.language import Happening, Line, Story, Weather
from stories.language.operator_phrases import Choice, Edition, Migrating, Statement
from stories.language.owner_phrases import PlanChangeAsked
from stories.language.product_phrases import Asking, Refusal, Request, Told, unlike
from stories.language.provider_phrases import Provider


class World(Protocol):
    """What a story is played on."""

    provider: Provider

    def advance_to(self, at: datetime) -> None:
        """Let time pass, everywhere."""

    def state(self, statement: Statement | Choice) -> Refusal | None:
        """Take an operator's word, or refuse it."""

    def publish(self, edition: Edition) -> None:
        """Publish another catalog."""

    def migrate(self, migrating: Migrating) -> None:
        """Move everybody to another version, or back; return when it is done."""

    def blow(self, weather: Weather) -> None:
        """Change how webhooks are delivered."""

    def quiesce(self) -> None:
        """Return once everything that happened has been heard of."""

    def decide(self, account: str, feature: str, expected: DecisionExpected) -> Decision: ...

    def ask(self, requests: Sequence[Request]) -> list[Told | Refusal]:
        """Make these requests, all at once; their answers in any order."""

    def run(self, errand: PlanChangeAsked) -> Quoted | Changed | Refusal:
        """Ask for what an owner wants; return what came of it once everybody has done what there is to do."""

    def findings(self, account: str) -> tuple[str, ...]:
        """The codes of all findings about the account, in alphabetical order."""


Said = Decision | Told | Quoted | Changed | Refusal


class Answer(msgspec.Struct, frozen=True):
    """What was answered, and by which line it was asked for."""

    line: int
    told: Said

    @property
    def decision(self) -> Decision | None:
        """The decision, where the answer is or has one."""
        return self.told if isinstance(self.told, Decision) else getattr(self.told, "decision", None)

    @property
    def said(self) -> str:
        """All that was answered but what depends on where it was asked: when its snapshot was taken, how many facts
        there were before, what was numbered, and which of several at once it was."""
        text = re.sub(r'"(as_of|version)":"[^"]*"', r'"\1":""', msgspec.json.encode(self.told).decode())
        return re.sub(r"\b(sub_|cus_|chg_|line_\d+_)\w+", r"\1", text)


Given = dict[str, str]
"""What requests were answered with, for those who ask again."""


def play(story: Story, world: World) -> tuple[Answer, ...]:
    """Play a story to its end; give every answer it asked for. AssertionError if a line does not hold."""
    answers: list[Answer] = []
    wrong: list[str] = []
    given: Given = {}
    for moment in story.moments:
        # What happened is heard of before time passes; else nobody could say whether it was settled then or later.
        world.quiesce()
        world.advance_to(moment.at)
        for line in moment.lines:
            place = f"{story.path}:{line.number}: {line.text}"
            try:
                for told, said in _play_line(line, world, given):
                    wrong += [f"{place}\n  {text}\n  in {_shown(told)}" for text in said]
                    answers += [Answer(line.number, told)] if told is not None else []
            except Exception as error:
                error.add_note(f"at {place}")
                raise
    assert not wrong, "\n".join([f"story {story.title}", *wrong])
    return tuple(answers)


def _play_line(line: Line, world: World, given: Given) -> list[tuple[Said | None, list[str]]]:
    """What was answered, and what of it does not hold."""
    match line.meaning:
        case Happening(do=do):
            do(world.provider)
        case (Statement() | Choice()) as statement:
            world.quiesce()
            refused = world.state(_with_ids(statement, world.provider))
            return [(refused, _otherwise_refused(statement.refused, refused))]
        case Edition() as edition:
            world.quiesce()
            world.publish(edition)
        case Migrating() as migrating:
            world.quiesce()
            world.migrate(migrating)
        case Weather() as weather:
            world.blow(weather)
        case Asking() as asking:
            world.quiesce()
            return _ask(asking, line.number, world, given)
        case PlanChangeAsked() as errand:
            # What somebody changes to may not have been sold before.
            world.provider.sell_all()
            world.quiesce()
            came = world.run(replace(errand, account=_key(errand.account, world.provider)))
            return [(came, unlike_expected(errand.expected, came))]
        case DecisionExpected() as expected:
            world.quiesce()
            account = _key(expected.account, world.provider)
            decisions = [world.decide(account, feature, expected) for feature in expected.features]
            return [(decision, differences(expected.outcome, decision)) for decision in decisions]
        case FindingsExpected(codes=codes) as expected:
            world.quiesce()
            found = world.findings(_key(expected.account, world.provider))
            return [] if found == codes else [(None, [f"findings: expected {codes}, got {found}"])]
    return []


def _otherwise_refused(code: str, told: Refusal | None) -> list[str]:
    if (told.code if told is not None else "") == code:
        return []
    return [f"refused `{told.code}`" if told is not None else f"expected to be refused `{code}`"]


def _ask(asking: Asking, line: int, world: World, given: Given) -> list[tuple[Said | None, list[str]]]:
    requests = [replace(one, account=_key(one.account, world.provider)) for one in asking.requests(line)]
    # Of requests made at once nobody knows which is the first.
    told = sorted(world.ask(requests), key=lambda one: Answer(line, one).said)
    wrong = unlike(asking, told)
    if isinstance(told[0], Used) and asking.times == 1:
        wrong += _unlike_before(asking, str(requests[0]), told[0], given)
    return [(one, wrong if number == 0 else []) for number, one in enumerate(told)]


def _unlike_before(asking: Asking, request: str, told: Used, given: Given) -> list[str]:
    """Who asks again gets the same answer, sources aside, which are those of today; nobody else gets an old one."""
    if told.replayed != asking.again:
        return ["this was asked before: say `again`" if told.replayed else "this was not taken for the same request"]
    kept = replace(told, replayed=False, decision=replace(bound(told.decision), origin=(), value=None))
    said = msgspec.json.encode(kept).decode()
    before = given.setdefault(request, said)
    return [f"expected the same answer as before, {before}"] if asking.again and said != before else []


def _with_ids(statement: Statement | Choice, provider: Provider) -> Statement | Choice:
    if isinstance(statement, Choice):
        return statement
    body = statement.body
    if isinstance(body, Profile) and body.links:
        links = {name: tuple(_key(customer, provider) for customer in said) for name, said in body.links.items()}
        body = replace(body, links=links)
    return replace(statement, account=_key(statement.account, provider), body=body)


def _key(name: str, provider: Provider) -> str:
    """`@acme` stands for the id that customer `acme` has at the provider."""
    return provider.customer(name[1:]) if name.startswith("@") else name


def _shown(told: Said | None) -> str:
    return msgspec.json.encode(told).decode() if told is not None else "what the server found"
