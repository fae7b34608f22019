"""The pictures of the docs: six pages of the demo's company, as they are. `PICTURES=docs/images` makes them anew.

They are taken wherever the long form runs, into a folder of the test's own, so that what makes them goes on working.
"""

import base64
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from paygrade.cli.demo_past import PAST, live
from paygrade.cli.demo_run import KEY, House, standing
from paygrade.cli.demo_usage import events, report
from support.chromium import needed
from support.looking import HEIGHT, SHORT, Looked, expect, signed_in
from support.server_process import Api

pytestmark = [needed, pytest.mark.skipif(SHORT, reason="the short form takes no pictures")]

BYTES_MAX, ALL_MAX = 150_000, 900_000
EVENTS = 20_000
_AS_WEBP = """async png => {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = Object.assign(document.createElement('canvas'), { width: image.width, height: image.height });
    canvas.getContext('2d').drawImage(image, 0, 0);
    return canvas.toDataURL('image/webp', 0.85).split(',')[1];
}"""


@contextmanager
def kestrel() -> Iterator[House]:
    """The company of the demo, with ten weeks of its customers behind it."""
    now = datetime.now(UTC).replace(microsecond=0)
    with standing(key=KEY, ports=(0, 0), start=now - PAST, sweep_every=None) as house:
        past = live(house, now=now, seed=1, tell=lambda _: None)
        report(house.stage, islice(events(past, count=EVENTS, seed=1), EVENTS), lambda _: None)
        house.stage.settle()
        # Two customers change something, and no webhook tells of it.
        house.stage.control("weather", drop=1)
        house.company.cancel_at_period_end("initech")
        house.company.change("globex", "pro_monthly", quantity=2)
        house.stage.call("POST", "/v1/sync/sweep", json={})
        house.stage.until(
            lambda: house.stage.call("GET", "/v1/sync/drift")["drift"], lambda found: len(found) > 0, "nothing differs"
        )
        house.stage.control("weather")
        yield house


@pytest.fixture
def house() -> Iterator[House]:
    """In a thread: where there is a browser, there is an event loop, and the company wants to start its own."""
    stack = ExitStack()
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(stack.enter_context, kestrel()).result()
        thread.submit(stack.close).result()


def test_pictures_of_the_docs_are_taken_and_are_small(house: House, chromium: Any, tmp_path: Path) -> None:
    folder = Path(os.environ.get("PICTURES") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    with Api(house.api_url, KEY) as api:
        its = signed_in(chromium, api, "admin", "Kim")
        [change] = api.ok("GET", "/v1/accounts/quarry/plan-changes")["changes"][:1]
        for name, path in (
            ("home", "/console"),
            ("account", "/console/accounts/hooli"),
            ("plan-change", f"/console/plan-changes/quarry/{change['id']}"),
            ("billing-sync", "/console/sync?every=true"),
        ):
            assert its.page.goto(f"{api.url}{path}").status == 200, path
            # What only the demo has.
            its.page.evaluate("document.querySelector('.top a[href$=simulator]').remove()")
            _take(its, folder / f"{name}.webp")
        its.close()
        customer = Looked(chromium.new_context(viewport={"width": 1440, "height": HEIGHT}, color_scheme="light"))
        link = api.ok("POST", "/v1/accounts/acme/portal-sessions", json={})["url"]
        customer.page.goto(link)
        _take(customer, folder / "portal.webp")
        customer.page.get_by_label("Number of seats").first.fill("4")
        customer.page.get_by_role("button", name="Update Pro").click()
        expect(customer.page.get_by_role("heading", name="Choose who keeps a seat")).to_be_visible()
        _take(customer, folder / "who-stays.webp")
        customer.close()
    taken = {each.name: each.stat().st_size for each in folder.glob("*.webp")}
    assert len(taken) == 6
    assert max(taken.values()) <= BYTES_MAX, taken
    assert sum(taken.values()) <= ALL_MAX, taken


def _take(its: Looked, path: Path) -> None:
    """What stands on the screen, in the format that is smallest of those that Chromium writes."""
    png = base64.b64encode(its.page.screenshot(animations="disabled")).decode()
    writer = its.page.context.browser.new_page()
    path.write_bytes(base64.b64decode(writer.evaluate(_AS_WEBP, png)))
    writer.close()
