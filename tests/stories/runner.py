"""How a story is played, whatever stands behind it: the pure core, or a server with its database and provider.

Laws: lines are played in the order they are written; before anything is expected, the world has settled; all lines
that did not hold are told, not only the first.
"""

import re
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from paygrade.decisions import Decision
from paygrade.facts import Profile
from stories.expectations import DecisionExpected, FindingsExpected, differences
from stories.language import Happening, Line, Story, Weather
from stories.operator_phrases import Statement
from stories.provider_phrases import Provider


class World(Protocol):
    """What a story is played on."""

    provider: Provider

    def advance_to(self, at: datetime) -> None:
        """Let time pass, everywhere."""

    def state(self, statement: Statement) -> None:
        """Take an operator's word."""

    def blow(self, weather: Weather) -> None:
        """Change how webhooks are delivered."""

    def settle(self) -> None:
        """Return once everything that happened has been heard of."""

    def decide(self, account: str, feature: str, quantity: int, member: str | None) -> Decision: ...

    def findings(self, account: str) -> tuple[str, ...]:
        """The codes of all findings about the account, in alphabetical order."""


class Answer(msgspec.Struct, frozen=True):
    """A decision that was asked for, and by which line."""

    line: int
    decision: Decision

    @property
    def said(self) -> str:
        """All that the decision says but what depends on where it was asked: when its snapshot was taken, how many
        facts there were before, and what the provider numbered."""
        plain = msgspec.structs.replace(self.decision, as_of=datetime.min.replace(tzinfo=UTC), version="")
        return re.sub(r"\b(sub|cus)_\w+", r"\1_", msgspec.json.encode(plain).decode())


def play(story: Story, world: World) -> tuple[Answer, ...]:
    """Play a story to its end; give every decision it asked for. AssertionError if a line does not hold."""
    answers: list[Answer] = []
    wrong: list[str] = []
    for moment in story.moments:
        world.advance_to(moment.at)
        for line in moment.lines:
            place = f"{story.path}:{line.number}: {line.text}"
            try:
                for decision, said in _play_line(line, world):
                    wrong += [f"{place}\n  {text}\n  in {_shown(decision)}" for text in said]
                    answers += [Answer(line.number, decision)] if decision is not None else []
            except Exception as error:
                error.add_note(f"at {place}")
                raise
    assert not wrong, "\n".join([f"story {story.title}", *wrong])
    return tuple(answers)


def _play_line(line: Line, world: World) -> list[tuple[Decision | None, list[str]]]:
    match line.meaning:
        case Happening(do=do):
            do(world.provider)
        case Statement() as statement:
            world.settle()
            world.state(_with_ids(statement, world.provider))
        case Weather() as weather:
            world.blow(weather)
        case DecisionExpected() as expected:
            world.settle()
            account = _key(expected.account, world.provider)
            decisions = [
                world.decide(account, feature, expected.quantity, expected.member) for feature in expected.features
            ]
            return [(decision, differences(expected, decision)) for decision in decisions]
        case FindingsExpected(codes=codes) as expected:
            world.settle()
            found = world.findings(_key(expected.account, world.provider))
            return [] if found == codes else [(None, [f"findings: expected {codes}, got {found}"])]
    return []


def _with_ids(statement: Statement, provider: Provider) -> Statement:
    body = statement.body
    if isinstance(body, Profile) and body.links:
        links = {name: tuple(_key(customer, provider) for customer in said) for name, said in body.links.items()}
        body = msgspec.structs.replace(body, links=links)
    return msgspec.structs.replace(statement, account=_key(statement.account, provider), body=body)


def _key(name: str, provider: Provider) -> str:
    """`@acme` stands for the id that customer `acme` has at the provider."""
    return provider.customer(name[1:]) if name.startswith("@") else name


def _shown(decision: Decision | None) -> str:
    return msgspec.json.encode(decision).decode() if decision is not None else "what the server found"
