"""The pictures of the docs: six pages of the demo's company, as they are. `PICTURES=docs/images` makes them anew.

They are taken wherever the long form runs, into a folder of the test's own, so that what makes them goes on working.
Law: what is on them is the same whenever they are taken. The company's clock stands still.
"""

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from paygrade.cli.demo_run import KEY, House
from support.chromium import needed
from support.looking import HEIGHT, SHORT, Looked, expect, signed_in
from support.server_process import Api

pytestmark = [needed, pytest.mark.skipif(SHORT, reason="the short form takes no pictures")]

BYTES_MAX, ALL_MAX = 150_000, 900_000
_IDS_BY_NUMBER = """() => {
    const known = new Map();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode())
        walker.currentNode.data = walker.currentNode.data.replace(
            /\\b(sub_sched|cus|sub|si|in|price|prod|evt|chg|quote)_[0-9A-Za-z]{10,}/g, (id, kind) => {
                if (!known.has(id)) known.set(id, `${kind}_${known.size + 1001}`);
                return known.get(id);
            });
}"""
"""Ids are made by chance: on a picture they count from 1001 on, so that it can be read, and taken again the same."""
_AS_WEBP = """async png => {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = Object.assign(document.createElement('canvas'), { width: image.width, height: image.height });
    canvas.getContext('2d').drawImage(image, 0, 0);
    return canvas.toDataURL('image/webp', 0.85).split(',')[1];
}"""


def test_pictures_of_the_docs_are_taken_and_are_small(kestrel: House, chromium: Any, tmp_path: Path) -> None:
    folder = Path(os.environ.get("PICTURES") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    with Api(kestrel.api_url, KEY) as api:
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
    its.page.evaluate(_IDS_BY_NUMBER)
    png = base64.b64encode(its.page.screenshot(animations="disabled")).decode()
    writer = its.page.context.browser.new_page()
    path.write_bytes(base64.b64decode(writer.evaluate(_AS_WEBP, png)))
    writer.close()
