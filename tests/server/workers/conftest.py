"""What the tests of workers share."""

import pytest

from paygrade.server.process import retries


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again once somebody lets its pause pass, and not before, however slow the machine is."""
    monkeypatch.setattr(retries, "FIRST_S", 7200.0)
    monkeypatch.setattr(retries, "MAX_S", 7200.0)
