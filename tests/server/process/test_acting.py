"""Who is behind what is done."""

import asyncio
from contextvars import copy_context

from paygrade.server.process.acting import SYSTEM, Acting, Actor, acting, acting_as, set_acting

ADA = Acting(Actor("person", "ada"), "192.0.2.1", "request-1")


def test_what_nobody_set_is_done_by_the_system() -> None:
    assert acting() == SYSTEM
    with acting_as(ADA):
        assert acting() == ADA
    assert acting() == SYSTEM


def test_who_acts_in_one_task_acts_in_what_it_starts_and_nowhere_else() -> None:
    async def one() -> tuple[Acting, Acting]:
        set_acting(ADA)
        return acting(), await asyncio.create_task(other())

    async def other() -> Acting:
        await asyncio.sleep(0)
        return acting()

    async def both() -> list[tuple[Acting, Acting]]:
        return [await asyncio.create_task(one()), (await asyncio.create_task(other()), acting())]

    assert copy_context().run(asyncio.run, both()) == [(ADA, ADA), (SYSTEM, SYSTEM)]
