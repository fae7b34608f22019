"""Looking at pages in Chromium, by the hand of Playwright: with axe, for what the browser says, and without a mouse.

Laws: axe finds nothing; the browser has nothing to say, of policies neither; nothing stands beside the screen.
Axe is most of what a look costs, so it is asked once about what can't differ: see `_STRUCTURES` and `WHOLE_LOOKS`.
"""

import os
import re
from pathlib import Path
from typing import Any

from support.chromium import playwright
from support.server_process import Api

AXE = Path(__file__).parents[1] / "browser" / "node_modules" / "axe-core" / "axe.min.js"
SHORT = bool(os.environ.get("SHORT"))
SHOTS = os.environ.get("SHOTS")
"""A folder for what pages look like."""
WIDTHS, THEMES = (1440, 375), ("light", "dark")
EVERY_LOOK = [(width, theme) for width in WIDTHS for theme in THEMES]
WHOLE_LOOKS = [(WIDTHS[0], THEMES[0]), (WIDTHS[1], THEMES[1])]
"""Each width and each theme once, with all of axe's rules. The other two can differ in contrast alone."""
HEIGHT = 900
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_TABS_MAX = 150
_WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
_RUN_AXE = "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})"
_STRUCTURES = """() => {
    const valued = ['class', 'role', 'type'];
    const told = element => [
        element.tagName,
        element.getAttributeNames().filter(name => name !== 'aria-current').map(
            name => name + (valued.includes(name) ? element.getAttribute(name) : element.getAttribute(name) === '')),
        [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()),
        [...element.shadowRoot?.children ?? [], ...element.children].filter(its => its.tagName !== 'MAIN').map(told),
    ];
    return [document.body, document.querySelector('main')].filter(part => part).map(part => JSON.stringify(told(part)));
}"""
"""What axe judges by, of `main` and of what is around it: elements, their attributes, whether they have a text. Which
text is no matter, so a list of accounts is looked at once, however many roles and addresses show it."""
_TELLS_OF_POLICIES = """document.addEventListener('securitypolicyviolation', event =>
    console.error(`policy: ${event.violatedDirective} forbids ${event.blockedURI}`))"""
_axe = AXE.read_text() if AXE.exists() else ""


class Looked:
    """A page of the browser, and everything that was wrong with it. `where` says what it is at the moment."""

    def __init__(self, context: Any, seen: set[tuple[str, ...]] | None = None) -> None:
        """What is in `seen` is not asked of axe again, and what was asked is put there. Any: Playwright's context."""
        self.page = context.new_page()
        self.where, self.wrong, self.looks = "", list[str](), 0
        self.seen = set[tuple[str, ...]]() if seen is None else seen
        self.appearance: tuple[str, str] = ("", "")
        self.page.add_init_script(_TELLS_OF_POLICIES)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.tell(f"script: {error}"))
        self.page.on("requestfailed", self._failed)

    def tell(self, what: str) -> None:
        """Something is wrong."""
        self.wrong.append(f"{self.where}: {what[:2000]}")

    def look(self, where: str, *, shot: str | None = None, rules: list[str] = _TAGS) -> None:
        """The page as it stands."""
        self.where, self.looks = where, self.looks + 1
        wide = self.page.evaluate(_WIDER)
        if wide > 0:
            self.tell(f"it is {wide} px wider than the screen")
        if _axe:
            self._ask_axe(rules)
        if SHOTS and shot:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(SHOTS) / f"{shot}.png", full_page=True)

    def look_everywhere(self, where: str, looks: list[tuple[int, str]] = EVERY_LOOK) -> None:
        """The same page on a desk and on a phone, in light and in dark; the short form looks at it once."""
        for width, theme in [EVERY_LOOK[self.looks % 4]] if SHORT else looks:
            self.appear(width, theme)
            rules = _TAGS if SHORT or (width, theme) in WHOLE_LOOKS else ["color-contrast"]
            self.look(f"{where}, {width} px, {theme}", shot=f"{named(where)}.{width}.{theme}", rules=rules)

    def _ask_axe(self, rules: list[str]) -> None:
        new = {(part, *self.appearance) for part in self.page.evaluate(_STRUCTURES)} - self.seen
        if not new:
            return
        if self.page.evaluate("typeof axe === 'undefined'"):
            self.page.evaluate(_axe)
        for each in self.page.evaluate(_RUN_AXE, rules)["violations"]:
            nodes = [f"{node['html'][:200]} {node['failureSummary'][:300]}" for node in each["nodes"][:3]]
            self.tell(f"axe: {each['id']}: {each['help']}: {'; '.join(nodes)}")
        self.seen |= new

    def close(self) -> None:
        """Fails with whatever was wrong."""
        assert not self.wrong, "\n".join([f"{len(self.wrong)} findings", *self.wrong[:60]])
        self.page.context.close()

    def appear(self, width: int, theme: str) -> None:
        self.page.set_viewport_size({"width": width, "height": HEIGHT})
        self.page.emulate_media(color_scheme=theme)
        self.appearance = (str(width), theme)

    def tab_to(self, selector: str) -> None:
        """Go to an element as somebody does who has no mouse."""
        for _ in range(_TABS_MAX):
            if self.page.evaluate("s => document.activeElement?.matches(s) ?? false", selector):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{self.page.url}: `{selector}` is not reached by {_TABS_MAX} tabs")

    def write(self, selector: str, text: str) -> None:
        """Go to a field, and write in place of what is there."""
        self.tab_to(selector)
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(text)

    def press(self, key: str, *, leads_to: str) -> None:
        """Press a key that leads to an address like this."""
        with self.page.expect_navigation(url=re.compile(leads_to)):
            self.page.keyboard.press(key)

    def _said(self, message: Any) -> None:  # Any: Playwright's, as below
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.tell(f"console: {message.text}")

    def _failed(self, request: Any) -> None:
        if "ERR_ABORTED" not in (request.failure or ""):  # a stream ends when one goes on
            self.tell(f"request: {request.url}: {request.failure}")


def person(api: Api, role: str, name: str = "") -> dict[str, str]:
    """Somebody who may sign in; of a name, there is one."""
    email = f"{name.lower() or f'{role}-{os.urandom(4).hex()}'}@example.com"
    made = api.ok("POST", "/v1/people", json={"email": email, "name": name or role.title(), "role": role})
    return {"email": email, "password": made["password"]}


def signed_in(
    browser: Any, api: Api, role: str, name: str = "", *, seen: set[tuple[str, ...]] | None = None, **more: Any
) -> Looked:
    """The console as somebody with this role sees it. Any: Playwright's browser, and more of its contexts."""
    viewport = {"width": WIDTHS[0], "height": HEIGHT}
    its = Looked(browser.new_context(**{"viewport": viewport, "reduced_motion": "reduce"} | more), seen)
    somebody = person(api, role, name)
    its.page.goto(f"{api.url}/console/login")
    its.page.fill("#f-email", somebody["email"])
    its.page.fill("#f-password", somebody["password"])
    its.page.click("text=Sign in >> nth=-1")
    its.page.wait_for_url(re.compile(r"/console$"))
    return its


def named(where: str) -> str:
    """As a file may be called."""
    return re.sub(r"[^a-z0-9]+", "-", where.lower()).strip("-") or "home"


expect = playwright.expect
