"""Components: what screens are made of, on one page, by the macros and the style that screens have."""

from datetime import timedelta
from types import SimpleNamespace

from litestar import Response

from paygrade.server.http.console.rendering import page
from paygrade.server.http.console.screens import screen
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.values.errors import Mistake, Refused

_REFUSED = Refused("invalid_body", "the form has mistakes", (Mistake("/limit", "`limit` must be a whole number"),))
_CHANGES = [
    SimpleNamespace(pointer="/plans/pro/entitlements/pages/limit", before="10000", after="12000"),
    SimpleNamespace(pointer="/plans/pro/entitlements/audit_log", before=None, after="true"),
]
_SWEEP = SimpleNamespace(
    counts=SimpleNamespace(subscriptions=7564, requests=76, different=3, discovered=1, missing=0),
    finished_at=None,
    dry_run=False,
)
_SWATCHES = (
    ("act", "act on it, or it is at work"),
    ("ok", "has it, in order"),
    ("wait", "time is running"),
    ("stop", "denied, or failed"),
    ("hand", "a person decided"),
)
_SIZES = (
    ("6", "$1,480.00"),
    ("5", "The title of a page"),
    ("4", "A section, or an answer in one sentence"),
    ("3", "Running text"),
    ("2", "Tables, forms, navigation"),
    ("1", "What stands below"),
)


@screen("/developers/components", scope="catalog:read")
async def show_components(request: HttpRequest, context: InContext) -> Response[str]:
    at = context.clock.now()
    return page(
        request,
        "component_page.html",
        swatches=_SWATCHES,
        sizes=_SIZES,
        failed=_REFUSED,
        lines=_CHANGES,
        it=_SWEEP,
        soon=at + timedelta(days=14),
    )
