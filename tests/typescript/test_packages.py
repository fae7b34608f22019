"""The packages for TypeScript, in Node, beside real servers that they start and kill. `make typescript` builds them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from paygrade.simulator.http import serve as simulator
from support.databases import migrated_database
from support.server_process import SAMPLE

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "packages" / "typescript"
NODE = shutil.which("node")
NEEDED = (20, 14)
"""What Node's test runner needs for these tests; the packages run on 18."""
GIVE_UP_S = 300
TESTS = sorted(path.name.partition(".")[0] for path in (FOLDER / "tests").glob("*.test.ts*"))

BLOCK = re.compile(r"^```(tsx?)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OWN = """
declare const exportButton: HTMLButtonElement;
declare const url: string, account: string, getToken: () => Promise<string>;
declare function ExportButton(): React.ReactNode;
declare function Upgrade(props: { why: string }): React.ReactNode;
"""
"""What the examples take for granted."""


def _is_new_enough() -> bool:
    if NODE is None:
        return False
    told = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in told.strip().removeprefix("v").split(".")[:2]) >= NEEDED


pytestmark = [
    pytest.mark.skipif(NODE is None, reason="Node is not installed: the packages for TypeScript are left out"),
    pytest.mark.skipif(not _is_new_enough(), reason="Node 20.14 is needed: the packages for TypeScript are left out"),
    pytest.mark.skipif(not (FOLDER / "build").is_dir(), reason="`make typescript` builds the packages first"),
]


@pytest.mark.parametrize("name", TESTS)
def test_the_packages_hold_beside_a_real_server(postgres_url: str, name: str) -> None:
    assert NODE is not None
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PAYGRADE_")}
    with simulator.running() as provider, migrated_database(postgres_url) as database_url:
        given = {
            "PAYGRADE_TEST_COMMAND": str(Path(sys.executable).parent / "paygrade"),
            "PAYGRADE_TEST_CATALOG": str(SAMPLE),
            "PAYGRADE_TEST_DATABASE": database_url,
            "PAYGRADE_TEST_SIMULATOR": provider.url,
        }
        limits = ["--test-timeout=240000", "--test-force-exit"]
        command = [NODE, "--test", *limits, "--test-reporter=spec", str(FOLDER / "build" / f"{name}.test.js")]
        ended = subprocess.run(
            command, env=kept | given, cwd=FOLDER, capture_output=True, text=True, timeout=GIVE_UP_S, check=False
        )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"


def test_the_examples_of_the_pages_are_right() -> None:
    """Each block as a file of its own, beside what a page of one's own would have."""
    folder = FOLDER / "build" / "examples"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pages = {"browsers": ROOT / "docs" / "browsers.md", "readme": FOLDER / "README.md"}
    for name, page in pages.items():
        for number, (language, text) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8"))):
            (folder / f"{name}-{number}.{language}").write_text(f"{text}\nexport {{}};\n", encoding="utf-8")
    (folder / "own.d.ts").write_text(OWN, encoding="utf-8")
    options = {"noEmit": True, "composite": False, "noUnusedLocals": False}
    settings = {"extends": "../../tsconfig.base.json", "include": ["."], "compilerOptions": options}
    (folder / "tsconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    compiler = FOLDER / "node_modules" / "typescript" / "bin" / "tsc"
    ended = subprocess.run(
        [str(NODE), str(compiler), "-p", str(folder)], capture_output=True, text=True, timeout=GIVE_UP_S, check=False
    )
    assert len(list(folder.glob("*-*.ts*"))) >= 4
    assert ended.returncode == 0, ended.stdout


def test_a_package_brings_nothing_but_itself() -> None:
    found = {name: json.loads((FOLDER / name / "package.json").read_text()) for name in ("client", "react")}
    assert "dependencies" not in found["client"]
    assert found["react"]["dependencies"] == {"@paygrade/client": found["client"]["version"]}
    assert list(found["react"]["peerDependencies"]) == ["react"]
