"""OpenFeature in process: `api.set_provider(PaygradeProvider(Paygrade()))`, and every flag is decided here.

Laws: it answers as the server does by OFREP (decisions/flags.py); where nothing is known of an account, the client's
default counts; an evaluation in an event loop never holds it.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import (
    FlagNotFoundError,
    GeneralError,
    InvalidContextError,
    OpenFeatureError,
    TargetingKeyMissingError,
    TypeMismatchError,
)
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata
from openfeature.track import TrackingEventDetails

from paygrade.client.connection import State
from paygrade.client.decision import Decision
from paygrade.client.errors import PaygradeError
from paygrade.client.sdk import Paygrade
from paygrade.decisions.decide import bound
from paygrade.decisions.flags import Evaluation, Target, flag, number_flag, read_flag, read_target
from paygrade.decisions.snapshots import Snapshot
from paygrade.entitlements.model import Kind
from paygrade.values.errors import Refused

T = TypeVar("T")
READY_S = 5.0
log = logging.getLogger("paygrade")
_ERRORS: dict[str, type[InvalidContextError | TargetingKeyMissingError | FlagNotFoundError]] = {
    "invalid_context": InvalidContextError,
    "targeting_key_missing": TargetingKeyMissingError,
    "unknown_feature": FlagNotFoundError,
}
Structure = Sequence[FlagValueType] | Mapping[str, FlagValueType]


class PaygradeProvider(AbstractProvider):
    """Flags are features, of the account that the context's `targetingKey` names; `docs/http.md` says the rest. An
    object flag is the whole decision.

    Ready when changes are heard, for which it waits `ready_s` at most; stale while they are not. What an account may do
    has changed: `PROVIDER_CONFIGURATION_CHANGED`, with the `account` in its metadata. It does not close the SDK.
    """

    def __init__(self, sdk: Paygrade, *, ready_s: float = READY_S) -> None:
        super().__init__()
        self.sdk, self._ready_s = sdk, ready_s
        self._endings: list[Callable[[], None]] = []
        self._connected = threading.Event()
        self._kinds: dict[str, Kind] = {}
        """Of the features of the catalog, as last seen; accounts that nobody knows have none."""

    def get_metadata(self) -> Metadata:
        return Metadata(name="Paygrade")

    def initialize(self, evaluation_context: EvaluationContext) -> None:  # noqa: ARG002  # OpenFeature calls it so
        """Connect. GeneralError where nothing is heard in time: it goes on trying, and says when it is ready."""
        self._endings = [self.sdk.on_change(self._note_change), self.sdk.on_state(self._note_state)]
        if self.sdk.status().state != "connected" and not self._connected.wait(self._ready_s):
            raise GeneralError(f"the server has not answered yet: {self.sdk.status().detail}")

    def shutdown(self) -> None:
        for end in self._endings:
            end()
        self._endings = []

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        return self._resolve(bool, flag_key, default_value, evaluation_context)

    async def resolve_boolean_details_async(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        return await self._aresolve(bool, flag_key, default_value, evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        return self._resolve(str, flag_key, default_value, evaluation_context)

    async def resolve_string_details_async(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        return await self._aresolve(str, flag_key, default_value, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        return self._resolve(int, flag_key, default_value, evaluation_context)

    async def resolve_integer_details_async(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        return await self._aresolve(int, flag_key, default_value, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        return self._resolve(float, flag_key, default_value, evaluation_context)

    async def resolve_float_details_async(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        return await self._aresolve(float, flag_key, default_value, evaluation_context)

    def resolve_object_details(
        self, flag_key: str, default_value: Structure, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Structure]:
        return self._resolve(dict, flag_key, default_value, evaluation_context)

    async def resolve_object_details_async(
        self, flag_key: str, default_value: Structure, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Structure]:
        return await self._aresolve(dict, flag_key, default_value, evaluation_context)

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Report a usage event of this name; its details are properties, with the `value` among them."""
        details = tracking_event_details or TrackingEventDetails()
        value = {} if details.value is None else {"value": details.value}
        try:
            target = _target(evaluation_context)
            self.sdk.track(
                target.account,
                event=tracking_event_name,
                member=target.member,
                properties={**details.attributes, **value},
            )
        except (OpenFeatureError, PaygradeError) as error:
            # OpenFeature lets nobody who reports an event learn of this.
            log.error("`%s` was not reported: %s", tracking_event_name, getattr(error, "error_message", error))

    def _resolve(
        self, kind: type, key: str, default: Any, context: EvaluationContext | None
    ) -> FlagResolutionDetails[Any]:  # Any: what the flag's type says
        target = _target(context)
        return self._answer(kind, key, default, target, self.sdk.snapshot(target.account))

    async def _aresolve(
        self, kind: type, key: str, default: Any, context: EvaluationContext | None
    ) -> FlagResolutionDetails[Any]:
        target = _target(context)
        # Of no feature: what is decided does not matter, only that it can be.
        await self.sdk.acheck(target.account, "", 0)
        return self._answer(kind, key, default, target, self.sdk.snapshot(target.account))

    def _answer(
        self, kind: type, key: str, default: Any, target: Target, found: Snapshot | None
    ) -> FlagResolutionDetails[Any]:
        if found is None:
            raise GeneralError(f"nothing is known of `{target.account}` yet: {self.sdk.status().detail or 'ask again'}")
        if found.shape.terms:
            self._kinds = {feature: terms.its.kind for feature, terms in found.shape.terms.items()}
        # An account that nobody knows has nothing, and does not even say what there is.
        kinds = self._kinds or ({key: "boolean"} if kind is bool else {})
        feature, number = _read(read_flag, key, kinds)
        decision = self.sdk.check(
            target.account, feature, target.units(feature), member=target.member, properties=target.properties
        )
        if number is not None:
            told = number_flag(decision, number, decision.message)
        else:
            told = flag(decision, kinds[feature], decision.message)
        value = _decision(decision) if kind is dict and number is None else told.value
        return _details(kind, told, default if value is None else value)

    def _note_change(self, account: str) -> None:
        self.emit_provider_configuration_changed(ProviderEventDetails(metadata={"account": account}))

    def _note_state(self, state: State) -> None:
        if state == "connected":
            self._connected.set()
            self.emit_provider_ready(ProviderEventDetails())
        else:
            self.emit_provider_stale(ProviderEventDetails(message=self.sdk.status().detail))


def _details(kind: type, told: Evaluation, value: Any) -> FlagResolutionDetails[Any]:
    if not isinstance(value, kind):
        raise TypeMismatchError(f"`{told.key}` is `{value}`, which is no {kind.__name__}")
    return FlagResolutionDetails(
        value=value, reason=Reason[told.reason], variant=told.variant, flag_metadata=dict(told.metadata)
    )


def _decision(decision: Decision) -> dict[str, Any]:  # Any: plain JSON
    told: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(bound(decision)))
    return {**told, "message": decision.message, "exact": decision.exact}


def _target(context: EvaluationContext | None) -> Target:
    said = {} if context is None else {"targetingKey": context.targeting_key, **context.attributes}
    return _read(read_target, said)


def _read(read: Callable[..., T], *given: object) -> T:
    try:
        return read(*given)
    except Refused as refused:
        raise _ERRORS[refused.code](refused.detail) from None
