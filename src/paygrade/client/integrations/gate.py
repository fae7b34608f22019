"""The gate of a web application, whatever its framework: whose request it is, and the answer to whoever is denied.

Laws: a denial is one answer in every framework, a status, a problem document and the fields that say when to come back
(decisions/denial.py); whose request it is, the product says; nobody is never asked about.
"""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeVar, overload

import msgspec
from msgspec import Struct

from paygrade.client.decision import Decision
from paygrade.client.errors import PaygradeError
from paygrade.client.sdk import Paygrade
from paygrade.decisions.denial import STATUSES, denial, rate_limit
from paygrade.values.text import QUANTITY_MAX, is_chosen_key

R = TypeVar("R")
"""The framework's request."""
T = TypeVar("T")

Named = Callable[[R], str | None]
"""Says who is behind a request; None: nobody."""
AsyncNamed = Callable[[R], str | Awaitable[str | None] | None]
MEDIA_TYPE = "application/problem+json"
RETRY_S = 1
"""When to come back where usage could not be read."""
Quantity = int | Callable[[R], int]
"""How many units, or a function of the request that says so."""
AsyncQuantity = int | Callable[[R], int | Awaitable[int]]
UpgradeUrl = str | Callable[[Decision], str | None]


class Refusal(Exception):
    """A request is denied. `problem` is the document to answer with (RFC 9457), `fields` are the header's; `decision`
    is why, or None where the request is nobody's."""

    def __init__(self, problem: dict[str, Any], fields: dict[str, str], decision: Decision | None) -> None:
        super().__init__(problem["message"])
        self.status: int = problem["status"]
        self.problem, self.fields, self.decision = problem, fields, decision  # Any: plain JSON

    @property
    def body(self) -> bytes:
        return msgspec.json.encode(self.problem)


class Asked(Struct, frozen=True):
    """What is asked of one request."""

    account: str
    feature: str
    quantity: int
    member: str | None
    id: str | None = None


class Gate:
    """Asks the SDK for an application.

    `account` and `member` name who is behind a request, from what the application knows: never from what a visitor may
    write. `upgrade_url` goes into the answer where buying helps (402, 429); a function of the decision says where else.
    """

    def __init__(self, sdk: Paygrade, *, upgrade_url: UpgradeUrl | None = None) -> None:
        self.sdk = sdk
        self._upgrade_url = upgrade_url

    def asked(
        self, account: str | None, feature: str, quantity: int, member: str | None, id: str | None = None
    ) -> Asked:
        """Raises Refusal where the request is nobody's, PaygradeError `invalid_quantity`."""
        if not is_chosen_key(account):
            raise _of_nobody()
        if not 0 <= quantity <= QUANTITY_MAX:
            raise PaygradeError("invalid_quantity", f"`{quantity}` is no quantity: it is from 0 to {QUANTITY_MAX}")
        return Asked(account, feature, quantity, member, id)

    def allow(self, asked: Asked) -> Decision:
        """The decision where it allows. Raises Refusal."""
        return self.allowed(self.sdk.check(asked.account, asked.feature, asked.quantity, member=asked.member))

    async def aallow(self, asked: Asked) -> Decision:
        """The same, without holding the loop."""
        decision = await self.sdk.acheck(asked.account, asked.feature, asked.quantity, member=asked.member)
        return self.allowed(decision)

    def take(self, asked: Asked) -> Decision:
        """Use the units, and give the decision where it allows that. Raises Refusal, PaygradeError."""
        return self.allowed(
            self.sdk.consume(asked.account, asked.feature, asked.quantity, id=asked.id, member=asked.member)
        )

    async def atake(self, asked: Asked) -> Decision:
        """The same, without holding the loop."""
        return self.allowed(
            await self.sdk.aconsume(asked.account, asked.feature, asked.quantity, id=asked.id, member=asked.member)
        )

    async def know(self, account: str | None) -> None:
        """Have the account known, so that `check` in the loop needs not wait for it."""
        if is_chosen_key(account):
            # Of no feature: what is decided does not matter, only that it can be.
            await self.sdk.acheck(account, "", 0)

    def fields(self, decision: Decision) -> dict[str, str]:
        """The fields of a decision; none where nothing is counted that resets."""
        return rate_limit(decision, self.sdk.now())

    def allowed(self, decision: Decision) -> Decision:
        """The decision where it allows. Raises Refusal."""
        told = denial(decision, self.sdk.now())
        if told is None:
            return decision
        problem, fields = msgspec.to_builtins(told), self.fields(decision)
        url = self._url(decision, told.code)
        if url:
            problem["upgrade_url"] = url
        if told.status == 503:
            fields["Retry-After"] = str(RETRY_S)
        raise Refusal(problem, fields, decision)

    def _url(self, decision: Decision, code: str) -> str | None:
        if callable(self._upgrade_url):
            return self._upgrade_url(decision)
        return self._upgrade_url if code in ("payment_required", "over_limit") else None


class Fields:
    """The fields to add to the answer of one request: one line for each decision, since they are lists (RFC 9651)."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}

    def add(self, fields: dict[str, str]) -> None:
        for name, value in fields.items():
            self.lines[name] = f"{self.lines[name]}, {value}" if name in self.lines else value


@overload
def told(what: Callable[[R], T] | None, request: R) -> T | None: ...
@overload
def told(what: T | Callable[[R], T], request: R) -> T: ...
def told(what: Any, request: Any) -> Any:  # Any: as the overloads say
    """What was given, or what it says of a request."""
    return what(request) if callable(what) else what


@overload
async def atold(what: Callable[[R], T | Awaitable[T]] | None, request: R) -> T | None: ...
@overload
async def atold(what: T | Callable[[R], T | Awaitable[T]], request: R) -> T: ...
async def atold(what: Any, request: Any) -> Any:  # Any: as the overloads say
    """The same where a function may also be asynchronous."""
    found = what(request) if callable(what) else what
    return await found if isawaitable(found) else found


def _of_nobody() -> Refusal:
    status, title = STATUSES["not_permitted"]
    detail = "the request names no account to ask about"
    problem = {
        "type": "/problems/not_permitted", "title": title, "status": status, "detail": detail,
        "code": "not_permitted", "message": detail,
    }  # fmt: skip
    return Refusal(problem, {}, None)
