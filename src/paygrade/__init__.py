"""Paygrade: what customers may do, in line with what they pay for.

What is named here is the SDK, for products that ask. It is imported when it is used first.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paygrade.client.connection import Status as Status
    from paygrade.client.decision import Decision as Decision
    from paygrade.client.errors import PaygradeError as PaygradeError
    from paygrade.client.reservation import Reservation as Reservation
    from paygrade.client.sdk import Paygrade as Paygrade

_PLACES = {
    "Paygrade": "sdk",
    "Decision": "decision",
    "Status": "connection",
    "PaygradeError": "errors",
    "Reservation": "reservation",
}
__all__ = ["Decision", "Paygrade", "PaygradeError", "Reservation", "Status"]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module `paygrade` has no attribute `{name}`")
    return getattr(import_module(f"paygrade.client.{_PLACES[name]}"), name)
