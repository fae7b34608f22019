"""The house rules a machine can read: each complaint says where, what, and what to do.

A limit may be tightened, never loosened (CONTRIBUTING.md). The second half shows every rule something it must catch.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
TEST_NAME_WORDS_MIN = 3

Rule = Callable[[Path, str], Iterator[str]]


@lru_cache(maxsize=1)
def parsed(source: str) -> ast.Module:
    """All rules about a file look at one tree."""
    return ast.parse(source)


def python_files(pattern: str) -> list[Path]:
    return sorted(path.relative_to(ROOT) for path in ROOT.glob(pattern))


def pure_files() -> list[Path]:
    return [path for room in PURE_ROOMS for path in python_files(f"src/paygrade/{room}/*.py")]


def tracked_text_files() -> list[Path]:
    """None: this is not a git checkout, so which files are ours is unknown."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        return []
    paths = [Path(name) for name in listing.stdout.split("\0") if name]
    return [path for path in paths if (ROOT / path).is_file() and b"\0" not in (ROOT / path).read_bytes()[:8000]]


def file_fits_a_readers_patience(_: Path, source: str) -> Iterator[str]:
    lines = source.count("\n")
    if lines > FILE_LINES_MAX:
        yield f"{lines} lines, {FILE_LINES_MAX} at most: split it along an idea"


def function_fits_a_screen(_: Path, source: str) -> Iterator[str]:
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"`{node.name}` has {lines} lines, {FUNCTION_LINES_MAX} at most: name its parts"


def init_file_is_empty(path: Path, source: str) -> Iterator[str]:
    public = path == Path("src/paygrade/__init__.py")
    if path.name == "__init__.py" and source.strip() and not public:
        yield "an `__init__.py` stays empty: import from the file that defines the name"


def name_says_what_it_is(path: Path, source: str) -> Iterator[str]:
    classes = [node.name for node in ast.walk(parsed(source)) if isinstance(node, ast.ClassDef)]
    for name in (path.stem, path.parent.name, *classes):
        if re.search(r"(?i)^(utils?|helpers?|common|misc)$|(Manager|Service|Helpers?|Utils?)$", name):
            yield f"`{name}` says nothing: find the missing concept in GLOSSARY.md, or add it there"


def module_opens_with_a_docstring(path: Path, source: str) -> Iterator[str]:
    if path.name != "__init__.py" and ast.get_docstring(parsed(source)) is None:
        yield "open with one sentence on what the file is for, then its laws"


