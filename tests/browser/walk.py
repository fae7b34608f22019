"""Looks at pages in Chromium and says what is wrong with them, one JSON line each. Run by `make browser` in an
environment of its own, with what to look at on standard input; nothing of Paygrade is imported here.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, sync_playwright

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
HEIGHT = 900
TABS_MAX = 150
_found = 0


def tell(kind: str, where: str, detail: str) -> None:
    """Something is wrong."""
    global _found
    _found += 1
    print(json.dumps({"kind": kind, "where": where, "detail": detail[:2000]}), flush=True)


def log_in(context: BrowserContext, base: str, person: dict[str, str]) -> Page:
    page = context.new_page()
    page.goto(f"{base}/console/login")
    page.fill("#f-email", person["email"])
    page.fill("#f-password", person["password"])
    page.click("text=Sign in >> nth=-1")
    page.wait_for_url(re.compile(r"/console$"))
    return page


def watch(page: Page, at: dict[str, str]) -> None:
    """Whatever the browser says while a page is looked at is wrong with it, but for the status of the page."""

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            tell("console", at["where"], message.text)

    page.on("console", said)
    page.on("pageerror", lambda error: tell("script", at["where"], str(error)))
    page.on("requestfailed", lambda request: _failed(request, at))


def _failed(request: Any, at: dict[str, str]) -> None:  # Any: Playwright's
    if "ERR_ABORTED" not in (request.failure or ""):  # a stream ends when one goes on
        tell("request", at["where"], f"{request.url}: {request.failure}")


def look(page: Page, axe: str, at: dict[str, str], shot: Path | None) -> None:
    """One page as it stands: nothing for axe to find, nothing beside the screen."""
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wide > 0:
        tell("sideways", at["where"], f"it is {wide} px wider than the screen")
    if axe:
        page.evaluate(axe)
        found = page.evaluate("tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", TAGS)
        for each in found["violations"]:
            nodes = "; ".join(node["html"][:200] + " " + node["failureSummary"][:300] for node in each["nodes"][:3])
            tell("axe", at["where"], f"{each['id']}: {each['help']}: {nodes}")
    if shot is not None:
        page.screenshot(path=shot, full_page=True)


def walk(browser: Browser, asked: dict[str, Any], person: dict[str, str], axe: str) -> int:
    """Every page as somebody, in every combination of colours and widths; how many were looked at."""
    context = browser.new_context(viewport={"width": 1440, "height": HEIGHT}, reduced_motion="reduce")
    page = log_in(context, asked["base"], person)
    at = {"where": ""}
    watch(page, at)
    looked = 0
    for number, path in enumerate(asked["paths"]):
        combinations = [(width, theme) for width in asked["widths"] for theme in asked["themes"]]
        if asked["short"]:
            combinations = [[combinations[0], combinations[-1]][number % 2]]
        for width, theme in combinations:
            at["where"] = f"{path} as {person['role']}, {asked['state']}, {width} px, {theme}"
            page.set_viewport_size({"width": width, "height": HEIGHT})
            page.emulate_media(color_scheme=theme)
            answer = page.goto(f"{asked['base']}{path}", wait_until="load")
            assert answer is not None
            if answer.status >= 500:
                tell("status", at["where"], f"{answer.status}")
            elif answer.status not in (200, 403, 404):
                tell("status", at["where"], f"{answer.status}: {page.inner_text('main')[:300]}")
            name = re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-") or "home"
            shots = asked.get("shots")
            shot = Path(shots) / f"{name}.{asked['state']}.{person['role']}.{width}.{theme}.png" if shots else None
            look(page, axe, at, shot if person["role"] == "admin" else None)
            looked += 1
    context.close()
    return looked


def tab_to(page: Page, selector: str) -> None:
    """Go to an element as somebody does who has no mouse."""
    for _ in range(TABS_MAX):
        if page.evaluate("s => document.activeElement?.matches(s) ?? false", selector):
            return
        page.keyboard.press("Tab")
    raise Error(f"{page.url}: `{selector}` is not reached by {TABS_MAX} tabs")


def enter(page: Page, leads_to: str) -> None:
    """Press Enter, which leads to an address like this."""
    with page.expect_navigation(url=re.compile(leads_to)):
        page.keyboard.press("Enter")


def by_keyboard(browser: Browser, asked: dict[str, Any], person: dict[str, str]) -> None:
    """From the log-in to an account, and an override of it, without a mouse."""
    context = browser.new_context(viewport={"width": 1440, "height": HEIGHT})
    page, account = context.new_page(), asked["account"]
    page.goto(f"{asked['base']}/console/login?next=/console/accounts")
    tab_to(page, "#f-email")
    page.keyboard.type(person["email"])
    tab_to(page, "#f-password")
    page.keyboard.type(person["password"])
    enter(page, r"^[^?]*/console/accounts$")
    page.keyboard.press("/")
    page.keyboard.type(account)
    enter(page, r"^[^?]*/console/accounts(\?q=|/)")
    if f"/accounts/{account}" not in page.url:
        tab_to(page, f'main a[href="/console/accounts/{account}"]')
        enter(page, f"/accounts/{account}$")
    tab_to(page, f'main a[href*="/accounts/{account}/override"]')
    enter(page, "/override")
    for name, text in (("feature", "audit"), ("does", "turns"), ("reason", "by keyboard")):
        tab_to(page, f'main [name="{name}"]')
        page.keyboard.type(text)
    tab_to(page, "main form.panel button")
    enter(page, "preview=yes")
    tab_to(page, 'main form[method="post"] button')
    enter(page, f"/accounts/{account}([?#]|$)")
    if "by keyboard" not in page.inner_text("main").lower():
        tell("keyboard", page.url, "the override that was made by keyboard is not on the account's page")
    context.close()


def main() -> int:
    asked = json.load(sys.stdin)
    axe = Path(asked["axe"]).read_text() if asked.get("axe") else ""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=asked["chromium"], args=["--no-sandbox"])
        looked = sum(walk(browser, asked, person, axe) for person in asked["people"])
        if asked.get("account"):
            try:
                by_keyboard(browser, asked, asked["people"][-1])
            except Error as error:
                tell("keyboard", "from the log-in to an override", str(error))
        browser.close()
    print(json.dumps({"looked": looked, "found": _found}), flush=True)
    return 0


sys.exit(main())
