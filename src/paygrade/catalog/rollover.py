"""Rollover in a catalog document: how much of what is left of a window is carried into the next one, and how far.

Law: a number says at most how many units are carried, a percentage how much of what is left; both and the number of
windows can be said together.
"""

import re
from collections.abc import Mapping
from typing import Any

from paygrade.catalog.reader import Node
from paygrade.catalog.shapes import POSITIVE, QUANTITY, Law, Plain, Record, Shape, Via, is_mapping, may, whole
from paygrade.values.text import QUANTITY_MAX

Rollover = tuple[int, int, int | None]
"""At most how many units, how much of what is left in percent, and for how many windows (None: for as long as there is
room)."""
OF_ROLLOVER = ("rollover", "rollover_share", "rollover_windows")
WINDOWS_MAX = 12
"""As many windows as are looked back over."""
_PERCENT = re.compile(r"(100|[1-9][0-9]?)%")


def _percent(node: Node) -> int:
    if isinstance(node.value, str) and _PERCENT.fullmatch(node.value):
        return int(node.value[:-1])
    node.expected("a percentage from `1%` to `100%`")
    return 100


_SHARE = Via[int](
    Plain(_percent, {"type": "string", "pattern": f"^{_PERCENT.pattern}$"}), back=lambda percent: f"{percent}%"
)


def _bar_silence(node: Node) -> tuple[()]:
    if node.value == {}:
        node.wrong("say how much is carried over; write for example `{ share: 50%, windows: 3 }`")
    return ()


_RECORD = Record(
    dict[str, Any],
    {
        "share": may(_SHARE, "How much of what is left is carried over; otherwise all of it."),
        "at_most": may(POSITIVE, "At most how many units are carried into a window; otherwise however many are left."),
        "windows": may(whole(1, WINDOWS_MAX), "For how many windows they are carried; then they are gone."),
    },
    (Law({"minProperties": 1}, bars=_bar_silence),),
)


def _of(said: Mapping[str, Any]) -> Rollover:
    return said.get("at_most", QUANTITY_MAX), said.get("share", 100), said.get("windows")


def _written(rollover: Rollover) -> object:
    at_most, share, windows = rollover
    capped = at_most < QUANTITY_MAX
    if windows is None and (capped or share < 100) and not (capped and share < 100):
        return at_most if capped else _SHARE.write(share)
    said = {
        **({"share": share} if share < 100 or not (capped or windows) else {}),
        **({"at_most": at_most} if capped else {}),
        **({"windows": windows} if windows else {}),
    }
    return {key: field.shape.write(said[key]) for key, field in _RECORD.fields.items() if key in said}  # type: ignore[union-attr]  # no groups


def _read(node: Node) -> Rollover:
    if is_mapping(node.value):
        return _of(_RECORD.read(node))
    if isinstance(node.value, str):
        return QUANTITY_MAX, _SHARE.read(node), None
    return QUANTITY.read(node), 100, None


ROLLOVER: Shape[Rollover] = Via(
    Plain(_read, {"anyOf": [QUANTITY.schema(), _SHARE.schema(), _RECORD.schema()]}), back=_written
)
