"""A catalog's names as types, for Python and TypeScript: what is misspelt is found before it runs.

Laws: pure and deterministic: one catalog makes one text, in the catalog's order.
"""

from collections.abc import Iterable, Mapping

from paygrade.catalog.model import Catalog
from paygrade.catalog.offers import BooleanFeature, ConfigFeature, MeteredFeature

MADE = "Names of the catalog. Made by `paygrade gen types`: make it again instead of changing it."
_LINE_MAX = 120

_PROTOCOL = '''
class TypedPaygrade(Protocol):
    """The SDK, for features of this catalog: `sdk: TypedPaygrade = Paygrade()`."""

    def check(
        self,
        account: str,
        feature: Feature,
        quantity: int = 1,
        *,
        member: str | None = None,
        properties: Properties | None = None,
        at_least: str | int | None = None,
    ) -> Decision: ...
    async def acheck(
        self,
        account: str,
        feature: Feature,
        quantity: int = 1,
        *,
        member: str | None = None,
        properties: Properties | None = None,
        at_least: str | int | None = None,
    ) -> Decision: ...
    def consume(
        self,
        account: str,
        feature: CountedFeature,
        quantity: int = 1,
        *,
        id: str | None = None,
        member: str | None = None,
        properties: Properties | None = None,
    ) -> Decision: ...
    async def aconsume(
        self,
        account: str,
        feature: CountedFeature,
        quantity: int = 1,
        *,
        id: str | None = None,
        member: str | None = None,
        properties: Properties | None = None,
    ) -> Decision: ...
    def reserve(
        self,
        account: str,
        feature: CountedFeature,
        quantity: int,
        *,
        ttl_s: int = 60,
        member: str | None = None,
        properties: Properties | None = None,
    ) -> Reservation: ...
    def track(
        self,
        account: str,
        feature: CountedFeature | None = None,
        quantity: int | None = None,
        *,
        event: Event | None = None,
        id: str | None = None,
        time: datetime | None = None,
        member: str | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> bool: ...
'''


def python_types(catalog: Catalog) -> str:
    """A module: a `Literal` of each kind of name, a constant for each feature, and the SDK's type with them."""
    named = _named(catalog)
    never = "" if all(named.values()) else "Never, "
    imports = (
        "from collections.abc import Mapping\nfrom datetime import datetime\n"
        f"from typing import Any, Final, Literal, {never}Protocol\n\nfrom paygrade import Decision, Reservation\n"
    )
    types = "\n".join(_literal(name, keys) for name, keys in named.items())
    constants = "\n".join(f'{key.upper()}: Final = "{key}"' for key in named["Feature"])
    properties = "Properties = Mapping[str, str | int | bool]"
    return f'"""{MADE}"""\n\n{imports}\n{types}\n{properties}\n\n{constants}\n\n{_PROTOCOL}'


def typescript_types(catalog: Catalog) -> str:
    """A declaration file: a union of each kind of name, and the type of each value that is configured."""
    types = "\n".join(_union(name, keys) for name, keys in _named(catalog).items())
    kinds = {"integer": "number", "string": "string", "boolean": "boolean"}
    values = "".join(
        f"  {key}: {kinds[feature.type]};\n"
        for key, feature in catalog.features.items()
        if isinstance(feature, ConfigFeature)
    )
    return f"// {MADE}\n\n{types}\n\nexport interface ConfigValues {{\n{values}}}\n"


def _named(catalog: Catalog) -> Mapping[str, list[str]]:
    offers = {**catalog.features, **catalog.credits}
    events = (feature.event for feature in catalog.features.values() if isinstance(feature, MeteredFeature))
    return {
        "Feature": list(offers),
        "BooleanFeature": [key for key, offer in offers.items() if isinstance(offer, BooleanFeature)],
        "ConfigFeature": [key for key, offer in offers.items() if isinstance(offer, ConfigFeature)],
        "CountedFeature": [
            key for key, offer in offers.items() if not isinstance(offer, BooleanFeature | ConfigFeature)
        ],
        "Event": list(dict.fromkeys(events)),
        "Plan": list(catalog.plans),
        "AddOn": list(catalog.add_ons),
    }


def _literal(name: str, keys: Iterable[str]) -> str:
    return _fitting(f"{name} = Literal[", [f'"{key}"' for key in keys], ", ", "]") or f"{name} = Never"


def _union(name: str, keys: Iterable[str]) -> str:
    words = [f'"{key}"' for key in keys] or ["never"]
    line = f"export type {name} = {' | '.join(words)};"
    return (
        line if len(line) <= _LINE_MAX else f"export type {name} =" + "".join(f"\n  | {word}" for word in words) + ";"
    )


def _fitting(head: str, words: list[str], comma: str, tail: str) -> str | None:
    """On one line, or one line for each word; None where there is none."""
    if not words:
        return None
    line = head + comma.join(words) + tail
    return line if len(line) <= _LINE_MAX else head + "".join(f"\n    {word}," for word in words) + "\n" + tail
