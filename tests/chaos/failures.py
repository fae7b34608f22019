"""What is done to the house while it works. Each leaves everything standing at its end."""

import time
from collections.abc import Callable

from chaos.stack import House

Failure = Callable[[House], None]


def nothing(house: House) -> None:
    time.sleep(_between(house, 0.5, 1.5))


def a_server_killed(house: House) -> None:
    """`kill -9`; the others go on without it for a while."""
    number = house.rng.randrange(len(house.server_urls))
    time.sleep(_between(house, 0, 0.5))
    house.kill_server(number)
    time.sleep(_between(house, 0, 1))
    house.start_server(number)


def every_server_killed(house: House) -> None:
    """`kill -9`, all of them at once."""
    time.sleep(_between(house, 0, 0.5))
    for number in range(len(house.server_urls)):
        house.kill_server(number)
    time.sleep(_between(house, 0, 1))
    house.start_dead_servers()
    house.wait_until_ready()


def postgres_restarted(house: House) -> None:
    """An immediate shutdown: what is not in its log is gone."""
    time.sleep(_between(house, 0, 0.5))
    house.restart_postgres(away_s=_between(house, 0, 1))


def provider_down_for_an_hour(house: House) -> None:
    """It answers nobody, and goes on charging cards and sending events meanwhile."""
    house.relay.provider_open = False
    for minutes in (20, 20, 20):
        house.control("clock", {"advance": f"{minutes}m"})
        time.sleep(_between(house, 0.3, 0.8))
    house.relay.provider_open = True


def receiver_down(house: House) -> None:
    """No webhook gets through; the provider tries again later."""
    house.relay.webhooks_open = False
    time.sleep(_between(house, 0.5, 2))
    house.relay.webhooks_open = True


def bad_weather(house: House) -> None:
    """Events late, twice, out of order, and some of them never."""
    house.control("weather", {"delay_ms": [0, 300], "duplicate": 0.3, "reorder": 0.3, "drop": 0.1})
    time.sleep(_between(house, 1, 2))
    house.control("weather", {})


def a_month_passes(house: House) -> None:
    """Terms end and begin, cards are charged, and some are declined."""
    for _ in range(4):
        house.control("clock", {"advance": "8d"})
        time.sleep(_between(house, 0.1, 0.4))


ALONE: dict[str, Failure] = {
    "nothing, to compare with": nothing,
    "a server killed (`kill -9`)": a_server_killed,
    "every server killed at once": every_server_killed,
    "PostgreSQL shut down at once, restarted": postgres_restarted,
    "provider down for a simulated hour": provider_down_for_an_hour,
    "webhook receiver down": receiver_down,
    "a month of renewals within a second": a_month_passes,
    "events late, twice, out of order, lost": bad_weather,
}


def everything(house: House) -> None:
    """Whatever the seed says."""
    for failure in house.rng.sample(list(ALONE.values()), k=4):
        failure(house)


WHAT: dict[str, Failure] = {**ALONE, "four of these, without a rest": everything}
LOSING = {bad_weather, everything}
"""After these only a sweep can tell what happened."""
SHORT = (a_server_killed, postgres_restarted, provider_down_for_an_hour)
"""What is tried when there is little time."""


def _between(house: House, least: float, most: float) -> float:
    return house.rng.uniform(least, most)
