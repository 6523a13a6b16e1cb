"""R6: a hostile peer of each kind harms only itself, on either door.

A client that behaves asks over its own connection while the node is left alone, and then while the peer of hostile.py,
a process of its own, does what it can: it is answered every time, nearly as soon, and the node's memory stays bounded.
The event loop is one, so that both are on it.

Under the sanitizers, which slow everything and keep what was freed, nothing is measured: what counts is that the native
listener, which alone is built with them, lives and answers.
"""

import json
import math
import os
import resource
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from numcheck.door.native_door import LACKING
from tests.conformance.calls import CALL, QUESTION
from tests.conformance.conftest import serving_by
from tests.conformance.http2 import ENHANCE_YOUR_CALM
from tests.edge.authority import Authority
from tests.edge.hostile import FLOODS, HOLDS, IDLE_COUNT, UNENDED
from tests.edge.pipeline import Call, Pipeline
from tests.serving.command import ROOT
from tests.serving.small import fill

QUESTIONS = [Call("question", CALL, (QUESTION,))]
SANITIZED = "asan" in os.environ.get("LD_PRELOAD", "")
ROUND_S = 0.2
ROUNDS_MAX = 5
FACTOR = 10
CANCELLED = 1
FLOOR_S = math.inf if SANITIZED else 0.25
"""A machine with other work to do answers now and then as late as that by itself."""

MEMORY_MAX = {"native": 96 * 2**20, "plain": 2**30}
"""How much more memory the node may use beside a flood. That of grpc-core grows with how far it falls behind."""

CLIENT_PATIENCE_S = 60.0  # more than any machine needs: the bounds judge how late answers are
DESCRIPTORS = 8_192
PATIENCE_S = 60
# Whom docs/limits.md has ended, and how; the others may stay until their time is up.
ENDED = {
    "native": {*FLOODS} - UNENDED,
    "plain": {"endless empty continuation"},
}
# What costs others time at grpcio's door, as docs/limits.md says: there every answer has to come, however late.
SLOWED = {("plain", "hpack bombs"), ("plain", "slow bodies")}
CALMED = {"native": {"rapid reset", "pings", "settings"}, "plain": {"pings"}}


class Door(NamedTuple):
    """A listener of a node."""

    name: str
    address: str
    pid: int
    tls: ssl.SSLContext | None = None


@pytest.fixture(scope="module", autouse=True)
def many_descriptors() -> Iterator[None]:
    """For this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("hostile"))


DOORS = ["native"] if SANITIZED else ["native", "plain"]


@pytest.fixture(scope="module", params=DOORS)
def door(request: pytest.FixtureRequest, data_dir: Path) -> Iterator[Door]:
    env = {"NUMCHECK_DRAIN_TIMEOUT_S": "1"}
    with serving_by(request.param, data_dir, "--threads", "1", env=env) as one:
        yield Door(request.param, one.address, one.process.pid)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Door]]:
    """Both doors over TLS. Nobody is known, so that every call is denied, which takes its time too."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    server, client = authority.issue("server"), authority.issue("client", "numcheck://service/messenger")
    tls = ssl.create_default_context(cafile=authority.file)
    tls.load_cert_chain(client.certificate, client.key)
    tls.set_alpn_protocols(["h2"])
    env = {
        "NUMCHECK_TLS_CERTIFICATE_FILE": str(server.certificate),
        "NUMCHECK_TLS_KEY_FILE": str(server.key),
        "NUMCHECK_TLS_CLIENT_AUTHORITY_FILE": str(authority.file),
        "NUMCHECK_DRAIN_TIMEOUT_S": "1",
    }
    with ExitStack() as running:
        doors = []
        for name in DOORS if LACKING is None else ["plain"]:
            directory = fill(tmp_path_factory.mktemp(f"secured-{name}"))
            one = running.enter_context(serving_by(name, directory, "--threads", "1", env=env))
            doors.append(Door(name, one.address, one.process.pid, tls))
        yield doors


