"""Usage: what an account used, by feature, window, member and property, as bars that are a table."""

from typing import Annotated, Any

from litestar import Response

from paygrade.catalog.offers import Credit, LevelFeature, MeteredFeature
from paygrade.server.http.bodies import read_key
from paygrade.server.http.console.rendering import page
from paygrade.server.http.console.screens import read_moment, screen
from paygrade.server.http.console.wording import money, number, short_day, words
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.parameters import text
from paygrade.server.http.problems import KINDS
from paygrade.server.operations.catalog import publish
from paygrade.server.operations.usage import history
from paygrade.values.errors import Refused

GROUPS_SHOWN = 50


@screen("/usage", scope="usage:read")
async def show_usage(
    request: HttpRequest,
    context: InContext,
    account: Annotated[str, text("Whose usage.")] = "",
    feature: Annotated[str, text("Of this feature or credit.")] = "",
    by: Annotated[str, text("`member`, or a property of usage events.")] = "",
    begin: Annotated[str, text("Windows that end after this.")] = "",
    until: Annotated[str, text("Windows that begin before this.")] = "",
) -> Response[str]:
    said = {"account": account, "feature": feature, "by": by, "begin": begin, "until": until}
    catalog, _ = await publish.sold(context.store)
    counted = [
        (key, words(key))
        for key, its in {**catalog.features, **catalog.credits}.items()
        if isinstance(its, MeteredFeature | LevelFeature | Credit)
    ]
    shown: dict[str, Any] = {"charts": [], "groups": None, "more": False}
    error: Refused | None = None
    if account:
        try:
            shown = await _read(context, said)
        except Refused as refused:
            error = refused
    return page(
        request,
        "usage.html",
        status=KINDS[error.code].status if error is not None else 200,
        said=said,
        features=[("", "Every feature"), *counted],
        error=error,
        **shown,
    )


async def _read(context: Context, said: dict[str, str]) -> dict[str, Any]:
    """Any: what the template shows. `charts`: a feature, its rows and the largest figure; `groups`: the same of the
    newest window, by member or property."""
    found = await history.read_usage(
        context.store,
        account=read_key(said["account"], pointer="", noun="account"),
        feature=said["feature"] or None,
        from_at=read_moment(said["begin"], name="from"),
        until=read_moment(said["until"], name="until"),
        group_by=said["by"] or None,
        at=context.clock.now(),
    )
    by_feature: dict[str, list[history.UsageWindow]] = {}
    for window in found.windows:
        by_feature.setdefault(window.feature, []).append(window)
    charts = [
        (key, [_row(each) for each in its], max([1, *(max(each.used, each.limit or 0) for each in its)]))
        for key, its in by_feature.items()
    ]
    groups = None
    if said["by"] and found.windows:
        newest = found.windows[0]
        its = sorted(newest.groups or (), key=lambda group: -group.used)[:GROUPS_SHOWN]
        rows = [(group.value if group.value is not None else "without one", group.used, "") for group in its]
        groups = (_window(newest), rows, max([1, *(group.used for group in its)]))
    return {"charts": charts, "groups": groups, "more": found.more}


def _row(window: history.UsageWindow) -> tuple[str, int, str]:
    told = []
    if window.reserved:
        told.append(f"{number(window.reserved)} held")
    if window.unlimited:
        told.append("unlimited")
    elif window.limit is not None:
        told.append(f"of {number(window.limit)}")
    if window.cost is not None and window.cost.units:
        told.append(f"{money(window.cost.amount, window.cost.currency)} for {number(window.cost.units)}")
    return _window(window), window.used, ", ".join(told)


def _window(window: history.UsageWindow) -> str:
    if window.from_at is None:
        return "For good"
    begins = short_day(window.from_at, None)
    return f"{begins} {window.from_at.year} to {short_day(window.until, None)}" if window.until else f"Since {begins}"
