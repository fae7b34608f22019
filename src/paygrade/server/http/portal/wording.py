"""The words of the customers' pages and elements, in each language, as the deployment has them.

Laws: every language has the same texts; a deployment's own words replace ours one by one.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

import msgspec

from paygrade.server.process.portal_settings import LANGUAGES, Language, PortalSettings

Text = str | dict[str, str]
"""A text, or one for each of the plural forms that Unicode's CLDR knows: `one` and `other` are enough here."""
Texts = Mapping[str, Text]

_FOLDER = resources.files("paygrade.server.http.portal") / "languages"


@cache
def languages() -> Mapping[Language, Texts]:
    """All texts, read once in a process."""
    return {name: msgspec.json.decode((_FOLDER / f"{name}.json").read_bytes(), type=dict[str, Text]) for name in LANGUAGES}


def texts_of(language: Language, settings: PortalSettings) -> Texts:
    """The texts of a language, with the deployment's own."""
    return {**languages()[language], **settings.texts.get(language, {})}


def spoken(wanted: Sequence[str], settings: PortalSettings) -> Language:
    """The first of these that the deployment speaks (`de-AT` is `de`), else its first language."""
    for each in wanted:
        key = each.strip().partition(";")[0].partition("-")[0].lower()
        for known in settings.languages:
            if key == known:
                return known
    return settings.languages[0]
