"""What is done to the cluster under load. Each leaves everything standing at its end."""

import time
from collections.abc import Callable

from support.cluster import Cluster, eventually

Failure = Callable[[Cluster], None]


def nothing(cluster: Cluster) -> None:
    time.sleep(3)


def servers_killed(cluster: Cluster) -> None:
    """`kill -9`, one after the other; the others go on meanwhile."""
    for _ in range(3):
        number = cluster.rng.randrange(len(cluster.server_urls))
        _wait(cluster, 0.2, 1)
        cluster.kill_server(number)
        _wait(cluster, 0, 1)
        cluster.start_server(number)
    _stand(cluster)
    _wait(cluster, 0.5, 1)


def every_server_killed(cluster: Cluster) -> None:
    """`kill -9`, all of them at once."""
    _wait(cluster, 1, 2)
    for number in range(len(cluster.server_urls)):
        cluster.kill_server(number)
    _stand(cluster)
    _wait(cluster, 1, 2)


def postgres_restarted(cluster: Cluster) -> None:
    """An immediate shutdown: what is not in its log is gone."""
    _wait(cluster, 1, 2)
    cluster.restart_postgres(away_s=cluster.rng.uniform(0, 1))
    _stand(cluster)
    _wait(cluster, 1, 2)


def connections_cut(cluster: Cluster) -> None:
    """Every connection to PostgreSQL ended at once, three times: servers forget what they remember."""
    for _ in range(3):
        _wait(cluster, 0.3, 1)
        cluster.cut_connections()
    _stand(cluster)
    _wait(cluster, 0.3, 1)


def a_bit_of_everything(cluster: Cluster) -> None:
    """What there is time for in every run of the tests: both while much is under way."""
    _wait(cluster, 0, 0.5)
    number = cluster.rng.randrange(len(cluster.server_urls))
    cluster.kill_server(number)
    _wait(cluster, 0, 0.5)
    cluster.start_server(number)
    _wait(cluster, 0, 0.5)
    cluster.restart_postgres(away_s=cluster.rng.uniform(0, 0.5))
    _stand(cluster)
    _wait(cluster, 0.5, 1)


LONG: dict[str, Failure] = {
    "nothing, to compare with": nothing,
    "servers killed (`kill -9`), one after the other": servers_killed,
    "every server killed at once": every_server_killed,
    "PostgreSQL shut down at once, restarted": postgres_restarted,
    "every connection to PostgreSQL cut": connections_cut,
}
SHORT: dict[str, Failure] = {"a bit of everything": a_bit_of_everything}


def _stand(cluster: Cluster) -> None:
    """Everything up again. A server that meets no database when it starts ends: whoever runs it starts it anew."""

    def missing() -> list[str]:
        cluster.start_dead_servers()
        return cluster.not_ready()

    eventually("every server", missing)


def _wait(cluster: Cluster, least: float, most: float) -> None:
    time.sleep(cluster.rng.uniform(least, most))
