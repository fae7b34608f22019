"""LiteLLM: `litellm.callbacks = [PaygradeLogger(sdk, account=…)]`, in the proxy as in a program. Tokens are held before
a call, what it took is committed after, and nothing where it failed.

Laws: tokens that were spent are counted, whatever they come to; a call of the proxy holds once, however many
deployments are tried; what is neither committed nor given back comes back when its time is up.
https://docs.litellm.ai/docs/observability/custom_callback, /docs/proxy/call_hooks
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any
from uuid import uuid4

import msgspec
from litellm.integrations.custom_logger import CustomLogger
from msgspec import Struct

from paygrade.client.errors import PaygradeError
from paygrade.client.integrations.gate import Gate, Refusal, UpgradeUrl, told
from paygrade.client.reservation import Reservation
from paygrade.client.sdk import Paygrade
from paygrade.client.transport import Unreachable

Request = Mapping[str, Any]  # Any: what is sent to a model, as LiteLLM has it
Named = Callable[[Request], str | None]
TOKENS_MAX = 1_024
"""How many tokens an answer is held to take at most where the request does not say."""
CHARACTERS = 3
"""A token has about four in English, and fewer in most other languages."""
TTL_S = 600
TRY_AGAIN_S = (0.5, 2.0, 5.0)
log = logging.getLogger("paygrade")
CALLS = frozenset(
    f"{prefix}{name}"
    for prefix in ("", "a")
    for name in ("completion", "text_completion", "embedding", "embeddings", "responses", "anthropic_messages")
)
"""The kinds of call that take tokens; all others pass."""


class TokensDenied(Exception):
    """A call may not be made. The proxy answers with `status_code`, `message` and `headers`; `problem` says more."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.message, self.status_code, self.problem = str(refusal), refusal.status, refusal.problem
        self.headers = refusal.fields


class _Held(Struct):
    reservation: Reservation
    units: int
    until_s: float
    by_proxy: bool


