"""Who is behind what is done: set where a request or a command comes in, read where something is written down.

Law: what nobody set is done by the system itself, never by whoever came before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from msgspec import Struct

ActorKind = Literal["key", "person", "account_token", "portal_session", "command_line", "system"]


class Actor(Struct, frozen=True):
    """Who. `id`: of a key, of a person, the account of a token; `name`: what people call it."""

    kind: ActorKind
    id: str
    name: str = ""

    @property
    def known_as(self) -> str:
        """What people read who look at what was done."""
        return self.name or self.id


class Acting(Struct, frozen=True):
    """An actor with where the request came from. `address`: the client's network address; `request`: the request's id.
    None: there is no request."""

    actor: Actor
    address: str | None = None
    request: str | None = None


SYSTEM = Acting(Actor("system", "paygrade"))
_acting: ContextVar[Acting] = ContextVar("acting", default=SYSTEM)


def acting() -> Acting:
    """Who acts now."""
    return _acting.get()


def set_acting(who: Acting) -> None:
    """From here on in this task, and in what it starts, this one acts."""
    _acting.set(who)


@contextmanager
def acting_as(who: Acting) -> Iterator[None]:
    """Inside of the block, this one acts."""
    token = _acting.set(who)
    try:
        yield
    finally:
        _acting.reset(token)
