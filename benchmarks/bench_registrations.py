"""Question: what does registering cost beside what SQLite, and PostgreSQL, commit themselves?

`engine` is a loop over sqlite3, or psycopg, with nothing of numcheck: it commits the very rows that the registrations
before it left (registrations and events, with their indices), as many registrations a transaction as they shared on
average, with the same journal and fsync settings, on the same disk, in the same run. `ratio` is registrations a second
over the engine's.
"""

import gc
import os
import shutil
import sqlite3
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time, thread_time
from typing import Any

import psycopg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks.calling import call_each
from benchmarks.processes import cpu_seconds, server
from numcheck.access import LOOPBACK_TOKEN
from numcheck.api.access import Call
from numcheck.api.importing import Imports
from numcheck.api.registration import RegistrationService, Rules
from numcheck.door.grouping import Stepping, run_steps
from numcheck.registrations.history import History
from numcheck.registrations.importing import Importer
from numcheck.registrations.newcomers import Newcomers
from numcheck.serving.node import COLLECTED_AFTER
from numcheck.store import events, registration_work
from numcheck.store.groups import GroupCommit
from numcheck.v1 import registration_pb2 as pb
from tests.registrations.world import ADDRESS, DATA, SERVICE, World, small
from tests.store.engines import Server

CALLERS = 64
GROUP = 256  # calls that the writer takes together
COUNT = int(os.environ.get("NUMCHECK_BENCH_REGISTRATIONS", "20000"))
METHOD = "/numcheck.v1.RegistrationService/"
PART_ROWS = 4_000  # of a message of an import
TABLES = ("registrations", "events")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A small plan; the disk is the one of pytest's --basetemp."""
    return small.fill(tmp_path / "var")


