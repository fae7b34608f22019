"""Documents as people write them: what is read, and what is refused with its line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygrade.documents.yaml import BYTES_MAX, DEPTH_MAX, read_json, read_yaml
from paygrade.values.errors import Refused


def mistakes(text: str | bytes) -> list[str]:
    with pytest.raises(Refused) as caught:
        read_yaml(text)
    assert caught.value.code == "catalog_invalid"
    return [str(mistake) for mistake in caught.value.mistakes]


def json_mistakes(text: str | bytes) -> list[str]:
    with pytest.raises(Refused) as caught:
        read_json(text)
    assert caught.value.code == "catalog_invalid"
    return [str(mistake) for mistake in caught.value.mistakes]


def test_norway_stays_a_text() -> None:
    document, _ = read_yaml("countries: [no, NO, yes, on, off, y, True, NULL, 12:30, 2026-01-01, 0x1F, 1_000]")
    texts = ["no", "NO", "yes", "on", "off", "y", "True", "NULL", "12:30", "2026-01-01", "0x1F", "1_000"]
    assert document == {"countries": texts}


def test_plain_words_and_decimals_are_the_only_other_scalars() -> None:
    document, _ = read_yaml("[true, false, null, ~, 0, -5, 9007199254740991, '7', \"true\", '', text, a: ]")
    assert document == [True, False, None, None, 0, -5, 9007199254740991, "7", "true", "", "text", {"a": None}]


def test_every_place_has_the_line_where_it_is_named() -> None:
    _, lines = read_yaml("# first\na:\n  b: 1\n  c/d~e: [x,\n    y]\n\nf:\n  - g: 1\n  - 2\n")
    assert {place: at.line for place, at in lines.items()} == {
        "": 2,
        "/a": 2,
        "/a/b": 3,
        "/a/c~1d~0e": 4,
        "/a/c~1d~0e/0": 4,
        "/a/c~1d~0e/1": 5,
        "/f": 7,
        "/f/0": 8,
        "/f/0/g": 8,
        "/f/1": 9,
    }


def test_every_place_has_the_column_where_it_is_named() -> None:
    _, lines = read_yaml("a: { é: 1, b: [x, { c: 2 }] }\nd:\n  - 1\n")
    assert {place: tuple(at) for place, at in lines.items()} == {
        "": (1, 1),
        "/a": (1, 1),
        "/a/é": (1, 6),
        "/a/b": (1, 12),
        "/a/b/0": (1, 16),
        "/a/b/1": (1, 19),
        "/a/b/1/c": (1, 21),
        "/d": (2, 1),
        "/d/0": (3, 5),
    }


def test_a_byte_order_mark_is_no_part_of_the_document() -> None:
    assert read_yaml(b"\xef\xbb\xbfa: 1")[0] == read_json(b'\xef\xbb\xbf{"a": 1}')[0] == {"a": 1}


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: `a` is here twice, first in line 1; keep one of them"),
        ("a: 9.99", "line 1: `9.99` is a float; no floats"),
        ("a: 1e3", "line 1: `1e3` is a float; no floats"),
        ("a: .nan", "line 1: `.nan` is a float; no floats"),
        ("a: -.inf", "line 1: `-.inf` is a float; no floats"),
        ("a: 007", "line 1: `007` can be read in two ways; write `7` or quote it"),
        ("a: +5", "line 1: `+5` can be read in two ways; write `5` or quote it"),
        ("a: 99999999999999999999", "line 1: `99999999999999999999` is too large"),
        ("a: 1\nb: &here 2", "line 2: `&here` names this place"),
        ("a: !!int 5", "line 1: `tag:yaml.org,2002:int` is a tag; remove it"),
        ("a: ! 5", "line 1: `!` is a tag; remove it"),
        ("<<: { a: 1 }", "line 1: `<<` merges another mapping in; write its keys out"),
        ("a: 1\n2: b", "line 2: a key is a text; quote `2` if you mean the text"),
        ("true: b", "line 1: a key is a text; quote `true` if you mean the text"),
        ("?\n: b", "line 1: a key is missing"),
        ("? [a]\n: b", "line 1: a key is a text, not a mapping or a list"),
        ("? {a: 1}\n: {b: 2}", "line 1: a key is a text, not a mapping or a list"),
        ("a: 1\n---\nb: 2", "line 2: a second document starts here; write one document per file"),
        ("a: 1\nb: [1,", "line 2: this is not YAML: while parsing a flow node: did not find expected node content"),
        ("a: b: c", "line 1: this is not YAML: mapping values are not allowed in this context"),
        ("a: 'x", "line 1: this is not YAML: while scanning a quoted scalar: found unexpected end of stream"),
        ("é: é\nb: \x07", "line 2: control characters are not allowed; remove the character from the text"),
        (b"a: \xff", "document: the document is not UTF-8"),
        ("a: \ud800", "document: the document is not UTF-8"),
        ("[" * (DEPTH_MAX + 1), f"line 1: nested deeper than {DEPTH_MAX} levels"),
        ("#" * (BYTES_MAX + 1), "document: the document is larger than 1 MiB"),
    ],
)
def test_what_is_no_plain_document_is_refused_with_its_line(text: str | bytes, mistake: str) -> None:
    assert [found for found in mistakes(text) if found.startswith(mistake)]


def test_a_repeated_place_is_reported_where_it_is_named_and_where_it_is_used() -> None:
    found = [mistake[:12] for mistake in mistakes("a: &x [1]\nb: *x\n*x : c")]
    assert [start for start in found if start.endswith("x`")] == [
        "line 1: `&x`",
        "line 2: `*x`",
        "line 3: `*x`",
    ]


def test_all_mistakes_before_broken_syntax_are_reported_with_it() -> None:
    assert [mistake[:6] for mistake in mistakes("a: 1.5\na: 2\nb: }\n")] == ["line 1", "line 2", "line 3"]


def test_mistakes_of_the_text_and_of_the_catalog_are_found_in_one_look() -> None:
    text = """\
