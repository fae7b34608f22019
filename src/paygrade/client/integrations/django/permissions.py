"""Django REST framework: `permission_classes = [IsAuthenticated, requires("exports")]`.

Laws: a permission counts nothing, since the framework asks it more often than once; a denial is an answer of the
framework's own kind, so that its renderers and its browsable pages treat it as any other.
"""

from typing import Any

from django.http import HttpRequest
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission

from paygrade.client.integrations.django.gate import configured_gate
from paygrade.client.integrations.django.middleware import note, note_refusal
from paygrade.client.integrations.gate import Quantity, Refusal


class Denied(APIException):  # type: ignore[misc]  # the framework has no types
    """A denial: its problem document is what is rendered."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.problem["message"], refusal.problem["code"])
        self.status_code, self.detail = refusal.status, refusal.problem


def requires(feature: str, quantity: Quantity[HttpRequest] = 1) -> type[BasePermission]:
    """A permission: the account may use `quantity` more of `feature`. It denies for good: after `|`, put it last."""

    class Requires(BasePermission):  # type: ignore[misc]  # the framework has no types
        def has_permission(self, request: Any, _: Any) -> bool:  # Any: the framework has no types
            gate = configured_gate()
            try:
                # By the framework's request: it knows who shows a token.
                decision = gate.allow(gate.ask(request, feature, quantity))
            except Refusal as refusal:
                note_refusal(request._request, refusal)
                raise Denied(refusal) from refusal
            request.decision = decision
            note(request._request, gate.fields(decision))
            return True

    return Requires
