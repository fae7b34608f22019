"""The page on state updates: each type with the schema of its data and an example, which is one that has occurred."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from paygrade.postgres.store import Store
from paygrade.updates.log import Update
from paygrade.updates.types import TYPES
from support.every_update import Story

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).resolve().parents[2] / "docs" / "updates.md"
BEGIN = "<!-- What follows is made from the code: tests/docs/test_updates_page.py says how. -->\n"


def table() -> str:
    rows = [f"| `{type}` | {its.when} |" for type, its in TYPES.items()]
    return "\n".join(["\n| type | when |", "|---|---|", *rows, ""])


def section(kind: type[Struct], examples: dict[str, Update]) -> str:
    """What all types with these data have alike, and an example of each."""
    (schema,), definitions = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    its = {**definitions.pop(kind.__name__), **({"$defs": definitions} if definitions else {})}
    assert schema == {"$ref": f"#/$defs/{kind.__name__}"}
    said = " ".join(str(its.pop("description")).split()).replace("None", "null")
    types = [type for type, one in TYPES.items() if one.data is kind]
    shown = [{"type": type, "data": examples[type].data} for type in types]
    return (
        f"\n### {', '.join(f'`{type}`' for type in types)}\n\n{said}\n\n"
        f"```jsonl\n{_lines(shown)}\n```\n\nJSON Schema of `data`:\n\n```json\n{_json(its)}\n```\n"
    )


def _lines(shown: list[dict[str, Any]]) -> str:
    return "\n".join(_json(one) for one in shown)


def _json(value: object) -> str:
    # Ids that are drawn are alike on every run.
    text = re.sub(r"chg_[0-9a-f]{20}", "chg_5e1c07a2d94bb86f03d1", json.dumps(value, ensure_ascii=False))
    return re.sub(r"key_[0-9a-f]{19}", "key_019d2a7c4e05e1c07a2", text)


async def occurred(store: Store) -> dict[str, Update]:
    """The first update of each type."""
    found: dict[str, Update] = {}
    for update in await Story(store).tell():
        found.setdefault(update.type, update)
        # What is written is what the type says, and nothing more.
        data: Any = msgspec.json.decode(msgspec.json.encode(update.data), type=TYPES[update.type].data)
        assert msgspec.to_builtins(data) == update.data
    return found


async def test_the_page_has_each_type_with_its_schema_and_an_example_that_has_occurred(
    store: Store, tmp_path: Path
) -> None:
    found = await occurred(store)
    assert sorted(found) == sorted(TYPES)
    kinds = dict.fromkeys(its.data for its in TYPES.values())
    wanted = table() + "".join(section(kind, found) for kind in kinds)
    written = PAGE.read_text(encoding="utf-8")
    begin = written.index(BEGIN) + len(BEGIN)
    proposal = tmp_path / "updates.md"
    proposal.write_text(written[:begin] + wanted, encoding="utf-8")
    assert written[begin:] == wanted, f"types have changed: copy {proposal} to docs/updates.md, and read it"
