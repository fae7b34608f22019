"""Tokens that stand in the addresses of streams, as this process has given them out.

Law: an address stays the same for as long as its token may be counted on, since a page that is given another one
connects anew.
"""

from collections import OrderedDict
from datetime import datetime
from typing import NamedTuple

KEPT_MAX = 10_000


class StreamToken(NamedTuple):
    """A token, the `kid` of the key it is signed with, and the time it is given out in."""

    text: str
    kid: str
    expires_at: datetime
    renewed_at: datetime


class StreamTokens:
    """By account and member, those that were asked for last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str | None], StreamToken] = OrderedDict()

    def find(self, account: str, member: str | None, *, kid: str, at: datetime) -> StreamToken | None:
        """The one to be given out still; None: it is time for another."""
        found = self._kept.get((account, member))
        if found is None or found.kid != kid or not at < found.renewed_at:
            return None
        self._kept.move_to_end((account, member))
        return found

    def keep(self, account: str, member: str | None, token: StreamToken) -> None:
        self._kept[account, member] = token
        self._kept.move_to_end((account, member))
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