def pure_file_reaches_nothing_but_values(_: Path, source: str) -> Iterator[str]:
    worldly = {
        *("asyncio", "fcntl", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets"),
        *("select", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading"),
        *("time", "urllib", "uuid"),
    }
    allowed = (sys.stdlib_module_names - worldly) | {"msgspec", "paygrade"}
    for node in ast.walk(parsed(source)):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "."]
        for name in names:
            if name.split(".")[0] not in allowed:
                yield f"line {node.lineno} imports `{name}`: this room decides; take the value as an argument"


def pure_file_calls_no_clock(_: Path, source: str) -> Iterator[str]:
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in {"now", "utcnow", "today", "localtime", "open", "input", "print"}:
                yield f"line {node.lineno} calls `{called}`: time is the last argument, `at`; I/O belongs elsewhere"


def import_hides_from_no_contract(_: Path, source: str) -> Iterator[str]:
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield f"line {node.lineno} hides an import from the contracts: let the value stand below what needs it"


def sql_lives_with_the_store(path: Path, source: str) -> Iterator[str]:
    # The launcher of the embedded server makes that server's one database.
    if any(path.is_relative_to(f"src/paygrade/{room}") for room in ("postgres", "embedded_postgres")):
        return
    statement = re.compile(
        r"(?is)^\s*(select\s.+\sfrom\s|insert\s+into\s|update\s+\S+\s+set\s|delete\s+from\s|"
        r"(create|alter|drop)\s+(or\s+replace\s+)?(table|index|unique|type|function|schema|database|view)\s)"
    )
    tree = parsed(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and id(node) not in prose else None
        if isinstance(node, ast.Constant) and isinstance(text, str) and statement.match(text):
            yield f"line {node.lineno} is SQL: every statement lives in src/paygrade/postgres"


def name_of_a_test_is_a_claim(_: Path, source: str) -> Iterator[str]:
    for node in ast.walk(parsed(source)):
        name = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else ""
        if name.startswith("test_") and len(name.split("_")) - 1 < TEST_NAME_WORDS_MIN:
            yield f"`{name}` is no claim: say what holds, in {TEST_NAME_WORDS_MIN} words or more"


def nothing_is_left_undone(_: Path, source: str) -> Iterator[str]:
    # The words are spelled in two parts, here and below, so that this file keeps its own rule.
    for number, line in enumerate(source.splitlines(), start=1):
        if re.search(r"\b(TO" + r"DO|FIX" + r"ME)\b", line):
            yield f"line {number} leaves something undone: do it, or open an issue"


def nothing_is_of_one_machine(_: Path, source: str) -> Iterator[str]:
    machine = {
        "a path of one machine": r"(?<![\w.~-])/(home|root|Users)/\w",
        "a download address": r'"resolved":\s*"http|(pypi|pythonhosted|npmjs)\.(org|com)',
        "a package index": r"--(extra-)?index-url[ =]\S|--find-links[ =]\S|\bindex-url\s*=",
    }
    for number, line in enumerate(source.splitlines(), start=1):
        for what, pattern in machine.items():
            if re.search(pattern, line):
                yield f"line {number} names {what}: it means nothing elsewhere, leave it out"


SOURCE = "src/paygrade/**/*.py"
PURE_ROOMS = ("values", "catalog", "billing", "entitlements", "usage", "decisions", "changes", "updates", "reports")
RULES: dict[Rule, Callable[[], list[Path]]] = {
    file_fits_a_readers_patience: lambda: python_files(SOURCE),
    function_fits_a_screen: lambda: python_files(SOURCE),
    init_file_is_empty: lambda: python_files(SOURCE),
    name_says_what_it_is: lambda: python_files(SOURCE),
    module_opens_with_a_docstring: lambda: python_files(SOURCE),
    pure_file_reaches_nothing_but_values: pure_files,
    pure_file_calls_no_clock: pure_files,
    import_hides_from_no_contract: lambda: python_files("src/paygrade/simulator/**/*.py"),
    sql_lives_with_the_store: lambda: python_files(SOURCE),
    name_of_a_test_is_a_claim: lambda: python_files("tests/**/test_*.py"),
    nothing_is_left_undone: tracked_text_files,
    nothing_is_of_one_machine: tracked_text_files,
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rule(rule: Rule) -> None:
    looked_at, complaints = looked()[rule]
    if not looked_at and RULES[rule] is tracked_text_files:
        pytest.skip("not a git checkout: which files are ours is unknown")
    assert looked_at, "the rule looks at no file"
    assert not complaints, "\n" + "\n".join(complaints)


@cache
def looked() -> dict[Rule, tuple[int, list[str]]]:
    """At how many files each rule looked, and what it complains of: file by file, so that each is read once."""
    rules: dict[Path, list[Rule]] = {}
    for rule, files in RULES.items():
        for path in files():
            rules.setdefault(path, []).append(rule)
    found: dict[Rule, tuple[int, list[str]]] = {rule: (0, []) for rule in RULES}
    for path, its in rules.items():
        source = (ROOT / path).read_text(encoding="utf-8")
        for rule in its:
            count, complaints = found[rule]
            found[rule] = count + 1, [*complaints, *(f"{path}: {complaint}" for complaint in rule(path, source))]
    return found


CAUGHT: list[tuple[Rule, str, str]] = [
    (file_fits_a_readers_patience, "src/paygrade/long.py", "x = 1\n" * (FILE_LINES_MAX + 1)),
    (function_fits_a_screen, "src/paygrade/long.py", "def long():\n" + "    x = 1\n" * FUNCTION_LINES_MAX),
    (init_file_is_empty, "src/paygrade/server/__init__.py", "from paygrade.server.cli import main\n"),
    (name_says_what_it_is, "src/paygrade/utils.py", ""),
    (name_says_what_it_is, "src/paygrade/helpers/dates.py", ""),
    (name_says_what_it_is, "src/paygrade/plans.py", "class PlanManager: ...\n"),
    (module_opens_with_a_docstring, "src/paygrade/plans.py", "x = 1\n"),
    (pure_file_reaches_nothing_but_values, "src/paygrade/plans.py", "from os import environ\n"),
    (pure_file_reaches_nothing_but_values, "src/paygrade/plans.py", "def f():\n    import time\n"),
    (pure_file_reaches_nothing_but_values, "src/paygrade/plans.py", "import yaml\n"),
    (pure_file_calls_no_clock, "src/paygrade/plans.py", "at = datetime.now(UTC)\n"),
    (pure_file_calls_no_clock, "src/paygrade/plans.py", "text = open('plans.yaml')\n"),
    (import_hides_from_no_contract, "src/paygrade/simulator/world.py", "if TYPE_CHECKING:\n    import paygrade\n"),
    (sql_lives_with_the_store, "src/paygrade/server/routes.py", "query = 'select id from account where true'\n"),
    (sql_lives_with_the_store, "src/paygrade/server/routes.py", "query = f'insert into {table} values (1)'\n"),
    (name_of_a_test_is_a_claim, "tests/test_plans.py", "def test_plan_change():\n    pass\n"),
    (nothing_is_left_undone, "README.md", "TO" + "DO: write it\n"),
    (nothing_is_of_one_machine, "README.md", "see /ho" + "me/me/paygrade\n"),
    (nothing_is_of_one_machine, "console/package-lock.json", '"resolved"' + ': "https://there"\n'),
    (nothing_is_of_one_machine, "requirements.txt", "--find-links" + " wheels\n"),
]


@pytest.mark.parametrize(("rule", "path", "source"), CAUGHT, ids=lambda part: getattr(part, "__name__", ""))
def test_rule_catches_what_breaks_it(rule: Rule, path: str, source: str) -> None:
    assert list(rule(Path(path), source)), f"{rule.__name__} let this pass:\n{source[:200]}"


def test_every_rule_has_something_it_catches() -> None:
    assert {rule for rule, _, _ in CAUGHT} == set(RULES)


def test_rules_let_good_code_pass() -> None:
    good = '"""Plans: what is sold."""\n\nfrom msgspec import Struct\n\n\nclass Plan(Struct):\n    """Select one."""\n'
    for rule in RULES:
        assert list(rule(Path("src/paygrade/plans.py"), good)) == []
