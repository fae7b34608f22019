"""The locks: what is installed in the image is what a server needs, in the versions that were tested."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))


def test_the_image_has_all_that_a_server_needs_in_the_versions_that_were_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["server"]]
    names = {re.match(r"[\w.-]+", each)[0] for each in wanted}  # type: ignore[index]  # each begins with a name
    locked = pins("deploy/requirements.txt")
    assert names <= set(locked), "run `make lock`"
    assert locked.items() <= pins("requirements.txt").items()
