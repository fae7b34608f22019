"""The time machine with two instants of an account side by side: what it had at each, as was known then or is now."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Annotated

from litestar import Response
from litestar.params import FromPath
from msgspec import Struct

from paygrade.server.http.console.access_view import told_of, whole_told
from paygrade.server.http.console.asking import KNOWLEDGE, By
from paygrade.server.http.console.course import course
from paygrade.server.http.console.history import override_words
from paygrade.server.http.console.rendering import page
from paygrade.server.http.console.screens import read_moment, screen
from paygrade.server.http.console.wording import state_words, words
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.parameters import text
from paygrade.server.operations.accounts.record import unknown_account
from paygrade.server.operations.portrait import Portrait, portrait
from paygrade.values.errors import Refused

NOT_KNOWN, NOT_THERE = "was not known", "was not in the catalog"


class Line(Struct, frozen=True):
    """One thing at both instants; the tones are those of what is told."""

    what: str
    first: str
    second: str
    tones: tuple[str, str] = ("", "")

    @property
    def differs(self) -> bool:
        return self.first != self.second


@screen("/accounts/{account:str}/compare", scope="accounts:read")
async def show_comparison(
    account: FromPath[str],
    request: HttpRequest,
    context: InContext,
    first: Annotated[str, text("An instant in UTC; a day ago if empty.")] = "",
    second: Annotated[str, text("Another one; now if empty.")] = "",
    first_by: By = "",
    second_by: By = "",
    every: Annotated[str, text("`yes`: what is the same at both, too.")] = "",
) -> Response[str]:
    now = context.clock.now()
    at = read_moment(first, name="first") or now - timedelta(days=1), read_moment(second, name="second") or now
    by = first_by, second_by
    both = [await _at(context, account, each, now, believed=its != "now") for each, its in zip(at, by, strict=True)]
    if both == [None, None]:
        raise unknown_account(account)
    found = lines(*both)
    return page(
        request,
        "compare.html",
        account=account,
        at=at,
        known=[
            "as known now" if each > now or its == "now" else "as known then" for each, its in zip(at, by, strict=True)
        ],
        by=by,
        knowledge=KNOWLEDGE,
        groups=[(name, [each for each in its if every or each.differs], len(its)) for name, its in found.items()],
        count=sum(each.differs for its in found.values() for each in its),
        every=every,
    )


async def _at(context: Context, account: str, at: datetime, now: datetime, *, believed: bool) -> Portrait | None:
    """None: nobody knew of it then."""
    try:
        return await portrait(context.store, account=account, at=at, now=now, believed=believed)
    except Refused as refused:
        if refused.code != "unknown_account":
            raise
        return None


def lines(one: Portrait | None, other: Portrait | None) -> dict[str, list[Line]]:
    """Everything that decides about the account, at both, by what it is."""
    keys = dict.fromkeys(key for each in (one, other) if each is not None for key in each.features)
    decides = [Line(what, _told(told, one), _told(told, other)) for what, told in _DECIDE.items()]
    return {"What it has": [_feature(key, one, other) for key in keys], "What decides it": decides}


def _feature(key: str, one: Portrait | None, other: Portrait | None) -> Line:
    (first, its_tone), (second, other_tone) = [_decided(key, each) for each in (one, other)]
    return Line(words(key), first, second, (its_tone, other_tone))


def _decided(key: str, found: Portrait | None) -> tuple[str, str]:
    if found is None:
        return NOT_KNOWN, ""
    its = found.features.get(key)
    return (NOT_THERE, "") if its is None else (whole_told(its.decision), told_of(its.decision, shortly=True)[1])


def _told(told: Callable[[Portrait], Iterable[object]], found: Portrait | None) -> str:
    return NOT_KNOWN if found is None else ", ".join(map(str, told(found))) or "none"


def _subscriptions(found: Portrait) -> list[str]:
    return [f"{' and '.join(each.buys)}: {state_words(each.state).lower()}" for each in course(found, found.as_of)]


_DECIDE: dict[str, Callable[[Portrait], Iterable[object]]] = {
    "Subscriptions": _subscriptions,
    "Versions": lambda found: [each.ref for each in found.versions],
    "Overrides": lambda found: map(override_words, found.account.overrides),
    "Blocks": lambda found: [each.key for each in found.account.blocks],
    "Members": lambda found: [len(found.account.members)],
    "Catalog": lambda found: [found.catalog_version],
}
