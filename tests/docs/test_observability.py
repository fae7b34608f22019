"""What docs/observability.md lists is what there is: metrics, alerts and log events, neither more nor fewer."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml

from paygrade.server.operations.sync.repair import DriftNotice
from paygrade.server.process.metrics import Metrics
from paygrade.server.process.settings import Settings
from support.databases import migrated_database
from support.server_process import serving

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
FOLDER = ROOT / "deploy" / "observability"
ROOMS = ("server", "postgres", "cli", "providers", "documents")
LEVELS = ("debug", "info", "warning", "error", "exception")
QUERIED = re.compile(r"\bpaygrade_[a-z_]+")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    part = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("| `")]
    assert found
    return found


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture(scope="module")
def exposed(postgres_url: str) -> dict[str, str]:
    """Every metric a server has, with its type."""
    with migrated_database(postgres_url) as url, serving(Settings(), url) as api:
        text = api.get("/metrics").text
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


def test_every_metric_is_in_the_table_and_every_one_in_the_table_is_there(exposed: dict[str, str]) -> None:
    assert [name for row in rows("Metrics") for name in names(row[0])] != []
    assert {name for row in rows("Metrics") for name in names(row[0])} == set(exposed)


def test_labels_of_metrics_are_as_documented() -> None:
    metrics = Metrics()
    metrics.requests.of("GET", "/", 200).note(1)
    metrics.decisions.counts[True, "plan"] += 1
    made: dict[str, Any] = {name: its for its, each in metrics.registry._collector_to_names.items() for name in each}
    labels = {name: list(its._labelnames) for name, its in made.items() if hasattr(its, "_labelnames")}
    for family in metrics.registry.collect():
        for sample in family.samples:
            labels[sample.name] = [label for label in sample.labels if label != "le"]
    tried = 0
    for row in rows("Metrics"):
        (name,) = names(row[0])
        if found := labels.get(name, labels.get(f"{name}_count")):
            assert sorted(names(row[1])) == sorted(found), name
            tried += 1
    assert tried >= 9


def queries() -> Iterator[str]:
    dashboard = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for rule in rules():
        yield rule["expr"]


def rules() -> list[Any]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_the_dashboard_and_the_alerts_name_only_metrics_that_exist(exposed: dict[str, str]) -> None:
    series = set(exposed)
    for name, kind in exposed.items():
        series |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"} if kind == "histogram" else set()
    asked = {name for query in queries() for name in QUERIED.findall(query)}
    assert asked - series == set()
    # What is exposed is on the dashboard, so that nobody counts in vain.
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert set(exposed) - shown == set()


def test_queries_group_by_labels_that_their_metrics_have() -> None:
    labels = {name: {*names(row[1]), "worker", "instance", "le"} for row in rows("Metrics") for name in names(row[0])}
    for query in queries():
        grouped = {part.strip() for found in re.findall(r"by \(([^)]*)\)", query) for part in found.split(",")}
        matched = set(re.findall(r"[{,]\s*(\w+)\s*=~?", query))
        for name in QUERIED.findall(query):
            known = labels[re.sub(r"_(bucket|sum|count)$", "", name)]
            assert matched | grouped <= known, query


def test_every_alert_is_in_the_table_and_says_what_to_do() -> None:
    assert [rule["alert"] for rule in rules()] == [name for row in rows("Alerts") for name in names(row[0])]
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"].endswith(".")


def logged() -> Iterator[str]:
    """Every event of the code, as a pattern; one that is told in full by a notice comes with each it can be."""
    for room in ROOMS:
        for path in sorted((ROOT / "src" / "paygrade" / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and node.args and _logs(node.func):
                    yield from _events(node.args[0])


def _logs(called: ast.expr) -> bool:
    if isinstance(called, ast.Attribute):
        return called.attr in LEVELS and ast.unparse(called.value) == "log"
    return ast.unparse(called) in (
        "note",
        "(log.debug if queue.quiet else log.info)",
        "log.debug if queue.quiet else log.info",
    )


def _events(said: ast.expr) -> Iterator[str]:
    match said:
        case ast.Constant(value=str(text)):
            yield re.escape(text)
        case ast.JoinedStr(values=parts):
            yield "".join(re.escape(str(p.value)) if isinstance(p, ast.Constant) else "[a-z_]+" for p in parts)
        case _ if ast.unparse(said) == "told.what":
            yield from get_args(get_type_hints(DriftNotice)["what"])
        case _ if ast.unparse(said) == "queue.name":
            yield from queues()


def queues() -> list[str]:
    """The names of all queues of background work."""
    found = []
    for path in sorted((ROOT / "src" / "paygrade" / "server" / "workers").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) == "Queue"
                and isinstance(node.args[0], ast.Constant)
            ):
                found.append(str(node.args[0].value))
    return found


def test_every_log_event_is_in_the_table_and_every_one_in_the_table_is_logged() -> None:
    patterns = set(logged())
    assert len(patterns) > 30
    listed = [name for row in rows("Log") for name in names(row[0])]
    assert len(listed) == len(set(listed))
    unlisted = {pattern for pattern in patterns if not any(re.fullmatch(pattern, name) for name in listed)}
    assert unlisted == set()
    assert [name for name in listed if not any(re.fullmatch(pattern, name) for pattern in patterns)] == []
    for queue in queues():
        assert {queue, f"{queue}_interrupted", f"{queue}_broken"} <= set(listed)
