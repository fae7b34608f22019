"""One cluster for all of the proof."""

from collections.abc import Iterator

import pytest

from proof.sold import CATALOG
from proof.test_proof import SEED, SERVERS
from support.cluster import Cluster, folder_of_its_own


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    with folder_of_its_own("proof") as folder:
        made = Cluster(folder, servers=SERVERS, seed=SEED, admin_key="sk_test_of_the_proof")
        with made.running(CATALOG):
            yield made
