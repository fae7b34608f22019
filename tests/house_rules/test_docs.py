"""What the documents say holds: links lead somewhere, commands and variables exist, catalogs parse."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from paygrade.catalog.parse import parse
from paygrade.cli.main import paygrade
from paygrade.documents.yaml import read_yaml
from paygrade.server.http.problems import KINDS
from paygrade.server.process.settings import parse_settings, parse_target

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
)
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
ANCHOR = re.compile(r"\]\((?!https?://)([^)#\s]*)#([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
COMMAND = re.compile(r"(?:^|`|\$ )paygrade ((?:[a-z][a-z-]+ ?)+)", re.MULTILINE)
VARIABLE = re.compile(r"\bPAYGRADE_[A-Z_]*[A-Z]\b")
TEST_ONLY = {"PAYGRADE_TEST_DATABASE_URL"}


class _Asked(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]  # as loose as dict's own
        self.names.add(name)
        return default


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing, f"{page.name} links to {missing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_part_of_a_page_leads_there(page: Path) -> None:
    targets = ANCHOR.findall(page.read_text(encoding="utf-8"))
    missing = [(to, part) for to, part in targets if part not in _parts(page.parent / to if to else page)]
    assert not missing, f"{page.name} links to {missing}"


def _parts(page: Path) -> set[str]:
    headings = HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_named_in_a_document_exists(page: Path) -> None:
    for words in COMMAND.findall(page.read_text(encoding="utf-8")):
        command: click.Command = paygrade
        context = click.Context(paygrade)
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            found = command.get_command(context, word)
            assert found is not None, f"{page.name} names `paygrade {words}`, and there is no `{word}`"
            command = found


def test_every_variable_is_documented_and_every_documented_one_is_read() -> None:
    asked = _Asked()
    parse_settings(asked)
    parse_target(asked)
    documented = {name for page in PAGES for name in VARIABLE.findall(page.read_text(encoding="utf-8"))} - TEST_ONLY
    assert documented == asked.names


def test_the_readmes_catalog_is_one() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    document, lines = read_yaml(text)
    catalog = parse(document, lines=lines)
    assert set(catalog.plans) == {"free", "pro"}
    assert catalog.stripe == {"pro_monthly": "pro"}


def test_the_catalog_of_the_page_on_seats_is_one() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "seats.md").read_text(encoding="utf-8"), re.DOTALL)
    document, lines = read_yaml(text)
    catalog = parse(document, lines=lines)
    assert [rule.seats for rule in catalog.policies.plan_change] == ["release_least_active", "suspend"]
    assert [key for key, feature in catalog.features.items() if feature.seat] == ["editor", "publish"]


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    records = [page.name for page in PAGES if page.parent.name == "decisions" and page.name != "README.md"]
    assert records
    assert [name for name in records if name not in listed] == []


def test_every_command_is_in_the_page_on_the_command_line() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    named = {words.strip() for words in re.findall(r"`paygrade ((?:[a-z][a-z-]*[ `])+)", page.replace("`", "` "))}
    missing = [name for name in _commands(paygrade) if not any(f"{words} ".startswith(f"{name} ") for words in named)]
    assert missing == []


def _commands(group: click.Group, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def test_every_setting_is_in_the_table_of_the_readme_and_of_the_command_line() -> None:
    asked = _Asked()
    parse_settings(asked)
    parse_target(asked)
    for page in (ROOT / "README.md", ROOT / "docs" / "cli.md"):
        rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `PAYGRADE_")]
        assert {name for row in rows for name in VARIABLE.findall(row.split("|")[1])} == asked.names, page.name


def test_every_problem_is_in_the_table_with_its_status_and_title() -> None:
    page = (ROOT / "docs" / "problems.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.+) \|$", page, re.MULTILINE)
    assert rows == sorted(
        ((code, str(kind.status), kind.title) for code, kind in KINDS.items()), key=lambda row: (row[1], row[0])
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_named_in_a_document_exists(page: Path) -> None:
    named = re.findall(r"`(tests/[\w./*-]+)(?:::(\w+))?`", page.read_text(encoding="utf-8"))
    missing = [path for path, _ in named if not any(ROOT.glob(path.rstrip("/")))]
    missing += [
        name for path, name in named if name and f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert not missing, f"{page.name} names {missing}"
