"""What stands around the SDK in tests with real processes."""

import re
from pathlib import Path

from support.server_process import Api

JUDGES_BIN = str(Path(__file__).parents[1] / "judges" / "python" / ".venv" / "bin")
"""Programs that are too large, or take too long to build, for everybody's environment; `make judges` installs them."""


def streams(api: Api) -> int:
    """How many streams the server has open."""
    found = re.search(r"^paygrade_streams ([\d.]+)$", api.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))
