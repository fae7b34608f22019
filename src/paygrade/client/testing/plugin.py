"""The pytest plugin: ask for `paygrade`, and there are test accounts on your own `paygrade.yaml`.

Law: who does not ask for it pays nothing: no room is imported before.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CATALOG = "paygrade.yaml"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("paygrade_catalog", "the catalog's file, from the root of the tests", default=CATALOG)


@pytest.fixture(scope="session")
def paygrade_catalog(request: pytest.FixtureRequest) -> Path:
    """Where the catalog's file is; override this to say otherwise."""
    return request.config.rootpath / str(request.config.getini("paygrade_catalog"))


@pytest.fixture
def paygrade(paygrade_catalog: Path) -> Iterator[Any]:  # Any: TestAccounts, which is not imported before
    """Test accounts of this test's own: `paygrade.account("acme", plan="pro")`, `paygrade.sdk.check("acme", …)`."""
    from paygrade.client.testing.accounts import TestAccounts

    made = TestAccounts.of(paygrade_catalog)
    yield made
    made.close()
