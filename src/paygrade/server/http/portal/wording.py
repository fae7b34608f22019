"""The words of the customers' pages and elements, in each language, as the deployment has them.

Laws: every language has the same texts; a deployment's own words replace ours one by one; figures, dates and money are
written as the language writes them.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import resources

import msgspec
from markupsafe import Markup
from msgspec import Struct

from paygrade.catalog.model import Price, Setting, Switch, Term
from paygrade.server.operations.own_pages.on_sale import OfferText
from paygrade.server.process.portal_settings import LANGUAGES, Language, PortalSettings
from paygrade.values.money import amount

Text = str | dict[str, str]
"""A text, or one for each of the plural forms that Unicode's CLDR knows: `one` and `other` are enough here."""
Texts = Mapping[str, Text]

_FOLDER = resources.files("paygrade.server.http.portal") / "languages"
_THOUSANDS = {"en": ",", "de": ".", "fr": "\u202f", "es": "."}
_GROUPED_FROM = {"es": 10_000}
"""Spanish sets four digits without a separator (https://www.rae.es/dpd/números)."""
_SIGNS = {"usd": "$", "eur": "€", "gbp": "£"}


@cache
def languages() -> Mapping[Language, Texts]:
    """All texts, read once in a process."""
    read = msgspec.json.Decoder(dict[str, Text]).decode
    return {name: read((_FOLDER / f"{name}.json").read_bytes()) for name in LANGUAGES}


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


class Words(Struct, frozen=True):
    """What a page says, in one language. `now` says which years need not be named."""

    language: Language
    texts: Texts
    now: datetime | None = None

    def say(self, key: str, count: int | None = None, **said: object) -> str:
        """A text with what is said in it; `count` chooses its plural form."""
        text = self.texts[key]
        if not isinstance(text, str):
            is_one = count == 1 or (count == 0 and self.language == "fr")
            text = text["one" if is_one else "other"]
        for name, value in said.items():
            text = text.replace("{" + name + "}", str(value))
        return text

    def has(self, key: str) -> bool:
        return key in self.texts

    def name(self, kind: str, key: str) -> str:
        """What people call a plan or feature: as the deployment says, else its key, to be read."""
        known = self.texts.get(f"{kind}.{key}")
        plain = key.replace("_", " ")
        return known if isinstance(known, str) else plain[:1].upper() + plain[1:]

    def plan(self, ref: str | None) -> str:
        """What people call a plan, of whatever version."""
        return self.name("plan", ref.partition("@")[0]) if ref is not None else self.say("portal.no_plan")

    def number(self, units: int) -> str:
        if abs(units) < _GROUPED_FROM.get(self.language, 0):
            return str(units)
        return f"{units:,}".replace(",", _THOUSANDS[self.language])

    def money(self, units: int, currency: str) -> str:
        """`$1,480.00`, `1.480,00 €`; without its cents where there are none."""
        figure, _, code = amount(abs(units), currency).partition(" ")
        whole, _, rest = figure.partition(".")
        point = "." if self.language == "en" else ","
        told = self.number(int(whole)) + (f"{point}{rest}" if rest.strip("0") else "")
        sign, mark = "−" if units < 0 else "", _SIGNS.get(currency, code)
        if self.language == "en":
            return f"{sign}{mark}{told}" if currency in _SIGNS else f"{sign}{mark}\u00a0{told}"
        return f"{sign}{told}\u00a0{mark}"

    def date(self, at: datetime) -> Markup:
        at = at.astimezone(UTC)
        month = self.say("portal.months").split(" ")[at.month - 1]
        is_near = self.now is None or self.now.astimezone(UTC).year == at.year
        said = self.say("portal.date" if is_near else "portal.date_year", day=at.day, month=month, year=at.year)
        return Markup('<time datetime="{}" title="{}">{}</time>').format(
            f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{at:%Y-%m-%d %H:%M} UTC", said
        )

    def per(self, price: Price) -> str:
        if price.interval_count == 1:
            return self.say(f"per.{price.interval}")
        return self.say(f"every.{price.interval}", n=price.interval_count)

    def value(self, value: bool | int | str | None, unit: str = "") -> str:
        """What a config feature says, with its unit."""
        if isinstance(value, bool):
            return self.say("yes" if value else "no")
        if isinstance(value, int):
            key = f"portal.unit.{unit}"
            return self.say(key, count=value, n=self.number(value)) if self.has(key) else self.number(value)
        return value or ""

    def term(self, term: Term, its: OfferText | None) -> str | None:
        """What a plan gives of one feature, on one line; None: nothing worth one."""
        feature = self.name("feature", term.feature)
        match term:
            case Switch():
                return feature if term.on else None
            case Setting():
                return self.say("term.units", feature=feature, n=self.value(term.value, its.unit if its else ""))
        if term.by_quantity and term.units == 1:
            return self.say("term.as_bought", feature=feature)
        if term.units == 0:
            return None
        n = self.say("unlimited") if term.units is None else self.number(term.units)
        key = f"per.{term.recurrence.every}" if term.recurrence is not None else ""
        n = f"{n} {self.say(key)}" if term.units is not None and self.has(key) else n
        return self.say("term.units", feature=feature, n=f"+{n}" if term.adds else n)
