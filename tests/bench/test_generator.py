"""The native load generator against servers that answer, and against those that do what they should not.

What is held of every run: each call that was begun has one ending, the run ends by itself, and nothing is left open.
"""

import contextlib
import gc
import os
import socket
import ssl
import threading
import time
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import pytest

from numcheck.access import Caller, Role
from numcheck.bench.generator import LACKING, NativeLoad, PlainLoad, Target, framed
from numcheck.bench.outcome import Outcome
from numcheck.client.channel import Security
from numcheck.errors import BadConfiguration, NodeUnreachable
from numcheck.offline.authority import issue_client, issue_server, make_authority
from tests.bench import fake

pytestmark = pytest.mark.skipif(LACKING is not None, reason=str(LACKING))

PATH = "/numcheck.v1.CheckService/CheckNumbers"
PATIENCE_S = 0.2


def load_of(address: str, *, connections: int = 1, in_flight: int = 1, cores: tuple[int, ...] = ()) -> NativeLoad:
    return NativeLoad(Target(address), PATH, connections=connections, in_flight=in_flight, cores=cores)


def bodies_of(count: int) -> list[bytes]:
    return [framed(b"%d" % place) for place in range(count)]


def endings_of(outcome: Outcome) -> int:
    without_status = outcome.closed + outcome.reset + outcome.lost + outcome.unanswered
    return sum(outcome.statuses.values()) + without_status


def run_each(address: str, count: int, *, connections: int = 1, in_flight: int = 1) -> Outcome:
    """Make so many calls, each with a body of its own."""
    load = load_of(address, connections=connections, in_flight=in_flight)
    assert load.connect() == connections
    outcome = load.run(bodies_of(count), 20, once=True, patience_s=20)
    assert endings_of(outcome) == outcome.begun
    return outcome


def test_every_body_is_sent_once_and_every_answer_counted():
    """The server answers nothing until as many calls are there as may be in flight: so many there are."""
    with fake.serving(fake.wait_for(3 * 7)) as (server, address):
        outcome = run_each(address, 200, connections=3, in_flight=7)
    assert sorted(server.bodies) == sorted(bodies_of(200))
    assert (outcome.begun, outcome.statuses, outcome.failures) == (200, {0: 200}, {})
    assert outcome.in_time == sum(outcome.answered.values()) == 200
    assert server.connection_count == 3


def test_body_larger_than_a_frame_and_a_window_arrives_whole():
    large = framed(bytes(range(256)) * 200)  # 51 kB: frames have 16, and a stream's window is 64
    with fake.serving(fake.answer) as (server, address):
        outcome = load_of(address).run([large], 20, once=True)
    assert (server.bodies, outcome.statuses) == ([large], {0: 1})


def test_connections_are_kept_from_one_run_to_the_next():
    with fake.serving(fake.answer) as (server, address):
        load = load_of(address, connections=2)
        assert load.connect() == 2
        outcomes = [load.run(bodies_of(10), 20, once=True) for _ in range(3)]
    assert [outcome.statuses for outcome in outcomes] == [{0: 10}] * 3
    assert server.connection_count == 2


def test_generators_of_several_cores_share_bodies_and_connections():
    with fake.serving(fake.answer) as (server, address):
        cores = tuple(sorted(os.sched_getaffinity(0)))[:1] * 3  # three generators, wherever they run
        load = load_of(address, connections=4, cores=cores)
        assert load.connect() == 4
        outcome = load.run(bodies_of(30), 20, once=True)
    assert sorted(server.bodies) == sorted(bodies_of(30))
    assert (outcome.statuses, server.connection_count) == ({0: 30}, 4)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (fake.refuse(b"8"), {"status 8": 9}),
        (fake.refuse(b"16"), {"status 16": 9}),
        (fake.refuse(b"17"), {"status 2": 9}),
        (fake.refuse(b"no"), {"status 2": 9}),
        (fake.end_without_status, {"closed": 9}),
        (fake.answer_in_http, {"closed": 9}),
        (fake.reset, {"reset": 9}),
    ],
    ids=["refused", "unauthenticated", "unheard-of", "no-number", "no-status", "HTTP", "reset"],
)
def test_calls_that_end_otherwise_are_counted_by_how(act, expected):
    """The tenth and last is answered, on the same connection."""
    with fake.serving(*[act] * 9, fake.answer) as (server, address):
        outcome = run_each(address, 10)
    assert (outcome.failures, outcome.statuses[0]) == (expected, 1)
    assert server.connection_count == 1
    assert sum(outcome.refused.values()) == outcome.begun - 1 - outcome.closed - outcome.reset


