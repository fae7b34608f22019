"""A decision as the SDK gives it."""

from math import inf

from paygrade.decisions import decide
from paygrade.decisions.message import message


class Decision(decide.Decision, frozen=True, gc=False):
    """The answer for `quantity` more units of `feature`; truthy when allowed.

    `stale`: it could not be asked whether this still holds; `age` is then for how many seconds, infinitely many where
    nothing was ever known of the account. `counted`: it is counted already, by the server or in units leased from it.
    """

    age: float = 0.0
    counted: bool = False

    @property
    def exact(self) -> bool:
        """Whether it holds whatever other processes use at this moment."""
        return not self.stale and (self.counted or self.limit is None)

    @property
    def message(self) -> str:
        """Who can or can't use what, and why, in one plain sentence."""
        if self.age == inf:
            can = "can" if self.allowed else "can't"
            return f"{self.account} {can} use {self.feature}: the server could not be asked about the account yet"
        return message(self)
