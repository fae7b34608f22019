"""What machines ask: is it alive, is it ready, what are its numbers, what does it speak."""

import asyncio
from contextlib import suppress
from typing import Any, Literal

from litestar import Response, get
from litestar.params import FromPath
from msgspec import Struct

from paygrade.server.http.context import HttpRequest, InVitals
from paygrade.server.http.openapi import describe, document
from paygrade.server.http.problems import KINDS
from paygrade.server.http.version import version_of
from paygrade.server.operations.measures import measure
from paygrade.server.process.metrics import CONTENT_TYPE
from paygrade.values.errors import Refused, Unavailable


class Health(Struct, frozen=True):
    """Nothing stands in the way."""

    status: Literal["ok"] = "ok"


class ProblemKind(Struct, frozen=True):
    """What a problem's `code` stands for."""

    code: str
    status: int
    title: str


@get("/healthz", opt=describe("health", scope=None, example={"status": "ok"}))
async def healthz() -> Health:
    """Check that the process runs.

    The process answers. This doesn't check the database, because a restart would not repair that.
    """
    return Health()


@get("/readyz", opt=describe("health", scope=None, example={"status": "ok"}))
async def readyz(context: InVitals) -> Health:
    """Check that the server is ready.

    The database can be reached and has this release's schema, the clock is known, and background work runs. Unavailable
    `not_ready`.
    """
    missing = await context.ready()
    if missing:
        raise Unavailable("not_ready", "; ".join(missing))
    return Health()


@get("/metrics", opt=describe("health", scope=None, media_type="text/plain"))
async def metrics(request: HttpRequest, context: InVitals) -> Response[bytes]:
    """Retrieve metrics.

    Counters, gauges and histograms in the text format of Prometheus. With several workers on one port, those of all of
    them, each with its `worker`; what is measured of the database has none.
    """
    # Who has no address came by this process's own socket: another worker, which asks each of them for its scrape.
    its = context.metrics
    if request.client is None:
        shown = its.render()
    else:
        with suppress(Unavailable):
            await measure(context.store, its, context.clock.now())
        shown = await its.render_all()
    return Response(shown, headers={"Content-Type": CONTENT_TYPE})


@get("/openapi.json", opt=describe("health", scope=None))
async def openapi(request: HttpRequest) -> dict[str, Any]:
    """Retrieve this document.

    This document, OpenAPI 3.1, of the version of the API that `Paygrade-Version` names. Any: a JSON document.
    """
    return await asyncio.to_thread(document, tuple(request.app.routes), version_of(request.scope))


@get(
    "/problems/{code:str}",
    opt=describe(
        "health",
        scope=None,
        example={"code": "unknown_account", "status": 404, "title": "There is no such account"},
    ),
)
async def problem_kind(code: FromPath[str]) -> ProblemKind:
    """Describe a problem code.

    The address in a problem's `type`. Refused `not_found`.
    """
    kind = KINDS.get(code)
    if kind is None:
        raise Refused("not_found", f"there is no problem with the code `{code}`")
    return ProblemKind(code, kind.status, kind.title)
