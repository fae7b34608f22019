"""The log of state updates: places for what was written, and what is read.

Law: any number of processes may give places at the same moment; one of them does, and the others find it done.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

PLACES_MAX = 1000
"""How many updates get their place in one transaction."""


async def give_places(store: "Store") -> None:
    """Give a place to every state update that is saved and has none, and tell up to where they can be read."""
    async with store.transaction() as tx:
        waits = await tx.updates.waits()
    while waits:
        async with store.transaction() as tx:
            readable = await tx.updates.give_places(limit=PLACES_MAX)
            if readable is not None:
                await tx.tell("paygrade_update", str(readable))
            waits = await tx.updates.waits()
