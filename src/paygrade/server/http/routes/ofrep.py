"""OFREP: the OpenFeature Remote Evaluation Protocol 0.3.0, for every stock OpenFeature client.

Laws: a flag is a feature and its value what `check` decides (decisions/flags.py), nothing is decided here; whatever
goes wrong is a problem as everywhere, with OFREP's `errorCode` and `errorDetails` beside; an ETag changes when any
answer does, by whatever cause (an account's version, a balance, a date), since it is made of the answers themselves.

https://github.com/open-feature/protocol: service/openapi.yaml. What stock providers need beyond it: `errorDetails`
always.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Literal

from litestar import Response, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from msgspec import Struct
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
from paygrade.server.http.auth import KEY_HEADER
from paygrade.server.http.bodies import decode_object
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.problems import on_failure, on_http
from paygrade.server.http.routes import examples
from paygrade.server.operations.accounts import access

ErrorCode = Literal["PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL"]

ERROR_CODES: dict[str, ErrorCode] = {
    "malformed_json": "PARSE_ERROR",
    "invalid_body": "PARSE_ERROR",
    "targeting_key_missing": "TARGETING_KEY_MISSING",
    "invalid_context": "INVALID_CONTEXT",
    "unknown_feature": "FLAG_NOT_FOUND",
}
"""What the protocol calls a problem; any other is `GENERAL`."""


class EvaluationRequest(Struct, frozen=True):
    """Whom a flag is evaluated for: an account (`targetingKey`, or `account` where that is given), a `member` of it,
    and for how many units (`quantity`, or by feature in `quantities`). Other attributes are properties of the usage.
    Any: whatever else a client knows of its user."""

    context: dict[str, Any] = {}


class Evaluations(Struct, frozen=True):
    """Every flag of one account."""

    flags: list[Evaluation]
    metadata: Metadata


def _answer_failure(request: HttpRequest, error: Exception) -> Response[bytes]:
    told = on_http(request, error) if isinstance(error, HTTPException) else on_failure(request, error)
    problem = decode(told.content)
    code = ERROR_CODES.get(problem["code"], "GENERAL")
    key = {"key": request.path_params["key"]} if "key" in request.path_params else {}
    told.content = encode({**problem, **key, "errorCode": code, "errorDetails": problem["detail"]})
    return told


_FAILURES: dict[int | type[Exception], Any] = {HTTPException: _answer_failure, Exception: _answer_failure}
"""Any: as Litestar has it."""
_CLIENT = {KEY_HEADER: "x-api-key"}
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
    target = read_target(decode_object(await request.body()).get("context"))
    kinds = await _kinds(context)
    feature, number = read_flag(key, kinds)
    asked = {feature: target.units(feature)}
    decision = (await _decide(context, target, asked))[feature]
    context.metrics.note_decision(decision)
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
        sent=Sent(examples.EVALUATION_REQUEST, EvaluationRequest),
        example={"flags": [examples.EVALUATION], "metadata": {"account": "acme"}},
        problems=_PROBLEMS,
        kind=Evaluations,
        others={"304": "Nothing has changed since the answer with the ETag of `If-None-Match`."},
        headers={"If-None-Match": "ETags of earlier answers."},
    ),
)
async def evaluate_flags(request: HttpRequest, context: InContext) -> Response[bytes]:
    """Evaluate all flags.

    Every flag of OpenFeature (OFREP), for clients that keep them: all features for one account. The answer's `ETag`
    changes when any of them does.
    """
    target = read_target(decode_object(await request.body()).get("context"))
    kinds = await _kinds(context)
    decided = await _decide(context, target, {feature: target.units(feature) for feature in kinds})
    flags = [each for feature, decision in decided.items() for each in _flags(decision, kinds[feature])]
    body = encode(Evaluations(flags, {"account": target.account}))
    headers = {"etag": f'"{sha256(body).hexdigest()[:32]}"'}
    if _is_known(headers["etag"], request.headers.getall("if-none-match", [])):
        return Response(b"", status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


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


def _is_known(etag: str, sent: list[str]) -> bool:
    """Whether `If-None-Match` names this ETag (RFC 9110, 13.1.2: compared weakly)."""
    named = [each.strip().removeprefix("W/") for line in sent for each in line.split(",")]
    return etag in named or "*" in named


async def _kinds(context: Context) -> dict[str, Kind]:
    """The kind of every feature and credit of the catalog."""
    offers = await access.offered(context.store, context.snapshots)
    return {key: kind_of(offer) for key, offer in offers.items()}
