"""What the product asks: to use, hold and give back units, and what it must be answered; each phrase, and the request
it makes.

    acme consumes 5 api_calls by ann as req_1: allowed plan, used 5, remaining 95
    acme consumes 5 api_calls again as req_1
    acme consumes 3 api_calls, 40 at once: 33 allowed
    acme reserves 40 tokens as chat_1 for 10m: allowed credit, reserved 40
    acme commits chat_1: refused reservation_expired

The core runner answers with pure functions, the HTTP runner asks the API. What an operator does with units by hand is
asked in the same way.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from paygrade.server.operations.usage import answers, grants
from paygrade.server.operations.usage.requests import Commit, Consume, Extend, Release, Reserve
from paygrade.usage.balances import Grant
from paygrade.usage.events import UsageEvent
from stories.language.expectations import Outcome, differences, read_outcome
from stories.language.phrases import Phrases


class Give(Struct, frozen=True):
    """Grant units by themselves. A grant without a beginning of its own begins when it is given."""

    account: str
    pool: str
    grant: Grant


class Void(Struct, frozen=True):
    """Take back what is left of a grant."""

    account: str
    pool: str
    id: str


class Count(Struct, frozen=True):
    """State how much is used in the present window."""

    account: str
    pool: str
    used: int
    id: str


class Report(Struct, frozen=True):
    """Report a usage event that names a feature and says its quantity. `time` None: it happens now."""

    account: str
    feature: str
    id: str
    quantity: int
    member: str | None = None
    time: datetime | None = None

    @property
    def event(self) -> UsageEvent:
        return UsageEvent(
            id=self.id, account=self.account, feature=self.feature, quantity=self.quantity, member=self.member,
            time=self.time,
        )  # fmt: skip


class Reported(Struct, frozen=True):
    """What became of an event: accepted, or sent before."""

    accepted: int
    duplicates: int


Request = Consume | Reserve | Commit | Release | Extend | Give | Void | Count | Report
Told = answers.Answer | grants.GrantView | grants.BalanceView | Reported


class Refusal(Struct, frozen=True):
    """The code of a request that is refused."""

    code: str


class Times(Struct, frozen=True):
    """Of requests made at once, how many are allowed."""

    allowed: int


class Asking(Struct, frozen=True):
    """A request, made `times` times at once, and what it must be answered; None: anything but a refusal.

    `again`: it was made before under the same id, and must get the same answer.
    """

    request: Request
    again: bool = False
    times: int = 1
    expected: Outcome | Refusal | Times | None = None

    def requests(self, line: int) -> list[Request]:
        """The requests, those without an id of their own under one that is the line's."""
        if getattr(self.request, "id", None) != "":
            return [self.request]
        return [replace(self.request, id=f"line_{line}_{number}") for number in range(self.times)]


askings: Phrases[Asking] = Phrases("product")


def expecting(asking: Asking, text: str) -> Asking:
    """The same with what must be answered, as written behind the request. ValueError says what was expected instead."""
    if asking.times > 1:
        count, _, word = text.partition(" ")
        if word != "allowed" or not count.isdecimal():
            raise ValueError(f"of {asking.times} at once, say how many are allowed, such as `3 allowed`, not `{text}`")
        return replace(asking, expected=Times(int(count)))
    if text.startswith("refused "):
        return replace(asking, expected=Refusal(text.removeprefix("refused ")))
    if isinstance(asking.request, Report) and text:
        raise ValueError(f"an event is taken or `refused …`, not `{text}`; write what holds then in a line of its own")
    if not isinstance(asking.request, Commit | Release | Extend | Report) and not text:
        raise ValueError("say what is answered: `allowed …`, `denied …` or `refused …`")
    return replace(asking, expected=read_outcome(text)) if text else asking


def unlike(asking: Asking, told: Sequence[Told | Refusal]) -> list[str]:
    """What these answers say otherwise than was expected."""
    expected = asking.expected
    match expected:
        case Times(allowed=allowed):
            got = sum(isinstance(one, answers.Answer) and one.took_effect for one in told)
            return [] if got == allowed else [f"expected {allowed} allowed, got {got}"]
        case Refusal(code=code):
            return [] if told[0] == expected else [f"expected to be refused `{code}`, got {told[0]}"]
        case _ if isinstance(told[0], Refusal):
            return [f"refused `{told[0].code}`"]
        case Outcome() if isinstance(told[0], answers.Answer):
            return differences(expected, told[0].decision)
    return []


@askings.say("<account> consumes <units> <feature>[ by <member>][ with <property> <value>][ <again:again>][ as <id>]")
def consume(
    account: str,
    units: int,
    feature: str,
    member: str | None = None,
    property: str | None = None,
    value: bool | int | str = "",
    again: str | None = None,
    id: str = "",
) -> Asking:
    request = Consume(account, feature, id, units, member, _properties(property, value))
    return Asking(request, again=again is not None)


@askings.say("<account> consumes <units> <feature>, <times> at once")
def consume_at_once(account: str, units: int, feature: str, times: int) -> Asking:
    return Asking(Consume(account, feature, "", units), times=times)


@askings.say(
    "<account> reserves <units> <feature>[ by <member>][ with <property> <value>]"
    "[ <again:again>] as <id>[ for <duration>]"
)
def reserve(
    account: str,
    units: int,
    feature: str,
    id: str,
    member: str | None = None,
    property: str | None = None,
    value: bool | int | str = "",
    again: str | None = None,
    duration: timedelta = timedelta(minutes=1),
) -> Asking:
    ttl_s = int(duration.total_seconds())
    request = Reserve(account, feature, id, units, ttl_s, member, _properties(property, value))
    return Asking(request, again=again is not None)


@askings.say("<account> reserves <units> <feature>, <times> at once")
def reserve_at_once(account: str, units: int, feature: str, times: int) -> Asking:
    return Asking(Reserve(account, feature, "", units), times=times)


@askings.say("<account> commits[ <units> of] <id>[ with <property> <value>][ <again:again>]")
def commit(
    account: str,
    id: str,
    units: int | None = None,
    property: str | None = None,
    value: bool | int | str = "",
    again: str | None = None,
) -> Asking:
    return Asking(Commit(account, id, units, properties=_properties(property, value)), again=again is not None)


@askings.say("<account> commits <units> of <id>[ with <property> <value>] keeping the rest[ <again:again>][ as <step>]")
def commit_some(
    account: str,
    units: int,
    id: str,
    property: str | None = None,
    value: bool | int | str = "",
    again: str | None = None,
    step: str = "",
) -> Asking:
    request = Commit(account, id, units, keep=True, id=step, properties=_properties(property, value))
    return Asking(request, again=again is not None)


@askings.say("<account> releases <id>[ <again:again>]")
def release(account: str, id: str, again: str | None = None) -> Asking:
    return Asking(Release(account, id), again=again is not None)


@askings.say("<account> extends <id> to <duration> from now")
def extend(account: str, id: str, duration: timedelta) -> Asking:
    return Asking(Extend(account, id, int(duration.total_seconds())))


@askings.say("<account> reports <units> <feature>[ by <member>][ at <at>][ as <id>]")
def report(
    account: str, units: int, feature: str, member: str | None = None, at: datetime | None = None, id: str = ""
) -> Asking:
    """Send a usage event, perhaps a late one: `at` is when it happened."""
    return Asking(Report(account, feature, id, units, member, at))


def _properties(name: str | None, value: bool | int | str) -> dict[str, bool | int | str] | None:
    return None if name is None else {name: value}
