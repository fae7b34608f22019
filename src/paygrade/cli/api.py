"""How commands talk to a running server.

Laws: a refusal of the server is raised as Refused with the server's own code, a server that is away as
Unavailable; JSON comes back as plain values, printed as they are.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

import httpx2
import msgspec

from paygrade.embedded_postgres.folder import default_data_dir
from paygrade.server.process.admin_key import stored_key
from paygrade.server.process.settings import Target, parse_target
from paygrade.values.errors import Mistake, Refused, Unavailable

TIMEOUT_S = 30.0


def target() -> Target:
    """Where the server is; without a key in the environment, the one an embedded server on this machine wrote down."""
    found = parse_target(os.environ)
    # The key of this machine is shown to this machine only.
    if found.key is None and urlsplit(found.url).hostname in ("127.0.0.1", "localhost", "::1"):
        given = os.environ.get("PAYGRADE_DATA_DIR")
        return Target(found.url, stored_key(Path(given) if given else default_data_dir()))
    return found


def call(
    method: str,
    path: str,
    *,
    body: object = None,
    content: bytes | None = None,
    media_type: str = "application/json",
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    page: httpx2.Client | None = None,
) -> Any:
    """One request; the decoded answer (None when there is none). `page`: whoever asks, where that is a person and not a
    key. Any: what the server says is printed as it is."""
    found = target()
    if content is None and body is not None:
        content = msgspec.json.encode(body)
    headers = {**(headers or {}), **({"Content-Type": media_type} if content is not None else {})}
    with _reaching(found), nullcontext(page) if page is not None else _client(found.url) as client:
        if page is None:
            headers |= _key(found)
        answer = client.request(method, found.url + path, params=query, content=content, headers=headers)
    if answer.is_success:
        return msgspec.json.decode(answer.content) if answer.content else None
    raise _failure(answer, found)


def download(path: str, file: IO[bytes], *, query: dict[str, str]) -> None:
    """Write what is answered into a file, as it comes."""
    found = target()
    with (
        _reaching(found),
        _client(found.url) as client,
        client.stream("GET", found.url + path, params=query, headers=_key(found)) as answer,
    ):
        if not answer.is_success:
            answer.read()
            raise _failure(answer, found)
        for part in answer.iter_bytes():
            file.write(part)


def _key(found: Target) -> dict[str, str]:
    return {"Authorization": f"Bearer {found.key}"} if found.key else {}


@contextmanager
def _reaching(found: Target) -> Iterator[None]:
    try:
        yield
    except httpx2.ConnectError:
        raise Unavailable(
            "server_unreachable",
            f"nothing answers at {found.url}; is the server running? start it with `paygrade serve`",
        ) from None
    except httpx2.TransportError as error:
        raise Unavailable("server_unreachable", f"the server at {found.url} did not answer: {error}") from None


@contextmanager
def page() -> Iterator[httpx2.Client]:
    """What holds a person's session, as a page of the server does."""
    url = target().url
    with _client(url, {"Origin": url}) as client:
        yield client


def _client(url: str, headers: dict[str, str] | None = None) -> httpx2.Client:
    # Reading whom to trust takes longer than all else that a command does.
    return httpx2.Client(timeout=TIMEOUT_S, trust_env=False, headers=headers, verify=url.startswith("https:"))


def path(*segments: str) -> str:
    """A path of the API; account keys may hold anything, slashes too."""
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


def _failure(answer: httpx2.Response, found: Target) -> Refused | Unavailable:
    try:
        told = msgspec.json.decode(answer.content)
        code, detail = str(told["code"]), str(told["detail"])
        mistakes = msgspec.convert(told.get("errors", ()), tuple[Mistake, ...])
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return Unavailable("server_strange", f"{found.url} answered {answer.status_code}, but not like Paygrade; "
                           "is PAYGRADE_URL the address of a Paygrade server?")  # fmt: skip
    if answer.status_code == 401 and code == "unauthenticated":
        if found.key:
            return Refused(code, f"{detail}; the command shows the key in PAYGRADE_API_KEY")
        # Commands read the environment alone; who has just run `init` has the key in a file beside them.
        beside = "the `.env` in this folder may have it: run `set -a; . ./.env; set +a`. Or "
        here = beside if Path(".env").is_file() else ""
        return Refused(
            code,
            f"the server requires a key; {here}set PAYGRADE_API_KEY to one that `paygrade keys create` made, or to the "
            "server's PAYGRADE_ADMIN_KEY",
        )
    if answer.status_code >= 500:
        return Unavailable(code, detail)
    return Refused(code, detail, mistakes)
