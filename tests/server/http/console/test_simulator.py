"""The simulator's clock and weather in the console, where the server follows one."""

from datetime import timedelta

import httpx2

from support.pages import Browsers
from support.stack import START, House, house
from support.waiting import eventually


def weather(its: House) -> dict[str, object]:
    found: dict[str, object] = httpx2.get(f"{its.provider.url}/_simulator/weather", trust_env=False).json()
    return found


def test_time_passes_for_everybody_but_the_session_of_who_lets_it_pass(postgres_url: str) -> None:
    with house(postgres_url) as its, Browsers(its.api) as browsers:
        its.shop.welcome("acme", "Acme")
        its.shop.subscribe("acme", "pro_monthly", quantity=3)
        its.api.eventually("acme", "exports", allowed=True)
        admin = browsers["admin"]
        page = admin.page("/console/simulator")
        assert f"It is {START:%Y-%m-%d %H:%M:%S} UTC there" in page.text
        for number in (1, 2):
            done = admin.follow(admin.send_form(page, "/console/simulator", leap="31 days"))
            assert f"It is {START + number * timedelta(days=31):%Y-%m-%d %H:%M:%S} UTC there" in done.text
        [course] = eventually(lambda: admin.page("/console/accounts/acme").every("section", id="subscription"))
        assert "Active" in course.text
        admin.send_form(page, "/console/simulator", weather="lost")
        assert weather(its)["drop"] == 1
        lost = next(node for node in admin.page("/console/simulator").every("input", value="lost"))
        assert "checked" in lost.attributes
        admin.send_form(page, "/console/simulator", weather="calm")
        assert weather(its)["drop"] == 0
        admin.send_form(page, "/console/simulator", 400, weather="hail")
        viewer = browsers["viewer"]
        viewer.page("/console/simulator", 403)
        assert "Clock and weather" not in viewer.page("/console").text
