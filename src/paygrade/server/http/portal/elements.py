"""The custom elements: one module that any page may import, and its words.

Law: what is served here says nothing of any account, so that any origin may have it and any cache keep it a while.
"""

import gzip
from functools import cache
from importlib import resources

import msgspec
from litestar import Response, get
from litestar.params import FromPath

from paygrade.server.http.conditional import names, strong_tag
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.portal.wording import Texts, spoken, texts_of
from paygrade.values.errors import Refused

AGE_S = 300
"""For how long a browser uses what it has without asking."""


@get("/embed/v1.js")
async def send_elements(request: HttpRequest) -> Response[bytes]:
    return _sent(request, module(), "text/javascript; charset=utf-8")


@get("/embed/v1/{name:str}")
async def send_words(name: FromPath[str], request: HttpRequest, context: InContext) -> Response[bytes]:
    wanted, dot, kind = name.partition(".")
    if not dot or kind != "json":
        raise Refused("not_found", "the words of the elements are at `/embed/v1/en.json`")
    texts = texts_of(spoken([wanted], context.portal), context.portal)
    return _sent(request, msgspec.json.encode(_of_elements(texts)), "application/json")


@cache
def module() -> bytes:
    return (resources.files("paygrade.server.http.portal") / "static" / "v1.js").read_bytes()


def _of_elements(texts: Texts) -> dict[str, object]:
    """Those that the elements say: the pages' own are not sent along."""
    return {key: text for key, text in texts.items() if not key.startswith("portal.")}


def _sent(request: HttpRequest, body: bytes, kind: str) -> Response[bytes]:
    packs = "gzip" in request.headers.get("accept-encoding", "")
    if packs:
        body = gzip.compress(body, mtime=0)
    headers = {
        "etag": strong_tag(body),
        "cache-control": f"public, max-age={AGE_S}",
        "vary": "accept-encoding",
        "access-control-allow-origin": "*",
        "cross-origin-resource-policy": "cross-origin",
        "x-content-type-options": "nosniff",
    }
    if names(request.headers.getall("if-none-match", []), headers["etag"], weakly=True):
        return Response(b"", status_code=304, headers=headers)
    if packs:
        headers["content-encoding"] = "gzip"
    return Response(body, media_type=kind, headers=headers)
