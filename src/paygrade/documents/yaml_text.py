"""Plain data written as YAML for people: short mappings on one line, comments before the lines they are about.

Law: what was written is read as the same data, whatever the comments say.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

LINE_MAX = 110
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./@-]*", re.ASCII)
_WORDS = frozenset({"null", "true", "false"})


def write_yaml(document: Mapping[str, object], comments: Mapping[str, Sequence[str]] = {}) -> str:
    """`comments`: by the JSON Pointer of the key they stand before; those of the whole document stand first."""
    head = [*_commented(comments.get("", ()), 0)]
    return "\n".join([*head, *_block(document, "", 0, comments, apart=True)]) + "\n"


def _block(
    mapping: Mapping[str, object], above: str, depth: int, comments: Mapping[str, Sequence[str]], *, apart: bool = False
) -> Iterator[str]:
    for number, (key, value) in enumerate(mapping.items()):
        pointer = f"{above}/{key.replace('~', '~0').replace('/', '~1')}"
        said = [*_commented(comments.get(pointer, ()), depth)]
        if apart and number:
            yield ""
        yield from said
        name = f"{'  ' * depth}{_scalar(key)}:"
        line = f"{name} {_flow(value)}"
        inner = any(each.startswith(f"{pointer}/") for each in comments)
        if not isinstance(value, Mapping) or not value:
            yield line
        elif inner or len(line) > LINE_MAX or depth == 0 or any(isinstance(each, Mapping) for each in value.values()):
            yield name
            yield from _block(value, pointer, depth + 1, comments)
        else:
            yield line


def _commented(lines: Sequence[str], depth: int) -> Iterator[str]:
    for line in lines:
        # A name in it may have any character; only one that ends the line would end the comment.
        yield f"{'  ' * depth}# {' '.join(''.join(c if c.isprintable() else ' ' for c in line).split())}"


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_scalar(key)}: {_flow(each)}" for key, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    return _scalar(value)


def _scalar(value: object) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and value not in _WORDS:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(each if each.isprintable() else _escaped(ord(each)) for each in quoted)


def _escaped(code: int) -> str:
    """A character that YAML takes only by its number (YAML 1.2, §5.7)."""
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