def test_answer_with_a_reset_behind_it_is_an_answer():
    with fake.serving(fake.answer_and_reset) as (_, address):
        assert run_each(address, 10).statuses == {0: 10}


def test_server_that_says_goodbye_gets_its_next_calls_over_another_connection():
    with fake.serving(fake.say_goodbye, fake.say_goodbye, fake.answer) as (server, address):
        outcome = run_each(address, 10)
    assert (outcome.statuses, outcome.goaways, server.connection_count) == ({0: 10}, 2, 3)


@pytest.mark.parametrize("act", [fake.close, fake.talk_nonsense], ids=["closes", "talks-nonsense"])
def test_connection_that_is_lost_takes_its_calls_along_and_is_made_anew(act):
    with fake.serving(act, fake.answer) as (server, address):
        outcome = run_each(address, 5)
    assert (outcome.failures, outcome.statuses, server.connection_count) == ({"lost": 1}, {0: 4}, 2)


def test_server_that_never_answers_is_waited_for_as_long_as_the_patience():
    with fake.serving(fake.keep_silent) as (server, address):
        load = load_of(address, connections=2, in_flight=3)
        load.connect()
        outcome = load.run(bodies_of(50), 0.05, patience_s=PATIENCE_S)
        assert (outcome.begun, outcome.failures) == (6, {"unanswered": 6})
        assert outcome.percentile_s(0.5) == inf
        server.acts = [fake.answer]
        again = load.run(bodies_of(5), 20, once=True)  # nothing of the first run is in it
    assert (again.begun, again.statuses) == (5, {0: 5})


def test_nobody_listening_is_a_run_without_calls():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    outcome = load_of(address).run(bodies_of(5), 0.05, patience_s=PATIENCE_S)
    assert load_of(address).connect(0.05) == 0
    assert (outcome.begun, outcome.connects, outcome.statuses) == (0, 0, {})
    assert outcome.connect_failures >= 1
    late = load_of(address).run(bodies_of(5), 0.05, rate=200, patience_s=PATIENCE_S)
    assert (late.begun, late.never_begun, late.percentile_s(0.5)) == (0, 10, inf)


def test_open_loop_makes_as_many_calls_as_are_due():
    with fake.serving(fake.answer) as (server, address):
        outcome = load_of(address, connections=4, in_flight=8).run(bodies_of(7), 0.5, rate=400)
    assert outcome.begun + outcome.never_begun == 200
    assert len(server.bodies) == outcome.begun == sum(outcome.begun_late.values())


def test_latency_of_an_open_loop_counts_from_when_a_call_was_due():
    """A server that stalls half a second for one call makes those wait that were due meanwhile, though none was sent.

    Of 100 a second those due in the first 0.25 s have waited for 0.25 s at least, however slow this machine is.
    """

    def stall(connection: fake.Connection, stream: int) -> None:
        threading.Event().wait(0.5)
        fake.answer(connection, stream)

    with fake.serving(stall, fake.answer) as (_, address):
        outcome = load_of(address).run(bodies_of(1), 1.0, rate=100, patience_s=20)
    waited = sum(count for duration, count in outcome.answered.items() if duration >= 250_000_000)
    assert waited + outcome.never_begun >= 25
    assert outcome.begun + outcome.never_begun == 100
    assert outcome.percentile_s(0.8) >= 0.1


def test_closed_loop_asks_a_server_that_stalls_no_more_than_it_has_room():
    release = threading.Event()

    def stall(connection: fake.Connection, stream: int) -> None:
        release.wait(20)
        fake.answer(connection, stream)

    with fake.serving(stall) as (server, address):
        load, outcomes = load_of(address, in_flight=3), list[Outcome]()
        load.connect()
        running = threading.Thread(target=lambda: outcomes.append(load.run(bodies_of(1), 0.05, patience_s=20)))
        running.start()
        while not server.bodies:
            time.sleep(0.01)
        time.sleep(0.1)  # the time is over: what is in flight is all there will be
        release.set()
        running.join()
    assert (outcomes[0].begun, outcomes[0].statuses, outcomes[0].in_time) == (3, {0: 3}, 0)
    assert len(server.bodies) == 3


