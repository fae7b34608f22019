"""Leases: blocks of units that SDK processes hold and claim, so that each can decide uses by itself.

Law: one bad step keeps no other of its call out.
"""

import asyncio
from contextlib import suppress
from typing import Annotated

import msgspec
from litestar import post
from msgspec import Meta, Struct

from paygrade.decisions.message import DecisionView, shown
from paygrade.server.http.bodies import decode_object, read_body, read_key, read_object
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.problems import Problem, problem, request_id
from paygrade.server.http.routes import examples
from paygrade.server.operations.usage.answers import Answer, LeaseView
from paygrade.server.operations.usage.requests import Lease, LeaseStep
from paygrade.values.errors import Mistake, Refused

STEPS_MAX = 1_000


class LeaseSteps(Struct, frozen=True, forbid_unknown_fields=True):
    """Steps of any leases, which take effect in this order."""

    steps: Annotated[tuple[LeaseStep, ...], Meta(max_length=STEPS_MAX)]


class Leased(Struct, frozen=True):
    """The decision, and the lease if it was allowed: fewer units than were asked for where little is left."""

    decision: DecisionView
    lease: LeaseView | None
    replayed: bool


class LeaseResult(Struct, frozen=True):
    """What came of one step: the lease as it stands, how many `units` more this step was given to hold and how many to
    `claim`, and the decision on what was asked for. `problem`: the step was refused, and changed nothing."""

    lease: LeaseView | None = None
    units: int = 0
    claim: int = 0
    decision: DecisionView | None = None
    replayed: bool = False
    problem: Problem | None = None


class LeaseResults(Struct, frozen=True):
    """One result for each step, in their order."""

    results: tuple[LeaseResult, ...]


@post(
    "/v1/leases",
    status_code=200,
    opt=describe("usage", sent=Sent(examples.LEASE, Lease), example=examples.LEASED, repeating="safe"),
)
async def take_lease(request: HttpRequest, context: InContext) -> Leased:
    """Lease units.

    Hold a block of units for one process, which then decides uses by itself. It *claims* units before it uses them:
    those count as used, the others as held until the lease expires. Gives at most a quarter of what is left, so that
    several processes share it. A denial is an answer (200), and its id stays denied. Refused `invalid_key`,
    `id_conflict`, `not_leasable`, `too_much_usage`.
    """
    asked = read_body(Lease, await request.body())
    _refuse_odd(asked.id, asked.account)
    answer = await context.commits.ask(asked)
    lease = answer.lease.lease if answer.lease is not None else None
    return Leased(shown(answer.decision, counted=True), lease, answer.replayed)


@post(
    "/v1/leases/steps",
    status_code=200,
    opt=describe(
        "usage",
        sent=Sent(examples.LEASE_STEPS, LeaseSteps),
        example=examples.LEASE_RESULTS,
        repeating="safe",
    ),
)
async def step_leases(request: HttpRequest, context: InContext) -> LeaseResults:
    """Claim, extend and end leases.

    Up to 1,000 steps, each taken or refused by itself. A step gives back what was claimed and `unused`, holds up to
    `units` more, claims up to `claim` of what is held, lasts `ttl_s` seconds from now, and `end`s the lease, in this
    order. Claims are decided anew: with the account denied or the window over, nothing is given, what is held is
    released, and the lease is `over`. Send a call again if its answer is lost: each `id` counts once.
    """
    steps = _read_steps(await request.body())
    outcomes = await asyncio.gather(*[_outcome(context, step) for step in steps])
    return LeaseResults(tuple(_result(outcome, request_id(request)) for outcome in outcomes))


def _read_steps(raw: bytes) -> list[LeaseStep | Refused]:
    """The steps of a body; of those that are not as they should be, why. Refused `malformed_json`, `invalid_body`."""
    if b"\\u0000" not in raw:  # JSON can only write a NUL so
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return [_checked(step) for step in _whole.decode(raw).steps]
    value = decode_object(raw)
    steps = value.get("steps")
    fits = isinstance(steps, list) and len(steps) <= STEPS_MAX
    read_object(LeaseSteps, {**value, "steps": []} if fits else value)
    return [_read_step(step) for step in steps or []]


def _read_step(step: object) -> LeaseStep | Refused:
    if not isinstance(step, dict):
        return Refused("invalid_body", "a step is a JSON object", (Mistake("", "expected an object"),))
    try:
        return _checked(read_object(LeaseStep, step))
    except Refused as refused:
        return refused


def _checked(step: LeaseStep) -> LeaseStep | Refused:
    try:
        _refuse_odd(step.id, step.account)
        read_key(step.lease, pointer="/lease", noun="lease")
    except Refused as refused:
        return refused
    return step


def _refuse_odd(id: str, account: str) -> None:
    read_key(account, pointer="/account", noun="account")
    read_key(id, pointer="/id", noun="id")


async def _outcome(context: Context, step: LeaseStep | Refused) -> Answer | Refused:
    """Raises Unavailable: then all of the call is sent again, and what was saved of it is answered as it was."""
    if isinstance(step, Refused):
        return step
    try:
        return await context.commits.ask(step)
    except Refused as refused:
        return refused


def _result(outcome: Answer | Refused, instance: str) -> LeaseResult:
    if isinstance(outcome, Refused):
        its = problem(outcome.code, outcome.detail, instance=instance, errors=outcome.mistakes)
        return LeaseResult(problem=its)
    change = outcome.lease
    assert change is not None, "a step is of a lease"
    decision = shown(outcome.decision, counted=True)
    return LeaseResult(change.lease, change.units, change.claim, decision, outcome.replayed)


_whole = msgspec.json.Decoder(LeaseSteps)