class PaygradeLogger(CustomLogger):  # type: ignore[misc]  # it has no types
    """`account` and `member` say of a request whose tokens it takes: in the proxy by what that knows of the key, for
    example `lambda request: request["metadata"]["user_api_key_team_id"]`, never by what a client may write.

    `feature` is what tokens are called in the catalog; the model is a property of its usage. `estimate` says how many a
    request may take at most. They are held for `ttl_s` seconds. Calls that are not asynchronous are not held
    back, only reported, since LiteLLM asks nobody before them.
    """

    def __init__(
        self,
        sdk: Paygrade,
        *,
        account: Named,
        member: Named | None = None,
        feature: str = "tokens",
        estimate: Callable[[Request], int] | None = None,
        ttl_s: int = TTL_S,
        upgrade_url: UpgradeUrl | None = None,
    ) -> None:
        super().__init__()
        self._sdk, self._gate = sdk, Gate(sdk, upgrade_url=upgrade_url)
        self._account, self._member, self._feature = account, member, feature
        self._estimate, self._ttl_s = estimate or estimated_tokens, ttl_s
        self._held: dict[str, _Held] = {}

    # Before a call

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """The proxy is asked. Raises TokensDenied."""
        if call_type in CALLS:
            if data.get("litellm_call_id", "") in ("", *self._held):
                data["litellm_call_id"] = str(uuid4())  # clients may choose it, and twice
            await self._hold(data["litellm_call_id"], data, by_proxy=True)
        return data

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> None:
        """A program calls a model, or the proxy one of its deployments. Raises TokensDenied."""
        if call_type is not None and str(call_type.value) in CALLS and kwargs["litellm_call_id"] not in self._held:
            await self._hold(kwargs["litellm_call_id"], kwargs, by_proxy=False)

    async def _hold(self, call: str, request: Request, *, by_proxy: bool) -> None:
        units = self._estimate(request)
        try:
            asked = self._gate.asked(self._account(request), self._feature, units, told(self._member, request))
            reservation = self._sdk.reserve(
                asked.account, asked.feature, units, ttl_s=self._ttl_s, member=asked.member,
                properties=_properties(request),
            )  # fmt: skip
            await reservation.__aenter__()
            self._gate.allowed(reservation.decision)
        except Refusal as refusal:
            raise TokensDenied(refusal) from None
        now_s = monotonic()
        while self._held and next(iter(self._held.values())).until_s < now_s:
            # Its end was never said: a visitor went away, or a stream was not read to its end.
            del self._held[next(iter(self._held))]
        self._held[call] = _Held(reservation, units, now_s + self._ttl_s, by_proxy)

    # After it

    async def async_log_success_event(self, kwargs: Request, response_obj: Any, start_time: Any, end_time: Any) -> None:
        held, units = self._held.pop(kwargs["litellm_call_id"], None), tokens_of(response_obj)
        if held is None:
            self._report(kwargs, units)
            return
        try:
            await self._commit(held, min(units, held.units))
            units -= held.units
        except PaygradeError as error:
            if error.code != "reservation_expired":
                log.error("%d tokens of a call were not counted: %s", units, error)
                return
        self._report(kwargs, units)

    async def async_log_failure_event(self, kwargs: Request, response_obj: Any, start_time: Any, end_time: Any) -> None:
        call = kwargs["litellm_call_id"]
        # The proxy may try another deployment, and says by itself when it gives up.
        if call in self._held and not self._held[call].by_proxy:
            await self._release(call)

    async def async_post_call_failure_hook(
        self, request_data: Request, original_exception: Any, user_api_key_dict: Any, traceback_str: Any = None
    ) -> None:
        await self._release(request_data.get("litellm_call_id", ""))

    def log_success_event(self, kwargs: Request, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """After a call that is not asynchronous."""
        self._report(kwargs, tokens_of(response_obj))

    async def _commit(self, held: _Held, units: int) -> None:
        """Raises PaygradeError. What the server does not hear after some tries comes back when its time is up."""
        for wait_s in (*TRY_AGAIN_S, None):
            try:
                await held.reservation.acommit(units)
            except Unreachable as error:
                if wait_s is None:
                    raise PaygradeError("not_counted", str(error)) from error
                await asyncio.sleep(wait_s)
            else:
                return

    async def _release(self, call: str) -> None:
        held = self._held.pop(call, None)
        if held is not None:
            await held.reservation.__aexit__(None, None, None)

    def _report(self, kwargs: Request, units: int) -> None:
        """What was not held and is spent is counted, over a limit too."""
        request = {**kwargs, "metadata": _metadata(kwargs)}
        account = self._account(request) if units > 0 else None
        if account is not None:
            member, properties = told(self._member, request), _properties(request)
            self._sdk.track(account, self._feature, units, member=member, properties=properties)


def estimated_tokens(request: Request) -> int:
    """At most how many tokens a request takes, by its length and by how long its answers may be."""
    said = [request[name] for name in ("messages", "input", "prompt", "tools") if request.get(name)]
    asked = sum(len(msgspec.json.encode(each, enc_hook=str)) for each in said) // CHARACTERS
    if not (request.get("messages") or request.get("prompt")):
        return max(1, asked)
    answer = next(
        (request[name] for name in ("max_completion_tokens", "max_tokens", "max_output_tokens") if request.get(name)),
        TOKENS_MAX,
    )
    return max(1, asked + answer * (request.get("n") or 1))


def tokens_of(response: Any) -> int:
    """How many tokens an answer says that it took, together with what was asked."""
    usage = _of(response, "usage")
    return int(_of(usage, "total_tokens") or (_of(usage, "input_tokens") or 0) + (_of(usage, "output_tokens") or 0))


def _of(found: Any, name: str) -> Any:
    return found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)


def _metadata(kwargs: Request) -> Mapping[str, Any]:
    params = kwargs.get("litellm_params") or {}
    found: Mapping[str, Any] = kwargs.get("metadata") or params.get("metadata") or {}
    return found


def _properties(request: Request) -> dict[str, str]:
    return {"model": str(request["model"])} if request.get("model") else {}
