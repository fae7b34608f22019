"""How the customers' pages of a deployment look, and what they offer.

Law: what is said is checked whole before anything starts: a colour is a colour, a language is one there is, an address
is one browsers may be sent to.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from paygrade.server.process.outbound import check_page
from paygrade.values.errors import Mistake, Refused

Language = Literal["en", "de", "fr", "es"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
COLOURS = ("act", "act-ink", "act-wash", "ok", "wait", "stop", "paper", "raised", "ink")
"""The colours that a deployment may give, for a light page; with `-dark` behind it, for a dark one."""
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
NAME_MAX, TEXT_MAX = 80, 500


class PortalSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `PAYGRADE_PORTAL`'s file says. `name`: what the product is called; `home_url`: where "back" leads.

    `billing_only`: payment and invoices, nothing else. `hide_invoices`: no list of invoices. `hide_plans`: no plans,
    and no change of plan; `hidden_plans`: these are shown nowhere, nor by `GET /v1/plans`. `downgrades` at_renewal:
    whatever the catalog's rule says, less begins with the next period. `languages`: the first is spoken where a browser
    wants none of them. `texts` replace those of a language.
    """

    name: str = ""
    home_url: str | None = None
    billing_only: bool = False
    hide_invoices: bool = False
    hide_plans: bool = False
    hidden_plans: tuple[str, ...] = ()
    downgrades: Literal["by_rule", "at_renewal"] = "by_rule"
    languages: tuple[Language, ...] = LANGUAGES
    colours: dict[str, str] = {}
    texts: dict[Language, dict[str, str]] = {}


NO_PORTAL_SETTINGS = PortalSettings()
"""What holds where nobody says anything."""


def read_portal_settings(said: object, known: Mapping[Language, Mapping[str, Any]]) -> PortalSettings:
    """What a document says; `known` are the texts there are, by language (Any: texts, and their
    plural forms). Refused `invalid_settings`."""
    try:
        settings = msgspec.convert(said if said is not None else {}, PortalSettings)
    except msgspec.ValidationError as error:
        raise _refused([Mistake("PAYGRADE_PORTAL", f"the file can't be read: {error}")]) from None
    found = [Mistake("PAYGRADE_PORTAL", message) for message in _odd(settings, known)]
    if found:
        raise _refused(found)
    return settings


def _odd(settings: PortalSettings, known: Mapping[Language, Mapping[str, Any]]) -> list[str]:
    """Everything that is wrong with it."""
    wrong = []
    if len(settings.name) > NAME_MAX:
        wrong.append(f"`name` is longer than {NAME_MAX} characters")
    if settings.home_url is not None:
        try:
            check_page(settings.home_url, of_tests=True)
        except ValueError as error:
            wrong.append(f"`home_url` {error}")
    if not settings.languages:
        wrong.append(f"`languages` is empty; name some of {', '.join(LANGUAGES)}, or remove it")
    for name, colour in settings.colours.items():
        if name.removesuffix("-dark") not in COLOURS:
            wrong.append(f"`colours` has no `{name}`; there are {', '.join(COLOURS)}, each also with `-dark`")
        elif not _HEX.fullmatch(colour):
            wrong.append(f"`colours.{name}` is `{colour}`; write it as `#1a2b3c`")
    for language, texts in settings.texts.items():
        wrong += [
            f"`texts.{language}.{key}` replaces no text there is"
            for key in texts
            if key not in known[language] and not key.startswith(("plan.", "feature."))
        ]
        wrong += [f"`texts.{language}.{key}` is too long" for key, text in texts.items() if len(text) > TEXT_MAX]
    return wrong


def _refused(found: list[Mistake]) -> Refused:
    listed = "; ".join(f"{mistake.pointer}: {mistake.message}" for mistake in found)
    return Refused("invalid_settings", f"the settings have mistakes: {listed}", tuple(found))
