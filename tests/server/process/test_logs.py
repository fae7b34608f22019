"""What the log says of an error nobody expected: where it came from, and nothing of what was in hand."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from paygrade.server.process.logs import configure_logs


@pytest.fixture
def _as_before() -> Iterator[None]:
    root, kept = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.configure(**kept)


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_is_logged_with_its_place_and_without_the_values_in_hand(
    as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(as_json=as_json)
    log = structlog.get_logger("paygrade.test")
    key = "-".join(("sk", "live", "of", "somebody"))
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("request_broken", account="acme")
    logged = capsys.readouterr().err
    assert "request_broken" in logged
    assert "ValueError: broken" in logged
    assert "test_logs.py" in logged
    assert key not in logged
