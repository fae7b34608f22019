"""OFREP: the OpenFeature Remote Evaluation Protocol 0.3.0, for every stock OpenFeature client.

Laws: a flag is a feature and its value what `check` decides, nothing is decided here; whatever goes wrong is a problem
as everywhere, with OFREP's `errorCode` and `errorDetails` beside; an ETag changes when any answer does, by whatever
cause (an account's version, a balance, a date), since it is made of the answers themselves.

https://github.com/open-feature/protocol: service/openapi.yaml, and ADR 6 for flags without a value, where the client's
default counts. What stock providers need beyond it: `variant` and `errorDetails` always, reasons of the protocol only.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Literal

from litestar import Response, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath, QueryParameter
from msgspec import Struct, structs
from msgspec.json import decode, encode

from paygrade.catalog.offers import BooleanFeature, ConfigFeature
from paygrade.decisions.message import DecisionView
from paygrade.entitlements.model import Offer, Reason
from paygrade.server.http.auth import KEY_HEADER, allowed_member, open_to
from paygrade.server.http.bodies import decode_object, read_key
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.problems import on_failure, on_http
from paygrade.server.http.routes import examples
from paygrade.server.http.routes.ofrep_stream import EventStream, stream_of
from paygrade.server.operations.accounts import access
from paygrade.server.operations.sync.lookup import VERSION, see_at_least
from paygrade.values.errors import Mistake, Refused, Unavailable
from paygrade.values.text import QUANTITY_MAX, is_integer
from paygrade.values.text import describe as in_words

FlagReason = Literal["STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "UNKNOWN", "DEFAULT"]
ErrorCode = Literal["PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL"]
Number = Literal["limit", "used", "remaining"]

REASONS: dict[Reason, FlagReason] = {
    "plan": "TARGETING_MATCH",
    "add_on": "TARGETING_MATCH",
    "override": "TARGETING_MATCH",
    "trial": "TARGETING_MATCH",
    "credit": "TARGETING_MATCH",
    "grace": "TARGETING_MATCH",
    "limit_reached": "TARGETING_MATCH",
    "insufficient_credit": "TARGETING_MATCH",
    "past_due": "TARGETING_MATCH",
    "unpaid": "TARGETING_MATCH",
    "paused": "TARGETING_MATCH",
    "no_seat": "TARGETING_MATCH",
    "role_not_permitted": "TARGETING_MATCH",
    "not_in_plan": "DEFAULT",
    "no_subscription": "DEFAULT",
    "trial_ended": "DEFAULT",
    "canceled": "DEFAULT",
    "unknown_account": "DEFAULT",
    "unknown_feature": "DEFAULT",
    "blocked": "DISABLED",
    "override_denied": "DISABLED",
    "stale": "UNKNOWN",
}
"""Our reasons in the protocol's words; ours goes along as `reasonCode`."""
ERROR_CODES: dict[str, ErrorCode] = {
    "malformed_json": "PARSE_ERROR",
    "invalid_body": "PARSE_ERROR",
    "targeting_key_missing": "TARGETING_KEY_MISSING",
    "invalid_context": "INVALID_CONTEXT",
    "unknown_feature": "FLAG_NOT_FOUND",
}
"""What the protocol calls a problem; any other is `GENERAL`."""
NUMBERS: tuple[Number, ...] = ("limit", "used", "remaining")
"""What of a counted feature is a flag of its own, `<feature>.limit`."""

HEAR_S = 1
"""How long to wait for what a notice has told of; it is known after milliseconds, or the database is away."""
_END = re.compile(r"[0-9a-f]{1,12}")

Metadata = dict[str, bool | int | str]


class EvaluationRequest(Struct, frozen=True):
    """Whom a flag is evaluated for: an account (`targetingKey`, or `account` where that is given), a `member` of it,
    and for how many units (`quantity`, or by feature in `quantities`). Other attributes are properties of the usage.
    Any: whatever else a client knows of its user."""

    context: dict[str, Any] = {}


class Evaluation(Struct, frozen=True, omit_defaults=True):
    """A flag's value. Without one the client's default counts."""

    key: str
    reason: FlagReason
    variant: str
    metadata: Metadata
    value: bool | int | str | None = None


class Evaluations(Struct, frozen=True):
    """Every flag of one account."""

    flags: list[Evaluation]
    metadata: Metadata
    eventStreams: list[EventStream]  # the protocol's own name


class Target(Struct, frozen=True):
    """What of a context counts here."""

    account: str
    member: str | None
    quantity: int
    quantities: Mapping[str, int]
    properties: Mapping[str, object]

    def units(self, feature: str) -> int:
        return self.quantities.get(feature, self.quantity)


