"""What an answer must rest on at least: a version that is stated, or the one that has taken in a billing event,
or what was bought in a session of a checkout."""

import re
from math import ceil

from msgspec import Struct

from paygrade.client.connection import Connection
from paygrade.client.errors import PaygradeError
from paygrade.client.transport import Unreachable
from paygrade.decisions.following import versions_of

WAIT_MAX_S = 30
"""For how long the server waits at most."""
_VERSION = re.compile(r"(?:[0-9]{1,15}\.)?[0-9]{1,15}")
_BILLING_EVENT = re.compile(r"[A-Za-z]+_[A-Za-z0-9_]{1,200}")

Version = tuple[int, int]
"""Of the catalog and of the account."""


class _Checked(Struct):
    version: str


def version_stated(at_least: str | int) -> Version | None:
    """The version that is stated; of an account alone, with any catalog. None: it is the id of a
    billing event or of a session.
    PaygradeError `invalid_version`."""
    text = str(at_least)
    if _VERSION.fullmatch(text):
        return versions_of(text if "." in text else f"0.{text}")
    if _BILLING_EVENT.fullmatch(text):
        return None
    what = "what a write answered with, for example `7.12`, or the id of a billing event or session"
    detail = f"`{text}` is not a version; pass {what}"
    raise PaygradeError("invalid_version", detail)


def version_with(
    connection: Connection, account: str, feature: str, event_id: str, *, timeout_s: float
) -> Version | None:
    """A version of the account that has taken in this billing event or session; None: the server does not know of one
    in time."""
    body = {"account": account, "feature": feature, "quantity": 0, "at_least": event_id,
            "wait_s": min(WAIT_MAX_S, ceil(timeout_s))}  # fmt: skip
    try:
        told = connection.post("/v1/check", body, _Checked, timeout_s=timeout_s, again=False)
        return 0, versions_of(told.version)[1]
    except Unreachable:
        return None
    except PaygradeError as refused:
        if refused.code != "not_yet":
            raise
        return None
