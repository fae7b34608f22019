"""Style, script and icons of our pages: files of this package, served as they are.

Law: the address of a file holds a digest of all of them, so that whoever has one never asks again, and no page meets
a file of another release.
"""

import gzip
import hashlib
from functools import cache
from importlib import resources

from litestar import Response, get
from litestar.params import FromPath
from msgspec import Struct

from paygrade.server.http.conditional import names, strong_tag
from paygrade.server.http.context import HttpRequest
from paygrade.values.errors import Refused

_KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_FOLDER = resources.files("paygrade.server.http.console") / "static"


class Asset(Struct, frozen=True):
    """One file, and the same in fewer bytes."""

    kind: str
    body: bytes
    packed: bytes


@cache
def assets() -> dict[str, Asset]:
    """Every file by its name, read once in a process."""
    found = {}
    for each in _FOLDER.iterdir():
        ending = each.name.rpartition(".")[2]
        if ending in _KINDS:
            body = each.read_bytes()
            found[each.name] = Asset(_KINDS[ending], body, gzip.compress(body, mtime=0))
    return found


@cache
def digest() -> str:
    """Of all of them: files name each other."""
    said = hashlib.sha256()
    for name, asset in sorted(assets().items()):
        said.update(name.encode() + b"\0" + asset.body)
    return said.hexdigest()[:16]


def address(name: str) -> str:
    """Where a file is."""
    assert name in assets(), name
    return f"/console/static/{digest()}/{name}"


@get("/console/static/{release:str}/{name:str}")
async def send_asset(release: FromPath[str], name: FromPath[str], request: HttpRequest) -> Response[bytes]:
    asset = assets().get(name)
    if asset is None:
        raise Refused("not_found", f"there is no file `{name}`")
    packs = "gzip" in request.headers.get("accept-encoding", "")
    body = asset.packed if packs else asset.body
    lasts = "public, max-age=31536000, immutable" if release == digest() else "no-cache"
    headers = {"etag": strong_tag(body), "cache-control": lasts, "vary": "accept-encoding"}
    if names(request.headers.getall("if-none-match", []), headers["etag"], weakly=True):
        return Response(b"", status_code=304, headers=headers)
    headers["x-content-type-options"] = "nosniff"
    if packs:
        headers["content-encoding"] = "gzip"
    return Response(body, media_type=asset.kind, headers=headers)
