"""Runs a node over a PostgreSQL cluster, shows what happens when it fails, and ends: `python -m tests.cluster`.

Three PostgreSQL under Patroni, with etcd, haproxy and PgBouncer, all on loopback and on free ports, in a directory that
is removed at the end. With --stay it waits for Ctrl-C (an hour at most) where everything is up.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import grpc

from numcheck.v1 import check_pb2, check_pb2_grpc
from tests.cluster import parts
from tests.cluster.cluster import Cluster
from tests.cluster.crowd import Crowd
from tests.faults.ledger import Ledger
from tests.faults.pushes import PLAN
from tests.faults.registrations import ENVIRONMENT
from tests.serving.command import ROOT, environment, serving

STAY_S = 3_600
ROUTES = ("hosts", "haproxy", "pgbouncer")
CALLS = 200
CUT_S = 25.0


def options() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--stay", action="store_true", help="once all is up, wait for Ctrl-C instead")
    parser.add_argument("--by", choices=ROUTES, default="hosts", help="how the node reaches the database")
    return parser.parse_args()


def url_by(cluster: Cluster, route: str) -> str:
    """The URL by which a node reaches the primary."""
    return {"hosts": cluster.url, "haproxy": cluster.haproxy_url, "pgbouncer": cluster.pgbouncer_url}[route]


def say(text: str) -> None:
    """Tell the person at the terminal."""
    print(text, flush=True)


def import_plan(directory: Path, data_dir: Path, env: dict[str, str]) -> None:
    """Fill the database with a small plan."""
    file = directory / "plan.csv"
    file.write_text(PLAN, encoding="utf-8")
    command = [sys.executable, "-m", "numcheck", "plan", "import", str(file), "--data-dir", str(data_dir)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=environment(env))


def stay(cluster: Cluster, address: str) -> None:
    """Say how all of it is reached, and wait."""
    say(f"a node           {address}")
    for name, url in (
        ("the hosts", cluster.url),
        ("haproxy", cluster.haproxy_url),
        ("pgbouncer", cluster.pgbouncer_url),
        ("a standby", cluster.replica_url),
    ):
        say(f"{name:16} {url}")
    for one in cluster.members:
        pid = process.pid if (process := parts.postmaster(one.data)) else "none"
        say(f"{one.name:16} PostgreSQL is process {pid}; Patroni answers on http://127.0.0.1:{one.api_port}/cluster")
    say(f"The logs are in {cluster.directory}. Ctrl-C ends all of it.")
    with suppress(KeyboardInterrupt):
        threading.Event().wait(STAY_S)


def tour(cluster: Cluster, address: str, directory: Path) -> None:
    """Show a failover, and what happens where no standby confirms."""
    crowd = Crowd(address, "tour", Ledger(directory / "ledger.jsonl"))
    crowd.start()
    try:
        crowd.wait_for(CALLS, patience_s=parts.PATIENCE_S)
        primary, killed_s = cluster.primary(), time.monotonic()
        cluster.kill_server(primary)
        say(f"SIGKILL to {primary.name}, amid registrations: {len(crowd.acknowledged)} were acknowledged so far")
        first = crowd.wait_for(1, begun_after_s=killed_s, patience_s=parts.PATIENCE_S)
        assert first is not None, "nothing is acknowledged any more"
        say(f"  the next one {first.ended_s - killed_s:.1f} s later, by {cluster.primary().name}")
        cluster.wait_until_whole()
        cut_s = time.monotonic()
        cluster.cut_standbys_off()
        say(f"the standbys are cut off for {CUT_S:.0f} s")
        threading.Event().wait(CUT_S)
        late = [one for one in crowd.acknowledged if one.began_s > cut_s + 1]
        say(f"  {len(late)} registrations are acknowledged meanwhile; a call waits {crowd.longest_s:.1f} s at most")
        with grpc.insecure_channel(address) as channel:
            checks = check_pb2_grpc.CheckServiceStub(channel)
            checks.CheckNumbers(check_pb2.CheckNumbersRequest(numbers=[79_160_000_000]), timeout=1)
        say("  checks are answered")
        cluster.heal()
        healed_s = time.monotonic()
        first = crowd.wait_for(1, begun_after_s=healed_s, patience_s=parts.PATIENCE_S)
        assert first is not None, "nothing is acknowledged any more"
        say(f"  the next registration {first.ended_s - healed_s:.1f} s after they were back")
    finally:
        crowd.stop()
    crowd.check(address)
    say(f"all {len(crowd.known)} registrations are there, each once and as it was acknowledged")


def main() -> None:
    """Begin all of it, show it, end it."""
    asked = options()
    if lacking := parts.lacking():
        sys.exit(f"there can be no cluster here: {lacking}")
    with tempfile.TemporaryDirectory(prefix="numcheck-cluster-", ignore_cleanup_errors=True) as name:
        directory, began_s = Path(name), time.monotonic()
        (directory / "servers").mkdir()
        with Cluster(directory / "servers") as cluster:
            say(f"three PostgreSQL under Patroni in {time.monotonic() - began_s:.0f} s:\n{cluster.describe()}")
            env = {
                "NUMCHECK_DATABASE_URL": url_by(cluster, asked.by),
                "NUMCHECK_CODE_DELIVERY": "console",
                **ENVIRONMENT,
            }
            import_plan(directory, directory / "var", env)
            with serving(directory / "var", env=env) as node:
                if asked.stay:
                    stay(cluster, node.address)
                else:
                    tour(cluster, node.address, directory)


if __name__ == "__main__":
    main()
