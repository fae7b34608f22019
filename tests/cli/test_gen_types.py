"""`paygrade gen types`: a misspelt name is found by a type checker."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from paygrade.catalog.parse import parse
from paygrade.cli.type_files import python_types, typescript_types
from paygrade.documents.catalog_file import read_catalog
from paygrade.documents.yaml import read_yaml
from support.cli_runner import Shell
from support.server_process import KEY, SAMPLE, Api

PRODUCT = """
from paygrade import Paygrade
from paygrade_types import EXPORTS, Plan, TypedPaygrade

sdk: TypedPaygrade = Paygrade("http://127.0.0.1:9", "key")
plan: Plan = "pro"
sdk.check("acme", "exports")
sdk.check("acme", EXPORTS)
sdk.consume("acme", "api_calls", 3, id="u1")
sdk.track("acme", event="api_call")
with sdk.reserve("acme", "tokens", 100) as held:
    held.commit(10)
"""
MISTAKES = {
    'sdk.check("acme", "exprots")': "Argument 2",
    'sdk.consume("acme", "exports")': "Argument 2",
    'sdk.track("acme", event="api_calls")': 'Argument "event"',
    'plan = "prp"': "Incompatible types",
    "from paygrade_types import EXPROTS": "no attribute",
}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shutil.copy(SAMPLE, tmp_path / "paygrade.yaml")
    return Shell(tmp_path)


def test_mypy_takes_what_the_catalog_has_and_refuses_what_is_misspelt(shell: Shell) -> None:
    shell.run("gen", "types")
    (shell.folder / "product.py").write_text(PRODUCT + "\n".join(MISTAKES))
    judged = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "product.py"],
        cwd=shell.folder,
        env={**shell.environ, "MYPYPATH": str(Path(__file__).parents[2] / "src")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    errors = [line for line in judged.stdout.splitlines() if "error:" in line]
    first = PRODUCT.count("\n") + 1
    assert len(errors) == len(MISTAKES), judged.stdout
    for number, said in enumerate(MISTAKES.values()):
        assert errors[number].startswith(f"product.py:{first + number}:"), errors
        assert said in errors[number]


def test_what_is_on_disk_is_held_against_the_catalog(shell: Shell) -> None:
    assert "not up to date" in shell.run("gen", "types", "--check", code=1)
    assert not (shell.folder / "paygrade_types.py").exists()
    assert shell.json("gen", "types") == {"file": "paygrade_types.py", "current": False}
    assert shell.json("gen", "types", "--check") == {"file": "paygrade_types.py", "current": True}
    catalog = shell.folder / "paygrade.yaml"
    catalog.write_text(catalog.read_text().replace("audit_log", "audit_trail"))
    shell.run("gen", "types", "--check", code=1)
    shell.run("gen", "types", "--typescript", "-o", "names.d.ts")
    assert '"audit_trail"' in (shell.folder / "names.d.ts").read_text()


def test_the_catalog_in_force_makes_the_same_file(api: Api, shell: Shell) -> None:
    shell.run("gen", "types")
    shell.environ |= {"PAYGRADE_URL": api.url, "PAYGRADE_API_KEY": KEY}
    assert "up to date" in shell.run("gen", "types", "--in-force", "--check")


def test_python_has_a_type_for_each_kind_of_name() -> None:
    made = python_types(parse(read_catalog(SAMPLE)[0]))
    assert 'BooleanFeature = Literal["exports", "audit_log", "billing_admin"]' in made
    assert 'CountedFeature = Literal["seats", "projects", "api_calls", "tokens", "ai_credits"]' in made
    assert 'Event = Literal["api_call", "completion"]' in made
    assert 'Plan = Literal["free", "pro", "business"' in made


def test_typescript_has_the_type_of_each_value() -> None:
    made = typescript_types(parse(read_catalog(SAMPLE)[0]))
    assert 'export type ConfigFeature = "retention" | "support";' in made
    assert "export interface ConfigValues {\n  retention: number;\n  support: string;\n}" in made


def test_what_a_catalog_lacks_is_never_and_what_is_long_is_broken() -> None:
    names = "".join(f"  a_feature_of_number_{number}: {{ kind: boolean }}\n" for number in range(9))
    catalog = parse(read_yaml(f"version: 1\nfeatures:\n{names}plans:\n  free: {{ default: true }}\n".encode())[0])
    assert "ConfigFeature = Never\n" in python_types(catalog)
    assert 'Feature = Literal[\n    "a_feature_of_number_0",\n' in python_types(catalog)
    assert "export type Event = never;" in typescript_types(catalog)
    assert 'export type Feature =\n  | "a_feature_of_number_0"\n' in typescript_types(catalog)
