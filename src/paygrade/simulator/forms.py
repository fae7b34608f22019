"""Stripe's bracketed form fields: read into nested values, and typed with Stripe's refusals.

`items[0][price]=p&metadata[a]=b&expand[]=c` reads as {"items": [{"price": "p"}], "metadata": {"a": "b"},
"expand": ["c"]}. Everything stays text until a `read_…` function gives it a type.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from paygrade.simulator import errors

Json = dict[str, Any]  # Stripe's objects are open JSON documents: how they look is in `shapes`

# Stripe docs: metadata
METADATA_MAX, METADATA_KEY_MAX, METADATA_VALUE_MAX = 50, 40, 500

# Stripe docs: currencies
_CURRENCY_CODES = """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad cdf chf clp
    cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd hnl hrk htg huf idr ils
    inr isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mro mur mvr
    mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd
    shp sle sos srd std szl thb tjs tnd top try ttd twd tzs uah ugx usd uyu uzs vnd vuv wst xaf xcd xof xpf yer zar
    zmw
"""
CURRENCIES = frozenset(_CURRENCY_CODES.split())

RANGE_FIELDS = frozenset({"gt", "gte", "lt", "lte"})


def decode(encoded: str) -> Json:
    tree: Json = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        head, *inner = re.split(r"\[|\]\[|\]$", name.removesuffix("]"))
        _place(tree, path=[head, *inner], value=value)
    return {name: value if name == "metadata" else _with_lists(value) for name, value in tree.items()}


def _place(tree: Json, *, path: list[str], value: str) -> None:
    for part in path[:-1]:
        branch = tree.setdefault(part, {})
        if not isinstance(branch, dict):
            raise errors.invalid(path[0], f"Invalid {path[0]}: it is both a value and an object.")
        tree = branch
    last = path[-1] or str(len(tree))
    tree[last] = value


def _with_lists(value: Any) -> Any:
    """Turn objects whose keys are all indices into lists; `metadata` keeps its keys, whatever they are."""
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_with_lists(value[key]) for key in sorted(value, key=int)]
    return {key: inner if key == "metadata" else _with_lists(inner) for key, inner in value.items()}


def check_known(params: Json, known: frozenset[str], *, within: str = "") -> None:
    """Refuse parameters nobody knows, and metadata that is too large: before anything changes."""
    for name in params:
        if name not in known:
            raise errors.unknown_parameter(f"{within}[{name}]" if within else name)
    metadata = params.get("metadata")
    if not isinstance(metadata, dict):
        return
    if len(metadata) > METADATA_MAX:
        raise errors.invalid("metadata", f"Metadata can have at most {METADATA_MAX} keys.")
    for key, value in metadata.items():
        if len(key) > METADATA_KEY_MAX:
            message = f"Metadata keys can be at most {METADATA_KEY_MAX} characters long; `{key[:50]}` is longer."
            raise errors.invalid(f"metadata[{key}]", message)
        if len(str(value)) > METADATA_VALUE_MAX:
            message = f"Metadata values can be at most {METADATA_VALUE_MAX} characters long; that of `{key}` is longer."
            raise errors.invalid(f"metadata[{key}]", message)


def read_text(params: Json, name: str) -> str | None:
    """Read a text; absent is None, empty is empty (Stripe unsets a field with an empty text)."""
    value = params.get(name)
    if value is not None and not isinstance(value, str):
        raise errors.invalid(name, f"Invalid string: {name} must be a text.")
    return value


def read_required(params: Json, name: str) -> str:
    value = read_text(params, name)
    if not value:
        raise errors.missing_parameter(name)
    return value


def read_currency(params: Json, name: str = "currency") -> str:
    currency = read_required(params, name).lower()
    if currency not in CURRENCIES:
        message = f"Invalid currency: {currency}. Use a three-letter ISO code that Stripe supports."
        raise errors.invalid(name, message)
    return currency


def read_int(params: Json, name: str) -> int | None:
    value = params.get(name)
    if value is None or value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        raise errors.invalid(name, f"Invalid integer: {value}", code="parameter_invalid_integer") from None


def read_bool(params: Json, name: str) -> bool | None:
    value = params.get(name)
    if value is None:
        return None
    if value not in ("true", "false"):
        raise errors.invalid(name, f"Invalid boolean: {value}")
    return bool(value == "true")


def read_choice(params: Json, name: str, choices: tuple[str, ...], *, within: str = "") -> str | None:
    value = params.get(name)
    if value is not None and value not in choices:
        raise errors.not_one_of(f"{within}[{name}]" if within else name, value=value, choices=choices)
    return value


def read_object(params: Json, name: str) -> Json:
    value = params.get(name, {})
    if value == "":
        return {}
    if not isinstance(value, dict):
        raise errors.invalid(name, f"Invalid object: {name}")
    return value


def read_list(params: Json, name: str) -> list[Any]:
    value = params.get(name, [])
    if value == "":
        return []
    if not isinstance(value, list):
        raise errors.invalid(name, f"Invalid array: {name}")
    return value


def read_objects(params: Json, name: str) -> list[Json]:
    values = read_list(params, name)
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise errors.invalid(f"{name}[{index}]", f"Invalid object: {name}[{index}]")
    return values


def merge_metadata(current: dict[str, str], params: Json) -> dict[str, str]:
    """Apply `metadata` as Stripe does: given keys are set, empty values unset, an empty text unsets all."""
    if params.get("metadata") == "":
        return {}
    merged = {**current, **read_object(params, "metadata")}
    merged = {key: str(value) for key, value in merged.items() if value != ""}
    if len(merged) > METADATA_MAX:
        raise errors.invalid("metadata", f"Metadata can have at most {METADATA_MAX} keys.")
    return merged


def in_range(value: int, wanted: Any) -> bool:
    """Tell whether an instant lies in `created=<instant>` or `created[gte]=…&created[lt]=…`."""
    if not isinstance(wanted, dict):
        return value == read_int({"created": wanted}, "created")
    check_known(wanted, RANGE_FIELDS, within="created")
    bounds = {name: read_int(wanted, name) for name in wanted}
    return all(
        bound is None or {"gt": value > bound, "gte": value >= bound, "lt": value < bound, "lte": value <= bound}[name]
        for name, bound in bounds.items()
    )
