"""How the API is asked to use, hold, grant and count units, and how its answers are read back."""

from typing import Any

import httpx2
import msgspec

from paygrade.decisions.decide import Decision
from paygrade.decisions.message import DecisionView, shown
from paygrade.server.http.routes.usage import Reserved, Used
from paygrade.server.operations.events.ingest import Ingested
from paygrade.server.operations.usage.answers import Answer
from paygrade.server.operations.usage.grants import BalanceView, GrantView
from paygrade.server.operations.usage.requests import Commit, Consume, Extend, Release, Reserve
from stories.language.operator_phrases import NOT_YET
from stories.language.product_phrases import Count, Give, Refusal, Report, Reported, Request, Told, Void

Message = tuple[str, str, dict[str, Any] | list[Any] | None]
"""Method, path and JSON body."""


def message(request: Request) -> Message:
    """What is sent; what is not said is left out."""
    account = f"/v1/accounts/{request.account}"
    match request:
        case Consume():
            return "POST", "/v1/consume", _body(request)
        case Reserve():
            return "POST", "/v1/reservations", _body(request)
        case Commit(reservation=id) | Release(reservation=id) | Extend(reservation=id):
            return "POST", f"/v1/reservations/{id}/{type(request).__name__.lower()}", _body(request, "reservation")
        case Give(pool=pool, grant=grant):
            from_at = None if grant.from_at == NOT_YET else grant.from_at
            said = {
                "feature": pool,
                "units": grant.units,
                "id": grant.id,
                "kind": grant.kind,
                "priority": grant.priority,
            }
            dates = {"from_at": from_at, "expires_at": grant.until}
            return "POST", f"{account}/grants", {**said, **_plain({k: at for k, at in dates.items() if at is not None})}
        case Void(pool=pool, id=id):
            return "DELETE", f"{account}/grants/{pool}/{id}", None
        case Report(event=event):
            # What is left out of an event is left out of its JSON.
            return "POST", "/v1/events", [_plain(event)]
        case Count(pool=pool, used=used, id=id):
            return "PUT", f"{account}/usage/{pool}", {"used": used, "id": id}


def told(request: Request, answer: httpx2.Response) -> Told | Refusal:
    """What the API answered. AssertionError where it neither answered nor refused."""
    if not answer.is_success:
        assert answer.status_code < 500, f"{answer.request.url}: {answer.status_code} {answer.text}"
        return Refusal(answer.json()["code"])
    match request:
        case Consume():
            used = msgspec.json.decode(answer.content, type=Used)
            return Answer(_bare(used.decision), used.consumed, used.replayed)
        case Give() | Void():
            return msgspec.json.decode(answer.content, type=GrantView)
        case Count():
            return msgspec.json.decode(answer.content, type=BalanceView)
        case Report():
            took = msgspec.json.decode(answer.content, type=Ingested)
            return Refusal(took.rejected[0].code) if took.rejected else Reported(took.accepted, took.duplicates)
        case _:
            held = msgspec.json.decode(answer.content, type=Reserved)
            return Answer(_bare(held.decision), held.reservation is not None, held.replayed, held.reservation)


def _bare(view: DecisionView) -> Decision:
    """The decision without the words in which it is shown, which follow from it."""
    bare = Decision(**{name: getattr(view, name) for name in Decision.__struct_fields__})
    assert view == shown(bare, counted=True)
    return bare


def _body(request: msgspec.Struct, *in_path: str) -> dict[str, Any]:
    said: dict[str, Any] = _plain(request)
    return {name: value for name, value in said.items() if value is not None and name not in in_path}


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)
