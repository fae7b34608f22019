"""Explain: one question, the answer in a sentence, how it came about, and the same from code."""

from typing import Annotated

from litestar import Response

from paygrade.server.http.console.asking import answer, code_samples, read_question
from paygrade.server.http.console.rendering import page
from paygrade.server.http.console.screens import screen
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.parameters import text
from paygrade.values.errors import Refused

Word = Annotated[str, text("A part of the question.")]


@screen("/explain", scope="decisions:read")
async def show_explain(
    request: HttpRequest,
    context: InContext,
    account: Word = "",
    feature: Word = "",
    quantity: Word = "",
    member: Word = "",
    at: Word = "",
) -> Response[str]:
    error, answered, code = None, None, []
    if account and feature:
        try:
            question = read_question(account=account, feature=feature, quantity=quantity, member=member, at=at)
            answered = await answer(context, question)
            code = code_samples(question, f"{request.url.scheme}://{request.headers.get('host', '')}")
        except Refused as refused:
            error = refused
    catalog = await context.snapshots.catalog(context.store)
    return page(
        request,
        "explain.html",
        status=400 if error is not None else 200,
        asked={"account": account, "feature": feature, "quantity": quantity or "1", "member": member, "at": at},
        features=[(key, key) for key in (*catalog.features, *catalog.credits)],
        answered=answered,
        code=code,
        error=error,
    )
