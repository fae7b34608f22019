"""Web pages that a developer has open can't move the simulator; programs on the machine and its network can."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from paygrade.simulator.http.origins import refusal

from .conftest import Simulated


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:4711"},
        {"host": "localhost:4711"},
        {"host": "[::1]:4711"},
        {"host": "192.168.1.7:4711"},
        {"host": "simulator:4711"},
        {"host": "simulator.default.svc.cluster.local"},
        {"host": "host.docker.internal:4711"},
        {"host": "localhost:4711", "origin": "http://localhost:4711"},
        {},
    ],
)
def test_programs_and_its_own_page_may_use_it(headers: dict[str, str]) -> None:
    assert refusal(headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:4711", "origin": "http://evil.example"},
        {"host": "127.0.0.1:4711", "origin": "null"},
        {"host": "localhost:4711", "origin": "http://localhost:3000"},
        {"host": "evil.example:4711", "origin": "http://evil.example:4711"},
        {"host": "evil.example:4711"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "[::1:4711"},
    ],
)
def test_pages_of_another_origin_may_not(headers: dict[str, str]) -> None:
    assert refusal(headers)


@pytest.mark.parametrize("path", ["_simulator/weather", "_simulator/clock", "_simulator/settings", "v1/customers"])
@pytest.mark.parametrize("header", [("Origin", "http://evil.example"), ("Host", "evil.example")])
def test_a_request_from_another_page_is_refused_and_changes_nothing(
    simulated: Simulated, path: str, header: tuple[str, str]
) -> None:
    body = json.dumps({"advance": "400d"} if path.endswith("clock") else {"drop": 1}).encode()
    headers = {"content-type": "text/plain", header[0]: header[1]}
    request = urllib.request.Request(f"{simulated.running.url}/{path}", data=body, headers=headers)
    before = simulated.control("clock"), simulated.control("weather")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 403
    assert header[1] in json.load(refused.value)["error"]["message"]
    assert (simulated.control("clock"), simulated.control("weather")) == before