version: 1
features:
  calls: { kind: meterd }
  seats: { kind: level }
  seats: { kind: level }
plans:
  free: { defalt: true }
  pro:
    prices: { monthly: { amount: 9.99, currency: usd, interval: month } }
    entitlements: { seats: 007, exports: true }
"""
    assert [mistake.partition(";")[0] for mistake in mistakes(text)] == [
        "line 3: unknown word `meterd`",
        "line 5: `seats` is here twice, first in line 4",
        "line 7: unknown key `defalt`",
        "line 9: `9.99` is a float",
        "line 10: `007` can be read in two ways",
        "line 10: unknown feature or credit `exports`",
    ]


def test_nesting_up_to_the_limit_is_read() -> None:
    text = "[" * DEPTH_MAX + "]" * DEPTH_MAX
    assert read_yaml(text)[0] == read_json(text)[0]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ('{"a": 1, "a": 2}', "document: `a` is twice in one mapping; remove one of them"),
        ('{"a": 9.99}', "document: `9.99` is a float; no floats"),
        ('{"a": NaN}', "document: `NaN` is a float; no floats"),
        ('{"a": 1e400}', "document: `1e400` is a float; no floats"),
        ('{"a": ' + "9" * 5000 + "}", "document: `" + "9" * 57 + "...` is too large"),
        ('{"a": 1,\n"b" 2}', "line 2: this is not JSON: expecting ':' delimiter"),
        ("", "line 1: this is not JSON: expecting value"),
        ('{"a": "\\ud800"}', "document: an escape such as `\\ud800` is half a character"),
        ("[" * 100_000, "document: nested too deeply"),
        (b"\xff", "document: the document is not UTF-8"),
    ],
)
def test_what_is_no_plain_json_is_refused(text: str | bytes, mistake: str) -> None:
    assert json_mistakes(text)[0].startswith(mistake)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_data_comes_back_from_json_as_it_was(data: object) -> None:
    assert read_json(json.dumps(data)) == (data, {})


ASCII_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(max_codepoint=126)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(max_codepoint=126)), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(ASCII_PLAIN)
def test_json_read_as_yaml_means_the_same(data: object) -> None:
    assert read_yaml(json.dumps(data))[0] == data


YAML_LIKE = st.lists(
    st.sampled_from([*"abc 01:-?[]{},&*!|>'\"%@`#\n\t~.<\\", "  ", "\n", "\n- ", ": ", "---\n", "...\n", "<<", "1.5"])
).map("".join)


@given(YAML_LIKE | st.text() | st.binary())
def test_any_text_is_refused_or_read_as_plain_data_with_a_line_for_every_place(text: str | bytes) -> None:
    try:
        document, lines = read_yaml(text)
    except Refused:
        return
    assert json.loads(json.dumps(document)) == document
    assert lines.keys() == set(pointers(document))


@given(YAML_LIKE | st.text() | st.binary())
def test_any_text_is_refused_or_read_as_json(text: str | bytes) -> None:
    try:
        document, _ = read_json(text)
    except Refused:
        return
    assert document == json.loads(text)
    assert json.dumps(document, ensure_ascii=False).encode()


def pointers(value: object, place: str = "") -> list[str]:
    if isinstance(value, dict):
        pairs = [(key.replace("~", "~0").replace("/", "~1"), inner) for key, inner in value.items()]
    else:
        pairs = list(enumerate(value)) if isinstance(value, list) else []
    return [place, *(below for key, inner in pairs for below in pointers(inner, f"{place}/{key}"))]
