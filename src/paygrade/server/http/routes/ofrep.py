"""OFREP: the OpenFeature Remote Evaluation Protocol 0.3.0, for every stock OpenFeature client.

Laws: a flag is a feature and its value what `check` decides (decisions/flags.py), nothing is decided here; whatever
goes wrong is a problem as everywhere, with OFREP's `errorCode` and `errorDetails` beside; an ETag changes when any
answer does, by whatever cause (an account's version, a balance, a date), since it is made of the answers themselves.

https://github.com/open-feature/protocol: service/openapi.yaml. What stock providers need beyond it: `errorDetails`
always.
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

from paygrade.decisions.flags import (
    NUMBERS,
    Evaluation,
    Metadata,
    Target,
    flag,
    is_counted,
    number_flag,
    read_flag,
    read_target,
)
from paygrade.decisions.message import DecisionView
from paygrade.entitlements.model import Kind, kind_of
from paygrade.server.http.auth import KEY_HEADER, allowed_member, for_pages
from paygrade.server.http.bodies import decode_object
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.problems import on_failure, on_http
from paygrade.server.http.routes import examples
from paygrade.server.http.routes.ofrep_stream import EventStream, stream_of
from paygrade.server.operations.accounts import access
from paygrade.server.operations.sync.lookup import VERSION, see_at_least
from paygrade.values.errors import Refused, Unavailable

ErrorCode = Literal["PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL"]

ERROR_CODES: dict[str, ErrorCode] = {
    "malformed_json": "PARSE_ERROR",
    "invalid_body": "PARSE_ERROR",
    "targeting_key_missing": "TARGETING_KEY_MISSING",
    "invalid_context": "INVALID_CONTEXT",
    "unknown_feature": "FLAG_NOT_FOUND",
}
"""What the protocol calls a problem; any other is `GENERAL`."""

HEAR_S = 1
"""How long to wait for what a notice has told of; it is known after milliseconds, or the database is away."""
_END = re.compile(r"[0-9a-f]{1,12}")


class EvaluationRequest(Struct, frozen=True):
    """Whom a flag is evaluated for: an account (`targetingKey`, or `account` where that is given), a `member` of it,
    and for how many units (`quantity`, or by feature in `quantities`). Other attributes are properties of the usage.
    Any: whatever else a client knows of its user."""

    context: dict[str, Any] = {}


class Evaluations(Struct, frozen=True):
    """Every flag of one account."""

    flags: list[Evaluation]
    metadata: Metadata
    eventStreams: list[EventStream]  # the protocol's own name


def _answer_failure(request: HttpRequest, error: Exception) -> Response[bytes]:
    told = on_http(request, error) if isinstance(error, HTTPException) else on_failure(request, error)
    problem = decode(told.content)
    code = ERROR_CODES.get(problem["code"], "GENERAL")
    key = {"key": request.path_params["key"]} if "key" in request.path_params else {}
    told.content = encode({**problem, **key, "errorCode": code, "errorDetails": problem["detail"]})
    return told


_FAILURES: dict[int | type[Exception], Any] = {HTTPException: _answer_failure, Exception: _answer_failure}
"""Any: as Litestar has it."""
_CLIENT = {KEY_HEADER: "x-api-key", **for_pages()}
_PROBLEMS = ("malformed_json", "invalid_body", "targeting_key_missing", "invalid_context")


@post(
    "/ofrep/v1/evaluate/flags/{key:str}",
    status_code=200,
    exception_handlers=_FAILURES,
    opt=_CLIENT
    | describe(
        "openfeature",
        repeating="reads",
        sent=Sent(examples.EVALUATION_REQUEST, EvaluationRequest),
        example=examples.EVALUATION,
        problems=_PROBLEMS,
        scope="decisions:read",
    ),
)
async def evaluate_flag(key: FromPath[str], request: HttpRequest, context: InContext) -> Evaluation:
    """Evaluate a flag.

    One flag of OpenFeature (OFREP): whether the account may use a feature, or the value of one that is configured. A
    problem also has the protocol's `errorCode` and `errorDetails`. The key may come as `X-API-Key`, too. Refused
    `unknown_feature`.
    """
    target = await _asked_of(request)
    kinds = await _kinds(context)
    feature, number = read_flag(key, kinds)
    asked = {feature: target.units(feature)}
    decision = (await _decide(context, target, asked))[feature]
    context.note_decision(decision)
    context.log_decision(decision, "ofrep", target.member, target.properties)
    if number is not None:
        return number_flag(decision, number, decision.message)
    return flag(decision, kinds[feature], decision.message)


@post(
    "/ofrep/v1/evaluate/flags",
    status_code=200,
    exception_handlers=_FAILURES,
    opt=_CLIENT
    | describe(
        "openfeature",
        repeating="reads",
        sent=Sent(examples.EVALUATION_REQUEST, EvaluationRequest),
        example=examples.EVALUATIONS,
        problems=_PROBLEMS,
        kind=Evaluations,
        others={"304": "Nothing has changed since the answer with the ETag of `If-None-Match`."},
        headers={"If-None-Match": "ETags of earlier answers."},
        scope="decisions:read",
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
    kinds = await _kinds(context)
    decided = await _decide(context, target, {feature: target.units(feature) for feature in kinds})
    flags = [each for feature, decision in decided.items() for each in _flags(decision, kinds[feature])]
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
    target = read_target(decode_object(await request.body()).get("context"))
    return structs.replace(target, member=allowed_member(request, target.account, target.member))


async def _decide(context: Context, target: Target, asked: Mapping[str, int]) -> dict[str, DecisionView]:
    return await access.check_many(
        context.store, context.snapshots, account=target.account, asked=asked, member=target.member,
        properties=target.properties, at=context.clock.now(),
    )  # fmt: skip


def _flags(decision: DecisionView, kind: Kind) -> list[Evaluation]:
    numbers = NUMBERS if is_counted(kind) else ()
    return [
        flag(decision, kind, decision.message),
        *(number_flag(decision, each, decision.message) for each in numbers),
    ]


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


async def _kinds(context: Context) -> dict[str, Kind]:
    """The kind of every feature and credit of the catalog."""
    offers = await access.offered(context.store, context.snapshots)
    return {key: kind_of(offer) for key, offer in offers.items()}