def engine_rate(directory: Path, data_dir: Path, group_size: float) -> float:
    """Registrations a second that a bare loop commits: the same rows, so many registrations a transaction."""
    connection = sqlite3.connect(directory / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("ATTACH ? AS made", (str(data_dir / "numcheck.db"),))
    wanted = "SELECT sql FROM made.sqlite_master WHERE tbl_name IN (?, ?) AND sql IS NOT NULL ORDER BY type DESC"
    for (statement,) in connection.execute(wanted, TABLES).fetchall():
        connection.execute(statement)
    rows = {name: connection.execute(f"SELECT * FROM made.{name} ORDER BY 1").fetchall() for name in TABLES}
    inserts = {name: f"INSERT INTO main.{name} VALUES ({', '.join('?' * len(rows[name][0]))})" for name in TABLES}
    count, per = len(rows["registrations"]), len(rows["events"]) / len(rows["registrations"])
    size, done = max(round(group_size), 1), 0
    began = perf_counter()
    while done < count:
        after = min(done + size, count)
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(inserts["registrations"], rows["registrations"][done:after])
        connection.executemany(inserts["events"], rows["events"][round(done * per) : round(after * per)])
        connection.execute("COMMIT")
        done = after
    rate = count / (perf_counter() - began)
    connection.close()
    return rate


class Ticking(World):
    """A world whose clock runs, so that registrations' ids ascend, as they do in a node."""

    now = property(lambda _world: datetime.now(UTC), lambda _world, _moment: None)


class Parts:
    """Processor time of functions, each under the name of the part of the work that it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.seconds = Counter[str]()

    def measure(self, part: str, owner: Any, name: str) -> None:
        """Count what a function takes from now on."""
        function = getattr(owner, name)

        def measured(*args: Any, **kwargs: Any) -> Any:
            began = thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[part] += thread_time() - began

        self._monkeypatch.setattr(owner, name, measured)

    def take(self, count: int) -> str:
        """Return how many microseconds of each of so many calls were each part's, and count anew."""
        told = ", ".join(f"{part} {1e6 * seconds / count:.1f}" for part, seconds in self.seconds.items())
        self.seconds.clear()
        return told


class Groups:
    """Counts the transactions that registrations shared."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        commit = GroupCommit._commit

        def counted(groups, operations, *tries) -> list[object]:
            self.count += 1
            return commit(groups, operations, *tries)

        monkeypatch.setattr(GroupCommit, "_commit", counted)


@contextmanager
def postgresql() -> Iterator[str]:
    """An empty database of a PostgreSQL that waits for its disk."""
    with tempfile.TemporaryDirectory(prefix="numcheck-postgresql-", ignore_cleanup_errors=True) as directory:
        one = Server(Path(directory) / "data", fsync=True)
        try:
            yield one.new_database()
        finally:
            one.close()


def postgresql_rate(url: str, group_size: float) -> float:
    """The same for a bare loop over psycopg, in the same database."""
    with psycopg.connect(url) as connection:
        rows, inserts = {}, {}
        for name in TABLES:
            connection.execute(f"CREATE TABLE bare_{name} (LIKE {name} INCLUDING ALL)")
            rows[name] = connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()
            inserts[name] = f"INSERT INTO bare_{name} VALUES ({', '.join(['%s'] * len(rows[name][0]))})"
        connection.commit()
        count, per = len(rows["registrations"]), len(rows["events"]) / len(rows["registrations"])
        size, done = max(round(group_size), 1), 0
        began = perf_counter()
        with connection.cursor() as cursor:
            while done < count:
                after = min(done + size, count)
                cursor.executemany(inserts["registrations"], rows["registrations"][done:after])
                cursor.executemany(inserts["events"], rows["events"][round(done * per) : round(after * per)])
                connection.commit()
                done = after
        return count / (perf_counter() - began)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
@pytest.mark.benchmark(group="caller")
def test_register_by_the_rules(benchmark, data_dir, tmp_path, monkeypatch, engine):
    """64 threads call the rules themselves, without gRPC."""
    with postgresql() if engine == "postgresql" else nullcontext() as url:
        groups = Groups(monkeypatch)
        count, took_s = registered(benchmark, data_dir, url)
        size = count / groups.count
        bare = engine_rate(tmp_path, data_dir, size) if url is None else postgresql_rate(url, size)
        report(benchmark, count / took_s, size, bare)


def registered(benchmark, data_dir: Path, url: str | None) -> tuple[int, float]:
    """How many registrations 64 threads made, and in how many seconds."""
    world = Ticking(data_dir, url=url)
    if url is not None:
        small.fill_store(world.store)

    def register(caller: int) -> None:
        for turn in range(COUNT // CALLERS):
            world.register(small.ACTIVE, f"u{caller}-{turn}", network_address=ADDRESS, registration_data=DATA)

    def all_callers() -> float:
        threads = [threading.Thread(target=register, args=(caller,)) for caller in range(CALLERS)]
        began = perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return perf_counter() - began

    took_s = benchmark.pedantic(all_callers, rounds=1)
    world.close()
    return COUNT // CALLERS * CALLERS, took_s


def requests_of(count: int, run: str = "") -> tuple[list[bytes], list[bytes]]:
    """Requests that register users, and that read each of them; those of another run are other users."""
    common = pb.RegisterRequest(
        service=SERVICE,
        number=f"+{small.ACTIVE}",
        network_address=pb.NetworkAddress(address=ADDRESS.address, port=ADDRESS.port),
        registration_data=DATA,
    )
    making, reading = [], []
    for place in range(count):
        common.user_id = f"u{run}{place}"
        making.append(common.SerializeToString())
        reading.append(pb.GetRegistrationRequest(service=SERVICE, user_id=common.user_id).SerializeToString())
    return making, reading


class Asking:
    """A call that wants its answer, and no door."""

    answered = b""

    def answer(self, answer: bytes, *, last: bool) -> None:
        """Keep the answer."""
        self.answered = answer

    def send(self) -> None:
        """Do nothing: the answer is here."""


def in_groups(method: Callable[..., Any], requests: Sequence[bytes]) -> tuple[Sequence[Asking], float]:
    """Answer requests as the writer does, and return the calls, and the microseconds of processor time of each."""
    call = Call(LOOPBACK_TOKEN, lambda _reason: None, lambda: None)
    calls = [Asking() for _ in requests]
    began = process_time()
    for at in range(0, len(requests), GROUP):
        some = zip(calls[at : at + GROUP], requests[at : at + GROUP], strict=True)
        going_on = [Stepping(one, call, method(request, one), raise_error) for one, request in some]
        while going_on:
            going_on = run_steps(going_on, raise_error)
    return calls, 1e6 * (process_time() - began) / len(requests)


@contextmanager
def collected_rarely() -> Iterator[None]:
    """Let the garbage collector come as it does in a node."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def raise_error(_call: object, error: Any) -> None:
    """Let no call be refused, and none wait for others."""
    raise AssertionError(error)


@pytest.mark.benchmark(group="caller")
def test_register_and_read_in_groups(benchmark, data_dir, tmp_path, monkeypatch):
    """From bytes to bytes by one thread, without a door: what each part of a call takes of the processor."""
    world = Ticking(data_dir, methods="operator", policy={"data_age_max": None})
    importer = Importer(world.registrations, world.vault, world.registrar, world.around, steady=world.steady)
    history = History(world.registrations, world.vault, world.keys.signing_key)
    rules = Rules(world.rules_of_registrations, world.rules_of_proofs, history, world.reverifier, importer)
    service = RegistrationService(rules, lambda _count: None, now=lambda: world.now, default_region="RU")
    making, reading = requests_of(COUNT)
    parts = Parts(monkeypatch)
    parts.measure("made before the transaction", Newcomers, "_drafts")
    parts.measure("transaction", GroupCommit, "_commit")
    parts.measure("of it look-up", registration_work.RegistrationWork, "look_ahead")
    parts.measure("of it binding and writing", registration_work.RegistrationWork, "flush")
    parts.measure("of that rows of registrations", registration_work, "insert_values")
    parts.measure("of that rows of events", events, "insert_values")
    with collected_rarely():
        calls, register_us = benchmark.pedantic(lambda: in_groups(service.register, making), rounds=1)
        print(f"Register: {register_us:.1f} microseconds of processor time; {parts.take(COUNT)}")
        state = pb.RegisterResponse.FromString(calls[-1].answered).registration.state
        assert state == pb.REGISTRATION_STATE_VERIFIED
        calls, read_us = in_groups(service.get_registration, reading)
        print(f"GetRegistration: {read_us:.1f} microseconds of processor time")
    assert pb.GetRegistrationResponse.FromString(calls[-1].answered).registration.user_id == f"u{COUNT - 1}"
    importer.close()
    world.close()
    began = process_time()
    engine_rate(tmp_path, data_dir, GROUP)
    print(f"bare sqlite3: {1e6 * (process_time() - began) / COUNT:.1f} microseconds, to read the rows among it")


@pytest.mark.benchmark(group="caller")
def test_register_and_read_over_the_wire(benchmark, data_dir, tmp_path, monkeypatch):
    """256 calls in flight on 8 connections of the native door, the node on one core; groups of as many as fit."""
    monkeypatch.setenv("NUMCHECK_VERIFICATION_METHODS", "operator")
    monkeypatch.setenv("NUMCHECK_EVIDENCE_AGE_MAX_S", "0")
    making, reading = requests_of(COUNT)

    def measured(address: str, pid: int, name: str, requests: list[bytes]) -> None:
        before = cpu_seconds(pid)
        calls = call_each([address], f"{METHOD}{name}", requests, connections=8, in_flight=32)
        assert len(calls.durations_s) == COUNT
        p99_ms = 1_000 * sorted(calls.durations_s)[COUNT * 99 // 100]
        of_cpu = COUNT / max(cpu_seconds(pid) - before, 0.01)
        rates = f"{COUNT / calls.took_s:,.0f} a second, {of_cpu:,.0f} of processor time"
        print(f"{name}: {rates}, p99 {p99_ms:.0f} ms, {calls.refused_count:,} refused and made again")

    def both() -> None:
        options = ("--listen", "127.0.0.1:0", "--threads", "1")
        with server("-m", "numcheck", "serve", "--data-dir", data_dir, *options) as (address, pid):
            measured(address, pid, "Register", making)
            measured(address, pid, "GetRegistration", reading)

    benchmark.pedantic(both, rounds=1)
    print(f"bare sqlite3: {engine_rate(tmp_path, data_dir, 128):,.0f} a second")


@pytest.mark.benchmark(group="caller")
def test_import(benchmark, data_dir, tmp_path):
    """Messages of 4,000 rows each, from bytes to answers, without gRPC."""
    world = Ticking(data_dir)
    importer = Importer(world.registrations, world.vault, world.registrar, world.around, steady=world.steady)
    imports = Imports(importer, lambda service: service, lambda _count: None, default_region="RU")
    rows = [imported_row(place) for place in range(COUNT)]
    parts = [pb.ImportRegistrationsRequest(rows=rows[at : at + PART_ROWS]) for at in range(0, COUNT, PART_ROWS)]
    header = pb.ImportHeader(service=SERVICE, import_id="bench")
    requests = [one.SerializeToString() for one in (pb.ImportRegistrationsRequest(header=header), *parts)]
    cpu_s = process_time()
    *_, last = benchmark.pedantic(lambda: list(imports.answers(iter(requests), None)), rounds=1)
    cpu_s = process_time() - cpu_s
    assert pb.ImportRegistrationsResponse.FromString(last).made_count == COUNT
    importer.close()
    world.close()
    if benchmark.stats is not None:
        rate, bare = COUNT / benchmark.stats.stats.min, engine_rate(tmp_path, data_dir, PART_ROWS)
        report(benchmark, rate, PART_ROWS, bare)
        print(f"{1e6 * cpu_s / COUNT:.1f} microseconds of processor time a row")


def imported_row(place: int) -> pb.ImportedRegistration:
    """A user whose number is one of 10,000 that nobody knows to be in service."""
    return pb.ImportedRegistration(
        user_id=f"u{place}",
        number=f"+{small.UNKNOWN + place % 10_000}",
        identifier={"login": f"u{place}"},
        network_address=pb.NetworkAddress(address=f"10.0.{place >> 8 & 255}.{place & 255}"),
        registration_data=DATA,
        registered_at=Timestamp(seconds=1_780_000_000 + place),
    )


@pytest.mark.benchmark(group="caller")
def test_reverify(benchmark, data_dir):
    """Read, decrypt, check and write registrations again, in bulk."""
    world = World(data_dir)
    made = world.register(small.ACTIVE).registration

    def fill(piece: int):
        def operation(work) -> None:
            for place in range(1_000):
                registration_id = world.vault.new_id((piece * 1_000 + place) * 1_000)
                record = made.record._replace(user_id=f"x{piece}-{place}")
                sealed = world.vault.sealed(registration_id, SERVICE, record)
                work.insert(made.row._replace(registration_id=registration_id, **sealed))

        return operation

    for piece in range(max(COUNT // 1_000, 1)):
        world.registrations.write(fill(piece))
    *_, last = benchmark.pedantic(lambda: list(world.reverifier.run(SERVICE, due_before=None, place=b"")), rounds=3)
    if benchmark.stats is not None:
        benchmark.extra_info["registrations_a_second"] = round(last.checked / benchmark.stats.stats.min)
        print(benchmark.extra_info)
    assert last.confirmed == last.total
    world.close()
    shutil.rmtree(data_dir)


def report(benchmark, rate: float, group_size: float, engine: float) -> None:
    benchmark.extra_info["registrations_a_second"] = round(rate)
    benchmark.extra_info["registrations_a_transaction"] = round(group_size, 1)
    benchmark.extra_info["engine_registrations_a_second"] = round(engine)
    benchmark.extra_info["ratio"] = round(rate / engine, 2)
    print(benchmark.extra_info)