class Harm:
    """A hostile peer, or a heavy one, at work; afterwards `report` is what it said."""

    def __init__(self, *arguments: str, module: str = "tests.edge.hostile") -> None:
        command = [sys.executable, "-m", module, *arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.report: dict[str, int | dict[str, int]] = {}

    def __enter__(self) -> "Harm":
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "under way\n"
        return self

    def __exit__(self, *_: object) -> None:
        said, _ = self._process.communicate("", PATIENCE_S)
        self.report = json.loads(said)


def waits(door: Door) -> list[float]:
    """How long each call of a client waits for its answer, in seconds: for a while, over a connection of its own.

    On a machine that is slow enough a plain door takes the client's request for one of its own caller's crowd, of which
    it cuts off what is half a second late: the client makes that call again, and waits for both.
    """
    found: list[float] = []
    start = begun = time.monotonic()
    with closing(Pipeline(door.address, door.tls, CLIENT_PATIENCE_S)) as client:
        while not found or time.monotonic() - start < ROUND_S:
            client.send(QUESTIONS, Random(1))
            (answer,) = client.outcomes(QUESTIONS)
            if door.name == "plain" and answer.status == CANCELLED:
                continue
            assert answer.status == (0 if door.tls is None else 16), answer
            found.append(time.monotonic() - begun)
            begun = time.monotonic()
    return found


def p99(found: list[float]) -> float:
    return sorted(found)[len(found) * 99 // 100]


def resident_size(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1_024


idle_bounds: dict[str, float] = {}


def bound_of(door: Door) -> float:
    """How late an answer may be, measured once for each door, before any harm was done to it."""
    if door.address not in idle_bounds:
        waits(door)
        idle_bounds[door.address] = max(FLOOR_S, FACTOR * p99(waits(door)))
    return idle_bounds[door.address]


def awaited_from(door: Door, kind: str) -> str:
    """The answer to a flood for which the hostile peer waits, however busy the machine."""
    if kind in ENDED[door.name]:
        return "end"
    return "goaway" if kind in CALMED[door.name] else "silence"


@contextmanager
def harmless(door: Door, kind: str) -> Iterator[Harm]:
    """Whatever the peer does, a client is served, in two rounds of a few as soon as always: noise does not last."""
    bound, before = bound_of(door), resident_size(door.pid)
    if (door.name, kind) in SLOWED:
        bound = CLIENT_PATIENCE_S
    with Harm(kind, door.address, awaited_from(door, kind)) as harm:
        rounds: list[float] = []
        while len(rounds) < 2 or (sorted(rounds)[1] > bound and len(rounds) < ROUNDS_MAX):
            rounds.append(p99(waits(door)))
        grown = resident_size(door.pid) - before
    assert sorted(rounds)[1] <= bound, (rounds, bound)
    assert SANITIZED or grown < MEMORY_MAX[door.name], grown
    yield harm


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_harms_nobody_else_and_is_ended(door: Door, kind: str) -> None:
    with harmless(door, kind) as harm:
        if kind in ENDED[door.name]:
            assert harm.report["ended"] == harm.report["opened"] > 0
        if kind in CALMED[door.name]:
            assert str(ENHANCE_YOUR_CALM) in harm.report["codes"]


@pytest.mark.parametrize("kind", [kind for kind in HOLDS if kind != "half-open handshakes"])
def test_peers_that_hold_their_connections_harm_nobody_else(door: Door, kind: str) -> None:
    with harmless(door, kind) as harm:
        assert harm.report["opened"] == HOLDS[kind][0]


def test_idle_connections_are_as_many_as_is_promised() -> None:
    assert IDLE_COUNT >= 2_000


@pytest.mark.parametrize("name", DOORS)
def test_handshakes_that_do_not_end_harm_nobody_else(secured: list[Door], name: str) -> None:
    with ExitStack() as stack:
        for door in secured:
            if door.name == name:
                stack.enter_context(harmless(door, "half-open handshakes"))


HEAVY_COUNT = 4


def test_callers_of_little_are_served_as_soon_when_others_ask_for_much(door: Door) -> None:
    """The longest wait beside streams of 65,536 numbers a request, by two rounds of a few; and those go on as well."""
    bound = max(FLOOR_S, FACTOR * max(waits(door)))
    with Harm(str(HEAVY_COUNT), door.address, module="tests.edge.heavy") as heavy:
        longest: list[float] = []
        while len(longest) < 2 or (sorted(longest)[1] > bound and len(longest) < ROUNDS_MAX):
            longest.append(max(waits(door)))
    assert sorted(longest)[1] <= bound, (longest, bound)
    answers = heavy.report["answered"]
    assert isinstance(answers, int)
    assert answers > HEAVY_COUNT
