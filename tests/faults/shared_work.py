"""Kills nodes of one PostgreSQL at random amid the background work that they share: `make shared MINUTES=10`.

Users are registered on numbers that their operator takes away again, some registrations fall due, a webhook gets every
event, and a witness the heads of their chain. Nodes are killed, or stopped for a while and let go on, as often as
chance will have it. In the end, of each registration that was acknowledged what was to happen has happened once; the
webhook has had every event, in order; the witness has heads of the chain alone; and no work was nobody's for longer
than is promised. `tests/serving/test_sharing.py` is the small version, by a clock of its own.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import grpc
import psycopg

from numcheck.client.push import DELTA, Numbers, PushClient
from numcheck.errors import NodeNotReady, NodeUnreachable
from numcheck.serving.access import KEY_NAME
from numcheck.serving.sharing import TAKEN_OVER_WITHIN_S
from numcheck.v1 import numbering_pb2, registration_pb2
from numcheck.v1.registration_pb2_grpc import RegistrationServiceStub
from tests.delivery.gateway import Gateway, gateway_running
from tests.faults.ledger import Violation
from tests.serving import small
from tests.serving.command import AS_MODULE, FREE_PORT, READY, Process, run
from tests.store.engines import Server

NODES = 3
NUMBERS = [79160000000 + place for place in range(10)]  # active numbers of MTS
SERVICE = "messenger"
KILLED_EVERY_S = (3.0, 12.0)
BACK_AFTER_S = (0.0, 8.0)
STOPPED_SHARE = 0.3  # of the nodes that are held up instead, for a while
STOPPED_S = (1.0, 15.0)
LOOK_EVERY_S = 0.1
SETTLED_WITHIN_S = 120.0
DEADLINE_S = 10.0
PASSING = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED
WITNESS_EVERY_S = 2
REMIND_SHARE = 0.3  # of the registrations


class Node:
    """A node's process over a data directory of its own."""

    def __init__(self, data_dir: Path, config: Path, keys: Path, url: str) -> None:
        env = {"NUMCHECK_DATABASE_URL": url, "NUMCHECK_KEYS_FILE": str(keys)}
        command = [*AS_MODULE, "serve", "--data-dir", str(data_dir), "--config", str(config), *FREE_PORT]
        self.process = Process(command, env, None)
        ready = READY.match(self.process.line_with("ready on"))
        assert ready is not None
        self.address = ready[1]
        self.channel = grpc.insecure_channel(self.address)
        self.stub = RegistrationServiceStub(self.channel)

    def kill(self) -> None:
        """End it at once."""
        self.process.signal(signal.SIGKILL)
        self.process.wait()
        self.channel.close()