def test_nothing_is_left_open_when_a_load_is_gone():
    with fake.serving(fake.answer, fake.close, fake.keep_silent) as (_, address):
        gc.collect()
        before = open_files()
        for _ in range(5):
            load = load_of(address, connections=4, in_flight=2)
            load.run(bodies_of(20), 0.02, patience_s=0.02)
            del load
        gc.collect()
        with fake.serving():
            pass  # the server's own ends of the connections go meanwhile
        mine = open_files()
    for kind in ("eventpoll", "timerfd"):  # other tests of this process may have some
        assert sum(kind in one for one in mine) <= sum(kind in one for one in before)
    assert len(mine) - len(before) <= 4 * 5  # the server's ends, at most


def open_files() -> list[str]:
    """What this process has open, but for the directory that says so."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return found


def test_durations_are_kept_to_a_hundredth_in_fixed_memory():
    """Every bucket's largest value has eight significant bits once 1 is added."""
    with fake.serving(fake.answer) as (_, address):
        outcome = run_each(address, 500, in_flight=4)
    for duration in outcome.answered:
        edge = duration + 1
        assert edge < 256 or edge % (1 << (duration.bit_length() - 8)) == 0


# --- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A directory with a small authority, a server's certificate and a client's."""
    directory, now = tmp_path_factory.mktemp("authority"), datetime.now(UTC)
    make_authority(directory, now=now)
    issue_server(directory, ["127.0.0.1"], now=now)
    issue_client(directory, "client", Caller("numcheck://administrator", Role.ADMINISTRATOR).uri, now=now)
    return directory


def tls_context(directory) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem", directory / "server.key")
    context.load_verify_locations(directory / "authority.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    return context


def tls_load(address: str, directory, *names: str | None) -> NativeLoad:
    files = tuple(None if name is None else directory / name for name in names)
    target = Target(address, Security(authority=b"x"), files)
    return NativeLoad(target, PATH, connections=2, in_flight=4, cores=())


def test_calls_over_tls_show_the_clients_certificate(authority):
    with fake.serving(fake.answer, context=tls_context(authority)) as (server, address):
        load = tls_load(address, authority, "authority.pem", "client.pem", "client.key")
        assert load.connect() == 2
        outcome = load.run(bodies_of(100), 20, once=True)
    assert outcome.statuses == {0: 100}
    assert sorted(server.bodies) == sorted(bodies_of(100))


@pytest.mark.parametrize("names", [("client.pem", "client.pem", "client.key"), ("authority.pem", None, None)])
def test_server_that_is_not_trusted_or_does_not_trust_gets_no_call(authority, names):
    """Another authority; no certificate."""
    with fake.serving(fake.answer, context=tls_context(authority)) as (server, address):
        outcome = tls_load(address, authority, *names).run(bodies_of(5), 0.1, patience_s=PATIENCE_S)
    assert (outcome.statuses, server.bodies) == ({}, [])


def test_files_that_are_no_certificates_are_refused(authority):
    with pytest.raises(BadConfiguration, match="server_authority_file"):
        tls_load("127.0.0.1:1", authority, "server.key", None, None)


def test_host_without_an_address_is_told():
    with pytest.raises(NodeUnreachable, match=r"nowhere\.invalid"):
        load_of("nowhere.invalid:1")


# --- the plain client, where a build has no generator


def test_plain_client_counts_answers_and_refusals():
    with fake.serving(*[fake.refuse(b"8")] * 3, fake.answer) as (server, address):
        load = PlainLoad(Target(address), PATH, connections=1, in_flight=2, cores=())
        outcome = load.run(bodies_of(20), 20, once=True)
    assert (outcome.begun, outcome.statuses, len(server.bodies)) == (20, {0: 17, 8: 3}, 20)
    assert sum(outcome.answered.values()) == 17


@pytest.mark.parametrize("make", [NativeLoad, PlainLoad])
def test_one_body_is_enough_for_any_number_of_calls_unless_it_is_sent_once(make):
    cores = tuple(sorted(os.sched_getaffinity(0)))[:1] * 2
    with fake.serving(fake.answer) as (server, address):
        load = make(Target(address), PATH, connections=2, in_flight=2, cores=cores)
        load.connect()
        once = load.run(bodies_of(1), 20, once=True)
        again = load.run(bodies_of(1), 0.2)
    assert (once.begun, once.statuses) == (1, {0: 1})
    assert again.begun == again.statuses[0] == len(server.bodies) - 1 >= 1
