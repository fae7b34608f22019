"""The simulator without the rest, as its page says: the wheel with its one extra, its fixture, and the steps of CI.

Installs into an environment of its own, so it runs with `make judges`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
UV = ROOT / ".venv" / "bin" / "uv"
PAGE = (ROOT / "docs" / "simulator.md").read_text()
SECTION = PAGE.split("## Use it without the rest")[1].split("\n## ")[0]
WAIT_S = 300


def run(*command: str, cwd: Path, **more: str) -> str:
    env = {**os.environ, **more}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of an environment that has the wheel with its extra, pytest and stripe, and nothing else."""
    folder = tmp_path_factory.mktemp("alone")
    named = re.search(r"pip install '(paygrade\[simulator\])'", SECTION)
    assert named is not None
    python = str(ROOT / ".venv" / "bin" / "python")
    run(str(UV), "build", "--wheel", "--no-build-isolation", "--python", python, "--out-dir", str(folder), cwd=ROOT)
    [wheel] = folder.glob("*.whl")
    run(str(UV), "venv", "--python", sys.executable, "env", cwd=folder)
    wanted = [f"{named.group(1)} @ {wheel.as_uri()}", "pytest", "stripe"]
    run(str(UV), "pip", "install", "--python", "env/bin/python", *wanted, cwd=folder)
    return folder


@pytest.mark.skipif(not UV.exists(), reason="uv is not installed: what needs an environment of its own is left out")
def test_the_fixture_of_the_page_plays_without_the_server(alone: Path) -> None:
    [example] = re.findall(r"```python\n(def test_.*?)```", SECTION, re.DOTALL)
    (alone / "test_page.py").write_text(f"import stripe\n\n\n{example}")
    assert "1 passed" in run("env/bin/python", "-m", "pytest", "-q", "test_page.py", cwd=alone)
    missing = "import importlib.util as u; print([n for n in ('psycopg', 'granian', 'yaml') if u.find_spec(n)])"
    assert run("env/bin/python", "-c", missing, cwd=alone).strip() == "[]"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.skipif(not UV.exists(), reason="uv is not installed: what needs an environment of its own is left out")
def test_the_steps_of_the_page_start_a_simulator_for_the_tests_of_any_language(alone: Path, free_tcp_port: int) -> None:
    [told] = re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)
    steps = yaml.safe_load(told)["steps"]
    assert [step.get("run", step.get("uses")).split()[0] for step in steps] == [
        "actions/setup-python@v6",
        "pip",
        "paygrade",
        "curl",
        "npm",
    ]
    _, _, serve, wait, tests = (step.get("run", "").replace("4711", str(free_tcp_port)) for step in steps)
    settings = {name: text.replace("4711", str(free_tcp_port)) for name, text in steps[-1]["env"].items()}
    assert tests == "npm test"
    ask = (
        "import os, stripe; base = {'api': os.environ['STRIPE_API_BASE']}; "
        "client = stripe.StripeClient(os.environ['STRIPE_KEY'], base_addresses=base); "
        "print(client.v1.customers.create({'name': 'Ada'}).name)"
    )
    script = f'{serve.removesuffix(" &")} & server=$!; trap "kill $server" EXIT\n{wait} && python -c "{ask}"'
    path = f"{alone / 'env' / 'bin'}:{os.environ['PATH']}"
    assert run("bash", "-ec", script, cwd=alone, PATH=path, **settings).strip().endswith("Ada")