def _answer_failure(request: HttpRequest, error: Exception) -> Response[bytes]:
    told = on_http(request, error) if isinstance(error, HTTPException) else on_failure(request, error)
    problem = decode(told.content)
    code = ERROR_CODES.get(problem["code"], "GENERAL")
    key = {"key": request.path_params["key"]} if "key" in request.path_params else {}
    told.content = encode({**problem, **key, "errorCode": code, "errorDetails": problem["detail"]})
    return told


_FAILURES: dict[int | type[Exception], Any] = {HTTPException: _answer_failure, Exception: _answer_failure}
"""Any: as Litestar has it."""
_CLIENT = {KEY_HEADER: "x-api-key", **open_to("decisions:read")}
_PROBLEMS = ("malformed_json", "invalid_body", "targeting_key_missing", "invalid_context")


@post(
    "/ofrep/v1/evaluate/flags/{key:str}",
    status_code=200,
    exception_handlers=_FAILURES,
    opt=_CLIENT
    | describe(
        "openfeature",
        sent=Sent(examples.EVALUATION_REQUEST, EvaluationRequest),
        example=examples.EVALUATION,
        problems=_PROBLEMS,
    ),
)
async def evaluate_flag(key: FromPath[str], request: HttpRequest, context: InContext) -> Evaluation:
    """Evaluate a flag.

    One flag of OpenFeature (OFREP): whether the account may use a feature, or the value of one that is configured. A
    problem also has the protocol's `errorCode` and `errorDetails`. The key may come as `X-API-Key`, too. Refused
    `unknown_feature`.
    """
    target = await _asked_of(request)
    offers = await access.offered(context.store, context.snapshots)
    feature, number = _read_flag(key, offers)
    asked = {feature: target.units(feature)}
    decision = (await _decide(context, target, asked))[feature]
    context.metrics.note_decision(decision)
    return _number(key, number, decision) if number is not None else _flag(offers[feature], decision)


@post(
    "/ofrep/v1/evaluate/flags",
    status_code=200,
    exception_handlers=_FAILURES,
    opt=_CLIENT
    | describe(
        "openfeature",
        sent=Sent(examples.EVALUATION_REQUEST, EvaluationRequest),
        example=examples.EVALUATIONS,
        problems=_PROBLEMS,
        kind=Evaluations,
        others={"304": "Nothing has changed since the answer with the ETag of `If-None-Match`."},
        headers={"If-None-Match": "ETags of earlier answers."},
    ),
)
async def evaluate_flags(
    request: HttpRequest,
    context: InContext,
    refetched: Annotated[
        str | None, QueryParameter(name="flagConfigEtag", description="The `etag` of the notice that led to this.")
    ] = None,
) -> Response[bytes]:
    """Evaluate all flags.

    Every flag of OpenFeature (OFREP), for clients that keep them: all features for one account. The answer's `ETag`
    changes when any of them does, and before the address in `eventStreams` ends, where changes are told.
    """
    target = await _asked_of(request)
    if refetched is not None:
        await _hear_of_it(context, target.account, refetched)
    offers = await access.offered(context.store, context.snapshots)
    decided = await _decide(context, target, {feature: target.units(feature) for feature in offers})
    flags = [flag for feature, decision in decided.items() for flag in _flags(offers[feature], decision)]
    stream = await stream_of(context, target.account, target.member)
    kid, end = (stream.token.kid, int(stream.token.expires_at.timestamp())) if stream is not None else ("", 0)
    digest = sha256(encode([flags, kid])).hexdigest()[:32]
    known = _known_end(digest, end, request.headers.getall("if-none-match", []), at=context.clock.now())
    if known is not None:
        return Response(b"", status_code=304, headers={"etag": _etag(digest, known)})
    streams = [stream.event_stream] if stream is not None else []
    body = encode(Evaluations(flags, {"account": target.account}, streams))
    return Response(body, media_type="application/json", headers={"etag": _etag(digest, end)})


async def _hear_of_it(context: Context, account: str, version: str) -> None:
    """Take in what another process may have told of before this one has heard of it."""
    with suppress(Refused, Unavailable):
        await context.snapshots.read_anew(context.store, [account], context.clock.now())
        if VERSION.fullmatch(version):
            await see_at_least(context.store, context.snapshots, context.clock, account=account, at_least=version,
                               wait_s=HEAR_S)  # fmt: skip


async def _asked_of(request: HttpRequest) -> Target:
    """Whom it is about, as far as who asks may know of them."""
    target = _target(await request.body())
    return structs.replace(target, member=allowed_member(request, target.account, target.member))


async def _decide(context: Context, target: Target, asked: Mapping[str, int]) -> dict[str, DecisionView]:
    return await access.check_many(
        context.store, context.snapshots, account=target.account, asked=asked, member=target.member,
        properties=target.properties, at=context.clock.now(),
    )  # fmt: skip


