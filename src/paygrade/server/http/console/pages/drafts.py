"""A draft of the catalog: written as YAML, previewed by the same plan as `paygrade catalog plan`, published with a
reason.

Laws: a draft stands in its form alone; what is published is what was previewed, or nothing.
"""

from collections.abc import Mapping
from typing import Any

from litestar import Response

from paygrade.catalog.diff import render
from paygrade.catalog.grandfathering import Grandfathering
from paygrade.catalog.parse import parse
from paygrade.documents.yaml import read_yaml
from paygrade.documents.yaml_text import write_yaml
from paygrade.server.http.console.pages import what_if
from paygrade.server.http.console.rendering import link, page, see_other
from paygrade.server.http.console.screens import Form, action, read_form, read_moment, screen
from paygrade.server.http.console.sending import Sending, send
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.problems import KINDS
from paygrade.server.operations.catalog import publish
from paygrade.server.operations.catalog.simulate import WHATS, Simulation
from paygrade.server.process.acting import acting
from paygrade.values.errors import Refused

_BEGIN = """version: 1

features:
  api_calls: { kind: metered, event: api_call, unit: call }

plans:
  free:
    default: true
    entitlements:
      api_calls: { limit: 1000, every: month }
"""


@screen("/plans/draft", scope="catalog:publish")
async def show_draft(request: HttpRequest, context: InContext) -> Response[str]:
    """The catalog in force, to be edited."""
    catalog, published = await publish.sold(context.store)
    text = write_yaml(render(catalog)) if published is not None else _BEGIN
    return _draft(request, text)


@action("/plans/draft", scope="catalog:publish")
async def send_draft(request: HttpRequest, context: InContext) -> Response[Any]:
    """Preview it, say what it would have meant, or publish what was previewed. Any: the page, a file, or the way to
    what was published."""
    form = await read_form(request)
    text = _text(form)
    try:
        document, lines = read_yaml(text)
        if not isinstance(document, Mapping):
            parse(document, lines=lines)  # which says so, in its own words
        if form["do"] == "publish":
            return await _publish(request, form, document)
        if form["do"] in ("simulate", "more", "csv"):
            asked = (context, form, document, lines, _existing(form))
            if form["do"] == "csv":
                return await what_if.file_of(*asked)  # type: ignore[arg-type]  # as below
            return _draft(request, text, form=form, simulation=await what_if.page_of(*asked))  # type: ignore[arg-type]
        plan = await publish.publish_catalog(
            context.store,
            document=document,  # type: ignore[arg-type]  # what is no mapping is for the parser to refuse
            lines=lines,
            dry_run=True,
            existing=_existing(form),
            at=context.clock.now(),
            by=acting().actor.known_as,
        )
    except Refused as error:
        return _draft(request, text, form=form, error=error, status=KINDS[error.code].status)
    return _draft(request, text, form=form, plan=plan)


async def _publish(request: HttpRequest, form: Form, document: object) -> Response[None]:
    if not form["reason"]:
        raise Refused("invalid_body", "say why in `Reason`; the next person reads it")
    existing = _existing(form)
    query = {"plan": form["plan"], "existing": "keep" if existing.keep else "follow", "reason": form["reason"]}
    if existing.follow_at is not None:
        query["at"] = existing.follow_at.isoformat()
    assert isinstance(document, Mapping)
    done = await send(request, Sending("PUT", ("catalog",), document, query=query))
    return see_other(link("plans", against=done.answer["base_version"] or None, version=done.answer["version"]))


def _existing(form: Form) -> Grandfathering:
    if form["existing"] == "keep":
        return Grandfathering(keep=True)
    return Grandfathering(follow_at=read_moment(form["at"], name="at"))


def _text(form: Form) -> str:
    """As it was typed: what is before the first line counts in YAML."""
    return next(iter(form.every("yaml")), "").replace("\r\n", "\n")


def _draft(
    request: HttpRequest,
    text: str,
    *,
    form: Form | None = None,
    plan: publish.CatalogPlan | None = None,
    simulation: Simulation | None = None,
    error: Refused | None = None,
    status: int = 200,
) -> Response[str]:
    return page(
        request,
        "draft.html",
        status=status,
        text=text,
        existing=form["existing"] if form is not None else "follow",
        follow_at=form["at"] if form is not None else "",
        reason=form["reason"] if form is not None else "",
        plan=plan,
        simulation=simulation,
        spans=what_if.SPANS,
        since=(form["since"] if form is not None else "") or "90d",
        whats=WHATS,
        what=form["what"] if form is not None else "",
        error=error,
    )
