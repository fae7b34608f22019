"""The events that were made, kept compressed: they are many, final, and seldom read again.

Law. An event read is the event made, but for `pending_webhooks`, which counts down.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import msgspec

from paygrade.simulator.forms import Json

LEVEL = 3


@dataclass(slots=True)
class Kept:
    type: str
    created: int
    pending_webhooks: int
    kind: str  # of the object the event tells of
    compressed: bytes


class EventLog:
    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._samples: dict[str, bytes] = {}  # kind → its first event, which the later ones are much like

    def keep(self, event: Json) -> None:
        kind = event["data"]["object"]["object"]
        encoded = msgspec.json.encode(event)
        squeezer = zlib.compressobj(LEVEL, zdict=self._samples.setdefault(kind, encoded))
        compressed = squeezer.compress(encoded) + squeezer.flush()
        self._kept[event["id"]] = Kept(event["type"], event["created"], event["pending_webhooks"], kind, compressed)

    def get(self, id: str) -> Json | None:
        kept = self._kept.get(id)
        if kept is None:
            return None
        encoded = zlib.decompressobj(zdict=self._samples[kept.kind]).decompress(kept.compressed)
        event = msgspec.json.decode(encoded, type=dict[str, Any])
        event["pending_webhooks"] = kept.pending_webhooks
        return event

    def head(self, id: str) -> Json | None:
        """Give what lists choose by, without reading the event."""
        kept = self._kept.get(id)
        if kept is None:
            return None
        known = {"id": id, "type": kept.type, "created": kept.created}
        return {**known, "pending_webhooks": kept.pending_webhooks}

    def note_pending(self, id: str, count: int) -> None:
        self._kept[id].pending_webhooks = count
