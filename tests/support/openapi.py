"""Requests as the OpenAPI document has them."""

import re
from typing import Any


def plain_address(path: str, key: str = "acme") -> str:
    return re.sub(r"{\w+}", key, path)


def example_of(told: dict[str, Any]) -> Any:
    content = told.get("requestBody", {}).get("content", {})
    return next((each["example"] for each in content.values()), {})
