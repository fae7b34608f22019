"""Followers of the clock: a move is over when each has seen it, and nobody who is gone holds one up."""

from __future__ import annotations

import asyncio

import pytest

from paygrade.simulator.http.followers import Followers

from .conftest import Simulated

pytestmark = pytest.mark.anyio


async def settled() -> None:
    """Let everything that can go on without us go on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def stays() -> None:
    await asyncio.Event().wait()


async def test_a_move_is_over_when_every_follower_has_seen_it() -> None:
    followers = Followers()
    seen = followers.version
    held = [asyncio.create_task(followers.follow(name, after=seen, gone=stays)) for name in ("one", "two")]
    await settled()
    assert not any(request.done() for request in held)
    move = asyncio.create_task(followers.tell())
    await settled()
    assert all(request.done() for request in held)
    again = asyncio.create_task(followers.follow("one", after=followers.version, gone=stays))
    await settled()
    assert not move.done()
    other = asyncio.create_task(followers.follow("two", after=followers.version, gone=stays))
    await settled()
    assert move.done()
    followers.close()
    await asyncio.gather(again, other)


async def test_a_follower_on_its_way_back_is_waited_for() -> None:
    """It was answered and has not asked again: the move after that one waits for it, too."""
    followers = Followers()
    await followers.follow("one", after=0, gone=stays)
    move = asyncio.create_task(followers.tell())
    await settled()
    assert not move.done()
    await followers.follow("one", after=followers.version - 1, gone=stays)  # it has missed the move: no waiting
    held = asyncio.create_task(followers.follow("one", after=followers.version, gone=stays))
    await settled()
    assert move.done()
    followers.close()
    await held


async def test_a_follower_that_is_gone_holds_up_no_move() -> None:
    followers = Followers()
    leaves = asyncio.Event()
    held = asyncio.create_task(followers.follow("one", after=followers.version, gone=leaves.wait))
    await settled()
    leaves.set()
    await held
    move = asyncio.create_task(followers.tell())
    await settled()
    assert move.done()


async def test_a_follower_that_leaves_during_a_move_lets_it_go_on() -> None:
    followers = Followers()
    await followers.follow("one", after=0, gone=stays)
    move = asyncio.create_task(followers.tell())
    await settled()
    leaves = asyncio.Event()
    leaves.set()
    await followers.follow("one", after=followers.version, gone=leaves.wait)
    await settled()
    assert move.done()


async def test_a_silent_follower_is_forgotten_until_it_asks_again() -> None:
    followers = Followers(acknowledge_s=0.01)
    await followers.follow("one", after=0, gone=stays)
    await followers.tell()
    move = asyncio.create_task(followers.tell())
    await settled()
    assert move.done()
    await followers.follow("one", after=1, gone=stays)
    move = asyncio.create_task(followers.tell())
    await settled()
    assert not move.done()
    await move


@pytest.mark.parametrize("query", ["after=1", "follower=me", "follower=me&after=x", "follower=&after=1", "since=1"])
def test_a_follower_says_who_it_is_and_what_it_has_seen(simulated: Simulated, query: str) -> None:
    status, answer = simulated.try_control(f"clock?{query}")
    assert status == 400, answer


def test_a_version_that_is_not_the_clocks_is_answered_at_once(simulated: Simulated) -> None:
    first = simulated.control("clock?follower=me&after=0")
    assert first == simulated.control("clock")
