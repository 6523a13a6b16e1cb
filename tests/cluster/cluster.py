"""A PostgreSQL cluster as people run it: three servers under Patroni, etcd, haproxy and PgBouncer, on loopback.

Each member's settings are those of deploy/patroni, but for what is of this machine: what was acknowledged is on two of
the three, and Patroni makes a standby the primary when the primary is gone, or its disk is. Each member's storage can
be made to fail. Everything is in one directory, and ends with this process. docs/cluster.md has the drawing.
"""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg
import yaml

from tests.cluster import parts
from tests.cluster.wire import Wire
from tests.faults.storage import Switch, build_faulty
from tests.store.engines import POSTGRESQL

MEMBERS = ("one", "two", "three")
DATABASE = "numcheck"
LOOPBACK = "127.0.0.1"
ASK_S = 2.0
RECIPE = parts.ROOT / "deploy" / "patroni"
# For a small machine.
SMALL = {"max_connections": 60, "shared_buffers": "32MB", "max_wal_size": "128MB"}
CONTROL_NAME = "faulty"  # the file by which a member's storage calls are made to fail

HAPROXY = """
defaults
  mode tcp
  timeout connect 2s
  timeout check 2s
  timeout client 1h
  timeout server 1h
  default-server inter 300ms fall 2 rise 1 on-marked-down shutdown-sessions
  option httpchk
listen primary
  bind {host}:{primary}
  http-check send meth GET uri /primary
{servers}
listen replicas
  bind {host}:{replicas}
  balance roundrobin
  http-check send meth GET uri /replica
{servers}
"""
# A client waits for a server no longer than it would for PostgreSQL itself.
PGBOUNCER = """
[databases]
* = host={host} port={primary} user=postgres
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 20
query_wait_timeout = 10
server_login_retry = 1
server_connect_timeout = 3
"""


