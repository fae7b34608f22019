"""The routes of the console: every handler of every module in pages/, the log-in, and the files they need."""

import pkgutil
from functools import cache
from importlib import import_module

from litestar import Response, Router
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from paygrade.server.http.console import log_in, pages
from paygrade.server.http.console.assets import send_asset
from paygrade.server.http.console.failures import HANDLERS
from paygrade.server.http.console.screens import require_person, scope_of, screen
from paygrade.values.errors import Refused


@screen("/{rest:path}", scope="decisions:read")
async def nothing_here(rest: FromPath[str]) -> Response[str]:
    raise Refused("not_found", f"there is no page at `/console{rest}`")


@cache
def screens() -> tuple[HTTPRouteHandler, ...]:
    """All handlers that a person's session opens. One that names no scope is refused here, so that nothing starts."""
    modules = [import_module(f"{pages.__name__}.{found.name}") for found in pkgutil.iter_modules(pages.__path__)]
    named = [each for module in modules for each in (*vars(module).values(), *getattr(module, "SCREENS", ()))]
    found = [each for each in named if isinstance(each, HTTPRouteHandler)]
    for handler in found:
        scope_of(handler)
    return (*found, nothing_here)


def console() -> Router:
    """All of it."""
    kept = Router("/", route_handlers=[*screens()], guards=[require_person])
    open_ = [send_asset, *log_in.OPEN]
    return Router("/", route_handlers=[kept, *open_], exception_handlers=HANDLERS, include_in_schema=False)
