"""The simulator's clock and weather, where the server follows one: in the demo, in development, and nowhere else."""

from datetime import timedelta
from typing import Annotated, Any

from litestar import Response

from paygrade.server.http.auth import SESSION
from paygrade.server.http.console.rendering import link, page, see_other
from paygrade.server.http.console.screens import action, read_form, screen
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.parameters import text
from paygrade.server.http.problems import KINDS
from paygrade.server.operations import people
from paygrade.server.process.simulator import Simulator
from paygrade.values.errors import Refused

LEAPS = {"1 hour": 1, "12 hours": 12, "1 day": 24, "2 days": 48, "1 week": 168, "31 days": 744}
"""How far the clock goes on, in hours."""
WEATHERS: dict[str, tuple[str, dict[str, float]]] = {
    "calm": ("Calm: everything arrives, once and in order", {}),
    "lost": ("Every webhook is lost", {"drop": 1}),
    "rough": ("Webhooks come late, twice and out of order; some are lost",
              {"drop": 0.2, "duplicate": 0.3, "reorder": 0.3, "late": 0.1}),
    "away": ("The provider answers nothing but errors", {"error": 1}),
}  # fmt: skip


@screen("/simulator", scope="billing:write")
async def show_simulator(
    request: HttpRequest, context: InContext, done: Annotated[str, text("`yes`: something was done just now.")] = ""
) -> Response[str]:
    return await _simulator(request, context, done=bool(done))


@action("/simulator", scope="billing:write")
async def move_simulator(request: HttpRequest, context: InContext) -> Response[Any]:
    """Move its clock, or change its weather. Any: a page, or the way back."""
    form, its = await read_form(request), _followed(context)
    try:
        if (hours := LEAPS.get(form["leap"])) is not None:
            # By that clock, sessions would end on the way.
            await people.prolong(context.store, request.cookies[SESSION], timedelta(hours=hours))
            await its.advance(f"{hours}h")
        elif form["weather"] in WEATHERS:
            await its.set_weather(WEATHERS[form["weather"]][1])
        else:
            raise Refused("invalid_body", "choose how far the clock goes on, or a weather")
    except Refused as error:
        return await _simulator(request, context, error=error)
    return see_other(link("simulator", done="yes"))


def _followed(context: Context) -> Simulator:
    if context.simulator is None:
        raise Refused("not_found", "this server follows no simulator's clock; start `paygrade demo` or `paygrade dev`")
    return context.simulator


async def _simulator(
    request: HttpRequest, context: Context, *, done: bool = False, error: Refused | None = None
) -> Response[str]:
    its = _followed(context)
    found = {name: value for name, value in (await its.weather()).items() if value not in (0, [0, 0], [1000, 5000])}
    return page(
        request,
        "simulator.html",
        status=KINDS[error.code].status if error is not None else 200,
        url=its.url,
        leaps=[(each, each) for each in LEAPS],
        weathers=[(name, told) for name, (told, _) in WEATHERS.items()],
        weather=next((name for name, (_, wanted) in WEATHERS.items() if wanted == found), ""),
        found=found,
        done=done,
        error=error,
    )
