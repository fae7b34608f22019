"""What stands around the SDK in tests with real processes."""

import re
from pathlib import Path

from support.server_process import Api

ROOT = Path(__file__).parents[2]
JUDGES = ROOT / ".venv-judges"
"""Where `make judges` installs what is too large, or takes too long to build, for everybody's environment."""


def streams(api: Api) -> int:
    """How many streams the server has open."""
    found = re.search(r"^paygrade_streams ([\d.]+)$", api.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))
