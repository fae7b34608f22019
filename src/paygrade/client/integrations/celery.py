"""Celery: `@gate.require("exports")`, `@gate.consume("api_calls")` below `@app.task`; decided before the task runs.

Laws: a task that is delivered again counts once; a denial is an exception, which the task does not raise itself; what a
worker's child has buffered is sent when it ends.
"""

from collections.abc import Callable
from functools import wraps
from inspect import Signature, signature
from random import uniform
from typing import Any, NoReturn, TypeVar, cast

from celery import Task, current_task
from celery.app.task import Context
from celery.exceptions import Retry
from celery.signals import worker_process_shutdown

from paygrade.client.decision import Decision
from paygrade.client.integrations.gate import Gate, Quantity, Refusal, UpgradeUrl, told
from paygrade.client.sdk import Paygrade

F = TypeVar("F", bound=Callable[..., Any])  # Any: whatever tasks take and give
Named = str | Callable[[Context], str | None]
"""Says whose task it is: the name of one of its arguments, or a function of its request."""
TRIES = "paygrade_tries"
"""The header that says how often a task was denied and waited. Each time is a use of its own."""
SPREAD, SPREAD_S = 0.1, 60.0
"""Tasks that wait for one instant do not all come back at once, but within a tenth of the time they waited after it, or
a minute."""


class TaskDenied(Exception):
    """A task may not run. `problem` is plain JSON, as an application would answer a request with it."""

    def __init__(self, message: str, problem: dict[str, Any]) -> None:
        super().__init__(message, problem)
        self.message, self.problem = message, problem

    def __str__(self) -> str:
        return self.message


class CeleryGate(Gate):
    """`account` and `member` say whose task it is: the name of an argument, or a function of the task's request, for
    example `lambda request: request.headers["account"]`.

    `retry_at_reset`: where a limit is reached that resets, the task comes back then, however often. Otherwise, and
    where waiting does not help, it fails with TaskDenied; put that into `dont_autoretry_for` if you retry all failures.
    """

    def __init__(
        self,
        sdk: Paygrade,
        *,
        account: Named,
        member: Named | None = None,
        upgrade_url: UpgradeUrl | None = None,
        retry_at_reset: bool = False,
    ) -> None:
        super().__init__(sdk, upgrade_url=upgrade_url)
        self._account, self._member = account, member
        self._retry_at_reset = retry_at_reset
        # Children of the prefork pool end without `atexit`.
        worker_process_shutdown.connect(self._close, weak=False)

    def require(self, feature: str, quantity: Quantity[Context] = 1) -> Callable[[F], F]:
        """A decorator: the account may use `quantity` more of `feature`. Nothing is counted."""

        def decide(request: Context, account: str | None, member: str | None) -> Decision:
            return self.allow(self.asked(account, feature, told(quantity, request), member))

        return self._decorator(decide)

    def consume(self, feature: str, quantity: Quantity[Context] = 1) -> Callable[[F], F]:
        """A decorator: use `quantity` of `feature`, before the task runs. It counts once for a task, which may be
        delivered again or retried after a failure; called as a function, each call counts."""

        def decide(request: Context, account: str | None, member: str | None) -> Decision:
            units, once = told(quantity, request), None
            if request.id is not None:
                once = f"{request.id}/{feature}/{_tries(request)}"
            return self.take(self.asked(account, feature, units, member, once))

        return self._decorator(decide)

    def _decorator(self, decide: Callable[[Context, str | None, str | None], Decision]) -> Callable[[F], F]:
        def decorator(run: F) -> F:
            takes = signature(run)

            @wraps(run)
            def gated(*args: Any, **named: Any) -> Any:
                task: Task | None = current_task._get_current_object()
                request = task.request if task is not None else Context()
                account, member = (_name(each, request, takes, args, named) for each in (self._account, self._member))
                try:
                    decide(request, account, member)
                except Refusal as refusal:
                    self._deny(task, refusal)
                return run(*args, **named)

            return cast("F", gated)

        return decorator

    def _deny(self, task: Task | None, refusal: Refusal) -> NoReturn:
        denied = TaskDenied(str(refusal), refusal.problem)
        resets_at = refusal.decision.resets_at if refusal.decision is not None else None
        waits = self._retry_at_reset and refusal.problem["code"] == "over_limit"
        if task is None or not waits or resets_at is None or task.request.called_directly or task.request.is_eager:
            raise denied from None
        # By the server's clock, by which it was decided.
        wait_s = max(0.0, (resets_at - self.sdk.now()).total_seconds())
        wait_s += uniform(0, min(SPREAD_S, wait_s * SPREAD))
        headers = {**(task.request.headers or {}), TRIES: _tries(task.request) + 1}
        # Not by `Task.retry`: who waits has not failed, so that the task's own retries are not used up.
        again = task.signature_from_request(
            task.request, countdown=wait_s, retries=task.request.retries, headers=headers
        )
        again.apply_async()
        raise Retry(exc=denied, when=wait_s, sig=again) from None

    def _close(self, **_: object) -> None:
        self.sdk.close()


def _tries(request: Context) -> int:
    return int((request.headers or {}).get(TRIES, 0))


def _name(
    named: Named | None, request: Context, takes: Signature, args: tuple[Any, ...], given: dict[str, Any]
) -> str | None:
    if not isinstance(named, str):
        return told(named, request)
    bound = takes.bind(*args, **given)
    bound.apply_defaults()
    found: str | None = bound.arguments[named]
    return found
