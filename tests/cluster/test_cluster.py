"""A small campaign over a cluster: `make failovers` runs it for long.

Skipped where Patroni, etcd, haproxy or PgBouncer are not installed; `make cluster` installs them.
"""

import tempfile
from pathlib import Path

import pytest

from tests.cluster import parts
from tests.cluster.cluster import Cluster
from tests.cluster.failovers import Failovers

ROUNDS = 3  # a server is killed, a disk fails, and the network does


@pytest.mark.skipif(bool(parts.lacking()), reason=f"there can be no cluster here: {parts.lacking()}")
def test_nothing_acknowledged_is_lost_by_failovers():
    """Not below tmp_path, which is closed to the servers' own user."""
    with tempfile.TemporaryDirectory(prefix="numcheck-cluster-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        (directory / "servers").mkdir()
        with Cluster(directory / "servers") as cluster:
            report = Failovers(cluster, directory, 1).run(ROUNDS, lambda _text: None)
    assert report.kinds == {"server": 1, "failing": 1, "network": 1}
    assert report.registered
    assert report.pushed
