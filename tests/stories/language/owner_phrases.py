"""What the owner of an account asks for: to know what another plan would cost, to have it, to go back; each phrase,
and the errand it is.

    acme would change to scale, 5 seats: quoted upgrade, due 40000 usd
    acme changes to scale, 5 seats: applied upgrade, from pro to scale
    acme accepts the quote: refused account_changed
    acme takes the change back: canceled
    acme goes back: applied downgrade, to pro

The core runner answers with pure functions and takes the steps at the provider in process; the HTTP runner asks the
API.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct, convert
from msgspec.structs import replace

from paygrade.changes.order import Act
from paygrade.changes.request import ChangeRequest
from stories.language.change_outcomes import ChangeExpected, read_expected
from stories.language.phrases import Phrases


class Change(Struct, frozen=True):
    """Quote a plan change, and carry it out unless it is `only_quoted`."""

    wanted: ChangeRequest
    only_quoted: bool = False


class Accept(Struct, frozen=True):
    """Carry out what was quoted last."""


class Do(Struct, frozen=True):
    """Something that changes nothing of what is bought: a pause, a trial, and their ends."""

    act: Act
    trial_ends_at: datetime | None = None


class TakeBack(Struct, frozen=True):
    """Take back what has not taken effect."""


class GoBack(Struct, frozen=True):
    """Quote what takes the latest change back, and carry it out unless it is `only_quoted`."""

    only_quoted: bool = False


class Look(Struct, frozen=True):
    """Read what has become of the latest change, whoever made it."""


class PlanChangeAsked(Struct, frozen=True):
    """What the owner of an account asks for, and how it must end."""

    account: str
    what: Change | Accept | Do | TakeBack | GoBack | Look
    expected: ChangeExpected = ChangeExpected("")


plan_change_lines: Phrases[PlanChangeAsked] = Phrases("owner")
# Any: the fields of what is wanted are of several types.
wishes: Phrases[Mapping[str, Any]] = Phrases("owner who changes plans")


def expecting(errand: PlanChangeAsked, text: str) -> PlanChangeAsked:
    """The same with how it must end, as written behind it. ValueError says what was expected instead."""
    return replace(errand, expected=read_expected(text))


@plan_change_lines.say("<account> <how:changes|would change> to <wishes>")
def change(account: str, how: str, wishes: tuple[str, ...]) -> PlanChangeAsked:
    return PlanChangeAsked(account, Change(_wanted(wishes), only_quoted=how == "would change"))


@plan_change_lines.say("<account> accepts the quote")
def accept(account: str) -> PlanChangeAsked:
    return PlanChangeAsked(account, Accept())


@plan_change_lines.say("<account> takes the change back")
def take_back(account: str) -> PlanChangeAsked:
    return PlanChangeAsked(account, TakeBack())


@plan_change_lines.say("<account> <how:goes|would go> back")
def go_back(account: str, how: str) -> PlanChangeAsked:
    return PlanChangeAsked(account, GoBack(only_quoted=how == "would go"))


@plan_change_lines.say("<account> looks at the change")
def look(account: str) -> PlanChangeAsked:
    return PlanChangeAsked(account, Look())


@plan_change_lines.say("<account> goes on after all")
def keep_going(account: str) -> PlanChangeAsked:
    """Take a cancellation back, whoever set it."""
    return PlanChangeAsked(account, Do("keep_going"))


@plan_change_lines.say("<account> <act:pauses|resumes>")
def pause(account: str, act: Literal["pauses", "resumes"]) -> PlanChangeAsked:
    return PlanChangeAsked(account, Do("pause" if act == "pauses" else "resume"))


@plan_change_lines.say("<account> <how:starts|extends> the trial until <until>")
def set_trial(account: str, how: str, until: datetime) -> PlanChangeAsked:
    return PlanChangeAsked(account, Do("set_trial", until))


@plan_change_lines.say("<account> ends the trial")
def end_trial(account: str) -> PlanChangeAsked:
    return PlanChangeAsked(account, Do("end_trial"))


def _wanted(said: tuple[str, ...]) -> ChangeRequest:
    """All wishes together."""
    fields: dict[str, Any] = {}  # Any: as above
    for wish in said:
        for name, value in wishes.read(wish)().items():
            fields[name] = {**fields.get(name, {}), **value} if isinstance(value, dict) else value
    return convert(fields, ChangeRequest)


@wishes.say("now")
def now() -> Mapping[str, Any]:
    return {"when": "now"}


@wishes.say("at the period's end")
def at_period_end() -> Mapping[str, Any]:
    return {"when": "period_end"}


@wishes.say("at <at>")
def at_a_date(at: datetime) -> Mapping[str, Any]:
    return {"date": at}


@wishes.say("paid <interval>")
def paid(interval: str) -> Mapping[str, Any]:
    """By a price's key, or by how often it is paid."""
    return {"interval": interval}


@wishes.say("no <key>")
def without(key: str) -> Mapping[str, Any]:
    return {"add_ons": {key: 0}}


@wishes.say("<units> <key>")
def with_units(units: int, key: str) -> Mapping[str, Any]:
    """So many of an add-on, of the plan, or of a feature that is bought by quantity."""
    return {"quantities": {key: units}}


@wishes.say("of <subscription>")
def of_subscription(subscription: str) -> Mapping[str, Any]:
    return {"subscription": subscription}


@wishes.say("<plan>")
def plan(plan: str) -> Mapping[str, Any]:
    return {"plan": plan}
