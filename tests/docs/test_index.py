"""Nothing that is written is hard to find: three indexes list every page of docs/ once, and lead to no other.

They are docs/README.md for people, docs/llms.txt for machines and `nav` in zensical.toml for the site. Single decisions
are listed by docs/decisions/README.md, which tests/house_rules holds to it.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LINE = re.compile(r"- \[[^]]+\]\(([^)]+)\): \S.*")
OURS = "Paygrade"


def pages() -> set[str]:
    """Every page that an index lists, by its path in docs/."""
    written = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    return {page for page in written if not page.startswith("decisions/")} | {"decisions/README.md"}


def test_the_index_of_the_documentation_lists_every_page() -> None:
    linked = set(re.findall(r"\]\(([^)#]+\.md)\)", (DOCS / "README.md").read_text(encoding="utf-8")))
    assert pages() - linked == {"README.md"}


def test_what_machines_read_first_has_a_title_a_summary_and_every_page_once() -> None:
    title, _, summary, *rest = (DOCS / "llms.txt").read_text(encoding="utf-8").splitlines()
    assert title == f"# {OURS}"
    assert summary.startswith("> ")
    listed = [line for line in rest if line.startswith("-")]
    assert [line for line in listed if not LINE.fullmatch(line)] == []
    linked = [LINE.fullmatch(line)[1] for line in listed]  # type: ignore[index]
    assert sorted(linked) == sorted(pages())


def test_the_site_leads_to_every_page_once() -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    linked = list(leaves(site["project"]["nav"]))
    assert len(linked) == len(set(linked))
    assert {page.removeprefix("docs/") for page in linked if page.startswith("docs/")} == pages()
    assert [page for page in linked if not (ROOT / page).exists()] == []


def test_every_picture_that_is_named_is_there_and_every_one_there_is_named() -> None:
    """`PICTURES=docs/images make browser` takes them: a page without them would show a gap."""
    named = set()
    for page in (ROOT / "README.md", *DOCS.rglob("*.md")):
        for alt, path in re.findall(r"!\[([^]]*)\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert len(alt) > 10, f"{page.name} says what `{path}` shows"
            named.add((page.parent / path).resolve().relative_to(ROOT).as_posix())
    there = {each.relative_to(ROOT): each.stat().st_size for each in (DOCS / "images").iterdir()}
    assert named == {each.as_posix() for each in there}
    assert max(there.values()) <= 150_000
    assert sum(there.values()) <= 900_000


def leaves(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for below in nav.values():
            yield from leaves(below)
    elif isinstance(nav, list):
        for below in nav:
            yield from leaves(below)


SECTIONS = re.findall(
    r"^## (.+?)$\n(.*?)(?=^## |\Z)", (DOCS / "comparison.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)
OTHERS = {name: text for name, text in SECTIONS if name not in ("At a glance", OURS, "How Paygrade differs")}


def test_the_comparison_says_when_it_was_read_and_compares_everybody_it_lists() -> None:
    page = (DOCS / "comparison.md").read_text(encoding="utf-8")
    assert re.search(r"read on 20\d\d-\d\d-\d\d", page)
    (table,) = (text for name, text in SECTIONS if name == "At a glance")
    named = re.findall(r"^\| ([A-Z][\w ]+) \|", table, re.MULTILINE)
    assert named == [OURS, *OTHERS]


@pytest.mark.parametrize("product", OTHERS)
def test_what_is_said_of_another_product_has_a_source_and_where_it_is_better(product: str) -> None:
    points = re.findall(r"^- \*\*(.+?)\*\*(.*?)(?=^- |\Z)", OTHERS[product], re.DOTALL | re.MULTILINE)
    assert points[-1][0] == "Better than Paygrade when"
    unsourced = [name for name, text in points[:-1] if "](https://" not in text]
    assert unsourced == []
