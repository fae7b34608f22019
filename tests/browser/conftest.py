"""One Chromium for each file of tests that asks for it."""

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Any: Playwright's browser."""
    from support.chromium import launched  # whoever asks has looked whether there is one

    with launched() as its:
        yield its
