"""What one meter event told."""

from __future__ import annotations

from typing import NamedTuple


class Usage(NamedTuple):
    at: int
    value: int
    identifier: str