class Takeovers(threading.Thread):
    """Watches the leases: for how long each was held by no node that ran."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url, self._ended = url, threading.Event()
        self.dead_since_s: dict[int, float] = {}
        """Processes that were killed or held up, and when."""
        self._waits: dict[str, tuple[int, float]] = {}
        self.took_s: list[float] = []

    def run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._ended.wait(LOOK_EVERY_S):
                rows = connection.execute(
                    "SELECT l.name, n.name FROM leases l LEFT JOIN nodes n ON n.node_id = l.node_id"
                ).fetchall()
                for lease, node in rows:
                    self._see(lease, None if node is None else int(node.rpartition(":")[2]))

    def _see(self, lease: str, pid: int | None) -> None:
        now_s = time.monotonic()
        if pid in self.dead_since_s:
            self._waits[lease] = self._waits.get(lease, (pid, self.dead_since_s[pid]))
        elif pid is not None and lease in self._waits:
            self.took_s.append(now_s - self._waits.pop(lease)[1])

    def end(self) -> None:
        """Watch no more."""
        self._ended.set()
        self.join()


class Campaign:
    """Nodes over one database, who kills them, and clients."""

    def __init__(self, directory: Path, server: Server, gateway: Gateway, seed: int) -> None:
        self._directory, self._chance, self._gateway = directory, random.Random(seed), gateway
        self._url = server.new_database()
        self._data_dirs = [directory / f"node{number}" for number in range(NODES)]
        small.fill(self._data_dirs[0], self._url)
        self._config = directory / "numcheck.toml"
        (directory / "webhook.key").write_bytes(b"a webhook's key of enough bytes")
        self._config.write_text(
            "verification_methods = 'operator'\nevidence_age_max_s = 0\n[[webhooks]]\nname = 'backend'\n"
            f"service = '{SERVICE}'\nurl = '{gateway.url}'\nfrom_start = true\n"
            f"secret_file = '{directory / 'webhook.key'}'\n"
        )
        self._heads = directory / "heads.jsonl"
        own = f"witness_file = '{self._heads}'\nwitness_interval_s = {WITNESS_EVERY_S}\n"
        self._config.write_text(own + self._config.read_text())
        self.nodes: dict[int, Node] = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self.acknowledged: dict[str, str] = {}  # registrations by user
        self.reminded: set[str] = set()
        self.counts = Counter[str]()
        self.takeovers = Takeovers(self._url)
        self._failures: list[BaseException] = []

    def run(self, seconds: float) -> None:
        """Kill for so long, then judge."""
        for number in range(NODES):
            self._begin(number)
        self.takeovers.start()
        clients = [self._register, self._register, self._withdraw, self._remind]
        threads = [threading.Thread(target=self._client, args=(one,)) for one in clients]
        for thread in threads:
            thread.start()
        try:
            self._kill_until(time.monotonic() + seconds)
        finally:
            self._ending.set()
            for thread in threads:
                thread.join()
        if self._failures:
            raise self._failures[0]
        self._judge()

    # --- nodes

    def _begin(self, number: int) -> None:
        data_dir = self._data_dirs[number]
        data_dir.mkdir(exist_ok=True)
        if number and not (data_dir / KEY_NAME).exists():
            shutil.copy(self._data_dirs[0] / KEY_NAME, data_dir)
        node = Node(data_dir, self._config, self._directory / "keys.json", self._url)
        with self._lock:
            self.nodes[number] = node

    def _kill_until(self, deadline_s: float) -> None:
        back: dict[int, float] = {}
        held_up: dict[int, tuple[Node, float]] = {}
        next_s = time.monotonic() + self._chance.uniform(*KILLED_EVERY_S)
        while time.monotonic() < deadline_s or back or held_up:
            now_s = time.monotonic()
            if now_s >= next_s and now_s < deadline_s and len(self.nodes) > 1:
                next_s = now_s + self._chance.uniform(*KILLED_EVERY_S)
                number, node = self._take_out()
                self.takeovers.dead_since_s[node.process.pid] = time.monotonic()
                if self._chance.random() < STOPPED_SHARE:
                    node.process.signal(signal.SIGSTOP)
                    held_up[number] = node, now_s + self._chance.uniform(*STOPPED_S)
                    self.counts["held up"] += 1
                else:
                    node.kill()
                    back[number] = now_s + self._chance.uniform(*BACK_AFTER_S)
                    self.counts["killed"] += 1
            for number in [one for one, at_s in back.items() if at_s <= now_s]:
                del back[number]
                self._begin(number)
            for number in [one for one, (_, at_s) in held_up.items() if at_s <= now_s]:
                node, _ = held_up.pop(number)
                node.process.signal(signal.SIGCONT)
                del self.takeovers.dead_since_s[node.process.pid]
                with self._lock:
                    self.nodes[number] = node
            time.sleep(LOOK_EVERY_S)

    def _take_out(self) -> tuple[int, Node]:
        with self._lock:
            number = self._chance.choice(sorted(self.nodes))
            return number, self.nodes.pop(number)

    def _any_node(self, chance: random.Random) -> Node:
        with self._lock:
            return self.nodes[chance.choice(sorted(self.nodes))]

    # --- clients

    def _client(self, act) -> None:
        chance = random.Random(self._chance.random())
        try:
            while not self._ending.is_set():
                try:
                    act(chance)
                except grpc.RpcError as error:
                    if error.code() not in PASSING:
                        raise
                except (NodeNotReady, NodeUnreachable, psycopg.OperationalError):
                    pass
        except BaseException as failure:
            self._failures.append(failure)
            self._ending.set()

    def _register(self, chance: random.Random) -> None:
        user_id = f"u{chance.getrandbits(60):x}"
        request = registration_pb2.RegisterRequest(
            service=SERVICE,
            user_id=user_id,
            number=f"+{chance.choice(NUMBERS)}",
            identifier={"login": user_id},
            registration_data={"name": "Иванов"},
            network_address=registration_pb2.NetworkAddress(address="203.0.113.7", port=50812),
        )
        self.counts["tried"] += 1
        made = self._any_node(chance).stub.Register(request, timeout=DEADLINE_S).registration
        self.acknowledged[user_id] = made.registration_id
        self._ending.wait(chance.uniform(0, 0.05))

    def _withdraw(self, chance: random.Random) -> None:
        """Take a number from its operator, and give it back."""
        number = chance.choice(NUMBERS)
        with PushClient(self._any_node(chance).address, patience_s=DEADLINE_S) as client:
            self._push(client, Numbers(remove=[number]))
            self._push(client, Numbers(add=[number]))
        self.counts["withdrawals"] += 1
        self._ending.wait(chance.uniform(0.2, 2))

    def _push(self, client: PushClient, numbers: Numbers) -> None:
        (operator,) = (one for one in client.list_operators() if one.tax_id == small.MTS)
        base = client.state(operator.operator_id, digest=False).version
        header = numbering_pb2.PushHeader(
            operator_id=operator.operator_id, mode=DELTA, base_version=base, push_id=f"{random.getrandbits(64):x}"
        )
        header.data_time.GetCurrentTime()
        answer = client.push_active(header, lambda: [numbers])
        if answer.confirmation_token:
            client.confirm_push(operator.operator_id, answer.confirmation_token)

    def _remind(self, chance: random.Random) -> None:
        """Have time do now what it was to do to some registrations in eleven months."""
        wanted = [one for one in list(self.acknowledged.values()) if one not in self.reminded]
        some = [one for one in wanted if chance.random() < REMIND_SHARE][:20]
        with psycopg.connect(self._url, autocommit=True) as connection:
            for registration_id in some:
                connection.execute(
                    "UPDATE registrations SET next_at_us = 1 WHERE registration_id = %s AND next_at_us IS NOT NULL",
                    [bytes.fromhex(registration_id)],
                )
                self.reminded.add(registration_id)
        self._ending.wait(1)

    # --- the judge

    def _judge(self) -> None:
        with PushClient(self.nodes[0].address, patience_s=60) as client:
            self._push(client, Numbers(remove=NUMBERS))
        deadline_s = time.monotonic() + SETTLED_WITHIN_S
        while not self._is_settled():
            if time.monotonic() > deadline_s:
                raise Violation(f"work is left undone: {self._left()}")
            time.sleep(0.5)
        self.takeovers.end()
        self._check_events()
        self._check_webhook()
        self._check_witness()
        for node in self.nodes.values():
            node.kill()
        verified = run(
            "events",
            "verify",
            "--data-dir",
            self._data_dirs[0],
            "--config",
            self._config,
            command=AS_MODULE,
            env={"NUMCHECK_DATABASE_URL": self._url, "NUMCHECK_KEYS_FILE": str(self._directory / "keys.json")},
        )
        if verified.status:
            raise Violation(f"events verify: {verified.out}{verified.err}")
        late = [one for one in self.takeovers.took_s if one > TAKEN_OVER_WITHIN_S]
        if late:
            raise Violation(f"work was nobody's for {max(late):.1f} s")

    def _left(self) -> dict[str, int]:
        """Return what is left to do, by kind."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            counts = [
                connection.execute(statement).fetchone()
                for statement in (
                    "SELECT count(*) FROM withdrawals WHERE next_place IS NOT NULL",
                    "SELECT count(*) FROM registrations WHERE next_at_us = 1",
                    "SELECT (SELECT max(service_sequence) FROM events) - sequence FROM webhooks",
                )
            ]
        return dict(zip(("withdrawals", "reminders", "events to post"), (row[0] for row in counts if row), strict=True))

    def _is_settled(self) -> bool:
        return not any(self._left().values())

    def _check_events(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            rows = connection.execute("SELECT registration_id, kind FROM events WHERE service_sequence > 0").fetchall()
        happened = Counter((registration_id.hex(), kind) for registration_id, kind in rows)
        self.counts["events"] = len(rows)
        twice = {kind for (_, kind), count in happened.items() if count > 1}
        if twice:
            raise Violation(f"done twice: {twice}")
        for registration_id in self.acknowledged.values():
            if not happened[registration_id, "registered"]:
                raise Violation("a registration that was acknowledged is not there")
            if happened[registration_id, "confirmed"] and not happened[registration_id, "withdrawn"]:
                raise Violation("a registration on a number that was taken was not revoked")
        for kind in ("confirmed", "withdrawn", "due"):
            self.counts[kind] = sum(1 for (_, one) in happened if one == kind)

    def _check_webhook(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            told = connection.execute(
                "SELECT service_sequence, hash FROM events WHERE service_sequence > 0 ORDER BY service_sequence"
            ).fetchall()
        wanted = [f"{SERVICE}/{sequence}/{digest[:8].hex()}" for sequence, digest in told]
        got = [json.loads(one.body)["id"] for one in self._gateway.got]
        if list(dict.fromkeys(got)) != wanted:
            raise Violation("the webhook did not get every event, in order")
        self.counts["posts"] = len(got)
        self.counts["posts again"] = len(got) - len(wanted)

    def _check_witness(self) -> None:
        """Each head that was handed out is one of the chain's; half a line is of a node that was killed over it."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            chain = dict(connection.execute("SELECT sequence, encode(hash, 'hex') FROM events").fetchall())
        lines = [line for line in self._heads.read_text().splitlines() if line.endswith("}")]
        heads = [(int(one["sequence"]), one["hash"]) for one in map(json.loads, lines)]
        if any(chain[sequence] != digest for sequence, digest in heads):
            raise Violation("the witness has a head that the chain does not have")
        self.counts["heads to a witness"] = len(heads)
        if len(heads) < 2:
            raise Violation("the witness was told no more once a node had died")

    def report(self) -> str:
        """Return what was done."""
        took_s = sorted(self.takeovers.took_s)
        told = ", ".join(f"{count} {name}" for name, count in sorted(self.counts.items()))
        slowest = f", within {took_s[-1]:.1f} s, half within {took_s[len(took_s) // 2]:.1f} s" if took_s else ""
        return f"{len(self.acknowledged)} acknowledged, {told}; work taken over {len(took_s)} times{slowest}"


def main() -> None:
    """Run as long as asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.shared_work", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, gateway_running() as gateway:
        server = Server(Path(scratch) / "postgresql", fsync=True)
        campaign = Campaign(Path(scratch), server, gateway, asked.seed)
        try:
            campaign.run(60 * asked.minutes)
        except Violation as violation:
            print(f"VIOLATION, seed {asked.seed}: {violation}; {dict(campaign.counts)}")
            sys.exit(1)
        finally:
            for node in campaign.nodes.values():
                node.process.end()
            server.close()
        print(campaign.report())


if __name__ == "__main__":
    main()
