"""Confirmations: what a person saw before they agreed is what is done.

Laws: a confirmation holds for the tool and the arguments it was made for, for ten minutes, and only where the process
that made it reads it; `state` is what it rests on, and whoever does the thing compares it with what is.
"""

import hmac
import secrets
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from paygrade.values.errors import Refused

HOLDS_S: Final = 600
_SEPARATOR = "~"
Arguments = Mapping[str, object]


class Confirmation(Struct, frozen=True):
    """What was confirmed: the state it was seen in, and an id that no other confirmation has."""

    state: str
    id: str


class Confirmations:
    """Makes confirmations, and reads those it made. `at` is in seconds, of any clock that only goes on."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def make(self, tool: str, arguments: Arguments, state: str, at: float) -> str:
        """A text that agrees to this, in this state."""
        head = _SEPARATOR.join((state, str(int(at) + HOLDS_S), secrets.token_hex(8)))
        return _SEPARATOR.join((head, self._mark(tool, arguments, head)))

    def read(self, tool: str, arguments: Arguments, text: str, at: float) -> Confirmation:
        """What a text agrees to. Refused `confirmation_invalid`, `confirmation_expired`."""
        head, _, mark = text.rpartition(_SEPARATOR)
        if not hmac.compare_digest(mark.encode(), self._mark(tool, arguments, head).encode()):
            raise Refused(
                "confirmation_invalid",
                f"`confirm` was not made for these arguments of `{tool}`; call it without `confirm`, show what it "
                "answers, and repeat the same arguments with the `confirm` of that answer",
            )
        state, until, id = head.split(_SEPARATOR)
        if at >= int(until):
            raise Refused(
                "confirmation_expired",
                f"`confirm` is older than {HOLDS_S // 60} minutes; call `{tool}` without it for what would happen now",
            )
        return Confirmation(state, id)

    def _mark(self, tool: str, arguments: Arguments, head: str) -> str:
        said = msgspec.json.encode([tool, arguments, head], order="deterministic")
        return hmac.new(self._secret, said, "sha256").hexdigest()[:32]
