"""Server-sent events, read from bytes: no socket, no clock (WHATWG HTML, 9.2.6).

Laws: how bytes are cut into pieces changes nothing; what is not an event of ours is left out; what is buffered has a
bound.
"""

from msgspec import Struct

BUFFER_MAX = 64 * 1024 * 1024


class Event(Struct, frozen=True):
    """One event. `id`: where to go on after it, as last said."""

    name: str
    data: bytes
    id: str | None


class EventReader:
    """Takes bytes, gives events."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._name, self._data = "message", bytearray()
        self._id: str | None = None

    def read(self, more: bytes) -> list[Event]:
        """The events that are complete by now. ValueError where a line has no end."""
        self._rest += more
        found: list[Event] = []
        begin = 0
        while (end := self._rest.find(b"\n", begin)) >= 0:
            event = self._line(bytes(self._rest[begin:end]).removesuffix(b"\r"))
            begin = end + 1
            if event is not None:
                found.append(event)
        del self._rest[:begin]
        if len(self._rest) + len(self._data) > BUFFER_MAX:
            raise ValueError(f"an event is longer than {BUFFER_MAX} bytes")
        return found

    def _line(self, line: bytes) -> Event | None:
        if not line:
            name, data = self._name, bytes(self._data)
            self._name, self._data = "message", bytearray()
            return Event(name, data.removesuffix(b"\n"), self._id) if data else None
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match field:
            case b"event":
                self._name = value.decode("utf-8", "replace")
            case b"data":
                self._data += value + b"\n"
            case b"id" if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        return None
