"""Settings: what this server runs with. A secret is never shown, only that there is one."""

from importlib.metadata import version

from litestar import Response

from paygrade.server.http.console.rendering import page
from paygrade.server.http.console.screens import screen
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.operations.catalog import publish


@screen("/settings", scope="catalog:read")
async def show_settings(request: HttpRequest, context: InContext) -> Response[str]:
    _, published = await publish.sold(context.store)
    catalog = f"{published.version}" if published is not None else "none yet"
    return page(request, "settings.html", groups=_in_force(context, catalog))


def _in_force(context: Context, catalog: str) -> tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]:
    """By group: what it is, how it is set, and the variable that sets it (empty: none)."""
    oidc = context.oidc
    keys = {None: "not known", "live": "live", "test": "test"}
    return (
        (
            "Server",
            (
                ("Release", version("paygrade"), ""),
                ("Catalog in force", catalog, ""),
                (
                    "Clock",
                    "stands still, or follows another one" if context.clock.stands_still else "its own",
                    "PAYGRADE_CLOCK_URL",
                ),
            ),
        ),
        (
            "Billing",
            (
                ("Provider", context.provider if context.has_provider else "none", "PAYGRADE_STRIPE_API_KEY"),
                ("Mode", keys[context.keys.mode], "PAYGRADE_STRIPE_API_KEY"),
                (
                    "Its webhooks",
                    "verified" if context.verify is not None else "not received: no secret is set",
                    "PAYGRADE_STRIPE_WEBHOOK_SECRET",
                ),
            ),
        ),
        (
            "People",
            (
                (
                    "Single sign-on",
                    oidc.settings.name if oidc is not None else "none; people have passwords here",
                    "PAYGRADE_OIDC_ISSUER",
                ),
                (
                    "Needs a second person",
                    ", ".join(sorted(each.replace("_", " ") for each in context.second_person)) or "nothing",
                    "PAYGRADE_SECOND_PERSON",
                ),
            ),
        ),
        (
            "Personal data",
            (
                (
                    "Properties of usage that an erasure takes",
                    ", ".join(context.personal_properties) or "none",
                    "PAYGRADE_PERSONAL_PROPERTIES",
                ),
            ),
        ),
    )