def _flags(offer: Offer, decision: DecisionView) -> list[Evaluation]:
    numbers = NUMBERS if _is_counted(offer) else ()
    return [_flag(offer, decision), *(_number(f"{decision.feature}.{name}", name, decision) for name in numbers)]


def _flag(offer: Offer, decision: DecisionView) -> Evaluation:
    """Whether one may use more; of a feature that is configured, its value."""
    value = decision.value if isinstance(offer, ConfigFeature) else decision.allowed
    return _evaluation(decision.feature, value, decision)


def _number(key: str, name: Number, decision: DecisionView) -> Evaluation:
    return _evaluation(key, getattr(decision, name), decision)


def _evaluation(key: str, value: bool | int | str | None, decision: DecisionView) -> Evaluation:
    return Evaluation(key, REASONS[decision.reason], _variant(value), _metadata(decision), value)


def _variant(value: bool | int | str | None) -> str:
    match value:
        case None:
            return "default"
        case bool():
            return "on" if value else "off"
        case _:
            return str(value)


def _metadata(decision: DecisionView) -> Metadata:
    """The rest of a decision, flat; what is not known of it is left out."""
    told: dict[str, bool | int | str | None] = {
        "reasonCode": decision.reason,
        "message": decision.message,
        "allowed": decision.allowed,
        "plan": decision.plan,
        "limit": decision.limit,
        "used": decision.used,
        "reserved": decision.reserved,
        "remaining": decision.remaining,
        "unlimited": decision.unlimited or None,
        "limited_by": decision.limited_by,
        "resets_at": f"{decision.resets_at:%Y-%m-%dT%H:%M:%SZ}" if decision.resets_at is not None else None,
        "version": decision.version,
        "stale": decision.stale or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _read_flag(key: str, offers: Mapping[str, Offer]) -> tuple[str, Number | None]:
    """The feature a flag is about, and which number of it, if that is the flag. Refused `unknown_feature`."""
    if key in offers:
        return key, None
    feature, _, name = key.rpartition(".")
    number = next((each for each in NUMBERS if each == name), None)
    if number is None or feature not in offers or not _is_counted(offers[feature]):
        raise Refused("unknown_feature", f"there is no flag {in_words(key)}; flags are the features of the catalog")
    return feature, number


def _is_counted(offer: Offer) -> bool:
    return not isinstance(offer, BooleanFeature | ConfigFeature)


def _etag(digest: str, end: int) -> str:
    """With the end of the address that goes along, in seconds: after it, the answer has to be given again."""
    return f'"{digest}.{end:x}"'


def _known_end(digest: str, end: int, sent: list[str], *, at: datetime) -> int | None:
    """When the address ends that came with what `If-None-Match` names, if that is this answer and the address counts
    still (RFC 9110, 13.1.2: compared weakly)."""
    for named in [each.strip().removeprefix("W/").strip('"') for line in sent for each in line.split(",")]:
        its, _, until = named.partition(".")
        if named == "*":
            return end
        if its == digest and _END.fullmatch(until) and (until == "0" or int(until, 16) > at.timestamp()):
            return int(until, 16)
    return None


def _target(raw: bytes) -> Target:
    """Refused `malformed_json`, `invalid_body`, `invalid_context` or `targeting_key_missing`."""
    said = decode_object(raw).get("context")
    if said is None:
        said = {}
    if not isinstance(said, dict):
        raise _invalid("", "is an object")
    account = said.get("account") or said.get("targetingKey")
    if account is None or account == "":
        raise Refused("targeting_key_missing", "name the account as `targetingKey` of the evaluation context")
    member, quantities = said.get("member"), said.get("quantities") or {}
    if not isinstance(account, str):
        raise _invalid("account" if said.get("account") else "targetingKey", "is a text")
    if member is not None and not isinstance(member, str):
        raise _invalid("member", "is a text")
    if not isinstance(quantities, dict):
        raise _invalid("quantities", "is an object of whole numbers by feature")
    try:
        read_key(account, pointer="/context", noun="account")
    except Refused as error:
        raise Refused("invalid_context", error.detail, error.mistakes) from None
    units = {feature: _quantity(f"quantities/{feature}", units) for feature, units in quantities.items()}
    return Target(account, member, _quantity("quantity", said.get("quantity", 1)), units, said)


def _quantity(name: str, value: object) -> int:
    if not is_integer(value) or not 0 <= value <= QUANTITY_MAX:
        raise _invalid(name, f"is a whole number from 0 to {QUANTITY_MAX}")
    return value


def _invalid(name: str, what: str) -> Refused:
    pointer = f"/context/{name[:200]}".rstrip("/")
    return Refused("invalid_context", f"the evaluation context is invalid: {pointer} {what}", (Mistake(pointer, what),))
