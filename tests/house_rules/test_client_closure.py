"""What a client that decides in its own process has to ship: the rooms it needs, and nothing beside them."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
NEEDED = (
    "decisions/decide.py",
    "decisions/snapshots.py",
    "decisions/following.py",
    "decisions/denial.py",
    "usage/balances.py",
    "usage/events.py",
)
"""What such a client calls; all else follows from their imports."""
ALLOWED = ("values/", "catalog/offers.py", "entitlements/model.py", "usage/", "decisions/")
LINES_MAX = 2_200


def imported(path: Path) -> set[Path]:
    """The files of the package that this one imports when it runs."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse((SOURCE / path).read_text())):
        match node:
            case ast.ImportFrom(module=str(module)) if module.startswith("paygrade"):
                names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
            case ast.Import():
                names = [alias.name for alias in node.names if alias.name.startswith("paygrade")]
            case _:
                continue
        files = (Path(*name.split(".")).with_suffix(".py") for name in names)
        found |= {file for file in files if (SOURCE / file).is_file()}
    return found


def closure() -> set[Path]:
    waiting, found = [Path("paygrade", path) for path in NEEDED], set[Path]()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imported(path)
    return found


def test_a_deciding_client_needs_only_the_rooms_it_may_reach() -> None:
    inside = [str(path.relative_to("paygrade")) for path in closure()]
    assert [path for path in sorted(inside) if not path.startswith(ALLOWED)] == []


def test_a_deciding_client_is_small() -> None:
    lines = sum((SOURCE / path).read_text().count("\n") for path in closure())
    assert lines <= LINES_MAX