@dataclass(slots=True, eq=False)
class Member:
    """A PostgreSQL server, the Patroni and the watch over its disk beside it. Other members reach it by its `wire`, it
    reaches etcd by `etcd`, and `switch` makes what it does to its disk fail."""

    name: str
    directory: Path
    port: int
    api_port: int
    wire: Wire
    etcd: Wire
    switch: Switch
    programs: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @property
    def runs(self) -> bool:
        """True if it was begun, and not killed since."""
        return bool(self.programs)

    @property
    def data(self) -> Path:
        """The directory of PostgreSQL's files."""
        return self.directory / "data"

    def ask(self, path: str) -> int:
        """The status that Patroni answers, 0 for none: 200 of /primary and /replica says that it is one."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.api_port}{path}", timeout=ASK_S) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


class Cluster:
    """Three members, or as many as asked for, with what is in front of them."""

    def __init__(self, directory: Path, members: Sequence[str] = MEMBERS) -> None:
        """Begin all of it in an empty directory. Patroni has to be installed, and what else `parts.lacking` names."""
        parts.make_user()
        directory.chmod(0o755)
        self.directory = directory
        etcd, peer, self.primary_port, self.replicas_port, self.pgbouncer_port, *ports = parts.free_ports(
            5 + 2 * len(members)
        )
        self._etcd_port = etcd
        self._processes = [self._start_etcd(etcd, peer)]
        self._faulty = build_faulty(directory)
        self.members = [
            self._member(name, *pair)
            for name, pair in zip(members, zip(ports[::2], ports[1::2], strict=True), strict=True)
        ]
        self._start_haproxy()
        self._start_pgbouncer()

    # --- how it is reached

    @property
    def url(self) -> str:
        """The URL of the database by several hosts: the driver finds the one that takes changes."""
        hosts = ",".join(f"{LOOPBACK}:{one.port}" for one in self.members)
        return f"postgresql://postgres@{hosts}/{DATABASE}?target_session_attrs=read-write"

    @property
    def haproxy_url(self) -> str:
        """The same by haproxy, which asks Patroni who the primary is."""
        return self.url_at(self.primary_port)

    @property
    def pgbouncer_url(self) -> str:
        """The same by PgBouncer, which gives each transaction whatever connection is free."""
        return self.url_at(self.pgbouncer_port)

    @property
    def replica_url(self) -> str:
        """The URL of a standby, whichever haproxy takes."""
        return self.url_at(self.replicas_port)

    def url_at(self, port: int) -> str:
        """The URL of the database at a port, as of a wire."""
        return f"postgresql://postgres@{LOOPBACK}:{port}/{DATABASE}"

    # --- beginning

    def _start_etcd(self, port: int, peer: int) -> "subprocess.Popen[bytes]":
        clients, peers = f"http://{LOOPBACK}:{port}", f"http://{LOOPBACK}:{peer}"
        return parts.start(
            "etcd",
            [
                *("etcd", "--data-dir", self.directory / "etcd", "--unsafe-no-fsync"),
                *("--listen-client-urls", clients, "--advertise-client-urls", clients),
                *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
                *("--initial-cluster", f"default={peers}"),
            ],
            self.directory,
            as_user=False,
        )

    def _member(self, name: str, port: int, api_port: int) -> Member:
        directory = self.directory / name
        directory.mkdir(mode=0o755)
        parts.give_away(directory)
        control = directory / CONTROL_NAME
        one = Member(name, directory, port, api_port, Wire(port), Wire(self._etcd_port), Switch(control))
        parts.give_away(control)
        (one.directory / "patroni.yml").write_text(yaml.safe_dump(self._settings(one)))
        return one

    def _settings(self, one: Member) -> dict[str, Any]:
        settings: dict[str, Any] = yaml.safe_load((RECIPE / "patroni.yml").read_text())
        settings["bootstrap"]["dcs"]["postgresql"]["parameters"].update(SMALL)
        settings["bootstrap"]["initdb"] = [{"encoding": "UTF8"}, {"auth": "trust"}]
        superuser = {"username": "postgres"}
        settings["postgresql"].update(
            {
                "listen": f"{LOOPBACK}:{one.port}",
                "connect_address": f"{LOOPBACK}:{one.wire.port}",
                "data_dir": str(one.data),
                "bin_dir": str(POSTGRESQL),
                "pgpass": str(one.directory / "pgpass"),
                "pg_hba": [f"host {which} all {LOOPBACK}/32 trust" for which in ("all", "replication")]
                + ["local all all trust"],
                "authentication": {"superuser": superuser, "replication": superuser, "rewind": superuser},
                "parameters": {"unix_socket_directories": str(one.directory)},
            }
        )
        return settings | {
            "name": one.name,
            "restapi": {"listen": f"{LOOPBACK}:{one.api_port}"},
            "etcd3": {"host": f"{LOOPBACK}:{one.etcd.port}", "use_proxies": True},  # for no address that etcd names
        }

    def _start_haproxy(self) -> None:
        servers = "\n".join(
            f"  server {one.name} {LOOPBACK}:{one.port} check port {one.api_port}" for one in self.members
        )
        file = self.directory / "haproxy.cfg"
        file.write_text(
            HAPROXY.format(host=LOOPBACK, primary=self.primary_port, replicas=self.replicas_port, servers=servers)
        )
        self._processes.append(parts.start("haproxy", ["haproxy", "-db", "-f", file], self.directory, as_user=False))

    def _start_pgbouncer(self) -> None:
        file = self.directory / "pgbouncer.ini"
        file.write_text(PGBOUNCER.format(host=LOOPBACK, primary=self.primary_port, port=self.pgbouncer_port))
        self._processes.append(parts.start("pgbouncer", ["pgbouncer", "-q", file], self.directory))

    def start(self) -> None:
        """Begin the members, and make the database; returns once the standbys follow."""
        for one in self.members:
            self.start_member(one)
        parts.wait_until("a primary", lambda: self.try_primary() is not None)
        with psycopg.connect(self.admin_url(self.primary()), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}")
        self.wait_until_whole()

    def start_member(self, one: Member) -> None:
        """Begin a member, or begin it again."""
        patroni = f"http://{LOOPBACK}:{one.api_port}"
        watch = [sys.executable, RECIPE / "disk_watch.py", "--data", one.data, "--patroni", patroni]
        env = {
            "LD_PRELOAD": str(self._faulty),
            "FAULTY_ROOT": str(one.data),
            "FAULTY_CONTROL": str(one.directory / CONTROL_NAME),
        }
        one.programs = [
            parts.start("patroni", [parts.PATRONI, one.directory / "patroni.yml"], one.directory, env=env),
            parts.start("disk_watch", watch, one.directory, env=env),
        ]

    def close(self) -> None:
        """End all of it at once."""
        for one in self.members:
            self.kill(one)
            one.wire.close()
            one.etcd.close()
        for process in reversed(self._processes):
            parts.end(process, signal.SIGKILL)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what it is like

    def admin_url(self, one: Member) -> str:
        """The URL of a member's own database of administrators."""
        return f"postgresql://postgres@{LOOPBACK}:{one.port}/postgres"

    def try_primary(self) -> Member | None:
        """The member that is the primary by its Patroni, or None."""
        return next((one for one in self.members if one.ask("/primary") == 200), None)

    def primary(self) -> Member:
        """The same; there is one soon."""
        parts.wait_until("a primary", lambda: self.try_primary() is not None)
        found = self.try_primary()
        return found if found is not None else self.primary()

    def standbys(self) -> list[Member]:
        """Every member but the primary."""
        primary = self.primary()
        return [one for one in self.members if one is not primary]

    def wait_until_whole(self) -> None:
        """Return once every member runs, and each standby is one that a commit may wait for."""
        wanted = len(self.members) - 1
        parts.wait_until("every standby follows", lambda: self._followers() == wanted)

    def _followers(self) -> int:
        primary = self.try_primary()
        if primary is None:
            return 0
        with suppress(psycopg.Error), psycopg.connect(self.admin_url(primary), connect_timeout=2) as connection:
            counted = connection.execute("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'")
            (count,) = counted.fetchone() or (0,)
            return int(count)
        return 0

    def describe(self) -> str:
        """The members as Patroni tells them, for a person."""
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.members[0].api_port}/cluster", timeout=ASK_S) as answer:
            found = json.load(answer)["members"]
        return "\n".join(f"  {one['name']:6} {one['role']:15} {one['state']}" for one in found)

    # --- what happens to it

    def kill_server(self, one: Member) -> bool:
        """SIGKILL a member's PostgreSQL; its Patroni lives and sees it."""
        return parts.kill_postmaster(one.data)

    def kill(self, one: Member) -> None:
        """SIGKILL a member, as if its machine had died: its lease runs out. `start_member` begins it again."""
        while one.programs:
            parts.end(one.programs.pop(), signal.SIGKILL)
        parts.kill_postmaster(one.data)

    def cut_standbys_off(self) -> None:
        """Let nothing that the primary sends reach the standbys, nor what they send the primary."""
        self.primary().wire.cut()

    def isolate(self, one: Member) -> None:
        """Let nothing pass between a member and etcd, nor between it and the others; its clients still reach it."""
        one.etcd.cut()
        one.wire.cut()

    def heal(self) -> None:
        """Let everything reach everybody again, and every disk."""
        for one in self.members:
            one.wire.heal()
            one.etcd.heal()
            one.switch.lift()
