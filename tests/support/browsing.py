"""What the tests in a browser look at, made once: a browser, and a server with something of everything."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from paygrade.cli.demo_run import House as DemoHouse
    from support.stack import House

# What they need is imported where it is made: most runs make neither.


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Any: Playwright's browser."""
    from support.chromium import launched

    with launched() as its:
        yield its


@pytest.fixture(scope="session")
def stocked(postgres_url: str) -> "Iterator[House]":
    """By the simulator as its provider. Somebody signs in for each look, so attempts have no limit."""
    from paygrade.server.operations import people
    from support.console_stock import fill
    from support.stack import house

    with pytest.MonkeyPatch.context() as patch, house(postgres_url) as its:
        patch.setattr(people, "ATTEMPTS_A_MINUTE", 10_000)
        fill(its)
        yield its


@pytest.fixture(scope="session")
def kestrel() -> "Iterator[DemoHouse]":
    """In a thread: where there is a browser, there is an event loop, and the company wants to start its own."""
    from support.kestrel import kestrel

    stack = ExitStack()
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(stack.enter_context, kestrel()).result()
        thread.submit(stack.close).result()
